//! A run as text for people, or as JSON lines for programs.

mod event;
mod names;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::rc::Rc;

use ukexec_bpf::trace::{Call, Returned, Step, Tracer};
use ukexec_bpf::{Parser, SourceLine};
use ukexec_loader::report::{json_line, visible};
use ukexec_pe::counted;

use self::event::{Accessed, Facts, Insn, Word};
pub(super) use self::event::{Argument, Event, errno};
use self::names::Names;
pub(super) use self::names::place;
use super::{same_line, source};

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    JsonLines,
}

/// The part of a run that a trace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Calls and hand-overs, and no instructions.
    pub(super) calls_only: bool,
    /// Only so many events before a failure.
    pub(super) last: Option<usize>,
    /// At most so many bytes.
    pub(super) limit: u64,
}

/// Writes the events of a run.
pub(super) struct Trace<'a> {
    names: Names,
    calls_only: bool,
    /// The last events, and how many there may be.
    last: Option<(VecDeque<Event>, usize)>,
    writer: Writer<'a>,
}

impl<'a> Trace<'a> {
    pub(super) fn new(
        out: Box<dyn Write + 'a>,
        form: Form,
        part: Part,
        parser: Rc<Parser>,
    ) -> Self {
        Self {
            names: Names::new(parser),
            calls_only: part.calls_only,
            last: part.last.map(|count| (VecDeque::new(), count)),
            writer: Writer {
                out,
                form,
                shown: None,
                depth: 1,
                limit: part.limit,
                written: 0,
                state: State::Open,
            },
        }
    }

    /// Returns whether it writes to stdout as the run goes on.
    pub(super) fn is_seen(&self) -> bool {
        self.writer.form == Form::Text && self.last.is_none()
    }

    /// Ends the trace of a run that `failed` or did not, and says whether all of
    /// it could be written.
    pub(super) fn finish(mut self, failed: bool) -> io::Result<()> {
        if let Some((events, _)) = self.last.filter(|_| failed) {
            self.writer.write_end(&events)?;
        }
        match self.writer.state {
            State::Failed(error) => Err(error),
            State::Open | State::Full => self.writer.out.flush(),
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        match &mut self.last {
            Some((events, count)) => {
                events.push_back(event);
                if events.len() > *count {
                    events.pop_front();
                }
            }
            None => self.writer.write(&event),
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.writer.state, State::Open)
    }
}

impl Tracer for Trace<'_> {
    fn step(&mut self, step: &Step<'_>) {
        if self.calls_only || !self.is_open() {
            return;
        }
        let word = |value| Word::new(step.memory, value);
        let insn = Insn {
            facts: self.names.facts(step.program, step.slot),
            depth: step.depth,
            registers: step.changed.iter().map(|&(r, v)| (r, word(v))).collect(),
            memory: step.touched.map(|touched| Accessed {
                addr: word(touched.addr),
                access: touched.access,
                len: touched.len,
                content: touched.value.map(word),
            }),
        };
        self.event(Event::Insn(insn));
    }

    fn call(&mut self, call: &Call<'_>) {
        if self.is_open() {
            let facts = self.names.facts(call.program, call.slot);
            self.event(Event::Call {
                facts,
                callee: call.callee.name().to_owned(),
                args: Argument::all(call),
            });
        }
    }

    fn returned(&mut self, returned: &Returned<'_>) {
        if self.is_open() {
            self.event(Event::Return {
                callee: returned.callee.name().to_owned(),
                r0: Word::new(returned.memory, returned.r0),
            });
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.writer.state, State::Failed(_))
    }
}

struct Writer<'a> {
    out: Box<dyn Write + 'a>,
    form: Form,
    /// The source line that was shown last.
    shown: Option<SourceLine>,
    /// Functions that are active where the last instruction ran.
    depth: usize,
    /// Bytes that may be written, and that were.
    limit: u64,
    written: u64,
    state: State,
}

enum State {
    Open,
    /// The limit is reached, and the last line says so.
    Full,
    /// Nobody reads it any more, or there is no room.
    Failed(io::Error),
}

