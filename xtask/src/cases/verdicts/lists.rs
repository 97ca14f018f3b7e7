//! The machine's own lists: what allows and what revokes, by `--trust system`.

use anyhow::{Context, Result, ensure};

use crate::cases::edited::Edited;
use crate::cases::read;
use crate::pki::{Efivars, Kind, Signer, image_list};
use crate::stand::Stand;

use super::{Made, Named, REQUIRED, check, trust};

const SYSTEM: &str = "--trust=system";
/// Stub 252 is of generation 1.
const SBAT_LEVEL: &[u8] = b"sbat,1,2024010900\nshim,4\nsystemd,2\n";
const OLD_SBAT_LEVEL: &[u8] = b"sbat,1,2024010900\nshim,4\nsystemd,1\n";

pub(in super::super) const CASES: &[Named] = &[
    Named::new("verdicts/system-allows", allows),
    Named::new("verdicts/system-revokes", revokes),
    Named::new(
        "verdicts/system-revokes-what-is-not-accepted",
        revokes_unaccepted,
    ),
    Named::new("verdicts/system-lists-odd-images", odd_images),
    Named::new("verdicts/secure-boot-requires", secure_boot),
];

/// Checks the verdict where a machine's variables say what is trusted.
pub(super) fn check_machine(
    stand: &Stand,
    image: &std::path::Path,
    machine: &Efivars,
    verdict: &str,
) -> Result<()> {
    let efivars = format!("--efivars={}", machine.dir().display());
    check(stand, image, &[SYSTEM, &efivars], verdict)?;
    // It is what counts without --trust as well.
    check(stand, image, &[&efivars], verdict)
}

fn allows(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let machine = |name| Efivars::new(stand, name, false);
    let owner = made.owner.list()?;
    let by_owner = "good, by CN=owner, trusted through ";
    let cases = [
        (
            "db",
            &made.good,
            machine("db")?.firmware("db", &owner)?,
            format!("{by_owner}db"),
        ),
        (
            "MokListRT",
            &made.good,
            machine("mok")?.shim("MokListRT", &owner)?,
            format!("{by_owner}MokListRT"),
        ),
        (
            "a table",
            &made.good,
            machine("table")?.table("MokListRT", &owner)?,
            format!("{by_owner}MokListRT"),
        ),
        (
            "a digest",
            &made.unsigned,
            machine("hash")?.firmware("db", &image_list(&made.unsigned)?)?,
            "good, the digest of the image is listed in db".to_owned(),
        ),
        (
            "another's digest",
            &made.unsigned,
            machine("other-hash")?.firmware("db", &image_list(&other(stand)?)?)?,
            "unsigned".to_owned(),
        ),
        (
            "a stranger",
            &made.good,
            machine("stranger")?.firmware("db", &made.stranger.list()?)?,
            "untrusted: ".to_owned(),
        ),
    ];
    for (case, image, machine, verdict) in &cases {
        check_machine(stand, image, machine, verdict).context(*case)?;
    }
    // Where nobody is trusted, nothing but a demand makes anybody look.
    let ignored = machine("ignored")?.firmware("db", &owner)?;
    let ignored = ignored.shim("MokIgnoreDB", &[1])?;
    for (machine, image, verdict) in [
        (&ignored, &made.good, "untrusted: "),
        (&machine("nobody")?, &made.unsigned, "unsigned"),
    ] {
        let efivars = format!("--efivars={}", machine.dir().display());
        let report = stand.unfold(image, &[&efivars, "--verify=auto"])?.report;
        ensure!(report["signatures"][0]["verdict"].is_null(), "{report:#}");
        let require = [&*efivars, "--verify=require"];
        stand.refuses(image, &require, &[verdict, REQUIRED])?;
    }
    Ok(())
}

/// An image that differs from the usual one.
fn other(stand: &Stand) -> Result<std::path::PathBuf> {
    let image = Edited::uki(stand)?;
    let at = image.coff()? + 4;
    stand.file("other.efi", image.with(at, b"else")?.0)
}

