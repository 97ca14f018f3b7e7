//! Signatures: the verdict on each layer, before anything of it runs.
//!
//! An image is verified as a whole, so that what lies inside a good one is good
//! as well: it came out of it, by a parser that is covered too. Inner layers
//! need no signature of their own then.

use std::error::Error;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tracing::info;
use ukexec_bpf::Rope;
use ukexec_pe::PeImage;
use ukexec_signature::{
    Checks, DigestRequest, DigestSource, Digests, ImageVerdict, SignatureError, TakenDigests,
    Trust, UnverifiedImage, Verdict, digests_needed, machine_trust, revoked_by_sbat,
    verify_appended, verify_image,
};
use ukexec_unfold::{Gate, LayerAtGate, ParserFile, PeBytes};

use crate::protocol::bundle::Bundled;
use crate::protocol::{Policy, Trusted, Verification};
use crate::report::document;

/// What to trust, and what to do about what is not trusted.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    policy: Policy,
    because: String,
    /// Tell of every signature, also where none is needed.
    thorough: bool,
    trust: Trust,
    checks: Checks,
}

impl Rules {
    /// Reads what `verification` says to trust; its files are in `bundle`.
    pub(crate) fn new(verification: &Verification, bundle: &Rope) -> anyhow::Result<Self> {
        let read = |file: &Bundled| -> anyhow::Result<Vec<u8>> {
            Ok(bundle.slice(file.range.clone())?.to_vec()?)
        };
        let variables = verification.machine.as_deref().unwrap_or_default();
        let mut trust = machine_trust(|path| {
            let variable = variables.iter().find(|variable| variable.name == path);
            let content = variable.map(|variable| read(variable).map_err(std::io::Error::other));
            content.transpose()
        })
        .context("this machine's own keys cannot be read")?;
        for trusted in &verification.trusted {
            add(&mut trust, trusted, read).context("what --trust names cannot be used")?;
        }
        let (policy, because) = (verification.policy, verification.because.clone());
        if policy == Policy::Require
            && let Some(entry) = trust.unread_revocations().first()
        {
            let entry = entry.to_string();
            return Err(UnreadRevocation { entry, because }.into());
        }
        Ok(Self {
            policy,
            because,
            thorough: verification.thorough,
            trust,
            checks: Checks {
                check_dates: verification.check_dates,
            },
        })
    }

    /// Returns what of trust and revocations was passed over, in words.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let notes = self.trust.notes().iter();
        let notes = notes.chain(self.trust.unread_revocations());
        notes.map(ToString::to_string)
    }

    /// Returns whether nothing counts that is not verified.
    pub(crate) fn is_require(&self) -> bool {
        self.policy == Policy::Require
    }

    /// Returns what has to be hashed of an image to verify it, if anything.
    pub(crate) fn digests_needed(&self, pe: &PeImage, image: &Rope) -> Option<DigestRequest> {
        match self.idle() {
            Some(_) => None,
            None => digests_needed(pe, &PeBytes(image), &self.trust),
        }
    }

    /// Returns why signatures are not verified, if they are not.
    fn idle(&self) -> Option<&'static str> {
        match self.policy {
            Policy::Off => Some(NOT_LOOKED_AT),
            // Only a person who inspects wants to know what nobody vouches for.
            Policy::Report if self.trust.is_empty() && !self.thorough => {
                Some("not verified, as no key is trusted (--trust names keys)")
            }
            Policy::Report | Policy::Require => None,
        }
    }

    /// Returns whether `parser`, which no image carries, may run: where nothing
    /// counts that is not verified, it is signed like a kernel module.
    pub(crate) fn admits(&self, parser: &ParserFile) -> Result<(), NotVerified> {
        if !self.is_require() {
            return Ok(());
        }
        let verdict = verify_appended(&parser.object[..], &self.trust, self.checks);
        if verdict.is_good() {
            return Ok(());
        }
        Err(self.refuse(verdict.to_string()))
    }

    fn refuse(&self, verdict: String) -> NotVerified {
        NotVerified {
            verdict,
            because: self.because.clone(),
        }
    }
}

const NOT_LOOKED_AT: &str = "not looked at";

/// Adds what a caller trusts to `trust`. In a folder, files that hold nothing to
/// trust are passed over, but not ones that should and are damaged.
fn add(
    trust: &mut Trust,
    trusted: &Trusted,
    read: impl Fn(&Bundled) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<()> {
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
        bail!("{name}: no file in this folder of trusted keys holds a certificate (-v says more)");
    }
    Ok(())
}

/// Looks at the layers of one unfolding.
#[derive(Debug)]
pub(crate) struct Verifier<'a> {
    rules: &'a Rules,
    /// The outermost image's digests, taken with its snapshot.
    hashed: Option<&'a TakenDigests>,
    /// Whether the image cannot change any more.
    sealed: bool,
    /// Whether parsers that images carry may run.
    embedded_parsers: bool,
    /// Whether a layer so far was a PE image: its `.sbat` stands for all inside.
    had_pe: bool,
    /// What was found, layer by layer.
    pub(crate) found: Vec<Found>,
}

