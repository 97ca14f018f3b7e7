//! Archives of an initrd: what a kernel reads otherwise is refused.

use expect_test::{Expect, expect};
use ukexec_decompress::{Limits, decompress_archive};

use crate::common::{SUFFIXES, adler32, lz4, lzop, lzop_header, run, testdata};

/// Returns how many bytes the archive has, and its content; or the error.
fn archive(stream: &[u8]) -> Result<(u64, Vec<u8>), String> {
    let mut output = Vec::new();
    let done = decompress_archive(&mut &*stream, &mut output, &Limits::default());
    let done = done.map_err(|error| error.to_string())?;
    Ok((done.consumed, output))
}

/// `stream` is a good payload, but no archive.
#[track_caller]
fn check(stream: &[u8], expect: &Expect) {
    run(stream).unwrap();
    expect.assert_eq(&archive(stream).unwrap_err());
}

#[test]
fn takes_what_the_tools_write() {
    let streams = SUFFIXES.map(|(suffix, _)| format!("data.{suffix}"));
    let more = ["name.gz", "none.xz", "x86.xz", "arm64.xz", "sized.zst"];
    for name in streams.into_iter().chain(more.map(str::to_owned)) {
        let stream = testdata(&name);
        let (_, data) = run(&stream).unwrap();
        let behind = [&stream[..], b"\0\0\0\0more"].concat();
        assert_eq!(archive(&behind), Ok((stream.len() as u64, data)), "{name}");
    }
}

#[test]
fn refuses_headers_of_gzip_that_kernels_take_for_data() {
    let tiny = testdata("tiny.gz");
    let with = |flag: u8, field: &[u8]| {
        let mut stream = tiny.clone();
        stream[3] |= flag;
        stream.splice(10..10, field.iter().copied());
        stream
    };
    let expect = expect![[
        "the gzip stream uses what is not supported, at input offset 0xa: kernels read no more of gzip's header than a name"
    ]];
    for (flag, field) in [(0x04, &b"\x02\0ab"[..]), (0x10, b"comment\0")] {
        check(&with(flag, field), &expect);
    }
    assert!(archive(&with(0x08, b"name\0")).is_ok());
    assert!(archive(&with(0x01, b"")).is_ok());
}

#[test]
fn takes_each_word_behind_a_block_of_lz4_for_a_size() {
    let block = lz4(b"some");
    let is_size = [&block[..], &4_u32.to_le_bytes()].concat();
    assert!(run(&is_size).is_ok());
    assert!(archive(&is_size).is_err());
    // The four bytes are a block of three literals.
    let stream = [&is_size[..], b"0707"].concat();
    assert_eq!(run(&stream).unwrap().1, b"some");
    assert_eq!(archive(&stream).unwrap().1, b"some707");
    let stream = [&block[..], b"\x28\xb5\x2f\xfd behind"].concat();
    check(
        &stream,
        &expect![
            "the lz4 stream is corrupt at input offset 0xd: block size: expected at most 0x808090, found 0xfd2fb528"
        ],
    );
    for behind in [&b"\0\0\0\x000707"[..], b"abc"] {
        let stream = [&block[..], behind].concat();
        assert_eq!(archive(&stream), Ok((block.len() as u64, b"some".to_vec())));
    }
    let frames = [&block[..], &block].concat();
    let len = frames.len() as u64;
    assert_eq!(archive(&frames), Ok((len, b"somesome".to_vec())));
}

#[test]
fn refuses_lzop_files_that_kernels_read_otherwise() {
    let checks = expect![
        "the lzo stream uses what is not supported, at input offset 0x26: kernels take lzop files with one checksum of each block's data"
    ];
    for name in ["adler-both.lzo", "crc-both.lzo", "unchecked.lzo"] {
        check(&testdata(name), &checks);
    }
    check(
        &lzop(&[7; 300 << 10], 300 << 10),
        &expect![
            "the lzo stream uses what is not supported, at input offset 0x2e: kernels take no block of an lzop file longer than 256 KiB"
        ],
    );
    assert!(archive(&lzop(&[7; 600 << 10], 256 << 10)).is_ok());

    // The header without its magic and its checksum.
    let with = |edit: &dyn Fn(&mut Vec<u8>), extra: &[u8]| {
        let mut header = lzop_header();
        let magic: Vec<u8> = header.drain(..9).collect();
        header.truncate(header.len() - 4);
        edit(&mut header);
        let sum = adler32(&header).to_be_bytes();
        let block = &lzop(b"some", 9)[lzop_header().len()..];
        [&magic, &header, &sum[..], extra, block].concat()
    };
    let field = [0_u32.to_be_bytes(), adler32(&[0; 4]).to_be_bytes()].concat();
    check(
        &with(&|header| header[11] |= 0x40, &field),
        &expect![
            "the lzo stream uses what is not supported, at input offset 0x26: kernels do not know the extra field of lzop files"
        ],
    );
    let old = |header: &mut Vec<u8>| {
        header[..2].copy_from_slice(&[0x09, 0x30]);
        // `mtime_high`, the level, and the version that is needed.
        header.drain(20..24);
        header.remove(7);
        header.drain(4..6);
    };
    check(
        &with(&old, b""),
        &expect![
            "the lzo stream uses what is not supported, at input offset 0xd: kernels do not know lzop files of such an old version"
        ],
    );
}

#[test]
fn refuses_checks_and_filters_of_xz_that_kernels_do_not_know() {
    let checks = expect![
        "the xz stream uses what is not supported, at input offset 0x0: kernels take xz with a CRC-32 alone (`xz --check=crc32`)"
    ];
    for name in ["crc64.xz", "sha256.xz"] {
        check(&testdata(name), &checks);
    }
    check(
        &testdata("delta.xz"),
        &expect![
            "the xz stream uses what is not supported, at input offset 0xc: kernels take no filter of xz but a BCJ filter without an offset"
        ],
    );
}
