//! The kernel that a loader program sees: descriptors, `bpf(2)` and the
//! look-ups of names, as far as a light skeleton needs them.
//!
//! Nothing here touches the machine: a map that is made is an entry of a list.

use std::collections::BTreeMap;

use super::attr::{Attr, array, text};
use super::call_error::CallError;
use crate::bounds::{size, wide};
use crate::btf::{Btf, essential_name};
use crate::guest::helpers::loader;
use crate::guest::memory::Memory;
use crate::load::limits::MAX_CALLS;
use crate::load::offered::{self, Bound, Kfuncs};
use crate::{BpfError, Host, Interface, Map, Meter, Program};

/// `BTF_KIND_FUNC`.
const KIND_FUNC: u64 = 12;
/// The most bytes of a name that is looked up, its NUL included.
const MAX_NAME: u64 = 512;

/// The kernel and all that the loader has made in it.
#[derive(Debug)]
pub(super) struct Kernel<'a> {
    pub(super) interface: &'a Interface,
    descriptors: BTreeMap<u32, Descriptor>,
    /// All maps that were made, in order.
    pub(super) maps: Vec<Made>,
    pub(super) btfs: Vec<Btf>,
    pub(super) programs: Vec<Program>,
    pub(super) kfuncs: Kfuncs,
    /// The host's types that the programs bind to.
    pub(super) bound: Bound,
    /// The licence of the first program.
    pub(super) license: String,
    /// Names that were found; the id of one is its index plus 1.
    names: Vec<Name>,
    /// Names of kfuncs and variables that were not found since a program was
    /// last loaded.
    pub(super) missing: Vec<String>,
    /// Whether a name was looked up since a program was last loaded.
    looked_up: bool,
    /// The costs of the attempts to load programs and types.
    pub(super) spent: Spent,
    calls: u32,
    pub(super) refused: Option<CallError>,
}

/// The thing behind a descriptor: an index into the list of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Descriptor {
    Btf(usize),
    Map(usize),
    Program(usize),
}

#[derive(Debug)]
pub(super) struct Made {
    pub(super) map: Map,
    pub(super) frozen: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) name: String,
    /// The host's number of the kfunc of this name.
    pub(super) kfunc: Option<u32>,
}

/// The costs of all attempts to load something.
#[derive(Debug, Default)]
pub(super) struct Spent {
    pub(super) insns: usize,
    pub(super) relos: usize,
    pub(super) records: u64,
    pub(super) types: u64,
    pub(super) initial: u64,
}

type Command<'k> = fn(&mut Kernel<'k>, &Attr, &mut Memory) -> Result<u64, CallError>;

impl Host for Kernel<'_> {
    fn call(
        &mut self,
        helper: u32,
        args: [u64; 5],
        memory: &mut Memory,
        _meter: &mut Meter,
    ) -> Result<u64, BpfError> {
        self.calls = self.calls.saturating_add(1);
        if self.calls > MAX_CALLS {
            let (found, limit) = (self.calls.into(), MAX_CALLS.into());
            let error = BpfError::too_many("calls of the kernel", found, limit);
            return Err(BpfError::host(error));
        }
        let result = match helper {
            loader::SYS_BPF => self.sys_bpf(args, memory),
            loader::BTF_FIND_BY_NAME_KIND => self.find_by_name(args, memory),
            loader::SYS_CLOSE => self.close(args),
            _ => self.find_symbol(args, memory),
        };
        Ok(result.unwrap_or_else(|error| {
            let errno = error.errno;
            tracing::debug!("a call of the skeleton's loader failed: {}", error.text);
            // The answer to closing is no result of a loader.
            if helper != loader::SYS_CLOSE {
                self.refused = Some(error);
            }
            errno
        }))
    }

    fn log(&mut self, line: &str) {
        tracing::debug!("the skeleton's loader says: {line}");
    }
}

impl<'a> Kernel<'a> {
    pub(super) fn new(interface: &'a Interface) -> Self {
        Self {
            interface,
            descriptors: BTreeMap::new(),
            maps: Vec::new(),
            btfs: Vec::new(),
            programs: Vec::new(),
            kfuncs: Kfuncs::default(),
            bound: Bound::default(),
            license: String::new(),
            names: Vec::new(),
            missing: Vec::new(),
            looked_up: false,
            spent: Spent::default(),
            calls: 0,
            refused: None,
        }
    }

    /// Returns the programs whose descriptors are open, in the order they were
    /// loaded. The others are gone, as in Linux.
    pub(super) fn kept(&mut self) -> Vec<Program> {
        let is_open = |index| {
            let open = &mut self.descriptors.values();
            open.any(|open| *open == Descriptor::Program(index))
        };
        let programs = std::mem::take(&mut self.programs).into_iter().enumerate();
        let kept = programs.filter(|(index, _)| is_open(*index));
        kept.map(|(_, program)| program).collect()
    }

    /// Opens the lowest descriptor that is free. 0 to 2 are taken, as in any
    /// process: to a loader 0 means that there is none.
    /// There are no more than the caps on maps, programs and types allow.
    pub(super) fn open(&mut self, what: Descriptor) -> u64 {
        let mut free = 3;
        for &taken in self.descriptors.keys() {
            if taken != free {
                break;
            }
            free = free.saturating_add(1);
        }
        self.descriptors.insert(free, what);
        free.into()
    }

