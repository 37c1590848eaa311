/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format of a record in a changelog: a header of fixed size, then its body. Pure; what is read
 * comes from other nodes and is checked. Integers are little-endian.
 *
 *     0 format   1 kind   2 part   4 parts   6 zero   8 group   12 zero
 *     16 epoch   24 batch   32 hash of all that is before it   48 body
 *
 * The hash is a chain: that of a record covers the record and the hash before it, so two logs with
 * the same hash at a sequence are the same up to there. A claim is appended without knowing what is
 * before it: its own field is zero, and the record after it carries the chain across.
 */
#ifndef CHANGELOG_RECORD_H
#define CHANGELOG_RECORD_H

#include "base/bytes.h"

enum {
    CHANGELOG_FORMAT = 1, /* the newest that is known */
    CHANGELOG_HEADER = 48,
    CHANGELOG_NODE_MAX = 64,   /* bytes of a node's name, its NUL included */
    CHANGELOG_NOTE_MAX = 4096, /* bytes that a claim may carry for its owner */
    CHANGELOG_CLAIM_MAX = 16 + CHANGELOG_NODE_MAX + CHANGELOG_NOTE_MAX,
};

enum changelog_kind {
    CHANGELOG_BATCH = 1, /* what the home has done */
    CHANGELOG_EMPTY,     /* nothing: keeps the lease */
    CHANGELOG_CLAIM,     /* who is home from here on */
    CHANGELOG_RELEASE,   /* the home is none any more, and does nothing more */
};

struct changelog_hash {
    uint8_t bytes[16];
};

struct changelog_record {
    uint8_t format;
    enum changelog_kind kind;
    uint16_t part, parts; /* 1 of 1, when it is all in one */
    uint32_t group;
    uint64_t epoch, batch;        /* 0 in a claim */
    struct changelog_hash before; /* zero in a claim */
    struct bytes body;            /* borrowed */
};

/* Who claims. */
struct changelog_claim {
    char node[CHANGELOG_NODE_MAX];
    uint64_t incarnation; /* of the node's process */
    uint64_t attempt;     /* of the process at this group */
    struct bytes note;    /* borrowed; the owner's */
};

void changelog_record_head(const struct changelog_record *record, uint8_t out[CHANGELOG_HEADER]);

/* False: no record of a format that is known, whatever it is. Borrows `whole`. */
bool changelog_record_decode(struct bytes whole, struct changelog_record *record);

/* The body of a claim; gives its length. */
size_t changelog_claim_encode(const struct changelog_claim *claim,
                              uint8_t out[CHANGELOG_CLAIM_MAX]);
bool changelog_claim_decode(struct bytes body, struct changelog_claim *claim);

/* The chain's hash behind a record with this head and body, which stands behind `before`: XXH3 with
 * 128 bits over that hash, the head, and the body's own. */
struct changelog_hash changelog_hash_next(const struct changelog_hash *before, struct bytes head,
                                          struct bytes body);

static inline bool changelog_hash_equal(const struct changelog_hash *a,
                                        const struct changelog_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

#endif
