//! How a failure is printed: for people on stderr, for machines on stdout.

use anyhow::Error;
use serde::Serialize;
use serde_json::Value;
use ukexec_loader::report::SCHEMA;
use ukexec_loader::report::failure::{of, sentence};
use ukexec_loader::{Failure, LoaderError};

use crate::commands::Refused;
use crate::console::{self, Form};

/// Returns the exit code of what was `done`. A failure is printed; as a document
/// too, where documents were asked for.
pub(crate) fn code(done: anyhow::Result<()>, form: Form) -> u8 {
    let Err(error) = done else {
        return 0;
    };
    if form != Form::Text {
        // Without stdout, stderr still gets the sentence.
        let _unprinted = document(&error).and_then(|document| console::document(&document, form));
    }
    console::error(&sentence(error.as_ref()));
    1
}

/// Returns `{"schema": 1, "error": {…}}`: the place as far as it is known, and
/// the failure in words. Beside it stands the report of a dry run.
fn document(error: &Error) -> anyhow::Result<Value> {
    let document = Document {
        plan: error.downcast_ref().and_then(LoaderError::plan),
        schema: SCHEMA,
        error: ErrorReport {
            failure: of(error.as_ref()),
            refused: error.downcast_ref(),
        },
    };
    Ok(serde_json::to_value(document)?)
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    plan: Option<&'a Value>,
    schema: u32,
    error: ErrorReport<'a>,
}

#[derive(Serialize)]
struct ErrorReport<'a> {
    #[serde(flatten)]
    failure: Failure,
    #[serde(flatten)]
    refused: Option<&'a Refused>,
}
