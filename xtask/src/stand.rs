//! The test stand: the built `ukexec`, a folder for each case, and what is asked of both.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::command::{Tool, last_lines, said};
use crate::kept::remove;
use crate::setup::PYTHON;
use crate::workspace;

/// A refusal may take this long. They take milliseconds; the rest is for slow, busy machines.
const REFUSAL_LIMIT: Duration = Duration::from_secs(5);
/// The machine that `ukexec` is built for, statically, so that it runs in any ramdisk.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds `ukexec` as one static executable and returns its path. `kexec` lies beside it, the loader's example in
/// `examples`.
///
/// # Errors
///
/// This is no x86_64 machine, or the build fails.
pub(crate) fn build_ukexec() -> Result<PathBuf> {
    ensure!(
        cfg!(all(target_arch = "x86_64", target_os = "linux")),
        "the test images and boots are made on x86_64 Linux"
    );
    // Naming the target keeps +crt-static away from procedural macros, which are libraries.
    Tool::new("cargo")
        .args(["build", "--target", STATIC_TARGET])
        .args(["--package", "ukexec", "--bin", "ukexec", "--bin", "kexec"])
        .args(["--package", "ukexec-loader", "--example", "dry_run"])
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-C target-feature=+crt-static",
        )
        .dir(workspace::root())
        .show()?;
    Ok(workspace::target_dir()
        .join(STATIC_TARGET)
        .join("debug/ukexec"))
}

/// A case's folder and the program under test.
#[derive(Debug, Clone)]
pub(crate) struct Stand {
    ukexec: PathBuf,
    dir: PathBuf,
}

/// The parts that `ukexec unfold` wrote.
#[derive(Debug)]
pub(crate) struct Parts {
    dir: PathBuf,
    /// The document that `--json` printed.
    pub(crate) report: Value,
}

/// The resources that one run of `ukexec` used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// The most memory it held at a time, in bytes.
    pub(crate) peak_memory: u64,
    /// The time that its processes computed.
    pub(crate) processor_time: Duration,
}

