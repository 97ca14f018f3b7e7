// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Prints the light skeleton of an object as the two C arrays that the kernel
 * series compiles into `.bpf`: gen OBJECT [hash]. With `hash`, the loader
 * program checks its data, as in signed skeletons. */
#include <stdio.h>
#include <string.h>
#include <bpf/libbpf.h>

static void array(const char *name, const char *bytes, unsigned int len)
{
	printf("const char %s[] __attribute__((__aligned__(8))) = \"", name);
	for (unsigned int i = 0; i < len; i++)
		printf("%s\\%03o", i % 16 ? "" : "\\\n", (unsigned char)bytes[i]);
	printf("\";\n");
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(gen_loader_opts, opts, .gen_hash = argc > 2 && !strcmp(argv[2], "hash"));
	struct bpf_object *object = bpf_object__open_file(argv[1], NULL);

	if (!object || bpf_object__gen_loader(object, &opts) || bpf_object__load(object))
		return 1;
	array("opts_data", opts.data, opts.data_sz);
	array("opts_insn", opts.insns, opts.insns_sz);
	return 0;
}
