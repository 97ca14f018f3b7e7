//! Certificate tables: what entries say of themselves, and how many there are.

use anyhow::{Context, Result};

use super::crew::Crew;
use super::{Good, Refused, Round, Table};
use crate::forge::image::{Image, TABLE_ENTRY, entry, entry_of};
use crate::forge::key::Digest;
use crate::forge::signature::{SignedData, Spc};

pub(super) fn rounds(crew: &Crew<'_>) -> Result<Vec<Round>> {
    Ok(vec![entries(crew)?, several(crew)?, directories(crew)?])
}

/// One entry, and its header.
fn entries(crew: &Crew<'_>) -> Result<Round> {
    let pkcs7 = crew.pkcs7(&crew.owner)?;
    let len = 8 + pkcs7.len();
    let padded = len.next_multiple_of(8);
    let followed = |tail: &[u8]| [&pkcs7, tail].concat();
    let mut round = Round::new("entries", crew.db());
    let cases: Table<'_, Vec<u8>> = &[
        ("revision 1", Good, entry_of(len, 0x100, 2, &pkcs7)),
        ("revision 0", Good, entry_of(len, 0, 2, &pkcs7)),
        ("revision 3", Good, entry_of(len, 0x300, 2, &pkcs7)),
        ("type X.509", Refused, entry_of(len, 0x200, 1, &pkcs7)),
        ("type reserved", Refused, entry_of(len, 0x200, 3, &pkcs7)),
        ("type PKCS#1", Refused, entry_of(len, 0x200, 0xef0, &pkcs7)),
        ("type GUID", Refused, entry_of(len, 0x200, 0xef1, &pkcs7)),
        ("type 0", Refused, entry_of(len, 0x200, 0, &pkcs7)),
        ("length padded", Good, entry_of(padded, 0x200, 2, &pkcs7)),
        ("length 0", Refused, entry_of(0, 0x200, 2, &pkcs7)),
        ("length 8", Refused, entry_of(8, 0x200, 2, &pkcs7)),
        ("length 9", Refused, entry_of(9, 0x200, 2, &pkcs7)),
        (
            "length less 1",
            Refused,
            entry_of(len - 1, 0x200, 2, &pkcs7),
        ),
        (
            "length past the table",
            Refused,
            entry_of(padded + 8, 0x200, 2, &pkcs7),
        ),
        (
            "largest length",
            Refused,
            entry_of(usize::MAX, 0x200, 2, &pkcs7),
        ),
        ("8 zeros behind", Good, entry(&followed(&[0; 8]))),
        ("600 zeros behind", Good, entry(&followed(&[0; 600]))),
        (
            "bytes behind",
            Good,
            entry(&followed(b"behind the signature")),
        ),
        (
            "an element behind",
            Good,
            entry(&followed(&[0x30, 3, 2, 1, 1])),
        ),
        ("a signature behind", Good, entry(&followed(&pkcs7))),
        ("a byte in front", Refused, entry(&[&[0], &*pkcs7].concat())),
    ];
    for (name, expected, table) in cases {
        round.judge(*name, *expected, crew.image.with_table(table)?);
    }
    Ok(round)
}

/// More than one entry.
fn several(crew: &Crew<'_>) -> Result<Round> {
    let good = entry(&crew.pkcs7(&crew.owner)?);
    let strange = entry(&crew.pkcs7(&crew.stranger)?);
    let mut damaged = good.clone();
    *damaged.iter_mut().rev().nth(40).context("short")? ^= 1;
    let junk = entry(&[7; 300]);
    let other_type = entry_of(24, 0x200, 0xef0, &[7; 16]);
    // Its length ends within the next entry.
    let overlapping = entry_of(good.len() + 64, 0x200, 2, good.get(8..).context("short")?);
    let mut round = Round::new("several", crew.db());
    let cases: Table<'_, &[&[u8]]> = &[
        ("good good", Good, &[&good, &good]),
        ("good stranger", Good, &[&good, &strange]),
        ("stranger good", Good, &[&strange, &good]),
        ("good damaged", Good, &[&good, &damaged]),
        ("damaged good", Good, &[&damaged, &good]),
        ("good junk", Good, &[&good, &junk]),
        ("junk good", Good, &[&junk, &good]),
        ("good other type", Good, &[&good, &other_type]),
        ("other type good", Good, &[&other_type, &good]),
        ("overlapping", Refused, &[&overlapping, &good]),
        ("stranger stranger", Refused, &[&strange, &strange]),
        ("damaged stranger", Refused, &[&damaged, &strange]),
        ("good, 8 zeros", Refused, &[&good, &[0; 8]]),
        ("good, 16 zeros", Refused, &[&good, &[0; 16]]),
        ("good, 8 bytes", Refused, &[&good, &[7; 8]]),
        (
            "good, a header",
            Refused,
            &[&good, &[8, 0, 0, 0, 0, 2, 2, 0]],
        ),
        (
            "a header, good",
            Refused,
            &[&[8, 0, 0, 0, 0, 2, 2, 0], &good],
        ),
        (
            "good, past the table",
            Refused,
            &[&good, &[64, 0, 0, 0, 0, 2, 2, 0]],
        ),
        ("8 zeros, good", Refused, &[&[0; 8], &good]),
        (
            "sixteen strangers, good",
            Good,
            &[&strange.repeat(16), &good],
        ),
        ("good, forty strangers", Good, &[&good, &strange.repeat(40)]),
    ];
    for (name, expected, table) in cases {
        round.judge(*name, *expected, crew.image.with_table(&table.concat())?);
    }
    Ok(round)
}

