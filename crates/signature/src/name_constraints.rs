//! Name constraints: which names an authority may vouch for.
//!
//! Spec: RFC 5280, section 4.2.1.10, as OpenSSL's `NAME_CONSTRAINTS_check` and
//! `NAME_CONSTRAINTS_check_CN` read it, which firmware checks them with. They
//! bind whether or not they are critical.

use alloc::vec::Vec;
use core::iter;
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Tag, Tagged as _};
use x509_cert::ext::pkix::NameConstraints;
use x509_cert::ext::pkix::constraints::name::{GeneralSubtree, GeneralSubtrees};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use crate::algorithm::oid;
use crate::name::{CanonicalName, text};
use crate::name_forms::{MALFORMED, dns, email, host, ip, uri};

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
    /// The fault, in words.
    pub(crate) fn check(&self, names: &SubjectNames, is_leaf: bool) -> Result<(), &'static str> {
        let hosts = is_leaf.then_some((&names.hosts, names.malformed_host));
        let names = iter::once((&names.names, names.malformed)).chain(hosts);
        for (names, malformed) in names {
            names.iter().try_for_each(|name| self.check_name(name))?;
            malformed.map_or(Ok(()), Err)?;
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
        let reason = "they have a minimum or a maximum, which nothing specifies";
        if self.is_whole { Ok(()) } else { Err(reason) }
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

const COMMON_NAME: ObjectIdentifier = oid("2.5.4.3");
const EMAIL_ADDRESS: ObjectIdentifier = oid("1.2.840.113549.1.9.1");
/// A mail address in UTF-8, which counts as a mail address: RFC 8398.
const SMTP_UTF8_MAILBOX: ObjectIdentifier = oid("1.3.6.1.5.5.7.8.9");

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::str::FromStr as _;

    use der::asn1::{Any, Ia5String};
    use x509_cert::ext::pkix::name::OtherName;

    use super::*;

    fn dns(name: &str) -> GeneralName {
        GeneralName::DnsName(Ia5String::new(name).unwrap())
    }

    fn email(name: &str) -> GeneralName {
        GeneralName::Rfc822Name(Ia5String::new(name).unwrap())
    }

    fn uri(name: &str) -> GeneralName {
        GeneralName::UniformResourceIdentifier(Ia5String::new(name).unwrap())
    }

    fn directory(name: &str) -> GeneralName {
        GeneralName::DirectoryName(Name::from_str(name).unwrap())
    }

    fn bytes(bytes: &[u8]) -> GeneralName {
        GeneralName::IpAddress(OctetString::new(bytes).unwrap())
    }

    fn other(type_id: ObjectIdentifier) -> GeneralName {
        let value = Any::new(Tag::Utf8String, b"x".as_slice()).unwrap();
        GeneralName::OtherName(OtherName { type_id, value })
    }

    fn subtree(base: &GeneralName) -> GeneralSubtree {
        GeneralSubtree {
            base: base.clone(),
            minimum: 0,
            maximum: None,
        }
    }

    fn constraints(permitted: &[GeneralSubtree], excluded: &[GeneralSubtree]) -> Constraints {
        let some = |trees: &[GeneralSubtree]| (!trees.is_empty()).then(|| trees.to_vec());
        let constraints = NameConstraints {
            permitted_subtrees: some(permitted),
            excluded_subtrees: some(excluded),
        };
        Constraints::new(&constraints).unwrap()
    }

    fn names(subject: &str, alternative: &[GeneralName]) -> SubjectNames {
        let subject = Name::from_str(subject).unwrap();
        let canonical = CanonicalName::new(&subject).unwrap();
        SubjectNames::new(&subject, &canonical, alternative).unwrap()
    }

    /// Checks `name` against `base`, permitted and excluded: `expected` says
    /// whether it lies in there, or what is wrong.
    fn check(name: &GeneralName, base: &GeneralName, expected: Result<bool, &str>) {
        let names = names("CN=subject", std::slice::from_ref(name));
        let base = subtree(base);
        let permitted = constraints(std::slice::from_ref(&base), &[]).check(&names, true);
        let excluded = constraints(&[], &[base]).check(&names, true);
        let case = format!("{name:?}: {permitted:?}, {excluded:?}");
        match expected {
            Ok(is_inside) => {
                assert_eq!(permitted.is_ok(), is_inside, "{case}");
                assert_eq!(excluded.is_ok(), !is_inside, "{case}");
            }
            Err(reason) => {
                assert!(permitted.unwrap_err().contains(reason), "{case}");
                assert!(excluded.unwrap_err().contains(reason), "{case}");
            }
        }
    }

    #[test]
    fn hosts_end_in_whole_labels() {
        let host = dns("www.Example.com");
        for (base, expected) in [
            ("", true),
            ("example.COM", true),
            (".example.com", true),
            ("www.example.com", true),
            ("ample.com", false),
            (".www.example.com", false),
            ("www.example.com.org", false),
        ] {
            check(&host, &dns(base), Ok(expected));
        }
    }

    #[test]
    fn mail_addresses_are_of_a_mailbox_a_host_or_a_domain() {
        let address = email("Me@mail.Example.com");
        for (base, expected) in [
            ("Me@mail.example.com", true),
            ("me@mail.example.com", false),
            ("@mail.example.com", true),
            ("mail.EXAMPLE.com", true),
            ("example.com", false),
            (".example.com", true),
            (".mail.example.com", false),
            ("", false),
        ] {
            check(&address, &email(base), Ok(expected));
        }
        check(&email("nobody"), &email("example.com"), Err("malformed"));
        check(&email("a\0@b.c"), &email("a\0@b.c"), Err("malformed"));
    }

    #[test]
    fn uris_have_a_host() {
        for (name, base, expected) in [
            ("https://Example.com", "example.com", true),
            ("https://example.com:80/a", "example.com", true),
            ("https://example.com/a:b", "example.com", true),
            ("https://www.example.com/", "example.com", false),
            ("https://www.example.com/", ".example.com", true),
            ("https://example.com/", ".example.com", false),
        ] {
            check(&uri(name), &uri(base), Ok(expected));
        }
        for name in [
            "mailto:a@b.c",
            "example.com",
            "https://",
            "https:///a",
            "https://a@example.com/",
            "https://[::1]/",
        ] {
            check(&uri(name), &uri("example.com"), Err("malformed"));
        }
    }

    #[test]
    fn addresses_lie_in_networks() {
        let v4 = |last| GeneralName::from(IpAddr::from(Ipv4Addr::new(10, 1, 2, last)));
        let net = [10, 1, 2, 3, 255, 255, 0, 255];
        check(&v4(3), &bytes(&net), Ok(true));
        check(&v4(4), &bytes(&net), Ok(false));
        let v6 = GeneralName::from(IpAddr::from(Ipv6Addr::LOCALHOST));
        check(&v6, &bytes(&net), Ok(false));
        check(&v6, &bytes(&[0; 32]), Ok(true));
        check(&v4(3), &bytes(&[0; 32]), Ok(false));
        check(&v4(3), &bytes(&[0; 4]), Err("malformed"));
        check(&bytes(&[1; 5]), &bytes(&net), Err("malformed"));
    }

    #[test]
    fn directory_names_lie_below_others() {
        let names = names("CN=a,O=B", &[directory("CN=c,O=d")]);
        let in_both = [subtree(&directory("O=b")), subtree(&directory("CN=c,O=D"))];
        constraints(&in_both, &[]).check(&names, true).unwrap();
        for one in in_both {
            let one = std::slice::from_ref(&one);
            assert!(constraints(one, &[]).check(&names, true).is_err());
            assert!(constraints(&[], one).check(&names, true).is_err());
        }
    }

    #[test]
    fn a_form_that_cannot_be_compared_refuses_where_it_occurs() {
        let id = GeneralName::RegisteredId(COMMON_NAME);
        check(&id, &id, Err("cannot be compared"));
        check(
            &other(COMMON_NAME),
            &other(COMMON_NAME),
            Err("cannot be compared"),
        );
        check(
            &other(SMTP_UTF8_MAILBOX),
            &email(".c"),
            Err("cannot be compared"),
        );
        let plain = names("CN=a", &[dns("b.c")]);
        for form in [&id, &other(COMMON_NAME)] {
            let subtrees = [subtree(form)];
            constraints(&subtrees, &subtrees)
                .check(&plain, true)
                .unwrap();
        }
    }

    #[test]
    fn a_minimum_or_maximum_refuses_where_it_matters() {
        for (minimum, maximum) in [(1, None), (0, Some(0)), (0, Some(9))] {
            let tree = [GeneralSubtree {
                base: dns("b.c"),
                minimum,
                maximum,
            }];
            for constraints in [constraints(&tree, &[]), constraints(&[], &tree)] {
                let of = |names: &SubjectNames| constraints.check(names, true);
                assert!(of(&names("CN=a", &[dns("b.c")])).is_err());
                assert!(of(&names("CN=a", &[email("b@b.c")])).is_ok());
            }
        }
    }

    #[test]
    fn common_names_of_signers_may_be_hosts() {
        let excluded = constraints(&[], &[subtree(&dns("b.c"))]);
        let check = |subject: &str, alternative: &[GeneralName], expected: bool| {
            let names = names(subject, alternative);
            assert_eq!(excluded.check(&names, true).is_ok(), expected, "{subject}");
            assert!(excluded.check(&names, false).is_ok(), "{subject}");
        };
        for host in ["a.b.c", "A.B.C", "b.c", "a_-1.b.c", "_.b.c"] {
            check(&format!("CN={host}"), &[], false);
            check(&format!("CN={host},CN=x"), &[], false);
            check(&format!("CN={host}"), &[email("a@b.d")], false);
            check(&format!("CN={host}"), &[dns("b.d")], true);
            check(&format!("O={host}"), &[], true);
        }
        for other in [
            "c", "-a.b.c", "a-.b.c", ".b.c", "a.b.c.", "a..b.c", "a b.c", "ä.b.c",
        ] {
            check(&format!("CN={other}"), &[], true);
        }
    }

    #[test]
    fn mail_addresses_may_be_in_the_subject() {
        let permitted = constraints(&[subtree(&email("b.c"))], &[]);
        let subject = |tag, address: &[u8]| {
            let mut parts = x509_cert::name::RdnSequence::from_str("CN=a").unwrap();
            let attribute = x509_cert::attr::AttributeTypeAndValue {
                oid: EMAIL_ADDRESS,
                value: Any::new(tag, address).unwrap(),
            };
            parts.push(vec![attribute].try_into().unwrap());
            let der = der::Encode::to_der(&parts).unwrap();
            let name = <Name as der::Decode<'_>>::from_der(&der).unwrap();
            let canonical = CanonicalName::new(&name).unwrap();
            SubjectNames::new(&name, &canonical, &[]).unwrap()
        };
        let check = |tag, address: &[u8]| permitted.check(&subject(tag, address), false);
        check(Tag::Ia5String, b"a@b.c").unwrap();
        assert!(check(Tag::Ia5String, b"a@c.b").is_err());
        assert!(check(Tag::Ia5String, b"b.c").is_err());
        assert!(check(Tag::Utf8String, b"a@b.c").is_err());
    }
}
