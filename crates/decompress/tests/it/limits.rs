//! Sizes at the borders, the cap on the output, the cap on memory, and readers
//! and writers that fail.

use std::error::Error as _;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};

use crate::common::{SUFFIXES, compress, lz4, lzma, lzop, sample, testdata};
use expect_test::{Expect, expect};
use ukexec_decompress::{Compression, Limits, StreamWarning, decompress};

const MIB: usize = 1 << 20;

/// Compares what is written with what should be, and counts.
struct Compare<'a> {
    expected: &'a [u8],
    written: usize,
}

impl Write for Compare<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let end = self.written + buf.len();
        assert!(
            self.expected.get(self.written..end) == Some(buf),
            "at {}",
            self.written
        );
        self.written = end;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// 8 MiB is a chunk of the series' own loader, and LZ4's block.
#[test]
fn decompresses_sizes_at_the_8_mib_border() {
    let data = sample(16 * MIB, 7);
    for (_, compression) in SUFFIXES {
        for len in [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB] {
            let mut stream = compress(compression, &data[..len]);
            let mut output = Compare {
                expected: &data[..len],
                written: 0,
            };
            let limits = Limits {
                output: len as u64,
                ..Limits::default()
            };
            let done = decompress(&mut stream.as_slice(), &mut output, &limits)
                .unwrap_or_else(|error| panic!("{compression} of {len}: {error}"));
            assert_eq!(
                (output.written, done.warnings),
                (len, vec![]),
                "{compression} of {len}"
            );

            // With the size behind it, as the kernel's build appends it.
            let end = stream.len() as u64;
            stream.extend(u32::try_from(len).unwrap().to_le_bytes());
            let mut output = Compare {
                expected: &data[..len],
                written: 0,
            };
            let done = decompress(&mut stream.as_slice(), &mut output, &limits)
                .unwrap_or_else(|error| panic!("{compression} of {len}, size behind: {error}"));
            assert_eq!(
                (output.written, done.consumed),
                (len, end),
                "{compression} of {len}"
            );
            assert_eq!(done.warnings, [StreamWarning::TrailingBytes { count: 4 }]);
        }
    }
}

#[test]
fn the_cap_is_exact() {
    let data = sample(300_000, 3);
    for (_, compression) in SUFFIXES {
        let stream = compress(compression, &data);
        for cap in [0, 1, 299_999] {
            let mut output = Compare {
                expected: &data,
                written: 0,
            };
            let limits = Limits {
                output: cap,
                ..Limits::default()
            };
            let error = decompress(&mut stream.as_slice(), &mut output, &limits).unwrap_err();
            assert_eq!(error.to_string(), past_the_cap(compression, cap));
            assert!(output.written as u64 <= cap);
        }
        let limits = Limits {
            output: 300_000,
            ..Limits::default()
        };
        decompress(&mut stream.as_slice(), &mut io::sink(), &limits).unwrap();
    }
}

fn past_the_cap(compression: Compression, cap: u64) -> String {
    format!(
        "the {compression} stream decompresses to more bytes than the limit of {cap}; --max-output \
         raises it"
    )
}

/// Bytes that no encoder makes shorter.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn what_cannot_be_compressed_is_no_fault() {
    let data = noise(10 * MIB);
    for (_, compression) in SUFFIXES {
        // More than a block of bzip2 or LZ4.
        let len = match compression {
            Compression::Lz4 | Compression::Lzo => 10 * MIB,
            _ => 2 * MIB,
        };
        let stream = compress(compression, &data[..len]);
        assert!(stream.len() >= len, "{compression}");
        let mut output = Compare {
            expected: &data,
            written: 0,
        };
        let mut input = BufReader::with_capacity(128 << 10, stream.as_slice());
        decompress(&mut input, &mut output, &Limits::default())
            .unwrap_or_else(|error| panic!("{compression}: {error}"));
        assert_eq!(output.written, len, "{compression}");
    }
}

/// Expects that a stream that begins with `head` and goes on with `more` over
/// and over is left after little more than 1 MiB.
#[track_caller]
fn check_unproductive(head: &[u8], more: &[u8]) {
    let stream = [head, &more.repeat(3 * MIB / more.len())].concat();
    let check = |input: &mut dyn BufRead| {
        let error = decompress(input, &mut io::sink(), &Limits::default()).unwrap_err();
        let text = error.to_string();
        let (_, numbers) = text.split_once("too little: its first ").unwrap();
        let (at, numbers) = numbers.split_once(" bytes make ").unwrap();
        let (written, _) = numbers.split_once(" bytes of output; ").unwrap();
        let (at, written): (u64, u64) = (at.parse().unwrap(), written.parse().unwrap());
        let most = MIB as u64 + written + written / 8;
        assert!(
            (most..=most + (128 << 10)).contains(&at),
            "{at} for {written}"
        );
    };
    check(&mut stream.as_slice());
    let mut input = BufReader::with_capacity(128 << 10, Counting(stream.as_slice(), 0));
    check(&mut input);
    assert!(
        input.get_ref().1 < 2 * MIB,
        "{} bytes read",
        input.get_ref().1
    );
}

