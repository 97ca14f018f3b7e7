//! Signatures: the verdict on each layer, before anything of it runs.
//!
//! The verifier verifies an image as a whole. Files inside a good image are
//! good as well: they came out of it, by a parser that its signature covers
//! too. So inner layers need no signature of their own.

use std::error::Error;

use ukexec_bpf::Rope;
use ukexec_pe::{PeError, PeImage};
use ukexec_signature::{
    DigestSource, Digests, SignatureError, State, TakenDigests, UnverifiedImage, Verdict,
    list_signers, revoked_by_sbat, verify_image,
};
use ukexec_unfold::{Gate, LayerAtGate, PeBytes, SignatureRefusal};

use super::trust_policy::{TrustPolicy, not_verified};
use crate::config::policy::Enforcement;
use crate::digest::digest_state;
use crate::error::{ErrorKind, LoaderError, Result};
use crate::protocol::line::cut;
use crate::report::signature::SignatureReport;

/// Looks at the layers of one unfolding.
#[derive(Debug)]
pub(crate) struct Verifier<'a> {
    pub(super) policy: &'a TrustPolicy,
    /// The outermost image's digests, taken with its snapshot.
    pub(super) hashed: Option<&'a TakenDigests>,
    /// Whether the image cannot change any more.
    pub(super) sealed: bool,
    /// Whether parsers that images carry may run.
    pub(super) embedded_parsers: bool,
    /// Whether a layer so far was a PE image: its `.sbat` stands for all inside.
    pub(super) had_pe: bool,
    /// The findings, layer by layer.
    pub(crate) found: Vec<SignatureReport>,
}

impl<'a> Verifier<'a> {
    /// Lists those who signed a layer that is refused for another reason.
    pub(super) fn list(&mut self, layer: &LayerAtGate<'_>) {
        let verdict = list_signers(&PeBytes(layer.image), pe_of(layer));
        if verdict.state() != State::Unsigned {
            let needed = self.policy.required();
            let (path, digests) = (layer.path.to_owned(), Digests::default());
            let report = SignatureReport::new(path, None, needed, true, &verdict, digests);
            self.found.push(report);
        }
    }

    /// Refuses to pass over a parser that is part of what was signed: another
    /// one may read something else out of the same image.
    fn check_own_parser(&self, layer: &LayerAtGate<'_>) -> Result<()> {
        match self.policy.required() {
            Some(because) if !self.embedded_parsers && layer.carries_parser() => {
                Err(LoaderError::new(format!(
                    "--no-embedded-parser: the image carries a parser of its own, which is part \
                     of what was signed, and a good signature is required, {}; leave the option \
                     out",
                    because.reason()
                ))
                .of_kind(ErrorKind::Signature))
            }
            _ => Ok(()),
        }
    }

    /// Refuses the outermost PE image inside a signed file that is no PE
    /// itself, such as a compressed kernel, if its SBAT generation is too old.
    fn check_covered_sbat(&self, layer: &LayerAtGate<'_>) -> Result<()> {
        let (Some(because), Some(pe)) = (self.policy.required(), layer.pe) else {
            return Ok(());
        };
        if self.had_pe {
            return Ok(());
        }
        match revoked_by_sbat(pe, &PeBytes(layer.image), &self.policy.trust) {
            Some(revoked) => Err(not_verified(&revoked, because)),
            None => Ok(()),
        }
    }

    /// Returns the verdict on a layer, and the digests that it was made by. `is_covered`
    /// says whether the signature of a layer around it is good.
    fn verify(
        &self,
        layer: &LayerAtGate<'_>,
        is_covered: bool,
    ) -> Result<(Verdict, Digests), SignatureError> {
        let bytes = &PeBytes(layer.image);
        let pe = pe_of(layer);
        let is_hashed = self.is_hashed(is_covered);
        match self.policy.enforcement {
            Enforcement::Off => return Ok((list_signers(bytes, pe), Digests::default())),
            _ if is_hashed && !self.policy.thorough => {
                return Ok((list_signers(bytes, pe), Digests::default()));
            }
            Enforcement::Report | Enforcement::Require(_) => {}
        }
        let image = UnverifiedImage {
            bytes,
            pe,
            digests: self.digests(),
            state: digest_state,
        };
        let found = verify_image(&image, &self.policy.trust, self.policy.checks)?;
        Ok((found.verdict, found.digests))
    }

