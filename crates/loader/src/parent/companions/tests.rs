//! Companions in folders as anybody may make them.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::Command;

use expect_test::{Expect, expect};

use super::*;
use crate::options::CredentialFile;
use crate::parent::sources::Sources;
use crate::protocol::Span;

/// A partition with an image, and whatever a test puts there.
struct Partition(tempfile::TempDir);

impl Partition {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let partition = Self(dir);
        partition.file("EFI/Linux/a.efi", "image");
        partition
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(path)
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        let folder = path.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::write(&path, content).unwrap();
        self
    }

    fn mode(&self, path: &str, mode: u32) -> &Self {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Gives a file to somebody; only root can.
    fn owner(&self, path: &str, user: u32, group: u32) -> bool {
        chown(self.path(path), Some(user), Some(group)).is_ok()
    }

    fn find(&self, image: &str, companions: &Companions) -> Result<Listing> {
        let image = InputFile::open(&self.path(image), &Silent).unwrap();
        Listing::find(&image, companions, &[self.path("")])
    }

    fn take(&self, image: &str, companions: &Companions, secrets: &[&str]) -> Result<String> {
        let listing = self.find(image, companions)?;
        let mut sources = Sources::default();
        let strict = *companions == Companions::Strict;
        let secrets = secrets.iter().map(OsStr::new);
        let secrets: Vec<_> = secrets
            .map(|it| CredentialFile::parse(it).unwrap())
            .collect();
        let copies = Copies::take(listing, &secrets, strict, &mut sources, &Silent)?;
        Ok(shown(&copies, &sources))
    }

    /// Returns what comes of the extra files that an entry names.
    fn extra(&self, paths: &[&str]) -> Result<String> {
        let files = paths.iter().map(|path| {
            let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
            let file = InputFile::open(&self.path(path), &Silent).unwrap();
            (name.to_owned(), file)
        });
        let (mut copies, mut sources) = (Copies::default(), Sources::default());
        copies.add_extra(files.collect(), &mut sources)?;
        Ok(shown(&copies, &sources).replace(&self.path("").display().to_string(), "/"))
    }

    /// Compares what comes of the companions of `image`.
    fn check(&self, image: &str, companions: &Companions, expected: &Expect) {
        let text = match self.take(image, companions, &[]) {
            Ok(text) => text,
            Err(error) => sentence(&error),
        };
        let root = self.path("").display().to_string();
        let text = text.replace(&root, "/");
        expected.assert_eq(&text.replace(root.trim_end_matches('/'), "/"));
    }
}

/// Returns what was taken and what was not.
fn shown(copies: &Copies, sources: &Sources) -> String {
    let mut text = String::new();
    for it in &copies.companions {
        let (kind, folder, name) = (it.kind, it.folder, &it.name);
        text += &format!(
            "{kind:?} of {folder:?}: {name}{}\n",
            bytes(sources, &it.span)
        );
    }
    for it in &copies.credentials {
        text += &format!("secret {}{}\n", it.name, bytes(sources, &it.span));
    }
    for PassedOver {
        path, kind, reason, ..
    } in &copies.passed_over
    {
        let kind = kind.map_or(String::new(), |kind| format!(" ({kind:?})"));
        text += &format!("not {path}{kind}: {reason}\n");
    }
    for warning in &copies.warnings {
        text += &format!("warning: {warning}\n");
    }
    text += &format!("moved: {}\n", copies.moved.total());
    text
}

struct Silent;

impl crate::console::Console for Silent {
    fn warn(&self, _text: &str) {}

    fn log(&self, _line: &str) {}

    fn progress(&self, _what: &str, _len: Option<u64>) -> Box<dyn crate::console::Progress> {
        Box::new(())
    }
}

