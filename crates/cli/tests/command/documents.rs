//! `docs/json.md` names the fields that documents have, and no others.
//!
//! Each section with a table is an object. A row names fields in its first cell, in
//! backticks, by their path: `name[]` is an array, `*` any name. A link in the row
//! leads to the section with the fields inside; a row without a field adds the
//! linked section's to those of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use ukexec_kexec::PlainReboot;
use ukexec_loader::report::MachineReport;
use ukexec_loader::{Console, LoadedKernels, MachineState, Progress, Standing};

use crate::{author, folder, run, workspace};

/// A section, and a path in it: of a field, or up to where its name begins.
type Named = (String, String);

#[derive(Default)]
struct Page {
    /// The sections that the row of a field links to.
    rows: BTreeMap<Named, Vec<String>>,
    /// Rows that a document was seen to have.
    seen: BTreeSet<Named>,
    /// Fields that no row names, by sections and path, and a document with each.
    unnamed: BTreeMap<Named, String>,
}

#[test]
fn the_documentation_names_the_fields_of_all_documents() {
    let text = fs::read_to_string(workspace("docs/json.md")).expect("the page");
    let mut page = Page::parse(&text);
    for entry in fs::read_dir(workspace("crates/cli/tests/golden")).expect("goldens") {
        let path = entry.expect("a golden").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if let Some(golden) = name.strip_suffix(".json") {
            let document = fs::read_to_string(&path).expect("a golden");
            let document = serde_json::from_str(&document).expect("a document");
            page.compare(&name, &[section(golden)], &document);
        }
    }
    page.compare("a machine", &["status"], &status());
    for document in traces() {
        let event = document["event"].as_str().expect("a kind of event");
        page.compare("a trace", &["parser-run---tracefile", event], &document);
    }
    let faults = page.faults().join("\n");
    assert!(faults.is_empty(), "docs/json.md:\n{faults}");
}

/// Returns the lines of traces.
pub(crate) fn traces() -> Vec<Value> {
    let dir = author::folder();
    let mut lines = Vec::new();
    for (image, limit) in [
        ("vmlinuz.efi", "100M"),
        ("cut.efi", "100M"),
        ("cut.efi", "1K"),
    ] {
        let options = ["--trace=trace", "--image", image, "--trace-limit", limit];
        let args = [&["parser", "run", "zboot.bpf.o"], &options[..]].concat();
        run(dir.path(), &args);
        let trace = fs::read_to_string(dir.path().join("trace")).expect("a trace");
        let documents = trace.lines().map(serde_json::from_str);
        lines.extend(documents.map(|line| -> Value { line.expect("a document") }));
    }
    lines
}

