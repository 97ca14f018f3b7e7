//! Helpers and built-in kfuncs: the functions this crate offers to programs.
//!
//! A helper does what Linux's helper of the same number does, where that makes
//! sense without a kernel. A call that Linux's verifier would have refused (a wrong
//! kind of map, a destination that is too small) ends the run with a
//! [`crate::BpfError`]; what a program has to handle is a negative errno in r0.
//! The tables here have each function's prototype; its code takes the same order.
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "arguments are u64 that helpers read as the C types of their prototypes"
    )
)]

mod dynptr;
mod flow;
mod format;
mod kfuncs;
pub(crate) mod loader;
mod map;
mod probe;
mod refused;
mod ring;
mod text;

pub use self::kfuncs::KFUNCS;
pub(crate) use self::loader::LOADER_HELPERS;
pub use self::refused::{REFUSED, Refused};
pub(crate) use self::refused::{why_no_kfunc, why_not};
use super::helper::{Helper, functions};

/// All helpers that programs may call, ascending by number.
pub const HELPERS: &[Helper] = &functions! {
    1 bpf_map_lookup_elem "void *(map, const void *key)" "returns the address of the value at key"
        "NULL: there is none" "a deleted value of a hash can no longer be read" lookup map::lookup;
    2 bpf_map_update_elem "long (map, const void *key, const void *value, u64 flags)"
        "sets the value at key; flags 1: only where there is none, 2: only where there is one"
        "-EEXIST, -ENOENT: against the flags; -E2BIG: the map is full, or has no such index; \
         -EPERM: it is read-only; -EINVAL: other flags"
        "" insert map::update;
    3 bpf_map_delete_elem "long (map, const void *key)" "removes the entry at key from a hash"
        "-ENOENT: there is none; -EINVAL: the map is an array" "" lookup map::delete;
    4 bpf_probe_read "long (void *dst, u32 size, const void *src)"
        "copies size bytes from any address to dst" "-EFAULT: src cannot be read, and dst is zeros"
        "a large read into a record is kept as a reference" copy probe::read;
    5 bpf_ktime_get_ns "u64 (void)" "returns the time" "" "counts its own calls from 0" call
        flow::ktime;
    6 bpf_trace_printk "long (const char *fmt, u32 fmt_size, ...)"
        "prints a line with at most three arguments, and returns its length"
        "-EINVAL: a format that Linux refuses" "pointers are printed as they are" text
        format::trace_printk;
    7 bpf_get_prandom_u32 "u32 (void)" "returns a random number" ""
        "the same numbers in every stage" call flow::random;
    8 bpf_get_smp_processor_id "u32 (void)" "returns the number of the CPU" "" "always 0" call
        flow::processor;
    42 bpf_get_numa_node_id "long (void)" "returns the number of the NUMA node" "" "always 0" call
        flow::processor;
    45 bpf_probe_read_str "long (void *dst, u32 size, const void *src)"
        "copies a text of at most size bytes with its NUL, and returns its length with the NUL"
        "-EFAULT: src cannot be read, and dst is zeros" "" copy probe::read_str;
    87 bpf_map_push_elem "long (map, const void *value, u64 flags)"
        "puts a value into a queue or stack; flags 2: drops the oldest of a full one"
        "-E2BIG: it is full; -EPERM: it is read-only; -EINVAL: other flags" "" copy map::push;
    88 bpf_map_pop_elem "long (map, void *value)" "moves the next value out of a queue or stack"
        "-ENOENT: it is empty, and value is zeros" "" copy
        |machine, args| map::take(machine, "bpf_map_pop_elem", args, true);
    89 bpf_map_peek_elem "long (map, void *value)" "copies the next value of a queue or stack"
        "-ENOENT: it is empty, and value is zeros" "" copy
        |machine, args| map::take(machine, "bpf_map_peek_elem", args, false);
    105 bpf_strtol "long (const char *buf, size_t buf_len, u64 flags, s64 *res)"
        "reads a number of base 8, 10 or 16 (flags 0: by its prefix), and returns its length"
        "-EINVAL: no number, or another base; -ERANGE: too large (res is 0 after both)" "" look
        text::strtol;
    106 bpf_strtoul "long (const char *buf, size_t buf_len, u64 flags, u64 *res)"
        "reads a number of base 8, 10 or 16 (flags 0: by its prefix), and returns its length"
        "-EINVAL: no number, a negative one, or another base; -ERANGE: too large (res is 0 after both)" ""
        look text::strtoul;
    112 bpf_probe_read_user "long (void *dst, u32 size, const void *src)"
        "copies size bytes of user space to dst" "-EFAULT: always, unless size is 0"
        "there is no user memory: zeros and -EFAULT" copy probe::read_user;
    113 bpf_probe_read_kernel "long (void *dst, u32 size, const void *src)"
        "copies size bytes from any address to dst" "-EFAULT: src cannot be read, and dst is zeros"
        "a large read into a record is kept as a reference" copy probe::read;
    114 bpf_probe_read_user_str "long (void *dst, u32 size, const void *src)"
        "copies a text of user space to dst" "-EFAULT: always, unless size is 0"
        "there is no user memory: zeros and -EFAULT" copy probe::read_user;
    115 bpf_probe_read_kernel_str "long (void *dst, u32 size, const void *src)"
        "copies a text of at most size bytes with its NUL, and returns its length with the NUL"
        "-EFAULT: src cannot be read, and dst is zeros" "" copy probe::read_str;
    118 bpf_jiffies64 "u64 (void)" "returns the time" "" "counts as bpf_ktime_get_ns does" call
        flow::ktime;
    125 bpf_ktime_get_boot_ns "u64 (void)" "returns the time" "" "counts as bpf_ktime_get_ns does"
        call flow::ktime;
    130 bpf_ringbuf_output "long (map, void *data, u64 size, u64 flags)"
        "puts size bytes into a ring" "-EAGAIN: the ring has no room; -EINVAL: flags"
        "nobody reads it: takes room and drops the data" call ring::output;
    131 bpf_ringbuf_reserve "void *(map, u64 size, u64 flags)"
        "returns a record of size bytes, all zeros"
        "NULL: the ring has no room for it and 8 bytes of header, or flags"
        "the size need not be constant; room is never given back" call ring::reserve;
    132 bpf_ringbuf_submit "void (void *record, u64 flags)" "ends the use of a record" "" "" call
        |machine, args| ring::end(machine, args, "submitted");
    133 bpf_ringbuf_discard "void (void *record, u64 flags)" "ends the use of a record" "" "" call
        |machine, args| ring::end(machine, args, "discarded");
    134 bpf_ringbuf_query "u64 (map, u64 flags)"
        "returns for flags 0 the bytes in use, 1 the size of the ring, 3 the place of the next \
         record"
        "0: other flags" "all that was reserved is yet to be read" call ring::query;
    148 bpf_copy_from_user "long (void *dst, u32 size, const void *user_ptr)"
        "copies size bytes of user space to dst" "-EFAULT: always, unless size is 0"
        "there is no user memory: zeros and -EFAULT" copy probe::read_user;
    160 bpf_ktime_get_coarse_ns "u64 (void)" "returns the time" "" "counts as bpf_ktime_get_ns does"
        call flow::ktime;
    164 bpf_for_each_map_elem "long (map, void *callback_fn, void *callback_ctx, u64 flags)"
        "calls callback_fn(map, key, value, callback_ctx) for each element until it returns 1; \
         returns how often"
        "-EINVAL: flags" "elements of a hash in the order of their keys' bytes" elements
        map::for_each;
    165 bpf_snprintf "long (char *str, u32 str_size, const char *fmt, u64 *data, u32 data_len)"
        "formats a text with the numbers at data, and returns the length that it has with its \
         NUL"
        "-EINVAL: a format that Linux refuses, or data_len is no multiple of 8 up to 96"
        "pointers are printed as they are" text format::snprintf;
    177 bpf_trace_vprintk "long (const char *fmt, u32 fmt_size, const void *data, u32 data_len)"
        "prints a line with the numbers at data, and returns its length"
        "-EINVAL: a format that Linux refuses, or data_len is no multiple of 8 up to 96"
        "pointers are printed as they are" text format::trace_vprintk;
    181 bpf_loop "long (u32 nr_loops, void *callback, void *ctx, u64 flags)"
        "calls callback(index, ctx) nr_loops times or until it returns 1; returns how often"
        "-E2BIG: more than 8,388,608 rounds; -EINVAL: flags" "" rounds flow::repeat;
    182 bpf_strncmp "long (const char *s1, u32 s1_sz, const char *s2)"
        "compares at most s1_sz bytes of two texts; returns -1, 0 or 1" "" "" copy text::strncmp;
    183 bpf_get_func_arg "long (void *ctx, u32 n, u64 *value)"
        "stores argument n of the hook in value" "-EINVAL: the hook has no such argument" "" call
        flow::argument;
    184 bpf_get_func_ret "long (void *ctx, u64 *value)" "stores what the hook returned in value"
        "-EOPNOTSUPP: the program is not fmod_ret" "for fmod_ret: what the program before returned"
        call flow::previous;
    185 bpf_get_func_arg_cnt "long (void *ctx)" "returns how many arguments the hook has" "" "" call
        flow::argument_count;
    195 bpf_map_lookup_percpu_elem "void *(map, const void *key, u32 cpu)"
        "returns the address of the value at key on a CPU" "NULL: there is none"
        "there is one CPU, number 0" lookup map::lookup_per_cpu;
    197 bpf_dynptr_from_mem "long (void *data, u64 size, u64 flags, struct bpf_dynptr *ptr)"
        "makes a dynptr of size bytes at data"
        "-E2BIG: 16 MiB and more; -EINVAL: flags (ptr is null after both)" "" call dynptr::from_mem;
    198 bpf_ringbuf_reserve_dynptr "long (map, u32 size, u64 flags, struct bpf_dynptr *ptr)"
        "makes a dynptr of a new record, which must be given back even where this fails"
        "-EINVAL: the ring has no room, or flags; -E2BIG: 16 MiB and more (ptr is null after both)" "" call
        dynptr::reserve;
    199 bpf_ringbuf_submit_dynptr "void (struct bpf_dynptr *ptr, u64 flags)"
        "ends the use of a record" "" "" call
        |machine, args| dynptr::end(machine, args, "submitted");
    200 bpf_ringbuf_discard_dynptr "void (struct bpf_dynptr *ptr, u64 flags)"
        "ends the use of a record" "" "" call
        |machine, args| dynptr::end(machine, args, "discarded");
    201 bpf_dynptr_read "long (void *dst, u64 len, dynptr *src, u64 offset, u64 flags)"
        "copies len bytes at offset of a dynptr to dst"
        "-E2BIG: they pass its end; -EINVAL: it is null, or flags" "" copy dynptr::read;
    202 bpf_dynptr_write "long (dynptr *dst, u64 offset, void *src, u64 len, u64 flags)"
        "copies len bytes at src to offset of a dynptr"
        "-E2BIG: they pass its end; -EINVAL: it is null, or flags" "" copy dynptr::write;
    203 bpf_dynptr_data "void *(dynptr *ptr, u64 offset, u64 len)"
        "returns the address of len bytes at offset of a dynptr"
        "NULL: they pass its end, or it is null" "" call dynptr::data;
    208 bpf_ktime_get_tai_ns "u64 (void)" "returns the time" "" "counts as bpf_ktime_get_ns does"
        call flow::ktime;
};

/// The helpers that Linux lets only programs under a licence compatible with the
/// GPL call (`gpl_only` in their `struct bpf_func_proto`). All kfuncs are such.
const GPL_ONLY: [i32; 9] = [4, 6, 45, 112, 113, 114, 115, 165, 177];

impl Helper {
    /// Returns whether Linux wants a licence compatible with the GPL for it.
    #[must_use]
    pub fn is_gpl_only(&self) -> bool {
        self.number == 0 || GPL_ONLY.contains(&self.number)
    }
}
