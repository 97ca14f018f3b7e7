#!/bin/sh
# Writes beside each core-*.bpf.o of a folder what libbpf makes of it: lines of
# program, instruction, value, and size if that changes. Usage: libbpf.sh [FOLDER]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here}
tool=$(mktemp)
trap 'rm -f "$tool"' EXIT
cc -o "$tool" "$here/libbpf.c" -lbpf
for object in "$folder"/core-*.bpf.o; do
	"$tool" "$object" "$folder/host.bpf.o" | sed -nE \
		-e "s/^libbpf: prog '(.*)': .*patched insn #([0-9]+) .* (off|imm|imm64) .* -> (.*)/\1 \2 \3 \4/p" \
		-e "s/^libbpf: prog '(.*)': .*patched insn #([0-9]+) .* mem_sz .* -> (.*)/\1 \2 size \3/p" \
		-e "s/^libbpf: prog '(.*)': .*substituting insn #([0-9]+) .*/\1 \2 poison/p" \
		>"${object%.bpf.o}.libbpf.txt"
done
