// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Runs a program and prints what it cost, and its exit status behind that.
 * `cost time PROGRAM ...`: its time. `cost memory PROGRAM ...`: the most memory
 * that each of its processes held, added up, and by how much the machine's
 * available memory fell meanwhile. Looking for memory takes time, so each has
 * a run of its own.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 4096

/* The number behind `key` in a file of /proc, in KiB. */
static long value(const char *path, const char *key)
{
	char line[256];
	long found = 0;
	FILE *file = fopen(path, "r");

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			found = atol(line + strlen(key));
	fclose(file);
	return found;
}

/* The program's processes are those of its session. */
static void look(long first, long *held)
{
	char path[64];
	struct dirent *entry;
	DIR *proc = opendir("/proc");

	while (proc && (entry = readdir(proc))) {
		long pid = atol(entry->d_name);
		long now;

		if (pid < first || pid - first >= MOST || getsid(pid) != first)
			continue;
		snprintf(path, sizeof(path), "/proc/%ld/status", pid);
		now = value(path, "VmHWM:");
		if (now > held[pid - first])
			held[pid - first] = now;
	}
	if (proc)
		closedir(proc);
}

int main(int argc, char **argv)
{
	static long held[MOST];
	long before, least, sum = 0;
	struct timespec start, end;
	int status = 0, memory;
	pid_t child;

	if (argc < 3)
		return 2;
	memory = !strcmp(argv[1], "memory");
	before = least = value("/proc/meminfo", "MemAvailable:");
	clock_gettime(CLOCK_MONOTONIC, &start);
	child = fork();
	if (!child) {
		setsid();
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	while (!waitpid(child, &status, memory ? WNOHANG : 0)) {
		long now = value("/proc/meminfo", "MemAvailable:");

		if (now < least)
			least = now;
		look(child, held);
		usleep(1000);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	for (int at = 0; at < MOST; at++)
		sum += held[at];
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	if (memory)
		printf("%ld %ld %d\n", sum, before - least, status);
	else
		printf("%ld %d\n", (end.tv_sec - start.tv_sec) * 1000 +
		       (end.tv_nsec - start.tv_nsec) / 1000000, status);
	return 0;
}
