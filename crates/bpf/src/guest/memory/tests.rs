//! Guest memory against plain vectors.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::{Meter, Piece, Source, SourceId};

/// A source that counts the bytes read from it, and can break.
#[derive(Debug)]
struct Counted {
    bytes: Vec<u8>,
    read: AtomicU64,
    broken_from: u64,
}

impl Source for Counted {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        if offset + buf.len() as u64 > self.broken_from {
            return Err(io::Error::other("the disk is gone"));
        }
        buf.copy_from_slice(&self.bytes[offset as usize..][..buf.len()]);
        Ok(())
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn source(len: usize) -> Arc<Counted> {
    Arc::new(Counted {
        bytes: pattern(len),
        read: AtomicU64::new(0),
        broken_from: u64::MAX,
    })
}

fn rope(source: &Arc<Counted>) -> Rope {
    Rope::from_source(SourceId(1), Arc::clone(source) as Arc<dyn Source>)
}

fn image_and_record(source: &Arc<Counted>, len: u32) -> (Memory, u64, u64) {
    let mut memory = Memory::default();
    let image = memory.add_rope("image", rope(source)).unwrap();
    let record = memory.add_record("record".into(), len).unwrap();
    (memory, image, record)
}

fn limit(memory: &mut Memory, bytes: u64) {
    let meter = Meter {
        memory: bytes,
        ..Meter::default()
    };
    memory.account.draw(&meter).unwrap();
}

fn lens(excerpt: &Excerpt) -> Vec<u64> {
    excerpt.rope.pieces().iter().map(Piece::len).collect()
}

/// A rope of all kinds of pieces and the bytes it stands for.
fn mixed() -> (Rope, Vec<u8>) {
    let mut mixed = rope(&source(9000));
    mixed.push(Piece::Zeros(5000));
    mixed.push(Piece::Memory(pattern(300).into()));
    mixed.append(&rope(&source(6000)).slice(17..5017).unwrap());
    let bytes = mixed.to_vec().unwrap();
    (mixed, bytes)
}

#[test]
fn private_bytes_of_a_rope_are_copied() {
    let source = source(0x2000);
    let (mut memory, _, record) = image_and_record(&source, 0x4000);
    let mut rope = rope(&source);
    rope.push(Piece::Memory(pattern(0x2000).into()));
    let shown = memory.add_rope("rope", rope).unwrap();
    let excerpt = memory.excerpt(shown, 0x4000).unwrap();
    assert_eq!(excerpt.copied, 0x2000);
    assert_eq!(lens(&excerpt), [0x2000, 0x2000]);
    limit(&mut memory, 0x1000);
    memory.copy(record, shown, 0x2000).unwrap();
    assert!(memory.copy(record, shown + 0x2000, 0x2000).is_err());
}

/// The regions of a [`Model`], by their place in it.
const RECORD: usize = 0;
const IMAGE: usize = 1;
const OTHER: usize = 2;
const RECORD_LEN: usize = 5 * 4096 + 123;

/// Something done at an offset of the record, with so many bytes. A copy names
/// region and offset, of its target first.
#[derive(Clone, Debug)]
enum Action {
    Write(usize, usize, u8),
    Zero(usize, usize),
    Copy([usize; 2], [usize; 2], usize),
    Load(usize),
    Excerpt(usize, usize),
}

fn action() -> impl Strategy<Value = Action> {
    let at = || prop_oneof![0..RECORD_LEN, (0..6_usize).prop_map(|page| page * 4096)];
    let len = || prop_oneof![0..600_usize, 0..RECORD_LEN, Just(4096), Just(8192)];
    let copy = |to, from| {
        (at(), at(), len())
            .prop_map(move |(at, start, len)| Action::Copy([to, at], [from, start], len))
    };
    let write = (at(), 0..600_usize, any::<u8>());
    prop_oneof![
        write.prop_map(|(at, len, byte)| Action::Write(at, len, byte)),
        (at(), len()).prop_map(|(at, len)| Action::Zero(at, len)),
        copy(RECORD, IMAGE),
        copy(RECORD, RECORD),
        copy(RECORD, OTHER),
        copy(OTHER, RECORD),
        at().prop_map(Action::Load),
        (at(), len()).prop_map(|(at, len)| Action::Excerpt(at, len)),
    ]
}

/// A record, a rope and a private region, and what they should hold.
struct Model {
    memory: Memory,
    addrs: [u64; 3],
    bytes: [Vec<u8>; 3],
}

impl Model {
    fn new() -> Self {
        let mut memory = Memory::default();
        let (rope, image) = mixed();
        let other = pattern(9000);
        let addrs = [
            memory
                .add_record("record".into(), RECORD_LEN as u32)
                .unwrap(),
            memory.add_rope("image", rope).unwrap(),
            memory.add_bytes("other", other.clone(), true).unwrap(),
        ];
        Self {
            memory,
            addrs,
            bytes: [vec![0; RECORD_LEN], image, other],
        }
    }

