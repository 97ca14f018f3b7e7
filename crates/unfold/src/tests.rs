//! Tests of whole unfoldings: images that say what the test parser shall do,
//! and outcomes as text.

mod abi;
mod archives;
mod choice;
mod commands;
mod containers;
mod expand;
mod gate;
mod hostile;
mod stages;

use std::fmt::Write as _;

use bytes::Bytes;
use expect_test::Expect;
use ukexec_bpf::Rope;

use crate::error::chain;
use crate::{
    Budget, Input, MemoryStore, Options, ParserFile, ParserOrigin, UnfoldError, Unfolded, unfold,
};

/// The parser that does what the image says: `testdata/test.bpf.c`.
const TEST: &[u8] = include_bytes!("../testdata/test.bpf.o");
const RECURSE: &[u8] = include_bytes!("../testdata/recurse.bpf.o");
const UNKNOWN_HOOK: &[u8] = include_bytes!("../testdata/unknown_hook.bpf.o");
const NO_HANDLER: &[u8] = include_bytes!("../testdata/no_handler.bpf.o");

/// An image's order to the parser: `enum op` of `test.bpf.c`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Op {
    Unfold,
    Decompress,
    Nothing,
    Same,
    OnlyInitrd,
    Loop,
    LeakResult,
    LeakRecord,
    PutTwice,
    UseAfterPut,
    Reserve,
    ReadOutside,
    WriteImage,
    WriteContext,
    Modify,
    Errnos,
    Context,
    Result,
    WeakTested,
    WeakCalled,
    Post,
    PostFault,
    Replace,
    NoInitrd,
    DecompressLoop,
    HandOverLoop,
    PrintLoop,
    DecompressTwice,
    SecondFault,
    SameBytes,
    Count = 60,
    Big,
    Crumbs,
    EndOfLine,
    Parts,
    Profile,
    MatchFault = 100,
    MatchHandsOver,
    MatchNot,
    MatchTalks,
}

/// An image of the test format.
#[derive(Clone, Debug)]
struct Image {
    op: Op,
    parts: [Option<Vec<u8>>; 3],
}

impl Image {
    fn new(op: Op) -> Self {
        Self {
            op,
            parts: [None, None, None],
        }
    }

    fn kernel(mut self, bytes: &[u8]) -> Self {
        self.parts[0] = Some(bytes.to_vec());
        self
    }

    fn initrd(mut self, bytes: &[u8]) -> Self {
        self.parts[1] = Some(bytes.to_vec());
        self
    }

    fn cmdline(mut self, bytes: &[u8]) -> Self {
        self.parts[2] = Some(bytes.to_vec());
        self
    }

    /// Returns the bare image: the header, then the parts.
    fn build(&self) -> Vec<u8> {
        let mut image = vec![0; 40];
        let mut places = [(0, 0); 3];
        for (part, place) in self.parts.iter().zip(&mut places) {
            if let Some(part) = part {
                *place = (image.len() as u32, part.len() as u32);
                image.extend_from_slice(part);
            }
        }
        self.put_header(&mut image, places);
        image
    }

    /// Returns a PE whose sections are the parts and `more`.
    fn build_pe(&self, more: &[(&str, &[u8])]) -> Vec<u8> {
        let names = [".linux", ".initrd", ".cmdline"];
        let parts = names.into_iter().zip(&self.parts);
        let mut sections: Vec<(&str, &[u8])> = parts
            .filter_map(|(name, part)| Some((name, part.as_deref()?)))
            .collect();
        sections.extend_from_slice(more);
        let (mut image, at) = pe(&sections);
        let mut at = at.into_iter().zip(&sections);
        let mut places = [(0, 0); 3];
        for (part, place) in self.parts.iter().zip(&mut places) {
            if part.is_some() {
                let (offset, (_, content)) = at.next().unwrap();
                *place = (offset, content.len() as u32);
            }
        }
        self.put_header(&mut image, places);
        image
    }

    fn put_header(&self, image: &mut [u8], places: [(u32, u32); 3]) {
        image[8..12].copy_from_slice(b"TEST");
        image[12..16].copy_from_slice(&(self.op as u32).to_le_bytes());
        for (slot, (offset, len)) in places.into_iter().enumerate() {
            let at = 16 + 8 * slot;
            image[at..at + 4].copy_from_slice(&offset.to_le_bytes());
            image[at + 4..at + 8].copy_from_slice(&len.to_le_bytes());
        }
    }
}

/// Offset of `Subsystem` in images that [`pe`] makes.
const SUBSYSTEM: usize = PE + 24 + 68;
/// Offset of the section table.
pub(crate) const SECTION_TABLE: usize = PE + 24 + OPTIONAL;
const PE: usize = 0x40;
const OPTIONAL: usize = 112 + 16 * 8;

