//! Why an image is not as systemd-stub would have it.

use std::io;

/// Why there is nothing to say of an image, or of a section.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StubError(Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("the image has no profile {profile}, it has {count}")]
    NoProfile { profile: u32, count: usize },
    #[error("section {name}: expected at most {max} zeros behind its content, found {found}")]
    Zeros { name: String, max: u64, found: u64 },
}

impl StubError {
    pub(crate) fn no_profile(profile: u32, count: usize) -> Self {
        Self(Kind::NoProfile { profile, count })
    }

    pub(crate) fn zeros(name: &str, max: u64, found: u64) -> Self {
        Self(Kind::Zeros {
            name: name.to_owned(),
            max,
            found,
        })
    }
}

impl From<io::Error> for StubError {
    fn from(error: io::Error) -> Self {
        Self(error.into())
    }
}
