//! `cargo xtask bench`: what ukexec costs, beside others that do the same work or a part of it.
//!
//! Both sides of a row run by turns, and the ratio of each pair counts: a busy machine slows both. A whole run writes
//! `docs/performance.json`, and the table and the chart that are made of it. A run of some rows only prints.

mod call;
mod chart;
mod downtime;
mod exec;
mod guest;
mod interpreter;
mod materials;
mod outcome;
mod page;
mod rows;

use anyhow::{Result, ensure};

use self::materials::Materials;
use self::rows::{ASKED_FOR, ROWS};
use crate::setup::{self, Need};

/// Measures the rows whose name holds `filter`, and prints them. Without one, it measures all but those that have to
/// be asked for, and writes the pages.
///
/// # Errors
///
/// A program cannot be had or fails, or no row has such a name. The other rows are measured and written all the same.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    setup::ensure(&[Need::Test, Need::Bench])?;
    let materials = Materials::new()?;
    let (mut rows, mut failed) = (Vec::new(), 0);
    for (name, measure) in ROWS {
        if !filter.map_or(!ASKED_FOR.contains(name), |filter| name.contains(filter)) {
            continue;
        }
        // One that fails does not spoil an hour of others.
        let outcomes = measure(&materials, name).unwrap_or_else(|error| {
            eprintln!("{name}: {error:#}");
            failed += 1;
            Vec::new()
        });
        for outcome in outcomes {
            let row = outcome.row()?;
            println!("{}", row.line());
            rows.push(row);
        }
    }
    ensure!(!rows.is_empty(), "nothing was measured");
    if filter.is_none() {
        page::write(&rows)?;
        println!("wrote docs/performance.json, and table and chart of it");
    }
    ensure!(failed == 0, "{failed} rows failed");
    materials.clear()
}

/// The names of the rows, one a line.
pub(crate) fn list() {
    for (name, _) in ROWS {
        println!("{name}");
    }
}
