//! Counted references: what a program must give back.

use std::collections::BTreeMap;

use super::Memory;
use super::region::Body;
use crate::BpfError;
use crate::costs::REFERENCE_ROOM;

/// An instruction of one of the parser's programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) program: u32,
    pub(crate) slot: u32,
}

/// The references that are held, by address, and who is at work.
#[derive(Debug, Default)]
pub(super) struct References {
    held: BTreeMap<u64, Reference>,
    site: Site,
}

#[derive(Debug)]
struct Reference {
    kind: &'static str,
    also: Vec<u64>,
    site: Site,
}

impl Memory {
    /// Makes the region at `object` a counted reference: the program must give
    /// it back before the run ends. `kind` names it in messages, with its
    /// article (`a mem_range_result`). The regions in `also` live as long.
    /// The instruction that runs now is remembered.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if there are too many to keep.
    pub fn acquire(
        &mut self,
        kind: &'static str,
        object: u64,
        also: &[u64],
    ) -> Result<(), BpfError> {
        self.account.take(REFERENCE_ROOM)?;
        let reference = Reference {
            kind,
            also: also.to_vec(),
            site: self.references.site,
        };
        self.references.held.insert(object, reference);
        Ok(())
    }

    /// Takes the reference `kind` at `object` back and frees its regions.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if no such reference is held at that address: never
    /// acquired, released before, or of another kind.
    pub fn release(&mut self, kind: &'static str, object: u64) -> Result<(), BpfError> {
        self.release_as(kind, object, "released")
    }

    /// [`Memory::release`]; later uses report `how` the reference went.
    pub(crate) fn release_as(
        &mut self,
        kind: &'static str,
        object: u64,
        how: &'static str,
    ) -> Result<(), BpfError> {
        self.check_held(kind, object)?;
        self.forget(object, how);
        Ok(())
    }

    /// Checks that a reference `kind` is held at `object`.
    ///
    /// # Errors
    ///
    /// [`BpfError`] as that of [`Memory::release`].
    pub fn check_held(&self, kind: &'static str, object: u64) -> Result<(), BpfError> {
        match self.holds(kind, object) {
            true => Ok(()),
            false => Err(self.not_held(kind, object)),
        }
    }

    /// Returns whether a reference `kind` is held at `object`.
    #[must_use]
    pub fn holds(&self, kind: &'static str, object: u64) -> bool {
        let held = self.references.held.get(&object);
        held.is_some_and(|reference| reference.kind == kind)
    }

    pub(crate) fn site(&self) -> Site {
        self.references.site
    }

    #[inline]
    pub(crate) fn set_site(&mut self, site: Site) {
        self.references.site = site;
    }

    /// Takes back all references at the end of a run, and returns the kind and
    /// place of the first.
    pub(crate) fn take_leaks(&mut self) -> Option<(&'static str, Site)> {
        let first = self.references.held.values().next();
        let first = first.map(|reference| (reference.kind, reference.site));
        while let Some(&object) = self.references.held.keys().next() {
            self.forget(object, "leaked");
        }
        first
    }

    fn forget(&mut self, object: u64, how: &'static str) {
        if let Some(reference) = self.references.held.remove(&object) {
            self.account.give(REFERENCE_ROOM);
            self.free(object, how);
            for addr in reference.also {
                self.free(addr, how);
            }
        }
    }

    fn not_held(&self, kind: &'static str, object: u64) -> BpfError {
        let region = self.region(object).map(|region| &region.body);
        let why = match (self.references.held.get(&object), region) {
            (Some(reference), _) => format!(": it is {}", reference.kind),
            (None, Some(Body::Gone(gone))) => format!(": it was {gone}"),
            (None, _) if object >> 32 == 0 => ": it is NULL".to_owned(),
            (None, _) => String::new(),
        };
        let given = self.describe(object);
        BpfError::new(format!("{given} is not {kind} that is held{why}"))
    }
}
