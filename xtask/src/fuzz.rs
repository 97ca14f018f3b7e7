//! `cargo xtask fuzz`: every target of `fuzz/` for a while, on the toolchain of the workspace.
//!
//! libFuzzer comes with the crate `libfuzzer-sys`; the instrumentation that it looks at is a pass
//! of LLVM's that stable Rust can switch on, so that no `cargo fuzz` is needed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::command::{Tool, last_lines};
use crate::workspace;

/// The targets, with folders that hold inputs to start from.
const TARGETS: &[(&str, &[&str])] = &[
    ("beside", &["fuzz/seeds/beside"]),
    ("btf_core", &["fuzz/seeds/btf_core"]),
    ("bzip2", DECOMPRESS),
    ("commands", &["fuzz/seeds/commands"]),
    ("container", &["fuzz/seeds/container"]),
    ("entries", &["fuzz/seeds/entries", "fuzz/seeds/pe"]),
    ("event_log", &["fuzz/seeds/event_log"]),
    ("gzip", DECOMPRESS),
    ("initrd", &["fuzz/seeds/initrd"]),
    ("layout", &["fuzz/seeds/layout"]),
    ("lz4", DECOMPRESS),
    ("lzma", DECOMPRESS),
    ("lzo", DECOMPRESS),
    (
        "object",
        &["crates/bpf/testdata/objects", "crates/unfold/testdata"],
    ),
    ("pe_edit", &["fuzz/seeds/pe_edit"]),
    ("pe_view", &["fuzz/seeds/pe"]),
    ("signature", &["crates/signature/testdata/signed"]),
    ("signature_list", &["crates/signature/testdata/trust"]),
    ("skeleton", &["crates/bpf/testdata/skeletons"]),
    ("unfold", &["fuzz/seeds/unfold"]),
    ("verify_run", &["fuzz/seeds/verify_run"]),
    ("xz", DECOMPRESS),
    ("zstd", DECOMPRESS),
];

/// A seed of another compression gets the target's magic.
const DECOMPRESS: &[&str] = &["crates/decompress/testdata"];

/// The limits of one input: seconds, and MiB of the process.
const LIMITS: [&str; 2] = ["-timeout=5", "-rss_limit_mb=1024"];

/// The options by which LLVM counts edges and comparisons for libFuzzer.
const INSTRUMENTATION: &str = "\
    --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0 -Dwarnings";

/// Runs the targets whose name holds `filter` for `seconds` each, as many at once as the machine
/// has processors, and prints what became of each.
///
/// # Errors
///
/// No target has such a name, the targets do not build, or an input was found that makes one
/// fail; the error says where it lies.
pub(crate) fn run(seconds: u32, filter: &str) -> Result<()> {
    let targets: Vec<_> = TARGETS
        .iter()
        .filter(|(name, _)| name.contains(filter))
        .collect();
    ensure!(!targets.is_empty(), "no fuzz target is called {filter:?}");
    let programs = build()?;
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..jobs.min(targets.len()) {
            scope.spawn(|| {
                while let Some((name, seeds)) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match fuzz(&programs, name, seeds, seconds) {
                        Ok(said) => println!("fuzz {name:10} {said}"),
                        Err(error) => {
                            println!("fuzz {name:10} FAILED\n{error:#}");
                            let mut failures =
                                failures.lock().unwrap_or_else(PoisonError::into_inner);
                            failures.push(*name);
                        }
                    }
                }
            });
        }
    });
    let failures = failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    ensure!(failures.is_empty(), "inputs fail: {}", failures.join(", "));
    Ok(())
}

/// Builds all targets and returns the folder they are in.
fn build() -> Result<PathBuf> {
    let version = Tool::new("rustc").arg("-vV").text()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` names no host")?;
    // A folder of its own: other flags would have everything else built anew. With a target named,
    // the flags do not reach build scripts.
    let target_dir = dir().join("target");
    Tool::new("cargo")
        .args(["build", "--release", "--bins", "--locked", "--target", host])
        .dir(workspace::root().join("fuzz"))
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("RUSTFLAGS", INSTRUMENTATION)
        .show()
        .context("the fuzz targets do not build")?;
    Ok(target_dir.join(host).join("release"))
}

/// Runs one target and returns how far it came.
fn fuzz(programs: &Path, name: &str, seeds: &[&str], seconds: u32) -> Result<String> {
    let (corpus, found) = (dir().join("corpus").join(name), dir().join("found"));
    for dir in [&corpus, &found] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let log_path = dir().join(format!("{name}.log"));
    let log = File::create(&log_path)?;
    let program = programs.join(name);
    let status = Tool::new(&program)
        .args(LIMITS)
        .args(["-print_final_stats=1", "-verbosity=1"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{name}-", found.display()))
        .arg(&corpus)
        .args(seeds)
        .dir(workspace::root())
        .into_command()
        .stderr(log)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&fs::read(&log_path)?).into_owned();
    report(&said, status).with_context(|| {
        format!(
            "the whole log: {}\nto see it again: {} INPUT",
            workspace::shown(&log_path),
            workspace::shown(&program)
        )
    })
}

/// Reads what libFuzzer said.
fn report(said: &str, status: ExitStatus) -> Result<String> {
    ensure!(status.success(), "{status}\n{}", last_lines(said, 25));
    let executions = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .context("libFuzzer does not say how many inputs it ran")?;
    let edges = said
        .lines()
        .rev()
        .find_map(|line| line.split_once(" cov: "))
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or("0");
    Ok(format!("{:>9} inputs, {edges:>5} edges", executions.trim()))
}

/// Where corpora grow from run to run, and inputs that fail are kept.
pub(crate) fn dir() -> PathBuf {
    workspace::target_dir().join("ukexec-fuzz")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    const SAID: &str = "#2 INITED cov: 5 ft: 6\n#900 DONE   cov: 77 ft: 91 corp: 3/4b\n\
                        stat::number_of_executed_units: 900\n";

    #[test]
    fn reports_the_last_counts() {
        let said = report(SAID, ExitStatus::from_raw(0)).unwrap();
        assert_eq!(said, "      900 inputs,    77 edges");
    }

    #[test]
    fn quotes_the_log_of_a_failure() {
        let error = report("thread panicked", ExitStatus::from_raw(77 << 8)).unwrap_err();
        assert!(error.to_string().contains("thread panicked"), "{error}");
    }

    #[test]
    fn every_target_is_built_and_has_seeds() {
        let manifest = fs::read_to_string(workspace::root().join("fuzz/Cargo.toml")).unwrap();
        for (name, seeds) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            for dir in *seeds {
                assert!(workspace::root().join(dir).is_dir(), "{dir}");
            }
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }
}
