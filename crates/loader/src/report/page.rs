//! A report for people as rows, before it meets a terminal.
//!
//! The worker makes a [`Page`] and the parent prints it. Texts may come out of an
//! image, so the page escapes every text before it measures it: escape sequences
//! that reach a terminal are those of this file alone. Widths are columns of
//! Unicode, not bytes.

mod map;
mod text;
mod wrap;

use serde::{Deserialize, Serialize};

use self::wrap::Lines;

pub use self::map::MapPart;
pub use self::text::{Screen, Style, Text};

/// A report for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    rows: Vec<Row>,
}

/// A row of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Row {
    Labelled(Labelled),
    Table {
        indent: usize,
        columns: Vec<Align>,
        cells: Vec<Vec<Text>>,
    },
    Map {
        indent: usize,
        parts: Vec<MapPart>,
    },
}

/// A label and a text beside it, which wraps into the text's column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    /// Columns before the label.
    pub indent: usize,
    /// The label.
    pub label: Text,
    /// The column where the text begins.
    pub column: usize,
    /// The text.
    pub text: Text,
    /// A line that programs look for, such as a command line or a digest: it
    /// stays one line where there is no terminal.
    pub whole: bool,
}

/// The side to which a column of a table is flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// Bounds of a page that a worker sends.
const INDENT_MAX: usize = 100;
const COLUMNS_MAX: usize = 10;
const PARTS_MAX: usize = 20;

/// Bytes around a text at most: two lines' indents, ends and colours, and blanks up to
/// its column.
const LINE_BOUND: usize = 300;

/// Columns that the further lines of a text begin behind the first.
const HANGING: usize = 2;

/// The column where texts begin.
pub const COLUMN: usize = 14;

impl Page {
    /// Adds a title, and what it is about.
    pub fn title(&mut self, title: impl Into<String>, text: impl Into<Text>) {
        self.line(Labelled {
            indent: 0,
            label: Text::styled(Style::Strong, title),
            column: COLUMN,
            text: text.into(),
            whole: false,
        });
    }

    /// Adds a fact below a title.
    pub fn row(&mut self, label: impl Into<Text>, text: impl Into<Text>) {
        self.line(Labelled {
            indent: 2,
            label: label.into(),
            column: COLUMN,
            text: text.into(),
            whole: false,
        });
    }

    /// As [`row`](Self::row), of a text that programs look for.
    pub fn whole(&mut self, label: impl Into<Text>, text: impl Into<Text>) {
        self.line(Labelled {
            indent: 2,
            label: label.into(),
            column: COLUMN,
            text: text.into(),
            whole: true,
        });
    }

    /// Adds a paragraph, which wraps `indent` columns from the left.
    pub fn paragraph(&mut self, indent: usize, text: impl Into<Text>) {
        self.line(Labelled {
            indent,
            label: Text::default(),
            column: indent,
            text: text.into(),
            whole: false,
        });
    }

    /// Adds a line.
    pub fn line(&mut self, line: Labelled) {
        self.rows.push(Row::Labelled(line));
    }

    /// Adds an empty line.
    pub fn blank(&mut self) {
        self.paragraph(0, Text::default());
    }

    /// Adds `cells` row by row, each column as wide as its widest cell. The last
    /// column wraps.
    pub fn table(&mut self, indent: usize, columns: &[Align], cells: Vec<Vec<Text>>) {
        self.rows.push(Row::Table {
            indent,
            columns: columns.to_vec(),
            cells,
        });
    }

    /// Adds a bar with a cell for each part, to scale.
    pub fn map(&mut self, indent: usize, parts: Vec<MapPart>) {
        self.rows.push(Row::Map { indent, parts });
    }

