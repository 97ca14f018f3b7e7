//! BTF: the types of an object file and of the host.
//!
//! Spec: Linux `Documentation/bpf/btf.rst`, all kinds up to `BTF_KIND_ENUM64`.
//! [`Btf::parse`] reads the `.BTF` section of an untrusted object;
//! [`TypesBuilder`] declares a host's types. Split BTF and big-endian data are
//! left out.
//!
//! No input panics; time and memory are bounded by the input's length.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod build;
pub(crate) mod ext;
mod index;
mod parse;
mod strings;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use crate::bounds::size;

pub use build::TypesBuilder;
pub(crate) use index::essential_name;
pub(crate) use parse::MAX_BTF_BYTES;
pub(crate) use strings::Strings;

/// A set of types.
#[derive(Debug, Default)]
pub struct Btf {
    strings: Strings,
    types: Vec<Type>,
    members: Vec<Member>,
    values: Vec<EnumValue>,
    params: Vec<TypeId>,
    vars: Vec<SectionVar>,
    resolved: Vec<TypeId>,
    sizes: Vec<Option<u64>>,
    by_name: OnceLock<HashMap<Vec<u8>, Vec<TypeId>>>,
}

/// Names one type of a [`Btf`]; 0 is `void`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// One type: its name's offset in the strings and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Type {
    pub(crate) name: u32,
    pub(crate) kind: Kind,
}

/// The kind of a type. Ranges are indices into the pools of its [`Btf`].
#[derive(Clone, Debug)]
#[rustfmt::skip]
pub(crate) enum Kind {
    Void,
    Int { size: u32, bit_offset: u8, signed: bool },
    Ptr(TypeId),
    Array { elem: TypeId, len: u32 },
    Composite { is_union: bool, size: u32, members: Range<u32> },
    Enum { signed: bool, size: u32, values: Range<u32> },
    Fwd { is_union: bool },
    Typedef(TypeId),
    Modifier(TypeId),
    Func { proto: TypeId, linkage: Linkage },
    FuncProto { ret: TypeId, params: Range<u32> },
    Var { ty: TypeId, linkage: Linkage },
    DataSec { vars: Range<u32> },
    Float { size: u32 },
    DeclTag,
}

/// Linkage of a function or variable (`BTF_FUNC_*`, `BTF_VAR_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linkage {
    Static,
    Global,
    Extern,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: u32,
    pub(crate) ty: TypeId,
    pub(crate) bit_offset: u32,
    /// 0 for what is no bitfield.
    pub(crate) bitfield_size: u8,
}

/// A value of an enum; a signed enum's is sign-extended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EnumValue {
    pub(crate) name: u32,
    pub(crate) value: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SectionVar {
    pub(crate) ty: TypeId,
    pub(crate) offset: u32,
}

impl Btf {
    /// Returns the size in bytes of the first type called `name` that has one.
    #[must_use]
    pub fn size_of(&self, name: &str) -> Option<u32> {
        let size = self.named(name.as_bytes()).find_map(|id| self.size(id))?;
        u32::try_from(size).ok()
    }

