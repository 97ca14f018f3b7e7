//! The rules of all decoders.

use ukexec_decompress::{Compression, Limits, decompress};

/// Bytes that an output may have here.
const OUTPUT: u64 = 1 << 20;

/// Decompresses `data`, which has the magic of `compression` put in front of it
/// unless it starts with it: twice, once with the output's exact length as its
/// limit.
pub(crate) fn check(compression: Compression, data: &[u8]) {
    let mut input = data.to_vec();
    if Compression::detect(data) != Some(compression) {
        let magic = magic(compression);
        input.resize(input.len().max(magic.len()), 0);
        input[..magic.len()].copy_from_slice(magic);
    }
    let (output, done) = run(&input, OUTPUT);
    assert!(output.len() as u64 <= OUTPUT);
    let Some(written) = done else {
        return;
    };
    assert_eq!(written, output.len() as u64);
    assert_eq!(run(&input, written), (output, Some(written)));
    if let Some(less) = written.checked_sub(1) {
        assert_eq!(run(&input, less).1, None, "the limit is passed by one byte");
    }
}

fn run(mut input: &[u8], output: u64) -> (Vec<u8>, Option<u64>) {
    let limits = Limits {
        output,
        memory: 16 << 20,
    };
    let mut bytes = Vec::new();
    let done = decompress(&mut input, &mut bytes, &limits);
    (bytes, done.ok().map(|done| done.written))
}

fn magic(compression: Compression) -> &'static [u8] {
    match compression {
        Compression::Gzip => b"\x1f\x8b",
        Compression::Bzip2 => b"BZh",
        Compression::Lzma => b"\x5d\x00",
        Compression::Xz => b"\xfd7zXZ\x00",
        Compression::Lzo => b"\x89LZO\x00\x0d\x0a\x1a\x0a",
        Compression::Lz4 => b"\x02\x21\x4c\x18",
        Compression::Zstd => b"\x28\xb5\x2f\xfd",
    }
}
