//! Booting kernels in QEMU, and reading what they say on their serial line.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::command::{Tool, last_lines};

/// How many of the last serial lines a failure quotes.
const QUOTED_LINES: usize = 30;

/// A kind of machine to emulate. Nothing here needs virtualisation in hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Arm64,
    Riscv64,
}

impl Machine {
    /// QEMU for it, without memory and devices.
    pub(crate) fn tool(self) -> Tool {
        match self {
            Self::X86_64 => Tool::new("qemu-system-x86_64").args(["-accel", "tcg"]),
            Self::Arm64 => Tool::new("qemu-system-aarch64").args([
                "-accel",
                "tcg",
                "-M",
                "virt",
                "-cpu",
                "cortex-a57",
            ]),
            // Without an option it starts OpenSBI, and that the kernel.
            Self::Riscv64 => Tool::new("qemu-system-riscv64").args(["-accel", "tcg", "-M", "virt"]),
        }
    }

    /// A command line that makes the kernel speak on the serial line, say little, and end the
    /// machine when it panics, with `more` behind it.
    pub(crate) fn cmdline(self, more: &str) -> String {
        let console = match self {
            // The kernel looks whether the timer ticks while it waits; emulated on a busy host,
            // it may not tick soon enough, and the kernel would panic.
            Self::X86_64 => "ttyS0 no_timer_check",
            Self::Arm64 => "ttyAMA0",
            Self::Riscv64 => "ttyS0",
        };
        format!("console={console} {ENDS_ON_PANIC} quiet {more}")
    }
}

/// One boot of one machine, to its end.
#[derive(Debug)]
pub(crate) struct Boot<'a> {
    pub(crate) machine: Machine,
    pub(crate) kernel: &'a Path,
    pub(crate) initrd: &'a Path,
    /// The kernel's command line, as [`Machine::cmdline`] makes it.
    pub(crate) cmdline: &'a str,
    /// The machine is given up after this long.
    pub(crate) time_limit: Duration,
    /// The prefix of each serial line when it is shown as it comes.
    pub(crate) shown_as: Option<&'a str>,
}

/// A panic resets the machine at once, and an option of QEMU makes it end where it would reset. (A kexec is
/// no reset.)
const ENDS_ON_PANIC: &str = "panic=-1";

/// The text that came over the serial line.
#[derive(Debug, Default)]
pub(crate) struct Serial {
    lines: Vec<String>,
    /// When each of them came.
    came: Vec<Moment>,
}

/// The moment at which a line came.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    /// The processor time that QEMU had used.
    used: Duration,
}

/// The time between two lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Elapsed {
    /// Of the machine's processor: other work of the host does not count.
    pub(crate) processor: Duration,
    /// By the host's clock.
    pub(crate) wall: Duration,
}

impl Moment {
    fn of(process: u32) -> Self {
        // proc_pid_stat(5): utime and stime, in hundredths of a second, behind the name in brackets.
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let fields = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.filter_map(|it| it.parse::<u64>().ok()).sum();
        Self {
            at: Instant::now(),
            used: Duration::from_millis(10 * ticks),
        }
    }
}

impl Boot<'_> {
    /// Boots the machine and waits until it powers itself off.
    ///
    /// # Errors
    ///
    /// QEMU cannot be run or fails, or the time is up; the last serial lines are quoted.
    pub(crate) fn run(&self) -> Result<Serial> {
        run(self.tool(), self.time_limit, self.shown_as)
    }

    /// QEMU for this boot.
    pub(crate) fn tool(&self) -> Tool {
        self.machine
            .tool()
            .args(["-m", "2G", "-display", "none", "-monitor", "none"])
            .args(["-serial", "stdio", "-nic", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initrd)
            .arg("-append")
            .arg(self.cmdline)
    }
}