    /// Returns the offset in bytes of a member of the struct, union or typedef
    /// called `name`; members of anonymous members count as its own.
    #[must_use]
    pub fn offset_of(&self, name: &str, member: &str) -> Option<u32> {
        let bits = self
            .named(name.as_bytes())
            .find_map(|id| self.member_bit_offset(id, member.as_bytes(), MAX_ANONYMOUS))?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    fn member_bit_offset(&self, id: TypeId, name: &[u8], depth: u32) -> Option<u32> {
        let depth = depth.checked_sub(1)?;
        self.members(self.resolve(id)).iter().find_map(|member| {
            let own = self.name(member.name);
            if own == name {
                return Some(member.bit_offset);
            }
            let inner = || self.member_bit_offset(member.ty, name, depth);
            let inner = own.is_empty().then(inner).flatten();
            inner?.checked_add(member.bit_offset)
        })
    }

    fn named(&self, name: &[u8]) -> impl Iterator<Item = TypeId> {
        let ids = self.candidates(essential_name(name)).iter().copied();
        ids.filter(move |&id| self.name(self.get(id).name) == name)
    }

    pub(crate) fn len(&self) -> usize {
        self.types.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        (0_u32..).map(TypeId).zip(&self.types)
    }

    /// Returns the type `id`; `void` where there is none.
    pub(crate) fn get(&self, id: TypeId) -> &Type {
        const VOID: Type = Type {
            name: 0,
            kind: Kind::Void,
        };
        self.types.get(size(id.0)).unwrap_or(&VOID)
    }

    pub(crate) fn contains(&self, id: TypeId) -> bool {
        size(id.0) < self.types.len()
    }

    /// Returns the type behind typedefs, qualifiers and type tags; `void`
    /// where there is none.
    pub(crate) fn resolve(&self, id: TypeId) -> TypeId {
        let resolved = self.resolved.get(size(id.0));
        resolved.copied().unwrap_or(TypeId(0))
    }

    /// Returns what the type behind typedefs, qualifiers and type tags is.
    pub(crate) fn resolved_kind(&self, id: TypeId) -> &Kind {
        &self.get(self.resolve(id)).kind
    }

    /// Returns the size in bytes of `id`, if values of it have one.
    pub(crate) fn size(&self, id: TypeId) -> Option<u64> {
        self.sizes.get(size(id.0)).copied().flatten()
    }

    /// Returns the members of `id`, which must be resolved; none if it is
    /// neither a struct nor a union.
    pub(crate) fn members(&self, id: TypeId) -> &[Member] {
        match &self.get(id).kind {
            Kind::Composite { members, .. } => pool(&self.members, members),
            _ => &[],
        }
    }

    /// Returns the values of `id`, which must be resolved; none if it is no
    /// enum.
    pub(crate) fn values(&self, id: TypeId) -> &[EnumValue] {
        match &self.get(id).kind {
            Kind::Enum { values, .. } => pool(&self.values, values),
            _ => &[],
        }
    }

    /// Returns the return type and the parameters' types of `id`, if it is a
    /// function prototype.
    pub(crate) fn prototype(&self, id: TypeId) -> Option<(TypeId, &[TypeId])> {
        match self.resolved_kind(id) {
            Kind::FuncProto { ret, params } => Some((*ret, pool(&self.params, params))),
            _ => None,
        }
    }

    pub(crate) fn vars(&self, range: &Range<u32>) -> &[SectionVar] {
        pool(&self.vars, range)
    }

    /// Returns the string at `offset` up to its NUL, at most 512
    /// bytes of it.
    pub(crate) fn name(&self, offset: u32) -> &[u8] {
        self.strings.get(offset)
    }

    /// Returns the strings, for those who need a few of them later.
    pub(crate) fn strings(&self) -> &Strings {
        &self.strings
    }

    pub(crate) fn is_named(&self, offset: u32) -> bool {
        !self.name(offset).is_empty()
    }

    pub(crate) fn text(&self, offset: u32) -> Cow<'_, str> {
        String::from_utf8_lossy(self.name(offset))
    }

    /// Returns what a programmer would call the type `id`.
    pub(crate) fn describe(&self, id: TypeId) -> String {
        let ty = self.get(id);
        let name = self.text(ty.name);
        let word = match ty.kind {
            Kind::Composite { is_union, .. } | Kind::Fwd { is_union } if is_union => "union",
            Kind::Composite { .. } | Kind::Fwd { .. } => "struct",
            Kind::Enum { .. } => "enum",
            Kind::Typedef(_) => "typedef",
            Kind::Void => return "void".to_owned(),
            Kind::Ptr(_) => return "pointer".to_owned(),
            Kind::Array { .. } => return "array".to_owned(),
            Kind::FuncProto { .. } => return "function".to_owned(),
            Kind::Modifier(to) => return self.describe(self.resolve(to)),
            _ => return name.into_owned(),
        };
        let name = if name.is_empty() {
            "(anonymous)"
        } else {
            &name
        };
        format!("{word} {name}")
    }
}

/// How deep anonymous members may nest.
pub(crate) const MAX_ANONYMOUS: u32 = 16;

fn pool<'a, T>(pool: &'a [T], range: &Range<u32>) -> &'a [T] {
    // A range is what the pool grew by when its type was read.
    pool.get(size(range.start)..size(range.end))
        .unwrap_or_default()
}
