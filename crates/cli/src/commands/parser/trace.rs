//! A run as text for people, or as JSON lines for programs.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Map, Value, json};
use ukexec_bpf::disasm::{disassemble, parameters};
use ukexec_bpf::memory::{Access, Memory};
use ukexec_bpf::trace::{Call, Callee, Returned, Step, Touched, Tracer};
use ukexec_bpf::{Interface, KFUNCS, Parser, Place, SourceLine};
use ukexec_unfold::Resource;

use super::{facts, same_line, source};
use ukexec_loader::report::{json_line, visible};

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    JsonLines,
}

/// Writes what happens.
pub(super) struct Trace<'a> {
    out: Box<dyn Write + 'a>,
    form: Form,
    names: Names,
    /// The source line that was shown last.
    shown: Option<SourceLine>,
    /// Functions that are active where the last instruction ran.
    depth: usize,
    failed: io::Result<()>,
}

impl<'a> Trace<'a> {
    pub(super) fn new(out: Box<dyn Write + 'a>, form: Form, parser: Parser) -> Self {
        Self {
            out,
            form,
            names: Names::new(parser),
            shown: None,
            depth: 1,
            failed: Ok(()),
        }
    }

    pub(super) fn is_text(&self) -> bool {
        self.form == Form::Text
    }

    /// Ends the trace, and says whether all of it could be written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.failed.and_then(|()| self.out.flush())
    }

    pub(super) fn begins(&mut self, program: &str, hook: &str) {
        self.shown = None;
        match self.form {
            Form::Text => self.write(&format!("program {program}, hook {hook}\n")),
            Form::JsonLines => {
                self.event("begin", json!({ "program": program, "hook": hook }));
            }
        }
    }

    pub(super) fn ended(&mut self, program: &str, hook: &str, r0: u64) {
        match self.form {
            Form::Text => self.write(&format!("program {program} returned {}\n", int(r0))),
            Form::JsonLines => self.event(
                "end",
                json!({ "program": program, "hook": hook, "r0": hex(r0) }),
            ),
        }
    }

    pub(super) fn logged(&mut self, line: &str) {
        match self.form {
            Form::Text => self.aside(&format!("log: {line}")),
            Form::JsonLines => self.event("log", json!({ "line": line })),
        }
    }

    pub(super) fn handed_over(&mut self, resource: Resource, size: u64) {
        match self.form {
            Form::Text => self.aside(&format!("hand-over: {resource}, {size} bytes")),
            Form::JsonLines => self.event(
                "hand_over",
                json!({ "resource": resource.to_string(), "size": size }),
            ),
        }
    }

    pub(super) fn refused(&mut self, reason: &str) {
        match self.form {
            Form::Text => self.aside(&format!("refused: {reason}")),
            Form::JsonLines => self.event("refused", json!({ "reason": reason })),
        }
    }

    fn step_as_text(&mut self, step: &Step<'_>) {
        let mut text = String::new();
        if let Some(line) = self.names.line(step.program, step.slot) {
            let shown = self.shown.as_ref();
            if shown.is_none_or(|shown| !same_line(shown, &line)) {
                let _infallible = writeln!(text, "{}{}", indent(step.depth), source(&line));
            }
            self.shown = Some(line);
        }
        let (insn, note) = self.names.insn(step.program, step.slot);
        let _infallible = write!(text, "{}{:6}: {insn:<40}", indent(step.depth), step.slot);
        for (register, value) in step.changed {
            let _infallible = write!(text, " r{register}={}", named(step.memory, *value));
        }
        if let Some(touched) = &step.touched {
            let _infallible = write!(text, " [{}]", access(step.memory, touched));
        }
        if let Some(note) = note {
            let _infallible = write!(text, " ; {note}");
        }
        self.write(&format!("{}\n", text.trim_end()));
    }

    fn step_as_json(&mut self, step: &Step<'_>) {
        let registers: Map<String, Value> = step
            .changed
            .iter()
            .map(|(register, value)| (format!("r{register}"), address(step.memory, *value)))
            .collect();
        let mut fields = self.names.place(step.program, step.slot);
        fields["depth"] = json!(step.depth);
        let (insn, note) = self.names.insn(step.program, step.slot);
        fields["text"] = json!(insn);
        fields["note"] = json!(note);
        fields["registers"] = Value::Object(registers);
        if let Some(Touched {
            access,
            addr,
            len,
            value,
            ..
        }) = step.touched
        {
            let mut memory = address(step.memory, addr);
            memory["access"] = json!(match access {
                Access::Read => "read",
                Access::Write => "write",
            });
            memory["len"] = json!(len);
            memory["content"] = json!(value.map(hex));
            fields["memory"] = memory;
        }
        self.event("insn", fields);
    }

    /// Writes a line that belongs to the instruction above it.
    fn aside(&mut self, text: &str) {
        self.write(&format!("{}          {text}\n", indent(self.depth)));
    }

    fn event(&mut self, event: &str, mut fields: Value) {
        fields["event"] = json!(event);
        self.write(&json_line(&fields));
    }

    /// Writes, if nothing has failed so far; a tracer cannot stop the run.
    fn write(&mut self, text: &str) {
        if self.failed.is_ok() {
            self.failed = self.out.write_all(visible(text).as_bytes());
        }
    }
}

