//! Adding and removing a section: what comes out is a PE image that says what
//! was asked for, and keeps what was not.
//!
//! Input: a byte of flags, a byte for the length of the content, the content,
//! and the image.
#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use ukexec_pe::{EditOptions, PeImage, Section, attach, detach};

fuzz_target!(|data: &[u8]| {
    let [flags, len, rest @ ..] = data else {
        return;
    };
    let Some((content, image)) = rest.split_at_checked(usize::from(*len)) else {
        return;
    };
    let options = EditOptions {
        drop_signature: flags & 1 != 0,
    };
    // Repeated, so that it can be longer than a file alignment.
    let content = content.repeat(if flags & 2 != 0 { 40 } else { 1 });
    let name = [".bpf", ".text", ".linux", ".cmdline"][usize::from(flags >> 2 & 3)];
    if let Ok(edited) = attach(image, name, &content, options) {
        let view = PeImage::parse(&edited).expect("an edited image is an image");
        let section = view.section(name).expect("it has what was attached");
        assert!(bytes(&edited, section).starts_with(&content));
        keeps_others(image, &edited, name);
    }
    if let Ok(edited) = detach(image, name, options) {
        let before = PeImage::parse(image).expect("what was edited is an image");
        let view = PeImage::parse(&edited).expect("an edited image is an image");
        assert_eq!(view.sections().len() + 1, before.sections().len());
        keeps_others(image, &edited, name);
    }
});

/// All sections but the first called `name` are in both, with the same content.
/// Where a section calls a part of the headers its content, or holds the debug
/// directory, that may change.
fn keeps_others(before: &[u8], after: &[u8], name: &str) {
    let before_view = PeImage::parse(before).expect("what was edited is an image");
    let after_view = PeImage::parse(after).expect("an edited image is an image");
    let other = |view: &PeImage| {
        let first = view.section(name).map(Section::index);
        let others = view.sections().iter();
        others
            .filter(|section| Some(section.index()) != first)
            .filter(|section| section.content().start >= end_of_headers(before))
            .cloned()
            .collect::<Vec<_>>()
    };
    // Detaching makes a second one of that name the first.
    let (before_others, after_all) = (other(&before_view), after_view.sections());
    for section in before_others {
        let start = section.content().start;
        let is_moving = |at| {
            let all = before_view.sections().iter();
            let mut spans = all.map(|holder| debug_directory(before, holder));
            spans.any(|span| span.contains(&(start + at)))
        };
        let kept = |image, section| {
            let bytes = (0..).zip(bytes(image, section));
            bytes
                .filter(|(at, _)| !is_moving(*at))
                .map(|(_, byte)| *byte)
                .collect::<Vec<u8>>()
        };
        let same = after_all
            .iter()
            .any(|one| one.name() == section.name() && kept(after, one) == kept(before, &section));
        assert!(same, "section {} was changed", section.name());
    }
}

/// Where the section table of an image ends.
fn end_of_headers(image: &[u8]) -> u64 {
    let coff = word(image, 0x3c);
    section_table(image) + 40 * (word(image, coff + 6) & 0xffff)
}

fn section_table(image: &[u8]) -> u64 {
    let coff = word(image, 0x3c);
    coff + 24 + (word(image, coff + 20) & 0xffff)
}

/// The bytes of the file that the debug directory (data directory 6) may take if
/// `holder` holds its start: its pointers follow the data that an edit moves.
fn debug_directory(image: &[u8], holder: &Section) -> Range<u64> {
    let directory = word(image, 0x3c) + 24 + 112 + 6 * 8;
    let header = section_table(image) + 40 * holder.index() as u64;
    let inside = word(image, directory).checked_sub(word(image, header + 12));
    let start = inside.map(|inside| holder.content().start + inside);
    let end = start.map(|start| start + word(image, directory + 4));
    start.unwrap_or(0)..end.unwrap_or(0)
}

/// The four bytes at `at`, as a number.
fn word(image: &[u8], at: u64) -> u64 {
    let bytes = image.get(at as usize..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes)).into()
}

fn bytes<'a>(image: &'a [u8], section: &Section) -> &'a [u8] {
    let content = section.content();
    &image[content.start as usize..content.end as usize]
}
