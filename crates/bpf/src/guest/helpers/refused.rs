//! Functions that Linux offers to such programs and this loader does not, and why: so
//! that a message can distinguish "not here" from "nowhere".

use crate::helper_names::linux_name;

/// A function of Linux that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Its number in Linux; 0 for kfuncs, which go by name.
    pub number: i32,
    /// Its name, with `bpf_`.
    pub name: &'static str,
    /// Why it is refused: a clause, as in `... is not offered: REASON`.
    pub reason: &'static str,
}

macro_rules! refused {
    ($($reason:literal: $($number:literal $name:ident)* $(; kfuncs: $($kfunc:ident)*)?;)*) => {
        [$(
            $(Refused { number: $number, name: stringify!($name), reason: $reason },)*
            $($(Refused { number: 0, name: stringify!($kfunc), reason: $reason },)*)?
        )*]
    };
}

/// The helpers and kfuncs of Linux 6.17 that a tracing program may call there,
/// but not here, by reason.
pub const REFUSED: &[Refused] = &refused! {
    "a parser belongs to no process, and its result must not depend on who runs it":
        14 bpf_get_current_pid_tgid 15 bpf_get_current_uid_gid 16 bpf_get_current_comm
        35 bpf_get_current_task 37 bpf_current_task_under_cgroup 80 bpf_get_current_cgroup_id
        120 bpf_get_ns_current_pid_tgid 123 bpf_get_current_ancestor_cgroup_id
        158 bpf_get_current_task_btf 175 bpf_task_pt_regs 180 bpf_find_vma
        191 bpf_copy_from_user_task;
        kfuncs: bpf_task_acquire bpf_task_release bpf_task_from_pid bpf_task_from_vpid
        bpf_task_get_cgroup1 bpf_task_under_cgroup bpf_cgroup_acquire bpf_cgroup_release
        bpf_cgroup_ancestor bpf_cgroup_from_id bpf_get_task_exe_file bpf_iter_task_new
        bpf_iter_task_next bpf_iter_task_destroy bpf_iter_task_vma_new bpf_iter_task_vma_next
        bpf_iter_task_vma_destroy bpf_iter_css_new bpf_iter_css_next bpf_iter_css_destroy
        bpf_iter_css_task_new bpf_iter_css_task_next bpf_iter_css_task_destroy;
    "a parser changes nothing outside of itself":
        36 bpf_probe_write_user 58 bpf_override_return 109 bpf_send_signal
        117 bpf_send_signal_thread;
        kfuncs: bpf_send_signal_task bpf_set_dentry_xattr bpf_remove_dentry_xattr;
    "a parser sees no files or objects of the kernel":
        46 bpf_get_socket_cookie 147 bpf_d_path 149 bpf_snprintf_btf 153 bpf_per_cpu_ptr
        154 bpf_this_cpu_ptr 136 bpf_skc_to_tcp6_sock 137 bpf_skc_to_tcp_sock
        138 bpf_skc_to_tcp_timewait_sock 139 bpf_skc_to_tcp_request_sock
        140 bpf_skc_to_udp6_sock 178 bpf_skc_to_unix_sock 196 bpf_skc_to_mptcp_sock
        162 bpf_sock_from_file;
        kfuncs: bpf_path_d_path bpf_put_file bpf_get_file_xattr bpf_get_dentry_xattr
        bpf_get_fsverity_digest bpf_cgroup_read_xattr bpf_get_kmem_cache bpf_iter_kmem_cache_new
        bpf_iter_kmem_cache_next bpf_iter_kmem_cache_destroy bpf_cast_to_kern_ctx;
    "nobody listens: print with bpf_printk instead":
        25 bpf_perf_event_output 111 bpf_skb_output 121 bpf_xdp_output;
        kfuncs: bpf_stream_vprintk;
    "user space sends a parser nothing but the image":
        209 bpf_user_ringbuf_drain;
        kfuncs: bpf_copy_from_user_str bpf_copy_from_user_task_str bpf_copy_from_user_dynptr
        bpf_copy_from_user_str_dynptr bpf_copy_from_user_task_dynptr
        bpf_copy_from_user_task_str_dynptr bpf_probe_read_user_dynptr
        bpf_probe_read_user_str_dynptr;
    "the machine's counters and stacks are not for parsers":
        22 bpf_perf_event_read 27 bpf_get_stackid 55 bpf_perf_event_read_value 67 bpf_get_stack
        119 bpf_read_branch_records 141 bpf_get_task_stack 173 bpf_get_func_ip
        176 bpf_get_branch_snapshot;
    "a parser is attached without a cookie":
        174 bpf_get_attach_cookie;
    "there are no maps of programs; call a function instead":
        12 bpf_tail_call;
    "nothing runs beside a parser, so that there is nothing to lock":
        93 bpf_spin_lock 94 bpf_spin_unlock;
        kfuncs: bpf_res_spin_lock bpf_res_spin_unlock bpf_res_spin_lock_irqsave
        bpf_res_spin_unlock_irqrestore bpf_local_irq_save bpf_local_irq_restore;
    "nothing of a parser runs when its stage is over":
        169 bpf_timer_init 170 bpf_timer_set_callback 171 bpf_timer_start 172 bpf_timer_cancel;
        kfuncs: bpf_wq_init bpf_wq_start bpf_wq_set_callback_impl;
    "there is no storage that belongs to kernel objects; use a hash map":
        107 bpf_sk_storage_get 108 bpf_sk_storage_delete 145 bpf_inode_storage_get
        146 bpf_inode_storage_delete 156 bpf_task_storage_get 157 bpf_task_storage_delete
        210 bpf_cgrp_storage_get 211 bpf_cgrp_storage_delete;
    "parsers have no heap, and thus no lists and trees on it; use maps":
        194 bpf_kptr_xchg;
        kfuncs: bpf_obj_new_impl bpf_obj_drop_impl bpf_percpu_obj_new_impl
        bpf_percpu_obj_drop_impl bpf_refcount_acquire_impl bpf_list_push_front_impl
        bpf_list_push_back_impl bpf_list_pop_front bpf_list_pop_back bpf_list_front
        bpf_list_back bpf_rbtree_add_impl bpf_rbtree_remove bpf_rbtree_first bpf_rbtree_root
        bpf_rbtree_left bpf_rbtree_right bpf_arena_alloc_pages bpf_arena_free_pages;
    "return an error to the caller instead":
        ; kfuncs: bpf_throw;
    "loop over the bits with bpf_iter_num or bpf_loop instead":
        ; kfuncs: bpf_iter_bits_new bpf_iter_bits_next bpf_iter_bits_destroy;
    "copy with bpf_probe_read_kernel and bpf_dynptr_write instead":
        ; kfuncs: bpf_probe_read_kernel_dynptr bpf_probe_read_kernel_str_dynptr;
    "it is for loader programs of skeletons":
        166 bpf_sys_bpf 167 bpf_btf_find_by_name_kind 168 bpf_sys_close
        179 bpf_kallsyms_lookup_name;
};

/// Returns why helper `number` is refused.
pub(crate) fn why_not(number: i32) -> &'static str {
    let known = REFUSED.iter().find(|one| one.number == number);
    match known.filter(|_| number != 0) {
        Some(refused) => refused.reason,
        None if number > 0 && linux_name(number).is_some() => {
            "Linux does not offer it to such programs either"
        }
        None => "Linux has no helper of this number",
    }
}

/// Returns why kfunc `name` is refused, if it is one of Linux's.
pub(crate) fn why_no_kfunc(name: &str) -> Option<&'static str> {
    let mut kfuncs = REFUSED.iter().filter(|one| one.number == 0);
    kfuncs.find(|one| one.name == name).map(|one| one.reason)
}
