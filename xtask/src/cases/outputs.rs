//! Files that are written: for nobody who may not read the image, and where they were wanted.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use crate::command::Tool;
use crate::stand::Stand;

use super::edited::Edited;
use super::{Named, noise, parser_object, read};

pub(super) const CASES: &[Named] = &[
    Named::new("outputs/swapped-names", swapped),
    Named::new("outputs/permissions", permissions),
];

/// How often each command writes at least while somebody swaps names.
const RUNS: usize = 20;

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}

fn mode(path: &Path) -> Result<u32> {
    let metadata = fs::symlink_metadata(path);
    let metadata = metadata.with_context(|| format!("there is no {}", path.display()))?;
    Ok(metadata.permissions().mode() & 0o777)
}

/// A thread does what another user who owns the folder could: it moves each temporary name away
/// and puts a link to a victim in its place.
fn swapped(stand: &Stand) -> Result<()> {
    let image = stand.file("image.efi", Edited::uki(stand)?.0)?;
    let parser = parser_object("uki")?;
    let (folder, victim) = (stand.path("folder"), stand.path("victim"));
    fs::create_dir(&folder)?;
    fs::create_dir(&victim)?;
    set_mode(&victim, 0o700)?;
    let file = stand.file("victim-file", "precious")?;
    set_mode(&file, 0o600)?;
    let (swaps, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (done, runs) = thread::scope(|scope| {
        let swapper = scope.spawn(|| swap(&folder, [&victim, &file], &swaps, &stop));
        let mut run = 0;
        // The swapper may be late on a busy machine.
        while run < RUNS || (run < 10 * RUNS && swaps.load(Ordering::Relaxed) == 0) {
            run += 1;
            let out = folder.join(format!("out{run}"));
            // Whether it ends well is the swapper's to say.
            let _either = stand.ukexec(&[&"unfold", &image, &"-o", &out]);
            let out = folder.join(format!("out{run}.efi"));
            let _either = stand.ukexec(&[&"attach", &image, &parser, &"-o", &out]);
        }
        stop.store(true, Ordering::Relaxed);
        (swapper.join(), run)
    });
    done.map_err(|_panic| anyhow!("the swapper panicked"))?;
    let swaps = swaps.into_inner();
    println!("     {swaps} names swapped in {runs} runs of unfold and of attach");
    ensure!(swaps > 0, "nothing was ever swapped");
    ensure!(mode(&victim)? == 0o700, "the victim has another mode");
    ensure!(
        fs::read_dir(&victim)?.next().is_none(),
        "the victim was filled"
    );
    ensure!(mode(&file)? == 0o600, "the victim's file has another mode");
    ensure!(
        fs::read(&file)? == b"precious",
        "the victim's file was written"
    );
    Ok(())
}

/// Swaps names in `folder` until it is to `stop`, and counts them in `swaps`.
fn swap(folder: &Path, victims: [&Path; 2], swaps: &AtomicUsize, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with(".ukexec-") || path.is_symlink() {
                continue;
            }
            let victim = victims[usize::from(path.is_file())];
            let moved = folder.join(format!("moved{}", swaps.load(Ordering::Relaxed)));
            if fs::rename(&path, moved).is_ok() && symlink(victim, &path).is_ok() {
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Nobody may read a part who may not read all that it is made of.
fn permissions(stand: &Stand) -> Result<()> {
    let image = stand.file("image.efi", Edited::uki(stand)?.0)?;
    let initrd = stand.file("initrd.cpio", noise(100))?;
    let parser = parser_object("uki")?;
    let check = |image_mode, initrd_mode, expected: u32| -> Result<()> {
        set_mode(&image, image_mode)?;
        set_mode(&initrd, initrd_mode)?;
        let option = format!("--initrd={}", initrd.display());
        let parts = stand.unfold(&image, &[&option])?;
        for name in ["kernel", "initrd", "cmdline"] {
            let found = mode(&parts.path(name))?;
            ensure!(found == expected, "{name}: {found:o}, not {expected:o}");
        }
        let out = stand.path("attached.efi");
        stand.ukexec(&[&"attach", &image, &parser, &"-o", &out])?;
        let (found, expected) = (mode(&out)?, image_mode & 0o644);
        ensure!(found == expected, "attached: {found:o}, not {expected:o}");
        Ok(())
    };
    check(0o644, 0o644, 0o644)?;
    check(0o755, 0o644, 0o644)?;
    check(0o600, 0o644, 0o600)?;
    check(0o644, 0o600, 0o600)?;
    check(0o400, 0o644, 0o400)?;
    check(0o640, 0o644, 0o640)?;

    // An attached parser is a part as well.
    set_mode(&image, 0o644)?;
    let private = stand.file("private.bpf.o", read(&parser)?)?;
    set_mode(&private, 0o600)?;
    let out = stand.path("attached-private.efi");
    stand.ukexec(&[&"attach", &image, &private, &"-o", &out])?;
    ensure!(mode(&out)? == 0o600, "the parser was for its owner alone");

    // A pipe has no permissions to go by.
    let parts = stand.path("piped");
    Tool::new("sh")
        .args(["-c", "cat \"$1\" | \"$0\" unfold /dev/stdin -o \"$2\""])
        .arg(stand.ukexec_path())
        .arg(&image)
        .arg(&parts)
        .run()?;
    ensure!(mode(&parts.join("kernel"))? == 0o600);

    // Permissions of a folder that is there stay.
    let closed = stand.path("closed");
    fs::create_dir(&closed)?;
    set_mode(&closed, 0o700)?;
    stand.ukexec(&[&"unfold", &image, &"-o", &closed])?;
    ensure!(mode(&closed)? == 0o700);
    ensure!(mode(&closed.join("kernel"))? == 0o644);
    Ok(())
}
