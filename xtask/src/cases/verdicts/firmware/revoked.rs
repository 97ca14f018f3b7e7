//! Certificates in `dbx`: in whatever form, and whichever signature of an image they concern.

use anyhow::{Context, Result};

use super::crew::{Crew, certificates};
use super::{Expected, Good, Newer, Refused, Round, Stricter, Table};
use crate::forge::certificate::{Content, Identity, extension, validity};
use crate::forge::der::{bits, element, extent, int, octets, sequence};
use crate::forge::image::{Image, entry};
use crate::forge::key::{Digest, Key, Scheme};
use crate::forge::list;
use crate::forge::signature::{Attribute, SignedData};

pub(super) fn rounds(crew: &Crew<'_>) -> Result<Vec<Round>> {
    let mut rounds = forms(crew)?;
    rounds.extend(places(crew)?);
    rounds.push(second(crew)?);
    rounds.push(with_elliptic_curves(crew)?);
    Ok(rounds)
}

const SECOND: Expected = Stricter("A second signature by somebody revoked");

/// Since when: at once, and from 2021 on.
const ALWAYS: [u8; 16] = [0; 16];
const SINCE_2021: [u8; 16] = [0xe5, 7, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The owner's certificate, in every form.
fn forms(crew: &Crew<'_>) -> Result<Vec<Round>> {
    let image = crew.chained(&crew.owner, &[])?;
    let owner = &crew.owner;
    let digest = |digest: Digest| digest.of(crew.stand, &owner.tbs);
    let whole = Digest::Sha256.of(crew.stand, &owner.der)?;
    let resigned = crew.signer(owner, "owner", None, |content| {
        content.signed_by(&owner.key, Digest::Sha512);
    })?;
    let cases: Vec<(&str, Expected, Vec<u8>)> = vec![
        ("nothing", Good, vec![]),
        ("the certificate", Refused, list::certificate(&owner.der)),
        (
            "with a byte behind",
            Refused,
            list::certificate(&[&*owner.der, &[0]].concat()),
        ),
        (
            "with junk behind",
            Refused,
            list::certificate(&[&*owner.der, b"junk!"].concat()),
        ),
        (
            "twice in one",
            Refused,
            list::certificate(&[&*owner.der, &owner.der].concat()),
        ),
        (
            "with another behind",
            Refused,
            list::certificate(&[&*owner.der, &crew.stranger.der].concat()),
        ),
        (
            "behind another",
            Good,
            list::certificate(&[&*crew.stranger.der, &owner.der].concat()),
        ),
        (
            "its tbs by sha256",
            Refused,
            list::tbs(Digest::Sha256, &digest(Digest::Sha256)?, ALWAYS),
        ),
        (
            "its tbs by sha384",
            Refused,
            list::tbs(Digest::Sha384, &digest(Digest::Sha384)?, ALWAYS),
        ),
        (
            "its tbs by sha512",
            Refused,
            list::tbs(Digest::Sha512, &digest(Digest::Sha512)?, ALWAYS),
        ),
        (
            "its tbs since 2021",
            Refused,
            list::tbs(Digest::Sha256, &digest(Digest::Sha256)?, SINCE_2021),
        ),
        (
            "a hash of all of it",
            Good,
            list::tbs(Digest::Sha256, &whole, ALWAYS),
        ),
        (
            "its tbs as an image",
            Good,
            list::image(Digest::Sha256, &digest(Digest::Sha256)?),
        ),
        (
            "another of the same key",
            Stricter("A revoked certificate with the signer's own name and key"),
            list::certificate(&resigned.der),
        ),
        ("somebody else", Good, list::certificate(&crew.stranger.der)),
        (
            "somebody else, then it",
            Refused,
            certificates(&[&crew.stranger, owner]),
        ),
    ];
    let mut rounds = Vec::new();
    for (name, expected, dbx) in cases {
        let mut round = Round::new(name, crew.db()).revoking(dbx);
        round.judge("owner", expected, image.clone());
        rounds.push(round);
    }
    rounds.extend(odd_certificates(crew)?);
    Ok(rounds)
}

/// Certificates that some readers give up on: each is trusted by its issuer, and revoked.
fn odd_certificates(crew: &Crew<'_>) -> Result<Vec<Round>> {
    type Say = fn(&mut Content);
    let cases: &[(&str, Say)] = &[
        ("serial of 21 bytes", |content| {
            content.serial = element(2, &[&[7; 21]])
        }),
        ("serial of 100 bytes", |content| {
            content.serial = element(2, &[&[7; 100]])
        }),
        ("of 17 KiB", |content| {
            let value = octets(&[7; 17 << 10]);
            content.extensions.push(extension("1.2.3.4", false, &value));
        }),
        ("of no validity to speak of", |content| {
            content.validity = validity("x", "y")
        }),
    ];
    let mut rounds = Vec::new();
    for (name, edit) in cases {
        let signer = crew.signer(&crew.leaf, name, Some(&crew.root), *edit)?;
        let image = crew.chained(&signer, &[])?;
        let second = {
            let good = entry(&crew.pkcs7(&crew.owner)?);
            let bad = entry(&crew.pkcs7(&signer)?);
            crew.image.with_table(&[good, bad].concat())?
        };
        let mut round = Round::new(*name, crew.db()).revoking(certificates(&[&signer]));
        round.judge("alone", Refused, image);
        round.judge("second", Refused, second);
        rounds.push(round);
    }
    Ok(rounds)
}

/// Who of a chain is revoked: who is trusted, and what is in `dbx`.
fn places(crew: &Crew<'_>) -> Result<Vec<Round>> {
    let Crew {
        root, middle, leaf, ..
    } = crew;
    let stranger = &crew.stranger;
    let hash = |who: &Identity| -> Result<Vec<u8>> {
        let digest = Digest::Sha256.of(crew.stand, &who.tbs)?;
        Ok(list::tbs(Digest::Sha256, &digest, ALWAYS))
    };
    let whole = |who: &Identity| Ok(certificates(&[who]));
    let chain = &[("chain", &[middle][..])];
    let both = &[("chain", &[middle][..]), ("with the root", &[middle, root])];
    let idle = &[("with a stranger", &[middle, stranger][..])];
    type Case<'a> = (
        &'a str,
        &'a Identity,
        Result<Vec<u8>>,
        Expected,
        &'a [(&'a str, &'a [&'a Identity])],
    );
    let cases: Vec<Case<'_>> = vec![
        ("leaf", root, whole(leaf), Refused, both),
        ("leaf's tbs", root, hash(leaf), Refused, both),
        ("middle", root, whole(middle), Refused, both),
        (
            "middle's tbs",
            root,
            hash(middle),
            Stricter("Hash of an issuer"),
            chain,
        ),
        ("root", root, whole(root), Refused, both),
        ("root's tbs", root, hash(root), Refused, both),
        ("root above the middle", middle, whole(root), Refused, both),
        (
            "root's tbs above the middle",
            middle,
            hash(root),
            Good,
            chain,
        ),
        ("middle above the leaf", leaf, whole(middle), Refused, both),
        (
            "stranger's tbs above the leaf",
            leaf,
            hash(stranger),
            Good,
            chain,
        ),
        ("an idle stranger", root, whole(stranger), Good, idle),
        ("an idle stranger's tbs", root, hash(stranger), Good, idle),
    ];
    let mut rounds = Vec::new();
    for (name, trusted, dbx, expected, images) in cases {
        let round = Round::new(format!("revoked {name}"), certificates(&[trusted]));
        let mut round = round.revoking(dbx?);
        for (name, along) in images {
            round.judge(*name, expected, crew.chained(leaf, along)?);
        }
        rounds.push(round);
    }
    Ok(rounds)
}

