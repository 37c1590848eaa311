/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was written to one file and not yet synced: extents over the file on disk. Everything a
 * reader sees is here or on disk; a power cut leaves what is on disk, and perhaps pieces of the
 * rest.
 */
#ifndef POWER_LOSS_FS_DIRTY_H
#define POWER_LOSS_FS_DIRTY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { DIRTY_SECTOR = 512 };

struct extent {
    uint64_t at;
    size_t length, room;
    uint8_t *bytes;
};

struct dirty {
    struct extent *extents; /* in order, apart from each other */
    size_t count, room;
    uint64_t size;      /* of the file, as readers see it */
    uint64_t disk_size; /* of the file on disk */
    uint64_t disk_seen; /* bytes of it that readers still see: less after a truncation */
};

/* The file on disk has this size and nothing is written over it. */
void dirty_init(struct dirty *dirty, uint64_t disk_size);
void dirty_deinit(struct dirty *dirty);

void dirty_write(struct dirty *dirty, const void *bytes, size_t length, uint64_t at);
void dirty_truncate(struct dirty *dirty, uint64_t size);

/* Bytes read, or a negative error. `fd` is the file on disk, here and below. */
ssize_t dirty_read(const struct dirty *dirty, int fd, void *bytes, size_t length, uint64_t at);

/* Sync: puts everything on disk. 0, or a negative error. */
int dirty_flush(struct dirty *dirty, int fd);

/* A power cut in the middle of writing: some of it reaches the disk, drawn from *random. */
void dirty_tear(const struct dirty *dirty, int fd, uint64_t *random);

/* The next number of a sequence that its seed decides. */
uint64_t draw(uint64_t *random);

#endif
