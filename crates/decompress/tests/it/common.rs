//! The things that the tests share: the files of `testdata`, encoders, and one call.

use std::fs;
use std::io::Write;
use std::path::Path;

use ukexec_decompress::{Compression, DecompressError, Decompressed, Limits, decompress};

/// The suffix in `testdata` and the compression it stands for.
pub(crate) const SUFFIXES: [(&str, Compression); 7] = [
    ("gz", Compression::Gzip),
    ("bz2", Compression::Bzip2),
    ("lzma", Compression::Lzma),
    ("xz", Compression::Xz),
    ("lzo", Compression::Lzo),
    ("lz4", Compression::Lz4),
    ("zst", Compression::Zstd),
];

/// Reads a file of `testdata`.
pub(crate) fn testdata(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("testdata")
            .join(name),
    )
    .unwrap()
}

/// Decompresses with the default limits.
pub(crate) fn run(stream: &[u8]) -> Result<(Decompressed, Vec<u8>), DecompressError> {
    let mut output = Vec::new();
    let done = decompress(&mut &*stream, &mut output, &Limits::default())?;
    assert_eq!(done.written, output.len() as u64);
    Ok((done, output))
}

/// Bytes that compress somewhat, other ones for every seed.
pub(crate) fn sample(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 64);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let word = (state >> 33).to_le_bytes();
        bytes.extend_from_slice(&word[..4]);
        bytes.extend([b'-'; 40]);
    }
    bytes.truncate(len);
    bytes
}

/// Compresses with the encoder of the crate whose decoder is used, or by hand.
pub(crate) fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Gzip => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(data).unwrap();
            gzip.finish().unwrap()
        }
        Compression::Bzip2 => {
            let level = bzip2::Compression::new(9);
            let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), level);
            bzip2.write_all(data).unwrap();
            bzip2.finish().unwrap()
        }
        Compression::Lzma => lzma(data, None),
        Compression::Xz => xz(data, |_| {}),
        Compression::Lzo => lzop(data, 256 << 10),
        Compression::Lz4 => lz4(data),
        Compression::Zstd => {
            let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            zstd.include_checksum(true).unwrap();
            zstd.write_all(data).unwrap();
            zstd.finish().unwrap()
        }
    }
}

/// LZMA-alone, with the size in the header if one is given.
pub(crate) fn lzma(data: &[u8], size: Option<u64>) -> Vec<u8> {
    let options = lzma_rust2::LzmaOptions::with_preset(0);
    let mut lzma = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, size).unwrap();
    lzma.write_all(data).unwrap();
    lzma.finish().unwrap()
}

pub(crate) fn xz(data: &[u8], set: impl Fn(&mut lzma_rust2::XzOptions)) -> Vec<u8> {
    let mut options = lzma_rust2::XzOptions::with_preset(0);
    set(&mut options);
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    xz.write_all(data).unwrap();
    xz.finish().unwrap()
}

/// LZ4 legacy. The size that the kernel's build appends is not there.
pub(crate) fn lz4(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x02, 0x21, 0x4c, 0x18];
    for block in data.chunks(8 << 20) {
        let compressed = lz4_flex::block::compress(block);
        stream.extend(u32::try_from(compressed.len()).unwrap().to_le_bytes());
        stream.extend(compressed);
    }
    stream
}

/// An lzop file. Blocks of one repeated byte are compressed, others stored.
pub(crate) fn lzop(data: &[u8], block_len: usize) -> Vec<u8> {
    let mut stream = lzop_header();
    for block in data.chunks(block_len) {
        let compressed = lzo_run(block).unwrap_or_else(|| block.to_vec());
        stream.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
        stream.extend(u32::try_from(compressed.len()).unwrap().to_be_bytes());
        stream.extend(adler32(block).to_be_bytes());
        stream.extend(compressed);
    }
    stream.extend([0; 4]);
    stream
}

pub(crate) fn lzop_header() -> Vec<u8> {
    let mut header = vec![0x10, 0x40, 0x20, 0xa0, 0x09, 0x40, 1, 5];
    header.extend(1_u32.to_be_bytes());
    header.extend([0; 12 + 1]);
    let checksum = adler32(&header);
    let mut stream = vec![0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a];
    stream.extend(header);
    stream.extend(checksum.to_be_bytes());
    stream
}

/// A run of one byte as LZO1X: four literals, then one match of the rest.
fn lzo_run(block: &[u8]) -> Option<Vec<u8>> {
    let first = *block.first()?;
    if block.len() < 1000 || block.iter().any(|byte| *byte != first) {
        return None;
    }
    let mut stream = vec![17 + 4, first, first, first, first, 0x20];
    let mut rest = block.len() - 4 - 33;
    while rest > 255 {
        stream.push(0);
        rest -= 255;
    }
    stream.push(u8::try_from(rest).unwrap());
    stream.extend([0, 0, 0x11, 0, 0]);
    Some(stream)
}

pub(crate) fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}
