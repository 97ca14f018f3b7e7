//! Digests of images in `db` and `dbx`.

use anyhow::Result;

use super::crew::Crew;
use super::{Good, Refused, Round, Stricter, Table};
use crate::forge::image::{Image, entry};
use crate::forge::key::Digest;
use crate::forge::list;
use crate::forge::signature::SignedData;

pub(super) fn rounds(crew: &Crew<'_>) -> Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for digest in [Digest::Sha256, Digest::Sha384, Digest::Sha512] {
        rounds.extend(by(crew, digest)?);
        rounds.extend(odd(crew, digest)?);
    }
    rounds.extend(other(crew)?);
    Ok(rounds)
}

/// A round of images: name, what is expected, image.
fn round(name: impl Into<String>, db: &[u8], dbx: &[u8], images: Table<'_, &Image>) -> Round {
    let mut round = Round::new(name, db.to_vec()).revoking(dbx.to_vec());
    for (name, expected, image) in images {
        round.judge(*name, *expected, (*image).clone());
    }
    round
}

fn list_of(crew: &Crew<'_>, image: &Image, digest: Digest) -> Result<Vec<u8>> {
    Ok(list::image(digest, &image.digest(crew.stand, digest)?))
}

/// The usual image, unsigned, and signed with `digest` by somebody who is trusted or not.
///
/// Firmware takes the digest of an unsigned image by SHA-256 alone, and that of a signed one by
/// the algorithms of its signatures.
fn by(crew: &Crew<'_>, digest: Digest) -> Result<[Round; 3]> {
    let unsigned = &crew.image;
    let by_digest = |signer| {
        let data = SignedData::new(&crew.spc_by(digest)?, signer, digest);
        crew.signed(&data)
    };
    let (signed, strange) = (by_digest(&crew.owner)?, by_digest(&crew.stranger)?);
    let for_unsigned = if digest == Digest::Sha256 {
        Good
    } else {
        Refused
    };
    let listed = list_of(crew, unsigned, digest)?;
    let (owner, name) = (crew.db(), digest.name());
    Ok([
        round(
            format!("allowed by {name}"),
            &listed,
            &[],
            &[
                ("unsigned", for_unsigned, unsigned),
                ("signed", Good, &signed),
                ("strange", Good, &strange),
            ],
        ),
        round(
            format!("revoked by {name}"),
            &owner,
            &listed,
            &[
                ("unsigned", Refused, unsigned),
                ("signed", Refused, &signed),
                ("strange", Refused, &strange),
            ],
        ),
        round(
            format!("both by {name}"),
            &[owner, listed.clone()].concat(),
            &listed,
            &[
                ("unsigned", Refused, unsigned),
                ("signed", Refused, &signed),
            ],
        ),
    ])
}

/// An unsigned image whose length is no multiple of 8, as it is and padded.
fn odd(crew: &Crew<'_>, digest: Digest) -> Result<Vec<Round>> {
    let image = crew.image.followed_by(&[7; 3]);
    let plain = list_of(crew, &image, digest)?;
    let padded = list_of(crew, &image.padded(), digest)?;
    let is_known = digest == Digest::Sha256;
    let good = if is_known { Good } else { Refused };
    let stricter = if is_known {
        Stricter("Padded digest in dbx")
    } else {
        Refused
    };
    let owner = crew.db();
    let rounds = [
        ("allowed", &plain, &vec![], good),
        ("allowed as padded", &padded, &vec![], Refused),
        ("revoked", &owner, &plain, Refused),
        ("revoked as padded", &owner, &padded, Refused),
        ("allowed and revoked as padded", &plain, &padded, stricter),
        ("allowed and revoked", &plain, &plain, Refused),
    ];
    Ok(rounds
        .into_iter()
        .map(|(name, db, dbx, expected)| {
            let name = format!("odd {name} by {}", digest.name());
            round(name, db, dbx, &[("odd", expected, &image)])
        })
        .collect())
}

/// Lists and images that have little to do with each other.
fn other(crew: &Crew<'_>) -> Result<Vec<Round>> {
    let stand = crew.stand;
    let (owner, unsigned) = (crew.db(), &crew.image);
    let signed = crew.chained(&crew.owner, &[])?;
    let strange = crew.chained(&crew.stranger, &[])?;
    let odd = unsigned.followed_by(&[7; 3]);
    let broken = unsigned.with_table(&entry(&[7; 300]))?;
    let file = Digest::Sha256.of(stand, &signed.0)?;
    let file = list::image(Digest::Sha256, &file);
    let sha256 = list_of(crew, unsigned, Digest::Sha256)?;
    let sha1 = list_of(crew, unsigned, Digest::Sha1)?;
    let sha512 = list_of(crew, unsigned, Digest::Sha512)?;
    let junk = list::certificate(&[&*crew.owner.der, b"junk"].concat());
    let of_odd = list_of(crew, &odd, Digest::Sha256)?;
    let mut signed_only = Vec::new();
    for (name, db, dbx, expected) in [
        ("allowed as a file", &file, &vec![], Refused),
        ("revoked as a file", &owner, &file, Good),
        ("allowed by another digest", &sha512, &vec![], Refused),
        (
            "revoked by another digest",
            &owner,
            &sha512,
            Stricter("Digest in dbx by another algorithm"),
        ),
        ("a certificate with junk behind", &junk, &vec![], Good),
    ] {
        signed_only.push(round(name, db, dbx, &[("signed", expected, &signed)]));
    }
    let mut rounds = vec![round(
        "no digests",
        &owner,
        &[],
        &[
            ("unsigned", Refused, unsigned),
            ("signed", Good, &signed),
            ("strange", Refused, &strange),
            ("odd", Refused, &odd),
        ],
    )];
    for (name, db, image) in [
        ("allowed by sha1", &sha1, unsigned),
        ("another's digest", &of_odd, unsigned),
        ("broken and allowed", &sha256, &broken),
        ("broken and allowed by sha512", &sha512, &broken),
    ] {
        rounds.push(round(name, db, &[], &[("image", Refused, image)]));
    }
    rounds.extend(signed_only);
    Ok(rounds)
}
