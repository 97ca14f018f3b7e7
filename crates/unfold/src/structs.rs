//! The structures that parsers read, in natural C layout.

use ukexec_bpf::btf::{Btf, TypeId, TypesBuilder};

use crate::generation::Generation;

/// The structures of a generation.
pub(crate) fn types(generation: Generation) -> Btf {
    let mut types = TypesBuilder::new();
    match generation {
        Generation::V5 => of_v5(&mut types),
        Generation::V6 => of_v6(&mut types),
        Generation::V7 => of_v7(&mut types),
    }
    types.build()
}

fn of_v5(types: &mut TypesBuilder) {
    let boolean = types.boolean();
    let char = types.char();
    let int = types.int("int", 4, true);
    let unsigned = types.int("unsigned int", 4, false);
    let u32 = types.typedef("uint32_t", unsigned);
    let text = types.pointer(char);
    types.structure(
        "kexec_context",
        &[
            ("kdump", boolean),
            ("image", text),
            ("image_sz", int),
            ("initrd", text),
            ("initrd_sz", int),
            ("cmdline", text),
            ("cmdline_sz", int),
        ],
    );
    let atomic = types.structure("", &[("counter", int)]);
    let atomic = types.typedef("atomic_t", atomic);
    let refcount = types.structure("refcount_struct", &[("refs", atomic)]);
    let refcount = types.typedef("refcount_t", refcount);
    let kref = types.structure("kref", &[("refcount", refcount)]);
    let values = [
        ("TYPE_KALLOC", 0),
        ("TYPE_VMALLOC", TYPE_VMALLOC.into()),
        ("TYPE_VMAP", 2),
    ];
    let alloc_type = types.enumeration("alloc_type", &values);
    let page = types.forward("page");
    let page = types.pointer(page);
    let pages = types.pointer(page);
    let memcg = types.forward("mem_cgroup");
    let memcg = types.pointer(memcg);
    types.structure(
        "mem_range_result",
        &[
            ("ref", kref),
            ("buf", text),
            ("buf_sz", u32),
            ("data_sz", u32),
            ("alloc_type", alloc_type),
            ("pages", pages),
            ("pg_cnt", unsigned),
            ("status", int),
            ("memcg", memcg),
        ],
    );
}

fn of_v6(types: &mut TypesBuilder) {
    let boolean = types.boolean();
    let char = types.char();
    let text = types.pointer(char);
    let int = types.int("int", 4, true);
    let [_, u16, u32, _] = unsigned(types);
    let mut members = vec![("kdump", boolean)];
    members.extend(resources(text, int));
    types.structure("kexec_context", &members);
    let header = [("cmd", u16), ("subcmd", u16), ("payload_len", u32)];
    types.packed("cmd_hdr", &header);
    of_commands(types);
}

fn of_v7(types: &mut TypesBuilder) {
    let boolean = types.boolean();
    let char = types.char();
    let text = types.pointer(char);
    let [u8, u16, u32, u64] = unsigned(types);
    let long = types.int("unsigned long", 8, false);
    let modes = [
        ("SIG_ENFORCE_NONE", 0),
        ("SIG_ENFORCE_SIG", 1),
        ("SIG_ENFORCE_IMA", 2),
    ];
    let mode = types.enumeration("", &modes);
    let mode = types.typedef("kexec_sig_enforced", mode);
    let buffers = types.array(text, BUFFERS);
    let sizes = types.array(long, BUFFERS);
    let mut members = vec![
        ("kdump", boolean),
        ("parsed", boolean),
        ("sig_mode", mode),
        ("parsing_buf", buffers),
        ("parsing_buf_sz", sizes),
    ];
    members.extend(resources(text, long));
    types.structure("kexec_context", &members);
    let header = [
        ("cmd", u16),
        ("subcmd", u8),
        ("pipeline_flag", u8),
        ("payload_len", u32),
        ("num_chunks", u16),
    ];
    types.packed("cmd_hdr", &header);
    types.packed("cmd_chunk", &[("type", u16), ("len", u32)]);
    of_commands(types);
    of_elf(types, [u8, u16, u32, u64]);
}

