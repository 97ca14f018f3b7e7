//! Reading a `.BTF` section.

use std::ops::Range;

use super::{Btf, EnumValue, Kind, Linkage, Member, SectionVar, Type, TypeId, pool};
use crate::BpfError;
use crate::bounds::{counted, rest, size, small, wide};
use crate::error::check_count;

/// The first two bytes of BTF data.
pub(super) const MAGIC: u16 = 0xeb9f;
/// The size of the header this crate knows.
const HEADER_LEN: u32 = 24;
/// The most bytes of BTF that are taken (Linux `BTF_MAX_SIZE`).
pub(crate) const MAX_BTF_BYTES: usize = 16 << 20;
/// The most types that are taken (Linux `BTF_MAX_TYPE`).
pub(crate) const MAX_TYPES: usize = 0x000f_ffff;
/// `void`, and the type of a name that has none.
const NONE: TypeId = TypeId(0);
/// `BTF_KIND_ENUM64`.
const LAST_KIND: u32 = 19;

impl Btf {
    /// Reads the `.BTF` section of a little-endian object.
    ///
    /// # Errors
    ///
    /// [`BpfError`] says which header field or type is wrong and where.
    pub fn parse(section: &[u8]) -> Result<Self, BpfError> {
        check_count("bytes of BTF", section.len(), MAX_BTF_BYTES)?;
        check_magic(section)?;
        let mut header = header(section, 4);
        let header_len = header.u32()?;
        if header_len < HEADER_LEN {
            return Err(field("hdr_len", 4, HEADER_LEN, header_len, ""));
        }
        let [type_off, type_len, str_off, str_len] = header.words()?;
        let types = part(section, "the types", header_len, type_off, type_len)?;
        let strings = part(section, "the strings", header_len, str_off, str_len)?;
        let strings = strings.rest();
        if strings.first() != Some(&0) || strings.last() != Some(&0) {
            let text = "the string section does not begin and end with a NUL";
            return Err(BpfError::new(text));
        }
        let what = "a type";
        let mut reader = Reader {
            cursor: Cursor { what, ..types },
            btf: Self {
                strings: strings.into(),
                ..Self::default()
            },
            id: 0,
        };
        let (name, kind) = (0, Kind::Void);
        reader.btf.types.push(Type { name, kind });
        while reader.cursor.at < reader.cursor.data.len() {
            reader.read_type()?;
        }
        reader.btf.check_references()?;
        reader.btf.finish()
    }

