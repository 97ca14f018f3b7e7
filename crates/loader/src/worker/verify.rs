//! Signatures: the verdict on each layer, before anything of it runs.
//!
//! An image is verified as a whole, so that what lies inside a good one is good
//! as well: it came out of it, by a parser that is covered too. Inner layers
//! need no signature of their own then.

use std::error::Error;
use std::ops::Range;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tracing::info;
use ukexec_bpf::Rope;
use ukexec_pe::PeImage;
use ukexec_signature::{
    AlgorithmSet, Digests, MAX_TABLE_LEN, Trust, Verdict, algorithms_of, check_sbat, digests_of,
    machine_trust, verify_appended, verify_image,
};
use ukexec_unfold::{Gate, LayerAtGate, ParserFile, PeBytes};

use crate::protocol::bundle::Bundled;
use crate::protocol::{HashPlan, Hashed, Policy, Trusted, Verification};
use crate::report::document;

/// What to trust, and what to do about what is not trusted.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    policy: Policy,
    because: String,
    /// Tell of every signature, also where none is needed.
    thorough: bool,
    trust: Trust,
    checks: ukexec_signature::Checks,
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
            checks: ukexec_signature::Checks {
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
    pub(crate) fn hash_plan(&self, pe: &PeImage, image: &Rope) -> Option<HashPlan> {
        let algorithms = self.algorithms(pe, image)?;
        // What is wrong with the image is told by its verdict.
        let ranges = pe.authenticode_ranges().ok()?;
        Some(HashPlan {
            ranges: ranges.ranges,
            padding: ranges.padding,
            algorithms,
        })
    }

    /// Returns why signatures are not verified, if they are not.
    fn idle(&self) -> Option<&'static str> {
        match self.policy {
            Policy::Off => Some("not looked at"),
            // Only a person who inspects wants to know what nobody vouches for.
            Policy::Report if self.trust.is_empty() && !self.thorough => {
                Some("not verified, as no key is trusted (--trust names keys)")
            }
            Policy::Report | Policy::Require => None,
        }
    }

    /// Returns the digests that verifying `pe` takes; none if there is nothing
    /// to verify it by.
    fn algorithms(&self, pe: &PeImage, image: &Rope) -> Option<AlgorithmSet> {
        if self.idle().is_some() {
            return None;
        }
        let signed = match table(pe, image) {
            Ok(Some(table)) => algorithms_of(&table),
            _ => AlgorithmSet::default(),
        };
        let algorithms = signed.union(self.trust.algorithms());
        (!algorithms.is_empty()).then_some(algorithms)
    }

    /// Returns whether `parser`, which no image carries, may run: where nothing
    /// counts that is not verified, it is signed like a kernel module.
    pub(crate) fn admits(&self, parser: &ParserFile) -> Result<(), NotVerified> {
        if !self.is_require() {
            return Ok(());
        }
        let verdict = match verify_appended(&parser.object[..], &self.trust, self.checks) {
            Ok(Some(appended)) => appended.verdict,
            Ok(None) => Verdict::Unsigned,
            Err(error) => bad(&error),
        };
        if verdict.is_good() {
            return Ok(());
        }
        Err(self.refuse(&verdict))
    }

    fn refuse(&self, verdict: &Verdict) -> NotVerified {
        NotVerified {
            verdict: verdict.to_string(),
            because: self.because.clone(),
        }
    }
}

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
    hashed: Option<&'a Hashed>,
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