impl Tracer for Trace<'_> {
    fn step(&mut self, step: &Step<'_>) {
        self.depth = step.depth;
        match self.form {
            Form::Text => self.step_as_text(step),
            Form::JsonLines => self.step_as_json(step),
        }
    }

    fn call(&mut self, call: &Call<'_>) {
        let parameters = Names::parameters(call.callee);
        let args = parameters.into_iter().zip(call.args);
        match self.form {
            Form::Text => {
                let args: Vec<String> = args
                    .map(|(name, value)| format!("{name}={}", named(call.memory, value)))
                    .collect();
                self.aside(&format!("{}({})", name(call.callee), args.join(", ")));
            }
            Form::JsonLines => {
                let args = args.map(|(name, value)| {
                    let mut arg = address(call.memory, value);
                    arg["name"] = json!(name);
                    arg
                });
                let args: Vec<Value> = args.collect();
                let mut fields = self.names.place(call.program, call.slot);
                fields["callee"] = json!(name(call.callee));
                fields["args"] = json!(args);
                self.event("call", fields);
            }
        }
    }

    fn returned(&mut self, returned: &Returned<'_>) {
        let Returned {
            callee, r0, memory, ..
        } = *returned;
        match self.form {
            Form::Text => self.aside(&format!("{} = {}", name(callee), named(memory, r0))),
            Form::JsonLines => {
                let mut fields = address(memory, r0);
                fields["callee"] = json!(name(callee));
                self.event("return", fields);
            }
        }
    }
}

/// What instructions and calls are called.
struct Names {
    parser: Parser,
    /// Each instruction and what is known of it, by program and slot.
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

    /// Returns the source line of an instruction.
    fn line(&self, program: usize, slot: u32) -> Option<SourceLine> {
        Place::new(self.parser.programs.get(program)?, slot).line
    }

    fn place(&self, program: usize, slot: u32) -> Value {
        match self.parser.programs.get(program) {
            Some(program) => facts::place(&Place::new(program, slot)),
            None => json!({}),
        }
    }

    fn parameters(callee: Callee<'_>) -> Vec<String> {
        match callee {
            Callee::Helper(helper) => parameters(helper.prototype),
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
        Callee::Helper(helper) => helper.name,
        Callee::Kfunc(kfunc) => &kfunc.name,
    }
}

/// Returns an access as `read 4 at image+0x10: 0x7f`.
fn access(memory: &Memory, touched: &Touched) -> String {
    let Touched {
        access,
        addr,
        len,
        value,
        ..
    } = touched;
    let place = named(memory, *addr);
    match value {
        Some(value) => format!("{access} {len} at {place}: {}", named(memory, *value)),
        None => format!("{access} {len} at {place}: failed"),
    }
}

/// Returns a value with the place that it names, if it names one.
fn address(memory: &Memory, value: u64) -> Value {
    let place = memory.place(value);
    json!({ "value": hex(value), "place": place })
}

/// Returns a value as a person reads it: a place, a small negative number, or a
/// number.
fn named(memory: &Memory, value: u64) -> String {
    memory.place(value).unwrap_or_else(|| number(value))
}

/// Returns the `int` that a program returns.
pub(super) fn int(r0: u64) -> i32 {
    let [a, b, c, d, ..] = r0.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

fn number(value: u64) -> String {
    let signed = value.cast_signed();
    if (-MAX_ERRNO..0).contains(&signed) {
        signed.to_string()
    } else {
        hex(value)
    }
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth.saturating_sub(1))
}

/// Values from here to -1 are errors in Linux.
const MAX_ERRNO: i64 = 4095;
