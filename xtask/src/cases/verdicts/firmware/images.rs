//! Signed images: some that were changed, and images of odd shapes.

use anyhow::{Context, Result};

use super::crew::Crew;
use super::{Good, Refused, Round, Stricter, Table, Unloadable};
use crate::forge::image::{CHECKSUM, COFF, Image, OPTIONAL, SECTIONS, TABLE_ENTRY, entry};

pub(super) fn rounds(crew: &Crew<'_>) -> Result<Vec<Round>> {
    Ok(vec![damage(crew)?, shapes(crew)?, contents(crew)?])
}

/// One bit of a good image.
fn damage(crew: &Crew<'_>) -> Result<Round> {
    let good = crew.chained(&crew.owner, &[])?;
    let table = good.u32_at(TABLE_ENTRY)?;
    let last = good.0.len() - 16;
    let find = |bytes: &[u8]| {
        let found = good.0.windows(bytes.len()).position(|at| at == bytes);
        found.context("not in the image")
    };
    let mut round = Round::new("damage", crew.db());
    for (name, expected, at) in [
        ("the DOS header", Refused, 0x20),
        ("the stub", Refused, 0x50),
        ("the time", Refused, COFF + 4),
        ("the characteristics", Refused, COFF + 18),
        ("the linker's version", Refused, OPTIONAL + 2),
        ("the image's version", Refused, OPTIONAL + 44),
        ("the checksum", Good, CHECKSUM),
        ("the checksum's end", Good, CHECKSUM + 3),
        ("the subsystem's neighbour", Refused, OPTIONAL + 70),
        ("another directory", Refused, OPTIONAL + 112 + 8 * 15),
        ("a section's name", Refused, SECTIONS + 1),
        ("a section's flags", Refused, SECTIONS + 36),
        ("behind the section table", Refused, SECTIONS + 40 * 5 + 8),
        ("code", Refused, 0x400),
        ("a section's padding", Refused, 0x5ff),
        ("the command line", Refused, find(b"quiet")?),
        ("the kernel", Refused, find(b"HdrS")?),
        ("the end of the last section", Refused, table - 1),
        ("the entry's length", Refused, table + 1),
        ("the outer tag", Refused, table + 8),
        ("the image's digest", Refused, find(&crew.spc().digest)?),
        (
            "the certificate's issuer",
            Refused,
            find(&crew.owner.issuer)? + 12,
        ),
        (
            "the certificate's key",
            Refused,
            find(&crew.owner.key.public)? + 60,
        ),
        ("the signature", Refused, last - 60),
    ] {
        round.judge(name, expected, good.flipped(at)?);
    }
    Ok(round)
}

/// Odd images, signed as they are.
fn shapes(crew: &Crew<'_>) -> Result<Round> {
    let mut round = Round::new("shapes", crew.db());
    let base = &crew.image;
    let u16_at = |at: usize, number: u16| base.with(at, &number.to_le_bytes());
    let u32_at = |at: usize, number: u32| base.with(at, &number.to_le_bytes());
    let headers = OPTIONAL + 60;
    let directories = OPTIONAL + 108;
    let cases: Table<'_, Image> = &[
        ("a checksum", Good, u32_at(CHECKSUM, 0x1234_5678)?),
        ("an overlay", Good, base.followed_by(&[7; 64])),
        ("an overlay of 13 bytes", Good, base.followed_by(&[7; 13])),
        (
            "an overlay of 64 KiB",
            Good,
            base.followed_by(&[7; 0x1_0000]),
        ),
        ("headers of 0x200", Refused, u32_at(headers, 0x200)?),
        ("headers of 0x300", Good, u32_at(headers, 0x300)?),
        ("headers of 0x600", Refused, u32_at(headers, 0x600)?),
        ("headers of 0", Refused, u32_at(headers, 0)?),
        ("headers past the end", Refused, u32_at(headers, 0x10_0000)?),
        ("17 directories", Refused, u32_at(directories, 17)?),
        ("15 directories", Refused, u32_at(directories, 15)?),
        ("6 directories", Refused, six_directories(base)?),
        ("4 directories", Refused, u32_at(directories, 4)?),
        (
            "an optional header of 248",
            Refused,
            u16_at(COFF + 16, 248)?,
        ),
        (
            "an address in the headers",
            Refused,
            u32_at(SECTIONS + 12, 0x200)?,
        ),
        ("a size of 0", Refused, u32_at(OPTIONAL + 56, 0)?),
        (
            "a size of the headers",
            Refused,
            u32_at(OPTIONAL + 56, 0x400)?,
        ),
        (
            "a size of little more",
            Unloadable,
            u32_at(OPTIONAL + 56, 0x408)?,
        ),
        (
            "headers that end with the table",
            Good,
            u32_at(headers, u32::try_from(SECTIONS + 200)?)?,
        ),
        (
            "an address of another section",
            Good,
            u32_at(SECTIONS + 12, 0x2000)?,
        ),
        ("a magic of PE32", Refused, u16_at(OPTIONAL, 0x10b)?),
        (
            "a PE offset in the DOS header",
            Refused,
            u32_at(0x3c, 0x10)?,
        ),
        (
            "a PE offset past the end",
            Refused,
            u32_at(0x3c, 0x10_0000)?,
        ),
        ("machine i386", Good, u16_at(COFF, 0x14c)?),
        ("machine arm64", Unloadable, u16_at(COFF, 0xaa64)?),
        ("no characteristics", Good, u16_at(COFF + 18, 0)?),
        ("a gap of zeros", Good, gap(base, 0)?),
        (
            "a gap of bytes",
            Stricter("Bytes between sections"),
            gap(base, 7)?,
        ),
        ("sections in another order", Good, swapped(base)?),
        (
            "a section past the end",
            Refused,
            u32_at(SECTIONS + 4 * 40 + 16, 0x2000)?,
        ),
        ("a section of no bytes", Good, emptied(base)?),
        (
            "a section inside the headers",
            Refused,
            u32_at(SECTIONS + 20, 0x200)?,
        ),
        (
            "an odd section offset",
            Refused,
            u32_at(SECTIONS + 4 * 40 + 20, 0x1c01)?,
        ),
    ];
    for (name, expected, image) in cases {
        let signed = match crew.sign(image, &crew.owner) {
            Ok(signed) => signed,
            // There is nothing to hash; the usual signature is as wrong as any.
            Err(_) => image.with_table(&entry(&crew.pkcs7(&crew.owner)?))?,
        };
        round.judge(*name, *expected, signed);
    }
    Ok(round)
}

