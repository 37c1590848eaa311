/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retained messages by topic: one tree for the node, under one mutex that is held for a bounded
 * number of steps only. Walks over many messages are cursors that stop and go on, so nobody waits
 * behind a subscription to '#'. Any thread. Limits: count and bytes, given to retained_init();
 * topics under "$SYS/" are the broker's own and are neither counted nor limited.
 */
#ifndef ROUTER_RETAINED_H
#define ROUTER_RETAINED_H

#include "base/bytes.h"
#include "base/rc.h"
#include "model/message.h"

#include <pthread.h>

struct retained_node;

struct retained {
    pthread_mutex_t lock;
    struct retained_node *root;
    uint64_t count_max, bytes_max;
    _Atomic uint64_t count, bytes; /* written under the lock */
};

void retained_init(struct retained *retained, uint64_t count_max, uint64_t bytes_max);
void retained_deinit(struct retained *retained);

/*
 * Makes the message the retained one of its topic. Shares it. RC_FULL at a limit and RC_NO_MEMORY:
 * nothing has changed. Replacing is always allowed when it does not grow the bytes over the limit.
 */
enum rc retained_set(struct retained *retained, struct message *message);

/* [MQTT-3.3.1-6]; harmless when there is none. */
void retained_clear(struct retained *retained, struct bytes topic);

/* Gives a reference to the topic's message; NULL when there is none or it has expired at now_ms. */
struct message *retained_get(struct retained *retained, struct bytes topic, uint64_t now_ms);

enum { RETAINED_BATCH = 64, RETAINED_STEPS = 1024 };

/* A walk over all topics that match one filter. Messages set or cleared meanwhile may be met or
 * not. */
struct retained_walk;

/* Gives a walk; borrows nothing. NULL when there is no memory. */
struct retained_walk *retained_walk_new(struct retained *retained, struct bytes filter);

/*
 * Gives up to RETAINED_BATCH messages, a reference to each, after looking at up to RETAINED_STEPS
 * nodes. *done says that the walk has come to its end. Expired ones are dropped on the way.
 */
uint32_t retained_walk_next(struct retained_walk *walk, uint64_t now_ms,
                            struct message *out[RETAINED_BATCH], bool *done);

void retained_walk_free(struct retained_walk *walk);

#endif
