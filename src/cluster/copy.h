/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends of one copy of a group: what each says and expects, without links and clocks of
 * their own (copies.h has those). Inside cluster/, on the copies' thread.
 *
 *     giver: EXPECTS_ASK -> GIVES -> GAVE          taker: DIALS -> ASKS -> TAKES -> WRITES -> DONE
 *
 * Both keep only what is under way: COPY_WINDOW chunks. An end at which nothing moves for
 * COPY_STALL_MS gives the copy up, and so does one that has lasted for COPY_MAX_MS.
 */
#ifndef CLUSTER_COPY_H
#define CLUSTER_COPY_H

#include "cluster/copies.h"
#include "link/copy.h"

enum { COPY_STALL_MS = 15000, COPY_MAX_MS = 60 * 60 * 1000 };

/* Sends a frame whose body has two parts. False: the link is at its end. */
struct copy_line {
    bool (*send)(struct copy_line *line, enum link_kind kind, uint8_t flags, struct bytes head,
                 struct bytes rest);
};

/* ---- copy_give.c -------------------------------------------------------------------------------
 */

enum give_state { GIVE_EXPECTS_ASK, GIVE_GIVES, GIVE_GAVE, GIVE_OVER };

struct give {
    const struct copies_ops *ops;
    void *owner;
    struct copy_line *line;
    enum give_state state;
    bool busy;   /* this node gives enough already */
    void *image; /* of the owner; NULL: none is open */
    uint32_t group;
    uint32_t sent, written; /* chunks */
    uint64_t bytes;
    uint64_t began_ms, moved_ms;
};

void give_begin(struct give *give, const struct copies_ops *ops, void *owner,
                struct copy_line *line, bool busy, uint64_t now_ms);
/* False: it makes no sense, or all is over; the link is to be closed. */
bool give_frame(struct give *give, const struct link_frame *frame, uint64_t now_ms);
bool give_is_late(const struct give *give, uint64_t now_ms);
/* The link has ended. */
void give_end(struct give *give);

/* ---- copy_take.c -------------------------------------------------------------------------------
 */

enum take_state { TAKE_DIALS, TAKE_ASKS, TAKE_TAKES, TAKE_WRITES, TAKE_DONE, TAKE_FAILED };

struct take {
    const struct copies_ops *ops;
    void *owner;
    struct copy_line *line; /* from TAKE_ASKS on */
    enum take_state state;
    uint32_t group;
    uint64_t token;
    uint32_t received, written; /* chunks; `written`: the end counts as one */
    uint64_t records, bytes;
    struct bytes position; /* in these */
    uint8_t position_bytes[COPY_POSITION_MAX];
    const char *why; /* TAKE_FAILED */
    uint64_t began_ms, moved_ms;
};

void take_begin(struct take *take, const struct copies_ops *ops, void *owner, uint32_t group,
                uint64_t token, uint64_t now_ms);
/* The giver has been reached. */
void take_ask(struct take *take, struct copy_line *line, const struct copy_ask *ask,
              uint64_t now_ms);
void take_frame(struct take *take, const struct link_frame *frame, uint64_t now_ms);
/* So many more chunks, and at last the end, have been written. */
void take_written(struct take *take, uint32_t chunks, uint64_t now_ms);
bool take_is_late(const struct take *take, uint64_t now_ms);
/* Unless it is over: it has failed. */
void take_fail(struct take *take, const char *why);

#endif
