//! Properties that hold for any image: nothing panics, every edit keeps what
//! it does not touch, and removing what was added gives the original back.

use core::ops::Range;
use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::checksum::checksum;
use crate::read::{u32_at, wide};
use crate::testing::{Builder, Checksum, KEEP, Zboot};
use crate::{EditOptions, PastEnd, PeImage, ReadAt, Section, UncheckedPe, attach, detach};

const NAMES: [&str; 5] = [".osrel", ".cmdline", ".linux", ".initrd", ".bpf"];

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

prop_compose! {
    fn zboot()(payload in bytes(300), in_section: bool) -> Zboot {
        Zboot { payload, in_section }
    }
}

prop_compose! {
    fn sections()(contents in prop::collection::vec(bytes(900), 1..=NAMES.len())) -> Vec<(&'static str, Vec<u8>)> {
        let text = (".text", b"code".to_vec());
        [text].into_iter().chain(NAMES.into_iter().zip(contents)).collect()
    }
}

prop_compose! {
    fn builder()(
        e_lfanew in 0x40_usize..0x180,
        directories in 7_usize..=16,
        file_alignment in select(&[0x20, 0x200, 0x200, 0x1000][..]),
        section_alignment in select(&[0x200, 0x1000][..]),
        first_rva in select(&[0x1000, 0x4000][..]),
        spare_entries in 0_usize..3,
        sections in sections(),
        flags: [bool; 2],
        zboot in prop::option::of(zboot()),
        symbols in 0_usize..3,
        debug_data in bytes(20),
        overlay in bytes(600),
        checksum in select(&[Checksum::Zero, Checksum::Right, Checksum::Stale][..]),
    ) -> Builder {
        let [last_is_padded, rounds_size_of_image] = flags;
        Builder {
            e_lfanew,
            directories,
            file_alignment,
            section_alignment,
            first_rva,
            spare_entries,
            sections,
            last_is_padded,
            rounds_size_of_image,
            zboot,
            symbols,
            debug_data,
            overlay,
            checksum,
            ..Builder::default()
        }
    }
}

/// Everything in an image that edits must leave alone, by what it is.
fn parts(builder: &Builder, image: &[u8], without: &str) -> Vec<(String, Vec<u8>)> {
    let view = PeImage::parse(image).unwrap();
    let take = |range: Range<u64>| image[range.start as usize..range.end as usize].to_vec();
    let take_at = |at: usize, len: usize| {
        let start = u64::from(u32_at(image, at).unwrap());
        take(start..start + len as u64)
    };
    let mut parts: Vec<_> = view
        .sections()
        .iter()
        // A debug directory holds a pointer, which is looked at below.
        .filter(|section| *section.name() != without && *section.name() != ".debugd")
        .map(|section| (section.name().to_string(), take(section.content())))
        .collect();
    parts.sort();
    if let Some(zboot) = &builder.zboot {
        parts.push(("payload".to_owned(), take_at(8, zboot.payload.len())));
    }
    if builder.symbols != 0 {
        let symbols = take_at(builder.e_lfanew + 12, 18 * builder.symbols + 8);
        parts.push(("symbols".to_owned(), symbols));
    }
    if let Some(directory) = view.section(".debugd").map(Section::content) {
        let debug_data = take_at(directory.start as usize + 24, builder.debug_data.len());
        parts.push(("debug data".to_owned(), debug_data));
    }
    let overlay = image.len() - builder.overlay.len();
    parts.push(("overlay".to_owned(), image[overlay..].to_vec()));
    parts
}

fn content<'i>(image: &'i [u8], name: &str) -> &'i [u8] {
    let range = PeImage::parse(image)
        .unwrap()
        .section(name)
        .unwrap()
        .content();
    &image[range.start as usize..range.end as usize]
}

