//! `/etc/ukexec/ukexec.conf`, and how much verification is asked for.
//!
//! docs/ukexec.conf.md describes the file for its readers.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;
use ukexec_kexec::shown_path;
use ukexec_signature::SecureBoot;

use crate::error::{Context as _, LoaderError, Result};
use crate::files;

/// Where the file is, unless another is named.
pub(crate) const FILE: &str = "/etc/ukexec/ukexec.conf";

/// No configuration is this long.
const LEN_MAX: u64 = 1 << 20;

/// How much verification is asked for: `--verify`, and `verify` in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// As `require` on a machine that verified what it runs, else verify and
    /// report.
    #[default]
    Auto,
    /// Run and boot nothing without a good signature.
    Require,
    /// Verify nothing.
    Off,
}

/// The facts of a machine that decide about [`Policy::Auto`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BootState {
    /// How it was booted.
    pub(crate) secure_boot: SecureBoot,
    /// The kernel is locked down.
    pub(crate) lockdown: bool,
}

/// The consequence of a policy on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Enforcement {
    /// Refuse every image without a good signature.
    Require(Because),
    /// Verify signed images as far as keys are trusted, report, and go on.
    Report,
    /// Verify nothing.
    #[default]
    Off,
}

impl Enforcement {
    /// Returns whether nothing counts that has no good signature.
    pub(crate) fn is_require(self) -> bool {
        matches!(self, Self::Require(_))
    }
}

/// Why good signatures are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Because {
    /// The configuration or the caller says so.
    Asked,
    /// Firmware verified the running system.
    SecureBoot,
    /// The running kernel is locked down.
    Lockdown,
}

impl Because {
    /// Returns a reason that goes on from "a good signature is required, ".
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Asked => "since verify = require",
            Self::SecureBoot => "since Secure Boot is on",
            Self::Lockdown => "since the running kernel is locked down",
        }
    }
}

impl Policy {
    /// Returns the consequence of the policy on `machine`.
    pub(crate) fn on(self, machine: BootState) -> Enforcement {
        match self {
            Self::Off => Enforcement::Off,
            Self::Require => Enforcement::Require(Because::Asked),
            Self::Auto if machine.secure_boot.is_on() => Enforcement::Require(Because::SecureBoot),
            Self::Auto if machine.lockdown => Enforcement::Require(Because::Lockdown),
            Self::Auto => Enforcement::Report,
        }
    }
}

/// The use of the text for the command line in the machine's SMBIOS: `--smbios`, and
/// `smbios` in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmbiosPolicy {
    /// It is added, but in a confidential VM.
    #[default]
    Auto,
    /// It is left out.
    None,
}

/// The differences of `kexec`, which takes the arguments of kexec(8), from `ukexec load`:
/// the table `personality` of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personality {
    /// A caller's command line for an image that has one, where a good signature is required.
    #[serde(default)]
    pub cmdline: LinePolicy,
}

impl Personality {
    /// Returns whether a caller's line may take the place of that of a signed image.
    pub(crate) fn allows_line(self) -> bool {
        self.cmdline == LinePolicy::Allow
    }
}

/// How a caller's command line for an image that has one is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinePolicy {
    /// It replaces the image's, with a note.
    #[default]
    Allow,
    /// It is refused, as `ukexec load` refuses it.
    Refuse,
}

/// Keys that are trusted: an argument of `--trust`, an entry of `trust`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// `system`: what the machine's UEFI variables hold.
    System,
    /// A file, or a folder of files.
    Path(PathBuf),
}

impl From<&Path> for TrustSource {
    /// A file of the name `system` is `./system`.
    fn from(argument: &Path) -> Self {
        if argument == Path::new("system") {
            Self::System
        } else {
            Self::Path(argument.to_owned())
        }
    }
}

/// The settings of the file, or of flags: `None` where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// How much verification is asked for.
    pub verify: Option<Policy>,
    /// Keys that are trusted. An empty list trusts none.
    pub trust: Option<Vec<TrustSource>>,
    /// Where UEFI variables are read from.
    pub efivars: Option<PathBuf>,
    /// Whether certificates count only from their first to their last day.
    pub check_dates: Option<bool>,
    /// Whether SMBIOS adds to command lines.
    pub smbios: Option<SmbiosPolicy>,
    /// Whether a load for a reboot unpacks the initrd.
    pub expand_initrd: Option<bool>,
    /// The differences of `kexec`.
    pub personality: Option<Personality>,
}

