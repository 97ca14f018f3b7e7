//! A helper or built-in kfunc, and what it answers.

use std::fmt;

use serde::Serialize;

use super::machine::Machine;
use crate::BpfError;

/// The answer of a helper or built-in kfunc: r0, or the end of the run.
pub(crate) type Answer = Result<u64, BpfError>;

/// A function offered to programs.
#[derive(Clone, Copy, Serialize)]
#[non_exhaustive]
pub struct Helper {
    /// Its number in Linux; 0 for kfuncs, which go by name.
    pub number: i32,
    /// Its name, with `bpf_`.
    pub name: &'static str,
    /// Its prototype, without the name.
    #[serde(skip)]
    pub prototype: &'static str,
    /// Its effect, as a clause without a subject.
    #[serde(skip)]
    pub meaning: &'static str,
    /// Its failures, and what each means; empty if it has none.
    #[serde(skip)]
    pub errors: &'static str,
    /// How it differs from Linux's; empty if it does not.
    #[serde(skip)]
    pub rule: &'static str,
    /// Returns the price of its work in words; they are empty if a call costs
    /// what any instruction costs.
    #[serde(skip)]
    pub price: fn() -> String,
    #[serde(skip)]
    pub(crate) run: fn(&mut Machine<'_>, [u64; 5]) -> Answer,
}

impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.number, self.name, self.prototype)
    }
}

/// Makes a table of functions.
macro_rules! functions {
    ($(
        $number:literal $name:ident $prototype:literal $meaning:literal $errors:literal
        $rule:literal $price:ident $run:expr;
    )*) => {
        [$($crate::guest::helper::Helper {
            number: $number,
            name: stringify!($name),
            prototype: $prototype,
            meaning: $meaning,
            errors: $errors,
            rule: $rule,
            price: $crate::costs::price::$price,
            run: $run,
        }),*]
    };
}
pub(super) use functions;

/// Returns the place of helper `number` in a table that ascends by number.
pub(crate) fn find(helpers: &[Helper], number: i32) -> Option<usize> {
    helpers
        .binary_search_by_key(&number, |helper| helper.number)
        .ok()
}
