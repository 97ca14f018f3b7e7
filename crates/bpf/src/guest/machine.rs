//! A run under way: what helpers and the interpreter's loop share.

use super::helper::{Answer, Helper};
use super::host::Host;
use super::maps::Maps;
use super::memory::{Memory, Site};
use crate::code::Code;
use crate::{BpfError, Kfunc, Meter, Program};

/// Functions that may be active at once, callbacks among them (Linux
/// `MAX_CALL_FRAMES`).
pub(crate) const FRAMES: usize = 8;
/// Bytes of stack that each of them has (Linux `MAX_BPF_STACK`).
pub(crate) const STACK: usize = 512;

/// A run under way.
pub(crate) struct Machine<'a> {
    pub(crate) program: &'a Program,
    /// The program's number among those of its parser.
    pub(crate) number: usize,
    pub(crate) code: &'a Code,
    /// The kfuncs that the parser names.
    pub(crate) kfuncs: &'a [Kfunc],
    /// The helpers that the program may call; calls carry places in it.
    pub(crate) helpers: &'static [Helper],
    /// Calls the function of this program at an address, and returns its r0.
    pub(crate) call_back: fn(&mut Self, u64, [u64; 5]) -> Result<u64, BpfError>,
    pub(crate) memory: &'a mut Memory,
    pub(crate) maps: &'a mut Maps,
    pub(crate) host: &'a mut dyn Host,
    pub(crate) meter: &'a mut Meter,
    pub(crate) stage: &'a mut Stage,
    /// The locks that are held, by [`Lock`].
    pub(crate) locks: [Locked; 2],
    /// The addresses of the stack frames.
    pub(crate) frames: [u64; FRAMES],
    /// How many functions are active.
    pub(crate) depth: usize,
    /// The slot where the run ended early, and those of the calls that were open
    /// there, the innermost first.
    pub(crate) stopped: Vec<u32>,
    /// The helper at work answers NULL because it failed.
    pub(crate) failed: bool,
}

/// Helpers' state that outlives a run.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// The time that the next look at the clock gives.
    pub(crate) clock: u64,
    /// The state of the random numbers.
    pub(crate) random: u64,
    /// The line that no more lines are printed was printed.
    log_closed: bool,
}

/// The locks of a program. There is nothing to be kept out, but who locks
/// must unlock, as in Linux.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lock {
    /// `bpf_rcu_read_lock`.
    Rcu,
    /// `bpf_preempt_disable`.
    Preempt,
}

impl Lock {
    /// Returns the names of the kfuncs that take it and give it back.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Rcu => ["bpf_rcu_read_lock", "bpf_rcu_read_unlock"],
            Self::Preempt => ["bpf_preempt_disable", "bpf_preempt_enable"],
        }
    }
}

/// How often a lock is held, and the slot that acquired it first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Locked {
    times: u64,
    slot: u32,
}

impl Machine<'_> {
    /// Takes `lock`.
    pub(crate) fn lock(&mut self, lock: Lock) -> Answer {
        let slot = self.memory.site().slot;
        let locked = &mut self.locks[lock as usize];
        if locked.times == 0 {
            locked.slot = slot;
        }
        locked.times += 1;
        Ok(0)
    }

    /// Gives `lock` back.
    pub(crate) fn unlock(&mut self, lock: Lock) -> Answer {
        let locked = &mut self.locks[lock as usize];
        let [taker, helper] = lock.names();
        locked.times = locked
            .times
            .checked_sub(1)
            .ok_or_else(|| BpfError::helper(helper, format!("no call of {taker} is open")))?;
        Ok(0)
    }

    /// Returns the slot of a lock that is still held, and the fault to report.
    pub(crate) fn still_locked(&self) -> Option<(u32, BpfError)> {
        let mut all = [Lock::Rcu, Lock::Preempt].into_iter();
        let held = all.find(|lock| self.locks[*lock as usize].times != 0)?;
        let [lock, unlock] = held.names();
        let text = format!("{lock} was called here, and {unlock} was not before the program ended");
        Some((self.locks[held as usize].slot, BpfError::new(text)))
    }

    /// Gives what the program printed to the host, line by line.
    pub(crate) fn log(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for line in text.strip_suffix('\n').unwrap_or(&text).split('\n') {
            let line = printable(line);
            if let Some(left) = self.meter.log_lines.checked_sub(1) {
                self.meter.log_lines = left;
                tracing::trace!(program = self.program.name, "{line}");
                self.host.log(&line);
            } else if !self.stage.log_closed {
                self.stage.log_closed = true;
                self.host
                    .log("(the budget of log lines is used up; later lines are dropped)");
            }
        }
    }

    /// Notes which step is at work.
    pub(crate) fn set_site(&mut self, step: usize) {
        let slot = self.code.slot(step);
        self.memory.set_site(Site {
            program: self.number as u32,
            slot,
        });
    }

    /// Calls function `number` of the host.
    pub(crate) fn ask_host(&mut self, number: u32, args: [u64; 5]) -> Result<u64, BpfError> {
        self.memory.account.settle(self.meter);
        let result = self.host.call(number, args, self.memory, self.meter);
        // Even where the call failed: the run's end settles again.
        let drawn = self.memory.account.draw(self.meter);
        let r0 = result?;
        drawn?;
        Ok(r0)
    }
}

/// Returns `line` with control characters made visible, so that a program's
/// text cannot steer a terminal.
fn printable(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for character in line.chars() {
        if character.is_control() && character != '\t' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}
