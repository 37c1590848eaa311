/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of groups between nodes. A node that cannot go on with a group's changelog takes all of it
 * from a node that can, over a link of its own. A thread of its own: a giver reads its disk there.
 *
 *     copies_want() -> dial -> take ======== link ======== give -> the owner's image of the group
 *                              |
 *                              +-> begin, chunk..., end -> copies_written() -> done
 *
 * Limits: COPIES_TAKEN at a time, further groups wait; COPIES_GIVEN at a time, further nodes are
 * refused; of each copy COPY_WINDOW chunks are under way.
 */
#ifndef CLUSTER_COPIES_H
#define CLUSTER_COPIES_H

#include "base/bytes.h"
#include "base/rc.h"

#include <stdbool.h>
#include <stdint.h>

enum { COPIES_TAKEN = 2, COPIES_GIVEN = 8, COPIES_GROUPS = 16 };

/* All on the copies' thread. They may wait for the disk. */
struct copies_ops {
    /* The id of the cluster, and how many shards there are; borrowed. */
    struct bytes (*cluster)(void *owner, uint32_t *shards);

    /* Opens an image of a group that this node has whole. RC_NOT_FOUND: it has not. Fills at most
     * COPY_POSITION_MAX bytes. */
    enum rc (*open)(void *owner, uint32_t group, void **image, uint8_t *position,
                    uint32_t *position_len);
    /* Borrowed until the next call. RC_NOT_FOUND: that was all. */
    enum rc (*next)(void *owner, void *image, struct bytes *chunk);
    void (*close)(void *owner, void *image);

    /* A copy comes that will stand at that position. False: that is none; then nothing follows. */
    bool (*begin)(void *owner, uint32_t group, uint64_t token, struct bytes position);
    /* copies_written() follows when it has been written. False: it makes no sense. */
    bool (*chunk)(void *owner, uint32_t group, uint64_t token, struct bytes records,
                  uint32_t *count);
    /* All of it has come; the same. */
    void (*end)(void *owner, uint32_t group, uint64_t token, struct bytes position);
    /* ... and has been written. */
    void (*done)(void *owner, uint32_t group, struct bytes position);
    /* It comes to nothing: copies_want() begins another one. */
    void (*failed)(void *owner, uint32_t group, const char *node, const char *why);
};

/* How far a copy is that is being taken. */
struct copies_progress {
    char node[65]; /* that gives it */
    uint64_t records, bytes;
};

struct cluster;

/* Before cluster_start(). Borrows both for ever. */
void cluster_set_copies(struct cluster *cluster, const struct copies_ops *ops, void *owner);

/* Any thread: takes that group from that node, unless it is being taken. */
void cluster_copy(struct cluster *cluster, uint32_t group, const char *node);

/* Any thread: of the copy with that token so many more chunks have been written; the end counts as
 * one. */
void cluster_copy_written(struct cluster *cluster, uint32_t group, uint64_t token, uint32_t chunks);

/* Any thread. False: none is being taken. */
bool cluster_copy_progress(struct cluster *cluster, uint32_t group, struct copies_progress *out);

#endif
