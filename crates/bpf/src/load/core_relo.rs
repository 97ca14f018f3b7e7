//! CO-RE: instructions compiled against a program's own types are patched to
//! fit the host's.
//!
//! Spec: Linux `include/uapi/linux/bpf.h`, `enum bpf_core_relo_kind`, and
//! libbpf's `relo_core.c`, whose answers these are. A record names a type of
//! the program and a path into it; the same path is looked for in each type
//! of the host that has the same name but for a flavour (`___x`). Where there
//! is none, existence is 0 and everything else poisons the instruction: it
//! traps when it is reached.
//!
//! No input panics. The work for a record is bounded by the length of its path
//! and the size of the host's types, which are trusted.

mod compat;
mod kind;
mod patch;
mod spec;
mod value;

use std::collections::HashMap;
use std::sync::Arc;

use kind::RelocKind;
use patch::Patched;
use spec::Spec;
use value::Resolution;

use crate::btf::ext::CoreRelo;
use crate::btf::{Btf, MAX_ANONYMOUS, TypeId, essential_name};
use crate::{BpfError, Insn};

/// The most bytes of reasons that are kept for poisoned instructions; what
/// comes later has no details.
const MAX_REASONS: usize = 1 << 20;

/// Applies the CO-RE records of one object.
#[derive(Debug)]
pub(crate) struct Relocator<'a> {
    local: &'a Btf,
    host: &'a Btf,
    reasons: HashMap<(TypeId, u32, u32), Arc<str>>,
    reasons_left: usize,
    fields: HashMap<(TypeId, u32, RelocKind), Arc<str>>,
    fields_left: usize,
}

impl<'a> Relocator<'a> {
    pub(crate) fn new(local: &'a Btf, host: &'a Btf) -> Self {
        Self {
            local,
            host,
            reasons: HashMap::new(),
            reasons_left: MAX_REASONS,
            fields: HashMap::new(),
            fields_left: MAX_REASONS,
        }
    }

    /// Patches the instruction at `slot` of `code` as `relo` says. Returns why
    /// it was poisoned, if it was.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if no instruction begins where the record says, if the
    /// record makes no sense for the program's types or the instruction, or if
    /// the host's types answer it in two ways.
    pub(crate) fn apply(
        &mut self,
        code: &mut [Insn],
        slot: Option<usize>,
        relo: &CoreRelo,
    ) -> Result<Option<Arc<str>>, BpfError> {
        let Some(slot) = slot else {
            return Err(BpfError::new(format!(
                "the CO-RE relocation is about byte {}, where no instruction begins",
                relo.insn_off
            )));
        };
        let kind = RelocKind::from_number(relo.kind)?;
        let spec = Spec::parse(self.local, relo, kind)?;
        let resolution = self.resolve(&spec, kind)?;
        let patched = patch::patch(code, slot, &resolution)
            .map_err(|error| error.of(spec.describe(self.local)))?;
        Ok(match patched {
            Patched::Done => None,
            Patched::Missing => Some(self.reason(&spec, relo, |own| own.missing(&spec, kind))),
            Patched::Resized => {
                Some(self.reason(&spec, relo, |own| own.resized(&spec, &resolution)))
            }
        })
    }

    /// Returns what `relo` is about, such as `struct kexec_context.image_sz`, as
    /// long as there is room for such names.
    pub(crate) fn field(&mut self, relo: &CoreRelo) -> Option<Arc<str>> {
        let kind = RelocKind::from_number(relo.kind).ok()?;
        let key = (relo.type_id, relo.access, kind);
        if let Some(field) = self.fields.get(&key) {
            return Some(Arc::clone(field));
        }
        let path = Spec::parse(self.local, relo, kind).ok()?;
        let path = path.describe(self.local);
        let field: Arc<str> = match kind {
            RelocKind::FieldByteOffset => path.into(),
            _ => format!("{} of {path}", kind.wanted()).into(),
        };
        self.fields_left = self.fields_left.checked_sub(field.len())?;
        self.fields.insert(key, Arc::clone(&field));
        Some(field)
    }

