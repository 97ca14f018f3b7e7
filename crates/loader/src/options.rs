//! A caller's request: how an image is taken apart, and what for.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ukexec_boot::Platform;
use ukexec_kexec::{LoadKind, MachineState, MoreFlags};
use ukexec_signature::Algorithm;
use ukexec_unfold::Budget;

use crate::config::Config;
use crate::error::{LoaderError, Result};
use crate::report::ReportForm;
use crate::report::sections::Details;

/// How an image is taken apart.
///
/// By default: by its own parser or one that comes with ukexec, in a sandbox,
/// with its own command line, and verified as `/etc/ukexec/ukexec.conf` says.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// The parser for the outermost image, before all others.
    pub parser: Option<PathBuf>,
    /// Whether parsers that images carry may run.
    pub embedded_parsers: bool,
    /// Folders with parsers instead of the system's `parsers.d`.
    pub parsers_dirs: Vec<PathBuf>,
    /// The profile of the outermost image: its number or its ID.
    pub profile: Option<String>,
    /// Initrds for the image's parser, joined in order.
    pub initrds: Vec<PathBuf>,
    /// Whether these initrds are all that the kernel gets: the parser sees none of them, and
    /// that of the image stays out.
    pub replaces_initrd: bool,
    /// Whether sections of the image go along as files below `/.extra/`, as with
    /// systemd-stub.
    pub extra_files: bool,
    /// The files beside the image that go along: [`Companions::Auto`] if nobody says. An
    /// inspection looks for them if somebody does.
    pub companions: Option<Companions>,
    /// Roots of partitions, for the images below them: that of the EFI system partition,
    /// and that of `$BOOT`.
    pub partitions: Vec<PathBuf>,
    /// The boot entry that the image was chosen by.
    pub entry: Option<EntryName>,
    /// Secrets for the next system.
    pub credentials: Vec<CredentialFile>,
    /// Whether the secret of the running boot goes along, if the system is the same.
    pub boot_secret: bool,
    /// The kernel's command line.
    pub cmdline: CmdlineFrom,
    /// Whether the caller's line goes to the kernel byte for byte, as kexec(8)'s callers
    /// expect. It replaces that of an image even where a good signature of the image is
    /// required, if [`Config::personality`] allows it: they give one under Secure Boot, too.
    pub literal_cmdline: bool,
    /// Text to add behind the command line.
    pub append: Option<Vec<u8>>,
    /// Whether a line without the word `console=` gets those of the running kernel.
    pub keep_console: bool,
    /// Whether words are added by which the next system takes no variable of the last boot
    /// for its own.
    pub mask_stale: bool,
    /// The occasion on which the kernel boots.
    pub kind: LoadKind,
    /// Whether the file itself is handed over where the image is the kernel, and nothing has
    /// to be verified: it has attributes that the running kernel may look at.
    pub own_file: bool,
    /// Flags of newer kernels for the call.
    pub more_flags: MoreFlags,
    /// The call that loads it.
    pub syscall: Syscall,
    /// The device tree that the kernel gets.
    pub device_tree: DeviceTreeFrom,
    /// Whether `kexec_load(2)` hands UEFI over to a kernel of x86_64.
    pub efi: bool,
    /// The addresses that `kexec_load(2)` may place a kernel for a reboot at.
    pub window: Range<u64>,
    /// Whether the worker gives its rights away.
    pub sandbox: bool,
    /// The configuration instead of `/etc/ukexec/ukexec.conf`.
    pub config_file: Option<PathBuf>,
    /// The caller's settings, which replace those of the configuration.
    pub config: Config,
    /// The limits of all parsers together.
    pub budget: Budget,
    /// For whom the report is.
    pub form: ReportForm,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            parser: None,
            embedded_parsers: true,
            parsers_dirs: Vec::new(),
            profile: None,
            initrds: Vec::new(),
            replaces_initrd: false,
            extra_files: true,
            companions: None,
            partitions: Vec::new(),
            entry: None,
            credentials: Vec::new(),
            boot_secret: true,
            cmdline: CmdlineFrom::Image,
            literal_cmdline: false,
            append: None,
            keep_console: false,
            mask_stale: false,
            kind: LoadKind::Reboot,
            own_file: false,
            more_flags: MoreFlags::default(),
            syscall: Syscall::Auto,
            device_tree: DeviceTreeFrom::Machine,
            efi: true,
            window: 0..u64::MAX,
            sandbox: true,
            config_file: None,
            config: Config::default(),
            budget: Budget::default(),
            form: ReportForm::default(),
        }
    }
}

