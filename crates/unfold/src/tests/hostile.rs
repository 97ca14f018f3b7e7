//! Parsers that mean harm, and budgets that hold.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use expect_test::expect;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use ukexec_bpf::{Meter, Piece, Rope, Source, SourceId};

use super::{Image, Op, TEST, check, check_with, gzip, input, options, outcome_text, run};
use crate::error::chain;
use crate::{Budget, Input, MemoryStore, Output, Store, UnfoldError, Unfolded, unfold};

/// Counts the outputs that are asked for.
#[derive(Default)]
struct CountingStore {
    inner: MemoryStore,
    created: u64,
}

impl Store for CountingStore {
    fn create(&mut self) -> io::Result<Box<dyn Output>> {
        self.created += 1;
        self.inner.create()
    }
}

/// Expects that the parser runs until the instructions are used up, and that
/// it made the host decompress no more than `decompressions` times for them.
fn check_endless(image: &Image, decompressions: u64) {
    let mut store = CountingStore::default();
    let mut budget = Budget::default();
    let error = unfold(input(image.build()), &options(), &mut store, &mut budget).unwrap_err();
    let text = chain(&error);
    assert!(error.fault().is_some(), "{text}");
    assert!(
        text.ends_with("the budget of 20,000,000 instructions is used up; --max-insns raises it"),
        "{text}"
    );
    assert_eq!(budget.meter.insns, 0);
    assert!(store.created <= decompressions, "{}", store.created);
}

fn run_with(image: Vec<u8>, budget: &mut Budget) -> Result<Unfolded, UnfoldError> {
    unfold(
        input(image),
        &options(),
        &mut MemoryStore::default(),
        budget,
    )
}

#[test]
fn programs_without_end_are_ended() {
    for op in [Op::Loop, Op::HandOverLoop, Op::PrintLoop] {
        check_endless(&Image::new(op), 0);
    }
    for payload in [&gzip(b"x"), &b"no stream"[..]] {
        check_endless(&Image::new(Op::DecompressLoop).kernel(payload), 64);
    }
}

#[test]
fn payloads_that_say_nothing_are_paid_for() {
    // Skippable frames, with a sound one behind, and too many.
    let nothing = b"\x50\x2a\x4d\x18\0\0\0\0".repeat((1 << 20) / 8 - 1);
    let frame = b"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00x";
    let payload = [&nothing[..], frame].concat();
    let image = Image::new(Op::DecompressLoop).kernel(&payload);
    check_endless(&image, 5);
    let image = Image::new(Op::DecompressLoop).kernel(&nothing.repeat(4));
    check_endless(&image, 5);
}

#[test]
fn what_follows_a_payload_is_not_dear() {
    let mut image = Rope::from(Image::new(Op::Decompress).kernel(&gzip(b"kernel")).build());
    let len = image.len() - 40 + (100 << 20);
    let mut header = image.slice(0..40).unwrap().to_vec().unwrap();
    header[20..24].copy_from_slice(&(len as u32).to_le_bytes());
    image = [Rope::from(header), image.slice(40..image.len()).unwrap()]
        .iter()
        .fold(Rope::new(), |mut all, part| {
            all.append(part);
            all
        });
    image.push(Piece::Zeros(100 << 20));
    let mut budget = Budget::default();
    let unfolded = unfold(
        input(image),
        &options(),
        &mut MemoryStore::default(),
        &mut budget,
    );
    assert_eq!(unfolded.unwrap().kernel.to_vec().unwrap(), b"kernel");
    assert!(budget.meter.insns > 19_000_000, "{budget:?}");
}