    pub(super) fn descriptor(&self, fd: u32) -> Option<Descriptor> {
        self.descriptors.get(&fd).copied()
    }

    pub(super) fn name_of(&self, id: u32) -> Option<&Name> {
        self.names.get(size(id.checked_sub(1)?))
    }

    /// `bpf_sys_bpf(cmd, attr, attr_size)`.
    fn sys_bpf(
        &mut self,
        [command, attr, size, ..]: [u64; 5],
        memory: &mut Memory,
    ) -> Result<u64, CallError> {
        let [command, size] = [command, size].map(low);
        let (name, run): (_, Command<'a>) = match command {
            0 => ("BPF_MAP_CREATE", |kernel, attr, _| kernel.map_create(attr)),
            2 => ("BPF_MAP_UPDATE_ELEM", Self::map_update),
            5 => ("BPF_PROG_LOAD", Self::prog_load),
            18 => ("BPF_BTF_LOAD", Self::btf_load),
            22 => ("BPF_MAP_FREEZE", |kernel, attr, _| kernel.map_freeze(attr)),
            _ => {
                let error = BpfError::new(format!(
                    "bpf command {command} is not offered to loaders; offered: MAP_CREATE (0), \
                     MAP_UPDATE_ELEM (2), PROG_LOAD (5), BTF_LOAD (18), MAP_FREEZE (22)"
                ));
                return Err(error.into());
            }
        };
        let attr = Attr::read(name, memory, attr, size.into())?;
        let done = run(self, &attr, memory);
        if command == 5 {
            self.looked_up = false;
            self.missing.clear();
        }
        done
    }

    fn close(&mut self, [fd, ..]: [u64; 5]) -> Result<u64, CallError> {
        let fd = low(fd);
        let open = self.descriptors.remove(&fd);
        let expected = "anything that is open";
        let closed = || CallError::descriptor("bpf_sys_close", "fd", expected, fd);
        open.map(|_| 0).ok_or_else(closed)
    }

    /// `bpf_btf_find_by_name_kind(name, name_sz, kind, flags)`: returns an id
    /// of the host's types. There are no modules, so the upper half, which
    /// would be a descriptor, is 0.
    ///
    /// libbpf's loaders first look up what a program attaches to, then the
    /// kfuncs it calls.
    fn find_by_name(
        &mut self,
        [name, size, kind, flags, ..]: [u64; 5],
        memory: &mut Memory,
    ) -> Result<u64, CallError> {
        const HELPER: &str = "bpf_btf_find_by_name_kind";
        let is_hook = !std::mem::replace(&mut self.looked_up, true);
        let name = name_at(HELPER, memory, name, size)?;
        if low(flags) != 0 {
            return Err(BpfError::field(HELPER, "flags", "0", flags).into());
        }
        if u64::from(low(kind)) != KIND_FUNC {
            let error = CallError::symbol(&name);
            self.missing.push(name);
            return Err(error);
        }
        let host = self.interface;
        // A flavour begins with underscores, thus between two characters.
        let plain = str::from_utf8(essential_name(name.as_bytes())).unwrap_or(&name);
        let kfunc = host.kfunc(plain);
        if kfunc.is_some() || offered::has_hook(host, &name) {
            let name = Name { name, kfunc };
            let known = self.names.iter().position(|known| *known == name);
            let index = known.unwrap_or(self.names.len());
            if known.is_none() {
                self.names.push(name);
            }
            return Ok(wide(index).saturating_add(1));
        }
        if is_hook {
            let missing = offered::no_hook(host, &name);
            return Err(CallError::missing("hook", &name, missing));
        }
        let missing = offered::no_kfunc(host, plain);
        let error = CallError::missing("kfunc", &name, missing);
        self.missing.push(name);
        Err(error)
    }

    /// `bpf_kallsyms_lookup_name(name, name_sz, flags, res)`: there are no
    /// symbols of a kernel, and a loader goes on without one.
    fn find_symbol(
        &mut self,
        [name, size, _flags, result, ..]: [u64; 5],
        memory: &mut Memory,
    ) -> Result<u64, CallError> {
        const HELPER: &str = "bpf_kallsyms_lookup_name";
        let symbol = name_at(HELPER, memory, name, size)?;
        let written = memory.write(result, &[0; 8]);
        written.map_err(|problem| CallError::memory(HELPER, "res", problem))?;
        Err(CallError::symbol(&symbol))
    }
}

/// Returns the name of `size` bytes, its NUL included, at `addr`.
fn name_at(
    helper: &'static str,
    memory: &mut Memory,
    addr: u64,
    size: u64,
) -> Result<String, CallError> {
    let size = u64::from(low(size));
    let bytes = array(helper, "name", memory, addr, size, MAX_NAME)?;
    match bytes.split_last() {
        Some((0, name)) if !name.is_empty() => Ok(text(name)),
        _ => {
            let expected = "the length of a name with its NUL";
            Err(BpfError::field(helper, "name_sz", expected, size).into())
        }
    }
}

/// Returns the half of a register that an `int` or `u32` argument is in.
fn low(register: u64) -> u32 {
    let [a, b, c, d, ..] = register.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