/// Every format can go on without saying anything, but for LZMA-alone, whose
/// every bit says something, and bzip2, which ends at an empty block.
#[test]
fn input_that_makes_no_output_is_left_soon() {
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\0";
    // Empty stored blocks.
    check_unproductive(gzip, b"\x00\x00\x00\xff\xff");
    // A name without end.
    check_unproductive(b"\x1f\x8b\x08\x08\0\0\0\0\0\0", b"name");
    // Empty frames; skippable ones, many and one.
    check_unproductive(b"", b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00");
    check_unproductive(b"", b"\x50\x2a\x4d\x18\0\0\0\0");
    check_unproductive(b"\x50\x2a\x4d\x18\0\0\0\x7f", b"skip");
    // Blocks of nothing, and magic after magic.
    check_unproductive(&lz4(b""), b"\x01\0\0\0\0");
    check_unproductive(b"", &lz4(b""));
    // Blocks of one byte.
    let block = b"\0\0\0\x01\0\0\0\x01\0\x62\0\x62a";
    check_unproductive(&lzop(b"", 1)[..38], block);
    // One block of one byte each, with an index that is never reached.
    let xz = xz_of_one_block(b"a");
    check_unproductive(&xz[..12], &xz[12..36]);
}

/// An xz stream of one block that is stored.
fn xz_of_one_block(data: &[u8; 1]) -> Vec<u8> {
    let crc32 = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let mut stream = b"\xfd7zXZ\0\0\x01".to_vec();
    stream.extend(crc32(&stream[6..8]));
    let header = [2, 0, 0x21, 1, 0, 0, 0, 0];
    stream.extend(header);
    stream.extend(crc32(&header));
    stream.extend([1, 0, 0, data[0], 0, 0, 0, 0]);
    stream.extend(crc32(data));
    stream
}

/// Counts what is read of it.
struct Counting<R>(R, usize);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buf)?;
        self.1 += count;
        Ok(count)
    }
}

/// A bomb is left as soon as its output passes the cap: hardly more of it is
/// read than makes as much output as that.
#[test]
fn bombs_are_left_at_the_cap() {
    const CAP: usize = 4 * MIB;
    let zeros = vec![0; 64 * MIB];
    for (_, compression) in SUFFIXES {
        let stream = compress(compression, &zeros);
        let mut input = BufReader::with_capacity(512, Counting(stream.as_slice(), 0));
        let mut output = Compare {
            expected: &zeros,
            written: 0,
        };
        let limits = Limits {
            output: CAP as u64,
            ..Limits::default()
        };
        let error = decompress(&mut input, &mut output, &limits).unwrap_err();
        assert_eq!(error.to_string(), past_the_cap(compression, limits.output));
        assert!(output.written <= CAP, "{compression}");
        // Two blocks at most of bzip2 (46 MB of zeros each) or LZ4 (8 MiB).
        let read = input.get_ref().1;
        assert!(
            read <= stream.len() / 3 + 4096,
            "{compression}: {read} of {}",
            stream.len()
        );
    }
}

#[track_caller]
fn check_memory(stream: &[u8], memory: u64, expect: Expect) {
    let limits = Limits {
        memory,
        ..Limits::default()
    };
    let text = match decompress(&mut &*stream, &mut io::sink(), &limits) {
        Ok(done) => format!("{} bytes", done.written),
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&format!("{text}\n"));
}

