//! What `inspect`, `unfold` and `load` share: from arguments to what a worker
//! found. Nothing here looks at a byte of an image.

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use ukexec_kexec::{Readers, SealedFile, shown_path};
use ukexec_pe::ByteRanges;
use ukexec_signature::Hasher;

use crate::args;
use crate::bundle::Bundle;
use crate::cmdline;
use crate::companions;
use crate::image::{Image, Opened, name};
use crate::parsers_d;
use crate::protocol::{
    Allowance, Answer, CallersInitrd, Hashed, Identity, Job, MachineFacts, Policy, Request,
    Verification, Wanted,
};
use crate::sources::Sources;
use crate::text;
use crate::trust;
use crate::work::{Looked, SLACK, Work, output_limit};

/// Whether the image is read where it lies or taken over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// `inspect` and `unfold` read what they need.
    OnDisk,
    /// `load` looks at nothing that could change.
    Snapshot,
}

impl Access {
    /// Returns where bytes are read if only what is verified counts
    /// (`required`): a file on disk can change between the verdict on it and
    /// the use of it.
    fn where_verified(self, required: bool) -> Self {
        if required { Self::Snapshot } else { self }
    }
}

/// An image to take apart.
#[derive(Clone, Debug)]
pub(crate) struct Task<'a> {
    /// Where it is.
    pub(crate) path: &'a Path,
    /// How, and what with.
    pub(crate) args: &'a args::Unfolding,
    /// Where it is read.
    pub(crate) access: Access,
    /// What to tell.
    pub(crate) report: Wanted,
    /// The machine that is to take the kernel, if one is.
    pub(crate) machine: Option<MachineFacts>,
    /// Whether systemd-stub is stood in for, and what it would put behind the
    /// initrd is.
    pub(crate) extra: bool,
}

/// An image that was taken apart.
#[derive(Debug)]
pub(crate) struct Unfolding {
    /// The image, and what it took to have it.
    pub(crate) image: Image,
    /// The caller's initrds.
    pub(crate) initrds: Vec<Image>,
    /// What the worker found. Its spans were checked.
    pub(crate) answer: Answer,
    /// Where the spans' bytes are.
    pub(crate) sources: Sources,
}

