// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Every type of map that is offered, and kfuncs that every host has. */
#include "bpf.h"

#define MAP(name, kind) \
	struct { __uint(type, kind); __uint(max_entries, 4); __type(key, u32); __type(value, u64); } name SEC(".maps")
#define QUEUE(name, kind) \
	struct { __uint(type, kind); __uint(max_entries, 4); __type(value, u64); } name SEC(".maps")

MAP(hash, 1);
MAP(array, 2);
MAP(percpu_hash, 5);
MAP(percpu_array, 6);
MAP(lru_hash, 9);
MAP(lru_percpu_hash, 10);
QUEUE(queue, 22);
QUEUE(stack, 23);
struct { __uint(type, 27); __uint(max_entries, 4096); } ring SEC(".maps");

static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_map_push_elem)(void *map, const void *value, u64 flags) = (void *)87;
static long (*bpf_map_pop_elem)(void *map, void *value) = (void *)88;
static long (*bpf_map_peek_elem)(void *map, void *value) = (void *)89;

extern int bpf_strlen(const char *s) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

static const char text[] = "seven 7";

SEC("fentry.s/bpf_handle_pefile") int program(u64 *args)
{
	u32 key = 1;
	u64 value = 1, sum = 0, *found;
	void *maps[] = { &hash, &array, &percpu_hash, &percpu_array, &lru_hash, &lru_percpu_hash };

	bpf_rcu_read_lock();
	for (int i = 0; i < 6; i++) {
		bpf_map_update_elem(maps[i], &key, &value, 0);
		found = bpf_map_lookup_elem(maps[i], &key);
		if (found)
			sum += *found;
		value *= 10;
	}
	bpf_rcu_read_unlock();
	bpf_map_push_elem(&queue, &value, 0);
	bpf_map_push_elem(&stack, &value, 0);
	if (!bpf_map_pop_elem(&queue, &value))
		sum += value;
	if (!bpf_map_peek_elem(&stack, &value))
		sum += 2 * value;
	return sum + bpf_strlen(text);
}
