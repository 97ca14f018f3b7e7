//! The caller's initrds: joined, and what a kernel would not find in one.
//!
//! Spec: Linux's `init/initramfs.c` (`unpack_to_rootfs`), `lib/decompress.c`,
//! `driver-api/early-userspace/buffer-format.rst`.

use ukexec_boot::{InitrdArchives, identify};
use ukexec_bpf::{Piece, Rope};
use ukexec_pe::PeImage;
use ukexec_unfold::{PeBytes, Store, expand_initrd};

use crate::error::{ErrorKind, LoaderError, Result};
use crate::protocol::Expansion;
use crate::report::expanded::{ExpandedReport, NO_EXPANSION};
use crate::report::size::Size;

/// In so many bytes an archive has to begin. Zeros in front of one are padding.
const PADDING_MAX: u64 = 64 << 10;

/// Joins initrds in order, each filled with zeros to a multiple of 4 bytes
/// where another follows: the kernel looks for the next archive there.
#[must_use]
pub fn join(initrds: impl IntoIterator<Item = Rope>) -> Rope {
    let mut joined = Rope::new();
    for initrd in initrds {
        let gap = joined.len().next_multiple_of(4) - joined.len();
        joined.push(Piece::Zeros(gap));
        joined.append(&initrd);
    }
    joined
}

/// Returns why a kernel would find nothing in the initrd `name` that a `key` gives, the
/// caller's option or one of an entry, for `command`, if that is so.
pub(crate) fn warning(
    key: &str,
    name: &str,
    initrd: &Rope,
    command: &str,
) -> Result<Option<String>> {
    if initrd.is_empty() {
        return Ok(Some(format!("{key} {name} is empty: it adds nothing")));
    }
    let front = initrd.slice(0..initrd.len().min(PADDING_MAX))?.to_vec()?;
    let padding = front.iter().take_while(|&&byte| byte == 0).count();
    // There are no more zeros in front than bytes.
    let begins = front.get(padding..).unwrap_or_default();
    if !InitrdArchives::find(&PeBytes(initrd))?.packed.is_empty() {
        return Ok(None);
    }
    let what = match identify(&PeBytes(initrd)) {
        _ if begins.is_empty() && initrd.len() > PADDING_MAX => return Ok(None),
        _ if begins.is_empty() => "zeros alone".to_owned(),
        _ if begins.starts_with(b"0707") || is_old_cpio(begins) => {
            "one of another format; make it with `cpio -o -H newc`".to_owned()
        }
        Ok(kernel) => format!("a kernel ({})", kernel.format),
        Err(error) => match error.look_alike() {
            Some(look_alike) => match look_alike.compression() {
                Some(with) => {
                    format!("{with}-compressed data of a kind that kernels do not unpack")
                }
                None => look_alike.to_string(),
            },
            None => "a broken kernel or program".to_owned(),
        },
    };
    // An image has an initrd itself.
    let is_image = PeImage::parse(&PeBytes(initrd)).is_ok_and(|pe| pe.is_efi_application());
    let advice = if is_image {
        format!("; did you mean `{command} {name}`?")
    } else {
        String::new()
    };
    Ok(Some(format!(
        "{key} {name}: expected a cpio archive (newc), compressed or not, found {what}{advice}"
    )))
}

/// Unpacks `initrd` into an output of `store`, which may write `left` bytes.
pub(crate) fn expand(
    initrd: &mut Rope,
    expansion: &Expansion,
    left: u64,
    store: &mut dyn Store,
) -> Result<ExpandedReport> {
    let Expansion {
        room, of, memory, ..
    } = expansion;
    let room = room.filter(|room| *room < left);
    let max = room.unwrap_or(left);
    let expanded = expand_initrd(initrd, max, *memory, store).map_err(|error| {
        if !error.is_limit() {
            return error.into();
        }
        let error = LoaderError::from(error);
        let (kind, text) = match room {
            Some(room) => (ErrorKind::Machine, format!("{of} is {}", Size(room))),
            None => (ErrorKind::Budget, "--max-output leaves no more".to_owned()),
        };
        let text = format!("{error}; {text}; {NO_EXPANSION}");
        LoaderError::new(text).of_kind(kind)
    })?;
    let report = ExpandedReport::new(&expanded, initrd.len());
    *initrd = expanded.initrd;
    Ok(report)
}

/// Returns whether these are the first bytes of a binary archive.
fn is_old_cpio(front: &[u8]) -> bool {
    front.starts_with(&[0xc7, 0x71]) || front.starts_with(&[0x71, 0xc7])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initrd_begins_at_a_multiple_of_4() {
        let joined = |initrds: &[&[u8]]| {
            let initrds = initrds.iter().map(|bytes| Rope::from(bytes.to_vec()));
            join(initrds).to_vec().unwrap()
        };
        assert_eq!(joined(&[]), b"");
        assert_eq!(joined(&[b"12345"]), b"12345");
        assert_eq!(joined(&[b"12345", b"6", b""]), b"12345\0\0\x006\0\0\0");
    }

    fn told(bytes: &[u8]) -> Option<String> {
        warning("--initrd", "x.img", &Rope::from(bytes.to_vec()), "load").unwrap()
    }

    #[test]
    fn archives_are_taken_as_kernels_take_them() {
        for magic in [&b"070701"[..], &[0x1f, 0x8b], &[0x28, 0xb5]] {
            assert_eq!(told(magic), None);
            assert_eq!(told(&[&[0; 512], magic].concat()), None);
        }
        // Where the archive begins is further away than anybody looks.
        assert_eq!(told(&vec![0; 1 << 20]), None);
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let empty = told(b"").unwrap();
        assert_eq!(empty, "--initrd x.img is empty: it adds nothing");
        let old = "one of another format; make it with `cpio -o -H newc`";
        for (bytes, what) in [
            (&[0; 512][..], "zeros alone"),
            (b"070707", old),
            (&[0xc7, 0x71, 0, 0], old),
            (b"#!/bin/sh\n", "text"),
            (b"hsqs\0", "a disk image"),
            (
                b"\x04\x22\x4d\x18",
                "lz4-compressed data of a kind that kernels do not unpack",
            ),
            (
                b"LZIP\x01",
                "lzip-compressed data of a kind that kernels do not unpack",
            ),
            (
                b"\x01\x02\x03",
                "something unknown, beginning with 01 02 03",
            ),
            (b"MZ", "a broken kernel or program"),
        ] {
            let expected = format!(
                "--initrd x.img: expected a cpio archive (newc), compressed or not, found {what}"
            );
            assert_eq!(told(bytes), Some(expected));
        }
    }
}
