//! A page of the documentation as a manual page of section 5.
//!
//! The subset of Markdown that such a page uses: headings, paragraphs, lists, tables, literal text,
//! links. A table becomes a list that is tagged with its first column.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

/// Returns `ukexec.conf(5)`, made of the text of its page.
pub(crate) fn configuration(text: &str, date: &str) -> String {
    let mut page = Page::default();
    let source = concat!("ukexec ", env!("CARGO_PKG_VERSION"));
    let title = ["UKEXEC.CONF", "5", date, source, "File Formats"];
    page.roff.control("TH", title);
    page.section(
        "NAME",
        "ukexec.conf - configuration of ukexec(8) and its kexec(8)",
    );
    page.section("SYNOPSIS", "/etc/ukexec/ukexec.conf");
    page.roff.control("SH", ["DESCRIPTION"]);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        page.take(event);
    }
    page.section("SEE ALSO", "ukexec(8), ukexec-load(8), kexec(8)");
    page.roff.render()
}

/// The page so far, and the place in it.
#[derive(Default)]
struct Page {
    roff: Roff,
    /// The line that is being collected.
    line: Vec<Inline>,
    is_literal: bool,
    /// Whether the next paragraph goes on behind a heading or the mark of an item.
    is_begun: bool,
    is_strong: bool,
    /// Where a link leads outside of the documentation.
    link: Option<String>,
    /// How many lists are open.
    lists: usize,
    table: Table,
}

/// The table that is being read.
#[derive(Default)]
struct Table {
    headings: Vec<String>,
    cells: Vec<Vec<Inline>>,
}

impl Page {
    fn section(&mut self, title: &str, text: &str) {
        self.roff.control("SH", [title]).text([roman(text)]);
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Code(code) => self.line.push(bold(&*code)),
            Event::Text(text) if self.is_literal => {
                for line in text.lines() {
                    self.roff.text([roman(line)]);
                }
            }
            Event::Text(text) if self.is_strong => self.line.push(italic(&*text)),
            Event::Text(text) => self.line.push(roman(&*text)),
            Event::SoftBreak => self.line.push(roman("\n")),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph if !self.is_begun => {
                let is_in_item = self.lists > 0;
                self.roff.control(if is_in_item { "IP" } else { "PP" }, []);
            }
            Tag::CodeBlock(_) => {
                self.roff
                    .control("PP", [])
                    .control("RS", ["4"])
                    .control("nf", []);
                self.is_literal = true;
            }
            Tag::List(_) => {
                self.flush();
                self.lists += 1;
            }
            Tag::Item => {
                self.roff.control("IP", ["\\(bu", "2"]);
                self.is_begun = true;
            }
            Tag::Strong | Tag::Emphasis => self.is_strong = true,
            Tag::Link { dest_url, .. } => {
                self.link = dest_url.contains("://").then(|| dest_url.into_string());
            }
            Tag::Table(_) => self.table = Table::default(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.heading(),
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::CodeBlock => {
                self.roff.control("fi", []).control("RE", []);
                self.is_literal = false;
            }
            TagEnd::List(_) => self.lists -= 1,
            TagEnd::Strong | TagEnd::Emphasis => self.is_strong = false,
            TagEnd::Link => {
                if let Some(link) = self.link.take() {
                    self.line.push(roman(format!(" ({link})")));
                }
            }
            TagEnd::TableCell => self.table.cells.push(std::mem::take(&mut self.line)),
            TagEnd::TableHead => self.table.end_of_headings(),
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    /// Ends a heading. The title of the page is in NAME.
    fn heading(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = plain(&line);
        if text != "ukexec.conf" {
            self.roff.control("SS", [text.as_str()]);
        }
        self.is_begun = true;
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.roff.text(std::mem::take(&mut self.line));
        }
        self.is_begun = false;
    }

    /// Adds a row as an entry: the first cell is the tag, the others follow with their headings.
    fn row(&mut self) {
        let cells = std::mem::take(&mut self.table.cells);
        for (index, cell) in cells.into_iter().enumerate() {
            if index == 0 {
                self.roff.control("TP", []).text(cell);
                continue;
            }
            if index > 1 {
                self.roff.control("br", []);
            }
            let heading = self.table.headings.get(index).cloned().unwrap_or_default();
            let mut line = vec![italic(heading), roman(": ")];
            line.extend(cell);
            self.roff.text(line);
        }
    }
}

impl Table {
    fn end_of_headings(&mut self) {
        self.headings = self.cells.drain(..).map(|cell| plain(&cell)).collect();
    }
}

/// The letters of a line.
fn plain(line: &[Inline]) -> String {
    line.iter()
        .map(|inline| match inline {
            Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.as_str(),
            Inline::LineBreak => " ",
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let page = configuration(text, "2026-11-29");
        let (_, page) = page.split_once(".SH DESCRIPTION\n").unwrap();
        let (page, _) = page.rsplit_once(".SH").unwrap();
        expected.assert_eq(page);
    }

    #[test]
    fn a_table_is_a_tagged_list() {
        check(
            "# ukexec.conf\n\n| key | value |\n|---|---|\n| `a` | one, `two` |\n",
            expect![[r#"
            .TP
            \fBa\fR
            \fIvalue\fR: one, \fBtwo\fR
        "#]],
        );
    }

    #[test]
    fn lists_headings_links_and_literal_text() {
        let text = "# ukexec.conf\n\nA [TOML](https://toml.io) file, see [it](it.md).\n\n```toml\na = 1\n\nb = 2\n```\n\n\
                    ## a\n\n- `x`: one\n  two\n- **y**\n\n  more\n\nEnd.\n";
        check(
            text,
            expect![[r#"
                A TOML (https://toml.io) file, see it.
                .PP
                .RS 4
                .nf
                a = 1

                b = 2
                .fi
                .RE
                .SS a
                .IP \(bu 2
                \fBx\fR: one
                two
                .IP \(bu 2
                \fIy\fR
                .IP
                more
                .PP
                End.
            "#]],
        );
    }
}
