//! The report on files that lie beside an image.

use std::iter;

use serde::Serialize;
use ukexec_pe::counted;
use ukexec_stub::CompanionKind;

use super::page::{Align, Page, Style, Text};

/// A file beside an image, and whether a load takes it along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CompanionReport {
    pub(crate) path: String,
    /// `None`: its name does not say.
    pub(crate) kind: Option<CompanionKind>,
    pub(crate) taken: bool,
    /// Why not.
    pub(crate) reason: Option<String>,
    /// Whether it has a good signature. Only addons have any.
    pub(crate) verified: bool,
    /// Whether a boot entry names it; it lies in no folder of companions then.
    pub(crate) of_entry: bool,
    /// So many files it stands for.
    #[serde(skip)]
    pub(crate) count: u64,
}

impl CompanionReport {
    /// Returns a warning about one that a stub would take, or that has its name.
    pub(crate) fn warning(&self) -> Option<String> {
        let reason = self.reason.as_ref().filter(|_| self.kind.is_some())?;
        Some(format!("{}: passed over: {reason}", self.path))
    }
}

/// So many companions that are passed over are shown, and of those that are taken.
const SHOWN_MAX: usize = 20;

/// Adds a row for each companion: those that are taken first.
pub(crate) fn rows(companions: &[CompanionReport], page: &mut Page) {
    if companions.is_empty() {
        return;
    }
    let mut cells = Vec::new();
    let mut more = Vec::new();
    for (taken, word) in [(true, "taken"), (false, "passed over")] {
        let all = companions.iter().filter(|it| it.taken == taken);
        let (ones, many): (Vec<_>, Vec<_>) = all.partition(|it| it.count == 1);
        let (shown, left) = ones.split_at(ones.len().min(SHOWN_MAX));
        cells.extend(shown.iter().map(|it| cells_of(it)));
        let left: u64 = left.iter().chain(&many).map(|it| it.count).sum();
        if left > 0 {
            more.push(format!("{} more {word}", counted(left, "file")));
        }
    }
    page.row("companions", "");
    page.table(4, &[Align::Left, Align::Left, Align::Left], cells);
    for text in more {
        page.paragraph(4, text);
    }
}

fn cells_of(companion: &CompanionReport) -> Vec<Text> {
    let CompanionReport {
        path,
        kind,
        taken,
        reason,
        verified,
        of_entry: _,
        count: _,
    } = companion;
    let standing = match (taken, verified) {
        (true, true) => Text::styled(Style::Good, "taken, signed"),
        (true, false) => Text::from("taken, not verified"),
        (false, _) => Text::styled(Style::Warn, "passed over"),
    };
    let reason = reason.iter().map(|reason| format!(": {reason}"));
    let file: String = iter::once(path.clone()).chain(reason).collect();
    vec![name(*kind).into(), standing, file.into()]
}

fn name(kind: Option<CompanionKind>) -> &'static str {
    match kind {
        Some(CompanionKind::Addon) => "addon",
        Some(CompanionKind::Credential) => "credential",
        Some(CompanionKind::Sysext) => "sysext",
        Some(CompanionKind::Confext) => "confext",
        None => "",
    }
}
