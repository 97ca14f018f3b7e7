//! EFI signature lists: what `db`, `dbx`, `MokListRT` and the files for them
//! hold.
//!
//! Every size in a list may lie. No input makes this module panic; time and
//! memory are in proportion to the input. It does not look
//! into certificates.
//!
//! Spec: UEFI 2.10, 32.4.1 "Signature Database", `EFI_SIGNATURE_LIST` and
//! `EFI_SIGNATURE_DATA`.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use serde::Serialize;

use ukexec_pe::counted;

use crate::error::unexpected;
use crate::read::wide;
use crate::signature_type::OWNER_LEN;
use crate::{Algorithm, Guid, SignatureError, SignatureType};

/// Returns the lists that `bytes` consist of, one behind the other.
///
/// # Errors
///
/// [`SignatureError`] for the first size that cannot be right. Lists of a
/// type that this module does not know are none: they come as
/// [`SignatureType::Unknown`].
pub fn signature_lists(bytes: &[u8]) -> Result<Vec<SignatureList<'_>>, SignatureError> {
    let mut lists = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len().saturating_sub(rest.len());
        let list;
        (list, rest) = SignatureList::parse(rest, at)?;
        lists.push(list);
    }
    Ok(lists)
}

/// One `EFI_SIGNATURE_LIST`: signatures of one type and one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureList<'a> {
    at: usize,
    signature_type: SignatureType,
    /// `SignatureSize` bytes for each signature, with no rest.
    signatures: &'a [u8],
    signature_size: usize,
}

impl<'a> SignatureList<'a> {
    /// Parses the list that `bytes` start with, which lies at `at`; returns it
    /// and what is behind it.
    fn parse(bytes: &'a [u8], at: usize) -> Result<(Self, &'a [u8]), SignatureError> {
        let Some((guid, sizes)) = header(bytes) else {
            let field = format_args!("EFI_SIGNATURE_LIST at offset {at:#x}");
            let found = counted(wide(bytes.len()), "byte");
            let found = format_args!("{found}; is the list cut off?");
            return Err(unexpected(field, "a header of 28 bytes", found));
        };
        let [list_size, header_size, signature_size] = sizes;
        let refuse = |field, offset, expected: String, found| {
            let at = at.saturating_add(offset);
            unexpected(format_args!("{field} at offset {at:#x}"), expected, found)
        };

        let signature_type = SignatureType::from(guid);
        let expected = match signature_type.signature_size() {
            Some(size) if signature_size != size => {
                Some(format!("{size}, as {signature_type} requires"))
            }
            None if signature_size <= OWNER_LEN => {
                Some(format!("more than the {OWNER_LEN} bytes of SignatureOwner"))
            }
            _ => None,
        };
        if let Some(expected) = expected {
            return Err(refuse("SignatureSize", 24, expected, signature_size));
        }

        let list = bytes.split_at_checked(list_size);
        let Some((body, behind)) =
            list.and_then(|(list, behind)| Some((list.get(HEADER_LEN..)?, behind)))
        else {
            let end = bytes.len();
            let expected = format!("{HEADER_LEN} to {end} bytes, which is where the input ends");
            return Err(refuse("SignatureListSize", 16, expected, list_size));
        };

        let is_unknown = matches!(signature_type, SignatureType::Unknown(_));
        let signatures = body.get(header_size..);
        let Some(signatures) = signatures.filter(|_| is_unknown || header_size == 0) else {
            let expected = if is_unknown {
                let most = body.len();
                format!("at most {most}, or it passes the end of the list")
            } else {
                format!("0, as {signature_type} requires")
            };
            return Err(refuse("SignatureHeaderSize", 20, expected, header_size));
        };
        if signatures.len().checked_rem(signature_size) != Some(0) {
            let expected = format!(
                "room for whole signatures of {signature_size} bytes behind the headers of {} bytes",
                HEADER_LEN.saturating_add(header_size)
            );
            return Err(refuse("SignatureListSize", 16, expected, list_size));
        }
        let list = Self {
            at,
            signature_type,
            signatures,
            signature_size,
        };
        Ok((list, behind))
    }

    /// Returns where the list starts, in bytes from the start of the input.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Returns the type of its signatures.
    #[must_use]
    pub fn signature_type(&self) -> SignatureType {
        self.signature_type
    }

    /// Returns the data of its signatures. Their owners mean nothing to firmware.
    pub fn signatures(&self) -> impl ExactSizeIterator<Item = SignatureData<'a>> + use<'a> {
        let signature_type = self.signature_type;
        let entries = self.signatures.chunks_exact(self.signature_size);
        entries.map(move |entry| SignatureData::new(signature_type, entry))
    }
}

