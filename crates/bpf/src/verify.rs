//! The structural verifier: what can be seen to be wrong without running.
//!
//! It decodes each instruction once ([`mod@decode`]), and looks at where jumps and
//! calls go. The interpreter checks what depends on values (addresses, lengths,
//! references) while it runs. A verifier that follows values along
//! paths, in the manner of Linux's, would take its place between these two:
//! [`Parser`] in, [`VerifiedParser`] out.
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "fields are taken apart and put together here, in wider types"
    )
)]

mod calls;
mod decode;
mod explain;

use std::ops::Range;

use self::calls::Edge;
use self::decode::{Decoded, Needs, decode};
use crate::bounds::{rest, wide};
use crate::code::Code;
use crate::guest::helper::{Helper, find};
use crate::guest::helpers::{HELPERS, why_not};
use crate::guest::maps::array_len;
use crate::guest::memory::handle;
use crate::helper_names::linux_name;
use crate::ops::Op;
use crate::place::Place;
use crate::{BpfError, Map, MapKind, Parser, Program, VerifiedParser};

/// The part of a parser that is refused.
#[derive(Clone, Copy, Debug)]
enum Blamed {
    /// Map number `.0`.
    Map(usize),
    /// Slot `.1` of program number `.0`.
    Insn(usize, u32),
}

impl Parser {
    /// Checks what can be checked without running: encodings, jumps, calls,
    /// maps, and how deep functions call each other.
    ///
    /// # Errors
    ///
    /// [`BpfError`] for the first instruction or map that is refused.
    pub fn verify(self) -> Result<VerifiedParser, BpfError> {
        self.verify_with(HELPERS)
    }

    /// [`Parser::verify`] for programs that may call `helpers`, which ascend by
    /// number.
    pub(crate) fn verify_with(
        self,
        helpers: &'static [Helper],
    ) -> Result<VerifiedParser, BpfError> {
        let codes = self.check(helpers).map_err(|(_, error)| error)?;
        Ok(VerifiedParser::new(self, codes, helpers))
    }

    fn check(&self, helpers: &'static [Helper]) -> Result<Vec<Code>, (Blamed, BpfError)> {
        for (number, map) in self.maps.iter().enumerate() {
            check_map(map).map_err(|error| (Blamed::Map(number), error))?;
        }
        let programs = self.programs.iter().enumerate();
        let codes = programs.map(|(number, program)| {
            let checker = Checker {
                parser: self,
                program,
                helpers,
            };
            checker.check().map_err(|(slot, error)| {
                let error = error.at(Place::new(program, slot));
                (Blamed::Insn(number, slot), error)
            })
        });
        codes.collect()
    }
}

fn check_map(map: &Map) -> Result<(), BpfError> {
    let (kind, key, value) = (map.kind, map.key_size, map.value_size);
    let is_ring = kind == MapKind::RingBuffer;
    let has_no_key = is_ring || matches!(kind, MapKind::Queue | MapKind::Stack);
    let initial = map.initial.as_ref().map_or(0, |bytes| wide(bytes.len()));
    let (field, expected, found) = match () {
        () if map.max_entries == 0 => ("max_entries", "1 or more", 0),
        () if has_no_key && key != 0 => ("key_size", "0", key.into()),
        () if is_ring && value != 0 => ("value_size", "0", value.into()),
        () if is_ring => return Ok(()),
        () if kind.is_array() && key != 4 => ("key_size", "4", key.into()),
        () if kind.is_hash() && !(1..=512).contains(&key) => ("key_size", "1 to 512", key.into()),
        () if value == 0 => ("value_size", "1 or more", 0),
        () if initial > value.into() => {
            ("the initial value's length", "at most value_size", initial)
        }
        () => return Ok(()),
    };
    Err(BpfError::new(format!(
        "map {}: {field} must be {expected}, found {found}",
        map.name
    )))
}

/// Checks one program. Errors carry the slot to blame.
struct Checker<'a> {
    parser: &'a Parser,
    program: &'a Program,
    helpers: &'static [Helper],
}