    /// Returns a page of `text`, each of whose lines stays one line.
    #[must_use]
    pub fn of_lines(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            page.line(Labelled {
                indent: 0,
                label: Text::default(),
                column: 0,
                text: line.into(),
                whole: true,
            });
        }
        page
    }

    /// Adds all rows of `other`.
    pub fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// Returns whether it can be laid out in a time that grows with its text alone.
    pub(crate) fn is_simple(&self) -> bool {
        self.rows.iter().all(|row| match row {
            Row::Labelled(line) => line.indent.max(line.column) <= INDENT_MAX,
            Row::Table {
                indent,
                columns,
                cells,
            } => {
                let widest = cells.iter().map(Vec::len).max().unwrap_or(0);
                *indent <= INDENT_MAX && columns.len().max(widest) <= COLUMNS_MAX
            }
            Row::Map { indent, parts } => *indent <= INDENT_MAX && parts.len() <= PARTS_MAX,
        })
    }

    /// Returns a bound on the bytes that it has in a file or on the narrowest terminal:
    /// more than it has, and cheaper than printing it.
    pub(crate) fn len_bound(&self) -> usize {
        let texts = |texts: &[&Text]| {
            let bounds = texts.iter().map(|text| text.len_bound() + LINE_BOUND);
            LINE_BOUND + bounds.sum::<usize>()
        };
        let rows = self.rows.iter().map(|row| match row {
            Row::Labelled(line) => texts(&[&line.label, &line.text]),
            Row::Table { cells, .. } => {
                let rows = cells
                    .iter()
                    .map(|row| texts(&row.iter().collect::<Vec<_>>()));
                rows.sum()
            }
            Row::Map { parts, .. } => {
                let names = parts.iter().map(|part| Text::from(part.name.as_str()));
                let names = names.map(|name| name.len_bound() + LINE_BOUND);
                LINE_BOUND + names.sum::<usize>()
            }
        });
        rows.sum()
    }

    /// Returns whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the page as it looks on `screen`, each line with its end.
    #[must_use]
    pub fn print(&self, screen: &Screen) -> String {
        let mut lines = Lines::new(screen);
        for row in &self.rows {
            match row {
                Row::Labelled(line) => print_line(line, &mut lines),
                Row::Table {
                    indent,
                    columns,
                    cells,
                } => print_table(*indent, columns, cells, &mut lines),
                Row::Map { indent, parts } => {
                    let text = map::text(parts, screen, screen.width.saturating_sub(*indent));
                    lines.begin(*indent, *indent, false);
                    lines.text(&text);
                    lines.end();
                }
            }
        }
        lines.finish()
    }
}

fn print_line(line: &Labelled, lines: &mut Lines<'_>) {
    // Text out of an image shall not look like a row of its own where it wraps.
    let hanging = match line.column >= COLUMN {
        true => line.column + HANGING,
        false => line.column,
    };
    lines.begin(line.indent, hanging, line.whole);
    lines.text(&line.label);
    if line.text != Text::default() {
        let gap = if line.label == Text::default() { 0 } else { 2 };
        lines.pad(line.column, gap);
        lines.text(&line.text);
    }
    lines.end();
}

/// Columns of a table that is wider than this leave the other columns no room.
const CELL_MAX: usize = 40;

