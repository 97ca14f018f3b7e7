//! How a failure is printed: for people on stderr, for machines on stdout.

use anyhow::Error;
use serde_json::{Value, json};
use ukexec_loader::report::SCHEMA;
use ukexec_loader::report::failure::{find, of, sentence};
use ukexec_loader::{Failure, NotTaken};

use crate::commands::Refused;
use crate::console;

/// Prints `error`; with `json`, also the document that `--json` promises.
pub(crate) fn print(error: &Error, json: bool) {
    if json {
        // Without stdout, stderr still gets the sentence.
        let _unprinted = console::json(&document(error));
    }
    console::err(&format!("ukexec: {}\n", sentence(error.as_ref())));
}

/// Returns `{"schema": 1, "error": {…}}`: where it happened as far as it is
/// known, and what happened. What a dry run would have passed stands beside it.
fn document(error: &Error) -> Value {
    let Failure {
        layer,
        stage,
        hook,
        insn,
        offset,
        message,
    } = of(error);
    let mut document =
        find::<NotTaken>(error).map_or_else(|| json!({}), |error| error.plan.clone());
    document["schema"] = json!(SCHEMA);
    document["error"] = json!({
        "layer": layer,
        "stage": stage,
        "hook": hook,
        "insn": insn,
        "offset": offset,
        "message": message,
    });
    if let Some(refused) = find::<Refused>(error) {
        document["error"]["reasons"] = json!(refused.reasons);
    }
    document
}
