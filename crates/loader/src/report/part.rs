//! The parts of an image: kernel, initrd, command line.

use std::io;
use std::ops::Range;

use serde::Serialize;
use ukexec_boot::{BootError, InitrdArchives, Kernel};
use ukexec_bpf::Rope;
use ukexec_signature::{Algorithm, Digests, Hex, digests_of};
use ukexec_unfold::PeBytes;

use super::failure::sentence;
use super::page::{Page, Style, Text};
use super::size::Size;
use crate::digest::digest_state;

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
        let digests = match hash {
            true => digest_of(rope, 0..size)?,
            false => Digests::default(),
        };
        Ok(Self { size, digests })
    }

    pub(super) fn digest_row(&self, page: &mut Page) {
        if let Some(digest) = digest_text(&self.digests) {
            page.whole("", digest);
        }
    }
}

/// Returns the SHA-256 of bytes of `rope`.
pub(super) fn digest_of(rope: &Rope, range: Range<u64>) -> io::Result<Digests> {
    digests_of(
        &PeBytes(rope),
        &range.into(),
        [Algorithm::Sha256],
        digest_state,
    )
}

/// Returns the text of a digest, if there is one.
pub(super) fn digest_text(digests: &Digests) -> Option<Text> {
    let digest = Hex(digests.get(Algorithm::Sha256)?);
    Some(Text::styled(Style::Dim, format!("sha256 {digest}")))
}

/// The innermost image.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KernelPart {
    #[serde(flatten)]
    pub(crate) identity: KernelIdentity,
    #[serde(flatten)]
    pub(crate) part: Part,
}

/// The kind of kernel, or why it is none.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum KernelIdentity {
    Kernel {
        /// As `uname -r` would print it.
        release: Option<String>,
        version: Option<String>,
        format: String,
        arch: Option<String>,
        signed: bool,
        /// Bytes of a command line.
        cmdline_limit: Option<u32>,
    },
    Other {
        not_a_kernel: String,
    },
}

impl KernelIdentity {
    /// Reports the identity of a kernel, or the reason why it is none; of one that
    /// `is_inner`, without what to do, since nobody gave that.
    pub(crate) fn new(identity: &Result<Kernel, BootError>, is_inner: bool) -> Self {
        match identity {
            Ok(kernel) => Self::Kernel {
                release: kernel.release().map(str::to_owned),
                version: kernel.version.clone(),
                format: kernel.format.to_string(),
                arch: kernel.arch.map(|arch| arch.to_string()),
                signed: kernel.signed,
                cmdline_limit: kernel.cmdline_limit(),
            },
            Err(error) => Self::Other {
                not_a_kernel: if is_inner {
                    error.reason()
                } else {
                    sentence(error)
                },
            },
        }
    }
}

impl KernelPart {
    /// Reports the kernel `rope`, which is what `identity` says.
    pub(crate) fn new(
        rope: &Rope,
        identity: &Result<Kernel, BootError>,
        is_inner: bool,
        hash: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            identity: KernelIdentity::new(identity, is_inner),
            part: Part::new(rope, hash)?,
        })
    }

    /// Adds the kernel, beside an image for `image_arch`.
    pub(crate) fn rows(&self, image_arch: Option<&str>, page: &mut Page) {
        let size = Size(self.part.size);
        let text = match &self.identity {
            KernelIdentity::Kernel {
                version,
                format,
                arch,
                ..
            } => {
                let version = version.as_deref().map(|version| {
                    let (release, build) = shortened(version);
                    let build = build.map(|build| format!(" ({build})"));
                    format!("Linux {release}{}", build.unwrap_or_default())
                });
                let arch = arch
                    .clone()
                    .filter(|arch| Some(arch.as_str()) != image_arch);
                let facts = version.into_iter().chain(arch);
                let facts: Vec<String> = facts.chain([format.clone(), size.to_string()]).collect();
                Text::from(facts.join(", "))
            }
            KernelIdentity::Other { not_a_kernel } => {
                Text::from(format!("{size}, ")).and(Style::Bad, not_a_kernel)
            }
        };
        page.row("boots", text);
        self.part.digest_row(page);
    }
}

/// Columns of what is shown of a version beside the release.
const BUILD_MAX: usize = 40;

