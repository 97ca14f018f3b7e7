//! Measurements for people: the lines of `systemd-measure calculate`, and whether
//! a machine agrees.

use serde::Serialize;
use ukexec_signature::{Algorithm, Digests, Hex};
use ukexec_stub::{Agreement, MeasuredEvent, Measurements, PCR_BANKS, PcrComparison, Register};

use super::page::{Align, Labelled, Page, Style, Text};

/// The measurements of an image: `measurements` and `against` of a document.
#[derive(Debug, Serialize)]
pub(crate) struct MeasureReport {
    pub(crate) measurements: Measurements,
    #[serde(flatten)]
    pub(crate) comparison: Option<ComparisonReport>,
    /// The banks that people read.
    #[serde(skip)]
    pub(crate) banks: Vec<Algorithm>,
    /// People read the events that lead to values, too.
    #[serde(skip)]
    pub(crate) events: bool,
}

/// The measurements compared with what a machine has.
#[derive(Debug, Serialize)]
pub(crate) struct ComparisonReport {
    pub(crate) against: Vec<PcrComparison>,
    /// The file or machine.
    #[serde(skip)]
    pub(crate) source: String,
}

impl MeasureReport {
    /// Adds the values, and the comparison below.
    pub(crate) fn rows(&self, page: &mut Page) {
        let measured = &self.measurements;
        page.blank();
        // A line of the second form of a register begins with a word, since programs
        // expect one value of each.
        let extended = |register: &&Register| !register.events.is_empty();
        for (name, place, register) in [
            ("PCR[11]", "11", measured.pcr11.as_ref()),
            ("PCR[12]", "12", measured.pcr12.as_ref()),
            (
                "PCR[12] started by systemd-boot",
                "sd-boot 12",
                measured.pcr12_sd_boot.as_ref(),
            ),
            ("PCR[13]", "13", measured.pcr13.as_ref().filter(extended)),
        ] {
            if let Some(register) = register {
                self.register(name, place, register, page);
            }
        }
        self.events("PCR[4]", "4", &measured.pcr4.events, page);
        self.events("IMA", "ima", &measured.ima.events, page);
        for note in &measured.notes {
            page.row("note", note);
        }
        if let Some(comparison) = &self.comparison {
            comparison.rows(page);
        }
    }

    fn register(&self, name: &str, place: &str, register: &Register, page: &mut Page) {
        if self.events {
            self.events(name, place, &register.events, page);
        }
        for phase in &register.phases {
            comment(format!("{name} Phase <{}>", phase.phase), page);
            self.digests(place, &phase.value, page);
        }
        if register.phases.is_empty() {
            comment(name.to_owned(), page);
            self.digests(place, &register.value, page);
        }
    }

    /// Adds events. Their lines begin with a word, since they are no values.
    fn events(&self, name: &str, place: &str, events: &[MeasuredEvent], page: &mut Page) {
        for event in events {
            let when = event.when.map(|when| format!(", {when}"));
            let (what, when) = (&event.what, when.unwrap_or_default());
            comment(format!("{name} Event <{what}>{when}"), page);
            self.digests(&format!("event {place}"), &event.digests, page);
        }
    }

    /// Adds the lines that programs look for, from the first column on.
    fn digests(&self, place: &str, digests: &Digests, page: &mut Page) {
        for (name, bank) in PCR_BANKS {
            if let Some(digest) = digests.get(bank)
                && self.banks.contains(&bank)
            {
                let digest = Hex(digest).to_string();
                let value = Text::from(format!("{place}:{name}="));
                line(value.and(Style::Dim, digest), true, page);
            }
        }
    }
}

