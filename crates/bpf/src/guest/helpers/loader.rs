//! The helpers of a light skeleton's loader program: what asks the kernel asks
//! the program's host, by the helper's number.

use super::{format, probe};
use crate::guest::helper::{Answer, Helper, functions};
use crate::guest::machine::Machine;

/// The number of `bpf_sys_bpf`.
pub(crate) const SYS_BPF: u32 = 166;
/// The number of `bpf_btf_find_by_name_kind`.
pub(crate) const BTF_FIND_BY_NAME_KIND: u32 = 167;
/// The number of `bpf_sys_close`.
pub(crate) const SYS_CLOSE: u32 = 168;
/// The number of `bpf_kallsyms_lookup_name`.
pub(crate) const KALLSYMS_LOOKUP_NAME: u32 = 179;

/// All helpers that loader programs may call, ascending by number.
pub(crate) const LOADER_HELPERS: &[Helper] = &functions! {
    6 bpf_trace_printk "long (const char *fmt, u32 fmt_size, ...)" "prints a line" "" "" text
        format::trace_printk;
    113 bpf_probe_read_kernel "long (void *dst, u32 size, const void *src)"
        "copies size bytes from any address to dst" "-EFAULT: src cannot be read" "" copy
        probe::read;
    148 bpf_copy_from_user "long (void *dst, u32 size, const void *src)"
        "copies size bytes of user space to dst" "-EFAULT: always" "" copy probe::read_user;
    166 bpf_sys_bpf "long (u32 cmd, void *attr, u32 attr_size)"
        "makes maps and programs of a parser" "" "" call ask::<SYS_BPF>;
    167 bpf_btf_find_by_name_kind "long (char *name, int name_sz, u32 kind, int flags)"
        "finds hooks and kfuncs" "-ENOENT: there is none" "" call ask::<BTF_FIND_BY_NAME_KIND>;
    168 bpf_sys_close "long (u32 fd)" "closes a map or program" "" "" call ask::<SYS_CLOSE>;
    179 bpf_kallsyms_lookup_name "long (const char *name, int name_sz, int flags, u64 *res)"
        "finds a kernel symbol" "-ENOENT: always" "" call ask::<KALLSYMS_LOOKUP_NAME>;
};

fn ask<const HELPER: u32>(machine: &mut Machine<'_>, args: [u64; 5]) -> Answer {
    machine.ask_host(HELPER, args)
}
