/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The $SYS topics: the names under $SYS/broker that MQTT users know, load averages among them, and
 * $SYS/skein/<metric> for every metric and histogram of table.h. Pure: it computes topics and
 * texts, publishing them (retained) is the caller's business. One thread.
 */
#ifndef METRICS_SYS_H
#define METRICS_SYS_H

#include "metrics/metrics.h"

#include <stdint.h>

/* What the metrics do not know. */
struct sys_facts {
    const char *version; /* "0.1.0" */
    uint64_t uptime_s;
    uint64_t heap_bytes, heap_bytes_max; /* memory of the process now and at most; 0: not told */
};

enum { SYS_TEXT_MAX = 64 };

/* What acknowledgements promise; published by the broker itself. */
#define SYS_DURABILITY "$SYS/broker/durability"

/* What is told of the cluster, as JSON; published by the broker itself. */
#define SYS_CLUSTER "$SYS/skein/cluster"

enum { SYS_LINKS_MAX = 64 }; /* of other nodes so many are told, those that were met first */

/* Borrows both for the call. */
typedef void sys_emit(void *arg, const char *topic, const char *text);

struct sys_tree;

/* Gives a tree that has published nothing. */
struct sys_tree *sys_tree_new(void);
void sys_tree_free(struct sys_tree *tree);

/*
 * Calls emit for every topic whose text is another one than at the last update; the first time for
 * all. Load averages weigh what was counted since the last update; now_ms is clock_ms(). The
 * most clients at once is the most that any update saw.
 */
void sys_tree_update(struct sys_tree *tree, const struct metrics *metrics,
                     const struct sys_facts *facts, uint64_t now_ms, sys_emit *emit, void *arg);

/* Calls row for every topic with one sentence on what it says; for the reference. */
void sys_topics_each(void (*row)(void *arg, const char *topic, const char *help), void *arg);

#endif
