//! Debian's own kdump, with an image as its capture kernel: its scripts are as Debian ships them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::debian;
use crate::guest::TAG;
use crate::server::Server;
use crate::stand::Stand;

use super::{Named, read};

pub(super) const CASES: &[Named] = &[
    Named::new("kdump/dump-in-bookworm", |stand| dump(stand, "bookworm")),
    Named::new("kdump/dump-in-trixie", |stand| dump(stand, "trixie")),
    Named::new("kdump/call-in-bookworm", |stand| call(stand, "bookworm")),
    Named::new("kdump/call-in-trixie", |stand| call(stand, "trixie")),
];

/// The settings for an image that brings its initrd.
const SETTINGS: &str = "USE_KDUMP=1\nKDUMP_KERNEL=/boot/capture.efi\nKDUMP_INITRD=\n";

/// An emulated machine needs it; `docs/kdump.md` has the same number.
const CRASHKERNEL: &str = "crashkernel=256M";

/// `kdump-tools.service` has loaded the image. The script loads another over it and unloads that, loads the image, loads
/// it again as udev does, and crashes.
const SCRIPT: &str = r#"
loaded() { cat /sys/kernel/kexec_crash_loaded; }
call() { kexec -p --command-line=unused /boot/capture.efi; }
run systemctl is-active --quiet kdump-tools.service
say "service=$(loaded)"
say "said=$(call 2>&1)"
export -f call
say "processes=$(unshare --pid --fork --mount-proc bash -c 'call; read last </proc/sys/kernel/ns_last_pid; echo $last')"
run kdump-config unload
say "unload=$(loaded)"
run kdump-config load
say "load=$(loaded)"
run kdump-config try-reload
say "try-reload=$(loaded)"
say "status=$(kdump-config status)"
sync
echo c > /proc/sysrq-trigger
say survived
"#;

/// `kexec -p` over a loaded kernel prints nothing, and is one process with one worker behind the shell.
const EXPECTED: &[(&str, &str)] = &[
    ("service", "1"),
    ("unload", "0"),
    ("load", "1"),
    ("try-reload", "1"),
    ("said", ""),
    ("processes", "3"),
];

/// A server crashes. The capture kernel of the image starts with the image's initrd, and Debian's service writes the
/// dump to the server's disk.
fn dump(stand: &Stand, suite: &'static str) -> Result<()> {
    let server = Server::new(stand, suite, SCRIPT)?;
    server.file("etc/default/kdump-tools", SETTINGS)?;
    server.image("boot/capture.efi", "unused", "")?;
    let serial = server.boot("crash", CRASHKERNEL, &["-nic", "none"])?;
    stand.file("serial.txt", serial.text())?;
    for (tag, value) in EXPECTED {
        serial.expect(&format!("{TAG}{tag}="), value)?;
    }
    serial.expect(&format!("{TAG}initrd=unused"), "")?;
    ensure!(serial.count(&format!("{TAG}survived")) == 0, "no crash");
    dumped(&server.fetch("/var/crash")?)
}

/// The folder has a dump that `makedumpfile` wrote, and the words of the kernel that crashed.
fn dumped(folder: &Path) -> Result<()> {
    let file = |prefix: &str| {
        let found = walk(folder)?.into_iter().find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        });
        found.with_context(|| format!("no file {prefix}* in {}", folder.display()))
    };
    let dump = read(&file("dump.")?)?;
    // makedumpfile, `makedumpfile.h` and `diskdump_mod.h`: the header of a stream, and that of the dump in it.
    ensure!(
        dump.starts_with(b"makedumpfile\0")
            && dump.windows(8).take(1 << 16).any(|it| it == b"KDUMP   "),
        "this is no dump: {:?}",
        dump.get(..16)
    );
    ensure!(dump.len() > 1 << 20, "the dump has {} bytes", dump.len());
    let words = read(&file("dmesg.")?)?;
    let words = String::from_utf8_lossy(&words);
    ensure!(
        words.contains("sysrq: Trigger a crash"),
        "another kernel crashed:\n{words}"
    );
    println!(
        "a dump of {} bytes, {} lines of the crashed kernel",
        dump.len(),
        words.lines().count()
    );
    Ok(())
}

fn walk(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(walk(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// `kdump-config` hands the image over as it is, and names no initrd.
fn call(stand: &Stand, suite: &str) -> Result<()> {
    let root = stand.path("root");
    debian::copy(&debian::root(suite, debian::SERVER)?, &root)?;
    let settings = format!("{SETTINGS}KDUMP_CMDLINE=one\nKDUMP_CMDLINE_APPEND=two\n");
    fs::write(root.join("etc/default/kdump-tools"), settings)?;
    fs::write(root.join("boot/capture.efi"), "MZ")?;
    let said = debian::inside(&root)
        .args(["kdump-config", "test"])
        .text()?;
    let expected = "/sbin/kexec -p --command-line=\"one two\" /boot/capture.efi";
    ensure!(
        said.lines().any(|line| line.trim() == expected),
        "expected the line {expected:?}, found:\n{said}"
    );
    Ok(())
}
