//! Trusted keys, and how images that none of them vouches for are treated.

use tracing::info;
use ukexec_bpf::{Rope, RopeError, container};
use ukexec_pe::PeImage;
use ukexec_signature::{
    Checks, DigestRequest, State, Trust, Verdict, digests_needed, machine_trust, verify_appended,
};
use ukexec_unfold::{ParserFile, PeBytes};

use crate::config::policy::{Because, Enforcement};
use crate::digest::digest_state;
use crate::error::{Context as _, ErrorKind, LoaderError, Result};
use crate::protocol::bundle::Bundled;
use crate::protocol::{Trusted, Verification};

/// Trusted keys, and how images that none of them vouches for are treated.
#[derive(Debug, Default)]
pub(crate) struct TrustPolicy {
    pub(super) enforcement: Enforcement,
    /// Report every signature, also where none is needed.
    pub(super) thorough: bool,
    pub(super) trust: Trust,
    pub(super) checks: Checks,
}

impl TrustPolicy {
    /// Reads the keys that `verification` names; its files are in `bundle`.
    pub(crate) fn new(verification: &Verification, bundle: &Rope) -> Result<Self> {
        let read = |file: &Bundled| bundle.slice(file.range.clone())?.to_vec();
        // Where the machine is not asked, none of its variables counts.
        let variables = verification.machine.as_deref().unwrap_or_default();
        let mut trust = machine_trust(|path| {
            let variable = variables.iter().find(|variable| variable.name == path);
            variable.map(read).transpose()
        })
        .context(|| "this machine's own keys cannot be read")?;
        for trusted in &verification.trusted {
            add(&mut trust, trusted, read).context(|| "what --trust names cannot be used")?;
        }
        let enforcement = verification.enforcement;
        if let Enforcement::Require(because) = enforcement
            && let Some(entry) = trust.unread_revocations().first()
        {
            return Err(LoaderError::new(format!(
                "{entry}; it could revoke any image, and a good signature is required, {}; --trust \
                 with files leaves the machine's lists out",
                because.reason()
            ))
            .of_kind(ErrorKind::Signature));
        }
        Ok(Self {
            enforcement,
            thorough: verification.thorough,
            trust,
            checks: verification.checks,
        })
    }

    /// Returns the entries of trust and revocation lists that were passed over,
    /// in words.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let notes = self.trust.notes().iter();
        let notes = notes.chain(self.trust.unread_revocations());
        notes.map(ToString::to_string)
    }

    /// Returns why nothing counts that is not verified, if that is so.
    pub(crate) fn required(&self) -> Option<Because> {
        match self.enforcement {
            Enforcement::Require(because) => Some(because),
            Enforcement::Report | Enforcement::Off => None,
        }
    }

    /// Returns the digests of an image that it takes to verify it, if any.
    pub(crate) fn digests_needed(&self, pe: &PeImage, image: &Rope) -> Option<DigestRequest> {
        match self.enforcement {
            Enforcement::Off => None,
            Enforcement::Report | Enforcement::Require(_) => {
                digests_needed(pe, &PeBytes(image), &self.trust)
            }
        }
    }

    /// Returns whether `parser`, which no image carries, may run: where nothing
    /// counts that is not verified, it is signed like a kernel module, and so is each container in
    /// it.
    pub(crate) fn admits(&self, parser: &ParserFile) -> Result<()> {
        let Some(because) = self.required() else {
            return Ok(());
        };
        let check = |file: &[u8]| {
            let verdict = verify_appended(file, &self.trust, self.checks, digest_state);
            match verdict.is_good() {
                true => Ok(()),
                false => Err(not_verified(&verdict, because)),
            }
        };
        check(&parser.object)?;
        // One that is unsound, or none, holds no other; an unfolding refuses it.
        let levels = container::levels(&parser.object).unwrap_or_default();
        for (depth, level) in levels.iter().enumerate().skip(1) {
            let name = vec![container::NESTED; depth].join(" > ");
            check(level.file).context(|| format!("the container in it, {name}"))?;
        }
        Ok(())
    }
}

/// Adds the keys that a caller trusts to `trust`. In a folder, it passes over
/// files that hold nothing to trust, but not damaged files that should hold
/// some.
fn add(
    trust: &mut Trust,
    trusted: &Trusted,
    read: impl Fn(&Bundled) -> Result<Vec<u8>, RopeError>,
) -> Result<()> {
    let (name, files) = match trusted {
        Trusted::File(file) => return Ok(trust.add_file(&file.name, &read(file)?)?),
        Trusted::Folder { name, files } => (name, files),
    };
    let mut is_empty = true;
    for file in files {
        match trust.add_file(&file.name, &read(file)?) {
            Ok(()) => is_empty = false,
            Err(error) if error.is_no_trust() => info!("passed over: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    if is_empty {
        return Err(LoaderError::new(format!(
            "{name}: no file in this folder of trusted keys holds a certificate (-v says more)"
        )));
    }
    Ok(())
}

/// Returns the error of a layer or a parser that nobody who is trusted has signed.
pub(super) fn not_verified(verdict: &Verdict, because: Because) -> LoaderError {
    let advice = match verdict.state() {
        State::Untrusted => "; --trust names keys",
        _ => "",
    };
    let reason = because.reason();
    LoaderError::new(format!(
        "{verdict:#}; a good signature is required, {reason}{advice}"
    ))
    .of_kind(ErrorKind::Signature)
}
