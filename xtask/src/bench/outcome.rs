//! The result of a row: pairs of numbers, and the document that keeps medians and ratios of them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A row with its pairs.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// The work, for a person to read.
    pub(crate) title: String,
    pub(crate) ours: String,
    pub(crate) peer: String,
    pub(crate) unit: &'static str,
    /// The ratio that is not to be passed.
    pub(crate) target: Option<f64>,
    /// Ours and the peer's, one pair a round.
    pub(crate) pairs: Vec<[f64; 2]>,
}

/// The numbers of a row that are kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) ours: String,
    pub(crate) peer: String,
    pub(crate) unit: String,
    pub(crate) target: Option<f64>,
    pub(crate) ours_median: f64,
    pub(crate) peer_median: f64,
    pub(crate) ratio: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) pairs: u64,
}

impl Outcome {
    /// Sums it up.
    ///
    /// # Errors
    ///
    /// There are no pairs, or the peer's number is 0.
    pub(crate) fn row(&self) -> Result<Row> {
        let side = |at: usize| self.pairs.iter().map(move |pair| pair[at]);
        let ratios: Vec<f64> = sorted(self.pairs.iter().map(|[ours, peer]| ours / peer));
        let (lowest, highest) = (ratios.first(), ratios.last());
        let lowest = *lowest.with_context(|| format!("{} has no pairs", self.name))?;
        let highest = *highest.context("the last of some")?;
        ensure!(highest.is_finite(), "{}: the peer did nothing", self.name);
        Ok(Row {
            name: self.name.clone(),
            title: self.title.clone(),
            ours: self.ours.clone(),
            peer: self.peer.clone(),
            unit: self.unit.to_owned(),
            target: self.target,
            ours_median: rounded(median(&sorted(side(0)))),
            peer_median: rounded(median(&sorted(side(1)))),
            ratio: rounded(median(&ratios)),
            lowest: rounded(lowest),
            highest: rounded(highest),
            pairs: u64::try_from(self.pairs.len())?,
        })
    }
}

impl Row {
    /// The row as it is kept.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "title": self.title,
            "ours": self.ours,
            "peer": self.peer,
            "unit": self.unit,
            "target": self.target,
            "ours_median": self.ours_median,
            "peer_median": self.peer_median,
            "ratio": self.ratio,
            "lowest": self.lowest,
            "highest": self.highest,
            "pairs": self.pairs,
        })
    }

    /// Reads what [`Row::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// A field is missing.
    pub(crate) fn from_json(value: &Value) -> Result<Self> {
        let missing = |key: &str| format!("no field {key} in {value}");
        let text = |key: &str| {
            let text = value[key].as_str().with_context(|| missing(key))?;
            Ok::<_, anyhow::Error>(text.to_owned())
        };
        let number = |key: &str| value[key].as_f64().with_context(|| missing(key));
        Ok(Self {
            name: text("name")?,
            title: text("title")?,
            ours: text("ours")?,
            peer: text("peer")?,
            unit: text("unit")?,
            target: value["target"].as_f64(),
            ours_median: number("ours_median")?,
            peer_median: number("peer_median")?,
            ratio: number("ratio")?,
            lowest: number("lowest")?,
            highest: number("highest")?,
            pairs: value["pairs"].as_u64().with_context(|| missing("pairs"))?,
        })
    }

    /// One line about it.
    pub(crate) fn line(&self) -> String {
        let Self {
            name,
            ratio,
            lowest,
            highest,
            ours_median,
            peer_median,
            unit,
            pairs,
            ..
        } = self;
        let target = match self.target {
            Some(target) if *ratio > target => format!(", ABOVE its target of {target}"),
            Some(target) => format!(", target {target}"),
            None => String::new(),
        };
        format!(
            "{name:<32} {ratio:.2} ({lowest:.2} to {highest:.2}){target}: {ours_median} beside \
             {peer_median} {unit}, {pairs} pairs"
        )
    }
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

/// The middle of numbers that are sorted; 0 of none.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(above), 0) => (above + sorted[middle - 1]) / 2.0,
        (Some(one), _) => *one,
        (None, _) => 0.0,
    }
}

/// Three digits behind the point: more would be noise.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(pairs: &[[f64; 2]]) -> Outcome {
        Outcome {
            name: "a/b".to_owned(),
            title: "work".to_owned(),
            ours: "ukexec".to_owned(),
            peer: "other".to_owned(),
            unit: "ms",
            target: Some(1.5),
            pairs: pairs.to_vec(),
        }
    }

    #[test]
    fn medians_are_of_ratios_and_of_each_side() {
        let row = outcome(&[[3.0, 1.0], [2.0, 4.0], [10.0, 10.0]])
            .row()
            .unwrap();
        assert_eq!((row.ours_median, row.peer_median), (3.0, 4.0));
        assert_eq!((row.ratio, row.lowest, row.highest), (1.0, 0.5, 3.0));
        let even = outcome(&[[1.0, 1.0], [2.0, 1.0]]).row().unwrap();
        assert_eq!(even.ratio, 1.5);
    }

    #[test]
    fn a_row_is_kept_as_it_is() {
        let row = outcome(&[[1.0, 3.0]]).row().unwrap();
        assert_eq!(Row::from_json(&row.to_json()).unwrap(), row);
        assert!(Row::from_json(&json!({})).is_err());
    }

    #[test]
    fn a_row_without_pairs_is_an_error() {
        assert!(outcome(&[]).row().is_err());
        assert!(outcome(&[[1.0, 0.0]]).row().is_err());
    }
}
