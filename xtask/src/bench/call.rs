//! A program to measure: its command line, the exit codes that count as its end, and what it leaves behind.

use std::fs::{self, File};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::command::Tool;
use crate::kept::remove;

/// One side of a pair.
#[derive(Debug)]
pub(crate) struct Call {
    /// The call as the page shows it.
    pub(crate) shown: String,
    command: Command,
    codes: &'static [i32],
    input: Input,
    output: Option<PathBuf>,
    leaves: Option<PathBuf>,
    scratch: Option<PathBuf>,
}

#[derive(Debug)]
enum Input {
    Nothing,
    /// One end of a socket pair whose other end sends nothing any more.
    SilentSocket,
}

impl Call {
    /// A call of `tool` that must succeed, named `shown`.
    pub(crate) fn new(shown: &str, tool: Tool) -> Self {
        Self {
            shown: shown.to_owned(),
            command: tool.into_command(),
            codes: &[0],
            input: Input::Nothing,
            output: None,
            leaves: None,
            scratch: None,
        }
    }

    /// Counts any of `codes` as success.
    pub(crate) fn ending_with(mut self, codes: &'static [i32]) -> Self {
        self.codes = codes;
        self
    }

    /// Sends its output to a new file at `path`, which is removed behind each call.
    pub(crate) fn writing(mut self, path: PathBuf) -> Self {
        self.output = Some(path.clone());
        self.leaving(path)
    }

    /// Removes what it leaves at `path` behind each call.
    pub(crate) fn leaving(mut self, path: PathBuf) -> Self {
        self.leaves = Some(path);
        self
    }

    /// Makes the folder `path` in front of each call, and removes it behind.
    pub(crate) fn with_scratch(mut self, path: PathBuf) -> Self {
        self.scratch = Some(path);
        self
    }

    /// Gives it a socket that nobody sends anything to any more.
    pub(crate) fn on_silent_socket(mut self) -> Self {
        self.input = Input::SilentSocket;
        self
    }

    /// Runs it and returns the time from its start to its end, in milliseconds.
    ///
    /// # Errors
    ///
    /// It cannot be run, or ends with another exit code.
    pub(crate) fn time(&mut self) -> Result<f64> {
        self.prepare()?;
        let (near, far) = UnixStream::pair()?;
        near.shutdown(Shutdown::Write)?;
        let stdin = match self.input {
            Input::Nothing => Stdio::null(),
            Input::SilentSocket => Stdio::from(OwnedFd::from(far)),
        };
        let stdout = match &self.output {
            None => Stdio::null(),
            Some(path) => Stdio::from(File::create(path)?),
        };
        self.command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::null());
        let start = Instant::now();
        let status = self
            .command
            .status()
            .with_context(|| format!("cannot run {:?}", self.command))?;
        let took = start.elapsed();
        ensure!(
            status.code().is_some_and(|code| self.codes.contains(&code)),
            "{:?}: {status}",
            self.command
        );
        self.clean()?;
        Ok(took.as_secs_f64() * 1e3)
    }

    fn prepare(&self) -> Result<()> {
        self.scratch.iter().try_for_each(fs::create_dir_all)?;
        Ok(())
    }

    fn clean(&self) -> Result<()> {
        self.leaves
            .iter()
            .chain(&self.scratch)
            .try_for_each(|path| remove(path))
    }

    /// Runs it by `cost` and returns the most memory that each of its processes held, added up, in MiB.
    ///
    /// # Errors
    ///
    /// As [`Call::time`].
    pub(crate) fn memory(&self, cost: &Path) -> Result<f64> {
        self.prepare()?;
        let printed = Tool::new(cost)
            .arg("memory")
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .text()?;
        self.clean()?;
        let numbers = printed.lines().next_back().unwrap_or_default();
        let numbers: Vec<i32> = numbers
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| format!("no numbers: {numbers:?}"))?;
        let [held, _fell, status] = numbers[..] else {
            anyhow::bail!("expected three numbers, found {numbers:?}");
        };
        ensure!(
            self.codes.contains(&status),
            "{:?}: exit code {status}",
            self.command
        );
        Ok(f64::from(held) / 1024.0)
    }
}
