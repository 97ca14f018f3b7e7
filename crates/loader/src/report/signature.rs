//! The report on a layer's signature.

use serde::Serialize;
use ukexec_signature::{Digests, Verdict};

use super::page::Page;

/// The findings about a layer's signature.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SignatureReport {
    /// Where it lies.
    layer: String,
    /// The layer around it that is good, or itself.
    pub(crate) covered_by: Option<String>,
    /// In words; absent where nobody looked.
    verdict: Option<String>,
    good: Option<bool>,
    signature: Option<Verdict>,
    /// The digests that it was verified by.
    #[serde(serialize_with = "Digests::serialize_by_name")]
    digests: Digests,
    /// Why nobody looked, if nobody did at all.
    #[serde(skip)]
    idle: Option<&'static str>,
}

impl SignatureReport {
    /// Reports the `verdict` on `layer`, or why it was `idle`.
    pub(crate) fn new(
        layer: String,
        covered_by: Option<String>,
        idle: Option<&'static str>,
        verdict: Option<Verdict>,
        digests: Digests,
    ) -> Self {
        Self {
            layer,
            covered_by,
            verdict: verdict.as_ref().map(ToString::to_string),
            good: verdict.as_ref().map(Verdict::is_good),
            signature: verdict,
            digests,
            idle,
        }
    }

    /// Adds this in words to `page`, with its grounds: the digests, and who vouches
    /// for whom.
    pub(super) fn rows(&self, page: &mut Page) {
        let Self {
            layer,
            verdict,
            covered_by,
            ..
        } = self;
        let outer = covered_by.as_ref().filter(|outer| *outer != layer);
        let found = match (verdict, outer) {
            // Nobody looked at it, and `idle` says why.
            (None, None) => self.idle.unwrap_or_default().to_owned(),
            (None, Some(outer)) => format!("covered by {outer}"),
            (Some(verdict), None) => verdict.clone(),
            (Some(verdict), Some(outer)) => format!("covered by {outer}; {verdict}"),
        };
        page.row("signature", format!("{layer}: {found}"));
        if self.digests != Digests::default() {
            page.whole("", self.digests.to_string());
        }
        if let Some(good) = self.signature.as_ref().and_then(Verdict::good)
            && good.chain.len() > 1
        {
            let chain = good.chain.iter().map(|one| one.subject.as_str());
            let chain: Vec<&str> = chain.collect();
            page.row("", format!("chain {}", chain.join(", issued by ")));
        }
    }
}