impl ComparisonReport {
    /// Returns why the comparison with the boot of `image` fails, in words.
    pub(crate) fn disagreement(&self, image: &str) -> Option<String> {
        let source = &self.source;
        let mut registers: Vec<String> = self.different().map(register).collect();
        registers.dedup();
        if !registers.is_empty() {
            let registers = registers.join(", ");
            return Some(format!(
                "the boot of {image} does not lead to {registers} of {source}"
            ));
        }
        let is_unknown = |it: &PcrComparison| it.verdict == Agreement::Unknown;
        let nothing = || format!("nothing of {source} can be compared with the boot of {image}");
        self.against.iter().all(is_unknown).then(nothing)
    }

    /// Returns a warning where nothing is known of PCR 11, though the image leads to a
    /// value of it: what is equal then says little.
    pub(crate) fn warning(&self) -> Option<String> {
        let sections = || self.against.iter().filter(|it| it.pcr == 11);
        let first = sections().find(|it| it.verdict == Agreement::Unknown)?;
        let is_known = sections().any(|it| it.verdict != Agreement::Unknown);
        let Self { source, .. } = self;
        let why = &first.text;
        (!is_known).then(|| format!("PCR 11 is not compared with {source}: {why}"))
    }

    fn different(&self) -> impl Iterator<Item = &PcrComparison> {
        let all = self.against.iter();
        all.filter(|it| it.verdict == Agreement::Different)
    }

    fn rows(&self, page: &mut Page) {
        page.blank();
        page.title("against", &self.source);
        let alike = |one: &PcrComparison, next: &PcrComparison| {
            let key = |it: &PcrComparison| (it.pcr, it.bank, it.verdict, it.what.clone());
            // Where one phase is as good as another, one line is enough.
            key(one) == key(next)
                && matches!(one.verdict, Agreement::Different | Agreement::Unknown)
        };
        let rows = self.against.chunk_by(alike).filter_map(|alike| {
            let first = alike.first()?;
            let about = match (&first.what, &first.phase) {
                (Some(what), _) => Some(what),
                (None, Some(phase)) if alike.len() == 1 => Some(phase),
                _ => None,
            };
            let text = match (about, first.verdict) {
                (Some(about), Agreement::Passed | Agreement::Ahead) => format!("<{about}>"),
                (Some(about), _) => format!("<{about}> {}", first.text),
                (None, _) => first.text.clone(),
            };
            let (style, verdict) = word(first.verdict);
            let verdict = Text::styled(style, verdict);
            Some(vec![register(first).into(), verdict, text.into()])
        });
        page.table(2, &[Align::Left, Align::Left, Align::Left], rows.collect());
        let mut found: Vec<String> = self.different().filter_map(found_line).collect();
        found.dedup();
        for found in found {
            page.whole("found", Text::styled(Style::Bad, found));
        }
    }
}

/// Adds a comment, as `systemd-measure` has them above its lines.
fn comment(text: String, page: &mut Page) {
    line(Text::styled(Style::Dim, format!("# {text}")), false, page);
}

/// Adds a line; one that is `whole` is for programs.
fn line(text: Text, whole: bool, page: &mut Page) {
    page.line(Labelled {
        indent: 0,
        label: text,
        column: 4,
        text: Text::default(),
        whole,
    });
}

/// Returns a register and its bank in words.
fn register(of: &PcrComparison) -> String {
    format!("PCR {} {}", of.pcr, of.bank)
}

/// Returns the value that was found as a line.
fn found_line(of: &PcrComparison) -> Option<String> {
    let bank = PCR_BANKS.iter().find(|(_, bank)| *bank == of.bank);
    let ((bank, _), found) = (bank?, of.found.as_ref()?);
    Some(format!("{}:{bank}={found}", of.pcr))
}

fn word(verdict: Agreement) -> (Style, &'static str) {
    match verdict {
        Agreement::Equal => (Style::Good, "equal"),
        Agreement::Passed => (Style::Dim, "passed"),
        Agreement::Ahead => (Style::Dim, "ahead"),
        Agreement::Different => (Style::Bad, "different"),
        Agreement::Unknown => (Style::Warn, "unknown"),
    }
}
