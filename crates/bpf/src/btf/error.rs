//! Why BTF data is refused.

/// Why BTF data is refused. Offsets are bytes from the start of its section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// A field of a header says what this crate does not read.
    #[error("{field} at byte {at:#x}: expected {expected:#x}, found {found:#x}{hint}")]
    Field {
        /// The field, in the words of `btf.rst`.
        field: &'static str,
        /// Where it lies.
        at: usize,
        /// What was expected.
        expected: u64,
        /// What was found.
        found: u64,
        /// What that means, or nothing.
        hint: &'static str,
    },
    /// Something passes the end of the data.
    #[error("{what} at byte {at:#x}: {need} bytes needed, {have} left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        at: usize,
        /// Its length.
        need: u64,
        /// What there is.
        have: usize,
    },
    /// More of something than this crate takes.
    #[error("{what}: {found}, at most {limit} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many are taken.
        limit: u64,
    },
    /// The strings do not begin and end with a NUL.
    #[error("the string section does not begin and end with a NUL")]
    Strings,
    /// A type of a kind this crate does not know.
    #[error("type [{id}] is of kind {kind}, and kinds up to {known} are known")]
    UnknownKind {
        /// The type.
        id: u32,
        /// Its kind.
        kind: u32,
        /// The last kind that is known.
        known: u32,
    },
    /// A field of a type has no meaning.
    #[error("type [{id}]: {field} is {found}, which has no meaning")]
    Meaning {
        /// The type.
        id: u32,
        /// The field.
        field: &'static str,
        /// What was found.
        found: u64,
    },
    /// A type refers to one that is not there.
    #[error("type [{id}] refers to type [{to}], and there are {count}")]
    NoSuchType {
        /// The type.
        id: u32,
        /// What it refers to.
        to: u32,
        /// How many types there are.
        count: usize,
    },
    /// A name lies outside the strings.
    #[error("type [{id}] has its name at {offset:#x} of {len:#x} bytes of strings")]
    NoSuchName {
        /// The type.
        id: u32,
        /// Where the name would be.
        offset: u32,
        /// How long the strings are.
        len: usize,
    },
    /// A chain of typedefs, qualifiers or arrays comes back to itself.
    #[error("type [{id}] is made of itself")]
    Cycle {
        /// One type of the chain.
        id: u32,
    },
}
