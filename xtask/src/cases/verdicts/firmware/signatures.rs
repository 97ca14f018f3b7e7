//! The content of a signature: algorithms, contents, attributes, certificates, signers, encodings.

use anyhow::{Context, Result};

use super::crew::{Crew, Edit, certificates, judge_edits};
use super::{Expected, Good, Newer, Refused, Round, Stricter, Table, WEAK};
use crate::forge::certificate::Identity;
use crate::forge::der::{element, extent, int, null, octets, oid, sequence, set, tagged};
use crate::forge::key::{Digest, Key, Scheme};
use crate::forge::signature::{DATA, SIGNED_DATA, SignedData, Spc};

const SPC: Expected = Stricter("SpcIndirectDataContent");
const WRONG_SCHEME: Expected = Stricter("Signature algorithm");

pub(super) fn rounds(crew: &Crew<'_>) -> Result<Vec<Round>> {
    Ok(vec![
        keys(crew)?,
        digests(crew)?,
        contents(crew)?,
        encodings(crew)?,
    ])
}

/// Kinds of keys, each trusted itself; those on elliptic curves by the root, since this firmware
/// takes no other keys than RSA into its lists.
fn keys(crew: &Crew<'_>) -> Result<Round> {
    let stand = crew.stand;
    let mut signers = Vec::new();
    for (name, expected, bits) in [
        ("rsa-1024", Good, 1024),
        ("rsa-2048", Good, 2048),
        ("rsa-2056", Good, 2056),
        ("rsa-3072", Good, 3072),
        ("rsa-4096", Good, 4096),
        ("rsa-8192", Good, 8192),
    ] {
        signers.push((name, expected, Key::rsa(stand, name, bits)?));
    }
    let exponent = Key::rsa_exponent_3(stand, "exponent-3")?;
    signers.push(("exponent 3", Good, exponent));
    let pss = crew.owner.key.with_scheme(Scheme::RsaPss);
    signers.push(("pss", Newer("RSASSA-PSS"), pss));
    let mut trusted = vec![];
    let mut images = vec![];
    for (name, expected, key) in signers {
        let signer = Identity::signer(stand, &key, name, None, |content| {
            content.signed_by(&key, Digest::Sha256);
        })?;
        images.push((name, expected, crew.chained(&signer, &[])?));
        trusted.push(signer);
    }
    for (name, curve) in [("p-256", "P-256"), ("p-384", "P-384"), ("p-521", "P-521")] {
        let key = Key::ec(stand, name, curve)?;
        let signer = Identity::signer(stand, &key, name, Some(&crew.root), |_| ())?;
        let expected = if name == "p-521" {
            Refused
        } else {
            Newer("ECDSA")
        };
        images.push((name, expected, crew.chained(&signer, &[])?));
    }
    trusted.push(crew.root.clone());
    let trusted: Vec<&Identity> = trusted.iter().collect();
    let mut round = Round::new("keys", certificates(&trusted));
    for (name, expected, image) in images {
        round.judge(name, expected, image);
    }
    Ok(round)
}

