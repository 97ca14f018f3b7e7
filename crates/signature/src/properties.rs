//! Properties that hold for every input.

use std::time::{Duration, Instant};

use expect_test::expect;
use proptest::prelude::*;

use ukexec_pe::ByteRanges;

use crate::authenticode::algorithms_of;
use crate::signatures::{list_signatures, verify_signatures};
use crate::table::{MAX_SIGNATURE_LEN, MAX_SIGNATURES, MAX_TABLE_LEN};
use crate::testing::{
    X509, certificate, content, entry, file, list, taken_apart, trust, verified, wrap,
};
use crate::tlv::Element;
use crate::{
    Algorithm, Checks, DigestRequest, Digests, Hasher, Origin, Trust, digests_of, verify_appended,
};

/// Bytes of an image that may change without its verdict: spans of the file,
/// and why.
type Exceptions<'a> = &'a [(std::ops::Range<usize>, &'a str)];

/// Flips one bit of every byte, then all; wherever the verdict is still good, the byte
/// must be one of the exceptions.
fn flips(name: &str, trust: &Trust, exceptions: Exceptions<'_>) {
    let image = file(name);
    let good = verified(&image, trust, Checks::default());
    assert!(good.is_good(), "{good}");
    let padding = behind_signature(&image);
    let versions = versions(&image);
    let mut survivors = Vec::new();
    for at in (0..padding).filter(|at| !versions.contains(at)) {
        for bits in [1 << (at % 8), 0xff] {
            let mut image = image.clone();
            image[at] ^= bits;
            let verdict = verified(&image, trust, Checks::default());
            if verdict.is_good() && !exceptions.iter().any(|(span, _)| span.contains(&at)) {
                survivors.push(format!("{at:#x}^{bits:#x}"));
            }
        }
    }
    assert!(survivors.is_empty(), "still good: {}", survivors.join(" "));
}

/// Returns where the versions of `SignedData` and `SignerInfo` are, which say
/// nothing: each comes before a set of algorithms, or a name and a number.
fn versions(image: &[u8]) -> Vec<usize> {
    let is_version = |window: &[u8]| window == [2, 1, 1, 0x31] || window == [2, 1, 1, 0x30];
    let found = image.windows(4).enumerate();
    let found = found.filter(|(_, window)| is_version(window));
    let versions: Vec<_> = found.map(|(at, _)| at + 2).collect();
    assert_eq!(versions.len(), 2, "{versions:x?}");
    versions
}

/// Returns where the padding behind the only signature of an image starts,
/// which nothing covers and nobody reads.
fn behind_signature(image: &[u8]) -> usize {
    let (table, _) = taken_apart(image).unwrap();
    let table = table.unwrap();
    let signature = crate::certificate_table(table).unwrap()[0];
    let len = Element::first("signature", signature).unwrap().raw.len();
    assert!(signature.len() - len < 8);
    image.len() - table.len() + 8 + len
}

/// The one field that a signature is made to leave out.
const CHECK_SUM: (std::ops::Range<usize>, &str) = (0x98..0x9c, "the PE checksum is not signed");
const REVISION: (std::ops::Range<usize>, &str) = (0x60c..0x60e, "firmware does not read wRevision");
const DW_LENGTH: (std::ops::Range<usize>, &str) = (
    0x608..0x609,
    "entries are rounded up to 8 bytes: a length within the same 8 is the same entry",
);

#[test]
fn every_byte_of_an_image_counts() {
    let trusted = trust(&["own"], &[]);
    flips(
        "images/own.efi",
        &trusted,
        &[CHECK_SUM, DW_LENGTH, REVISION],
    );
    let trusted = trust(&["root"], &[]);
    flips(
        "images/p256.efi",
        &trusted,
        &[CHECK_SUM, DW_LENGTH, REVISION],
    );
}

/// In a chain, the certificate of the intermediate counts as well.
#[test]
fn every_byte_of_a_chain_counts() {
    let trusted = trust(&["root"], &[]);
    flips(
        "images/chain.efi",
        &trusted,
        &[CHECK_SUM, DW_LENGTH, REVISION],
    );
}

#[test]
fn every_byte_of_an_appended_signature_counts() {
    for (name, trusted) in [
        ("sign-file", "own"),
        ("sign-file-p384", "p384"),
        ("pss", "own"),
        ("key-id", "own"),
        ("chain", "root"),
    ] {
        let trusted = trust(&[trusted], &[]);
        let file = file(&format!("appended/{name}"));
        for at in 0..file.len() {
            for bits in [1 << (at % 8), 0xff] {
                let mut file = file.clone();
                file[at] ^= bits;
                let verdict = verify_appended(&file, &trusted, Checks::default(), Algorithm::state);
                let good = verdict.is_good();
                assert!(!good, "{name}: {at:#x} ^ {bits:#x}");
            }
        }
    }
}

#[test]
fn cut_off_tables_are_refused() {
    let image = file("images/chain.efi");
    let (table, digests) = taken_apart(&image).unwrap();
    let (table, trusted) = (table.unwrap(), trust(&["root"], &[]));
    for len in 0..table.len() {
        let table = table.get(..len);
        let verdict = verify_signatures(table, &digests, &trusted, Checks::default());
        assert!(!verdict.is_good(), "{len}: {verdict}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Random bytes in a row, in an entry that is right.
    #[test]
    fn noise_is_refused(content in proptest::collection::vec(any::<u8>(), 1..400)) {
        let table = entry(&content);
        prop_assert!(algorithms_of(&table).is_empty());
        let verdict = verify_signatures(Some(&table), &Digests::default(), &Trust::default(), Checks::default());
        prop_assert!(!verdict.is_good());
    }

    /// Several edits at once: bytes changed, taken out, put in.
    #[test]
    fn mutations_never_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let image = file("images/chain.efi");
        let (table, digests) = taken_apart(&image).unwrap();
        let mut content = content(table.unwrap());
        for (at, byte, kind) in edits {
            content.push(0);
            let at = at.index(content.len());
            match kind {
                0 => content[at] = byte,
                1 => { content.remove(at); }
                2 => content.insert(at, byte),
                _ => content.truncate(at.max(1)),
            }
        }
        let table = entry(&content);
        algorithms_of(&table);
        let verdict = verify_signatures(Some(&table), &digests, &trust(&["root"], &[]), Checks::default());
        prop_assert!(!verdict.to_string().is_empty());
    }

    /// Any bytes as a certificate table have a verdict, and a list of signers that is
    /// not long: four of a signature at most.
    #[test]
    fn any_table_lists_few_signers(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        keep in any::<prop::sample::Index>(),
        count in 1..80_usize,
    ) {
        let image = file("images/twice.efi");
        let whole = taken_apart(&image).unwrap().0.unwrap();
        let cut = &whole[..keep.index(whole.len() + 1)];
        for table in [noise.repeat(count), [cut, &noise].concat(), entry(&noise).repeat(count), whole.repeat(count)] {
            let listed = list_signatures(&table);
            prop_assert!(listed.signers().len() <= 4 * MAX_SIGNATURES);
            prop_assert!(listed.certificates().len() <= table.len() / 100);
            prop_assert!(!listed.is_good() && !listed.is_misfit());
        }
    }

    /// However an image is cut into chunks, its digests are the same.
    #[test]
    fn chunks_do_not_matter(
        len in 0..600_usize,
        cuts in proptest::collection::vec(0..600_u64, 0..8),
        chunks in proptest::collection::vec(1..80_usize, 1..8),
        padding in 0..8_u64,
    ) {
        let image: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(len as u64)).collect();
        cuts.sort_unstable();
        let ranges = cuts.chunks_exact(2).map(|cut| cut[0]..cut[1]).collect();
        let ranges = ByteRanges { ranges, padding };
        let algorithms = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
        let mut hasher = Hasher::new(DigestRequest { ranges: ranges.clone(), algorithms: algorithms.into() }, Algorithm::state).unwrap();
        let mut at = 0;
        for chunk in chunks.into_iter().cycle() {
            let end = len.min(at + chunk);
            hasher.update(at as u64, &image[at..end]).unwrap();
            at = end;
            if at == len { break; }
        }
        let taken = hasher.finish().unwrap();
        prop_assert_eq!(taken.digests(), &digests_of(&image, &ranges, algorithms, Algorithm::state).unwrap());
    }
}

/// Lengths that lie, everywhere where there is one, are answered at once: the
/// time and memory that they cost is that of the bytes that are there.
#[test]
fn lengths_that_lie_cost_nothing() {
    let image = file("images/chain.efi");
    let (table, digests) = taken_apart(&image).unwrap();
    let table = table.unwrap();
    let trusted = trust(&["root"], &[]);
    for at in 0..table.len() - 5 {
        // A DER length of four bytes, and a dwLength.
        for lie in [
            [0x84, 0x7f, 0xff, 0xff, 0xff],
            [0xff, 0xff, 0xff, 0x7f, 0x00],
        ] {
            let mut table = table.to_vec();
            table[at..at + 5].copy_from_slice(&lie);
            let begin = Instant::now();
            let verdict = verify_signatures(Some(&table), &digests, &trusted, Checks::default());
            assert!(
                begin.elapsed() < Duration::from_millis(500),
                "{at:#x}: {verdict}"
            );
            assert!(!verdict.is_good(), "{at:#x}: {verdict}");
        }
    }
}

/// As much as may be of what costs most: sets of many, deep nesting, and
/// certificates that all seem to issue each other.
#[test]
fn hostile_signatures_end_soon() {
    let mut hostile = vec![vec![0x30; MAX_SIGNATURE_LEN - 8]];
    let mut nested = Vec::new();
    while nested.len() < MAX_SIGNATURE_LEN - 100 {
        nested = wrap(0x30, &nested);
    }
    hostile.push(nested);
    // A signature that is right, with 24 certificates or thousands of tiny
    // elements in their place.
    let image = file("images/chain.efi");
    let (table, digests) = taken_apart(&image).unwrap();
    let right = content(table.unwrap());
    let issuer = certificate("root");
    for element in [
        vec![5, 0],
        certificate("leaf").der().to_vec(),
        issuer.der().to_vec(),
    ] {
        let many = element.repeat(30_000 / element.len());
        hostile.push(with_certificates(&right, &many));
    }
    for content in hostile {
        let table = entry(&content).repeat(MAX_TABLE_LEN / entry(&content).len());
        let begin = Instant::now();
        algorithms_of(&table);
        let verdict = verify_signatures(
            Some(&table),
            &digests,
            &trust(&["own"], &["p521"]),
            Checks::default(),
        );
        assert!(begin.elapsed() < Duration::from_secs(2), "{verdict}");
        assert!(!verdict.is_good(), "{verdict}");
    }
}

/// As many signatures as there may be, each with its chain.
#[test]
fn many_honest_signatures_are_verified() {
    let image = file("images/chain.efi");
    let (table, digests) = taken_apart(&image).unwrap();
    let table = table.unwrap().repeat(MAX_SIGNATURES);
    let trusted = trust(&["root"], &["p521"]);
    let verdict = verify_signatures(Some(&table), &digests, &trusted, Checks::default());
    assert!(verdict.is_good(), "{verdict}");
}

/// Certificates that vouch for each other in every way that names allow do not
/// make a chain, and do not take long.
#[test]
fn a_crowd_of_issuers_is_refused() {
    let image = file("images/chain.efi");
    let (table, digests) = taken_apart(&image).unwrap();
    let mut crowd = certificate("leaf").der().to_vec();
    for number in 0..60 {
        let mut issuer = certificate("intermediate").der().to_vec();
        let serial = certificate("intermediate").serial().to_vec();
        let at = issuer.windows(8).position(|at| at == serial).unwrap();
        issuer[at + 7] = number;
        crowd.extend(issuer);
    }
    let table = entry(&with_certificates(&content(table.unwrap()), &crowd));
    let mut trusted = trust(&["root"], &[]);
    for number in 0..3 {
        let mut root = certificate("root").der().to_vec();
        let at = root.len() - 1;
        root[at] ^= 1 + number;
        trusted.add_file("root", &root).unwrap();
    }
    let begin = Instant::now();
    let verdict = verify_signatures(Some(&table), &digests, &trusted, Checks::default());
    expect!["untrusted: signatures to be verified for one image: expected at most 256, found more"]
        .assert_eq(&verdict.to_string());
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    // Nor is anything else good then: what was not looked at may be revoked.
    let own = taken_apart(&file("images/own.efi"))
        .unwrap()
        .0
        .unwrap()
        .to_vec();
    let own_trust = |revoked: &[&str]| {
        let mut trust = trusted.clone();
        let own = certificate("own");
        trust.add_file("own", own.der()).unwrap();
        let list = revoked
            .iter()
            .map(|name| list(X509, certificate(name).der()));
        trust
            .add_revoked_list(&Origin::new("dbx"), &list.collect::<Vec<_>>().concat())
            .unwrap();
        trust
    };
    for table in [[&own[..], &table].concat(), [&table[..], &own].concat()] {
        for revoked in [&[][..], &["p521"]] {
            let trust = own_trust(revoked);
            let verdict = verify_signatures(Some(&table), &digests, &trust, Checks::default());
            assert!(!verdict.is_good(), "{verdict}");
            let said = verdict.to_string();
            assert!(
                said.contains("signatures to be verified for one image"),
                "{said}"
            );
        }
        // Whether or not somebody who is revoked is found before that.
        for revoked in ["leaf", "intermediate", "root", "own"] {
            let trust = own_trust(&[revoked]);
            let verdict = verify_signatures(Some(&table), &digests, &trust, Checks::default());
            assert!(!verdict.is_good(), "{revoked}: {verdict}");
        }
    }
}

/// Puts other certificates into a signature.
fn with_certificates(signature: &[u8], certificates: &[u8]) -> Vec<u8> {
    let find = |needle: &[u8]| signature.windows(needle.len()).position(|at| at == needle);
    // [0], around the first certificate
    let leaf = find(certificate("leaf").der()).unwrap();
    let intermediate = find(certificate("intermediate").der()).unwrap();
    let begin = leaf.min(intermediate) - 4;
    let lens = certificate("leaf").der().len() + certificate("intermediate").der().len();
    let end = begin + 4 + lens;
    assert_eq!(signature[begin], 0xa0);
    let signed_data = 19; // behind the tags and lengths around it, and a name
    let body = [
        &signature[signed_data + 4..begin],
        &wrap(0xa0, certificates),
        &signature[end..],
    ];
    let tagged = wrap(0xa0, &wrap(0x30, &body.concat()));
    wrap(0x30, &[&signature[4..15], &tagged].concat())
}
