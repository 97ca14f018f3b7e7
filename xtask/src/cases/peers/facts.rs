//! Taking a peer's lines apart into facts, and finding each in our document.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::tables::Peer;

/// A fact of a peer, or a line that is one, by name, and where it is in ours.
pub(super) struct Row {
    fact: &'static str,
    field: Field,
}

enum Field {
    /// `path` shows it, written as the peer does.
    Is { path: &'static str, shown: Shown },
    /// As `Is`. The lines from here on are about the next element of the list, of which this is so.
    Begins { path: &'static str, shown: Shown },
    /// It is no fact about the image; the reason.
    LeftOut(&'static str),
}

/// Writes a field as a peer does.
pub(super) type Shown = fn(&Ours<'_>) -> Result<String>;

/// A field of ours, and what it takes to write it as a peer does.
pub(super) struct Ours<'a> {
    pub(super) document: &'a Value,
    pub(super) field: &'a Value,
    /// The peer's words.
    pub(super) found: &'a str,
    /// The place of the element in its list.
    pub(super) index: usize,
    /// The number of the signature that the peer's lines are about.
    pub(super) signature: Option<u64>,
    /// How many such fields of this element the peer has printed.
    pub(super) nth: usize,
}

pub(super) const fn is(fact: &'static str, path: &'static str, shown: Shown) -> Row {
    let field = Field::Is { path, shown };
    Row { fact, field }
}

pub(super) const fn begins(fact: &'static str, path: &'static str, shown: Shown) -> Row {
    let field = Field::Begins { path, shown };
    Row { fact, field }
}

pub(super) const fn left_out(fact: &'static str, reason: &'static str) -> Row {
    let field = Field::LeftOut(reason);
    Row { fact, field }
}

/// The lists of our document that peers go through: the name, the list, and which of its elements.
const LISTS: &[(&str, &str)] = &[
    ("section", "/layers/0/pe/sections"),
    ("signer", "/signatures/0/signers"),
    ("certificate", "/signatures/0/certificates"),
];

/// How many facts are in both, how many facts and lines are none about the image, and why.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) same: usize,
    pub(super) left_out: usize,
    pub(super) reasons: BTreeSet<&'static str>,
}

/// Finds each fact that `peer` has `printed` in `document`.
pub(super) fn compare(peer: &Peer, printed: &str, document: &Value) -> Result<Counts> {
    let mut reading = Reading {
        document,
        elements: HashMap::new(),
        printed: HashMap::new(),
        counts: Counts::default(),
    };
    for line in printed.lines() {
        let facts = peer
            .lines
            .iter()
            .find_map(|pattern| captures(pattern, line));
        let facts = facts.with_context(|| format!("no row for the line {}", cut(line)))?;
        let row = |fact: &str| {
            let row = peer.facts.iter().find(|row| row.fact == fact);
            row.with_context(|| format!("no row for {fact:?}"))
        };
        let rows = facts.iter().map(|(fact, found)| Ok((row(fact)?, *found)));
        let mut rows = rows.collect::<Result<Vec<_>>>()?;
        // The other facts of the line are about the element that begins.
        rows.sort_by_key(|(row, _)| !matches!(row.field, Field::Begins { .. }));
        for (row, found) in rows {
            let read = reading.read(row, found);
            read.with_context(|| format!("{:?} of {}", row.fact, cut(line)))?;
        }
    }
    Ok(reading.counts)
}

/// The place of a peer's line in our document.
struct Reading<'a> {
    document: &'a Value,
    /// The element of each list that the lines are about.
    elements: HashMap<&'static str, usize>,
    /// How often each field of them was printed.
    printed: HashMap<&'static str, usize>,
    counts: Counts,
}

impl Reading<'_> {
    fn read(&mut self, row: &Row, found: &str) -> Result<()> {
        let (path, shown) = match row.field {
            Field::LeftOut(reason) => {
                self.counts.left_out += 1;
                self.counts.reasons.insert(reason);
                return Ok(());
            }
            Field::Begins { path, shown } => {
                self.begin(path, shown, found)?;
                (path, shown)
            }
            Field::Is { path, shown } => (path, shown),
        };
        let nth = self.printed.entry(path).or_default();
        let number = *nth;
        *nth += 1;
        let ours = self.ours(path, found, number)?;
        let shown = shown(&ours)?;
        ensure!(shown == found, "{path} of ours says {}", cut(&shown));
        self.counts.same += 1;
        Ok(())
    }

