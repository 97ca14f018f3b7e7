//! `ukexec parser run`: one stage, and the parser's steps in it.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStringExt as _;
use std::rc::Rc;

use anyhow::Context as _;
use serde::Serialize;
use ukexec_bpf::Parser;
use ukexec_bpf::trace::{Call, Tracer};
use ukexec_kexec::{Readers, create_file};
use ukexec_loader::report::page::{Labelled, Text};
use ukexec_loader::report::{Findings, Page, ParserRunReport};
use ukexec_loader::{LoaderError, join_initrds, open_rope, shown};
use ukexec_pe::counted;
use ukexec_unfold::{
    Input, MemoryStore, Observer, Options, ParserFile, ParserOrigin, Resource, run_stage,
};

use super::failed::FailedCalls;
use super::trace::{Event, Form, Part, Trace, int};
use super::{Subject, check_place, read_one};
use crate::args::{ParserRun, TraceTo};
use crate::console::{self, Terminal};

pub(crate) fn run(args: &ParserRun) -> anyhow::Result<()> {
    let subject = read_one(&args.file, args.slot.as_deref())?;
    // Where it does not load, the stage says so.
    let loaded = Parser::load(&subject.object, ukexec_unfold::interface());
    let loaded = loaded.ok().map(Rc::new);
    if let Some(parser) = &loaded {
        check_place(parser, subject.place).with_context(|| subject.name.clone())?;
    }
    let Subject { object, slot, .. } = subject;
    let parser = ParserFile {
        name: shown(&args.file),
        object: object.into(),
        origin: ParserOrigin::Given,
    };
    let (image, mut readers) = open_rope(&args.image, 0, &Terminal)?;
    let mut initrds = Vec::new();
    for (number, path) in (1..).zip(&args.initrd) {
        let (one, its_readers) = open_rope(path, number, &Terminal)?;
        initrds.push(one);
        readers = readers.and(its_readers);
    }
    let input = Input {
        image,
        initrd: Some(join_initrds(initrds)),
        cmdline: args.cmdline.clone().map(OsString::into_vec),
        append: None,
    };
    let options = Options {
        kdump: args.panic,
        image_name: shown(&args.image),
        ..Options::default()
    };
    let mut reporter = Reporter {
        trace: trace(args, loaded.clone(), readers)?,
        parser: loaded,
        failed: FailedCalls::default(),
        quiet: args.json,
        printed: Ok(()),
    };
    let (store, budget) = (&mut MemoryStore::default(), &mut args.limits.budget());
    let (parser, slot) = (&parser, slot.as_deref());
    let done = run_stage(input, parser, slot, &options, store, budget, &mut reporter);
    // The trace of a stage that failed is wanted most.
    let Some(failed_calls) = reporter.finish(done.is_err())? else {
        return Ok(());
    };
    let mut page = Page::default();
    failed_calls.rows(&mut page);
    let stage = match done {
        Ok(stage) => stage,
        Err(error) => {
            let report = match args.json {
                true => Findings::Document(serde_json::to_value(failed_calls)?),
                false => Findings::Page(page),
            };
            return Err(LoaderError::from(error).with_report(Some(report)).into());
        }
    };
    let report = ParserRunReport::new(&stage)?;
    if args.json {
        let document = Document {
            report: &report,
            failed_calls,
        };
        console::json(&serde_json::to_value(document)?)?;
    } else {
        report.rows(&mut page);
        console::page(&page)?;
    }
    for warning in report.warnings() {
        console::warn(&warning.to_string());
    }
    Ok(())
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a ParserRunReport,
    #[serde(flatten)]
    failed_calls: FailedCalls,
}

/// Returns the trace of `parser` that `args` ask for.
/// It shows what is in the image, and is for the same `readers`.
fn trace(
    args: &ParserRun,
    parser: Option<Rc<Parser>>,
    readers: Readers,
) -> anyhow::Result<Option<Trace<'static>>> {
    let Some(parser) = parser.filter(|_| args.is_traced()) else {
        return Ok(None);
    };
    let (out, form): (Box<dyn Write>, _) = match args.trace_file() {
        None => (Box::new(console::Stdout), Form::Text),
        Some(path) => {
            let file = create_file(path, readers).context("cannot write the trace")?;
            (Box::new(file), Form::JsonLines)
        }
    };
    let part = Part {
        calls_only: args.trace.contains(&TraceTo::Calls),
        last: args.trace_last,
        limit: args.trace_limit.0,
    };
    let out = Box::new(BufWriter::new(out));
    Ok(Some(Trace::new(out, form, part, parser)))
}

/// Reports events: in the trace where there is one, and on stdout those that
/// the trace does not write there.
struct Reporter {
    trace: Option<Trace<'static>>,
    parser: Option<Rc<Parser>>,
    failed: FailedCalls,
    /// Stdout is for a document.
    quiet: bool,
    /// Whether everything so far could be printed.
    printed: anyhow::Result<()>,
}

impl Reporter {
    /// Ends the reports of a run that `failed` or did not. Returns the calls that
    /// failed, or nothing if nobody reads the trace any more.
    fn finish(self, failed: bool) -> anyhow::Result<Option<FailedCalls>> {
        self.printed?;
        match self.trace.map(|trace| trace.finish(failed)) {
            Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            Some(Err(error)) => Err(error).context("cannot write the trace"),
            Some(Ok(())) | None => Ok(Some(self.failed)),
        }
    }

    /// Gives `event` to the trace, and `line` to people who do not see it.
    fn report(&mut self, line: &str, event: Event) {
        if let Some(trace) = &mut self.trace {
            trace.event(event);
        }
        self.print(line);
    }

    /// Prints `line` where no trace shows the same.
    fn print(&mut self, line: &str) {
        let is_seen = self.trace.as_ref().is_some_and(Trace::is_seen);
        if !is_seen && !self.quiet && self.printed.is_ok() {
            let mut page = Page::default();
            let text = line.trim_start();
            let indent = line.len().saturating_sub(text.len());
            page.line(Labelled {
                indent,
                label: text.into(),
                column: indent.saturating_add(2),
                text: Text::default(),
                whole: false,
            });
            self.printed = console::page(&page);
        }
    }
}

impl Observer for Reporter {
    fn begins(&mut self, program: &str, hook: &'static str) {
        let line = format!("program {program}, hook {hook}");
        let program = program.to_owned();
        self.report(&line, Event::Begin { program, hook });
    }

    fn ended(&mut self, program: &str, hook: &'static str, r0: u64) {
        let line = format!("  returned {}", int(r0));
        let program = program.to_owned();
        self.report(&line, Event::End { program, hook, r0 });
    }

    fn logged(&mut self, line: &str) {
        let event = Event::Log {
            line: line.to_owned(),
        };
        self.report(&format!("  | {line}"), event);
    }

    fn handed_over(&mut self, resource: Resource, size: u64) {
        let len = counted(size, "byte");
        let line = format!("  hand-over: {resource}, {len}");
        self.report(&line, Event::HandOver { resource, size });
    }

    fn refused(&mut self, reason: &str) {
        if let Some(trace) = &mut self.trace {
            trace.event(Event::Refused {
                reason: reason.to_owned(),
            });
        }
    }

    fn failed(&mut self, call: &Call<'_>, r0: u64, reason: Option<&str>) {
        let first = self.failed.add(self.parser.as_deref(), call, r0, reason);
        if let Some(text) = first {
            self.print(&format!("  failed: {text}"));
        }
    }

    fn tracer(&mut self) -> Option<&mut dyn Tracer> {
        self.trace.as_mut().map(|trace| trace as &mut dyn Tracer)
    }
}
