/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor under a store that is safe before it answers: appends BYTES to a file and waits for
 * fdatasync(), COUNT times, and says how long each took. Nothing is indexed, nothing can be found
 * again; no store that flushes as often can be faster on the same disk.
 *
 *     skein_append_floor FILE BYTES COUNT
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double NS_IN_S = 1e9;

enum { NS_IN_US = 1000, PER_CENT = 100, BYTES_MAX = 1 << 28, COUNT_MAX = 10 * 1000 * 1000 };

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * (uint64_t)NS_IN_S + (uint64_t)now.tv_nsec;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "append_floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void append(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR)
            die("write");
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    long len = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    long count = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    if (len < 1 || len > BYTES_MAX || count < 1 || count > COUNT_MAX) {
        fputs("usage: skein_append_floor FILE BYTES COUNT\n", stderr);
        return 2;
    }
    int fd = open(argv[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char *data = malloc((size_t)len);
    uint64_t *took = calloc((size_t)count, sizeof(*took));
    if (fd < 0 || data == NULL || took == NULL)
        die(argv[1]);
    memset(data, 'x', (size_t)len);
    uint64_t start = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t last = start;
    for (long i = 0; i < count; i++) {
        append(fd, data, (size_t)len);
        if (fdatasync(fd) != 0)
            die("fdatasync");
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        took[i] = now - last;
        last = now;
    }
    cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(took, (size_t)count, sizeof(*took), by_size);
    size_t middle = (size_t)count / 2, late = (size_t)count * 99 / PER_CENT;
    printf("{\"batches_per_s\": %.1f, \"batch_p50_us\": %.1f, \"batch_p99_us\": %.1f, "
           "\"cpu_us_each\": %.1f}\n",
           (double)count * NS_IN_S / (double)(last - start), (double)took[middle] / NS_IN_US,
           (double)took[late] / NS_IN_US, (double)cpu / NS_IN_US / (double)count);
    free(took);
    free(data);
    return close(fd) == 0 ? 0 : 1;
}
