/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be safe before an acknowledgement goes out. Sessions write each change of a shard as
 * records of that shard; whoever owes an acknowledgement then waits for "everything recorded so
 * far". The acknowledgement path is asynchronous: only a store that is done at once answers at
 * once.
 *
 * One store_shard per shard, on its home worker's thread only. Implementations: memory.c (keeps
 * nothing, done at once), durable.c and end.c (RocksDB, committed in groups by a thread of its
 * own), late.c (for tests: done late, out of order between shards, or with an error).
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/list.h"
#include "base/rc.h"
#include "store/engine.h"

#include <stdint.h>

/* Embedded in what waits. */
struct store_waiter {
    struct list link;
    uint64_t batch;         /* end.c: which commit it waits for */
    bool written_is_enough; /* else it waits for the disk, if the store flushes for anybody */
    /* RC_OK: safe. Else: it is not and will not be; do not acknowledge. On the shard's thread. */
    void (*done)(struct store_waiter *waiter, enum rc rc);
};

/* A record that has been made, so that it can be taken back. batch 0: none. */
struct store_ref {
    uint32_t batch, at;
};

/* The key of a record: what record.h makes, and a text behind it. Borrows the text. */
enum { STORE_KEY_HEAD = 24 };

struct store_key {
    uint8_t head[STORE_KEY_HEAD];
    uint32_t head_len;
    struct bytes tail;
};

struct store_shard;
struct store_end;

struct store_ops {
    /* See store_wait(). */
    enum rc (*wait)(struct store_shard *shard, struct store_waiter *waiter);
    /* Once a loop turn, on each worker: tell waiters whose time has come. NULL: there are none. */
    void (*turn)(struct store_shard *shard, uint64_t now_ms);
    bool at_once; /* everything is safe as soon as it is recorded: nobody ever waits */
};

struct store_shard {
    const struct store_ops *ops;
    uint32_t shard;
    struct store_end *end; /* end.c: its worker's end of the store; NULL: nothing is kept */
    uint64_t last_number;  /* of its records: see store_numbers() */
    uint64_t commits;      /* memory.c, late.c: waits so far */
    struct list waiting;   /* late.c: struct store_waiter, oldest first */
    uint64_t due_ms;       /* late.c */
};

/* Makes a shard on the in-memory store. */
void store_memory_init(struct store_shard *shard, uint32_t number);

/* Makes a shard on the test store: commits take delay_ms * (1 + number % 3), and every
 * fail_every-th commit fails with RC_IO (0: none). */
void store_late_init(struct store_shard *shard, uint32_t number, uint32_t delay_ms,
                     uint32_t fail_every);

/* Makes a shard on the durable store. */
void store_durable_init(struct store_shard *shard, uint32_t number, struct store_end *end);

/* ---- records ------------------------------------------------------------------------------------
 */

/* Whether records go anywhere: making them can be spared when not. */
static inline bool store_keeps(const struct store_shard *shard)
{
    return shard->end != NULL;
}

/* These do nothing in a store that keeps nothing. Values are copied. */
struct store_ref store_put(struct store_shard *shard, enum store_family family,
                           const struct store_key *key, const struct bytes *value, uint32_t parts);
void store_delete(struct store_shard *shard, enum store_family family, const struct store_key *key);
/* All keys that begin with the key's head. */
void store_delete_prefix(struct store_shard *shard, enum store_family family,
                         const struct store_key *key);

/* The first of `count` numbers for records of the shard that it has never had, and that are larger
 * than all that it has had. */
static inline uint64_t store_numbers(struct store_shard *shard, uint32_t count)
{
    uint64_t first = shard->last_number + 1;
    shard->last_number += count;
    return first;
}

/* Takes a record back while nobody has committed it. False: too late, it has to be deleted. */
bool store_cancel(struct store_shard *shard, struct store_ref ref);

/* The same for a record that has served its purpose: who waits for it alone need not any more. */
bool store_settle(struct store_shard *shard, struct store_ref ref);

/* Whether the record was made so lately that it could still have been held back. */
bool store_is_recent(const struct store_shard *shard, struct store_ref ref);

/*
 * Commits what was recorded. RC_OK: everything is safe and the waiter was not used. RC_AGAIN:
 * shares the waiter until its done() is called. Else: nothing can be made safe now (RC_FULL,
 * RC_IO), and the waiter was not used.
 */
static inline enum rc store_wait(struct store_shard *shard, struct store_waiter *waiter)
{
    return shard->ops->wait(shard, waiter);
}

/*
 * The same for one record, just made, that will probably be settled soon: that ends the wait, too,
 * in the next turn. When there are many of these they are held back for about as long as a commit
 * takes, so that most are never written.
 */
enum rc store_wait_for(struct store_shard *shard, struct store_ref ref,
                       struct store_waiter *waiter);

/* Waits until the store makes things safe (again), and has made everything safe that is recorded by
 * then: its done() gets RC_OK, in a later turn; or RC_CLOSED, when the store is closed before or
 * the group has gone; or that it has failed again. For what store_wait() could not do. */
void store_wait_until_it_works(struct store_shard *shard, struct store_waiter *waiter);

/* RC_OK, or why nothing new is made safe at the moment: refuse it before anything is changed. */
enum rc store_trouble(const struct store_shard *shard);

/* Whether a record is as safe as anybody asks for; true for none. */
bool store_is_safe(const struct store_shard *shard, struct store_ref ref);

/* Too much waits for the disk: read less from publishers. */
bool store_is_behind(const struct store_shard *shard);

/* Once a loop turn. True: somebody waits, call again soon. */
bool store_turn(struct store_shard *shard, uint64_t now_ms);

/* ---- reading back -------------------------------------------------------------------------------
 */

/*
 * Reads a range of keys off the worker. The caller fills the first part and keeps the struct until
 * done() is called on its thread; `data` is then the caller's to free. What has been recorded but
 * not committed is not seen.
 */
struct store_read {
    enum store_family family;
    struct store_key from, until; /* without tails */
    uint32_t records_max;
    size_t bytes_max; /* at least one record comes all the same */
    bool bare;        /* else the message that a queue's record shares comes as a pair before it */
    void (*done)(struct store_read *read);

    enum rc rc;    /* RC_OK, RC_IO */
    uint8_t *data; /* pairs one behind the other: see store_read_next() */
    size_t used;
    uint32_t records;
    bool more; /* the range goes on */
    /* Of a queue: how many numbers lie where nothing can be read, and from which on nothing can be
     * read to the end of the range (UINT64_MAX: none). The pairs around that have come. */
    uint64_t unreadable, unreadable_from;
    void *job; /* durable.c */
};

/* False: this store reads nothing. */
bool store_read_start(struct store_shard *shard, struct store_read *read);

/* Walks the pairs: start with *at = 0; false at the end. */
bool store_read_next(const struct store_read *read, size_t *at, struct bytes *key,
                     struct bytes *value);

#endif