fn revokes(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let root = Signer::new(stand, "root", Kind::Rsa2048)?;
    let leaf = Signer::issued_by(stand, "leaf", &root, false)?;
    let chained = leaf.sign(&made.unsigned, &[], &stand.path("chained.efi"))?;
    let both = made
        .stranger
        .sign(&made.good, &[], &stand.path("both.efi"))?;
    let trusted = [made.owner.list()?, root.list()?].concat();
    let machine = |name| Efivars::new(stand, name, false)?.firmware("db", &trusted);
    let digest = image_list(&made.good)?;
    let cases = [
        ("nothing", &made.good, machine("none")?, "good, by CN=owner"),
        (
            "the chain is good",
            &chained,
            machine("chain")?,
            "good, by CN=leaf",
        ),
        (
            "the image",
            &made.good,
            machine("image")?.firmware("dbx", &digest)?,
            "revoked: the image: ",
        ),
        (
            "the image, by shim",
            &made.good,
            machine("mok-image")?.shim("MokListXRT", &digest)?,
            "revoked: the image: ",
        ),
        (
            "the image, by a table",
            &made.good,
            machine("table")?.table("MokListXRT", &digest)?,
            "revoked: the image: ",
        ),
        (
            "the certificate",
            &made.good,
            machine("cert")?.firmware("dbx", &made.owner.list()?)?,
            "revoked: the certificate of CN=owner: ",
        ),
        (
            "its TBS",
            &made.good,
            machine("tbs")?.firmware("dbx", &made.owner.tbs_list("256")?)?,
            "revoked: the certificate of CN=owner: ",
        ),
        (
            "its TBS, SHA-384",
            &made.good,
            machine("tbs384")?.shim("MokListXRT", &made.owner.tbs_list("384")?)?,
            "revoked: the certificate of CN=owner: ",
        ),
        (
            "its issuer",
            &chained,
            machine("issuer")?.firmware("dbx", &root.list()?)?,
            "revoked: the certificate of CN=root: ",
        ),
        (
            "the leaf",
            &chained,
            machine("leaf")?.firmware("dbx", &leaf.tbs_list("512")?)?,
            "revoked: the certificate of CN=leaf: ",
        ),
        (
            "one of two signers",
            &both,
            machine("one")?.firmware("dbx", &made.stranger.list()?)?,
            "revoked: the certificate of CN=stranger: ",
        ),
        (
            "somebody else",
            &made.good,
            machine("else")?.firmware("dbx", &made.stranger.list()?)?,
            "good, by CN=owner",
        ),
        (
            "the generation",
            &made.good,
            machine("sbat")?.shim("SbatLevelRT", SBAT_LEVEL)?,
            "bad signature: ",
        ),
        (
            "an older generation",
            &made.good,
            machine("old")?.shim("SbatLevelRT", OLD_SBAT_LEVEL)?,
            "good, by CN=owner",
        ),
    ];
    for (case, image, machine, verdict) in &cases {
        check_machine(stand, image, machine, verdict).context(*case)?;
    }
    Ok(())
}

/// A second signature by somebody who is revoked, of a kind that does not count as a first one.
fn revokes_unaccepted(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let owner = made.owner.list()?;
    for (name, kind) in [("rsa1024", Kind::Rsa1024), ("p521", Kind::P521)] {
        let weak = Signer::new(stand, name, kind)?;
        let image = weak.sign(&made.good, &[], &stand.path(&format!("{name}.efi")))?;
        let machine = Efivars::new(stand, name, false)?.firmware("db", &owner)?;
        let good = "good, by CN=owner, trusted through db";
        check_machine(stand, &image, &machine, good).context(name)?;
        for list in [
            weak.list()?,
            weak.tbs_list("256")?,
            with_bytes_behind(weak.list()?)?,
        ] {
            let machine = Efivars::new(stand, name, false)?.firmware("db", &owner)?;
            let machine = machine.firmware("dbx", &list)?;
            let revoked = format!("revoked: the certificate of CN={name}: ");
            check_machine(stand, &image, &machine, &revoked).context(name)?;
        }
    }
    Ok(())
}

/// A list of one certificate, with three bytes behind that.
fn with_bytes_behind(mut list: Vec<u8>) -> Result<Vec<u8>> {
    // SignatureListSize and SignatureSize.
    for at in [16, 24] {
        let field = list.get_mut(at..at + 4).context("a short list")?;
        let size = u32::from_le_bytes(field.try_into()?) + 3;
        field.copy_from_slice(&size.to_le_bytes());
    }
    list.extend([0; 3]);
    Ok(list)
}

/// efitools pads an image as signing would, and firmware does not: it finds no such digest in `db`.
fn odd_images(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let odd = [&read(&made.unsigned)?[..], b"odd"].concat();
    let odd = stand.file("odd.efi", odd)?;
    let listed = image_list(&odd)?;
    let allowed = Efivars::new(stand, "allowed", false)?.firmware("db", &listed)?;
    check_machine(stand, &odd, &allowed, "unsigned")?;
    let revoked = Efivars::new(stand, "revoked", false)?.firmware("db", &listed)?;
    let revoked = revoked.firmware("dbx", &listed)?;
    check_machine(stand, &odd, &revoked, "revoked: the image: ")
}

/// Without a word about it, Secure Boot decides.
fn secure_boot(stand: &Stand) -> Result<()> {
    let made = Made::new(stand)?;
    let on = Efivars::new(stand, "on", true)?.firmware("db", &made.owner.list()?)?;
    let insecure = Efivars::new(stand, "insecure", true)?.shim("MokSBStateRT", &[1])?;
    let efivars = format!("--efivars={}", on.dir().display());
    let because = "a good signature is required, since Secure Boot is on";
    for options in [&[&*efivars][..], &[&efivars, "--verify=auto"]] {
        stand.refuses(&made.unsigned, options, &["unsigned", because])?;
        let report = stand.unfold(&made.good, options)?.report;
        super::check_report(&report, "good, by CN=owner", true)?;
    }
    // --trust says who, not whether.
    let stranger = trust(made.stranger.certificate());
    stand.refuses(
        &made.good,
        &[&efivars, &stranger],
        &["untrusted: ", because],
    )?;
    let report = stand
        .unfold(&made.unsigned, &[&efivars, "--verify=off"])?
        .report;
    let signature = &report["signatures"][0];
    let digests = signature["digests"].as_object().map(serde_json::Map::len);
    ensure!(
        signature["state"] == "unsigned" && digests == Some(0),
        "{report:#}"
    );
    let efivars = format!("--efivars={}", insecure.dir().display());
    stand.unfold(&made.unsigned, &[&efivars]).map(drop)
}
