/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clients of a node that is drained are moved to others, at the rate of cluster.drain_rate and
 * not all at the same intervals, so that they do not come back in step. Those whose sessions are
 * stored go with their group (groups.c), which has to wait until the ones before have had their
 * time; the others go one by one, from here.
 */
#ifndef BROKER_MOVING_H
#define BROKER_MOVING_H

#include "net/loop.h"

struct broker;
struct worker;

/* Of a worker, which moves its share of all. */
struct moving {
    struct loop_timer timer;
    uint64_t random;
    uint64_t free_ms;                /* those that were moved have had their time */
    _Atomic uint64_t groups_free_ms; /* the same of groups; read by the homes thread */
};

void moving_init(struct worker *worker);

/* From now on, or after a delay. Any thread. */
void moving_begin(struct broker *broker, uint64_t delay_ms);
void moving_end(struct broker *broker);

/* Whether the next group may go. Any thread. */
bool moving_has_time(const struct broker *broker);

/* So many of the worker's clients have gone with their group. On its thread. */
void moving_sent_away(struct worker *worker, uint32_t count);

/* How long `count` clients take of the share that one of so many workers has, give or take a half
 * at random. */
uint64_t moving_time_ms(uint32_t count, uint32_t rate, uint32_t workers, uint64_t *random);

#endif
