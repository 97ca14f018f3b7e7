//! Expanded initrds, beside a model of the kernel's `init/initramfs.c`.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use ukexec_bpf::Rope;
use ukexec_decompress::{Limits, decompress_archive};

use crate::{ExpandedInitrd, MemoryStore, expand_initrd};

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let (size, name_len) = (content.len(), name.len() + 1);
    let zeros = |fields: usize| "0".repeat(8 * fields);
    let mut bytes = format!(
        "070701{}000081a4{}{size:08x}{}{name_len:08x}{}{name}\0",
        zeros(1),
        zeros(4),
        zeros(4),
        zeros(1)
    )
    .into_bytes();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(super) fn archive(name: &str) -> Vec<u8> {
    [file(name, name.as_bytes()), file("TRAILER!!!", b"")].concat()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

pub(super) fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
    // One raw block in a single segment, as RFC 8878 has it.
    let len = u32::try_from(bytes.len()).unwrap();
    let block = (len << 3 | 1).to_le_bytes();
    let head = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &len.to_le_bytes()].concat();
    [&head[..], &block[..3], bytes].concat()
}

/// LZ4 in its legacy format, of literals alone.
pub(super) fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut block = vec![0xf0];
    let mut left = bytes.len() - 15;
    while left >= 255 {
        block.push(255);
        left -= 255;
    }
    block.push(u8::try_from(left).unwrap());
    block.extend_from_slice(bytes);
    let size = u32::try_from(block.len()).unwrap().to_le_bytes();
    [&[0x02, 0x21, 0x4c, 0x18][..], &size, &block].concat()
}

/// An lzop file of one stored block.
pub(super) fn lzop(bytes: &[u8], flags: u32) -> Vec<u8> {
    let mut header = vec![0x10, 0x40, 0x20, 0xa0, 0x09, 0x40, 1, 5];
    header.extend(flags.to_be_bytes());
    header.extend([0; 12 + 1]);
    let mut file = vec![0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a];
    file.extend(&header);
    file.extend(adler32(&header).to_be_bytes());
    let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    file.extend([len, len].concat());
    if flags & 1 != 0 {
        file.extend(adler32(bytes).to_be_bytes());
    }
    if flags & 0x100 != 0 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        file.extend(crc.sum().to_be_bytes());
    }
    [&file[..], bytes, &[0; 4]].concat()
}

fn adler32(bytes: &[u8]) -> u32 {
    let sums = bytes.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    sums.1 << 16 | sums.0
}

/// Returns the names of the files that a kernel makes of `initrd`, which is plain cpio.
pub(super) fn names(initrd: &[u8]) -> Vec<String> {
    let files = Kernel::unpack(initrd).files.into_iter();
    files
        .map(|(name, _)| String::from_utf8(name).unwrap())
        .collect()
}

pub(super) fn expand(initrd: &[u8]) -> ExpandedInitrd {
    let rope = Rope::from(initrd.to_vec());
    expand_initrd(&rope, 1 << 20, u64::MAX, &mut MemoryStore::default()).unwrap()
}

/// The files that a kernel makes, and why it stops.
#[derive(Debug, Default, PartialEq)]
struct Made {
    files: Vec<(Vec<u8>, Vec<u8>)>,
    stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Start,
    Name(usize),
    Copy(usize),
    Skip,
    Reset,
}

/// `unpack_to_rootfs`.
struct Kernel {
    made: Made,
    state: State,
    at: usize,
    next: usize,
    collected: Vec<u8>,
    size: usize,
}

