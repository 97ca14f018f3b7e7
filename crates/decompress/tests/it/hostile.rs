//! Streams that are cut, changed, or that lie.

use crate::common::{SUFFIXES, lzop, lzop_header, run, testdata};
use expect_test::{Expect, expect};
use ukexec_decompress::{Compression, StreamWarning};

/// Streams of few bytes that hold every part of their format.
const STREAMS: [&str; 14] = [
    "tiny.gz",
    "name.gz",
    "tiny.bz2",
    "tiny.lzma",
    "tiny.xz",
    "crc64.xz",
    "sha256.xz",
    "blocks.xz",
    "tiny.lzo",
    "noise.lzo",
    "adler-both.lzo",
    "crc-both.lzo",
    "tiny.lz4",
    "tiny.zst",
];

#[test]
fn every_cut_is_an_error_or_a_warning() {
    for name in STREAMS.iter().chain(&["data.zst", "lines.lzo"]) {
        let stream = testdata(name);
        let (_, data) = run(&stream).unwrap();
        for len in 0..stream.len() {
            match run(&stream[..len]) {
                Err(error) => {
                    let expected = if len < 2 {
                        "no compression of the Linux kernel starts with ".to_owned()
                    } else {
                        format!("is cut short: the input ends at offset {len:#x} and ")
                    };
                    let text = error.to_string();
                    assert!(text.contains(&expected), "{name} to {len}: {text}");
                }
                // An LZ4 stream of a magic alone is what `lz4 -l` makes of
                // nothing; fewer than four bytes behind it are padding.
                Ok((_, output)) if name.ends_with("lz4") && len < 8 => assert_eq!(output, []),
                Ok((done, output)) => {
                    let cut = matches!(done.warnings[..], [StreamWarning::TrailerCut { .. }]);
                    assert!(
                        cut && output == data,
                        "{name} to {len}: {:?}",
                        done.warnings
                    );
                }
            }
        }
    }
}