fn print_table(indent: usize, columns: &[Align], cells: &[Vec<Text>], lines: &mut Lines<'_>) {
    let widest = |at: usize| {
        let cells = cells.iter().filter_map(|row| row.get(at));
        let widths = cells.map(Text::width).filter(|width| *width <= CELL_MAX);
        widths.max().unwrap_or(0)
    };
    // The last column need not be filled up.
    let last = columns.len().saturating_sub(1);
    let widths: Vec<usize> = (0..last).map(widest).collect();
    let hanging = indent + widths.iter().map(|width| width + 2).sum::<usize>();
    for row in cells {
        lines.begin(indent, hanging, false);
        let mut column = indent;
        for ((at, align), cell) in columns.iter().enumerate().zip(row) {
            let gap = if at == 0 { 0 } else { 2 };
            let room = widths.get(at).copied().unwrap_or(0);
            let flush = match align {
                Align::Left => column,
                Align::Right => column + room.saturating_sub(cell.width()),
            };
            if cell != &Text::default() {
                lines.pad(flush, gap);
                lines.text(cell);
            }
            column += room + 2;
        }
        lines.end();
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::error::{Failure, Place};

    /// Parameters of our own escape sequences.
    const CODES: [&str; 6] = ["0", "1", "2", "31", "32", "33"];

    fn check(page: &Page, width: usize, expected: &Expect) {
        let screen = Screen {
            width,
            ..Screen::FILE
        };
        let printed = page.print(&screen);
        let lines: String = printed.lines().map(|line| format!("|{line}\n")).collect();
        expected.assert_eq(&lines);
    }

    fn page() -> Page {
        let mut page = Page::default();
        page.title(
            "debian.efi",
            "unified kernel image, x86_64, 8.9 MiB, systemd-stub 257.13",
        );
        page.row("boots", "Linux 6.1.0-56-amd64 (Debian 6.1.192-2), bzImage");
        page.whole(
            "cmdline",
            "console=ttyS0,115200 panic=-1 root=/dev/disk/by-uuid/0",
        );
        page.row(
            "signature",
            Text::styled(Style::Good, "good").and(Style::Plain, ", by CN=Example db"),
        );
        page
    }

    #[test]
    fn a_line_wraps_into_the_column_of_its_text() {
        check(
            &page(),
            40,
            &expect![[r#"
                |debian.efi    unified kernel image,
                |                x86_64, 8.9 MiB,
                |                systemd-stub 257.13
                |  boots       Linux 6.1.0-56-amd64
                |                (Debian 6.1.192-2),
                |                bzImage
                |  cmdline     console=ttyS0,115200 panic=-1 root=/dev/disk/by-uuid/0
                |  signature   good, by CN=Example db
            "#]],
        );
    }

    #[test]
    fn a_terminal_wraps_every_line_and_shows_verdicts_in_colours() {
        let screen = Screen {
            width: 60,
            terminal: true,
            color: true,
            utf8: true,
        };
        let expected = expect![[r#"
            <1>debian.efi<0>    unified kernel image, x86_64, 8.9 MiB,
                            systemd-stub 257.13
              boots       Linux 6.1.0-56-amd64 (Debian 6.1.192-2),
                            bzImage
              cmdline     console=ttyS0,115200 panic=-1
                            root=/dev/disk/by-uuid/0
              signature   <32>good<0>, by CN=Example db
        "#]];
        let mut printed = page().print(&screen);
        for code in CODES {
            printed = printed.replace(&format!("\x1b[{code}m"), &format!("<{code}>"));
        }
        expected.assert_eq(&printed);
    }

    #[test]
    fn texts_are_escaped_before_they_are_measured() {
        let mut page = Page::default();
        page.row("na\x1b[2Jme", "a\u{202e}b\u{9b}c\u{200b}d\ne");
        check(
            &page,
            100,
            &expect![[r#"
                |  na\u{1b}[2Jme  a\u{202e}b\u{9b}c\u{200b}d\ne
            "#]],
        );
    }

    #[test]
    fn columns_of_tables_line_up() {
        let mut page = Page::default();
        let row =
            |name: &str, size: &str, text: &str| vec![name.into(), size.into(), Text::from(text)];
        let cells = vec![
            row(".linux", "7.8 MiB", "at 0x1000"),
            row(".漢字", "12 bytes", "at 0x2000 a long text that wraps"),
        ];
        page.table(2, &[Align::Left, Align::Right, Align::Left], cells);
        check(
            &page,
            44,
            &expect![[r#"
                |  .linux   7.8 MiB  at 0x1000
                |  .漢字   12 bytes  at 0x2000 a long text
                |                    that wraps
            "#]],
        );
    }

    fn any_string() -> impl Strategy<Value = String> {
        any::<Vec<u8>>().prop_map(|it| String::from_utf8_lossy(&it).into_owned())
    }

    fn any_text() -> impl Strategy<Value = Text> {
        let style = prop_oneof![Just(Style::Plain), Just(Style::Bad), Just(Style::Dim)];
        prop::collection::vec((style, any_string()), 0..4).prop_map(Text)
    }

    fn any_row() -> impl Strategy<Value = Row> {
        let line = (
            0..20_usize,
            any_text(),
            0..60_usize,
            any_text(),
            any::<bool>(),
        );
        let line = line.prop_map(|(indent, label, column, text, whole)| {
            Row::Labelled(Labelled {
                indent,
                label,
                column,
                text,
                whole,
            })
        });
        let cells = prop::collection::vec(prop::collection::vec(any_text(), 0..4), 0..4);
        let table = (0..20_usize, cells).prop_map(|(indent, cells)| Row::Table {
            indent,
            columns: vec![Align::Left, Align::Right, Align::Left],
            cells,
        });
        let part = (".{0,12}", any::<u64>()).prop_map(|(name, size)| MapPart { name, size });
        let map = (0..20_usize, prop::collection::vec(part, 0..12));
        let map = map.prop_map(|(indent, parts)| Row::Map { indent, parts });
        prop_oneof![line, table, map]
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_screen(
            rows in prop::collection::vec(any_row(), 0..6),
            width in 40..=200_usize,
            utf8: bool,
        ) {
            let screen = Screen { width, terminal: true, color: false, utf8 };
            let printed = Page { rows: rows.clone() }.print(&screen);
            for line in printed.lines() {
                let columns = text::width(line);
                prop_assert!(columns <= width, "{columns} columns of {width}: {line:?}");
            }
            // A colour changes nothing but the escape sequences, which are ours.
            let screen = Screen { color: true, ..screen };
            let mut colored = Page { rows }.print(&screen);
            for code in CODES {
                colored = colored.replace(&format!("\x1b[{code}m"), "");
            }
            prop_assert_eq!(colored, printed);
        }

        #[test]
        fn no_further_line_looks_like_a_row(
            indent in 0..20_usize,
            column in COLUMN..20,
            text in any_text(),
            width in 40..=200_usize,
            terminal: bool,
        ) {
            let mut page = Page::default();
            let label = Text::default();
            page.line(Labelled { indent, label, column, text, whole: false });
            let printed = page.print(&Screen { width, terminal, ..Screen::FILE });
            for line in printed.lines().skip(1) {
                let blanks = line.len() - line.trim_start_matches(' ').len();
                prop_assert!(line.is_empty() || blanks > column.min(width / 2 - HANGING), "{line:?}");
            }
        }

        #[test]
        fn no_page_passes_its_bound(rows in prop::collection::vec(any_row(), 0..6)) {
            let page = Page { rows };
            let bound = page.len_bound();
            for screen in [Screen::FILE, Screen::NARROWEST] {
                let len = page.print(&screen).len();
                prop_assert!(len <= bound, "{len} of {bound}");
            }
        }

        #[test]
        fn no_line_of_a_fault_is_wider_than_the_screen(
            texts in prop::collection::vec(any_string(), 8),
            notes in prop::collection::vec(any_string(), 0..4),
            width in 40..=200_usize,
            terminal: bool,
        ) {
            let text = |at: usize| Some(texts[at].clone());
            let place = Place {
                layer: text(0),
                parser: text(1),
                hook: text(2),
                program: text(3),
                function: text(4),
                file: text(5),
                source: text(6),
                line: Some(8),
                insn: Some(6),
                ..Place::default()
            };
            let failure = Failure { place, summary: text(7), notes, ..Failure::default() };
            let page = failure.page().expect("it is about a parser");
            for line in page.print(&Screen { width, terminal, ..Screen::FILE }).lines() {
                let columns = text::width(line);
                prop_assert!(columns <= width, "{columns} columns of {width}: {line:?}");
            }
        }
    }
}
