//! How the archives of an initrd are packed.
//!
//! An initrd is one archive behind the other, each a cpio archive (newc) as it is
//! or compressed, with zeros in between. Microcode in front of a compressed
//! archive is the usual case.
//!
//! Spec: Linux `driver-api/early-userspace/buffer-format.rst`,
//! `lib/decompress.c` (the magics), `init/initramfs.c`. Left out: anything behind
//! a compressed archive, whose end only decompression finds.

use alloc::vec::Vec;

use ukexec_pe::ReadAt;

use crate::bytes::{Fields, read, wide};
use crate::error::BootError;

/// The archives that an initrd begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitrdArchives {
    /// How each is packed: `cpio`, or the compression's name. Empty if the initrd
    /// begins with none.
    pub packed: Vec<&'static str>,
    /// Whether nobody looked for more behind them.
    pub may_have_more: bool,
}

/// A cpio archive that is not compressed.
const CPIO: &str = "cpio";

/// Archives that kernels unpack begin so.
const MAGICS: [(&[u8], &str); 10] = [
    (b"070701", CPIO),
    (b"070702", CPIO),
    (&[0x1f, 0x8b], "gzip"),
    (&[0x1f, 0x9e], "gzip"),
    (b"BZ", "bzip2"),
    (&[0x5d, 0x00], "lzma"),
    (&[0xfd, b'7'], "xz"),
    (&[0x89, b'L'], "lzo"),
    (&[0x02, 0x21], "lz4"),
    (&[0x28, 0xb5], "zstd"),
];

/// Files of all archives together whose headers are read.
const FILES_MAX: usize = 256;

/// Archives that are named.
const ARCHIVES_MAX: usize = 8;

/// Zeros in front of an archive that are passed over.
const PADDING_MAX: u64 = 64 << 10;
const CHUNK: usize = 4 << 10;

impl InitrdArchives {
    /// Looks at the headers of `initrd`, at most 256 of them, and at the zeros in
    /// front of each archive.
    ///
    /// # Errors
    ///
    /// The initrd cannot be read.
    pub fn find(initrd: &(impl ReadAt + ?Sized)) -> Result<Self, BootError> {
        let mut found = Self::default();
        let (mut at, mut files) = (0, FILES_MAX);
        loop {
            at = skip_zeros(initrd, at)?;
            if at >= initrd.len() {
                return Ok(found);
            }
            let front = read(initrd, at, MAGIC_LEN)?;
            let Some(name) = packed(&front) else {
                return Ok(found);
            };
            found.may_have_more = found.packed.len() >= ARCHIVES_MAX;
            if found.may_have_more {
                return Ok(found);
            }
            found.packed.push(name);
            let end = match name {
                CPIO => end_of_cpio(initrd, at, &mut files)?,
                _ => return Ok(found),
            };
            match end {
                End::At(end) => at = end,
                End::Broken => return Ok(found),
                End::TooFar => {
                    found.may_have_more = true;
                    return Ok(found);
                }
            }
        }
    }
}

/// Returns how the archive is packed that begins with `front`.
fn packed(front: &[u8]) -> Option<&'static str> {
    let mut magics = MAGICS.iter();
    magics.find_map(|(magic, name)| front.starts_with(magic).then_some(*name))
}

/// Returns where the zeros from `at` on end, or where they are too many.
fn skip_zeros(initrd: &(impl ReadAt + ?Sized), at: u64) -> Result<u64, BootError> {
    let limit = at.saturating_add(PADDING_MAX);
    let mut at = at;
    while at < limit {
        let chunk = read(initrd, at, CHUNK)?;
        let zeros = chunk.iter().take_while(|&&byte| byte == 0).count();
        at = at.saturating_add(wide(zeros));
        if zeros < CHUNK {
            break;
        }
    }
    Ok(at)
}

/// Where a cpio archive ends.
enum End {
    At(u64),
    /// Nowhere: it is damaged, or cut off.
    Broken,
    /// Behind more files than are looked at.
    TooFar,
}

