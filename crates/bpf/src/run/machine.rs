//! One run: what helpers and the interpreter's loop share.

use super::FRAMES;
use crate::Fault;
use crate::code::Code;
use crate::guest::helpers::{Helper, KFUNCS, find};
use crate::guest::maps::Maps;
use crate::guest::memory::{Memory, Site, handle};
use crate::verify::VerifiedParser;
use crate::{AttachKind, Host, Interface, Meter};

/// A run under way.
pub(crate) struct Machine<'a> {
    pub(super) parser: &'a VerifiedParser,
    pub(super) program: usize,
    pub(super) code: &'a Code,
    pub(crate) memory: &'a mut Memory,
    pub(crate) maps: &'a mut Maps,
    pub(super) host: &'a mut dyn Host,
    pub(super) meter: &'a mut Meter,
    pub(crate) clock: &'a mut u64,
    pub(crate) random: &'a mut u64,
    /// The locks that are held, by [`Lock`].
    pub(super) locks: [Locked; 2],
    pub(super) frames: [u64; FRAMES],
    pub(super) log_closed: &'a mut bool,
    /// How many functions are active.
    pub(super) depth: usize,
    /// The slot where the run ended early.
    pub(super) stopped: Option<u32>,
}

/// What a program may lock. There is nothing to be kept out, but who locks
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

/// How often a lock is held, and which slot took it first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Locked {
    times: u64,
    slot: u32,
}

/// What the register of a `callx` names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Callee {
    /// The step where a function starts.
    Function(usize),
    Helper(u64),
    Kfunc(u64),
}

