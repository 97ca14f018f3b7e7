//! Streams that the real tools made, and how they end.

use crate::common::{SUFFIXES, run, testdata};
use expect_test::{Expect, expect};
use ukexec_decompress::{Compression, StreamWarning};

#[track_caller]
fn check(stream: &str, data: &[u8]) {
    let bytes = testdata(stream);
    let (done, output) = run(&bytes).unwrap_or_else(|error| panic!("{stream}: {error}"));
    assert!(output == data, "{stream}: other bytes came out");
    assert_eq!(done.warnings, [], "{stream}");
    assert_eq!(done.consumed, bytes.len() as u64, "{stream}");
}

#[test]
fn decompresses_what_the_tools_write() {
    for (suffix, compression) in SUFFIXES {
        check(&format!("data.{suffix}"), &testdata("data.raw"));
        check(&format!("tiny.{suffix}"), &testdata("tiny.raw"));
        check(&format!("empty.{suffix}"), &[]);
        let head = testdata(&format!("tiny.{suffix}"));
        assert_eq!(Compression::detect(&head[..9]), Some(compression));
        assert_eq!(Compression::detect(&head[..2]), Some(compression));
        assert_eq!(Compression::detect(&head[..1]), None);
    }
    check("name.gz", &testdata("data.raw"));
    check("sized.zst", &testdata("data.raw"));
}

#[test]
fn decodes_every_filter_and_check_of_xz() {
    let filters = [
        "x86", "arm64", "arm", "armthumb", "powerpc", "ia64", "sparc", "delta", "blocks",
    ];
    for filter in filters {
        check(&format!("{filter}.xz"), &testdata("data.raw"));
    }
    for checked in ["none", "crc64", "sha256"] {
        check(&format!("{checked}.xz"), &testdata("tiny.raw"));
    }
}

#[test]
fn decodes_every_kind_of_lzop_block() {
    check(
        "lines.lzo",
        &b"the same line, time and again\n".repeat(20_000),
    );
    check("noise.lzo", &testdata("noise.raw"));
    for checks in ["adler-both", "crc-both", "unchecked"] {
        check(&format!("{checks}.lzo"), &testdata("tiny.raw"));
    }
}

/// Describes the result of each compression's `tiny` stream after an edit.
#[track_caller]
fn check_all(edit: impl Fn(Vec<u8>) -> Vec<u8>, expect: Expect) {
    let tiny = testdata("tiny.raw");
    let mut text = String::new();
    for (suffix, compression) in SUFFIXES {
        let stream = edit(testdata(&format!("tiny.{suffix}")));
        let outcome = match run(&stream) {
            Err(error) => error.to_string(),
            Ok((done, output)) => {
                let times = output.len() / tiny.len();
                let what = if output == tiny.repeat(times) {
                    "the data"
                } else {
                    "other bytes"
                };
                let warnings = done.warnings.iter().map(words);
                let data = [format!("{times} x {what}")].into_iter();
                data.chain(warnings).collect::<Vec<_>>().join("; ")
            }
        };
        text.push_str(&format!("{compression}: {outcome}\n"));
    }
    expect.assert_eq(&text);
}

fn words(warning: &StreamWarning) -> String {
    match warning {
        StreamWarning::TrailingBytes { count } => format!("{count} bytes behind it"),
        StreamWarning::TrailerCut { part, data_checked } => {
            let checked = if *data_checked { "" } else { "not " };
            format!("{part} cut off, data {checked}checked")
        }
    }
}

