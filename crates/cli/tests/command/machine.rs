//! Takes out of a result what it says of the machine that the tests run on.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::{run, streams};

/// Both streams and the exit code of a call.
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Outcome {
    /// Returns what came out.
    pub(crate) fn of(output: &Output) -> Self {
        let [stdout, stderr] = streams(output);
        let code = output.status.code().expect("it ends by itself");
        Self {
            stdout,
            stderr,
            code,
        }
    }

    /// Leaves out of a dry run with `args` in `dir` what other machines may say: the
    /// conditions of the load, the failure by one of them, and the note about the running
    /// kernel's console.
    pub(crate) fn without_machine(mut self, dir: &Path, args: &[&str]) -> Self {
        if !args.contains(&"--dry-run") {
            return self;
        }
        let is_json = args.contains(&"--json");
        let text = if is_json {
            self.stdout.clone()
        } else {
            streams(&run(dir, &[args, &["--json"]].concat()))[0].clone()
        };
        let mut document: Value = serde_json::from_str(&text).expect("it is one document");
        let is_of_console = |line: &str| line.ends_with(CONSOLE_NOTE);
        if let Some(warnings) = document["warnings"].as_array_mut() {
            warnings.retain(|it| !it.as_str().is_some_and(is_of_console));
        }
        let stderr = self.stderr.lines().filter(|line| !is_of_console(line));
        self.stderr = stderr.map(|line| format!("{line}\n")).collect();
        let Some(conditions) = document["preflight"].as_array_mut() else {
            return self;
        };
        let of_machine = conditions.iter().filter(|it| it["id"] != "architecture");
        let texts = of_machine.map(|it| it["text"].as_str().expect("a text").to_owned());
        let texts: Vec<String> = texts.collect();
        let is_of_machine = |line: &str| texts.iter().any(|text| line.contains(text));
        conditions.truncate(1);
        for condition in conditions {
            *condition = kinds(condition.take());
        }
        let fails = document["error"]["message"].as_str();
        if fails.is_some_and(is_of_machine) {
            self.code = 0;
            document.as_object_mut().expect("an object").remove("error");
            // The refusal stands first, with its further lines below its text.
            let lines = self.stdout.split_inclusive('\n').skip(1);
            self.stdout = lines.skip_while(|line| line.starts_with("    ")).collect();
        }
        if is_json {
            self.stdout = format!("{document:#}\n");
        } else if let Some(at) = self.stdout.find("  preflight\n") {
            self.stdout.truncate(at);
        }
        let lines = self.stderr.lines().filter(|line| !is_of_machine(line));
        self.stderr = lines.map(|line| format!("{line}\n")).collect();
        self
    }
}

/// The end of the note that a load prints where the running kernel's command line has words
/// `console=`.
const CONSOLE_NOTE: &str = "; --console=keep adds it";

/// Returns `document` with values that depend on the machine left out, and of an
/// array all but its first element.
pub(crate) fn kinds(mut document: Value) -> Value {
    let fields = document.as_object_mut().expect("an object");
    for (name, value) in fields {
        match value {
            Value::Object(_) => *value = kinds(value.take()),
            Value::Array(elements) => {
                elements.truncate(1);
                for element in elements {
                    *element = kinds(element.take());
                }
            }
            _ if name == "schema" => {}
            _ => *value = Value::Null,
        }
    }
    document
}