impl LoaderOptions {
    /// Refuses options of which one excludes the other.
    pub(crate) fn check(&self) -> Result<()> {
        if self.syscall == Syscall::File && self.device_tree != DeviceTreeFrom::Machine {
            return Err(LoaderError::new(
                "kexec_file_load takes no device tree: leave out --syscall=file or --dtb",
            ));
        }
        Ok(())
    }
}

/// The name of a boot entry, and its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryName {
    /// Its ID.
    pub id: String,
    /// The ID by which systemd-boot knows it.
    pub systemd_boot_id: String,
    /// Its title for people.
    pub title: Option<String>,
    /// Whether the boot loader says that it started it last, with the profile that counts.
    pub selected: bool,
    /// The paths of its initrds, if it is one of a kernel with initrds.
    pub linux: Option<Vec<String>>,
}

/// Whose command line the kernel gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CmdlineFrom {
    /// The image's own.
    Image,
    /// The caller's; bytes, as Linux knows no encoding.
    Caller(Vec<u8>),
    /// The options of a boot entry, as systemd-boot passes them. The image's own line stands
    /// against them where a caller's would be refused.
    Entry(Vec<u8>),
    /// That of the running kernel, without what is about its own boot.
    RunningKernel,
}

/// The call that loads a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syscall {
    /// `kexec_file_load(2)`; the other one where the running kernel lacks it, or where a device
    /// tree goes along.
    #[default]
    Auto,
    /// `kexec_file_load(2)`: the running kernel finds the places, and may verify the kernel.
    File,
    /// `kexec_load(2)`.
    Load,
}

/// The device tree that a kernel gets, where its architecture has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceTreeFrom {
    /// That of the running kernel.
    #[default]
    Machine,
    /// That of the image or of an addon, as systemd-stub chooses it for this machine.
    Image,
    /// The one in this file.
    File(PathBuf),
}

impl From<&OsStr> for DeviceTreeFrom {
    /// A file of the name `image` is `./image`.
    fn from(word: &OsStr) -> Self {
        match word.as_bytes() {
            b"image" => Self::Image,
            _ => Self::File(word.into()),
        }
    }
}

/// The files beside an image that go along, as with systemd-stub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Companions {
    /// Those of the folder beside the image and of its partition.
    #[default]
    Auto,
    /// The same, and each that systemd-stub would take has to be fit for it.
    Strict,
    /// None.
    None,
    /// Those of these folders alone.
    Folders {
        /// In place of `X.efi.extra.d`.
        local: Option<PathBuf>,
        /// In place of the folder `loader` of the partition.
        global: Option<PathBuf>,
    },
}

impl From<&OsStr> for Companions {
    /// A folder of the name `auto` is `./auto`; one with a comma in it cannot be named.
    fn from(word: &OsStr) -> Self {
        match word.as_bytes() {
            b"auto" => Self::Auto,
            b"strict" => Self::Strict,
            b"none" => Self::None,
            folders => {
                let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
                let mut folders = folders.splitn(2, |byte| *byte == b',').map(path);
                let mut next = || folders.next().filter(|path| !path.as_os_str().is_empty());
                Self::Folders {
                    local: next(),
                    global: next(),
                }
            }
        }
    }
}

/// A secret for the next system: its name, and the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFile {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

impl CredentialFile {
    /// Bytes of a name.
    const NAME_MAX: usize = 200;

