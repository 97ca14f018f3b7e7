//! Chains of certificates, from a signer to a trusted certificate.
//!
//! As firmware does it: every trusted certificate ends a chain, whether or
//! not it signed itself; a chain goes through certificates that come with the
//! signature, never through ones that would have to be found elsewhere.
//!
//! Issuers need the CA bit and, where there is a key usage, `keyCertSign` in
//! it; their name constraints bind whether or not they are critical. The
//! extended key usage of signers is not looked at: OVMF and shim set
//! it aside (`X509_PURPOSE_ANY`), and the keys that owners make for
//! themselves often have none. One exception is shim's: a trusted certificate
//! for signing kernel modules alone does not boot anything.

use alloc::{collections::VecDeque, format, string::String, string::ToString, vec::Vec};

use crate::error::too_many;
use crate::extensions::Extensions;
use crate::table::MAX_SIGNATURES;
use crate::{Certificate, Origin, SignatureError, Trust};

/// The work that was spent on the signatures of one image.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    verifications: usize,
    /// Comparisons of names with name constraints.
    comparisons: usize,
}

/// A certificate on the way from the signer, and where the way came from.
struct Step<'a> {
    certificate: &'a Certificate,
    /// The step whose certificate this one issued.
    issued: Option<usize>,
    /// How many issuers, not counting self-issued ones, lie between this one
    /// and the signer.
    below: usize,
    /// Whether a chain may go through here. Otherwise it is for the message that
    /// there is none.
    usable: bool,
}

/// Searches for the shortest chain from `signer`, over `embedded`
/// certificates, to one that is trusted. `now` is for checking dates.
///
/// Revocations are not looked at: [`crate::signers`] has done so, of all that
/// could be on the way.
pub(crate) fn chain<'a>(
    signer: &'a Certificate,
    embedded: &'a [Certificate],
    trust: &'a Trust,
    now: Option<u64>,
    effort: &mut Effort,
) -> Result<(Vec<&'a Certificate>, &'a Origin), SignatureError> {
    let mut search = Search {
        signer,
        embedded,
        trust,
        now,
        effort,
        steps: Vec::new(),
        reasons: Vec::new(),
    };
    search.run()
}

impl Effort {
    /// Notes one more verification.
    pub(crate) fn verification(&mut self) -> Result<(), SignatureError> {
        self.verifications = self.verifications.saturating_add(1);
        self.check()
    }

    /// Notes more comparisons of names.
    fn comparisons(&mut self, count: usize) -> Result<(), SignatureError> {
        self.comparisons = self.comparisons.saturating_add(count);
        self.check()
    }

    /// Checks that everything could be looked at: if not, there may be more than
    /// was found.
    pub(crate) fn check(&self) -> Result<(), SignatureError> {
        let verified = "signatures to be verified for one image";
        let compared = "names to be compared with name constraints for one image";
        for (field, spent, limit) in [
            (verified, self.verifications, MAX_VERIFICATIONS),
            (compared, self.comparisons, MAX_COMPARISONS),
        ] {
            if spent > limit {
                return Err(too_many(field, limit));
            }
        }
        Ok(())
    }
}

struct Search<'a, 'e> {
    signer: &'a Certificate,
    embedded: &'a [Certificate],
    trust: &'a Trust,
    now: Option<u64>,
    effort: &'e mut Effort,
    steps: Vec<Step<'a>>,
    reasons: Vec<String>,
}