impl Kernel {
    fn unpack(initrd: &[u8]) -> Made {
        let mut kernel = Self {
            made: Made::default(),
            state: State::Start,
            at: 0,
            next: 0,
            collected: Vec::new(),
            size: 0,
        };
        let mut buf = initrd;
        while !kernel.made.stopped && !buf.is_empty() {
            let saved = kernel.at;
            if buf[0] == b'0' && kernel.at.is_multiple_of(4) {
                kernel.state = State::Start;
                let written = kernel.write(buf);
                buf = &buf[written..];
                continue;
            }
            if buf[0] == 0 {
                buf = &buf[1..];
                kernel.at += 1;
                continue;
            }
            kernel.at = 0;
            let mut content = Vec::new();
            let done = decompress_archive(&mut &buf[..], &mut content, &Limits::default());
            let Ok(done) = done else {
                kernel.flush(&content);
                kernel.made.stopped = true;
                break;
            };
            kernel.flush(&content);
            kernel.made.stopped |= kernel.state != State::Reset;
            let consumed = usize::try_from(done.consumed).unwrap();
            kernel.at = saved + consumed;
            buf = &buf[consumed..];
        }
        kernel.made
    }

    fn flush(&mut self, mut buf: &[u8]) {
        while !self.made.stopped {
            let written = self.write(buf);
            buf = &buf[written..];
            match buf.first() {
                None => break,
                Some(b'0') => self.state = State::Start,
                Some(0) => self.state = State::Reset,
                Some(_) => self.made.stopped = true,
            }
        }
    }

    /// `write_buffer`: returns how many bytes were taken.
    fn write(&mut self, buf: &[u8]) -> usize {
        let mut rest = buf;
        loop {
            match self.state {
                State::Start | State::Name(_) => {
                    let want = match self.state {
                        State::Name(len) => len,
                        _ => 110,
                    };
                    let missing = want - self.collected.len();
                    let next = rest.split_off(..missing.min(rest.len())).unwrap();
                    self.at += next.len();
                    self.collected.extend_from_slice(next);
                    if self.collected.len() < want {
                        break;
                    }
                    let collected = std::mem::take(&mut self.collected);
                    if want == 110 && self.state == State::Start {
                        if !collected.starts_with(b"070701") {
                            self.made.stopped = true;
                            break;
                        }
                        let field = |at: usize| {
                            let digits = str::from_utf8(&collected[at..at + 8]).unwrap_or("");
                            usize::from_str_radix(digits, 16).unwrap_or(0)
                        };
                        let name_len = field(94);
                        self.size = field(54);
                        // N_ALIGN
                        let name = ((name_len + 1) & !3) + 2;
                        self.next = (self.at + name + self.size + 3) & !3;
                        self.state = match name_len {
                            1..=4096 => State::Name(name),
                            _ => State::Skip,
                        };
                    } else {
                        let name = collected.split(|byte| *byte == 0).next().unwrap();
                        self.state = State::Skip;
                        if name != b"TRAILER!!!" {
                            self.made.files.push((name.to_vec(), Vec::new()));
                            self.state = State::Copy(self.size);
                        }
                    }
                }
                State::Copy(left) => {
                    let next = rest.split_off(..left.min(rest.len())).unwrap();
                    self.at += next.len();
                    self.made
                        .files
                        .last_mut()
                        .unwrap()
                        .1
                        .extend_from_slice(next);
                    self.state = State::Copy(left - next.len());
                    if left > next.len() {
                        break;
                    }
                    self.state = State::Skip;
                }
                State::Skip => {
                    let skipped = (self.next - self.at).min(rest.len());
                    rest = &rest[skipped..];
                    self.at += skipped;
                    if self.at < self.next {
                        break;
                    }
                    self.state = State::Reset;
                }
                State::Reset => {
                    let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                    rest = &rest[zeros..];
                    self.at += zeros;
                    self.made.stopped |= !rest.is_empty() && !self.at.is_multiple_of(4);
                    break;
                }
            }
        }
        buf.len() - rest.len()
    }
}

