//! The report of `ukexec parser check`, with the fields of `docs/json.md`.

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;
use ukexec_bpf::{AttachKind, Map, MapKind, Parser, Place, Program, skeleton};
use ukexec_loader::report::page::Page;
use ukexec_loader::report::{SCHEMA, Size};
use ukexec_pe::counted;
use ukexec_unfold::{AcceptedParser, Generation};

use super::Subject;
use super::calls::{Calls, Charge};

/// A parser that loads.
#[derive(Serialize)]
pub(super) struct Facts<'a> {
    schema: u32,
    #[serde(skip)]
    name: &'a str,
    parser: Cow<'a, str>,
    /// The slot, if the file is a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slot: Option<&'a str>,
    /// How it is packed.
    form: &'static str,
    size: usize,
    abi: &'static str,
    license: &'a str,
    programs: Vec<ProgramFacts<'a>>,
    maps: &'a [Map],
    kfuncs: Vec<KfuncFacts<'a>>,
    helpers: Vec<HelperFacts>,
    /// Calls that are charged by their work.
    charges: Vec<Charge>,
    /// Bytes of private memory that it takes before it runs.
    memory: u64,
    /// Instructions that end a run when they are reached.
    traps: Vec<TrapFacts<'a>>,
    /// Things that stop nothing here.
    warnings: Vec<String>,
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
struct HelperFacts {
    number: Option<i32>,
    name: &'static str,
}

#[derive(Serialize)]
struct TrapFacts<'a> {
    #[serde(flatten)]
    place: Place,
    reason: &'a str,
}

impl<'a> Facts<'a> {
    /// Gathers them of the parser that `subject` is, in the file at `path`.
    pub(super) fn new(path: &'a Path, subject: &'a Subject, accepted: &'a AcceptedParser) -> Self {
        let object = subject.object.as_slice();
        let AcceptedParser {
            parser,
            generation,
            memory,
            ..
        } = accepted;
        let is_skeleton = skeleton::is_skeleton(object);
        let calls = Calls::of(parser);
        let helpers = calls.helpers().map(|helper| HelperFacts {
            number: helper.number,
            name: helper.name,
        });
        let kfuncs = parser.kfuncs.iter().map(|kfunc| KfuncFacts {
            name: &kfunc.name,
            offered: kfunc.host.is_some(),
        });
        Self {
            schema: SCHEMA,
            name: &subject.name,
            parser: path.to_string_lossy(),
            slot: subject.slot.as_deref(),
            form: if is_skeleton {
                "light skeleton"
            } else {
                "object"
            },
            size: object.len(),
            abi: generation.name(),
            license: &parser.license,
            programs: parser.programs.iter().map(program).collect(),
            maps: &parser.maps,
            kfuncs: kfuncs.collect(),
            helpers: helpers.collect(),
            charges: calls.charges(),
            memory: *memory,
            traps: parser.programs.iter().flat_map(traps).collect(),
            warnings: calls
                .licence_warning(parser)
                .into_iter()
                .chain(parser.warnings.iter().cloned())
                .chain(of_kernel(parser, *generation, is_skeleton))
                .collect(),
        }
    }
}

/// Returns why a kernel with the series of v6 or v7 would refuse a parser that ukexec takes.
pub(super) fn of_kernel(parser: &Parser, generation: Generation, is_skeleton: bool) -> Vec<String> {
    // Of the skeleton that such a kernel is built with.
    const MAPS: usize = 8;
    if generation == Generation::V5 {
        return Vec::new();
    }
    let mut reasons = Vec::new();
    if !is_skeleton {
        reasons.push("it is no light skeleton (docs/kernel-series.md makes one)".to_owned());
    }
    if parser.maps.len() != MAPS {
        let maps = counted(parser.maps.len() as u64, "map");
        reasons.push(format!("it has {maps}, and that kernel makes {MAPS}"));
    }
    if parser.programs.len() != 1 {
        let programs = counted(parser.programs.len() as u64, "program");
        reasons.push(format!("it has {programs}, and that kernel attaches one"));
    }
    let refused =
        |reason| format!("a kernel with parser ABI {generation} would refuse it: {reason}");
    reasons.into_iter().map(refused).collect()
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

fn traps(program: &Program) -> impl Iterator<Item = TrapFacts<'_>> {
    program.poisoned.iter().map(|poisoned| TrapFacts {
        place: Place::new(program, poisoned.slot),
        reason: &poisoned.reason,
    })
}

impl Facts<'_> {
    /// Returns the facts for people.
    pub(super) fn page(&self) -> Page {
        let mut page = Page::default();
        let licence = match self.license {
            "" => "none",
            licence => licence,
        };
        let (form, abi, size) = (self.form, self.abi, counted(self.size as u64, "byte"));
        page.title(
            self.name,
            format!("{form}, parser ABI {abi}, {size}, licence {licence}"),
        );
        for program in &self.programs {
            page.row("program", program.text());
        }
        for map in self.maps {
            page.row("map", map_text(map));
        }
        for KfuncFacts { name, offered } in &self.kfuncs {
            let missing = if *offered {
                ""
            } else {
                " (not offered here; weak)"
            };
            page.row("kfunc", format!("{name}{missing}"));
        }
        for HelperFacts { number, name } in &self.helpers {
            let number = number.unwrap_or_default();
            page.row("helper", format!("{name} ({number})"));
        }
        page.row("memory", format!("{} before it runs", Size(self.memory)));
        for charge in &self.charges {
            page.row("charged", charge.text());
        }
        for TrapFacts { place, reason } in &self.traps {
            page.row("trap", format!("{place}: {reason}"));
        }
        page
    }

    /// Returns things worth a look that stop nothing.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl ProgramFacts<'_> {
    fn text(&self) -> String {
        let (name, hook, attach) = (self.name, self.hook, self.attach);
        let functions = match self.functions.len() {
            0 | 1 => String::new(),
            count => format!(" in {count} functions"),
        };
        let insns = counted(self.insns as u64, "instruction");
        format!("{name} on {hook} ({attach}), {insns}{functions}")
    }
}

fn map_text(map: &Map) -> String {
    let (name, kind, entries) = (&map.name, map.kind, map.max_entries);
    let rights = if map.read_only { ", read-only" } else { "" };
    match kind {
        MapKind::RingBuffer => {
            let size = counted(entries.into(), "byte");
            format!("{name}: {kind}, {size}{rights}")
        }
        _ => {
            let entries = counted(entries.into(), "entry");
            let size = counted(map.value_size.into(), "byte");
            format!("{name}: {kind}, {entries} of {size}{rights}")
        }
    }
}