/// Runs a machine, whose serial line is `qemu`'s output, and waits until it powers itself off.
/// `shown_as` is put in front of each serial line, if they are shown as they come.
///
/// # Errors
///
/// As [`Boot::run`].
pub(crate) fn run(qemu: Tool, time_limit: Duration, shown_as: Option<&str>) -> Result<Serial> {
    let mut child = qemu
        .into_command()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start QEMU")?;
    let mut serial = Serial::default();
    let finished = serial.collect(&mut child, time_limit, shown_as);
    // Killing what has ended by itself fails, and need not succeed.
    drop(child.kill());
    let output = child.wait_with_output()?;
    finished.map_err(|error| anyhow!("{error:#}\n{}", serial.quoted()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if serial.lines.is_empty() {
        bail!("QEMU ended without a word on the serial line: {said}");
    }
    Ok(serial)
}

impl Serial {
    /// Collects serial lines until QEMU closes its end.
    fn collect(
        &mut self,
        child: &mut Child,
        time_limit: Duration,
        shown_as: Option<&str>,
    ) -> Result<()> {
        let pipe = child.stdout.take().context("QEMU has no output")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                let Ok(line) = line else { break };
                if sender.send(readable(&line)).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + time_limit;
        loop {
            match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(prefix) = shown_as {
                        println!("{prefix}{line}");
                    }
                    self.lines.push(line);
                    self.came.push(Moment::of(child.id()));
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => bail!(
                    "the machine was still running after {} s",
                    time_limit.as_secs()
                ),
            }
        }
    }

    /// The text behind `tag` in each line that begins with it.
    pub(crate) fn values<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.lines.iter();
        lines.filter_map(move |line| line.strip_prefix(tag).map(str::trim))
    }

    /// The text behind `tag` in the first line that holds it.
    ///
    /// # Errors
    ///
    /// No line does; the last lines are quoted.
    pub(crate) fn value(&self, tag: &str) -> Result<&str> {
        self.lines
            .iter()
            .find_map(|line| line.split_once(tag))
            .map(|(_, value)| value.trim())
            .ok_or_else(|| {
                anyhow!(
                    "no serial line holds {tag:?}; the last ones:\n{}",
                    self.quoted()
                )
            })
    }

    /// The time between the last line that holds `from` and the first behind it that holds `to`.
    ///
    /// # Errors
    ///
    /// There are no such lines; the last lines are quoted.
    pub(crate) fn between(&self, from: &str, to: &str) -> Result<Elapsed> {
        let lines = || self.lines.iter().zip(&self.came);
        let start = lines().rposition(|(line, _)| line.contains(from));
        let mut behind = lines().skip(start.unwrap_or(self.lines.len()));
        let first = behind.next().map(|(_, came)| came);
        let end = behind.find(|(line, _)| line.contains(to));
        let (Some(first), Some((_, end))) = (first, end) else {
            bail!(
                "no line with {to:?} behind one with {from:?}; the last ones:\n{}",
                self.quoted()
            );
        };
        Ok(Elapsed {
            wall: end.at - first.at,
            processor: end.used.saturating_sub(first.used),
        })
    }

    /// Fails unless the text behind `tag` is `expected`.
    ///
    /// # Errors
    ///
    /// It is another, or there is no such line; the last lines are quoted.
    pub(crate) fn expect(&self, tag: &str, expected: &str) -> Result<()> {
        let found = self.value(tag)?;
        if found != expected {
            bail!(
                "behind {tag:?}: expected {expected:?}, found {found:?}; the last serial lines:\n{}",
                self.quoted()
            );
        }
        Ok(())
    }

    /// How many lines hold `tag`.
    pub(crate) fn count(&self, tag: &str) -> usize {
        self.lines.iter().filter(|line| line.contains(tag)).count()
    }

    /// All lines.
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The last lines, indented.
    pub(crate) fn quoted(&self) -> String {
        last_lines(&self.text(), QUOTED_LINES)
    }
}

/// A line without the control sequences with which firmware and kernels move the cursor.
fn readable(line: &[u8]) -> String {
    let mut text = String::new();
    let mut in_sequence = false;
    for c in String::from_utf8_lossy(line).chars() {
        match c {
            '\x1b' => in_sequence = true,
            _ if in_sequence => in_sequence = !c.is_ascii_alphabetic(),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_are_dropped() {
        assert_eq!(readable(b"\x1b[2J\x1bcBooting\x1b[0m ...\r"), "Booting ...");
    }

    #[test]
    fn values_stand_behind_their_tag() {
        let serial = Serial {
            lines: vec!["noise".into(), "[ 1.0] guest: cmdline= a b ".into()],
            ..Serial::default()
        };
        assert_eq!(serial.value("guest: cmdline=").unwrap(), "a b");
        assert!(serial.expect("guest: cmdline=", "a c").is_err());
        assert!(serial.value("other").is_err());
    }
}