impl Checker<'_> {
    fn check(&self) -> Result<Code, (u32, BpfError)> {
        self.check_functions()?;
        let slots = self.program.code.len();
        let mut code = Code::with_room(slots);
        let mut needs = Vec::with_capacity(slots);
        for function in self.functions() {
            self.decode_function(function, &mut code, &mut needs)?;
        }
        code.slots.push(self.program.code.len() as u32);
        self.resolve_jumps(&mut code)?;
        let mut edges = vec![Vec::new(); self.program.functions.len()];
        for (index, needs) in needs.into_iter().enumerate() {
            self.satisfy(&mut code, index, needs, &mut edges)
                .map_err(|why| (code.slot(index), why))?;
        }
        calls::check(&self.program.functions, &edges)?;
        Ok(code)
    }

    /// Checks that the functions divide the code without a gap.
    fn check_functions(&self) -> Result<(), (u32, BpfError)> {
        let (functions, code) = (&self.program.functions, &self.program.code);
        let starts_at_0 = functions.first().is_some_and(|(start, _)| *start == 0);
        let ascends = functions.is_sorted_by(|(one, _), (next, _)| one < next);
        let inside = functions
            .last()
            .is_some_and(|(last, _)| (*last as usize) < code.len());
        if starts_at_0 && ascends && inside && i32::try_from(code.len()).is_ok() {
            Ok(())
        } else {
            let text = format!(
                "the program's table of functions does not fit its {} insns",
                code.len()
            );
            Err((0, BpfError::new(text)))
        }
    }

    fn functions(&self) -> impl Iterator<Item = Range<u32>> {
        let starts = self.program.functions.iter().map(|(start, _)| *start);
        let len = self.program.code.len() as u32;
        let ends = starts.clone().skip(1).chain([len]);
        starts.zip(ends).map(|(start, end)| start..end)
    }

    fn function_around(&self, slot: u32) -> Range<u32> {
        let functions = &self.program.functions;
        let next = functions.partition_point(|(start, _)| *start <= slot);
        let start = next.checked_sub(1).and_then(|index| functions.get(index));
        let end = functions
            .get(next)
            .map_or(self.program.code.len() as u32, |(start, _)| *start);
        start.map_or(0, |(start, _)| *start)..end
    }

    fn decode_function(
        &self,
        function: Range<u32>,
        code: &mut Code,
        needs: &mut Vec<Needs>,
    ) -> Result<(), (u32, BpfError)> {
        let slots = function.start as usize..function.end as usize;
        // None would fall off its end.
        let mut insns = self.program.code.get(slots).unwrap_or_default();
        let mut slot = function.start;
        let mut last = (slot, Op::Poison);
        while let [insn, behind @ ..] = insns {
            let decoded = decode(*insn, behind.first().copied());
            let Decoded {
                step,
                needs: need,
                slots,
            } = decoded.map_err(|reason| (slot, reason))?;
            code.steps.push(step);
            code.slots.push(slot);
            needs.push(need);
            last = (slot, step.op);
            slot += slots;
            insns = rest(insns, slots as usize);
        }
        let (slot, op) = last;
        if matches!(op, Op::Ja | Op::JaFar | Op::Exit) {
            Ok(())
        } else {
            let text = "control falls off the end of the function here; its last insn must be \
                        exit or a jump";
            Err((slot, BpfError::new(text)))
        }
    }

    /// Makes distances of jumps the steps they lead to.
    fn resolve_jumps(&self, code: &mut Code) -> Result<(), (u32, BpfError)> {
        for index in 0..code.steps.len() {
            let slot = code.slot(index);
            let Some(step) = code.steps.get(index).filter(|step| step.op.jumps()) else {
                continue;
            };
            let target = i64::from(slot) + 1 + i64::from(step.off);
            let Range { start, end } = self.function_around(slot);
            let inside = u32::try_from(target)
                .ok()
                .filter(|at| (start..end).contains(at));
            let target = inside.ok_or_else(|| {
                let last = end - 1;
                let text = format!(
                    "jump to insn {target}, outside of this function (insns {start} to {last})"
                );
                (slot, BpfError::new(text))
            })?;
            let step = code.index(target).ok_or_else(|| {
                let text = format!("jump to insn {target}, the second half of an lddw");
                (slot, BpfError::new(text))
            })?;
            if let Some(jump) = code.steps.get_mut(index) {
                jump.off = step as i32;
            }
        }
        Ok(())
    }

    /// Checks what step `index` needs and fills in what it names.
    fn satisfy(
        &self,
        code: &mut Code,
        index: usize,
        needs: Needs,
        edges: &mut [Vec<Edge>],
    ) -> Result<(), BpfError> {
        let slot = code.slot(index);
        let mut first = 0;
        let address = match needs {
            Needs::Nothing => return Ok(()),
            Needs::Map(map) => return self.map(map).map(drop),
            Needs::MapValue(map, offset) => return self.map_value(self.map(map)?, offset),
            Needs::Helper(number) => {
                find(self.helpers, number).ok_or_else(|| not_offered(number))? as u64
            }
            Needs::Kfunc(kfunc) => match nth(&self.parser.kfuncs, kfunc, "kfunc", "names")?.host {
                Some(_) => handle::KFUNC | kfunc as u64,
                None => 0,
            },
            Needs::Function(distance) => {
                let (target, callee) = self.function_at(slot, distance)?;
                let functions = &self.program.functions;
                let caller = functions.partition_point(|(start, _)| *start <= slot);
                if let Some(edges) = edges.get_mut(caller - 1) {
                    edges.push(Edge { slot, callee });
                }
                first = code
                    .index(target)
                    .ok_or_else(|| no_function(target.into()))?;
                handle::FUNCTION | u64::from(target)
            }
        };
        let Some(step) = code.steps.get_mut(index) else {
            return Ok(());
        };
        match step.op {
            Op::CallLocal => step.off = first as i32,
            // It keeps the kfunc's index.
            Op::CallKfunc => {}
            _ => step.imm = address,
        }
        Ok(())
    }

    fn map(&self, index: i32) -> Result<&Map, BpfError> {
        nth(&self.parser.maps, index, "map", "has")
    }

    fn map_value(&self, map: &Map, offset: u32) -> Result<(), BpfError> {
        let name = &map.name;
        let size = array_len(map);
        Err(BpfError::new(if map.kind != MapKind::Array {
            format!("map {name} has no value that can be addressed; only arrays have")
        } else if u64::from(offset) >= size {
            format!("offset {offset:#x} lies outside the {size:#x} bytes of map {name}")
        } else {
            return Ok(());
        }))
    }

    /// Returns where the function at `distance` from the slot behind `slot`
    /// starts, and its place in the table.
    fn function_at(&self, slot: u32, distance: i32) -> Result<(u32, usize), BpfError> {
        let target = i64::from(slot) + 1 + i64::from(distance);
        let functions = &self.program.functions;
        let start = u32::try_from(target).ok();
        let callee = start.and_then(|start| {
            let callee = functions.binary_search_by_key(&start, |(start, _)| *start);
            Some((start, callee.ok()?))
        });
        callee.ok_or_else(|| no_function(target))
    }
}

/// Returns number `index` of what the parser names or has.
fn nth<'a, T>(all: &'a [T], index: i32, what: &str, verb: &str) -> Result<&'a T, BpfError> {
    let found = usize::try_from(index).ok().and_then(|at| all.get(at));
    found.ok_or_else(|| {
        let count = all.len();
        BpfError::new(format!(
            "{what} {index} does not exist; the parser {verb} {count}"
        ))
    })
}

fn no_function(target: i64) -> BpfError {
    BpfError::new(format!(
        "insn {target} is not the start of a function of this program"
    ))
}

fn not_offered(helper: i32) -> BpfError {
    let name = linux_name(helper).map_or_else(String::new, |name| format!(" (bpf_{name})"));
    BpfError::new(format!(
        "helper {helper}{name} is not offered by this loader: {}",
        why_not(helper)
    ))
}
