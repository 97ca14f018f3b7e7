//! Who a signature says has signed: signers, what they sign, and the certificates that come along.

use anyhow::Result;

use super::crew::{Crew, Edit, judge_edits};
use super::{Expected, Good, Refused, Round, Stricter, Table};
use crate::forge::certificate::Identity;
use crate::forge::der::{bits, element, int, octets, oid, sequence, set, tagged, tagged_bytes};
use crate::forge::key::{Digest, Scheme, attribute};
use crate::forge::signature::Attribute::{ContentType, MessageDigest, Other};
use crate::forge::signature::{
    Attribute, CONTENT_TYPE, DATA, MESSAGE_DIGEST, SPC_INDIRECT_DATA, SignedData, SignerInfo,
};

const MALFORMED: Expected = Stricter("Malformed signed attributes");
const UNKNOWN: &str = "1.2.3.4";

pub(super) fn rounds(crew: &Crew<'_>) -> Result<Vec<Round>> {
    let mut attributes = Round::new("attributes", crew.db());
    for (name, expected, list) in ATTRIBUTES {
        let mut data = crew.data(&crew.owner);
        data.signer().attributes = Some(list());
        attributes.judge(*name, *expected, crew.signed(&data)?);
    }
    let mut signers = Round::new("signers", crew.db());
    judge_edits(crew, &mut signers, SIGNERS)?;
    let mut sets = Round::new("certificates", crew.db());
    judge_edits(crew, &mut sets, CERTIFICATES)?;
    revocation_lists(crew, &mut sets)?;
    Ok(vec![attributes, signers, sets])
}

/// The attributes that the signer signs, in the content's place.
const ATTRIBUTES: Table<'static, fn() -> Vec<Attribute>> = &[
    ("none of them", Refused, Vec::new),
    ("no content type", Good, || vec![MessageDigest]),
    ("no message digest", Refused, || vec![ContentType]),
    ("in another order", Good, || {
        vec![MessageDigest, ContentType]
    }),
    ("content type data", Good, || {
        vec![typed(&oid(DATA)), MessageDigest]
    }),
    ("content type as text", MALFORMED, || {
        vec![typed(&octets(b"text")), MessageDigest]
    }),
    ("content type twice", MALFORMED, || {
        vec![ContentType, ContentType, MessageDigest]
    }),
    ("content type with two values", Refused, || {
        vec![
            typed(&[oid(SPC_INDIRECT_DATA), oid(DATA)].concat()),
            MessageDigest,
        ]
    }),
    ("a good digest, then another", MALFORMED, || {
        vec![ContentType, MessageDigest, digest(&octets(&[1; 32]))]
    }),
    ("another digest, then a good one", Refused, || {
        vec![ContentType, digest(&octets(&[1; 32])), MessageDigest]
    }),
    ("another digest", Refused, || {
        vec![ContentType, digest(&octets(&[1; 32]))]
    }),
    ("message digest without a value", Refused, || {
        vec![ContentType, digest(&[])]
    }),
    ("message digest as a number", Refused, || {
        vec![ContentType, digest(&element(2, &[&[1; 32]]))]
    }),
    ("unknown", Good, || {
        and(attribute(UNKNOWN, &octets(b"anything")))
    }),
    ("unknown without values", Good, || {
        and(attribute(UNKNOWN, &[]))
    }),
    ("with a sequence", Refused, || {
        and(sequence(&[&oid(UNKNOWN), &sequence(&[&int(1)])]))
    }),
    ("with an element behind", Refused, || {
        and(sequence(&[&oid(UNKNOWN), &set(&[&int(1)]), &int(1)]))
    }),
    ("without a type", Refused, || {
        and(sequence(&[&set(&[&int(1)])]))
    }),
    ("a number", Refused, || and(int(1))),
    ("forty", Good, || {
        let other = Other(attribute(UNKNOWN, &int(1)));
        [vec![ContentType, MessageDigest], vec![other; 40]].concat()
    }),
];

fn typed(value: &[u8]) -> Attribute {
    Other(attribute(CONTENT_TYPE, value))
}

fn digest(value: &[u8]) -> Attribute {
    Other(attribute(MESSAGE_DIGEST, value))
}

/// The usual attributes and another element.
fn and(element: Vec<u8>) -> Vec<Attribute> {
    vec![ContentType, MessageDigest, Other(element)]
}