impl<'a> Search<'a, '_> {
    fn run(&mut self) -> Result<(Vec<&'a Certificate>, &'a Origin), SignatureError> {
        let signer = self.signer;
        let mut trusted_signer = None;
        let mut found = None;
        let mut queue = VecDeque::from([0_usize]);
        let usable = self.check(signer, None);
        self.steps.push(Step {
            certificate: signer,
            issued: None,
            below: 0,
            usable,
        });
        while let Some(index) = queue.pop_front() {
            let Some(step) = self.steps.get(index) else {
                break;
            };
            let (certificate, usable) = (step.certificate, step.usable);
            if usable && found.is_none() {
                let origin = self.anchor(certificate).map(|origin| (index, origin));
                match index {
                    0 => trusted_signer = origin,
                    _ => found = origin,
                }
            }
            for issuer in self.issuers(certificate, usable)? {
                queue.push_back(self.steps.len());
                self.step(index, issuer)?;
            }
        }
        let trusted_signer = trusted_signer.filter(|_| self.embedded_chain_holds());
        match trusted_signer.or(found) {
            Some((index, origin)) => Ok((self.way(index), origin)),
            None => Err(SignatureError::new(format!(
                "nobody trusted vouches for {}{}",
                signer.subject(),
                self.reasons()
            ))),
        }
    }

    /// Returns the certificates whose keys signed `certificate`, but for those
    /// seen already. If `usable`, a chain may go through it: those are among
    /// them through which no chain could go so far.
    fn issuers(
        &mut self,
        certificate: &'a Certificate,
        usable: bool,
    ) -> Result<Vec<&'a Certificate>, SignatureError> {
        // `crate::signers` refuses all that a revoked one signed. A namesake of the
        // issuer among them is worth a note.
        let revoked = self.trust.revoked_certificates().map(|(one, _)| one);
        let anchors = self.trust.anchors().map(|(one, _)| one);
        let mut issuers: Vec<&Certificate> = Vec::new();
        let mut named = false;
        for candidate in self.embedded.iter().chain(revoked).chain(anchors) {
            if !certificate.names(candidate) {
                continue;
            }
            named = true;
            if self.is_seen(candidate, usable) || issuers.contains(&candidate) {
                continue;
            }
            self.effort.verification()?;
            match certificate.verify(candidate, self.trust.least_rsa(candidate)) {
                Ok(()) => issuers.push(candidate),
                Err(error) => self.note(certificate, &error.to_string()),
            }
        }
        if !named {
            let issuer = certificate.issuer();
            let reason = format!("its issuer, {issuer}, is neither trusted nor with the signature");
            self.note(certificate, &reason);
        }
        Ok(issuers)
    }

    /// Returns whether going to `certificate` again is of no use: `usable` says
    /// whether a chain may go the new way.
    fn is_seen(&self, certificate: &Certificate, usable: bool) -> bool {
        let mut seen = self
            .steps
            .iter()
            .filter(|step| step.certificate == certificate);
        seen.any(|step| step.usable || !usable)
    }

    /// Goes on to the issuer of the certificate at `index`.
    fn step(&mut self, index: usize, issuer: &'a Certificate) -> Result<(), SignatureError> {
        let Some(from) = self.steps.get(index) else {
            return Ok(());
        };
        let is_issuer = from.issued.is_some() && !from.certificate.is_self_issued();
        let below = from.below.saturating_add(usize::from(is_issuer));
        let (certificate, reached) = (from.certificate, from.usable);
        let usable = self.check(issuer, Some(below))
            && reached
            && self.noted(certificate, certificate.check_authority(issuer))
            && self.check_choice(index, issuer)
            && self.check_names(index, issuer)?;
        self.steps.push(Step {
            certificate: issuer,
            issued: Some(index),
            below,
            usable,
        });
        Ok(())
    }

    /// Returns whether OpenSSL would go from the certificate at `index` to
    /// `issuer`, which signed it. It chooses by names and identifiers before it
    /// verifies signatures, and does not go back: the trusted certificate if it
    /// can be the issuer, otherwise the first that came with the signature.
    fn check_choice(&mut self, index: usize, issuer: &Certificate) -> bool {
        let mut way = self.way(index);
        let Some(certificate) = way.pop() else {
            return false;
        };
        if certificate.seems_self_signed() {
            return self.noted(certificate, Err("it names itself as its issuer"));
        }
        if !self.is_anchor(issuer) {
            let first = self.first_issuer(certificate);
            let is_first = first.is_none_or(|first| first == issuer);
            let reason = "another certificate with its name comes first in the signature";
            return is_first || self.noted(issuer, Err(reason));
        }
        let misled = way.into_iter().find(|below| below.seems_issued_by(issuer));
        let reason = "the trusted certificate has the name of its issuer, and did not sign it";
        misled.is_none_or(|misled| self.noted(misled, Err(reason)))
    }

    /// Returns whether every certificate that came with the signature and that
    /// OpenSSL would go through can be gone through. It looks whether it trusts
    /// the signer itself only when they lead nowhere, and checks them all.
    fn embedded_chain_holds(&self) -> bool {
        let mut index = 0;
        while let Some(step) = self.steps.get(index) {
            let certificate = step.certificate;
            if certificate.seems_self_signed() {
                return true;
            }
            let Some(issuer) = self.first_issuer(certificate) else {
                return true;
            };
            let is_next = |step: &Step<'_>| {
                step.issued == Some(index) && step.certificate == issuer && step.usable
            };
            match self.steps.iter().position(is_next) {
                Some(next) => index = next, // behind this one
                None => return false,
            }
        }
        false
    }

    /// Returns the first certificate with the signature that can have issued
    /// `certificate`; one with a date that is not right only if all are so.
    fn first_issuer(&self, certificate: &Certificate) -> Option<&'a Certificate> {
        let seems_issuer = |one: &&Certificate| certificate.seems_issued_by(one);
        let is_valid = |one: &&Certificate| self.now.is_none_or(|now| one.check_date(now).is_ok());
        let mut valid = self.embedded.iter().filter(seems_issuer).filter(is_valid);
        valid
            .next()
            .or_else(|| self.embedded.iter().find(seems_issuer))
    }

    /// Returns whether `issuer` may vouch for the names of everything from the
    /// signer to the certificate at `index`.
    fn check_names(&mut self, index: usize, issuer: &Certificate) -> Result<bool, SignatureError> {
        let extensions = issuer.extensions().ok();
        let Some(constraints) = extensions.and_then(|one| one.constraints.as_ref()) else {
            return Ok(true);
        };
        for (place, certificate) in self.way(index).into_iter().enumerate() {
            let is_leaf = place == 0;
            let Ok(extensions) = certificate.extensions() else {
                return Ok(false);
            };
            // An authority that renews its own key has no new name.
            if !is_leaf && certificate.is_self_issued() {
                continue;
            }
            self.effort
                .comparisons(constraints.comparisons(&extensions.names))?;
            if let Err(reason) = constraints.check(&extensions.names, is_leaf) {
                let reason = format!("the name constraints of {}: {reason}", issuer.subject());
                self.note(certificate, &reason);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether a chain may go through `certificate`; `below` is for
    /// issuers. Takes a note if not.
    fn check(&mut self, certificate: &Certificate, below: Option<usize>) -> bool {
        let dates = self.now.map_or(Ok(()), |now| certificate.check_date(now));
        let checked = match below {
            Some(below) => certificate.check_may_issue(below, self.is_anchor(certificate)),
            None => certificate.extensions().and_then(Extensions::check),
        };
        self.noted(certificate, checked.and(dates))
    }

    fn is_anchor(&self, certificate: &Certificate) -> bool {
        self.trust
            .anchors()
            .any(|(anchor, _)| anchor == certificate)
    }

    /// Returns where `certificate` is trusted, if it is.
    fn anchor(&mut self, certificate: &Certificate) -> Option<&'a Origin> {
        let mut anchors = self.trust.anchors();
        let (_, origin) = anchors.find(|(anchor, _)| *anchor == certificate)?;
        let extensions = certificate.extensions();
        self.noted(certificate, extensions.and_then(Extensions::check_may_boot))
            .then_some(origin)
    }

    fn noted(&mut self, certificate: &Certificate, checked: Result<(), &'static str>) -> bool {
        if let Err(reason) = checked {
            self.note(certificate, reason);
        }
        checked.is_ok()
    }

    /// Takes a note for the message that there is no chain.
    fn note(&mut self, certificate: &Certificate, reason: &str) {
        const MAX: usize = 8;
        if self.reasons.len() < MAX {
            // The message names the signer already.
            self.reasons.push(match certificate == self.signer {
                true => String::from(reason),
                false => format!("{}: {reason}", certificate.subject()),
            });
        }
    }

    /// Returns the certificates from the signer to the one at `index`.
    fn way(&self, index: usize) -> Vec<&'a Certificate> {
        let mut way = Vec::new();
        let mut next = self.steps.get(index);
        while let Some(step) = next {
            way.push(step.certificate);
            next = step.issued.and_then(|index| self.steps.get(index));
        }
        way.reverse();
        way
    }

    fn reasons(&self) -> String {
        if self.reasons.is_empty() {
            return String::new();
        }
        format!(" ({})", self.reasons.join("; "))
    }
}

