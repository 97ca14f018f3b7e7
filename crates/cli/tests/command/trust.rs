//! The effects of the machine's own lists on an image, from their variables to the
//! verdict and what is said of it.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::images::{SHA256, X509, certificate, list, signed, variable};
use crate::{folder, run, streams};

/// Inspects a test image of `ukexec-signature` where `db` and `dbx` have these
/// lists. Returns the exit code, stdout and stderr.
fn inspect(image: &str, db: &[u8], dbx: &[u8], options: &[&str]) -> (i32, String, String) {
    inspect_at(&signed(&format!("images/{image}.efi")), db, dbx, options)
}

/// As [`inspect`], of any file.
fn inspect_at(path: &Path, db: &[u8], dbx: &[u8], options: &[&str]) -> (i32, String, String) {
    let [(db, its), (dbx, too)] = [("db", db), ("dbx", dbx)].map(variable);
    let efivars = folder(&[(&db, &its), (&dbx, &too)]);
    let path = path.to_str().expect("a path of text");
    let args = ["inspect", "--trust=system", "--efivars=.", path];
    let output = run(efivars.path(), &[&args, options].concat());
    let [stdout, stderr] = streams(&output);
    (output.status.code().expect("an end"), stdout, stderr)
}

const REQUIRE: &[&str] = &["--verify=require"];

/// Firmware hashes what is there, and signing tools what they would sign: the
/// three bytes behind the sections, and five zeros.
#[test]
fn the_digest_of_an_image_that_is_not_signed_is_not_padded() {
    let mut image = fs::read(signed("images/unsigned.efi")).expect("an image");
    assert_eq!(image.len() % 8, 3);
    // CheckSum, and the data directory's entry of the certificate table.
    image.drain(0x40 + 24 + 112 + 32..0x40 + 24 + 112 + 40);
    image.drain(0x98..0x9c);
    let digest = list(SHA256, &Sha256::digest(&image));
    image.extend([0; 5]);
    let padded = list(SHA256, &Sha256::digest(&image));

    let (code, stdout, _) = inspect("unsigned", &digest, &[], REQUIRE);
    assert!(
        stdout.contains("good, the digest of the image is listed in db"),
        "{stdout}"
    );
    assert_eq!(code, 0);
    for (db, dbx, expected) in [
        (&padded, &[][..], "refused: unsigned; "),
        (&digest, &digest, "refused: revoked: the image: dbx holds"),
        (&digest, &padded, "refused: revoked: the image: dbx holds"),
    ] {
        let (code, _, stderr) = inspect("unsigned", db, dbx, REQUIRE);
        assert!(stderr.contains(expected), "{stderr}");
        assert_eq!(code, 3);
    }
}

#[test]
fn bytes_behind_a_certificate_are_not_looked_at() {
    let own = list(X509, &[&certificate("own")[..], &[0; 3]].concat());
    let (code, stdout, stderr) = inspect("own", &own, &[], REQUIRE);
    assert!(stdout.contains("good, by CN=own"), "{stdout}{stderr}");
    assert_eq!(code, 0);
    let (code, _, stderr) = inspect("own", &own, &own, REQUIRE);
    assert!(
        stderr.contains("revoked: the certificate of CN=own"),
        "{stderr}"
    );
    assert_eq!(code, 3);
}

#[test]
fn a_revocation_that_cannot_be_read_is_an_error_where_one_counts() {
    let own = list(X509, &certificate("own"));
    let damaged = list(X509, &[0x31; 100]);
    let (code, _, stderr) = inspect("own", &own, &damaged, REQUIRE);
    assert_eq!(code, 3);
    for words in [
        "dbx: certificate in the list of EFI_CERT_X509_GUID at offset 0x0 passed over",
        "it could revoke any image, and a good signature is required",
    ] {
        assert!(stderr.contains(words), "{stderr}");
    }
    let (code, stdout, stderr) = inspect("own", &own, &damaged, &["--verify=auto"]);
    assert!(stdout.contains("good, by CN=own"), "{stdout}{stderr}");
    assert!(
        stderr.contains("warning: dbx: certificate in the list"),
        "{stderr}"
    );
    assert_eq!(code, 0);
}

/// An entry that nobody could read may be the reason of a refusal.
#[test]
fn a_refusal_tells_what_was_passed_over() {
    let damaged = list(X509, &[0x31; 100]);
    let (code, _, stderr) = inspect("own", &damaged, &[], REQUIRE);
    assert!(
        stderr.contains("warning: db: certificate in the list"),
        "{stderr}"
    );
    assert!(
        stderr.contains("untrusted: nobody trusted vouches for CN=own"),
        "{stderr}"
    );
    assert_eq!(code, 3);
}

/// An image that is refused for its first bytes is so before it is taken apart.
#[test]
fn a_refusal_at_the_first_look_tells_what_was_passed_over() {
    let damaged = list(X509, &[0x31; 100]);
    let program = Path::new(env!("CARGO_BIN_EXE_ukexec"));
    let (code, _, stderr) = inspect_at(program, &[], &damaged, &["--verify=auto"]);
    assert!(
        stderr.contains("warning: dbx: certificate in the list"),
        "{stderr}"
    );
    assert!(stderr.contains("not a kernel but"), "{stderr}");
    assert_eq!(code, 1);
}