    /// Returns the address of `len` bytes at `at` of a region, and where they
    /// are in it; a span that does not fit is cut to the part that does.
    fn span(&self, region: usize, at: usize, len: usize) -> (u64, Range<usize>) {
        let end = self.bytes[region].len();
        let span = at.min(end)..(at + len).min(end);
        (self.addrs[region] + span.start as u64, span)
    }

    fn apply(&mut self, action: &Action) {
        match *action {
            Action::Write(at, len, byte) => {
                let (addr, span) = self.span(RECORD, at, len);
                self.memory.write(addr, &vec![byte; span.len()]).unwrap();
                self.bytes[RECORD][span].fill(byte);
            }
            Action::Zero(at, len) => {
                let (addr, span) = self.span(RECORD, at, len);
                self.memory.zero(addr, span.len() as u64).unwrap();
                self.bytes[RECORD][span].fill(0);
            }
            Action::Copy([to, at], [from, start], len) => {
                let len = self.span(to, at, len).1.len();
                let (from_addr, source) = self.span(from, start, len);
                let (addr, target) = self.span(to, at, source.len());
                self.memory
                    .copy(addr, from_addr, source.len() as u64)
                    .unwrap();
                let bytes = self.bytes[from][source].to_vec();
                self.bytes[to][target].copy_from_slice(&bytes);
            }
            Action::Load(at) => {
                let (addr, span) = self.span(RECORD, at, 8);
                let mut bytes = [0; 8];
                let bytes = &mut bytes[..span.len()];
                self.memory.read(addr, bytes).unwrap();
                assert_eq!(bytes, &self.bytes[RECORD][span]);
                if bytes.len() == 8
                    && let Some(peeked) = self.memory.peek::<8>(addr)
                {
                    assert_eq!(peeked, bytes);
                }
            }
            Action::Excerpt(at, len) => {
                let (addr, span) = self.span(RECORD, at, len);
                let excerpt = self.memory.excerpt(addr, span.len() as u64).unwrap();
                assert_eq!(excerpt.rope.to_vec().unwrap(), self.bytes[RECORD][span]);
            }
        }
    }