/// Splits a version into the release and, as far as they are short, the words that
/// name the build: behind its number and its options, before its date, as in
/// `6.1.0-56-amd64 (builder@host) (gcc) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-01-01)`.
fn shortened(version: &str) -> (&str, Option<&str>) {
    let (release, rest) = version.split_once(' ').unwrap_or((version, ""));
    let build = match rest.split_once('#') {
        Some((_, numbered)) => {
            let mut build = numbered.split_once(' ').unwrap_or_default().1;
            while let Some((option, rest)) = build.split_once(' ')
                && is_option(option)
            {
                build = rest;
            }
            build.split(" (").next().unwrap_or_default()
        }
        None => rest.trim_matches(['(', ')']),
    };
    let is_shown = (1..=BUILD_MAX).contains(&build.chars().count()) && !is_option(build);
    (release, is_shown.then_some(build))
}

/// Returns whether a word of a version is an option of the kernel, such as `SMP`.
fn is_option(word: &str) -> bool {
    let is_capital = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    word.len() > 1 && word.bytes().all(is_capital)
}

/// The initrd, without the files that a load puts behind it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InitrdPart {
    /// How its archives are packed, in order.
    compression: Vec<&'static str>,
    /// Nobody looked for more of them.
    #[serde(skip)]
    may_have_more: bool,
    #[serde(flatten)]
    pub(crate) part: Part,
}

impl InitrdPart {
    /// Reports `rope`; with `hash`, every byte is read.
    pub(crate) fn new(rope: &Rope, hash: bool) -> io::Result<Self> {
        let archives = InitrdArchives::find(&PeBytes(rope)).map_err(io::Error::other)?;
        Ok(Self {
            compression: archives.packed,
            may_have_more: archives.may_have_more,
            part: Part::new(rope, hash)?,
        })
    }

    fn text(&self) -> String {
        let Self {
            compression, part, ..
        } = self;
        let mut text = Size(part.size).to_string();
        if !compression.is_empty() {
            text.push_str(", ");
            text.push_str(&compression.join(" + "));
        }
        if self.may_have_more {
            text.push_str(" + ...");
        }
        text
    }
}

/// Adds the initrd, if there is one, and the `extra` files behind it.
pub(crate) fn initrd_rows<'a>(
    initrd: Option<&InitrdPart>,
    extra: impl Iterator<Item = &'a str>,
    page: &mut Page,
) {
    let mut text = initrd.map_or_else(|| "none".to_owned(), InitrdPart::text);
    let extra: Vec<&str> = extra.collect();
    if !extra.is_empty() {
        text.push_str("; with ");
        text.push_str(&extra.join(", "));
    }
    page.row("initrd", text);
    if let Some(initrd) = initrd {
        initrd.part.digest_row(page);
    }
}

/// The command line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cmdline {
    /// Bytes that are no UTF-8 are replaced.
    text: String,
    #[serde(flatten)]
    part: Part,
}

impl Cmdline {
    /// Reports `bytes`, which end before the NUL.
    pub(crate) fn new(bytes: &[u8], hash: bool) -> io::Result<Self> {
        Ok(Self {
            text: String::from_utf8_lossy(bytes).into_owned(),
            part: Part::new(&Rope::from(bytes.to_vec()), hash)?,
        })
    }

    /// Adds the command line; an empty one is none, but says so.
    pub(crate) fn rows(&self, page: &mut Page) {
        let text = match self.text.as_str() {
            "" => Text::styled(Style::Dim, "empty"),
            text => text.into(),
        };
        page.whole("cmdline", text);
        self.part.digest_row(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_what_a_person_looks_for() {
        for (version, expected) in [
            (
                "6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian \
                 6.1.192-2 (2026-01-01)",
                ("6.1.0-56-amd64", Some("Debian 6.1.192-2")),
            ),
            (
                "6.12.1 (a@b) (gcc-14 (Debian 14.2.0) 14.2.0, GNU ld) #7 SMP Debian 6.12.1-1",
                ("6.12.1", Some("Debian 6.12.1-1")),
            ),
            (
                "6.5.6-300.fc39.x86_64 (mockbuild@x) #1 SMP PREEMPT_DYNAMIC Fri Oct  6 19:57:21 \
                 UTC 2023",
                (
                    "6.5.6-300.fc39.x86_64",
                    Some("Fri Oct  6 19:57:21 UTC 2023"),
                ),
            ),
            ("6.6.6 (golden)", ("6.6.6", Some("golden"))),
            ("6.6.6 (a@b) #1 SMP", ("6.6.6", None)),
            ("6.6.6 (a@b) #1", ("6.6.6", None)),
            ("6.6.6", ("6.6.6", None)),
            ("6.6.6 #", ("6.6.6", None)),
            ("", ("", None)),
        ] {
            assert_eq!(shortened(version), expected, "{version}");
        }
        let long = format!("6.6.6 ({})", "x".repeat(41));
        assert_eq!(shortened(&long), ("6.6.6", None));
    }

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
