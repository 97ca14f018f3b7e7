//! Which forms a signature of an image may have, and which it must not: parts
//! that nobody signed are put in another's place.

use crate::signatures::verify_signatures;
use crate::testing::{entry, file, signature_of, taken_apart, trust, wrap};
use crate::tlv::Element;
use crate::{Checks, Verdict};

/// A `SignedData` taken apart: what `own.efi` carries.
struct Parts {
    version: Vec<u8>,
    digest_algorithms: Vec<u8>,
    content: Vec<u8>,
    certificates: Vec<u8>,
    revocation_lists: Vec<u8>,
    signer: Vec<u8>,
    behind: Vec<u8>,
}

/// Returns the content of the element that `der` is.
fn inside(der: &[u8]) -> &[u8] {
    Element::only("test", der).unwrap().content()
}

fn children(der: &[u8]) -> Vec<Vec<u8>> {
    let mut elements = Element::only("test", der).unwrap().inside("test").unwrap();
    std::iter::from_fn(|| elements.next().unwrap())
        .map(|element| element.raw.to_vec())
        .collect()
}

/// Returns the signature of `own.efi`, edited.
fn signature(edit: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let signature = signature_of("own");
    let info = Element::first("test", &signature).unwrap().raw;
    let [kind, explicit] = children(info).try_into().unwrap();
    let [version, digest_algorithms, content, certificates, signers] =
        children(inside(&explicit)).try_into().unwrap();
    let mut parts = Parts {
        version,
        digest_algorithms,
        content,
        certificates: inside(&certificates).to_vec(),
        revocation_lists: Vec::new(),
        signer: inside(&signers).to_vec(),
        behind: Vec::new(),
    };
    edit(&mut parts);
    let signed = [
        &parts.version[..],
        &parts.digest_algorithms,
        &parts.content,
        &wrap(0xa0, &parts.certificates),
        &parts.revocation_lists,
        &wrap(0x31, &parts.signer),
    ];
    let explicit = wrap(0xa0, &wrap(0x30, &signed.concat()));
    let mut content = wrap(0x30, &[kind, explicit].concat());
    content.extend(parts.behind);
    content
}

/// Returns the signature of `own.efi`, with the fields of its `SignerInfo` edited.
pub(crate) fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    signature(|parts| {
        let mut fields = inside(&parts.signer).to_vec();
        edit(&mut fields);
        parts.signer = wrap(0x30, &fields);
    })
}

/// Verifies `own.efi` with its signature edited.
fn verified(edit: impl FnOnce(&mut Parts)) -> Verdict {
    let image = file("images/own.efi");
    let (_, digests) = taken_apart(&image).unwrap();
    let table = entry(&signature(edit));
    verify_signatures(
        Some(&table),
        &digests,
        &trust(&["own"], &[]),
        Checks::default(),
    )
}

fn accepts(edit: impl FnOnce(&mut Parts)) {
    let verdict = verified(edit);
    assert!(verdict.is_good(), "{verdict}");
}

fn refuses(reason: &str, edit: impl FnOnce(&mut Parts)) {
    let verdict = verified(edit).to_string();
    assert!(
        verdict.contains("signature: ") && verdict.contains(reason),
        "expected {reason:?}: {verdict}"
    );
}

/// Puts `new` in the place of the only `old`.
fn replace(bytes: &mut Vec<u8>, old: &[u8], new: &[u8]) {
    let mut found = bytes.windows(old.len()).enumerate();
    let at = found.find(|(_, window)| *window == old).unwrap().0;
    assert!(!bytes[at + 1..].windows(old.len()).any(|one| one == old));
    bytes.splice(at..at + old.len(), new.iter().copied());
}

/// Returns the `AlgorithmIdentifier` of a digest by the content of its OID.
fn digest(oid: &[u8]) -> Vec<u8> {
    wrap(0x30, &[wrap(6, oid), vec![5, 0]].concat())
}

const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA224: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4];
const MD5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 5];
const UNKNOWN: &[u8] = &[0x2a, 3, 4];
/// The last bytes of Microsoft's object identifiers.
const INDIRECT_DATA: &[u8] = &[0x82, 0x37, 2, 1, 4];
const PE_IMAGE_DATA: &[u8] = &[0x82, 0x37, 2, 1, 15];

#[test]
fn versions_say_nothing() {
    for version in [0, 1, 2, 3, 5] {
        accepts(|parts| parts.version = vec![2, 1, version]);
        accepts(|parts| {
            let mut fields = children(&parts.signer);
            fields[0] = vec![2, 1, version];
            parts.signer = wrap(0x30, &fields.concat());
        });
    }
    refuses("a version", |parts| parts.version = vec![2, 1, 0xff]);
    refuses("a version", |parts| parts.version = vec![4, 1, 1]);
}

#[test]
fn the_first_digest_announced_is_that_of_the_image() {
    let announced = |oids: &[&[u8]]| {
        let identifiers: Vec<_> = oids.iter().map(|oid| digest(oid)).collect();
        wrap(0x31, &identifiers.concat())
    };
    for oids in [
        &[SHA256][..],
        &[SHA256, SHA256],
        &[SHA256, SHA384],
        &[SHA256, SHA1],
    ] {
        accepts(|parts| parts.digest_algorithms = announced(oids));
    }
    for oids in [
        &[][..],
        &[SHA384],
        &[SHA384, SHA256],
        &[SHA1, SHA256],
        &[UNKNOWN, SHA256],
        &[SHA256, UNKNOWN],
        &[SHA256, SHA224],
        &[SHA256, MD5],
    ] {
        refuses("digest algorithm", |parts| {
            parts.digest_algorithms = announced(oids);
        });
    }
}

