//! Version 5 of the parser ABI: its hooks and kfuncs.

use ukexec_bpf::disasm::parameters;
use ukexec_bpf::{HookDecl, Interface, KfuncDecl};

use crate::costs::price;
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
    /// Its effect, as a clause without a subject.
    pub meaning: &'static str,
    /// Its failures, and what each means.
    pub errors: &'static str,
    /// Its rules here.
    pub rule: &'static str,
    /// Returns the price of a call in words.
    pub price: fn() -> String,
    pub(crate) call: Call,
}

/// A hook of the parser ABI.
#[derive(Clone, Copy, Debug)]
pub struct AbiHook {
    /// Its name.
    pub name: &'static str,
    /// The prototype of its programs, without the name.
    pub prototype: &'static str,
    /// When its programs run, as a clause without a subject.
    pub meaning: &'static str,
    /// What its programs answer, and may not do.
    pub rule: &'static str,
}

/// The hooks, a row each.
pub const HOOKS: &[AbiHook] = &[
    AbiHook {
        name: HANDLE,
        prototype: CONTEXT,
        meaning: "runs the parser proper on an image, which hands over what it finds",
        rule: "section fentry.s/bpf_handle_pefile; the return value is ignored; several programs run \
               in the order of the file, all of them",
    },
    AbiHook {
        name: POST_HANDLE,
        prototype: CONTEXT,
        meaning: "runs after the programs of bpf_handle_pefile, with the same context",
        rule: "section fentry.s/bpf_post_handle_pefile; the return value is ignored; a hand-over \
               here fails",
    },
    AbiHook {
        name: MATCH,
        prototype: CONTEXT,
        meaning: "asks a parser of parsers.d whether it takes such an image apart",
        rule: "section fmod_ret.s/ukexec_match_image; another value than 0 is a yes; a hand-over \
               ends the run; it is ukexec's own, and a patched kernel refuses it",
    },
];

const CONTEXT: &str = "int (struct kexec_context *ctx)";

/// The kfuncs, a row each, by the number that [`interface`] gives them.
pub const KFUNCS: &[AbiKfunc] = &[
    AbiKfunc {
        name: "bpf_copy_to_kernel",
        prototype: "int (const char *name, char *buf, int size)",
        meaning: "hands over size bytes at buf as kexec:kernel, kexec:initrd or kexec:cmdline",
        errors: "-EINVAL: another name, NULL, a negative size, bytes that cannot be read, an empty \
                 kernel, or another hook than bpf_handle_pefile; -ENOMEM: the budget is used up",
        rule: "takes the bytes by value. Names of ukexec's own: `ukexec:initrd-part` adds to the \
               initrd at the next multiple of 4 bytes, `ukexec:profile` says in 4 bytes which \
               profile was chosen",
        price: price::hand_over,
        call: |host, args, memory, meter| host.hand_over(args, memory, meter),
    },
    AbiKfunc {
        name: "bpf_decompress",
        prototype: "struct mem_range_result *(char *payload, int size)",
        meaning: "decompresses gzip, bzip2, lzma, xz, lzo, lz4 or zstd, known by the first bytes, \
                  and returns a buffer that must be put back",
        errors: "NULL: another compression, damaged bytes, or the budget is used up",
        rule: "64 times in a stage",
        price: price::decompress,
        call: |host, args, memory, meter| host.decompress(args, memory, meter),
    },
    AbiKfunc {
        name: "bpf_mem_range_result_put",
        prototype: "int (struct mem_range_result *result)",
        meaning: "gives a buffer of bpf_decompress back",
        errors: "",
        rule: "of a result that is not held it ends the run",
        price: price::put,
        call: |_host, [result, ..], memory, _meter| StageHost::put(result, memory),
    },
];

/// Returns what parsers can bind to: `parser check` checks against it, and
/// [`unfold`](crate::unfold) loads with it.
#[must_use]
pub fn interface() -> Interface {
    let hook = |hook: &AbiHook| HookDecl {
        name: hook.name,
        args: 1,
    };
    Interface {
        types: types(),
        hooks: HOOKS.iter().map(hook).collect(),
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
