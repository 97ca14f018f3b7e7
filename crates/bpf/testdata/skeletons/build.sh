#!/bin/sh
# Builds the skeletons beside this file; see README.md. Usage:
#   build.sh LIBBPF            the committed ones, in place
# LIBBPF is where `make install DESTDIR=` put the newest libbpf.
set -eu
libbpf=$1
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
gcc -O2 -I"$libbpf/usr/include" gen.c "$libbpf"/usr/lib*/libbpf.a -lelf -lz -o "$work/gen"

# compile C OUTPUT COMPILER...: compiles the arrays as the kernel series does
compile() {
	source=$1 output=$2
	shift 2
	"$@" -c "$source" -o "$output"
}

# old OBJECT OUTPUT COMPILER...: by Debian's bpftool, which prints the arrays inline
old() {
	object=$1 output=$2
	shift 2
	bpftool gen skeleton -L "$object" >"$work/skeleton.h"
	python3 - "$work/skeleton.h" >"$work/skeleton.c" <<'END'
import re, sys
header = open(sys.argv[1]).read()
for name, field in (("opts_data", "data"), ("opts_insn", "insns")):
    text = re.search(r'opts\.%s = \(void \*\)("(?:[^"\\]|\\.|\\\n)*");' % field, header).group(1)
    print("const char %s[] __attribute__((__aligned__(8))) = %s;" % (name, text))
END
	compile "$work/skeleton.c" "$output" "$@"
}

# new OBJECT OUTPUT MODE COMPILER...: by the newest libbpf
new() {
	object=$1 output=$2 mode=$3
	shift 3
	"$work/gen" "$object" "$mode" >"$work/skeleton.c" 2>/dev/null
	compile "$work/skeleton.c" "$output" "$@"
}

objects=../objects
old $objects/parser-14-v1.bpf.o parser-14-v1.o gcc
old $objects/parser-16-v2.bpf.o parser-16-v2.o clang-19 --target=aarch64-linux-gnu
old $objects/parser-19-v4.bpf.o parser-19-v4.o aarch64-linux-gnu-gcc
new $objects/parser-19-v3.bpf.o parser-19-v3.o plain aarch64-linux-gnu-gcc
new $objects/parser-14-v2.bpf.o parser-14-v2.o hash clang-19 --target=x86_64-linux-gnu
old $objects/core-14-v1.bpf.o core-14-v1.o gcc
new $objects/core-19-v4.bpf.o core-19-v4.o hash clang-19 --target=aarch64-linux-gnu
new ../../../unfold/parsers/zboot.bpf.o zboot.o hash gcc
new ../../../unfold/parsers/uki.match.bpf.o uki.match.o plain aarch64-linux-gnu-gcc
# Of what is refused, each kind.
old $objects/refused-hook.bpf.o refused-hook.o gcc
for case in kfunc kfunc_args variable kprobe; do
	new $objects/refused-$case.bpf.o refused-$case.o plain gcc
done