/// Returns the bytes of a span, and that it begins where it should.
fn bytes(sources: &Sources, span: &Span) -> String {
    let Span::Source { id, range } = span else {
        panic!("zeros are nobody's file")
    };
    assert_eq!(range.start % 4, 0);
    let (fd, _) = sources.given().nth(*id as usize).unwrap().unwrap();
    let file = fs::File::from(fd.try_clone_to_owned().unwrap());
    let mut bytes = vec![0; (range.end - range.start) as usize];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, range.start).unwrap();
    format!(" = {}", String::from_utf8(bytes).unwrap())
}

const IMAGE: &str = "EFI/Linux/a.efi";
const LOCAL: &str = "EFI/Linux/a.efi.extra.d";

fn local(name: &str) -> String {
    format!("{LOCAL}/{name}")
}

#[test]
fn every_kind_is_found_in_the_order_of_the_stub() {
    let esp = Partition::new();
    for name in [
        "z.addon.efi",
        "B.Addon.EFI",
        "c.cred",
        "s.raw",
        "x.confext.raw",
    ] {
        esp.file(&local(name), name);
        esp.file(&format!("loader/addons/{name}"), name);
        esp.file(&format!("loader/credentials/{name}"), name);
        esp.file(&format!("loader/extensions/{name}"), name);
    }
    esp.check(
        IMAGE,
        &Companions::Auto,
        &expect![[r#"
        Addon of Addons: B.Addon.EFI = B.Addon.EFI
        Addon of Addons: z.addon.efi = z.addon.efi
        Credential of Credentials: c.cred = c.cred
        Sysext of Extensions: s.raw = s.raw
        Confext of Extensions: x.confext.raw = x.confext.raw
        Addon of Image: B.Addon.EFI = B.Addon.EFI
        Credential of Image: c.cred = c.cred
        Sysext of Image: s.raw = s.raw
        Confext of Image: x.confext.raw = x.confext.raw
        Addon of Image: z.addon.efi = z.addon.efi
        not /loader/addons/c.cred: its name is not that of a companion here
        not /loader/addons/s.raw: its name is not that of a companion here
        not /loader/addons/x.confext.raw: its name is not that of a companion here
        not /loader/credentials/B.Addon.EFI: its name is not that of a companion here
        not /loader/credentials/s.raw: its name is not that of a companion here
        not /loader/credentials/x.confext.raw: its name is not that of a companion here
        not /loader/credentials/z.addon.efi: its name is not that of a companion here
        not /loader/extensions/B.Addon.EFI: its name is not that of a companion here
        not /loader/extensions/c.cred: its name is not that of a companion here
        not /loader/extensions/z.addon.efi: its name is not that of a companion here
        moved: 92
    "#]],
    );
}

#[test]
fn the_boot_counter_is_the_first_plus_of_the_path() {
    let esp = Partition::new();
    esp.file(&local("x.cred"), "1");
    esp.file("EFI/dir.d/b.efi.extra.d/y.cred", "2");
    for image in [
        "EFI/Linux/a+3-1.efi",
        "EFI/dir+3.d/b.efi",
        "EFI/a+3/a+3.efi",
    ] {
        esp.file(image, "image");
    }
    esp.file("EFI/a+3/a+3.efi.extra.d/z.cred", "3");
    for (image, expected) in [
        ("EFI/Linux/a+3-1.efi", "x.cred = 1"),
        ("EFI/dir+3.d/b.efi", "y.cred = 2"),
        ("EFI/a+3/a+3.efi", "z.cred = 3"),
    ] {
        let text = esp.take(image, &Companions::Auto, &[]).unwrap();
        assert!(text.contains(expected), "{image}: {text}");
    }
}

#[test]
fn a_link_to_an_image_leads_to_its_companions() {
    let esp = Partition::new();
    esp.file(&local("x.cred"), "1");
    symlink(esp.path(IMAGE), esp.path("link")).unwrap();
    let text = esp.take("link", &Companions::Auto, &[]).unwrap();
    assert!(text.contains("x.cred"), "{text}");
}

#[test]
fn what_is_no_file_or_has_another_name_is_passed_over() {
    let esp = Partition::new();
    for name in [
        "readme.txt",
        ".hidden.cred",
        "\u{f6}.cred",
        "a\nb.cred",
        "good.cred",
    ] {
        esp.file(&local(name), "1");
    }
    let invalid = esp.path(LOCAL).join(OsStr::from_bytes(b"\xff\x1b.cred"));
    fs::write(invalid, "").unwrap();
    symlink("good.cred", esp.path(&local("link.cred"))).unwrap();
    fs::create_dir(esp.path(&local("folder.raw"))).unwrap();
    let fifo = esp.path(&local("pipe.addon.efi"));
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    symlink("addons.elsewhere", esp.path("linked")).unwrap();
    fs::create_dir_all(esp.path("loader/addons.elsewhere")).unwrap();
    symlink("addons.elsewhere", esp.path("loader/addons")).unwrap();
    esp.check(IMAGE, &Companions::Auto, &expect![[r#"
        Credential of Image: good.cred = 1
        not /loader/addons: it is no folder
        not /EFI/Linux/a.efi.extra.d/folder.raw (Sysext): it is a folder, not a regular file
        not /EFI/Linux/a.efi.extra.d/link.cred (Credential): it is a symbolic link, not a regular file
        not /EFI/Linux/a.efi.extra.d/pipe.addon.efi (Addon): it is a pipe, not a regular file
        not /EFI/Linux/a.efi.extra.d/.hidden.cred: its name begins with a dot
        not /EFI/Linux/a.efi.extra.d/a\nb.cred: its name has control characters
        not /EFI/Linux/a.efi.extra.d/readme.txt: its name is not that of a companion here
        not /EFI/Linux/a.efi.extra.d/ö.cred: its name is not ASCII
        not /EFI/Linux/a.efi.extra.d/\xff\u{1b}.cred: its name is not ASCII
        warning: /loader/addons: passed over: it is no folder
        moved: 1
    "#]]);
    esp.check(
        IMAGE,
        &Companions::Strict,
        &expect!["/loader/addons: it is no folder; --companions=auto passes it over"],
    );
    esp.check(
        IMAGE,
        &Companions::None,
        &expect![[r#"
        moved: 0
    "#]],
    );
}

#[test]
fn many_names_are_counted_and_few_are_named() {
    let esp = Partition::new();
    for count in 0..1000 {
        esp.file(&local(&format!("{count:03}.txt")), "");
    }
    symlink("x", esp.path(&local("zzz.cred"))).unwrap();
    let listing = esp.find(IMAGE, &Companions::Auto).unwrap();
    let passed_over = &listing.passed_over;
    assert_eq!(passed_over.len(), OTHERS_MAX + 1);
    assert!(passed_over[0].0.path.ends_with("zzz.cred"));
    assert!(passed_over[1].0.path.ends_with("000.txt"));
    assert!(passed_over[19].0.path.ends_with("018.txt"));
    assert_eq!(passed_over[20].0.reason, "981 more files in it");
    assert_eq!(passed_over[20].0.count, 981);
}

#[test]
fn so_many_companions_are_too_many() {
    let esp = Partition::new();
    for count in 0..COMPANIONS_MAX {
        esp.file(&local(&format!("{count}.cred")), "");
    }
    let listing = esp.find(IMAGE, &Companions::Auto).unwrap();
    assert_eq!(listing.named.len(), COMPANIONS_MAX);
    esp.file("loader/credentials/one.cred", "");
    esp.check(IMAGE, &Companions::Auto, &expect!["/EFI/Linux/a.efi.extra.d: more than 4096 companions; --companions=none loads the image without any"]);
}

#[test]
fn so_many_bytes_are_too_many() {
    let esp = Partition::new();
    for name in ["a.raw", "b.raw", "c.raw"] {
        let file = fs::File::create(esp.file(&local(name), "").path(&local(name))).unwrap();
        file.set_len(600 << 20).unwrap();
    }
    esp.check(IMAGE, &Companions::Auto, &expect!["/EFI/Linux/a.efi.extra.d/c.raw: the companions up to this one have 1887436800 bytes; expected at most 1610612736"]);
}

#[test]
fn a_file_that_changes_or_vanishes_is_an_error() {
    let esp = Partition::new();
    esp.file(&local("x.cred"), "1");
    let listing = esp.find(IMAGE, &Companions::Auto).unwrap();
    let [named] = &listing.named[..] else {
        panic!("there is one")
    };
    let found = named.open().unwrap().metadata().unwrap();
    let copy = || copies::Target::new().unwrap().copy(named, &found);
    copy().unwrap();
    let check = |expected: &Expect| {
        let root = esp.path("").display().to_string();
        expected.assert_eq(&sentence(&copy().unwrap_err()).replace(&root, "/"));
    };
    esp.file(&local("x.cred"), "12");
    check(&expect![
        "/EFI/Linux/a.efi.extra.d/x.cred changed while it was copied; try again when nothing writes to it"
    ]);
    fs::remove_file(esp.path(&local("x.cred"))).unwrap();
    check(&expect![
        "cannot read companion /EFI/Linux/a.efi.extra.d/x.cred: No such file or directory (os error 2)"
    ]);
    symlink("y", esp.path(&local("x.cred"))).unwrap();
    check(&expect![
        "cannot read companion /EFI/Linux/a.efi.extra.d/x.cred: Too many levels of symbolic links (os error 40)"
    ]);
}

#[test]
fn what_others_may_write_is_nobodys_word() {
    let check = |path: &str, mode: u32, expected: &Expect| {
        let esp = Partition::new();
        esp.file(&local("x.cred"), "1")
            .file("loader/addons/y.addon.efi", "2");
        esp.mode(path, mode);
        esp.check(IMAGE, &Companions::Auto, expected);
    };
    for mode in [0o777, 0o1777, 0o757] {
        check(
            LOCAL,
            mode,
            &expect![[r#"
            Addon of Addons: y.addon.efi = 2
            not /EFI/Linux/a.efi.extra.d: everybody may write to it
            warning: /EFI/Linux/a.efi.extra.d: passed over: everybody may write to it
            moved: 1
        "#]],
        );
    }
    check(
        &local("x.cred"),
        0o666,
        &expect![[r#"
            Addon of Addons: y.addon.efi = 2
            not /EFI/Linux/a.efi.extra.d/x.cred (Credential): everybody may write to it
            moved: 1
        "#]],
    );
    // The folders around: nobody else may put another in the place of one.
    check(
        "EFI/Linux",
        0o1777,
        &expect![[r#"
        Addon of Addons: y.addon.efi = 2
        not /EFI/Linux/a.efi.extra.d: it lies in /EFI/Linux: everybody may write to it
        warning: /EFI/Linux/a.efi.extra.d: passed over: it lies in /EFI/Linux: everybody may write to it
        moved: 1
    "#]],
    );
    check(
        "EFI",
        0o777,
        &expect![[r#"
        Addon of Addons: y.addon.efi = 2
        not /EFI/Linux/a.efi.extra.d: it lies in /EFI: everybody may write to it
        warning: /EFI/Linux/a.efi.extra.d: passed over: it lies in /EFI: everybody may write to it
        moved: 1
    "#]],
    );
    check(
        "loader",
        0o1777,
        &expect![[r#"
        Credential of Image: x.cred = 1
        not /loader/addons: it lies in /loader: everybody may write to it
        warning: /loader/addons: passed over: it lies in /loader: everybody may write to it
        moved: 1
    "#]],
    );
    check(
        "",
        0o777,
        &expect![[r#"
        not /loader/addons: it lies in /: everybody may write to it
        not /EFI/Linux/a.efi.extra.d: it lies in /: everybody may write to it
        warning: /loader/addons: passed over: it lies in /: everybody may write to it
        warning: /EFI/Linux/a.efi.extra.d: passed over: it lies in /: everybody may write to it
        moved: 0
    "#]],
    );
    let all = expect![[r#"
        Addon of Addons: y.addon.efi = 2
        Credential of Image: x.cred = 1
        moved: 2
    "#]];
    check("EFI", 0o1777, &all);
    // The group of root is root's.
    check(LOCAL, 0o770, &all);
}

#[test]
fn only_root_and_the_owner_of_the_image_have_a_say() {
    let esp = Partition::new();
    esp.file(&local("x.cred"), "1");
    if !esp.owner(LOCAL, 12345, 12345) {
        return;
    }
    let passed_over = expect![[r#"
        not /EFI/Linux/a.efi.extra.d: its owner, user 12345, is neither root nor the owner of the image
        warning: /EFI/Linux/a.efi.extra.d: passed over: its owner, user 12345, is neither root nor the owner of the image
        moved: 0
    "#]];
    esp.check(IMAGE, &Companions::Auto, &passed_over);
    esp.check(IMAGE, &Companions::Strict, &expect!["/EFI/Linux/a.efi.extra.d: its owner, user 12345, is neither root nor the owner of the image; --companions=auto passes it over"]);
    esp.owner(IMAGE, 12345, 12345);
    let taken = expect![[r#"
        Credential of Image: x.cred = 1
        moved: 1
    "#]];
    esp.check(IMAGE, &Companions::Auto, &taken);
    // A group that may write the image may write what lies beside it.
    esp.mode(LOCAL, 0o775);
    esp.check(
        IMAGE,
        &Companions::Auto,
        &expect![[r#"
        not /EFI/Linux/a.efi.extra.d: group 12345 may write to it
        warning: /EFI/Linux/a.efi.extra.d: passed over: group 12345 may write to it
        moved: 0
    "#]],
    );
    esp.mode(IMAGE, 0o664);
    esp.check(IMAGE, &Companions::Auto, &taken);
    esp.owner(&local("x.cred"), 54321, 0);
    esp.check(IMAGE, &Companions::Auto, &expect![[r#"
        not /EFI/Linux/a.efi.extra.d/x.cred (Credential): its owner, user 54321, is neither root nor the owner of the image
        moved: 0
    "#]]);
}

#[test]
fn folders_that_were_named_count_alone_and_must_exist() {
    let esp = Partition::new();
    esp.file(&local("x.cred"), "1").file("other/y.cred", "2");
    esp.file("global/credentials/z.cred", "3");
    symlink("other", esp.path("link")).unwrap();
    let folders = |local: &str, global: Option<&str>| Companions::Folders {
        local: Some(esp.path(local)),
        global: global.map(|it| esp.path(it)),
    };
    esp.check(
        IMAGE,
        &folders("link", None),
        &expect![[r#"
        Credential of Image: y.cred = 2
        moved: 1
    "#]],
    );
    esp.check(
        IMAGE,
        &folders("other", Some("global")),
        &expect![[r#"
            Credential of Credentials: z.cred = 3
            Credential of Image: y.cred = 2
            moved: 2
        "#]],
    );
    esp.check(
        IMAGE,
        &folders("absent", None),
        &expect!["cannot look for companions in /absent: No such file or directory (os error 2)"],
    );
    esp.check(
        IMAGE,
        &folders("other", Some("absent")),
        &expect!["cannot look for companions in /absent: No such file or directory (os error 2)"],
    );
    esp.mode("other", 0o777);
    esp.check(
        IMAGE,
        &folders("other", None),
        &expect![[r#"
        not /other: everybody may write to it
        warning: /other: passed over: everybody may write to it
        moved: 0
    "#]],
    );
}

#[test]
fn secrets_lie_behind_the_companions() {
    let esp = Partition::new();
    esp.file(&local("x.cred"), "1").file("phrase", "secret");
    let path = esp.path("phrase");
    let secret = format!("cryptsetup.passphrase={}", path.display());
    let text = esp.take(IMAGE, &Companions::Auto, &[&secret]).unwrap();
    expect![[r#"
        Credential of Image: x.cred = 1
        secret cryptsetup.passphrase = secret
        moved: 7
    "#]]
    .assert_eq(&text);
    fs::write(path, vec![b'x'; (1 << 20) + 1]).unwrap();
    let error = esp.take(IMAGE, &Companions::Auto, &[&secret]).unwrap_err();
    assert!(!sentence(&error).contains("xx"));
    assert!(sentence(&error).ends_with("expected at most 1048576 bytes, found more"));
}

#[test]
fn a_warning_names_what_load_adds() {
    let esp = Partition::new();
    for name in ["1.raw", "2.raw", "3.raw", "4.raw", "5.raw", "\u{1b}.raw"] {
        esp.file(&local(name), "");
    }
    esp.file("loader/addons/a.addon.efi", "");
    let listing = esp.find(IMAGE, &Companions::Auto).unwrap();
    let root = esp.path("").display().to_string();
    let warning = listing.warning().unwrap().replace(&root, "/");
    expect!["`ukexec load` adds companions, which are not looked at here: a.addon.efi of /loader/addons; 1.raw, 2.raw, 3.raw, 4.raw and 1 more of /EFI/Linux/a.efi.extra.d"].assert_eq(&warning);
    let empty = Partition::new();
    assert!(
        empty
            .find(IMAGE, &Companions::Auto)
            .unwrap()
            .warning()
            .is_none()
    );
}

#[test]
fn the_lowest_root_that_was_named_counts() {
    let esp = Partition::new();
    let real = esp.path(IMAGE);
    let root = |named: &[&str]| {
        let named: Vec<_> = named.iter().map(|it| esp.path(it)).collect();
        partition(&real, &named)
    };
    assert_eq!(root(&["", "EFI"]).unwrap(), (esp.path("EFI"), true));
    fs::create_dir(esp.path("elsewhere")).unwrap();
    let (highest, is_named) = root(&["elsewhere"]).unwrap();
    assert!(!is_named);
    assert!(real.starts_with(&highest) && highest.components().count() < 4);
    let error = sentence(&root(&["absent"]).unwrap_err());
    assert!(
        error.ends_with("absent: No such file or directory (os error 2)"),
        "{error}"
    );
}

/// They are taken in the entry's order, whoever may have written them.
#[test]
fn files_of_an_entry_count_by_their_suffix() {
    let partition = Partition::new();
    let paths = [
        "x/b.cred",
        "x/empty.cred",
        "x/tools.raw",
        "x/A.SYSEXT.RAW",
        "x/a.cred",
        "x/n.confext.raw",
    ];
    for path in paths {
        let content = if path.contains("empty") { "" } else { path };
        partition.file(path, content).mode(path, 0o666);
    }
    expect![[r#"
        Credential of Entry: b.cred = x/b.cred
        Sysext of Entry: A.SYSEXT.RAW = x/A.SYSEXT.RAW
        Credential of Entry: a.cred = x/a.cred
        Confext of Entry: n.confext.raw = x/n.confext.raw
        not /x/empty.cred (Credential): it is empty
        not /x/tools.raw: its name ends with none of .cred, .sysext.raw and .confext.raw
        warning: /x/tools.raw: passed over: its name ends with none of .cred, .sysext.raw and .confext.raw
        moved: 45
    "#]].assert_eq(&partition.extra(&paths).unwrap());
    assert_eq!(partition.extra(&[]).unwrap(), "moved: 0\n");
    let long = partition.path("x/long.cred");
    fs::File::create(&long)
        .unwrap()
        .set_len((3 << 29) + 1)
        .unwrap();
    let error = sentence(&partition.extra(&["x/long.cred"]).unwrap_err());
    assert!(error.contains("more than 1610612736 bytes"), "{error}");
}