/// Reads the header of a list as it lies there: `SignatureType`,
/// `SignatureListSize`, `SignatureHeaderSize`, `SignatureSize`.
fn header(bytes: &[u8]) -> Option<(Guid, [usize; 3])> {
    let (guid, rest) = bytes.split_first_chunk()?;
    let (sizes, _) = rest.as_chunks::<4>();
    // A size that fits no memory passes the end of the input as the largest does.
    let size = |size| usize::try_from(u32::from_le_bytes(size)).unwrap_or(usize::MAX);
    Some((Guid(*guid), sizes.first_chunk()?.map(size)))
}

/// The data of a signature: `SignatureData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureData<'a> {
    /// A certificate, in DER as far as is known here.
    X509(&'a [u8]),
    /// An Authenticode digest of an image.
    ImageHash(Algorithm, &'a [u8]),
    /// A revoked certificate, named by the hash of its `TBSCertificate`.
    TbsHash {
        /// How it was hashed.
        algorithm: Algorithm,
        /// The hash.
        hash: &'a [u8],
        /// From when on it is revoked; `None` if always.
        time_of_revocation: Option<EfiTime>,
    },
    /// Of a type that is not known here.
    Unknown(&'a [u8]),
}

impl<'a> SignatureData<'a> {
    /// Reads an `EFI_SIGNATURE_DATA`. Its size was checked, so that nothing is
    /// missing; it would be empty, which names nothing.
    fn new(signature_type: SignatureType, entry: &'a [u8]) -> Self {
        let data = entry.get(OWNER_LEN..).unwrap_or_default();
        match signature_type {
            SignatureType::X509 => Self::X509(data),
            SignatureType::ImageHash(algorithm) => Self::ImageHash(algorithm, data),
            SignatureType::TbsHash(algorithm) => {
                let (hash, time) = data.split_last_chunk().unwrap_or((data, &[0; 16]));
                Self::TbsHash {
                    algorithm,
                    hash,
                    time_of_revocation: EfiTime::parse(time),
                }
            }
            SignatureType::Unknown(_) => Self::Unknown(data),
        }
    }
}

/// A time as UEFI stores it, to the second; its time zone is not kept.
///
/// Spec: UEFI 2.10, 8.3, `EFI_TIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct EfiTime {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

impl EfiTime {
    /// Returns the time, or `None` if all of it is zero.
    fn parse(bytes: &[u8; 16]) -> Option<Self> {
        let [y0, y1, month, day, hour, minute, second, ..] = *bytes;
        let is_zero = [y0, y1, month, day, hour, minute, second] == [0; 7];
        (!is_zero).then_some(Self {
            year: u16::from_le_bytes([y0, y1]),
            month,
            day,
            hour,
            minute,
            second,
        })
    }
}

impl fmt::Display for EfiTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        )
    }
}

