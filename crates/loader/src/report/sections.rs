//! The sections of a layer, and the bytes that none of them covers.

use std::cmp::Reverse;
use std::io;
use std::ops::Range;

use serde::Serialize;
use ukexec_bpf::Rope;
use ukexec_pe::{Section, UncheckedPe, counted};
use ukexec_signature::Digests;
use ukexec_stub::{is_resource, may_repeat, section_text};
use ukexec_unfold::PeBytes;

use super::page::{Align, Labelled, MapPart, Page, Style, Text};
use super::part::{digest_of, digest_text};
use super::size::Size;
use crate::protocol::bounds::{Room, SECTIONS_MAX, TEXTS_MAX};

/// The parts of a report on layers that somebody has to ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Details {
    /// The texts of sections that hold one.
    pub(crate) texts: bool,
    /// The digest of each section.
    pub(crate) hash: bool,
}

/// The headers of a PE.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeReport {
    machine: u16,
    subsystem: u16,
    image_base: u64,
    certificates: Option<Extent>,
    pub(crate) sections: Vec<SectionReport>,
    /// Bytes that neither headers nor sections nor certificates cover.
    pub(crate) holes: Vec<Extent>,
    /// Sections and holes that are not listed.
    #[serde(skip)]
    pub(crate) unlisted: usize,
    /// Sections whose text is not there, though it was asked for.
    #[serde(skip)]
    pub(crate) texts_left_out: usize,
}

/// Bytes of a layer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Extent {
    offset: u64,
    size: u64,
}

impl From<Range<u64>> for Extent {
    fn from(range: Range<u64>) -> Self {
        Self {
            offset: range.start,
            size: range.end.saturating_sub(range.start),
        }
    }
}

/// A section of a PE.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SectionReport {
    /// Odd bytes are escaped.
    name: String,
    #[serde(flatten)]
    content: Extent,
    address: u32,
    virtual_size: u32,
    permissions: String,
    characteristics: u32,
    /// By SHA-256, if by any.
    #[serde(flatten, serialize_with = "Digests::serialize_by_name")]
    digests: Digests,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl SectionReport {
    fn new(section: &Section) -> Self {
        Self {
            name: section.name().to_string(),
            content: section.content().into(),
            address: section.address(),
            virtual_size: section.virtual_size(),
            permissions: section.permissions(),
            characteristics: section.characteristics(),
            digests: Digests::default(),
            text: None,
        }
    }
}

impl PeReport {
    /// Reports the headers `pe` of `image`, and what is in the file of all that they
    /// name.
    pub(crate) fn new(pe: &UncheckedPe, image: &Rope, details: Details) -> io::Result<Self> {
        // Sections may overlap, and each is read.
        let mut to_hash = image.len().saturating_mul(2);
        let mut texts = Room::new(TEXTS_MAX);
        let mut sections = Vec::new();
        for section in pe.sections().iter().take(SECTIONS_MAX) {
            let mut report = SectionReport::new(section);
            if section.content().end > image.len() {
                sections.push(report);
                continue;
            }
            let left = to_hash.checked_sub(report.content.size);
            if let Some(left) = left.filter(|_| details.hash) {
                to_hash = left;
                report.digests = digest_of(image, section.content())?;
            }
            let text = details
                .texts
                .then(|| section_text(&PeBytes(image), section));
            // Each line is one of the page.
            let text = text.flatten();
            report.text = text.filter(|text| texts.takes(&text.lines().collect::<Vec<_>>()));
            sections.push(report);
        }
        let holes = pe.holes();
        let unlisted = pe.sections().len() + holes.len();
        let holes = holes.into_iter().take(SECTIONS_MAX).map(Extent::from);
        let holes: Vec<Extent> = holes.collect();
        Ok(Self {
            machine: pe.machine().0,
            subsystem: pe.subsystem().0,
            image_base: pe.image_base(),
            certificates: pe.certificates().map(Extent::from),
            unlisted: unlisted - sections.len() - holes.len(),
            texts_left_out: texts.left_out,
            sections,
            holes,
        })
    }

    /// Adds the bar map of a file of `len` bytes.
    pub(crate) fn map(&self, len: u64, page: &mut Page) {
        let folds = self.folds(len);
        let folds = folds.iter().map(|it| (it.name, it.offset, it.in_file));
        let holes = self
            .holes
            .iter()
            .map(|it| (it.hole(len), it.offset, it.size));
        let table = self.certificates.iter();
        let table = table.map(|it| (CERTIFICATES, it.offset, it.in_file(len)));
        let mut parts: Vec<(&str, u64, u64)> = folds.chain(holes).chain(table).collect();
        // Small sections, and gaps up to the next page, are no sight.
        let is_seen = |name, size| match name {
            STUB | CERTIFICATES | OVERLAY => size > 0,
            HOLE => size >= len / 8,
            _ => size > len / 128,
        };
        parts.retain(|(name, _, size)| is_seen(*name, *size));
        parts.sort_by_key(|(_, _, size)| Reverse(*size));
        parts.truncate(PARTS_MAX);
        parts.sort_by_key(|(_, offset, _)| *offset);
        let part = |(name, _, size): (&str, u64, u64)| MapPart {
            name: name.to_owned(),
            size,
        };
        if !parts.is_empty() {
            page.map(2, parts.into_iter().map(part).collect());
        }
    }

