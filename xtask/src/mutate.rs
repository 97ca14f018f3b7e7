//! `cargo xtask mutate`: mutated objects, skeletons and images by the hundred thousand, without a
//! panic, a hang, or memory over the budget.
//!
//! The program `ukexec-mutate` of `fuzz/mutate` runs them and holds each to its limits; here it is
//! built, started once for each processor, and watched, so that an input which takes the whole
//! process with it is known as well.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::command::{Tool, last_lines};
use crate::{fuzz, workspace};

/// How many inputs a run by hand takes.
pub(crate) const COUNT: u64 = 1_000_000;

/// Runs the first `count` inputs and prints what became of them.
///
/// # Errors
///
/// The program does not build, or an input fails; the error says where that lies.
pub(crate) fn run(count: u64) -> Result<()> {
    let program = build()?;
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let start = Instant::now();
    let results: Vec<Result<Summary>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|first| {
                let program = &program;
                scope.spawn(move || work(program, first, jobs, count))
            })
            .collect();
        let ended = workers.into_iter().map(|worker| {
            let result = worker.join();
            result.unwrap_or_else(|_| Err(anyhow!("a thread of xtask panicked")))
        });
        ended.collect()
    });
    let mut all = Summary::default();
    let mut failures = Vec::new();
    for result in results {
        match result {
            Ok(summary) => all.merge(&summary),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    print!("{all}");
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    let (ran, seconds) = (all.inputs(), start.elapsed().as_secs());
    println!("mutate: {ran} inputs in {seconds} s, none panicked, hung or took too much memory");
    ensure!(ran == count, "{count} inputs were asked for");
    Ok(())
}

/// Builds the program, without the instrumentation that fuzz targets have, and returns its path.
fn build() -> Result<PathBuf> {
    let target_dir = fuzz::dir().join("target");
    Tool::new("cargo")
        .args(["build", "--release", "--locked"])
        .args(["--package", "ukexec-mutate"])
        .dir(workspace::root().join("fuzz"))
        .env("CARGO_TARGET_DIR", &target_dir)
        .show()
        .context("fuzz/mutate does not build")?;
    Ok(target_dir.join("release/ukexec-mutate"))
}

/// Has one process run every `jobs`th input, from `first` on.
fn work(program: &Path, first: usize, jobs: usize, count: u64) -> Result<Summary> {
    let log_path = fuzz::dir().join(format!("mutate-{first}.log"));
    let numbers = [first.to_string(), jobs.to_string(), count.to_string()];
    let mut child = Tool::new(program)
        .args(numbers)
        .into_command()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log_path)?)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let mut summary = Summary::default();
    let mut next = first as u64;
    let lines = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
    for line in lines {
        let line = line?;
        let done = Done::read(&line).with_context(|| format!("it wrote {line:?}"))?;
        next = done.number + jobs as u64;
        summary.add(&done);
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(summary);
    }
    let said = String::from_utf8_lossy(&fs::read(&log_path)?).into_owned();
    let said = last_lines(&said, 25);
    let kept = keep(program, next).unwrap_or_else(|error| format!("it cannot be kept: {error:#}"));
    bail!("input {next}: the process ended with {status}\n{said}\n{kept}");
}

/// Writes input `number` to a file and returns its path.
fn keep(program: &Path, number: u64) -> Result<String> {
    let found = fuzz::dir().join("found");
    fs::create_dir_all(&found)?;
    let file = found.join(format!("mutate-{number}"));
    Tool::new(program)
        .args(["--write", &number.to_string()])
        .arg(&file)
        .run()?;
    Ok(format!(
        "the input: {}\nto see it again: {} {number} 1 {}",
        workspace::shown(&file),
        workspace::shown(program),
        number + 1
    ))
}

/// The program's report about an input.
#[derive(Debug)]
struct Done<'a> {
    number: u64,
    kind: &'a str,
    ending: &'a str,
    micros: u64,
    bytes: u64,
}

impl<'a> Done<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let done = Self {
            number: words.next()?.parse().ok()?,
            kind: words.next()?,
            ending: words.next()?,
            micros: words.next()?.parse().ok()?,
            bytes: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(done)
    }
}

/// The ends of many inputs, by kind.
#[derive(Debug, Default)]
struct Summary {
    kinds: BTreeMap<String, Row>,
}

#[derive(Debug, Default)]
struct Row {
    endings: BTreeMap<String, u64>,
    /// Microseconds of the slowest input, and its number.
    slowest: (u64, u64),
    /// Bytes of the input that needed the most, and its number.
    biggest: (u64, u64),
}

impl Summary {
    fn add(&mut self, done: &Done<'_>) {
        let row = self.kinds.entry(done.kind.to_owned()).or_default();
        *row.endings.entry(done.ending.to_owned()).or_default() += 1;
        row.slowest = row.slowest.max((done.micros, done.number));
        row.biggest = row.biggest.max((done.bytes, done.number));
    }

    fn merge(&mut self, other: &Self) {
        for (kind, other) in &other.kinds {
            let row = self.kinds.entry(kind.clone()).or_default();
            for (ending, count) in &other.endings {
                *row.endings.entry(ending.clone()).or_default() += count;
            }
            row.slowest = row.slowest.max(other.slowest);
            row.biggest = row.biggest.max(other.biggest);
        }
    }

    fn inputs(&self) -> u64 {
        let counts = self.kinds.values().flat_map(|row| row.endings.values());
        counts.sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, row) in &self.kinds {
            write!(f, "mutate {kind:8}")?;
            for (ending, count) in &row.endings {
                write!(f, " {count:>7} {ending},")?;
            }
            let ((micros, slowest), (bytes, biggest)) = (row.slowest, row.biggest);
            writeln!(
                f,
                " at most {} ms (input {slowest}) and {} KiB (input {biggest})",
                micros / 1000,
                bytes >> 10
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_what_processes_tell() {
        let mut all = Summary::default();
        for lines in [
            &["1 image unfolded 4000 2048", "3 image refused 9000 1024"][..],
            &["2 image unfolded 5000 4096", "4 object stopped 1 1"][..],
        ] {
            let mut summary = Summary::default();
            for line in lines {
                summary.add(&Done::read(line).unwrap());
            }
            all.merge(&summary);
        }
        assert_eq!(all.inputs(), 4);
        assert_eq!(
            all.to_string(),
            "mutate image          1 refused,       2 unfolded, at most 9 ms (input 3) and 4 KiB (input 2)\n\
             mutate object         1 stopped, at most 0 ms (input 4) and 0 KiB (input 4)\n"
        );
    }

    #[test]
    fn lines_of_another_form_are_no_results() {
        for line in [
            "",
            "1 image",
            "1 image unfolded 4000 2048 9",
            "x image unfolded 1 1",
        ] {
            assert!(Done::read(line).is_none(), "{line:?}");
        }
    }
}