    /// Returns whether a signature around a layer is one of its bytes too: no second
    /// digest is taken of them.
    fn is_hashed(&self, is_covered: bool) -> bool {
        is_covered || self.found.iter().any(SignatureReport::fits)
    }

    /// Refuses a layer that has no good signature where one is required, and one that
    /// was changed after it was signed. A person who inspects may look at that.
    fn check(&self, verdict: &Verdict) -> Result<()> {
        let required = self.policy.required();
        if verdict.is_misfit() && (required.is_some() || !self.policy.thorough) {
            let error = LoaderError::new(format!("{verdict:#}; get the image again"));
            return Err(error.of_kind(ErrorKind::Signature));
        }
        match required {
            Some(because) if !verdict.is_good() => Err(not_verified(verdict, because)),
            _ => Ok(()),
        }
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

/// Returns the headers of `layer`, or the fault in them, if it is meant to have any.
fn pe_of<'a>(layer: &LayerAtGate<'a>) -> Option<Result<&'a PeImage, &'a PeError>> {
    layer.pe_fault.map(Err).or(layer.pe.map(Ok))
}

impl Gate for Verifier<'_> {
    fn admit(&mut self, layer: &LayerAtGate<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let outer = self
            .found
            .iter()
            .rev()
            .find_map(|found| found.covered_by.clone());
        let is_covered = outer.is_some();
        let (verdict, digests) = self.verify(layer, is_covered)?;
        let path = layer.path.to_owned();
        let covered_by = outer.or_else(|| verdict.is_good().then(|| path.clone()));
        let needed = self.policy.required().filter(|_| !is_covered);
        let is_weighed = !self.is_hashed(is_covered);
        // A report of an image that is refused says why.
        let report = SignatureReport::new(path, covered_by, needed, is_weighed, &verdict, digests);
        self.found.push(report);
        if !is_covered {
            self.check(&verdict)?;
        }
        self.check_covered_sbat(layer)?;
        self.had_pe |= layer.pe.is_some();
        Ok(self.check_own_parser(layer)?)
    }

    fn requires_signatures(&self) -> bool {
        self.policy.required().is_some()
    }

    /// An image inside a good one is good as well, as for [`Gate::admit`].
    fn verify_signature(&mut self, image: &Rope) -> Result<(), SignatureRefusal> {
        let bytes = &PeBytes(image);
        let pe = PeImage::parse(bytes);
        let unverified = UnverifiedImage {
            bytes,
            pe: Some(pe.as_ref()),
            digests: DigestSource::Image,
            state: digest_state,
        };
        let found = verify_image(&unverified, &self.policy.trust, self.policy.checks);
        let verdict = found.map_err(|error| SignatureRefusal {
            errno: errno::EBADMSG,
            reason: error.to_string(),
        })?;
        let verdict = verdict.verdict;
        let layer = self.found.last();
        let is_inside = layer.is_some_and(|layer| layer.is_good() || layer.is_covered());
        match verdict.state() {
            state if state.is_good() => Ok(()),
            State::Unsigned if is_inside => Ok(()),
            state => Err(SignatureRefusal {
                errno: errno_of(state),
                // It may name dozens of signers.
                reason: cut(&verdict.to_string(), REASON_MAX),
            }),
        }
    }
}

/// Bytes of the reason that a parser's question about a signature is answered with.
const REASON_MAX: usize = 512;

/// Returns the number that Linux has for a signature that does not count.
fn errno_of(state: State) -> u16 {
    match state {
        State::Unsigned => errno::ENODATA,
        State::Malformed => errno::EBADMSG,
        State::Unsupported => errno::ENOPKG,
        State::Untrusted | State::Unverified => errno::ENOKEY,
        _ => errno::EKEYREJECTED,
    }
}

