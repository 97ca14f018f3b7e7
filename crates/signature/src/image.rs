//! Images: from their bytes to the whole verdict.
//!
//! Files inside a good image need no signature of their own. So this module also
//! looks at the bytes that its signatures leave out, and at the generations of its
//! components.

use alloc::{collections::BTreeSet, format, vec::Vec};
use core::ops::Range;

use ukexec_pe::{PeError, PeImage, ReadAt, UncheckedPe};

use crate::appended::list_appended;
use crate::authenticode::algorithms_named;
use crate::hash::{DigestRequest, TakenDigests, digests_of};
use crate::read::{read, read_limited, wide};
use crate::sbat::check_sbat;
use crate::signatures::{Checks, list_signatures, verify_signatures};
use crate::table::{MAX_TABLE_LEN, signatures_in};
use crate::{Algorithm, Digests, NewState, SignatureError, State, Trust, Verdict, verify_appended};

/// An image, and the caller's knowledge of it.
#[derive(Debug)]
pub struct UnverifiedImage<'a, R: ?Sized> {
    /// All of its bytes.
    pub bytes: &'a R,
    /// Its headers, or the fault in them. `None` is for a file that does not begin
    /// with `MZ`: a signature may be appended to it.
    pub pe: Option<Result<&'a PeImage, &'a PeError>>,
    /// Where its digests come from.
    pub digests: DigestSource<'a>,
    /// The implementation of digests that are taken when it is verified.
    pub state: NewState,
}

/// Where the digests of an image come from.
#[derive(Clone, Copy, Debug)]
pub enum DigestSource<'a> {
    /// They are taken when it is verified: its bytes cannot change.
    Image,
    /// They were taken while it was copied, as [`digests_needed`] asked for.
    Taken(&'a TakenDigests),
    /// None were needed when it was looked at first, and its bytes can change.
    NoneNeeded,
}

/// The verdict on an image, and its digests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// The digests that it was verified by.
    pub digests: Digests,
}

/// Verifies an image: its signatures, its digests in lists, what revokes it, and
/// that they cover all of it.
///
/// One valid signature is enough, or the image's digest in a list: by SHA-256,
/// or for a signed image by what a signature of it is by. An image is refused
/// that is revoked itself or by its SBAT generations, or of whose signatures any
/// names a signer who is, valid or not. Where anything is revoked, so is one with
/// signers that are not known: it is bad, as it is if its headers are damaged, if
/// its certificate table lies, if bytes that no signature covers are not zeros, or
/// if verifying it takes too many steps.
///
/// # Errors
///
/// [`SignatureError`] if the image cannot be read, or is not any more what it was
/// when its digests were asked for.
pub fn verify_image<R: ReadAt + ?Sized>(
    image: &UnverifiedImage<'_, R>,
    trust: &Trust,
    checks: Checks,
) -> Result<ImageVerdict, SignatureError> {
    let mut digests = Digests::default();
    let verdict = match image.pe {
        Some(Ok(pe)) => {
            let verdict = verify_pe(image, pe, trust, checks, &mut digests)?;
            match verdict.state() {
                State::Malformed => verdict.with_more_of(list_signers(image.bytes, image.pe)),
                _ => verdict,
            }
        }
        Some(Err(fault)) => unsound(image.bytes, fault),
        None => verify_appended(image.bytes, trust, checks, image.state),
    };
    Ok(ImageVerdict { verdict, digests })
}

/// Returns who signed an image, and verifies nothing: it takes no digest, and asks no
/// key.
pub fn list_signers<R: ReadAt + ?Sized>(
    bytes: &R,
    pe: Option<Result<&PeImage, &PeError>>,
) -> Verdict {
    match pe {
        Some(Ok(pe)) => match read_table(pe, bytes) {
            Ok(Some(table)) => listed(pe, bytes, &table),
            Ok(None) => Verdict::unsigned(),
            Err(error) => Verdict::unreadable(error),
        },
        Some(Err(fault)) => unsound(bytes, fault),
        None => list_appended(bytes),
    }
}

/// Returns which digests it takes to verify an image, so that they can be taken
/// while it is copied; `None` if there is nothing to verify it by. It may be wrong
/// with the image that there is none: its verdict says so.
pub fn digests_needed(
    pe: &PeImage,
    bytes: &(impl ReadAt + ?Sized),
    trust: &Trust,
) -> Option<DigestRequest> {
    let table = read_table(pe, bytes).ok().flatten();
    let algorithms = needed(table.as_deref(), trust);
    if algorithms.is_empty() {
        return None;
    }
    let ranges = pe.authenticode_ranges().ok()?;
    Some(DigestRequest { ranges, algorithms })
}