    fn resolve(&self, spec: &Spec, kind: RelocKind) -> Result<Resolution, BpfError> {
        let old = value::value(self.local, spec, kind)?;
        let plain = |new| Resolution {
            old,
            new,
            resizable: true,
        };
        if kind == RelocKind::TypeIdLocal {
            // No host changes it.
            return Ok(plain(Some(old)));
        }
        let mut found: Option<(Spec, Resolution)> = None;
        for candidate in self.candidates(spec)? {
            let Some(target) = spec.find(self.local, self.host, candidate, kind) else {
                continue;
            };
            let new = value::value(self.host, &target, kind)?;
            let resolution = Resolution {
                old,
                new: Some(new),
                resizable: value::resizable(self.local, self.host, &old, &new),
            };
            let Some((first, known)) = &found else {
                found = Some((target, resolution));
                continue;
            };
            let same_value = known.new.map(|known| known.value) == Some(new.value);
            if first.bit_offset != target.bit_offset || !same_value {
                return Err(BpfError::new(format!(
                    "{} is ambiguous: the host has {} and {}",
                    spec.describe(self.local),
                    first.describe(self.host),
                    target.describe(self.host)
                )));
            }
        }
        let absent = || plain(value::absent(kind));
        Ok(found.map_or_else(absent, |(_, resolution)| resolution))
    }

    fn candidates(&self, spec: &Spec) -> Result<impl Iterator<Item = TypeId>, BpfError> {
        let root = self.local.get(spec.root);
        let name = essential_name(self.local.name(root.name));
        if name.is_empty() {
            return Err(BpfError::new(format!(
                "{} has no name to find it by in the host's types",
                self.local.describe(spec.root)
            )));
        }
        let host = self.host;
        let candidates = host.candidates(name).iter().copied();
        Ok(candidates.filter(move |&id| compat::same_kind(&root.kind, &host.get(id).kind)))
    }

    /// Returns the reason for a poisoned instruction, each worked out once.
    fn reason(
        &mut self,
        spec: &Spec,
        relo: &CoreRelo,
        explain: impl Fn(&Self) -> String,
    ) -> Arc<str> {
        let key = (spec.root, relo.access, relo.kind);
        if let Some(reason) = self.reasons.get(&key) {
            return Arc::clone(reason);
        }
        if self.reasons_left == 0 {
            return Arc::from("");
        }
        let reason: Arc<str> = explain(self).into();
        self.reasons_left = self.reasons_left.saturating_sub(reason.len());
        self.reasons.insert(key, Arc::clone(&reason));
        reason
    }

    /// Says what the program wanted and what the host has.
    fn missing(&self, spec: &Spec, kind: RelocKind) -> String {
        let wanted = format!("{} of {}", kind.wanted(), spec.describe(self.local));
        let root = self.local.describe(spec.root);
        let candidates = self.candidates(spec).ok();
        let Some(candidate) = candidates.and_then(|mut found| found.next()) else {
            return format!("{wanted}: the host has no {root}");
        };
        let theirs = self.host.describe(candidate);
        let mut names = Vec::new();
        self.list_names(self.host.resolve(candidate), MAX_ANONYMOUS, &mut names);
        if names.is_empty() {
            names.push("nothing".to_owned());
        }
        let names = names.join(", ");
        format!("{wanted}: no match in the host's {theirs}, which has {names}")
    }

