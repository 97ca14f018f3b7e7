//! Why signatures, certificates and lists of them are refused.

/// Why something that should hold signatures or certificates is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The bytes are no DER, or not of the shape that was expected.
    #[error("{field}: expected {expected}, found something else: {cause}")]
    Der {
        /// What was read.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What the DER reader says.
        cause: der::Error,
    },
    /// Something is larger than is ever read.
    #[error("{field}: expected at most {limit} bytes, found {found}")]
    TooLong {
        /// What was read.
        field: &'static str,
        /// The limit in bytes.
        limit: usize,
        /// Its length in bytes.
        found: usize,
    },
}
