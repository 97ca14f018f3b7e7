//! Extensions of certificates: those that matter to a chain, read once.
//!
//! Spec: RFC 5280, section 4.2, with OpenSSL's answers where it leaves some
//! open, since firmware asks OpenSSL. Left out: policies, which firmware does
//! not ask for, so that they may be critical; revocation by CRL or OCSP.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use der::{Decode, DecodeOwned, ErrorKind};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage,
    NameConstraints, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;

use crate::algorithm::oid;
use crate::name::CanonicalName;
use crate::name_constraints::{Constraints, SubjectNames};

/// The extensions of a certificate, and the names that they add to.
#[derive(Clone, Debug)]
pub(crate) struct Extensions {
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<ExtendedKeyUsage>,
    /// `subjectKeyIdentifier`.
    pub(crate) key_id: Option<Vec<u8>>,
    authority: Authority,
    /// The names of the subject.
    pub(crate) names: SubjectNames,
    /// The names that it may vouch for.
    pub(crate) constraints: Option<Constraints>,
    /// Why no chain may go through the certificate, if none may.
    refused: Option<&'static str>,
}

/// Who issued a certificate, as far as `authorityKeyIdentifier` says.
#[derive(Clone, Debug, Default)]
struct Authority {
    key_id: Option<Vec<u8>>,
    issuer: Option<CanonicalName>,
    serial: Option<Vec<u8>>,
}

/// Whether a certificate may issue others without `basicConstraints`. OpenSSL
/// lets one that is trusted itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is trusted, is of version 1 and names itself as its issuer.
    TrustedVersion1Root,
    /// It is trusted: its key usage has to name the signing of certificates.
    Trusted,
    /// It is part of a chain.
    Untrusted,
}

impl Extensions {
    /// Reads the extensions of a certificate whose subject is `subject`, and
    /// compared as `canonical`.
    ///
    /// # Errors
    ///
    /// One of them is malformed; in words.
    pub(crate) fn read(
        extensions: &[Extension],
        subject: &Name,
        canonical: &CanonicalName,
    ) -> Result<Self, &'static str> {
        // Of no use here. OpenSSL does not accept malformed ones.
        optional::<CrlDistributionPoints>(extensions)?;
        let alternative: Option<SubjectAltName> = optional(extensions)?;
        let alternative = alternative.map_or(Vec::new(), |names| names.0);
        let names = SubjectNames::new(subject, canonical, &alternative).map_err(malformed)?;
        let constraints: Option<NameConstraints> = optional(extensions)?;
        let constraints = constraints.as_ref().map(Constraints::new);
        let key_id: Option<SubjectKeyIdentifier> = optional(extensions)?;
        let basic_constraints = optional(extensions)?;
        Ok(Self {
            refused: refused(extensions, basic_constraints.as_ref()),
            basic_constraints,
            key_usage: optional(extensions)?,
            extended_key_usage: optional(extensions)?,
            key_id: key_id.map(|id| id.0.as_bytes().to_vec()),
            authority: Authority::read(extensions)?,
            names,
            constraints: constraints.transpose().map_err(malformed)?,
        })
    }

    /// Checks that nothing in them stands against a chain through the
    /// certificate.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        self.refused.map_or(Ok(()), Err)
    }

    /// Returns whether the key may sign certificates, as far as its usage says.
    pub(crate) fn may_sign_certificates(&self) -> bool {
        self.key_usage.is_none_or(|usage| usage.key_cert_sign())
    }

    /// Checks that the certificate may issue others, with `below` issuers
    /// between it and the signer: the CA bit, `keyCertSign`, the path length.
    pub(crate) fn check_may_issue(
        &self,
        below: usize,
        standing: Standing,
    ) -> Result<(), &'static str> {
        match &self.basic_constraints {
            Some(constraints) if constraints.ca => {
                let limit = constraints.path_len_constraint.map(usize::from);
                if limit.is_some_and(|limit| below > limit) {
                    return Err("its path length allows no chain as long as this");
                }
            }
            None if standing == Standing::TrustedVersion1Root => {}
            None if standing == Standing::Trusted && self.key_usage.is_some() => {}
            _ => return Err("it is not for issuing certificates (no CA bit)"),
        }
        if !self.may_sign_certificates() {
            return Err("its key usage has no certificate signing");
        }
        Ok(())
    }

    /// Checks that the certificate is trusted for more than kernel modules:
    /// distributions let users enrol keys for modules, which are not to boot
    /// anything.
    pub(crate) fn check_may_boot(&self) -> Result<(), &'static str> {
        match &self.extended_key_usage {
            Some(usage) if usage.0.contains(&MODULE_SIGNING) => {
                Err("it is for signing kernel modules alone")
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the issuer may be one with these fields: its key's
    /// identifier, its own issuer and its serial number.
    pub(crate) fn may_be_issued_by(
        &self,
        key_id: Option<&[u8]>,
        issuer: &CanonicalName,
        serial: &[u8],
    ) -> bool {
        let Authority {
            key_id: named_key,
            issuer: named_issuer,
            serial: named_serial,
        } = &self.authority;
        let is_key = match (named_key, key_id) {
            (Some(named), Some(found)) => named == found,
            _ => true,
        };
        is_key
            && named_issuer.as_ref().is_none_or(|named| named == issuer)
            && named_serial.as_ref().is_none_or(|named| named == serial)
    }
}

impl Authority {
    fn read(extensions: &[Extension]) -> Result<Self, &'static str> {
        let Some(named) = optional::<AuthorityKeyIdentifier>(extensions)? else {
            return Ok(Self::default());
        };
        let mut issuers = named.authority_cert_issuer.iter().flatten();
        // OpenSSL looks at the first directory name alone.
        let issuer = issuers.find_map(|name| match name {
            GeneralName::DirectoryName(name) => Some(CanonicalName::new(name)),
            _ => None,
        });
        let serial = named.authority_cert_serial_number;
        Ok(Self {
            key_id: named.key_identifier.map(|id| id.as_bytes().to_vec()),
            issuer: issuer.transpose().map_err(malformed)?,
            serial: serial.map(|serial| serial.as_bytes().to_vec()),
        })
    }
}

