//! Ways from a signer to who is trusted.

use anyhow::{Context, Result};

use super::certificates::{SERVER, Say};
use super::crew::{Crew, certificates};
use super::{Expected, Good, Refused, Round, Table};
use crate::forge::certificate::{
    Identity, authority, authority_key, extended_key_usage, extension, key_usage, name,
    name_constraints, no_authority, subject_key, validity,
};
use crate::forge::der::{int, null, tagged};
use crate::forge::image::Image;
use crate::forge::key::{Digest, Scheme};

pub(super) fn rounds(crew: &Crew<'_>) -> Result<Vec<Round>> {
    Ok(vec![
        paths(crew)?,
        trusted_middle(crew)?,
        trusted_leaf(crew)?,
        roots(crew)?,
        special_roots(crew)?,
    ])
}

/// Which certificates are there.
fn paths(crew: &Crew<'_>) -> Result<Round> {
    let Crew {
        root, middle, leaf, ..
    } = crew;
    let mut round = Round::new("paths", certificates(&[root]));
    let below_leaf = crew.signer(&crew.stranger, "below", Some(leaf), |_| ())?;
    // Another key under the name of the one that signed.
    let other = crew.authority(&crew.stranger, "middle", Some(root), |_| ())?;
    let self_signed = crew.authority(middle, "middle", None, |_| ())?;
    let mut damaged = middle.clone();
    *damaged.der.last_mut().context("empty")? ^= 1;
    let mut damaged_leaf = leaf.clone();
    *damaged_leaf.der.last_mut().context("empty")? ^= 1;
    let cases: &[(&str, Expected, &Identity, &[&Identity])] = &[
        ("complete", Good, leaf, &[middle]),
        ("with the root", Good, leaf, &[middle, root]),
        ("root first", Good, leaf, &[root, middle]),
        ("no middle", Refused, leaf, &[]),
        ("root alone", Refused, leaf, &[root]),
        ("signed by the middle", Good, middle, &[]),
        ("signed by the root", Good, root, &[]),
        ("below a leaf", Refused, &below_leaf, &[leaf, middle]),
        ("a namesake first", Refused, leaf, &[&other, middle]),
        ("a namesake behind", Good, leaf, &[middle, &other]),
        ("a namesake alone", Refused, leaf, &[&other]),
        ("self-signed alone", Refused, leaf, &[&self_signed]),
        ("self-signed first", Refused, leaf, &[&self_signed, middle]),
        ("self-signed behind", Good, leaf, &[middle, &self_signed]),
        ("damaged middle", Refused, leaf, &[&damaged]),
        ("damaged leaf", Refused, &damaged_leaf, &[middle]),
    ];
    for (name, expected, signer, along) in cases {
        round.judge(*name, *expected, crew.chained(signer, along)?);
    }
    for (depth, expected) in [(3, Good), (6, Good), (12, Good)] {
        let mut chain: Vec<Identity> = Vec::new();
        for index in 0..depth {
            let like = if index % 2 == 0 {
                middle
            } else {
                &crew.stranger
            };
            let issuer = chain.last().unwrap_or(root);
            chain.push(crew.authority(like, &format!("level {index}"), Some(issuer), |_| ())?);
        }
        let signer = crew.signer(leaf, "deep", chain.last(), |_| ())?;
        let along: Vec<&Identity> = chain.iter().collect();
        round.judge(
            format!("{depth} levels"),
            expected,
            crew.chained(&signer, &along)?,
        );
    }
    Ok(round)
}

/// The one in the middle is trusted, the root is not.
fn trusted_middle(crew: &Crew<'_>) -> Result<Round> {
    let Crew {
        root, middle, leaf, ..
    } = crew;
    let mut round = Round::new("trusted-middle", certificates(&[middle]));
    for (name, expected, signer, along) in [
        ("leaf alone", Good, leaf, &[][..]),
        ("with the middle", Good, leaf, &[middle]),
        ("with the root", Good, leaf, &[middle, root]),
        ("signed by the middle", Good, middle, &[]),
        ("signed by the root", Refused, root, &[]),
    ] {
        round.judge(name, expected, crew.chained(signer, along)?);
    }
    Ok(round)
}

/// The signer alone is trusted.
fn trusted_leaf(crew: &Crew<'_>) -> Result<Round> {
    let Crew {
        root, middle, leaf, ..
    } = crew;
    let mut damaged = leaf.clone();
    *damaged.der.last_mut().context("empty")? ^= 1;
    let other = crew.signer(leaf, "leaf", Some(middle), |content| {
        content.serial = int(5)
    })?;
    let mut round = Round::new("trusted-leaf", certificates(&[leaf]));
    for (name, expected, signer, along) in [
        ("alone", Good, leaf, &[][..]),
        ("with its chain", Good, leaf, &[middle, root]),
        ("its signature damaged", Refused, &damaged, &[]),
        ("the same key in another certificate", Refused, &other, &[]),
        ("signed by the middle", Refused, middle, &[]),
    ] {
        round.judge(name, expected, crew.chained(signer, along)?);
    }
    Ok(round)
}

