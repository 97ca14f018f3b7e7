//! The options about what lies beside an image: of `inspect` and `load`, and of `load`
//! alone.

use std::ffi::OsString;

use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use ukexec_loader::{Companions, CredentialFile, LoaderOptions, SmbiosPolicy};

use super::headings::{CMDLINE, INPUT};

/// Additions of a boot to an image.
#[derive(Debug, Args)]
#[command(next_help_heading = INPUT)]
pub(crate) struct Beside {
    /// Files beside it: auto|strict|none|FOLDERS
    ///
    /// They are addons, credentials and extensions. auto takes those of IMAGE.extra.d and of
    /// the folder `loader` of the image's partition, as systemd-stub does; strict refuses the
    /// image where one has to be passed over; none takes none. FOLDERS are LOCAL or LOCAL,GLOBAL:
    /// LOCAL stands for IMAGE.extra.d, GLOBAL for `loader`, and no other folder counts then. docs/companions.md has the rules.
    #[arg(long, value_name = "WHICH")]
    #[arg(value_parser = OsStringValueParser::new().try_map(companions))]
    companions: Option<Companions>,
    /// Whether the machine's SMBIOS adds to the command line
    #[arg(long, value_name = "auto|none", value_parser = smbios(), hide_short_help = true)]
    #[arg(help_heading = CMDLINE)]
    smbios: Option<SmbiosPolicy>,
    /// Add the running kernel's console= words to a line without any
    #[arg(long, value_name = "keep", value_parser = ["keep"], hide_short_help = true)]
    #[arg(hide_possible_values = true, help_heading = CMDLINE)]
    console: Option<String>,
}

/// Secrets that the next system gets.
#[derive(Debug, Args)]
#[command(next_help_heading = INPUT)]
pub(crate) struct Secrets {
    /// Credential for the next system, repeatable
    ///
    /// systemd 262 and newer read it from /.extra/system_credentials of the initrd. A FILE
    /// of - is standard input. It has 1 MiB at most.
    #[arg(long, value_name = "NAME=FILE", hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().try_map(credential))]
    pub(crate) credential: Vec<CredentialFile>,
    /// Whether the secret of this boot goes along, if the system is the same
    ///
    /// auto hands over /run/systemd/stub/boot-secret where the image's operating system is
    /// the one that it was made for.
    #[arg(long, value_name = "auto|none", value_parser = ["auto", "none"], hide_short_help = true)]
    #[arg(hide_possible_values = true)]
    boot_secret: Option<String>,
}

impl Beside {
    /// Adds what they say to `options`.
    pub(crate) fn add_to(&self, options: &mut LoaderOptions) {
        options.companions.clone_from(&self.companions);
        options.config.smbios = self.smbios;
        options.keep_console = self.console.is_some();
    }
}

impl Secrets {
    /// Adds what they say to `options`.
    pub(crate) fn add_to(&self, options: &mut LoaderOptions) {
        options.credentials.clone_from(&self.credential);
        options.boot_secret = self.boot_secret.as_deref() != Some("none");
    }

    /// Returns whether a name is there twice.
    pub(crate) fn repeats_itself(&self) -> bool {
        let names = self.credential.iter().map(CredentialFile::name);
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
            .windows(2)
            .any(|two| matches!(two, [one, next] if one == next))
    }
}

fn companions(word: OsString) -> Result<Companions, &'static str> {
    match Companions::from(word.as_os_str()) {
        Companions::Folders {
            local: None,
            global: None,
        } => Err("expected auto, strict, none or a folder"),
        companions => Ok(companions),
    }
}

fn credential(word: OsString) -> Result<CredentialFile, String> {
    CredentialFile::parse(&word)
}

/// Returns a reader of `--smbios`.
fn smbios() -> impl TypedValueParser<Value = SmbiosPolicy> {
    let words = [
        ("auto", "Add the text for it, but in a confidential VM"),
        ("none", "Add nothing"),
    ];
    let word = |(word, help): (&'static str, &'static str)| PossibleValue::new(word).help(help);
    PossibleValuesParser::new(words.map(word)).map(|word| match word.as_str() {
        "none" => SmbiosPolicy::None,
        _ => SmbiosPolicy::Auto,
    })
}