impl Config {
    /// Reads the file at `path`; [`FILE`] may be absent.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let failed = || format!("cannot read {}", shown_path(path));
        let text = match files::read_regular(path, LEN_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path == Path::new(FILE) => {
                return Ok(Self::default());
            }
            text => text.context(failed)?,
        };
        let text = str::from_utf8(&text).map_err(LoaderError::new);
        let text = text.context(failed)?;
        Self::parse(text).map_err(|(span, message)| {
            let (path, line) = (shown_path(path), line_of(text, &span));
            LoaderError::new(format!("{path}, line {line}: {message}"))
        })
    }

    /// Returns this with everything replaced that `flags` say. A list of keys
    /// is replaced as a whole.
    pub(crate) fn with_flags(self, flags: Self) -> Self {
        Self {
            verify: flags.verify.or(self.verify),
            trust: flags.trust.or(self.trust),
            efivars: flags.efivars.or(self.efivars),
            check_dates: flags.check_dates.or(self.check_dates),
            smbios: flags.smbios.or(self.smbios),
            expand_initrd: flags.expand_initrd.or(self.expand_initrd),
            personality: flags.personality.or(self.personality),
        }
    }

    /// Returns how much verification is asked for.
    pub(crate) fn policy(&self) -> Policy {
        self.verify.unwrap_or_default()
    }

    /// Returns the keys that are trusted: the machine's own, if nothing is
    /// said.
    pub(crate) fn trust(&self) -> &[TrustSource] {
        self.trust.as_deref().unwrap_or(&[TrustSource::System])
    }

    /// Returns the settings in `text`, or the place of a fault and the fault.
    fn parse(text: &str) -> Result<Self, (Range<usize>, String)> {
        // An error without a place is about the whole file, which begins in line 1.
        let file: File = toml::from_str(text)
            .map_err(|error| (error.span().unwrap_or_default(), error.message().to_owned()))?;
        let trust = file.trust.map(|entries| {
            let sources = entries.into_iter().map(|entry| {
                match TrustSource::from(entry.get_ref().as_path()) {
                    TrustSource::Path(path) => {
                        absolute("trust", &path, entry.span()).map(TrustSource::Path)
                    }
                    TrustSource::System => Ok(TrustSource::System),
                }
            });
            sources.collect::<Result<Vec<_>, _>>()
        });
        let efivars = file
            .efivars
            .map(|path| absolute("efivars", path.get_ref(), path.span()));
        Ok(Self {
            verify: file.verify,
            trust: trust.transpose()?,
            efivars: efivars.transpose()?,
            check_dates: file.check_dates,
            smbios: file.smbios,
            expand_initrd: file.expand_initrd,
            personality: file.personality,
        })
    }
}

/// The file, as TOML.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    verify: Option<Policy>,
    trust: Option<Vec<Spanned<PathBuf>>>,
    efivars: Option<Spanned<PathBuf>>,
    check_dates: Option<bool>,
    smbios: Option<SmbiosPolicy>,
    expand_initrd: Option<bool>,
    personality: Option<Personality>,
}

/// The file is not in the folder that a user happens to be in.
fn absolute(key: &str, path: &Path, span: Range<usize>) -> Result<PathBuf, (Range<usize>, String)> {
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        let message = format!("{key}: expected a path from /, found {path:?}");
        Err((span, message))
    }
}