/// Returns where the cpio archive at `start` ends, and takes its files off `files`.
fn end_of_cpio(
    initrd: &(impl ReadAt + ?Sized),
    start: u64,
    files: &mut usize,
) -> Result<End, BootError> {
    let mut at = start;
    loop {
        let Some(left) = files.checked_sub(1) else {
            return Ok(End::TooFar);
        };
        *files = left;
        let bytes = read(initrd, at, HEADER_LEN.saturating_add(TRAILER.len()))?;
        let header = Fields(&bytes);
        let is_header = packed(&bytes) == Some(CPIO);
        let (Some(size), Some(name_len), true) =
            (hex(header.from(54)), hex(header.from(94)), is_header)
        else {
            return Ok(End::Broken);
        };
        let name = at.saturating_add(wide(HEADER_LEN));
        let content = padded(name.saturating_add(name_len.into()));
        at = padded(content.saturating_add(size.into()));
        if header.has(HEADER_LEN, TRAILER) {
            return Ok(End::At(at));
        }
    }
}

/// Returns a field of a header: eight hexadecimal digits.
fn hex(field: &[u8]) -> Option<u32> {
    let digits = core::str::from_utf8(field.get(..8)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// Returns the next multiple of 4.
fn padded(at: u64) -> u64 {
    at.checked_next_multiple_of(4).unwrap_or(u64::MAX)
}

const HEADER_LEN: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!\0";
const MAGIC_LEN: usize = 6;

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::EMPTY_INITRD;

    fn file(name: &str, content: &[u8]) -> Vec<u8> {
        let numbers = format!("{:08x}", content.len());
        let name_len = format!("{:08x}", name.len() + 1);
        let header = format!(
            "070701{}{numbers}{}{name_len}{}",
            "0".repeat(48),
            "0".repeat(32),
            "0".repeat(8)
        );
        let mut bytes = [header.as_bytes(), name.as_bytes(), b"\0"].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn archive(files: usize) -> Vec<u8> {
        let files = (0..files).flat_map(|number| file(&format!("dir/{number}"), b"content"));
        files.chain(file("TRAILER!!!", b"")).collect()
    }

    fn check(initrd: &[u8], expected: &str) {
        let found = InitrdArchives::find(initrd).unwrap();
        let mut shown: String = found.packed.join(" + ");
        if found.may_have_more {
            shown.push('…');
        }
        assert_eq!(shown, expected);
    }

    #[test]
    fn archives_lie_one_behind_the_other() {
        let microcode = archive(3);
        check(&microcode, "cpio");
        check(&EMPTY_INITRD, "cpio");
        check(
            &[&microcode[..], &[0; 512], b"\x28\xb5\x2f\xfd"].concat(),
            "cpio + zstd",
        );
        check(
            &[&microcode[..], b"\x1f\x8b\x08", &microcode].concat(),
            "cpio + gzip",
        );
        check(
            &[&microcode[..], &microcode, b"\xfd7zXZ\0"].concat(),
            "cpio + cpio + xz",
        );
        check(b"\0\0\0\0\x02\x21\x4c\x18", "lz4");
        for none in [&b""[..], &[0; 512], &[0; 1 << 17], b"text", b"07070"] {
            check(none, "");
        }
    }

    #[test]
    fn a_damaged_archive_ends_the_search() {
        let mut cut = archive(3);
        cut.truncate(cut.len() - 200);
        check(&cut, "cpio");
        let mut lies = archive(1);
        lies[54..62].copy_from_slice(b"ffffffff");
        check(&lies, "cpio");
        lies[54..62].copy_from_slice(b"ffff fff");
        check(&[&lies[..], b"\x1f\x8b"].concat(), "cpio");
    }

    #[test]
    fn no_more_is_read_than_it_may() {
        check(
            &[archive(255), b"\x1f\x8b".to_vec()].concat(),
            "cpio + gzip",
        );
        check(&[archive(256), b"\x1f\x8b".to_vec()].concat(), "cpio…");
        check(&archive(0).repeat(8), &["cpio"; 8].join(" + "));
        check(&archive(0).repeat(9), &(["cpio"; 8].join(" + ") + "…"));
    }

    proptest! {
        #[test]
        fn any_bytes_may_come(bytes in prop::collection::vec(any::<u8>(), 0..600), files in 0_usize..4, at: usize, byte: u8) {
            let mut initrd = archive(files);
            let at = at % initrd.len();
            initrd[at] = byte;
            initrd.extend_from_slice(&bytes);
            let found = InitrdArchives::find(&initrd).unwrap();
            prop_assert!(found.packed.len() <= ARCHIVES_MAX);
        }
    }
}