/// Checks what holds for every edited image.
fn check(builder: &Builder, image: &[u8], edited: &[u8], name: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(parts(builder, image, name), parts(builder, edited, name));
    let at = builder.e_lfanew + 24 + 64;
    let kept = u32_at(edited, at).unwrap();
    match builder.checksum {
        Checksum::Zero => prop_assert_eq!(kept, 0),
        Checksum::Right => prop_assert_eq!(kept, checksum(edited, at)),
        Checksum::Stale => prop_assert_eq!(kept, u32_at(image, at).unwrap()),
    }
    let view = PeImage::parse(edited).unwrap();
    for section in view.sections() {
        let end = u64::from(section.rva) + u64::from(section.virtual_size());
        prop_assert!(
            end <= view.headers.size_of_image.into(),
            "{} passes SizeOfImage",
            section.name()
        );
        prop_assert!(section.rva >= view.headers.size_of_headers);
        if *section.name() == name {
            prop_assert_eq!(section.rva as usize % builder.section_alignment, 0);
            prop_assert_eq!(
                section.size_of_raw_data() as usize % builder.file_alignment,
                0
            );
        }
    }
    let hashed = view.authenticode_ranges().unwrap();
    let sum: u64 = hashed
        .ranges
        .iter()
        .map(|range| range.end - range.start)
        .sum();
    if builder.last_is_padded {
        prop_assert_eq!(
            sum,
            edited.len() as u64 - 12,
            "all but CheckSum and directory 4"
        );
    }
    Ok(())
}

/// Returns whether headers with room for another entry could as well have
/// grown for it, so that what they were before is anyone's guess.
fn is_growth_ambiguous(builder: &Builder, image: &[u8]) -> bool {
    let view = PeImage::parse(image).unwrap();
    let table_end = builder.table_at() + 40 * view.sections().len();
    let small = (view.headers.size_of_headers as usize).saturating_sub(builder.file_alignment);
    builder.file_alignment < 40 || (table_end..table_end + 40).contains(&small)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn removing_what_was_added_gives_the_original(builder in builder(), new in bytes(1500)) {
        let image = builder.build();
        let attached = match attach(&image, ".new", &new, KEEP) {
            Err(error) if error.to_string().contains("SizeOfHeaders") => return Ok(()),
            attached => attached.unwrap(),
        };
        prop_assert_eq!(content(&attached, ".new"), new);
        check(&builder, &image, &attached, ".new")?;
        let detached = detach(&attached, ".new", KEEP).unwrap();
        check(&builder, &image, &detached, ".new")?;
        if !is_growth_ambiguous(&builder, &image) {
            prop_assert!(detached == image, "not the original bytes");
        }
    }

    #[test]
    fn replacing_keeps_everything_else(builder in builder(), which: Index, new in bytes(3000)) {
        let image = builder.build();
        let (name, old) = which.get(&builder.sections[1..]);
        let replaced = attach(&image, name, &new, KEEP).unwrap();
        prop_assert_eq!(content(&replaced, name), new);
        check(&builder, &image, &replaced, name)?;
        let order = |image: &[u8]| -> Vec<String> {
            let view = PeImage::parse(image).unwrap();
            view.sections().iter().map(|section| section.name().to_string()).collect()
        };
        prop_assert_eq!(order(&image), order(&replaced));
        let back = attach(&replaced, name, old, KEEP).unwrap();
        prop_assert_eq!(content(&back, name), old);
        check(&builder, &image, &back, name)?;
    }

    #[test]
    fn removing_keeps_everything_else(builder in builder(), which: Index) {
        let image = builder.build();
        let (name, _) = which.get(&builder.sections[1..]);
        let removed = detach(&image, name, KEEP).unwrap();
        prop_assert!(PeImage::parse(&removed).unwrap().section(name).is_none());
        check(&builder, &image, &removed, name)?;
    }
}

/// Notes the largest read.
struct Spy<'a> {
    bytes: &'a [u8],
    reads: Cell<usize>,
    largest: Cell<usize>,
}

impl ReadAt for Spy<'_> {
    type Error = PastEnd;

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), PastEnd> {
        self.reads.set(self.reads.get() + 1);
        self.largest.set(self.largest.get().max(buf.len()));
        self.bytes.read_at(offset, buf)
    }
}

/// A lie: which byte of the headers, and the number that goes there.
fn lie() -> impl Strategy<Value = (Index, u32, usize)> {
    let number = prop_oneof![
        any::<u32>(),
        0_u32..0x1200,
        select(&[0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fe00, 0xffff_ffff][..]),
    ];
    (any::<Index>(), number, 1..=4_usize)
}

