//! Failures in words, and where they happened.

use std::error::Error as StdError;
use std::io;

use anyhow::{Chain, Error};
use ukexec_unfold::UnfoldError;

use crate::protocol::Failure;

/// Returns the error and its causes as one line, each said once.
#[must_use]
pub fn sentence(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut advice = "";
    for cause in Chain::new(error) {
        if is_long_file(cause) {
            advice = LONG_FILE;
        }
        let cause = cause.to_string();
        // It may stand there with advice behind it.
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text + advice
}

/// Advice for files that get too long.
const LONG_FILE: &str = "; `ulimit -f` or the file system limits files, those in memory too";

/// Returns whether the kernel said `EFBIG`.
fn is_long_file(cause: &(dyn StdError + 'static)) -> bool {
    let said = cause.downcast_ref::<io::Error>();
    said.is_some_and(|error| {
        error.raw_os_error().is_some() && error.kind() == io::ErrorKind::FileTooLarge
    })
}

/// Returns what is known of `error` and where it happened.
#[must_use]
pub fn of(error: &Error) -> Failure {
    if let Some(failure) = find::<Failure>(error) {
        return Failure {
            message: sentence(error.as_ref()),
            ..failure.clone()
        };
    }
    let unfold = find::<UnfoldError>(error);
    Failure {
        layer: unfold.map(|error| error.layer().to_owned()),
        stage: unfold.and_then(UnfoldError::stage),
        hook: unfold.and_then(UnfoldError::hook).map(str::to_owned),
        insn: unfold.and_then(UnfoldError::insn),
        offset: unfold.and_then(UnfoldError::offset),
        message: sentence(error.as_ref()),
    }
}

/// Returns the first cause of this type.
#[must_use]
pub fn find<E: StdError + 'static>(error: &Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("opening a file: {cause}; raise the limit")]
    struct Advised {
        #[source]
        cause: io::Error,
    }

    #[test]
    fn a_cause_with_advice_behind_it_is_said_once() {
        let cause = io::Error::from_raw_os_error(24);
        let error = Err::<(), _>(Advised { cause }).context("cannot read x.efi");
        assert_eq!(
            sentence(error.unwrap_err().as_ref()),
            "cannot read x.efi: opening a file: Too many open files (os error 24); raise the limit"
        );
    }

    #[test]
    fn causes_that_nobody_told_follow() {
        let error = anyhow::anyhow!("inner").context("middle").context("outer");
        assert_eq!(sentence(error.as_ref()), "outer: middle: inner");
    }
}
