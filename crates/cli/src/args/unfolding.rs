//! The options that `inspect`, `unfold`, `load` and `parser run` share.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ukexec_bpf::Meter;
use ukexec_loader::report::{Count, Size};
use ukexec_loader::{CmdlineFrom, Config, LoadKind, LoaderOptions, Policy, TrustSource};
use ukexec_unfold::Budget;

use super::headings::{CMDLINE, INPUT};
use crate::console::Form;

/// How an image is taken apart.
#[derive(Debug, Args)]
#[command(next_help_heading = INPUT)]
pub(crate) struct Unfolding {
    /// Parser or parser container for the outermost image
    #[arg(long, value_name = "FILE")]
    pub(crate) parser: Option<PathBuf>,
    /// Run no parser that an image carries, on any layer
    #[arg(long, hide_short_help = true)]
    pub(crate) no_embedded_parser: bool,
    /// Folder of parsers, instead of the system's parsers.d
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(crate) parsers_dir: Vec<PathBuf>,
    /// Profile of the image: its number, or its ID
    ///
    /// The ID is the one in a .profile section of the image.
    #[arg(long, value_name = "ID|N")]
    pub(crate) profile: Option<String>,
    /// Initrd for the image's parser; several are joined
    ///
    /// They are joined in the order of the options.
    #[arg(long, value_name = "FILE", alias = "ramdisk")]
    pub(crate) initrd: Vec<PathBuf>,
    /// For the kernel that a crash boots
    #[arg(short, long)]
    pub(crate) panic: bool,
    /// Command line instead of the image's own
    #[arg(long, value_name = "TEXT", conflicts_with = "reuse_cmdline", help_heading = CMDLINE)]
    #[arg(alias = "command-line")]
    pub(crate) cmdline: Option<OsString>,
    /// Text to add behind the command line
    #[arg(long, value_name = "TEXT", help_heading = CMDLINE)]
    pub(crate) append: Option<OsString>,
    /// The running kernel's command line
    ///
    /// It is used without BOOT_IMAGE= and initrd= and, with --panic, without
    /// crashkernel=.
    #[arg(long, help_heading = CMDLINE)]
    pub(crate) reuse_cmdline: bool,
    #[command(flatten)]
    pub(crate) verify: Verify,
    /// Take the image apart with all your rights instead of in a sandbox
    #[arg(long, help_heading = "Sandbox", hide_short_help = true)]
    pub(crate) no_sandbox: bool,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// The treatment of signatures.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Signatures")]
pub(crate) struct Verify {
    /// Whether a good signature is required
    #[arg(long, value_name = "auto|require|off", value_parser = policies(), hide_short_help = true)]
    pub(crate) verify: Option<Policy>,
    /// Trust these certificates: PEM, DER, PKCS#7 or EFI signature lists, a
    /// folder of such files, or `system` for the machine's own
    #[arg(long, value_name = "FILE|DIR|system", hide_short_help = true)]
    pub(crate) trust: Vec<PathBuf>,
    /// Read UEFI variables from here instead of /sys/firmware/efi
    ///
    /// They are the machine's own keys. They also decide which boot entry is the default, set
    /// for the next boot or selected, and what a load says of the next system.
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(crate) efivars: Option<PathBuf>,
    /// Refuse certificates that are not valid today; firmware does not
    #[arg(long, hide_short_help = true)]
    pub(crate) check_dates: bool,
    /// Configuration instead of /etc/ukexec/ukexec.conf
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) config: Option<PathBuf>,
}

/// The budget of one unfolding.
#[derive(Debug, Args)]
#[command(next_help_heading = "Budget")]
pub(crate) struct Limits {
    /// Instructions that all parsers may run together, such as 20M
    #[arg(long, value_name = "N", default_value = "20M", hide_short_help = true)]
    pub(crate) max_insns: Count,
    /// Stages: parsers that may run one after the other
    #[arg(long, value_name = "N", value_parser = count, default_value = "8")]
    #[arg(hide_short_help = true)]
    pub(crate) max_stages: u32,
    /// Bytes that decompression may write, such as 64M
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1G",
        hide_short_help = true
    )]
    pub(crate) max_output: Size,
    /// Bytes of private memory, such as 64M
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256M",
        hide_short_help = true
    )]
    pub(crate) max_memory: Size,
    /// Lines that parsers may print
    #[arg(long, value_name = "N", value_parser = count, default_value = "1k")]
    #[arg(hide_short_help = true)]
    pub(crate) max_log_lines: u32,
}

impl Unfolding {
    /// Returns how to take an image apart, for a report of this form.
    pub(crate) fn options(&self, form: Form) -> LoaderOptions {
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
                ..Config::default()
            },
            budget: self.limits.budget(),
            form: form.into(),
            ..LoaderOptions::default()
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
                insns: self.max_insns.0,
                memory: self.max_memory.0,
                log_lines: self.max_log_lines,
            },
            stages: self.max_stages,
            output: self.max_output.0,
        }
    }
}

/// Reads a [`Count`] of no more than 32 bits.
fn count(text: &str) -> Result<u32, String> {
    let Count(number) = text.parse().map_err(|error| format!("{error}"))?;
    u32::try_from(number).map_err(|_too_large| format!("expected at most {}", u32::MAX))
}

/// Returns a reader of `--verify`.
fn policies() -> impl TypedValueParser<Value = Policy> {
    let word = |(word, help): (&'static str, &'static str)| PossibleValue::new(word).help(help);
    let words = [
        (
            "auto",
            "Require one under Secure Boot or lockdown; elsewhere verify and report",
        ),
        ("require", "Run, write and boot nothing without one"),
        ("off", "Verify nothing"),
    ];
    PossibleValuesParser::new(words.map(word)).map(|word| match word.as_str() {
        "require" => Policy::Require,
        "off" => Policy::Off,
        _ => Policy::Auto,
    })
}
