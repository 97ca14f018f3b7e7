//! The parts of an unfolded image, as the call that loads them takes them.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use ukexec_boot::EMPTY_INITRD;
use ukexec_kexec::{
    self as kexec, ImageFacts, LoadCall, MachineState, Moved, Preflight, assemble,
    has_ima_signature,
};
use ukexec_layout::Layout;

use crate::conditions;
use crate::error::Result;
use crate::parent::sources::Descriptor;
use crate::parent::unfolding::Unfolding;
use crate::placement::PartsToPlace;
use crate::protocol::Identity;

/// The parts that a call loads.
#[derive(Debug)]
pub(crate) struct PartsToLoad<'a> {
    pub(crate) kernel: Descriptor<'a>,
    pub(crate) initrd: Option<Descriptor<'a>>,
    /// The initrd is an empty archive that stands for none.
    pub(crate) empty_initrd: bool,
    pub(crate) cmdline: Vec<u8>,
}

impl<'a> PartsToLoad<'a> {
    /// Returns the parts of an image whose kernel is what `identity` says, for `call` on
    /// `machine`.
    pub(crate) fn new(
        unfolding: &'a Unfolding,
        identity: &Identity,
        machine: &MachineState,
        call: LoadCall,
    ) -> Result<Self> {
        let Unfolding {
            image,
            answer,
            sources,
            ..
        } = unfolding;
        let is_file_call = call == LoadCall::KexecFileLoad;
        // The worker verified the snapshot. The file counts only for a kernel
        // that looks at its signature and attributes itself, and for callers who
        // need no verdict.
        let is_wanted = |file: &&File| {
            // Linux reads a kernel from nothing else.
            let is_regular = || file.metadata().is_ok_and(|it| it.is_file());
            let is_file = machine.verifies_files() || unfolding.own_file && is_regular();
            // The other call takes memory.
            is_file_call && !answer.unfolded && is_file
        };
        let kernel = match image.file.as_ref().filter(is_wanted) {
            Some(file) => Descriptor::Original(file.as_fd(), image.len()),
            None => sources.descriptor(&unfolding.kernel)?,
        };
        let empty_initrd = unfolding.initrd.is_none() && identity.x86_64 && is_file_call;
        let initrd = match &unfolding.initrd {
            Some(spans) => Some(sources.descriptor(spans)?),
            None if empty_initrd => {
                let (sealed, moved) = assemble(&[kexec::Part::Bytes(&EMPTY_INITRD)])?;
                Some(Descriptor::Assembled(sealed, moved))
            }
            None => None,
        };
        Ok(Self {
            kernel,
            initrd,
            empty_initrd,
            // A kernel without a command line gets an empty one, as the plan's notes say.
            cmdline: answer.cmdline.clone().unwrap_or_default(),
        })
    }

    /// Returns how many bytes were moved for the load.
    pub(crate) fn moved(&self, unfolding: &Unfolding) -> Moved {
        let mut moved = unfolding.image.moved;
        moved += unfolding.beside;
        for initrd in &unfolding.initrds {
            moved += initrd.moved;
        }
        for descriptor in [&self.kernel].into_iter().chain(&self.initrd) {
            moved += descriptor.moved();
        }
        moved
    }

    /// Finds their places, if `call` takes places.
    pub(crate) fn lay_out(
        &self,
        unfolding: &Unfolding,
        identity: &Identity,
        machine: &MachineState,
        call: LoadCall,
    ) -> Option<Result<Layout>> {
        let lay_out = || {
            let parts = PartsToPlace {
                header: identity.header.as_ref().map_err(Clone::clone)?,
                kernel_len: self.kernel.len(),
                initrd_len: self.initrd.as_ref().map(Descriptor::len),
                cmdline: &self.cmdline,
                device_tree: unfolding.answer.device_tree.as_ref().map(|it| &it.tree),
                efi: unfolding.efi,
                window: &unfolding.window,
                kind: unfolding.kind,
            };
            parts.lay_out(machine, Path::new("/"))
        };
        (call == LoadCall::KexecLoad).then(lay_out)
    }

    /// Judges the conditions of the load by `call`.
    pub(crate) fn judge(
        &self,
        unfolding: &Unfolding,
        identity: &Identity,
        layout: Option<&Result<Layout>>,
        machine: &MachineState,
        call: LoadCall,
    ) -> Result<Preflight> {
        let kind = unfolding.kind;
        let mut preflight = Preflight::new(kind, call, machine, Some(self.facts(identity)));
        let len = |it: &Descriptor<'_>| it.rope().map(|rope| rope.len());
        let needed = [
            identity.memory.map_or_else(|| len(&self.kernel), Ok)?,
            self.initrd.as_ref().map_or(Ok(0), len)?,
        ];
        let memory = conditions::memory(needed, machine, kind).filter(|_| unfolding.expands);
        let segments = layout.map(|it| conditions::segments(it, machine, kind));
        let architecture = conditions::architecture(identity, machine, kind, call);
        let conditions = architecture.into_iter().chain(memory).chain(segments);
        let conditions = conditions.chain(unfolding.after.iter().cloned());
        conditions.for_each(|it| preflight.push(it));
        Ok(preflight)
    }

    fn facts(&self, identity: &Identity) -> ImageFacts {
        let attribute = match self.kernel {
            Descriptor::Original(file, _) => has_ima_signature(file),
            // Memory has no attributes.
            _ => Some(false),
        };
        ImageFacts {
            signed: identity.signed,
            ima_signed: match identity.appended {
                Some(false) => attribute,
                appended => appended,
            },
        }
    }
}
