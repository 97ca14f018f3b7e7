//! `ukexec parser`: its commands and their arguments.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Subcommand};
use ukexec_loader::report::{Count, Size};

use super::Limits;
use super::headings::{INPUT, OUTPUT};

/// `ukexec parser`
#[derive(Debug, Subcommand)]
pub(crate) enum ParserCommand {
    /// Write the source, the header and the Makefile of a new parser
    New(ParserNew),
    /// Describe a parser, or print every reason why ukexec refuses it
    Check(ParserCheck),
    /// Run one stage of an image with a parser, and print its steps and results
    Run(ParserRun),
    /// List a parser's instructions under their source lines
    Disasm(ParserDisasm),
    /// Put parsers into one container, as kernel series v7 reads them
    Pack(ParserPack),
    /// Print the functions and hooks of parsers, or the meaning, errors and price of one
    Helpers(ParserHelpers),
}

/// `ukexec parser new`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec parser new box        box/box.bpf.c, box/parser.h, box/Makefile, box/README.md
  make -C box check run IMAGE=/tmp/image.box

The folder must not exist. It appears when all files are written, or not at all.")]
pub(crate) struct ParserNew {
    /// The parser: letters, digits, - and _, at most 64
    #[arg(value_parser = parser_name)]
    pub(crate) name: String,
}

/// `ukexec parser pack`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec parser pack zboot.o -o zboot.bpf
  ukexec parser pack uki.o other.o --nested zboot.bpf -o uki.bpf

The parsers are tried in this order, until one takes the image apart. Those of --nested then try
the image inside.")]
pub(crate) struct ParserPack {
    /// Parsers: BPF objects or light skeletons, at most 8
    #[arg(required = true, value_name = "PARSER")]
    pub(crate) parsers: Vec<PathBuf>,
    /// Container for the layer inside, of at most 4 levels
    #[arg(long, value_name = "FILE", help_heading = INPUT)]
    pub(crate) nested: Option<PathBuf>,
    /// The container to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// `ukexec parser helpers`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec parser helpers                          all, as a page of Markdown
  ukexec parser helpers bpf_probe_read_kernel    one: prototype, meaning, errors, price
  ukexec parser helpers 113 --json")]
pub(crate) struct ParserHelpers {
    /// One hook, kfunc or helper: its name, also without bpf_, or a helper's number
    pub(crate) name: Option<String>,
    /// Print one JSON document (schema 1)
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

/// `ukexec parser check`
#[derive(Debug, Args)]
pub(crate) struct ParserCheck {
    /// The parser: a BPF object, an image that carries one, or a container of several
    pub(crate) file: PathBuf,
    /// The one parser of a container: 1, 2, nested.1, nested.nested.1
    #[arg(long, value_name = "SLOT")]
    pub(crate) slot: Option<String>,
    /// Print one JSON document (schema 1)
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

/// `ukexec parser run`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec parser run my.bpf.o --image disk.img
  ukexec parser run my.bpf.o --image disk.img --trace | less
  ukexec parser run my.bpf.o --image disk.img --trace=run.jsonl
  ukexec parser run my.bpf.o --image disk.img --json

A trace on stdout is for people; one in a file is JSON lines (docs/json.md). --trace=calls leaves
the instructions out, and may stand beside --trace=FILE; a file of that name is ./calls.")]
pub(crate) struct ParserRun {
    /// The parser: a BPF object, an image that carries one, or a container
    pub(crate) file: PathBuf,
    /// The parser of a container: 1, 2, nested.1, nested.nested.1
    #[arg(long, value_name = "SLOT", help_heading = INPUT)]
    pub(crate) slot: Option<String>,
    /// The image to take apart
    #[arg(long, help_heading = INPUT)]
    pub(crate) image: PathBuf,
    /// Initrd to show to the parser; several are joined in order
    #[arg(long, value_name = "FILE", help_heading = INPUT, alias = "ramdisk")]
    pub(crate) initrd: Vec<PathBuf>,
    /// Command line to show to the parser
    #[arg(long, value_name = "TEXT", help_heading = INPUT, alias = "command-line")]
    pub(crate) cmdline: Option<OsString>,
    /// Run as for the kernel that a crash boots
    #[arg(short, long, help_heading = INPUT)]
    pub(crate) panic: bool,
    /// Print every instruction, register, memory access and call
    #[arg(
        long, value_name = "FILE|calls", num_args = 0..=1, require_equals = true,
        default_missing_value = "-", value_parser = OsStringValueParser::new().map(TraceTo::from),
        help_heading = OUTPUT
    )]
    pub(crate) trace: Vec<TraceTo>,
    /// Print only the last N events, and only where the run fails
    #[arg(long, value_name = "N", value_parser = events, help_heading = OUTPUT)]
    pub(crate) trace_last: Option<usize>,
    /// End the trace, not the run, after so many bytes
    #[arg(long, value_name = "SIZE", default_value = "100M", help_heading = OUTPUT)]
    #[arg(hide_short_help = true)]
    pub(crate) trace_limit: Size,
    /// Print the stage's results as one JSON document (docs/json.md)
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// The content of a trace, or where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TraceTo {
    /// All of it, to stdout.
    Stdout,
    /// Calls alone.
    Calls,
    /// To a file.
    File(PathBuf),
}

impl From<OsString> for TraceTo {
    fn from(word: OsString) -> Self {
        match word.to_str() {
            Some("-") => Self::Stdout,
            Some("calls") => Self::Calls,
            _ => Self::File(word.into()),
        }
    }
}

/// Reads how many events are kept in memory.
fn events(text: &str) -> Result<usize, String> {
    const MAX: usize = 100_000;
    let Count(number) = text.parse().map_err(|error| format!("{error}"))?;
    let number = usize::try_from(number).ok();
    let number = number.filter(|number| (1..=MAX).contains(number));
    number.ok_or_else(|| format!("expected 1 to {MAX}"))
}

impl ParserRun {
    /// Returns the file of the trace.
    pub(crate) fn trace_file(&self) -> Option<&Path> {
        let mut files = self.trace.iter().filter_map(|to| match to {
            TraceTo::File(path) => Some(path.as_path()),
            TraceTo::Stdout | TraceTo::Calls => None,
        });
        files.next_back()
    }

    /// Returns whether there is a trace.
    pub(crate) fn is_traced(&self) -> bool {
        !self.trace.is_empty() || self.trace_last.is_some()
    }
}

/// `ukexec parser disasm`
#[derive(Debug, Args)]
pub(crate) struct ParserDisasm {
    /// The parser: a BPF object, an image that carries one, or a container
    pub(crate) file: PathBuf,
    /// The parser of a container: 1, 2, nested.1, nested.nested.1
    #[arg(long, value_name = "SLOT")]
    pub(crate) slot: Option<String>,
    /// List this program alone
    #[arg(long, value_name = "NAME")]
    pub(crate) program: Option<String>,
    /// Print the bytes of each instruction
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) bytes: bool,
}

/// Returns `name` if a folder, a file and a function of C can be named after it.
fn parser_name(name: &str) -> Result<String, String> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_short = (1..=64).contains(&name.len());
    if is_short && name.bytes().all(is_fine) && !name.starts_with('-') {
        return Ok(name.to_owned());
    }
    Err("expected 1 to 64 letters, digits, - and _, beginning with no -".to_owned())
}