/// Returns the document of `status` about a machine with a kernel that ukexec loaded.
pub(crate) fn status() -> Value {
    struct Quiet;
    impl Console for Quiet {
        fn warn(&self, text: &str) {
            assert_eq!(text, "");
        }
        fn log(&self, _line: &str) {}
        fn progress(&self, _what: &str, _len: Option<u64>) -> Box<dyn Progress> {
            Box::new(())
        }
    }
    const BOOT_ID: &str = "01234567-89ab-cdef-0123-456789abcdef";
    let root = folder(&[]);
    let record = format!(r#"{{"boot_id":"{BOOT_ID}","seconds":0,"image":"debian.efi"}}"#);
    for (path, content) in [
        ("proc/sys/kernel/random/boot_id", BOOT_ID),
        ("run/ukexec/load.json", &record),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("room for a folder");
        fs::write(path, content).expect("room for a file");
    }
    let private = Permissions::from_mode(0o700);
    fs::set_permissions(root.path().join("run/ukexec"), private).expect("it is ours");
    let state = MachineState::read(root.path());
    let (loaded, notes) = LoadedKernels::read(root.path(), &state);
    assert!(notes.is_empty(), "{notes:?}");
    let reboot = PlainReboot::now(&state);
    let standing = Standing::read(&Quiet).expect("a standing");
    let report = MachineReport::new(state, reboot, loaded, standing);
    let document = serde_json::to_value(report).expect("a document");
    assert_eq!(document["loaded_image"]["image"], "debian.efi");
    document
}

/// Returns the section about the document of a golden.
fn section(golden: &str) -> &str {
    match golden {
        "parser-refused" => "failures",
        "parser-check" | "parser-licence" | "parser-slot" | "parser-traps" => "parser-check",
        "traces" => "parser-run",
        "entries" | "parser-helpers" | "parser-run" | "status" => golden,
        _ => "inspect-unfold-load",
    }
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut section = String::new();
        for line in text.lines() {
            if line.starts_with('#') {
                section = anchor(line);
            }
            let row = line.strip_prefix("| ").and_then(|row| row.split_once(" |"));
            let Some((names, _)) = row else { continue };
            let links = line.split("](#").skip(1);
            let links = links.filter_map(|link| Some(link.split_once(')')?.0.to_owned()));
            let links: Vec<String> = links.collect();
            let mut fields: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
            if fields.is_empty() && !links.is_empty() {
                fields.push("");
            }
            for field in fields {
                // The objects around it need no rows of their own.
                for (dot, _) in field.match_indices('.') {
                    let around = (section.clone(), field[..dot].to_owned());
                    page.rows.entry(around).or_default();
                }
                let row = (section.clone(), field.to_owned());
                page.rows.entry(row).or_default().extend(links.clone());
            }
        }
        page
    }

    /// Compares a document with what these sections say of it.
    fn compare(&mut self, name: &str, sections: &[&str], document: &Value) {
        let rows = sections.iter().flat_map(|section| self.object(section));
        let rows: Vec<Named> = rows.collect();
        self.walk(name, "", &rows, document);
    }

    /// Returns where the fields of a section's object are named.
    fn object(&mut self, section: &str) -> Vec<Named> {
        let own = (section.to_owned(), String::new());
        self.seen.insert(own.clone());
        let shared = self.rows.get(&own).into_iter().flatten();
        let shared = shared.map(|link| (link.clone(), String::new()));
        shared.chain([own.clone()]).collect()
    }

    /// Looks up each field of `value`, which is at `path` and described by `rows`.
    fn walk(&mut self, name: &str, path: &str, rows: &[Named], value: &Value) {
        for element in value.as_array().into_iter().flatten() {
            self.walk(name, path, rows, element);
        }
        for (field, value) in value.as_object().into_iter().flatten() {
            let array = if value.is_array() { "[]" } else { "" };
            let path = format!("{path}{field}{array}");
            let inside = self.find(&format!("{field}{array}"), rows);
            if inside.is_empty() {
                let sections: Vec<&str> = rows.iter().map(|(section, _)| &**section).collect();
                let field = (sections.join(" or #"), path);
                self.unnamed.entry(field).or_insert(name.to_owned());
            } else {
                self.walk(name, &format!("{path}."), &inside, value);
            }
        }
    }

    /// Returns where the fields inside of `field` are named: nowhere, if it is not
    /// named itself.
    fn find(&mut self, field: &str, rows: &[Named]) -> Vec<Named> {
        let mut inside = Vec::new();
        for (section, path) in rows {
            for field in [format!("{path}{field}"), format!("{path}*")] {
                let row = (section.clone(), field);
                let Some(links) = self.rows.get(&row).cloned() else {
                    continue;
                };
                inside.push((row.0.clone(), format!("{}.", row.1)));
                inside.extend(links.iter().flat_map(|link| self.object(link)));
                self.seen.insert(row);
            }
        }
        inside
    }

    fn faults(&self) -> Vec<String> {
        let unseen = self.rows.keys().filter(|row| !self.seen.contains(row));
        let unseen = unseen.map(|(section, field)| {
            format!("#{section} names `{field}`, which no golden and no trace has there")
        });
        let unnamed = self.unnamed.iter().map(|((sections, path), name)| {
            format!("#{sections} has to name `{path}`, which {name} has")
        });
        unseen.chain(unnamed).collect()
    }
}

/// Returns the anchor of a heading, as links name it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.replace(|c: char| !c.is_alphanumeric() && !" -_".contains(c), "")
        .replace(' ', "-")
}
