//! `BPF_PROG_LOAD`: from the instructions and records of an attr to a linked
//! program, as the loading of a plain object gives it.

use super::attr::{Attr, text};
use super::call_error::{CallError, check_count};
use super::kernel::{Descriptor, Kernel};
use super::maps::damaged;
use super::rewrite::Rewriting;
use crate::bounds::size;
use crate::btf::ext::{CoreRelo, FuncInfo, Record, records};
use crate::btf::{Btf, Kind};
use crate::costs::looked;
use crate::guest::memory::Memory;
use crate::load::core_relo::Relocator;
use crate::load::limits::{
    MAX_CORE_RELOS, MAX_FUNCTIONS, MAX_INSNS, MAX_LICENSE, MAX_PROGRAMS, MAX_RECORD_BYTES,
};
use crate::load::offered;
use crate::source_lines::LineInfo;
use crate::{AttachKind, BpfError, Insn, Place, Poisoned, Program, Relocated, SourceLines};

/// `BPF_PROG_TYPE_TRACING`.
const TRACING: u32 = 26;
/// `BPF_TRACE_FENTRY`.
const TRACE_FENTRY: u32 = 24;
/// `BPF_MODIFY_RETURN`.
const MODIFY_RETURN: u32 = 26;
/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;
/// Flags of programs: beside [`SLEEPABLE`], those for testing a verifier.
const FLAGS: u32 = SLEEPABLE | 0x7;
const OFFERED: &str = "fentry (26, 24), fmod_ret (26, 26)";
/// Bytes of an instruction slot.
const SLOT: u32 = 8;

impl Kernel<'_> {
    /// `BPF_PROG_LOAD`.
    pub(super) fn prog_load(&mut self, attr: &Attr, memory: &mut Memory) -> Result<u64, CallError> {
        let index = self.programs.len();
        check_count("programs", index.saturating_add(1), MAX_PROGRAMS)?;
        let mut program = self.frame(attr)?;
        program.code = self.code(attr, memory)?;
        let types = self.types_of(attr)?;
        let own = types.and_then(|types| self.btfs.get(types));
        let host = self.bound.bind(self.interface, &program.hook, own)?;
        if let Some(types) = types {
            self.read_info(attr, memory, types, host, &mut program)?;
        }
        let btf = types.and_then(|types| self.btfs.get(types));
        let rewriting = Rewriting::new(self, btf, attr.u64(120), &program.name);
        let code = std::mem::take(&mut program.code);
        let (code, targets, kfuncs) = rewriting.rewrite(memory, code)?;
        (program.code, self.kfuncs) = (code, kfuncs);
        if program.functions.is_empty() {
            program.functions = functions(&program, &targets)?;
        }
        if self.programs.is_empty()
            && let Ok((license, _)) = memory.read_text(attr.u64(16), MAX_LICENSE)
        {
            self.license = text(&license);
        }
        self.programs.push(program);
        Ok(self.open(Descriptor::Program(index)))
    }

    /// Returns a program without code, but with what it attaches to.
    fn frame(&self, attr: &Attr) -> Result<Program, CallError> {
        let (name, kind, expected) = (attr.name(48), attr.u32(0), attr.u32(68));
        let (attach, word) = match (kind, expected) {
            (TRACING, TRACE_FENTRY) => (AttachKind::Fentry, "fentry"),
            (TRACING, MODIFY_RETURN) => (AttachKind::FmodRet, "fmod_ret"),
            (kind, attach) => {
                let error = BpfError::new(format!(
                    "program {name} (prog_type {kind}, expected_attach_type {attach}): programs \
                     of this kind are not offered; offered: {OFFERED}"
                ));
                return Err(error.into());
            }
        };
        let flags = attr.u32(44);
        if flags & !FLAGS != 0 {
            return Err(attr.refuse("prog_flags", "0x10 (sleepable) or 0", flags));
        }
        let hook = self.hook(attr)?;
        let sleepable = if flags & SLEEPABLE == 0 { "" } else { ".s" };
        let section = format!("{word}{sleepable}/{hook}");
        Ok(Program::new(name, section, attach, hook))
    }

    /// Returns the hook whose id the loader looked up.
    fn hook(&self, attr: &Attr) -> Result<String, CallError> {
        let id = attr.u32(108);
        let Some(found) = self.name_of(id) else {
            let expected = "an id that bpf_btf_find_by_name_kind gave";
            return Err(attr.refuse("attach_btf_id", expected, id));
        };
        let hook = &found.name;
        if offered::has_hook(self.interface, hook) {
            return Ok(hook.clone());
        }
        let missing = offered::no_hook(self.interface, hook);
        Err(CallError::missing("hook", hook, missing))
    }

    fn code(&mut self, attr: &Attr, memory: &mut Memory) -> Result<Vec<Insn>, CallError> {
        let count = attr.u32(4);
        if count == 0 {
            return Err(attr.refuse("insn_cnt", "1 or more", count));
        }
        // An attempt that is refused later was read too.
        self.spent.insns = self.spent.insns.saturating_add(size(count));
        check_count("instructions of all programs", self.spent.insns, MAX_INSNS)?;
        let bytes = u64::from(count).saturating_mul(SLOT.into());
        let bytes = attr.array(memory, "insns", 8, bytes, bytes)?;
        memory.account.worked(looked(count));
        let (slots, _none) = bytes.as_chunks::<8>();
        Ok(slots.iter().copied().map(Insn::from_le_bytes).collect())
    }

    fn types_of(&self, attr: &Attr) -> Result<Option<usize>, CallError> {
        let fd = attr.u32(72);
        let counts = [88, 104, 116].map(|at| attr.u32(at));
        match self.descriptor(fd) {
            Some(Descriptor::Btf(types)) => Ok(Some(types)),
            None if fd == 0 && counts == [0; 3] => Ok(None),
            _ => {
                let expected = "types, which the program's records need";
                let field = "prog_btf_fd";
                Err(CallError::descriptor(attr.command, field, expected, fd))
            }
        }
    }

    /// Reads functions and lines, and applies the CO-RE records.
    fn read_info(
        &mut self,
        attr: &Attr,
        memory: &mut Memory,
        types: usize,
        host: &Btf,
        program: &mut Program,
    ) -> Result<(), CallError> {
        let functions = self.records::<FuncInfo>(attr, memory, [76, 80, 88])?;
        let mut lines = self.records::<LineInfo>(attr, memory, [92, 96, 104])?;
        let relos = self.records::<CoreRelo>(attr, memory, [136, 128, 116])?;
        self.spent.relos = self.spent.relos.saturating_add(relos.len());
        check_count("CO-RE relocations", self.spent.relos, MAX_CORE_RELOS)?;
        let Some(btf) = self.btfs.get(types) else {
            return Ok(());
        };
        program.functions = named_functions(attr, &functions, btf, program)?;
        if let Some((_, entry)) = program.functions.first() {
            // The attr has room for 15 bytes of it.
            program.name.clone_from(entry);
        }
        lines.retain(|record| size(record.insn_off) < program.code.len());
        lines.sort_by_key(|record| record.insn_off);
        program.lines = SourceLines::new(btf.strings(), lines);
        apply(&relos, &mut Relocator::new(btf, host), program)
    }

    /// Reads an array of records; `fields` are the offsets of its record size,
    /// pointer and count.
    fn records<T: Record>(
        &mut self,
        attr: &Attr,
        memory: &mut Memory,
        [size, pointer, count]: [usize; 3],
    ) -> Result<Vec<T>, CallError> {
        let (size, count) = (attr.u32(size), attr.u32(count));
        if count == 0 {
            return Ok(Vec::new());
        }
        let bytes = u64::from(size).saturating_mul(count.into());
        self.spent.records = self.spent.records.saturating_add(bytes);
        if self.spent.records > MAX_RECORD_BYTES {
            let (part, found) = ("bytes of records about instructions", self.spent.records);
            return Err(CallError::too_many(part, found, MAX_RECORD_BYTES));
        }
        let data = attr.array(memory, T::TABLE, pointer, bytes, MAX_RECORD_BYTES)?;
        memory.account.worked(looked(count));
        records(&data, 0, size, count).map_err(damaged)
    }
}

