//! The texts that end a command's help, as sections of its page: examples and exit codes under their
//! headings, everything else under NOTES.

use roff::{Roff, bold, roman};

/// Adds the sections of `text`, whose parts have blank lines between them.
pub(crate) fn add(roff: &mut Roff, text: &str) {
    let (lists, notes): (Vec<&str>, Vec<&str>) = text
        .split("\n\n")
        .filter(|part| !part.trim().is_empty())
        .partition(|part| heading(part).is_some());
    let mut left = notes;
    for list in lists {
        let Some((title, lines)) = heading(list) else {
            continue;
        };
        match title {
            "Exit codes" => {
                let behind = exit_codes(roff, lines);
                left.extend(behind);
            }
            _ => literal(roff, &title.to_uppercase(), lines),
        }
    }
    for (index, note) in left.iter().enumerate() {
        match index {
            0 => roff.control("SH", ["NOTES"]),
            _ => roff.control("PP", []),
        };
        paragraph(roff, note);
    }
}

/// Returns the title and the lines of a part that begins with a title.
fn heading(part: &str) -> Option<(&str, &str)> {
    let (title, lines) = part.trim_start_matches('\n').split_once(":\n")?;
    let is_list = !title.contains('\n') && lines.starts_with("  ");
    is_list.then_some((title, lines))
}

/// Adds a section whose lines stay as they are.
fn literal(roff: &mut Roff, title: &str, lines: &str) {
    roff.control("SH", [title]).control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []);
}

/// Adds the exit codes as a list, and returns the sentence behind it, if there is one.
fn exit_codes<'a>(roff: &mut Roff, lines: &'a str) -> Option<&'a str> {
    roff.control("SH", ["EXIT STATUS"]);
    let mut rest = lines;
    while let Some((line, behind)) = rest
        .split_once('\n')
        .or((!rest.is_empty()).then_some((rest, "")))
    {
        let Some(entry) = line.strip_prefix("  ") else {
            return Some(rest);
        };
        match entry.split_once("  ").filter(|(code, _)| is_code(code)) {
            Some((code, meaning)) => {
                roff.control("TP", [])
                    .text([bold(code)])
                    .text([roman(meaning.trim())]);
            }
            None => {
                roff.text([roman(entry.trim())]);
            }
        }
        rest = behind;
    }
    None
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn paragraph(roff: &mut Roff, text: &str) {
    for line in text.lines() {
        roff.text([roman(line.trim())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let mut roff = Roff::new();
        add(&mut roff, text);
        expected.assert_eq(&roff.to_roff());
    }

    #[test]
    fn examples_stay_as_they_are() {
        check(
            "Examples:\n  a b   does c\n  d\n\nA note.",
            expect![[r#"
            .SH EXAMPLES
            .nf
            a b   does c
            d
            .fi
            .SH NOTES
            A note.
        "#]],
        );
    }

    #[test]
    fn exit_codes_are_a_list() {
        check(
            "Exit codes:\n  0  done\n  4  cannot: no\n     call\nThe highest counts.",
            expect![[r#"
            .SH "EXIT STATUS"
            .TP
            \fB0\fR
            done
            .TP
            \fB4\fR
            cannot: no
            call
            .SH NOTES
            The highest counts.
        "#]],
        );
    }

    #[test]
    fn a_sentence_that_ends_in_a_colon_is_no_heading() {
        check(
            "Two things:\nthis and that",
            expect![[r#"
            .SH NOTES
            Two things:
            this and that
        "#]],
        );
    }
}
