//! Texts that assign values to keys, character by character: `.profile` and `.osrel`.
//!
//! Spec: os-release(5); systemd's `parse_env_file()`.

/// Returns the key and the value of each line of `text`, up to a NUL. An empty value stands
/// for none.
pub(crate) fn assignments(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut lines = Assignments::default();
    let bytes = text.iter().take_while(|byte| **byte != 0);
    bytes.for_each(|byte| lines.read(*byte));
    lines.end_from(lines.state);
    lines.assigned
}

#[derive(Debug, Default)]
struct Assignments {
    state: State,
    key: Text,
    value: Text,
    assigned: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    BeforeKey,
    Key,
    BeforeValue,
    Value,
    Escaped,
    SingleQuoted,
    DoubleQuoted,
    EscapedInQuotes,
    Comment,
    EscapedInComment,
}

/// A text whose blanks at its end do not count.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    /// How many of them count.
    end: usize,
}

impl Text {
    /// Adds a byte. One that is `kept` is no blank at the end.
    fn push(&mut self, byte: u8, kept: bool) {
        self.bytes.push(byte);
        if kept {
            self.keep();
        }
    }

    /// Has all count that there is so far.
    fn keep(&mut self) {
        self.end = self.bytes.len();
    }

    fn take(&mut self) -> Vec<u8> {
        let Self { mut bytes, end } = std::mem::take(self);
        bytes.truncate(end);
        bytes
    }
}

impl Assignments {
    fn read(&mut self, byte: u8) {
        let is_newline = matches!(byte, b'\n' | b'\r');
        let is_blank = is_newline || matches!(byte, b' ' | b'\t');
        let state = self.state;
        self.state = next(state, byte);
        match (state, self.state) {
            (State::Escaped, _) if is_newline => {}
            (State::EscapedInQuotes, _) if byte == b'\n' => {}
            (State::EscapedInQuotes, _) => {
                if !matches!(byte, b'"' | b'\\' | b'`' | b'$') {
                    self.value.push(b'\\', true);
                }
                self.value.push(byte, true);
            }
            (_, State::Value) => self.value.push(byte, state != State::Value || !is_blank),
            (State::SingleQuoted, State::SingleQuoted)
            | (State::DoubleQuoted, State::DoubleQuoted) => self.value.push(byte, true),
            (_, State::Key) => self.key.push(byte, !is_blank),
            // Blanks in front of it are not the last ones.
            (_, State::Escaped) => self.value.keep(),
            (from, State::BeforeKey) if from != State::BeforeKey => self.end_from(from),
            _ => {}
        }
    }

    /// Ends a line that came as far as `state`.
    fn end_from(&mut self, state: State) {
        let (key, value) = (self.key.take(), self.value.take());
        let assigns = !matches!(
            state,
            State::BeforeKey | State::Key | State::Comment | State::EscapedInComment
        );
        if assigns {
            self.assigned.push((key, value));
        }
    }
}

/// Returns the state behind `byte`.
fn next(state: State, byte: u8) -> State {
    match (state, byte) {
        (State::BeforeKey, b'#' | b';') => State::Comment,
        (State::BeforeKey | State::BeforeValue, b' ' | b'\t') => state,
        (
            State::BeforeKey
            | State::Key
            | State::BeforeValue
            | State::Value
            | State::Comment
            | State::EscapedInComment,
            b'\n' | b'\r',
        ) => State::BeforeKey,
        (State::Key, b'=') => State::BeforeValue,
        (State::BeforeKey | State::Key, _) => State::Key,
        (State::BeforeValue, b'\'') => State::SingleQuoted,
        (State::BeforeValue, b'"') => State::DoubleQuoted,
        (State::BeforeValue | State::Value, b'\\') => State::Escaped,
        (State::BeforeValue | State::Value | State::Escaped, _) => State::Value,
        (State::SingleQuoted, b'\'') | (State::DoubleQuoted, b'"') => State::BeforeValue,
        (State::DoubleQuoted, b'\\') => State::EscapedInQuotes,
        (State::SingleQuoted, _) => State::SingleQuoted,
        (State::DoubleQuoted | State::EscapedInQuotes, _) => State::DoubleQuoted,
        (State::Comment, b'\\') => State::EscapedInComment,
        (State::Comment | State::EscapedInComment, _) => State::Comment,
    }
}
