// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One thing that is refused per object, chosen by -DCASE_... */
#include "bpf.h"

#define HOOK "fentry.s/bpf_handle_pefile"

#ifdef CASE_kprobe
SEC("kprobe/do_exit") int program(u64 *args) { return 0; }
#endif

#ifdef CASE_hook
SEC("fentry.s/bpf_foo") int program(u64 *args) { return 0; }
#endif

#ifdef CASE_static
SEC(HOOK) static int program(u64 *args) { return 0; }
#endif

#ifdef CASE_none
int function(u64 *args) { return 0; }
#endif

#ifdef CASE_kfunc
extern int bpf_missing(int a) __ksym;
SEC(HOOK) int program(u64 *args) { return bpf_missing(1); }
#endif

#ifdef CASE_kfunc_args
extern int bpf_copy_to_kernel(const char *name) __ksym;
SEC(HOOK) int program(u64 *args) { return bpf_copy_to_kernel("kexec:kernel"); }
#endif

#ifdef CASE_kconfig
extern int CONFIG_HZ __kconfig;
SEC(HOOK) int program(u64 *args) { return CONFIG_HZ; }
#endif

#ifdef CASE_variable
extern const int bpf_prog_active __ksym;
SEC(HOOK) int program(u64 *args) { return (long)&bpf_prog_active; }
#endif

#ifdef CASE_undefined
int elsewhere(int a);
SEC(HOOK) int program(u64 *args) { return elsewhere(1); }
#endif

#ifdef CASE_pointers
static const char *const names[] = { "linux", "initrd", "cmdline" };
SEC(HOOK) int program(u64 *args) { return bpf_trace_printk(names[args[1] & 1], 4); }
#endif

#ifdef CASE_map_type
struct { __uint(type, 11); __uint(max_entries, 1); __type(key, u32); __type(value, u32); } counts SEC(".maps");
SEC(HOOK) int program(u64 *args) { u32 key = 0; return !bpf_map_lookup_elem(&counts, &key); }
#endif

#ifdef CASE_map_key
struct { __uint(type, 2); __uint(max_entries, 1); __type(key, u64); __type(value, u32); } counts SEC(".maps");
SEC(HOOK) int program(u64 *args) { u64 key = 0; return !bpf_map_lookup_elem(&counts, &key); }
#endif

#ifdef CASE_map_static
static struct { __uint(type, 2); __uint(max_entries, 1); __type(key, u32); __type(value, u32); } counts SEC(".maps");
SEC(HOOK) int program(u64 *args) { u32 key = 0; return !bpf_map_lookup_elem(&counts, &key); }
#endif

#ifdef CASE_map_pinned
struct { __uint(type, 2); __uint(max_entries, 1); __type(key, u32); __type(value, u32); __uint(pinning, 1); } counts SEC(".maps");
SEC(HOOK) int program(u64 *args) { u32 key = 0; return !bpf_map_lookup_elem(&counts, &key); }
#endif

#ifdef CASE_map_legacy
struct { int type, key_size, value_size, max_entries; } counts SEC("maps") = { 2, 4, 4, 1 };
SEC(HOOK) int program(u64 *args) { u32 key = 0; return !bpf_map_lookup_elem(&counts, &key); }
#endif

#ifdef CASE_kfunc_linux
extern void *bpf_obj_new_impl(unsigned long type, void *meta) __ksym;
SEC(HOOK) int program(u64 *args) { return !bpf_obj_new_impl(1, 0); }
#endif
