//! Signatures of images, field by field.
//!
//! Specification: "Windows Authenticode Portable Executable Signature Format"; PKCS#7 (RFC 2315).

use anyhow::Result;

use super::certificate::Identity;
use super::der::{element, int, octets, oid, sequence, set, tagged};
use super::key::{Digest, Key, attribute, digest_info};
use crate::stand::Stand;

pub(crate) const DATA: &str = "1.2.840.113549.1.7.1";
pub(crate) const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
pub(crate) const SPC_INDIRECT_DATA: &str = "1.3.6.1.4.1.311.2.1.4";
pub(crate) const SPC_PE_IMAGE_DATA: &str = "1.3.6.1.4.1.311.2.1.15";
pub(crate) const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
pub(crate) const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";

/// `SpcIndirectDataContent`: what is signed of an image.
#[derive(Debug, Clone)]
pub(crate) struct Spc {
    pub(crate) kind: &'static str,
    /// The element behind the type.
    pub(crate) value: Vec<u8>,
    pub(crate) digest_algorithm: Vec<u8>,
    pub(crate) digest: Vec<u8>,
}

impl Spc {
    /// The content that tools make of a digest.
    pub(crate) fn new(algorithm: Digest, digest: &[u8]) -> Self {
        // SpcPeImageData: no flags, and a file called "<<<Obsolete>>>".
        let text: Vec<u8> = "<<<Obsolete>>>"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        let file = tagged(0, &[&tagged(2, &[&element(0x80, &[&text])])]);
        Self {
            kind: SPC_PE_IMAGE_DATA,
            value: sequence(&[&element(3, &[&[0]]), &file]),
            digest_algorithm: algorithm.identifier(),
            digest: digest.to_vec(),
        }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        sequence(&[
            &sequence(&[&oid(self.kind), &self.value]),
            &digest_info(&self.digest_algorithm, &self.digest),
        ])
    }
}

/// One of the attributes that are signed.
#[derive(Debug, Clone)]
pub(crate) enum Attribute {
    /// The type of the content.
    ContentType,
    /// The digest of the content, by the signer's algorithm.
    MessageDigest,
    /// An element of its own.
    Other(Vec<u8>),
}

/// `SignerInfo`, before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct SignerInfo {
    pub(crate) key: Key,
    pub(crate) version: u8,
    /// Issuer and serial number.
    pub(crate) id: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) digest_algorithm: Vec<u8>,
    /// None: the content itself is signed.
    pub(crate) attributes: Option<Vec<Attribute>>,
    pub(crate) signature_algorithm: Vec<u8>,
    /// `[1]`, or nothing.
    pub(crate) unsigned: Vec<u8>,
    /// A change of the signature once it is made.
    pub(crate) damage: fn(Vec<u8>) -> Vec<u8>,
}

/// `SignedData` in a `ContentInfo`, before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct SignedData {
    pub(crate) kind: &'static str,
    pub(crate) version: u8,
    pub(crate) digest_algorithms: Vec<Vec<u8>>,
    pub(crate) content_type: &'static str,
    /// The element that is signed without tag and length.
    pub(crate) content: Vec<u8>,
    pub(crate) is_detached: bool,
    pub(crate) certificates: Vec<Vec<u8>>,
    /// `[1]`, or nothing.
    pub(crate) crls: Vec<u8>,
    pub(crate) signers: Vec<SignerInfo>,
}

impl SignerInfo {
    pub(crate) fn new(signer: &Identity, digest: Digest) -> Self {
        Self {
            key: signer.key.clone(),
            version: 1,
            id: sequence(&[&signer.issuer, &signer.serial]),
            digest,
            digest_algorithm: digest.identifier(),
            attributes: Some(vec![Attribute::ContentType, Attribute::MessageDigest]),
            signature_algorithm: match signer.key.scheme {
                // As sbsign, osslsigncode and signtool write it.
                super::key::Scheme::RsaPkcs1 => {
                    sequence(&[&oid("1.2.840.113549.1.1.1"), &super::der::null()])
                }
                scheme => scheme.identifier(digest),
            },
            unsigned: Vec::new(),
            damage: |signature| signature,
        }
    }

    fn der(&self, stand: &Stand, data: &SignedData) -> Result<Vec<u8>> {
        let content = data.signed_content();
        let (attributes, signed) = match &self.attributes {
            None => (Vec::new(), content.to_vec()),
            Some(list) => {
                let mut attributes = Vec::new();
                for one in list {
                    attributes.extend(match one {
                        Attribute::ContentType => attribute(CONTENT_TYPE, &oid(data.content_type)),
                        Attribute::MessageDigest => {
                            let digest = self.digest.of(stand, content)?;
                            attribute(MESSAGE_DIGEST, &octets(&digest))
                        }
                        Attribute::Other(element) => element.clone(),
                    });
                }
                // With another tag than the one that is written.
                (tagged(0, &[&attributes]), set(&[&attributes]))
            }
        };
        let signature = (self.damage)(self.key.sign(stand, self.digest, &signed)?);
        Ok(sequence(&[
            &int(self.version),
            &self.id,
            &self.digest_algorithm,
            &attributes,
            &self.signature_algorithm,
            &octets(&signature),
            &self.unsigned,
        ]))
    }
}

impl SignedData {
    /// The data that tools make of `content`: `signer` is alone, and its certificate comes along.
    pub(crate) fn new(content: &Spc, signer: &Identity, digest: Digest) -> Self {
        Self {
            kind: SIGNED_DATA,
            version: 1,
            digest_algorithms: vec![digest.identifier()],
            content_type: SPC_INDIRECT_DATA,
            content: content.der(),
            is_detached: false,
            certificates: vec![signer.der.clone()],
            crls: Vec::new(),
            signers: vec![SignerInfo::new(signer, digest)],
        }
    }

    /// The only signer.
    pub(crate) fn signer(&mut self) -> &mut SignerInfo {
        &mut self.signers[0]
    }

    /// The content without tag and length.
    pub(crate) fn signed_content(&self) -> &[u8] {
        let (start, end) = super::der::extent(&self.content).unwrap_or_default();
        self.content.get(start..end).unwrap_or_default()
    }

    /// The `ContentInfo`, signed.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn der(&self, stand: &Stand) -> Result<Vec<u8>> {
        let data = self.bare(stand)?;
        Ok(sequence(&[&oid(self.kind), &tagged(0, &[&data])]))
    }

    /// The `SignedData` alone, signed.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn bare(&self, stand: &Stand) -> Result<Vec<u8>> {
        let content = if self.is_detached {
            Vec::new()
        } else {
            tagged(0, &[&self.content])
        };
        let certificates = self.certificates.concat();
        let certificates = if certificates.is_empty() {
            certificates
        } else {
            tagged(0, &[&certificates])
        };
        let mut signers = Vec::new();
        for signer in &self.signers {
            signers.extend(signer.der(stand, self)?);
        }
        Ok(sequence(&[
            &int(self.version),
            &set(&[&self.digest_algorithms.concat()]),
            &sequence(&[&oid(self.content_type), &content]),
            &certificates,
            &self.crls,
            &set(&[&signers]),
        ]))
    }
}