/// Which digests are used where: for the image, by the signer, and in front.
fn digests(crew: &Crew<'_>) -> Result<Round> {
    use Digest::{Md5, Sha1, Sha224, Sha256, Sha384, Sha512};

    let mut round = Round::new("digests", crew.db());
    let all = [Md5, Sha1, Sha224, Sha256, Sha384, Sha512];
    for image in all {
        for signer in all {
            let is_known = [Sha256, Sha384, Sha512].contains(&image);
            let expected = match (image == signer, is_known) {
                (true, true) => Good,
                (true, false) if image == Sha1 => WEAK,
                _ => Refused,
            };
            let data = SignedData::new(&crew.spc_by(image)?, &crew.owner, signer);
            let name = format!("image {} signer {}", image.name(), signer.name());
            round.judge(name, expected, crew.signed(&data)?);
        }
    }
    // The algorithms announced in front, where the image's digest and the signer's are SHA-256.
    let announced: Table<'_, &[&[u8]]> = &[
        ("nothing", Refused, &[]),
        ("another", Refused, &[&Sha512.identifier()]),
        ("one that is broken", Refused, &[&Md5.identifier()]),
        (
            "another first",
            Refused,
            &[&Sha384.identifier(), &Sha256.identifier()],
        ),
        (
            "a weak one first",
            Refused,
            &[&Sha1.identifier(), &Sha256.identifier()],
        ),
        (
            "another behind",
            Good,
            &[&Sha256.identifier(), &Sha512.identifier()],
        ),
        (
            "a weak one behind",
            Good,
            &[&Sha256.identifier(), &Sha1.identifier()],
        ),
        ("twice", Good, &[&Sha256.identifier(), &Sha256.identifier()]),
        ("without NULL", Good, &[&sequence(&[&oid(Sha256.oid())])]),
        (
            "an unknown one behind",
            Refused,
            &[&Sha256.identifier(), &sequence(&[&oid("1.2.3")])],
        ),
        (
            "no algorithm behind",
            Refused,
            &[&Sha256.identifier(), &int(1)],
        ),
    ];
    for (name, expected, algorithms) in announced {
        let mut data = crew.data(&crew.owner);
        data.digest_algorithms = algorithms.iter().map(|one| one.to_vec()).collect();
        round.judge(format!("announced {name}"), *expected, crew.signed(&data)?);
    }
    let named: Table<'_, Vec<u8>> = &[
        ("sha256", Good, Scheme::RsaPkcs1.identifier(Sha256)),
        ("sha384", WRONG_SCHEME, Scheme::RsaPkcs1.identifier(Sha384)),
        ("pss", WRONG_SCHEME, Scheme::RsaPss.identifier(Sha256)),
        ("unknown", WRONG_SCHEME, sequence(&[&oid("1.2.3.4")])),
        (
            "without NULL",
            Good,
            sequence(&[&oid("1.2.840.113549.1.1.1")]),
        ),
    ];
    for (name, expected, identifier) in named {
        let mut data = crew.data(&crew.owner);
        data.signer().signature_algorithm.clone_from(identifier);
        round.judge(
            format!("signature by {name}"),
            *expected,
            crew.signed(&data)?,
        );
    }
    Ok(round)
}

/// The signed content: the type, the digest, and their wrapping.
fn contents(crew: &Crew<'_>) -> Result<Round> {
    let mut round = Round::new("contents", crew.db());
    let spc: Table<'_, fn(&mut Spc)> = &[
        ("individual signing", Good, |spc| {
            spc.kind = "1.3.6.1.4.1.311.2.1.21"
        }),
        ("signature info", SPC, |spc| {
            spc.kind = "1.3.6.1.4.1.311.2.1.30"
        }),
        ("no value", Good, |spc| spc.value.clear()),
        ("null value", Good, |spc| spc.value = null()),
        ("empty value", Good, |spc| spc.value = sequence(&[])),
        ("octets for a value", Good, |spc| spc.value = octets(b"x")),
        ("a long value", Good, |spc| {
            spc.value = sequence(&[&element(3, &[&[0]]), &octets(&[7; 200])]);
        }),
        ("algorithm without NULL", Good, |spc| {
            spc.digest_algorithm = sequence(&[&oid(Digest::Sha256.oid())]);
        }),
        ("algorithm that lies", SPC, |spc| {
            spc.digest_algorithm = Digest::Sha1.identifier();
        }),
        ("another digest", Refused, |spc| spc.digest[3] ^= 1),
        ("a digest cut short", Refused, |spc| spc.digest.truncate(31)),
        ("a digest with a tail", Refused, |spc| spc.digest.push(0)),
        ("a digest with a head", SPC, |spc| spc.digest.insert(0, 0)),
        ("no digest", Refused, |spc| spc.digest.clear()),
    ];
    for (name, expected, edit) in spc {
        let mut spc = crew.spc();
        edit(&mut spc);
        let data = SignedData::new(&spc, &crew.owner, Digest::Sha256);
        round.judge(*name, *expected, crew.signed(&data)?);
    }
    let edits: Table<'_, Edit> = &[
        ("content type data", Refused, |_, data| {
            data.content_type = DATA
        }),
        ("content type unknown", Refused, |_, data| {
            data.content_type = "1.3.6.1.4.1.311.2.1.5"
        }),
        ("detached", Refused, |_, data| data.is_detached = true),
        ("content in octets", Refused, |_, data| {
            data.content = octets(&data.content)
        }),
        ("content as octets", Refused, |_, data| data.content[0] = 4),
        ("an element behind the content", Refused, |_, data| {
            data.content = sequence(&[data.signed_content(), &int(1)]);
        }),
        ("an element in front of the content", SPC, |_, data| {
            data.content = sequence(&[&int(1), data.signed_content()]);
        }),
        ("a wrong outer type", Refused, |_, data| data.kind = DATA),
        ("enveloped", Refused, |_, data| {
            data.kind = "1.2.840.113549.1.7.3"
        }),
        ("signed and enveloped", Refused, |_, data| {
            data.kind = "1.2.840.113549.1.7.4"
        }),
    ];
    judge_edits(crew, &mut round, edits)?;
    for version in 0..6 {
        let mut data = crew.data(&crew.owner);
        data.version = version;
        round.judge(format!("version {version}"), Good, crew.signed(&data)?);
    }
    Ok(round)
}

