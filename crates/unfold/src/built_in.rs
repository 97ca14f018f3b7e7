//! The parsers that came with ukexec: BPF objects like anyone's.

use bytes::Bytes;

use crate::{ParserFile, ParserOrigin};

/// Returns the parsers that came with ukexec, in the order to ask them.
#[must_use]
pub fn built_in_parsers() -> Vec<ParserFile> {
    let parser = |name: &str, object: &'static [u8]| ParserFile {
        name: name.to_owned(),
        object: Bytes::from_static(object),
        origin: ParserOrigin::BuiltIn,
    };
    vec![
        parser("uki.bpf.o", UKI),
        parser("zboot.bpf.o", ZBOOT),
        parser("stream.bpf.o", STREAM),
        parser("envelope.bpf.o", ENVELOPE),
    ]
}

const UKI: &[u8] = include_bytes!("../parsers/uki.match.bpf.o");
const ZBOOT: &[u8] = include_bytes!("../parsers/zboot.match.bpf.o");
const STREAM: &[u8] = include_bytes!("../parsers/stream.match.bpf.o");
const ENVELOPE: &[u8] = include_bytes!("../parsers/envelope.match.bpf.o");
