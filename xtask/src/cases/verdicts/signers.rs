//! Who signed: each kind of key, each way from a signer to who is trusted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Tool;
use crate::pki::{Efivars, Kind, Signer};
use crate::stand::Stand;

use super::lists::check_machine;
use super::{Made, Named, check, trust};

pub(in super::super) const CASES: &[Named] = &[
    Named::new("verdicts/signers", signers),
    Named::new("verdicts/chains", chains),
    Named::new("verdicts/constraints-of-names", constraints),
    Named::new("verdicts/signing-tools", tools),
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
        (&made.good, "good, by CN=owner, trusted through "),
        (&both, "good, by CN=owner, trusted through "),
        (&other_both, "good, by CN=owner, trusted through "),
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
    let by_leaf = "good, by CN=leaf";
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

/// Constraints on names bind, critical or not; policies may be critical and say nothing.
fn constraints(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let root = Signer::new(stand, "root", Kind::Rsa2048)?;
    let good = "good, by CN=leaf";
    for (name, extension, verdict) in [
        ("permits", "permitted;dirName:owner", "untrusted: "),
        ("excludes", "excluded;dirName:owner", good),
        (
            "critical",
            "critical,permitted;dirName:owner",
            "untrusted: ",
        ),
        ("hosts", "critical,permitted;DNS:example.com", good),
    ] {
        let extension = format!("nameConstraints={extension}");
        let extensions = ["basicConstraints=critical,CA:TRUE", &extension];
        let middle = Signer::with_extensions(stand, name, Some(&root), &extensions)?;
        let leaf = Signer::issued_by(stand, "leaf", &middle, false)?;
        let image = leaf.sign(&made.unsigned, &[&middle], &stand.path("names.efi"))?;
        check(stand, &image, &[&trust(root.certificate())], verdict).context(name)?;
    }
    let policies = [
        "basicConstraints=critical,CA:TRUE",
        "certificatePolicies=critical,1.2.3",
        "policyConstraints=critical,requireExplicitPolicy:0",
        "crlDistributionPoints=critical,URI:http://example.com/list",
    ];
    let middle = Signer::with_extensions(stand, "policies", Some(&root), &policies)?;
    let leaf = Signer::issued_by(stand, "leaf", &middle, false)?;
    let image = leaf.sign(&made.unsigned, &[&middle], &stand.path("policies.efi"))?;
    check(stand, &image, &[&trust(root.certificate())], good)
}

/// pesign of Debian 12 names another type of content than the specification, osslsigncode
/// another type of attributes where it attaches.
fn tools(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let owner = &made.owner;
    let (trusted, other) = (
        trust(owner.certificate()),
        trust(made.stranger.certificate()),
    );
    for image in [
        owner.sign_by_pesign(stand, &made.unsigned)?,
        owner.sign_by_osslsigncode(stand, &made.unsigned, "sha256")?,
        owner.sign_by_osslsigncode(stand, &made.unsigned, "sha512")?,
        owner.attach_by_osslsigncode(stand, &made.unsigned)?,
    ] {
        let name = || image.display().to_string();
        check(stand, &image, &[&trusted], "good, by CN=owner").with_context(name)?;
        check(stand, &image, &[&other], "untrusted: ").with_context(name)?;
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
        let verdict = format!("good, by CN={name}, trusted through ");
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
        let verdict = format!("good, by CN={name}, trusted through ");
        check(stand, &image, &[&trust(signer.certificate())], &verdict).context(name)?;
    }
    weak_key(stand, &made)
}

/// Firmware boots images by a short key in its own list. No other list is a reason to.
fn weak_key(stand: &Stand, made: &Made) -> Result<()> {
    let signer = Signer::new(stand, "short", Kind::Rsa1024)?;
    let image = signer.sign(&made.unsigned, &[], &stand.path("short.efi"))?;
    let list = signer.list()?;
    let file = trust(signer.certificate());
    check(
        stand,
        &image,
        &[&file],
        "unsupported signature: public key: ",
    )?;
    for (name, verdict) in [
        ("db", "good, by CN=short, trusted through db"),
        ("MokListRT", "unsupported signature: public key: "),
    ] {
        let machine = Efivars::new(stand, name, false)?;
        let machine = match name {
            "db" => machine.firmware(name, &list)?,
            _ => machine.table(name, &list)?,
        };
        check_machine(stand, &image, &machine, verdict).context(name)?;
    }
    Ok(())
}

/// The same certificate as PEM, DER, PKCS#7, EFI signature list, in a folder, and behind another.
fn forms(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let (pem, other) = (made.owner.certificate(), made.stranger.certificate());
    let openssl = |arguments: &[&str], out: &str| -> Result<PathBuf> {
        let tool = Tool::new("openssl").args(arguments).arg(pem);
        let out = stand.path(out);
        tool.arg("-out").arg(&out).run()?;
        Ok(out)
    };
    let der = openssl(&["x509", "-outform", "DER", "-in"], "owner.der")?;
    let with_uses = openssl(&["x509", "-trustout", "-in"], "with-uses.pem")?;
    let bundle = openssl(&["crl2pkcs7", "-nocrl", "-certfile"], "bundle.p7b")?;
    let lined = stand.file("lined.der", [&fs::read(&der)?[..], b"\n"].concat())?;
    let list = stand.file("list", made.owner.list()?)?;
    let two = [fs::read(other)?, fs::read(pem)?].concat();
    let two = stand.file("two", two)?;
    let folder = folder_of_keys(stand, &[other, &der])?;
    for form in [pem, &der, &with_uses, &bundle, &lined, &list, &two, &folder] {
        let verdict = "good, by CN=owner, trusted through ";
        check(stand, &made.good, &[&trust(form)], verdict)
            .with_context(|| form.display().to_string())?;
    }
    let by_hash = stand.file("hash", crate::pki::image_list(&made.unsigned)?)?;
    let listed = "good, the digest of the image is listed in ";
    check(stand, &made.unsigned, &[&trust(&by_hash)], listed)?;
    for (name, content) in [("empty", ""), ("text", "no certificate")] {
        let file = stand.file(name, content)?;
        let options = [&*trust(&file), "--verify=require"];
        stand.refuses(&made.good, &options, &["--trust", name])?;
    }
    let folder = stand.path("no-keys");
    fs::create_dir(&folder)?;
    fs::write(
        folder.join("GUID"),
        "77fa9abd-0359-4d32-bd60-28f4e78f784b\n",
    )?;
    let options = [&*trust(&folder), "--verify=require"];
    let words = ["no file in this folder of trusted keys holds a certificate"];
    stand.refuses(&made.good, &options, &words)
}

/// A folder as people keep them: `certificates`, and what is none.
fn folder_of_keys(stand: &Stand, certificates: &[&Path]) -> Result<PathBuf> {
    let folder = stand.path("keys");
    fs::create_dir(&folder)?;
    for (number, certificate) in certificates.iter().enumerate() {
        fs::copy(certificate, folder.join(format!("{number}.crt")))?;
    }
    fs::write(
        folder.join("GUID"),
        "77fa9abd-0359-4d32-bd60-28f4e78f784b\n",
    )?;
    fs::copy(stand.path("owner.key"), folder.join("db.key"))?;
    fs::create_dir(folder.join("folder"))?;
    Tool::new("mkfifo").arg(folder.join("pipe")).run()?;
    Ok(folder)
}
