//! Helpers and built-in kfuncs: the functions this crate offers to programs.
//!
//! A helper does what Linux's helper of the same number does, where that makes
//! sense without a kernel. What Linux's verifier would have refused (a wrong
//! kind of map, a destination that is too small) ends the run with a
//! [`Fault`]; what a program has to handle is a negative errno in r0.
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "arguments are u64 that helpers read as the C types of their prototypes"
    )
)]

/// Makes a table of functions.
macro_rules! functions {
    ($($number:literal $name:ident $prototype:literal $rule:literal $run:path;)*) => {
        [$($crate::Helper {
            number: $number,
            name: stringify!($name),
            prototype: $prototype,
            rule: $rule,
            run: $run,
        }),*]
    };
}

mod dynptr;
mod flow;
mod format;
pub(crate) mod loader;
mod map;
mod names;
mod probe;
mod ring;

use std::fmt;

pub(crate) use self::loader::LOADER_HELPERS;
pub(crate) use self::names::linux_name;
use crate::Interface;
use crate::vm::{Fault, Machine};

/// What a helper or built-in kfunc answers with: r0, or the end of the run.
pub(crate) type Answer = Result<u64, Fault>;

/// A function offered to programs.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Helper {
    /// Its number in Linux; 0 for kfuncs, which go by name.
    pub number: i32,
    /// Its name, with `bpf_`.
    pub name: &'static str,
    /// Its prototype, without the name.
    pub prototype: &'static str,
    /// How it differs from Linux's; empty if it does not.
    pub rule: &'static str,
    pub(crate) run: fn(&mut Machine<'_>, [u64; 5]) -> Answer,
}

impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.number, self.name, self.prototype)
    }
}

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
    8 bpf_get_smp_processor_id "u32 (void)" "always 0" flow::processor;
    45 bpf_probe_read_str "long (void *dst, u32 size, const void *src)" "" probe::read_str;
    112 bpf_probe_read_user "long (void *dst, u32 size, const void *src)"
        "there is no user memory: zeros and -EFAULT" probe::read_user;
    113 bpf_probe_read_kernel "long (void *dst, u32 size, const void *src)"
        "a large read into a record is kept as a reference" probe::read;
    114 bpf_probe_read_user_str "long (void *dst, u32 size, const void *src)"
        "there is no user memory: zeros and -EFAULT" probe::read_user;
    115 bpf_probe_read_kernel_str "long (void *dst, u32 size, const void *src)" ""
        probe::read_str;
    130 bpf_ringbuf_output "long (map, void *data, u64 size, u64 flags)"
        "nobody reads it: takes room and drops the data" ring::output;
    131 bpf_ringbuf_reserve "void *(map, u64 size, u64 flags)"
        "the size need not be constant; room is never given back" ring::reserve;
    132 bpf_ringbuf_submit "void (void *record, u64 flags)" "" ring::submit;
    133 bpf_ringbuf_discard "void (void *record, u64 flags)" "" ring::discard;
    134 bpf_ringbuf_query "u64 (map, u64 flags)" "all that was reserved is yet to be read"
        ring::query;
    165 bpf_snprintf "long (char *str, u32 str_size, const char *fmt, u64 *data, u32 data_len)"
        "pointers are printed as they are" format::snprintf;
    177 bpf_trace_vprintk "long (const char *fmt, u32 fmt_size, const void *data, u32 data_len)"
        "pointers are printed as they are" format::trace_vprintk;
    181 bpf_loop "long (u32 nr_loops, void *callback, void *ctx, u64 flags)" ""
        flow::repeat;
    182 bpf_strncmp "long (const char *s1, u32 s1_sz, const char *s2)" "" flow::strncmp;
    197 bpf_dynptr_from_mem "long (void *data, u64 size, u64 flags, struct bpf_dynptr *ptr)" ""
        dynptr::from_mem;
    198 bpf_ringbuf_reserve_dynptr "long (map, u32 size, u64 flags, struct bpf_dynptr *ptr)" ""
        dynptr::reserve;
    199 bpf_ringbuf_submit_dynptr "void (struct bpf_dynptr *ptr, u64 flags)" "" dynptr::submit;
    200 bpf_ringbuf_discard_dynptr "void (struct bpf_dynptr *ptr, u64 flags)" ""
        dynptr::discard;
    201 bpf_dynptr_read "long (void *dst, u64 len, dynptr *src, u64 offset, u64 flags)" ""
        dynptr::read;
    202 bpf_dynptr_write "long (dynptr *dst, u64 offset, void *src, u64 len, u64 flags)" ""
        dynptr::write;
    203 bpf_dynptr_data "void *(dynptr *ptr, u64 offset, u64 len)" "" dynptr::data;
};

/// Kfuncs offered to every host's programs, by their number less
/// [`Interface::BUILT_IN`].
pub const KFUNCS: &[Helper] = &functions! {
    0 bpf_iter_num_new "int (struct bpf_iter_num *it, int start, int end)" "" flow::iter_new;
    0 bpf_iter_num_next "int *(struct bpf_iter_num *it)" "" flow::iter_next;
    0 bpf_iter_num_destroy "void (struct bpf_iter_num *it)" "" flow::iter_destroy;
};

/// Returns the place of helper `number` in a table that ascends by number.
pub(crate) fn find(helpers: &[Helper], number: i32) -> Option<usize> {
    helpers
        .binary_search_by_key(&number, |helper| helper.number)
        .ok()
}

/// Returns the number of the built-in kfunc `name`.
pub(crate) fn built_in(name: &str) -> Option<u32> {
    let mut numbered = (Interface::BUILT_IN..).zip(KFUNCS);
    numbered
        .find(|(_, kfunc)| kfunc.name == name)
        .map(|(number, _)| number)
}

/// Errors of Linux that helpers answer with.
mod errno {
    pub(super) const EPERM: u64 = negative(1);
    pub(super) const ENOENT: u64 = negative(2);
    pub(super) const E2BIG: u64 = negative(7);
    pub(super) const EAGAIN: u64 = negative(11);
    pub(super) const EFAULT: u64 = negative(14);
    pub(super) const EEXIST: u64 = negative(17);
    pub(super) const EINVAL: u64 = negative(22);

    const fn negative(errno: u64) -> u64 {
        errno.wrapping_neg()
    }
}
