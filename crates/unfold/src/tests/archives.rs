//! Expanded initrds, beside the answers of a kernel, written down: no decoder of ours is asked.

use super::expand::{archive, expand, gzip, lz4, lzop, names, zstd_frame};

/// A kernel makes files with the names `expected` of `initrd`. `is_expanded` says whether
/// the initrd is unpacked.
#[track_caller]
fn check(initrd: &[u8], expected: &[&str], is_expanded: bool) {
    let expanded = expand(initrd);
    let bytes = expanded.initrd.to_vec().unwrap();
    if bytes != initrd {
        assert_eq!(names(&bytes), expected);
    }
    assert_eq!(expanded.is_changed(), is_expanded);
    assert_eq!(bytes != initrd, is_expanded);
}

/// A gzip file with an extra field, in which a kernel, which knows none, finds another archive.
fn two_faced() -> Vec<u8> {
    let mut content = archive("from-kernel");
    content.resize(content.len().next_multiple_of(256) + 2, 0);
    let len = u16::try_from(content.len()).unwrap().to_le_bytes();
    // One stored block, the last. Its first bytes are the field's length, 0x201.
    let mut field = [&[1][..], &len, &len.map(|byte| !byte), &content, &[0; 8]].concat();
    field.resize(2 + 0x201, 0);
    let mut file = gzip(&archive("from-reader"));
    file[3] = 4;
    file.splice(10..10, field);
    file
}

#[test]
fn gzip_has_no_extra_field() {
    check(&two_faced(), &["from-kernel"], false);
    check(&gzip(&archive("a")), &["a"], true);
}

#[test]
fn lz4_ends_at_the_end_or_at_a_size_of_0() {
    let mut content = archive("a");
    // So long that the archive's length is a multiple of 4.
    content.resize(560, 0);
    let front = lz4(&content);
    assert!(front.len().is_multiple_of(4));
    for behind in [archive("b"), zstd_frame(&archive("b")), gzip(&archive("b"))] {
        check(&[&front[..], &behind].concat(), &["a"], false);
        check(&[&front[..], &[0; 4], &behind].concat(), &["a", "b"], true);
    }
    let size = u32::try_from(content.len()).unwrap();
    check(&[&front[..], &size.to_le_bytes()].concat(), &["a"], false);
    check(
        &[&front[..], &lz4(&archive("b"))].concat(),
        &["a", "b"],
        true,
    );
}

#[test]
fn lzo_has_one_checksum_of_each_block() {
    // Of data: Adler-32 is 1, CRC-32 is 0x100. Of compressed data: 2 and 0x200.
    check(&lzop(&archive("a"), 1), &["a"], true);
    // One of compressed data is missing where these are stored, so a kernel finds the file.
    check(&lzop(&archive("a"), 1 | 2), &["a"], false);
    for flags in [0, 0x101] {
        check(&lzop(&archive("a"), flags), &[], false);
    }
}
