//! Which types of the host may stand for a program's.

use crate::btf::{Btf, Kind, TypeId, essential_name};

/// How deep prototypes and pointers are compared.
const MAX_DEPTH: u32 = 32;

/// Returns whether two types are of the same kind; enums of either width are.
pub(super) fn same_kind(left: &Kind, right: &Kind) -> bool {
    let is_union = |kind: &Kind| matches!(kind, Kind::Composite { is_union: true, .. });
    std::mem::discriminant(left) == std::mem::discriminant(right)
        && is_union(left) == is_union(right)
}

fn same_name(local: &Btf, left: u32, host: &Btf, right: u32) -> bool {
    essential_name(local.name(left)) == essential_name(host.name(right))
}

/// Integers within larger ones, which compilers no longer write, never fit.
fn whole(left: &Kind, right: &Kind) -> bool {
    let is_whole = |kind: &Kind| !matches!(kind, Kind::Int { bit_offset, .. } if *bit_offset > 0);
    is_whole(left) && is_whole(right)
}

/// Returns whether a field of the host's type can be accessed in place of one
/// of the program's: libbpf's `bpf_core_fields_are_compat`.
pub(super) fn fields_compatible(local: &Btf, left: TypeId, host: &Btf, right: TypeId) -> bool {
    let (mut left, mut right) = (local.resolve(left), host.resolve(right));
    for _ in 0..MAX_DEPTH {
        let (ours, theirs) = (local.get(left), host.get(right));
        let composite = |kind: &Kind| matches!(kind, Kind::Composite { .. });
        if composite(&ours.kind) && composite(&theirs.kind) {
            return true;
        }
        if !same_kind(&ours.kind, &theirs.kind) {
            return false;
        }
        match (&ours.kind, &theirs.kind) {
            (Kind::Ptr(_) | Kind::Float { .. }, _) => return true,
            (Kind::Fwd { .. } | Kind::Enum { .. }, _) => {
                // One of them may be anonymous.
                return !local.is_named(ours.name)
                    || !host.is_named(theirs.name)
                    || same_name(local, ours.name, host, theirs.name);
            }
            (Kind::Int { .. }, _) => return whole(&ours.kind, &theirs.kind),
            (Kind::Array { elem, .. }, Kind::Array { elem: theirs, .. }) => {
                (left, right) = (local.resolve(*elem), host.resolve(*theirs));
            }
            _ => return false,
        }
    }
    false
}

/// Returns whether the host's type is one of the same shape, whatever its
/// members: libbpf's `bpf_core_types_are_compat`.
pub(super) fn types_compatible(local: &Btf, left: TypeId, host: &Btf, right: TypeId) -> bool {
    same_kind(&local.get(left).kind, &host.get(right).kind)
        && compatible(local, left, host, right, MAX_DEPTH)
}

fn compatible(local: &Btf, left: TypeId, host: &Btf, right: TypeId, depth: u32) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let (ours, theirs) = (local.resolved_kind(left), host.resolved_kind(right));
    if !same_kind(ours, theirs) {
        return false;
    }
    match (ours, theirs) {
        (Kind::Int { .. }, _) => whole(ours, theirs),
        (Kind::Ptr(left), Kind::Ptr(right))
        | (Kind::Array { elem: left, .. }, Kind::Array { elem: right, .. }) => {
            compatible(local, *left, host, *right, depth)
        }
        (Kind::FuncProto { .. }, _) => prototypes(local, left, host, right, |left, right| {
            compatible(local, left, host, right, depth)
        }),
        (Kind::Void | Kind::Composite { .. } | Kind::Enum { .. } | Kind::Fwd { .. }, _) => true,
        _ => false,
    }
}

/// Compares return types and parameters.
fn prototypes(
    local: &Btf,
    left: TypeId,
    host: &Btf,
    right: TypeId,
    same: impl Fn(TypeId, TypeId) -> bool,
) -> bool {
    let (Some((ret, params)), Some((their_ret, their_params))) =
        (local.prototype(left), host.prototype(right))
    else {
        return false;
    };
    let mut pairs = params.iter().zip(their_params);
    params.len() == their_params.len()
        && pairs.all(|(left, right)| same(*left, *right))
        && same(ret, their_ret)
}

/// Returns whether the host's type has everything that the program's has:
/// libbpf's `bpf_core_types_match`.
pub(super) fn types_match(local: &Btf, left: TypeId, host: &Btf, right: TypeId) -> bool {
    matching(local, left, host, right, false, MAX_DEPTH)
}

fn matching(
    local: &Btf,
    left: TypeId,
    host: &Btf,
    right: TypeId,
    behind_pointer: bool,
    depth: u32,
) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let (left, right) = (local.resolve(left), host.resolve(right));
    let (ours, theirs) = (local.get(left), host.get(right));
    if !same_name(local, ours.name, host, theirs.name) {
        return false;
    }
    if is_union(&ours.kind) != is_union(&theirs.kind) {
        return false;
    }
    let same = |left, right| matching(local, left, host, right, behind_pointer, depth);
    match (&ours.kind, &theirs.kind) {
        (Kind::Void, Kind::Void) => true,
        (Kind::Fwd { .. }, Kind::Fwd { .. }) => true,
        (Kind::Composite { .. }, Kind::Composite { .. }) if !behind_pointer => {
            members_match(local, left, host, right, same)
        }
        (Kind::Fwd { .. } | Kind::Composite { .. }, Kind::Fwd { .. } | Kind::Composite { .. }) => {
            behind_pointer
        }
        (Kind::Enum { .. }, Kind::Enum { .. }) => values_match(local, left, host, right),
        (
            Kind::Int { size, signed, .. },
            Kind::Int {
                size: their_size,
                signed: theirs,
                ..
            },
        ) => (size, signed) == (their_size, theirs),
        (Kind::Ptr(left), Kind::Ptr(right)) => matching(local, *left, host, *right, true, depth),
        (
            Kind::Array { elem, len },
            Kind::Array {
                elem: their_elem,
                len: their_len,
            },
        ) => len == their_len && same(*elem, *their_elem),
        (Kind::FuncProto { .. }, _) => prototypes(local, left, host, right, same),
        _ => false,
    }
}

fn is_union(kind: &Kind) -> bool {
    matches!(kind, Kind::Fwd { is_union } | Kind::Composite { is_union, .. } if *is_union)
}

fn values_match(local: &Btf, left: TypeId, host: &Btf, right: TypeId) -> bool {
    let (ours, theirs) = (local.values(left), host.values(right));
    let same = |ours, theirs| same_name(local, ours, host, theirs);
    let found = |name| theirs.iter().any(|theirs| same(name, theirs.name));
    // Also keeps a huge enum from being searched in vain.
    ours.len() <= theirs.len() && ours.iter().all(|ours| found(ours.name))
}

fn members_match(
    local: &Btf,
    left: TypeId,
    host: &Btf,
    right: TypeId,
    same: impl Fn(TypeId, TypeId) -> bool,
) -> bool {
    let (ours, theirs) = (local.members(left), host.members(right));
    ours.len() <= theirs.len()
        && ours.iter().all(|ours| {
            let named = |theirs: u32| same_name(local, ours.name, host, theirs);
            let mut theirs = theirs.iter();
            theirs.any(|theirs| named(theirs.name) && same(ours.ty, theirs.ty))
        })
}
