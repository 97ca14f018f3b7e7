//! Why the kernel refuses, in words.

use std::fmt;

use crate::machine::{LoadKind, Lockdown};

/// Why the kernel refuses, as far as the machine's state tells.
///
/// `Display` says what is the matter, [`RefusalCause::advice`] what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalCause {
    /// The process lacks `CAP_SYS_BOOT`.
    NoCapability,
    /// The process is in a user namespace.
    UserNamespace,
    /// `kernel.kexec_load_disabled` is set.
    LoadDisabled,
    /// A `kernel.kexec_load_limit_*` is used up.
    LimitUsedUp {
        /// Of which kind of loads.
        kind: LoadKind,
    },
    /// The kernel is locked down and trusts no signature on the image.
    Lockdown {
        /// How far.
        level: Lockdown,
        /// Whether the kernel was taken out of another image.
        unfolded: bool,
    },
    /// LoadPin lets only files of one file system be loaded.
    LoadPin {
        /// Whether the kernel was taken out of another image.
        unfolded: bool,
    },
    /// Forbidden, and no reason is to be seen.
    Forbidden,
    /// A security module refuses the file.
    SecurityModule {
        /// Whether IMA is known to ask for a signature.
        ima: bool,
        /// Whether the kernel was taken out of another image.
        unfolded: bool,
    },
    /// No memory is reserved for a crash kernel.
    NoReservation,
    /// The flag that asks for a log is not known.
    NoDebug,
    /// The image is for another kind of machine, or the command line too long.
    Unfit {
        /// The running machine.
        machine: Option<String>,
        /// Bytes of the command line.
        cmdline_len: usize,
        /// Whether `elfcorehdr=` is added to it.
        crash: bool,
    },
    /// No loader of the running kernel knows the image.
    UnknownImage {
        /// The running machine.
        machine: Option<String>,
    },
    /// Another kexec operation is under way.
    Busy,
    /// The reservation is too small.
    ReservationTooSmall {
        /// Its size in bytes, if known.
        size: Option<u64>,
    },
    /// No free memory has the place and size that the kernel needs.
    NoPlace,
    /// The file is open for writing somewhere.
    OpenForWriting {
        /// Whether the kernel was taken out of another image.
        unfolded: bool,
    },
    /// The kernel has no signature, and must have one.
    Unsigned {
        /// Whether the kernel was taken out of another image.
        unfolded: bool,
    },
    /// The signature does not fit the kernel.
    BadSignature {
        /// Whether the kernel was taken out of another image.
        unfolded: bool,
    },
    /// The signature's key is not in the keyrings.
    UnknownKey,
    /// The signature's key is in the keyrings, and has expired.
    ExpiredKey,
    /// The signature's key is in the keyrings, and was revoked.
    RevokedKey,
    /// The running kernel lacks an algorithm of the signature.
    NoAlgorithm,
    /// The signature cannot be read.
    MalformedSignature,
    /// The kernel is no proper PE file, so that its signature cannot be looked at.
    MalformedPe,
    /// `kexec_file_load` is missing.
    NoFileLoad {
        /// The running kernel.
        release: Option<String>,
    },
    /// The running kernel has no kexec at all.
    NoKexec,
    /// The files do not fit into memory.
    TooLarge,
    /// The files or the command line exceed a limit of the running kernel.
    OverLimit {
        /// Bytes of the command line.
        cmdline_len: usize,
    },
    /// A file could not be read.
    Unreadable,
    /// A signal came in between.
    Interrupted,
    /// Something was missing for the moment.
    NotNow,
    /// A device is missing.
    NoDevice {
        /// Whether the kernel was taken out of another image.
        unfolded: bool,
    },
    /// This machine cannot do it.
    Unsupported,
    /// No kernel is loaded.
    NothingLoaded,
    /// A container may not boot the machine.
    Container,
    /// Nothing is known about it.
    Unexplained,
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapability => f.write_str("this process lacks CAP_SYS_BOOT"),
            Self::UserNamespace => f.write_str(
                "this process is in a user namespace (a rootless container), whose root may not \
                 load kernels",
            ),
            Self::LoadDisabled => f.write_str("kernel.kexec_load_disabled is 1"),
            Self::LimitUsedUp { kind } => write!(
                f,
                "kernel.{} is 0: the loads that it allowed are used up, failed ones and unloads \
                 included",
                limit_name(*kind)
            ),
            Self::Lockdown { level, unfolded } => write!(
                f,
                "the running kernel is locked down ({}) and takes only a kernel with a signature \
                 that it trusts{}",
                level.name(),
                envelope(*unfolded)
            ),
            Self::LoadPin { unfolded } => write!(
                f,
                "LoadPin lets the running kernel load files of one file system only{}",
                if *unfolded {
                    ", and what was unfolded lies in memory"
                } else {
                    ""
                }
            ),
            Self::Forbidden => f.write_str(
                "a security policy forbids it; capabilities, sysctls and lockdown, as far as they \
                 can be seen, do not",
            ),
            Self::SecurityModule { ima, unfolded } => {
                f.write_str(if *ima {
                    "the IMA policy asks for a file signature (security.ima)"
                } else {
                    "a security module (IMA appraisal, SELinux) refuses the file"
                })?;
                f.write_str(if *unfolded {
                    "; what was unfolded lies in memory and cannot carry security.ima"
                } else {
                    ""
                })
            }
            Self::NoReservation => f.write_str("no memory is reserved for a crash kernel"),
            Self::NoDebug => f.write_str("the running kernel is older than 6.8 and cannot log it"),
            Self::Unfit {
                machine,
                cmdline_len,
                crash,
            } => write!(
                f,
                "the image is not for this machine{}, or the command line ({cmdline_len} \
                 bytes{}) is too long for it",
                in_brackets(machine.as_deref()),
                if *crash { " and elfcorehdr=" } else { "" }
            ),
            Self::UnknownImage { machine } => write!(
                f,
                "no loader of the running kernel{} knows the image",
                in_brackets(machine.as_deref())
            ),
            Self::Busy => f.write_str("another kexec operation is under way"),
            Self::ReservationTooSmall { size } => {
                f.write_str("kernel and initrd do not fit into the crash reservation")?;
                size.map_or(Ok(()), |size| write!(f, " of {} MiB", size >> 20))
            }
            Self::NoPlace => {
                f.write_str("no free memory has the place and the size that the kernel needs")
            }
            Self::OpenForWriting { unfolded } => f.write_str(if *unfolded {
                "a file in memory that was handed over is still open for writing"
            } else {
                "the file is open for writing somewhere"
            }),
            Self::Unsigned { unfolded } => write!(
                f,
                "the running kernel takes signed kernels only, and this one is not signed{}",
                envelope(*unfolded)
            ),
            Self::BadSignature { unfolded } => write!(
                f,
                "the kernel's signature is missing or does not fit its bytes{}",
                envelope(*unfolded)
            ),
            Self::UnknownKey => f.write_str(
                "the key that signed the kernel is not in the running kernel's keyrings",
            ),
            Self::ExpiredKey => f.write_str(
                "the key that signed the kernel is in the running kernel's keyrings, but has expired",
            ),
            Self::RevokedKey => f.write_str(
                "the key that signed the kernel is in the running kernel's keyrings, but was revoked",
            ),
            Self::NoAlgorithm => {
                f.write_str("the running kernel lacks an algorithm that the signature uses")
            }
            Self::MalformedSignature => f.write_str("the kernel's signature is malformed (PKCS#7)"),
            Self::MalformedPe => {
                f.write_str("the kernel is no well-formed PE file, which its signature needs")
            }
            Self::NoFileLoad { release } => write!(
                f,
                "the running kernel{} was built without CONFIG_KEXEC_FILE, or a container hides \
                 the call",
                in_brackets(release.as_deref())
            ),
            Self::NoKexec => f.write_str("the running kernel was built without CONFIG_KEXEC_CORE"),
            Self::TooLarge => f.write_str("kernel and initrd are too large for the free memory"),
            Self::OverLimit { cmdline_len } => write!(
                f,
                "kernel, initrd or command line ({cmdline_len} bytes) are longer than the running \
                 kernel takes"
            ),
            Self::Unreadable => f.write_str("the running kernel could not read the files"),
            Self::Interrupted => f.write_str("a signal interrupted it"),
            Self::NotNow => f.write_str("the running kernel lacked something for the moment"),
            Self::NoDevice { unfolded } => f.write_str(if *unfolded {
                "a device that the running kernel needs for it is missing"
            } else {
                "a device that the running kernel needs for it is missing, such as the one that \
                 holds the file"
            }),
            Self::Unsupported => f.write_str(
                "this machine does not support kexec as it runs now: its firmware, processors or \
                 memory encryption (TDX, SEV) do not, or the file system of the files",
            ),
            Self::NothingLoaded => f.write_str("no kernel is loaded"),
            Self::Container => f.write_str("this process is in a container"),
            Self::Unexplained => f.write_str("ukexec does not know this answer"),
        }
    }
}

