//! Calls: of helpers, kfuncs and the program's own functions.

use std::mem;

use crate::costs::{self, pay};
use crate::guest::helper::{Helper, find};
use crate::guest::helpers::{KFUNCS, why_no_kfunc};
use crate::guest::machine::Machine;
use crate::guest::memory::handle;
use crate::guest::trace;
use crate::{BpfError, Interface};

/// The target that the register of a `callx` names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Callee {
    /// The step where a function starts.
    Function(usize),
    Helper(u64),
    Kfunc(u64),
}

impl Machine<'_> {
    /// Calls the function of this program at `callback`, and returns its r0.
    pub(super) fn call_back(&mut self, callback: u64, args: [u64; 5]) -> Result<u64, BpfError> {
        pay(&mut self.meter.insns, costs::CALLBACK);
        match self.callee(callback)? {
            Callee::Function(entry) => self.interpret(entry, args),
            Callee::Helper(_) | Callee::Kfunc(_) => Err(no_function(callback)),
        }
    }

    /// Calls the helper at `index` of the table.
    #[inline(never)]
    pub(super) fn call_helper(
        &mut self,
        index: u64,
        args: [u64; 5],
        step: usize,
    ) -> Result<u64, BpfError> {
        match self.helpers.get(index as usize) {
            Some(helper) => self.call_own(helper, args, step),
            None => Err(no_function(index)),
        }
    }

    /// Calls kfunc `index` of the parser.
    #[inline(never)]
    pub(super) fn call_kfunc(
        &mut self,
        index: u64,
        args: [u64; 5],
        step: usize,
    ) -> Result<u64, BpfError> {
        let kfunc = self.kfuncs.get(index as usize);
        let kfunc = kfunc.ok_or_else(|| no_function(index))?;
        let Some(number) = kfunc.host else {
            return Err(missing(&kfunc.name));
        };
        if let Some(own) = number.checked_sub(Interface::BUILT_IN) {
            return match KFUNCS.get(own as usize) {
                Some(own) => self.call_own(own, args, step),
                None => Err(missing(&kfunc.name)),
            };
        }
        self.set_site(step);
        let r0 = self.ask_host(number, args);
        self.pay();
        let r0 = r0?;
        if r0 == 0 || is_errno(r0) {
            self.tell_failure(trace::Callee::Kfunc(kfunc), args, r0);
        }
        Ok(r0)
    }

    /// Returns what `target` names: a function's address, a kfunc's, or the
    /// number of a helper (as C programs without a linker call them).
    pub(super) fn callee(&self, target: u64) -> Result<Callee, BpfError> {
        let lower = target & u64::from(u32::MAX);
        let callee = match target - lower {
            handle::FUNCTION => self.function(lower as u32).map(Callee::Function),
            handle::KFUNC => Some(Callee::Kfunc(lower)),
            0 => {
                let number = i32::try_from(lower).ok();
                let helper = number.and_then(|number| find(self.helpers, number));
                helper.map(|index| Callee::Helper(index as u64))
            }
            _ => None,
        };
        callee.ok_or_else(|| no_function(target))
    }

    /// Returns the step where the function that starts at `slot` begins. Programs
    /// can calculate with an address; one that leads inside a function is none.
    fn function(&self, slot: u32) -> Option<usize> {
        let starts = &self.program.functions;
        starts
            .binary_search_by_key(&slot, |(start, _)| *start)
            .ok()?;
        self.code.index(slot)
    }

    /// Returns why a step that a failed relocation left stops the run.
    #[cold]
    pub(super) fn poisoned(&self, step: usize) -> BpfError {
        let slot = self.code.slot(step);
        let mut all = self.program.poisoned.iter();
        let why = all.find(|one| one.slot == slot).map(|one| &one.reason);
        let why = why.map_or_else(String::new, |reason| format!(" ({reason})"));
        BpfError::new(format!(
            "this instruction uses a type or field that the loader lacks{why}; test it with \
             bpf_core_field_exists or bpf_core_type_exists before"
        ))
    }

    fn call_own(&mut self, own: &Helper, args: [u64; 5], step: usize) -> Result<u64, BpfError> {
        self.set_site(step);
        let r0 = (own.run)(self, args);
        self.pay();
        let r0 = r0?;
        if mem::take(&mut self.failed) || is_errno(r0) {
            let (name, prototype) = (own.name, own.prototype);
            self.tell_failure(trace::Callee::Helper { name, prototype }, args, r0);
        }
        Ok(r0)
    }

    /// Pays for the work that memory did.
    fn pay(&mut self) {
        pay(&mut self.meter.insns, self.memory.account.take_work());
    }
}

/// Returns whether `r0` is an error number of Linux, which is negative.
fn is_errno(r0: u64) -> bool {
    r0 > u64::MAX - 4095
}

#[cold]
pub(super) fn no_function(target: u64) -> BpfError {
    BpfError::new(format!(
        "call to {target:#x}, which is neither a function of this program nor a helper"
    ))
}

/// Says that a weak kfunc was called that no host offers.
#[cold]
fn missing(name: &str) -> BpfError {
    let why = why_no_kfunc(name).map_or_else(String::new, |why| format!(" ({why})"));
    BpfError::new(format!(
        "kfunc {name} is not offered by this loader{why}; test it with `bpf_ksym_exists({name})` \
         before the call"
    ))
}
