//! Initial ramdisks: cpio archives in the `newc` format, written here.
//!
//! Format: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// A cpio archive under construction.
#[derive(Debug, Default)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    inodes: u32,
}

impl Initramfs {
    /// An archive with a console, a BusyBox at `/bin/busybox` and `init` as `/init`.
    ///
    /// # Errors
    ///
    /// `busybox` cannot be read.
    pub(crate) fn with_busybox(busybox: &Path, init: &str) -> Result<Self> {
        let mut archive = Self::default();
        for dir in ["bin", "dev", "proc", "run", "sys", "tmp"] {
            archive.dir(dir);
        }
        archive.console();
        archive.copy("bin/busybox", 0o755, busybox)?;
        archive.symlink("bin/sh", "busybox");
        archive.file("init", 0o755, init.as_bytes());
        Ok(archive)
    }

    /// Adds a folder; the ones above it come first.
    pub(crate) fn dir(&mut self, name: &str) {
        self.entry(name, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, REGULAR | mode, (0, 0), content);
    }

    /// Adds a copy of the file at `path`.
    ///
    /// # Errors
    ///
    /// `path` cannot be read.
    pub(crate) fn copy(&mut self, name: &str, mode: u32, path: &Path) -> Result<()> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.file(name, mode, &content);
        Ok(())
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(&mut self, name: &str, to: &str) {
        self.entry(name, SYMLINK | 0o777, (0, 0), to.as_bytes());
    }

    /// Ends the archive, padded as cpio pads it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        pad(&mut self.bytes, 512);
        self.bytes
    }

    /// The console that the kernel gives to `/init`.
    fn console(&mut self) {
        self.entry("dev/console", CHARACTER_DEVICE | 0o600, (5, 1), &[]);
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.inodes += 1;
        let fields = [
            self.inodes,
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // time
            length(content.len()),
            0, // device that holds the file, major
            0, // minor
            device.0,
            device.1,
            length(name.len() + 1),
            0, // checksum, which this format does not use
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        pad(&mut self.bytes, 4);
        self.bytes.extend_from_slice(content);
        pad(&mut self.bytes, 4);
    }
}

/// Pads `bytes` with zeros to a multiple of `to`.
pub(crate) fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("what goes into a test ramdisk is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_header_name_and_padding() {
        let mut archive = Initramfs::default();
        archive.file("a", 0o644, b"xyz");
        let bytes = archive.finish();
        assert!(bytes.starts_with(b"07070100000001000081a4"));
        // 110 bytes of header and "a\0" end at 112; 3 bytes of content are padded to 4.
        assert_eq!(&bytes[110..116], b"a\0xyz\0");
        assert_eq!(&bytes[116..122], b"070701");
        assert_eq!(bytes.len(), 512);
    }
}
