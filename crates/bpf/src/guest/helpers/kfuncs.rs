//! Kfuncs that this crate answers itself, for every host.

use super::text::{MAX_TEXT, Wanted};
use super::{dynptr, flow, text};
use crate::guest::helper::{Helper, functions};
use crate::guest::machine::Lock;

/// Kfuncs offered to every host's programs, by their number less
/// [`crate::Interface::BUILT_IN`].
pub const KFUNCS: &[Helper] = &functions! {
    0 bpf_iter_num_new "int (struct bpf_iter_num *it, int start, int end)"
        "begins a loop over the numbers from start to before end"
        "-EINVAL: end is below start; -E2BIG: more than 8,388,608 numbers" "" call flow::iter_new;
    0 bpf_iter_num_next "int *(struct bpf_iter_num *it)" "returns the address of the next number"
        "NULL: the loop is over" "" call flow::iter_next;
    0 bpf_iter_num_destroy "void (struct bpf_iter_num *it)" "ends a loop" "" "" call
        flow::iter_destroy;
    0 bpf_rdonly_cast "void *(const void *obj, u32 btf_id)"
        "returns obj as a pointer to another type" "" "obj itself: a bad read ends the run" call
        flow::cast;
    0 bpf_dynptr_slice
        "void *(const struct bpf_dynptr *p, u32 offset, void *buffer, u32 buffer_size)"
        "returns the address of buffer_size bytes at offset of a dynptr"
        "NULL: they pass its end, or it is null" "the buffer is never used" call dynptr::slice;
    0 bpf_dynptr_slice_rdwr
        "void *(const struct bpf_dynptr *p, u32 offset, void *buffer, u32 buffer_size)"
        "returns the address of buffer_size bytes at offset of a dynptr, for writing"
        "NULL: they pass its end, or it is null or read-only" "the buffer is never used" call
        dynptr::slice_rdwr;
    0 bpf_dynptr_adjust "int (const struct bpf_dynptr *p, u32 start, u32 end)"
        "makes a dynptr begin at start and end before end"
        "-ERANGE: end passes its end; -EINVAL: it is null, or end is below start" "" call
        dynptr::adjust;
    0 bpf_dynptr_is_null "bool (const struct bpf_dynptr *p)" "returns whether a dynptr has no data"
        "" "" call dynptr::is_null;
    0 bpf_dynptr_is_rdonly "bool (const struct bpf_dynptr *p)"
        "returns whether the data of a dynptr are read-only" "" "" call dynptr::is_rdonly;
    0 bpf_dynptr_size "u32 (const struct bpf_dynptr *p)" "returns the length of the data"
        "-EINVAL: it is null" "" call dynptr::size;
    0 bpf_dynptr_clone "int (const struct bpf_dynptr *p, struct bpf_dynptr *clone)"
        "makes another dynptr of the same data" "-EINVAL: it is null" "" call dynptr::clone;
    0 bpf_dynptr_copy
        "int (struct bpf_dynptr *dst, u32 dst_off, struct bpf_dynptr *src, u32 src_off, u32 \
         size)"
        "copies size bytes from one dynptr to another"
        "-E2BIG: they pass the end of one; -EINVAL: one is null, or dst is read-only" "" copy
        dynptr::copy_between;
    0 bpf_dynptr_memset "int (struct bpf_dynptr *p, u32 offset, u32 size, u8 val)"
        "sets size bytes at offset to val"
        "-E2BIG: they pass its end; -EINVAL: it is null or read-only" "" copy dynptr::fill;
    0 bpf_strcmp "int (const char *s1, const char *s2)" "compares two strings; returns -1, 0 or 1"
        "-ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: more than 64 KiB" ""
        look text::strcmp;
    0 bpf_strchr "int (const char *s, char c)" "returns where c is first"
        "-ENOENT: nowhere; -ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: \
         more than 64 KiB"
        "" look
        |machine, [text, byte, ..]| text::find_byte(machine, [text, MAX_TEXT, byte], Wanted::First);
    0 bpf_strchrnul "int (const char *s, char c)" "returns where c is first, or the NUL"
        "-ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: more than 64 KiB" ""
        look
        |machine, [text, byte, ..]| {
            text::find_byte(machine, [text, MAX_TEXT, byte], Wanted::FirstOrNul)
        };
    0 bpf_strnchr "int (const char *s, size_t count, char c)"
        "returns where c is first in count bytes"
        "-ENOENT: nowhere; -ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: \
         more than 64 KiB"
        "" look
        |machine, [text, max, byte, ..]| text::find_byte(machine, [text, max, byte], Wanted::First);
    0 bpf_strrchr "int (const char *s, int c)" "returns where c is last"
        "-ENOENT: nowhere; -ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: \
         more than 64 KiB"
        "" look
        |machine, [text, byte, ..]| text::find_byte(machine, [text, MAX_TEXT, byte], Wanted::Last);
    0 bpf_strlen "int (const char *s)" "returns the length of a string"
        "-ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: more than 64 KiB" ""
        look |machine, [text, ..]| text::strnlen(machine, [text, MAX_TEXT, 0, 0, 0]);
    0 bpf_strnlen "int (const char *s, size_t count)"
        "returns the length of a string, at most count"
        "-ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: more than 64 KiB" ""
        look text::strnlen;
    0 bpf_strspn "int (const char *s, const char *accept)"
        "returns how many bytes at the start are among those of accept"
        "-ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: more than 64 KiB" ""
        look |machine, [text, accept, ..]| text::span(machine, text, accept, true);
    0 bpf_strcspn "int (const char *s, const char *reject)"
        "returns how many bytes at the start are not among those of reject"
        "-ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: more than 64 KiB" ""
        look |machine, [text, reject, ..]| text::span(machine, text, reject, false);
    0 bpf_strstr "int (const char *s1, const char *s2)" "returns where s2 is first in s1"
        "-ENOENT: nowhere; -ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: \
         more than 64 KiB"
        "" look |machine, [text, part, ..]| text::strnstr(machine, [text, part, MAX_TEXT, 0, 0]);
    0 bpf_strnstr "int (const char *s1, const char *s2, size_t len)"
        "returns where s2 is first in len bytes of s1"
        "-ENOENT: nowhere; -ERANGE: an address below 4 GiB; -EFAULT: it cannot be read; -E2BIG: \
         more than 64 KiB"
        "" look text::strnstr;
    0 bpf_rcu_read_lock "void (void)" "begins a section, which the program must end" ""
        "nothing runs beside a parser: only counted" call |machine, _| machine.lock(Lock::Rcu);
    0 bpf_rcu_read_unlock "void (void)" "ends a section" ""
        "nothing runs beside a parser: only counted" call |machine, _| machine.unlock(Lock::Rcu);
    0 bpf_preempt_disable "void (void)" "begins a section, which the program must end" ""
        "nothing runs beside a parser: only counted" call |machine, _| machine.lock(Lock::Preempt);
    0 bpf_preempt_enable "void (void)" "ends a section" ""
        "nothing runs beside a parser: only counted" call
        |machine, _| machine.unlock(Lock::Preempt);
};
