//! EFI zboot files as Linux's build makes them, written around a real kernel.
//!
//! Layout: Linux, `drivers/firmware/efi/libstub/zboot-header.S`. Compressors and their options:
//! `Makefile.zboot` there, and `scripts/Makefile.lib`. Zeros stand in the place of
//! the EFI code that unpacks the payload under firmware.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};

use crate::command::Tool;
use crate::kept::kept;
use crate::workspace;

/// Linux's mark of a PE kernel, in the DOS header since 6.4.
const LINUX_PE_MAGIC: u32 = 0x8182_23cd;
const HEADERS_SIZE: usize = 0x1000;
const FILE_ALIGNMENT: usize = 512;
/// Where an Image says how much memory it takes, on arm64 and riscv alike.
const IMAGE_SIZE_AT: usize = 16;

/// A compression that a kernel can be built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
    Xz,
    /// As [`Compression::Xz`], with the arm64 branch filter that builds since 6.12 use.
    XzArm64,
    Lzma,
    Lzo,
    Lz4,
}

impl Compression {
    /// The short name of the stream's format.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::XzArm64 => "xz-arm64",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
        }
    }

    /// Whether the build appends the uncompressed size behind the stream.
    pub(crate) const fn appends_size(self) -> bool {
        !matches!(self, Self::Gzip)
    }

    /// The build's command line, from standard input to standard output.
    pub(crate) fn tool(self) -> Tool {
        match self {
            Self::Gzip => Tool::new("gzip").args(["-n", "-f", "-9"]),
            Self::Zstd => Tool::new("zstd").args(["-22", "--ultra"]),
            Self::Xz => Tool::new("xz").args(["--check=crc32", "--lzma2=dict=32MiB"]),
            Self::XzArm64 => {
                Tool::new("xz").args(["--check=crc32", "--arm64", "--lzma2=lc=2,lp=2,dict=32MiB"])
            }
            Self::Lzma => Tool::new("lzma").arg("-9"),
            Self::Lzo => Tool::new("lzop").arg("-9"),
            Self::Lz4 => Tool::new("lz4").args(["-l", "-9", "-", "-"]),
        }
    }
}

/// The kernel release whose build is followed where releases differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Type text `zstd22`, no mark in the DOS header, kernel as it is.
    V6_1,
    /// Type text `zstd`, the mark, kernel padded to its size in memory.
    V6_12,
}

/// An architecture's machine number in the PE header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine(pub(crate) u16);

impl Machine {
    pub(crate) const ARM64: Self = Self(0xaa64);
    pub(crate) const RISCV64: Self = Self(0x5064);
}

/// How a zboot file is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zboot {
    pub(crate) machine: Machine,
    pub(crate) compression: Compression,
    pub(crate) generation: Generation,
}

/// A zboot file and what is known about it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) image: Vec<u8>,
    /// The content of its payload.
    pub(crate) kernel: Vec<u8>,
    /// Where the payload starts in `image`.
    pub(crate) payload_at: usize,
    /// The payload's length, without the size bytes appended to it.
    pub(crate) payload_len: usize,
}

impl Zboot {
    /// Compresses the kernel at `kernel` and writes a zboot file around it.
    ///
    /// # Errors
    ///
    /// The kernel cannot be read, or its compressor fails.
    pub(crate) fn make(&self, kernel: &Path) -> Result<Made> {
        let mut bytes =
            fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
        if self.generation == Generation::V6_12 {
            let in_memory = image_size(&bytes)?;
            ensure!(
                in_memory >= bytes.len(),
                "{} is larger than it says it is in memory",
                kernel.display()
            );
            bytes.resize(in_memory, 0);
        }
        let payload = self.compress(kernel, &bytes)?;
        self.wrap(bytes, &payload)
    }

    /// Writes a zboot file around any payload that says to hold `kernel`.
    ///
    /// # Errors
    ///
    /// The payload does not fit what the header can say.
    pub(crate) fn wrap(&self, kernel: Vec<u8>, payload: &[u8]) -> Result<Made> {
        let mut text = vec![0; self.code_len()];
        let payload_at = HEADERS_SIZE + text.len();
        text.extend_from_slice(payload);
        if self.compression.appends_size() {
            text.extend_from_slice(&u32::try_from(kernel.len())?.to_le_bytes());
        }
        text.resize(text.len().next_multiple_of(0x1000), 0);
        let mut image = self.headers(
            u32::try_from(payload_at)?,
            u32::try_from(payload.len())?,
            u32::try_from(text.len())?,
        );
        image.resize(HEADERS_SIZE, 0);
        image.extend_from_slice(&text);
        image.resize(image.len() + FILE_ALIGNMENT, 0); // .data
        Ok(Made {
            image,
            kernel,
            payload_at,
            payload_len: payload.len(),
        })
    }