/// Numbers of Linux (`uapi/asm-generic/errno.h`).
mod errno {
    pub(super) const ENODATA: u16 = 61;
    pub(super) const ENOPKG: u16 = 65;
    pub(super) const EBADMSG: u16 = 74;
    pub(super) const ENOKEY: u16 = 126;
    pub(super) const EKEYREJECTED: u16 = 129;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy::Because;
    use expect_test::expect;
    use ukexec_signature::machine_trust;
    use ukexec_unfold::{Budget, Input, MemoryStore, Options, unfold_with};

    fn uki() -> Vec<u8> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/pe/uki");
        std::fs::read(file).unwrap()
    }

    fn verifier(policy: &TrustPolicy, had_pe: bool) -> Verifier<'_> {
        Verifier {
            policy,
            hashed: None,
            sealed: true,
            embedded_parsers: true,
            had_pe,
            found: Vec::new(),
        }
    }

    #[test]
    fn an_image_in_a_signed_stream_has_its_sbat_looked_at() {
        let sbat = b"sbat,1,SBAT,sbat,1,url\nfoo,1,Foo,foo,1,url\n";
        let image = ukexec_pe::attach(&uki(), ".sbat", sbat, ukexec_pe::EditOptions::default());
        let image = image.unwrap();
        let gate = |level: &'static [u8], covering: &str, had_pe| {
            let sbat_level = |path: &str| -> Result<_> {
                let content = [&[6, 0, 0, 0], level].concat();
                let is_level = path.starts_with("efivars/SbatLevelRT");
                Ok(is_level.then_some(content))
            };
            let policy = TrustPolicy {
                enforcement: Enforcement::Require(Because::Asked),
                trust: machine_trust(sbat_level).unwrap(),
                ..TrustPolicy::default()
            };
            let mut verifier = verifier(&policy, had_pe);
            let covered_by = Some(covering.to_owned());
            let covering = covering.to_owned();
            let unsigned = list_signers(&[][..], None);
            let digests = Digests::default();
            let found = SignatureReport::new(covering, covered_by, None, false, &unsigned, digests);
            verifier.found.push(found);
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
        expect![[r#"image: refused: bad signature: SBAT revokes the image: its component "foo" has generation 1, and this machine asks for 2 or later (level of 2024010100): a newer build of the image is needed; a good signature is required, since verify = require"#]].assert_eq(&error);
        gate(b"sbat,1,2024010100\nfoo,1\n", "Image.gz", false).unwrap();
        gate(old, "uki.efi", true).unwrap();
    }

    #[test]
    fn an_image_without_sound_pe_headers_cannot_be_verified() {
        let mut image = uki();
        let pe = usize::from(image[0x3c]) + usize::from(image[0x3d]) * 0x100;
        // Data directory 4: a table behind the end.
        let certificates = pe + 24 + 112 + 4 * 8;
        let end = u32::try_from(image.len()).unwrap();
        image[certificates..certificates + 4].copy_from_slice(&end.to_le_bytes());
        image[certificates + 4..certificates + 8].copy_from_slice(&[8, 0, 0, 0]);
        let policy = TrustPolicy {
            enforcement: Enforcement::Require(Because::Asked),
            ..TrustPolicy::default()
        };
        let input = Input {
            image: Rope::from(image),
            ..Input::default()
        };
        let error = unfold_with(
            input,
            &Options::default(),
            &mut verifier(&policy, false),
            &mut MemoryStore::default(),
            &mut Budget::default(),
        )
        .unwrap_err();
        expect!["image: refused: malformed signature: no sound PE32+ file: certificate table (data directory 4) at 0x128: expected an end by 0xe00, found 0xe08; is the file cut off?; a good signature is required, since verify = require"].assert_eq(&crate::report::failure::sentence(&error));
    }
}