    /// Moves to the next element of a list where `found` is so.
    fn begin(&mut self, path: &'static str, shown: Shown, found: &str) -> Result<()> {
        let name = path.split('/').next().unwrap_or(path);
        let len = list(self.document, name)?.len();
        let behind = self.elements.get(name).map_or(0, |at| at + 1);
        for at in (behind..len).chain(0..behind.min(len)) {
            self.elements.insert(name, at);
            if self
                .ours(path, found, 0)
                .and_then(|ours| shown(&ours))
                .is_ok_and(|it| it == found)
            {
                self.printed.clear();
                return Ok(());
            }
        }
        bail!("none of our {len} at {path} is {}", cut(found))
    }

    fn ours<'a>(&'a self, path: &str, found: &'a str, nth: usize) -> Result<Ours<'a>> {
        let (name, field) = path.split_once('/').unwrap_or((path, ""));
        let (root, index) = match name {
            "" => (self.document, 0),
            name => {
                let index = *self.elements.get(name).context("no element began")?;
                let element = list(self.document, name)?.get(index);
                (element.context("no such element")?, index)
            }
        };
        let pointer = if field.is_empty() {
            String::new()
        } else {
            format!("/{field}")
        };
        // Where nothing is known there is no field, or null.
        let field = root.pointer(&pointer).unwrap_or(&Value::Null);
        let document = self.document;
        let signer = self.elements.get("signer");
        let signer = signer.and_then(|at| list(document, "signer").ok()?.get(*at));
        let signature = signer.and_then(|it| it.pointer("/signature")?.as_u64());
        Ok(Ours {
            document,
            signature,
            field,
            found,
            index,
            nth,
        })
    }
}

fn list<'a>(document: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    let (_, pointer) = LISTS
        .iter()
        .find(|(it, _)| *it == name)
        .context("no such list")?;
    let list = document.pointer(pointer).and_then(Value::as_array);
    list.ok_or_else(|| anyhow!("we have no {pointer}"))
}

/// Returns the facts in `line`, by name, if it is one of `pattern`: see the tables. A line without
/// facts is one by itself.
fn captures<'a>(pattern: &'static str, line: &'a str) -> Option<Vec<(&'static str, &'a str)>> {
    let (mut rest, mut line_rest) = (pattern, line);
    let mut facts = Vec::new();
    while let Some(first) = rest.chars().next() {
        let blanks = rest.len() - rest.trim_start_matches(' ').len();
        if first == '{' {
            let (name, behind) = rest[1..].split_once('}')?;
            let literal = behind.split(['{', ' ']).next().unwrap_or_default();
            let end = match behind.chars().next() {
                None => line_rest.len(),
                Some(' ') => line_rest.find(' ')?,
                Some(_) => line_rest.find(literal)?,
            };
            facts.push((name, &line_rest[..end]));
            (rest, line_rest) = (behind, &line_rest[end..]);
        } else if blanks == 1 {
            let trimmed = line_rest.trim_start_matches(' ');
            if trimmed == line_rest && rest != pattern {
                return None;
            }
            (rest, line_rest) = (&rest[1..], trimmed);
        } else {
            let len = blanks.max(first.len_utf8());
            line_rest = line_rest.strip_prefix(&rest[..len])?;
            rest = &rest[len..];
        }
    }
    if !line_rest.is_empty() {
        return None;
    }
    if facts.is_empty() {
        facts.push((pattern, line));
    }
    Some(facts)
}

/// The start of a text, for errors.
fn cut(text: &str) -> String {
    format!("{:?}", text.chars().take(100).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_out_of_lines() {
        let found = captures(" {index} {name} 2**{power}", "  3 .text     2**4");
        assert_eq!(
            found.unwrap(),
            [("index", "3"), ("name", ".text"), ("power", "4")]
        );
        let found = captures(" {index} {name}", "100 .dtbauto");
        assert_eq!(found.unwrap(), [("index", "100"), ("name", ".dtbauto")]);
        let found = captures("    {line}", "      a  b");
        assert_eq!(found.unwrap(), [("line", "  a  b")]);
        let found = captures("a[{x} vs {y}]: b", "a[1 vs 2]: b");
        assert_eq!(found.unwrap(), [("x", "1"), ("y", "2")]);
        assert_eq!(captures("{name}:", ".text:").unwrap(), [("name", ".text")]);
        assert_eq!(captures("{name}:", ".text: "), None);
        assert_eq!(captures("a", "a").unwrap(), [("a", "a")]);
        assert_eq!(captures("a", "b"), None);
    }
}