/// Returns the verdict on the outermost PE image in what is signed and is none
/// itself, such as a compressed kernel, if its SBAT generation is too old.
pub fn revoked_by_sbat(
    pe: &PeImage,
    bytes: &(impl ReadAt + ?Sized),
    trust: &Trust,
) -> Option<Verdict> {
    let checked = check_sbat(pe, bytes, trust.sbat_level());
    checked
        .err()
        .map(|error| Verdict::unsigned().refused(&error))
}

/// Returns the verdict on an image with a `fault` in its headers, which no signature
/// covers: a bad one, with the signers that are left in the file, if the headers name
/// a certificate table.
fn unsound(bytes: &(impl ReadAt + ?Sized), fault: &PeError) -> Verdict {
    let fault = SignatureError::new(format!("no sound PE32+ file: {fault}"));
    let verdict = Verdict::unreadable(fault);
    match UncheckedPe::parse(bytes) {
        Ok(headers) if headers.certificates().is_none() => Verdict::unsigned(),
        Ok(headers) => verdict.with_more_of(list_signers(bytes, Some(Ok(&headers.in_file())))),
        Err(_) => verdict,
    }
}

/// Verifies a PE image, and leaves in `digests` those that it is verified by.
fn verify_pe<R: ReadAt + ?Sized>(
    image: &UnverifiedImage<'_, R>,
    pe: &PeImage,
    trust: &Trust,
    checks: Checks,
    digests: &mut Digests,
) -> Result<Verdict, SignatureError> {
    let table = match read_table(pe, image.bytes) {
        Ok(table) => table,
        Err(error) => return Ok(Verdict::unreadable(error)),
    };
    let table = table.as_deref();
    let algorithms = needed(table, trust);
    let ranges = match (pe.authenticode_ranges(), table) {
        // Without a digest no verdict is good.
        _ if algorithms.is_empty() => return Ok(verify_signatures(table, digests, trust, checks)),
        (Ok(ranges), _) => ranges,
        // An unsigned image need not be fit for a digest.
        (Err(_), None) => return Ok(Verdict::unsigned()),
        (Err(error), Some(_)) => {
            let verdict = Verdict::unreadable(SignatureError::new("").because(error));
            return Ok(match has_more_behind(pe, image.bytes)? {
                true => verdict.misfits(),
                false => verdict,
            });
        }
    };
    let request = DigestRequest { ranges, algorithms };
    *digests = image.digests.digests(image.bytes, &request, image.state)?;
    let verdict = verify_signatures(table, digests, trust, checks);
    if !verdict.is_good() {
        return Ok(verdict);
    }
    let uncovered = pe.uncovered(&request.ranges);
    if let Some(Range { start, end }) = not_zero(uncovered, image.bytes)? {
        return Ok(verdict.refused(&SignatureError::new(format!(
            "bytes {start:#x} to {end:#x} between the sections are not zeros, and no signature \
             covers them"
        ))));
    }
    Ok(match check_sbat(pe, image.bytes, trust.sbat_level()) {
        Ok(()) => verdict,
        Err(error) => verdict.refused(&error),
    })
}

/// Lists the signers in `table`. Where the headers cut it, the rest of the last entry
/// is still in the file.
fn listed(pe: &PeImage, bytes: &(impl ReadAt + ?Sized), table: &[u8]) -> Verdict {
    let found = list_signatures(table);
    let Some(Range { start, .. }) = pe.certificates() else {
        return found;
    };
    let len = bytes.len().saturating_sub(start).min(wide(MAX_TABLE_LEN));
    match read(bytes, start, len) {
        Ok(whole) if found.state() == State::Malformed => {
            found.with_more_of(list_signatures(&whole))
        }
        _ => found,
    }
}

/// Returns whether anything but zeros lies behind the certificate table, where no
/// signature covers it: somebody put it there later.
fn has_more_behind(pe: &PeImage, bytes: &(impl ReadAt + ?Sized)) -> Result<bool, SignatureError> {
    let behind = pe.certificates().map(|table| table.end..bytes.len());
    Ok(not_zero(behind, bytes)?.is_some())
}

impl DigestSource<'_> {
    fn digests(
        self,
        image: &(impl ReadAt + ?Sized),
        request: &DigestRequest,
        state: NewState,
    ) -> Result<Digests, SignatureError> {
        let changed = |what| {
            Err(SignatureError::new(format!(
                "the file changed while it was being taken over: {what}; try again when nothing \
                 writes to it"
            )))
        };
        let taken = match self {
            Self::Image => {
                let algorithms = request.algorithms.iter().copied();
                let digests = digests_of(image, &request.ranges, algorithms, state);
                return digests.map_err(|cause| SignatureError::new("").because(cause));
            }
            Self::NoneNeeded => return changed("it had no signature before"),
            Self::Taken(taken) => taken,
        };
        if taken.ranges() != &request.ranges {
            return changed("its headers are not the same");
        }
        let is_there = |algorithm: &Algorithm| taken.digests().get(*algorithm).is_some();
        if !request.algorithms.iter().all(is_there) {
            return changed("its signatures are not the same");
        }
        Ok(taken.digests().clone())
    }
}

