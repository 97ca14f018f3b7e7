//! `ukexec parser run`: one stage, and the parser's steps in it.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStringExt as _;

use anyhow::{Context as _, bail};
use ukexec_bpf::Parser;
use ukexec_bpf::trace::Tracer;
use ukexec_kexec::{Readers, create_file};
use ukexec_loader::report::ParserRunReport;
use ukexec_loader::{LoaderError, join_initrds, open_rope, shown};
use ukexec_unfold::{
    Input, MemoryStore, Observer, Options, ParserFile, ParserOrigin, Resource, run_stage,
};

use super::read;
use super::trace::{Event, Form, Trace, int};
use crate::args::ParserRun;
use crate::console::{self, Terminal};

pub(crate) fn run(args: &ParserRun) -> anyhow::Result<()> {
    if args.json && args.trace == Some(None) {
        bail!("--json and --trace would both write to stdout: give the trace a file, --trace=FILE");
    }
    let parser = ParserFile {
        name: shown(&args.file),
        object: read(&args.file)?.into(),
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
        trace: trace(args, &parser, readers)?,
        quiet: args.json,
        printed: Ok(()),
    };
    let (store, budget) = (&mut MemoryStore::default(), &mut args.limits.budget());
    let done = run_stage(input, &parser, &options, store, budget, &mut reporter);
    // The trace of a stage that failed is wanted most.
    let printed = reporter.finish();
    let report = ParserRunReport::new(&done.map_err(LoaderError::from)?)?;
    printed?;
    if args.json {
        console::json(&serde_json::to_value(&report)?)?;
    } else {
        console::page(&report.page())?;
    }
    for warning in report.warnings() {
        console::warn(&warning.to_string());
    }
    Ok(())
}

/// Returns the trace that `args` ask for.
/// It shows what is in the image, and is for the same `readers`.
fn trace(
    args: &ParserRun,
    parser: &ParserFile,
    readers: Readers,
) -> anyhow::Result<Option<Trace<'static>>> {
    let Some(file) = &args.trace else {
        return Ok(None);
    };
    let interface = ukexec_unfold::interface();
    let Ok(loaded) = Parser::load(&parser.object, &interface) else {
        // The stage will say so.
        return Ok(None);
    };
    let (out, form): (Box<dyn Write>, _) = match file {
        None => (Box::new(io::stdout()), Form::Text),
        Some(path) => {
            let file = create_file(path, readers).context("cannot write the trace")?;
            (Box::new(file), Form::JsonLines)
        }
    };
    let out = Box::new(BufWriter::new(out));
    Ok(Some(Trace::new(out, form, loaded)))
}

/// Reports events: in the trace where there is one, and on stdout those that
/// the trace does not write there.
struct Reporter {
    trace: Option<Trace<'static>>,
    /// Stdout is for a document.
    quiet: bool,
    /// Whether everything so far could be printed.
    printed: anyhow::Result<()>,
}

impl Reporter {
    fn finish(self) -> anyhow::Result<()> {
        self.printed?;
        match self.trace.map(Trace::finish) {
            // A reader that has gone away is not worth an error.
            Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Some(done) => done.context("cannot write the trace"),
            None => Ok(()),
        }
    }

    /// Gives `event` to the trace, and `line` to people who do not see it.
    fn report(&mut self, line: &str, event: &Event<'_>) {
        if let Some(trace) = &mut self.trace {
            trace.event(event);
        }
        let is_seen = self.trace.as_ref().is_some_and(Trace::is_text);
        if !is_seen && !self.quiet && self.printed.is_ok() {
            self.printed = console::out(&format!("{line}\n"));
        }
    }
}

impl Observer for Reporter {
    fn begins(&mut self, program: &str, hook: &'static str) {
        let line = format!("program {program}, hook {hook}");
        self.report(&line, &Event::Begin { program, hook });
    }

    fn ended(&mut self, program: &str, hook: &'static str, r0: u64) {
        let line = format!("  returned {}", int(r0));
        self.report(&line, &Event::End { program, hook, r0 });
    }

    fn logged(&mut self, line: &str) {
        self.report(&format!("  | {line}"), &Event::Log { line });
    }

    fn handed_over(&mut self, resource: Resource, size: u64) {
        let line = format!("  hand-over: {resource}, {size} bytes");
        self.report(&line, &Event::HandOver { resource, size });
    }

    fn refused(&mut self, reason: &str) {
        self.report(&format!("  refused: {reason}"), &Event::Refused { reason });
    }

    fn tracer(&mut self) -> Option<&mut dyn Tracer> {
        self.trace.as_mut().map(|trace| trace as &mut dyn Tracer)
    }
}
