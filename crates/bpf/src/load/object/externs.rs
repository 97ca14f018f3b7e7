//! Symbols that an object declares and expects the host to define.

use std::collections::HashMap;

use crate::BpfError;
use crate::btf::{Btf, Kind, Linkage};
use crate::error::check_count;
use crate::load::limits::MAX_EXTERNS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extern {
    /// A function in `.ksyms` that takes so many arguments.
    Kfunc { args: usize },
    /// A variable in `.ksyms`.
    Variable,
    /// A variable in `.kconfig`.
    Kconfig,
}

/// Reads the externs of the data sections `.ksyms` and `.kconfig`, by name.
pub(super) fn externs(btf: Option<&Btf>) -> Result<HashMap<&[u8], Extern>, BpfError> {
    let mut externs = HashMap::new();
    let Some(btf) = btf else {
        return Ok(externs);
    };
    let mut count = 0;
    for (_, section) in btf.iter() {
        let Kind::DataSec { vars } = &section.kind else {
            continue;
        };
        let kconfig = match btf.name(section.name) {
            b".ksyms" => false,
            b".kconfig" => true,
            _ => continue,
        };
        count = btf.vars(vars).len().saturating_add(count);
        check_count("externs", count, MAX_EXTERNS)?;
        for var in btf.vars(vars) {
            let declared = btf.get(var.ty);
            let found = match declared.kind {
                Kind::Var { linkage, .. } | Kind::Func { linkage, .. }
                    if linkage != Linkage::Extern =>
                {
                    continue;
                }
                Kind::Var { .. } if kconfig => Extern::Kconfig,
                Kind::Var { .. } => Extern::Variable,
                // A function without a prototype takes nothing.
                Kind::Func { proto, .. } if !kconfig => Extern::Kfunc {
                    args: btf.prototype(proto).map_or(0, |(_, params)| params.len()),
                },
                _ => continue,
            };
            externs.insert(btf.name(declared.name), found);
        }
    }
    Ok(externs)
}
