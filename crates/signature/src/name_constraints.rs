//! Name constraints: which names an authority may vouch for.
//!
//! Spec: RFC 5280, section 4.2.1.10, as OpenSSL's `NAME_CONSTRAINTS_check` and
//! `NAME_CONSTRAINTS_check_CN` read it, which firmware checks them with. They
//! bind whether or not they are critical.

use der::asn1::{ObjectIdentifier, OctetString};
use der::{Tag, Tagged as _};
use x509_cert::ext::pkix::NameConstraints;
use x509_cert::ext::pkix::constraints::name::{GeneralSubtree, GeneralSubtrees};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use crate::algorithm::oid;
use crate::name::{CanonicalName, text};

/// The names that an authority may and must not vouch for.
#[derive(Clone, Debug)]
pub(crate) struct Constraints {
    permitted: Vec<Subtree>,
    excluded: Vec<Subtree>,
}

/// A name and all that lies below it.
#[derive(Clone, Debug)]
struct Subtree {
    base: AnyName,
    /// Whether it starts at the name itself and has no end: nothing else is
    /// specified.
    is_whole: bool,
}

/// The names of a certificate's subject, for [`Constraints::check`].
#[derive(Clone, Debug)]
pub(crate) struct SubjectNames {
    names: Vec<AnyName>,
    /// Common names that look like those of hosts, which count at the end of
    /// a chain alone.
    hosts: Vec<AnyName>,
    /// Why one of them cannot be compared.
    malformed: Option<&'static str>,
    malformed_host: Option<&'static str>,
}

/// A name of any form, ready to be compared.
#[derive(Clone, Debug)]
enum AnyName {
    Directory(CanonicalName),
    /// A form that is text: `Email`, `Dns` or `Uri`.
    Text(Form, Vec<u8>),
    Ip(Vec<u8>),
    /// A form that cannot be compared.
    Other(Form),
}

/// The alternatives of `GeneralName`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Other,
    Email,
    Dns,
    Directory,
    EdiParty,
    Uri,
    Ip,
    RegisteredId,
}

impl Constraints {
    /// Reads the extension.
    ///
    /// # Errors
    ///
    /// A directory name in it is malformed.
    pub(crate) fn new(constraints: &NameConstraints) -> der::Result<Self> {
        let subtrees = |subtrees: &Option<GeneralSubtrees>| {
            let subtrees = subtrees.iter().flatten();
            subtrees.map(Subtree::new).collect::<der::Result<_>>()
        };
        Ok(Self {
            permitted: subtrees(&constraints.permitted_subtrees)?,
            excluded: subtrees(&constraints.excluded_subtrees)?,
        })
    }

    /// Returns how many comparisons checking `names` takes at most.
    pub(crate) fn comparisons(&self, names: &SubjectNames) -> usize {
        let names = names.names.len().saturating_add(names.hosts.len());
        let subtrees = self.permitted.len().saturating_add(self.excluded.len());
        names.saturating_mul(subtrees)
    }

    /// Checks that every one of `names` may be vouched for. `is_leaf`: common
    /// names of the subject may be names of hosts.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub(crate) fn check(&self, names: &SubjectNames, is_leaf: bool) -> Result<(), &'static str> {
        for name in &names.names {
            self.check_name(name)?;
        }
        if let Some(malformed) = names.malformed {
            return Err(malformed);
        }
        if is_leaf {
            for name in &names.hosts {
                self.check_name(name)?;
            }
            if let Some(malformed) = names.malformed_host {
                return Err(malformed);
            }
        }
        Ok(())
    }

    fn check_name(&self, name: &AnyName) -> Result<(), &'static str> {
        let mut is_limited = false;
        let mut is_permitted = false;
        for subtree in of_form(&self.permitted, name.form()) {
            is_limited = true;
            subtree.check_whole()?;
            is_permitted = is_permitted || subtree.contains(name)?;
        }
        if is_limited && !is_permitted {
            return Err("one of its names is not among those permitted");
        }
        for subtree in of_form(&self.excluded, name.form()) {
            subtree.check_whole()?;
            if subtree.contains(name)? {
                return Err("one of its names is excluded");
            }
        }
        Ok(())
    }
}

fn of_form(subtrees: &[Subtree], form: Form) -> impl Iterator<Item = &Subtree> {
    subtrees
        .iter()
        .filter(move |subtree| subtree.base.form() == form)
}