    /// Checks that every type and name that types refer to exists.
    fn check_references(&self) -> Result<(), BpfError> {
        for (id, ty) in self.iter() {
            let to = match ty.kind {
                Kind::Ptr(to)
                | Kind::Typedef(to)
                | Kind::Modifier(to)
                | Kind::Array { elem: to, .. }
                | Kind::Func { proto: to, .. }
                | Kind::FuncProto { ret: to, .. }
                | Kind::Var { ty: to, .. } => to,
                _ => NONE,
            };
            self.check(id, ty.name, to)?;
            for member in self.members(id) {
                self.check(id, member.name, member.ty)?;
            }
            for value in self.values(id) {
                self.check(id, value.name, NONE)?;
            }
            match &ty.kind {
                Kind::FuncProto { params, .. } => {
                    let mut params = pool(&self.params, params).iter();
                    params.try_for_each(|param| self.check(id, 0, *param))?;
                }
                Kind::DataSec { vars } => {
                    let mut vars = self.vars(vars).iter();
                    vars.try_for_each(|var| self.check(id, 0, var.ty))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check(&self, TypeId(id): TypeId, name: u32, to: TypeId) -> Result<(), BpfError> {
        let (len, count) = (self.strings.len(), self.len());
        if size(name) >= len {
            return Err(BpfError::new(format!(
                "type [{id}] has its name at {name:#x} of {len:#x} bytes of strings"
            )));
        }
        if !self.contains(to) {
            let TypeId(to) = to;
            return Err(BpfError::new(format!(
                "type [{id}] refers to type [{to}], and there are {count}"
            )));
        }
        Ok(())
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    btf: Btf,
    id: u32,
}

impl Reader<'_> {
    fn read_type(&mut self) -> Result<(), BpfError> {
        check_count("types", self.btf.types.len(), MAX_TYPES)?;
        self.id = self.id.saturating_add(1);
        let [name, info, size_or_type] = self.cursor.words()?;
        let kind = self.read_kind(info, size_or_type)?;
        self.btf.types.push(Type { name, kind });
        Ok(())
    }

    /// Reads what follows the first 12 bytes of a type.
    fn read_kind(&mut self, info: u32, size_or_type: u32) -> Result<Kind, BpfError> {
        let vlen = info & 0xffff;
        let flag = info >> 31 != 0;
        let (to, size) = (TypeId(size_or_type), size_or_type);
        Ok(match (info >> 24) & 0x1f {
            1 => self.read_int(size)?,
            2 => Kind::Ptr(to),
            3 => {
                let [elem, _index_type, len] = self.cursor.words()?;
                let elem = TypeId(elem);
                Kind::Array { elem, len }
            }
            kind @ (4 | 5) => Kind::Composite {
                is_union: kind == 5,
                size,
                members: self.read_members(vlen, flag)?,
            },
            kind @ (6 | 19) => Kind::Enum {
                signed: flag,
                size,
                values: self.read_values(vlen, kind == 19, flag)?,
            },
            7 => Kind::Fwd { is_union: flag },
            8 => Kind::Typedef(to),
            // Volatile, const, restrict, type tag.
            9..=11 | 18 => Kind::Modifier(to),
            12 => Kind::Func {
                proto: to,
                linkage: self.linkage(vlen)?,
            },
            13 => {
                let param = |[_name, ty]: [u32; 2]| TypeId(ty);
                let pool = &mut self.btf.params;
                let params = self.cursor.read_into(pool, vlen, param)?;
                Kind::FuncProto { ret: to, params }
            }
            14 => {
                let linkage = self.cursor.u32()?;
                Kind::Var {
                    ty: to,
                    linkage: self.linkage(linkage)?,
                }
            }
            15 => {
                let var = |[ty, offset, _size]: [u32; 3]| SectionVar {
                    ty: TypeId(ty),
                    offset,
                };
                let vars = self.cursor.read_into(&mut self.btf.vars, vlen, var)?;
                Kind::DataSec { vars }
            }
            16 => Kind::Float { size },
            17 => {
                let _component = self.cursor.u32()?;
                Kind::DeclTag
            }
            kind => {
                let id = self.id;
                return Err(BpfError::new(format!(
                    "type [{id}] is of kind {kind}, and kinds up to {LAST_KIND} are known"
                )));
            }
        })
    }

    fn read_int(&mut self, size: u32) -> Result<Kind, BpfError> {
        const SIGNED: u8 = 1;
        let encoding = self.cursor.u32()?;
        if !matches!(size, 1 | 2 | 4 | 8 | 16) {
            return Err(self.meaning("the size of an integer", size));
        }
        let [_bits, _, bit_offset, flags] = encoding.to_le_bytes();
        let signed = flags & SIGNED != 0;
        Ok(Kind::Int {
            size,
            bit_offset,
            signed,
        })
    }

    fn read_members(&mut self, vlen: u32, bitfields: bool) -> Result<Range<u32>, BpfError> {
        let member = |[name, ty, offset]: [u32; 3]| {
            let [_, _, _, bits] = offset.to_le_bytes();
            let mask = if bitfields { 0x00ff_ffff } else { u32::MAX };
            Member {
                name,
                ty: TypeId(ty),
                bit_offset: offset & mask,
                bitfield_size: if bitfields { bits } else { 0 },
            }
        };
        self.cursor.read_into(&mut self.btf.members, vlen, member)
    }

    fn read_values(&mut self, vlen: u32, wide: bool, signed: bool) -> Result<Range<u32>, BpfError> {
        let values = &mut self.btf.values;
        if wide {
            let value = |[name, low, high]: [u32; 3]| {
                let value = u64::from(high) << 32 | u64::from(low);
                EnumValue { name, value }
            };
            return self.cursor.read_into(values, vlen, value);
        }
        let value = |[name, low]: [u32; 2]| {
            let extended = i64::from(low.cast_signed()).cast_unsigned();
            let value = if signed { extended } else { low.into() };
            EnumValue { name, value }
        };
        self.cursor.read_into(values, vlen, value)
    }

    fn linkage(&self, linkage: u32) -> Result<Linkage, BpfError> {
        match linkage {
            0 => Ok(Linkage::Static),
            1 => Ok(Linkage::Global),
            2 => Ok(Linkage::Extern),
            _ => Err(self.meaning("the linkage", linkage)),
        }
    }

    fn meaning(&self, field: &'static str, found: u32) -> BpfError {
        let id = self.id;
        BpfError::new(format!(
            "type [{id}]: {field} is {found}, which has no meaning"
        ))
    }
}

/// Reads little-endian fields one behind the other.
pub(super) struct Cursor<'a> {
    pub(super) data: &'a [u8],
    pub(super) at: usize,
    /// The part that is being read, for errors.
    pub(super) what: &'static str,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        rest(self.data, self.at)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, BpfError> {
        let Some(bytes) = self.rest().first_chunk() else {
            return Err(self.truncated(4));
        };
        self.at = self.at.saturating_add(4);
        Ok(u32::from_le_bytes(*bytes))
    }

    #[inline]
    pub(super) fn words<const N: usize>(&mut self) -> Result<[u32; N], BpfError> {
        let mut words = [0; N];
        for word in &mut words {
            *word = self.u32()?;
        }
        Ok(words)
    }

    /// Reads `count` records of `N` words each into a pool, and returns their
    /// indices in it; [`MAX_BTF_BYTES`] keeps these in 32 bits.
    fn read_into<T, const N: usize>(
        &mut self,
        pool: &mut Vec<T>,
        count: u32,
        record: impl Fn([u32; N]) -> T,
    ) -> Result<Range<u32>, BpfError> {
        let start = pool.len();
        self.need(wide(N).saturating_mul(4).saturating_mul(count.into()))?;
        for _ in 0..count {
            pool.push(record(self.words()?));
        }
        Ok(grown(start, pool.len()))
    }

    /// Checks that so many bytes are left.
    pub(super) fn need(&self, bytes: u64) -> Result<(), BpfError> {
        if wide(self.rest().len()) >= bytes {
            return Ok(());
        }
        Err(self.truncated(bytes))
    }

    fn truncated(&self, need: u64) -> BpfError {
        let (at, have) = (self.at, self.rest().len());
        BpfError::new(format!(
            "{} at byte {at:#x}: expected {}, found {have}",
            self.what,
            counted(need, "byte")
        ))
    }
}

/// Returns the header from byte `at` on.
pub(super) fn header(data: &[u8], at: usize) -> Cursor<'_> {
    let what = "the header";
    Cursor { data, at, what }
}

/// Checks the first four bytes, which `.BTF` and `.BTF.ext` share.
pub(super) fn check_magic(section: &[u8]) -> Result<(), BpfError> {
    let word = header(section, 0).u32()?;
    let [magic0, magic1, version, flags] = word.to_le_bytes();
    let magic = u16::from_le_bytes([magic0, magic1]);
    let big = magic == MAGIC.swap_bytes();
    let hint = if big { " (big-endian data)" } else { "" };
    for (name, at, expected, found, hint) in [
        ("magic", 0, MAGIC, magic, hint),
        ("version", 2, 1, version.into(), ""),
        ("flags", 3, 0, flags.into(), ""),
    ] {
        if found != expected {
            return Err(field(name, at, expected, found, hint));
        }
    }
    Ok(())
}

/// Returns a part of the section, to be read: `offset` counts from the header's
/// end.
pub(super) fn part<'a>(
    section: &'a [u8],
    what: &'static str,
    header_len: u32,
    offset: u32,
    len: u32,
) -> Result<Cursor<'a>, BpfError> {
    let start = u64::from(header_len).saturating_add(u64::from(offset));
    let end = start.saturating_add(u64::from(len));
    let cursor = |data| Cursor {
        data,
        at: size(start),
        what,
    };
    let data = section.get(..size(end));
    data.map(cursor)
        .ok_or_else(|| cursor(section).truncated(len.into()))
}

