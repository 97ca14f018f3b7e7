//! The report on the boot entries of a machine.

use std::path::Path;

use serde::Serialize;
use ukexec_entries::{Boots, Entry, EntryKind, Menu, Partition, PassedOver};
use ukexec_kexec::shown_path;
use ukexec_pe::counted;

use super::SCHEMA;
use super::page::{Align, Page, Style, Text};
use super::size::Size;

/// The report of `ukexec entries`, with the fields of `docs/json.md`.
#[derive(Clone, Debug, Serialize)]
pub struct EntriesReport {
    schema: u32,
    /// The roots of the partitions.
    esp: Option<String>,
    xbootldr: Option<String>,
    /// Best first.
    entries: Vec<EntryReport>,
    passed_over: Vec<PassedOverReport>,
    /// So many more files are passed over.
    passed_over_more: u64,
}

/// A boot entry. A value that the entry does not have is `None`.
#[derive(Clone, Debug, Serialize)]
struct EntryReport {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    source: Partition,
    /// Where its definition is.
    path: String,
    /// The root of its partition.
    root: String,
    title: Option<String>,
    show_title: String,
    sort_key: Option<String>,
    version: Option<String>,
    machine_id: Option<String>,
    architecture: Option<String>,
    options: Option<String>,
    linux: Option<String>,
    uki: Option<String>,
    efi: Option<String>,
    uki_url: Option<String>,
    profile: u32,
    profile_id: Option<String>,
    initrd: Vec<String>,
    extra: Vec<String>,
    devicetree: Option<String>,
    devicetree_overlay: Vec<String>,
    uname: Option<String>,
    size: Option<u64>,
    /// Whether it has a signature, which nobody verified.
    signed: Option<bool>,
    tries_left: Option<u32>,
    tries_done: Option<u32>,
    default: bool,
    selected: bool,
    oneshot: bool,
    running: bool,
    loadable: bool,
    /// Why it is not.
    reason: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct PassedOverReport {
    source: Partition,
    path: String,
    reason: String,
}

impl EntriesReport {
    /// Reports the entries of `menu`, and the `folders` that are passed over, of partitions
    /// with these roots.
    pub(crate) fn new(
        menu: &Menu,
        folders: &[PassedOver],
        [esp, xbootldr]: [Option<&Path>; 2],
    ) -> Self {
        let root = |partition| match partition {
            Partition::Esp => esp,
            Partition::Xbootldr => xbootldr,
        };
        let entries = menu.entries().iter();
        let passed_over = folders.iter().chain(menu.passed_over());
        Self {
            schema: SCHEMA,
            esp: esp.map(shown_path),
            xbootldr: xbootldr.map(shown_path),
            entries: entries
                .map(|it| EntryReport::new(it, root(it.partition)))
                .collect(),
            passed_over: passed_over
                .map(|it| PassedOverReport::new(it, root(it.partition)))
                .collect(),
            passed_over_more: menu.more(),
        }
    }

