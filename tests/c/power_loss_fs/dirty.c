/* SPDX-License-Identifier: Apache-2.0 */
#include "dirty.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static uint64_t end_of(const struct extent *extent)
{
    return extent->at + extent->length;
}

uint64_t draw(uint64_t *random)
{
    uint64_t z = (*random += 0x9E3779B97F4A7C15U); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

void dirty_init(struct dirty *dirty, uint64_t disk_size)
{
    *dirty = (struct dirty){.size = disk_size, .disk_size = disk_size, .disk_seen = disk_size};
}

void dirty_deinit(struct dirty *dirty)
{
    for (size_t i = 0; i < dirty->count; i++)
        free(dirty->extents[i].bytes);
    free(dirty->extents);
    dirty->extents = NULL;
    dirty->count = dirty->room = 0;
}

static void extent_reserve(struct extent *extent, size_t length)
{
    if (length > extent->room) {
        extent->room = length > 2 * extent->room ? length : 2 * extent->room;
        extent->bytes = must(realloc(extent->bytes, extent->room));
    }
}

/* The first extent that ends at `at` or behind it. */
static size_t find(const struct dirty *dirty, uint64_t at)
{
    size_t low = 0, high = dirty->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (end_of(&dirty->extents[middle]) < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void insert(struct dirty *dirty, size_t place, struct extent extent)
{
    if (dirty->count == dirty->room) {
        dirty->room = dirty->room ? 2 * dirty->room : 8;
        dirty->extents = must(realloc(dirty->extents, dirty->room * sizeof(struct extent)));
    }
    memmove(&dirty->extents[place + 1], &dirty->extents[place],
            (dirty->count - place) * sizeof(struct extent));
    dirty->extents[place] = extent;
    dirty->count++;
}

/* Makes of the extents [first, last) that touch the range one extent that covers it all. */
static struct extent *merge(struct dirty *dirty, size_t first, size_t last, uint64_t end)
{
    struct extent *into = &dirty->extents[first];
    uint64_t far = end_of(&dirty->extents[last - 1]);
    extent_reserve(into, (far > end ? far : end) - into->at);
    for (size_t i = first + 1; i < last; i++) {
        struct extent *from = &dirty->extents[i];
        memcpy(into->bytes + (from->at - into->at), from->bytes, from->length);
        free(from->bytes);
    }
    into->length = (far > end ? far : end) - into->at;
    memmove(into + 1, &dirty->extents[last], (dirty->count - last) * sizeof(struct extent));
    dirty->count -= last - first - 1;
    return into;
}

void dirty_write(struct dirty *dirty, const void *bytes, size_t length, uint64_t at)
{
    uint64_t end = at + length;
    size_t first = find(dirty, at), last = first;
    while (last < dirty->count && dirty->extents[last].at <= end)
        last++;
    if (first == last || dirty->extents[first].at > at) {
        struct extent start = {.at = at};
        insert(dirty, first, start);
        last++;
    }
    struct extent *extent = merge(dirty, first, last, end);
    memcpy(extent->bytes + (at - extent->at), bytes, length);
    if (end > dirty->size)
        dirty->size = end;
}

void dirty_truncate(struct dirty *dirty, uint64_t size)
{
    while (dirty->count > 0 && dirty->extents[dirty->count - 1].at >= size)
        free(dirty->extents[--dirty->count].bytes);
    if (dirty->count > 0 && end_of(&dirty->extents[dirty->count - 1]) > size) {
        struct extent *last = &dirty->extents[dirty->count - 1];
        last->length = size - last->at;
    }
    if (size < dirty->disk_seen)
        dirty->disk_seen = size;
    dirty->size = size;
}

/* From the disk, with zeros behind what can still be seen of it. */
static int read_disk(const struct dirty *dirty, int fd, uint8_t *bytes, size_t length, uint64_t at)
{
    memset(bytes, 0, length);
    size_t wanted = 0;
    if (at < dirty->disk_seen)
        wanted = dirty->disk_seen - at < length ? dirty->disk_seen - at : length;
    for (size_t got = 0; got < wanted;) {
        ssize_t n = pread(fd, bytes + got, wanted - got, (off_t)(at + got));
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return 0;
}

ssize_t dirty_read(const struct dirty *dirty, int fd, void *bytes, size_t length, uint64_t at)
{
    if (at >= dirty->size)
        return 0;
    if (length > dirty->size - at)
        length = dirty->size - at;
    int error = read_disk(dirty, fd, bytes, length, at);
    if (error)
        return error;
    uint64_t end = at + length;
    for (size_t i = find(dirty, at); i < dirty->count && dirty->extents[i].at < end; i++) {
        const struct extent *extent = &dirty->extents[i];
        uint64_t from = extent->at > at ? extent->at : at;
        uint64_t to = end_of(extent) < end ? end_of(extent) : end;
        if (from < to)
            memcpy((uint8_t *)bytes + (from - at), extent->bytes + (from - extent->at), to - from);
    }
    return (ssize_t)length;
}

static int write_all(int fd, const uint8_t *bytes, size_t length, uint64_t at)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = pwrite(fd, bytes + done, length - done, (off_t)(at + done));
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

int dirty_flush(struct dirty *dirty, int fd)
{
    if (dirty->disk_seen < dirty->disk_size && ftruncate(fd, (off_t)dirty->disk_seen))
        return -errno;
    for (size_t i = 0; i < dirty->count; i++) {
        const struct extent *extent = &dirty->extents[i];
        int error = write_all(fd, extent->bytes, extent->length, extent->at);
        if (error)
            return error;
    }
    if (ftruncate(fd, (off_t)dirty->size))
        return -errno;
    uint64_t size = dirty->size;
    dirty_deinit(dirty);
    dirty_init(dirty, size);
    return 0;
}

/* Each sector for itself: old or new. What was not there before reads as zeros. */
static void tear_sectors(const struct extent *extent, int fd, uint64_t *random)
{
    for (uint64_t at = extent->at; at < end_of(extent);) {
        uint64_t next = (at / DIRTY_SECTOR + 1) * DIRTY_SECTOR;
        if (next > end_of(extent))
            next = end_of(extent);
        if (draw(random) & 1)
            (void)write_all(fd, extent->bytes + (at - extent->at), next - at, at);
        at = next;
    }
}

void dirty_tear(const struct dirty *dirty, int fd, uint64_t *random)
{
    enum { NOTHING, START, SECTORS, HOWS };
    uint64_t how = draw(random) % HOWS;
    if (how == NOTHING)
        return;
    if (dirty->disk_seen < dirty->disk_size) { /* nothing written later can be there without it */
        if ((draw(random) & 1) || ftruncate(fd, (off_t)dirty->disk_seen))
            return;
    }
    for (size_t i = 0; i < dirty->count; i++) {
        const struct extent *extent = &dirty->extents[i];
        if (how == SECTORS) {
            tear_sectors(extent, fd, random);
        } else {
            size_t length = draw(random) % (extent->length + 1);
            (void)write_all(fd, extent->bytes, length, extent->at);
            if (length < extent->length)
                return;
        }
    }
}