/// What was found of a layer.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where it lies.
    pub(crate) layer: String,
    /// Why nobody looked, if nobody did at all.
    idle: Option<&'static str>,
    /// Absent where nobody looked.
    pub(crate) verdict: Option<Verdict>,
    /// The digests it was verified by.
    digests: Digests,
    /// The layer around it that is good, or itself.
    pub(crate) covered_by: Option<String>,
}

/// A layer is not what anybody trusted has signed.
#[derive(Debug, thiserror::Error)]
#[error(
    "{verdict}; a good signature is required, {because} (--trust names keys to trust, \
     --verify=off takes the image as it is)"
)]
pub(crate) struct NotVerified {
    verdict: String,
    because: String,
}

/// A signed image's own parser would not run.
#[derive(Debug, thiserror::Error)]
#[error(
    "--no-embedded-parser: the image carries a parser of its own, which is part of what was \
     signed, and a good signature is required, {because}; leave the option out"
)]
struct PassedOver {
    because: String,
}

/// Nobody can say what an entry of a revocation list revokes.
#[derive(Debug, thiserror::Error)]
#[error(
    "{entry}; it could revoke any image, and a good signature is required, {because} \
     (--trust with files leaves the machine's lists out, --verify=off takes the image as it is)"
)]
struct UnreadRevocation {
    entry: String,
    because: String,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(
        rules: &'a Rules,
        hashed: Option<&'a TakenDigests>,
        sealed: bool,
        embedded_parsers: bool,
    ) -> Self {
        Self {
            rules,
            hashed,
            sealed,
            embedded_parsers,
            had_pe: false,
            found: Vec::new(),
        }
    }

    /// Refuses to pass over a parser that is part of what was signed: another
    /// one may read something else out of the same image.
    fn check_own_parser(&self, layer: &LayerAtGate<'_>) -> Result<(), PassedOver> {
        let passes_over = !self.embedded_parsers && layer.carries_parser();
        if passes_over && self.rules.is_require() {
            return Err(PassedOver {
                because: self.rules.because.clone(),
            });
        }
        Ok(())
    }

    /// Refuses the outermost PE image in what is signed and is none itself, such
    /// as a compressed kernel, if its SBAT generation is too old.
    fn check_covered_sbat(&self, layer: &LayerAtGate<'_>) -> Result<(), NotVerified> {
        let Some(pe) = layer.pe.filter(|_| self.rules.is_require() && !self.had_pe) else {
            return Ok(());
        };
        match revoked_by_sbat(pe, &PeBytes(layer.image), &self.rules.trust) {
            Some(revoked) => Err(self.rules.refuse(revoked.to_string())),
            None => Ok(()),
        }
    }

    fn verify(&self, layer: &LayerAtGate<'_>) -> Result<ImageVerdict, SignatureError> {
        let fault = layer.pe_fault.map(Err);
        let image = UnverifiedImage {
            bytes: &PeBytes(layer.image),
            pe: fault.or(layer.pe.map(Ok)),
            digests: self.digests(),
        };
        verify_image(&image, &self.rules.trust, self.rules.checks)
    }

    /// Returns where the digests of the next layer come from.
    fn digests(&self) -> DigestSource<'a> {
        match self.hashed {
            // Nothing was to be hashed when it was first looked at.
            _ if self.is_outermost() && !self.sealed => DigestSource::NoneNeeded,
            Some(taken) if self.is_outermost() => DigestSource::Taken(taken),
            _ => DigestSource::Image,
        }
    }

    fn is_outermost(&self) -> bool {
        self.found.is_empty()
    }
}

impl Gate for Verifier<'_> {
    fn admit(&mut self, layer: &LayerAtGate<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let outer = self
            .found
            .iter()
            .rev()
            .find_map(|found| found.covered_by.clone());
        let idle = self.rules.idle();
        let looked_at = idle.is_none() && (outer.is_none() || self.rules.thorough);
        let found = looked_at.then(|| self.verify(layer)).transpose()?;
        let (verdict, digests) = match found {
            Some(found) => (Some(found.verdict), found.digests),
            None => (None, Digests::default()),
        };
        let is_good = verdict.as_ref().is_some_and(Verdict::is_good);
        let covered_by = outer.or_else(|| is_good.then(|| layer.path.to_owned()));
        if covered_by.is_none() && self.rules.is_require() {
            // Every layer that none covers is looked at where signatures are required.
            let said = verdict.map_or_else(|| NOT_LOOKED_AT.to_owned(), |it| it.to_string());
            return Err(self.rules.refuse(said).into());
        }
        self.check_covered_sbat(layer)?;
        self.had_pe |= layer.pe.is_some();
        self.check_own_parser(layer)?;
        self.found.push(Found {
            layer: layer.path.to_owned(),
            idle,
            verdict,
            digests,
            covered_by,
        });
        Ok(())
    }
}

