//! The command line: what `ukexec --help` prints, and its values.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use ukexec_bpf::Meter;
use ukexec_loader::report::Size;
use ukexec_loader::{CmdlineFrom, Config, LoadKind, LoaderOptions, Policy, TrustSource};
use ukexec_unfold::Budget;

const ABOUT: &str = "Boots any UEFI kernel image with kexec: unified kernel images, EFI zboot \
                     kernels, one inside the other, and formats that bring their own parser.";

const EXAMPLES: &str = "\
Examples:
  ukexec inspect /boot/efi/EFI/Linux/debian.efi     what would this image boot?
  ukexec unfold vmlinuz.efi -o parts                kernel, initrd and cmdline as files
  ukexec load debian.efi && ukexec exec             boot it now, without the firmware
  ukexec load debian.efi --append 'debug' --dry-run everything but the system call
  ukexec load --panic kdump.efi                     the kernel that a crash boots
  ukexec attach vmlinuz.efi my.bpf.o -o out.efi     put a parser into an image

An image, a parser or an initrd named - is standard input; one of them at most.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "ukexec", version, about = ABOUT, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Tell more on stderr: -v stages and parsers' messages, -vv everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell what is in an image: layers, sections, parsers, the final kernel
    Inspect(Inspect),
    /// Write kernel, initrd and command line of an image as files
    Unfold(Unfold),
    /// Unfold an image and load it with kexec_file_load(2)
    Load(Load),
    /// Boot what is loaded
    Exec(Exec),
    /// Drop what is loaded
    Unload(Unload),
    /// Tell what is loaded and what this machine allows
    Status(Status),
    /// Put a parser into an image's .bpf section
    Attach(Attach),
    /// Take the parser out of an image
    Detach(Detach),
    /// For authors of parsers
    #[command(subcommand)]
    Parser(ParserCommand),
}

/// `ukexec inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec inspect debian.efi
  ukexec inspect debian.efi --json --hash
  ukexec inspect debian.efi --profile 1
  ukexec inspect debian.efi --measure        what would a TPM and IMA be told?")]
pub(crate) struct Inspect {
    /// The image
    pub(crate) image: PathBuf,
    /// Tell what a measured boot extends PCRs 4, 11 and 12 with, and what IMA
    /// measures when the image is loaded (reads every byte)
    #[arg(long)]
    pub(crate) measure: bool,
    #[command(flatten)]
    pub(crate) unfolding: Unfolding,
    #[command(flatten)]
    pub(crate) output: ReportOutput,
}

/// `ukexec unfold`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec unfold debian.efi -o parts          parts/kernel, parts/initrd, parts/cmdline
  ukexec unfold debian.efi -o parts --hash --json
  ukexec unfold odd.img -o parts --parser odd.bpf.o

A part that the image does not have leaves no file. An empty command line is a file of 0 bytes.")]
pub(crate) struct Unfold {
    /// The image
    pub(crate) image: PathBuf,
    /// Folder for the parts; absent or empty
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) unfolding: Unfolding,
    #[command(flatten)]
    pub(crate) report: ReportOutput,
}

/// `ukexec load`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec load debian.efi                         the image's own initrd and command line
  ukexec load vmlinuz --initrd initrd.img --reuse-cmdline
  ukexec load debian.efi --append 'systemd.unit=rescue.target'
  ukexec load debian.efi --profile factory-reset
  ukexec load --panic kdump.efi                  needs crashkernel= on this boot
  ukexec load debian.efi --verify=require --trust /etc/keys/ours.pem

An explicit --cmdline replaces the image's own; --append adds behind whatever is used.")]
pub(crate) struct Load {
    /// The image
    pub(crate) image: PathBuf,
    /// Do everything but the system call, and tell what it would be given
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON document (schema 1)
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) unfolding: Unfolding,
}

/// `ukexec exec`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec exec            shuts down in order through systemd where it runs
  ukexec exec --force    at once: sync, then reboot(2); services are not stopped")]