/// The image is not any more what it was when it was first looked at.
#[derive(Debug, thiserror::Error)]
#[error(
    "the file changed while it was being taken over: {what}; try again when nothing writes to it"
)]
struct Changed {
    what: &'static str,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(
        rules: &'a Rules,
        hashed: Option<&'a Hashed>,
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
        let level = self.rules.trust.sbat_level();
        check_sbat(pe, &PeBytes(layer.image), level)
            .map_err(|error| self.rules.refuse(&bad(&error)))
    }

    fn verdict(
        &self,
        layer: &LayerAtGate<'_>,
        digests: &mut Digests,
    ) -> Result<Verdict, Box<dyn Error + Send + Sync>> {
        if let Some(fault) = layer.pe_fault {
            // It begins like a PE, so that no other signature counts.
            return Ok(bad(&NoSoundPe {
                fault: fault.to_string(),
            }));
        }
        let verdict = match layer.pe {
            Some(pe) => self.pe_verdict(pe, layer.image, digests)?,
            None => Verdict::Unsigned,
        };
        if verdict != Verdict::Unsigned {
            return Ok(verdict);
        }
        let rules = self.rules;
        let appended = verify_appended(&PeBytes(layer.image), &rules.trust, rules.checks);
        Ok(match appended {
            Ok(None) => verdict,
            Ok(Some(appended)) => appended.verdict,
            Err(error) => bad(&error),
        })
    }

    fn pe_verdict(
        &self,
        pe: &PeImage,
        image: &Rope,
        digests: &mut Digests,
    ) -> Result<Verdict, Box<dyn Error + Send + Sync>> {
        let rules = self.rules;
        let table = match table(pe, image) {
            Ok(table) => table,
            Err(reason) => return Ok(bad(&*reason)),
        };
        if let Some(algorithms) = rules.algorithms(pe, image) {
            *digests = match pe.authenticode_ranges() {
                Ok(ranges) => self.digests(image, &ranges, algorithms)?,
                // What nobody signed need not be fit for it.
                Err(_) if table.is_none() => return Ok(Verdict::Unsigned),
                Err(error) => return Ok(bad(&error)),
            };
        }
        let verdict = verify_image(table.as_deref(), digests, &rules.trust, rules.checks);
        if !verdict.is_good() {
            return Ok(verdict);
        }
        if let Some(error) = hidden(pe, image)? {
            return Ok(bad(&error));
        }
        let sbat = check_sbat(pe, &PeBytes(image), rules.trust.sbat_level());
        Ok(sbat.map_or_else(|error| bad(&error), |()| verdict))
    }

    /// Returns the digests of a layer: those that came with the snapshot, or
    /// else taken now.
    fn digests(
        &self,
        image: &Rope,
        ranges: &ukexec_pe::ByteRanges,
        algorithms: AlgorithmSet,
    ) -> Result<Digests, Box<dyn Error + Send + Sync>> {
        let is_outermost = self.found.is_empty();
        if is_outermost && !self.sealed {
            // Nothing was to be hashed when it was first looked at.
            let what = "it had no signature before";
            return Err(Changed { what }.into());
        }
        let Some(hashed) = self.hashed.filter(|_| is_outermost) else {
            return Ok(digests_of(&PeBytes(image), ranges, algorithms)?);
        };
        let plan = &hashed.plan;
        if plan.ranges != ranges.ranges || plan.padding != ranges.padding {
            let what = "its headers are not the same";
            return Err(Changed { what }.into());
        }
        if algorithms
            .iter()
            .any(|algorithm| hashed.digests.get(algorithm).is_none())
        {
            let what = "its signatures are not the same";
            return Err(Changed { what }.into());
        }
        Ok(hashed.digests.clone())
    }
}

impl Gate for Verifier<'_> {
    fn admit(&mut self, layer: &LayerAtGate<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let outer = self
            .found
            .iter()
            .rev()
            .find_map(|found| found.covered_by.clone());
        let mut digests = Digests::default();
        let idle = self.rules.idle();
        let looked_at = idle.is_none() && (outer.is_none() || self.rules.thorough);
        let verdict = looked_at
            .then(|| self.verdict(layer, &mut digests))
            .transpose()?;
        let is_good = verdict.as_ref().is_some_and(Verdict::is_good);
        let covered_by = outer.or_else(|| is_good.then(|| layer.path.to_owned()));
        if covered_by.is_none() && self.rules.is_require() {
            let verdict = verdict.unwrap_or(Verdict::Unsigned);
            return Err(self.rules.refuse(&verdict).into());
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

/// Returns the certificate table, if there is one.
fn table(pe: &PeImage, image: &Rope) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
    let Some(range) = pe.certificates() else {
        return Ok(None);
    };
    let len = range.end.saturating_sub(range.start);
    if len > MAX_TABLE_LEN as u64 {
        return Err(format!(
            "certificate table (data directory 4): expected at most {MAX_TABLE_LEN} bytes, \
             found {len}"
        )
        .into());
    }
    Ok(Some(image.slice(range)?.to_vec()?))
}

/// The image begins with `MZ` and is no sound PE.
#[derive(Debug, thiserror::Error)]
#[error("the image is no sound PE32+ file, so that no signature of it can be found: {fault}")]
struct NoSoundPe {
    fault: String,
}

/// Bytes that no signature covers lie inside the image.
#[derive(Debug, thiserror::Error)]
#[error(
    "bytes {:#x} to {:#x} lie between the sections, where no signature covers them, and they are \
     not zeros; firmware never loads them, but a parser or a running kernel could",
    range.start, range.end
)]
struct Hidden {
    range: Range<u64>,
}