/// Enough for [`MAX_SIGNATURES`] signatures with four verifications each. A
/// hostile image can ask for no more.
const MAX_VERIFICATIONS: usize = 4 * MAX_SIGNATURES;

/// OpenSSL's `NAME_CHECK_MAX`: the comparisons that it grants to one pair of
/// certificates.
const MAX_COMPARISONS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{X509, file, list};

    fn certificate(name: &str) -> Certificate {
        Certificate::from_der(&file(&format!("../chains/{name}.der"))).unwrap()
    }

    /// Checks whether a chain leads from `signer` over `embedded` certificates to
    /// `trusted`: `expected` is nothing if so, or the first reason why not.
    fn check(signer: &str, embedded: &[&str], trusted: &str, expected: &str) {
        let mut trust = Trust::default();
        let list = list(X509, certificate(trusted).der());
        trust.add_allowed_list(&Origin::new("db"), &list).unwrap();
        let certificates: Vec<_> = embedded.iter().map(|name| certificate(name)).collect();
        let signer_certificate = certificate(signer);
        let found = chain(
            &signer_certificate,
            &certificates,
            &trust,
            None,
            &mut Effort::default(),
        );
        let text = match found {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let case = format!("{signer} over {embedded:?} to {trusted}: {text}");
        assert_eq!(text.is_empty(), expected.is_empty(), "{case}");
        assert!(text.contains(expected), "{case}");
    }

    #[test]
    fn an_authority_key_identifier_names_the_issuer() {
        let other = "names another certificate than the issuer's";
        check("leaf", &["ca"], "root", "");
        check("leaf", &["renewed"], "root", "");
        check("by-serial", &["ca"], "root", "");
        check("by-serial", &["renewed"], "root", other);
        check("by-serial", &["renewed", "ca"], "root", "");
        check("by-serial", &[], "renewed", other);
        check("by-key", &["ca"], "root", "");
        check("by-key", &["renewed"], "root", "");
        check("by-key", &["namesake"], "root", "does not verify");
    }

    #[test]
    fn the_first_issuer_is_chosen_by_its_name() {
        let later = "another certificate with its name comes first";
        check("leaf", &["ca", "namesake"], "root", "");
        check("leaf", &["namesake", "ca"], "root", later);
        check("leaf", &["namesake-critical", "ca"], "root", later);
        check("leaf", &["no-ca", "ca"], "root", "no CA bit");
        // Certificates that identifiers exclude, or that cannot be read, are no choice.
        check("by-key", &["namesake", "ca"], "root", "");
        check("leaf", &["namesake-malformed", "ca"], "root", "");
        // A trusted one comes before all that are with the signature.
        check("leaf", &["namesake"], "ca", "");
    }

    #[test]
    fn a_trusted_signer_does_not_make_up_for_a_broken_chain() {
        check("leaf", &[], "leaf", "");
        check("leaf", &["ca"], "leaf", "");
        check("leaf", &["ca", "root"], "leaf", "");
        check("leaf", &["no-ca"], "leaf", "no CA bit");
        check("leaf", &["namesake"], "leaf", "does not verify");
        check("leaf", &["ca-excludes"], "leaf", "excluded");
        check("root", &["ca"], "root", "");
    }

    #[test]
    fn an_authority_may_renew_its_key_below_path_length_0() {
        check("below-renewed", &["renewed-root"], "root-0", "");
        check("below-ca-0", &["ca-below-0"], "root-0", "path length");
        // Without identifiers it is taken for the root, with another key.
        check("below-plain", &["renewed-plain"], "root-0", "names itself");
        check(
            "below-plain",
            &["renewed-root"],
            "root-0",
            "did not sign it",
        );
    }

    #[test]
    fn name_constraints_bind_whether_or_not_they_are_critical() {
        check("leaf", &["ca-permits"], "root", "");
        check("leaf", &["ca-permits"], "ca-permits", "");
        let not_permitted = "not among those permitted";
        check("leaf", &["ca-permits-other"], "root", not_permitted);
        check("leaf", &[], "ca-permits-other", not_permitted);
        check("leaf", &["ca-excludes"], "root", "excluded");
        check("host", &["ca-excludes"], "root", "");
        check("host", &["ca-hosts"], "root", not_permitted);
        check("leaf", &["ca-hosts"], "root", "");
        check("leaf", &["ca"], "root-excludes", "");
        check("below-renewed", &["renewed-root"], "root-excludes", "");
    }

    #[test]
    fn extensions_are_judged_as_openssl_does() {
        check("leaf", &["ca-policies"], "root", "");
        check("zero", &["ca"], "root", "");
        // An empty usage lets no key sign certificates, and signers' are not asked.
        check("no-usage", &["ca"], "root", "");
        let no_usage = certificate("no-usage");
        assert!(!no_usage.extensions().unwrap().may_sign_certificates());
        for (name, reason) in [
            ("critical", "not understood"),
            ("critical-id", "not understood"),
            ("malformed", "cannot be read"),
            ("proxy", "proxy"),
            ("lie", "a path length without a CA bit"),
        ] {
            check(name, &["ca"], "root", reason);
            check(name, &[], name, reason);
        }
    }

    #[test]
    fn roots_without_basic_constraints_have_to_be_trusted() {
        check("below-1", &[], "version-1", "");
        check("below-1", &["version-1"], "version-1", "");
        check("below-1", &["version-1"], "root", "no CA bit");
        check("below-usage", &[], "usage-root", "");
        check("below-usage", &["usage-root"], "root", "no CA bit");
        check("below-other", &[], "other-root", "no CA bit");
    }

    #[test]
    fn comparing_names_ends() {
        let mut effort = Effort::default();
        effort.comparisons(MAX_COMPARISONS).unwrap();
        let error = effort.comparisons(1).unwrap_err().to_string();
        assert_eq!(
            error,
            "names to be compared with name constraints for one image: expected at most 1048576, found more"
        );
    }
}
