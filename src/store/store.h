/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be safe before an acknowledgement goes out. Sessions report each change of a shard to
 * its struct store_shard; whoever owes an acknowledgement then waits for "everything recorded so
 * far". The acknowledgement path is asynchronous: only a store that is done at once answers at
 * once.
 *
 * One store_shard per shard, on its home worker's thread only. Implementations: memory.c (keeps
 * nothing, done at once), late.c (for tests: done late, out of order between shards, or with an
 * error).
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/list.h"
#include "base/rc.h"

#include <stdint.h>

/* What changed. A durable store will take the record itself beside it. */
enum store_change {
    STORE_SESSION,
    STORE_SUBSCRIPTION,
    STORE_QUEUED,      /* a message for a durable session, or its state in flight */
    STORE_RECEIVED_ID, /* an inbound QoS 2 packet identifier */
    STORE_WILL,
    STORE_RETAINED,
};

/* Embedded in what waits. */
struct store_waiter {
    struct list link;
    /* RC_OK: safe. Else: it is not and will not be; do not acknowledge. On the shard's thread. */
    void (*done)(struct store_waiter *waiter, enum rc rc);
};

struct store_shard;

struct store_ops {
    /* Closes the batch of what was recorded since the last call and commits it; `waiters` (may be
     * empty) are told when it is safe. RC_OK: it is already, nobody will be told. RC_AGAIN: later.
     */
    enum rc (*commit)(struct store_shard *shard);
    /* Once a loop turn, on each worker: tell waiters whose time has come. */
    void (*turn)(struct store_shard *shard, uint64_t now_ms);
};

struct store_shard {
    const struct store_ops *ops;
    uint32_t shard;
    uint32_t changes;    /* recorded and not committed */
    uint64_t commits;    /* batches committed */
    struct list waiting; /* struct store_waiter, oldest first */
    uint64_t due_ms;     /* late.c */
};

/* Makes a shard on the in-memory store. */
void store_memory_init(struct store_shard *shard, uint32_t number);

/* Makes a shard on the test store: commits take delay_ms * (1 + number % 3), and every
 * fail_every-th commit fails with RC_IO (0: none). */
void store_late_init(struct store_shard *shard, uint32_t number, uint32_t delay_ms,
                     uint32_t fail_every);

static inline void store_record(struct store_shard *shard, enum store_change change)
{
    (void)change;
    shard->changes++;
}

/*
 * Commits what was recorded. RC_OK: everything is safe and the waiter was not used. RC_AGAIN:
 * shares the waiter until its done() is called.
 */
enum rc store_wait(struct store_shard *shard, struct store_waiter *waiter);

/* Once a loop turn. True: somebody waits, call again soon. */
bool store_turn(struct store_shard *shard, uint64_t now_ms);

#endif