/// The length of a header: a GUID and three sizes.
const HEADER_LEN: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature_type::SPECIFIED;
    use expect_test::{Expect, expect};
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Two SHA-256 digests in one list.
    fn sample() -> Vec<u8> {
        let data = vec![vec![0xaa; 32], vec![0xbb; 32]];
        list_of(SignatureType::ImageHash(Algorithm::Sha256), b"", &data)
    }

    fn list_of(signature_type: SignatureType, header: &[u8], data: &[Vec<u8>]) -> Vec<u8> {
        let signature_size = 16 + data.first().map_or(1, Vec::len);
        let size = 28 + header.len() + signature_size * data.len();
        let mut bytes = signature_type.guid().0.to_vec();
        for size in [size, header.len(), signature_size] {
            bytes.extend(u32::try_from(size).unwrap().to_le_bytes());
        }
        bytes.extend(header);
        for data in data {
            bytes.extend([0x11; 16]);
            bytes.extend(data);
        }
        bytes
    }

    fn check(edit: impl FnOnce(&mut Vec<u8>), expected: Expect) {
        let mut bytes = sample();
        edit(&mut bytes);
        let lists = signature_lists(&bytes).unwrap();
        let said: String = lists.iter().map(shown).collect();
        expected.assert_eq(&said);
    }

    fn shown(list: &SignatureList<'_>) -> String {
        let (at, count) = (list.at(), list.signatures().len());
        format!("{:#x}: {count} of {}\n", at, list.signature_type())
    }

    fn set(at: usize, value: u32) -> impl FnOnce(&mut Vec<u8>) {
        move |bytes| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes())
    }

    #[test]
    fn reads_lists_behind_each_other() {
        check(
            |bytes| {
                bytes.extend(list_of(SignatureType::X509, b"", &[vec![0x30, 0]]));
                let unsupported = SignatureType::from(SPECIFIED[8].0);
                bytes.extend(list_of(unsupported, b"head", &[vec![1; 28]]));
                let unknown = SignatureType::Unknown(Guid([7; 16]));
                bytes.extend(list_of(unknown, b"", &[vec![1], vec![2], vec![3]]));
                bytes.extend(list_of(
                    SignatureType::TbsHash(Algorithm::Sha512),
                    b"",
                    &[vec![9; 80]],
                ));
            },
            expect![[r#"
                0x0: 2 of EFI_CERT_SHA256_GUID
                0x7c: 1 of EFI_CERT_X509_GUID
                0xaa: 1 of EFI_CERT_SHA224_GUID
                0xf6: 3 of 07070707-0707-0707-0707-070707070707
                0x145: 1 of EFI_CERT_X509_SHA512_GUID
            "#]],
        );
        check(Vec::clear, expect![""]);
    }

    #[test]
    fn reads_digest_and_time() {
        let mut hash_and_time = vec![0xcc; 48];
        hash_and_time.extend([0xe4, 0x07, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let bytes = list_of(
            SignatureType::TbsHash(Algorithm::Sha384),
            b"",
            &[hash_and_time],
        );
        let lists = signature_lists(&bytes).unwrap();
        let signature = lists[0].signatures().next().unwrap();
        let SignatureData::TbsHash {
            algorithm: Algorithm::Sha384,
            hash,
            time_of_revocation,
        } = signature
        else {
            panic!("{signature:?}");
        };
        assert_eq!(hash, [0xcc; 48]);
        assert_eq!(
            time_of_revocation.unwrap().to_string(),
            "2020-02-03 04:05:06"
        );
    }

    #[test]
    fn takes_a_time_of_zeros_for_none() {
        let bytes = list_of(
            SignatureType::TbsHash(Algorithm::Sha256),
            b"",
            &[vec![0; 48]],
        );
        let signature = signature_lists(&bytes).unwrap()[0]
            .signatures()
            .next()
            .unwrap();
        let SignatureData::TbsHash {
            time_of_revocation: None,
            ..
        } = signature
        else {
            panic!("{signature:?}");
        };
    }

    fn refuses(edit: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut bytes = sample();
        edit(&mut bytes);
        let error = signature_lists(&bytes).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn refuses_a_header_that_is_cut_off() {
        refuses(
            |bytes| bytes.truncate(27),
            "EFI_SIGNATURE_LIST at offset 0x0: expected a header of 28 bytes, found 27 bytes; is \
             the list cut off?",
        );
        refuses(
            |bytes| bytes.extend([0; 3]),
            "EFI_SIGNATURE_LIST at offset 0x7c: expected a header of 28 bytes, found 3 bytes; is \
             the list cut off?",
        );
    }

    #[test]
    fn refuses_a_list_size_that_lies() {
        for size in [0, 27, 125, u32::MAX] {
            let expected = format!(
                "SignatureListSize at offset 0x10: expected 28 to 124 bytes, which is where the \
                 input ends, found {size}"
            );
            refuses(set(16, size), &expected);
        }
        refuses(
            set(16, 123),
            "SignatureListSize at offset 0x10: expected room for whole signatures of 48 bytes \
             behind the headers of 28 bytes, found 123",
        );
    }

    #[test]
    fn refuses_a_header_size_that_lies() {
        refuses(
            set(20, 48),
            "SignatureHeaderSize at offset 0x14: expected 0, as EFI_CERT_SHA256_GUID requires, \
             found 48",
        );
        let unknown = |size| {
            move |bytes: &mut Vec<u8>| {
                bytes[0] ^= 1;
                set(20, size)(bytes);
            }
        };
        for size in [97, u32::MAX] {
            let expected = format!(
                "SignatureHeaderSize at offset 0x14: expected at most 96, or it passes the end of \
                 the list, found {size}"
            );
            refuses(unknown(size), &expected);
        }
        refuses(
            unknown(95),
            "SignatureListSize at offset 0x10: expected room for whole signatures of 48 bytes \
             behind the headers of 123 bytes, found 124",
        );
        check(
            unknown(96),
            expect![[r#"
            0x0: 0 of c1c41627-504c-4092-aca9-41f936934328
        "#]],
        );
    }

    #[test]
    fn refuses_a_signature_size_that_lies() {
        for size in [0, 32] {
            let expected = format!(
                "SignatureSize at offset 0x18: expected 48, as EFI_CERT_SHA256_GUID requires, found \
                 {size}"
            );
            refuses(set(24, size), &expected);
        }
        let x509 = |size| {
            move |bytes: &mut Vec<u8>| {
                bytes[..16].copy_from_slice(&SignatureType::X509.guid().0);
                set(24, size)(bytes);
            }
        };
        for size in [0, 16] {
            let expected = format!(
                "SignatureSize at offset 0x18: expected more than the 16 bytes of SignatureOwner, \
                 found {size}"
            );
            refuses(x509(size), &expected);
        }
        refuses(
            x509(u32::MAX),
            "SignatureListSize at offset 0x10: expected room for whole signatures of 4294967295 \
             bytes behind the headers of 28 bytes, found 124",
        );
        let behind = |bytes: &mut Vec<u8>| {
            bytes.extend(sample());
            set(124 + 24, 49)(bytes);
        };
        refuses(
            behind,
            "SignatureSize at offset 0x94: expected 48, as EFI_CERT_SHA256_GUID requires, found 49",
        );
    }

    fn any_list() -> impl Strategy<Value = (SignatureType, Vec<u8>, Vec<Vec<u8>>)> {
        let known = (0..8usize).prop_map(|index| SPECIFIED[index].2.unwrap());
        let unknown = any::<[u8; 16]>().prop_map(|guid| SignatureType::from(Guid(guid)));
        let parts = (
            prop_oneof![known, unknown],
            vec(any::<u8>(), 0..9),
            1..200usize,
            1..5usize,
        );
        parts.prop_flat_map(|(signature_type, header, len, count)| {
            let fixed = signature_type.signature_size().map(|size| size - 16);
            let is_unknown = matches!(signature_type, SignatureType::Unknown(_));
            let header = if is_unknown { header } else { Vec::new() };
            let is_hash = matches!(signature_type, SignatureType::TbsHash(_));
            let data = vec(any::<u8>(), fixed.unwrap_or(len)).prop_map(move |mut data| {
                if is_hash {
                    // The end of an EFI_TIME, which is not kept.
                    let kept = data.len() - 9;
                    data[kept..].fill(0);
                }
                data
            });
            let data = vec(data, count);
            (Just(signature_type), Just(header), data)
        })
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in vec(any::<u8>(), 0..300)) {
            let _parsed = signature_lists(&bytes);
        }

        #[test]
        fn no_damaged_list_panics(at in 0..124usize, value: u8, cut in 0..=124usize) {
            let mut bytes = sample();
            bytes[at] = value;
            bytes.truncate(cut);
            if let Ok(lists) = signature_lists(&bytes) {
                let all = lists.iter().map(|list| list.signatures().count()).sum::<usize>();
                prop_assert!(all <= 2);
            }
        }

        #[test]
        fn what_is_built_parses_back(lists in vec(any_list(), 0..4)) {
            let bytes: Vec<u8> = lists
                .iter()
                .flat_map(|(signature_type, header, data)| list_of(*signature_type, header, data))
                .collect();
            let parsed = signature_lists(&bytes).unwrap();
            prop_assert_eq!(parsed.len(), lists.len());
            for (parsed, (signature_type, header, data)) in parsed.iter().zip(&lists) {
                prop_assert_eq!(parsed.signature_type(), *signature_type);
                let back: Vec<Vec<u8>> = parsed.signatures().map(|one| bytes_of(one)).collect();
                prop_assert_eq!(&back, data);
                let again = list_of(*signature_type, header, &back);
                let at = parsed.at();
                prop_assert_eq!(&bytes[at..at + again.len()], again);
            }
        }
    }

    fn bytes_of(data: SignatureData<'_>) -> Vec<u8> {
        match data {
            SignatureData::X509(bytes)
            | SignatureData::ImageHash(_, bytes)
            | SignatureData::Unknown(bytes) => bytes.to_vec(),
            SignatureData::TbsHash {
                hash,
                time_of_revocation,
                ..
            } => {
                let mut bytes = hash.to_vec();
                if let Some(time) = time_of_revocation {
                    bytes.extend(time.year.to_le_bytes());
                    bytes.extend([time.month, time.day, time.hour, time.minute, time.second]);
                }
                bytes.resize(hash.len() + 16, 0);
                bytes
            }
        }
    }
}
