//! A file that changes while it is read: what was verified is what comes out.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::cases::edited::Edited;
use crate::cases::{Named, noise, read, stock_kernel};
use crate::command::{Tool, said, takes_image};
use crate::kept::remove;
use crate::materials::Target;
use crate::stand::{Stand, check_words};

use super::{Made, trust};

const RUNS: usize = 50;

pub(in super::super) const CASES: &[Named] =
    &[Named::new("verdicts/file-that-changes", file_that_changes)];

/// A thread flips a byte of the kernel, one of the initrd and one of the command line, forth and
/// back, and rests in between so that some runs see the good image.
fn file_that_changes(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let image = Edited(read(&made.good)?);
    let spots = [(".linux", 0x40_0000), (".initrd", 5000), (".cmdline", 3)];
    let spots = spots
        .iter()
        .map(|(section, at)| Ok(image.u32_at(image.section(section)? + 20)? + at))
        .collect::<Result<Vec<_>>>()?;
    let stop = AtomicBool::new(false);
    let turns = AtomicUsize::new(0);
    let (done, counts) = thread::scope(|scope| {
        let writer = scope.spawn(|| flip(&made.good, &image, &spots, &turns, &stop));
        let counts = runs(stand, &made, &turns);
        stop.store(true, Ordering::Relaxed);
        (writer.join(), counts)
    });
    done.map_err(|_panic| anyhow!("the writer panicked"))??;
    let (runs, good) = counts?;
    let turns = turns.into_inner();
    println!(
        "     {runs} times two runs on a file that changed {turns} times: {good} good, all others \
         refused"
    );
    ensure!(turns > RUNS, "the writer hardly wrote: {turns} times");
    Ok(())
}

/// Flips the bytes at `spots` and puts them right again until `stop` is set, and counts in
/// `turns`.
fn flip(
    path: &Path,
    image: &Edited,
    spots: &[usize],
    turns: &AtomicUsize,
    stop: &AtomicBool,
) -> Result<()> {
    let file = File::options().write(true).open(path)?;
    while !stop.load(Ordering::Relaxed) {
        for &spot in spots {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            let byte = *image.0.get(spot).context("past the end")?;
            file.write_all_at(&[byte ^ 0x20], spot as u64)?;
            // Some turns are shorter than a run and some longer.
            thread::sleep(Duration::from_micros(37 << (turn % 12)));
            file.write_all_at(&[byte], spot as u64)?;
            thread::sleep(Duration::from_micros(53 << (turn % 13)));
        }
    }
    Ok(())
}

/// Runs both commands [`RUNS`] times, and on until the file changed as often; returns how many
/// times that was, and how often the image was good.
fn runs(stand: &Stand, made: &Made, turns: &AtomicUsize) -> Result<(usize, usize)> {
    let (_, kernel) = stock_kernel(Target::X86_64)?;
    let initrd = noise(10_000);
    let trust = trust(made.owner.certificate());
    let parts = stand.path("parts");
    let mut good = 0;
    let mut count = 0;
    while count < RUNS || (count < 10 * RUNS && turns.load(Ordering::Relaxed) <= RUNS) {
        count += 1;
        for command in ["unfold", "load"] {
            remove(&parts)?;
            let mut tool = Tool::new(stand.ukexec_path())
                .arg(command)
                .arg(&made.good)
                .args(["--verify=require", &trust]);
            tool = match command {
                "unfold" => tool.arg("-o").arg(&parts),
                _ => tool.arg("--dry-run"),
            };
            let output = tool.output()?;
            if !takes_image(&output) {
                let message = said(&output);
                ensure!(
                    matches!(output.status.code(), Some(1 | 3)),
                    "{}",
                    output.status
                );
                check_words(&message, &["changed"])?;
                ensure!(!parts.exists(), "parts of a refused image");
                continue;
            }
            good += 1;
            if command == "unfold" {
                for (name, expected) in [
                    ("kernel", &kernel[..]),
                    ("initrd", &initrd),
                    ("cmdline", b"console=ttyS0"),
                ] {
                    let found = read(&parts.join(name))?;
                    ensure!(found == expected, "the {name} is not what was signed");
                }
            }
        }
    }
    Ok((count, good))
}
