//! The border of trust: the parent checks whether a worker's answer can be
//! true.
//!
//! A worker that was taken over can send anything. An honest one stays within
//! these bounds for every image, so the parent ends one that does not.

use std::fmt::Display;

use ukexec_boot::RELEASE_MAX;
use ukexec_kexec::ConditionVerdict;
use ukexec_layout::DeviceTree;
use ukexec_pe::ByteRanges;
use ukexec_unfold::CMDLINE_MAX;

use crate::error::{Failure, LoaderError, Result};
use crate::protocol::bounds::{self, WARNINGS_MAX, cost};
use crate::protocol::facts::Facts;
use crate::protocol::{Answer, Objection, PlacedKernel};
use crate::report::fault::{NOTES_LEN_MAX, NOTES_MAX};
use crate::report::{Findings, ReportForm};

/// Bytes of a machine's objections to a kernel: there are few kinds of them.
const OBJECTIONS_MAX: usize = 8 << 10;

/// A setup header begins at 0x1f1, and a byte at 0x201 says how far behind 0x202 it ends.
const SETUP_LEN_MAX: usize = 0x11 + 0xff;

/// Bytes of the facts of a boot entry's file: its texts, each character of which is six in
/// JSON at most.
const FACTS_MAX: usize = 6 * (128 << 10);

/// A PE has 65,535 sections at most, and a few ranges of its headers are hashed.
const RANGES_MAX: usize = (1 << 16) + 8;

/// Authenticode fills up to a multiple of 8.
const PADDING_MAX: u64 = 7;

/// Returns that the worker cannot be trusted, since it `names` something that is not
/// there or not to be named. No image can cause that, only a worker that was
/// taken over.
pub(crate) fn names(named: impl Display) -> LoaderError {
    untrusted("names", named)
}

/// As [`names`], of something `sent` that is more than can be, or no sense.
pub(crate) fn sends(sent: impl Display) -> LoaderError {
    untrusted("sends", sent)
}

fn untrusted(does: &str, what: impl Display) -> LoaderError {
    LoaderError::new(format!(
        "the worker cannot be trusted: it {does} {what}; nothing was done with its answer"
    ))
}

/// Refuses a report that is not of this `form`, or longer than it can be.
pub(crate) fn check_report(report: &Findings, form: ReportForm, log_lines: u32) -> Result<()> {
    bounds::check_report(report, form, log_lines).map_err(sends)
}

/// Refuses a failure whose notes are longer than they can be.
pub(crate) fn check_failure(failure: &Failure) -> Result<()> {
    let len: usize = failure.notes.iter().map(String::len).sum();
    let count = failure.notes.len();
    if len > NOTES_LEN_MAX || count > NOTES_MAX {
        return Err(sends(format_args!("{count} notes of {len} bytes")));
    }
    Ok(())
}

/// Refuses an answer of which something is longer than it can be. It does not
/// look at spans.
pub(crate) fn check_answer(answer: &Answer, form: ReportForm, log_lines: u32) -> Result<()> {
    check_report(&answer.report, form, log_lines)?;
    if let Err(failure) = &answer.identity {
        check_failure(failure)?;
    }
    let warnings: usize = answer.warnings.iter().map(|warning| cost(warning)).sum();
    if warnings > WARNINGS_MAX {
        return Err(sends(format_args!(
            "warnings of {warnings} bytes, where {WARNINGS_MAX} are all"
        )));
    }
    if let Ok(kernel) = &answer.identity {
        let texts = |it: &Objection| cost(&it.text).max(cost(&it.fault));
        let objections: usize = kernel.problems.iter().map(texts).sum();
        if objections > OBJECTIONS_MAX {
            return Err(sends(format_args!(
                "objections of {objections} bytes, where {OBJECTIONS_MAX} are all"
            )));
        }
        let objects = |it: &Objection| it.verdict != ConditionVerdict::Ok;
        if !kernel.problems.iter().all(objects) {
            return Err(sends("an objection that objects to nothing"));
        }
        // No release is not too long.
        let len = kernel.release.as_deref().unwrap_or_default().len();
        if len > RELEASE_MAX {
            return Err(sends(format_args!(
                "a kernel release of {len} bytes, where {RELEASE_MAX} are all"
            )));
        }
    }
    if let Ok(kernel) = &answer.identity {
        match &kernel.header {
            Err(failure) => check_failure(failure)?,
            Ok(PlacedKernel::BzImage(header)) if header.bytes.len() > SETUP_LEN_MAX => {
                let len = header.bytes.len();
                return Err(sends(format_args!(
                    "a setup header of {len} bytes, where {SETUP_LEN_MAX} are all"
                )));
            }
            Ok(_) => {}
        }
    }
    let tree = answer.device_tree.as_ref();
    let tree = tree.map_or(0, |it| it.tree.byte_len() + it.name.len() as u64);
    if tree > DeviceTree::MAX_LEN {
        let max = DeviceTree::MAX_LEN;
        return Err(sends(format_args!(
            "a device tree of {tree} bytes, where {max} are all"
        )));
    }
    // No line is not too long, and has no NUL.
    let cmdline = answer.cmdline.as_deref().unwrap_or_default();
    if cmdline.len() as u64 > CMDLINE_MAX {
        let len = cmdline.len();
        return Err(sends(format_args!(
            "a command line of {len} bytes, where {CMDLINE_MAX} are all"
        )));
    }
    match cmdline.iter().position(|byte| *byte == 0) {
        Some(at) => Err(sends(format_args!(
            "a command line with a NUL at byte {at}"
        ))),
        None => Ok(()),
    }
}

