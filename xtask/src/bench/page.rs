//! The kept numbers, and what is made of them: the table in `docs/performance.md`, and `docs/performance.svg`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::chart;
use super::outcome::Row;
use crate::command::Tool;
use crate::workspace;

const NUMBERS: &str = "docs/performance.json";
const PAGE: &str = "docs/performance.md";
const CHART: &str = "docs/performance.svg";
/// The lines around the table.
const BEGIN: &str =
    "<!-- `cargo xtask bench` makes this table and the chart of performance.json. -->\n";
const END: &str = "<!-- End of the table. -->\n";

/// Writes the numbers, the table and the chart.
///
/// # Errors
///
/// Those of the file system; the page has no place for a table.
pub(crate) fn write(rows: &[Row]) -> Result<()> {
    let rows: Vec<Value> = rows.iter().map(Row::to_json).collect();
    let numbers = json!({ "machine": machine()?, "rows": rows });
    let root = workspace::root();
    let numbers = format!("{numbers:#}\n");
    fs::write(root.join(NUMBERS), &numbers).context(NUMBERS)?;
    Made::of(&root, &numbers)?.write(&root)
}

/// The pages that are made of the numbers.
struct Made {
    page: String,
    chart: String,
}

impl Made {
    fn of(root: &Path, numbers: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(numbers).context(NUMBERS)?;
        let rows = document["rows"].as_array().context("no rows")?;
        let rows: Vec<Row> = rows.iter().map(Row::from_json).collect::<Result<_>>()?;
        let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
        let (head, rest) = page.split_once(BEGIN).context("no place for the table")?;
        let (_, tail) = rest.split_once(END).context("no end of the table")?;
        let table = table(&document["machine"], &rows)?;
        Ok(Self {
            page: [head, BEGIN, "\n", &table, "\n", END, tail].concat(),
            chart: chart::draw(&rows),
        })
    }

    fn write(&self, root: &Path) -> Result<()> {
        for (path, text) in [(PAGE, &self.page), (CHART, &self.chart)] {
            fs::write(root.join(path), text).with_context(|| format!("cannot write {path}"))?;
        }
        Ok(())
    }
}

/// The facts of this machine that ratios depend on.
fn machine() -> Result<Value> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let field = |key: &str| {
        let line = info.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(": "))
            .map_or("", |(_, value)| value)
    };
    Ok(json!({
        "processor": field("model name"),
        "cores": std::thread::available_parallelism()?.get(),
        "sha_ni": field("flags").split(' ').any(|flag| flag == "sha_ni"),
        "linux": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "date": Tool::new("date").args(["--utc", "+%F"]).text()?.trim(),
    }))
}

fn table(machine: &Value, rows: &[Row]) -> Result<String> {
    let text = |key: &str| machine[key].as_str().unwrap_or_default();
    let mut out = String::new();
    writeln!(
        out,
        "Measured on {}: {}, {} cores, {} SHA-NI, Linux {}.\n",
        text("date"),
        text("processor"),
        machine["cores"],
        if machine["sha_ni"] == true {
            "with"
        } else {
            "without"
        },
        text("linux"),
    )?;
    // A person may have put one there. The next whole run drops it.
    if let Some(note) = machine["note"].as_str() {
        writeln!(out, "{note}\n")?;
    }
    out.push_str(
        "| ukexec | peer | ratio | lowest to highest | at most | ukexec, median | peer, median |\n",
    );
    out.push_str("|---|---|---|---|---|---|---|\n");
    for row in rows {
        let target = row.target.map_or_else(String::new, |it| it.to_string());
        writeln!(
            out,
            "| {} (`{}`) | {} | **{:.2}** | {:.2} to {:.2} | {} | {} | {} |",
            row.title,
            row.ours,
            row.peer,
            row.ratio,
            row.lowest,
            row.highest,
            target,
            amount(row.ours_median, &row.unit),
            amount(row.peer_median, &row.unit),
        )?;
    }
    Ok(out)
}

/// A number with its unit, and no more digits than mean something.
fn amount(number: f64, unit: &str) -> String {
    match number {
        ..10.0 => format!("{number:.2} {unit}"),
        10.0..100.0 => format!("{number:.1} {unit}"),
        _ => format!("{number:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_and_chart_are_made_of_the_numbers() {
        let root = workspace::root();
        let committed = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        let made = Made::of(&root, &committed(NUMBERS)).unwrap();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            made.write(&root).unwrap();
        }
        assert_eq!(made.page, committed(PAGE));
        assert_eq!(made.chart, committed(CHART));
    }

    #[test]
    fn amounts_have_three_digits() {
        assert_eq!(amount(1.234, "ms"), "1.23 ms");
        assert_eq!(amount(12.34, "ms"), "12.3 ms");
        assert_eq!(amount(1234.5, "MiB"), "1234 MiB");
    }
}
