//! The report on a layer's signatures.

use serde::Serialize;
use ukexec_signature::{Digests, EnclosedCertificate, Origin, Signer, State, Verdict};

use super::page::{Page, Style, Text};
use crate::config::policy::Because;

/// The findings about a layer's signatures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SignatureReport {
    /// Where it lies.
    layer: String,
    /// The verdict in one word.
    state: State,
    /// The verdict in words.
    text: String,
    /// The layer around it that is good, or itself.
    pub(crate) covered_by: Option<String>,
    /// Whether nothing of it may run unless its own signature is good.
    needed: bool,
    /// Whether `load` and `unfold` refuse it: it is needed and not good, or no signature
    /// is one of its bytes.
    refused: bool,
    #[serde(skip)]
    because: Option<Because>,
    /// Why it is not good, in words.
    reasons: Vec<String>,
    /// The list whose entry allows or revokes it.
    list: Option<Origin>,
    /// Those who signed it.
    pub(crate) signers: Vec<Signer>,
    /// The certificates that come with the signatures.
    pub(crate) certificates: Vec<EnclosedCertificate>,
    /// The digests that it was verified by.
    #[serde(serialize_with = "Digests::serialize_by_name")]
    digests: Digests,
}

impl SignatureReport {
    /// Reports the `verdict` on `layer`, which has to be good if `needed`. It counts
    /// for a load if `is_weighed`.
    pub(crate) fn new(
        layer: String,
        covered_by: Option<String>,
        needed: Option<Because>,
        is_weighed: bool,
        verdict: &Verdict,
        digests: Digests,
    ) -> Self {
        Self {
            layer,
            state: verdict.state(),
            text: verdict.to_string(),
            refused: is_weighed && (verdict.is_misfit() || needed.is_some() && !verdict.is_good()),
            covered_by,
            needed: needed.is_some(),
            because: needed,
            reasons: verdict.reasons().to_vec(),
            list: verdict.list().cloned(),
            signers: verdict.signers().to_vec(),
            certificates: verdict.certificates().to_vec(),
            digests,
        }
    }

    /// Returns the path of the layer.
    pub(crate) fn name(&self) -> &str {
        &self.layer
    }

    /// Returns whether it lies in an image whose signature is good.
    pub(crate) fn is_covered(&self) -> bool {
        self.covered_by.is_some()
    }

    /// Returns whether its own signature or digest is good.
    pub(crate) fn is_good(&self) -> bool {
        self.state.is_good()
    }

    /// Returns whether nobody signed it, which matters to nobody.
    pub(crate) fn is_unsigned(&self) -> bool {
        self.state == State::Unsigned && !self.needed
    }

    /// Returns a warning of a signature that ukexec cannot check, where one of the layer
    /// itself could count.
    pub(crate) fn warning(&self) -> Option<String> {
        let is_weighed = self.covered_by.is_none() && !self.needed && !self.refused;
        let (layer, reasons) = (&self.layer, self.reasons.join("; "));
        let unsupported = |it: &&Signer| it.state == State::Unsupported;
        match self.signers.iter().find(unsupported) {
            _ if !is_weighed => None,
            Some(signer) => {
                let reason = signer.reason.as_deref().unwrap_or_default();
                let number = signer.signature;
                Some(format!(
                    "{layer}: signature {number} counts for nothing: {reason}"
                ))
            }
            None if matches!(self.state, State::Unsupported | State::Malformed) => Some(format!(
                "{layer}: its signatures count for nothing: {reasons}"
            )),
            None => None,
        }
    }

    /// Returns whether a signature of it is one of its bytes, trusted or not.
    pub(crate) fn fits(&self) -> bool {
        self.signers.iter().any(|signer| signer.fits == Some(true))
    }

