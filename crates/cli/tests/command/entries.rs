//! Boot entries: the list of them, and what is made of one that is named.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use expect_test::expect;
use serde_json::Value;

use crate::after_exec::VENDOR;
use crate::images::{X86_64, kernel, pe};
use crate::machine::Outcome;
use crate::{check, folder, run, streams};

/// A partition with an image of two profiles, an entry for a kernel with two initrds, and
/// entries that cannot be loaded.
fn partition() -> tempfile::TempDir {
    let esp = folder(&[]);
    fill(esp.path());
    esp
}

/// Puts the files of that partition below `esp`.
pub(crate) fn fill(esp: &Path) {
    let release = b"ID=debian\nPRETTY_NAME=\"Debian 13\"\nVERSION_ID=13\n";
    let image = pe(
        X86_64,
        &[
            (".linux", &kernel()),
            (".osrel", release),
            (".cmdline", b"of=base"),
            (".initrd", b"070701 image's"),
            (".profile", b"ID=main\nTITLE=Main"),
            (".profile", b"ID=dbg\nTITLE=Debugging"),
            (".cmdline", b"of=dbg"),
        ],
    );
    let keys = "title Old Debian\nsort-key debian\nversion 12\nlinux /old/vmlinuz\n\
                initrd /old/ucode.cpio\ninitrd /old/initrd.cpio\noptions quiet\noptions old=1\n";
    for (name, content) in [
        ("EFI/Linux/debian.efi", &image[..]),
        ("EFI/Linux/no-os.efi", &pe(X86_64, &[(".linux", &kernel())])),
        ("loader/loader.conf", b"default debian.efi*\n"),
        ("loader/entries/old.conf", keys.as_bytes()),
        ("loader/entries/gone.conf", b"title Gone\nlinux /gone\n"),
        ("loader/entries/out.conf", b"title Out\nlinux /../secret\n"),
        ("loader/entries/link.conf", b"title Link\nlinux /link\n"),
        (
            "loader/entries/uki.conf",
            b"title Other words\nuki /EFI/Linux/debian.efi\noptions its=own\nprofile 1\nextra /a.cred\n",
        ),
        (
            "loader/entries/shell.conf",
            b"title Shell\nefi /EFI/Linux/debian.efi\n",
        ),
        (
            "loader/entries/tab.conf",
            b"title Tab\nuki /EFI/Linux/debian.efi\noptions a\tb\nprofile 1\n",
        ),
        ("loader/entries/bad+0-3.conf", b"title Bad\nlinux /old/vmlinuz\n"),
        ("a.cred", b"a secret"),
        ("old/vmlinuz", &kernel()),
        ("old/ucode.cpio", b"070701 ucode"),
        ("old/initrd.cpio", b"070701 old"),
    ] {
        let path = esp.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("room for a file");
    }
    symlink("old/vmlinuz", esp.join("link")).expect("a link");
    symlink("old.conf", esp.join("loader/entries/z.conf")).expect("a link");
}

/// Returns what `ukexec` with `args` says of that partition as a document, without a
/// variable of the machine that the test runs on.
fn document(args: &[&str]) -> Value {
    let (esp, variables) = (partition(), folder(&[]));
    let path = |dir: &tempfile::TempDir| dir.path().display().to_string();
    let [esp_path, variables] = [path(&esp), path(&variables)];
    let more = ["--json", "--esp", &esp_path, "--efivars", &variables];
    let output = run(esp.path(), &[args, &more].concat());
    serde_json::from_str(&streams(&output)[0]).expect("it is a document")
}