/// Statements of trusted certificates about themselves.
fn roots(crew: &Crew<'_>) -> Result<Round> {
    let cases: Table<'_, Say> = &[
        ("as it is", Good, |_, _| ()),
        ("of version 1", Good, |_, c| {
            c.extensions.clear();
            c.version.clear();
        }),
        ("without extensions", Refused, |_, c| c.extensions.clear()),
        ("no authority", Refused, |_, c| {
            c.extensions = vec![no_authority()]
        }),
        ("path 0", Refused, |_, c| {
            c.extensions = vec![authority(Some(0))]
        }),
        ("path 1", Good, |_, c| {
            c.extensions = vec![authority(Some(1))]
        }),
        ("may not sign certificates", Refused, |_, c| {
            c.add(key_usage(0x80))
        }),
        ("unknown critical", Refused, |_, c| {
            c.add(extension("1.2.3.4", true, &null()))
        }),
        ("expired", Good, |_, c| {
            c.validity = validity("100101000000Z", "110101000000Z")
        }),
        ("by sha1", Good, |crew, c| {
            c.signed_by(&crew.root.key, Digest::Sha1)
        }),
        ("by md5", Good, |crew, c| {
            c.signed_by(&crew.root.key, Digest::Md5)
        }),
        ("for servers", Good, |_, c| {
            c.add(extended_key_usage(true, &[SERVER]))
        }),
        ("excludes", Refused, |_, c| {
            let all = tagged(4, &[&name("leaf")]);
            c.add(name_constraints(false, &[], &all));
        }),
    ];
    let mut trusted = Vec::new();
    let mut images = Vec::new();
    for (case, expected, says) in cases {
        let root = crew.authority(&crew.root, case, None, |content| says(crew, content))?;
        let middle = crew.authority(&crew.middle, "middle", Some(&root), |_| ())?;
        let leaf = crew.signer(&crew.leaf, "leaf", Some(&middle), |_| ())?;
        images.push((*case, *expected, crew.chained(&leaf, &[&middle])?));
        trusted.push(root);
    }
    let trusted: Vec<&Identity> = trusted.iter().collect();
    let mut round = Round::new("roots", certificates(&trusted));
    for (case, expected, image) in images {
        round.judge(case, expected, image);
    }
    Ok(round)
}

/// Roots that have to do with each other, or with what is below them.
fn special_roots(crew: &Crew<'_>) -> Result<Round> {
    let (self_issued, mut images) = self_issued(crew)?;
    // Two roots of one name, and the wrong one first.
    let wrong = crew.authority(&crew.stranger, "namesake", None, |_| ())?;
    let right = crew.authority(&crew.root, "namesake", None, |_| ())?;
    let leaf = crew.signer(&crew.leaf, "leaf", Some(&right), |_| ())?;
    images.push(("namesake", Good, crew.chained(&leaf, &[])?));
    // This firmware knows the scheme in certificates, not in signatures of images.
    let pss = Identity {
        key: crew.root.key.with_scheme(Scheme::RsaPss),
        ..crew.root.clone()
    };
    let leaf = crew.signer(&crew.leaf, "leaf", Some(&pss), |_| ())?;
    images.push(("leaf by pss", Good, crew.chained(&leaf, &[])?));
    let trusted = certificates(&[&self_issued, &wrong, &right, &crew.root]);
    let mut round = Round::new("special-roots", trusted);
    for (case, expected, image) in images {
        round.judge(case, expected, image);
    }
    Ok(round)
}

/// Images that are not yet in a round.
type Images = Vec<(&'static str, Expected, Image)>;

/// Authorities that issue others of their own name, which do not count for the length of a path:
/// the root, and images.
fn self_issued(crew: &Crew<'_>) -> Result<(Identity, Images)> {
    let mut images = Vec::new();
    let root = crew.authority(&crew.root, "root of the self-issued", None, |_| ())?;
    let middle = crew.authority(&crew.middle, "self-issued", Some(&root), |content| {
        content.extensions = vec![authority(Some(0))];
    })?;
    // Without identifiers of keys it passes for self-signed, and the chain ends there.
    let again = crew.authority(&crew.stranger, "self-issued", Some(&middle), |_| ())?;
    let leaf = crew.signer(&crew.leaf, "leaf", Some(&again), |_| ())?;
    let image = crew.chained(&leaf, &[&again, &middle])?;
    images.push(("self-issued", Refused, image));
    let other = crew.authority(&crew.stranger, "not self-issued", Some(&middle), |_| ())?;
    let leaf = crew.signer(&crew.leaf, "leaf", Some(&other), |_| ())?;
    let image = crew.chained(&leaf, &[&other, &middle])?;
    images.push(("not self-issued", Refused, image));

    let (middle_id, again_id) = (&middle.key.id, &again.key.id);
    let middle = crew.authority(&crew.middle, "self-issued", Some(&root), |content| {
        content.extensions = vec![authority(Some(0)), subject_key(middle_id)];
    })?;
    let again = crew.authority(&crew.stranger, "self-issued", Some(&middle), |content| {
        content.add(subject_key(again_id));
        content.add(authority_key(middle_id, &[], &[]));
    })?;
    let leaf = crew.signer(&crew.leaf, "leaf", Some(&again), |content| {
        content.add(authority_key(again_id, &[], &[]));
    })?;
    let image = crew.chained(&leaf, &[&again, &middle])?;
    images.push(("self-issued, by keys", Good, image));
    // A signer of its issuer's name may pass for it, unless their keys distinguish them.
    for (case, expected, own_id) in [
        ("self-issued leaf", Refused, None),
        ("self-issued leaf, by keys", Good, Some(&crew.leaf.key.id)),
    ] {
        let leaf = crew.signer(&crew.leaf, "self-issued", Some(&middle), |content| {
            content.add(authority_key(middle_id, &[], &[]));
            if let Some(id) = own_id {
                content.add(subject_key(id));
            }
        })?;
        images.push((case, expected, crew.chained(&leaf, &[&middle])?));
    }
    Ok((root, images))
}