/// Where the headers say that the table is.
fn directories(crew: &Crew<'_>) -> Result<Round> {
    let good = crew.chained(&crew.owner, &[])?;
    let (table, len) = (good.u32_at(TABLE_ENTRY)?, good.u32_at(TABLE_ENTRY + 4)?);
    let (table, len) = (u32::try_from(table)?, u32::try_from(len)?);
    let lie = |image: &Image, offset: u32, size: u32| {
        let bytes = [offset.to_le_bytes(), size.to_le_bytes()].concat();
        image.with(TABLE_ENTRY, &bytes)
    };
    let longer = |tail: &[u8]| good.followed_by(tail);
    let shifted = |by: usize| -> Result<Image> {
        let mut image = good.clone();
        let at = usize::try_from(table)?;
        image.0.splice(at..at, vec![0; by]);
        lie(&image, table + u32::try_from(by)?, len)
    };
    let mut round = Round::new("directories", crew.db());
    let cases: Table<'_, Image> = &[
        ("as it is", Good, good.clone()),
        ("stripped", Refused, lie(&good, 0, 0)?),
        ("unsigned", Refused, crew.image.clone()),
        ("size 0", Refused, lie(&good, table, 0)?),
        ("offset 0", Refused, lie(&good, 0, len)?),
        ("half a header", Refused, lie(&good, table, 4)?),
        ("a header alone", Refused, lie(&good, table, 8)?),
        ("size less 8", Refused, lie(&good, table, len - 8)?),
        ("size past the end", Refused, lie(&good, table, len + 8)?),
        ("largest size", Refused, lie(&good, table, u32::MAX)?),
        (
            "size that wraps",
            Refused,
            lie(&good, table, 0_u32.wrapping_sub(table))?,
        ),
        ("largest offset", Refused, lie(&good, u32::MAX, len)?),
        ("offset of the headers", Refused, lie(&good, 0x200, len)?),
        ("offset of a section", Refused, lie(&good, 0x600, len)?),
        (
            "offset in the table",
            Refused,
            lie(&good, table + 8, len - 8)?,
        ),
        ("8 zeros behind", Refused, longer(&[0; 8])),
        ("1 byte behind", Refused, longer(b"x")),
        ("a kibibyte behind", Refused, longer(&[7; 1024])),
        ("an odd offset", Good, odd_offset(crew)?),
        ("8 zeros in front", Refused, shifted(8)?),
        ("4 zeros in front", Refused, shifted(4)?),
        ("table in front of an overlay", Refused, overlay(crew)?),
    ];
    for (name, expected, image) in cases {
        round.judge(*name, *expected, image.clone());
    }
    Ok(round)
}

/// Signed where it ends at no multiple of 8, with the table right behind.
fn odd_offset(crew: &Crew<'_>) -> Result<Image> {
    let image = crew.image.followed_by(&[7; 3]);
    let digest = image.digest(crew.stand, Digest::Sha256)?;
    let data = SignedData::new(
        &Spc::new(Digest::Sha256, &digest),
        &crew.owner,
        Digest::Sha256,
    );
    image.followed_by_table(&entry(&data.der(crew.stand)?))
}

/// Signed with bytes behind the table, which firmware hashes as if they lay in front of it.
fn overlay(crew: &Crew<'_>) -> Result<Image> {
    let tail = [7; 64];
    let image = crew.image.followed_by(&tail);
    let signed = crew.sign(&image, &crew.owner)?;
    let table = signed.u32_at(TABLE_ENTRY)?;
    let mut bytes = signed.0;
    let end = bytes.split_off(table);
    let start = bytes.len() - tail.len();
    bytes.truncate(start);
    bytes.extend(end);
    bytes.extend(tail);
    let entry = u32::try_from(start)?.to_le_bytes();
    Image(bytes).with(TABLE_ENTRY, &entry)
}