/// Returns the functions that the records name, which divide the code.
fn named_functions(
    attr: &Attr,
    records: &[FuncInfo],
    btf: &Btf,
    program: &Program,
) -> Result<Vec<(u32, String)>, CallError> {
    check_count("functions of a program", records.len(), MAX_FUNCTIONS)?;
    let mut functions = Vec::<(u32, String)>::new();
    for record in records {
        let start = record.insn_off;
        let follows = match functions.last() {
            None => start == 0,
            Some((last, _)) => *last < start && size(start) < program.code.len(),
        };
        if !follows {
            let expected = "0, then ascending slots of the program";
            return Err(attr.refuse("func_info.insn_off", expected, start));
        }
        let function = btf.get(record.type_id);
        if !matches!(function.kind, Kind::Func { .. }) {
            let expected = "the id of a function's type";
            return Err(attr.refuse("func_info.type_id", expected, record.type_id.0));
        }
        functions.push((start, btf.text(function.name).into_owned()));
    }
    Ok(functions)
}

/// Returns the functions of a program without records: they begin where calls
/// lead to.
fn functions(program: &Program, targets: &[i64]) -> Result<Vec<(u32, String)>, CallError> {
    // No function begins outside of the program: the verifier refuses such a call.
    let targets = targets.iter().filter_map(|&at| u32::try_from(at).ok());
    let inside = |target: &u32| size(*target) < program.code.len();
    let mut starts = targets.filter(inside).collect::<Vec<_>>();
    starts.push(0);
    starts.sort_unstable();
    starts.dedup();
    check_count("functions of a program", starts.len(), MAX_FUNCTIONS)?;
    let named = starts.into_iter().map(|start| {
        let name = match start {
            0 => program.name.clone(),
            start => format!("insn_{start}"),
        };
        (start, name)
    });
    Ok(named.collect())
}

/// Applies the CO-RE records, as the kernel does: the loader program leaves
/// them alone.
fn apply(
    relos: &[CoreRelo],
    relocator: &mut Relocator<'_>,
    program: &mut Program,
) -> Result<(), CallError> {
    for relo in relos {
        let (slot, rest) = (relo.insn_off / SLOT, relo.insn_off % SLOT);
        let at = Some(size(slot)).filter(|at| rest == 0 && *at < program.code.len());
        let done = relocator.apply(&mut program.code, at, relo);
        let reason = done.map_err(|error| error.at(Place::new(program, slot)))?;
        if let Some(reason) = reason {
            program.poisoned.push(Poisoned { slot, reason });
        }
        if let Some(field) = relocator.field(relo) {
            // Of several records for one instruction the last holds.
            program.relocated.pop_if(|last| last.slot == slot);
            program.relocated.push(Relocated { slot, field });
        }
    }
    program.poisoned.sort_by_key(|poisoned| poisoned.slot);
    program.poisoned.dedup_by_key(|poisoned| poisoned.slot);
    program.relocated.sort_by_key(|relocated| relocated.slot);
    program.relocated.dedup_by_key(|relocated| relocated.slot);
    Ok(())
}
