//! Ropes: pieces that read as one.

use std::sync::Arc;

use bytes::Bytes;
use ukexec_bpf::{Piece, Rope, RopeError, Source, SourceId};

fn sample() -> Rope {
    let source: Arc<dyn Source> = Arc::new(Bytes::from_static(b"0123456789"));
    let span = |range| Piece::Source {
        id: SourceId(1),
        source: Arc::clone(&source),
        range,
    };
    let mut rope = Rope::from(span(2..5));
    rope.push(Piece::Zeros(2));
    rope.push(Piece::Memory(Bytes::from_static(b"abc")));
    rope.push(span(7..9));
    rope
}

#[test]
fn reads_across_pieces() {
    let rope = sample();
    assert_eq!(rope.to_vec().unwrap(), b"234\0\0abc78");
    let mut middle = [0; 4];
    rope.read_at(2, &mut middle).unwrap();
    assert_eq!(&middle, b"4\0\0a");
}

#[test]
fn slices_like_a_slice() {
    let rope = sample();
    let all = rope.to_vec().unwrap();
    for start in 0..=all.len() {
        for end in start..=all.len() {
            let part = rope.slice(start as u64..end as u64).unwrap();
            assert_eq!(part.to_vec().unwrap(), &all[start..end]);
        }
    }
}

#[test]
fn joins_neighbours_of_one_source() {
    let rope = sample();
    let mut joined = rope.slice(0..1).unwrap();
    joined.append(&rope.slice(1..3).unwrap());
    assert_eq!(joined.pieces().len(), 1);
    assert_eq!(joined.to_vec().unwrap(), b"234");
}

#[test]
fn refuses_spans_past_the_end() {
    let rope = sample();
    assert!(matches!(
        rope.slice(3..11),
        Err(RopeError::OutOfRange { len: 10, .. })
    ));
    assert!(rope.read_at(u64::MAX, &mut [0; 2]).is_err());
}
