//! The parts of an object that linking looks at.

use std::collections::HashMap;

use super::elf::{Elf, Relocation};
use super::externs::Extern;
use super::functions::Functions;
use super::maps::Maps;
use super::records::{BySection, Lines};
use crate::btf::Btf;
use crate::btf::ext::BtfExt;
use crate::error::check_count;
use crate::load::limits::MAX_CORE_RELOS;
use crate::{BpfError, Interface};

#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) interface: &'a Interface,
    /// The host's types that the programs bind to.
    pub(super) host_types: Option<&'a Btf>,
    pub(super) elf: &'a Elf<'a>,
    pub(super) types: &'a Types,
    pub(super) functions: &'a Functions<'a>,
    pub(super) maps: &'a Maps,
    /// Declarations of what the host shall define, by name.
    pub(super) externs: HashMap<&'a [u8], Extern>,
    pub(super) lines: Lines<'a>,
    /// Relocations of code.
    pub(super) relocations: BySection<Relocation>,
}

#[derive(Debug, Default)]
pub(super) struct Types {
    pub(super) btf: Option<Btf>,
    pub(super) ext: BtfExt,
}

impl Types {
    pub(super) fn read(elf: &Elf<'_>) -> Result<Self, BpfError> {
        let Some((_, section)) = elf.section(".BTF") else {
            return Ok(Self::default());
        };
        let btf = Btf::parse(section.data).map_err(|error| error.of("section .BTF"))?;
        let ext = match elf.section(".BTF.ext") {
            Some((_, section)) => BtfExt::parse(section.data),
            None => Ok(BtfExt::default()),
        };
        let ext = ext.map_err(|error| error.of("section .BTF.ext"))?;
        let relos = ext.relos.iter().map(|table| table.records.len()).sum();
        check_count("CO-RE relocations", relos, MAX_CORE_RELOS)?;
        let btf = Some(btf);
        Ok(Self { btf, ext })
    }
}