    /// Reads `NAME=FILE`; a FILE of `-` is standard input.
    ///
    /// # Errors
    ///
    /// There is no `=`, or a NAME that systemd takes for none.
    pub fn parse(word: &OsStr) -> Result<Self, String> {
        let expected = || "expected NAME=FILE".to_owned();
        let bytes = word.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=');
        let (name, file) = at
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or_else(expected)?;
        let file = file.get(1..).filter(|file| !file.is_empty());
        let file = PathBuf::from(OsStr::from_bytes(file.ok_or_else(expected)?));
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let fits = (1..=Self::NAME_MAX).contains(&name.len()) && !matches!(name, b"." | b"..");
        match str::from_utf8(name) {
            Ok(text) if fits && name.iter().all(is_plain) => Ok(Self {
                name: text.to_owned(),
                file,
            }),
            _ => Err(format!(
                "expected a NAME of at most {} letters, digits, dots, - and _",
                Self::NAME_MAX
            )),
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file that holds it.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// The use that an image is taken apart for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Purpose {
    /// A report of layers, their sections, and the operating system.
    Inspect {
        /// With the digests of the parts.
        hash: bool,
        /// With what a measured boot and IMA measure.
        measure: Option<Measure>,
        /// With every section for people, and the texts of some.
        sections: bool,
    },
    /// Its parts.
    Unfold {
        /// With their digests.
        hash: bool,
    },
    /// A kernel for a machine, with what systemd-stub adds to it.
    Load {
        /// The machine, as far as it is known.
        platform: Option<Platform>,
        /// The most that it takes of kernel and initrd.
        room: LoadRoom,
        /// With the digests of the parts, and of what is handed over.
        hash: bool,
    },
    /// A trial of the parser that the image carries: no other parser runs.
    Attach,
}

/// The most bytes that a machine takes of kernel and initrd, where that is known.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct LoadRoom {
    /// For a reboot: Linux takes no more than half of its memory.
    pub(crate) reboot: Option<u64>,
    /// For a crash: the memory that is set aside.
    pub(crate) crash: Option<u64>,
}

impl LoadRoom {
    pub(crate) fn of(machine: &MachineState) -> Self {
        Self {
            reboot: machine.memory.map(|memory| memory / 2),
            crash: machine.crash_size,
        }
    }

    /// Returns the room for a kernel of this kind, and its name.
    pub(crate) fn for_kind(self, kind: LoadKind) -> (Option<u64>, &'static str) {
        match kind {
            LoadKind::Reboot => (self.reboot, "half of this machine's memory"),
            LoadKind::Crash => (self.crash, "the memory for a crash kernel"),
        }
    }
}

/// A report of measurements.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measure {
    /// The banks that people read, and that are compared. If there are none, people
    /// read SHA-256, and all that the machine has are compared.
    pub banks: Vec<Algorithm>,
    /// The machine to compare with. The worker gets its values instead.
    #[serde(skip)]
    pub against: Option<Against>,
}

/// A machine whose TPM measured a boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// This one.
    Tpm,
    /// The one of which this is firmware's event log, or a text with values.
    File(PathBuf),
}

impl Purpose {
    /// Returns the purpose of loading a kernel that `machine` is to take; with `hash`,
    /// digests are reported.
    #[must_use]
    pub fn load(machine: &MachineState, hash: bool) -> Self {
        let room = LoadRoom::of(machine);
        let uname = machine.machine.as_deref();
        let platform = uname.and_then(Platform::from_uname);
        let platform = platform.map(|mut platform| {
            platform.page_size = machine.page_size;
            platform.five_level_paging = machine.five_level_paging;
            platform.efi_32bit = machine.efi_32bit;
            platform
        });
        Self::Load {
            platform,
            room,
            hash,
        }
    }