impl Machine<'_> {
    /// Calls the function of this program at `callback`, and returns its r0.
    pub(crate) fn call_back(&mut self, callback: u64, args: [u64; 5]) -> Result<u64, Fault> {
        self.meter.insns = self.meter.insns.saturating_sub(CALLBACK_COST);
        match self.callee(callback)? {
            Callee::Function(entry) => self.interpret(entry, args),
            Callee::Helper(_) | Callee::Kfunc(_) => Err(Fault::NoFunction { target: callback }),
        }
    }

    /// Returns how the program that runs is attached.
    pub(crate) fn attach(&self) -> Option<AttachKind> {
        let program = self.parser.programs.get(self.program);
        program.map(|program| program.attach)
    }

    /// Takes `lock`.
    pub(crate) fn lock(&mut self, lock: Lock) {
        let slot = self.memory.site().slot;
        let locked = &mut self.locks[lock as usize];
        if locked.times == 0 {
            locked.slot = slot;
        }
        locked.times += 1;
    }

    /// Gives `lock` back.
    pub(crate) fn unlock(&mut self, lock: Lock) -> Result<(), Fault> {
        let locked = &mut self.locks[lock as usize];
        let [taker, helper] = lock.names();
        locked.times = locked.times.checked_sub(1).ok_or_else(|| Fault::Helper {
            helper,
            problem: format!("no call of {taker} is open"),
        })?;
        Ok(())
    }

    /// Returns the slot of a lock that is still held, and the fault to tell.
    pub(super) fn still_locked(&self) -> Option<(u32, Fault)> {
        let all = [Lock::Rcu, Lock::Preempt];
        let held = all
            .into_iter()
            .find(|lock| self.locks[*lock as usize].times != 0)?;
        let [lock, unlock] = held.names();
        Some((
            self.locks[held as usize].slot,
            Fault::Locked { lock, unlock },
        ))
    }

    /// Gives what the program printed to the host, line by line.
    pub(crate) fn log(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for line in text.strip_suffix('\n').unwrap_or(&text).split('\n') {
            let line = printable(line);
            if let Some(left) = self.meter.log_lines.checked_sub(1) {
                self.meter.log_lines = left;
                let program = self
                    .parser
                    .programs
                    .get(self.program)
                    .map_or("", |p| &p.name);
                tracing::trace!(program, "{line}");
                self.host.log(&line);
            } else if !*self.log_closed {
                *self.log_closed = true;
                self.host
                    .log("(the budget of log lines is used up; later lines are dropped)");
            }
        }
    }

    /// Calls the helper at `index` of the table.
    #[inline(never)]
    pub(super) fn call_helper(
        &mut self,
        index: u64,
        args: [u64; 5],
        step: usize,
    ) -> Result<u64, Fault> {
        match self.parser.helpers().get(index as usize) {
            Some(helper) => self.call_own(helper, args, step),
            None => Err(Fault::NoFunction { target: index }),
        }
    }

    /// Calls kfunc `index` of the parser.
    #[inline(never)]
    pub(super) fn call_kfunc(
        &mut self,
        index: u64,
        args: [u64; 5],
        step: usize,
    ) -> Result<u64, Fault> {
        let kfunc = self.parser.kfuncs.get(index as usize);
        let kfunc = kfunc.ok_or(Fault::NoFunction { target: index })?;
        let Some(number) = kfunc.host else {
            return Err(Fault::MissingKfunc {
                name: kfunc.name.clone(),
            });
        };
        if let Some(own) = number.checked_sub(Interface::BUILT_IN) {
            return match KFUNCS.get(own as usize) {
                Some(own) => self.call_own(own, args, step),
                None => Err(Fault::MissingKfunc {
                    name: kfunc.name.clone(),
                }),
            };
        }
        self.set_site(step);
        let result = self.ask_host(number, args);
        self.pay();
        result
    }

    /// Calls function `number` of the host.
    pub(crate) fn ask_host(&mut self, number: u32, args: [u64; 5]) -> Result<u64, Fault> {
        self.memory.settle(self.meter);
        let result = self.host.call(number, args, self.memory, self.meter);
        // Even where the call failed: the run's end settles again.
        let drawn = self.memory.draw(self.meter);
        let r0 = result?;
        drawn?;
        Ok(r0)
    }

    /// Returns what `target` names: a function's address, a kfunc's, or the
    /// number of a helper (as C programs without a linker call them).
    pub(super) fn callee(&self, target: u64) -> Result<Callee, Fault> {
        let lower = target & u64::from(u32::MAX);
        let callee = match target - lower {
            handle::FUNCTION => self.function(lower as u32).map(Callee::Function),
            handle::KFUNC => Some(Callee::Kfunc(lower)),
            0 => {
                let number = i32::try_from(lower).ok();
                let helper = number.and_then(|number| find(self.parser.helpers(), number));
                helper.map(|index| Callee::Helper(index as u64))
            }
            _ => None,
        };
        callee.ok_or(Fault::NoFunction { target })
    }

    /// Returns the step where the function that starts at `slot` begins. Programs
    /// can calculate with an address; one that leads inside a function is none.
    fn function(&self, slot: u32) -> Option<usize> {
        let program = self.parser.programs.get(self.program)?;
        let starts = &program.functions;
        starts
            .binary_search_by_key(&slot, |(start, _)| *start)
            .ok()?;
        self.code.index(slot)
    }

    /// Returns why a step that a failed relocation left stops the run.
    #[cold]
    pub(super) fn poisoned(&self, step: usize) -> Fault {
        let slot = self.code.slot(step);
        let program = self.parser.programs.get(self.program);
        let mut all = program.into_iter().flat_map(|program| &program.poisoned);
        Fault::Poisoned {
            reason: all
                .find(|one| one.slot == slot)
                .map(|one| one.reason.clone()),
        }
    }

    fn call_own(&mut self, own: &Helper, args: [u64; 5], step: usize) -> Result<u64, Fault> {
        self.set_site(step);
        let result = (own.run)(self, args);
        self.pay();
        result
    }

    fn set_site(&mut self, step: usize) {
        let slot = self.code.slot(step);
        self.memory.set_site(Site {
            program: self.program as u32,
            slot,
        });
    }

    /// Pays for the work that memory did.
    fn pay(&mut self) {
        let work = self.memory.take_work();
        self.meter.insns = self.meter.insns.saturating_sub(work);
    }
}

/// Instructions that a callback costs beside its own: it takes as long as some.
const CALLBACK_COST: u64 = 4;

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
