//! Certificates, field by field.
//!
//! Specification: RFC 5280.

use anyhow::Result;

use super::der::{
    bits, boolean, element, int, octets, oid, sequence, set, tagged, tagged_bytes, utf8,
};
use super::key::{Digest, Key};
use crate::stand::Stand;

/// The content of a certificate, before its issuer signs it. Every field is an element.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// `[0]`, or nothing, which means version 1.
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    /// The digest that the issuer signs.
    pub(crate) digest: Digest,
    /// The identifier of the algorithm, the inner one.
    pub(crate) algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) validity: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) public: Vec<u8>,
    /// None: no `[3]` at all.
    pub(crate) extensions: Vec<Vec<u8>>,
}

/// Somebody with a key and a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) key: Key,
    pub(crate) der: Vec<u8>,
    /// The part that its issuer signed.
    pub(crate) tbs: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) serial: Vec<u8>,
}

impl Identity {
    /// Makes an authority that `issuer`, or nobody else, vouches for. `edit` changes what the
    /// certificate says before it is signed.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn authority(
        stand: &Stand,
        key: &Key,
        subject: &str,
        issuer: Option<&Self>,
        edit: impl FnOnce(&mut Content),
    ) -> Result<Self> {
        Self::make(stand, key, subject, issuer, |content| {
            content.extensions = vec![authority(None)];
            edit(content);
        })
    }

    /// Makes a signer that `issuer`, or nobody else, vouches for. Its certificate has no
    /// extensions but those that `edit` adds.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn signer(
        stand: &Stand,
        key: &Key,
        subject: &str,
        issuer: Option<&Self>,
        edit: impl FnOnce(&mut Content),
    ) -> Result<Self> {
        Self::make(stand, key, subject, issuer, edit)
    }

    fn make(
        stand: &Stand,
        key: &Key,
        subject: &str,
        issuer: Option<&Self>,
        edit: impl FnOnce(&mut Content),
    ) -> Result<Self> {
        let subject = name(subject);
        let by = issuer.map_or(key, |issuer| &issuer.key);
        let digest = Digest::Sha256;
        // The same subject, key and issuer give the same number, so that nothing differs from
        // run to run but the keys.
        let number = [&*subject, &key.public, &by.public].concat();
        let number = Digest::Sha1.of(stand, &number)?;
        let mut content = Content {
            version: tagged(0, &[&int(2)]),
            serial: element(2, &[&[0x55], number.get(..15).unwrap_or(&number)]),
            digest,
            algorithm: by.scheme.identifier(digest),
            issuer: issuer.map_or_else(|| subject.clone(), |issuer| issuer.subject.clone()),
            validity: validity("200101000000Z", "400101000000Z"),
            subject,
            public: key.public.clone(),
            extensions: Vec::new(),
        };
        edit(&mut content);
        content.sign(stand, key, by)
    }
}

impl Content {
    /// Adds an extension.
    pub(crate) fn add(&mut self, extension: Vec<u8>) {
        self.extensions.push(extension);
    }

    /// Chooses what the issuer signs with.
    pub(crate) fn signed_by(&mut self, issuer: &Key, digest: Digest) {
        self.digest = digest;
        self.algorithm = issuer.scheme.identifier(digest);
    }

    fn tbs(&self) -> Vec<u8> {
        let parts: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        let extensions = if parts.is_empty() {
            Vec::new()
        } else {
            tagged(3, &[&sequence(&parts)])
        };
        sequence(&[
            &self.version,
            &self.serial,
            &self.algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &self.public,
            &extensions,
        ])
    }

    fn sign(self, stand: &Stand, key: &Key, by: &Key) -> Result<Identity> {
        let tbs = self.tbs();
        let signature = by.sign(stand, self.digest, &tbs)?;
        let algorithm = by.scheme.identifier(self.digest);
        Ok(Identity {
            key: key.clone(),
            der: sequence(&[&tbs, &algorithm, &bits(&signature)]),
            tbs,
            subject: self.subject,
            issuer: self.issuer,
            serial: self.serial,
        })
    }
}

/// A name of one part, the common name.
pub(crate) fn name(common: &str) -> Vec<u8> {
    names(&[("2.5.4.3", common)])
}

/// A name of several parts: type and text.
pub(crate) fn names(parts: &[(&str, &str)]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = parts
        .iter()
        .map(|(kind, text)| set(&[&sequence(&[&oid(kind), &utf8(text)])]))
        .collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    sequence(&parts)
}

/// A period between two instants in the short form.
pub(crate) fn validity(start: &str, end: &str) -> Vec<u8> {
    sequence(&[
        &element(0x17, &[start.as_bytes()]),
        &element(0x17, &[end.as_bytes()]),
    ])
}

/// An extension.
pub(crate) fn extension(kind: &str, is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical {
        boolean(true)
    } else {
        Vec::new()
    };
    sequence(&[&oid(kind), &critical, &octets(value)])
}

/// That this is an authority, with at most so many others below.
pub(crate) fn authority(path_len: Option<u8>) -> Vec<u8> {
    let path_len = path_len.map(int).unwrap_or_default();
    let value = sequence(&[&boolean(true), &path_len]);
    extension("2.5.29.19", true, &value)
}

/// That this is no authority.
pub(crate) fn no_authority() -> Vec<u8> {
    extension("2.5.29.19", true, &sequence(&[]))
}

/// The uses of the key: the first byte of the bits.
pub(crate) fn key_usage(usage: u8) -> Vec<u8> {
    let unused = usage.trailing_zeros().min(7) as u8;
    extension("2.5.29.15", true, &element(3, &[&[unused, usage]]))
}

/// The purposes of the key, by name.
pub(crate) fn extended_key_usage(is_critical: bool, purposes: &[&str]) -> Vec<u8> {
    let purposes: Vec<Vec<u8>> = purposes.iter().map(|purpose| oid(purpose)).collect();
    let purposes: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
    extension("2.5.29.37", is_critical, &sequence(&purposes))
}

/// The subject's key.
pub(crate) fn subject_key(id: &[u8]) -> Vec<u8> {
    extension("2.5.29.14", false, &octets(id))
}

/// The issuer's key, by its identifier, or the issuer's certificate, by the name of its issuer
/// and its number; either may be empty.
pub(crate) fn authority_key(id: &[u8], issuer: &[u8], serial: &[u8]) -> Vec<u8> {
    let mut parts = Vec::new();
    if !id.is_empty() {
        parts.extend(tagged_bytes(0, id));
    }
    if !issuer.is_empty() {
        parts.extend(tagged(1, &[&tagged(4, &[issuer])]));
        parts.extend(tagged_bytes(2, serial));
    }
    extension("2.5.29.35", false, &sequence(&[&parts]))
}

/// A name that certificates below may have, and one that they may not: each a `GeneralName`, or
/// nothing.
pub(crate) fn name_constraints(is_critical: bool, permitted: &[u8], excluded: &[u8]) -> Vec<u8> {
    let subtrees = |tag: u8, name: &[u8]| {
        if name.is_empty() {
            Vec::new()
        } else {
            tagged(tag, &[&sequence(&[name])])
        }
    };
    let value = sequence(&[&subtrees(0, permitted), &subtrees(1, excluded)]);
    extension("2.5.29.30", is_critical, &value)
}

/// Another name of the subject, a `GeneralName`.
pub(crate) fn alternative_names(name: &[u8]) -> Vec<u8> {
    extension("2.5.29.17", false, &sequence(&[name]))
}
