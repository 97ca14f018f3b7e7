//! Lines of a page: wrapping, indents, colours.

use std::fmt::Write as _;

use super::HANGING;
use super::text::{Screen, Style, Text, columns, shown};

/// A character and its style.
type Cell = (char, Style);

/// Lines for a screen, of which the last is being written.
pub(super) struct Lines<'a> {
    screen: &'a Screen,
    printed: String,
    line: Vec<Cell>,
    width: usize,
    /// Cells at the line's start that no word begins before.
    start: usize,
    /// The column where further lines begin.
    hanging: usize,
    wraps: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(screen: &'a Screen) -> Self {
        Self {
            screen,
            printed: String::new(),
            line: Vec::new(),
            width: 0,
            start: 0,
            hanging: 0,
            wraps: true,
        }
    }

    /// Begins a line at column `indent`, whose further lines begin at column
    /// `hanging`. One that is `whole` does not wrap where there is no terminal.
    pub(super) fn begin(&mut self, indent: usize, hanging: usize, whole: bool) {
        // Half of the screen is left for the text.
        let half = self.screen.width / 2;
        self.hanging = hanging.min(half);
        self.wraps = self.screen.terminal || !whole;
        self.indent(indent.min(half - HANGING));
    }

    fn indent(&mut self, columns: usize) {
        self.line = vec![(' ', Style::Plain); columns];
        self.width = columns;
        self.start = columns;
    }

    /// Adds spaces up to `column`, at least `gap` of them. The screen's edge ends
    /// them.
    pub(super) fn pad(&mut self, column: usize, gap: usize) {
        let column = column.min(self.screen.width / 2 - HANGING);
        let spaces = column.saturating_sub(self.width).max(gap);
        for _ in 0..spaces {
            self.cell((' ', Style::Plain));
        }
    }

    /// Adds `text` with escapes for what steers a terminal.
    pub(super) fn text(&mut self, text: &Text) {
        for (style, text) in &text.0 {
            for c in shown(text).chars() {
                self.cell((c, *style));
            }
        }
    }

    fn cell(&mut self, cell: Cell) {
        let (c, _) = cell;
        let columns = columns(c);
        while self.wraps && self.width + columns > self.screen.width {
            self.wrap();
            if c == ' ' && self.line.len() == self.start {
                return;
            }
        }
        self.line.push(cell);
        self.width += columns;
    }

    /// Ends the line behind its last word that fits. A word that fills the line is
    /// cut.
    fn wrap(&mut self) {
        let words = self.line.get(self.start..).unwrap_or_default();
        let space = words.iter().rposition(|(c, _)| *c == ' ');
        let rest = match space.map(|at| self.start + at) {
            Some(at) if at > self.start => self.line.split_off(at + 1),
            _ => Vec::new(),
        };
        self.end();
        self.indent(self.hanging);
        // There is no space in it: where the next lines begin further right, it
        // may be cut, and no more.
        for cell in rest {
            self.cell(cell);
        }
    }

    /// Ends the line.
    pub(super) fn end(&mut self) {
        let blank = |(c, _): &Cell| *c == ' ';
        while self.line.pop_if(|cell| blank(cell)).is_some() {}
        let mut style = Style::Plain;
        for (c, next) in self.line.drain(..) {
            if self.screen.color && next != style {
                switch(&mut self.printed, style, next);
                style = next;
            }
            self.printed.push(c);
        }
        if self.screen.color {
            switch(&mut self.printed, style, Style::Plain);
        }
        self.printed.push('\n');
    }

    /// Returns all lines.
    pub(super) fn finish(self) -> String {
        self.printed
    }
}

/// Goes from one style to the next.
fn switch(printed: &mut String, from: Style, to: Style) {
    if from.sgr().is_some() {
        printed.push_str("\x1b[0m");
    }
    if let Some(code) = to.sgr() {
        let _infallible = write!(printed, "\x1b[{code}m");
    }
}