/// Checks that a view lies inside its image.
fn check_view(view: &PeImage, image: &[u8]) -> Result<(), TestCaseError> {
    let end = image.len() as u64;
    for section in view.sections() {
        prop_assert!(section.content().end <= end);
    }
    check_holes(&view.holes(), image)?;
    let cuts = view.cuts();
    prop_assert!(cuts.iter().all(|cut| cut.start < cut.end && cut.end <= end));
    prop_assert!(cuts.windows(2).all(|pair| pair[0].end <= pair[1].start));
    if let Some(certificates) = view.certificates() {
        prop_assert!(certificates.start < certificates.end && certificates.end <= end);
    }
    if let Ok(hashed) = view.authenticode_ranges() {
        prop_assert!(hashed.padding < 8);
        prop_assert!(
            hashed
                .ranges
                .iter()
                .all(|range| range.start < range.end && range.end <= end)
        );
    }
    Ok(())
}

fn check_holes(holes: &[Range<u64>], image: &[u8]) -> Result<(), TestCaseError> {
    let mut end = 0;
    for hole in holes {
        prop_assert!(hole.start >= end && !hole.is_empty());
        end = hole.end;
    }
    prop_assert!(end <= wide(image.len()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn lies_neither_panic_nor_ask_for_memory(
        builder in builder(),
        lies in prop::collection::vec(lie(), 1..5),
        cut in prop::option::weighted(0.1, any::<Index>()),
        new in bytes(700),
        drop_signature: bool,
    ) {
        let mut image = builder.build();
        let headers = builder.table_at() + 40 * (builder.sections.len() + 2);
        for (at, number, len) in &lies {
            let at = at.index(headers - 4);
            image[at..at + len].copy_from_slice(&number.to_le_bytes()[..*len]);
        }
        if let Some(cut) = cut {
            image.truncate(cut.index(image.len()));
        }
        let spy = Spy { bytes: &image, reads: Cell::new(0), largest: Cell::new(0) };
        let view = PeImage::parse(&spy);
        prop_assert!(spy.reads.get() <= 4);
        prop_assert!(spy.largest.get() <= image.len());
        if let Ok(damaged) = UncheckedPe::parse(&image) {
            check_holes(&damaged.holes(), &image)?;
            check_view(&damaged.in_file(), &image)?;
        }
        let Ok(view) = view else {
            return Ok(());
        };
        check_view(&view, &image)?;

        // An edit adds the content, its padding, padding in front of it and
        // to the end of the data, and one growth of the headers.
        let alignment = view.headers.file_alignment as usize;
        let most = image.len() + new.len() + 4 * alignment + 40;
        let options = EditOptions { drop_signature };
        for name in [".new", ".text", ".osrel", ".payload"] {
            if let Ok(edited) = attach(&image, name, &new, options) {
                prop_assert!(edited.len() <= most);
                prop_assert_eq!(content(&edited, name), &new[..]);
                check_view(&PeImage::parse(&edited).unwrap(), &edited)?;
            }
            if let Ok(edited) = detach(&image, name, options) {
                prop_assert!(edited.len() <= image.len());
                check_view(&PeImage::parse(&edited).unwrap(), &edited)?;
            }
        }
    }

    #[test]
    fn lies_cost_no_other_section_its_content(
        builder in builder(),
        lies in prop::collection::vec((any::<Index>(), any::<Index>(), 0_u32..0x1800), 1..4),
        new in bytes(700),
    ) {
        // Debug directories anywhere would make anything a pointer.
        let builder = Builder { debug_data: Vec::new(), ..builder };
        let mut image = builder.build();
        for (section, field, number) in &lies {
            let entry = builder.table_at() + 40 * section.index(builder.sections.len());
            let at = entry + [8, 16, 20, 20][field.index(4)];
            image[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let Ok(view) = PeImage::parse(&image) else {
            return Ok(());
        };
        for name in [".new", ".osrel", ".linux"] {
            for edited in [attach(&image, name, &new, KEEP), detach(&image, name, KEEP)] {
                let Ok(edited) = edited else {
                    continue;
                };
                let edited_view = PeImage::parse(&edited).unwrap();
                for section in view.sections().iter().filter(|section| *section.name() != name) {
                    let old = section.content();
                    // Data in the headers changes with them.
                    if old.start < view.headers.size_of_headers.into() {
                        continue;
                    }
                    let text = section.name().to_string();
                    let new = edited_view.section(&text).unwrap().content();
                    prop_assert_eq!(
                        &image[old.start as usize..old.end as usize],
                        &edited[new.start as usize..new.end as usize],
                        "{}", text
                    );
                }
            }
        }
    }
}
