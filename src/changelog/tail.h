/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last records of a log that were read or appended here, as they are in it: if the engine loses
 * them they are appended again (replay.c). Without a gap; the oldest go when there are more than
 * TAIL_RECORDS, or they have more than TAIL_BYTES.
 */
#ifndef CHANGELOG_TAIL_H
#define CHANGELOG_TAIL_H

#include "changelog/record.h"

enum { TAIL_RECORDS = 512, TAIL_BYTES = 1 << 20 };

struct tail_record {
    struct changelog_hash behind; /* the chain's, behind it */
    size_t len;
    uint8_t bytes[];
};

/* Zeroed: empty. One of sequence s is in slot s % TAIL_RECORDS. */
struct tail {
    struct tail_record *records[TAIL_RECORDS];
    uint64_t last; /* sequence of the youngest; when count > 0 */
    uint32_t count;
    size_t bytes;
};

/* Copies. One that is not the next, or is too large, or that there is no memory for, leaves only
 * what comes behind it. */
void tail_add(struct tail *tail, uint64_t sequence, struct bytes head, struct bytes body,
              const struct changelog_hash *behind);

/* Borrows until the next call that changes it; data NULL: it is not kept. */
struct bytes tail_at(const struct tail *tail, uint64_t sequence);

/* Keeps what leads up to that sequence, when it ends with this hash there, and else nothing. */
void tail_cut(struct tail *tail, uint64_t sequence, const struct changelog_hash *behind);

void tail_clear(struct tail *tail);

#endif
