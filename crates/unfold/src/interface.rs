//! Version 5 of the parser ABI: its types, hooks and kfuncs.

use ukexec_bpf::btf::{Btf, TypesBuilder};
use ukexec_bpf::disasm::parameters;
use ukexec_bpf::{HookDecl, Interface, KfuncDecl};

/// What stage reports call this version of the ABI. It follows from the hooks:
/// a parser for another version names hooks that this one does not have.
pub const ABI: &str = "v5";

/// The PE section that holds an image's own parser.
pub const PARSER_SECTION: &str = ".bpf";

/// No parser has more bytes, even one that brings large tables.
pub const PARSER_MAX: u64 = 64 << 20;

/// The hook whose programs hand over; a parser needs one on it.
pub const HANDLE: &str = "bpf_handle_pefile";
/// The hook whose programs run after those of [`HANDLE`].
pub(crate) const POST_HANDLE: &str = "bpf_post_handle_pefile";
/// The hook whose programs say whether the parser can take an image apart. It
/// is ukexec's own, not the series'.
pub(crate) const MATCH: &str = "ukexec_match_image";

/// A kfunc of the parser ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AbiKfunc {
    /// Its name.
    pub name: &'static str,
    /// Its prototype in the series, without the name.
    pub prototype: &'static str,
    /// What it does here.
    pub rule: &'static str,
}

/// The kfuncs, by the number that [`interface`] gives them.
pub const KFUNCS: &[AbiKfunc] = &[
    AbiKfunc {
        name: "bpf_copy_to_kernel",
        prototype: "int (const char *name, char *buf, int size)",
        rule: "hands over under `kexec:kernel`, `kexec:initrd` or `kexec:cmdline`, by value; on \
               hook `bpf_handle_pefile` only. Names of ukexec's own: `ukexec:initrd-part` adds to \
               the initrd at the next multiple of 4 bytes, `ukexec:profile` says in 4 bytes which \
               profile was chosen",
    },
    AbiKfunc {
        name: "bpf_decompress",
        prototype: "struct mem_range_result *(char *payload, int size)",
        rule: "gzip, bzip2, lzma, xz, lzo, lz4 or zstd, told by its first bytes; NULL where it fails",
    },
    AbiKfunc {
        name: "bpf_mem_range_result_put",
        prototype: "int (struct mem_range_result *result)",
        rule: "of a result that is not held it ends the run",
    },
];

/// The places of kfuncs in [`KFUNCS`].
pub(crate) mod kfunc {
    /// `bpf_copy_to_kernel`.
    pub(crate) const COPY_TO_KERNEL: u32 = 0;
    /// `bpf_decompress`.
    pub(crate) const DECOMPRESS: u32 = 1;
    /// `bpf_mem_range_result_put`.
    pub(crate) const PUT: u32 = 2;
}

/// Returns what parsers can bind to: what `parser check` tells against and
/// what [`unfold`](crate::unfold) loads with.
#[must_use]
pub fn interface() -> Interface {
    let hook = |name| HookDecl { name, args: 1 };
    Interface {
        types: types(),
        hooks: vec![hook(HANDLE), hook(POST_HANDLE), hook(MATCH)],
        kfuncs: KFUNCS.iter().map(declare).collect(),
    }
}

fn declare(kfunc: &AbiKfunc) -> KfuncDecl {
    let args = parameters(kfunc.prototype).len();
    KfuncDecl {
        name: kfunc.name,
        // BPF passes five at most.
        args: u8::try_from(args).unwrap_or(u8::MAX),
    }
}

/// The structures of the series, in natural C layout.
fn types() -> Btf {
    let mut types = TypesBuilder::new();
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
    types.build()
}

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

/// What a stage is given, as guest addresses and lengths.
pub(crate) struct Context {
    pub(crate) kdump: bool,
    pub(crate) image: (u64, i32),
    pub(crate) initrd: (u64, i32),
    pub(crate) cmdline: (u64, i32),
}

/// Returns a `struct kexec_context`.
pub(crate) fn kexec_context(types: &Btf, context: &Context) -> Vec<u8> {
    Object::new(types, "kexec_context")
        .set("kdump", &[u8::from(context.kdump)])
        .set("image", &context.image.0.to_le_bytes())
        .set("image_sz", &context.image.1.to_le_bytes())
        .set("initrd", &context.initrd.0.to_le_bytes())
        .set("initrd_sz", &context.initrd.1.to_le_bytes())
        .set("cmdline", &context.cmdline.0.to_le_bytes())
        .set("cmdline_sz", &context.cmdline.1.to_le_bytes())
        .bytes
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

    fn set(mut self, member: &str, value: &[u8]) -> Self {
        let start = self
            .types
            .offset_of(self.name, member)
            .and_then(|at| usize::try_from(at).ok());
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
    fn check(name: &str, size: u32, members: &[(&str, u32)]) {
        let types = types();
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
        check("kexec_context", 56, &members);
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
        check("mem_range_result", 56, &members);
    }

    #[test]
    fn kfunc_numbers_are_places_in_the_list() {
        let interface = interface();
        for (name, number) in [
            ("bpf_copy_to_kernel", kfunc::COPY_TO_KERNEL),
            ("bpf_decompress", kfunc::DECOMPRESS),
            ("bpf_mem_range_result_put", kfunc::PUT),
        ] {
            assert_eq!(interface.kfunc(name), Some(number), "{name}");
        }
    }
}
