//! A bar that shows the parts of a file to scale.

use serde::{Deserialize, Serialize};

use super::text::{Screen, Style, Text, shown, width};
use crate::report::size::Size;

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapPart {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
}

/// Columns that all bars together have at most.
const BARS_MAX: usize = 60;

/// Columns of bars that are worth a map.
const BARS_MIN: usize = 10;

/// Returns the map of `parts` in `room` columns. Each part whose bar has a column
/// has its name and its size; the other names stand alone, as far as they fit.
pub(super) fn text(parts: &[MapPart], screen: &Screen, room: usize) -> Text {
    let total: u128 = parts.iter().map(|part| u128::from(part.size)).sum();
    // Parts that are named: the largest, as many as leave room for bars.
    let mut by_size: Vec<usize> = (0..parts.len()).collect();
    by_size.sort_by_key(|at| std::cmp::Reverse(parts.get(*at).map(|part| part.size)));
    let mut cells = Vec::new();
    for count in (1..=parts.len()).rev() {
        let named = by_size.get(..count).unwrap_or_default();
        cells = self::cells(parts, named, total, room);
        if width_of(&cells) <= room {
            break;
        }
    }
    let mut map = Text::styled(Style::Plain, "[");
    for (at, cell) in cells.iter().enumerate() {
        let fill = match (screen.utf8, at % 2) {
            (true, 0) => '█',
            (true, _) => '▒',
            (false, 0) => '#',
            (false, _) => '=',
        };
        let bar: String = std::iter::repeat_n(fill, cell.bar).collect();
        let before = if at == 0 { "" } else { "|" };
        map = map.and(Style::Plain, format!("{before}{}", cell.before(&bar)));
    }
    map.and(Style::Plain, "]")
}

/// A part as it is drawn.
struct Cell {
    name: String,
    /// Columns of its bar.
    bar: usize,
    size: u64,
}

impl Cell {
    fn before(&self, bar: &str) -> String {
        if self.bar == 0 {
            return self.name.clone();
        }
        let text = format!("{} {bar} {}", self.name, Size(self.size));
        text.trim_start().to_owned()
    }

    fn width(&self) -> usize {
        width(&self.before("")) + self.bar
    }
}

fn width_of(cells: &[Cell]) -> usize {
    // A mark in front of each, and one at the end.
    cells.iter().map(|cell| cell.width() + 1).sum::<usize>() + 1
}

/// Returns a cell for each part that is `named`; parts between them are one cell.
fn cells(parts: &[MapPart], named: &[usize], total: u128, room: usize) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    let mut others = false;
    for (at, part) in parts.iter().enumerate() {
        let is_named = named.contains(&at);
        match cells.last_mut() {
            Some(cell) if others && !is_named => cell.size = cell.size.saturating_add(part.size),
            _ => cells.push(Cell {
                name: if is_named {
                    shown(&part.name).into_owned()
                } else {
                    "...".to_owned()
                },
                bar: 0,
                size: part.size,
            }),
        }
        others = !is_named;
    }
    // Names and sizes stand beside the bars.
    let texts: usize = cells
        .iter()
        .map(|cell| width(&cell.name) + 2 + Size(cell.size).to_string().len() + 1)
        .sum();
    let bars = room.saturating_sub(texts + 2).clamp(BARS_MIN, BARS_MAX);
    for cell in &mut cells {
        let share = u128::from(cell.size) * bars as u128 / total.max(1);
        // At most `bars`.
        cell.bar = usize::try_from(share).unwrap_or(bars);
    }
    cells
}