    /// Returns the report for people: a line for each entry.
    #[must_use]
    pub fn page(&self) -> Page {
        let mut page = Page::default();
        if self.entries.is_empty() {
            let places = [&self.esp, &self.xbootldr].into_iter().flatten();
            let places: Vec<&str> = places.map(String::as_str).collect();
            page.paragraph(0, format!("no boot entries in {}", places.join(" and ")));
        }
        let heads = ["entry", "title", "version", "size", "signature", ""];
        let heads = heads.map(|head| Text::styled(Style::Dim, head)).to_vec();
        let mut rows = Vec::from_iter((!self.entries.is_empty()).then_some(heads));
        rows.extend(self.entries.iter().map(EntryReport::cells));
        let (left, right) = (Align::Left, Align::Right);
        page.table(0, &[left, left, left, right, left, left], rows);
        for it in &self.passed_over {
            let text = format!("{}: {}", it.path, it.reason);
            page.row(Text::styled(Style::Dim, "passed over"), text);
        }
        if self.passed_over_more > 0 {
            let more = counted(self.passed_over_more, "more file");
            page.row(Text::styled(Style::Dim, "passed over"), more);
        }
        page
    }
}

impl EntryReport {
    fn new(entry: &Entry, root: Option<&Path>) -> Self {
        let root = root.unwrap_or(Path::new("/"));
        let [mut linux, mut uki, mut efi, mut uki_url] = [const { None }; 4];
        match &entry.boots {
            Boots::Linux(path) => linux = Some(path.clone()),
            Boots::Uki(path) => uki = Some(path.clone()),
            Boots::Efi(path) => efi = Some(path.clone()),
            Boots::UkiUrl(url) => uki_url = Some(url.clone()),
            Boots::Nothing => {}
        }
        let entry = entry.clone();
        let image = entry.image.as_ref();
        Self {
            id: entry.id,
            kind: match entry.kind {
                EntryKind::Type1 => "type1",
                EntryKind::Type2 => "type2",
            },
            source: entry.partition,
            path: shown_path(&root.join(entry.path)),
            root: shown_path(root),
            title: entry.title,
            show_title: entry.show_title,
            sort_key: entry.sort_key,
            version: entry.version,
            machine_id: entry.machine_id,
            architecture: entry.architecture,
            options: entry.options,
            linux,
            uki,
            efi,
            uki_url,
            profile: entry.profile,
            profile_id: entry.profile_id,
            initrd: entry.initrds,
            extra: entry.extra,
            devicetree: entry.devicetree,
            devicetree_overlay: entry.devicetree_overlays,
            uname: image.and_then(|it| it.uname.clone()),
            size: image.map(|it| it.size),
            signed: image.map(|it| it.signed),
            tries_left: entry.counter.map(|it| it.left),
            tries_done: entry.counter.map(|it| it.done),
            default: entry.default,
            selected: entry.selected,
            oneshot: entry.oneshot,
            running: entry.running,
            loadable: entry.reason.is_none(),
            reason: entry.reason,
        }
    }

    fn cells(&self) -> Vec<Text> {
        let plain = |text: Option<&String>| Text::from(text.map_or("", String::as_str));
        let signature = match self.signed {
            Some(true) => "signed",
            Some(false) => "unsigned",
            None => "",
        };
        let size = self.size.map(|size| Size(size).to_string());
        vec![
            Text::styled(Style::Strong, self.id.as_str()),
            self.show_title.as_str().into(),
            plain(self.version.as_ref()),
            plain(size.as_ref()),
            signature.into(),
            self.marks(),
        ]
    }

    /// Returns the marks, and why the entry cannot be loaded.
    fn marks(&self) -> Text {
        let marks = [
            (self.default, "default"),
            (self.selected, "selected"),
            (self.oneshot, "oneshot"),
            (self.running, "running"),
        ];
        let marks = marks.iter().filter(|(is_set, _)| *is_set);
        let marks: Vec<&str> = marks.map(|(_, mark)| *mark).collect();
        let mut text = match marks.as_slice() {
            [] => Text::default(),
            marks => Text::styled(Style::Good, marks.join(", ")),
        };
        let bad = (self.tries_left == Some(0)).then(|| "no tries left".to_owned());
        let reason = self.reason.as_ref();
        let reason = reason.map(|reason| format!("cannot be loaded: {reason}"));
        for bad in bad.into_iter().chain(reason) {
            if text != Text::default() {
                text = text.and(Style::Plain, ", ");
            }
            text = text.and(Style::Bad, bad);
        }
        text
    }
}

impl PassedOverReport {
    fn new(it: &PassedOver, root: Option<&Path>) -> Self {
        Self {
            source: it.partition,
            path: shown_path(&root.unwrap_or(Path::new("/")).join(&it.path)),
            reason: it.reason.clone(),
        }
    }
}
