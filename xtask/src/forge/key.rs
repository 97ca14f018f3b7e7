//! Keys, and what they sign: with `openssl`, which is given bytes and returns a signature.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::der::{element, null, octets, oid, sequence, set, tagged};
use crate::command::Tool;
use crate::stand::Stand;

/// A digest algorithm, by the name that `openssl` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    pub(crate) const fn oid(self) -> &'static str {
        match self {
            Self::Md5 => "1.2.840.113549.2.5",
            Self::Sha1 => "1.3.14.3.2.26",
            Self::Sha224 => "2.16.840.1.101.3.4.2.4",
            Self::Sha256 => "2.16.840.1.101.3.4.2.1",
            Self::Sha384 => "2.16.840.1.101.3.4.2.2",
            Self::Sha512 => "2.16.840.1.101.3.4.2.3",
        }
    }

    /// Its `AlgorithmIdentifier`, as signing tools write it.
    pub(crate) fn identifier(self) -> Vec<u8> {
        sequence(&[&oid(self.oid()), &null()])
    }

    /// The digest of `bytes`.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn of(self, stand: &Stand, bytes: &[u8]) -> Result<Vec<u8>> {
        let file = stand.file("hashed", bytes)?;
        Tool::new("openssl")
            .args(["dgst", "-binary"])
            .arg(format!("-{}", self.name()))
            .arg(file)
            .bytes()
    }
}

/// The algorithm of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    RsaPkcs1,
    RsaPss,
    Ecdsa,
}

impl Scheme {
    /// The `AlgorithmIdentifier` of a signature over a digest.
    pub(crate) fn identifier(self, digest: Digest) -> Vec<u8> {
        let name = match (self, digest) {
            (Self::RsaPkcs1, Digest::Md5) => "1.2.840.113549.1.1.4",
            (Self::RsaPkcs1, Digest::Sha1) => "1.2.840.113549.1.1.5",
            (Self::RsaPkcs1, Digest::Sha224) => "1.2.840.113549.1.1.14",
            (Self::RsaPkcs1, Digest::Sha256) => "1.2.840.113549.1.1.11",
            (Self::RsaPkcs1, Digest::Sha384) => "1.2.840.113549.1.1.12",
            (Self::RsaPkcs1, Digest::Sha512) => "1.2.840.113549.1.1.13",
            (Self::RsaPss, _) => return pss(digest),
            (Self::Ecdsa, Digest::Sha384) => return sequence(&[&oid("1.2.840.10045.4.3.3")]),
            (Self::Ecdsa, Digest::Sha512) => return sequence(&[&oid("1.2.840.10045.4.3.4")]),
            (Self::Ecdsa, Digest::Sha1) => return sequence(&[&oid("1.2.840.10045.4.1")]),
            (Self::Ecdsa, _) => return sequence(&[&oid("1.2.840.10045.4.3.2")]),
        };
        sequence(&[&oid(name), &null()])
    }
}

/// RSASSA-PSS with MGF1 over the same digest, and a salt as long as that is.
fn pss(digest: Digest) -> Vec<u8> {
    let hash = digest.identifier();
    let mask = sequence(&[&oid("1.2.840.113549.1.1.8"), &hash]);
    let salt = match digest {
        Digest::Sha384 => 48,
        Digest::Sha512 => 64,
        _ => 32,
    };
    sequence(&[
        &oid("1.2.840.113549.1.1.10"),
        &sequence(&[
            &tagged(0, &[&hash]),
            &tagged(1, &[&mask]),
            &tagged(2, &[&element(2, &[&[salt]])]),
        ]),
    ])
}

/// A private key in the case's folder.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    path: PathBuf,
    pub(crate) scheme: Scheme,
    /// The `SubjectPublicKeyInfo`.
    pub(crate) public: Vec<u8>,
    /// The digest by which key identifiers name it, as RFC 5280 proposes.
    pub(crate) id: Vec<u8>,
}

impl Key {
    /// Makes an RSA key. Big ones are made of more primes than two, which takes a fraction of the
    /// time and is not to be seen from outside.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn rsa(stand: &Stand, name: &str, bits: u32) -> Result<Self> {
        let primes = if bits > 4000 { 4 } else { 2 };
        let options = [
            format!("rsa_keygen_bits:{bits}"),
            format!("rsa_keygen_primes:{primes}"),
        ];
        Self::make(stand, name, Scheme::RsaPkcs1, "RSA", &options)
    }

    /// Makes an RSA key with the public exponent 3.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn rsa_exponent_3(stand: &Stand, name: &str) -> Result<Self> {
        let options = ["rsa_keygen_bits:2048".into(), "rsa_keygen_pubexp:3".into()];
        Self::make(stand, name, Scheme::RsaPkcs1, "RSA", &options)
    }

    /// Makes a key on an elliptic curve.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn ec(stand: &Stand, name: &str, curve: &str) -> Result<Self> {
        let options = [format!("ec_paramgen_curve:{curve}")];
        Self::make(stand, name, Scheme::Ecdsa, "EC", &options)
    }

    /// The same key, signing by another scheme.
    pub(crate) fn with_scheme(&self, scheme: Scheme) -> Self {
        Self {
            scheme,
            ..self.clone()
        }
    }

    fn make(
        stand: &Stand,
        name: &str,
        scheme: Scheme,
        algorithm: &str,
        options: &[String],
    ) -> Result<Self> {
        let path = stand.path(&format!("{name}.key"));
        let mut tool = Tool::new("openssl").args(["genpkey", "-quiet", "-algorithm", algorithm]);
        for option in options {
            tool = tool.arg("-pkeyopt").arg(option);
        }
        tool.arg("-out").arg(&path).run()?;
        let public = Tool::new("openssl")
            .args(["pkey", "-pubout", "-outform", "DER", "-in"])
            .arg(&path)
            .bytes()?;
        let id = Digest::Sha1.of(stand, &public)?;
        Ok(Self {
            path,
            scheme,
            public,
            id,
        })
    }

    /// The signature of `bytes`.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn sign(&self, stand: &Stand, digest: Digest, bytes: &[u8]) -> Result<Vec<u8>> {
        let file = stand.file("signed", bytes)?;
        let signature = stand.path("signature");
        let mut tool = Tool::new("openssl")
            .arg("dgst")
            .arg(format!("-{}", digest.name()))
            .arg("-sign")
            .arg(&self.path);
        if self.scheme == Scheme::RsaPss {
            tool = tool.args(["-sigopt", "rsa_padding_mode:pss"]);
            tool = tool.args(["-sigopt", "rsa_pss_saltlen:digest"]);
        }
        tool.arg("-out").arg(&signature).arg(file).run()?;
        Ok(fs::read(signature)?)
    }
}

/// `DigestInfo`.
pub(crate) fn digest_info(identifier: &[u8], digest: &[u8]) -> Vec<u8> {
    sequence(&[identifier, &octets(digest)])
}

/// An attribute with one value.
pub(crate) fn attribute(kind: &str, value: &[u8]) -> Vec<u8> {
    sequence(&[&oid(kind), &set(&[value])])
}