/// `find_cpio_data` of `lib/earlycpio.c`: returns the content of the first file of microcode.
fn microcode(initrd: &[u8]) -> Option<&[u8]> {
    let mut rest = initrd;
    while rest.len() > 110 {
        if rest[0] == 0 {
            rest = &rest[4..];
            continue;
        }
        let field = |at: usize, len: usize| {
            let digits = &rest[at..at + len];
            let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
            let digits = str::from_utf8(digits).ok().filter(|_| is_hex)?;
            usize::from_str_radix(digits, 16).ok()
        };
        for index in 0..13 {
            field(6 + 8 * index, 8)?;
        }
        if !(0x07_0701..=0x07_0702).contains(&field(0, 6)?) {
            return None;
        }
        let at = initrd.len() - rest.len();
        let content = (at + 110 + field(94, 8)?).next_multiple_of(4) - at;
        let end = content + field(54, 8)?;
        let next = (at + end).next_multiple_of(4) - at;
        let behind = rest.get(next..)?;
        let is_regular = field(14, 8)? & 0o170_000 == 0o100_000;
        if is_regular && rest[110..content].starts_with(b"kernel/x86/microcode/") {
            return Some(&rest[content..end]);
        }
        rest = behind;
    }
    None
}

/// Expands `initrd`; expects that a kernel makes the same of it, and the formats of
/// its segments, those that are unpacked in brackets.
#[track_caller]
fn check(initrd: &[u8], expected: &str) -> ExpandedInitrd {
    let expanded = expand(initrd);
    let bytes = expanded.initrd.to_vec().unwrap();
    assert_eq!(Kernel::unpack(&bytes), Kernel::unpack(initrd));
    assert_eq!(microcode(&bytes), microcode(initrd));
    let segments = expanded.segments.iter().map(|it| match it.unpacked {
        Some(_) => format!("[{}]", it.format),
        None => it.format.to_owned(),
    });
    assert_eq!(segments.collect::<Vec<_>>().join(" "), expected);
    let sizes: u64 = expanded.segments.iter().map(|it| it.size).sum();
    let first = expanded.segments.first().map_or(0, |it| it.offset);
    assert!(expanded.segments.is_empty() || first + sizes == initrd.len() as u64);
    expanded
}

#[test]
fn microcode_stays_in_front_and_archives_are_unpacked() {
    let microcode = archive("kernel/x86/microcode/GenuineIntel.bin");
    let main = gzip(&archive("init"));
    let expanded = check(&[&microcode[..], &[0; 512], &main].concat(), "cpio [gzip]");
    let expected = [&microcode[..], &[0; 512], &archive("init")].concat();
    assert_eq!(expanded.initrd.to_vec().unwrap(), expected);
    assert_eq!(expanded.left, None);
    check(&microcode, "cpio");
    check(&main, "[gzip]");
    check(
        &[&[0; 7][..], &main, &[0; 9], &zstd_frame(&archive("b"))].concat(),
        "[gzip] [zstd]",
    );
    check(b"", "");
    check(&[0; 600], "");
}

#[test]
fn an_archive_may_follow_at_any_place() {
    for zeros in 0..8 {
        for (name, next) in [("[gzip]", gzip(&archive("b"))), ("cpio", archive("b"))] {
            let front = gzip(&archive("a"));
            let at = front.len() + zeros;
            let initrd = [&front[..], &vec![0; zeros], &next].concat();
            let is_file = name == "cpio" && !at.is_multiple_of(4);
            // No kernel goes on at such a file, so nothing depends on what is in front.
            let expected = match is_file {
                true => "gzip".to_owned(),
                false => format!("[gzip] {name}"),
            };
            check(&initrd, &expected);
            // Behind a file, a place that is no multiple of 4 ends the walk.
            let initrd = [&archive("a")[..], &vec![0; zeros], &next].concat();
            let is_broken = !zeros.is_multiple_of(4);
            let expected = match (is_broken, name) {
                (true, _) => "cpio unknown",
                (false, "cpio") => "cpio",
                (false, _) => "cpio [gzip]",
            };
            check(&initrd, expected);
        }
    }
}

