//! Which compression a stream has, by its magic.

use std::fmt;

/// A compression that Linux kernels and their images use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// gzip, RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// LZMA-alone, the `.lzma` file format.
    Lzma,
    /// xz.
    Xz,
    /// LZO in an lzop file.
    Lzo,
    /// LZ4 in its legacy format.
    Lz4,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// The length of the longest magic: that of lzop.
    pub const MAGIC_LEN_MAX: usize = LZO_MAGIC.len();

    /// The magics. gzip and lzma are known by two bytes, as in Linux
    /// `lib/decompress.c`; the others have longer ones, and are held to them.
    const MAGICS: [(Self, &'static [u8]); 7] = [
        (Self::Gzip, &[0x1f, 0x8b]),
        (Self::Bzip2, b"BZh"),
        (Self::Lzma, &[0x5d, 0x00]),
        (Self::Xz, &[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]),
        (Self::Lzo, &LZO_MAGIC),
        (Self::Lz4, &LZ4_MAGIC),
        (Self::Zstd, &ZSTD_MAGIC),
    ];

    /// Returns the compression whose magic `head` starts with.
    ///
    /// Of a `head` shorter than a magic, two bytes are enough: what is cut
    /// there is reported as cut, not as unknown.
    #[must_use]
    pub fn detect(head: &[u8]) -> Option<Self> {
        let known = Self::MAGICS.iter().find(|(_, magic)| {
            head.len() >= 2
                && head
                    .iter()
                    .zip(*magic)
                    .all(|(found, expected)| found == expected)
        });
        match (known, head) {
            (Some((compression, _)), _) => Some(*compression),
            (None, [0x50..=0x5f, rest @ ..]) if rest.starts_with(&SKIPPABLE_MAGIC) => {
                Some(Self::Zstd)
            }
            (None, _) => None,
        }
    }
}

/// The name as the kernel's configuration and zboot's header have it.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

pub(crate) const LZ4_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
pub(crate) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last three bytes of a skippable frame's magic; the first is 0x50-0x5f.
pub(crate) const SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];
const LZO_MAGIC: [u8; 9] = [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a];
