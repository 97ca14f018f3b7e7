//! What a parser is, as `ukexec parser check` tells it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use ukexec_bpf::{
    AttachKind, HELPERS, Helper, Map, MapKind, Parser, Place, Poisoned, Program, insn, skeleton,
};
use ukexec_unfold::ABI;

use ukexec_loader::report::SCHEMA;
use ukexec_loader::report::Size;
use ukexec_loader::shown;

/// A parser that loads.
pub(super) struct Facts<'a> {
    pub(super) path: &'a Path,
    /// The object or light skeleton.
    pub(super) object: &'a [u8],
    pub(super) parser: &'a Parser,
    /// Bytes of private memory that it takes before it runs.
    pub(super) memory: u64,
}

impl Facts<'_> {
    /// Returns them for people.
    pub(super) fn text(&self) -> String {
        let parser = self.parser;
        let license = if parser.license.is_empty() {
            "none"
        } else {
            &parser.license
        };
        let mut text = format!(
            "{}: {}, parser ABI {ABI}, {} bytes, licence {license}\n",
            shown(self.path),
            form(self.object),
            self.object.len()
        );
        let mut line = |what: &str, fact: &str| {
            let _infallible = writeln!(text, "  {what:<8} {fact}");
        };
        for program in &parser.programs {
            line("program", &self::program(program));
        }
        for map in &parser.maps {
            line("map", &self::map(map));
        }
        for kfunc in &parser.kfuncs {
            let offered = if kfunc.host.is_some() {
                ""
            } else {
                " (not offered here; weak)"
            };
            line("kfunc", &format!("{}{offered}", kfunc.name));
        }
        for helper in helpers(parser) {
            line("helper", &format!("{} ({})", helper.name, helper.number));
        }
        line("memory", &format!("{} before it runs", Size(self.memory)));
        for (place, trap) in traps(parser) {
            line("trap", &format!("{place}: {}", trap.reason));
        }
        text
    }

    /// Returns them as the document that `docs/json.md` describes.
    pub(super) fn document(&self) -> Value {
        let parser = self.parser;
        json!({
            "schema": SCHEMA,
            "parser": self.path.to_string_lossy(),
            "form": form(self.object),
            "size": self.object.len(),
            "abi": ABI,
            "license": parser.license,
            "programs": parser.programs.iter().map(|program| json!({
                "name": program.name,
                "section": program.section,
                "hook": program.hook,
                "attach": attach(program),
                "insns": program.code.len(),
                "functions": program.functions.iter().map(|(slot, name)| json!({
                    "name": name,
                    "insn": slot,
                })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "maps": parser.maps.iter().map(|map| json!({
                "name": map.name,
                "kind": map.kind.to_string(),
                "key_size": map.key_size,
                "value_size": map.value_size,
                "max_entries": map.max_entries,
                "read_only": map.read_only,
            })).collect::<Vec<_>>(),
            "kfuncs": parser.kfuncs.iter().map(|kfunc| json!({
                "name": kfunc.name,
                "offered": kfunc.host.is_some(),
            })).collect::<Vec<_>>(),
            "helpers": helpers(parser).into_iter().map(|helper| json!({
                "number": helper.number,
                "name": helper.name,
            })).collect::<Vec<_>>(),
            "memory": self.memory,
            "traps": traps(parser).map(|(place, trap)| {
                let mut value = self::place(&place);
                value["reason"] = json!(*trap.reason);
                value
            }).collect::<Vec<_>>(),
        })
    }
}

/// Returns a place in a program as documents have it.
pub(super) fn place(place: &Place) -> Value {
    json!({
        "program": place.program,
        "function": place.function,
        "insn": place.slot,
        "file": place.line.as_ref().map(|line| &*line.file),
        "line": place.line.as_ref().map(|line| line.line),
    })
}

fn program(program: &Program) -> String {
    let functions = match program.functions.len() {
        0 | 1 => String::new(),
        count => format!(" in {count} functions"),
    };
    format!(
        "{} on {} ({}), {} instructions{functions}",
        program.name,
        program.hook,
        attach(program),
        program.code.len()
    )
}

fn map(map: &Map) -> String {
    let rights = if map.read_only { ", read-only" } else { "" };
    match map.kind {
        MapKind::RingBuffer => {
            format!(
                "{}: ring buffer, {} bytes{rights}",
                map.name, map.max_entries
            )
        }
        kind => format!(
            "{}: {kind}, {} entries of {} bytes{rights}",
            map.name, map.max_entries, map.value_size
        ),
    }
}

fn attach(program: &Program) -> &'static str {
    match program.attach {
        AttachKind::Fentry => "fentry",
        AttachKind::FmodRet => "fmod_ret",
    }
}

/// Says how the parser is packed.
fn form(object: &[u8]) -> &'static str {
    if skeleton::is_skeleton(object) {
        "light skeleton"
    } else {
        "object"
    }
}

/// Returns the helpers that any program calls, by number.
fn helpers(parser: &Parser) -> Vec<&'static Helper> {
    let insns = parser.programs.iter().flat_map(|program| &program.code);
    let calls: BTreeSet<i32> = insns
        .filter(|insn| insn.code == insn::CALL && insn.src == insn::call::HELPER)
        .map(|insn| insn.imm)
        .collect();
    HELPERS
        .iter()
        .filter(|helper| calls.contains(&helper.number))
        .collect()
}

/// Returns the instructions that end a run when they are reached.
fn traps(parser: &Parser) -> impl Iterator<Item = (Place, &Poisoned)> {
    parser.programs.iter().flat_map(|program| {
        let poisoned = program.poisoned.iter();
        poisoned.map(|trap| (Place::new(program, trap.slot), trap))
    })
}