    /// Returns the name of the command with this purpose.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::Inspect { .. } => "inspect",
            Self::Unfold { .. } => "unfold",
            Self::Load { .. } => "load",
            Self::Attach => "attach",
        }
    }

    /// Returns whether layers are to be reported, and every signature.
    pub(crate) fn is_inspection(&self) -> bool {
        matches!(self, Self::Inspect { .. })
    }

    /// Returns whether what lies beside the image goes along, or is only looked for.
    pub(crate) fn takes_companions(&self, options: &LoaderOptions) -> bool {
        match self {
            Self::Load { .. } => true,
            // A caller who says what goes along wants to see it.
            Self::Inspect { measure, .. } => {
                let is_said = options.companions.is_some()
                    || !options.partitions.is_empty()
                    || options.config.smbios.is_some()
                    || options.keep_console;
                measure.is_some() || is_said
            }
            Self::Unfold { .. } | Self::Attach => false,
        }
    }

    /// Returns what is to take the kernel, if that is known.
    pub(crate) fn platform(&self) -> Option<&Platform> {
        match self {
            Self::Load { platform, .. } => platform.as_ref(),
            Self::Inspect { .. } | Self::Unfold { .. } | Self::Attach => None,
        }
    }

    /// Returns the machine to compare measurements with.
    pub(crate) fn against(&self) -> Option<&Against> {
        match self {
            Self::Inspect { measure, .. } => measure.as_ref()?.against.as_ref(),
            Self::Unfold { .. } | Self::Load { .. } | Self::Attach => None,
        }
    }

    /// Returns what is to be reported of each layer's sections.
    pub(crate) fn details(&self) -> Details {
        Details {
            texts: matches!(self, Self::Inspect { sections: true, .. }),
            hash: matches!(self, Self::Inspect { hash: true, .. }),
        }
    }

    /// Returns whether digests of the parts are to be reported.
    pub(crate) fn hashes(&self) -> bool {
        matches!(
            self,
            Self::Inspect { hash: true, .. }
                | Self::Unfold { hash: true }
                | Self::Load { hash: true, .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use ukexec_boot::Arch;

    use super::*;

    #[test]
    fn a_load_is_for_the_machine_as_it_is() {
        let mut machine = MachineState::default();
        assert!(Purpose::load(&machine, false).platform().is_none());
        machine.machine = Some("x86_64".to_owned());
        machine.page_size = Some(4096);
        machine.five_level_paging = Some(true);
        machine.efi_32bit = Some(true);
        let purpose = Purpose::load(&machine, false);
        let platform = purpose.platform().unwrap();
        assert_eq!(platform.arch, Arch::X86_64);
        let facts = (
            platform.page_size,
            platform.five_level_paging,
            platform.efi_32bit,
        );
        assert_eq!(
            facts,
            (
                machine.page_size,
                machine.five_level_paging,
                machine.efi_32bit
            )
        );
        machine.machine = Some("pdp11".to_owned());
        assert!(Purpose::load(&machine, false).platform().is_none());
    }

    #[test]
    fn companions_are_a_word_or_folders() {
        let of = |word: &str| Companions::from(OsStr::new(word));
        assert_eq!(of("auto"), Companions::Auto);
        assert_eq!(of("strict"), Companions::Strict);
        assert_eq!(of("none"), Companions::None);
        for (word, local, global) in [
            ("./auto", Some("./auto"), None),
            ("a.d", Some("a.d"), None),
            ("a.d,loader", Some("a.d"), Some("loader")),
            ("a.d,b,c", Some("a.d"), Some("b,c")),
            (",loader", None, Some("loader")),
        ] {
            let (local, global) = (local.map(PathBuf::from), global.map(PathBuf::from));
            assert_eq!(of(word), Companions::Folders { local, global }, "{word}");
        }
    }

    #[test]
    fn a_credential_has_a_name_that_systemd_takes() {
        let parse = |word: &str| CredentialFile::parse(OsStr::new(word));
        let long = format!("{}=f", "n".repeat(200));
        for (word, name, file) in [
            (
                "cryptsetup.passphrase=/run/x",
                "cryptsetup.passphrase",
                "/run/x",
            ),
            ("a=-", "a", "-"),
            ("a_b-C.9=b=c", "a_b-C.9", "b=c"),
            ("...=f", "...", "f"),
            (&long, &"n".repeat(200), "f"),
        ] {
            let it = parse(word).unwrap();
            assert_eq!((it.name(), it.file()), (name, Path::new(file)));
        }
        let long = format!("n{long}");
        for word in [
            "", "a", "a=", "=f", ".=f", "..=f", "a/b=f", "a b=f", "\u{e9}=f", &long,
        ] {
            assert!(parse(word).is_err(), "{word}");
        }
    }

    #[test]
    fn digests_and_layers_are_for_those_who_ask() {
        let inspect = |hash| Purpose::Inspect {
            hash,
            measure: Some(Measure::default()),
            sections: true,
        };
        for (purpose, hashes, is_inspection) in [
            (inspect(true), true, true),
            (inspect(false), false, true),
            (Purpose::Unfold { hash: true }, true, false),
            (Purpose::Unfold { hash: false }, false, false),
            (Purpose::load(&MachineState::default(), false), false, false),
        ] {
            assert_eq!(purpose.hashes(), hashes);
            assert_eq!(purpose.is_inspection(), is_inspection);
        }
    }
}
