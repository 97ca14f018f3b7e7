//! The functions that a host offers to parsers, known before any is loaded.

use std::ops::Deref;
use std::sync::OnceLock;

use super::helpers::KFUNCS;
use crate::btf::{Btf, TypesBuilder};

/// Returns the number in [`Interface::types`] of the set for a parser, by the hooks that its
/// programs attach to and by its own types, or says why there is none.
pub type ChooseTypes = fn(hooks: &[&str], own: Option<&Btf>) -> Result<usize, String>;

/// The offer of a host, known before any parser is loaded.
#[derive(Debug)]
pub struct Interface {
    /// The host's types: what CO-RE relocations bind to. A host for several kinds of
    /// parsers has a set for each kind.
    pub types: Vec<HostTypes>,
    /// Chooses the set for a parser.
    pub choose: ChooseTypes,
    /// The hooks programs may attach to.
    pub hooks: Vec<HookDecl>,
    /// The kfuncs programs may call.
    pub kfuncs: Vec<KfuncDecl>,
}

/// Types of a host. Those of a kind of parser that none is of are never built.
#[derive(Debug)]
pub struct HostTypes {
    built: OnceLock<Btf>,
    build: fn() -> Btf,
}

impl HostTypes {
    /// Types that `build` returns when a parser needs them.
    #[must_use]
    pub const fn new(build: fn() -> Btf) -> Self {
        let built = OnceLock::new();
        Self { built, build }
    }
}

impl From<Btf> for HostTypes {
    fn from(types: Btf) -> Self {
        Self {
            built: types.into(),
            // Not called: they are built.
            build: || TypesBuilder::new().build(),
        }
    }
}

impl Deref for HostTypes {
    type Target = Btf;

    fn deref(&self) -> &Btf {
        self.built.get_or_init(self.build)
    }
}

impl Interface {
    /// Returns the number that [`crate::Kfunc::host`] carries for the kfunc
    /// `name`: its index in [`Interface::kfuncs`], or one from
    /// [`Interface::BUILT_IN`] on for those that this crate offers to every
    /// host (number iterators). A host's own kfunc wins.
    #[must_use]
    pub fn kfunc(&self, name: &str) -> Option<u32> {
        let own = self.kfuncs.iter().position(|kfunc| kfunc.name == name);
        let mut built_in = (Self::BUILT_IN..).zip(KFUNCS);
        own.and_then(|index| u32::try_from(index).ok()).or_else(|| {
            let found = built_in.find(|(_, kfunc)| kfunc.name == name);
            found.map(|(number, _)| number)
        })
    }

    /// Chooses the only set of types there is.
    ///
    /// # Errors
    ///
    /// None.
    pub fn only(_hooks: &[&str], _own: Option<&Btf>) -> Result<usize, String> {
        Ok(0)
    }

    /// The first number of the kfuncs that this crate answers itself;
    /// [`crate::Host::call`] never sees them.
    pub const BUILT_IN: u32 = 1 << 31;
}

/// A hook: a function of the host that programs attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookDecl {
    /// Its name, as in `SEC("fentry.s/NAME")`.
    pub name: &'static str,
    /// How many u64 arguments the host passes (without the previous return
    /// value that `fmod_ret` programs get behind them).
    pub args: u8,
}

/// A kfunc: a function of the host that programs call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KfuncDecl {
    /// Its name, as in `extern ... __ksym`.
    pub name: &'static str,
    /// How many arguments it takes, at most 5.
    pub args: u8,
}
