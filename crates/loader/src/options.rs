//! A caller's request: how an image is taken apart, and what for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use ukexec_boot::Platform;
use ukexec_kexec::{LoadKind, MachineState};
use ukexec_signature::Algorithm;
use ukexec_unfold::Budget;

use crate::config::Config;
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
    /// The kernel's command line.
    pub cmdline: CmdlineFrom,
    /// Text to add behind the command line.
    pub append: Option<Vec<u8>>,
    /// The occasion on which the kernel boots.
    pub kind: LoadKind,
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
            cmdline: CmdlineFrom::Image,
            append: None,
            kind: LoadKind::Reboot,
            sandbox: true,
            config_file: None,
            config: Config::default(),
            budget: Budget::default(),
            form: ReportForm::default(),
        }
    }
}

/// Whose command line the kernel gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CmdlineFrom {
    /// The image's own.
    Image,
    /// The caller's; bytes, as Linux knows no encoding.
    Caller(Vec<u8>),
    /// That of the running kernel, without what is about its own boot.
    RunningKernel,
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
        /// With the digests of the parts, and of what is handed over.
        hash: bool,
    },
    /// A trial of the parser that the image carries: no other parser runs.
    Attach,
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
        let uname = machine.machine.as_deref();
        let platform = uname.and_then(Platform::from_uname);
        let platform = platform.map(|mut platform| {
            platform.page_size = machine.page_size;
            platform.five_level_paging = machine.five_level_paging;
            platform.efi_32bit = machine.efi_32bit;
            platform
        });
        Self::Load { platform, hash }
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