#[test]
fn no_changed_bit_passes_for_good() {
    for name in STREAMS {
        let mut stream = testdata(name);
        let (_, data) = run(&stream).unwrap();
        // Without a checksum, other bytes may come out; but nothing panics.
        let unchecked = name.ends_with("lzma") || name.ends_with("lz4");
        for at in 0..stream.len() {
            for bit in 0..8 {
                stream[at] ^= 1 << bit;
                if let Ok((_, output)) = run(&stream)
                    && !unchecked
                {
                    assert!(output == data, "{name}: bit {bit} of byte {at}");
                }
                stream[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn what_is_left_of_a_trailer_must_be_right() {
    for left in 1..8 {
        let mut stream = testdata("tiny.gz");
        stream.truncate(stream.len() - 8 + left);
        *stream.last_mut().unwrap() ^= 1;
        let text = run(&stream).unwrap_err().to_string();
        assert!(text.contains("is corrupt at"), "{text}");
    }
}

#[track_caller]
fn check(stream: &[u8], expect: Expect) {
    let text = match run(stream) {
        Ok((done, output)) => format!("{} bytes, {:?}", output.len(), done.warnings),
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&format!("{text}\n"));
}

#[test]
fn unknown_magics_are_shown() {
    check(
        b"",
        expect![[r#"
        no compression of the Linux kernel starts with an empty input: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
    "#]],
    );
    check(
        b"\x1f",
        expect![[r#"
        no compression of the Linux kernel starts with 1f: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
    "#]],
    );
    check(
        b"MZ\0\0zimg\0\0\0\0",
        expect![[r#"
        no compression of the Linux kernel starts with 4d 5a 00 00 7a 69 6d 67 00: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
    "#]],
    );
    check(
        b"\x04\x22\x4d\x18\x64\x40\xa7",
        expect![[r#"
        no compression of the Linux kernel starts with 04 22 4d 18 64 40 a7: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd; this is an LZ4 frame, the kernel takes only the legacy format (lz4 -l)
    "#]],
    );
}

#[test]
fn gzip_headers_that_lie() {
    check(
        b"\x1f\x8b\x07\0\0\0\0\0\0\0rest",
        expect![[r#"
        the gzip stream uses what is not supported, at input offset 0xa: compression method 7
    "#]],
    );
    check(
        b"\x1f\x8b\x08\x20\0\0\0\0\0\0rest",
        expect![[r#"
        the gzip stream is corrupt at input offset 0xa: FLG: expected reserved bits 0, found 0x20
    "#]],
    );
    check(
        b"\x1f\x8b\x08\x04\0\0\0\0\0\0\xff\xffrest",
        expect![[r#"
            the gzip stream is cut short: the input ends at offset 0x10 and the data go on; check the payload's size in the image's header
        "#]],
    );
    check(
        b"\x1f\x8b\x08\x08\0\0\0\0\0\0no end",
        expect![[r#"
        the gzip stream is cut short: the input ends at offset 0x10 and the data go on; check the payload's size in the image's header
    "#]],
    );
    check(
        b"\x1f\x8b\x08\x02\0\0\0\0\0\0\x12\x34rest",
        expect![[r#"
            the gzip stream is corrupt at input offset 0xc: the CRC-16 of the header is 0x261d, the stream says 0x3412
        "#]],
    );
    check(
        b"\x1f\x8b\x08\0\0\0\0\0\0\0\x07rest",
        expect![[r#"
        the gzip stream is corrupt at input offset 0xb: deflate decompression error: invalid block type
    "#]],
    );
}

#[test]
fn lzma_headers_that_lie() {
    let header = |first: [u8; 5], size: u64| {
        let mut stream = first.to_vec();
        stream.extend(size.to_le_bytes());
        stream.extend([0; 9]);
        stream
    };
    // 4 GiB of dictionary: as much as the output may be long is needed.
    check(
        &header([0x5d, 0, 0xff, 0xff, 0xff], u64::MAX),
        expect![[r#"
            the lzma stream needs 1073895424 bytes of memory to decompress, the limit is 268435456; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check(
        &header([0x5d, 0, 0xff, 0xff, 0xff], 20),
        expect![[r#"
        the lzma stream is cut short: the input ends at offset 0x16 and the data go on; check the payload's size in the image's header
    "#]],
    );
    check(
        &header([0x5d, 0, 0, 0x80, 0], u64::MAX - 1),
        expect![[r#"
            the lzma stream is cut short: the input ends at offset 0x16 and the data go on; check the payload's size in the image's header
        "#]],
    );
    let mut stream = header([0x5d, 0, 0, 0x80, 0], 5);
    stream[13] = 1;
    check(
        &stream,
        expect![[r#"
        the lzma stream is corrupt at input offset 0xd: first byte of the range coder: expected 0, found 0x1
    "#]],
    );
}

#[test]
fn lzo_headers_that_lie() {
    let with_block = |data_len: u32, compressed_len: u32, rest: &[u8]| {
        let mut stream = lzop_header();
        stream.extend(data_len.to_be_bytes());
        stream.extend(compressed_len.to_be_bytes());
        stream.extend(rest);
        stream
    };
    check(
        &with_block(0x0400_0001, 9, &[0; 13]),
        expect![[r#"
        the lzo stream is corrupt at input offset 0x26: length of a block's data: expected at most 0x4000000, found 0x4000001
    "#]],
    );
    check(
        &with_block(0x0400_0000, 0x0400_0000, &[0; 13]),
        expect![[r#"
            the lzo stream is cut short: the input ends at offset 0x3b and the data go on; check the payload's size in the image's header
        "#]],
    );
    check(
        &with_block(9, 10, &[0; 14]),
        expect![[r#"
        the lzo stream is corrupt at input offset 0x26: length of a compressed block: expected at least 1 and at most the length of its data, found 0xa
    "#]],
    );
    check(
        &with_block(9, 0, &[0; 14]),
        expect![[r#"
        the lzo stream is corrupt at input offset 0x26: length of a compressed block: expected at least 1 and at most the length of its data, found 0x0
    "#]],
    );
    check(
        &with_block(9, 3, &[0, 0, 0, 1, 0x11, 0, 0]),
        expect![[r#"
            the lzo stream is corrupt at input offset 0x26: length of a block's data: expected what the block's header says, found 0x0
        "#]],
    );
    check(
        &with_block(9, 4, &[0, 0, 0, 1, 18, 7, 0x11, 0]),
        expect![[r#"
            the lzo stream is corrupt at input offset 0x26: lzo: compressed input ended prematurely
        "#]],
    );
    check(
        &with_block(1, 1, &[1, 2, 3, 4, 7]),
        expect![[r#"
        the lzo stream is corrupt at input offset 0x26: the Adler-32 of a block's data is 0x80008, the stream says 0x1020304
    "#]],
    );
    let mut stream = lzop(b"data", 4);
    stream[20] ^= 1;
    check(
        &stream,
        expect![[r#"
        the lzo stream is corrupt at input offset 0x26: the checksum of the header is 0x1e730160, the stream says 0x1e810161
    "#]],
    );
    stream[9] = 0x08;
    check(
        &stream,
        expect![[r#"
        the lzo stream uses what is not supported, at input offset 0xd: lzop version 0x840
    "#]],
    );
    check(
        &testdata("filter.lzo"),
        expect![[r#"
        the lzo stream uses what is not supported, at input offset 0x19: lzop filter 1
    "#]],
    );
}

#[test]
fn lz4_blocks_that_lie() {
    let stream = |size: u32, block: &[u8]| {
        let mut stream = b"\x02\x21\x4c\x18".to_vec();
        stream.extend(size.to_le_bytes());
        stream.extend(block);
        stream
    };
    check(
        &stream(u32::MAX, b"block"),
        expect![[r#"
        the lz4 stream is corrupt at input offset 0x4: block size: expected at most 0x808090, found 0xffffffff
    "#]],
    );
    check(
        &stream(0x0080_8090, b"block"),
        expect![[r#"
        the lz4 stream is cut short: the input ends at offset 0xd and the data go on; check the payload's size in the image's header
    "#]],
    );
    // A match before the start of the data, at distance 0, and no literals.
    check(
        &stream(5, b"\x10a\x05\x00\x00"),
        expect![[r#"
        the lz4 stream is corrupt at input offset 0x8: the offset to copy is not contained in the decompressed buffer
    "#]],
    );
    check(
        &stream(5, b"\x10a\x00\x00\x00"),
        expect![[r#"
        the lz4 stream is corrupt at input offset 0x8: 0 is not a valid match offset
    "#]],
    );
    // A match that makes more than 8 MiB.
    let mut bomb = b"\x1fa\x01\x00".to_vec();
    bomb.extend([0xff; 33_000]);
    bomb.extend([0, 0]);
    check(
        &stream(u32::try_from(bomb.len()).unwrap(), &bomb),
        expect![[r#"
            the lz4 stream is corrupt at input offset 0x8: provided output is too small for the decompressed data, actual 8388608, expected 8415020
        "#]],
    );
}

#[test]
fn zstd_headers_that_lie() {
    let frame = |rest: &[u8]| [b"\x28\xb5\x2f\xfd", rest].concat();
    // The largest window a header can say; then a window of one segment.
    check(
        &frame(b"\x00\xff\x01\x00\x00"),
        expect![[r#"
            the zstd stream needs 4123168604160 bytes of memory to decompress, the limit is 268435456; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check(
        &frame(b"\xe0\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00"),
        expect![[r#"
            the zstd stream needs 18446744073709551615 bytes of memory to decompress, the limit is 268435456; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check(
        &frame(b"\x01\x00\x07\x01\x00\x00"),
        expect![[r#"
        the zstd stream uses what is not supported, at input offset 0x0: dictionary 0x7
    "#]],
    );
    // A reserved bit, a reserved block type, a content size that is not met.
    check(
        &frame(b"\x08\x00\x01\x00\x00"),
        expect![[r#"
        the zstd stream is corrupt at input offset 0x0: Unsupported frame parameter
    "#]],
    );
    check(
        &frame(b"\x00\x00\x07\x00\x00"),
        expect![[r#"
        the zstd stream is corrupt at input offset 0x6: Data corruption detected
    "#]],
    );
    check(
        &frame(b"\x20\x05\x01\x00\x00"),
        expect![[r#"
        the zstd stream is corrupt at input offset 0x9: length of the frame's data: expected what the frame's header says, found 0x0
    "#]],
    );
    check(
        b"\x50\x2a\x4d\x18\xff\xff\xff\xffrest",
        expect![[r#"
        the zstd stream is cut short: the input ends at offset 0xc and the data go on; check the payload's size in the image's header
    "#]],
    );
}

#[test]
fn skippable_frames_alone_are_no_stream() {
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip";
    check(
        &[&skippable[..], b"\x04\x22\x4d\x18\x64\x40\xa7"].concat(),
        expect![[r#"
            the zstd stream uses what is not supported, at input offset 0xc: another format behind skippable frames, such as LZ4 frames
        "#]],
    );
    check(
        skippable,
        expect![[r#"
        the zstd stream is cut short: the input ends at offset 0xc and the data go on; check the payload's size in the image's header
    "#]],
    );
}

#[test]
fn zstd_skippable_frames_are_skipped() {
    let skippable = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc".to_vec();
    let frame = testdata("tiny.zst");
    let stream = [&skippable[..], &frame, &skippable, &frame, &skippable].concat();
    let (done, output) = run(&stream).unwrap();
    assert_eq!(output, testdata("tiny.raw").repeat(2));
    assert_eq!(done.warnings, []);
    assert_eq!(Compression::detect(&stream[..9]), Some(Compression::Zstd));
}

#[test]
fn xz_headers_that_lie() {
    let crc32 = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let stream_header = |check_id: u8| {
        let flags = [0, check_id];
        [b"\xfd7zXZ\0".as_slice(), &flags, &crc32(&flags)].concat()
    };
    let block = |filters: &[u8]| {
        let mut header = vec![2, filters[0]];
        header.extend(&filters[1..]);
        header.resize(8, 0);
        let crc = crc32(&header);
        [
            stream_header(1),
            header,
            crc.to_vec(),
            vec![1, 0, 0, b'a', 0, 0, 0, 0, 0],
        ]
        .concat()
    };
    check(
        &stream_header(2),
        expect![[r#"
        the xz stream uses what is not supported, at input offset 0xc: unsupported XZ check type
    "#]],
    );
    // Dictionaries: 4 GiB - 1, one that is not defined, 4 KiB.
    check(
        &block(&[0, 0x21, 1, 40]),
        expect![[r#"
            the xz stream needs 4295007232 bytes of memory to decompress, the limit is 268435456; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check(
        &block(&[0, 0x21, 1, 41]),
        expect![[r#"
        the xz stream is corrupt at input offset 0x18: Invalid LZMA2 dictionary size
    "#]],
    );
    check(
        &block(&[0, 0x21, 1, 0]),
        expect![[r#"
        the xz stream is cut short: the input ends at offset 0x21 and the data go on; check the payload's size in the image's header
    "#]],
    );
    // A filter that is not there, three of them, and no LZMA2.
    check(
        &block(&[1, 0x7f, 0, 0x21, 1, 0]),
        expect![[r#"
        the xz stream is corrupt at input offset 0x18: Unsupported filter type
    "#]],
    );
    check(
        &block(&[2, 3, 1, 0, 4, 0, 0x21]),
        expect![[r#"
        the xz stream uses what is not supported, at input offset 0xc: a chain of 3 filters
    "#]],
    );
    check(
        &block(&[0, 0x04, 0]),
        expect![[r#"
        the xz stream is corrupt at input offset 0x18: XZ block's last filter must be a LZMA2 filter
    "#]],
    );
    let mut stream = block(&[0, 0x21, 1, 0]);
    stream[24] = 0x7f;
    check(
        &stream,
        expect![[r#"
        the xz stream is corrupt at input offset 0x19: corrupted input data (LZMA2:2)
    "#]],
    );
}

#[test]
fn every_compression_survives_noise_behind_its_magic() {
    for (suffix, _) in SUFFIXES {
        let head = testdata(&format!("tiny.{suffix}"));
        for len in 2..head.len().min(64) {
            let noise = crate::common::sample(300, len as u64);
            let _outcome = run(&[&head[..len], &noise].concat());
        }
    }
}
