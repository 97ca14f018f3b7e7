//! The built-in parsers: what they make of UKIs and zboot images, down to the
//! byte and to the text of every refusal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cmdline;
mod cost;
mod envelope;
mod hostile;
mod image;
mod profiles;
mod skeletons;
mod stream;
mod uki;
mod zboot;

use std::error::Error;
use std::fmt::Write as _;

use ukexec_bpf::Rope;
use ukexec_unfold::{
    Budget, Input, MemoryStore, Options, ParserFile, Report, UnfoldError, Unfolded,
    built_in_parsers, unfold,
};

/// Stands in for a kernel: no parser takes it apart.
const KERNEL: &[u8] = b"kernel";

/// The resources that a caller brings besides the image.
#[derive(Clone, Debug, Default)]
struct Caller<'a> {
    initrd: Option<&'a [u8]>,
    cmdline: Option<&'a str>,
}

impl<'a> Caller<'a> {
    fn cmdline(cmdline: &'a str) -> Self {
        Self {
            cmdline: Some(cmdline),
            ..Self::default()
        }
    }

    fn initrd(initrd: &'a [u8]) -> Self {
        Self {
            initrd: Some(initrd),
            ..Self::default()
        }
    }
}

fn run(image: &[u8], caller: &Caller<'_>) -> Result<Unfolded, UnfoldError> {
    run_input(Input {
        image: Rope::from(image.to_vec()),
        initrd: caller.initrd.map(|initrd| Rope::from(initrd.to_vec())),
        cmdline: caller.cmdline.map(|line| line.as_bytes().to_vec()),
        append: None,
    })
}

fn run_input(input: Input) -> Result<Unfolded, UnfoldError> {
    run_with(input, built_in_parsers())
}

fn run_with(input: Input, parsers: Vec<ParserFile>) -> Result<Unfolded, UnfoldError> {
    let options = Options {
        parsers,
        image_name: "image".to_owned(),
        ..Options::default()
    };
    unfold(
        input,
        &options,
        &mut MemoryStore::default(),
        &mut Budget::default(),
    )
}

/// Returns what came out: resources by what they hold, or the error.
fn outcome(result: &Result<Unfolded, UnfoldError>) -> String {
    match result {
        Ok(unfolded) => parts(unfolded),
        Err(error) => {
            let notes = error.notes().iter().map(|note| format!("  {note}\n"));
            format!("{}\n{}", chain(error), notes.collect::<String>())
        }
    }
}

fn parts(unfolded: &Unfolded) -> String {
    let initrd = unfolded.initrd.as_ref();
    let parts = [
        ("kernel", Some(unfolded.kernel.to_vec().unwrap())),
        ("initrd", initrd.map(|initrd| initrd.to_vec().unwrap())),
        ("cmdline", unfolded.cmdline.clone()),
    ];
    let mut text = String::new();
    for (name, bytes) in parts {
        if let Some(bytes) = bytes {
            writeln!(text, "{name} \"{}\"", bytes.escape_ascii()).unwrap();
        }
    }
    text.push_str(&handed_over(&unfolded.report));
    text
}

/// Returns what each stage handed over, since the caller's command line also
/// replaces what comes out.
fn handed_over(report: &Report) -> String {
    let mut text = String::new();
    for stage in &report.stages {
        let all: Vec<String> = stage
            .handed_over
            .iter()
            .map(|hand_over| format!("{} {}", hand_over.resource, hand_over.size))
            .collect();
        writeln!(text, "{}: {}", stage.parser.name, all.join(", ")).unwrap();
        assert_eq!(stage.log, [""; 0], "a parser that succeeds prints nothing");
    }
    text
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        write!(text, ": {cause}").unwrap();
        next = cause.source();
    }
    text
}
