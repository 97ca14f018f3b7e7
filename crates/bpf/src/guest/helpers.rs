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
pub(crate) mod loader;
mod map;
mod probe;
mod refused;
mod ring;
mod text;

pub(crate) use self::loader::LOADER_HELPERS;
pub use self::refused::{REFUSED, Refused};
pub(crate) use self::refused::{why_no_kfunc, why_not};
use self::text::{MAX_TEXT, Wanted};
use super::helper::{Helper, functions};
use super::machine::Lock;

/// All helpers that programs may call, ascending by number.
pub const HELPERS: &[Helper] = &functions! {
    1 bpf_map_lookup_elem "void *(map, const void *key)"
        "a deleted value of a hash can no longer be read" map::lookup;
    2 bpf_map_update_elem "long (map, const void *key, const void *value, u64 flags)"
        "" map::update;
    3 bpf_map_delete_elem "long (map, const void *key)" "" map::delete;
    4 bpf_probe_read "long (void *dst, u32 size, const void *src)"
        "a large read into a record is kept as a reference" probe::read;
    5 bpf_ktime_get_ns "u64 (void)" "counts its own calls from 0" flow::ktime;
    6 bpf_trace_printk "long (const char *fmt, u32 fmt_size, ...)"
        "pointers are printed as they are" format::trace_printk;
    7 bpf_get_prandom_u32 "u32 (void)" "the same numbers in every stage" flow::random;
    8 bpf_get_smp_processor_id "u32 (void)" "always 0" flow::processor;
    42 bpf_get_numa_node_id "long (void)" "always 0" flow::processor;
    45 bpf_probe_read_str "long (void *dst, u32 size, const void *src)" "" probe::read_str;
    87 bpf_map_push_elem "long (map, const void *value, u64 flags)" "" map::push;
    88 bpf_map_pop_elem "long (map, void *value)" ""
        |machine, args| map::take(machine, "bpf_map_pop_elem", args, true);
    89 bpf_map_peek_elem "long (map, void *value)" ""
        |machine, args| map::take(machine, "bpf_map_peek_elem", args, false);
    105 bpf_strtol "long (const char *buf, size_t buf_len, u64 flags, s64 *res)" "" text::strtol;
    106 bpf_strtoul "long (const char *buf, size_t buf_len, u64 flags, u64 *res)" ""
        text::strtoul;
    112 bpf_probe_read_user "long (void *dst, u32 size, const void *src)"
        "there is no user memory: zeros and -EFAULT" probe::read_user;
    113 bpf_probe_read_kernel "long (void *dst, u32 size, const void *src)"
        "a large read into a record is kept as a reference" probe::read;
    114 bpf_probe_read_user_str "long (void *dst, u32 size, const void *src)"
        "there is no user memory: zeros and -EFAULT" probe::read_user;
    115 bpf_probe_read_kernel_str "long (void *dst, u32 size, const void *src)" ""
        probe::read_str;
    118 bpf_jiffies64 "u64 (void)" "counts as bpf_ktime_get_ns does" flow::ktime;
    125 bpf_ktime_get_boot_ns "u64 (void)" "counts as bpf_ktime_get_ns does" flow::ktime;
    130 bpf_ringbuf_output "long (map, void *data, u64 size, u64 flags)"
        "nobody reads it: takes room and drops the data" ring::output;
    131 bpf_ringbuf_reserve "void *(map, u64 size, u64 flags)"
        "the size need not be constant; room is never given back" ring::reserve;
    132 bpf_ringbuf_submit "void (void *record, u64 flags)" ""
        |machine, args| ring::end(machine, args, "submitted");
    133 bpf_ringbuf_discard "void (void *record, u64 flags)" ""
        |machine, args| ring::end(machine, args, "discarded");
    134 bpf_ringbuf_query "u64 (map, u64 flags)" "all that was reserved is yet to be read"
        ring::query;
    148 bpf_copy_from_user "long (void *dst, u32 size, const void *user_ptr)"
        "there is no user memory: zeros and -EFAULT" probe::read_user;
    160 bpf_ktime_get_coarse_ns "u64 (void)" "counts as bpf_ktime_get_ns does" flow::ktime;
    164 bpf_for_each_map_elem "long (map, void *callback_fn, void *callback_ctx, u64 flags)"
        "elements of a hash in the order of their keys' bytes" map::for_each;
    165 bpf_snprintf "long (char *str, u32 str_size, const char *fmt, u64 *data, u32 data_len)"
        "pointers are printed as they are" format::snprintf;
    177 bpf_trace_vprintk "long (const char *fmt, u32 fmt_size, const void *data, u32 data_len)"
        "pointers are printed as they are" format::trace_vprintk;
    181 bpf_loop "long (u32 nr_loops, void *callback, void *ctx, u64 flags)" ""
        flow::repeat;
    182 bpf_strncmp "long (const char *s1, u32 s1_sz, const char *s2)" "" text::strncmp;
    183 bpf_get_func_arg "long (void *ctx, u32 n, u64 *value)" "" flow::argument;
    184 bpf_get_func_ret "long (void *ctx, u64 *value)"
        "for fmod_ret: what the program before returned" flow::previous;
    185 bpf_get_func_arg_cnt "long (void *ctx)" "" flow::argument_count;
    195 bpf_map_lookup_percpu_elem "void *(map, const void *key, u32 cpu)"
        "there is one CPU, number 0" map::lookup_per_cpu;
    197 bpf_dynptr_from_mem "long (void *data, u64 size, u64 flags, struct bpf_dynptr *ptr)" ""
        dynptr::from_mem;
    198 bpf_ringbuf_reserve_dynptr "long (map, u32 size, u64 flags, struct bpf_dynptr *ptr)" ""
        dynptr::reserve;
    199 bpf_ringbuf_submit_dynptr "void (struct bpf_dynptr *ptr, u64 flags)" ""
        |machine, args| dynptr::end(machine, args, "submitted");
    200 bpf_ringbuf_discard_dynptr "void (struct bpf_dynptr *ptr, u64 flags)" ""
        |machine, args| dynptr::end(machine, args, "discarded");
    201 bpf_dynptr_read "long (void *dst, u64 len, dynptr *src, u64 offset, u64 flags)" ""
        dynptr::read;
    202 bpf_dynptr_write "long (dynptr *dst, u64 offset, void *src, u64 len, u64 flags)" ""
        dynptr::write;
    203 bpf_dynptr_data "void *(dynptr *ptr, u64 offset, u64 len)" "" dynptr::data;
    208 bpf_ktime_get_tai_ns "u64 (void)" "counts as bpf_ktime_get_ns does" flow::ktime;
};

