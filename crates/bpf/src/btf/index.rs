//! Facts that are computed once over all types: the types behind typedefs, sizes,
//! and which types share a name but for its flavour.

use std::collections::HashMap;

use super::{Btf, Kind, Type, TypeId};
use crate::BpfError;
use crate::bounds::{at_most, size, small};

/// Bytes of a pointer, in BPF and in the 64-bit hosts it sees.
const POINTER_SIZE: u64 = 8;

impl Btf {
    /// Builds a set of types from its pools, all of whose references exist.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if typedefs, qualifiers or arrays go in a circle.
    pub(super) fn finish(mut self) -> Result<Self, BpfError> {
        self.resolved = follow(&self.types, modified, |at, _| at, |_, to| to)?;
        let next = |kind: &Kind| match *kind {
            Kind::Array { elem, .. } => Some(elem),
            ref kind => modified(kind),
        };
        let own = |_, kind: &Kind| own_size(kind);
        let outer = |kind: &Kind, inner: Option<u64>| match *kind {
            Kind::Array { len, .. } => inner?.checked_mul(u64::from(len)),
            _ => inner,
        };
        self.sizes = follow(&self.types, next, own, outer)?;
        Ok(self)
    }

    /// Returns the types whose name is `name` but for a flavour (`___x`).
    pub(crate) fn candidates(&self, name: &[u8]) -> &[TypeId] {
        let by_name = self.by_name.get_or_init(|| {
            let mut map = HashMap::<Vec<u8>, Vec<TypeId>>::new();
            for (id, ty) in self.iter() {
                let name = essential_name(self.name(ty.name));
                if !name.is_empty() {
                    map.entry(name.to_vec()).or_default().push(id);
                }
            }
            map
        });
        by_name.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Returns a name without its flavour, the last `___` and what follows, if
/// neither side of it is an underscore or nothing.
///
/// Spec: libbpf, `bpf_core_essential_name_len`.
pub(crate) fn essential_name(name: &[u8]) -> &[u8] {
    let is_flavour = |window: &[u8]| match window {
        [before, b'_', b'_', b'_', after] => *before != b'_' && *after != b'_',
        _ => false,
    };
    let flavour = name.windows(5).rposition(is_flavour);
    flavour.map_or(name, |before| at_most(name, before.saturating_add(1)))
}

fn modified(kind: &Kind) -> Option<TypeId> {
    match *kind {
        Kind::Typedef(to) | Kind::Modifier(to) => Some(to),
        _ => None,
    }
}

fn own_size(kind: &Kind) -> Option<u64> {
    match *kind {
        Kind::Int { size, .. }
        | Kind::Composite { size, .. }
        | Kind::Enum { size, .. }
        | Kind::Float { size } => Some(u64::from(size)),
        Kind::Ptr(_) => Some(POINTER_SIZE),
        _ => None,
    }
}

/// Works out a value for each type along chains: `next` says what a type is
/// made of, `own` gives the value at a chain's end, `outer` that of a type from
/// the value of what it is made of. Each type is visited once.
fn follow<T: Copy>(
    types: &[Type],
    next: impl Fn(&Kind) -> Option<TypeId>,
    own: impl Fn(TypeId, &Kind) -> T,
    outer: impl Fn(&Kind, T) -> T,
) -> Result<Vec<T>, BpfError> {
    let circle = |id: usize| BpfError::new(format!("type [{id}] is made of itself"));
    let mut states = vec![State::New; types.len()];
    let mut path = Vec::new();
    for start in 0..types.len() {
        let mut at = start;
        let mut value = loop {
            let (Some(ty), Some(state)) = (types.get(at), states.get_mut(at)) else {
                // References were checked, so a chain never leaves the types.
                return Err(circle(start));
            };
            match (*state, next(&ty.kind)) {
                (State::Done(value), _) => break value,
                (State::Open, _) => return Err(circle(at)),
                (State::New, Some(to)) => {
                    *state = State::Open;
                    path.push(at);
                    at = size(to.0);
                }
                (State::New, None) => {
                    let value = own(TypeId(small(at)), &ty.kind);
                    *state = State::Done(value);
                    break value;
                }
            }
        };
        while let Some(at) = path.pop() {
            if let (Some(ty), Some(state)) = (types.get(at), states.get_mut(at)) {
                value = outer(&ty.kind, value);
                *state = State::Done(value);
            }
        }
    }
    let done = states.iter().filter_map(|state| match state {
        State::Done(value) => Some(*value),
        State::New | State::Open => None,
    });
    Ok(done.collect())
}

#[derive(Clone, Copy)]
enum State<T> {
    New,
    Open,
    Done(T),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours_are_cut_off() {
        for (name, essential) in [
            ("kexec_context", "kexec_context"),
            ("kexec_context___v5", "kexec_context"),
            ("a___b___c", "a___b"),
            ("a____b", "a____b"),
            ("a___", "a___"),
            ("___a", "___a"),
            ("a__b", "a__b"),
            ("", ""),
        ] {
            let found = essential_name(name.as_bytes());
            assert_eq!(found, essential.as_bytes(), "{name}");
        }
    }
}
