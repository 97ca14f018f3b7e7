//! The examples of `docs/json.md` are documents of goldens, or what depends on the
//! machine has the same fields.
//!
//! A block is marked `json GOLDEN`, and may have the path of a part behind that.
//! `UPDATE_EXPECT=1` rewrites them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use expect_test::expect_file;
use serde_json::Value;

use crate::documents::{status, traces};
use crate::machine::kinds;
use crate::workspace;

/// A golden of each command that prints documents, and one of a failure.
const COMMANDS: [&str; 9] = [
    "inspect",
    "unfold",
    "load",
    "entries",
    "status",
    "parser-check",
    "parser-helpers",
    "parser-run",
    "faults",
];

const FENCE: &str = "\n```json ";

/// Columns of an object or array that stands on one line.
const WIDTH: usize = 160;

#[test]
fn the_documentation_shows_documents() {
    let file = workspace("docs/json.md");
    let page = fs::read_to_string(&file).expect("the page");
    let mut parts = page.split(FENCE);
    let mut expected = parts.next().expect("there is one").to_owned();
    let mut shown = BTreeSet::new();
    for part in parts {
        let (mark, rest) = part.split_once('\n').expect("a line");
        let (example, rest) = rest.split_once("\n```\n").expect("the block ends");
        let (name, path) = mark.split_at(mark.find('/').unwrap_or(mark.len()));
        shown.insert(name);
        let line = expected.trim_end().lines().next_back().expect("a line");
        assert!(
            line.contains(&call(name)),
            "{line:?} is not about {}",
            call(name)
        );
        let text = match name {
            "trace" => trace(example),
            name => compact(&document(name, path, example), 0),
        };
        write!(expected, "{FENCE}{mark}\n{text}\n```\n{rest}").expect("a text has room");
    }
    let missing = COMMANDS.iter().filter(|it| !shown.contains(*it));
    assert_eq!(missing.collect::<Vec<_>>(), [&""; 0]);
    expect_file![file].assert_eq(&expected);
}

/// Returns the call that a golden is of, without options that keep the machine out of it.
fn call(name: &str) -> String {
    if name == "trace" {
        return "--trace=FILE`".to_owned();
    }
    let session = workspace("crates/cli/tests/golden").join(format!("{name}.txt"));
    let session = fs::read_to_string(session).expect("a golden");
    let call = session
        .lines()
        .find(|line| line.starts_with("$ ") && line.contains("--json"));
    let words = call.expect("it has a document").split(' ').skip(1);
    let is_own = |word: &&str| !["OFF", "AUTO", "REQUIRE"].contains(word);
    format!("`{}`", words.filter(is_own).collect::<Vec<_>>().join(" "))
}

/// Returns the document that `example` shall be: that of a golden, or itself where
/// it has the same fields as that of any machine.
fn document(name: &str, path: &str, example: &str) -> Value {
    let golden = workspace("crates/cli/tests/golden").join(format!("{name}.json"));
    let golden = fs::read_to_string(golden).expect("a golden");
    let mut golden: Value = serde_json::from_str(&golden).expect("a document");
    let own = || -> Value { serde_json::from_str(example).expect("an example is there") };
    match name {
        "status" => {
            let own = own();
            assert_eq!(kinds(own.clone()), kinds(status()));
            return own;
        }
        "load" => {
            let conditions = own()["preflight"].take();
            for condition in conditions.as_array().expect("conditions") {
                assert_eq!(kinds(condition.clone()), golden["preflight"][0]);
            }
            golden["preflight"] = conditions;
        }
        _ => {}
    }
    golden.pointer(path).expect("the part is there").clone()
}

/// Checks that each line of `example` is one of a trace.
fn trace(example: &str) -> String {
    let traces = traces();
    let unknown = example.lines().find(|line| {
        let event: Value = serde_json::from_str(line).expect("a document");
        !traces.contains(&event)
    });
    assert_eq!(unknown, None, "no trace has this line");
    example.to_owned()
}

/// Writes a document with as much on a line as there is room for.
fn compact(value: &Value, indent: usize) -> String {
    let line = one_line(value);
    let members: Vec<String> = match value {
        _ if indent > 0 && indent + line.len() <= WIDTH => return line,
        Value::Array(elements) => elements.iter().map(|it| compact(it, indent + 2)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let field = |(name, it): (&String, &Value)| {
                format!(
                    "{}: {}",
                    Value::from(name.as_str()),
                    compact(it, indent + 2)
                )
            };
            fields.map(field).collect()
        }
        _ => return line,
    };
    let (open, close) = if value.is_array() {
        ('[', ']')
    } else {
        ('{', '}')
    };
    let blanks = " ".repeat(indent);
    let members = members.join(&format!(",\n{blanks}  "));
    format!("{open}\n{blanks}  {members}\n{blanks}{close}")
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(one_line).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, it)| format!("\"{name}\": {}", one_line(it)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}
