/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copied into src/base/ by ./dev mutate. Maps the file named by SKEIN_MUTANT, shared with the test
 * run: 4 bytes with the number of the broken mutant, then one byte a mutant, set when it would
 * make a difference.
 */
#include "base/mutant.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SHARED_BYTES = 1 << 16 };

static volatile uint8_t *shared;

__attribute__((constructor)) static void map_shared(void)
{
    static uint8_t nothing[SHARED_BYTES];
    const char *path = getenv("SKEIN_MUTANT");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *map = MAP_FAILED;

    if (fd >= 0) {
        map = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    shared = map == MAP_FAILED ? nothing : map;
}

int mutant(int number)
{
    return *(volatile uint32_t *)shared == (uint32_t)number;
}

int mutant_saw(int number, int neutral, int value)
{
    if (value != neutral)
        shared[4 + number] = 1;
    return value;
}
