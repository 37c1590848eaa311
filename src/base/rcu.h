/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-copy-update: the one header that knows liburcu (QSBR flavour). Readers pay nothing; a reader
 * is quiescent when its worker says so, once a loop turn, and while it sleeps in the kernel.
 * RCU-published pointers are C11 atomics (store release, load acquire); this header only gives
 * grace periods, annotated for ThreadSanitizer, which does not understand liburcu.
 */
#ifndef BASE_RCU_H
#define BASE_RCU_H

#include <urcu/call-rcu.h>

/* The first member of what is to be freed later; the block comes from base/memory.h. */
struct rcu_entry {
    struct rcu_head head;
};

/* Every thread that reads RCU-published pointers registers first and unregisters before it ends. */
void rcu_reader_start(void);
void rcu_reader_stop(void);

/* "I hold no RCU-published pointer now." Once a loop turn. */
void rcu_quiescent(void);

/* Around a blocking wait: between these the thread holds no pointer and is not waited for. */
void rcu_sleep(void);
void rcu_wake(void);

/* Takes the entry: frees the block that it begins, on a thread of the library's, once every reader
 * has been quiescent. Any thread. */
void rcu_free(struct rcu_entry *entry);

/* Waits until every reader has been quiescent once: what they do from now on sees what the caller
 * has done before. Any thread that is no registered reader. */
void rcu_synchronize(void);

/* Waits until everything given to rcu_free() so far has been freed. Registered readers, the caller
 * among them, must be asleep or quiescing. */
void rcu_drain(void);

#endif