/// How many signers there are, how they are named, and what becomes of their signatures.
const SIGNERS: Table<'static, Edit> = &[
    (
        "no attributes",
        Stricter("No signed attributes"),
        |_, data| {
            data.signer().attributes = None;
        },
    ),
    ("unsigned attributes", Good, |_, data| {
        let other = attribute("1.3.6.1.4.1.311.3.3.1", &octets(b"no time stamp"));
        data.signer().unsigned = tagged(1, &[&other]);
    }),
    ("empty unsigned attributes", Good, |_, data| {
        data.signer().unsigned = tagged(1, &[])
    }),
    ("a number for an unsigned attribute", Refused, |_, data| {
        data.signer().unsigned = tagged(1, &[&int(1)]);
    }),
    ("version 0", Good, |_, data| data.signer().version = 0),
    ("version 3", Good, |_, data| data.signer().version = 3),
    ("named by key", Refused, |crew, data| {
        data.signer().version = 3;
        data.signer().id = tagged_bytes(0, &crew.owner.key.id);
    }),
    ("another serial number", Refused, |crew, data| {
        data.signer().id = sequence(&[&crew.owner.issuer, &int(9)]);
    }),
    ("another issuer", Refused, |crew, data| {
        data.signer().id = sequence(&[&crew.stranger.issuer, &crew.owner.serial]);
    }),
    ("nobody", Refused, |_, data| data.signers.clear()),
    (
        "the owner twice",
        Stricter("Two signers in one signature"),
        |crew, data| {
            data.signers
                .push(SignerInfo::new(&crew.owner, Digest::Sha256));
        },
    ),
    ("the owner and a stranger", Refused, |crew, data| {
        data.certificates.push(crew.stranger.der.clone());
        data.signers
            .push(SignerInfo::new(&crew.stranger, Digest::Sha256));
    }),
    ("a stranger and the owner", Refused, |crew, data| {
        data.certificates.push(crew.stranger.der.clone());
        data.signers
            .insert(0, SignerInfo::new(&crew.stranger, Digest::Sha256));
    }),
    ("a stranger", Refused, |crew, data| {
        *data = crew.data(&crew.stranger)
    }),
    (
        "a stranger with the owner's certificate",
        Refused,
        |crew, data| {
            data.signer().key = crew.stranger.key.clone();
        },
    ),
    ("a flipped signature", Refused, |_, data| {
        data.signer().damage = |signature| signature.iter().map(|byte| byte ^ 1).collect();
    }),
    ("a signature cut short", Refused, |_, data| {
        data.signer().damage = |signature| signature.into_iter().skip(1).collect();
    }),
    ("a signature with a zero in front", Refused, |_, data| {
        data.signer().damage = |signature| [&[0], &*signature].concat();
    }),
    ("a signature with a tail", Refused, |_, data| {
        data.signer().damage = |signature| [&*signature, &[0]].concat();
    }),
    ("no signature", Refused, |_, data| {
        data.signer().damage = |_| Vec::new()
    }),
];

/// The list beside the signature: certificates, and elements that are none.
const CERTIFICATES: Table<'static, Edit> = &[
    ("none", Refused, |_, data| data.certificates.clear()),
    ("twice", Good, |crew, data| {
        data.certificates.push(crew.owner.der.clone())
    }),
    ("a stranger first", Good, |crew, data| {
        data.certificates.insert(0, crew.stranger.der.clone());
    }),
    ("30", Good, |crew, data| many(crew, data, 30)),
    ("100, over 64 KiB", Refused, |crew, data| {
        many(crew, data, 100)
    }),
    ("a number first", Refused, |_, data| {
        data.certificates.insert(0, int(1))
    }),
    ("a number behind", Refused, |_, data| {
        data.certificates.push(int(1))
    }),
    ("an empty sequence", Refused, |_, data| {
        data.certificates.push(sequence(&[]))
    }),
    ("octets", Refused, |_, data| {
        data.certificates.push(octets(&[7; 40]))
    }),
    ("an attribute certificate", Refused, |_, data| {
        data.certificates.push(tagged(1, &[&int(1)]));
    }),
    ("half a certificate", Refused, |crew, data| {
        data.certificates.push(sequence(&[&crew.stranger.tbs]));
    }),
    (
        "a certificate with an element behind",
        Refused,
        |crew, data| {
            let algorithm = Scheme::RsaPkcs1.identifier(Digest::Sha256);
            let parts = [&crew.stranger.tbs, &algorithm, &bits(&[7; 256]), &int(1)];
            data.certificates.push(sequence(&parts.map(Vec::as_slice)));
        },
    ),
    ("empty revocation lists", Good, |_, data| {
        data.crls = tagged(1, &[])
    }),
    ("a number for a revocation list", Refused, |_, data| {
        data.crls = tagged(1, &[&int(1)])
    }),
];

/// Certificates that differ, with signatures that do not fit: nobody should look.
fn many(crew: &Crew<'_>, data: &mut SignedData, count: u8) {
    let Identity { tbs, .. } = &crew.stranger;
    let algorithm = Scheme::RsaPkcs1.identifier(Digest::Sha256);
    let others = (1..count).map(|number| sequence(&[tbs, &algorithm, &bits(&[number; 256])]));
    data.certificates.extend(others);
}

/// Lists by which the owner revokes nobody, or itself.
fn revocation_lists(crew: &Crew<'_>, round: &mut Round) -> Result<()> {
    let time = element(0x17, &[b"240101000000Z"]);
    let algorithm = Scheme::RsaPkcs1.identifier(Digest::Sha256);
    let revoked = sequence(&[&sequence(&[&crew.owner.serial, &time])]);
    for (name, revoked) in [
        ("a revocation list", &Vec::new()),
        ("a revocation list with the signer", &revoked),
    ] {
        let tbs = sequence(&[&algorithm, &crew.owner.subject, &time, revoked]);
        let signature = crew.owner.key.sign(crew.stand, Digest::Sha256, &tbs)?;
        let mut data = crew.data(&crew.owner);
        data.crls = tagged(1, &[&sequence(&[&tbs, &algorithm, &bits(&signature)])]);
        round.judge(name, Good, crew.signed(&data)?);
    }
    Ok(())
}