impl Writer<'_> {
    /// Writes, unless the trace has ended.
    fn write(&mut self, event: &Event) {
        if !matches!(self.state, State::Open) {
            return;
        }
        if let Err(error) = self.write_within(event) {
            self.state = State::Failed(error);
        }
    }

    /// Writes `event`, or that the limit is reached.
    fn write_within(&mut self, event: &Event) -> io::Result<()> {
        let mut text = self.form_of(event)?;
        let end = self.written.saturating_add(text.len() as u64);
        if end.saturating_add(LIMIT_LINE) > self.limit {
            self.state = State::Full;
            text = self.form_of(&self.limit(false))?;
        }
        self.written = self.written.saturating_add(text.len() as u64);
        self.out.write_all(text.as_bytes())
    }

    /// Writes the last of `events`, as many as the limit lets through, of a run that
    /// has ended.
    fn write_end(&mut self, events: &VecDeque<Event>) -> io::Result<()> {
        let texts = events.iter().map(|event| self.form_of(event));
        let mut texts = texts.collect::<io::Result<VecDeque<String>>>()?;
        let mut len: u64 = texts.iter().map(|text| text.len() as u64).sum();
        if len > self.limit {
            let room = self.limit.saturating_sub(LIMIT_LINE);
            while let Some(first) = texts.pop_front_if(|_| len > room) {
                len -= first.len() as u64;
            }
            texts.push_front(self.form_of(&self.limit(true))?);
        }
        let mut texts = texts.iter();
        texts.try_for_each(|text| self.out.write_all(text.as_bytes()))
    }

    fn limit(&self, begins: bool) -> Event {
        let bytes = self.limit;
        Event::Limit { bytes, begins }
    }

    /// Returns `event` as it is written.
    fn form_of(&mut self, event: &Event) -> io::Result<String> {
        match self.form {
            Form::Text => Ok(visible(&self.text(event)).into_owned()),
            Form::JsonLines => Ok(json_line(&serde_json::to_value(event)?)),
        }
    }

    fn text(&mut self, event: &Event) -> String {
        // Belongs to the instruction above it.
        let aside = |depth, text| format!("{}          {text}\n", indent(depth));
        match event {
            Event::Begin { program, hook } => {
                self.shown = None;
                format!("program {program}, hook {hook}\n")
            }
            Event::Insn(insn) => self.insn(insn),
            Event::Call {
                facts,
                callee,
                args,
            } => {
                let args = args.iter().map(|arg| format!("{}={}", arg.name, arg.value));
                let args: Vec<String> = args.collect();
                let line = self.line(facts);
                line + &aside(self.depth, format!("{callee}({})", args.join(", ")))
            }
            Event::Return { callee, r0 } => {
                aside(self.depth, format!("{callee} = {}", r0.answer()))
            }
            Event::Log { line } => aside(self.depth, format!("log: {line}")),
            Event::HandOver { resource, size } => {
                let size = counted(*size, "byte");
                aside(self.depth, format!("hand-over: {resource}, {size}"))
            }
            Event::Refused { reason } => aside(self.depth, format!("refused: {reason}")),
            Event::End { program, r0, .. } => {
                format!("program {program} returned {}\n", int(*r0))
            }
            Event::Limit { bytes, begins } => {
                let place = match begins {
                    true => "the trace begins here, without earlier events",
                    false => "the trace ends here, the run goes on",
                };
                let bytes = counted(*bytes, "byte");
                format!("{place}: its limit is {bytes}; --trace-limit raises it\n")
            }
        }
    }

    /// Returns the source line of an instruction, unless it was shown last.
    fn line(&mut self, facts: &Facts) -> String {
        let Some(line) = facts.place.as_ref().and_then(|place| place.line.as_ref()) else {
            return String::new();
        };
        let shown = self.shown.replace(line.clone());
        match shown.is_some_and(|shown| same_line(&shown, line)) {
            true => String::new(),
            false => format!("{}{}\n", indent(self.depth), source(line)),
        }
    }

    fn insn(&mut self, insn: &Insn) -> String {
        self.depth = insn.depth;
        let facts = &insn.facts;
        let mut text = self.line(facts);
        let indent = indent(insn.depth);
        let _infallible = write!(text, "{indent}{:6}: {:<40}", facts.slot, facts.text);
        for (register, value) in &insn.registers {
            let _infallible = write!(text, " r{register}={value}");
        }
        if let Some(access) = &insn.memory {
            let _infallible = write!(text, " [{access}]");
        }
        if let Some(note) = &facts.note {
            let _infallible = write!(text, " ; {note}");
        }
        format!("{}\n", text.trim_end())
    }
}