    /// Adds the sections of a file of `len` bytes, the program's own in one row, and
    /// the bytes that none has.
    pub(crate) fn folded_rows(&self, len: u64, page: &mut Page) {
        let row = |name: &str, size, text: String| {
            let size = Size(size).to_string();
            vec![Text::from(name), size.into(), text.into()]
        };
        let folds = self.folds(len);
        let shown = folds.iter().take(ROWS_MAX).map(|fold| {
            let cut = in_file(fold.in_file, fold.size, |left| Size(left).to_string());
            let members = match fold.members.as_slice() {
                members if fold.name == STUB => {
                    let more = members.len().saturating_sub(NAMES_MAX);
                    let more = (more > 0).then(|| format!(" and {more} more"));
                    let names: Vec<&str> = members.iter().take(NAMES_MAX).copied().collect();
                    format!("{}{}", names.join(" "), more.unwrap_or_default())
                }
                [_] => String::new(),
                members => format!("{} sections", members.len()),
            };
            let texts = [Some(members).filter(|it| !it.is_empty()), cut];
            let texts: Vec<String> = texts.into_iter().flatten().collect();
            row(fold.name, fold.size, texts.join(", "))
        });
        let table = self.certificates.iter();
        let table = table.map(|it| {
            let cut = in_file(it.in_file(len), it.size, |left| Size(left).to_string());
            let place = [Some(it.place(len)), cut];
            let place: Vec<String> = place.into_iter().flatten().collect();
            row(CERTIFICATES, it.size, place.join(", "))
        });
        let (overlay, holes): (Vec<&Extent>, Vec<&Extent>) =
            self.holes.iter().partition(|it| it.hole(len) == OVERLAY);
        let overlay = overlay.iter();
        let overlay = overlay.map(|it| row(OVERLAY, it.size, it.place(len)));
        let holes = holes.first().map(|first| {
            let size = holes.iter().map(|it| it.size).sum();
            let text = match holes.len() {
                1 => first.place(len),
                count => format!("{count} gaps, the first {}", first.place(len)),
            };
            row(HOLE, size, text)
        });
        let mut cells: Vec<Vec<Text>> = shown.chain(table).chain(holes).chain(overlay).collect();
        let left_out = folds.len().saturating_sub(ROWS_MAX) + self.unlisted;
        if left_out > 0 {
            let text = format!("{left_out} more (--sections)");
            cells.push(vec!["...".into(), Text::default(), text.into()]);
        }
        if !cells.is_empty() {
            page.row("sections", "");
            page.table(4, &[Align::Left, Align::Right, Align::Left], cells);
        }
    }

    /// Adds every section of the layer `path`, which has `len` bytes, with all that
    /// its header says, and its text.
    pub(crate) fn rows(&self, path: &str, len: u64, page: &mut Page) {
        page.row(
            "sections",
            format!("{path}, image base {:#x}", self.image_base),
        );
        for section in &self.sections {
            let SectionReport { address, .. } = section;
            let text = format!(
                "{}, in memory {} at {address:#x}, {}",
                section.content.bytes(len),
                section.virtual_size,
                section.permissions
            );
            detail(page, section.name.as_str(), text, false);
            if let Some(digest) = digest_text(&section.digests) {
                detail(page, "", digest, true);
            }
            let is_cmdline = section.name == ".cmdline";
            for line in section.text.iter().flat_map(|text| text.lines()) {
                let line = format!("| {}", line.replace('\t', "    "));
                detail(page, "", Text::styled(Style::Dim, line), is_cmdline);
            }
        }
        let table = self.certificates.iter().map(|it| (CERTIFICATES, it));
        let holes = self.holes.iter().map(|it| (it.hole(len), it));
        for (name, extent) in table.chain(holes) {
            let end = if extent.is_last(len) {
                ", up to the end"
            } else {
                ""
            };
            detail(page, name, format!("{}{end}", extent.bytes(len)), false);
        }
        if self.unlisted > 0 {
            detail(page, "...", format!("{} more", self.unlisted), false);
        }
    }

