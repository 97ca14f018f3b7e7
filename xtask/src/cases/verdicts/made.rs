//! Images that somebody signed, and checks of the verdict on them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cases::edited::Edited;
use crate::pki::{Kind, Signer};
use crate::stand::{Stand, text_at};

/// The words with which `--verify=require` refuses.
pub(super) const REQUIRED: &str = "a good signature is required, since verify = require";

/// An image, and two who could sign it.
pub(super) struct Made {
    pub(super) unsigned: PathBuf,
    pub(super) owner: Signer,
    pub(super) stranger: Signer,
    /// Signed by the owner.
    pub(super) good: PathBuf,
}

impl Made {
    pub(super) fn new(stand: &Stand) -> Result<Self> {
        // Of a length that is not padded: efitools list the padded digest, firmware takes another.
        let mut image = Edited::uki(stand)?.0;
        image.resize(image.len().next_multiple_of(8), 0);
        let unsigned = stand.file("unsigned.efi", image)?;
        let owner = Signer::new(stand, "owner", Kind::Rsa2048)?;
        let stranger = Signer::new(stand, "stranger", Kind::Rsa2048)?;
        let good = owner.sign(&unsigned, &[], &stand.path("good.efi"))?;
        Ok(Self {
            unsigned,
            owner,
            stranger,
            good,
        })
    }
}

/// The option that trusts the file or folder at `path`.
pub(super) fn trust(path: &Path) -> String {
    format!("--trust={}", path.display())
}

/// Checks that the verdict on `image` begins with `verdict`: under `--verify=require` nothing but
/// a good one passes, and `--verify=auto` reports it and goes on. `options` say what is trusted.
pub(super) fn check(stand: &Stand, image: &Path, options: &[&str], verdict: &str) -> Result<()> {
    let is_good = verdict.starts_with("good");
    let auto = [options, &["--verify=auto"]].concat();
    let report = stand.unfold(image, &auto)?.report;
    check_report(&report, verdict, is_good).context("--verify=auto")?;
    let require = [options, &["--verify=require"]].concat();
    if is_good {
        let report = stand.unfold(image, &require)?.report;
        return check_report(&report, verdict, true).context("--verify=require");
    }
    stand
        .refuses(image, &require, &[verdict, REQUIRED])
        .context("--verify=require")
}

/// The verdict on an image that was changed after it was signed.
pub(super) const CHANGED: &str = "bad signature: the image was changed after signing";

/// As [`check`], of an image that no signature fits: `--verify=auto` refuses it too, with keys and
/// without. `inspect` shows it, and `--verify=off` takes it.
pub(super) fn check_changed(
    stand: &Stand,
    image: &Path,
    options: &[&str],
    verdict: &str,
) -> Result<()> {
    let require = [options, &["--verify=require"]].concat();
    stand.refuses(image, &require, &[verdict])?;
    let auto = [options, &["--verify=auto"]].concat();
    stand.refuses(image, &auto, &[verdict])?;
    let none = stand.path("no-variables");
    std::fs::create_dir_all(&none)?;
    let none = format!("--efivars={}", none.display());
    stand.refuses(image, &["--verify=auto", &none], &[verdict])?;
    let mut inspect: Vec<&dyn AsRef<OsStr>> = vec![&"inspect", &image, &"--json"];
    inspect.extend(auto.iter().map(|option| option as &dyn AsRef<OsStr>));
    check_report(&stand.ukexec_json(&inspect)?, verdict, false).context("inspect")?;
    stand.unfold(image, &[options, &["--verify=off"]].concat())?;
    Ok(())
}

/// Checks what a document says of the signatures of an image and the kernel in it.
pub(super) fn check_report(report: &Value, verdict: &str, is_good: bool) -> Result<()> {
    let found = text_at(report, "/signatures/0/text")?;
    ensure!(
        found.starts_with(verdict),
        "expected the verdict {verdict:?}, found {found:?}"
    );
    let [outer, inner] = ["/signatures/0", "/signatures/1"].map(|at| report.pointer(at));
    let (outer, inner) = (outer.context("no layer")?, inner.context("one layer")?);
    let state = &outer["state"];
    ensure!(
        (state == "good" || state == "allowed") == is_good,
        "{outer:#}"
    );
    let covered_by = if is_good {
        &outer["layer"]
    } else {
        &Value::Null
    };
    ensure!(outer["covered_by"] == *covered_by, "{outer:#}");
    if is_good {
        ensure!(inner["covered_by"] == *covered_by, "{inner:#}");
    }
    Ok(())
}
