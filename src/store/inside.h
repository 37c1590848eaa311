/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the durable store only: what its workers' side, its committing and its reading thread
 * share. */
#ifndef STORE_INSIDE_H
#define STORE_INSIDE_H

#include "base/fault.h"
#include "store/batch.h"
#include "store/durable.h"

#include <pthread.h>
#include <stdatomic.h>

enum { END_SPARES = 4, END_TIMES = 8 };

/* Batches one behind the other, oldest first. */
struct batch_chain {
    struct batch *first, *last;
};

struct store_end {
    struct store *store;
    uint32_t group;               /* of its shards */
    struct batch *open;           /* records go here; NULL: none, or it lies in the slot */
    struct batch_chain held;      /* older than that, and held back */
    _Atomic(struct batch *) slot; /* the first of a chain, for the commit thread to take */
    struct batch *spares[END_SPARES];
    uint64_t last;                 /* number of the latest batch */
    uint64_t posted, sync_posted;  /* the latest that was handed over; and that will be flushed */
    uint64_t answered;             /* batches up to this one have been, well or not */
    uint64_t written, synced;      /* as that */
    uint64_t commit_ns;            /* how long a commit takes, about */
    uint64_t now_ns;               /* of this turn */
    uint64_t opened_ns[END_TIMES]; /* of the latest batches, by number % END_TIMES */
    struct list waiting;           /* struct store_waiter, by batch */
    struct list settled;           /* struct store_waiter: told in the next turn */
    struct list stuck;             /* struct store_waiter: until there is no trouble any more */
    struct mailbox answers;        /* struct batch */
    struct mailbox read_answers;   /* struct read_job */
    uint32_t reads;                /* under way */
    struct store_figures figures;
    struct list active;      /* in ends->active, while there is something to do for it */
    struct store_ends *ends; /* NULL: nobody lists it */
    bool breaks_promises;    /* a test's: says "safe" before it is */
};

struct replicas;
struct store_position;

struct store {
    struct engine *engine;        /* NULL: could not be opened again yet */
    pthread_rwlock_t engine_lock; /* written: the engine is being opened again */
    char dir[STORE_PATH_MAX];
    enum engine_profile profile;
    uint32_t interval_ms;
    bool never_at_once;
    uint64_t starts;
    pthread_t commit_thread, read_thread;
    bool started;
    _Atomic bool stopping;
    _Atomic int trouble; /* enum rc: RC_OK, or why nothing is made safe */
    /* A write or a flush has failed: the engine is not to be asked for another, until it has been
     * opened again. Written by the commit thread. */
    _Atomic bool engine_failed;

    /* the commit thread's own */
    int commit_fd;
    _Atomic bool commit_sleeps;
    uint8_t *group; /* header and records of the write that is being put together, or that failed */
    size_t group_used, group_room;
    uint32_t group_records;
    uint64_t synced_sequence; /* what has a lower number, or this one, is on disk */
    uint64_t look_at_ms, tidy_at_ms;
    uint64_t flush_at_ms;     /* 0: nothing to flush */
    uint64_t backlog_dropped; /* records; while not 0 nothing more is kept: order */

    int read_fd;
    struct mailbox requests; /* struct read_job */

    pthread_mutex_t images_lock;
    struct list images; /* struct store_image, under the lock */

    struct replicas *replicas; /* NULL: no shard has a changelog */
    uint32_t worker_count, group_count, shards;
    uint32_t end_count;
    struct store_end ends[]; /* those of a group one behind the other */
};

void *store_commit_main(void *arg);
void store_wake_commit(struct store *store);

/* What is written next, with all its records or not at all. `records` of them, serialised. */
void store_group_add(struct store *store, struct bytes serialised, uint32_t records);
void store_group_add_batch(struct store *store, const struct batch *batch);
/* Writes it, if there is anything; `sync`: and flushes. A failure is remembered: store_state(). */
enum rc store_group_commit(struct store *store, bool sync);
/* Tells a worker what has become of its batches, oldest first. */
void store_answer(struct store_end *end, struct batch *batch, enum rc rc, bool synced);

/* ---- replicated.c, on the commit thread but for the last three ----------------------------------
 */

/* One round of news, appends, writes and answers. False: there was nothing to do. */
bool replicas_commit(struct store *store);
/* There is something in a slot that can be taken. */
bool replicas_anything(struct store *store);
/* What was added has been written. */
void replicas_written(struct store *store);
/* ... and flushed. */
void replicas_flushed(struct store *store);
/* The thread ends: who still waits gets RC_CLOSED. */
void replicas_end(struct store *store);
bool replica_lease_fresh(const struct store *store, uint32_t group);
/* The value of a group's position. RC_AGAIN: a copy of the group is being taken. RC_INVALID. */
enum rc replica_position_read(struct bytes value, struct store_position *out);
void replicas_init(struct store *store);
void replicas_deinit(struct store *store);

/* image.c: the engine is about to be closed, and nobody reads it. */
void store_images_let_go(struct store *store);

void *store_read_main(void *arg);
void store_wake_read(void *arg);

/* Hands over everything, held back or not. */
void store_end_post_all(struct store_end *end);

void store_end_init(struct store_end *end, struct store *store);

/* Before that: store_end_post_all(), and the threads have ended. Waiters get RC_CLOSED. */
void store_end_deinit(struct store_end *end);

/* Calls done() of the reads that were answered. */
void store_end_reads(struct store_end *end);
/* On the worker: there is something to do for it from now on. */
void store_end_touch(struct store_end *end);

#endif
