/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places where a test lets the process die, as a crash there would: SKEIN_TEST_FAULT=NAME:N ends it
 * with SIGKILL when the place NAME is passed for the N-th time. Any thread; never on the way of a
 * message that the store does not see.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>

/* X("name", where it is). */
#define FAULT_POINTS(X)                                                                            \
    X("store.open", "the store is open, nothing has been loaded")                                  \
    X("store.loaded", "sessions are loaded, nobody is served yet")                                 \
    X("store.before_write", "a commit has been put together")                                      \
    X("store.after_write", "a commit is on disk, nobody has been told")                            \
    X("store.answered", "the workers have been told of a commit")                                  \
    X("store.read", "the rest of a queue is being read back")                                      \
    X("store.checkpoint", "a backup is being made")                                                \
    X("store.close", "everything is written, the store is about to close")

/* The same in a cluster only. */
#define FAULT_POINTS_CLUSTER(X)                                                                    \
    X("store.before_append", "a group's records have been put together for its changelog")         \
    X("group.copy", "a part of a group has come from another node")                                \
    X("homes.seed", "what the node holds is about to become the beginning of a cluster")           \
    X("homes.seeded", "it has; its groups have not been claimed")                                  \
    X("homes.grow", "a cluster of one node has noted that its engine starts anew")                 \
    X("homes.grown", "the changelogs for more nodes are there, which has not been noted")

/* Reads SKEIN_TEST_FAULT. Once, before other threads start. */
void fault_init(void);

/* `name` is one of these. */
void fault_point(const char *name);

/* ---- places where a test lets something fail ---------------------------------------------------
 */

/* X("name", what). */
#define FAULT_FAILURES(X)                                                                          \
    X("memory", "an allocation that may fail")                                                     \
    X("store.sync", "the engine flushes what it wrote")

/* Of the next passes of the place `skip` go well, and `count` then fail. Unit tests only. */
void fault_fail(const char *name, long skip, long count);

extern _Atomic bool fault_failing; /* some place is to fail */
bool fault_fails_now(const char *name);

/* Whether the place, one of FAULT_FAILURES, is to fail this time. */
static inline bool fault_fails(const char *name)
{
    return __builtin_expect(atomic_load_explicit(&fault_failing, memory_order_relaxed), 0) &&
           fault_fails_now(name);
}

#endif
