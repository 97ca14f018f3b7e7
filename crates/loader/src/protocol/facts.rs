//! What the files of boot entries say: the worker reads each by itself.

use serde::{Deserialize, Serialize};
use ukexec_entries::{ImageSummary, LoaderConf, Type1};

/// The kind of file that the worker is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FactsOf {
    /// `loader.conf`.
    LoaderConf,
    /// A file of keys.
    Type1,
    /// An image.
    Image,
}

/// The facts in a file, or why it is passed over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Facts {
    LoaderConf(Result<LoaderConf, String>),
    Type1(Box<Result<Type1, String>>),
    Image(Result<ImageSummary, String>),
}
