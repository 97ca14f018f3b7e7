//! Why signatures, certificates and lists of them are refused.

use std::ops::Range;

use ukexec_pe::PeError;

use crate::{Algorithm, SbatRevocation};

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
    /// A value is not what it must be.
    #[error("{field}: expected {expected}, found {found}")]
    Unexpected {
        /// What was read.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A field of the certificate table lies.
    #[error(
        "certificate table, {field} at offset {at:#x} of the table: expected {expected}, found {found:#x}"
    )]
    Table {
        /// The field, in the specification's words.
        field: &'static str,
        /// Where it is, in bytes from the start of the table.
        at: usize,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: u64,
    },
    /// Something is larger than is ever read.
    #[error("{field}: expected at most {limit} bytes, found {found}")]
    TooLong {
        /// What was read.
        field: &'static str,
        /// The limit in bytes.
        limit: usize,
        /// Its length in bytes.
        found: u64,
    },
    /// There are more of something than are ever looked at.
    #[error("{field}: expected at most {limit}, found more")]
    TooMany {
        /// What was counted.
        field: &'static str,
        /// The limit.
        limit: usize,
    },
    /// An algorithm or a key that is too weak to mean anything.
    #[error("{field}: expected {expected}, found {found}, which is too weak to be accepted")]
    Weak {
        /// What was read.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The image is not the one that was signed.
    #[error(
        "the signature is for an image with {algorithm} digest {signed}, and this image has \
         {found}: it was changed after it was signed"
    )]
    OtherImage {
        /// The digest's algorithm.
        algorithm: Algorithm,
        /// The digest that was signed, in hexadecimal.
        signed: String,
        /// The image's digest, in hexadecimal.
        found: String,
    },
    /// A digest of the image was needed and not taken.
    #[error("the {algorithm} digest of the image is needed and was not taken")]
    DigestMissing {
        /// The digest's algorithm.
        algorithm: Algorithm,
    },
    /// Bytes to be hashed were not given to the hasher, or not in order.
    #[error(
        "taking the digest: expected the bytes at file offset {expected:#x}, found those at \
         {found:#x}"
    )]
    OutOfOrder {
        /// The file offset that comes next.
        expected: u64,
        /// The file offset that came.
        found: u64,
    },
    /// The signature does not verify.
    #[error("the signature does not verify with the key of {signer}: {reason}")]
    Signature {
        /// Whose key it should be.
        signer: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Nobody knows whose signature this is.
    #[error("the certificate of its signer ({id}) is neither with it nor trusted")]
    NoSigner {
        /// The number of the certificate, or of its key.
        id: String,
    },
    /// No chain leads to a trusted certificate.
    #[error("signed by {signer}, and no chain leads from there to a trusted certificate{reasons}")]
    NoChain {
        /// The subject of the signer's certificate.
        signer: String,
        /// Which certificates a chain could not go through, and why.
        reasons: String,
    },
    /// The bytes behind an appended signature's marker are not one.
    #[error("appended signature, {field}: expected {expected}, found {found}")]
    Appended {
        /// The field of `struct module_signature`.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: u64,
    },
    /// The section `.sbat` says that the image is too old, or nothing.
    #[error(transparent)]
    Sbat(#[from] SbatRevocation),
    /// The image begins with `MZ` and is no sound PE.
    #[error("the image is no sound PE32+ file, so that no signature of it can be found: {fault}")]
    NoPe {
        /// What is wrong with its headers.
        fault: String,
    },
    /// The image is a sound PE, and none that could be signed.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// Bytes that no signature covers lie inside the image.
    #[error(
        "bytes {:#x} to {:#x} lie between the sections, where no signature covers them, and they \
         are not zeros; firmware never loads them, but a parser or a running kernel could",
        range.start, range.end
    )]
    Uncovered {
        /// Where, in the file. Not all of it need be other than zeros.
        range: Range<u64>,
    },
    /// The image is not any more what it was when it was first looked at.
    #[error(
        "the file changed while it was being taken over: {what}; try again when nothing writes to \
         it"
    )]
    Changed {
        /// The part that differs.
        what: &'static str,
    },
    /// The bytes to be hashed could not be read.
    #[error(transparent)]
    Digests(Box<dyn core::error::Error + Send + Sync>),
    /// The file could not be read.
    #[error("reading {len} bytes at file offset {at:#x} failed")]
    Read {
        /// Where.
        at: u64,
        /// How many bytes.
        len: u64,
        /// Why.
        #[source]
        cause: Box<dyn core::error::Error + Send + Sync>,
    },
}

pub(crate) fn unexpected(
    field: &'static str,
    expected: &'static str,
    found: String,
) -> SignatureError {
    SignatureError::Unexpected {
        field,
        expected,
        found,
    }
}

pub(crate) fn missing(field: &'static str, expected: &'static str) -> SignatureError {
    unexpected(field, expected, "nothing".to_owned())
}
