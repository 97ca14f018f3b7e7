//! Instructions as text, in the manner of `llvm-objdump -d`, with the names
//! that a loaded parser knows: maps, functions, helpers, kfuncs, and the fields
//! that CO-RE relocations were about.
//!
//! A slot that holds no instruction appears as its bytes: a listing is for
//! people who look for the fault.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::bounds::small;
use crate::helper_names::linux_name;
use crate::insn::{LDDW, lddw};
use crate::ops::{Kind, Op, Operation};
use crate::{Insn, Parser, Program};

/// One instruction of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its slot in [`Program::code`].
    pub slot: u32,
    /// Its encoding; a wide one has two slots.
    pub code: Vec<Insn>,
    /// The name of the slot in jumps and calls that lead here: a function's, or `L1`
    /// and so on.
    pub label: Option<String>,
    /// The instruction, such as `r1 = *(u32 *)(r2 + 0x10)`.
    pub text: String,
    /// Further facts: the field that is accessed, why it would trap.
    pub note: Option<String>,
}

/// Returns `program` of `parser` as text, one line for each instruction.
#[must_use]
pub fn disassemble(parser: &Parser, program: &Program) -> Vec<Line> {
    let labels = labels(program);
    let notes = notes(program);
    let writer = Writer {
        parser,
        labels: &labels,
    };
    let lines = instructions(program).filter_map(|(slot, code)| {
        Some(Line {
            slot,
            code: code.to_vec(),
            label: labels.get(&i64::from(slot)).cloned(),
            text: writer.text(slot, *code.first()?, code.get(1).copied()),
            note: notes.get(&slot).cloned(),
        })
    });
    lines.collect()
}

fn instructions(program: &Program) -> impl Iterator<Item = (u32, &[Insn])> {
    let mut rest = program.code.as_slice();
    let mut slot = 0_u32;
    std::iter::from_fn(move || {
        let insn = rest.first()?;
        let slots = if insn.code == LDDW { 2 } else { 1 };
        let (code, behind) = rest.split_at(rest.len().min(slots));
        rest = behind;
        let at = slot;
        slot = slot.saturating_add(small(code.len()));
        Some((at, code))
    })
}

/// Returns the names of functions and of where jumps lead, by slot.
fn labels(program: &Program) -> BTreeMap<i64, String> {
    let functions = program
        .functions
        .iter()
        .map(|(slot, name)| (i64::from(*slot), name.clone()));
    let mut labels: BTreeMap<i64, String> = functions.collect();
    let targets: BTreeSet<i64> = instructions(program)
        .filter_map(|(slot, code)| jump_target(slot, *code.first()?))
        .collect();
    let unnamed = targets.into_iter().filter(|slot| {
        let end = small(program.code.len());
        (0..end.into()).contains(slot)
    });
    for (number, slot) in (1..).zip(unnamed) {
        labels.entry(slot).or_insert_with(|| format!("L{number}"));
    }
    labels
}

fn jump_target(slot: u32, insn: Insn) -> Option<i64> {
    let distance = match Operation::of(insn).map(|operation| operation.kind) {
        Some(Kind::GotoFar) => i64::from(insn.imm),
        Some(Kind::Call | Kind::CallX | Kind::Exit) => return None,
        // An author who looks for the fault wants to see where a jump leads that
        // is no instruction.
        _ if matches!(insn.code & 0x07, 0x05 | 0x06) => i64::from(insn.off),
        _ => return None,
    };
    Some(behind(slot).saturating_add(distance))
}

/// Returns the operation that `insn` is listed as. The bit that selects the
/// source register means nothing to one without a second operand: a listing
/// passes over it, as the verifier does not.
fn listed(insn: Insn) -> Option<&'static Operation> {
    let code = insn.code & !0x08;
    let alike = Operation::of(Insn { code, ..insn })
        .filter(|alike| matches!(alike.kind, Kind::Goto | Kind::GotoFar | Kind::Negate));
    Operation::of(insn).or(alike)
}

fn behind(slot: u32) -> i64 {
    i64::from(slot).saturating_add(1)
}

/// Returns what is known of instructions beside their encoding.
fn notes(program: &Program) -> BTreeMap<u32, String> {
    let fields = program.relocated.iter();
    let fields = fields.map(|one| (one.slot, one.field.to_string()));
    let traps = program.poisoned.iter();
    let traps = traps.map(|one| (one.slot, format!("trap: {}", one.reason)));
    fields.chain(traps).collect()
}

struct Writer<'a> {
    parser: &'a Parser,
    labels: &'a BTreeMap<i64, String>,
}

