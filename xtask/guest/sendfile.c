// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The least that loading an image can be: one sendfile(2) of the file into a
 * file in memory. Nothing is sealed, and nothing is read.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
	int from = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	int to = memfd_create("image", MFD_CLOEXEC);
	struct stat file;

	if (from < 0 || to < 0 || fstat(from, &file))
		return 1;
	return sendfile(to, from, 0, file.st_size) != file.st_size;
}