/// Refuses facts of a boot entry's file that are longer than they can be.
pub(crate) fn check_facts(facts: &Facts) -> Result<()> {
    let len = serde_json::to_vec(facts)?.len();
    if len > FACTS_MAX {
        return Err(sends(format_args!(
            "{len} bytes about a boot entry, where {FACTS_MAX} are all"
        )));
    }
    Ok(())
}

/// Refuses to hash more ranges or padding than a PE image can call for.
pub(crate) fn check_hashed(hashed: &ByteRanges) -> Result<()> {
    let count = hashed.ranges.len();
    if count > RANGES_MAX {
        return Err(sends(format_args!(
            "{count} ranges to hash, where {RANGES_MAX} are all"
        )));
    }
    let padding = hashed.padding;
    if padding > PADDING_MAX {
        return Err(sends(format_args!(
            "{padding} bytes of padding to hash, where {PADDING_MAX} are all"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::{Identity, Subject};
    use crate::report::Page;
    use crate::report::page::{Align, MapPart, Style, Text};

    /// Expects an answer that is sound but for `lie` to be refused with the words
    /// `expected`; `None` expects that it is taken.
    fn check(lie: impl FnOnce(&mut Answer), expected: Option<&str>) {
        let mut answer = Answer::sound();
        lie(&mut answer);
        check_error(check_answer(&answer, ReportForm::Page, 0), expected);
    }

    fn check_error(checked: Result<()>, expected: Option<&str>) {
        let error = checked.err().map(|error| error.to_string());
        let expected = expected.map(|sends| {
            format!(
                "the worker cannot be trusted: it sends {sends}; nothing was done with its answer"
            )
        });
        assert_eq!(error, expected);
    }

    fn kernel(problems: Vec<Objection>) -> Identity {
        Identity {
            format: String::new(),
            x86_64: true,
            release: None,
            signed: None,
            memory: None,
            header: Err(Box::default()),
            appended: Some(false),
            problems,
        }
    }

    /// Returns the lie of a page that `draw` draws.
    fn page(draw: impl FnOnce(&mut Page)) -> impl FnOnce(&mut Answer) {
        let mut page = Page::default();
        draw(&mut page);
        |it| it.report = Findings::Page(page)
    }

    fn objections(count: usize, verdict: ConditionVerdict) -> impl FnOnce(&mut Answer) {
        let objection = Objection {
            subject: Subject::Machine,
            text: "x".repeat(32),
            fault: String::new(),
            verdict,
        };
        move |it| it.identity = Ok(kernel(vec![objection; count]))
    }

    #[test]
    fn an_answer_is_no_longer_than_it_can_be() {
        let refused = "a command line of 65537 bytes, where 65536 are all";
        let cmdline = |len| move |it: &mut Answer| it.cmdline = Some(vec![b'x'; len]);
        check(cmdline(1 << 16), None);
        check(cmdline((1 << 16) + 1), Some(refused));
        let with_nul = |it: &mut Answer| it.cmdline = Some(b"a\0b".to_vec());
        check(with_nul, Some("a command line with a NUL at byte 1"));
        let warnings = |count| move |it: &mut Answer| it.warnings = vec![String::new(); count];
        check(warnings(1 << 10), None);
        let refused = "warnings of 32800 bytes, where 32768 are all";
        check(warnings((1 << 10) + 1), Some(refused));
        check(objections(128, ConditionVerdict::Refused), None);
        let refused = "objections of 8256 bytes, where 8192 are all";
        check(objections(129, ConditionVerdict::Refused), Some(refused));
        let refused = "an objection that objects to nothing";
        check(objections(1, ConditionVerdict::Ok), Some(refused));
        let release = |len| {
            move |it: &mut Answer| {
                let release = Some("6".repeat(len));
                it.identity = Ok(Identity {
                    release,
                    ..kernel(Vec::new())
                });
            }
        };
        check(release(64), None);
        let refused = "a kernel release of 65 bytes, where 64 are all";
        check(release(65), Some(refused));
        let document = |it: &mut Answer| it.report = Findings::Document(json!({}));
        check(document, Some("a report that is no page"));
        check(
            page(|page| page.paragraph(0, "x".repeat(1 << 20))),
            Some("a report of more than 655360 bytes in 100 columns"),
        );
        // Colours are bytes of a terminal alone.
        let spans = |count| {
            page(move |page| {
                let both = |text: Text, _| text.and(Style::Bad, "x").and(Style::Good, "x");
                page.row("", (0..count).fold(Text::default(), both));
            })
        };
        check(spans(50_000), None);
        let refused = "a report of more than 1966080 bytes in 40 columns";
        check(spans(100_000), Some(refused));
        let slow = Some("a report that takes too long to lay out");
        let part = MapPart {
            name: "x".to_owned(),
            size: 1,
        };
        check(page(|page| page.map(0, vec![part.clone(); 21])), slow);
        check(
            page(|page| page.table(0, &[Align::Left; 11], Vec::new())),
            slow,
        );
        check(page(|page| page.paragraph(usize::MAX, "x")), slow);
    }

    #[test]
    fn only_what_a_pe_image_calls_for_is_hashed() {
        let hashed = |count: usize, padding| ByteRanges {
            ranges: vec![0..1; count],
            padding,
        };
        check_error(check_hashed(&hashed(RANGES_MAX, PADDING_MAX)), None);
        let refused = "65545 ranges to hash, where 65544 are all";
        check_error(check_hashed(&hashed(RANGES_MAX + 1, 0)), Some(refused));
        let refused = "8 bytes of padding to hash, where 7 are all";
        check_error(check_hashed(&hashed(0, 8)), Some(refused));
    }
}