impl Found {
    /// Returns this in words.
    pub(crate) fn text(&self) -> String {
        let Self {
            layer,
            verdict,
            covered_by,
            ..
        } = self;
        let outer = covered_by.as_ref().filter(|outer| *outer != layer);
        match (verdict, outer) {
            (None, None) => format!("{layer}: {}", self.idle.unwrap_or_default()),
            (None, Some(outer)) => format!("{layer}: covered by {outer}"),
            (Some(verdict), None) => format!("{layer}: {verdict}"),
            (Some(verdict), Some(outer)) => format!("{layer}: covered by {outer}; {verdict}"),
        }
    }

    /// Returns what that rests on, in lines: the digests, and who vouches for
    /// whom.
    pub(crate) fn details(&self) -> Vec<String> {
        let mut details = Vec::new();
        if self.digests != Digests::default() {
            details.push(self.digests.to_string());
        }
        if let Some(Verdict::Good(good)) = &self.verdict
            && good.chain.len() > 1
        {
            let chain = good.chain.iter().map(|one| one.subject.as_str());
            let chain: Vec<&str> = chain.collect();
            details.push(format!("chain {}", chain.join(", issued by ")));
        }
        details
    }

    pub(crate) fn document(&self) -> Value {
        json!({
            "layer": self.layer,
            "covered_by": self.covered_by,
            "verdict": self.verdict.as_ref().map(ToString::to_string),
            "good": self.verdict.as_ref().map(Verdict::is_good),
            "signature": self.verdict,
            "digests": document::digests(&self.digests),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use ukexec_unfold::{Budget, Input, MemoryStore, Options, unfold_with};

    const UKI: &[u8] = include_bytes!("../../../../fuzz/seeds/pe/uki");

    #[test]
    fn an_image_in_a_signed_stream_has_its_sbat_looked_at() {
        let sbat = b"sbat,1,SBAT,sbat,1,url\nfoo,1,Foo,foo,1,url\n";
        let image = ukexec_pe::attach(UKI, ".sbat", sbat, ukexec_pe::EditOptions::default());
        let image = image.unwrap();
        let gate = |level: &'static [u8], covering: &str, had_pe| {
            let sbat_level = |path: &str| {
                let content = [&[6, 0, 0, 0], level].concat();
                Ok(path.starts_with("efivars/SbatLevelRT").then_some(content))
            };
            let rules = Rules {
                policy: Policy::Require,
                trust: machine_trust(sbat_level).unwrap(),
                ..Rules::default()
            };
            let mut verifier = Verifier::new(&rules, None, true, true);
            verifier.had_pe = had_pe;
            verifier.found.push(Found {
                layer: covering.to_owned(),
                idle: None,
                verdict: None,
                digests: Digests::default(),
                covered_by: Some(covering.to_owned()),
            });
            let input = Input {
                image: Rope::from(image.clone()),
                ..Input::default()
            };
            let (store, budget) = (&mut MemoryStore::default(), &mut Budget::default());
            unfold_with(input, &Options::default(), &mut verifier, store, budget)
                .map(drop)
                .map_err(|error| crate::report::failure::sentence(&error))
        };
        let old = b"sbat,1,2024010100\nfoo,2\n";
        let error = gate(old, "Image.gz", false).unwrap_err();
        expect![[r#"image: stage 1: refused before anything of it ran: bad signature: SBAT revokes the image: its component "foo" has generation 1, and this machine asks for 2 or later (level of 2024010100): a newer build of the image is needed; a good signature is required,  (--trust names keys to trust, --verify=off takes the image as it is)"#]].assert_eq(&error);
        gate(b"sbat,1,2024010100\nfoo,1\n", "Image.gz", false).unwrap();
        gate(old, "uki.efi", true).unwrap();
    }

    #[test]
    fn an_image_without_sound_pe_headers_cannot_be_verified() {
        let mut image = UKI.to_vec();
        let pe = usize::from(image[0x3c]) + usize::from(image[0x3d]) * 0x100;
        // Data directory 4: a table behind the end.
        let certificates = pe + 24 + 112 + 4 * 8;
        let end = u32::try_from(image.len()).unwrap();
        image[certificates..certificates + 4].copy_from_slice(&end.to_le_bytes());
        image[certificates + 4..certificates + 8].copy_from_slice(&[8, 0, 0, 0]);
        let rules = Rules {
            policy: Policy::Require,
            because: "as the test wants it".to_owned(),
            ..Rules::default()
        };
        let input = Input {
            image: Rope::from(image),
            ..Input::default()
        };
        let error = unfold_with(
            input,
            &Options::default(),
            &mut Verifier::new(&rules, None, true, true),
            &mut MemoryStore::default(),
            &mut Budget::default(),
        )
        .unwrap_err();
        expect!["image: stage 1: refused before anything of it ran: bad signature: the image is no sound PE32+ file, so that no signature of it can be found: certificate table (data directory 4) at file offset 0x128: expected bytes inside the file, found 0xe00 to 0xe08 of a file that ends at 0xe00; is the file cut off?; a good signature is required, as the test wants it (--trust names keys to trust, --verify=off takes the image as it is)"].assert_eq(&crate::report::failure::sentence(&error));
    }
}
