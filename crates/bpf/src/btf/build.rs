//! Declaring the host's types.

use super::parse::grown;
use super::{Btf, EnumValue, Kind, Member, Type, TypeId};
use crate::bounds::{size, small};

/// Declares types in natural C layout, as a 64-bit host has them.
///
/// ```
/// use ukexec_bpf::btf::TypesBuilder;
///
/// let mut types = TypesBuilder::new();
/// let boolean = types.boolean();
/// let char = types.char();
/// let int = types.int("int", 4, true);
/// let text = types.pointer(char);
/// types.structure("image", &[("kdump", boolean), ("bytes", text), ("size", int)]);
/// let types = types.build();
/// assert_eq!(types.offset_of("image", "bytes"), Some(8));
/// assert_eq!(types.size_of("image"), Some(24));
/// ```
#[derive(Debug)]
pub struct TypesBuilder {
    btf: Btf,
    /// Alignment in bytes of each type.
    aligns: Vec<u32>,
}

impl Default for TypesBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl TypesBuilder {
    /// Starts with `void` (type 0) alone.
    #[must_use]
    pub fn new() -> Self {
        let mut builder = Self {
            btf: Btf::default(),
            aligns: Vec::new(),
        };
        builder.btf.strings.push("");
        builder.push("", Kind::Void, 1);
        builder
    }

    /// Declares an integer of 1, 2, 4 or 8 bytes.
    pub fn int(&mut self, name: &str, size: u32, signed: bool) -> TypeId {
        let kind = Kind::Int {
            size,
            bit_offset: 0,
            signed,
        };
        self.push(name, kind, size)
    }

    /// Declares `_Bool`.
    pub fn boolean(&mut self) -> TypeId {
        self.int("_Bool", 1, false)
    }

    /// Declares `char`, which is signed.
    pub fn char(&mut self) -> TypeId {
        self.int("char", 1, true)
    }

    /// Declares a pointer.
    pub fn pointer(&mut self, to: TypeId) -> TypeId {
        self.push("", Kind::Ptr(to), 8)
    }

    /// Declares an array.
    pub fn array(&mut self, elem: TypeId, len: u32) -> TypeId {
        let align = self.align(elem);
        self.push("", Kind::Array { elem, len }, align)
    }

    /// Declares a struct that is known by name alone.
    pub fn forward(&mut self, name: &str) -> TypeId {
        self.push(name, Kind::Fwd { is_union: false }, 1)
    }

    /// Declares another name for a type.
    pub fn typedef(&mut self, name: &str, of: TypeId) -> TypeId {
        let align = self.align(of);
        self.push(name, Kind::Typedef(of), align)
    }

    /// Declares an enum of 4 bytes, or of 8 if its values need them.
    pub fn enumeration(&mut self, name: &str, values: &[(&str, i64)]) -> TypeId {
        let start = self.btf.values.len();
        let signed = values.iter().any(|&(_, value)| value < 0);
        let narrow = |&(_, value): &(&str, i64)| {
            i32::try_from(value).is_ok() || !signed && u32::try_from(value).is_ok()
        };
        let size = if values.iter().all(narrow) { 4 } else { 8 };
        for &(name, value) in values {
            let (name, value) = (self.string(name), value.cast_unsigned());
            self.btf.values.push(EnumValue { name, value });
        }
        let values = grown(start, self.btf.values.len());
        let kind = Kind::Enum {
            signed,
            size,
            values,
        };
        self.push(name, kind, size)
    }

    /// Declares a struct; each member lies at the first offset that its
    /// alignment allows. An unnamed struct as an unnamed member lends its
    /// members to the outer one.
    pub fn structure(&mut self, name: &str, members: &[(&str, TypeId)]) -> TypeId {
        self.composite(name, members, Layout::Struct)
    }

    /// Declares a packed struct: its members follow each other without gaps.
    pub fn packed(&mut self, name: &str, members: &[(&str, TypeId)]) -> TypeId {
        self.composite(name, members, Layout::Packed)
    }

    /// Declares a union.
    pub fn union(&mut self, name: &str, members: &[(&str, TypeId)]) -> TypeId {
        self.composite(name, members, Layout::Union)
    }