#[test]
fn counts_the_bytes_behind_the_stream() {
    check_all(
        |mut stream| {
            stream.extend(b"what follows");
            stream
        },
        expect![[r#"
            gzip: 1 x the data; 12 bytes behind it
            bzip2: 1 x the data; 12 bytes behind it
            lzma: 1 x the data; 12 bytes behind it
            xz: 1 x the data; 12 bytes behind it
            lzo: 1 x the data; 12 bytes behind it
            lz4: 1 x the data; 12 bytes behind it
            zstd: 1 x the data; 12 bytes behind it
        "#]],
    );
}

#[test]
fn takes_the_size_that_the_kernels_build_appends() {
    check_all(
        |mut stream| {
            stream.extend(500_u32.to_le_bytes());
            stream
        },
        expect![[r#"
            gzip: 1 x the data; 4 bytes behind it
            bzip2: 1 x the data; 4 bytes behind it
            lzma: 1 x the data; 4 bytes behind it
            xz: 1 x the data; 4 bytes behind it
            lzo: 1 x the data; 4 bytes behind it
            lz4: 1 x the data; 4 bytes behind it
            zstd: 1 x the data; 4 bytes behind it
        "#]],
    );
}

#[test]
fn treats_concatenated_streams_as_linux_does() {
    check_all(
        |stream| stream.repeat(2),
        expect![[r#"
            gzip: 1 x the data; 347 bytes behind it
            bzip2: 1 x the data; 461 bytes behind it
            lzma: 1 x the data; 318 bytes behind it
            xz: 1 x the data; 360 bytes behind it
            lzo: 1 x the data; 389 bytes behind it
            lz4: 2 x the data
            zstd: 2 x the data
        "#]],
    );
}

#[test]
fn treats_zeros_behind_the_stream_as_padding() {
    check_all(
        |mut stream| {
            stream.resize(stream.len() + 512, 0);
            stream
        },
        expect![[r#"
            gzip: 1 x the data; 512 bytes behind it
            bzip2: 1 x the data; 512 bytes behind it
            lzma: 1 x the data; 512 bytes behind it
            xz: 1 x the data; 512 bytes behind it
            lzo: 1 x the data; 512 bytes behind it
            lz4: 1 x the data; 512 bytes behind it
            zstd: 1 x the data; 512 bytes behind it
        "#]],
    );
}

/// As parsers do that take the appended size to be a part of the payload.
#[test]
fn four_bytes_cut_off() {
    check_all(
        |mut stream| {
            stream.truncate(stream.len() - 4);
            stream
        },
        expect![[r#"
            gzip: 1 x the data; CRC-32 and length cut off, data not checked
            bzip2: 1 x the data; CRC of the stream cut off, data checked
            lzma: the lzma stream is cut short: the input ends at offset 0x13a and the data go on; check the payload's size in the image's header
            xz: 1 x the data; index and footer cut off, data checked
            lzo: 1 x the data; end mark cut off, data checked
            lz4: the lz4 stream is cut short: the input ends at offset 0x163 and the data go on; check the payload's size in the image's header
            zstd: 1 x the data; XXH64 checksum cut off, data not checked
        "#]],
    );
}

#[test]
fn half_of_it_cut_off() {
    check_all(
        |mut stream| {
            stream.truncate(stream.len() / 2);
            stream
        },
        expect![[r#"
            gzip: the gzip stream is cut short: the input ends at offset 0xad and the data go on; check the payload's size in the image's header
            bzip2: the bzip2 stream is cut short: the input ends at offset 0xe6 and the data go on; check the payload's size in the image's header
            lzma: the lzma stream is cut short: the input ends at offset 0x9f and the data go on; check the payload's size in the image's header
            xz: the xz stream is cut short: the input ends at offset 0xb4 and the data go on; check the payload's size in the image's header
            lzo: the lzo stream is cut short: the input ends at offset 0xc2 and the data go on; check the payload's size in the image's header
            lz4: the lz4 stream is cut short: the input ends at offset 0xb3 and the data go on; check the payload's size in the image's header
            zstd: the zstd stream is cut short: the input ends at offset 0xa3 and the data go on; check the payload's size in the image's header
        "#]],
    );
}

#[test]
fn a_byte_in_the_middle_changed() {
    check_all(
        |mut stream| {
            let middle = stream.len() / 2;
            stream[middle] ^= 0x10;
            stream
        },
        expect![[r#"
            gzip: the gzip stream is corrupt at input offset 0x153: the CRC-32 of the data is 0xf96f9507, the stream says 0x4c177d44
            bzip2: the bzip2 stream is corrupt at input offset 0x1c7: a block or a CRC is wrong
            lzma: the lzma stream is corrupt at input offset 0xac: dist overflow
            xz: the xz stream is corrupt at input offset 0xbe: dist overflow
            lzo: the lzo stream is corrupt at input offset 0x26: the Adler-32 of a block's data is 0xa32c18b, the stream says 0xc1c3c14b
            lz4: 1 x other bytes
            zstd: the zstd stream is corrupt at input offset 0x142: Restored data doesn't match checksum
        "#]],
    );
}
