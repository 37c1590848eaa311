/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places where a test lets the process die, as a crash there would: SKEIN_TEST_FAULT=NAME:N ends it
 * with SIGKILL when the place NAME is passed for the N-th time. Any thread; never on the way of a
 * message that the store does not see.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

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

/* Reads SKEIN_TEST_FAULT. Once, before other threads start. */
void fault_init(void);

/* `name` is one of FAULT_POINTS. */
void fault_point(const char *name);

#endif
