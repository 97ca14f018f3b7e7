//! The report of `ukexec parser check`, with the fields of `docs/json.md`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::path::Path;

use serde::Serialize;
use ukexec_bpf::{
    AttachKind, HELPERS, Helper, Map, MapKind, Parser, Place, Program, insn, skeleton,
};
use ukexec_loader::report::{SCHEMA, Size};
use ukexec_loader::shown;
use ukexec_unfold::ABI;

/// A parser that loads.
#[derive(Serialize)]
pub(super) struct Facts<'a> {
    schema: u32,
    #[serde(skip)]
    path: &'a Path,
    parser: Cow<'a, str>,
    /// How it is packed.
    form: &'static str,
    size: usize,
    abi: &'static str,
    license: &'a str,
    programs: Vec<ProgramFacts<'a>>,
    maps: &'a [Map],
    kfuncs: Vec<KfuncFacts<'a>>,
    helpers: Vec<&'static Helper>,
    /// Bytes of private memory that it takes before it runs.
    memory: u64,
    /// Instructions that end a run when they are reached.
    traps: Vec<TrapFacts<'a>>,
}

#[derive(Serialize)]
struct ProgramFacts<'a> {
    name: &'a str,
    section: &'a str,
    hook: &'a str,
    attach: &'static str,
    insns: usize,
    functions: Vec<FunctionFacts<'a>>,
}

#[derive(Serialize)]
struct FunctionFacts<'a> {
    name: &'a str,
    insn: u32,
}

#[derive(Serialize)]
struct KfuncFacts<'a> {
    name: &'a str,
    offered: bool,
}

#[derive(Serialize)]
struct TrapFacts<'a> {
    #[serde(flatten)]
    place: Place,
    reason: &'a str,
}

impl<'a> Facts<'a> {
    /// Gathers them of `parser`, which is the `object` in the file at `path`.
    pub(super) fn new(path: &'a Path, object: &[u8], parser: &'a Parser, memory: u64) -> Self {
        let kfuncs = parser.kfuncs.iter().map(|kfunc| KfuncFacts {
            name: &kfunc.name,
            offered: kfunc.host.is_some(),
        });
        Self {
            schema: SCHEMA,
            path,
            parser: path.to_string_lossy(),
            form: if skeleton::is_skeleton(object) {
                "light skeleton"
            } else {
                "object"
            },
            size: object.len(),
            abi: ABI,
            license: &parser.license,
            programs: parser.programs.iter().map(program).collect(),
            maps: &parser.maps,
            kfuncs: kfuncs.collect(),
            helpers: helpers(parser),
            memory,
            traps: parser.programs.iter().flat_map(traps).collect(),
        }
    }
}

fn program(program: &Program) -> ProgramFacts<'_> {
    let functions = program.functions.iter();
    ProgramFacts {
        name: &program.name,
        section: &program.section,
        hook: &program.hook,
        attach: match program.attach {
            AttachKind::Fentry => "fentry",
            AttachKind::FmodRet => "fmod_ret",
        },
        insns: program.code.len(),
        functions: functions
            .map(|(insn, name)| FunctionFacts { name, insn: *insn })
            .collect(),
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

fn traps(program: &Program) -> impl Iterator<Item = TrapFacts<'_>> {
    program.poisoned.iter().map(|poisoned| TrapFacts {
        place: Place::new(program, poisoned.slot),
        reason: &poisoned.reason,
    })
}

impl Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, form, abi) = (shown(self.path), self.form, self.abi);
        write!(f, "{path}: {form}, parser ABI {abi}, {} bytes", self.size)?;
        match self.license {
            "" => writeln!(f, ", licence none")?,
            license => writeln!(f, ", licence {license}")?,
        }
        let mut line = |what: &str, fact: &dyn Display| writeln!(f, "  {what:<8} {fact}");
        for program in &self.programs {
            line("program", program)?;
        }
        for map in self.maps {
            line("map", &map_text(map))?;
        }
        for KfuncFacts { name, offered } in &self.kfuncs {
            let missing = if *offered {
                ""
            } else {
                " (not offered here; weak)"
            };
            line("kfunc", &format_args!("{name}{missing}"))?;
        }
        for Helper { number, name, .. } in &self.helpers {
            line("helper", &format_args!("{name} ({number})"))?;
        }
        let memory = Size(self.memory);
        line("memory", &format_args!("{memory} before it runs"))?;
        for TrapFacts { place, reason } in &self.traps {
            line("trap", &format_args!("{place}: {reason}"))?;
        }
        Ok(())
    }
}

impl Display for ProgramFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, hook, attach) = (self.name, self.hook, self.attach);
        write!(
            f,
            "{name} on {hook} ({attach}), {} instructions",
            self.insns
        )?;
        match self.functions.len() {
            0 | 1 => Ok(()),
            count => write!(f, " in {count} functions"),
        }
    }
}

fn map_text(map: &Map) -> String {
    let (name, kind, entries) = (&map.name, map.kind, map.max_entries);
    let rights = if map.read_only { ", read-only" } else { "" };
    match kind {
        MapKind::RingBuffer => format!("{name}: {kind}, {entries} bytes{rights}"),
        _ => {
            let size = map.value_size;
            format!("{name}: {kind}, {entries} entries of {size} bytes{rights}")
        }
    }
}
