//! Version 5 of the parser ABI: its hooks and kfuncs.

use ukexec_bpf::disasm::parameters;
use ukexec_bpf::{HookDecl, Interface, KfuncDecl};

use crate::host::{Call, StageHost};
use crate::structs::types;

/// The name of this version of the ABI in stage reports. It follows from the hooks:
/// a parser for another version names hooks that this one does not have.
pub const ABI: &str = "v5";

/// The PE section that holds an image's own parser.
pub const PARSER_SECTION: &str = ".bpf";

/// No parser has more bytes, even one that brings large tables.
pub const PARSER_MAX: u64 = 64 << 20;

/// The hook whose programs hand over; a parser needs one on it.
pub(crate) const HANDLE: &str = "bpf_handle_pefile";
/// The hook whose programs run after those of [`HANDLE`].
pub(crate) const POST_HANDLE: &str = "bpf_post_handle_pefile";
/// The hook whose programs say whether the parser can take an image apart. It
/// is ukexec's own, not the series'.
pub(crate) const MATCH: &str = "ukexec_match_image";

/// A kfunc of the parser ABI.
#[derive(Clone, Copy, Debug)]
pub struct AbiKfunc {
    /// Its name.
    pub name: &'static str,
    /// Its prototype in the series, without the name.
    pub prototype: &'static str,
    /// Its rules here.
    pub rule: &'static str,
    pub(crate) call: Call,
}

/// The kfuncs, a row each, by the number that [`interface`] gives them.
pub const KFUNCS: &[AbiKfunc] = &[
    AbiKfunc {
        name: "bpf_copy_to_kernel",
        prototype: "int (const char *name, char *buf, int size)",
        call: |host, args, memory, meter| host.hand_over(args, memory, meter),
        rule: "hands over under `kexec:kernel`, `kexec:initrd` or `kexec:cmdline`, by value; on \
               hook `bpf_handle_pefile` only. Names of ukexec's own: `ukexec:initrd-part` adds to \
               the initrd at the next multiple of 4 bytes, `ukexec:profile` says in 4 bytes which \
               profile was chosen",
    },
    AbiKfunc {
        name: "bpf_decompress",
        prototype: "struct mem_range_result *(char *payload, int size)",
        call: |host, args, memory, meter| host.decompress(args, memory, meter),
        rule: "gzip, bzip2, lzma, xz, lzo, lz4 or zstd, told by its first bytes; NULL where it fails",
    },
    AbiKfunc {
        name: "bpf_mem_range_result_put",
        prototype: "int (struct mem_range_result *result)",
        call: |_host, [result, ..], memory, _meter| StageHost::put(result, memory),
        rule: "of a result that is not held it ends the run",
    },
];

/// Returns what parsers can bind to: `parser check` checks against it, and
/// [`unfold`](crate::unfold) loads with it.
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
