/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a log says, record by record from its beginning or from a position on: who is home, whether
 * all of it hangs together, and which batches are complete. Pure.
 */
#ifndef CHANGELOG_CHAIN_H
#define CHANGELOG_CHAIN_H

#include "changelog/record.h"

#include "base/rc.h"

enum { CHANGELOG_BATCH_MAX = 64 << 20 }; /* bytes of a batch, all parts together */

/* Behind a whole batch. All zero: before the first record. Kept beside what has been applied. */
struct changelog_position {
    uint64_t sequence;
    uint64_t epoch; /* sequence of the last claim */
    uint64_t batch; /* the last in that epoch */
    struct changelog_hash hash;
    bool held; /* some home has acted and has not released the group */
};

struct chain {
    uint32_t group;
    struct changelog_position whole; /* behind the last complete batch */
    struct changelog_position at;    /* behind the last record */
    uint16_t part, parts;            /* of the batch that is not complete; 0 of 0: none */
    bool released;                   /* in this epoch */
    struct changelog_claim claimant; /* of this epoch, without its note; node "": not known */
    struct changelog_claim holder;   /* who `held` is about; node "": not known */
    uint8_t *parts_bytes;
    size_t parts_used, parts_room;
};

void chain_init(struct chain *chain, uint32_t group, const struct changelog_position *position);
void chain_deinit(struct chain *chain);

/*
 * The next record. NULL: it fits. Then *complete tells whether a batch is, with all its parts in
 * *body, borrowed until the next call. Else why it cannot stand there; the chain is as it was.
 */
const char *chain_add(struct chain *chain, struct bytes whole, struct changelog_record *record,
                      bool *complete, struct bytes *body);

/* The next record that this chain's home would append. Borrows `body`. */
struct changelog_record chain_next(const struct chain *chain, enum changelog_kind kind,
                                   struct bytes body, uint16_t part, uint16_t parts);

/* The record of chain_next() has been appended: goes behind it. */
void chain_advance(struct chain *chain, const struct changelog_record *record,
                   const struct changelog_hash *hash);

#endif