/// Returns why no chain may go through the certificate, if none may.
fn refused(
    extensions: &[Extension],
    constraints: Option<&BasicConstraints>,
) -> Option<&'static str> {
    for extension in extensions {
        if extension.extn_id == PROXY_CERTIFICATE {
            return Some("it is a proxy of another certificate (RFC 3820)");
        }
        if extension.critical && !UNDERSTOOD.contains(&extension.extn_id) {
            return Some("it has a critical extension that is not understood");
        }
    }
    // A path length without a CA bit means nothing. Zero is often written
    // there, and OpenSSL before 3.0 accepts no other.
    let is_lie = constraints.is_some_and(|constraints| {
        !constraints.ca && constraints.path_len_constraint.is_some_and(|len| len != 0)
    });
    is_lie.then_some("it has a path length without a CA bit")
}

/// Returns the extension of this kind, if there is one.
///
/// # Errors
///
/// There is more than one, or it is malformed.
fn optional<T>(extensions: &[Extension]) -> Result<Option<T>, &'static str>
where
    T: AssociatedOid + DecodeOwned + for<'a> Decode<'a, Error = der::Error>,
{
    let mut found = extensions.iter().filter(|one| one.extn_id == T::OID);
    let extension = found
        .next()
        .map(|one| T::from_der(one.extn_value.as_bytes()));
    if found.next().is_some() {
        return Err(malformed(ErrorKind::Failed.into()));
    }
    extension.transpose().map_err(malformed)
}

/// Returns the first mail address among the alternative names of a subject.
pub(crate) fn first_email(extensions: &[Extension]) -> Option<String> {
    let names: SubjectAltName = optional(extensions).ok()??;
    names.0.iter().find_map(|name| match name {
        GeneralName::Rfc822Name(email) => Some(email.as_str().to_owned()),
        _ => None,
    })
}

fn malformed(_: der::Error) -> &'static str {
    "its extensions cannot be read"
}

/// The extended key usage that shim takes for "not for booting".
const MODULE_SIGNING: ObjectIdentifier = oid("1.3.6.1.4.1.2312.16.1.2");
const PROXY_CERTIFICATE: ObjectIdentifier = oid("1.3.6.1.5.5.7.1.14");

/// Extensions that may be critical: those that OpenSSL lets be.
const UNDERSTOOD: [ObjectIdentifier; 11] = [
    oid("2.5.29.15"),             // keyUsage
    oid("2.5.29.17"),             // subjectAltName
    oid("2.5.29.19"),             // basicConstraints
    oid("2.5.29.30"),             // nameConstraints
    oid("2.5.29.31"),             // cRLDistributionPoints
    oid("2.5.29.32"),             // certificatePolicies
    oid("2.5.29.33"),             // policyMappings
    oid("2.5.29.36"),             // policyConstraints
    oid("2.5.29.37"),             // extKeyUsage
    oid("2.5.29.54"),             // inhibitAnyPolicy
    oid("2.16.840.1.113730.1.1"), // Netscape's certificate type
];
