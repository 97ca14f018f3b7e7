//! Either process killed at any time: no process stays, and no half of anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cases::{noise, stock_kernel};
use crate::command::takes_image;
use crate::kept::remove;
use crate::materials::{Stub, Target, stub};
use crate::pki::{Kind, Signer};
use crate::stand::Stand;
use crate::uki::{Section, objcopy};

use super::{Named, trust};

/// How often, for each command.
const POINTS: u32 = 100;
const INITRD_LEN: usize = 24 << 20;
/// A worker ends with its parent; a busy machine may take its time.
const WORKER_LIMIT: Duration = Duration::from_secs(1);
/// Between a folder's making and its renaming, when all is written, `SIGKILL` leaves it. That is
/// some microseconds of some hundred milliseconds.
const LEFT_MAX: u32 = 1;

pub(in super::super) const CASES: &[Named] = &[Named::new("verdicts/killed-at-any-time", killed)];

/// Who is killed, and how.
const TURNS: [(Whom, &str); 4] = [
    (Whom::Parent, "KILL"),
    (Whom::Worker, "KILL"),
    (Whom::Parent, "KILL"),
    (Whom::Parent, "TERM"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    Parent,
    Worker,
}

/// The states that were seen.
#[derive(Default)]
struct Seen {
    absent: u32,
    complete: u32,
    left: u32,
    workers: u32,
}

fn killed(stand: &Stand) -> Result<()> {
    let image = image(stand)?;
    let home = stand.path("home");
    fs::create_dir(&home)?;
    let (trust, parts) = (image.1, home.join("parts"));
    let image = image.0.as_os_str();
    let unfold = [
        "unfold".as_ref(),
        image,
        "-o".as_ref(),
        parts.as_os_str(),
        trust.as_ref(),
        "--verify=require".as_ref(),
    ];
    let load = [
        "load".as_ref(),
        image,
        "--dry-run".as_ref(),
        trust.as_ref(),
        "--verify=require".as_ref(),
    ];
    let mut seen = Seen::default();
    for args in [&unfold[..], &load] {
        let whole = run_whole(stand, args, &parts)?;
        for point in 0..POINTS {
            remove(&parts)?;
            let mut command = Command::new(stand.ukexec_path());
            command
                .args(args)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            // A little beyond the end as well.
            let after = whole * (point + 1) / (POINTS - 5);
            let (whom, signal) = TURNS[point as usize % TURNS.len()];
            kill_after(command, after, whom, signal, &mut seen)
                .and_then(|()| look(&home, signal, &mut seen))
                .with_context(|| format!("SIG{signal} after {after:?} of {whole:?}"))?;
        }
    }
    thread::sleep(WORKER_LIMIT);
    let orphans = orphans(stand.ukexec_path())?;
    ensure!(orphans.is_empty(), "workers without a parent: {orphans:?}");
    println!(
        "     killed {} times, {} of them the worker: {} without parts, {} with all; left beside: {}",
        2 * POINTS,
        seen.workers,
        seen.absent,
        seen.complete,
        seen.left
    );
    ensure!(seen.left <= LEFT_MAX, "{} folders were left", seen.left);
    Ok(())
}

/// A signed image of some size, and the option that trusts its signer.
fn image(stand: &Stand) -> Result<(PathBuf, String)> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let initrd = stand.file("initrd", noise(INITRD_LEN))?;
    let cmdline = stand.file("cmdline", "quiet")?;
    let plain = stand.path("plain.efi");
    let section = |name, file| Section { name, file };
    let sections = [
        section(".cmdline", &cmdline),
        section(".initrd", &initrd),
        section(".linux", &kernel),
    ];
    objcopy(&stub(Target::X86_64, Stub::V252)?, &sections, &plain)?;
    let owner = Signer::new(stand, "owner", Kind::Rsa2048)?;
    let signed = owner.sign(&plain, &[], &stand.path("signed.efi"))?;
    Ok((signed, trust(owner.certificate())))
}

/// How long a run takes that nobody disturbs: the median of three.
fn run_whole(stand: &Stand, args: &[&std::ffi::OsStr], parts: &Path) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..3 {
        remove(parts)?;
        let start = Instant::now();
        let output = Command::new(stand.ukexec_path()).args(args).output()?;
        times.push(start.elapsed());
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(takes_image(&output), "undisturbed: {said}");
    }
    times.sort();
    times.get(1).copied().context("no run")
}

fn kill_after(
    mut command: Command,
    after: Duration,
    whom: Whom,
    signal: &str,
    seen: &mut Seen,
) -> Result<()> {
    let mut child: Child = command.spawn()?;
    thread::sleep(after);
    let workers = children(child.id());
    let victim = match whom {
        Whom::Parent => Some(child.id()),
        Whom::Worker => workers.first().copied(),
    };
    if let Some(victim) = victim {
        seen.workers += u32::from(whom == Whom::Worker);
        // It may have ended by itself by now.
        let _gone = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(victim.to_string())
            .stderr(Stdio::null())
            .status()?;
    }
    let status = child.wait()?;
    if whom == Whom::Worker {
        // The parent reports it, or had all that it needed.
        ensure!(matches!(status.code(), Some(0 | 1 | 4)), "{status}");
    }
    let end = Instant::now() + WORKER_LIMIT;
    while workers.iter().any(|&worker| is_worker(worker)) {
        ensure!(Instant::now() < end, "a worker is left: {workers:?}");
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The processes that `parent` has started.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let numbers = children.split_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Workers whose parent is no `ukexec`.
fn orphans(ukexec: &Path) -> Result<Vec<u32>> {
    let is_ukexec = |process: u32| {
        let program = fs::read_link(format!("/proc/{process}/exe"));
        program.is_ok_and(|program| program == ukexec)
    };
    let parent = |process: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // Behind the name in parentheses: state, parent.
        stat.rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()
    };
    let mut orphans = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let is_orphan = parent(process).is_some_and(|parent| !is_ukexec(parent));
        if is_worker(process) && is_ukexec(process) && is_orphan {
            orphans.push(process);
        }
    }
    Ok(orphans)
}

/// Whether `process` runs, as a worker.
fn is_worker(process: u32) -> bool {
    // Of one that has ended and was not waited for there is no command line.
    let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    words.split(|&byte| byte == 0).nth(1) == Some(b"worker")
}

/// Looks at what is in `home` now: all parts, or nothing.
fn look(home: &Path, signal: &str, seen: &mut Seen) -> Result<()> {
    let names = |folder: &Path| -> Result<BTreeSet<String>> {
        let entries = fs::read_dir(folder)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    let mut beside = names(home)?;
    if beside.remove("parts") {
        seen.complete += 1;
        let parts = names(&home.join("parts"))?;
        let all = ["cmdline", "initrd", "kernel"].map(str::to_owned);
        ensure!(parts == BTreeSet::from(all), "some parts: {parts:?}");
        let initrd = home.join("parts/initrd").metadata()?.len();
        ensure!(initrd == INITRD_LEN as u64, "half an initrd: {initrd}");
    } else {
        seen.absent += 1;
    }
    for name in &beside {
        ensure!(name.starts_with(".ukexec-"), "{name} was left");
        ensure!(signal == "KILL", "SIG{signal} left {name}");
        seen.left += 1;
        remove(&home.join(name))?;
    }
    Ok(())
}