/// The same signature in other words: longer lengths, no lengths, less around it.
fn encodings(crew: &Crew<'_>) -> Result<Round> {
    let mut round = Round::new("encodings", crew.db());
    let data = crew.data(&crew.owner);
    let bare = data.bare(crew.stand)?;
    let kind = oid(SIGNED_DATA);
    let whole = sequence(&[&kind, &tagged(0, &[&bare])]);
    let (start, end) = extent(&whole).context("no signature")?;
    let inside = whole.get(start..end).context("no signature")?;
    let (bare_start, bare_end) = extent(&bare).context("no signature")?;
    let bare_inside = bare.get(bare_start..bare_end).context("no signature")?;
    let long = |tag: u8, content: &[u8], bytes: usize| {
        let len = content.len().to_be_bytes();
        [&[tag, 0x80 | bytes as u8], &len[8 - bytes..], content].concat()
    };
    let open = |tag: u8, content: &[u8]| [&[tag, 0x80], content, &[0, 0]].concat();
    let wrapped = |bare: &[u8]| sequence(&[&kind, &tagged(0, &[bare])]);
    for (name, expected, pkcs7) in [
        ("as it is", Good, whole.clone()),
        ("outer length of 3 bytes", Refused, long(0x30, inside, 3)),
        ("outer length of 4 bytes", Refused, long(0x30, inside, 4)),
        (
            "inner length of 3 bytes",
            Refused,
            wrapped(&long(0x30, bare_inside, 3)),
        ),
        (
            "tag length of 3 bytes",
            Refused,
            sequence(&[&kind, &long(0xa0, &bare, 3)]),
        ),
        ("outer length left open", Refused, open(0x30, inside)),
        (
            "inner length left open",
            Refused,
            wrapped(&open(0x30, bare_inside)),
        ),
        (
            "tag length left open",
            Refused,
            sequence(&[&kind, &open(0xa0, &bare)]),
        ),
        ("SignedData alone", Refused, bare.clone()),
        (
            "an element behind SignedData",
            Refused,
            sequence(&[&kind, &tagged(0, &[&bare, &int(1)])]),
        ),
        (
            "an element behind its tag",
            Refused,
            sequence(&[&kind, &tagged(0, &[&bare]), &int(1)]),
        ),
        (
            "an element in SignedData",
            Refused,
            wrapped(&sequence(&[bare_inside, &int(1)])),
        ),
        (
            "cut short",
            Refused,
            whole.get(..whole.len() - 1).unwrap_or_default().to_vec(),
        ),
        (
            "half",
            Refused,
            whole.get(..whole.len() / 2).unwrap_or_default().to_vec(),
        ),
        ("nothing", Refused, Vec::new()),
        ("zeros", Refused, vec![0; 600]),
        (
            "a set outside",
            Refused,
            set(&[&kind, &tagged(0, &[&bare])]),
        ),
    ] {
        round.judge(name, expected, crew.carrying(&pkcs7)?);
    }
    Ok(round)
}
