//! The command line: what `ukexec --help` prints, and its values.

mod beside;
mod chosen;
mod definition;
mod headings;
mod kexec;
mod parse;
mod parser;
mod unfolding;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use ukexec_loader::{
    Against, Algorithm, CredentialFile, DeviceTreeFrom, LoaderOptions, Measure, Syscall,
};

use self::headings::{CMDLINE, INPUT, OUTPUT};
use crate::console::{Color, Form};

pub(crate) use self::beside::{Beside, Secrets};
pub(crate) use self::chosen::{Chosen, EntryArgs};
pub(crate) use self::kexec::Kexec;
pub(crate) use self::parse::{end, parse};
pub(crate) use self::parser::{
    ParserCheck, ParserCommand, ParserDisasm, ParserHelpers, ParserNew, ParserPack, ParserRun,
    TraceTo,
};
pub(crate) use self::unfolding::{Limits, Unfolding};

const ABOUT: &str = "Boots any UEFI kernel image with kexec: unified kernel images, EFI zboot \
                     kernels, one inside the other, and formats that bring their own parser.";

const EXAMPLES: &str = "\
Examples:
  ukexec inspect debian.efi                        what would this image boot?
  ukexec unfold vmlinuz.efi -o parts               its parts as files
  ukexec load debian.efi && ukexec exec            boot it without the firmware
  ukexec load --entry newest                       the newest kernel that is installed
  ukexec load debian.efi --append debug --dry-run  all except the system call
  ukexec load --panic kdump.efi                    for a crash to boot

As an image, a parser, an initrd or a credential, - stands for standard input,
once at most.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "ukexec", version, about = ABOUT, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much all commands print, and in which colors.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Print more: -v stages and messages, -vv everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    #[arg(help_heading = OUTPUT, display_order = 100)]
    pub(crate) verbose: u8,
    /// Print warnings and errors, no notes, no progress
    #[arg(short, long, global = true, help_heading = OUTPUT, display_order = 101)]
    pub(crate) quiet: bool,
    /// Print colors: auto (on terminals), always or never
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        global = true
    )]
    #[arg(help_heading = OUTPUT, display_order = 102, hide_possible_values = true)]
    #[arg(hide_default_value = true)]
    pub(crate) color: Color,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what an image boots, who signed it, and its layers and sections
    Inspect(Inspect),
    /// Write kernel, initrd and command line of an image as files
    Unfold(Unfold),
    /// Unfold an image and load it, by kexec_file_load(2) or kexec_load(2)
    Load(Load),
    /// List the boot entries of this machine
    Entries(Entries),
    /// Boot the loaded kernel
    Exec(Exec),
    /// Load an image and boot it: load, then exec
    ///
    /// Where something will not work after the boot, it asks on a terminal before it loads
    /// anything. Without a terminal and without --yes, it then refuses.
    Reboot(Reboot),
    /// Drop the loaded kernel
    Unload(Unload),
    /// Print what is loaded, and what this machine can load
    Status(Status),
    /// Do what kexec(8) does, with its arguments
    Kexec(Kexec),
    /// Put a parser into an image, as section .bpf
    Attach(Attach),
    /// Remove the parser from an image
    Detach(Detach),
    /// Check, run and list parsers: for their authors
    #[command(subcommand)]
    Parser(ParserCommand),
}

