//! Records and ropes as programs and hosts see them together.

use std::sync::Arc;

use bytes::Bytes;
use ukexec_bpf::Vm;
use ukexec_bpf::memory::Excerpt;
use ukexec_bpf::{MapKind, Meter, Piece, Rope, Source, SourceId};

use crate::rig::{TestHost, kfunc, map, parser};

const IMAGE: usize = 1 << 20;

fn image() -> Vec<u8> {
    (0..IMAGE).map(|n| (n ^ (n >> 8)) as u8).collect()
}

/// Runs `text` with r6 = an image and r7 = a record of 512 KiB, which it hands
/// over (kfunc 0 takes address and size). Returns what was handed over, each as
/// it was at the moment of the call, and the instructions it cost.
fn hand_over(text: &str) -> (Vec<Excerpt>, u64) {
    let text = format!(
        "r6 = r1\n r1 = &map 0\n r2 = {}\n r3 = 0\n call helper 131\n r7 = r0\n {text}\n r1 = r7\n \
         r2 = 0\n call helper 133\n r0 = 0\n exit",
        IMAGE / 2
    );
    let mut parser = parser(&text);
    parser
        .maps
        .push(map("ring", MapKind::RingBuffer, [0, 0, IMAGE as u32]));
    parser.kfuncs.push(kfunc("bpf_copy_to_kernel", Some(0)));
    let mut meter = Meter {
        memory: 64 << 10,
        ..Meter::default()
    };
    let mut vm = Vm::new(&parser.verify().unwrap(), &mut meter).unwrap();
    let source: Arc<dyn Source> = Arc::new(Bytes::from(image()));
    let addr = vm
        .memory()
        .add_rope("image", Rope::from_source(SourceId(3), source))
        .unwrap();
    let mut excerpts = Vec::new();
    let mut host = TestHost::new();
    host.kfunc = Box::new(|_, [buf, size, ..], memory, _| {
        excerpts.push(memory.excerpt(buf, size)?);
        Ok(0)
    });
    vm.call(0, [addr, 0, 0, 0, 0], &mut host, &mut meter)
        .unwrap();
    drop(host);
    (excerpts, Meter::default().insns - meter.insns)
}

/// The targets of the pieces of a rope: where in the source, or so many others.
fn pieces(rope: &Rope) -> Vec<String> {
    let piece = |piece: &Piece| match piece {
        Piece::Source { id, range, .. } => format!("{}:{}..{}", id.0, range.start, range.end),
        Piece::Memory(bytes) => format!("{} private", bytes.len()),
        Piece::Zeros(len) => format!("{len} zeros"),
    };
    rope.pieces().iter().map(piece).collect()
}

const READ: &str = "r1 = r7\n r2 = 500000\n r3 = r6\n r3 += 4321\n call helper 113\n";
const GIVE: &str = "r1 = r7\n r2 = 500010\n call kfunc 0\n";

#[test]
fn a_section_that_is_read_and_handed_over_is_never_moved() {
    let (excerpts, insns) = hand_over(&[READ, GIVE].concat());
    assert_eq!(pieces(&excerpts[0].rope), ["3:4321..504321", "10 zeros"]);
    assert_eq!(excerpts[0].copied, 0);
    assert!(insns < 100, "{insns}");
}

#[test]
fn a_hand_over_is_by_value() {
    let (excerpts, _) = hand_over(&[READ, GIVE, "*(u8 *)(r7 + 9000) = 7\n", GIVE].concat());
    let [before, after] = [0, 1].map(|n| excerpts[n].rope.to_vec().unwrap());
    assert_eq!(
        pieces(&excerpts[1].rope),
        [
            "3:4321..12513",
            "4096 private",
            "3:16609..504321",
            "10 zeros"
        ]
    );
    assert_eq!(before[..500_000], image()[4321..504_321]);
    assert_eq!(after[9000], 7);
    assert_eq!(before[..9000], after[..9000]);
    assert_eq!(before[9001..], after[9001..]);
}

#[test]
fn reading_a_record_does_not_make_it_private() {
    let sum = "r1 = r7\n r2 = 500000\n r0 = 0\n next:\n r3 = *(u8 *)(r1 + 0)\n r0 += r3\n r1 += 1\n \
               r2 += -1\n if r2 != 0 goto next\n *(u64 *)(r10 - 8) = r0\n";
    let (excerpts, _) = hand_over(&[READ, sum, GIVE].concat());
    assert_eq!(excerpts[0].copied, 0);
    assert_eq!(excerpts[0].rope.pieces().len(), 2);
}

#[test]
fn small_copies_are_copies() {
    let text =
        "r1 = r7\n r2 = 255\n r3 = r6\n call helper 113\n r1 = r7\n r2 = 300\n call kfunc 0\n";
    let (excerpts, _) = hand_over(text);
    assert_eq!(pieces(&excerpts[0].rope), ["300 private"]);
    assert_eq!(excerpts[0].rope.to_vec().unwrap()[..255], image()[..255]);
}

#[test]
fn memory_runs_out_where_a_record_is_filled_by_hand() {
    let text = "r1 = r7\n r2 = 0\n next:\n *(u8 *)(r1 + 0) = 1\n r1 += 4096\n r2 += 4096\n \
                if r2 < 524288 goto next\n";
    let result = std::panic::catch_unwind(|| hand_over(text));
    let message = *result.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("OutOfMemory"), "{message}");
}
