//! The parser ABI: its hooks and kfuncs, and the generations that have them.

use std::sync::LazyLock;

use ukexec_bpf::disasm::parameters;
use ukexec_bpf::{HookDecl, HostTypes, Interface, KfuncDecl, Parser};

use crate::costs::price;
use crate::generation::{self, Generation};
use crate::host::{Call, StageHost};
use crate::names::{ANCHOR, HANDLE, MATCH, POST_HANDLE};
use crate::structs::types;

/// The generations of the ABI, for people.
pub const ABI: &str = "v5, v6 and v7";

/// A kfunc of the parser ABI.
#[derive(Clone, Copy, Debug)]
pub struct AbiKfunc {
    /// Its name.
    pub name: &'static str,
    /// The generations that have it.
    pub generations: &'static [Generation],
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
    /// The generations that have it.
    pub generations: &'static [Generation],
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
        generations: V5,
        prototype: CONTEXT,
        meaning: "runs the parser proper on an image, which hands over what it finds",
        rule: "section fentry.s/bpf_handle_pefile; the return value is ignored; several programs run \
               in the order of the file, all of them",
    },
    AbiHook {
        name: POST_HANDLE,
        generations: V5,
        prototype: CONTEXT,
        meaning: "runs after the programs of bpf_handle_pefile, with the same context",
        rule: "section fentry.s/bpf_post_handle_pefile; the return value is ignored; a hand-over \
               here fails",
    },
    AbiHook {
        name: ANCHOR,
        generations: COMMANDS,
        prototype: "void (struct kexec_context *ctx, unsigned long parser_id)",
        meaning: "runs the parser proper on an image, which sends commands about what it finds",
        rule: "section fentry.s/kexec_image_parser_anchor; the return value is ignored; the \
               parser's own types say whether it is for v6 or v7",
    },
    AbiHook {
        name: MATCH,
        generations: &Generation::ALL,
        prototype: CONTEXT,
        meaning: "asks a parser of parsers.d whether it takes such an image apart",
        rule: "section fmod_ret.s/ukexec_match_image; another value than 0 is a yes; a hand-over \
               ends the run; it is ukexec's own, and a patched kernel refuses it",
    },
];

const V5: &[Generation] = &[Generation::V5];
/// The generations whose parsers send commands.
const COMMANDS: &[Generation] = &[Generation::V6, Generation::V7];

const CONTEXT: &str = "int (struct kexec_context *ctx)";

/// The kfuncs, a row each, by the number that [`interface`] gives them.
pub const KFUNCS: &[AbiKfunc] = &[
    AbiKfunc {
        name: "bpf_copy_to_kernel",
        generations: V5,
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
        generations: V5,
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
        generations: V5,
        prototype: "int (struct mem_range_result *result)",
        meaning: "gives a buffer of bpf_decompress back",
        errors: "",
        rule: "of a result that is not held it ends the run",
        price: price::call,
        call: |_host, [result, ..], memory, _meter| StageHost::put(result, memory),
    },
    AbiKfunc {
        name: "bpf_get_parser_context",
        generations: COMMANDS,
        prototype: "struct bpf_parser_context *(unsigned long id)",
        meaning: "returns a reference to the parser context of this run, which must be put back",
        errors: "NULL: id is not the hook's parser_id",
        rule: "several references may be held; each is put once",
        price: price::call,
        call: |host, [id, ..], memory, _meter| host.get_parser_context(id, memory),
    },
    AbiKfunc {
        name: "bpf_put_parser_context",
        generations: COMMANDS,
        prototype: "void (struct bpf_parser_context *ctx)",
        meaning: "gives a reference of bpf_get_parser_context back",
        errors: "",
        rule: "of a reference that is not held it ends the run",
        price: price::call,
        call: |_host, [context, ..], memory, _meter| StageHost::put_parser_context(context, memory),
    },
    AbiKfunc {
        name: "bpf_buffer_parser",
        generations: COMMANDS,
        prototype: "int (char *buf, int buf_sz, struct bpf_parser_context *ctx)",
        meaning: "runs the command in the buf_sz bytes at buf: COPY or DECOMPRESS of a resource, \
                  and in v7 VERIFY_SIG or DONE",
        errors: "-EINVAL: no command of the parser's ABI, a payload that passes the buffer, bytes \
                 that cannot be read or decompressed, an empty kernel or command line; -ENOMEM: \
                 the budget is used up, or FILL a 17th time; -EKEYREJECTED and \
                 others: VERIFY_SIG, the signature is not good",
        rule: "takes the bytes by value; a resource replaces the one before; ctx must be held",
        price: price::hand_over,
        call: |host, args, memory, meter| host.buffer_parser(args, memory, meter),
    },
];

/// Returns what parsers can bind to: `parser check` checks against it, and
/// [`unfold`](crate::unfold) loads with it.
#[must_use]
pub fn interface() -> &'static Interface {
    static INTERFACE: LazyLock<Interface> = LazyLock::new(|| Interface {
        types: vec![
            HostTypes::new(|| types(Generation::V5)),
            HostTypes::new(|| types(Generation::V6)),
            HostTypes::new(|| types(Generation::V7)),
        ],
        choose: generation::choose,
        hooks: HOOKS
            .iter()
            .map(|hook| HookDecl {
                name: hook.name,
                args: args(hook.prototype),
            })
            .collect(),
        kfuncs: KFUNCS
            .iter()
            .map(|kfunc| KfuncDecl {
                name: kfunc.name,
                args: args(kfunc.prototype),
            })
            .collect(),
    });
    &INTERFACE
}

impl Generation {
    /// Returns the generation that a loaded parser is for.
    ///
    /// # Errors
    ///
    /// The parser calls a kfunc of another generation, which the text names.
    ///
    /// ```
    /// use ukexec_bpf::Parser;
    /// use ukexec_unfold::{Generation, built_in_parsers, interface};
    ///
    /// let zboot = &built_in_parsers()[1];
    /// let parser = Parser::load(&zboot.object, interface())?;
    /// assert_eq!(Generation::of(&parser), Ok(Generation::V5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(parser: &Parser) -> Result<Self, String> {
        let own = Self::ALL.get(parser.types).copied().unwrap_or(Self::V5);
        let numbers = parser.kfuncs.iter().filter_map(|kfunc| kfunc.host);
        let own_kfuncs = numbers.filter(|number| *number < Interface::BUILT_IN);
        let rows = own_kfuncs.filter_map(|number| KFUNCS.get(usize::try_from(number).ok()?));
        for kfunc in rows {
            if !kfunc.generations.contains(&own) {
                return Err(format!(
                    "kfunc {} belongs to parser ABI {}, and the parser is for {own}",
                    kfunc.name,
                    names(kfunc.generations)
                ));
            }
        }
        Ok(own)
    }
}

/// Returns the names of generations, as messages list them.
fn names(generations: &[Generation]) -> String {
    let names: Vec<&str> = generations.iter().map(|it| it.name()).collect();
    names.join(" and ")
}

/// Returns how many arguments a prototype has.
fn args(prototype: &str) -> u8 {
    // BPF passes five at most.
    u8::try_from(parameters(prototype).len()).unwrap_or(u8::MAX)
}