#[test]
fn what_a_kernel_refuses_stays_as_it_is() {
    let good = gzip(&archive("good"));
    let cut = archive("cut");
    for (bad, format) in [
        (gzip(&cut[..cut.len() - 8]), "gzip"),
        (gzip(b""), "gzip"),
        (gzip(b"text"), "gzip"),
        (gzip(&[&archive("a")[..], b"text"].concat()), "gzip"),
        (gzip(&[&[0; 4][..], &archive("a")].concat()), "gzip"),
        (gzip(&archive("kernel/firmware/acpi/dsdt.aml")), "gzip"),
        (good[..good.len() - 3].to_vec(), "gzip"),
        (good[..good.len() / 2].to_vec(), "gzip"),
        (zstd_frame(&cut[..8]), "zstd"),
        (b"\xfd7zXZ\0\0\x04and so on".to_vec(), "xz"),
        (b"\xfd7zXZ\0\0\x01and so on".to_vec(), "xz"),
        (b"#!/bin/sh".to_vec(), "unknown"),
        (b"\x1f\x9e".to_vec(), "unknown"),
    ] {
        assert!(check(&bad, format).left.is_some());
        for zeros in 0..4 {
            let padding = vec![0; zeros];
            let initrd = [&good[..], &padding, &bad, &good].concat();
            let is_aligned = (good.len() + zeros).is_multiple_of(4);
            let expected = match is_aligned {
                true => format!("[gzip] {format}"),
                false => "gzip".to_owned(),
            };
            check(&initrd, &expected);
        }
    }
}