/// Returns the line, counted from 1, that `span` starts in.
fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.bytes().take(span.start);
    before.filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::efivars;
    use expect_test::{Expect, expect};

    fn read(text: &str) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ukexec.conf");
        fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    fn check(text: &str, expected: Expect) {
        let said = match read(text) {
            Ok(config) => format!("{config:?}"),
            Err(error) => {
                let said = error.to_string();
                let (_, from_name) = said.split_once("ukexec.conf").unwrap();
                format!("ukexec.conf{from_name}")
            }
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn reads_every_key() {
        check(
            "# How we boot.\nverify = \"require\"\ntrust = [\"system\", \"/etc/keys/x.pem\"]\n\
             efivars = \"/srv/efivars\"\ncheck-dates = true\nsmbios = \"none\"\nexpand-initrd = true\npersonality.cmdline = \"refuse\"\n",
            expect![[
                r#"Config { verify: Some(Require), trust: Some([System, Path("/etc/keys/x.pem")]), efivars: Some("/srv/efivars"), check_dates: Some(true), smbios: Some(None), expand_initrd: Some(true), personality: Some(Personality { cmdline: Refuse }) }"#
            ]],
        );
        check(
            "",
            expect![
                "Config { verify: None, trust: None, efivars: None, check_dates: None, smbios: None, expand_initrd: None, personality: None }"
            ],
        );
        check(
            "trust = []",
            expect![
                "Config { verify: None, trust: Some([]), efivars: None, check_dates: None, smbios: None, expand_initrd: None, personality: None }"
            ],
        );
    }

    /// The file that packages ship says the values that count without it.
    #[test]
    fn the_shipped_file_has_the_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/ukexec.conf");
        let shipped = fs::read_to_string(path).unwrap();
        assert_eq!(read(&shipped).unwrap(), Config::default());
        let keys = shipped.lines().filter_map(|line| {
            let key = line.strip_prefix('#')?;
            (!key.starts_with(' ') && key.contains(" = ")).then_some(key)
        });
        let keys = keys.collect::<Vec<_>>().join("\n");
        let (said, unsaid) = (read(&keys).unwrap(), Config::default());
        assert_eq!(said.verify, Some(unsaid.policy()));
        assert_eq!(said.trust(), unsaid.trust());
        assert_eq!(said.efivars.as_deref(), Some(Path::new(efivars::SYSTEM)));
        assert_eq!(said.check_dates, Some(false));
        assert_eq!(said.smbios, Some(SmbiosPolicy::default()));
        assert_eq!(said.personality, Some(Personality::default()));
    }

    #[test]
    fn refuses_keys_that_it_does_not_know() {
        check(
            "verify = \"auto\"\n\nverfy = \"auto\"\n",
            expect![
                "ukexec.conf, line 3: unknown field `verfy`, expected one of `verify`, `trust`, `efivars`, `check-dates`, `smbios`, `expand-initrd`, `personality`"
            ],
        );
        check(
            "check_dates = true",
            expect![
                "ukexec.conf, line 1: unknown field `check_dates`, expected one of `verify`, `trust`, `efivars`, `check-dates`, `smbios`, `expand-initrd`, `personality`"
            ],
        );
        check(
            "[verify]\n",
            expect!["ukexec.conf, line 1: wanted exactly 1 element, found 0 elements"],
        );
    }

    #[test]
    fn a_line_for_kexec_is_allowed_unless_it_is_refused() {
        for (text, allowed) in [
            ("", true),
            ("[personality]", true),
            ("[personality]\ncmdline = \"allow\"", true),
            ("[personality]\ncmdline = \"refuse\"", false),
        ] {
            let personality = read(text).unwrap().personality.unwrap_or_default();
            assert_eq!(personality.allows_line(), allowed, "{text}");
        }
        check(
            "personality.cmdlin = \"allow\"",
            expect!["ukexec.conf, line 1: unknown field `cmdlin`, expected `cmdline`"],
        );
    }

    #[test]
    fn refuses_values_that_it_does_not_know() {
        check(
            "\nverify = \"always\"",
            expect![
                "ukexec.conf, line 2: unknown variant `always`, expected one of `auto`, `require`, `off`"
            ],
        );
        check(
            "verify = true",
            expect!["ukexec.conf, line 1: wanted string or table"],
        );
        check(
            "check-dates = \"yes\"",
            expect![[r#"ukexec.conf, line 1: invalid type: string "yes", expected a boolean"#]],
        );
        check(
            "trust = \"system\"",
            expect![[r#"ukexec.conf, line 1: invalid type: string "system", expected a sequence"#]],
        );
        check(
            "trust = [\n  \"system\",\n  \"x.pem\",\n]",
            expect![[r#"ukexec.conf, line 3: trust: expected a path from /, found "x.pem""#]],
        );
        check(
            "efivars = \"efivars\"",
            expect![[r#"ukexec.conf, line 1: efivars: expected a path from /, found "efivars""#]],
        );
        check(
            "verify = auto",
            expect!["ukexec.conf, line 1: string values must be quoted, expected literal string"],
        );
        check(
            "verify = \"off\"\nverify = \"auto\"",
            expect!["ukexec.conf, line 2: duplicate key"],
        );
    }

    #[test]
    fn only_the_usual_file_may_be_absent() {
        let error = Config::read(Path::new("/nowhere/ukexec.conf")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/ukexec.conf");
    }

    #[test]
    fn only_a_file_with_an_end_is_read() {
        let check = |path: &Path, expected: &str| {
            let error = Config::read(path).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap();
            assert_eq!(cause.to_string(), expected);
        };
        check(
            Path::new("/dev/zero"),
            "expected a regular file, found a device",
        );
        let dir = tempfile::tempdir().unwrap();
        check(dir.path(), "expected a regular file, found a folder");
        let path = dir.path().join("ukexec.conf");
        fs::write(&path, vec![b'#'; 1 + (1 << 20)]).unwrap();
        check(&path, "expected at most 1048576 bytes, found more");
        fs::write(&path, b"verify = \"\xff\"").unwrap();
        check(&path, "invalid utf-8 sequence of 1 bytes from index 10");
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = read("verify = \"require\"\ntrust = [\"/a.pem\"]\ncheck-dates = true").unwrap();
        assert_eq!(file.clone().with_flags(Config::default()), file);
        let trust = vec![TrustSource::from(Path::new("./system"))];
        let flags = Config {
            verify: Some(Policy::Off),
            trust: Some(trust.clone()),
            efivars: Some("/v".into()),
            check_dates: None,
            smbios: Some(SmbiosPolicy::None),
            expand_initrd: Some(false),
            personality: None,
        };
        let both = file.with_flags(flags);
        assert_eq!(both.policy(), Policy::Off);
        assert_eq!(both.trust(), trust);
        assert_eq!(both.efivars, Some("/v".into()));
        assert_eq!(both.check_dates, Some(true));
        assert_eq!(both.smbios, Some(SmbiosPolicy::None));
    }

    #[test]
    fn without_a_word_the_machine_is_trusted_and_decides() {
        let config = Config::default();
        assert_eq!(config.policy(), Policy::Auto);
        assert_eq!(config.trust(), [TrustSource::System]);
    }

    #[test]
    fn auto_requires_on_machines_that_verify() {
        let on = |secure_boot, lockdown| Policy::Auto.on(machine(secure_boot, lockdown));
        assert_eq!(on(false, false), Enforcement::Report);
        assert_eq!(on(true, false), Enforcement::Require(Because::SecureBoot));
        assert_eq!(on(true, true), Enforcement::Require(Because::SecureBoot));
        assert_eq!(on(false, true), Enforcement::Require(Because::Lockdown));
    }

    fn machine(enabled: bool, lockdown: bool) -> BootState {
        BootState {
            secure_boot: SecureBoot {
                enabled: Some(enabled),
                ..SecureBoot::default()
            },
            lockdown,
        }
    }

    #[test]
    fn reasons_are_told() {
        assert_eq!(Because::Asked.reason(), "since verify = require");
        assert_eq!(Because::SecureBoot.reason(), "since Secure Boot is on");
        let lockdown = Because::Lockdown.reason();
        assert_eq!(lockdown, "since the running kernel is locked down");
    }

    #[test]
    fn require_and_off_do_not_look_at_the_machine() {
        for (secure_boot, lockdown) in [(false, false), (true, false), (false, true)] {
            let machine = machine(secure_boot, lockdown);
            let required = Enforcement::Require(Because::Asked);
            assert_eq!(Policy::Require.on(machine), required);
            assert_eq!(Policy::Off.on(machine), Enforcement::Off);
        }
    }
}