pub(crate) struct Exec {
    /// Boot at once: sync, then reboot(2); services are not stopped
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `ukexec unload`
#[derive(Debug, Args)]
pub(crate) struct Unload {
    /// Drop the crash kernel instead
    #[arg(short, long)]
    pub(crate) panic: bool,
}

/// `ukexec status`
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print one JSON document (schema 1)
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ukexec attach`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec attach vmlinuz.efi zboot.bpf.o -o vmlinuz-bpf.efi
  ukexec attach signed.efi my.bpf.o -o out.efi --drop-signature   sign out.efi again afterwards")]
pub(crate) struct Attach {
    /// The image
    pub(crate) image: PathBuf,
    /// The parser: a BPF object
    pub(crate) parser: PathBuf,
    /// The image to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The image may lose its signature, which the change makes void
    #[arg(long)]
    pub(crate) drop_signature: bool,
}

/// `ukexec detach`
#[derive(Debug, Args)]
pub(crate) struct Detach {
    /// The image
    pub(crate) image: PathBuf,
    /// The image to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The image may lose its signature, which the change makes void
    #[arg(long)]
    pub(crate) drop_signature: bool,
}

/// `ukexec parser`
#[derive(Debug, Subcommand)]
pub(crate) enum ParserCommand {
    /// Tell what a parser is, or every reason why this loader refuses it
    Check(ParserCheck),
    /// Run one stage of an image with a parser, and tell what it does
    Run(ParserRun),
    /// List a parser's instructions under their source lines
    Disasm(ParserDisasm),
    /// Tell what a parser may call, as a page of Markdown
    Helpers,
}

/// `ukexec parser check`
#[derive(Debug, Args)]
pub(crate) struct ParserCheck {
    /// The parser: a BPF object, or an image that carries one
    pub(crate) file: PathBuf,
    /// Print one JSON document (schema 1)
    #[arg(long)]
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

A trace on stdout is for people; one in a file is JSON lines (docs/json.md).")]
pub(crate) struct ParserRun {
    /// The parser: a BPF object, or an image that carries one
    pub(crate) file: PathBuf,
    /// The image to take apart
    #[arg(long)]
    pub(crate) image: PathBuf,
    /// Initrd to show to the parser; several are joined in order
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<PathBuf>,
    /// Command line to show to the parser
    #[arg(long, value_name = "TEXT")]
    pub(crate) cmdline: Option<OsString>,
    /// As for the kernel that boots when this one crashes
    #[arg(short, long)]
    pub(crate) panic: bool,
    /// Tell every instruction, register, memory access and call
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(crate) trace: Option<Option<PathBuf>>,
    /// Print what the stage has come to as one JSON document (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// `ukexec parser disasm`
#[derive(Debug, Args)]
pub(crate) struct ParserDisasm {
    /// The parser: a BPF object, or an image that carries one
    pub(crate) file: PathBuf,
    /// Only this program
    #[arg(long, value_name = "NAME")]
    pub(crate) program: Option<String>,
    /// Tell the bytes of each instruction
    #[arg(long)]
    pub(crate) bytes: bool,
}

/// How results are told.
#[derive(Debug, Args)]
pub(crate) struct ReportOutput {
    /// Print one JSON document (schema 1)
    #[arg(long)]
    pub(crate) json: bool,
    /// Tell the SHA-256 of every part (reads every byte)
    #[arg(long)]
    pub(crate) hash: bool,
}

/// What `inspect`, `unfold` and `load` share.
#[derive(Debug, Args)]
pub(crate) struct Unfolding {
    /// Take the outermost image apart with this parser
    #[arg(long, value_name = "FILE")]
    pub(crate) parser: Option<PathBuf>,
    /// Never run a parser that an image carries, on any layer
    #[arg(long)]
    pub(crate) no_embedded_parser: bool,
    /// Look for parsers here instead of in the system's parsers.d folders
    #[arg(long, value_name = "DIR")]
    pub(crate) parsers_dir: Vec<PathBuf>,
    /// Profile of the image: its number, or the ID in its .profile section
    #[arg(long, value_name = "ID|N")]
    pub(crate) profile: Option<String>,
    /// Initrd to hand to the image's parser; several are joined in order
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<PathBuf>,
    /// Command line instead of the image's own
    #[arg(long, value_name = "TEXT", conflicts_with = "reuse_cmdline")]
    pub(crate) cmdline: Option<OsString>,
    /// Text to add behind the command line
    #[arg(long, value_name = "TEXT")]
    pub(crate) append: Option<OsString>,
    /// Take the running kernel's command line, without BOOT_IMAGE=, initrd= and,
    /// with --panic, crashkernel=
    #[arg(long)]
    pub(crate) reuse_cmdline: bool,
    /// For the kernel that boots when this one crashes
    #[arg(short, long)]
    pub(crate) panic: bool,
    /// Take the image apart with all your rights instead of in a sandbox
    #[arg(long)]
    pub(crate) no_sandbox: bool,
    #[command(flatten)]
    pub(crate) verify: Verify,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// What to do about signatures.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Signatures")]
pub(crate) struct Verify {
    /// Verify signatures: require takes nothing without a good one, auto does so
    /// under Secure Boot or lockdown and only tells of them elsewhere
    #[arg(long, value_name = "auto|require|off", value_parser = policies())]
    pub(crate) verify: Option<Policy>,
    /// Trust these certificates: PEM, DER, PKCS#7 or EFI signature lists, a
    /// folder of such files, or `system` for the machine's own
    #[arg(long, value_name = "FILE|DIR|system")]
    pub(crate) trust: Vec<PathBuf>,
    /// Read the machine's own keys from here instead of /sys/firmware/efi
    #[arg(long, value_name = "DIR")]
    pub(crate) efivars: Option<PathBuf>,
    /// Refuse certificates that are not valid today; firmware does not
    #[arg(long)]
    pub(crate) check_dates: bool,
    /// Configuration instead of /etc/ukexec/ukexec.conf
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// The budget of one unfolding.
#[derive(Debug, Args)]
#[command(next_help_heading = "Budget")]
pub(crate) struct Limits {
    /// Instructions that all parsers may run together
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    pub(crate) max_insns: u64,
    /// Stages: parsers that may run one after the other
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) max_stages: u32,
    /// Bytes that decompression may write, such as 64M
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    pub(crate) max_output: Size,
    /// Bytes of private memory, such as 64M
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub(crate) max_memory: Size,
    /// Lines that parsers may print
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) max_log_lines: u32,
}

impl Unfolding {
    /// Returns how to take an image apart.
    pub(crate) fn options(&self) -> LoaderOptions {
        let verify = &self.verify;
        let trust = verify.trust.iter();
        let trust = trust.map(|path| TrustSource::from(path.as_path()));
        let cmdline = match &self.cmdline {
            _ if self.reuse_cmdline => CmdlineFrom::RunningKernel,
            Some(line) => CmdlineFrom::Caller(line.clone().into_vec()),
            None => CmdlineFrom::Image,
        };
        LoaderOptions {
            parser: self.parser.clone(),
            embedded_parsers: !self.no_embedded_parser,
            parsers_dirs: self.parsers_dir.clone(),
            profile: self.profile.clone(),
            initrds: self.initrd.clone(),
            cmdline,
            append: self.append.clone().map(OsString::into_vec),
            kind: load_kind(self.panic),
            sandbox: !self.no_sandbox,
            config_file: verify.config.clone(),
            config: Config {
                verify: verify.verify,
                trust: (!verify.trust.is_empty()).then(|| trust.collect()),
                efivars: verify.efivars.clone(),
                check_dates: verify.check_dates.then_some(true),
            },
            budget: self.limits.budget(),
        }
    }
}

/// Returns what a kernel is loaded for, as `--panic` says.
pub(crate) fn load_kind(panic: bool) -> LoadKind {
    if panic {
        LoadKind::Crash
    } else {
        LoadKind::Reboot
    }
}

impl Limits {
    /// Returns the budget of one unfolding.
    pub(crate) fn budget(&self) -> Budget {
        Budget {
            meter: Meter {
                insns: self.max_insns,
                memory: self.max_memory.0,
                log_lines: self.max_log_lines,
            },
            stages: self.max_stages,
            output: self.max_output.0,
        }
    }
}

/// Returns a reader of `--verify`.
fn policies() -> impl TypedValueParser<Value = Policy> {
    let word = |(word, help): (&'static str, &'static str)| PossibleValue::new(word).help(help);
    let words = [
        (
            "auto",
            "As `require` on a machine that verified what it runs, else verify and report",
        ),
        ("require", "Run and boot nothing without a good signature"),
        ("off", "Verify nothing"),
    ];
    PossibleValuesParser::new(words.map(word)).map(|word| match word.as_str() {
        "require" => Policy::Require,
        "off" => Policy::Off,
        _ => Policy::Auto,
    })
}

impl Command {
    /// Returns the files to read that the caller names for this run, each of which
    /// may be standard input.
    pub(crate) fn inputs(&self) -> Vec<&Path> {
        let (files, unfolding) = match self {
            Self::Inspect(args) => (vec![&args.image], Some(&args.unfolding)),
            Self::Unfold(args) => (vec![&args.image], Some(&args.unfolding)),
            Self::Load(args) => (vec![&args.image], Some(&args.unfolding)),
            Self::Attach(args) => (vec![&args.image, &args.parser], None),
            Self::Detach(args) => (vec![&args.image], None),
            Self::Parser(ParserCommand::Check(args)) => (vec![&args.file], None),
            Self::Parser(ParserCommand::Disasm(args)) => (vec![&args.file], None),
            Self::Parser(ParserCommand::Run(args)) => {
                let files = [&args.file, &args.image].into_iter();
                (files.chain(&args.initrd).collect(), None)
            }
            Self::Exec(_)
            | Self::Unload(_)
            | Self::Status(_)
            | Self::Parser(ParserCommand::Helpers) => (Vec::new(), None),
        };
        let more = unfolding.map(|args| args.initrd.iter().chain(&args.parser));
        let more = more.into_iter().flatten();
        files
            .into_iter()
            .chain(more)
            .map(PathBuf::as_path)
            .collect()
    }

    /// Returns whether the caller asked for a JSON document.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Inspect(args) => args.output.json,
            Self::Unfold(args) => args.report.json,
            Self::Load(args) => args.json,
            Self::Status(args) => args.json,
            Self::Parser(ParserCommand::Check(args)) => args.json,
            Self::Parser(ParserCommand::Run(args)) => args.json,
            Self::Exec(_)
            | Self::Unload(_)
            | Self::Attach(_)
            | Self::Detach(_)
            | Self::Parser(ParserCommand::Disasm(_) | ParserCommand::Helpers) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn limits_that_nobody_gives_are_those_of_the_loader() {
        let cli = Cli::parse_from(["ukexec", "inspect", "image.efi"]);
        let Command::Inspect(args) = cli.command else {
            panic!("another command: {:?}", cli.command)
        };
        let options = args.unfolding.options();
        assert_eq!(options.budget, LoaderOptions::default().budget);
    }
}
