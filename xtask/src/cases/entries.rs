//! Lists of boot entries, compared with those of the newest bootctl.
//!
//! bootctl reads partitions that are plain folders if it is asked to. It takes XBOOTLDR for one of its own only where
//! that is on another device than the ESP, so the one here lies in `/dev/shm`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::command::Tool;
use crate::kept::remove;
use crate::materials::{Systemd, bootctl, newest_systemd};
use crate::stand::Stand;
use crate::uki::Ukify;

use super::edited::Edited;
use super::{Named, read};

pub(super) const CASES: &[Named] = &[
    Named::new("entries/bootctl", same_as_bootctl),
    Named::new("entries/hostile", hostile),
];

/// So much memory and time a list may cost, whatever the partition holds. Most of the time is that of a debug build.
const MEMORY_LIMIT: u64 = 60 << 20;
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// So many bytes of an image with the largest initrds that there are.
const LARGE_IMAGE: u64 = 60 << 20;

/// Memory that every Linux machine has as a file system.
const OTHER_DEVICE: &str = "/dev/shm";

/// An image of this name is made for each row that has its path.
const IMAGES: [(&str, &str); 4] = [
    (
        "plain",
        "ID=debian\nPRETTY_NAME=\"Debian 13\"\nVERSION_ID=13\n",
    ),
    (
        "newer",
        "ID=debian\nPRETTY_NAME='Debian 14'\nVERSION_ID=13\nVERSION_ID=14\n# IMAGE_ID=x\n",
    ),
    (
        "image",
        "ID=debian\nIMAGE_ID=kiosk\nIMAGE_VERSION=7\nNAME=Kiosk\n",
    ),
    ("nameless", "VERSION_ID=13\n"),
];

/// An image with three profiles: with ID, with ID and title, and with neither.
const PROFILES: &str = "profiles";

/// Partitions, and in what the lists of both differ.
struct Row {
    name: &'static str,
    /// Paths and contents. Those of XBOOTLDR have `x:` in front; an image is the name of one.
    files: &'static [(&'static str, &'static str)],
    differs: Option<Difference>,
}

/// A difference that is meant.
struct Difference {
    /// The IDs of bootctl's list and of ours, with a `*` behind the default's.
    bootctl: &'static str,
    ukexec: &'static str,
}

const fn equal(name: &'static str, files: &'static [(&'static str, &'static str)]) -> Row {
    let differs = None;
    Row {
        name,
        files,
        differs,
    }
}

