//! How a failure is told: to people on stderr, to machines on stdout.

use anyhow::Error;
use serde_json::{Map, Value, json};
use ukexec_unfold::UnfoldError;

/// Prints `error`; with `json`, also the document that `--json` promises.
pub(crate) fn print(error: &Error, json: bool) {
    if json {
        crate::text::json(&document(error));
    }
    crate::text::err(&format!("ukexec: {}\n", sentence(error)));
}

/// Returns the error and its causes as one line, each said once.
fn sentence(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

/// Returns `{"schema": 1, "error": {…}}`: where it happened as far as it is
/// known, and what happened.
fn document(error: &Error) -> Value {
    let mut fields = Map::new();
    if let Some(unfold) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<UnfoldError>())
    {
        fields.insert("layer".into(), json!(unfold.layer()));
        fields.insert("stage".into(), json!(unfold.stage()));
        fields.insert("hook".into(), json!(unfold.hook()));
        fields.insert("insn".into(), json!(unfold.insn()));
        fields.insert("offset".into(), json!(unfold.offset()));
    }
    fields.insert("message".into(), json!(sentence(error)));
    json!({ "schema": 1, "error": fields })
}
