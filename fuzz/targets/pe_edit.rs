//! Adding and removing a section: what comes out is a PE image that says what
//! was asked for, and keeps what was not.
//!
//! Input: a byte of flags, a byte for the length of the content, the content,
//! and the image.
#![no_main]

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
/// Where a section calls a part of the headers its content, that may change.
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
        let same = after_all.iter().any(|one| {
            one.name() == section.name() && bytes(after, one) == bytes(before, &section)
        });
        assert!(same, "section {} was changed", section.name());
    }
}

/// Where the section table of an image ends.
fn end_of_headers(image: &[u8]) -> u64 {
    let half = |at: usize| u64::from(u16::from_le_bytes([image[at], image[at + 1]]));
    let coff = half(0x3c) | half(0x3e) << 16;
    let at = coff as usize;
    coff + 24 + half(at + 20) + 40 * half(at + 6)
}

fn bytes<'a>(image: &'a [u8], section: &Section) -> &'a [u8] {
    let content = section.content();
    &image[content.start as usize..content.end as usize]
}
