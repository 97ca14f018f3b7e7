//! Paths into types: those that records spell, and the same paths in the
//! host's types.

use std::fmt::Write;

use super::compat;
use super::kind::RelocKind;
use crate::BpfError;
use crate::bounds::size;
use crate::btf::ext::CoreRelo;
use crate::btf::{Btf, Kind, MAX_ANONYMOUS, TypeId, essential_name};

/// The most steps of a path (libbpf `BPF_CORE_SPEC_MAX_LEN`).
const MAX_STEPS: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Spec {
    /// Where it begins, as named: a typedef stays one.
    pub(super) root: TypeId,
    /// Steps, without those through anonymous members.
    pub(super) steps: Vec<Step>,
    /// Where it ends, in bits from the beginning.
    pub(super) bit_offset: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// For a member or enum value the type that has it, for an array step the
    /// element's type; resolved.
    pub(super) ty: TypeId,
    /// Which member, value or element.
    pub(super) index: u32,
    /// The member's or value's name; an array step has none.
    pub(super) name: Option<u32>,
}

impl Spec {
    fn at(root: TypeId) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }

    fn step(&mut self, ty: TypeId, index: u32, name: Option<u32>) {
        self.steps.push(Step { ty, index, name });
    }

    /// Reads the path that a record spells.
    pub(super) fn parse(btf: &Btf, relo: &CoreRelo, kind: RelocKind) -> Result<Self, BpfError> {
        if relo.type_id.0 == 0 || !btf.contains(relo.type_id) {
            let (TypeId(id), count) = (relo.type_id, btf.len());
            return Err(BpfError::new(format!(
                "the CO-RE relocation names type [{id}], and there are {count}"
            )));
        }
        let refuse = |problem| {
            let (ty, access) = (btf.describe(relo.type_id), btf.text(relo.access));
            BpfError::new(format!(
                "the CO-RE relocation's path `{access}` into {ty} {problem}"
            ))
        };
        let access = indices(btf.name(relo.access)).map_err(refuse)?;
        let spec = Self::at(relo.type_id);
        match access.as_slice() {
            [0] if kind.is_type() => Ok(spec),
            _ if kind.is_type() => Err(refuse("is not `0`, as it must be for a type")),
            [index] if kind.is_enumval() => spec.with_value(btf, *index).map_err(refuse),
            _ if kind.is_enumval() => Err(refuse("is not one number, as it must be for an enum")),
            [index, rest @ ..] => spec.with_fields(btf, *index, rest).map_err(refuse),
            [] => Err(refuse("is empty")),
        }
    }

    fn with_value(mut self, btf: &Btf, index: u32) -> Result<Self, &'static str> {
        let ty = btf.resolve(self.root);
        let value = btf.values(ty).get(size(index));
        let value = value.ok_or("names a value that the enum does not have")?;
        self.step(ty, index, Some(value.name));
        Ok(self)
    }

    fn with_fields(mut self, btf: &Btf, index: u32, rest: &[u32]) -> Result<Self, &'static str> {
        let mut ty = btf.resolve(self.root);
        self.step_into(btf, ty, index).ok_or(TOO_FAR)?;
        for &index in rest {
            match btf.get(ty).kind {
                Kind::Composite { .. } => {
                    let member = btf.members(ty).get(size(index));
                    let member = member.ok_or("names a member that the type does not have")?;
                    let bits = u64::from(member.bit_offset);
                    self.bit_offset = self.bit_offset.checked_add(bits).ok_or(TOO_FAR)?;
                    if btf.is_named(member.name) {
                        self.step(ty, index, Some(member.name));
                    }
                    ty = btf.resolve(member.ty);
                }
                Kind::Array { elem, len } => {
                    if index >= len && !self.ends_flexibly(btf, len) {
                        return Err("passes the end of an array");
                    }
                    ty = btf.resolve(elem);
                    self.step_into(btf, ty, index).ok_or(TOO_FAR)?;
                }
                _ => return Err("goes into a type that has no members"),
            }
        }
        Ok(self)
    }

    /// Adds the step to element `index` of an array of `ty`, or of the
    /// unwritten array that the root stands in.
    fn step_into(&mut self, btf: &Btf, ty: TypeId, index: u32) -> Option<()> {
        let bits = btf.size(ty)?.checked_mul(8)?.checked_mul(index.into())?;
        self.bit_offset = self.bit_offset.checked_add(bits)?;
        self.step(ty, index, None);
        Some(())
    }

    /// Returns whether an array of `len` elements, to which the path leads, is
    /// the flexible one at a struct's end.
    fn ends_flexibly(&self, btf: &Btf, len: u32) -> bool {
        let last = self.steps.last();
        let last = last.filter(|step| len == 0 && step.name.is_some());
        last.is_some_and(|step| size(step.index).checked_add(1) == Some(btf.members(step.ty).len()))
    }

    /// Finds the same path in type `root` of `host`.
    pub(super) fn find(
        &self,
        local: &Btf,
        host: &Btf,
        root: TypeId,
        kind: RelocKind,
    ) -> Option<Self> {
        let found = Self::at(root);
        if kind == RelocKind::TypeMatches {
            return compat::types_match(local, self.root, host, root).then_some(found);
        }
        if kind.is_type() {
            return compat::types_compatible(local, self.root, host, root).then_some(found);
        }
        if kind.is_enumval() {
            return found.find_value(host, local.name(self.steps.first()?.name?));
        }
        found.find_fields(host, local, &self.steps)
    }

    fn find_value(mut self, host: &Btf, name: &[u8]) -> Option<Self> {
        let ty = host.resolve(self.root);
        let name = essential_name(name);
        let same = |value: u32| essential_name(host.name(value)) == name;
        let mut values = (0_u32..).zip(host.values(ty));
        let (index, value) = values.find(|(_, value)| same(value.name))?;
        self.step(ty, index, Some(value.name));
        Some(self)
    }

    fn find_fields(mut self, host: &Btf, local: &Btf, steps: &[Step]) -> Option<Self> {
        let mut ty = host.resolve(self.root);
        for (at, step) in steps.iter().enumerate() {
            if step.name.is_some() {
                ty = self.find_member(host, ty, local, step, MAX_ANONYMOUS)?;
                continue;
            }
            if at > 0 {
                let Kind::Array { elem, len } = host.get(ty).kind else {
                    return None;
                };
                if step.index >= len && !self.ends_flexibly(host, len) {
                    return None;
                }
                ty = host.resolve(elem);
            }
            self.step_into(host, ty, step.index)?;
        }
        Some(self)
    }

    /// Adds the step to the host's member of the same name and a compatible
    /// type, also within anonymous members; returns its type, resolved.
    fn find_member(
        &mut self,
        host: &Btf,
        ty: TypeId,
        local: &Btf,
        step: &Step,
        depth: u32,
    ) -> Option<TypeId> {
        let depth = depth.checked_sub(1)?;
        let wanted = local.members(step.ty).get(size(step.index))?;
        let wanted_name = local.name(wanted.name);
        for (index, member) in (0_u32..).zip(host.members(ty)) {
            let own = self.bit_offset;
            self.bit_offset = own.checked_add(u64::from(member.bit_offset))?;
            let name = host.name(member.name);
            let inner = host.resolve(member.ty);
            if name.is_empty() {
                if let Some(found) = self.find_member(host, inner, local, step, depth) {
                    return Some(found);
                }
            } else if name == wanted_name {
                // A name occurs once, so that a type that does not fit ends the search.
                if !compat::fields_compatible(local, wanted.ty, host, member.ty) {
                    return None;
                }
                self.step(ty, index, Some(member.name));
                return Some(inner);
            }
            self.bit_offset = own;
        }
        None
    }

    /// Returns the path as a C programmer writes it.
    pub(super) fn describe(&self, btf: &Btf) -> String {
        let mut text = btf.describe(self.root);
        for (at, step) in self.steps.iter().enumerate() {
            let written = match step.name {
                Some(name) if !btf.values(step.ty).is_empty() => {
                    write!(text, "::{}", btf.text(name))
                }
                Some(name) => write!(text, ".{}", btf.text(name)),
                None if at == 0 && step.index == 0 => Ok(()),
                None => write!(text, "[{}]", step.index),
            };
            if written.is_err() {
                break;
            }
        }
        text
    }
}

const TOO_FAR: &str = "leads to no place with an offset";

/// Reads numbers with colons between them.
fn indices(access: &[u8]) -> Result<Vec<u32>, &'static str> {
    let mut indices = Vec::new();
    for number in access.split(|&byte| byte == b':') {
        if indices.len() == MAX_STEPS {
            return Err("has more than 64 steps");
        }
        let number = str::from_utf8(number).ok();
        let number = number.and_then(|number| number.parse().ok());
        indices.push(number.ok_or("is not numbers with colons between them")?);
    }
    Ok(indices)
}
