//! Named cases, run side by side, and the counts that every task ends with.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::ops::AddAssign;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How many tests ended which way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// The end of each that failed, as far as it is known.
    pub(crate) failures: Vec<String>,
    /// The time that each took, and its name.
    pub(crate) times: Vec<(Duration, String)>,
}

impl Counts {
    /// Returns what took longest, the longest first.
    pub(crate) fn slowest(&self, most: usize) -> impl Iterator<Item = String> {
        let mut times = self.times.clone();
        times.sort();
        let slowest = times.into_iter().rev().take(most);
        slowest.map(|(time, name)| format!("{:6.1} s  {name}", time.as_secs_f64()))
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.times.extend(other.times);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
            ..
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Why a case says nothing on this machine: neither passed nor failed.
#[derive(Debug)]
struct Skipped(String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// The error of a case that cannot run on this machine, and why.
pub(crate) fn skip(why: impl Into<String>) -> anyhow::Error {
    Skipped(why.into()).into()
}

/// Something that passes or fails, with a name to ask for it by.
pub(crate) struct Case {
    name: String,
    run: Box<dyn FnOnce() -> Result<()> + Send>,
}

impl Case {
    /// A case called `name`, such as `uki/ukify-257`.
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }

    /// The name to ask for it by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish()
    }
}

/// Runs `cases`, as many at a time as the machine has processors, and prints each as it ends.
pub(crate) fn run(cases: Vec<Case>) -> Counts {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(VecDeque::from(cases));
    let counts = Mutex::new(Counts::default());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(case) = next else { break };
                    let one = run_one("case", case);
                    *counts.lock().unwrap_or_else(PoisonError::into_inner) += one;
                }
            });
        }
    });
    counts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one case and prints its end behind `kind`, the word for what it is.
pub(crate) fn run_one(kind: &str, case: Case) -> Counts {
    let Case { name, run } = case;
    let start = Instant::now();
    let result = panic::catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|payload| Err(anyhow!("panicked: {}", panic_text(payload.as_ref()))));
    let seconds = seconds(start);
    let mut counts = Counts {
        times: vec![(start.elapsed(), format!("{kind} {name}"))],
        ..Counts::default()
    };
    let end = match &result {
        Ok(()) => {
            counts.passed = 1;
            format!("ok ({seconds})")
        }
        Err(error) => match error.downcast_ref::<Skipped>() {
            Some(why) => {
                counts.skipped = 1;
                format!("SKIPPED: {why}")
            }
            None => {
                counts.failed = 1;
                format!("FAILED ({seconds})\n{}", indented(error))
            }
        },
    };
    let end = format!("{kind} {name} ... {end}");
    println!("{end}");
    if counts.failed > 0 {
        counts.failures.push(end);
    }
    counts
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("for a reason that is not text")
}

/// The time since `start`, in seconds.
pub(crate) fn seconds(start: Instant) -> String {
    format!("{:.1} s", start.elapsed().as_secs_f64())
}

fn indented(error: &anyhow::Error) -> String {
    format!("{error:#}")
        .lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Adds up the lines with which test programs of Rust's own harness end.
pub(crate) fn libtest_counts(line: &str) -> Option<Counts> {
    let results = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut counts = Counts::default();
    for part in results.split("; ") {
        let (number, what) = part.split_once(' ')?;
        let into = match what {
            "passed" => &mut counts.passed,
            "failed" => &mut counts.failed,
            "ignored" => &mut counts.skipped,
            _ => continue,
        };
        *into = number.parse().ok()?;
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, bail};

    #[test]
    fn reads_the_summary_of_libtest() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; \
                    2 filtered out; finished in 0.02s";
        let counts = libtest_counts(line).unwrap();
        assert_eq!(counts.to_string(), "12 passed, 3 failed, 1 skipped");
        assert_eq!(libtest_counts("test a ... ok"), None);
    }

    #[test]
    fn failures_panics_and_skips_are_counted() {
        let cases = vec![
            Case::new("good", || Ok(())),
            Case::new("bad", || bail!("no")),
            Case::new("worse", || panic!("on purpose")),
            Case::new("not here", || {
                Err(skip("no such machine")).context("what it was run on")
            }),
        ];
        let counts = run(cases);
        assert_eq!(counts.to_string(), "1 passed, 2 failed, 1 skipped");
        let mut names: Vec<&str> = counts
            .failures
            .iter()
            .filter_map(|end| Some(end.split_once(" ... FAILED")?.0))
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["case bad", "case worse"]);
        assert_eq!(counts.slowest(3).count(), 3);
    }
}
