//! The certificate table: `WIN_CERTIFICATE` structures in a row, at the end
//! of an image.
//!
//! Spec: PE format, "The Attribute Certificate Table"; UEFI 2.10, 32.2.4,
//! `WIN_CERTIFICATE_UEFI_GUID`. Left out: other types than PKCS#7, which nobody
//! signs images with; they are stepped over.

use crate::error::{too_long, too_many, unexpected};
use crate::read::wide;
use crate::signature_type::TYPE_PKCS7;
use crate::{Guid, SignatureError};
use alloc::vec::Vec;

/// The longest certificate table that is read, in bytes.
///
/// Two signatures with their chains and time stamps take some 20 kB. This is
/// sixteen of the longest signatures that are read.
pub(crate) const MAX_TABLE_LEN: usize = 16 * MAX_SIGNATURE_LEN;

/// The longest signature that is read, in bytes: what firmware takes, which
/// expects a 16-bit length in it.
pub(crate) const MAX_SIGNATURE_LEN: usize = 64 * 1024;

/// How many signatures an image may have. Those seen have one or two; firmware
/// has no bound.
pub(crate) const MAX_SIGNATURES: usize = 64;

/// Returns the signatures in a certificate table: each is a PKCS#7
/// `ContentInfo`, perhaps with something behind it.
///
/// Takes time in proportion to the number of signatures, not of bytes.
///
/// # Errors
///
/// [`SignatureError`] if the table is too long, or a length in it does not
/// lead exactly to its end. Firmware refuses such images as well.
pub fn certificate_table(table: &[u8]) -> Result<Vec<&[u8]>, SignatureError> {
    let (signatures, walked) = signatures_in(table);
    walked.map(|()| signatures)
}

/// As [`certificate_table`], but returns the signatures in front of a fault as well
/// as the fault.
pub(crate) fn signatures_in(table: &[u8]) -> (Vec<&[u8]>, Result<(), SignatureError>) {
    let mut signatures = Vec::new();
    let walked = walk(table, &mut signatures);
    (signatures, walked)
}

fn walk<'a>(table: &'a [u8], signatures: &mut Vec<&'a [u8]>) -> Result<(), SignatureError> {
    if table.len() > MAX_TABLE_LEN {
        let len = wide(table.len());
        return Err(too_long("certificate table", MAX_TABLE_LEN, len));
    }
    let mut rest = table;
    let mut entries = 0_usize;
    while !rest.is_empty() {
        entries = entries.saturating_add(1);
        if entries > MAX_SIGNATURES {
            let field = "signatures in the certificate table";
            return Err(too_many(field, MAX_SIGNATURES));
        }
        let at = table.len().saturating_sub(rest.len());
        let (entry, behind) = entry(rest, at)?;
        signatures.extend(entry);
        rest = behind;
    }
    Ok(())
}

/// Splits off the first entry. `None`: it is of another type than PKCS#7.
fn entry(rest: &[u8], at: usize) -> Result<(Option<&[u8]>, &[u8]), SignatureError> {
    let refuse = |field, expected, found| {
        let field = format_args!("certificate table, {field} at offset {at:#x} of the table");
        unexpected(field, expected, format_args!("{found:#x}"))
    };
    let Some((&header, _)) = rest.split_first_chunk::<HEADER_LEN>() else {
        let found = wide(rest.len());
        return Err(refuse("WIN_CERTIFICATE", "8 bytes", found));
    };
    // Firmware does not look at wRevision.
    let [l0, l1, l2, l3, _, _, t0, t1] = header;
    let len = u32::from_le_bytes([l0, l1, l2, l3]);
    let lie = |expected| refuse("dwLength", expected, u64::from(len));

    let split = |len: usize| {
        let aligned = len.checked_next_multiple_of(ALIGNMENT)?;
        let (entry, behind) = rest.split_at_checked(aligned)?;
        Some((entry.get(HEADER_LEN..len)?, behind))
    };
    let len = usize::try_from(len).ok();
    if len.is_some_and(|len| len <= HEADER_LEN) {
        return Err(lie("more than the 8 bytes of the header"));
    }
    let Some((body, behind)) = len.and_then(split) else {
        return Err(lie("a length that, rounded up to 8, lies inside the table"));
    };
    let body = match u16::from_le_bytes([t0, t1]) {
        TYPE_PKCS_SIGNED_DATA => body,
        TYPE_EFI_GUID => match body.split_first_chunk() {
            Some((&guid, body)) if Guid(guid) == TYPE_PKCS7 && !body.is_empty() => body,
            Some((_, body)) if !body.is_empty() => return Ok((None, behind)),
            _ => return Err(lie("more than the 24 bytes of header and CertType")),
        },
        _ => return Ok((None, behind)),
    };
    if body.len() > MAX_SIGNATURE_LEN {
        return Err(lie("at most 64 KiB"));
    }
    Ok((Some(body), behind))
}

