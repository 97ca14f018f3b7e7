//! Rounds of images, and what both should say of each.

use crate::forge::image::Image;

/// The answers that both should give for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Both accept it.
    Good,
    /// Both refuse it.
    Refused,
    /// Both accept its signature, and firmware cannot load it.
    Unloadable,
    /// ukexec refuses what firmware accepts, by this row of docs/signatures.md.
    Stricter(&'static str),
    /// ukexec accepts what this firmware refuses, by this row of docs/signatures.md.
    Newer(&'static str),
}

pub(super) use Expected::{Good, Newer, Refused, Stricter, Unloadable};

/// Images of a class: name, what is expected, and what makes it.
pub(super) type Table<'a, T> = &'a [(&'a str, Expected, T)];

/// ukexec refuses weak digests wherever it has to rely on them.
pub(super) const WEAK: Expected = Stricter("SHA-1 and MD5");

/// Images that are judged with the same lists.
pub(super) struct Round {
    pub(super) name: String,
    pub(super) db: Vec<u8>,
    pub(super) dbx: Vec<u8>,
    pub(super) images: Vec<Judged>,
}

pub(super) struct Judged {
    pub(super) name: String,
    pub(super) image: Vec<u8>,
    pub(super) expected: Expected,
}

impl Round {
    /// A round with nothing in `dbx`.
    pub(super) fn new(name: impl Into<String>, db: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            db,
            dbx: Vec::new(),
            images: Vec::new(),
        }
    }

    pub(super) fn revoking(mut self, dbx: Vec<u8>) -> Self {
        self.dbx = dbx;
        self
    }

    pub(super) fn judge(&mut self, name: impl Into<String>, expected: Expected, image: Image) {
        self.images.push(Judged {
            name: name.into(),
            image: image.0,
            expected,
        });
    }
}
