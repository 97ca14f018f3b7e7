// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The types of a host, for core.bpf.c: only this object's .BTF is used. */
#include "bpf.h"

enum color { BLUE = 7, GREEN = 9, RED = 1 };
enum wide { NARROW = 1, WIDE = 0x200000001ULL };
enum signed_values { MINUS = -5, PLUS = 1 };

struct inner {
	long pad;
	int a;
	int b[8];
};

struct flags {
	u32 pad;
	u64 neg_pad : 3;
	s32 neg : 9;
	u32 mid : 9;
	u32 low : 6;
	u64 more;
	u64 big : 33;
};

struct thing {
	u64 number;
	struct inner nested;
	struct inner many[3];
	u64 first; /* was 32 bits */
	s64 sign; /* was 32 bits, and signed */
	void *pointer;
	struct {
		int before;
		union {
			char right;
			int left;
		};
	};
	int color_pad;
	enum color color;
	struct { int x; } kind;
	u64 narrow;
	u16 tail[];
};

typedef struct {
	int z;
	int x;
	int y;
} pair_t;

union either {
	char bytes[40];
};

struct matching {
	char more;
	struct thing *thing;
	int a;
};

struct unlike {
	long a;
};

typedef int (*callback_t)(int, void *);
typedef int number_t;

struct thing *thing;
struct flags *flags;
pair_t pair;
union either either;
struct matching matching;
struct unlike unlike;
callback_t callback;
number_t number;
enum wide wide = WIDE;
enum signed_values signed_values = MINUS;
