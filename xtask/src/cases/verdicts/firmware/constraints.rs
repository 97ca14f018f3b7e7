//! Names that an authority permits or excludes below it, and identifiers of keys.

use anyhow::Result;

use super::crew::{Crew, certificates};
use super::{Expected, Good, Refused, Round};
use crate::forge::certificate::{
    alternative_names, authority_key, extension, name_constraints, names, subject_key,
};
use crate::forge::der::{int, octets, oid, tagged, tagged_bytes};

const ORGANISATION: &str = "2.5.4.10";
const COMMON_NAME: &str = "2.5.4.3";

/// An authority permits names and excludes some; a certificate below, of the organisation `org`,
/// has another name. Names are written as [`general_name`] reads them.
type Case = (
    &'static str,
    Expected,
    &'static str,
    &'static str,
    &'static str,
);

const CASES: &[Case] = &[
    ("directory permitted", Good, "dir:org", "", ""),
    ("directory not permitted", Refused, "dir:other", "", ""),
    ("directory excluded", Refused, "", "dir:org", ""),
    ("directory not excluded", Good, "", "dir:other", ""),
    ("permitted and excluded", Refused, "dir:org", "dir:org", ""),
    ("dns permitted", Good, "dns:x.org", "", "dns:a.x.org"),
    ("dns not permitted", Refused, "dns:x.org", "", "dns:a.x.com"),
    ("dns excluded", Refused, "", "dns:x.org", "dns:a.x.org"),
    ("dns alike", Good, "", "dns:x.org", "dns:anx.org"),
    ("dns in capitals", Refused, "", "dns:x.org", "dns:A.X.ORG"),
    ("dns everything", Refused, "", "dns:", "dns:a.x.org"),
    ("dns no such name", Good, "dns:x.org", "", ""),
    ("mail permitted", Good, "mail:x.org", "", "mail:a@x.org"),
    (
        "mail not permitted",
        Refused,
        "mail:x.org",
        "",
        "mail:a@x.com",
    ),
    ("mail excluded", Refused, "", "mail:a@x.org", "mail:a@x.org"),
    (
        "uri permitted",
        Good,
        "uri:.x.org",
        "",
        "uri:http://a.x.org/b",
    ),
    (
        "uri excluded",
        Refused,
        "",
        "uri:a.x.org",
        "uri:http://a.x.org/b",
    ),
    (
        "ip permitted",
        Good,
        "ip:10.0.0.0.255.0.0.0",
        "",
        "ip:10.1.2.3",
    ),
    (
        "ip not permitted",
        Refused,
        "ip:10.0.0.0.255.0.0.0",
        "",
        "ip:11.1.2.3",
    ),
    (
        "ip excluded",
        Refused,
        "",
        "ip:10.0.0.0.255.0.0.0",
        "ip:10.1.2.3",
    ),
    ("registered", Refused, "registered:", "", "registered:"),
    ("registered and not used", Good, "registered:", "", ""),
    ("other name", Refused, "", "other:", "other:"),
];

pub(super) fn rounds(crew: &Crew<'_>) -> Result<Vec<Round>> {
    let mut round = Round::new("constrained", certificates(&[&crew.root]));
    for case in CASES {
        for is_critical in [true, false] {
            judge(crew, &mut round, *case, is_critical)?;
        }
    }
    let broken = crew.authority(&crew.middle, "middle", Some(&crew.root), |content| {
        content.add(extension("2.5.29.30", false, &octets(b"x")));
    })?;
    let leaf = crew.signer(&crew.leaf, "leaf", Some(&broken), |_| ())?;
    round.judge("broken", Refused, crew.chained(&leaf, &[&broken])?);

    let id = &crew.middle.key.id;
    for (case, expected, middle_id, leaf_id) in [
        ("key identifiers alike", Good, &id[..], &id[..]),
        ("key identifiers that differ", Refused, id, &[7; 20]),
    ] {
        let middle = crew.authority(&crew.middle, "middle", Some(&crew.root), |content| {
            content.add(subject_key(middle_id));
        })?;
        let leaf = crew.signer(&crew.leaf, "leaf", Some(&middle), |content| {
            content.add(authority_key(leaf_id, &[], &[]));
        })?;
        round.judge(case, expected, crew.chained(&leaf, &[&middle])?);
    }
    Ok(vec![round])
}

fn judge(crew: &Crew<'_>, round: &mut Round, case: Case, is_critical: bool) -> Result<()> {
    let (case, expected, permitted, excluded, other) = case;
    let middle = crew.authority(&crew.middle, "middle", Some(&crew.root), |content| {
        let (permitted, excluded) = (general_name(permitted), general_name(excluded));
        content.add(name_constraints(is_critical, &permitted, &excluded));
    })?;
    let leaf = crew.signer(&crew.leaf, "leaf", Some(&middle), |content| {
        content.subject = names(&[(ORGANISATION, "org"), (COMMON_NAME, "leaf")]);
        let other = general_name(other);
        if !other.is_empty() {
            content.add(alternative_names(&other));
        }
    })?;
    let critical = if is_critical {
        "critical"
    } else {
        "not critical"
    };
    let image = crew.chained(&leaf, &[&middle])?;
    round.judge(format!("{case}, {critical}"), expected, image);
    Ok(())
}

/// A `GeneralName` from `KIND:TEXT`; nothing from nothing.
fn general_name(text: &str) -> Vec<u8> {
    let Some((kind, text)) = text.split_once(':') else {
        return Vec::new();
    };
    match kind {
        "dir" => tagged(4, &[&names(&[(ORGANISATION, text)])]),
        "mail" => tagged_bytes(1, text.as_bytes()),
        "dns" => tagged_bytes(2, text.as_bytes()),
        "uri" => tagged_bytes(6, text.as_bytes()),
        "ip" => {
            let bytes = text.split('.').filter_map(|byte| byte.parse().ok());
            tagged_bytes(7, &bytes.collect::<Vec<u8>>())
        }
        "registered" => tagged_bytes(8, &[0x2a, 3, 4]),
        _ => tagged(0, &[&oid("1.2.3"), &tagged(0, &[&int(1)])]),
    }
}