/// A good signature, and a second one by somebody revoked: whatever is odd about that one.
fn second(crew: &Crew<'_>) -> Result<Round> {
    let stand = crew.stand;
    let revoked = Key::rsa(stand, "revoked", 2048)?;
    let mut signers = vec![];
    let mut images: Vec<(String, Expected, Image)> = vec![];
    let good = entry(&crew.pkcs7(&crew.owner)?);
    for (name, key) in [
        ("rsa 2048", revoked.clone()),
        ("rsa 1024", Key::rsa(stand, "revoked-1024", 1024)?),
        ("rsa 8192", Key::rsa(stand, "revoked-8192", 8192)?),
    ] {
        let signer = Identity::signer(stand, &key, &format!("revoked {name}"), None, |_| ())?;
        let bad = entry(&crew.pkcs7(&signer)?);
        for (order, table) in [
            ("behind", [&*good, &bad].concat()),
            ("first", [&*bad, &good].concat()),
        ] {
            images.push((
                format!("{name} {order}"),
                Refused,
                crew.image.with_table(&table)?,
            ));
        }
        signers.push(signer);
    }
    let signer = signers.first().context("nobody")?.clone();
    let edits: Table<'_, fn(&mut SignedData)> = &[
        ("sha1 by the signer", SECOND, |data| {
            data.signer().digest = Digest::Sha1;
            data.signer().digest_algorithm = Digest::Sha1.identifier();
        }),
        ("version 3", Refused, |data| data.version = 3),
        ("no attributes", Refused, |data| {
            data.signer().attributes = None
        }),
        ("a doubled attribute", Refused, |data| {
            data.signer().attributes = Some(vec![
                Attribute::ContentType,
                Attribute::ContentType,
                Attribute::MessageDigest,
            ]);
        }),
        ("a wrong digest", SECOND, |data| {
            let at = data.content.len() - 1;
            data.content[at] ^= 1;
        }),
        ("a flipped signature", SECOND, |data| {
            data.signer().damage = |mut signature| {
                signature[3] ^= 1;
                signature
            };
        }),
        ("a number among certificates", Refused, |data| {
            data.certificates.push(int(1))
        }),
        ("thirty certificates", Refused, |data| {
            let own = data.certificates[0].clone();
            data.certificates = vec![own; 30];
        }),
        ("signed as sha384", Refused, |data| {
            let named = Scheme::RsaPkcs1.identifier(Digest::Sha384);
            data.signer().signature_algorithm = named;
        }),
    ];
    for (name, expected, edit) in edits {
        let mut data = crew.data(&signer);
        edit(&mut data);
        let table = [&*good, &entry(&data.der(stand)?)].concat();
        images.push((
            (*name).to_owned(),
            *expected,
            crew.image.with_table(&table)?,
        ));
    }
    for digest in [Digest::Sha1, Digest::Sha384, Digest::Sha512] {
        let data = SignedData::new(&crew.spc_by(digest)?, &signer, digest);
        let table = [&*good, &entry(&data.der(stand)?)].concat();
        let name = format!("all {}", digest.name());
        images.push((name, Refused, crew.image.with_table(&table)?));
    }
    let mut spc = crew.spc();
    spc.kind = "1.3.6.1.4.1.311.2.1.21";
    let data = SignedData::new(&spc, &signer, Digest::Sha256);
    let table = [&*good, &entry(&data.der(stand)?)].concat();
    images.push((
        "individual signing".into(),
        Refused,
        crew.image.with_table(&table)?,
    ));
    let signers: Vec<&Identity> = signers.iter().collect();
    let mut round = Round::new("second", crew.db()).revoking(certificates(&signers));
    for (name, expected, image) in images {
        round.judge(name, expected, image);
    }
    Ok(round)
}