    /// Adds this to `page`. Of a good one the verdict says enough, unless the reader
    /// wants every `detail`.
    pub(crate) fn rows(&self, page: &mut Page, detail: bool) {
        let outer = self
            .covered_by
            .as_ref()
            .filter(|outer| **outer != self.layer);
        // The layer around it says all about one that nobody signed.
        let is_inner = self.layer.contains(LAYERS);
        if is_inner && self.signers.is_empty() && self.state == State::Unsigned {
            return;
        }
        let name = match is_inner {
            true => format!("{}: ", inner_name(&self.layer)),
            false => String::new(),
        };
        // Each of several signatures has a line of its own.
        let is_one = self.signers.len() <= 1;
        let count = format!(", {} signatures", self.signers.len());
        let text = Text::from(name);
        let text = match (outer, self.signers.as_slice()) {
            // That it is not trusted by itself alarms nobody.
            (Some(outer), signers) => {
                let subjects = signers.iter().filter_map(|it| it.subject.clone());
                let by: Vec<String> = subjects.map(|it| format!(", by {it}")).collect();
                let covered = format!("covered by {}{}", inner_name(outer), by.concat());
                text.and(Style::Plain, covered)
            }
            (None, [one]) if one.state == self.state && !self.is_good() => {
                text.append(standing(one))
            }
            (None, [_, _, ..]) if !self.is_good() => {
                let text = text.and(style(self.state), self.state.to_string());
                text.and(Style::Plain, count)
            }
            (None, signers) => {
                let split = self.text.find([',', ':']).unwrap_or(self.text.len());
                let (head, rest) = self.text.split_at(split);
                let by = match signers {
                    [
                        Signer {
                            subject: Some(subject),
                            ..
                        },
                    ] if !rest.contains(subject) => format!(", by {subject}"),
                    _ => String::new(),
                };
                let text = text.and(style(self.state), head);
                text.and(Style::Plain, by).and(Style::Plain, rest)
            }
        };
        let required = match (outer, self.because) {
            (Some(_), _) => String::new(),
            (None, Some(because)) => format!("; required, {}", because.reason()),
            (None, None) if self.refused => "; load and unfold refuse it".to_owned(),
            (None, None) => "; not required".to_owned(),
        };
        page.row("signature", text.and(Style::Dim, required));
        if is_one && self.is_good() && !detail {
            return;
        }
        for signer in &self.signers {
            if !is_one && outer.is_none() {
                let nested = if signer.nested { "nested in " } else { "" };
                let text = Text::from(format!("{nested}signature {}: ", signer.signature));
                page.row("", text.append(standing(signer)));
            }
            let facts = facts(signer, detail);
            if !facts.is_empty() {
                page.row("", Text::styled(Style::Dim, facts));
            }
        }
        if let Some(chain) = self
            .signers
            .iter()
            .map(|it| &it.chain)
            .find(|it| it.len() > 1)
        {
            let chain = chain.iter().map(|one| one.subject.as_str());
            let chain = chain.collect::<Vec<_>>().join(", issued by ");
            page.row("", Text::styled(Style::Dim, format!("chain {chain}")));
        }
        if detail && self.digests != Digests::default() {
            page.whole("", Text::styled(Style::Dim, self.digests.to_string()));
        }
    }
}

/// Returns whether a signature counts, who signed, and why not.
fn standing(signer: &Signer) -> Text {
    let mut text = Text::styled(style(signer.state), signer.state.to_string());
    let reason = signer.reason.as_deref().unwrap_or_default();
    // Most reasons name the signer.
    let subject = signer.subject.as_ref();
    if let Some(subject) = subject.filter(|subject| !reason.contains(*subject)) {
        text = text.and(Style::Plain, format!(", by {subject}"));
    }
    if !reason.is_empty() {
        text = text.and(Style::Plain, format!(": {reason}"));
    }
    text
}

/// Returns the facts about a signature. Nobody proves when it was made, which is a `detail`.
fn facts(signer: &Signer, detail: bool) -> String {
    let issuer = signer.issuer.as_ref().filter(|_| signer.subject.is_none());
    let day = signer.signing_day().filter(|_| detail);
    let how = [day.map(|day| format!("on {day}")), signer.algorithm.clone()];
    let how = how.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let fingerprint = signer.fingerprint.as_deref();
    let fingerprint = fingerprint.and_then(|it| it.get(..FINGERPRINT));
    let facts = [
        issuer.map(|issuer| format!("issued by {issuer}")),
        (!how.is_empty()).then_some(how),
        signer.dates(),
        fingerprint.map(|it| format!("fingerprint {it}")),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Returns the colour of a state.
fn style(state: State) -> Style {
    match state {
        State::Good | State::Allowed => Style::Good,
        State::Bad | State::Revoked => Style::Bad,
        State::Unverified => Style::Plain,
        _ => Style::Warn,
    }
}

/// Returns the path of a layer in the outermost image, or the name of that.
fn inner_name(layer: &str) -> &str {
    layer.split_once(LAYERS).map_or(layer, |(_, inner)| inner)
}

/// Between the layers of a path.
const LAYERS: &str = " > ";

/// Digits of a fingerprint by which people know a certificate.
const FINGERPRINT: usize = 12;