const HEADER_LEN: usize = 8;
const ALIGNMENT: usize = 8;
const TYPE_PKCS_SIGNED_DATA: u16 = 2;
const TYPE_EFI_GUID: u16 = 0xef1;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Two entries, of 3 and 8 bytes.
    fn table() -> Vec<u8> {
        let mut table = vec![11, 0, 0, 0, 0, 2, 2, 0, b'a', b'b', b'c', 0, 0, 0, 0, 0];
        table.extend([16, 0, 0, 0, 0, 2, 2, 0]);
        table.extend(b"12345678");
        table
    }

    fn check(edit: impl FnOnce(&mut Vec<u8>), expected: &Expect) {
        let mut table = table();
        edit(&mut table);
        let text = match certificate_table(&table) {
            Ok(found) => format!(
                "{:?}",
                found
                    .iter()
                    .map(|one| one.escape_ascii().to_string())
                    .collect::<Vec<_>>()
            ),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn entries_are_aligned() {
        check(|_| {}, &expect![[r#"["abc", "12345678"]"#]]);
        check(|table| table.truncate(16), &expect![[r#"["abc"]"#]]);
        check(|table| table.clear(), &expect!["[]"]);
        check(
            |table| table[0] = 16,
            &expect![[r#"["abc\\x00\\x00\\x00\\x00\\x00", "12345678"]"#]],
        );
    }

    #[test]
    fn every_revision_is_taken() {
        for revision in [[0, 0], [0, 1], [0, 3], [0xff, 0xff]] {
            check(
                |table| table[20..22].copy_from_slice(&revision),
                &expect![[r#"["abc", "12345678"]"#]],
            );
        }
    }

    #[test]
    fn what_pads_an_entry_does_not_matter() {
        check(
            |table| table[11] = 0xff,
            &expect![[r#"["abc", "12345678"]"#]],
        );
    }

    #[test]
    fn other_types_are_stepped_over() {
        check(|table| table[6] = 1, &expect![[r#"["12345678"]"#]]);
    }

    /// Firmware reads PKCS#7 in both kinds of entries.
    #[test]
    fn a_guid_may_say_that_it_is_pkcs7() {
        let guid = |content: &[u8]| {
            let len = u8::try_from(8 + content.len()).unwrap();
            let mut entry = vec![len, 0, 0, 0, 0, 2, 0xf1, 0x0e];
            entry.extend(content);
            entry.resize(entry.len().next_multiple_of(8), 0);
            move |table: &mut Vec<u8>| {
                table.splice(16.., entry);
            }
        };
        check(
            guid(&[&TYPE_PKCS7.0[..], b"pkcs7"].concat()),
            &expect![[r#"["abc", "pkcs7"]"#]],
        );
        check(guid(&[b'?'; 20]), &expect![[r#"["abc"]"#]]);
        check(
            guid(&TYPE_PKCS7.0),
            &expect![
                "certificate table, dwLength at offset 0x10 of the table: expected more than the 24 bytes of header and CertType, found 0x18"
            ],
        );
        check(
            guid(&TYPE_PKCS7.0[..15]),
            &expect![
                "certificate table, dwLength at offset 0x10 of the table: expected more than the 24 bytes of header and CertType, found 0x17"
            ],
        );
    }

    #[test]
    fn lies() {
        check(
            |table| table[0] = 8,
            &expect![
                "certificate table, dwLength at offset 0x0 of the table: expected more than the 8 bytes of the header, found 0x8"
            ],
        );
        check(
            |table| table[0] = 0,
            &expect![
                "certificate table, dwLength at offset 0x0 of the table: expected more than the 8 bytes of the header, found 0x0"
            ],
        );
        check(
            |table| table[0] = 33,
            &expect![
                "certificate table, dwLength at offset 0x0 of the table: expected a length that, rounded up to 8, lies inside the table, found 0x21"
            ],
        );
        check(
            |table| table[16..20].copy_from_slice(&[0xff; 4]),
            &expect![
                "certificate table, dwLength at offset 0x10 of the table: expected a length that, rounded up to 8, lies inside the table, found 0xffffffff"
            ],
        );
        check(
            |table| table[16] = 17,
            &expect![
                "certificate table, dwLength at offset 0x10 of the table: expected a length that, rounded up to 8, lies inside the table, found 0x11"
            ],
        );
        check(
            |table| table.truncate(31),
            &expect![
                "certificate table, dwLength at offset 0x10 of the table: expected a length that, rounded up to 8, lies inside the table, found 0x10"
            ],
        );
        check(
            |table| table.truncate(20),
            &expect![
                "certificate table, WIN_CERTIFICATE at offset 0x10 of the table: expected 8 bytes, found 0x4"
            ],
        );
        check(
            |table| table.push(0),
            &expect![
                "certificate table, WIN_CERTIFICATE at offset 0x20 of the table: expected 8 bytes, found 0x1"
            ],
        );
    }

    #[test]
    fn limits() {
        let many = table()[..16].repeat(MAX_SIGNATURES);
        assert_eq!(certificate_table(&many).unwrap(), [b"abc"; MAX_SIGNATURES]);
        check(
            |table| *table = table[..16].repeat(MAX_SIGNATURES + 1),
            &expect!["signatures in the certificate table: expected at most 64, found more"],
        );
        check(
            |table| table.resize(MAX_TABLE_LEN + 1, 0),
            &expect!["certificate table: expected at most 1048576 bytes, found 1048577"],
        );
        check(
            |table| {
                table[16..20].copy_from_slice(&[0x10, 0, 1, 0]);
                table.resize(16 + 0x1_0010, 0);
            },
            &expect![
                "certificate table, dwLength at offset 0x10 of the table: expected at most 64 KiB, found 0x10010"
            ],
        );
    }
}