#[test]
fn entries_are_listed_best_first() {
    let esp = partition();
    let args = ["entries", "--efivars", ".", "--esp", "."];
    check(
        esp.path(),
        &args,
        0,
        expect![[r#"
            entry            title                  version  size  signature
            debian.efi@main  Debian 13 (Main)       13      32.0 KiB  unsigned  default
            debian.efi@dbg   Debian 13 (Debugging)  13      32.0 KiB  unsigned
            old.conf         Old Debian             12      1.5 KiB  unsigned
            uki.conf         Other words                    32.0 KiB  unsigned
            tab.conf         Tab                            32.0 KiB  unsigned
            shell.conf       Shell                              cannot be loaded: it boots a program for
                                                              firmware, no kernel
            out.conf         Out                                cannot be loaded: it names no program to boot,
                                                              or several kinds
            link.conf        Link                               cannot be loaded: link: expected a regular
                                                              file, found a symbolic link
            gone.conf        Gone                               cannot be loaded: gone: no such file
            bad.conf         Bad                            1.5 KiB  unsigned  no tries left
              passed over  ./EFI/Linux/no-os.efi: it has no section .osrel with a name in it
              passed over  ./loader/entries/z.conf: it is a symbolic link
            --
        "#]],
    );
}

#[test]
fn a_document_has_what_bootctl_has() {
    let document = document(&["entries"]);
    let entries = document["entries"].as_array().expect("a list");
    let names: Vec<_> = entries
        .iter()
        .map(|it| it["id"].as_str().expect("an ID"))
        .collect();
    assert_eq!(names[..2], ["debian.efi@main", "debian.efi@dbg"]);
    let old = entries
        .iter()
        .find(|it| it["id"] == "old.conf")
        .expect("an entry");
    assert_eq!(old["options"], "quiet old=1");
    assert_eq!(old["initrd"].as_array().map(Vec::len), Some(2));
    assert_eq!(old["size"], kernel().len());
    assert_eq!(
        (&old["loadable"], &old["signed"]),
        (&true.into(), &false.into())
    );
    assert_eq!(entries.iter().filter(|it| it["default"] == true).count(), 1);
    assert_eq!(entries[0]["default"], true);
}

#[test]
fn an_entry_of_a_kernel_has_its_initrds_and_its_options() {
    let document = document(&["load", "--dry-run", "--entry", "old", "--smbios=none"]);
    assert_eq!(document["entry"]["id"], "old.conf");
    assert_eq!(document["entry"]["title"], "Old Debian");
    assert_eq!(document["cmdline"]["text"], "quiet old=1");
    // Both, the first with its padding.
    assert_eq!(document["load"]["initrd"]["size"], 12 + 10);
    assert!(
        document["image"]["path"]
            .as_str()
            .is_some_and(|it| it.ends_with("/old/vmlinuz"))
    );
}

#[test]
fn an_entry_of_an_image_has_a_profile_and_words_of_its_own() {
    let line = |args: &[&str]| {
        let args = [&["load", "--dry-run", "--smbios=none"], args].concat();
        document(&args)["cmdline"]["text"].clone()
    };
    assert_eq!(line(&["--entry", "debian.efi@dbg"]), "of=dbg");
    assert_eq!(line(&["--entry", "DEBIAN@1"]), "of=dbg");
    assert_eq!(line(&["--entry", "default"]), "of=base");
    assert_eq!(line(&["--entry", "uki"]), "its=own");
    // The stub hears neither of these options nor of the profile.
    assert_eq!(line(&["--entry", "tab"]), "of=base");
    assert_eq!(
        line(&["--entry", "uki", "--append", "more"]),
        "its=own more"
    );
    assert_eq!(line(&["--entry", "uki", "--cmdline", "mine"]), "mine");
    assert_eq!(
        line(&["--entry", "debian.efi", "--profile", "dbg"]),
        "of=dbg"
    );
}

/// Returns which entry a load with `args` names where systemd-boot `selected` one, and the
/// advice about the current entry.
fn current(selected: &str, args: &[&str]) -> String {
    let (esp, variables) = (partition(), folder(&[]));
    let efivars = variables.path().join("efivars");
    fs::create_dir_all(&efivars).expect("a folder");
    let text = selected
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes);
    let bytes: Vec<u8> = [6, 0, 0, 0].into_iter().chain(text).collect();
    fs::write(efivars.join(format!("LoaderEntrySelected-{VENDOR}")), bytes).expect("room");
    let variables = variables.path().display().to_string();
    let load = ["load", "--dry-run", "--json", "--smbios=none", "--esp", "."];
    let more = ["--efivars", &variables];
    let output = run(esp.path(), &[&load, &more[..], args].concat());
    let document: Value = serde_json::from_str(&streams(&output)[0]).expect("it is a document");
    let conditions = document["preflight"].as_array().expect("an array");
    let row = conditions.iter().find(|it| it["id"] == "current-entry");
    let advice = row.map_or("no warning", |it| it["advice"].as_str().expect("advice"));
    let id = document["entry"]["id"].as_str().expect("an ID");
    format!("{id}: {advice}\n")
}

#[test]
fn the_entry_is_that_of_the_profile_that_counts() {
    let lines = [
        current("debian.efi", &["--entry", "debian.efi"]),
        current("debian.efi", &["--entry", "debian.efi", "--profile", "0"]),
        current("debian.efi", &["--entry", "debian.efi", "--profile", "dbg"]),
        current(
            "debian.efi@dbg",
            &["--entry", "debian.efi", "--profile", "1"],
        ),
        current(
            "debian.efi",
            &["--entry", "debian.efi", "--cmdline", "@1 a"],
        ),
        current("debian.efi@dbg", &["--entry", "debian.efi"]),
        current("debian.efi", &["--entry", "debian@1", "--profile", "main"]),
        current("uki.conf", &["--entry", "uki"]),
        current("uki.conf", &["--entry", "uki", "--profile", "1"]),
        // No entry has this profile of the image.
        current("uki.conf", &["--entry", "uki", "--profile", "0"]),
    ];
    expect![[r#"
        debian.efi@main: no warning
        debian.efi@main: no warning
        debian.efi@dbg: name the one to set: `bootctl set-default debian.efi@dbg`
        debian.efi@dbg: no warning
        debian.efi@dbg: name the one to set: `bootctl set-default debian.efi@dbg`
        debian.efi@main: name the one to set: `bootctl set-default debian.efi`
        debian.efi@main: no warning
        uki.conf: no warning
        uki.conf: no warning
        uki.conf: name the one to set: `bootctl set-default uki.conf`
    "#]]
    .assert_eq(&lines.concat());
}

#[test]
fn the_device_tree_of_an_entry_is_a_condition() {
    let esp = partition();
    let tree = "title Tree\nlinux /old/vmlinuz\ndevicetree /old/board.dtb\n";
    fs::write(esp.path().join("loader/entries/tree.conf"), tree).expect("room for a file");
    let load = [
        "load",
        "--dry-run",
        "--smbios=none",
        "--efivars",
        ".",
        "--esp",
        ".",
    ];
    let entry = ["--entry", "tree"];
    let text = "the device tree old/board.dtb of the boot entry tree.conf stays here; \
                --dtb FILE takes one along, by kexec_load on arm64 and riscv64";
    let page = streams(&run(esp.path(), &[&load[..], &entry].concat()));
    assert_eq!(page[1].matches(text).count(), 1, "{page:?}");
    let output = run(esp.path(), &[&load[..], &entry, &["--json"]].concat());
    let document: Value = serde_json::from_str(&streams(&output)[0]).expect("it is a document");
    let conditions = document["preflight"].as_array().expect("an array");
    let rows: Vec<_> = conditions
        .iter()
        .filter(|it| it["id"] == "device-tree")
        .collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["text"], &rows[0]["verdict"]),
        (&text.into(), &"warning".into())
    );
}

#[test]
fn unfold_names_the_extra_files_that_a_load_takes() {
    let esp = partition();
    let keys = "title Extra\nuki /EFI/Linux/debian.efi\nextra /a.cred\nextra /empty.cred\nextra /old/vmlinuz\n";
    fs::write(esp.path().join("loader/entries/extra.conf"), keys).expect("room for a file");
    fs::write(esp.path().join("empty.cred"), "").expect("room for a file");
    let args = [
        "unfold",
        "-o",
        "parts",
        "--efivars",
        ".",
        "--esp",
        ".",
        "--entry",
        "extra",
    ];
    let [_, stderr] = streams(&run(esp.path(), &args));
    let warning = "`ukexec load` adds extra files of the entry: a.cred\n";
    assert!(stderr.contains(warning), "{stderr}");
    fs::write(esp.path().join("a.cred"), "").expect("room for a file");
    let [_, stderr] = streams(&run(esp.path(), &[&args[..], &["--force"]].concat()));
    assert!(!stderr.contains("extra files"), "{stderr}");
}

#[test]
fn an_entry_that_cannot_be_loaded_says_why() {
    let failure = |entry: &str| {
        let document = document(&["load", "--dry-run", "--entry", entry]);
        document["error"]["message"]
            .as_str()
            .expect("it fails")
            .to_owned()
    };
    let all = ["gone", "out", "link", "shell", "nobody", "oneshot"].map(failure);
    expect![[r#"
        cannot load the boot entry gone.conf: gone: no such file
        cannot load the boot entry out.conf: it names no program to boot, or several kinds
        cannot load the boot entry link.conf: link: expected a regular file, found a symbolic link
        cannot load the boot entry shell.conf: it boots a program for firmware, no kernel
        no boot entry has ID "nobody"; there are debian.efi@main, debian.efi@dbg, old.conf, uki.conf, tab.conf, shell.conf, out.conf, link.conf, gone.conf, bad.conf
        no boot entry is named: the variable LoaderEntryOneShot is not set; there are debian.efi@main, debian.efi@dbg, old.conf, uki.conf, tab.conf, shell.conf, out.conf, link.conf, gone.conf, bad.conf"#]].assert_eq(&all.join("\n"));
}

/// Entries of the other folder are still listed.
#[test]
fn a_folder_that_is_a_link_is_passed_over() {
    let esp = partition();
    let moved = esp.path().join("elsewhere");
    fs::rename(esp.path().join("EFI"), &moved).expect("a folder moves");
    symlink(&moved, esp.path().join("EFI")).expect("a link");
    let args = ["entries", "--json", "--efivars", ".", "--esp", "."];
    let output = run(esp.path(), &args);
    let document: Value = serde_json::from_str(&streams(&output)[0]).expect("a document");
    let first = &document["passed_over"][0];
    assert_eq!(first["path"], "./EFI/Linux");
    let reason = "found a symbolic link, which is not followed";
    assert_eq!(first["reason"], reason);
    assert_eq!(document["entries"][0]["id"], "old.conf");
}

#[test]
fn without_a_partition_the_places_are_named() {
    let root = folder(&[]);
    let output = run(root.path(), &["entries", "--root", "."]);
    let Outcome { stderr, code, .. } = Outcome::of(&output);
    assert_eq!(code, 1);
    expect![[r#"
        ukexec: no EFI system partition: tried ./efi (no such folder), ./boot (no such folder), ./boot/efi (no such folder); --esp DIR names the folder where it is mounted
    "#]].assert_eq(&stderr);
    let output = run(root.path(), &["entries", "--esp", "absent"]);
    assert!(streams(&output)[1].contains("absent"), "{output:?}");
}

#[test]
fn a_script_names_an_image_or_an_entry() {
    for command in ["load", "inspect", "unfold"] {
        let output = run(
            Path::new("."),
            &[command, "-o", "x"][..if command == "unfold" { 3 } else { 1 }],
        );
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(
            streams(&output)[1].contains("expected an IMAGE or --entry"),
            "{output:?}"
        );
        let both = run(Path::new("."), &[command, "a.efi", "--entry", "b"]);
        assert_eq!(both.status.code(), Some(2), "{both:?}");
    }
}
