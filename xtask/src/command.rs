//! Running other programs, with errors that name the command and quote what it said.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail};

/// How many of a failed program's last lines an error quotes.
const QUOTED_LINES: usize = 25;

/// A program to run. Its standard input is empty unless a file is given.
#[derive(Debug)]
pub(crate) struct Tool {
    command: Command,
}

impl Tool {
    /// Starts describing a call of `program`.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            command: Command::new(program),
        }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Takes a variable out of the program's environment.
    pub(crate) fn env_remove(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// Sets the folder that the program runs in.
    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs the program and returns what it wrote, whatever its exit code.
    ///
    /// # Errors
    ///
    /// The program cannot be run.
    pub(crate) fn output(mut self) -> Result<Output> {
        self.command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run `{}`", self.shown()))
    }

    /// Runs the program and returns its standard output.
    ///
    /// # Errors
    ///
    /// As [`Tool::output`], and when the program's exit code is not 0.
    pub(crate) fn bytes(self) -> Result<Vec<u8>> {
        let shown = self.shown();
        let output = self.output()?;
        check(&shown, &output)?;
        Ok(output.stdout)
    }

    /// Runs the program and returns its standard output as text.
    ///
    /// # Errors
    ///
    /// As [`Tool::bytes`], and when the output is not UTF-8.
    pub(crate) fn text(self) -> Result<String> {
        let shown = self.shown();
        String::from_utf8(self.bytes()?).with_context(|| format!("`{shown}` did not write UTF-8"))
    }

    /// Runs the program and throws its output away.
    ///
    /// # Errors
    ///
    /// As [`Tool::bytes`].
    pub(crate) fn run(self) -> Result<()> {
        self.bytes().map(drop)
    }

    /// Runs the program with its standard output going to a new file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Tool::output`], when the file cannot be made, and when the exit code is not 0.
    pub(crate) fn into_file(mut self, input: &Path, path: &Path) -> Result<()> {
        let shown = self.shown();
        let open = |path: &Path| {
            File::open(path).with_context(|| format!("cannot open {}", path.display()))
        };
        let output =
            File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        let output = self
            .command
            .stdin(open(input)?)
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .with_context(|| format!("cannot run `{shown}`"))?;
        check(&shown, &output)
    }

    /// Runs the program with this process's own output, for a person to watch.
    ///
    /// # Errors
    ///
    /// The program cannot be started, or its exit code is not 0.
    pub(crate) fn show(self) -> Result<()> {
        let shown = self.shown();
        let status = self.status()?;
        if !status.success() {
            bail!("`{shown}` failed: {status}");
        }
        Ok(())
    }

    /// Runs the program with this process's own output and returns how it ended.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub(crate) fn status(mut self) -> Result<ExitStatus> {
        let shown = self.shown();
        self.command
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("cannot start `{shown}`"))
    }

    /// Hands over the command as it stands, for callers that stay in touch with the process.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// The call as one would type it.
    pub(crate) fn shown(&self) -> String {
        let mut line = self.command.get_program().to_string_lossy().into_owned();
        for arg in self.command.get_args() {
            let arg = arg.to_string_lossy();
            let plain = !arg.is_empty() && !arg.contains(|c: char| " \"'$&|;<>*()".contains(c));
            // Writing to a String cannot fail.
            let _ = if plain {
                write!(line, " {arg}")
            } else {
                write!(line, " '{arg}'")
            };
        }
        line
    }
}

/// Turns a non-zero exit code into an error that quotes the end of what was written.
fn check(shown: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "`{shown}` failed: {}\n{}",
        output.status,
        last_lines(&said(output), QUOTED_LINES)
    );
}

/// Returns whether a dry run found nothing to say against the image: this machine may still
/// lack the call or the right.
pub(crate) fn takes_image(dry_run: &Output) -> bool {
    matches!(dry_run.status.code(), Some(0 | 4))
}

/// The text that a program wrote to both of its outputs.
pub(crate) fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// The last `count` lines of `text`, indented.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let skipped = lines.len().saturating_sub(count);
    lines
        .iter()
        .skip(skipped)
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether `program` can be found on the search path.
pub(crate) fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
