//! The receiver of warnings and progress while a worker takes an image apart: this
//! crate prints nothing.

/// Shows people what happens. Texts may come from images: a terminal gets them
/// through [`one_line`](crate::report::one_line).
pub trait Console: Send + Sync {
    /// Takes a warning, without that word and the program's name.
    fn warn(&self, text: &str);

    /// Takes a line of the worker's log, complete as it is.
    fn log(&self, line: &str);

    /// Begins work on a file, `what` is done with it (`reading uki.efi`), on
    /// `len` bytes if that is known.
    fn progress(&self, what: &str, len: Option<u64>) -> Box<dyn Progress>;
}

/// Work under way; it ends when this is dropped.
pub trait Progress {
    /// Returns whether anybody sees it.
    fn is_shown(&self) -> bool;

    /// Goes on with other work, as [`Console::progress`] begins it.
    fn begin(&self, what: &str, len: Option<u64>);

    /// Takes how many bytes are done.
    fn set(&self, done: u64);
}

/// Shows nothing.
impl Progress for () {
    fn is_shown(&self) -> bool {
        false
    }

    fn begin(&self, _what: &str, _len: Option<u64>) {}

    fn set(&self, _done: u64) {}
}

/// Nobody reads it.
impl Console for () {
    fn warn(&self, _text: &str) {}

    fn log(&self, _line: &str) {}

    fn progress(&self, _what: &str, _len: Option<u64>) -> Box<dyn Progress> {
        Box::new(())
    }
}
