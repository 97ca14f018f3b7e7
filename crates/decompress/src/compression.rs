//! The compressions: one row each, and which of them a stream has by its magic.

use std::fmt;

use crate::error::Fault;
use crate::job::Format;
use crate::zstd::SKIPPABLE_MAGIC;

/// Makes the enum out of rows: a name, and the file that has its `FORMAT`.
macro_rules! compressions {
    ($($(#[$doc:meta])* $name:ident = $file:ident,)*) => {
        /// A compression that Linux kernels and their images use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Compression {
            $($(#[$doc])* $name,)*
        }

        impl Compression {
            const ALL: &[(Self, Format)] = &[$((Self::$name, crate::$file::FORMAT),)*];

            pub(crate) fn format(self) -> Format {
                match self {
                    $(Self::$name => crate::$file::FORMAT,)*
                }
            }
        }
    };
}

compressions! {
    /// gzip, RFC 1952.
    Gzip = gzip,
    /// bzip2.
    Bzip2 = bzip2,
    /// LZMA-alone, the `.lzma` file format.
    Lzma = lzma,
    /// xz.
    Xz = xz,
    /// LZO in an lzop file.
    Lzo = lzo,
    /// LZ4 in its legacy format.
    Lz4 = lz4,
    /// Zstandard, RFC 8878.
    Zstd = zstd,
}

impl Compression {
    /// Returns the compression whose magic `head` starts with.
    ///
    /// Of a `head` shorter than a magic, two bytes are enough: what is cut
    /// there is reported as cut, not as unknown.
    #[must_use]
    pub fn detect(head: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.iter();
        let known = all.find(|(_, format)| {
            head.len() >= 2
                && head
                    .iter()
                    .zip(format.magic)
                    .all(|(found, byte)| found == byte)
        });
        match (known, head) {
            (Some((compression, _)), _) => Some(*compression),
            (None, [0x50..=0x5f, rest @ ..]) if rest.starts_with(&SKIPPABLE_MAGIC) => {
                Some(Self::Zstd)
            }
            (None, _) => None,
        }
    }

    /// Returns the compression that a kernel tries on an archive of an initrd which begins with
    /// `front`. It looks at two bytes, Linux `lib/decompress.c`.
    #[must_use]
    pub fn of_archive(front: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.iter();
        let known = all.find(|(_, format)| {
            let magic = format.magic.get(..2);
            magic.is_some_and(|magic| front.starts_with(magic))
        });
        known.map(|(compression, _)| *compression)
    }

    /// Returns the name, as in the kernel's configuration and in zboot's header.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.format().name
    }

    /// As [`detect`](Self::detect); the error shows `head`.
    pub(crate) fn expect(head: &[u8]) -> Result<Self, Fault> {
        Self::detect(head).ok_or_else(|| {
            let name = |(compression, format): &(Self, Format)| match compression {
                Self::Lz4 => "lz4 (legacy)",
                _ => format.name,
            };
            let mut names: Vec<_> = Self::ALL.iter().map(name).collect();
            let last = names.pop().unwrap_or_default();
            let bytes: Vec<_> = head.iter().map(|byte| format!("{byte:02x}")).collect();
            Fault::Input(format!(
                "no compression of the Linux kernel starts with {}: expected {} or {last}{}",
                if head.is_empty() {
                    "an empty input".to_owned()
                } else {
                    bytes.join(" ")
                },
                names.join(", "),
                if head.starts_with(&LZ4_FRAME_MAGIC) {
                    LZ4_FRAME
                } else {
                    ""
                },
            ))
        })
    }

    /// Returns the length of the longest magic.
    pub(crate) fn longest_magic() -> usize {
        Self::ALL
            .iter()
            .fold(0, |longest, (_, format)| longest.max(format.magic.len()))
    }
}

/// Writes the [`name`](Compression::name).
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const LZ4_FRAME_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const LZ4_FRAME: &str = "; this is an LZ4 frame, the kernel takes only the legacy format (lz4 -l)";
