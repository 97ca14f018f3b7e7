//! The structures that parsers of version 5 of the ABI read.

use ukexec_bpf::btf::{Btf, TypesBuilder};

/// The structures of the series, in natural C layout.
pub(crate) fn types() -> Btf {
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

/// Returns a `struct kexec_context` with `inputs`: names, guest addresses and
/// lengths.
pub(crate) fn kexec_context(types: &Btf, kdump: bool, inputs: [(&str, u64, i32); 3]) -> Vec<u8> {
    let context = Object::new(types, "kexec_context").set("kdump", &[u8::from(kdump)]);
    let inputs = inputs.into_iter();
    let context = inputs.fold(context, |context, (name, address, len)| {
        let context = context.set(name, &address.to_le_bytes());
        context.set(&format!("{name}_sz"), &len.to_le_bytes())
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
}
