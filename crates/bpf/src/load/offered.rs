//! The host's offer under the names that a parser uses: hooks and kfuncs.

use std::collections::HashMap;

use super::limits::MAX_KFUNCS;
use crate::bounds::{size, small};
use crate::btf::Btf;
use crate::guest::helpers::{KFUNCS, why_no_kfunc};
use crate::{BpfError, Interface, Kfunc, did_you_mean};

/// A name that the host does not offer.
pub(super) struct Missing {
    /// The words behind the name.
    pub(super) reason: String,
    /// The name that was meant, or those that the host does offer, behind a
    /// semicolon; empty where `reason` explains it.
    pub(super) advice: String,
}

impl Missing {
    /// Returns that `name` is missing from a host that has `own` names, and
    /// `others` that every host has.
    fn of(name: &str, own: &[&str], others: &[&str]) -> Self {
        let all = own.iter().chain(others).copied();
        let advice = match did_you_mean(name, all) {
            Some(meant) => format!("; did you mean {meant}?"),
            None if own.is_empty() => "; offered: none".to_owned(),
            None => format!("; offered: {}", own.join(", ")),
        };
        Self {
            reason: "is not offered by this loader".to_owned(),
            advice,
        }
    }

    pub(super) fn whole(self) -> String {
        self.reason + &self.advice
    }
}

pub(super) fn has_hook(interface: &Interface, name: &str) -> bool {
    interface.hooks.iter().any(|hook| hook.name == name)
}

pub(super) fn no_hook(interface: &Interface, name: &str) -> Missing {
    let hooks: Vec<_> = interface.hooks.iter().map(|hook| hook.name).collect();
    Missing::of(name, &hooks, &[])
}

pub(super) fn no_kfunc(interface: &Interface, name: &str) -> Missing {
    match why_no_kfunc(name) {
        Some(reason) => Missing {
            reason: format!("is a kfunc of Linux that this loader does not offer: {reason}"),
            advice: String::new(),
        },
        None => {
            let own: Vec<_> = interface.kfuncs.iter().map(|kfunc| kfunc.name).collect();
            let others: Vec<_> = KFUNCS.iter().map(|kfunc| kfunc.name).collect();
            Missing::of(name, &own, &others)
        }
    }
}

/// Checks how many arguments a program declares for the kfunc `name`, which
/// has the number `host`.
pub(super) fn check_args(
    interface: &Interface,
    name: &str,
    host: u32,
    declared: usize,
) -> Result<(), BpfError> {
    let own = interface.kfuncs.get(size(host));
    let offered = own.map_or(declared, |kfunc| usize::from(kfunc.args));
    if offered == declared {
        return Ok(());
    }
    Err(BpfError::new(format!(
        "kfunc {name} is declared to take {declared} argument(s), and this loader's takes {offered}"
    )))
}

/// The host's types that the programs of one parser bind to.
#[derive(Debug, Default)]
pub(super) struct Bound {
    hooks: Vec<String>,
    /// The number of the set, once a program is bound.
    pub(super) types: Option<usize>,
}

impl Bound {
    /// Binds a program that attaches to `hook` and has its `own` types.
    pub(super) fn bind<'i>(
        &mut self,
        interface: &'i Interface,
        hook: &str,
        own: Option<&Btf>,
    ) -> Result<&'i Btf, BpfError> {
        if !self.hooks.iter().any(|known| known == hook) {
            self.hooks.push(hook.to_owned());
        }
        let hooks: Vec<&str> = self.hooks.iter().map(String::as_str).collect();
        let number = (interface.choose)(&hooks, own).map_err(BpfError::new)?;
        if self.types.is_some_and(|bound| bound != number) {
            return Err(BpfError::new(format!(
                "its programs bind to different types of this loader: they attach to {}",
                hooks.join(", ")
            )));
        }
        self.types = Some(number);
        let types = interface.types.get(number).map(|types| &**types);
        types.ok_or_else(|| BpfError::new("this loader has no types for it"))
    }
}

/// The kfuncs that the programs of one parser name, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Kfuncs {
    pub(super) list: Vec<Kfunc>,
    indices: HashMap<Kfunc, u32>,
}

impl Kfuncs {
    /// Returns the index of a kfunc; `None` if it is one too many.
    pub(super) fn index(&mut self, kfunc: &Kfunc) -> Option<u32> {
        if let Some(&index) = self.indices.get(kfunc) {
            return Some(index);
        }
        let index = small(self.list.len());
        if self.list.len() >= MAX_KFUNCS {
            return None;
        }
        self.indices.insert(kfunc.clone(), index);
        self.list.push(kfunc.clone());
        Some(index)
    }
}