    /// Returns the sections in the order of their table, the program's own as one,
    /// and neighbours of the same name as one. Tools add sections behind those of
    /// the program, so that any other name behind the first resource stands alone.
    fn folds(&self, len: u64) -> Vec<Fold<'_>> {
        let is_part = |it: &SectionReport| is_resource(&it.name) && it.name != ".osrel";
        let has_stub = self.sections.iter().any(is_part);
        let mut folds: Vec<Fold<'_>> = Vec::new();
        let mut is_stub = has_stub;
        for section in &self.sections {
            let (own, content) = (section.name.as_str(), &section.content);
            let in_file = content.in_file(len);
            is_stub &= !is_resource(own);
            let name = if is_stub { STUB } else { own };
            let fold = match is_stub {
                true => folds.iter_mut().find(|fold| fold.name == STUB),
                false => folds
                    .last_mut()
                    .filter(|fold| fold.name == name && may_repeat(name)),
            };
            match fold {
                Some(fold) => {
                    fold.members.push(own);
                    fold.size = fold.size.saturating_add(content.size);
                    fold.in_file = fold.in_file.saturating_add(in_file);
                }
                None => folds.push(Fold {
                    name,
                    members: vec![own],
                    offset: content.offset,
                    size: content.size,
                    in_file,
                }),
            }
        }
        folds
    }
}

impl Extent {
    /// Returns where it is in a file of `len` bytes.
    fn place(&self, len: u64) -> String {
        let end = if self.is_last(len) {
            ", up to the end"
        } else {
            ""
        };
        format!("at {:#x}{end}", self.offset)
    }

    /// Returns how many bytes there are and where, and how many of them a file of `len`
    /// bytes has.
    fn bytes(&self, len: u64) -> String {
        let Self { offset, size } = self;
        let cut = in_file(self.in_file(len), *size, |left| counted(left, "byte"));
        let cut = cut.map(|cut| format!(" ({cut})")).unwrap_or_default();
        let size = counted(*size, "byte");
        format!("{size}{cut} at {offset:#x}")
    }

    /// Returns how many of its bytes a file of `len` bytes has.
    fn in_file(&self, len: u64) -> u64 {
        let start = self.offset.min(len);
        self.offset.saturating_add(self.size).min(len) - start
    }

    fn is_last(&self, len: u64) -> bool {
        self.offset.saturating_add(self.size) >= len
    }

    /// Returns the name of bytes that nothing covers in a file of `len` bytes.
    fn hole(&self, len: u64) -> &'static str {
        if self.is_last(len) { OVERLAY } else { HOLE }
    }
}

/// Sections in one row.
struct Fold<'a> {
    name: &'a str,
    /// Their own names.
    members: Vec<&'a str>,
    offset: u64,
    size: u64,
    /// Bytes that are in the file.
    in_file: u64,
}

/// Returns how much of something the file misses, if it does not have all of it.
fn in_file(in_file: u64, size: u64, shown: impl Fn(u64) -> String) -> Option<String> {
    match in_file {
        all if all == size => None,
        0 => Some("not in the file".to_owned()),
        left => Some(format!(
            "{} of it missing",
            shown(size.saturating_sub(left))
        )),
    }
}

/// Names of what is no section. Those of sections begin with a dot, as a rule.
const STUB: &str = "stub";
const HOLE: &str = "(hole)";
const OVERLAY: &str = "(overlay)";
const CERTIFICATES: &str = "signature";

/// Rows of folded sections, and names in the stub's.
const ROWS_MAX: usize = 40;
const NAMES_MAX: usize = 12;

/// Parts of a map.
const PARTS_MAX: usize = 16;

/// Adds a line about a section; one that is `whole` is for programs, too.
fn detail(page: &mut Page, name: &str, text: impl Into<Text>, whole: bool) {
    page.line(Labelled {
        indent: 4,
        label: name.into(),
        column: 16,
        text: text.into(),
        whole,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_without_room_are_counted() {
        let uki = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/pe/uki");
        let mut image = std::fs::read(uki).unwrap();
        for (name, len) in [(".pcrpkey", 70 << 10), (".pcrsig", 20 << 10)] {
            let options = ukexec_pe::EditOptions::default();
            image = ukexec_pe::attach(&image, name, &vec![b'x'; len], options).unwrap();
        }
        let image = Rope::from(image);
        let pe = UncheckedPe::parse(&PeBytes(&image)).unwrap();
        let report = |texts| {
            let details = Details { texts, hash: false };
            PeReport::new(&pe, &image, details).unwrap()
        };
        let found = report(true);
        let text = |name| {
            let section = found.sections.iter().find(|it| it.name == name);
            section.unwrap().text.as_ref()
        };
        let cut = format!("{}…", "x".repeat(64 << 10));
        assert_eq!(text(".pcrpkey"), Some(&cut));
        assert_eq!(text(".pcrsig"), None);
        assert_eq!(found.texts_left_out, 1);
        assert_eq!(report(false).texts_left_out, 0);
    }
}