impl Task<'_> {
    /// Opens the image and has a worker take it apart. The worker is gone when
    /// this returns.
    pub(crate) fn run(&self) -> anyhow::Result<Unfolding> {
        let image = Opened::open(self.path)?;
        let trust = trust::verification(&self.args.verify, self.thorough())?;
        let required = trust
            .as_ref()
            .is_some_and(|(rules, _)| rules.policy == Policy::Require);
        let work = Work::start(self.args, required)?;
        let task = Task {
            access: self.access.where_verified(required),
            ..self.clone()
        };
        let done = task.have_done(image, trust, &work);
        work.end(done)
    }

    fn have_done(
        &self,
        image: Opened,
        trust: Option<(Verification, SealedFile)>,
        work: &Work,
    ) -> anyhow::Result<Unfolding> {
        let verified = match trust {
            Some((verification, bundle)) => {
                work.trust(verification, &bundle)?;
                true
            }
            None => false,
        };
        let parsers = parsers_d::all(&self.args.parsers_dir)?;
        let looked = if verified || self.access == Access::Snapshot {
            let has_more_parsers = self.args.parser.is_some() || !parsers.is_empty();
            work.look(&image, has_more_parsers)?
        } else {
            Looked::default()
        };
        let mut sources = Sources::default();
        let (image, hashed) = self.bring(image, looked, &mut sources)?;
        let mut initrds = Vec::new();
        for path in &self.args.initrd {
            let initrd = Opened::open(path)?;
            let (initrd, _) = self.bring(initrd, Looked::default(), &mut sources)?;
            initrds.push(initrd);
        }
        for (descriptor, len) in sources.given() {
            work.send(&Request::Source { len }, descriptor)?;
        }
        let (mut job, bundle) = self.job(&image, &initrds, parsers)?;
        job.hashed = hashed;
        work.send(&Request::Unfold(Box::new(job)), bundle.as_fd())?;
        let mut answer = work.answer(&mut sources, output_limit(&self.args.limits))?;
        // What comes out is never longer than what went in and the budget.
        let inputs: u64 = initrds.iter().chain([&image]).map(Image::len).sum();
        let budget = self.args.limits.max_output.0;
        let limit = inputs.saturating_add(budget).saturating_add(SLACK);
        sources.check(&answer.kernel, limit)?;
        sources.check(answer.initrd.as_deref().unwrap_or_default(), limit)?;
        if let (true, Some(initrd)) = (self.extra, &mut answer.initrd) {
            sources.grow(initrd)?;
        }
        sources.seal_all()?;
        self.add_warnings(&mut answer);
        Ok(Unfolding {
            image,
            initrds,
            answer,
            sources,
        })
    }

    /// Adds what the worker cannot know or need not look at.
    fn add_warnings(&self, answer: &mut Answer) {
        let line = answer.cmdline.as_deref().unwrap_or_default();
        if self.args.panic && cmdline::reserves_memory(line) {
            answer.warnings.push(
                "the command line has crashkernel=, for which the crash kernel sets aside memory \
                 that it needs itself: give it a line without (--cmdline)"
                    .to_owned(),
            );
        }
        if answer.unfolded {
            answer.warnings.extend(companions::warning(self.path));
        }
        answer.document["warnings"] = json!(answer.warnings);
    }

    /// Returns whether to tell of every signature: that costs a pass over the
    /// bytes of inner layers too.
    fn thorough(&self) -> bool {
        self.report.layers
    }

    /// Brings a file into reach, and hashes it on the way if that is wanted.
    fn bring(
        &self,
        file: Opened,
        looked: Looked,
        sources: &mut Sources,
    ) -> anyhow::Result<(Image, Option<Hashed>)> {
        let Looked { cuts, hash } = looked;
        let Some(plan) = hash else {
            let image = match self.access {
                Access::OnDisk => file.leave(sources),
                Access::Snapshot => file.snapshot(&cuts, None, sources)?,
            };
            return Ok((image, None));
        };
        let ranges = ByteRanges {
            ranges: plan.ranges.clone(),
            padding: plan.padding,
        };
        let Ok(mut hasher) = Hasher::new(&ranges, plan.algorithms) else {
            // These cannot be hashed in one pass: the worker will, in another.
            return Ok((file.snapshot(&cuts, None, sources)?, None));
        };
        let mut at = 0;
        let mut tap = |bytes: &[u8]| {
            // What does not fit the plan is missing at the end.
            let _told_by_finish = hasher.update(at, bytes);
            at += bytes.len() as u64;
        };
        let image = file.snapshot(&cuts, Some(&mut tap), sources)?;
        let digests = hasher
            .finish()
            .context("the file changed while it was being taken over")?;
        Ok((image, Some(Hashed { plan, digests })))
    }

    /// Returns what the worker is to do, and a bundle of the small files for it.
    fn job(
        &self,
        image: &Image,
        initrds: &[Image],
        listed: Vec<(String, Vec<u8>)>,
    ) -> anyhow::Result<(Job, SealedFile)> {
        let args = self.args;
        let mut bundle = Bundle::new()?;
        let given = args.parser.as_deref();
        let parser = given.map(|path| bundle.add_file(path)).transpose()?;
        let mut parsers = Vec::new();
        for (name, object) in listed {
            parsers.push(bundle.add(name, &object)?);
        }
        let bundle = bundle.seal()?;
        let job = Job {
            path: image.path.to_string_lossy().into_owned(),
            name: name(&image.path),
            image: image.spans.clone(),
            sealed: image.sealed,
            hashed: None,
            initrds: initrds.iter().map(callers_initrd).collect(),
            bundle_len: bundle.len(),
            parser,
            parsers,
            embedded_parsers: !args.no_embedded_parser,
            profile: args.profile.clone(),
            cmdline: cmdline::asked_for(args)?,
            append: args.append.clone().map(OsString::into_vec),
            panic: args.panic,
            extra: self.extra,
            budget: Allowance::from(&args.limits),
            report: self.report,
            machine: self.machine.clone(),
        };
        Ok((job, bundle))
    }
}

impl Unfolding {
    /// Returns the kernel's identity, or as an error what it is instead.
    pub(crate) fn identified(&self) -> anyhow::Result<&Identity> {
        match &self.answer.identity {
            Ok(kernel) => Ok(kernel),
            Err(failure) => Err(failure.clone().into()),
        }
    }

    /// Returns who may read the parts: who may read all that they are made of.
    pub(crate) fn readers(&self) -> Readers {
        let initrds = self.initrds.iter();
        initrds.fold(self.image.readers, |readers, initrd| {
            readers.and(initrd.readers)
        })
    }

    /// Like [`Unfolding::identified`], but what a parser handed over may be
    /// anything: a person may want to see it.
    pub(crate) fn unfolded_or_kernel(&self) -> anyhow::Result<()> {
        if self.answer.unfolded {
            Ok(())
        } else {
            self.identified().map(|_kernel| ())
        }
    }

    /// Tells the warnings on stderr.
    pub(crate) fn warn(&self) {
        for warning in &self.answer.warnings {
            text::note(&format!("warning: {warning}"));
        }
    }
}

fn callers_initrd(image: &Image) -> CallersInitrd {
    CallersInitrd {
        name: shown_path(&image.path),
        spans: image.spans.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_be_verified_is_taken_over_first() {
        for access in [Access::OnDisk, Access::Snapshot] {
            assert_eq!(access.where_verified(true), Access::Snapshot);
            assert_eq!(access.where_verified(false), access);
        }
    }
}