/// Returns the certificate table, if there is one.
fn read_table(
    pe: &PeImage,
    image: &(impl ReadAt + ?Sized),
) -> Result<Option<Vec<u8>>, SignatureError> {
    let field = "certificate table (data directory 4)";
    let table = pe.certificates();
    let table = table.map(|range| read_limited(image, range, field, MAX_TABLE_LEN));
    table.transpose()
}

/// Returns by which algorithms an image with this certificate table is verified.
fn needed(table: Option<&[u8]>, trust: &Trust) -> BTreeSet<Algorithm> {
    let mut algorithms = trust.algorithms();
    // Those in front of a fault may be of these bytes.
    let signatures = table.map(|table| signatures_in(table).0);
    algorithms.extend(algorithms_named(&signatures.unwrap_or_default()));
    algorithms
}

/// Returns the first of `ranges` of `image` that holds anything. Zeros are what tools
/// leave between sections, and say nothing.
fn not_zero(
    ranges: impl IntoIterator<Item = Range<u64>>,
    image: &(impl ReadAt + ?Sized),
) -> Result<Option<Range<u64>>, SignatureError> {
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let len = range.end.saturating_sub(at).min(CHUNK);
            if read(image, at, len)?.iter().any(|byte| *byte != 0) {
                return Ok(Some(range));
            }
            at = at.saturating_add(len);
        }
    }
    Ok(None)
}