/// Returns where in `image` there is something that its digest leaves out. Zeros
/// are what tools leave between sections, and say nothing.
fn hidden(pe: &PeImage, image: &Rope) -> Result<Option<Hidden>, Box<dyn Error + Send + Sync>> {
    let mut buffer = vec![0; CHUNK];
    for range in pe.uncovered(&pe.authenticode_ranges()?) {
        let mut at = range.start;
        while at < range.end {
            let len = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
            let bytes = &mut buffer[..len];
            image.read_at(at, bytes)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(Some(Hidden { range }));
            }
            at += len as u64;
        }
    }
    Ok(None)
}

/// Bytes that are looked at together.
const CHUNK: usize = 64 << 10;

fn bad(reason: &(dyn Error + 'static)) -> Verdict {
    Verdict::Bad {
        reasons: vec![crate::report::failure::sentence(reason)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use ukexec_signature::{Algorithm, Origin};
    use ukexec_unfold::{Budget, Input, MemoryStore, Options, unfold_with};

    const UKI: &[u8] = include_bytes!("../../../../fuzz/seeds/pe/uki");

    /// Trusts an image by its digest, changes it, and compares the verdict.
    fn check(mut image: Vec<u8>, change: impl FnOnce(&mut [u8]), expected: &Expect) {
        let pe = PeImage::parse(&image[..]).unwrap();
        let ranges = pe.authenticode_ranges().unwrap();
        let set = [Algorithm::Sha256].into_iter().collect();
        let digests = digests_of(&image[..], &ranges, set).unwrap();
        let mut rules = Rules {
            policy: Policy::Require,
            ..Rules::default()
        };
        let list = sha256_list(digests.get(Algorithm::Sha256).unwrap());
        let origin = Origin::new("db");
        rules.trust.add_allowed_list(&origin, &list).unwrap();
        change(&mut image);
        let verifier = Verifier::new(&rules, None, true, true);
        let rope = Rope::from(image);
        let verdict = verifier.pe_verdict(&pe, &rope, &mut Digests::default());
        expected.assert_eq(&verdict.unwrap().to_string());
    }

    /// An EFI signature list of one digest: UEFI 2.10, 32.4.1.
    fn sha256_list(digest: &[u8]) -> Vec<u8> {
        let mut list = b"\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28".to_vec();
        for number in [28 + 48_u32, 0, 48] {
            list.extend(number.to_le_bytes());
        }
        list.extend([0; 16]);
        list.extend(digest);
        list
    }

    /// Takes the last 16 bytes of the raw data of `.linux` away from it, and fills
    /// them with zeros.
    fn with_a_gap() -> (Vec<u8>, usize) {
        let mut image = UKI.to_vec();
        let pe = PeImage::parse(&image[..]).unwrap();
        let section = pe.section(".linux").unwrap();
        let size = section.size_of_raw_data();
        let header = image.windows(6).position(|name| name == b".linux").unwrap();
        let gap = (section.pointer_to_raw_data() + size - 16) as usize;
        image[header + 16..header + 20].copy_from_slice(&(size - 16).to_le_bytes());
        image[gap..gap + 16].fill(0);
        (image, gap)
    }

    #[test]
    fn what_lies_between_sections_is_not_taken_for_covered() {
        let good = expect!["good: the digest of the image is listed in db"];
        check(UKI.to_vec(), |_| {}, &good);
        let (image, _) = with_a_gap();
        check(image, |_| {}, &good);
        let (image, gap) = with_a_gap();
        check(
            image,
            |image| image[gap] = 1,
            &expect![
                "bad signature: bytes 0xbf0 to 0xc00 lie between the sections, where no signature covers them, and they are not zeros; firmware never loads them, but a parser or a running kernel could"
            ],
        );
        let (image, gap) = with_a_gap();
        check(image, |image| image[gap - 1] ^= 1, &expect!["unsigned"]);
    }

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
