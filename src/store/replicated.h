/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store whose records other nodes have, too. Its shards belong to groups (shard % groups), and
 * each group has a changelog outside of the store. What workers record of a group that this node is
 * home of is appended there first, and written here when it has been accepted; what another home
 * appends is written here as it comes. So nothing that the changelog does not have is ever here.
 *
 *                    apply(batches of another home)
 *                       |
 *      FOLLOWS --open--> (all of them written) --ready()--> LOADS --serve--> SERVES
 *         ^                                                   |                |
 *         +---- lost, or closed() when close was asked for ---+----------------+
 *
 *      SERVES: a worker's batch -> append() -> committed -> written, with the position -> its
 * answer
 *
 * One batch of a group is on its way at a time; what is recorded meanwhile is the next one. While a
 * group FOLLOWS, what its ends record is refused with RC_CLOSED.
 *
 * A group that FOLLOWS and cannot go on is replaced by a copy of another node's (image.h). From
 * store_replica_copy() to store_replica_copied() it is not whole, which the store remembers.
 *
 * Limits: STORE_GROUPS_MAX groups; more than STORE_APPEND_MAX bytes of records go in several
 * appends; STORE_APPLY_MAX bytes wait to be applied, then who brings more waits for the disk.
 */
#ifndef STORE_REPLICATED_H
#define STORE_REPLICATED_H

#include "store/durable.h"

enum {
    STORE_GROUPS_MAX = 256,
    STORE_POSITION_MAX = 64,
    STORE_APPLY_MAX = 64 * 1024 * 1024,
    STORE_APPEND_MAX = 16 * 1024 * 1024, /* and one worker's batch */
};

/* Where in its changelog a group stands: bytes that only their maker understands. */
struct store_position {
    uint8_t bytes[STORE_POSITION_MAX];
    uint32_t len; /* 0: at its beginning; never 1 */
};

/* All on the commit thread, but for lease_fresh(). */
struct store_replica_ops {
    /* Appends a serialised write batch to the changelog. Borrows it until store_replica_committed()
     * or store_replica_lost(). */
    void (*append)(void *owner, uint32_t group, struct bytes batch);
    /* What was recorded here is nowhere, since this node is not home: a serialised write batch,
     * borrowed until the call returns. */
    void (*refused)(void *owner, uint32_t group, struct bytes batch);
    /* Everything up to this position is on disk. */
    void (*flushed)(void *owner, uint32_t group, const struct store_position *position);
    /* After store_replica_open(): the group can be read. */
    void (*ready)(void *owner, uint32_t group, uint64_t token);
    /* After store_replica_close(). */
    void (*closed)(void *owner, uint32_t group);
    /* The disk does not take what the changelog has: the group FOLLOWS, and another node has to be
     * its home. */
    void (*failed)(void *owner, uint32_t group);
    /* Of the copy with that token so much more has been written: chunks, and at last the end. */
    void (*copied)(void *owner, uint32_t group, uint64_t token, uint32_t chunks);
    /* Whether what is taken back before it was appended need not be. Any thread. */
    bool (*lease_fresh)(void *owner, uint32_t group);
};

/* Before store_start(), for a store that was opened with groups. Borrows ops. */
void store_replicate(struct store *store, const struct store_replica_ops *ops, void *owner);

/* Where the group stands. Before store_start(). RC_AGAIN: it is not whole, and needs a copy.
 * RC_INVALID: damaged. */
MUST_USE enum rc store_replica_position(struct store *store, uint32_t group,
                                        struct store_position *out);

/* ---- any thread; one at a time for a group -----------------------------------------------------
 */

/* FOLLOWS: writes a batch of another home, and the position behind it. Copies both. May wait for
 * the disk. An empty batch has only a position. */
void store_replica_apply(struct store *store, uint32_t group, struct bytes batch,
                         const struct store_position *position);

/* FOLLOWS: what is here of the group stands at that position from now on; flushed() follows soon.
 */
void store_replica_place(struct store *store, uint32_t group,
                         const struct store_position *position);

/* FOLLOWS: this node is home. ready() with the token when all that came before is written. */
void store_replica_open(struct store *store, uint32_t group, uint64_t token);

/* LOADS: what workers have recorded, and record from now on, is appended. */
void store_replica_serve(struct store *store, uint32_t group);

/* What append() was given is in the changelog for ever; the position behind it. */
void store_replica_committed(struct store *store, uint32_t group,
                             const struct store_position *position);

/* This node is not home any more: what it has appended and was not told of never will be there. */
void store_replica_lost(struct store *store, uint32_t group);

/* SERVES, and nobody records any more: closed() when everything has been appended and written. */
void store_replica_close(struct store *store, uint32_t group);

/* FOLLOWS: all that is here of the group is given up for a copy, which has that token; another one
 * may have been under way. */
void store_replica_copy(struct store *store, uint32_t group, uint64_t token);
/* A chunk of it, for which store_image_fits() has said yes. Copies it. */
void store_replica_copy_chunk(struct store *store, uint32_t group, uint64_t token,
                              struct bytes chunk);
/* All chunks have been given: the group is whole, at that position. */
void store_replica_copied(struct store *store, uint32_t group, uint64_t token,
                          const struct store_position *position);

/* Whether workers may record: LOADS or SERVES. */
bool store_replica_is_open(const struct store *store, uint32_t group);

#endif