    /// Returns the types.
    ///
    /// # Panics
    ///
    /// If a type refers to one of another builder.
    #[must_use]
    pub fn build(self) -> Btf {
        let types = self.btf.finish();
        types.expect("types refer to earlier ones alone, so that they cannot go in circles")
    }

    fn composite(&mut self, name: &str, members: &[(&str, TypeId)], layout: Layout) -> TypeId {
        let start = self.btf.members.len();
        let (mut end, mut size, mut align) = (0_u32, 0, 1);
        for &(name, ty) in members {
            let name = self.string(name);
            let member_align = match layout {
                Layout::Packed => 1,
                Layout::Struct | Layout::Union => self.align(ty),
            };
            let next = round_up(end, member_align);
            let offset = if layout == Layout::Union { 0 } else { next };
            let bit_offset = offset.saturating_mul(8);
            self.btf.members.push(Member {
                name,
                ty,
                bit_offset,
                bitfield_size: 0,
            });
            end = offset.saturating_add(self.size(ty));
            size = end.max(size);
            align = member_align.max(align);
        }
        let members = grown(start, self.btf.members.len());
        let size = round_up(size, align);
        let kind = Kind::Composite {
            is_union: layout == Layout::Union,
            size,
            members,
        };
        self.push(name, kind, align)
    }

    fn size(&self, id: TypeId) -> u32 {
        match self.btf.get(id).kind {
            Kind::Int { size, .. } | Kind::Composite { size, .. } | Kind::Enum { size, .. } => size,
            Kind::Ptr(_) => 8,
            Kind::Typedef(of) => self.size(of),
            Kind::Array { elem, len } => self.size(elem).saturating_mul(len),
            _ => 0,
        }
    }

    fn align(&self, id: TypeId) -> u32 {
        // Types without a size, such as `void`, need none.
        self.aligns.get(size(id.0)).copied().unwrap_or(1)
    }

    fn push(&mut self, name: &str, kind: Kind, align: u32) -> TypeId {
        let name = self.string(name);
        let id = TypeId(small(self.btf.types.len()));
        self.btf.types.push(Type { name, kind });
        self.aligns.push(align);
        id
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        self.btf.strings.push(text)
    }
}

/// Where the members of a composite type lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Struct,
    Packed,
    Union,
}

fn round_up(offset: u32, align: u32) -> u32 {
    // Where none follows, the struct passes 4 GiB; no host has one.
    offset.checked_next_multiple_of(align).unwrap_or(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_out_as_c_does() {
        let mut types = TypesBuilder::new();
        let boolean = types.boolean();
        let char = types.char();
        let int = types.int("int", 4, true);
        let short = types.int("short", 2, true);
        let text = types.pointer(char);
        let words = types.array(short, 3);
        let either = types.union("", &[("i", int), ("s", short)]);
        let alias = types.typedef("alias_t", either);
        let wide = types.enumeration("wide", &[("BIG", 1 << 40)]);
        let members = [
            ("b", boolean),
            ("w", words),
            ("", alias),
            ("c", char),
            ("t", text),
            ("e", wide),
        ];
        types.structure("s", &members);
        types.packed("p", &[("c", char), ("i", int), ("b", boolean)]);
        let btf = types.build();
        assert_eq!(btf.offset_of("p", "i"), Some(1));
        assert_eq!(btf.size_of("p"), Some(6));
        for (member, offset) in [
            ("b", 0),
            ("w", 2),
            ("i", 8),
            ("s", 8),
            ("c", 12),
            ("t", 16),
            ("e", 24),
        ] {
            assert_eq!(btf.offset_of("s", member), Some(offset), "{member}");
        }
        assert_eq!(btf.size_of("s"), Some(32));
        assert_eq!(btf.offset_of("s", "x"), None);
        assert_eq!(btf.offset_of("t", "b"), None);
        assert_eq!(btf.size_of("alias_t"), Some(4));
    }

    #[test]
    #[should_panic = "types refer to earlier ones alone"]
    fn refuses_types_of_another_builder() {
        let mut types = TypesBuilder::new();
        types.typedef("later", TypeId(9));
        drop(types.build());
    }
}
