#!/bin/sh
# Builds the objects of this folder with Debian's clang 19; the results are
# committed, so that tests need no compiler.
set -eu
cd "$(dirname "$0")/../../.."
dir=crates/unfold/testdata
build() {
	out=$dir/$1.bpf.o source=$dir/$2.bpf.c
	shift 2
	clang-19 -O2 -g -target bpfel -mcpu=v3 -Wall \
		-ffile-prefix-map="$PWD"=. -fdebug-compilation-dir=. \
		-I parsers/include "$@" -c "$source" -o "$out"
	llvm-strip-19 -g "$out"
}
build test test
build unknown_hook test -DUNKNOWN_HOOK
build no_handler test -DNO_HANDLER
build recurse test -DRECURSE
build hooks hooks
build faults faults
build commands.v6 commands -DUKEXEC_ABI=6 -DWITH_MATCH
build commands.v7 commands -DUKEXEC_ABI=7 -DWITH_MATCH
build commands.first commands -DUKEXEC_ABI=7
build commands.second commands -DUKEXEC_ABI=7 -DPART=1
build commands.match commands -DUKEXEC_ABI=7 -DWITH_MATCH -DMATCH_HANDS_OVER
build commands.mixed commands -DUKEXEC_ABI=6 -DMIXED