impl Stand {
    /// A stand for the case `name`, with an empty folder.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn new(ukexec: &Path, name: &str) -> Result<Self> {
        let dir = workspace::work_dir().join(name.replace('/', "-"));
        remove(&dir)?;
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            ukexec: ukexec.to_path_buf(),
            dir,
        })
    }

    /// The program under test.
    pub(crate) fn ukexec_path(&self) -> &Path {
        &self.ukexec
    }

    /// A path in the case's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file into the case's folder.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Drops the case's folder; cases that fail leave it for a look.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn clear(&self) -> Result<()> {
        remove(&self.dir)
    }

    /// Runs `ukexec` and returns what it wrote, which must be a success.
    ///
    /// # Errors
    ///
    /// It cannot be run, or its exit code is not 0.
    pub(crate) fn ukexec(&self, args: &[&dyn AsRef<OsStr>]) -> Result<String> {
        self.tool(args).text()
    }

    /// Runs `ukexec` and reads the document it prints.
    ///
    /// # Errors
    ///
    /// As [`Stand::ukexec`], and when the output is not one document of schema 1.
    pub(crate) fn ukexec_json(&self, args: &[&dyn AsRef<OsStr>]) -> Result<Value> {
        document(&self.ukexec(args)?)
    }

    /// Unfolds `image` and returns the parts.
    ///
    /// # Errors
    ///
    /// `ukexec` fails, or what it prints or leaves is not what `unfold --json` promises.
    pub(crate) fn unfold(&self, image: &Path, options: &[&str]) -> Result<Parts> {
        let dir = self.path("parts");
        remove(&dir)?;
        let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"unfold", &image, &"-o", &dir, &"--json"];
        args.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
        let report = self.ukexec_json(&args)?;
        Ok(Parts { dir, report })
    }

    /// Checks that `ukexec unfold` refuses `image`: exit code 1 within [`REFUSAL_LIMIT`], a
    /// message that holds each of `words`, the same in the `--json` document, and no file left.
    ///
    /// # Errors
    ///
    /// One of these does not hold; the message says which.
    pub(crate) fn refuses(&self, image: &Path, options: &[&str], words: &[&str]) -> Result<()> {
        let dir = self.path("refused");
        let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"unfold", &image, &"-o", &dir];
        args.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
        let before = self.entries()?;
        let message = self.fails(&args)?;
        // Lines are wrapped.
        let message: Vec<&str> = message.split_whitespace().collect();
        check_words(&message.join(" "), words)?;
        args.push(&"--json");
        let output = self.tool(&args).output()?;
        let report = document(&String::from_utf8_lossy(&output.stdout))?;
        let mut told = text_at(&report, "/error/message")?.to_owned();
        let notes = report.pointer("/error/notes").and_then(Value::as_array);
        for note in notes.into_iter().flatten().filter_map(Value::as_str) {
            told = format!("{told}\n{note}");
        }
        check_words(&told, words).context("in the --json document")?;
        let after = self.entries()?;
        ensure!(
            before == after,
            "files were left behind: {:?}",
            after.difference(&before).collect::<Vec<_>>()
        );
        Ok(())
    }

    /// Checks that `ukexec` ends with the exit code of a refusal and a message, and returns the message.
    ///
    /// # Errors
    ///
    /// It ends otherwise, panics, or takes longer than [`REFUSAL_LIMIT`].
    pub(crate) fn fails(&self, args: &[&dyn AsRef<OsStr>]) -> Result<String> {
        let tool = self.tool(args);
        let shown = tool.shown();
        let start = Instant::now();
        let output = tool.output()?;
        let took = start.elapsed();
        refusal(&output, took).with_context(|| format!("`{shown}`"))
    }

    /// Runs `ukexec` and measures it, however it ends.
    ///
    /// # Errors
    ///
    /// It cannot be run or measured.
    pub(crate) fn measure(&self, args: &[&dyn AsRef<OsStr>]) -> Result<(Output, Usage)> {
        // The kernel's own account of a child that has ended; the standard library has no call
        // for it, and Python is here for `ukify` anyway.
        const MEASURE: &str = "import resource, subprocess, sys\n\
            code = subprocess.run(sys.argv[2:]).returncode\n\
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)\n\
            time = usage.ru_utime + usage.ru_stime\n\
            open(sys.argv[1], 'w').write(f'{usage.ru_maxrss} {time}')\n\
            sys.exit(code)\n";
        let account = self.path("usage");
        let output = Tool::new(PYTHON)
            .args(["-c", MEASURE])
            .arg(&account)
            .arg(&self.ukexec)
            .args(args.iter().map(|arg| arg.as_ref()))
            .dir(&self.dir)
            .output()?;
        let account = fs::read_to_string(account)?;
        let (kibibytes, seconds) = account.split_once(' ').context("two numbers")?;
        let usage = Usage {
            peak_memory: kibibytes.parse::<u64>()? * 1024,
            processor_time: Duration::from_secs_f64(seconds.parse()?),
        };
        Ok((output, usage))
    }

    fn tool(&self, args: &[&dyn AsRef<OsStr>]) -> Tool {
        Tool::new(&self.ukexec)
            .args(args.iter().map(|arg| arg.as_ref()))
            .dir(&self.dir)
    }

    fn entries(&self) -> Result<BTreeSet<OsString>> {
        fs::read_dir(&self.dir)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }
}

impl Parts {
    /// Checks that exactly these parts were written, byte for byte; `None` is no file.
    ///
    /// # Errors
    ///
    /// One differs; the message says where.
    pub(crate) fn expect(
        &self,
        kernel: &[u8],
        initrd: Option<&[u8]>,
        cmdline: Option<&str>,
    ) -> Result<()> {
        self.expect_part("kernel", Some(kernel))?;
        self.expect_part("initrd", initrd)?;
        self.expect_part("cmdline", cmdline.map(str::as_bytes))?;
        let files = fs::read_dir(&self.dir)?.count();
        let expected = 1 + usize::from(initrd.is_some()) + usize::from(cmdline.is_some());
        ensure!(files == expected, "{files} files instead of {expected}");
        Ok(())
    }

