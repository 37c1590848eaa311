/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable store of a node. Workers fill batches; one thread commits: it takes what all workers
 * have recorded while the previous commit was on its way to the disk, writes it as one, and tells
 * the workers. There is no timer in between: an idle broker adds no delay, and a busy one shares
 * one flush among many.
 *
 *      worker: records -> open batch -> slot          (end of the turn; taken back if still there)
 *      commit thread:     slot -> write, flush -> worker's box
 *      worker: box -> waiters, in order               (begin of a turn)
 *
 * A busy worker holds back what will probably be taken back before it is on the disk: messages that
 * subscribers which are online have been sent. Nothing else waits for that: what somebody waits for
 * in any other way is handed over at the end of the turn, together with all before it.
 *
 * Another thread reads queues back. When a write fails nothing is acknowledged any more, what was
 * recorded is kept (BACKLOG_MAX), and the engine is opened afresh underneath until it writes again.
 */
#ifndef STORE_DURABLE_H
#define STORE_DURABLE_H

#include "store/store.h"

enum {
    STORE_BATCH_HIGH = 4 * 1024 * 1024,  /* of one worker's, not taken yet: publishers are slowed */
    STORE_BATCH_SPLIT = 4 * 1024 * 1024, /* then the next record begins another one */
    STORE_BACKLOG_MAX = 64 * 1024 * 1024,
    STORE_PATH_MAX = 4096,
    STORE_NUMBER_BITS = 40,             /* numbers that each start has for records of a shard */
    STORE_OPEN_MIN = 4 * 1024 * 1024,   /* and what is in the logs: to open the store */
    STORE_FREE_MIN = 8 * 1024 * 1024,   /* bytes that the disk must have left for new work */
    STORE_HOLD_MIN = 8,                 /* records that are waited for: fewer are not held back */
    STORE_HOLD_BYTES = 4 * 1024 * 1024, /* of a worker: more is not held back */
    STORE_HOLD_SHARE = 256 * 1024,      /* of one batch that is */
    STORE_HOLD_MIN_MS = 1,              /* a commit takes about so long... */
    STORE_HOLD_MAX_MS = 8,              /* ...at least and at most, as far as holding back goes */
};

struct store;

struct store_options {
    const char *dir; /* the store's own folder */
    enum engine_profile profile;
    uint32_t workers;
    uint32_t shards;      /* a store that has others is refused */
    uint32_t groups;      /* of shards that have a changelog: replicated.h; 0: they have none */
    uint32_t interval_ms; /* between two flushes of what need not be flushed at once */
    bool never_at_once;   /* nobody waits for the disk: written is enough for all */
};

/* Opens or makes the store; no thread runs yet. As engine_open(); RC_EXISTS: another process has it
 * open; RC_REFUSED: it is of a newer version, or has another number of shards. */
enum rc store_open(const struct store_options *options, struct store **out,
                   char error[ENGINE_ERROR_MAX]);

/* For loading, before store_start(). */
struct engine *store_engine(struct store *store);

/* How often the store has been opened, this time included: numbers that were never used. */
uint64_t store_starts(const struct store *store);

/* Commits from now on. */
void store_start(struct store *store);

/* Workers have stopped, and nobody waits. Everything recorded is written and flushed. NULL is fine.
 */
void store_close(struct store *store);

/* Groups of shards that are committed each by itself; 1 in a store without changelogs. */
uint32_t store_groups(const struct store *store);

/* A worker's end for the shards of a group: shard % groups; 0 in a store without groups. `wake` is
 * called from the store's threads when there is something for store_end_turn(). */
struct store_end *store_end_of(struct store *store, uint32_t worker, uint32_t group);
void store_end_wake_by(struct store_end *end, void (*wake)(void *owner), void *owner);

/* Those of a worker's ends for which there is something to do: in nearly all turns few of many. */
struct store_ends {
    struct list active; /* struct store_end */
};

void store_ends_init(struct store_ends *ends);
void store_ends_add(struct store_ends *ends, struct store_end *end);

/* What one worker has seen of the commits that were answered since it last asked. */
struct store_figures {
    uint64_t commits, syncs; /* syncs: those that were flushed too */
    uint64_t records, bytes; /* bytes: handed to the engine */
    uint64_t spared;         /* records that were taken back */
    uint64_t failures;
};

/* On the worker, early in a turn: calls done() of waiters and reads. `commit_ns` (may be NULL) is
 * called with the time that each commit took, from its first record to the disk. */
void store_end_turn(struct store_end *end, void (*commit_ns)(void *arg, uint64_t ns), void *arg);
struct store_figures store_end_figures(struct store_end *end);

/* On the worker, at the end of a turn: hands over what was recorded. What is held back is handed
 * over in time if this is called again after so many ms as it gives; 0: nothing is. */
uint32_t store_end_post(struct store_end *end);

/* True while something is on its way: records, somebody who waits, a read. */
bool store_end_busy(struct store_end *end);

/* The same for all of a worker. store_ends_turn() adds to `figures`. */
void store_ends_turn(struct store_ends *ends, void (*commit_ns)(void *arg, uint64_t ns), void *arg,
                     struct store_figures *figures);
uint32_t store_ends_post(struct store_ends *ends);
bool store_ends_busy(struct store_ends *ends);
/* True: somebody is to be told something by store_ends_turn(); do not wait before. */
bool store_ends_have_news(const struct store_ends *ends);

/* A consistent copy in the new folder `to`. Any thread but a worker: it takes its time. */
enum rc store_checkpoint(struct store *store, const char *to, char error[ENGINE_ERROR_MAX]);

/* Whether it holds nothing but what describes itself. False when that cannot be found out. Any
 * thread. */
bool store_is_blank(struct store *store);

/* RC_OK, or why nothing is made safe now. Any thread. */
enum rc store_state(const struct store *store);

/* Bytes: on disk; in memory, what is not in files yet; and in memory, blocks of files. */
struct store_sizes {
    uint64_t disk, tables, cache;
};

/* All 0 while the engine is closed. Any thread; takes a lock of the engine's. */
struct store_sizes store_sizes(struct store *store);

#endif
