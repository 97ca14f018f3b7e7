//! The content of certificates on the way: the signer's, and the authority's above it.

use anyhow::Result;

use super::crew::{Crew, certificates};
use super::{Good, Refused, Round, Table, WEAK};
use crate::forge::certificate::{
    Content, Identity, authority, authority_key, extended_key_usage, extension, key_usage, name,
    no_authority, validity,
};
use crate::forge::der::{
    boolean, element, int, null, octets, oid, sequence, set, tagged, tagged_bytes,
};
use crate::forge::key::{Digest, Scheme};

/// An edit of what a certificate says.
pub(super) type Say = fn(&Crew<'_>, &mut Content);

const CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const POLICIES: &str = "2.5.29.32";
const UNKNOWN: &str = "1.2.3.4";
pub(super) const SERVER: &str = "1.3.6.1.5.5.7.3.1";
const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";

pub(super) fn rounds(crew: &Crew<'_>) -> Result<Vec<Round>> {
    let trusted = certificates(&[&crew.root]);
    let mut middles = Round::new("middle", trusted.clone());
    for (case, expected, says) in MIDDLE {
        let middle = crew.authority(&crew.middle, case, Some(&crew.root), |content| {
            says(crew, content);
        })?;
        let leaf = crew.signer(&crew.leaf, "leaf", Some(&middle), |_| ())?;
        middles.judge(*case, *expected, crew.chained(&leaf, &[&middle])?);
    }
    let mut leaves = Round::new("leaf", trusted.clone());
    for (case, expected, says) in LEAF {
        let leaf = crew.signer(&crew.leaf, "leaf", Some(&crew.middle), |content| {
            says(crew, content);
        })?;
        leaves.judge(*case, *expected, crew.chained(&leaf, &[&crew.middle])?);
    }
    Ok(vec![middles, leaves, issuers(crew, trusted)?])
}

/// Whose issuer is named in other words, or by its own issuer and number.
fn issuers(crew: &Crew<'_>, trusted: Vec<u8>) -> Result<Round> {
    let mut round = Round::new("issuer", trusted);
    let middle = &crew.middle;
    let by = |edit: &dyn Fn(&mut Content)| -> Result<_> {
        let leaf = crew.signer(&crew.leaf, "leaf", Some(middle), edit)?;
        crew.chained(&leaf, &[middle])
    };
    let printable = |text: &str| {
        let text = element(0x13, &[text.as_bytes()]);
        sequence(&[&set(&[&sequence(&[&oid("2.5.4.3"), &text])])])
    };
    for (case, expected, issuer) in [
        ("another", Refused, name("else")),
        ("in capitals", Good, name("MIDDLE")),
        ("with blanks", Good, name("  middle ")),
        ("of another type", Good, printable("middle")),
    ] {
        round.judge(
            case,
            expected,
            by(&|content| content.issuer.clone_from(&issuer))?,
        );
    }
    let serial = middle.serial.get(2..).unwrap_or_default();
    let id = |issuer: &Identity, serial: &[u8]| authority_key(&[], &issuer.subject, serial);
    for (case, expected, identifier) in [
        ("by certificate", Good, id(&crew.root, serial)),
        ("by another number", Refused, id(&crew.root, &[9, 9])),
        ("by another name", Refused, id(&crew.stranger, serial)),
        ("by some key", Good, authority_key(&[7; 20], &[], &[])),
        ("by nothing", Good, authority_key(&[], &[], &[])),
        (
            "by nonsense",
            Refused,
            extension("2.5.29.35", false, &octets(b"x")),
        ),
    ] {
        round.judge(
            case,
            expected,
            by(&|content| content.add(identifier.clone()))?,
        );
    }
    Ok(round)
}

/// A critical extension with this value.
fn critical(content: &mut Content, kind: &str, value: &[u8]) {
    content.add(extension(kind, true, value));
}

/// `certificatePolicies` with a policy that nobody knows.
fn policies() -> Vec<u8> {
    sequence(&[&sequence(&[&oid("1.2.3")])])
}

const MIDDLE: Table<'static, Say> = &[
    ("as it is", Good, |_, _| ()),
    ("without extensions", Refused, |_, c| c.extensions.clear()),
    ("of version 1", Refused, |_, c| {
        c.extensions.clear();
        c.version.clear();
    }),
    ("no authority", Refused, |_, c| {
        c.extensions = vec![no_authority()]
    }),
    ("not critical", Good, |_, c| {
        let value = sequence(&[&boolean(true)]);
        c.extensions = vec![extension(CONSTRAINTS, false, &value)];
    }),
    ("path 0", Good, |_, c| {
        c.extensions = vec![authority(Some(0))]
    }),
    ("path -1", Refused, |_, c| {
        let value = sequence(&[&boolean(true), &element(2, &[&[0xff]])]);
        c.extensions = vec![extension(CONSTRAINTS, true, &value)];
    }),
    ("broken constraints", Refused, |_, c| {
        c.extensions = vec![extension(CONSTRAINTS, true, &octets(b"x"))];
    }),
    ("may sign certificates", Good, |_, c| c.add(key_usage(0x04))),
    ("may not sign certificates", Refused, |_, c| {
        c.add(key_usage(0x80))
    }),
    ("for servers", Good, |_, c| {
        c.add(extended_key_usage(false, &[SERVER]))
    }),
    ("unknown critical", Refused, |_, c| {
        critical(c, UNKNOWN, &null())
    }),
    ("unknown", Good, |_, c| {
        c.add(extension(UNKNOWN, false, &null()))
    }),
    ("critical policies", Good, |_, c| {
        critical(c, POLICIES, &policies())
    }),
    ("policy constraints", Good, |_, c| {
        critical(c, "2.5.29.36", &sequence(&[&tagged_bytes(0, &[0])]));
    }),
    ("inhibits any policy", Good, |_, c| {
        critical(c, "2.5.29.54", &int(0))
    }),
    ("expired", Good, |_, c| {
        c.validity = validity("100101000000Z", "110101000000Z")
    }),
    ("by sha1", WEAK, |crew, c| {
        c.signed_by(&crew.root.key, Digest::Sha1)
    }),
    ("by md5", WEAK, |crew, c| {
        c.signed_by(&crew.root.key, Digest::Md5)
    }),
    ("by sha512", Good, |crew, c| {
        c.signed_by(&crew.root.key, Digest::Sha512)
    }),
    ("by two names", Refused, |_, c| {
        c.algorithm = Scheme::RsaPkcs1.identifier(Digest::Sha512);
    }),
    ("serial 0", Good, |_, c| c.serial = int(0)),
];