impl Writer<'_> {
    fn text(&self, slot: u32, insn: Insn, next: Option<Insn>) -> String {
        let text = listed(insn).and_then(|operation| {
            let text = operation.text;
            let (dst, operand) = operands(insn, operation);
            Some(match operation.kind {
                Kind::Wide => self.load_imm(slot, insn, next?),
                Kind::Binary => match insn.off {
                    bits @ (8 | 16 | 32) if text == "=" => format!("{dst} = (s{bits}){operand}"),
                    _ => format!("{dst} {text} {operand}"),
                },
                Kind::Negate => format!("{dst} = -{dst}"),
                Kind::Swap => format!("r{0} = {text}{1} r{0}", insn.dst, insn.imm),
                Kind::Jump => {
                    let target = self.label(slot, insn.off.into());
                    format!("if {dst} {text} {operand} goto {target}")
                }
                Kind::Goto => format!("goto {}", self.label(slot, insn.off.into())),
                Kind::GotoFar => format!("goto {}", self.label(slot, insn.imm.into())),
                Kind::Load => format!("{dst} = *({text} *)({})", at(insn.src, insn.off)),
                Kind::StoreK | Kind::StoreX => {
                    format!("*({text} *)({}) = {operand}", at(insn.dst, insn.off))
                }
                Kind::Atomic => atomic(insn, operation)?,
                Kind::Call => self.call(slot, insn, operation.op)?,
                Kind::CallX if insn.imm == 0 => format!("callx r{}", insn.dst),
                Kind::CallX => format!("callx r{}", insn.imm),
                Kind::Exit => "exit".to_owned(),
            })
        });
        text.unwrap_or_else(|| format!("(no instruction: opcode {:#04x})", insn.code))
    }

    fn load_imm(&self, slot: u32, insn: Insn, next: Insn) -> String {
        let value = match insn.src {
            lddw::MAP => self.map(insn.imm),
            lddw::MAP_VALUE if next.imm == 0 => self.map(insn.imm),
            lddw::MAP_VALUE => {
                format!("{} + {:#x}", self.map(insn.imm), next.imm.cast_unsigned())
            }
            lddw::KFUNC => format!("&{}", self.kfunc(insn.imm)),
            lddw::FUNC => format!("&{}", self.label(slot, insn.imm.into())),
            _ => {
                let [low, high] = [insn.imm, next.imm].map(|half| u64::from(half.cast_unsigned()));
                format!("{:#x}", high.wrapping_shl(32) | low)
            }
        };
        format!("r{} = {value} ll", insn.dst)
    }

    fn call(&self, slot: u32, insn: Insn, op: Op) -> Option<String> {
        Some(match op {
            Op::Poison => "trap".to_owned(),
            Op::CallLocal => format!("call {}", self.label(slot, insn.imm.into())),
            Op::CallKfunc => format!("call {}", self.kfunc(insn.imm)),
            _ if insn.src != 0 => return None,
            _ => {
                let name = linux_name(insn.imm);
                let name = name.map_or_else(|| "helper".to_owned(), |name| format!("bpf_{name}"));
                format!("call {name}#{}", insn.imm)
            }
        })
    }

    fn map(&self, index: i32) -> String {
        nth(&self.parser.maps, index).map_or_else(|| format!("map {index}"), |map| map.name.clone())
    }

    fn kfunc(&self, index: i32) -> String {
        let kfunc = nth(&self.parser.kfuncs, index);
        kfunc.map_or_else(|| format!("kfunc {index}"), |kfunc| kfunc.name.clone())
    }

    /// Returns the name of what lies `distance` slots behind the next one.
    fn label(&self, slot: u32, distance: i64) -> String {
        let target = behind(slot).saturating_add(distance);
        let known = self.labels.get(&target).cloned();
        known.unwrap_or_else(|| format!("insn {target}"))
    }
}

fn nth<T>(all: &[T], index: i32) -> Option<&T> {
    all.get(usize::try_from(index).ok()?)
}

fn atomic(insn: Insn, operation: &Operation) -> Option<String> {
    let (ty, bits) = (operation.text, u32::from(operation.access_len()) * 8);
    let (place, src) = (at(insn.dst, insn.off), format!("r{}", insn.src));
    let (sign, name) = match insn.imm & 0xf0 {
        0x00 => ("+", "add"),
        0x40 => ("|", "or"),
        0x50 => ("&", "and"),
        0xa0 => ("^", "xor"),
        0xe0 => return Some(format!("{src} = xchg_{bits}({place}, {src})")),
        0xf0 => return Some(format!("r0 = cmpxchg_{bits}({place}, r0, {src})")),
        _ => return None,
    };
    Some(if insn.imm & 1 == 0 {
        format!("lock *({ty} *)({place}) {sign}= {src}")
    } else {
        format!("{src} = atomic_fetch_{name}(({ty} *)({place}), {src})")
    })
}

fn operands(insn: Insn, operation: &Operation) -> (String, String) {
    let register = |number| {
        let name = if operation.is_half() { 'w' } else { 'r' };
        format!("{name}{number}")
    };
    let operand = if operation.takes_register() {
        register(insn.src)
    } else {
        let sign = if insn.imm < 0 { "-" } else { "" };
        format!("{sign}{:#x}", insn.imm.unsigned_abs())
    };
    (register(insn.dst), operand)
}

fn at(register: u8, offset: i16) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    format!("r{register} {sign} {:#x}", offset.unsigned_abs())
}

/// Returns the parameters that a prototype of [`crate::HELPERS`] names, such as
/// `dst`; an ellipsis stands for as many as there can be.
///
/// ```
/// let read = &ukexec_bpf::HELPERS[3];
/// assert_eq!(read.name, "bpf_probe_read");
/// let names = ukexec_bpf::disasm::parameters(read.prototype);
/// assert_eq!(names, ["dst", "size", "src"]);
/// ```
#[must_use]
pub fn parameters(prototype: &str) -> Vec<String> {
    let list = prototype.split_once('(').map_or("", |(_, list)| list);
    let list = list.trim_end_matches(')');
    let mut names = Vec::new();
    for parameter in list.split(',').map(str::trim) {
        match parameter {
            "" | "void" => {}
            "..." => {
                for number in names.len()..ARGUMENTS {
                    names.push(format!("arg{}", number.saturating_add(1)));
                }
            }
            _ => {
                let name = parameter.rsplit_once([' ', '*']);
                names.push(name.map_or(parameter, |(_, name)| name).to_owned());
            }
        }
    }
    names
}

/// The most arguments of a call.
const ARGUMENTS: usize = 5;