const fn differs(
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    [bootctl, ukexec]: [&'static str; 2],
) -> Row {
    Row {
        name,
        files,
        differs: Some(Difference { bootctl, ukexec }),
    }
}

const ROWS: &[Row] = &[
    equal(
        "all kinds",
        &[
            (
                "loader/entries/a.conf",
                "title A\nsort-key debian\nversion 6.1\nmachine-id m\nlinux /k\ninitrd /i\ninitrd /j\noptions a\noptions b",
            ),
            (
                "loader/entries/b.conf",
                "title A\nsort-key debian\nversion 6.10\nmachine-id m\nlinux /k",
            ),
            (
                "loader/entries/c.conf",
                "title A\nsort-key debian\nversion 6.10\nmachine-id n\nlinux /k",
            ),
            (
                "loader/entries/d+3.conf",
                "uki /u\nprofile 2\noptions x\nextra /x.cred",
            ),
            ("loader/entries/e+0-3.conf", "sort-key a\nefi /e"),
            (
                "x:loader/entries/f.conf",
                "uki-url http://localhost/u\ntitle A",
            ),
            ("EFI/Linux/plain.efi", "plain"),
            ("EFI/Linux/new+2-1.efi", "newer"),
            ("x:EFI/Linux/kiosk_7+0.efi", "image"),
            ("x:EFI/Linux/prof.EFI", PROFILES),
            ("EFI/Linux/nameless.efi", "nameless"),
            ("EFI/Linux/no-image.efi", "title x"),
        ],
    ),
    equal(
        "a pattern",
        &[
            (
                "loader/loader.conf",
                "timeout 3\ndefault DEBIAN-6.1[0-2]*\n",
            ),
            ("loader/entries/debian-6.1.conf", "linux /k"),
            ("loader/entries/debian-6.12.conf", "linux /k"),
            ("loader/entries/debian-6.9.conf", "linux /k"),
        ],
    ),
    equal(
        "a preferred entry",
        &[
            ("loader/loader.conf", "default b*\npreferred a?conf\n"),
            ("loader/entries/a.conf", "linux /k"),
            ("loader/entries/b.conf", "linux /k"),
        ],
    ),
    equal(
        "a profile",
        &[
            ("loader/loader.conf", "default *@dbg\n"),
            ("EFI/Linux/prof+3-1.efi", PROFILES),
        ],
    ),
    equal(
        "versions",
        &[
            (
                "loader/entries/a.conf",
                "sort-key k\nversion 123~rc1-1\nlinux /k",
            ),
            (
                "loader/entries/b.conf",
                "sort-key k\nversion 123-a\nlinux /k",
            ),
            (
                "loader/entries/c.conf",
                "sort-key k\nversion 123^post1\nlinux /k",
            ),
            (
                "loader/entries/d.conf",
                "sort-key k\nversion 123.a-1\nlinux /k",
            ),
            (
                "loader/entries/e.conf",
                "sort-key k\nversion 123a-1\nlinux /k",
            ),
            (
                "loader/entries/f.conf",
                "sort-key k\nversion 0123\nlinux /k",
            ),
            ("loader/entries/g.conf", "sort-key k\nlinux /k"),
        ],
    ),
    equal(
        "names",
        &[
            ("loader/entries/.hidden.conf", "linux /k"),
            ("loader/entries/a b.conf", "linux /k"),
            ("loader/entries/ä.conf", "linux /k"),
            ("loader/entries/text.txt", "linux /k"),
            ("loader/entries/UPPER.CONF", "linux /k"),
            ("loader/entries/x+1+2-3.conf", "linux /k"),
            ("loader/entries/y+2147483648.conf", "linux /k"),
            ("loader/entries/z+1-.conf", "linux /k"),
        ],
    ),
    equal(
        "paths and lines",
        &[
            (
                "loader/entries/a.conf",
                " sort-key\tA \n#title B\nlinux k\nlinux ../k\nlinux k/\nunknown x\noptions\n",
            ),
            ("loader/entries/b.conf", "profile x\nlinux /k"),
            (
                "loader/entries/c.conf",
                "architecture aa64\nlinux /k\r\ntitle C",
            ),
            ("loader/entries/d.conf", ""),
            ("loader/entries/e.conf", "linux /k\nuki /u"),
        ],
    ),
    // systemd-boot compares names without case.
    differs(
        "capitals",
        &[
            ("loader/entries/B.conf", "linux /k"),
            ("loader/entries/a.conf", "linux /k"),
        ],
        ["a.conf* B.conf", "B.conf* a.conf"],
    ),
    equal(
        "a file of keys beside an image",
        &[
            (
                "loader/entries/z.conf",
                "sort-key debian\nversion 13\nlinux /k",
            ),
            ("EFI/Linux/prof.efi", PROFILES),
        ],
    ),
    // A preferred entry has tries left.
    differs(
        "a preferred entry without tries",
        &[
            ("loader/loader.conf", "preferred a.conf\n"),
            ("loader/entries/a+0.conf", "linux /k"),
            ("loader/entries/b.conf", "linux /k"),
        ],
        ["b.conf a.conf*", "b.conf* a.conf"],
    ),
    // For systemd-boot, the first profile's ID is the name of the file.
    differs(
        "the first profile",
        &[
            ("loader/loader.conf", "default prof.efi\n"),
            ("loader/entries/z.conf", "sort-key a\nlinux /k"),
            ("EFI/Linux/prof.efi", PROFILES),
        ],
        [
            "z.conf* prof.efi@main prof.efi@dbg prof.efi@2",
            "z.conf prof.efi@main* prof.efi@dbg prof.efi@2",
        ],
    ),
    // Without a word, the default is for a first profile.
    differs(
        "a second profile first",
        &[
            ("loader/entries/b.conf", "uki /u\nprofile 1"),
            ("loader/entries/a.conf", "linux /k"),
        ],
        ["b.conf* a.conf", "b.conf a.conf*"],
    ),
    // systemd-boot passes these over.
    differs(
        "entries that are passed over",
        &[
            ("loader/entries/d.conf", "title nothing"),
            ("loader/entries/c.conf", "linux /k\nuki /u"),
            ("loader/entries/b.conf", "architecture aa64\nlinux /k"),
            ("loader/entries/auto-a.conf", "sort-key a\nlinux /k"),
            ("loader/entries/a.conf", "linux /k"),
        ],
        [
            "auto-a.conf* d.conf c.conf b.conf a.conf",
            "auto-a.conf d.conf c.conf b.conf a.conf*",
        ],
    ),
    // systemd-boot ignores a word that it does not know.
    differs(
        "an unknown word",
        &[
            ("loader/loader.conf", "default a.conf\ndefault @unknown\n"),
            ("loader/entries/a.conf", "linux /k"),
            ("loader/entries/b.conf", "linux /k"),
        ],
        ["b.conf* a.conf", "b.conf a.conf*"],
    ),
    // systemd-boot takes quotes off.
    differs(
        "quotes",
        &[
            ("loader/entries/a.conf", "sort-key \"b\"\nlinux /k"),
            ("loader/entries/b.conf", "sort-key a\nlinux /k"),
        ],
        ["a.conf* b.conf", "b.conf* a.conf"],
    ),
    // fnmatch(3) of bootctl knows sets that systemd-boot does not.
    differs(
        "a set without some",
        &[
            ("loader/loader.conf", "default [!b].conf\n"),
            ("loader/entries/a.conf", "linux /k"),
            ("loader/entries/b.conf", "linux /k"),
        ],
        ["b.conf a.conf*", "b.conf* a.conf"],
    ),
];

fn same_as_bootctl(stand: &Stand) -> Result<()> {
    let images = Images::make(stand)?;
    let other = Folder::new(stand)?;
    let mut findings = Vec::new();
    for row in ROWS {
        let [esp, boot] = [stand.path("esp"), other.0.clone()];
        for folder in [&esp, &boot] {
            remove(folder)?;
            fs::create_dir_all(folder.join("loader/entries"))?;
            fs::create_dir_all(folder.join("EFI/Linux"))?;
        }
        for (path, content) in row.files {
            let path = match path.strip_prefix("x:") {
                Some(path) => boot.join(path),
                None => esp.join(path),
            };
            fs::write(path, images.content(content)?)?;
        }
        if let Err(error) = row.check(stand, &esp, &boot) {
            findings.push(format!("row {:?}: {error:#}", row.name));
        }
    }
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

/// Partitions of somebody who means harm, and one with a hundred large images.
fn hostile(stand: &Stand) -> Result<()> {
    let images = Images::make(stand)?;
    let esp = stand.path("esp");
    let [keys, linux] = ["loader/entries", "EFI/Linux"].map(|folder| esp.join(folder));
    for folder in [&keys, &linux] {
        fs::create_dir_all(folder)?;
    }
    let image = images.content(IMAGES[0].0)?;
    for number in 0..100 {
        let path = linux.join(format!("large-{number}.efi"));
        fs::write(&path, &image)?;
        File::options()
            .write(true)
            .open(path)?
            .set_len(LARGE_IMAGE)?;
    }
    check_costs(stand, &esp, 100, &[])?;
    let mut lies = Edited(image);
    let header = lies.last_section(".osrel")?;
    lies = lies.with(header + 20, &[0xff; 4])?;
    fs::write(linux.join("a-lie.efi"), lies.0)?;
    Tool::new("mkfifo").arg(linux.join("a-pipe.efi")).run()?;
    std::os::unix::fs::symlink("/etc/passwd", linux.join("a-link.efi"))?;
    let odd = [&b"a \x1b[31m.efi"[..], b"a\xff.efi", b"a\n.efi"].map(OsStr::from_bytes);
    for name in odd {
        fs::write(linux.join(name), "")?;
    }
    fs::write(
        keys.join("0-outside.conf"),
        "linux ../../../../etc/passwd\n",
    )?;
    fs::write(keys.join("0-long.conf"), "x".repeat(1 << 20))?;
    for number in 0..100_000 {
        let path = keys.join(format!("{number:06}.conf"));
        fs::write(path, "title T\nsort-key s\nversion 1\nefi /e\n")?;
    }
    let passed_over = [
        r"a \u{1b}[31m.efi",
        r"a\u{a}.efi",
        r"a\xff.efi",
        "a-lie.efi",
        "a-link.efi",
        "a-pipe.efi",
        "0-long.conf",
    ];
    check_costs(stand, &esp, 100 + 4095, &passed_over)
}

/// Checks how many entries there are, some of the files that are passed over, and the costs.
fn check_costs(stand: &Stand, esp: &Path, count: usize, passed_over: &[&str]) -> Result<()> {
    let no_variables = stand.path("efivars");
    fs::create_dir_all(&no_variables)?;
    let (output, usage) = stand.measure(&[
        &"entries",
        &"--json",
        &"--esp",
        &esp,
        &"--efivars",
        &no_variables,
    ])?;
    let list: Value = serde_json::from_slice(&output.stdout).context("ukexec prints JSON")?;
    let len = |name: &str| list[name].as_array().map(Vec::len);
    ensure!(
        len("entries") == Some(count),
        "{:?} entries",
        len("entries")
    );
    ensure!(
        len("passed_over").is_some_and(|len| len <= 20),
        "{:?}",
        list["passed_over"]
    );
    for name in passed_over {
        let paths = list["passed_over"].as_array().into_iter().flatten();
        let mut paths = paths.filter_map(|it| it["path"].as_str());
        ensure!(
            paths.any(|it| it.ends_with(name)),
            "{name} in {}",
            list["passed_over"]
        );
    }
    ensure!(
        usage.peak_memory < MEMORY_LIMIT,
        "it held {} MiB",
        usage.peak_memory >> 20
    );
    ensure!(
        usage.processor_time < TIME_LIMIT,
        "it took {:?}",
        usage.processor_time
    );
    Ok(())
}

impl Row {
    fn check(&self, stand: &Stand, esp: &Path, boot: &Path) -> Result<()> {
        let theirs = bootctl()?
            .args(["list", "--json=short"])
            .env("SYSTEMD_RELAX_ESP_CHECKS", "1")
            .env("SYSTEMD_ESP_PATH", esp)
            .env("SYSTEMD_XBOOTLDR_PATH", boot)
            .text()?;
        let theirs: Value = serde_json::from_str(&theirs).context("bootctl prints JSON")?;
        let no_variables = stand.path("efivars");
        fs::create_dir_all(&no_variables)?;
        let ours = stand.ukexec_json(&[
            &"entries",
            &"--json",
            &"--esp",
            &esp,
            &"--boot",
            &boot,
            &"--efivars",
            &no_variables,
        ])?;
        let (theirs, ours) = (list(&theirs)?, list(&ours["entries"])?);
        let Some(difference) = &self.differs else {
            ensure!(
                theirs == ours,
                "bootctl:\n{}ukexec:\n{}",
                lines(&theirs),
                lines(&ours)
            );
            return Ok(());
        };
        for (who, list, expected) in [
            ("bootctl", theirs, difference.bootctl),
            ("ukexec", ours, difference.ukexec),
        ] {
            let ids: Vec<_> = list.iter().map(Entry::id_and_mark).collect();
            let ids = ids.join(" ");
            ensure!(ids == expected, "{who} lists {ids}, expected {expected}");
        }
        Ok(())
    }
}

/// An entry, by fields that both have.
#[derive(PartialEq)]
struct Entry {
    id: String,
    is_default: bool,
    others: Vec<Value>,
}

/// The fields of bootctl's entries, with our names for them.
const FIELDS: [(&str, &str); 13] = [
    ("type", "type"),
    ("source", "source"),
    ("path", "path"),
    ("title", "title"),
    ("showTitle", "show_title"),
    ("sortKey", "sort_key"),
    ("version", "version"),
    ("machineId", "machine_id"),
    ("architecture", "architecture"),
    ("ukiUrl", "uki_url"),
    ("profile", "profile"),
    ("triesLeft", "tries_left"),
    ("triesDone", "tries_done"),
];

fn list(entries: &Value) -> Result<Vec<Entry>> {
    let entries = entries.as_array().context("a list of entries")?;
    let is = |entry: &Value, name: &str| entry[name] == Value::Bool(true);
    let entry = |entry: &Value| {
        let value = |(theirs, ours): &(&str, &str)| {
            let value = entry.get(theirs).or_else(|| entry.get(ours));
            match *theirs {
                // bootctl has none where the file has none.
                "profile" | "triesDone" => value.filter(|it| **it != 0).cloned(),
                _ => value.cloned(),
            }
            .unwrap_or_default()
        };
        Ok(Entry {
            id: entry["id"]
                .as_str()
                .context("an entry has an ID")?
                .to_owned(),
            is_default: is(entry, "isDefault") || is(entry, "default"),
            others: FIELDS.iter().map(value).collect(),
        })
    };
    entries.iter().map(entry).collect()
}

impl Entry {
    fn id_and_mark(&self) -> String {
        let mark = if self.is_default { "*" } else { "" };
        format!("{}{mark}", self.id)
    }
}

fn lines(list: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let others = Value::from(entry.others.clone());
        format!("{} {others}\n", entry.id_and_mark())
    };
    list.iter().map(line).collect()
}

/// The images of all rows.
struct Images(PathBuf);

impl Images {
    fn make(stand: &Stand) -> Result<Self> {
        let dir = stand.path("images");
        fs::create_dir_all(&dir)?;
        let Systemd {
            stub,
            addon_stub,
            boot_loader,
            ukify,
        } = newest_systemd()?;
        // Any PE file does for a kernel.
        let image = |os_release: &str| {
            Ukify::by(&ukify, &stub)
                .linux(&boot_loader, "6.1-test")
                .text("--os-release", os_release)
        };
        for (name, os_release) in IMAGES {
            image(os_release).build(&dir.join(name))?;
        }
        let profile = |name: &str, text: &str| {
            let ukify = Ukify::by(&ukify, &addon_stub).text("--profile", text);
            ukify.text("--cmdline", "quiet").build(&dir.join(name))
        };
        let second = profile("second", "ID=dbg\nTITLE=\"Debug it\"")?;
        let third = profile("third", "FOO=bar")?;
        image(IMAGES[0].1)
            .text("--profile", "ID=main")
            .file("--join-profile", &second)
            .file("--join-profile", &third)
            .build(&dir.join(PROFILES))?;
        Ok(Self(dir))
    }

    /// The image of this name, or the text itself if there is none.
    fn content(&self, text: &str) -> Result<Vec<u8>> {
        let is_image = text == PROFILES || IMAGES.iter().any(|(name, _)| *name == text);
        if is_image {
            read(&self.0.join(text))
        } else {
            Ok(text.into())
        }
    }
}

/// A folder on another device than the stand, for the time of a case.
struct Folder(PathBuf);

impl Folder {
    fn new(stand: &Stand) -> Result<Self> {
        let folder = Self(Path::new(OTHER_DEVICE).join(format!("ukexec-{}", std::process::id())));
        fs::create_dir_all(&folder.0)?;
        let device = |path: &Path| Ok::<_, anyhow::Error>(path.metadata()?.dev());
        let differ = device(&folder.0)? != device(&stand.path(""))?;
        ensure!(
            differ,
            "{OTHER_DEVICE} is on the device of the build folder"
        );
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(remove(&self.0));
    }
}