impl Subtree {
    fn new(subtree: &GeneralSubtree) -> der::Result<Self> {
        Ok(Self {
            base: AnyName::new(&subtree.base)?,
            is_whole: subtree.minimum == 0 && subtree.maximum.is_none(),
        })
    }

    fn check_whole(&self) -> Result<(), &'static str> {
        if !self.is_whole {
            return Err("they have a minimum or a maximum, which nothing specifies");
        }
        Ok(())
    }

    /// Returns whether `name`, which is of the same form, lies in this.
    fn contains(&self, name: &AnyName) -> Result<bool, &'static str> {
        match (name, &self.base) {
            (AnyName::Directory(name), AnyName::Directory(base)) => Ok(name.is_below(base)),
            (AnyName::Text(Form::Email, name), AnyName::Text(_, base)) => email(name, base),
            (AnyName::Text(Form::Dns, name), AnyName::Text(_, base)) => Ok(dns(name, base)),
            (AnyName::Text(Form::Uri, name), AnyName::Text(_, base)) => uri(name, base),
            (AnyName::Ip(name), AnyName::Ip(base)) => ip(name, base),
            _ => Err("they are on names of a form that cannot be compared"),
        }
    }
}

impl SubjectNames {
    /// Collects the names of a certificate: its subject, the mail addresses
    /// and hosts in there, and its alternative names.
    ///
    /// # Errors
    ///
    /// A directory name is malformed.
    pub(crate) fn new(
        subject: &Name,
        canonical: &CanonicalName,
        alternative: &[GeneralName],
    ) -> der::Result<Self> {
        let mut found = Self {
            names: Vec::new(),
            hosts: Vec::new(),
            malformed: None,
            malformed_host: None,
        };
        if !canonical.is_empty() {
            found.names.push(AnyName::Directory(canonical.clone()));
        }
        for attribute in subject.iter() {
            match attribute.oid {
                EMAIL_ADDRESS if attribute.value.tag() == Tag::Ia5String => {
                    let address = attribute.value.value().to_vec();
                    found.names.push(AnyName::Text(Form::Email, address));
                }
                EMAIL_ADDRESS => found.malformed = Some(MALFORMED),
                COMMON_NAME => match host(text(&attribute.value)?) {
                    Ok(host) => {
                        let host = host.map(|host| AnyName::Text(Form::Dns, host));
                        found.hosts.extend(host);
                    }
                    Err(malformed) => found.malformed_host = Some(malformed),
                },
                _ => {}
            }
        }
        for name in alternative {
            found.names.push(AnyName::new(name)?);
            if matches!(name, GeneralName::OtherName(other) if other.type_id == SMTP_UTF8_MAILBOX) {
                found.names.push(AnyName::Other(Form::Email));
            }
        }
        let is_host = |name: &AnyName| name.form() == Form::Dns;
        if found.names.iter().any(is_host) {
            found.hosts.clear();
            found.malformed_host = None;
        }
        Ok(found)
    }
}

impl AnyName {
    fn new(name: &GeneralName) -> der::Result<Self> {
        let text = |form, text: &der::asn1::Ia5String| Self::Text(form, text.as_bytes().to_vec());
        Ok(match name {
            GeneralName::DirectoryName(name) => Self::Directory(CanonicalName::new(name)?),
            GeneralName::Rfc822Name(name) => text(Form::Email, name),
            GeneralName::DnsName(name) => text(Form::Dns, name),
            GeneralName::UniformResourceIdentifier(name) => text(Form::Uri, name),
            GeneralName::IpAddress(name) => Self::Ip(OctetString::as_bytes(name).to_vec()),
            GeneralName::OtherName(_) => Self::Other(Form::Other),
            GeneralName::EdiPartyName(_) => Self::Other(Form::EdiParty),
            GeneralName::RegisteredId(_) => Self::Other(Form::RegisteredId),
        })
    }

    fn form(&self) -> Form {
        match self {
            Self::Directory(_) => Form::Directory,
            Self::Text(form, _) | Self::Other(form) => *form,
            Self::Ip(_) => Form::Ip,
        }
    }
}

/// Returns whether `name` is `base` or ends in it. Labels may come before it:
/// whole ones, but for a base that starts with a dot.
fn dns(name: &[u8], base: &[u8]) -> bool {
    match split_end(name, base.len()) {
        None => false,
        Some((before, end)) => {
            let is_label = before.is_empty() || before.ends_with(b".") || base.starts_with(b".");
            base.is_empty() || (is_label && end.eq_ignore_ascii_case(base))
        }
    }
}

