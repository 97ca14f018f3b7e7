// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Every kind of CO-RE relocation, against the types of host.bpf.c. Each line
 * that relocates begins a new statement, so that tests can go by lines. */
#include "bpf.h"

enum color { RED = 1, GREEN = 2, GONE = 3 };
enum wide___local { WIDE = 0x100000000ULL };
enum signed_values { MINUS = -1, PLUS = 1 };

struct inner {
	int a;
	int b[4];
} __core;

struct flags {
	u32 low : 3;
	u32 mid : 7;
	s32 neg : 5;
	u64 big : 40;
} __core;

struct thing {
	u32 first;
	u64 number;
	int sign;
	void *pointer;
	struct inner nested;
	struct inner many[3];
	union {
		int left;
		char right;
	};
	enum color color;
	char gone;
	u16 tail[];
} __core;

struct thing___other {
	u16 narrow;
	long kind; /* a struct in the host's */
} __core;

typedef struct {
	int x;
	int y;
} __core pair_t;

struct absent {
	int a;
} __core;

union either {
	int a;
	long b;
} __core;

struct matching {
	int a;
	struct thing *thing;
} __core;

struct unlike {
	unsigned long a;
} __core;

typedef int (*callback_t)(int, void *);
typedef int number_t;

#define field(f, kind) __builtin_preserve_field_info(f, kind)
#define type(t, kind) __builtin_preserve_type_info(*(typeof(t) *)0, kind)
#define value(t, v, kind) __builtin_preserve_enum_value(*(typeof(t) *)v, kind)

u64 out[64];

SEC("fentry.s/offsets")
int offsets(u64 *args)
{
	struct thing *t = (void *)args[0];
	pair_t *p = (void *)args[0];

	out[0] = t->number;
	out[1] = t->first;
	out[2] = t->nested.b[2];
	out[3] = t->many[1].a;
	out[4] = t->left;
	out[5] = t->right;
	out[6] = (u64)t->pointer;
	out[7] = t[2].first;
	out[8] = p->y;
	out[9] = t->tail[3];
	t->first = args[1];
	return 0;
}

SEC("fentry.s/sizes")
int sizes(u64 *args)
{
	struct thing *t = (void *)args[0];

	out[0] = field(t->number, BYTE_SIZE);
	out[1] = field(t->many, BYTE_SIZE);
	out[2] = field(t->sign, SIGNED);
	out[3] = field(t->first, SIGNED);
	out[4] = field(t->color, SIGNED);
	out[5] = field(t->number, LSHIFT_U64);
	out[6] = field(t->number, RSHIFT_U64);
	out[7] = field(t->nested.b[1], BYTE_SIZE);
	return 0;
}

SEC("fentry.s/existence")
int existence(u64 *args)
{
	struct thing *t = (void *)args[0];
	struct thing___other *o = (void *)args[0];
	struct absent *a = (void *)args[0];

	out[0] = field(t->number, FIELD_EXISTS);
	out[1] = field(t->gone, FIELD_EXISTS);
	out[2] = field(o->narrow, FIELD_EXISTS);
	out[3] = field(o->kind, FIELD_EXISTS);
	out[4] = field(a->a, FIELD_EXISTS);
	out[5] = field(t->many[2], FIELD_EXISTS);
	return 0;
}

SEC("fentry.s/bitfields")
int bitfields(u64 *args)
{
	struct flags *f = (void *)args[0];

	out[0] = field(f->low, BYTE_OFFSET);
	out[1] = field(f->low, BYTE_SIZE);
	out[2] = field(f->low, LSHIFT_U64);
	out[3] = field(f->low, RSHIFT_U64);
	out[4] = field(f->mid, LSHIFT_U64);
	out[5] = field(f->neg, SIGNED);
	out[6] = field(f->neg, LSHIFT_U64);
	out[7] = field(f->big, BYTE_OFFSET);
	out[8] = field(f->big, LSHIFT_U64);
	out[9] = field(f->big, RSHIFT_U64);
	return 0;
}

SEC("fentry.s/types")
int types(u64 *args)
{
	out[0] = type(struct thing, TYPE_EXISTS);
	out[1] = type(struct absent, TYPE_EXISTS);
	out[2] = type(struct thing, TYPE_SIZE);
	out[3] = type(union either, TYPE_SIZE);
	out[4] = type(struct absent, TYPE_SIZE);
	out[5] = type(number_t, TYPE_EXISTS);
	out[6] = type(callback_t, TYPE_EXISTS);
	out[7] = type(enum color, TYPE_EXISTS);
	out[8] = __builtin_btf_type_id(*(struct thing *)0, 1) != 0;
	out[9] = __builtin_btf_type_id(*(struct absent *)0, 1);
	return 0;
}

#if __clang_major__ >= 15
SEC("fentry.s/matches")
int matches(u64 *args)
{
	out[0] = type(struct matching, TYPE_MATCHES);
	out[1] = type(struct unlike, TYPE_MATCHES);
	out[2] = type(enum color, TYPE_MATCHES);
	out[3] = type(callback_t, TYPE_MATCHES);
	out[4] = type(struct absent, TYPE_MATCHES);
	return 0;
}
#endif

SEC("fentry.s/enums")
int enums(u64 *args)
{
	out[0] = value(enum color, GREEN, ENUMVAL_EXISTS);
	out[1] = value(enum color, GREEN, ENUMVAL_VALUE);
	out[2] = value(enum color, GONE, ENUMVAL_EXISTS);
	out[3] = value(enum signed_values, MINUS, ENUMVAL_VALUE);
#if __clang_major__ >= 15
	out[4] = value(enum wide___local, WIDE, ENUMVAL_VALUE);
#endif
	return 0;
}

/* A question that the host cannot answer traps when it is reached, not before. */
SEC("fentry.s/poisoned")
int poisoned(u64 *args)
{
	struct thing *t = (void *)args[0];
	struct thing___other *o = (void *)args[0];
	struct absent *a = (void *)args[0];

	if (args[1] == 0)
		out[0] = t->gone;
	if (args[1] == 1)
		out[1] = a->a;
	if (args[1] == 2)
		out[2] = value(enum color, GONE, ENUMVAL_VALUE);
	if (args[1] == 3)
		out[3] = o->narrow;
	if (args[1] == 4)
		out[4] = t->sign;
	if (args[1] == 5)
		out[5] = field(t->gone, BYTE_SIZE);
	return 0;
}