impl RefusalCause {
    /// Returns what to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoCapability => "run it as root",
            Self::UserNamespace | Self::Container => "run it on the machine itself",
            Self::LoadDisabled => {
                "it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d"
            }
            Self::LimitUsedUp { .. } => "it cannot be raised before the next boot",
            Self::Lockdown { .. } | Self::Unsigned { .. } | Self::BadSignature { .. } => {
                "sign the kernel itself with a key that the machine trusts, before it is put into \
                 an image, or boot with Secure Boot and lockdown off"
            }
            Self::LoadPin { .. } => {
                "load a kernel that needs no unfolding from that file system, or boot with \
                 loadpin.enforce=0"
            }
            Self::Forbidden | Self::Unexplained | Self::NoDevice { .. } => {
                "the kernel log may say more: `dmesg | tail`"
            }
            Self::SecurityModule { unfolded: true, .. } => {
                "load a kernel that needs no unfolding and carries its own signature, or change \
                 the policy; the audit log has the rule"
            }
            Self::SecurityModule {
                unfolded: false, ..
            } => {
                "sign the file (`evmctl ima_sign`), label it, or change the policy; the audit log \
                 has the rule"
            }
            Self::NoReservation => {
                "boot with crashkernel= on the command line (crashkernel=512M suits most machines)"
            }
            Self::NoDebug => "load it without the log",
            Self::Unfit { .. } | Self::UnknownImage { .. } => {
                "`ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed"
            }
            Self::Busy | Self::Interrupted | Self::NotNow => "try again",
            Self::ReservationTooSmall { .. } => {
                "boot with a larger crashkernel=, or give a smaller initrd"
            }
            Self::NoPlace | Self::TooLarge => "free some memory, or give a smaller initrd",
            Self::OpenForWriting { unfolded: false } => {
                "wait for the writer or stop it (`fuser -v IMAGE` names it), then try again"
            }
            Self::OpenForWriting { unfolded: true } => {
                "this should not happen: please report it, with the image"
            }
            Self::UnknownKey => {
                "enrol the key (db or MOK), or sign the kernel with one that is: \
                 `keyctl show %:.platform` lists them"
            }
            Self::ExpiredKey | Self::RevokedKey => {
                "sign the kernel with a key that is valid: `keyctl show %:.platform` lists them"
            }
            Self::NoAlgorithm => "sign the kernel with RSA and SHA-256",
            Self::MalformedSignature | Self::MalformedPe => "sign the kernel again",
            Self::NoFileLoad { .. } => {
                "boot a kernel with CONFIG_KEXEC_FILE=y (not every distribution sets it on every \
                 architecture)"
            }
            Self::NoKexec => "boot a kernel with CONFIG_KEXEC_FILE=y",
            Self::OverLimit { .. } => "give a smaller initrd or a shorter command line",
            Self::Unsupported => "reboot through the firmware; `dmesg | tail` may say more",
            Self::Unreadable => "check the medium; `dmesg | tail` may say more",
            Self::NothingLoaded => "run `ukexec load IMAGE` first",
        }
    }
}

fn limit_name(kind: LoadKind) -> &'static str {
    match kind {
        LoadKind::Reboot => "kexec_load_limit_reboot",
        LoadKind::Crash => "kexec_load_limit_panic",
    }
}

/// A signature around the image is not what the kernel looks at.
fn envelope(unfolded: bool) -> &'static str {
    if unfolded {
        "; what counts is the signature of the kernel inside the image, not the one around it"
    } else {
        ""
    }
}

fn in_brackets(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" ({text})"))
}