/// Returns whether `host` is `base`, or lies below it where `base` starts with
/// a dot.
fn is_host(host: &[u8], base: &[u8]) -> bool {
    if base.starts_with(b".") {
        let end = split_end(host, base.len());
        return end
            .is_some_and(|(before, end)| !before.is_empty() && end.eq_ignore_ascii_case(base));
    }
    host.eq_ignore_ascii_case(base)
}

/// Compares mail addresses: one mailbox, all of a host, or all below a domain.
fn email(name: &[u8], base: &[u8]) -> Result<bool, &'static str> {
    let Some((local, host)) = split_at_sign(name) else {
        return Err(MALFORMED);
    };
    let Some((base_local, base_host)) = split_at_sign(base) else {
        // The end of the whole address is compared, where it starts with a dot.
        let name = if base.starts_with(b".") { name } else { host };
        return Ok(is_host(name, base));
    };
    let is_any = base_local.is_empty();
    let has_nul = local.contains(&0) || base_local.contains(&0);
    if !is_any && base_local.len() == local.len() && has_nul {
        return Err(MALFORMED);
    }
    let is_local = is_any || base_local == local;
    Ok(is_local && host.eq_ignore_ascii_case(base_host))
}

/// Compares the host of a URI.
fn uri(name: &[u8], base: &[u8]) -> Result<bool, &'static str> {
    let scheme = name.iter().position(|byte| *byte == b':');
    let (_, rest) = scheme
        .and_then(|end| name.split_at_checked(end))
        .ok_or(MALFORMED)?;
    let rest = rest.strip_prefix(b"://").ok_or(MALFORMED)?;
    let is_end = |byte: &u8| matches!(byte, b':' | b'/' | b'?' | b'#');
    let host = rest.split(is_end).next().unwrap_or(rest);
    // Versions of OpenSSL differ in who is before an at sign.
    if host.is_empty() || host.contains(&b'@') || host.contains(&b'[') {
        return Err(MALFORMED);
    }
    Ok(is_host(host, base))
}

/// Compares an address of IPv4 or IPv6 with an address and a mask.
fn ip(name: &[u8], base: &[u8]) -> Result<bool, &'static str> {
    if !matches!(name.len(), 4 | 16) || !matches!(base.len(), 8 | 32) {
        return Err(MALFORMED);
    }
    let Some((base, mask)) = base.split_at_checked(name.len()) else {
        return Ok(false);
    };
    let pairs = name.iter().zip(base).zip(mask);
    let is_inside = |((name, base), mask): ((&u8, &u8), &u8)| name & mask == base & mask;
    Ok(mask.len() == name.len() && pairs.into_iter().all(is_inside))
}

/// Returns a common name if it looks like the name of a host: two labels or
/// more, of letters, digits and underscores, with hyphens inside.
fn host(common_name: Option<String>) -> Result<Option<Vec<u8>>, &'static str> {
    let text = common_name.ok_or(MALFORMED)?;
    let name = text.trim_end_matches('\0').as_bytes();
    if name.contains(&0) {
        return Err(MALFORMED);
    }
    let is_label = |label: &[u8]| {
        let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_at_end = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
        is_at_end(label.first()) && is_at_end(label.last()) && label.iter().all(is_inside)
    };
    let labels = || name.split(|byte| *byte == b'.');
    let is_host = labels().nth(1).is_some() && labels().all(is_label);
    Ok(is_host.then(|| name.to_vec()))
}

/// Splits off the last `len` bytes.
fn split_end(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(bytes.len().checked_sub(len)?)
}

/// Splits a mail address at its last at sign.
fn split_at_sign(address: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = address.iter().rposition(|byte| *byte == b'@')?;
    let (local, rest) = address.split_at_checked(at)?;
    Some((local, rest.strip_prefix(b"@")?))
}

const MALFORMED: &str = "one of its names is malformed, and cannot be compared";
const COMMON_NAME: ObjectIdentifier = oid("2.5.4.3");
const EMAIL_ADDRESS: ObjectIdentifier = oid("1.2.840.113549.1.9.1");
/// A mail address in UTF-8, which counts as a mail address: RFC 8398.
const SMTP_UTF8_MAILBOX: ObjectIdentifier = oid("1.3.6.1.5.5.7.8.9");