#[test]
fn a_bad_file_stays_as_it_is_with_what_is_packed_in_front() {
    let good = archive("good");
    let packed = gzip(&[&good[..], &[0; 4]].concat());
    let packed = [&packed[..], &vec![0; packed.len().wrapping_neg() % 4]].concat();
    let microcode = archive("kernel/x86/microcode/GenuineIntel.bin");
    let with = |at: usize, bytes: &[u8]| {
        let mut file = archive("a long name");
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let long = [with(94, b"00001388"), vec![0; 5000]].concat();
    for (bad, fault) in [
        (
            with(0, b"070707"),
            "a file is of another format than cpio's newc",
        ),
        (with(54, b"x"), "a field of a file's header is no number"),
        (
            long,
            "a file has a name or a target of no length that kernels take",
        ),
        (with(121, b"s"), "a file has a name that no NUL ends"),
    ] {
        let reason = |at: usize| Some(format!("at offset {at:#x}, {fault}"));
        let expanded = check(&[&bad[..], &microcode].concat(), "unknown");
        assert_eq!(expanded.left, reason(0));
        let expanded = check(&[&good[..], &bad, &microcode].concat(), "cpio unknown");
        assert_eq!(expanded.left, reason(good.len()));
        assert_eq!(expanded.segments[0].size, good.len() as u64);
        let expanded = check(&[&packed[..], &good, &bad, &microcode].concat(), "gzip");
        assert_eq!(expanded.left, reason(packed.len() + good.len()));
        check(
            &[&good[..], &packed, &bad, &microcode].concat(),
            "cpio gzip",
        );
    }
    check(&[&packed[..], &good, b"\0xxx", &microcode].concat(), "gzip");
    check(
        &[&packed[..], b"xxxx", &microcode].concat(),
        "[gzip] unknown",
    );
}

#[test]
fn two_frames_are_two_archives() {
    let whole = archive("a name");
    let (front, back) = whole.split_at(40);
    let frames = [zstd_frame(front), zstd_frame(back)].concat();
    check(&frames, "zstd");
    let frames = [zstd_frame(&whole), zstd_frame(&archive("b"))].concat();
    check(&frames, "[zstd] [zstd]");
}

#[test]
fn nothing_is_found_early_that_was_packed_or_behind_that() {
    let microcode = archive("kernel/x86/microcode/AuthenticAMD.bin");
    let main = gzip(&archive("init"));
    let behind = [
        main.clone(),
        vec![0; main.len().wrapping_neg() % 4],
        microcode.clone(),
    ];
    let expanded = check(&behind.concat(), "gzip");
    let expected = "at offset 0x0, behind it are files that a kernel would find before it unpacks \
                    anything, were it plain";
    assert_eq!(expanded.left.unwrap(), expected);
    check(
        &[microcode.clone(), microcode, main].concat(),
        "cpio [gzip]",
    );
}

#[test]
fn the_result_has_a_limit() {
    let initrd = Rope::from(gzip(&[archive("a"), vec![0; 5000]].concat()));
    let len = u64::try_from(archive("a").len()).unwrap() + 5000;
    let run = |max| expand_initrd(&initrd, max, u64::MAX, &mut MemoryStore::default());
    assert_eq!(run(len).unwrap().initrd.len(), len);
    let error = run(len - 1).unwrap_err();
    assert!(error.is_limit());
    let expected = format!("the unpacked initrd has more than {} bytes", len - 1);
    assert_eq!(error.to_string(), expected);
    // LZ4 needs 16 MiB.
    let initrd = Rope::from([archive("a"), lz4(&archive("b"))].concat());
    let run = |memory| expand_initrd(&initrd, 9999, memory, &mut MemoryStore::default());
    assert!(run(32 << 20).unwrap().is_changed());
    let left = run(9 << 20).unwrap();
    assert!(!left.is_changed());
    let left = left.left.unwrap();
    assert!(
        left.ends_with(
            "the limit is 9437184; compress it with a smaller window, or raise --max-memory"
        ),
        "{left}"
    );
    let many = gzip(&archive("a")).repeat(65);
    let left = expand(&many).left.unwrap();
    assert!(
        left.ends_with("64 archives in front of it are unpacked"),
        "{left}"
    );
}

#[derive(Clone, Debug)]
enum Part {
    Zeros(usize),
    Bytes(Vec<u8>),
    Plain(String),
    Gzip(Vec<Part>),
    Zstd(Vec<Part>),
}

fn bytes_of(parts: &[Part]) -> Vec<u8> {
    let parts = parts.iter().map(|part| match part {
        Part::Zeros(count) => vec![0; *count],
        Part::Bytes(bytes) => bytes.clone(),
        Part::Plain(name) => archive(name),
        Part::Gzip(parts) => gzip(&bytes_of(parts)),
        Part::Zstd(parts) => zstd_frame(&bytes_of(parts)),
    });
    parts.collect::<Vec<_>>().concat()
}

fn part() -> impl Strategy<Value = Part> {
    let name = prop_oneof![
        "[a-z]{1,8}",
        Just("kernel/x86/microcode/GenuineIntel.bin".to_owned())
    ];
    let plain = prop_oneof![
        3 => (0_usize..9).prop_map(Part::Zeros),
        6 => name.prop_map(Part::Plain),
        1 => prop::collection::vec(any::<u8>(), 0..8).prop_map(Part::Bytes),
    ];
    plain.prop_recursive(2, 12, 4, |inner| {
        let parts = prop::collection::vec(inner, 0..4);
        prop_oneof![
            parts.clone().prop_map(Part::Gzip),
            parts.prop_map(Part::Zstd)
        ]
    })
}

proptest! {
    #[test]
    fn a_kernel_makes_the_same_of_it(parts in prop::collection::vec(part(), 0..8), flip in any::<Option<(usize, u8)>>()) {
        let mut initrd = bytes_of(&parts);
        if let Some((at, byte)) = flip.filter(|_| !initrd.is_empty()) {
            let at = at % initrd.len();
            initrd[at] ^= byte;
        }
        let expanded = expand(&initrd);
        let bytes = expanded.initrd.to_vec().unwrap();
        prop_assert_eq!(Kernel::unpack(&bytes), Kernel::unpack(&initrd));
        prop_assert_eq!(microcode(&bytes), microcode(&initrd));
        // Plain cpio is not expanded again.
        if expanded.left.is_none() {
            prop_assert_eq!(expand(&bytes).initrd.to_vec().unwrap(), bytes);
        }
    }
}