#[test]
fn a_bomb_stops_at_the_output_cap() {
    let bomb = gzip(&vec![0; 8 << 20]);
    let image = Image::new(Op::Decompress).kernel(&bomb).build();
    let mut budget = Budget {
        output: 1 << 20,
        ..Budget::default()
    };
    expect![[r#"
        limit: image: stage 1 (test.bpf.o, parsers.d): bpf_decompress: the payload cannot be decompressed: the gzip stream decompresses to more bytes than the limit of 1048576; --max-output raises it
          printed: cannot decompress
    "#]].assert_eq(&outcome_text(run_with(image, &mut budget)));
    assert!(budget.output <= 1 << 20);
}

/// Whatever the parser makes of the call that failed.
#[test]
fn a_budget_that_is_too_small_is_named_with_its_option() {
    let image = || {
        let payload = gzip(&[7; 300_000]);
        Image::new(Op::Decompress).kernel(&payload).build()
    };
    type Edit = fn(&mut Budget, u64);
    let edits: [(&str, Edit); 4] = [
        ("--max-memory", |budget, left| budget.meter.memory = left),
        ("--max-insns", |budget, left| budget.meter.insns = left),
        ("--max-output", |budget, left| budget.output = left),
        ("--max-stages", |budget, _| budget.stages = 0),
    ];
    for (option, edit) in edits {
        let (mut left, mut failures) = (0, 0);
        loop {
            let mut budget = Budget::default();
            edit(&mut budget, left);
            let Err(error) = run_with(image(), &mut budget) else {
                break;
            };
            let text = chain(&error);
            assert!(error.is_limit() && text.contains(option), "{left}: {text}");
            assert!(!text.contains("handed over"), "{left}: {text}");
            failures += 1;
            if option == "--max-stages" {
                break;
            }
            left = left * 9 / 8 + 100;
        }
        assert!(failures > 0, "{option}");
    }
}

#[test]
fn all_outputs_share_one_cap() {
    let image = |payload: usize| {
        let payload = gzip(&vec![1; payload]);
        Image::new(Op::DecompressTwice).kernel(&payload).build()
    };
    let cap = Budget {
        output: 100_000,
        ..Budget::default()
    };
    let mut budget = cap.clone();
    assert!(run_with(image(50_000), &mut budget).is_ok());
    assert_eq!(budget.output, 0);
    assert!(run_with(image(50_001), &mut cap.clone()).is_err());
}

#[test]
fn sizes_around_the_chunk_border_come_out_whole() {
    let chunk = 8 << 20;
    for len in [1, chunk - 1, chunk, chunk + 1, 2 * chunk] {
        let kernel: Vec<u8> = (0..len).map(|at| (at / 251) as u8).collect();
        let image = Image::new(Op::Decompress).kernel(&gzip(&kernel)).build();
        let unfolded = run(input(image), &options()).unwrap();
        assert!(unfolded.kernel.to_vec().unwrap() == kernel, "{len} bytes");
    }
    check(
        Image::new(Op::Decompress).kernel(&gzip(b"")).build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              failed: bpf_copy_to_kernel: a kernel of 0 bytes
              the parser printed nothing
        "#]],
    );
}

#[test]
fn sizes_past_an_int_are_refused() {
    let mut image = Rope::from(Image::new(Op::Unfold).build());
    image.push(Piece::Zeros(1 << 31));
    check(
        image,
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): the stage's inputs cannot be shown to the parser: the image: expected at most 2147483647 bytes, all that a parser can see, found 2147483688
        "#]],
    );
}

#[test]
fn leaks_and_double_puts_are_errors() {
    let payload = gzip(b"kernel");
    for (op, expected) in [
        (
            Op::LeakResult,
            expect![[r#"
                error: image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:163 in handle, insn 172: a mem_range_result acquired here was not released before the program ended
            "#]],
        ),
        (
            Op::LeakRecord,
            expect![[r#"
                error: image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:323 in handle, insn 133: a ring-buffer record acquired here was not released before the program ended
            "#]],
        ),
        (
            Op::PutTwice,
            expect![[r#"
                error: image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:328 in handle, insn 188: mem_range_result+0x0 is not a mem_range_result that is held: it was released by instruction 186
            "#]],
        ),
        (
            Op::UseAfterPut,
            expect![[r#"
                error: image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:333 in handle, insn 68: read of 4 bytes from the mem_range_result, which was released: mem_range_result+0x14; the mem_range_result was released by instruction 67
            "#]],
        ),
    ] {
        check(Image::new(op).kernel(&payload).build(), expected);
    }
}

#[test]
fn a_second_hand_over_frees_the_first() {
    check(
        Image::new(Op::DecompressTwice)
            .kernel(&gzip(b"kernel"))
            .build(),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > test payload
            stage 1: kernel 6
            kernel "kernel"
        "#]],
    );
}

#[test]
fn memory_comes_back_after_each_stage() {
    let mut budget = Budget::default();
    let inner = Image::new(Op::Decompress).kernel(&gzip(b"kernel")).build();
    let image = Image::new(Op::Decompress)
        .kernel(&gzip(&inner))
        .cmdline(b"ro")
        .build();
    run_with(image, &mut budget).unwrap();
    // But for the kernel that came out, of one piece.
    assert_eq!(budget.meter.memory, Meter::default().memory - PIECE);
    assert_eq!(budget.stages, 6);
}

#[test]
fn programs_stay_inside_what_is_theirs() {
    for (op, expected) in [
        (
            Op::Reserve,
            expect![[r#"
                error: image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:183 in reserve (program handle), insn 481: a ring-buffer record acquired here was not released before the program ended
                  printed: reserved 256
            "#]],
        ),
        (
            Op::ReadOutside,
            expect![[r#"
                error: image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:338 in handle, insn 210: read of 1 byte passes the end of the image: image+0x2e; the image ends at 0x2e
            "#]],
        ),
        (
            Op::WriteImage,
            expect![[r#"
                error: image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:340 in handle, insn 102: write of 1 byte to the image, which is read-only: image+0x0
            "#]],
        ),
        (
            Op::WriteContext,
            expect![[r#"
                error: image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:343 in handle, insn 127: write of 4 bytes to the context, which is read-only: context+0x10
            "#]],
        ),
    ] {
        check(Image::new(op).kernel(b"kernel").build(), expected);
    }
}

#[test]
fn images_in_images_meet_the_stage_limit() {
    let mut image = b"kernel".to_vec();
    for _ in 0..9 {
        image = Image::new(Op::Unfold).kernel(&image).build();
    }
    check(
        image,
        expect![[r#"
            limit: image > kernel handed over by test > kernel handed over by test > kernel handed over by test > kernel handed over by test > kernel handed over by test > kernel handed over by test > kernel handed over by test > kernel handed over by test: stage 9 (test.bpf.o, parsers.d): the budget of 8 stages is used up, and one more parser fits; --max-stages raises it
        "#]],
    );
}

#[test]
fn a_small_budget_names_what_is_used_up() {
    let image = Image::new(Op::Unfold).kernel(b"kernel").build();
    let mut few = Budget {
        meter: Meter {
            insns: 10,
            ..Meter::default()
        },
        ..Budget::default()
    };
    expect![[r#"
        limit: image: stage 1 (test.bpf.o, parsers.d): hook ukexec_match_image: ./crates/unfold/testdata/test.bpf.c:118 in match, insn 3: the budget of 10 instructions is used up; --max-insns raises it
    "#]].assert_eq(&outcome_text(run_with(image.clone(), &mut few)));
    let meter = Meter {
        memory: 10,
        ..Meter::default()
    };
    let mut little = Budget {
        meter,
        ..Budget::default()
    };
    expect![[r#"
        limit: image: stage 1 (test.bpf.o, parsers.d): the parser's maps cannot be made: the budget of 10 bytes of memory is used up (asked for 640 bytes, 10 left); --max-memory raises it
    "#]].assert_eq(&outcome_text(run_with(image, &mut little)));
}

/// A file of `len` bytes that begins with `start`, and counts what is read.
#[derive(Debug)]
struct Counting {
    start: Vec<u8>,
    len: u64,
    read: AtomicU64,
}

impl Source for Counting {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        for (at, byte) in (offset as usize..).zip(buf) {
            *byte = self.start.get(at).copied().unwrap_or(0xaa);
        }
        Ok(())
    }
}

#[test]
fn a_large_initrd_is_handed_over_without_moving_a_byte() {
    const INITRD: u32 = 200 << 20;
    let mut start = Image::new(Op::Unfold).kernel(b"kernel").initrd(b"").build();
    start[28..32].copy_from_slice(&INITRD.to_le_bytes());
    let len = start.len() as u64 + u64::from(INITRD);
    let file = Arc::new(Counting {
        start,
        len,
        read: AtomicU64::new(0),
    });
    let callers = Arc::new(Counting {
        start: Vec::new(),
        len: 50 << 20,
        read: AtomicU64::new(0),
    });
    let input = Input {
        image: Rope::from_source(SourceId(1), Arc::clone(&file) as Arc<dyn Source>),
        initrd: Some(Rope::from_source(
            SourceId(2),
            Arc::clone(&callers) as Arc<dyn Source>,
        )),
        ..Input::default()
    };
    let mut budget = Budget::default();
    let unfolded = unfold(input, &options(), &mut MemoryStore::default(), &mut budget).unwrap();
    let initrd = unfolded.initrd.unwrap();
    let pieces = initrd.pieces().iter().map(|piece| match piece {
        Piece::Source { id, range, .. } => (id.0, range.clone()),
        other => panic!("{other:?} is not by reference"),
    });
    assert_eq!(
        pieces.collect::<Vec<_>>(),
        [(2, 0..50 << 20), (1, 46..46 + u64::from(INITRD))]
    );
    assert_eq!(callers.read.load(Ordering::Relaxed), 0);
    // Headers alone, page by page.
    assert!(file.read.load(Ordering::Relaxed) < 64 << 10, "{file:?}");
    // The kernel is so short that it was copied; the initrd has two pieces.
    assert_eq!(budget.meter.memory, Meter::default().memory - 6 - 3 * PIECE);
}

/// The price of a piece of a hand-over.
const PIECE: u64 = 144;

#[test]
fn what_is_handed_over_in_many_pieces_takes_memory() {
    let image = Image::new(Op::Unfold)
        .kernel(&[b'x'; 100])
        .initrd(&[b'y'; 1 << 20])
        .build();
    let mut pieces = Rope::new();
    // Pieces of a page; shorter ones are copied together.
    for start in (0..image.len()).step_by(4096) {
        let end = image.len().min(start + 4096);
        pieces.append(&Rope::from(image[start..end].to_vec()));
    }
    let mut budget = Budget::default();
    let input = Input {
        image: pieces,
        ..Input::default()
    };
    let store = &mut MemoryStore::default();
    let unfolded = unfold(input, &options(), store, &mut budget).unwrap();
    let count = unfolded.initrd.unwrap().pieces().len() as u64;
    assert!(count > 200, "{count}");
    let taken = Meter::default().memory - budget.meter.memory;
    assert!(taken >= count * PIECE, "{taken}");
}

/// A store that counts how many of its sources are held when it is asked for
/// a new output.
#[derive(Default)]
struct Watched {
    store: MemoryStore,
    sources: Arc<Mutex<Vec<Weak<dyn Source>>>>,
    held: Vec<usize>,
}

struct WatchedOutput {
    output: Box<dyn Output>,
    sources: Arc<Mutex<Vec<Weak<dyn Source>>>>,
}

impl Store for Watched {
    fn create(&mut self) -> io::Result<Box<dyn Output>> {
        let sources = self.sources.lock().unwrap();
        let held = sources.iter().filter(|source| source.strong_count() > 0);
        self.held.push(held.count());
        Ok(Box::new(WatchedOutput {
            output: self.store.create()?,
            sources: Arc::clone(&self.sources),
        }))
    }
}

impl io::Write for WatchedOutput {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl Output for WatchedOutput {
    fn finish(self: Box<Self>) -> io::Result<(SourceId, Arc<dyn Source>)> {
        let (id, source) = self.output.finish()?;
        self.sources.lock().unwrap().push(Arc::downgrade(&source));
        Ok((id, source))
    }
}

#[test]
fn intermediate_kernels_are_freed_at_once() {
    let mut image = b"kernel".to_vec();
    for _ in 0..4 {
        image = Image::new(Op::Decompress).kernel(&gzip(&image)).build();
    }
    let mut store = Watched::default();
    let unfolded = unfold(input(image), &options(), &mut store, &mut Budget::default()).unwrap();
    // While a stage unpacks, only its own image is held of those before.
    assert_eq!(store.held, [0, 1, 1, 1]);
    assert_eq!(unfolded.kernel.to_vec().unwrap(), b"kernel");
    let held = store.sources.lock().unwrap();
    let held = held.iter().map(|source| source.strong_count() > 0);
    assert_eq!(held.collect::<Vec<_>>(), [false, false, false, true]);
}

#[test]
fn a_failed_decompression_leaves_nothing_behind() {
    let mut cut = gzip(&[7; 100_000]);
    cut.truncate(60);
    let mut store = Watched::default();
    let mut budget = Budget::default();
    let image = Image::new(Op::Decompress).kernel(&cut).build();
    unfold(input(image), &options(), &mut store, &mut budget).unwrap_err();
    assert_eq!(store.held, [0]);
    assert!(store.sources.lock().unwrap().is_empty());
    // A program that never puts what it got fails, and that is freed as well.
    let leak = Image::new(Op::LeakResult).kernel(&gzip(b"kernel")).build();
    unfold(input(leak), &options(), &mut store, &mut budget).unwrap_err();
    assert_eq!(store.sources.lock().unwrap()[0].strong_count(), 0);
}

struct FullStore;

impl Store for FullStore {
    fn create(&mut self) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(FullOutput))
    }
}

struct FullOutput;

impl io::Write for FullOutput {
    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for FullOutput {
    fn finish(self: Box<Self>) -> io::Result<(SourceId, Arc<dyn Source>)> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_full_store_is_not_the_images_fault() {
    let image = Image::new(Op::Decompress).kernel(&gzip(b"kernel")).build();
    let error = unfold(
        input(image),
        &options(),
        &mut FullStore,
        &mut Budget::default(),
    );
    expect!["image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:163 in unpack (program handle), insn 421: the decompressed bytes cannot be stored: no storage space"].assert_eq(&chain(&error.unwrap_err()));
}

/// An image of 4 KiB whose kernel and initrd are these.
fn parts(kernel: Range<u32>, initrd: Range<u32>) -> Vec<u8> {
    let mut image = Image::new(Op::Unfold).build();
    image.resize(4096, b'x');
    for (at, part) in [(16, kernel), (24, initrd)] {
        image[at..at + 4].copy_from_slice(&part.start.to_le_bytes());
        image[at + 4..at + 8].copy_from_slice(&part.len().to_le_bytes()[..4]);
    }
    image
}

#[test]
fn hand_overs_longer_than_all_there_is_draw_on_the_output() {
    let unfold_with = |image: &[u8], initrd: u64, output| {
        let mut budget = Budget {
            output,
            ..Budget::default()
        };
        let input = Input {
            initrd: Some(Rope::from(Piece::Zeros(initrd))),
            ..input(image.to_vec())
        };
        let store = &mut MemoryStore::default();
        let outcome = unfold(input, &options(), store, &mut budget);
        (outcome_text(outcome), budget.output)
    };
    // All there is, once.
    let all = parts(40..1000, 1000..4096);
    let (text, left) = unfold_with(&all, 1 << 20, 0);
    assert!(text.starts_with("layer"), "{text}");
    assert_eq!(left, 0);
    // 3000 bytes of it twice, of which 40 are those of the header.
    let twice = parts(40..4096, 1096..4096);
    let (text, left) = unfold_with(&twice, 1 << 20, 10_000);
    assert!(text.starts_with("layer"), "{text}");
    assert_eq!(left, 10_000 - (3_000 - 40));
    let (text, left) = unfold_with(&twice, 0, 2_959);
    assert_eq!(left, 2_959);
    expect![[r#"
        limit: image: stage 1 (test.bpf.o, parsers.d): the parser supplied the initrd, but it was rejected: kernel and initrd are longer by 2960 than all that there is to hand over (4096 of image, initrd and decompressed payloads), and the output budget has 2959 left; --max-output raises it
    "#]].assert_eq(&text);
}

#[test]
fn a_hand_over_that_is_replaced_gives_back_what_it_drew() {
    let mut image = parts(40..4096, 1096..4096);
    image[12..16].copy_from_slice(&(Op::Replace as u32).to_le_bytes());
    let mut budget = Budget {
        output: 10_000,
        ..Budget::default()
    };
    let unfolded = run_with(image, &mut budget).unwrap();
    assert_eq!(unfolded.kernel.to_vec().unwrap(), b"replaced");
    assert_eq!(budget.output, 10_000);
}

/// A file that begins with `start`, behind which it cannot be read.
#[derive(Debug)]
struct Broken {
    start: Vec<u8>,
    len: u64,
}

impl Source for Broken {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = self.start.get(offset as usize..);
        match start.and_then(|start| start.get(..buf.len())) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(io::Error::other("the disk is gone")),
        }
        Ok(())
    }
}

#[test]
fn what_the_host_cannot_read_ends_the_run() {
    const GOOD: usize = 4096;
    let image = |op| {
        Image::new(op)
            .kernel(&[b'x'; 8 << 10])
            .cmdline(&[b'y'; 8 << 10])
    };
    for (op, what) in [
        (Op::Decompress, "the payload"),
        (Op::Unfold, "the command line"),
    ] {
        let mut start = image(op).build();
        let len = start.len() as u64;
        start.truncate(GOOD);
        // The payload begins where nothing can be read.
        if op as u32 == Op::Decompress as u32 {
            start[16..20].copy_from_slice(&(GOOD as u32).to_le_bytes());
        }
        let image = Rope::from_source(SourceId(1), Arc::new(Broken { start, len }));
        let error = run(input(image), &options()).unwrap_err();
        assert_eq!(error.hook(), Some("bpf_handle_pefile"));
        let text = chain(&error);
        let end =
            format!("the bytes of {what} cannot be had: source 1 cannot be read: the disk is gone");
        assert!(text.ends_with(&end), "{text}");
    }
}

#[test]
fn a_command_line_that_no_kernel_takes_is_refused() {
    let image = |len| Image::new(Op::Unfold).cmdline(&vec![b'x'; len]).build();
    check(
        image(100_000),
        expect![[r#"
            limit: image: stage 1 (test.bpf.o, parsers.d): the parser supplied the command line, but it was rejected: the command line has no NUL in its first 65536 of 100000 bytes; kernels take 4096 at most
        "#]],
    );
    // A parser that passes over it loses its line, which is no outcome either.
    let passed_over = Image::new(Op::Unfold)
        .kernel(b"kernel")
        .cmdline(&[b'x'; 100_000]);
    check(
        passed_over.build(),
        expect![[r#"
            limit: image: stage 1 (test.bpf.o, parsers.d): the parser supplied the command line, but it was rejected: the command line has no NUL in its first 65536 of 100000 bytes; kernels take 4096 at most
        "#]],
    );
    let line = vec![b'x'; (64 << 10) + 1];
    check_with(
        Input {
            cmdline: Some(line),
            ..input(image(1))
        },
        &options(),
        expect![[r#"
            error: image: the given command line has 65537 bytes; expected at most 65536 (kernels take 4096 at most)
        "#]],
    );
}

proptest! {
    /// Bytes are changed in the headers, the parser's object and elsewhere.
    #[test]
    fn damaged_images_are_outcomes(edits in vec((any::<Index>(), any::<u8>()), 1..6)) {
        let mut image = Image::new(Op::Unfold).kernel(b"kernel").build_pe(&[(".bpf", TEST)]);
        for (at, byte) in edits {
            let at = at.index(image.len());
            image[at] = byte;
        }
        let meter = Meter { insns: 100_000, ..Meter::default() };
        let _any = run_with(image, &mut Budget { meter, ..Budget::default() });
    }
}