/// Bytes that are looked at together.
const CHUNK: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ukexec_pe::{EditOptions, attach};

    use super::*;
    use crate::testing::{self, SHA256, file, list, taken_apart};
    use crate::{Hasher, Origin};

    const UKI: &[u8] = include_bytes!("../testdata/trust/uki.efi");

    /// Where data directory 4 of the signed test images lies.
    const CERTIFICATES: usize = 0x40 + 24 + 112 + 4 * 8;

    /// Returns trust in an image by its digest, and nothing else.
    fn trust_in(image: &[u8]) -> Trust {
        let (_, digests) = taken_apart(image).unwrap();
        let list = list(SHA256, digests.get(Algorithm::Sha256).unwrap());
        let mut trust = Trust::default();
        trust.add_allowed_list(&Origin::new("db"), &list).unwrap();
        trust
    }

    /// Trusts an image by its digest, changes it, and compares the verdict.
    fn check(mut image: Vec<u8>, change: impl FnOnce(&mut [u8]), expected: &Expect) {
        let trust = trust_in(&image);
        change(&mut image);
        let verdict = testing::verified(&image, &trust, Checks::default());
        expected.assert_eq(&verdict.to_string());
    }

    /// Takes the last 16 bytes of the raw data of `.linux` away from it, and fills
    /// them with zeros.
    fn with_a_gap() -> (Vec<u8>, usize) {
        let mut image = UKI.to_vec();
        let pe = PeImage::parse(&image[..]).unwrap();
        let section = pe.section(".linux").unwrap();
        let size = section.size_of_raw_data();
        let header = image.windows(6).position(|name| name == b".linux").unwrap();
        let gap = (section.pointer_to_raw_data() + size - 16) as usize;
        image[header + 16..header + 20].copy_from_slice(&(size - 16).to_le_bytes());
        image[gap..gap + 16].fill(0);
        (image, gap)
    }

    #[test]
    fn what_lies_between_sections_is_not_taken_for_covered() {
        let good = expect!["good, the digest of the image is listed in db"];
        check(UKI.to_vec(), |_| {}, &good);
        let (image, _) = with_a_gap();
        check(image, |_| {}, &good);
        let (image, gap) = with_a_gap();
        check(
            image,
            |image| image[gap] = 1,
            &expect![
                "bad signature: bytes 0xbf0 to 0xc00 between the sections are not zeros, and no signature covers them"
            ],
        );
        let (image, gap) = with_a_gap();
        check(image, |image| image[gap - 1] ^= 1, &expect!["unsigned"]);
    }

    #[test]
    fn generations_of_components_are_part_of_the_verdict() {
        let sbat = b"sbat,1,SBAT,sbat,1,url\nfoo,1,Foo,foo,1,url\n";
        let image = attach(UKI, ".sbat", sbat, EditOptions::default()).unwrap();
        let mut trust = trust_in(&image);
        let mut check = |level: &[u8], expected: Expect| {
            trust.set_sbat_level(level).unwrap();
            let verdict = testing::verified(&image, &trust, Checks::default());
            expected.assert_eq(&verdict.to_string());
        };
        check(
            b"sbat,1,2024010100\nfoo,1\n",
            expect!["good, the digest of the image is listed in db"],
        );
        check(
            b"sbat,1,2024010100\nfoo,2\n",
            expect![[
                r#"bad signature: SBAT revokes the image: its component "foo" has generation 1, and this machine asks for 2 or later (level of 2024010100): a newer build of the image is needed"#
            ]],
        );
    }

    #[test]
    fn damaged_headers_and_tables_are_bad() {
        check(
            file("images/own.efi"),
            |image| image[0x3c] = 0xff,
            &expect![[
                r#"malformed signature: no sound PE32+ file: Signature at 0xff: expected 0x4550 ("PE\0\0"), found 0x0"#
            ]],
        );
        let shortened = |image: &mut [u8]| image[CERTIFICATES + 4] -= 8;
        check(
            file("images/own.efi"),
            shortened,
            &expect![
                "malformed signature: Authenticode digest: certificate table (data directory 4) at 0xe8: expected a table that ends with the file, found 0xbf0"
            ],
        );
        let mut image = file("images/own.efi");
        let table = PeImage::parse(&image).unwrap().certificates().unwrap();
        image.resize(table.start as usize + MAX_TABLE_LEN + 8, 0);
        let len = u32::try_from(MAX_TABLE_LEN + 8).unwrap();
        image[CERTIFICATES + 4..CERTIFICATES + 8].copy_from_slice(&len.to_le_bytes());
        let verdict = testing::verified(&image, &Trust::default(), Checks::default());
        expect!["malformed signature: certificate table (data directory 4): expected at most 1048576 bytes, found 1048584"].assert_eq(&verdict.to_string());
    }

    #[test]
    fn a_file_that_is_no_pe_may_have_a_signature_appended() {
        let bytes = file("appended/sign-file");
        let image = UnverifiedImage {
            bytes: &bytes,
            pe: None,
            digests: DigestSource::Image,
            state: Algorithm::state,
        };
        let trust = testing::trust(&["own"], &[]);
        let verdict = verify_image(&image, &trust, Checks::default()).unwrap();
        expect!["good, by CN=own,O=ukexec tests, trusted through db"]
            .assert_eq(&verdict.verdict.to_string());
    }

    /// Takes the digests that `before` needs, and verifies `now` by them.
    fn check_taken(before: &[u8], now: &[u8], expected: &Expect) {
        let trust = testing::trust(&["own"], &[]);
        let pe = PeImage::parse(before).unwrap();
        let request = digests_needed(&pe, before, &trust);
        let taken = request.map(|request| {
            let mut hasher = Hasher::new(request, Algorithm::state).unwrap();
            hasher.update(0, before).unwrap();
            hasher.finish().unwrap()
        });
        let digests = match &taken {
            Some(taken) => DigestSource::Taken(taken),
            None => DigestSource::NoneNeeded,
        };
        let pe = PeImage::parse(now).unwrap();
        let image = UnverifiedImage {
            bytes: now,
            pe: Some(Ok(&pe)),
            digests,
            state: Algorithm::state,
        };
        let text = match verify_image(&image, &trust, Checks::default()) {
            Ok(found) => format!("{}; {}", found.digests, found.verdict),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn digests_that_were_taken_are_of_this_image() {
        let [own, sha512, unsigned] =
            ["own", "rsa4096-sha512", "unsigned"].map(|name| file(&format!("images/{name}.efi")));
        check_taken(
            &own,
            &own,
            &expect![
                "SHA-256 45e78a66c3c09eb06b78fdaead8847de07ba76d24a660eff29ecbe6feac337a8; good, by CN=own,O=ukexec tests, trusted through db"
            ],
        );
        check_taken(&unsigned, &unsigned, &expect!["; unsigned"]);
        check_taken(
            &unsigned,
            &own,
            &expect![
                "the file changed while it was being taken over: it had no signature before; try again when nothing writes to it"
            ],
        );
        check_taken(
            &own,
            &sha512,
            &expect![
                "the file changed while it was being taken over: its signatures are not the same; try again when nothing writes to it"
            ],
        );
        // As if there were more behind the sections.
        let mut longer = own.clone();
        let table = PeImage::parse(&own).unwrap().certificates().unwrap();
        let start = table.start as usize;
        longer[CERTIFICATES] += 8;
        longer.splice(start..start, [0; 8]);
        check_taken(
            &own,
            &longer,
            &expect![
                "the file changed while it was being taken over: its headers are not the same; try again when nothing writes to it"
            ],
        );
    }
}
