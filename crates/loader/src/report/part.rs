//! The parts of an image: kernel, initrd, command line.

use std::{fmt, io};

use serde::Serialize;
use ukexec_boot::{BootError, Kernel};
use ukexec_bpf::Rope;
use ukexec_pe::ByteRanges;
use ukexec_signature::{Algorithm, Digests, Hex, digests_of};
use ukexec_unfold::PeBytes;

use super::failure::sentence;
use super::layers::line;
use super::size::Size;

/// A part, and its digest where one was asked for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) size: u64,
    /// By SHA-256, if by any.
    #[serde(flatten, serialize_with = "Digests::serialize_by_name")]
    digests: Digests,
}

impl Part {
    /// Reports `rope`; with `hash`, every byte is read.
    pub(crate) fn new(rope: &Rope, hash: bool) -> io::Result<Self> {
        let size = rope.len();
        let digests = if hash {
            let sha256 = [Algorithm::Sha256];
            digests_of(&PeBytes(rope), &ByteRanges::from(0..size), sha256)?
        } else {
            Digests::default()
        };
        Ok(Self { size, digests })
    }

    fn digest_line(&self, report: &mut String) {
        if let Some(digest) = self.digests.get(Algorithm::Sha256) {
            let digest = Hex(digest);
            line(report, format_args!("           sha256 {digest}"));
        }
    }
}

/// The innermost image.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KernelPart {
    #[serde(flatten)]
    pub(crate) part: Part,
    #[serde(flatten)]
    pub(crate) identity: KernelIdentity,
}

/// The kind of kernel, or why it is none.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum KernelIdentity {
    Kernel {
        format: String,
        arch: Option<String>,
        version: Option<String>,
        signed: bool,
        /// Bytes of a command line.
        cmdline_limit: Option<u32>,
    },
    Other {
        not_a_kernel: String,
    },
}

impl KernelIdentity {
    /// Reports the identity of a kernel, or the reason why it is none.
    pub(crate) fn new(identity: &Result<Kernel, BootError>) -> Self {
        match identity {
            Ok(kernel) => Self::Kernel {
                format: kernel.format.to_string(),
                arch: kernel.arch.map(|arch| arch.to_string()),
                version: kernel.version.clone(),
                signed: kernel.signed,
                cmdline_limit: kernel.cmdline_limit(),
            },
            Err(error) => Self::Other {
                not_a_kernel: sentence(error),
            },
        }
    }
}

impl fmt::Display for KernelIdentity {
    /// Writes the kernel's kind, or why it is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel {
                format,
                arch,
                version,
                signed,
                ..
            } => {
                if let Some(arch) = arch {
                    write!(f, "{arch} ")?;
                }
                f.write_str(format)?;
                if let Some(version) = version {
                    write!(f, ", Linux {version}")?;
                }
                f.write_str(if *signed { ", signed" } else { "" })
            }
            Self::Other { not_a_kernel } => f.write_str(not_a_kernel),
        }
    }
}

/// The command line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cmdline {
    #[serde(flatten)]
    part: Part,
    /// Bytes that are no UTF-8 are replaced.
    text: String,
}

impl Cmdline {
    /// Reports `bytes`, which end before the NUL.
    pub(crate) fn new(bytes: &[u8], hash: bool) -> io::Result<Self> {
        Ok(Self {
            part: Part::new(&Rope::from(bytes.to_vec()), hash)?,
            text: String::from_utf8_lossy(bytes).into_owned(),
        })
    }
}

impl fmt::Display for Cmdline {
    /// Writes it with escapes for characters that are not printable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text.escape_debug())
    }
}

/// Adds the lines about all parts to `report`.
pub(super) fn lines(
    kernel: &KernelPart,
    initrd: Option<&Part>,
    cmdline: Option<&Cmdline>,
    report: &mut String,
) {
    let KernelPart { part, identity } = kernel;
    let not = match identity {
        KernelIdentity::Kernel { .. } => "",
        KernelIdentity::Other { .. } => "not a kernel: ",
    };
    let size = Size(part.size);
    line(report, format_args!("kernel     {size}, {not}{identity}"));
    part.digest_line(report);
    match initrd {
        Some(part) => {
            line(report, format_args!("initrd     {}", Size(part.size)));
            part.digest_line(report);
        }
        None => report.push_str("initrd     none\n"),
    }
    match cmdline {
        Some(cmdline) => line(report, format_args!("cmdline    {cmdline}")),
        None => report.push_str("cmdline    none\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rope_hashes_as_its_bytes() {
        let rope = Rope::from(b"abc".to_vec());
        let part = serde_json::to_value(Part::new(&rope, true).unwrap()).unwrap();
        assert_eq!(
            part["sha256"],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let part = serde_json::to_value(Part::new(&rope, false).unwrap()).unwrap();
        assert_eq!(part, serde_json::json!({ "size": 3 }));
    }
}