/// The members of a context that tell what was handed over; `len` is the type of sizes.
fn resources(text: TypeId, len: TypeId) -> [(&'static str, TypeId); 6] {
    [
        ("kernel", text),
        ("kernel_sz", len),
        ("initrd", text),
        ("initrd_sz", len),
        ("cmdline", text),
        ("cmdline_sz", len),
    ]
}

/// The type of references that `bpf_get_parser_context` gives.
fn of_commands(types: &mut TypesBuilder) {
    types.forward("bpf_parser_context");
}

/// The headers of ELF, by the names that Linux has for them: parsers of v7 relocate accesses to
/// them as well.
fn of_elf(types: &mut TypesBuilder, [u8, u16, u32, u64]: [TypeId; 4]) {
    let ident = types.array(u8, 16);
    let header = types.structure(
        "elf64_hdr",
        &[
            ("e_ident", ident),
            ("e_type", u16),
            ("e_machine", u16),
            ("e_version", u32),
            ("e_entry", u64),
            ("e_phoff", u64),
            ("e_shoff", u64),
            ("e_flags", u32),
            ("e_ehsize", u16),
            ("e_phentsize", u16),
            ("e_phnum", u16),
            ("e_shentsize", u16),
            ("e_shnum", u16),
            ("e_shstrndx", u16),
        ],
    );
    types.typedef("Elf64_Ehdr", header);
    let section = types.structure(
        "elf64_shdr",
        &[
            ("sh_name", u32),
            ("sh_type", u32),
            ("sh_flags", u64),
            ("sh_addr", u64),
            ("sh_offset", u64),
            ("sh_size", u64),
            ("sh_link", u32),
            ("sh_info", u32),
            ("sh_addralign", u64),
            ("sh_entsize", u64),
        ],
    );
    types.typedef("Elf64_Shdr", section);
}

/// Linux's unsigned integers of 1, 2, 4 and 8 bytes.
fn unsigned(types: &mut TypesBuilder) -> [TypeId; 4] {
    [
        ("__u8", "unsigned char", 1),
        ("__u16", "unsigned short", 2),
        ("__u32", "unsigned int", 4),
        ("__u64", "unsigned long long", 8),
    ]
    .map(|(name, of, size)| {
        let of = types.int(of, size, false);
        types.typedef(name, of)
    })
}

/// The buffers that a parser of v7 may see.
pub(crate) const BUFFERS: u32 = 16;

/// Returns a `struct mem_range_result` for the `len` bytes at `buf`.
pub(crate) fn mem_range_result(types: &Btf, buf: u64, len: u64) -> Vec<u8> {
    // Guest memory has made a region of it, which it refuses from 4 GiB on.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    Object::new(types, "mem_range_result")
        .set("ref", &1_u32.to_le_bytes())
        .set("buf", &buf.to_le_bytes())
        .set("buf_sz", &len.to_le_bytes())
        .set("data_sz", &len.to_le_bytes())
        .set("alloc_type", &TYPE_VMALLOC.to_le_bytes())
        .bytes
}

/// A member of a context, or two that belong together.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Member {
    Flag(&'static str, bool),
    Number(&'static str, u32),
    /// Address and length of bytes, in the members `NAME` and `NAME_sz`.
    Bytes(&'static str, u64, u32),
    /// The same of an element of `parsing_buf` and `parsing_buf_sz`.
    Buffer(u32, u64, u32),
}

impl Member {
    /// Returns the name of the member; of a buffer that of the array.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flag(name, _) | Self::Number(name, _) | Self::Bytes(name, ..) => name,
            Self::Buffer(..) => "parsing_buf",
        }
    }
}

/// Returns a `struct kexec_context` with `members`, zeros elsewhere.
pub(crate) fn kexec_context(types: &Btf, generation: Generation, members: &[Member]) -> Vec<u8> {
    let len = |len: u32| -> Vec<u8> {
        match generation {
            // An int.
            Generation::V5 | Generation::V6 => len.to_le_bytes().into(),
            Generation::V7 => u64::from(len).to_le_bytes().into(),
        }
    };
    let context = Object::new(types, "kexec_context");
    let context = members
        .iter()
        .fold(context, |context, member| match *member {
            Member::Flag(name, flag) => context.set(name, &[u8::from(flag)]),
            Member::Number(name, number) => context.set(name, &number.to_le_bytes()),
            Member::Bytes(name, address, size) => context
                .set(name, &address.to_le_bytes())
                .set(&format!("{name}_sz"), &len(size)),
            Member::Buffer(index, address, size) => context
                .set_element("parsing_buf", index, &address.to_le_bytes())
                .set_element("parsing_buf_sz", index, &len(size)),
        });
    context.bytes
}

/// A value of one of the interface's structures. Members that [`types`] does
/// not declare are left out; tests name them all.
struct Object<'a> {
    types: &'a Btf,
    name: &'static str,
    bytes: Vec<u8>,
}