/// The indices that a pool gained; [`MAX_BTF_BYTES`] keeps them in 32 bits.
pub(super) fn grown(start: usize, end: usize) -> Range<u32> {
    small(start)..small(end)
}

/// A field of a header or table says what this crate does not read; `hint`
/// says what that means, or nothing.
pub(super) fn field(
    field: &str,
    at: usize,
    expected: impl Into<u64>,
    found: impl Into<u64>,
    hint: &str,
) -> BpfError {
    let (expected, found) = (expected.into(), found.into());
    BpfError::new(format!(
        "{field} at byte {at:#x}: expected {expected:#x}, found {found:#x}{hint}"
    ))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// `int`, `struct s { int a; }`, then what a case adds.
    fn minimal(extra: &[u32]) -> Vec<u8> {
        let int = [1, 1 << 24, 4, 0x0100_0020];
        let composite = [5, 4 << 24 | 1, 4, 7, 1, 0];
        let types = [&int[..], &composite, extra].concat();
        let strings = b"\0int\0s\0a\0";
        let len = small(types.len() * 4);
        let header = [0x0001_eb9f, 24, 0, len, len, small(strings.len())];
        let words = header.into_iter().chain(types);
        let bytes = words.flat_map(u32::to_le_bytes);
        bytes.chain(*strings).collect()
    }

    fn check(sections: impl IntoIterator<Item = Vec<u8>>, expected: &Expect) {
        let read = |section: Vec<u8>| match Btf::parse(&section) {
            Ok(btf) => format!("{} types\n", btf.len()),
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&sections.into_iter().map(read).collect::<String>());
    }

    #[test]
    fn reads_every_kind() {
        let extra: Vec<u32> = [
            &[0, 2 << 24, 1][..],            // 3: pointer
            &[0, 3 << 24, 0, 1, 1, 3],       // 4: int[3]
            &[5, 5 << 24, 4],                // 5: union
            &[5, 6 << 24 | 1, 4, 1, 9],      // 6: enum
            &[5, 7 << 24, 0],                // 7: fwd
            &[5, 8 << 24, 1],                // 8: typedef
            &[0, 9 << 24, 8],                // 9: volatile
            &[0, 10 << 24, 9],               // 10: const
            &[0, 11 << 24, 10],              // 11: restrict
            &[5, 12 << 24 | 2, 13],          // 12: extern function
            &[0, 13 << 24 | 1, 0, 1, 1],     // 13: its prototype
            &[5, 14 << 24, 1, 1],            // 14: variable
            &[5, 15 << 24 | 1, 4, 14, 0, 4], // 15: data section
            &[5, 16 << 24, 8],               // 16: float
            &[5, 17 << 24, 2, 0],            // 17: declaration tag
            &[5, 18 << 24, 11],              // 18: type tag
            &[5, 19 << 24 | 1, 8, 1, 1, 2],  // 19: enum64
        ]
        .concat();
        let btf = Btf::parse(&minimal(&extra)).unwrap();
        assert_eq!(btf.len(), 20);
        assert_eq!(btf.resolve(TypeId(18)), TypeId(1));
        assert_eq!(btf.size(TypeId(4)), Some(12));
        assert_eq!(btf.values(TypeId(19))[0].value, 0x2_0000_0001);
        assert_eq!(btf.describe(TypeId(18)), "int");
        assert_eq!(btf.offset_of("s", "a"), Some(0));
        assert_eq!(btf.size_of("int"), Some(4));
    }

    #[test]
    fn refuses_lies_of_the_header() {
        let edits: [fn(&mut Vec<u8>); 9] = [
            |_| {},
            |btf| btf.truncate(3),
            |btf| btf[..2].reverse(),
            |btf| btf[2] = 2,
            |btf| btf[3] = 1,
            |btf| btf[4] = 8,
            |btf| btf[12] = 0xff,
            |btf| btf[20] = 0xff,
            |btf| btf[16] -= 1,
        ];
        let edited = edits.map(|edit| {
            let mut section = minimal(&[]);
            edit(&mut section);
            section
        });
        check(
            edited,
            &expect![[r#"
                3 types
                the header at byte 0x0: expected 4 bytes, found 3
                magic at byte 0x0: expected 0xeb9f, found 0x9feb (big-endian data)
                version at byte 0x2: expected 0x1, found 0x2
                flags at byte 0x3: expected 0x0, found 0x1
                hdr_len at byte 0x4: expected 0x18, found 0x8
                the types at byte 0x18: expected 255 bytes, found 49
                the strings at byte 0x40: expected 255 bytes, found 9
                the string section does not begin and end with a NUL
            "#]],
        );
    }

    #[test]
    fn refuses_lies_of_types() {
        let types: [&[u32]; 9] = [
            &[0, 20 << 24, 0],
            &[0, 2 << 24, 4],
            &[99, 7 << 24, 0],
            &[5, 4 << 24 | 0xffff, 0],
            &[5, 8 << 24, 3],
            &[0, 3 << 24, 0, 4, 1, 2, 0, 10 << 24, 3],
            &[5, 12 << 24 | 3, 0],
            &[5, 1 << 24, 3, 0],
            &[0],
        ];
        check(
            types.map(minimal),
            &expect![[r#"
                type [3] is of kind 20, and kinds up to 19 are known
                type [3] refers to type [4], and there are 4
                type [3] has its name at 0x63 of 0x9 bytes of strings
                a type at byte 0x4c: expected 786420 bytes, found 0
                type [3] is made of itself
                type [3] is made of itself
                type [3]: the linkage is 3, which has no meaning
                type [3]: the size of an integer is 3, which has no meaning
                a type at byte 0x44: expected 4 bytes, found 0
            "#]],
        );
    }
}
