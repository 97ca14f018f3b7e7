//! Who signed: each kind of key, each way from a signer to who is trusted.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::pki::{Kind, Signer};
use crate::stand::Stand;

use super::{Made, Named, check, trust};

pub(in super::super) const CASES: &[Named] = &[
    Named::new("verdicts/signers", signers),
    Named::new("verdicts/chains", chains),
    Named::new("verdicts/kinds-of-keys", kinds),
    Named::new("verdicts/forms-of-trust", forms),
];

fn signers(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let (owner, stranger) = (&made.owner, &made.stranger);
    let both = stranger.sign(&made.good, &[], &stand.path("both.efi"))?;
    let both_ways = stranger.sign(&made.unsigned, &[], &stand.path("stranger.efi"))?;
    let other_both = owner.sign(&both_ways, &[], &stand.path("other-both.efi"))?;
    let trust = trust(owner.certificate());
    for (image, verdict) in [
        (&made.good, "good: signed by CN=owner, who is trusted by "),
        (&both, "good: signed by CN=owner, who is trusted by "),
        (&other_both, "good: signed by CN=owner, who is trusted by "),
        (&both_ways, "untrusted: "),
        (&made.unsigned, "unsigned"),
    ] {
        check(stand, image, &[&trust], verdict).with_context(|| image.display().to_string())?;
    }
    Ok(())
}

/// Firmware builds chains out of what the signature embeds: without a path to who is trusted,
/// there is none.
fn chains(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let root = Signer::new(stand, "root", Kind::Rsa2048)?;
    let middle = Signer::issued_by(stand, "middle", &root, true)?;
    let leaf = Signer::issued_by(stand, "leaf", &middle, false)?;
    let no_authority = Signer::issued_by(stand, "no-authority", &leaf, false)?;
    let sign = |signer: &Signer, along: &[&Signer], name| {
        signer.sign(&made.unsigned, along, &stand.path(name))
    };
    let with_path = sign(&leaf, &[&middle], "with-path.efi")?;
    let with_root = sign(&leaf, &[&middle, &root], "with-root.efi")?;
    let bare = sign(&leaf, &[], "bare.efi")?;
    let too_long = sign(&no_authority, &[&leaf, &middle], "too-long.efi")?;
    let by_leaf = "good: signed by CN=leaf";
    let cases: &[(&str, &Path, &Signer, &str)] = &[
        ("path to the root", &with_path, &root, by_leaf),
        ("path and root", &with_root, &root, by_leaf),
        ("path to the intermediate", &with_path, &middle, by_leaf),
        ("the leaf itself", &bare, &leaf, by_leaf),
        ("the leaf, among others", &with_root, &leaf, by_leaf),
        ("no path to the root", &bare, &root, "untrusted: "),
        ("the issuer itself", &bare, &middle, by_leaf),
        ("a path over a leaf", &too_long, &root, "untrusted: "),
        ("another root", &with_root, &made.owner, "untrusted: "),
    ];
    for (case, image, trusted, verdict) in cases {
        check(stand, image, &[&trust(trusted.certificate())], verdict).context(*case)?;
    }
    Ok(())
}

fn kinds(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    for (name, kind) in [
        ("rsa4096", Kind::Rsa4096),
        ("p256", Kind::P256),
        ("p384", Kind::P384),
    ] {
        let signer = Signer::new(stand, name, kind)?;
        let image = signer.sign(&made.unsigned, &[], &stand.path("kind.efi"))?;
        let verdict = format!("good: signed by CN={name}, who is trusted by ");
        check(stand, &image, &[&trust(signer.certificate())], &verdict).context(name)?;
        check(
            stand,
            &image,
            &[&trust(made.owner.certificate())],
            "untrusted: ",
        )
        .context(name)?;
    }
    for (name, kind, padding) in [
        ("pkcs1", Kind::Rsa2048, "pkcs1"),
        ("pss", Kind::Rsa2048, "pss"),
        ("only-pss", Kind::RsaPss, "pss"),
    ] {
        let signer = Signer::new(stand, name, kind)?;
        let image = signer.sign_as_cms(stand, &made.good, padding)?;
        let verdict = format!("good: signed by CN={name}, who is trusted by ");
        check(stand, &image, &[&trust(signer.certificate())], &verdict).context(name)?;
    }
    Ok(())
}

/// The same certificate as PEM, DER, EFI signature list, in a folder, and behind another.
fn forms(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let (pem, other) = (made.owner.certificate(), made.stranger.certificate());
    let der = stand.path("owner.der");
    crate::command::Tool::new("openssl")
        .args(["x509", "-outform", "DER", "-in"])
        .arg(pem)
        .arg("-out")
        .arg(&der)
        .run()?;
    let list = stand.file("list", made.owner.list()?)?;
    let two = [fs::read(other)?, fs::read(pem)?].concat();
    let two = stand.file("two", two)?;
    let folder = stand.path("keys");
    fs::create_dir(&folder)?;
    fs::copy(other, folder.join("a"))?;
    fs::copy(&der, folder.join("b"))?;
    for form in [pem, &der, &list, &two, &folder] {
        let verdict = "good: signed by CN=owner, who is trusted by ";
        check(stand, &made.good, &[&trust(form)], verdict)
            .with_context(|| form.display().to_string())?;
    }
    let by_hash = stand.file("hash", crate::pki::image_list(&made.unsigned)?)?;
    let listed = "good: the digest of the image is listed in ";
    check(stand, &made.unsigned, &[&trust(&by_hash)], listed)?;
    for (name, content) in [("empty", ""), ("text", "no certificate")] {
        let file = stand.file(name, content)?;
        let options = [&*trust(&file), "--verify=require"];
        stand.refuses(&made.good, &options, &["--trust", name])?;
    }
    Ok(())
}