/// Kfuncs offered to every host's programs, by their number less
/// [`crate::Interface::BUILT_IN`].
pub const KFUNCS: &[Helper] = &functions! {
    0 bpf_iter_num_new "int (struct bpf_iter_num *it, int start, int end)" "" flow::iter_new;
    0 bpf_iter_num_next "int *(struct bpf_iter_num *it)" "" flow::iter_next;
    0 bpf_iter_num_destroy "void (struct bpf_iter_num *it)" "" flow::iter_destroy;
    0 bpf_rdonly_cast "void *(const void *obj, u32 btf_id)"
        "obj itself: a bad read ends the run" flow::cast;
    0 bpf_dynptr_slice
        "void *(const struct bpf_dynptr *p, u32 offset, void *buffer, u32 buffer_size)"
        "the buffer is never used" dynptr::slice;
    0 bpf_dynptr_slice_rdwr
        "void *(const struct bpf_dynptr *p, u32 offset, void *buffer, u32 buffer_size)"
        "the buffer is never used" dynptr::slice_rdwr;
    0 bpf_dynptr_adjust "int (const struct bpf_dynptr *p, u32 start, u32 end)" ""
        dynptr::adjust;
    0 bpf_dynptr_is_null "bool (const struct bpf_dynptr *p)" "" dynptr::is_null;
    0 bpf_dynptr_is_rdonly "bool (const struct bpf_dynptr *p)" "" dynptr::is_rdonly;
    0 bpf_dynptr_size "u32 (const struct bpf_dynptr *p)" "" dynptr::size;
    0 bpf_dynptr_clone "int (const struct bpf_dynptr *p, struct bpf_dynptr *clone)" ""
        dynptr::clone;
    0 bpf_dynptr_copy
        "int (struct bpf_dynptr *dst, u32 dst_off, struct bpf_dynptr *src, u32 src_off, u32 size)"
        "" dynptr::copy_between;
    0 bpf_dynptr_memset "int (struct bpf_dynptr *p, u32 offset, u32 size, u8 val)" ""
        dynptr::fill;
    0 bpf_strcmp "int (const char *s1, const char *s2)" "" text::strcmp;
    0 bpf_strchr "int (const char *s, char c)" ""
        |machine, [text, byte, ..]| text::find_byte(machine, [text, MAX_TEXT, byte], Wanted::First);
    0 bpf_strchrnul "int (const char *s, char c)" ""
        |machine, [text, byte, ..]| {
            text::find_byte(machine, [text, MAX_TEXT, byte], Wanted::FirstOrNul)
        };
    0 bpf_strnchr "int (const char *s, size_t count, char c)" ""
        |machine, [text, max, byte, ..]| text::find_byte(machine, [text, max, byte], Wanted::First);
    0 bpf_strrchr "int (const char *s, int c)" ""
        |machine, [text, byte, ..]| text::find_byte(machine, [text, MAX_TEXT, byte], Wanted::Last);
    0 bpf_strlen "int (const char *s)" ""
        |machine, [text, ..]| text::strnlen(machine, [text, MAX_TEXT, 0, 0, 0]);
    0 bpf_strnlen "int (const char *s, size_t count)" "" text::strnlen;
    0 bpf_strspn "int (const char *s, const char *accept)" ""
        |machine, [text, accept, ..]| text::span(machine, text, accept, true);
    0 bpf_strcspn "int (const char *s, const char *reject)" ""
        |machine, [text, reject, ..]| text::span(machine, text, reject, false);
    0 bpf_strstr "int (const char *s1, const char *s2)" ""
        |machine, [text, part, ..]| text::strnstr(machine, [text, part, MAX_TEXT, 0, 0]);
    0 bpf_strnstr "int (const char *s1, const char *s2, size_t len)" "" text::strnstr;
    0 bpf_rcu_read_lock "void (void)" "nothing runs beside a parser: only counted"
        |machine, _| machine.lock(Lock::Rcu);
    0 bpf_rcu_read_unlock "void (void)" "nothing runs beside a parser: only counted"
        |machine, _| machine.unlock(Lock::Rcu);
    0 bpf_preempt_disable "void (void)" "nothing runs beside a parser: only counted"
        |machine, _| machine.lock(Lock::Preempt);
    0 bpf_preempt_enable "void (void)" "nothing runs beside a parser: only counted"
        |machine, _| machine.unlock(Lock::Preempt);
};