/// Directories 6 to 15 are gone, and the section table moves up.
fn six_directories(base: &Image) -> Result<Image> {
    let mut image = base.with(OPTIONAL + 108, &6_u32.to_le_bytes())?;
    image = image.with(COFF + 16, &(112_u16 + 6 * 8).to_le_bytes())?;
    let table = image.0.get(SECTIONS..SECTIONS + 5 * 40).context("short")?;
    let table = table.to_vec();
    let at = OPTIONAL + 112 + 6 * 8;
    image.with(SECTIONS, &[0; 200])?.with(at, &table)
}

/// 0x200 bytes between the first section and the second.
fn gap(base: &Image, filler: u8) -> Result<Image> {
    let mut image = base.clone();
    image.0.splice(0x600..0x600, [filler; 0x200]);
    for index in 1..5 {
        let at = SECTIONS + 40 * index + 20;
        let moved = u32::try_from(image.u32_at(at)? + 0x200)?;
        image = image.with(at, &moved.to_le_bytes())?;
    }
    Ok(image)
}

/// The bytes of the second section lie behind those of the third, and the other way round.
fn swapped(base: &Image) -> Result<Image> {
    let (second, third) = (SECTIONS + 40 + 20, SECTIONS + 80 + 20);
    let (a, b) = (base.u32_at(second)?, base.u32_at(third)?);
    let mut image = base.clone();
    for index in 0..0x200 {
        image.0.swap(a + index, b + index);
    }
    image = image.with(second, &u32::try_from(b)?.to_le_bytes())?;
    image.with(third, &u32::try_from(a)?.to_le_bytes())
}

/// The first section has no bytes in the file.
fn emptied(base: &Image) -> Result<Image> {
    let mut image = base.with(SECTIONS + 16, &[0; 8])?;
    image.0.drain(0x400..0x600);
    for index in 1..5 {
        let at = SECTIONS + 40 * index + 20;
        let moved = u32::try_from(image.u32_at(at)? - 0x200)?;
        image = image.with(at, &moved.to_le_bytes())?;
    }
    Ok(image)
}

/// Sections that other loaders look at.
fn contents(crew: &Crew<'_>) -> Result<Round> {
    const SBAT: &[u8] = b"sbat,1,SBAT,sbat,1,https://example.org\nset,1,set,set,1,url\n";
    let kernel = {
        let at = crew.image.u32_at(SECTIONS + 3 * 40 + 20)?;
        crew.image.0.get(at..at + 0x1000).context("short")?
    };
    let mut round = Round::new("sections", crew.db());
    let cases: Table<'_, &[(&str, &[u8])]> = &[
        ("sbat", Good, &[(".sbat", SBAT), (".linux", kernel)]),
        (
            "two sbat",
            Stricter("SBAT"),
            &[(".sbat", SBAT), (".sbat", SBAT), (".linux", kernel)],
        ),
    ];
    for (name, expected, sections) in cases {
        let image = Image::of(sections, 0x1000)?;
        round.judge(*name, *expected, crew.sign(&image, &crew.owner)?);
    }
    // A signature as modules have it, behind an image.
    let pkcs7 = crew.pkcs7(&crew.owner)?;
    let mut trailer = vec![0, 0, 2, 0, 0, 0, 0, 0];
    trailer.extend(u32::try_from(pkcs7.len())?.to_be_bytes());
    let appended = [&*pkcs7, &trailer, b"~Module signature appended~\n"].concat();
    round.judge("appended", Refused, crew.image.followed_by(&appended));
    let mut many = vec![(".x", &b"x"[..]); 130];
    many.push((".linux", kernel));
    for count in [97, 131] {
        let image = Image::of(&many[131 - count..], 0x1000)?;
        round.judge(
            format!("{count} sections"),
            Good,
            crew.sign(&image, &crew.owner)?,
        );
    }
    Ok(round)
}