const LEAF: Table<'static, Say> = &[
    ("of version 1", Good, |_, c| c.version.clear()),
    ("of version 2", Good, |_, c| {
        c.version = tagged(0, &[&int(1)])
    }),
    ("of version 4", Good, |_, c| {
        c.version = tagged(0, &[&int(3)])
    }),
    ("an authority", Good, |_, c| c.add(authority(None))),
    ("no authority", Good, |_, c| c.add(no_authority())),
    ("a path without authority", Good, |_, c| {
        critical(c, CONSTRAINTS, &sequence(&[&int(0)]));
    }),
    ("may sign", Good, |_, c| c.add(key_usage(0x80))),
    ("may encipher", Good, |_, c| c.add(key_usage(0x20))),
    ("of no usage", Good, |_, c| {
        critical(c, KEY_USAGE, &element(3, &[&[0]]))
    }),
    ("of broken usage", Refused, |_, c| {
        critical(c, KEY_USAGE, &octets(b"x"))
    }),
    ("for code", Good, |_, c| {
        c.add(extended_key_usage(true, &[CODE_SIGNING]))
    }),
    ("for servers", Good, |_, c| {
        c.add(extended_key_usage(true, &[SERVER]))
    }),
    ("of broken purpose", Refused, |_, c| {
        c.add(extension("2.5.29.37", false, &octets(b"x")));
    }),
    ("unknown critical", Refused, |_, c| {
        critical(c, UNKNOWN, &null())
    }),
    ("unknown", Good, |_, c| {
        c.add(extension(UNKNOWN, false, &null()))
    }),
    ("the same twice", Refused, |_, c| {
        c.add(no_authority());
        c.add(no_authority());
    }),
    ("the same unknown twice", Good, |_, c| {
        c.add(extension(UNKNOWN, false, &null()));
        c.add(extension(UNKNOWN, false, &null()));
    }),
    ("critical policies", Good, |_, c| {
        critical(c, POLICIES, &policies())
    }),
    ("broken policies", Good, |_, c| {
        critical(c, POLICIES, &octets(b"x"))
    }),
    ("critical distribution points", Good, |_, c| {
        let uri = tagged_bytes(6, b"http://example.org/crl");
        let point = sequence(&[&tagged(0, &[&tagged(0, &[&uri])])]);
        critical(c, "2.5.29.31", &sequence(&[&point]));
    }),
    ("critical information", Refused, |_, c| {
        let uri = tagged_bytes(6, b"http://example.org/ca");
        let access = sequence(&[&oid("1.3.6.1.5.5.7.48.2"), &uri]);
        critical(c, "1.3.6.1.5.5.7.1.1", &sequence(&[&access]));
    }),
    ("critical names", Good, |_, c| {
        let value = sequence(&[&tagged_bytes(2, b"example.org")]);
        critical(c, "2.5.29.17", &value);
    }),
    ("broken names", Refused, |_, c| {
        c.add(extension("2.5.29.17", false, &octets(b"x")))
    }),
    ("broken key identifier", Refused, |_, c| {
        c.add(extension("2.5.29.14", false, &int(1)))
    }),
    ("expired", Good, |_, c| {
        c.validity = validity("100101000000Z", "110101000000Z")
    }),
    ("not yet valid", Good, |_, c| {
        c.validity = validity("450101000000Z", "480101000000Z")
    }),
    ("valid backwards", Good, |_, c| {
        c.validity = validity("300101000000Z", "200101000000Z")
    }),
    ("a long year", Good, |_, c| {
        let time = |text: &[u8]| element(0x18, &[text]);
        c.validity = sequence(&[&time(b"20200101000000Z"), &time(b"20400101000000Z")]);
    }),
    ("no seconds", Good, |_, c| {
        c.validity = validity("2001010000Z", "4001010000Z")
    }),
    ("a time zone", Good, |_, c| {
        c.validity = validity("200101000000+0100", "400101000000+0100");
    }),
    ("month 13", Good, |_, c| {
        c.validity = validity("201301000000Z", "401301000000Z")
    }),
    ("no time", Good, |_, c| c.validity = validity("x", "y")),
    ("no validity", Refused, |_, c| c.validity = sequence(&[])),
    ("serial 0", Good, |_, c| c.serial = int(0)),
    ("serial negative", Good, |_, c| {
        c.serial = element(2, &[&[0x80, 1]])
    }),
    ("serial of 21 bytes", Good, |_, c| {
        c.serial = element(2, &[&[7; 21]])
    }),
    ("serial of 100 bytes", Good, |_, c| {
        c.serial = element(2, &[&[7; 100]])
    }),
    ("serial with a zero in front", Refused, |_, c| {
        c.serial = element(2, &[&[0, 7, 7]])
    }),
    ("serial of no bytes", Refused, |_, c| {
        c.serial = element(2, &[])
    }),
    ("no subject", Good, |_, c| c.subject = sequence(&[])),
    ("by sha1", WEAK, |crew, c| {
        c.signed_by(&crew.middle.key, Digest::Sha1)
    }),
    ("by sha384", Good, |crew, c| {
        c.signed_by(&crew.middle.key, Digest::Sha384)
    }),
    ("by two names", Refused, |_, c| {
        c.algorithm = Scheme::RsaPkcs1.identifier(Digest::Sha384);
    }),
];