/// `ukexec inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec inspect debian.efi
  ukexec inspect /boot/efi/EFI/Linux/*.efi
  ukexec inspect debian.efi --json --hash
  ukexec inspect --entry newest
  ukexec inspect debian.efi --measure        what would a TPM record?
  ukexec inspect debian.efi --against tpm    did this machine boot this image?")]
pub(crate) struct Inspect {
    /// Images; a failure of one does not stop the others
    #[arg(value_name = "IMAGE", conflicts_with = "entry")]
    pub(crate) images: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) entry: EntryArgs,
    #[command(flatten)]
    pub(crate) unfolding: Unfolding,
    #[command(flatten)]
    pub(crate) beside: Beside,
    /// Print every section: place, address, permissions
    ///
    /// The sections of every layer, and the texts of small ones.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) sections: bool,
    /// Print the values of PCRs 4 and 11 to 13, and of IMA
    ///
    /// A measured boot extends the registers with them.
    /// The lines of PCR 11 are those of `systemd-measure calculate`; -v adds the events.
    /// IMA measures when the image is loaded. This reads every byte.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) measure: bool,
    /// Compare measurements with the TPM or a file
    ///
    /// A FILE is firmware's event log (binary_bios_measurements), or a text with values
    /// as `systemd-measure` and `tpm2_pcrread` print them. PCR 4 needs an event log. A
    /// difference is an error.
    #[arg(long, value_name = "tpm|FILE", help_heading = OUTPUT)]
    pub(crate) against: Option<PathBuf>,
    /// Measure in this bank, repeatable
    ///
    /// Without it, sha256 is printed, and all banks of the machine are compared.
    #[arg(long, value_name = "BANK", value_parser = banks(), hide_short_help = true, help_heading = OUTPUT)]
    pub(crate) bank: Vec<Algorithm>,
    #[command(flatten)]
    pub(crate) output: ReportOutput,
}

impl Inspect {
    /// Returns what is reported of measurements.
    pub(crate) fn measure(&self) -> Option<Measure> {
        let against = self.against.as_ref().map(|file| match file.as_os_str() {
            // A file of this name is `./tpm`.
            name if name == "tpm" => Against::Tpm,
            _ => Against::File(file.clone()),
        });
        let asked = self.measure || against.is_some() || !self.bank.is_empty();
        asked.then(|| Measure {
            banks: self.bank.clone(),
            against,
        })
    }
}

/// `ukexec unfold`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec unfold debian.efi -o parts          parts/kernel, parts/initrd, parts/cmdline
  ukexec unfold debian.efi -o parts --hash --json
  ukexec unfold odd.img -o parts --parser odd.bpf.o

A part that the image does not have leaves no file. An empty command line is a
file of 0 bytes.")]
pub(crate) struct Unfold {
    #[command(flatten)]
    pub(crate) chosen: Chosen,
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
  ukexec load debian.efi                    its own initrd and command line
  ukexec load vmlinuz --initrd initrd.img --reuse-cmdline
  ukexec load --entry newest
  ukexec load debian.efi --profile factory-reset
  ukexec load debian.efi --credential cryptsetup.passphrase=/run/phrase
  ukexec load --panic kdump.efi             needs crashkernel= on this boot
  ukexec load debian.efi --verify=require --trust /etc/keys/ours.pem")]
pub(crate) struct Load {
    /// Do everything except the system call, and print its arguments
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    #[command(flatten)]
    pub(crate) unfolding: Unfolding,
    /// System call: auto, file (kexec_file_load) or load (kexec_load)
    ///
    /// auto takes kexec_load(2) only where the running kernel lacks kexec_file_load(2), or where
    /// --dtb gives a device tree; a refusal is final. docs/kexec_load.md has the differences.
    #[arg(long, value_name = "CALL", value_parser = syscalls(), default_value = "auto")]
    #[arg(hide_short_help = true, hide_default_value = true)]
    pub(crate) syscall: Syscall,
    /// Device tree for the kernel: a file, or that of the image
    ///
    /// For arm64 and riscv64. Without it, the kernel gets that of the running one. `image`
    /// stands for the one that systemd-stub would install: .dtb, or the .dtbauto that fits this
    /// machine.
    #[arg(long, value_name = "FILE|image", help_heading = INPUT, hide_short_help = true)]
    pub(crate) dtb: Option<OsString>,
    #[command(flatten)]
    pub(crate) beside: Beside,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
    /// Unpack the initrd now, not while the machine boots
    ///
    /// The next kernel then reads a longer initrd and decompresses nothing. docs/downtime.md
    /// says when that is faster. Archives that ukexec does not understand stay as they are.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = INPUT,
        hide_short_help = true
    )]
    pub(crate) expand_initrd: Option<bool>,
    /// Switch off what trusts the last boot's variables
    ///
    /// Adds systemd.mask=systemd-bless-boot.service and systemd.tpm2_measured_os=0 to the
    /// command line, for units of the next system that take the state of the last boot by
    /// firmware for their own. docs/booting.md has the list. A required signature is no
    /// obstacle.
    #[arg(long, help_heading = CMDLINE, hide_short_help = true)]
    pub(crate) mask_stale: bool,
    #[command(flatten)]
    pub(crate) report: ReportOutput,
}

impl Load {
    /// Adds to `options` what is asked of a load alone.
    pub(crate) fn add_to(&self, options: &mut LoaderOptions) {
        self.beside.add_to(options);
        self.secrets.add_to(options);
        options.mask_stale = self.mask_stale;
        options.config.expand_initrd = self.expand_initrd;
        options.syscall = self.syscall;
        if let Some(dtb) = &self.dtb {
            options.device_tree = DeviceTreeFrom::from(dtb.as_os_str());
        }
    }
}

fn syscalls() -> impl TypedValueParser<Value = Syscall> {
    PossibleValuesParser::new(["auto", "file", "load"]).map(|word| match word.as_str() {
        "file" => Syscall::File,
        "load" => Syscall::Load,
        _ => Syscall::Auto,
    })
}

/// `ukexec entries`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec entries
  ukexec entries --esp /mnt/esp
  ukexec entries --root /mnt/system --json
  ukexec load --entry newest

Nothing on the partitions is written. docs/boot-entries.md describes how ukexec finds, sorts and
names entries.")]
pub(crate) struct Entries {
    /// Root of the EFI system partition
    #[arg(long, value_name = "DIR", help_heading = INPUT)]
    pub(crate) esp: Option<PathBuf>,
    /// Root of the partition XBOOTLDR, which bootctl calls $BOOT
    #[arg(long, value_name = "DIR", help_heading = INPUT)]
    pub(crate) boot: Option<PathBuf>,
    /// Look for both partitions below this folder; no UEFI variable counts then
    #[arg(long, value_name = "DIR", help_heading = INPUT)]
    pub(crate) root: Option<PathBuf>,
    /// Read UEFI variables from here instead of /sys/firmware/efi
    #[arg(long, value_name = "DIR", help_heading = INPUT)]
    pub(crate) efivars: Option<PathBuf>,
    /// Print one JSON document (schema 1)
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

/// `ukexec exec`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec exec            systemd stops the services, then boots the kernel
  ukexec exec --force    sync and reboot(2) at once; nothing stops the services

Without systemd, only --force boots.")]
pub(crate) struct Exec {
    /// Boot at once by sync and reboot(2), without stopping services
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove the variable LoaderEntryOneShot before the boot
    ///
    /// systemd-boot would start the entry that it names in the next boot by firmware. If it
    /// cannot be removed, nothing is booted. It is always this machine's own.
    #[arg(long)]
    pub(crate) clear_oneshot: bool,
}

/// `ukexec reboot`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec reboot debian.efi             load it, stop the services, boot it
  ukexec reboot --entry newest --yes   and ask nothing
  ukexec reboot debian.efi --dry-run   what would be loaded, and what will not work")]
pub(crate) struct Reboot {
    /// Do not ask where something will not work after the boot
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) exec: Exec,
    #[command(flatten)]
    pub(crate) load: Load,
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
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

/// `ukexec attach`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ukexec attach vmlinuz.efi zboot.bpf.o -o vmlinuz-bpf.efi
  ukexec attach signed.efi my.bpf.o -o out.efi --drop-signature

The parser runs once, in the sandbox. The image is written only if it hands over a kernel.")]
pub(crate) struct Attach {
    /// The image
    pub(crate) image: PathBuf,
    /// The parser: a BPF object
    pub(crate) parser: PathBuf,
    /// The image to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Drop the image's signature, which the change makes void
    #[arg(long)]
    pub(crate) drop_signature: bool,
    /// Attach a parser that fails on this image, too
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Try the parser with all your rights instead of in a sandbox
    #[arg(long, help_heading = "Sandbox", hide_short_help = true)]
    pub(crate) no_sandbox: bool,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// `ukexec detach`
#[derive(Debug, Args)]
pub(crate) struct Detach {
    /// The image
    pub(crate) image: PathBuf,
    /// The image to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Drop the image's signature, which the change makes void
    #[arg(long)]
    pub(crate) drop_signature: bool,
}

/// How results are printed.
#[derive(Debug, Args)]
#[command(next_help_heading = OUTPUT)]
pub(crate) struct ReportOutput {
    /// Print a JSON document (schema 1)
    ///
    /// With several images, each document is one line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the SHA-256 of every part
    ///
    /// This reads every byte.
    #[arg(long)]
    pub(crate) hash: bool,
}

fn banks() -> impl TypedValueParser<Value = Algorithm> {
    PossibleValuesParser::new(["sha256", "sha384"]).map(|bank| match bank.as_str() {
        "sha384" => Algorithm::Sha384,
        _ => Algorithm::Sha256,
    })
}

impl Command {
    /// Returns the files to read that the caller names for this run, each of which
    /// may be standard input.
    pub(crate) fn inputs(&self) -> Vec<&Path> {
        let (files, unfolding) = match self {
            Self::Inspect(args) => {
                let files = args.images.iter().chain(&args.against);
                (files.collect(), Some(&args.unfolding))
            }
            Self::Unfold(args) => (args.chosen.image.iter().collect(), Some(&args.unfolding)),
            Self::Load(args) | Self::Reboot(Reboot { load: args, .. }) => {
                (args.chosen.image.iter().collect(), Some(&args.unfolding))
            }
            Self::Attach(args) => (vec![&args.image, &args.parser], None),
            Self::Detach(args) => (vec![&args.image], None),
            Self::Parser(ParserCommand::Check(args)) => (vec![&args.file], None),
            Self::Parser(ParserCommand::Disasm(args)) => (vec![&args.file], None),
            Self::Parser(ParserCommand::Pack(args)) => {
                (args.parsers.iter().chain(&args.nested).collect(), None)
            }
            Self::Parser(ParserCommand::Run(args)) => {
                let files = [&args.file, &args.image].into_iter();
                (files.chain(&args.initrd).collect(), None)
            }
            Self::Entries(_)
            | Self::Exec(_)
            | Self::Unload(_)
            | Self::Status(_)
            | Self::Kexec(_)
            | Self::Parser(ParserCommand::New(_) | ParserCommand::Helpers(_)) => (Vec::new(), None),
        };
        let more = unfolding.map(|args| args.initrd.iter().chain(&args.parser));
        let more = more.into_iter().flatten();
        let secrets = match self {
            Self::Load(args) | Self::Reboot(Reboot { load: args, .. }) => {
                args.secrets.credential.as_slice()
            }
            _ => &[],
        };
        files
            .into_iter()
            .chain(more)
            .map(PathBuf::as_path)
            .chain(secrets.iter().map(CredentialFile::file))
            .collect()
    }

    /// Returns whether the caller names no image where one is needed.
    fn is_without_image(&self) -> bool {
        let (is_named, entry) = match self {
            Self::Inspect(args) => (!args.images.is_empty(), &args.entry),
            Self::Unfold(args) => (args.chosen.image.is_some(), &args.chosen.entry),
            Self::Load(args) | Self::Reboot(Reboot { load: args, .. }) => {
                (args.chosen.image.is_some(), &args.chosen.entry)
            }
            _ => return false,
        };
        !is_named && entry.wanted().is_none()
    }

    /// Returns how the caller wants results printed.
    pub(crate) fn form(&self) -> Form {
        let (json, several) = match self {
            Self::Inspect(args) => (args.output.json, args.images.len() > 1),
            Self::Unfold(args) => (args.report.json, false),
            Self::Load(args) | Self::Reboot(Reboot { load: args, .. }) => (args.report.json, false),
            Self::Status(args) => (args.json, false),
            Self::Entries(args) => (args.json, false),
            Self::Parser(ParserCommand::Check(args)) => (args.json, false),
            Self::Parser(ParserCommand::Run(args)) => (args.json, false),
            Self::Parser(ParserCommand::Helpers(args)) => (args.json, false),
            Self::Exec(_)
            | Self::Unload(_)
            | Self::Kexec(_)
            | Self::Attach(_)
            | Self::Detach(_)
            | Self::Parser(
                ParserCommand::New(_) | ParserCommand::Pack(_) | ParserCommand::Disasm(_),
            ) => (false, false),
        };
        match (json, several) {
            (false, _) => Form::Text,
            (true, false) => Form::Json,
            (true, true) => Form::JsonLine,
        }
    }
}
