//! Failures in words, and where they happened.

use std::error::Error;
use std::{io, iter};

use ukexec_kexec::{KexecError, errno_name};

use super::fault;
use crate::error::{ErrorKind, Failure, LoaderError};
use crate::protocol::line::cut;

/// Returns the error and its causes as one line.
#[must_use]
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    let mut text = texts.join(": ");
    if chain(error).any(is_long_file) {
        text.push_str(LONG_FILE);
    }
    text
}

/// Advice for files that get too long.
const LONG_FILE: &str = "; `ulimit -f` or the file system limits files, those in memory too";

/// Returns whether the kernel said `EFBIG`.
fn is_long_file(cause: &(dyn Error + 'static)) -> bool {
    let said = cause.downcast_ref::<io::Error>();
    said.is_some_and(|error| {
        error.raw_os_error().is_some() && error.kind() == io::ErrorKind::FileTooLarge
    })
}

/// Returns `error` in words, and where it happened as far as that is known.
#[must_use]
pub fn of(error: &(dyn Error + 'static)) -> Failure {
    let known = loader_error(error);
    let (summary, mut notes) = fault::of(error);
    let note = known.and_then(LoaderError::note);
    notes.truncate(fault::NOTES_MAX.saturating_sub(1));
    notes.extend(note.map(|note| cut(note, fault::NOTE_MAX)));
    Failure {
        // Other errors are about no image.
        place: known.map(LoaderError::place).cloned().unwrap_or_default(),
        kind: kind_of(error),
        message: sentence(error),
        errno: errno(error).map(str::to_owned),
        summary,
        notes,
    }
}

/// Returns the kind of `error`: that of the outermost cause that has one.
#[must_use]
pub fn kind_of(error: &(dyn Error + 'static)) -> ErrorKind {
    if let Some(known) = loader_error(error) {
        return known.kind();
    }
    let kexec: Option<&KexecError> = find(error);
    let kind = kexec.map(|error| ErrorKind::from(error.kind()));
    match kind {
        Some(kind) if kind != ErrorKind::Failed => kind,
        // Commands themselves open, read and write files alone.
        _ if find::<io::Error>(error).is_some() => ErrorKind::File,
        _ => kind.unwrap_or_default(),
    }
}

/// Returns the error of this crate in `error`, behind what others put around it.
#[must_use]
pub fn loader_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a LoaderError> {
    iter::successors(Some(error), |&error| error.source()).find_map(|it| it.downcast_ref())
}

/// Returns the name of the system's answer, such as `ENOSYS`.
#[must_use]
pub fn errno(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let kexec: Option<&KexecError> = find(error);
    let answer = || errno_name(find::<io::Error>(error)?.raw_os_error()?);
    kexec.and_then(KexecError::errno).or_else(answer)
}

/// Returns the first cause of this type.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// Returns `error` and its causes, in which a library's error stands for itself.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let chain = iter::successors(Some(error), |&error| error.source());
    chain.map(|error| match error.downcast_ref::<LoaderError>() {
        Some(error) => error.inner(),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Context as _;

    #[test]
    fn a_note_is_cut_before_anybody_sends_it() {
        let error = LoaderError::new("no profile").with_note("i".repeat(20_000));
        let notes = of(&error).notes;
        assert_eq!(notes.len(), 1);
        let expected = "i".repeat(fault::NOTE_MAX) + "…";
        assert_eq!(notes, [expected]);
    }

    #[test]
    fn a_kind_counts_behind_the_sentences_around_it() {
        let machine = LoaderError::new("no call").of_kind(ErrorKind::Machine);
        let error: Result<(), _> = Err(machine);
        let error = error.context(|| "outer").unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Machine);
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(kind_of(&missing), ErrorKind::File);
    }

    #[test]
    fn a_file_that_got_too_long_comes_with_advice() {
        let error = LoaderError::from(io::Error::from_raw_os_error(27));
        let expected = format!("File too large (os error 27){LONG_FILE}");
        assert_eq!(sentence(&error), expected);
        let error = Err::<(), _>(error).context(|| "middle");
        let error = error.context(|| "outer").unwrap_err();
        assert_eq!(sentence(&error), format!("outer: middle: {expected}"));
    }
}
