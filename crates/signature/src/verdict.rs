//! The result of verifying an image.

use alloc::{borrow::ToOwned, format, string::String, string::ToString, vec, vec::Vec};
use core::error::Error;
use core::fmt;
use core::iter::successors;

use crate::signatures::Good;
use crate::signer::{EnclosedCertificate, Signer};
use crate::signers::Revoked;
use crate::{Origin, Revocation, SignatureError, State};

/// The result of verifying an image or a file, or of reading who signed it.
/// Displayed as one sentence; with `{:#}` of several reasons the first is there.
///
/// Nobody but this crate can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    state: State,
    /// In words, why it is not good.
    reasons: Vec<String>,
    /// The list that allows or revokes the image.
    list: Option<Origin>,
    /// Whether no signature is one of these bytes.
    misfit: bool,
    signers: Vec<Signer>,
    certificates: Vec<EnclosedCertificate>,
}

impl Verdict {
    /// Returns whether the image may run where only trusted ones may.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.state.is_good()
    }

    /// Returns whether the image is signed and no signature of it is one of its
    /// bytes: it was changed after it was signed, or its signatures were. No key is
    /// needed to see that. A signature by a digest that is not known could be one of
    /// them, and so could signatures of kinds that are not known, where there are no
    /// others.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        self.misfit && !self.is_good()
    }

    /// Returns the verdict in one word.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns why the image is not good, in words.
    #[must_use]
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Returns the list whose entry allows or revokes the image.
    #[must_use]
    pub fn list(&self) -> Option<&Origin> {
        self.list.as_ref()
    }

    /// Returns who signed, signature by signature.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Returns the certificates that come with the signatures, each once.
    #[must_use]
    pub fn certificates(&self) -> &[EnclosedCertificate] {
        &self.certificates
    }

    /// Returns the signer of the good signature, if that is the verdict.
    #[must_use]
    pub fn good(&self) -> Option<&Signer> {
        let mut signers = self.signers.iter();
        signers.find(|signer| self.state == State::Good && signer.state == State::Good)
    }

    /// Returns one of an image by `signers` that nobody verified yet.
    pub(crate) fn unverified(signers: Vec<Signer>, certificates: Vec<EnclosedCertificate>) -> Self {
        Self {
            state: State::Unverified,
            reasons: Vec::new(),
            list: None,
            misfit: false,
            signers,
            certificates,
        }
    }

    /// Returns one of an image without signatures.
    pub(crate) fn unsigned() -> Self {
        Self::unverified(Vec::new(), Vec::new()).settled(State::Unsigned, Vec::new())
    }

    /// Returns a bad one of an image of which no signature was found, for `error`
    /// and its causes.
    pub(crate) fn unreadable(error: SignatureError) -> Self {
        Self::unverified(Vec::new(), Vec::new()).refused(&error.malformed())
    }

    /// Lists the signers of `listed`, where it has more, first of all of those that can be
    /// read.
    pub(crate) fn with_more_of(self, listed: Self) -> Self {
        let Self {
            signers,
            certificates,
            ..
        } = listed;
        let count = |signers: &[Signer]| {
            let readable = signers.iter().filter(|it| it.algorithm.is_some());
            (readable.count(), signers.len())
        };
        if count(&signers) <= count(&self.signers) {
            return self;
        }
        Self {
            signers,
            certificates,
            ..self
        }
    }

    /// Notes that no signature is one of these bytes.
    pub(crate) fn misfits(mut self) -> Self {
        self.misfit = true;
        self
    }

    /// Returns the signers of signature `number`, without those that are nested
    /// in it.
    pub(crate) fn signers_of(&mut self, number: usize) -> impl Iterator<Item = &mut Signer> {
        let signers = self.signers.iter_mut();
        signers.filter(move |signer| signer.signature == number && !signer.nested)
    }

    fn settled(self, state: State, reasons: Vec<String>) -> Self {
        Self {
            state,
            reasons,
            ..self
        }
    }

    /// Makes one verdict of those on each signature: what comes nearest to a good one
    /// counts.
    pub(crate) fn combined(mut self, verified: Vec<Result<Good, SignatureError>>) -> Self {
        let is_one = verified.len() == 1;
        let mut state = State::Malformed;
        let mut reasons = Vec::new();
        for (number, found) in (1..).zip(verified) {
            let one = match &found {
                Ok(_) => State::Good,
                Err(error) => error.state(),
            };
            state = state.min(one);
            let reason = found.as_ref().err().map(ToString::to_string);
            reasons.extend(reason.iter().map(|reason| match is_one {
                true => reason.clone(),
                false => format!("signature {number}: {reason}"),
            }));
            for signer in self.signers_of(number) {
                signer.state = one;
                signer.reason.clone_from(&reason);
                if let Ok(good) = &found {
                    signer.chain.clone_from(&good.chain);
                    signer.anchor = Some(good.anchor.clone());
                }
            }
        }
        if state == State::Good {
            reasons.clear();
        } else if reasons.is_empty() {
            state = State::Unsupported;
            reasons.push("there is no signature of a kind that is known".to_owned());
        }
        self.settled(state, reasons)
    }

    /// Makes it one of an image whose digest is in the list `origin`.
    pub(crate) fn allowed(mut self, origin: Origin) -> Self {
        self.list = Some(origin);
        self.settled(State::Allowed, Vec::new())
    }

    /// Makes it one of an image that is revoked, or was signed with a certificate
    /// that is.
    pub(crate) fn revoked(mut self, revocation: &Revocation, certificate: Option<&str>) -> Self {
        self.list = Some(revocation.origin.clone());
        let reason = match certificate {
            Some(subject) => format!("the certificate of {subject}: {revocation}"),
            None => format!("the image: {revocation}"),
        };
        self.settled(State::Revoked, vec![reason])
    }

    /// As [`revoked`](Self::revoked), of the signer of a signature.
    pub(crate) fn by_revoked(mut self, revoked: &Revoked) -> Self {
        let reason = format!("{}: {}", revoked.subject, revoked.revocation);
        for signer in self.signers_of(revoked.signature) {
            signer.state = State::Revoked;
            signer.reason = Some(reason.clone());
        }
        self.revoked(&revoked.revocation, Some(&revoked.subject))
    }

    /// Makes it one that is not good for `error` and its causes.
    pub(crate) fn refused(self, error: &SignatureError) -> Self {
        let outermost: &dyn Error = error;
        let causes = successors(Some(outermost), |&error| error.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        self.settled(error.state(), vec![causes.join(": ")])
    }

    /// Returns the verdict, but a bad one for a good one if not everything was
    /// `looked` at: what revokes the image may be left.
    pub(crate) fn unless_in_doubt(self, looked: Result<(), SignatureError>) -> Self {
        match looked {
            Err(error) if self.is_good() => self.refused(&error),
            _ => self,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = match self.reasons.as_slice() {
            [first, more @ ..] if f.alternate() && !more.is_empty() => {
                format!("{first}, and {} more", more.len())
            }
            reasons => reasons.join("; "),
        };
        match self.state {
            State::Good => {
                // There is one where the verdict is good.
                let mut good = self.good().into_iter();
                good.try_for_each(|signer| signer.fmt_good(f))
            }
            State::Allowed => {
                f.write_str("good, the digest of the image is listed in ")?;
                self.list.iter().try_for_each(|origin| origin.fmt(f))
            }
            State::Unsigned => self.state.fmt(f),
            State::Unverified => {
                let subjects = self.signers.iter().filter_map(|it| it.subject.as_deref());
                let subjects: Vec<&str> = subjects.collect();
                let by = if subjects.is_empty() { "" } else { ", by " };
                write!(f, "{}{by}{}", self.state, subjects.join(" and "))
            }
            State::Untrusted | State::Revoked => write!(f, "{}: {reasons}", self.state),
            State::Bad | State::Unsupported | State::Malformed => {
                write!(f, "{} signature: {reasons}", self.state)
            }
        }
    }
}