/// An issuer on an elliptic curve can be made to have signed something else: s and n - s are as
/// good. The certificate is the same.
fn with_elliptic_curves(crew: &Crew<'_>) -> Result<Round> {
    let stand = crew.stand;
    let key = Key::ec(stand, "curve", "P-256")?;
    let issuer = Identity::authority(stand, &key, "curve", Some(&crew.root), |_| ())?;
    let leaf = crew.signer(&crew.leaf, "leaf", Some(&issuer), |content| {
        content.signed_by(&key, Digest::Sha256);
    })?;
    let other = crew.signer(&crew.middle, "other", Some(&issuer), |content| {
        content.signed_by(&key, Digest::Sha256);
    })?;
    let mut flipped = leaf.clone();
    flipped.der = flip_s(&leaf).context("no signature")?;
    let mut round =
        Round::new("curves", certificates(&[&crew.root])).revoking(certificates(&[&leaf]));
    round.judge("as it was", Refused, crew.chained(&leaf, &[&issuer])?);
    round.judge("flipped", Refused, crew.chained(&flipped, &[&issuer])?);
    round.judge("another", Newer("ECDSA"), crew.chained(&other, &[&issuer])?);
    Ok(round)
}

/// The certificate with n - s in place of s in its issuer's signature, on the curve P-256.
fn flip_s(certificate: &Identity) -> Option<Vec<u8>> {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (start, end) = extent(&certificate.der)?;
    let inside = certificate.der.get(start..end)?;
    let behind_tbs = inside.get(certificate.tbs.len()..)?;
    let algorithm = behind_tbs.get(..extent(behind_tbs)?.1)?;
    let signature = behind_tbs.get(algorithm.len()..)?;
    // BIT STRING, no unused bits, SEQUENCE of r and s.
    let pair = signature.get(extent(signature)?.0 + 1..)?;
    let r = pair.get(extent(pair)?.0..)?;
    let r = r.get(..extent(r)?.1)?;
    let s = pair.get(extent(pair)?.0 + r.len()..)?;
    let s = s.get(extent(s)?.0..extent(s)?.1)?;
    let mut difference = N.to_vec();
    let mut borrow = false;
    for (index, byte) in difference.iter_mut().rev().enumerate() {
        let other = index
            .checked_add(1)
            .and_then(|back| s.len().checked_sub(back));
        let other = other.and_then(|at| s.get(at)).copied().unwrap_or(0);
        let (first, a) = byte.overflowing_sub(other);
        let (second, b) = first.overflowing_sub(u8::from(borrow));
        (*byte, borrow) = (second, a || b);
    }
    let zeros = difference.iter().take_while(|byte| **byte == 0).count();
    let mut number = difference.split_off(zeros.min(31));
    if number.first()? & 0x80 != 0 {
        number.insert(0, 0);
    }
    let pair = sequence(&[r, &element(2, &[&number])]);
    Some(sequence(&[&certificate.tbs, algorithm, &bits(&pair)]))
}