    fn compare(&mut self) {
        for (addr, expected) in self.addrs.into_iter().zip(&self.bytes) {
            let mut bytes = vec![0; expected.len()];
            self.memory.read(addr, &mut bytes).unwrap();
            assert!(bytes == *expected);
            let excerpt = self.memory.excerpt(addr, expected.len() as u64).unwrap();
            assert!(excerpt.rope.to_vec().unwrap() == *expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn records_hold_what_vectors_hold(actions in proptest::collection::vec(action(), 1..60)) {
        let mut model = Model::new();
        for action in &actions {
            model.apply(action);
        }
        model.compare();
        // All memory of a record comes back with it.
        for addr in model.addrs {
            model.memory.free(addr, "freed");
        }
        let mut meter = Meter { memory: 0, ..Meter::default() };
        limit(&mut model.memory, 1 << 30);
        model.memory.account.settle(&mut meter);
        prop_assert_eq!(meter.memory, (1 << 30) - 3 * REGION_ROOM);
    }
}

#[test]
fn a_large_copy_into_a_record_moves_nothing() {
    let source = source(10 << 20);
    let (mut memory, image, record) = image_and_record(&source, 8 << 20);
    limit(&mut memory, 1 << 20);
    memory.copy(record + 100, image + 333, 7 << 20).unwrap();
    let excerpt = memory.excerpt(record, 8 << 20).unwrap();
    assert_eq!(source.read.load(Ordering::Relaxed), 0);
    assert_eq!(excerpt.copied, 0);
    assert_eq!(lens(&excerpt), [100, 7 << 20, (1 << 20) - 100]);
    let work = memory.account.take_work();
    assert!(work < 1000, "references are nearly free");
    // A write makes one page private, and the hand-over before it is unchanged.
    memory.write(record + 5000, &[0xee]).unwrap();
    assert_eq!(source.read.load(Ordering::Relaxed), 4096);
    let later = memory.excerpt(record, 8 << 20).unwrap();
    // The short pieces before that page are copied along.
    assert_eq!(later.copied, 8192);
    let mut byte = [0; 1];
    excerpt.rope.read_at(5000, &mut byte).unwrap();
    assert_eq!(byte[0], source.bytes[5000 - 100 + 333]);
    later.rope.read_at(5000, &mut byte).unwrap();
    assert_eq!(byte[0], 0xee);
}

#[test]
fn copies_in_steps_become_one_reference() {
    let source = source(1 << 20);
    let (mut memory, image, record) = image_and_record(&source, 1 << 20);
    for step in 0..(1 << 20) / 512 {
        memory
            .copy(record + step * 512, image + step * 512, 512)
            .unwrap();
    }
    let excerpt = memory.excerpt(record, 1 << 20).unwrap();
    assert_eq!(lens(&excerpt), [1 << 20]);
    assert_eq!(source.read.load(Ordering::Relaxed), 0);
}

#[test]
fn crumbs_are_copied_together() {
    let source = source(1 << 20);
    let len = 64 * 300 + 8192 + 300;
    let (mut memory, image, record) = image_and_record(&source, len);
    let mut expected = Vec::new();
    let mut take = |memory: &mut Memory, from: u64, len: u64| {
        let to = record + expected.len() as u64;
        memory.copy(to, image + from, len).unwrap();
        expected.extend_from_slice(&source.bytes[from as usize..][..len as usize]);
    };
    for crumb in 0..64 {
        take(&mut memory, crumb * 1000, 300);
    }
    take(&mut memory, 500_000, 8192);
    take(&mut memory, 10, 300);
    let excerpt = memory.excerpt(record, len.into()).unwrap();
    assert_eq!(excerpt.rope.to_vec().unwrap(), expected);
    assert_eq!(lens(&excerpt), [64 * 300, 8192, 300]);
    // The short one at the end has no short neighbour.
    assert_eq!(excerpt.copied, 64 * 300);
    assert!(memory.account.take_work() > 64 * 24, "reading crumbs costs");
}

#[test]
fn crumbs_past_the_budget_are_refused() {
    let (mut memory, image, record) = image_and_record(&source(1 << 20), 512 << 10);
    for crumb in 0..1024 {
        memory
            .copy(record + crumb * 512, image + crumb * 1000, 512)
            .unwrap();
    }
    limit(&mut memory, 500 << 10);
    let error = memory.excerpt(record, 512 << 10).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
}

#[test]
fn single_loads_read_each_page_once() {
    let source = source(1 << 20);
    let (mut memory, image, _) = image_and_record(&source, 0);
    for offset in 0..1 << 20 {
        let [byte] = memory
            .peek(image + offset)
            .map_or_else(|| memory.load(image + offset), Ok)
            .unwrap();
        assert_eq!(byte, source.bytes[offset as usize]);
    }
    assert_eq!(source.read.load(Ordering::Relaxed), 1 << 20);
    // Between pages, too.
    let across: [u8; 8] = memory.load(image + 4092).unwrap();
    assert_eq!(across, source.bytes[4092..4100]);
}

/// Does `what` with an image of 16 bytes whose source breaks after 8 KiB, and
/// expects the words of the failure.
#[track_caller]
fn check(
    what: impl FnOnce(&mut Memory, u64) -> Result<(), BpfError>,
    bad_address: bool,
    expected: Expect,
) {
    let mut memory = Memory::default();
    let broken = Counted {
        broken_from: 8192,
        ..Arc::into_inner(source(1 << 20)).unwrap()
    };
    let image = memory.add_rope("image", rope(&Arc::new(broken))).unwrap();
    limit(&mut memory, 100_000);
    let error = what(&mut memory, image).unwrap_err();
    assert_eq!(error.is_bad_address(), bad_address);
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    expected.assert_eq(&text);
}

#[test]
fn says_why_memory_cannot_be_had() {
    check(
        |memory, image| memory.read(image + 8190, &mut [0; 4]),
        false,
        expect!["the bytes of image cannot be had: source 1 cannot be read: the disk is gone"],
    );
    check(
        |memory, image| memory.read(image + (1 << 20), &mut [0; 4]),
        true,
        expect![
            "read of 4 bytes passes the end of the image: image+0x100000; the image ends at 0x100000"
        ],
    );
    check(
        |memory, image| memory.write(image, b"x"),
        true,
        expect!["write of 1 byte to the image, which is read-only: image+0x0"],
    );
    check(
        |memory, image| memory.excerpt(image - 1, 4).map(drop),
        true,
        expect!["read of 4 bytes lies before the start of the image: image-0x1"],
    );
    check(
        |memory, _| memory.read(0, &mut [0; 1]),
        true,
        expect!["read of 1 byte through a NULL pointer: NULL+0x0"],
    );
    check(
        |memory, image| memory.read_cstr(image + 1, 5).map(drop),
        true,
        expect!["a text has no NUL in its first 5 bytes: image+0x1"],
    );
    check(
        |memory, _| memory.add_bytes("x", vec![0; 100_001], true).map(drop),
        false,
        expect!["the memory budget is used up: asked for 100129 bytes, 99872 left"],
    );
    check(
        |memory, _| memory.add_rope("x", Piece::Zeros(1 << 32).into()).map(drop),
        false,
        expect!["the 4294967296 bytes of x do not fit the address space: at most 4294967295"],
    );
    check(
        |memory, _| {
            let record = memory.add_record("record".into(), u32::MAX)?;
            (0..).try_for_each(|page| memory.write(record + page * 4096, b"x"))
        },
        false,
        expect!["the memory budget is used up: asked for 4096 bytes, 784 left"],
    );
    // The whole of a record with much private memory cannot be copied again.
    check(
        |memory, _| {
            let bytes = memory.add_bytes("bytes", vec![1; 60_000], true)?;
            memory.excerpt(bytes, 60_000).map(drop)
        },
        false,
        expect!["the memory budget is used up: asked for 60000 bytes, 39744 left"],
    );
}

#[test]
fn reads_texts() {
    let mut memory = Memory::default();
    let mut bytes = vec![b'x'; 300];
    bytes[290] = 0;
    let addr = memory.add_bytes("text", bytes, false).unwrap();
    assert_eq!(memory.read_cstr(addr + 288, 100).unwrap(), b"xx");
    assert_eq!(memory.read_cstr(addr, 291).unwrap().len(), 290);
    assert!(memory.read_cstr(addr, 290).is_err());
    let error = memory.read_cstr(addr + 295, 100).unwrap_err().to_string();
    assert!(error.contains("passes the end of the text"), "{error}");
}