/// Bytes kept for the line that says that the limit is reached.
const LIMIT_LINE: u64 = 160;

/// Returns the `int` that a program returns.
pub(super) fn int(r0: u64) -> i32 {
    let [a, b, c, d, ..] = r0.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that counts, and that nobody reads after so many bytes.
    struct Pipe {
        bytes: Rc<std::cell::RefCell<Vec<u8>>>,
        open: usize,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.bytes.borrow_mut();
            if written.len() >= self.open {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Traces `lines` lines of a log, and returns what is written and whether the
    /// trace asks to end the run.
    fn check(form: Form, part: Part, open: usize, lines: usize, failed: bool) -> (String, bool) {
        let bytes = Rc::default();
        let pipe = Pipe {
            bytes: Rc::clone(&bytes),
            open,
        };
        let parser = Parser {
            license: String::new(),
            maps: Vec::new(),
            programs: Vec::new(),
            kfuncs: Vec::new(),
            types: 0,
            warnings: Vec::new(),
        };
        let mut trace = Trace::new(Box::new(pipe), form, part, Rc::new(parser));
        for number in 0..lines {
            trace.event(Event::Log {
                line: format!("line {number}"),
            });
        }
        let done = trace.is_done();
        let _gone = trace.finish(failed);
        let bytes = bytes.borrow().clone();
        (String::from_utf8(bytes).unwrap(), done)
    }

    const ALL: Part = Part {
        calls_only: false,
        last: None,
        limit: 1000,
    };

    #[test]
    fn a_trace_never_passes_its_limit_and_says_that_it_ends() {
        for form in [Form::Text, Form::JsonLines] {
            let (text, done) = check(form, ALL, usize::MAX, 10_000, false);
            assert!(text.len() <= 1000 && text.len() > 800 && !done, "{text}");
            let last = text.lines().last().unwrap();
            match form {
                Form::Text => assert_eq!(
                    last,
                    "the trace ends here, the run goes on: its limit is 1000 bytes; \
                     --trace-limit raises it"
                ),
                Form::JsonLines => assert_eq!(last, "{\"event\":\"limit\",\"bytes\":1000}"),
            }
        }
    }

    #[test]
    fn a_trace_that_nobody_reads_ends_the_run() {
        let (text, done) = check(Form::Text, ALL, 1, 100, false);
        assert_eq!((text.lines().count(), done), (1, true));
    }

    #[test]
    fn the_last_events_are_written_where_a_run_fails() {
        let part = Part {
            last: Some(2),
            ..ALL
        };
        let (text, done) = check(Form::Text, part, usize::MAX, 10_000, true);
        let expected = "          log: line 9998\n          log: line 9999\n";
        assert_eq!((text.as_str(), done), (expected, false));
        assert_eq!(check(Form::Text, part, usize::MAX, 10, false).0, "");
    }

    #[test]
    fn the_limit_of_the_last_events_counts_those_alone() {
        let part = |last, limit| Part {
            last: Some(last),
            limit,
            ..ALL
        };
        // Two lines of 20 bytes.
        let two = "          log: line 98\n          log: line 99\n";
        let (text, _) = check(Form::Text, part(2, 48), usize::MAX, 100, true);
        assert_eq!(text, two);
        for (limit, behind) in [(47, ""), (160 + 48, two), (160 + 68, two), (0, "")] {
            let (text, _) = check(Form::Text, part(50, limit), usize::MAX, 100, true);
            let expected = format!(
                "the trace begins here, without earlier events: its limit is {limit} bytes; \
                 --trace-limit raises it\n{behind}"
            );
            assert_eq!(text, expected);
        }
        let (text, _) = check(Form::JsonLines, part(50, 0), usize::MAX, 100, true);
        assert_eq!(text, "{\"event\":\"limit\",\"bytes\":0}\n");
    }
}
