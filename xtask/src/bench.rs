//! `cargo xtask bench`: what ukexec costs, beside others that do the same work or a part of it.
//!
//! Both sides of a row run by turns, and the ratio of each pair counts: a busy machine slows both. A whole run writes
//! `docs/performance.json`, and the table and the chart that are made of it. A run of some rows only prints.

mod call;
mod chart;
mod downtime;
mod guest;
mod interpreter;
mod materials;
mod outcome;
mod page;
mod rows;

use anyhow::{Result, ensure};

use self::materials::Materials;
use self::rows::{DOWNTIME, ROWS};
use crate::setup::{self, Need};

/// Measures the rows whose name holds `filter`, and prints them. Without one, it measures all but those of downtime, and
/// writes the pages.
///
/// # Errors
///
/// A program cannot be had or fails, or no row has such a name.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    setup::ensure(&[Need::Test, Need::Bench])?;
    let materials = Materials::new()?;
    let mut rows = Vec::new();
    for (name, measure) in ROWS {
        if !filter.map_or(*name != DOWNTIME, |filter| name.contains(filter)) {
            continue;
        }
        for outcome in measure(&materials, name)? {
            let row = outcome.row()?;
            println!("{}", row.line());
            rows.push(row);
        }
    }
    ensure!(!rows.is_empty(), "no row has such a name");
    if filter.is_none() {
        page::write(&rows)?;
        println!("wrote docs/performance.json, and table and chart of it");
    }
    materials.clear()
}

/// The names of the rows, one a line.
pub(crate) fn list() {
    for (name, _) in ROWS {
        println!("{name}");
    }
}