#[test]
fn memory_is_refused_before_it_is_allocated() {
    let mib = MIB as u64;
    // A 128 MiB window, as every real zstd payload has.
    check_memory(
        &testdata("data.zst"),
        128 * mib,
        expect![[r#"
        8200 bytes
    "#]],
    );
    check_memory(
        &testdata("data.zst"),
        128 * mib - 1,
        expect![[r#"
            the zstd stream needs 134217728 bytes of memory to decompress, the limit is 134217727; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check_memory(
        &testdata("data.xz"),
        129 * mib,
        expect![[r#"
        8200 bytes
    "#]],
    );
    check_memory(
        &testdata("data.xz"),
        64 * mib,
        expect![[r#"
            the xz stream needs 134258688 bytes of memory to decompress, the limit is 67108864; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check_memory(
        &testdata("data.lzma"),
        72 * mib,
        expect![[r#"
        8200 bytes
    "#]],
    );
    check_memory(
        &testdata("data.lzma"),
        64 * mib,
        expect![[r#"
            the lzma stream needs 67131392 bytes of memory to decompress, the limit is 67108864; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check_memory(
        &testdata("data.bz2"),
        mib,
        expect![[r#"
            the bzip2 stream needs 3600000 bytes of memory to decompress, the limit is 1048576; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check_memory(
        &testdata("data.lz4"),
        mib,
        expect![[r#"
            the lz4 stream needs 16810128 bytes of memory to decompress, the limit is 1048576; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check_memory(
        &lzop(&vec![0; 4 * MIB], 4 * MIB),
        16 * mib,
        expect![[r#"
            4194304 bytes
        "#]],
    );
    check_memory(
        &lzop(&vec![0; 4 * MIB], 4 * MIB),
        4 * mib,
        expect![[r#"
            the lzo stream needs 8388608 bytes of memory to decompress, the limit is 4194304; compress it with a smaller window, or raise --max-memory
        "#]],
    );
    check_memory(
        &testdata("data.gz"),
        0,
        expect![[r#"
        8200 bytes
    "#]],
    );
}

#[test]
fn a_known_size_needs_no_larger_dictionary() {
    let mut stream = lzma(b"known", Some(5));
    stream[1..5].copy_from_slice(&[0, 0xff, 0xff, 0xff]);
    check_memory(
        &stream,
        8 << 20,
        expect![[r#"
        5 bytes
    "#]],
    );
}

#[test]
fn lz4_streams_of_several_frames_cross_the_block_border() {
    let data = sample(9 * MIB, 5);
    let stream = [lz4(&data), lz4(b""), lz4(&data)].concat();
    let mut output = Vec::new();
    let done = decompress(&mut stream.as_slice(), &mut output, &Limits::default()).unwrap();
    assert!(output == data.repeat(2));
    assert_eq!(done.warnings, []);
}

#[test]
fn an_lz4_block_size_out_of_range_inside_the_data_is_an_error() {
    let mut stream = lz4(&sample(8 * MIB, 5));
    stream.extend(b"what follows");
    let error = decompress(&mut stream.as_slice(), &mut io::sink(), &Limits::default());
    let text = error.unwrap_err().to_string();
    assert!(text.contains("is corrupt at"), "{text}");
}

/// Fails at an offset.
struct Failing(Cursor<Vec<u8>>, u64);

impl Read for Failing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.1.saturating_sub(self.0.position());
        if left == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        let count = buf.len().min(usize::try_from(left).unwrap());
        self.0.read(&mut buf[..count])
    }
}

#[test]
fn a_failed_read_names_its_offset() {
    for (suffix, compression) in SUFFIXES {
        let stream = testdata(&format!("tiny.{suffix}"));
        for at in [0, 5, 100, 300] {
            let failing = Failing(Cursor::new(stream.clone()), at);
            let mut input = BufReader::with_capacity(64, failing);
            let error = decompress(&mut input, &mut io::sink(), &Limits::default()).unwrap_err();
            let text = error.to_string();
            let found = text.strip_prefix("could not read the compressed input at offset 0x");
            let found = u64::from_str_radix(found.unwrap(), 16).unwrap();
            assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
            assert!(
                found <= at && at <= found + 64,
                "{compression}: {found} for {at}"
            );
        }
    }
}

#[test]
fn a_failed_write_names_its_offset() {
    let mut room = [0; 100];
    for (suffix, compression) in SUFFIXES {
        let stream = testdata(&format!("data.{suffix}"));
        let mut output = &mut room[..];
        let error = decompress(&mut &stream[..], &mut output, &Limits::default()).unwrap_err();
        let text = "could not write the decompressed output at offset 0x0";
        assert_eq!(error.to_string(), text, "{compression}");
        let source: &io::Error = error.source().unwrap().downcast_ref().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::WriteZero);
    }
}

#[test]
fn a_reader_of_any_granularity_gives_the_same() {
    for (suffix, compression) in SUFFIXES {
        let stream = [testdata(&format!("data.{suffix}")), b"rest!".to_vec()].concat();
        for capacity in [1, 2, 3, 7, 64, 1000] {
            let mut input = BufReader::with_capacity(capacity, stream.as_slice());
            let mut output = Vec::new();
            let done = decompress(&mut input, &mut output, &Limits::default())
                .unwrap_or_else(|error| panic!("{compression}, {capacity}: {error}"));
            assert_eq!(output, testdata("data.raw"));
            assert_eq!(
                done.warnings,
                [StreamWarning::TrailingBytes { count: 5 }],
                "{compression}"
            );
            assert!(input.fill_buf().unwrap().is_empty());
        }
    }
    assert_eq!(Compression::Lz4.to_string(), "lz4");
}