/// Returns a PE32+ EFI application with these sections, and where they begin.
pub(crate) fn pe(sections: &[(&str, &[u8])]) -> (Vec<u8>, Vec<u32>) {
    let headers = (SECTION_TABLE + 40 * sections.len()).next_multiple_of(0x200);
    let mut image = vec![0; headers];
    put(&mut image, 0, b"MZ");
    put(&mut image, 0x3c, &(PE as u32).to_le_bytes());
    put(&mut image, PE, b"PE\0\0");
    put(&mut image, PE + 4, &0x8664_u16.to_le_bytes());
    put(&mut image, PE + 6, &(sections.len() as u16).to_le_bytes());
    put(&mut image, PE + 20, &(OPTIONAL as u16).to_le_bytes());
    put(&mut image, PE + 22, &0x0206_u16.to_le_bytes());
    let optional = PE + 24;
    put(&mut image, optional, &0x20b_u16.to_le_bytes());
    put(&mut image, optional + 32, &0x1000_u32.to_le_bytes()); // SectionAlignment
    put(&mut image, optional + 36, &0x200_u32.to_le_bytes()); // FileAlignment
    put(&mut image, optional + 60, &(headers as u32).to_le_bytes());
    put(&mut image, SUBSYSTEM, &10_u16.to_le_bytes());
    put(&mut image, optional + 108, &16_u32.to_le_bytes());
    let mut rva = 0x1000;
    let mut places = Vec::new();
    for (index, (name, content)) in sections.iter().enumerate() {
        let entry = SECTION_TABLE + 40 * index;
        let raw = content.len().next_multiple_of(0x200);
        let at = image.len() as u32;
        put(&mut image, entry, name.as_bytes());
        put(&mut image, entry + 8, &(content.len() as u32).to_le_bytes());
        put(&mut image, entry + 12, &(rva as u32).to_le_bytes());
        put(&mut image, entry + 16, &(raw as u32).to_le_bytes());
        put(&mut image, entry + 20, &at.to_le_bytes());
        put(&mut image, entry + 36, &0x4000_0040_u32.to_le_bytes());
        places.push(at);
        image.extend_from_slice(content);
        image.resize(at as usize + raw, 0);
        rva += content.len().next_multiple_of(0x1000);
    }
    put(&mut image, optional + 56, &(rva as u32).to_le_bytes()); // SizeOfImage
    (image, places)
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn parser(object: &'static [u8]) -> ParserFile {
    ParserFile {
        name: "test.bpf.o".to_owned(),
        object: Bytes::from_static(object),
        origin: ParserOrigin::ParsersD,
    }
}

/// The test parser in the list, images' own ones allowed.
fn options() -> Options {
    Options {
        parsers: vec![parser(TEST)],
        image_name: "image".to_owned(),
        ..Options::default()
    }
}

fn input(image: impl Into<Rope>) -> Input {
    Input {
        image: image.into(),
        ..Input::default()
    }
}

fn run(input: Input, options: &Options) -> Result<Unfolded, UnfoldError> {
    unfold(
        input,
        options,
        &mut MemoryStore::default(),
        &mut Budget::default(),
    )
}

/// Unfolds an image and compares what came of it, by its [`outcome_text`].
fn check(image: impl Into<Rope>, expected: Expect) {
    check_with(input(image), &options(), expected);
}

fn check_with(input: Input, options: &Options, expected: Expect) {
    expected.assert_eq(&outcome_text(run(input, options)));
}

/// Returns an outcome as text: what is in the report and what came out, or the
/// error.
fn outcome_text(outcome: Result<Unfolded, UnfoldError>) -> String {
    let unfolded = match outcome {
        Ok(unfolded) => unfolded,
        Err(error) => {
            let notes = error.notes().iter().map(|note| format!("  {note}\n"));
            let word = if error.is_limit() { "limit" } else { "error" };
            return format!("{word}: {}\n{}", chain(&error), notes.collect::<String>());
        }
    };
    let mut text = String::new();
    for layer in &unfolded.report.layers {
        let parser = layer
            .parser
            .as_ref()
            .map_or(String::new(), |parser| format!(": {parser}"));
        writeln!(text, "layer {}{parser}", layer.path).unwrap();
    }
    for stage in &unfolded.report.stages {
        let handed_over = stage
            .handed_over
            .iter()
            .map(|item| format!(" {} {}", item.resource, item.size))
            .collect::<Vec<_>>();
        writeln!(text, "stage {}:{}", stage.number, handed_over.join(",")).unwrap();
        for line in &stage.log {
            writeln!(text, "  {line}").unwrap();
        }
    }
    for warning in &unfolded.report.warnings {
        writeln!(text, "warning {warning}").unwrap();
    }
    writeln!(text, "kernel {}", shown(&unfolded.kernel.to_vec().unwrap())).unwrap();
    if let Some(initrd) = &unfolded.initrd {
        writeln!(text, "initrd {}", shown(&initrd.to_vec().unwrap())).unwrap();
    }
    if let Some(cmdline) = &unfolded.cmdline {
        writeln!(text, "cmdline {}", shown(cmdline)).unwrap();
    }
    text
}

fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=40 => format!("{:?}", bytes.escape_ascii().to_string()),
        len => format!("of {len} bytes"),
    }
}