    /// The type text in the header.
    fn type_text(&self) -> &'static str {
        match (self.compression, self.generation) {
            (Compression::Zstd, Generation::V6_1) => "zstd22",
            (Compression::Xz | Compression::XzArm64, _) => "xzkern",
            (other, _) => other.name(),
        }
    }

    /// How much code the build puts in front of the payload: an odd number, as in real files.
    fn code_len(&self) -> usize {
        match self.generation {
            Generation::V6_1 => 0x22c8,
            Generation::V6_12 => 0x1_4390,
        }
    }

    /// The DOS, PE and section headers.
    fn headers(&self, payload_at: u32, payload_len: u32, text_len: u32) -> Vec<u8> {
        const DATA_RAW: u32 = 512;
        const DATA_IN_MEMORY: u32 = 0x4_0400;
        const START: u32 = 0x1000;
        let data_at = START + text_len;
        let mark = match self.generation {
            Generation::V6_1 => 0,
            Generation::V6_12 => LINUX_PE_MAGIC,
        };
        let mut header = Header::default();
        header
            .text("MZ\0\0zimg")
            .u32s(&[payload_at, payload_len, 0, 0]);
        header.text(self.type_text()).zeros_to(0x38);
        header.u32s(&[mark, 0x40]);
        header.text("PE\0\0").u16s(&[self.machine.0, 2]);
        header.u32s(&[0, 0, 0]).u16s(&[160, 0x0206]);
        // Optional header: magic, linker version, sizes, entry point, base of code.
        header
            .u16s(&[0x20b, 0])
            .u32s(&[text_len, DATA_IN_MEMORY, 0]);
        header.u32s(&[START + 0x10, START, 0, 0]);
        header.u32s(&[0x1000, 512]).u16s(&[0, 0, 3, 0, 0, 0]);
        header.u32s(&[0, data_at + DATA_IN_MEMORY, START, 0]);
        header.u16s(&[10, 0x100]).u32s(&[0; 8]).u32s(&[0, 6]);
        header.u32s(&[0; 12]);
        header
            .text(".text\0\0\0")
            .u32s(&[text_len, START, text_len, START]);
        header.u32s(&[0, 0, 0, 0x6000_0020]);
        header
            .text(".data\0\0\0")
            .u32s(&[DATA_IN_MEMORY, data_at, DATA_RAW, data_at]);
        header.u32s(&[0, 0, 0, 0xc000_0040]);
        header.bytes
    }

    /// The payload: what the build's compressor makes of `bytes`. It is kept, since the stronger
    /// compressors take their time.
    fn compress(&self, kernel: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
        let name = kernel
            .file_name()
            .ok_or_else(|| anyhow!("{} has no name", kernel.display()))?
            .to_string_lossy();
        let compression = self.compression.name();
        let path = workspace::target_dir()
            .join("ukexec-payloads")
            .join(format!("{name}-{}.{compression}", bytes.len()));
        kept(&path, |unfinished| {
            let input = unfinished.with_extension(format!("{compression}.input"));
            fs::write(&input, bytes)?;
            self.compression.tool().into_file(&input, unfinished)?;
            Ok(fs::remove_file(input)?)
        })?;
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// The size in memory that an Image's header states.
fn image_size(kernel: &[u8]) -> Result<usize> {
    let field = kernel
        .get(IMAGE_SIZE_AT..IMAGE_SIZE_AT + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| anyhow!("the kernel is too short to be an Image"))?;
    Ok(usize::try_from(u64::from_le_bytes(field))?)
}

/// Little-endian fields, one behind the other.
#[derive(Default)]
struct Header {
    bytes: Vec<u8>,
}

impl Header {
    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    fn u16s(&mut self, values: &[u16]) -> &mut Self {
        for value in values {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    fn u32s(&mut self, values: &[u32]) -> &mut Self {
        for value in values {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    fn zeros_to(&mut self, end: usize) -> &mut Self {
        self.bytes.resize(end, 0);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header fields of formats that the kernel's build wrote itself, by offset.
    #[test]
    fn header_fields_lie_where_the_kernels_build_puts_them() {
        let zboot = Zboot {
            machine: Machine::ARM64,
            compression: Compression::Zstd,
            generation: Generation::V6_12,
        };
        let made = zboot.wrap(vec![1; 10], &[7; 100]).unwrap();
        let image = &made.image;
        assert_eq!(&image[..8], b"MZ\0\0zimg");
        assert_eq!(&image[0x18..0x1d], b"zstd\0");
        assert_eq!(
            &image[0x38..0x46],
            b"\xcd\x23\x82\x81\x40\0\0\0PE\0\0\x64\xaa"
        );
        assert_eq!(&image[0x9c..0xa0], b"\x0a\0\0\x01"); // subsystem, NX
        assert_eq!(&image[0xf8..0xfd], b".text");
        assert_eq!(&image[0x120..0x125], b".data");
        assert_eq!(
            &image[made.payload_at..][..104],
            [&[7; 100][..], &[10, 0, 0, 0]].concat()
        );
    }
}