impl<'a> Object<'a> {
    fn new(types: &'a Btf, name: &'static str) -> Self {
        let size = types
            .size_of(name)
            .and_then(|size| usize::try_from(size).ok());
        Self {
            types,
            name,
            bytes: vec![0; size.unwrap_or(0)],
        }
    }

    fn set(self, member: &str, value: &[u8]) -> Self {
        self.set_element(member, 0, value)
    }

    /// Sets element number `index` of an array of values of this size.
    fn set_element(mut self, member: &str, index: u32, value: &[u8]) -> Self {
        let before = index.saturating_mul(u32::try_from(value.len()).unwrap_or(u32::MAX));
        let start = self
            .types
            .offset_of(self.name, member)
            .and_then(|at| usize::try_from(at.checked_add(before)?).ok());
        let place = start
            .and_then(|start| self.bytes.get_mut(start..))
            .and_then(|rest| rest.get_mut(..value.len()));
        debug_assert!(place.is_some(), "{}.{member} is declared", self.name);
        if let Some(place) = place {
            place.copy_from_slice(value);
        }
        self
    }
}

/// `enum alloc_type`: where the buffer of a result came from.
const TYPE_VMALLOC: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets as a compiler for a 64-bit machine lays the structures out.
    fn check(generation: Generation, name: &str, size: u32, members: &[(&str, u32)]) {
        let types = types(generation);
        assert_eq!(types.size_of(name), Some(size), "{name}");
        for (member, offset) in members {
            assert_eq!(
                types.offset_of(name, member),
                Some(*offset),
                "{name}.{member}"
            );
        }
    }

    #[test]
    fn structures_are_laid_out_as_the_series_has_them() {
        let members = [
            ("kdump", 0),
            ("image", 8),
            ("image_sz", 16),
            ("initrd", 24),
            ("initrd_sz", 32),
            ("cmdline", 40),
            ("cmdline_sz", 48),
        ];
        check(Generation::V5, "kexec_context", 56, &members);
        let members = [
            ("ref", 0),
            ("buf", 8),
            ("buf_sz", 16),
            ("data_sz", 20),
            ("alloc_type", 24),
            ("pages", 32),
            ("pg_cnt", 40),
            ("status", 44),
            ("memcg", 48),
        ];
        check(Generation::V5, "mem_range_result", 56, &members);
    }

    #[test]
    fn later_generations_have_their_own_layout() {
        use Generation::{V6, V7};
        let members = [
            ("kdump", 0),
            ("kernel", 8),
            ("kernel_sz", 16),
            ("initrd", 24),
            ("initrd_sz", 32),
            ("cmdline", 40),
            ("cmdline_sz", 48),
        ];
        check(V6, "kexec_context", 56, &members);
        let members = [("cmd", 0), ("subcmd", 2), ("payload_len", 4)];
        check(V6, "cmd_hdr", 8, &members);
        let members = [
            ("kdump", 0),
            ("parsed", 1),
            ("sig_mode", 4),
            ("parsing_buf", 8),
            ("parsing_buf_sz", 136),
            ("kernel", 264),
            ("kernel_sz", 272),
            ("initrd", 280),
            ("initrd_sz", 288),
            ("cmdline", 296),
            ("cmdline_sz", 304),
        ];
        check(V7, "kexec_context", 312, &members);
        let members = [
            ("cmd", 0),
            ("subcmd", 2),
            ("pipeline_flag", 3),
            ("payload_len", 4),
            ("num_chunks", 8),
        ];
        check(V7, "cmd_hdr", 10, &members);
        check(V7, "cmd_chunk", 6, &[("type", 0), ("len", 2)]);
        let members = [("e_shoff", 40), ("e_shnum", 60), ("e_shstrndx", 62)];
        check(V7, "elf64_hdr", 64, &members);
        let members = [("sh_name", 0), ("sh_offset", 24), ("sh_size", 32)];
        check(V7, "elf64_shdr", 64, &members);
    }
}