#[test]
fn image_and_signer_have_one_digest() {
    let reason = "one digest algorithm for the image, for its signer and first";
    refuses(reason, |parts| replace(&mut parts.content, SHA256, SHA384));
    refuses(reason, |parts| {
        // As both are announced, only the image's own is another.
        let both = [digest(SHA384), digest(SHA256)].concat();
        parts.digest_algorithms = wrap(0x31, &both);
    });
}

#[test]
fn what_is_signed_is_an_image() {
    for other in [
        &[0x82, 0x37, 2, 1, 25][..], // a cabinet
        &[0x82, 0x37, 2, 1, 20],
        &[0x82, 0x37, 2, 1, 4],
    ] {
        refuses("SPC_PE_IMAGE_DATAOBJ", |parts| {
            replace(&mut parts.content, PE_IMAGE_DATA, other);
        });
    }
    // Its type is read, and then its digest is another.
    refuses("digest of another content", |parts| {
        let purpose = &[0x82, 0x37, 2, 1, 21];
        replace(&mut parts.content, PE_IMAGE_DATA, purpose);
    });
}

/// It is not looked at which type they name, and they are signed.
#[test]
fn attributes_are_signed() {
    for other in [&[0x82, 0x37, 2, 1, 5][..], &[0x82, 0x37, 10, 3, 1]] {
        refuses("made by another key, or over something else", |parts| {
            replace(&mut parts.signer, INDIRECT_DATA, other);
        });
    }
}

#[test]
fn a_signer_is_named_by_issuer_and_number() {
    refuses("named by issuer and serial number", |parts| {
        let mut fields = children(&parts.signer);
        fields[0] = vec![2, 1, 3];
        fields[1] = wrap(0x80, b"key");
        parts.signer = wrap(0x30, &fields.concat());
    });
}

#[test]
fn certificates_are_certificates() {
    let junk = [
        vec![2, 1, 1],
        wrap(0x30, b""),
        wrap(0x30, &[2, 1, 1]),
        wrap(4, b"certificate"),
        wrap(0xa1, &[]),
        vec![0x30],
        vec![0x30, 5, 0],
    ];
    for junk in junk {
        for first in [true, false] {
            let verdict = verified(|parts| {
                let at = if first { 0 } else { parts.certificates.len() };
                parts.certificates.splice(at..at, junk.iter().copied());
            });
            assert!(
                verdict.to_string().contains(" signature: "),
                "{junk:x?}: {verdict}"
            );
        }
    }
    refuses("certificate", |parts| {
        let at = parts.certificates.len() / 2;
        parts.certificates[at..].fill(0);
    });
}

#[test]
fn many_certificates_may_come_along() {
    let dir = format!("{}/testdata/chains", env!("CARGO_MANIFEST_DIR"));
    let mut others: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "der"))
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    others.sort();
    assert!(others.len() > 24);
    accepts(|parts| parts.certificates.extend(others.concat()));
    accepts(|parts| {
        parts.certificates.splice(0..0, others.concat());
    });
}

#[test]
fn what_is_not_signed_has_its_shape() {
    let unsigned = |attributes: &[u8]| {
        let attributes = wrap(0xa1, attributes);
        move |parts: &mut Parts| {
            let fields = [inside(&parts.signer), &attributes[..]].concat();
            parts.signer = wrap(0x30, &fields);
        }
    };
    let oid = wrap(6, UNKNOWN);
    let attribute = |values: &[u8]| wrap(0x30, &[&oid[..], values].concat());
    accepts(unsigned(&attribute(&wrap(0x31, &[5, 0]))));
    accepts(unsigned(&attribute(&wrap(0x31, &[]))));
    for malformed in [
        vec![2, 1, 1],
        attribute(&[]),
        attribute(&[5, 0]),
        attribute(&wrap(0x31, &[5])),
        [attribute(&wrap(0x31, &[])), vec![0x30]].concat(),
        wrap(0x30, &wrap(0x31, &[])),
    ] {
        let verdict = verified(unsigned(&malformed));
        assert!(verdict.to_string().contains(" signature: "), "{verdict}");
    }
    let utc_time = wrap(0x17, b"260101000000Z");
    let names = [wrap(0x30, &[]), wrap(0x30, &[])].concat();
    let first = [&names[..], &utc_time].concat();
    let second = [&[2, 1, 1], &first[..]].concat();
    for body in [&first, &second] {
        let list = [wrap(0x30, body), wrap(0x30, &[]), vec![3, 1, 0]].concat();
        accepts(|parts| parts.revocation_lists = wrap(0xa1, &wrap(0x30, &list)));
    }
    accepts(|parts| parts.revocation_lists = wrap(0xa1, &[]));
    for list in [&[2, 1, 1][..], &[0x30, 0], &[0x30]] {
        refuses("", |parts| parts.revocation_lists = wrap(0xa1, list));
    }
}

#[test]
fn anything_may_lie_behind_it() {
    accepts(|parts| parts.behind = b"behind".to_vec());
    accepts(|parts| parts.behind = vec![0xff; 1000]);
}