    /// Lists the names of an enum's values or a type's members, also those
    /// that anonymous members lend it.
    fn list_names(&self, id: TypeId, depth: u32, names: &mut Vec<String>) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        let values = self.host.values(id).iter();
        names.extend(values.map(|value| self.host.text(value.name).into()));
        for member in self.host.members(id) {
            let name = self.host.text(member.name);
            if name.is_empty() {
                self.list_names(self.host.resolve(member.ty), depth, names);
            } else {
                names.push(name.into_owned());
            }
        }
    }

    fn resized(&self, spec: &Spec, resolution: &Resolution) -> String {
        let ours = resolution.old.field_size;
        let theirs = resolution.new.map_or(0, |new| new.field_size);
        format!(
            "{} has {ours} bytes in the program's types and {theirs} in the host's; an access can \
             be adjusted to pointers and unsigned integers only",
            spec.describe(self.local)
        )
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::btf::{Kind, Type, TypesBuilder};
    use crate::insn::{CALL, LDDW, POISON};

    /// The program's types: a few, and each access string as a typedef's name,
    /// so that it is among the strings.
    fn local() -> Btf {
        let mut types = TypesBuilder::new();
        let int = types.int("int", 4, true);
        let unsigned = types.int("unsigned int", 4, false);
        let pointer = types.pointer(int);
        let array = types.array(int, 2);
        let (first, last) = ([("i", int), ("u", unsigned)], [("a", array), ("gone", int)]);
        types.structure("s", &[&first[..], &[("p", pointer)], &last].concat());
        types.enumeration("e", &[("A", 1), ("B", -1)]);
        types.structure("", &[("i", int)]);
        types.structure("twice", &[("i", int)]);
        types.forward("unknown");
        for access in "0 0:0 0:1 0:2 0:3:1 0:3:2 0:4 0:9 0:0:0 x 2".split(' ') {
            types.typedef(access, int);
        }
        types.build()
    }

    fn host() -> Btf {
        let mut types = TypesBuilder::new();
        let int = types.int("int", 4, true);
        let long = types.int("long", 8, true);
        let unsigned = types.int("unsigned long", 8, false);
        let pointer = types.pointer(int);
        let array = types.array(int, 4);
        let inner = types.structure("", &[("u", unsigned), ("a", array)]);
        types.structure("s", &[("p", pointer), ("", inner), ("i", long)]);
        types.enumeration("e___flavour", &[("B", -2)]);
        types.structure("twice", &[("i", int)]);
        types.structure("twice___other", &[("pad", int), ("i", int)]);
        types.build()
    }

    const MOV: u8 = 0xb7;
    const MOV_REGISTER: u8 = 0xbf;
    const LOAD_WORD: u8 = 0x61;
    const LOAD_DOUBLE: u8 = 0x79;

    /// An instruction's opcode, offset and immediate; and a record's type, path
    /// and kind.
    type Case<'a> = (u8, i16, i32, &'a str, &'a str, u32);

    fn check(cases: &[Case<'_>], expected: &Expect) {
        let results = cases.iter().map(|case| result(*case) + "\n");
        expected.assert_eq(&results.collect::<String>());
    }

    fn result((code, off, imm, ty, access, kind): Case<'_>) -> String {
        let (local, host) = (local(), host());
        let unnamed = |ty: &Type| matches!(ty.kind, Kind::Ptr(_) | Kind::Array { .. });
        let find = |name: &str| {
            let mut all = local.iter().skip(1).filter(|(_, ty)| !unnamed(ty));
            let named = |ty: &Type| local.name(ty.name) == name.as_bytes();
            all.find(|(_, ty)| named(ty)).unwrap()
        };
        let relo = CoreRelo {
            insn_off: 0,
            type_id: find(ty).0,
            access: find(access).1.name,
            kind,
        };
        let insn = Insn {
            code,
            off,
            imm,
            ..Insn::default()
        };
        let mut code = [insn, Insn::default()];
        let done = Relocator::new(&local, &host).apply(&mut code, Some(0), &relo);
        let [insn, second] = code;
        match done {
            Ok(None) if insn.code == LDDW => format!("lddw {} {}", insn.imm, second.imm),
            Ok(None) => format!("{:#04x} off {} imm {}", insn.code, insn.off, insn.imm),
            Ok(Some(reason)) => {
                assert_eq!((insn.code, insn.imm), (CALL, POISON));
                format!("poisoned: {reason}")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn patches_offsets_and_sizes() {
        check(
            &[
                (LOAD_WORD, 4, 0, "s", "0:1", 0),
                (LOAD_DOUBLE, 8, 0, "s", "0:2", 0),
                (LOAD_WORD, 20, 0, "s", "0:3:1", 0),
                (MOV, 0, 16, "s", "0:3:1", 0),
                (MOV, 0, 4, "s", "0:0", 1),
                (MOV, 0, 32, "s", "0:0", 4),
                (MOV, 0, 32, "s", "0:0", 5),
            ],
            &expect![[r#"
                0x79 off 8 imm 0
                0x79 off 0 imm 0
                0x61 off 20 imm 0
                struct s.a[1]: the instruction's constant is 16, but the program's own types say 20
                0xb7 off 0 imm 8
                0xb7 off 0 imm 0
                0xb7 off 0 imm 0
            "#]],
        );
    }

    #[test]
    fn refuses_what_the_compiler_cannot_have_meant() {
        check(
            &[
                (MOV, 0, 0, "s", "0:0", 13),
                (MOV, 0, 0, "s", "0:9", 0),
                (MOV, 0, 0, "s", "0:0:0", 0),
                (MOV, 0, 0, "s", "0:3:2", 0),
                (MOV, 0, 0, "s", "x", 0),
                (MOV, 0, 0, "s", "0:0", 8),
                (MOV, 0, 0, "e", "2", 10),
                (MOV, 0, 0, "e", "0:0", 10),
                (MOV, 0, 0, "unknown", "0", 0),
                (MOV, 0, 0, "unknown", "0", 9),
                (MOV, 0, 0, "", "0:0", 0),
                (MOV, 0, 0, "s", "0:3:1", 3),
                (MOV, 0, 3, "s", "0:1", 0),
                (MOV_REGISTER, 0, 4, "s", "0:1", 0),
                (LOAD_WORD, 3, 0, "s", "0:1", 0),
                (LOAD_DOUBLE, 4, 0, "s", "0:1", 0),
                (MOV, 0, 0, "twice", "0:0", 0),
            ],
            &expect![[r#"
                the CO-RE relocation is of kind 13, and kinds up to 12 are known
                the CO-RE relocation's path `0:9` into struct s names a member that the type does not have
                the CO-RE relocation's path `0:0:0` into struct s goes into a type that has no members
                the CO-RE relocation's path `0:3:2` into struct s passes the end of an array
                the CO-RE relocation's path `x` into struct s is not numbers with colons between them
                the CO-RE relocation's path `0:0` into struct s is not `0`, as it must be for a type
                the CO-RE relocation's path `2` into enum e names a value that the enum does not have
                the CO-RE relocation's path `0:0` into enum e is not one number, as it must be for an enum
                the CO-RE relocation's path `0` into struct unknown leads to no place with an offset
                struct unknown: type struct unknown has no size
                struct (anonymous) has no name to find it by in the host's types
                struct s.a[1]: an array element can be asked for its offset and size only
                struct s.u: the instruction's constant is 3, but the program's own types say 4
                struct s.u: an instruction with opcode 0xbf has no constant to relocate
                struct s.u: the instruction's constant is 3, but the program's own types say 4
                struct s.u: the instruction accesses 8 bytes of a field of 4
                struct twice.i is ambiguous: the host has struct twice.i and struct twice___other.i
            "#]],
        );
    }

    #[test]
    fn poisons_what_the_host_lacks() {
        check(
            &[
                (MOV, 0, 24, "s", "0:4", 0),
                (LOAD_WORD, 0, 0, "s", "0:0", 0),
                (LDDW, 0, 1, "e", "0", 11),
                (LDDW, 0, 1, "e", "0", 10),
                (MOV, 0, 1, "s", "0:4", 2),
                (MOV, 0, 1, "unknown", "0", 8),
            ],
            &expect![[r#"
                poisoned: the offset of struct s.gone: no match in the host's struct s, which has p, u, a, i
                poisoned: struct s.i has 4 bytes in the program's types and 8 in the host's; an access can be adjusted to pointers and unsigned integers only
                poisoned: the value of enum e::A: no match in the host's enum e___flavour, which has B
                lddw 0 0
                0xb7 off 0 imm 0
                0xb7 off 0 imm 0
            "#]],
        );
    }
}
