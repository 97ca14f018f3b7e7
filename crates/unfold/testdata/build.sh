#!/bin/sh
# Builds the objects of this folder from test.bpf.c with Debian's clang 19; the
# results are committed, so that tests need no compiler.
set -eu
cd "$(dirname "$0")/../../.."
dir=crates/unfold/testdata
build() {
	out=$dir/$1.bpf.o
	shift
	clang-19 -O2 -g -target bpfel -mcpu=v3 -Wall \
		-ffile-prefix-map="$PWD"=. -fdebug-compilation-dir=. \
		-I parsers/include "$@" -c $dir/test.bpf.c -o "$out"
	llvm-strip-19 -g "$out"
}
build test
build unknown_hook -DUNKNOWN_HOOK
build no_handler -DNO_HANDLER
build recurse -DRECURSE
