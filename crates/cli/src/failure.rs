//! How a failure is printed: for people on stderr, for machines on stdout.

use anyhow::Error;
use serde::Serialize;
use serde_json::{Value, json};
use ukexec_loader::report::failure::{kind_of, loader_error, of, sentence};
use ukexec_loader::report::{Findings, SCHEMA};
use ukexec_loader::{ErrorKind, Failure, LoaderError};

use crate::commands::Refused;
use crate::console::{self, Form};

/// Returns the exit code of what was `done`. A failure is printed, behind what is
/// known of the image; as a document too, where documents were asked for.
pub(crate) fn code(done: anyhow::Result<()>, form: Form) -> u8 {
    let Err(error) = done else {
        return 0;
    };
    let known = loader_error(error.as_ref());
    let report = known.and_then(LoaderError::report);
    // Without stdout, stderr still gets the sentence.
    let _unprinted = match (form, report) {
        (Form::Text, Some(report)) => console::findings(report, form),
        (Form::Text, None) => Ok(()),
        _ => document(&error, report).and_then(|document| console::document(&document, form)),
    };
    if let Some(refused) = error.downcast_ref::<Refused>() {
        refused.pages().for_each(|page| console::err_page(&page));
        console::error(&refused.verdict());
    } else if let Some(page) = of(error.as_ref()).page() {
        console::err_page(&page);
        // A command may say what follows from the fault.
        let context = error.to_string();
        if known.is_some_and(|known| known.to_string() != context) {
            console::error(&context);
        }
    } else {
        console::error(&sentence(error.as_ref()));
    }
    match kind_of(error.as_ref()) {
        ErrorKind::Signature => 3,
        ErrorKind::Machine => 4,
        _ => 1,
    }
}

/// Returns `{"schema": 1, "error": {…}}`, and behind it what is known of the
/// image.
fn document(error: &Error, report: Option<&Findings>) -> anyhow::Result<Value> {
    let error = ErrorReport {
        failure: of(error.as_ref()),
        refused: error.downcast_ref(),
    };
    let mut document = json!({ "schema": SCHEMA, "error": serde_json::to_value(error)? });
    if let (Value::Object(fields), Some(Findings::Document(Value::Object(known)))) =
        (&mut document, report)
    {
        for (name, value) in known {
            fields.entry(name).or_insert_with(|| value.clone());
        }
    }
    Ok(document)
}

#[derive(Serialize)]
struct ErrorReport<'a> {
    #[serde(flatten)]
    failure: Failure,
    #[serde(flatten)]
    refused: Option<&'a Refused>,
}
