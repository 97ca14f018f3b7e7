#!/bin/sh
# Builds the objects beside this file; see README.md. Usage:
#   build.sh            the committed ones, in place
#   build.sh FOLDER     all compilers and instruction sets, into FOLDER
set -eu
cd "$(dirname "$0")"
out=${1:-.}
mkdir -p "$out"

# build VERSION CPU SOURCE OUTPUT [FLAGS]
build() {
	compiler=$1 cpu=$2 source=$3 output=$out/$4
	shift 4
	"clang-$compiler" --target=bpf -mcpu="$cpu" -O2 -g -Wall -Wno-unused \
		-ffile-prefix-map="$PWD"=. -fdebug-compilation-dir=. "$@" -c "$source" -o "$output"
	llvm-strip-19 -g "$output"
}

for compiler in 14 16 19; do
	for cpu in v1 v2 v3 v4; do
		[ $compiler != 19 ] && [ $cpu = v4 ] && continue
		build $compiler $cpu parser.bpf.c parser-$compiler-$cpu.bpf.o
		case "$# $compiler-$cpu" in
		"1 "* | *14-v1 | *16-v2 | *19-v4)
			build $compiler $cpu core.bpf.c core-$compiler-$cpu.bpf.o
			;;
		esac
	done
done
build 19 v3 host.bpf.c host.bpf.o
build 19 v3 maps.bpf.c maps.bpf.o
for case in $(sed -n 's/^#ifdef CASE_//p' refused.bpf.c); do
	build 19 v3 refused.bpf.c "refused-$case.bpf.o" -DCASE_"$case"
done
