//! A run as text for people, or as JSON lines for programs.

mod event;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use ukexec_bpf::disasm::{disassemble, parameters};
use ukexec_bpf::trace::{Call, Callee, Returned, Step, Tracer};
use ukexec_bpf::{Interface, KFUNCS, Parser, Place, SourceLine};
use ukexec_loader::report::{json_line, visible};

pub(super) use self::event::Event;
use self::event::{Accessed, Argument, Insn, Word};
use super::{same_line, source};

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    JsonLines,
}

/// Writes the events of a run.
pub(super) struct Trace<'a> {
    names: Names,
    writer: Writer<'a>,
}

impl<'a> Trace<'a> {
    pub(super) fn new(out: Box<dyn Write + 'a>, form: Form, parser: Parser) -> Self {
        Self {
            names: Names::new(parser),
            writer: Writer {
                out,
                form,
                shown: None,
                depth: 1,
                failed: Ok(()),
            },
        }
    }

    pub(super) fn is_text(&self) -> bool {
        self.writer.form == Form::Text
    }

    /// Ends the trace, and says whether all of it could be written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.failed.and_then(|()| self.writer.out.flush())
    }

    pub(super) fn event(&mut self, event: &Event<'_>) {
        self.writer.write(event);
    }
}

impl Tracer for Trace<'_> {
    fn step(&mut self, step: &Step<'_>) {
        let word = |value| Word::new(step.memory, value);
        let (text, note) = self.names.insn(step.program, step.slot);
        self.writer.write(&Event::Insn(Insn {
            place: self.names.place(step.program, step.slot),
            slot: step.slot,
            depth: step.depth,
            text,
            note,
            registers: step.changed.iter().map(|&(r, v)| (r, word(v))).collect(),
            memory: step.touched.map(|touched| Accessed {
                addr: word(touched.addr),
                access: touched.access,
                len: touched.len,
                content: touched.value.map(word),
            }),
        }));
    }

    fn call(&mut self, call: &Call<'_>) {
        let parameters = Names::parameters(call.callee);
        let args = parameters.into_iter().zip(call.args);
        self.writer.write(&Event::Call {
            place: self.names.place(call.program, call.slot),
            callee: name(call.callee),
            args: args
                .map(|(name, value)| Argument {
                    name,
                    value: Word::new(call.memory, value),
                })
                .collect(),
        });
    }

    fn returned(&mut self, returned: &Returned<'_>) {
        self.writer.write(&Event::Return {
            callee: name(returned.callee),
            r0: Word::new(returned.memory, returned.r0),
        });
    }
}

struct Writer<'a> {
    out: Box<dyn Write + 'a>,
    form: Form,
    /// The source line that was shown last.
    shown: Option<SourceLine>,
    /// Functions that are active where the last instruction ran.
    depth: usize,
    failed: io::Result<()>,
}

impl Writer<'_> {
    /// Writes, if nothing has failed so far; a tracer cannot stop the run.
    fn write(&mut self, event: &Event<'_>) {
        let text = match self.form {
            Form::Text => Ok(self.text(event)),
            Form::JsonLines => serde_json::to_value(event).map(|event| json_line(&event)),
        };
        if self.failed.is_ok() {
            self.failed = text
                .map_err(io::Error::from)
                .and_then(|text| self.out.write_all(visible(&text).as_bytes()));
        }
    }

    fn text(&mut self, event: &Event<'_>) -> String {
        // Belongs to the instruction above it.
        let aside = |text| format!("{}          {text}\n", indent(self.depth));
        match event {
            Event::Begin { program, hook } => {
                self.shown = None;
                format!("program {program}, hook {hook}\n")
            }
            Event::Insn(insn) => self.insn(insn),
            Event::Call { callee, args, .. } => {
                let args = args.iter().map(|arg| format!("{}={}", arg.name, arg.value));
                let args: Vec<String> = args.collect();
                aside(format!("{callee}({})", args.join(", ")))
            }
            Event::Return { callee, r0 } => aside(format!("{callee} = {r0}")),
            Event::Log { line } => aside(format!("log: {line}")),
            Event::HandOver { resource, size } => {
                aside(format!("hand-over: {resource}, {size} bytes"))
            }
            Event::Refused { reason } => aside(format!("refused: {reason}")),
            Event::End { program, r0, .. } => {
                format!("program {program} returned {}\n", int(*r0))
            }
        }
    }

    fn insn(&mut self, insn: &Insn<'_>) -> String {
        self.depth = insn.depth;
        let indent = indent(insn.depth);
        let mut text = String::new();
        if let Some(line) = insn.place.as_ref().and_then(|place| place.line.as_ref()) {
            let shown = self.shown.as_ref();
            if shown.is_none_or(|shown| !same_line(shown, line)) {
                let _infallible = writeln!(text, "{indent}{}", source(line));
            }
            self.shown = Some(line.clone());
        }
        let _infallible = write!(text, "{indent}{:6}: {:<40}", insn.slot, insn.text);
        for (register, value) in &insn.registers {
            let _infallible = write!(text, " r{register}={value}");
        }
        if let Some(access) = &insn.memory {
            let _infallible = write!(text, " [{access}]");
        }
        if let Some(note) = insn.note {
            let _infallible = write!(text, " ; {note}");
        }
        format!("{}\n", text.trim_end())
    }
}

/// Names of instructions and calls.
struct Names {
    parser: Parser,
    /// Each instruction and the facts about it, by program and slot.
    insns: Vec<HashMap<u32, (String, Option<String>)>>,
}

impl Names {
    fn new(parser: Parser) -> Self {
        let insns = parser
            .programs
            .iter()
            .map(|program| {
                let lines = disassemble(&parser, program).into_iter();
                lines
                    .map(|line| (line.slot, (line.text, line.note)))
                    .collect()
            })
            .collect();
        Self { parser, insns }
    }

    fn insn(&self, program: usize, slot: u32) -> (&str, Option<&str>) {
        let insn = self.insns.get(program).and_then(|insns| insns.get(&slot));
        insn.map_or(("", None), |(text, note)| (text, note.as_deref()))
    }

    fn place(&self, program: usize, slot: u32) -> Option<Place> {
        Some(Place::new(self.parser.programs.get(program)?, slot))
    }

    fn parameters(callee: Callee<'_>) -> Vec<String> {
        match callee {
            Callee::Helper { prototype, .. } => parameters(prototype),
            Callee::Kfunc(kfunc) => kfunc
                .host
                .and_then(prototype)
                .map_or_else(Vec::new, parameters),
        }
    }
}

/// Returns the prototype of a kfunc, by the number that the interface gives it.
fn prototype(host: u32) -> Option<&'static str> {
    if let Some(own) = host.checked_sub(Interface::BUILT_IN) {
        let own = KFUNCS.get(usize::try_from(own).ok()?)?;
        return Some(own.prototype);
    }
    let kfunc = ukexec_unfold::KFUNCS.get(usize::try_from(host).ok()?)?;
    Some(kfunc.prototype)
}

fn name(callee: Callee<'_>) -> &str {
    match callee {
        Callee::Helper { name, .. } => name,
        Callee::Kfunc(kfunc) => &kfunc.name,
    }
}

/// Returns the `int` that a program returns.
pub(super) fn int(r0: u64) -> i32 {
    let [a, b, c, d, ..] = r0.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth.saturating_sub(1))
}