    /// The path of a part.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Checks the parser of each stage, by name, and where it came from.
    ///
    /// # Errors
    ///
    /// The report lists others.
    pub(crate) fn expect_parsers(&self, expected: &[(&str, &str)]) -> Result<()> {
        let layers = self
            .report
            .pointer("/layers")
            .and_then(Value::as_array)
            .ok_or_else(|| anyhow!("the report has no layers: {}", self.report))?;
        let found: Vec<(&str, &str)> = layers
            .iter()
            .filter_map(|layer| {
                let text = |field| layer.pointer(field)?.as_str();
                Some((text("/parser/name")?, text("/parser/origin")?))
            })
            .collect();
        let same = found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(found, expected)| found.0.contains(expected.0) && found.1 == expected.1);
        ensure!(same, "expected the parsers {expected:?}, found {found:?}");
        Ok(())
    }

    fn expect_part(&self, name: &str, expected: Option<&[u8]>) -> Result<()> {
        let path = self.path(name);
        match (expected, path.exists()) {
            (None, false) => Ok(()),
            (None, true) => bail!("there is a file {name}, and the image has no such part"),
            (Some(_), false) => bail!("there is no file {name}"),
            (Some(expected), true) => same_bytes(name, &fs::read(path)?, expected),
        }
    }
}

/// Fails, saying where, unless `found` is `expected`.
///
/// # Errors
///
/// They differ.
pub(crate) fn same_bytes(what: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    if let Some(at) = found.iter().zip(expected).position(|(a, b)| a != b) {
        bail!("{what} differs from what went in at byte {at:#x}");
    }
    if found.len() != expected.len() {
        bail!(
            "{what} has {} bytes where {} went in",
            found.len(),
            expected.len()
        );
    }
    Ok(())
}

/// The text at `pointer` in a document.
///
/// # Errors
///
/// There is none.
pub(crate) fn text_at<'a>(document: &'a Value, pointer: &str) -> Result<&'a str> {
    document
        .pointer(pointer)
        .and_then(Value::as_str)
        .ok_or_else(|| anyhow!("no text at {pointer} in {document:#}"))
}

/// The number at `pointer` in a document.
///
/// # Errors
///
/// There is none.
pub(crate) fn number_at(document: &Value, pointer: &str) -> Result<u64> {
    document
        .pointer(pointer)
        .and_then(Value::as_u64)
        .ok_or_else(|| anyhow!("no number at {pointer} in {document:#}"))
}

/// Reads a document that `--json` printed.
///
/// # Errors
///
/// It is none, or of another schema.
pub(crate) fn document(text: &str) -> Result<Value> {
    let value: Value =
        serde_json::from_str(text).with_context(|| format!("no JSON document: {text}"))?;
    ensure!(value["schema"] == 1, "the schema is not 1: {value:#}");
    Ok(value)
}

fn refusal(output: &Output, took: Duration) -> Result<String> {
    let message = said(output);
    ensure!(
        matches!(output.status.code(), Some(1 | 3)),
        "expected exit code 1 or 3, found {}:\n{}",
        output.status,
        last_lines(&message, 20)
    );
    ensure!(!message.trim().is_empty(), "no message");
    ensure!(!message.contains("panicked"), "a panic:\n{message}");
    ensure!(
        took < REFUSAL_LIMIT,
        "the refusal took {:.1} s",
        took.as_secs_f64()
    );
    Ok(message)
}

/// Fails unless `message` holds each of `words`, in capitals or not. Where its lines are folded
/// does not matter.
///
/// # Errors
///
/// It does not; the message is quoted.
pub(crate) fn check_words(message: &str, words: &[&str]) -> Result<()> {
    let unfolded = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").to_lowercase()
    };
    for word in words {
        ensure!(
            unfolded(message).contains(&unfolded(word)),
            "the message does not hold {word:?}:\n{}",
            last_lines(message, 20)
        );
    }
    Ok(())
}
