/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The groups of shards of a node in a cluster, brought from their changelogs onto the workers and
 * back: what homes/ says of who is home becomes sessions in memory here, and what workers record
 * becomes batches that homes/ appends.
 *
 *      ELSEWHERE --opened--> QUEUED -> OPENING --ready--> LOADING -> REPLAYING -> SERVING
 *          ^                                                 |                       | close, lost
 *          +--- UNLOADING <--------- FLUSHING <--(close)-- LEAVING <------------------+
 *
 * Until the cluster is initialised the node is alone: it opens all groups itself, and what it
 * appends is accepted at once.
 *
 * One group is loaded at a time; each of these steps is made by all workers, and the next one
 * follows when the last of them has made it.
 */
#ifndef BROKER_GROUPS_H
#define BROKER_GROUPS_H

#include "homes/homes.h"
#include "store/replicated.h"

struct broker;
struct groups;

/* For store_replicate(), with `struct groups *` as the owner. */
extern const struct store_replica_ops groups_store_ops;

/* For homes_new(), the same. */
extern const struct homes_ops groups_homes_ops;

/* Borrows both. The broker's store has HOMES_GROUPS groups. */
struct groups *groups_new(struct broker *broker);

/* Before homes_start(): takes homes, and tells it where the store stands. RC_INVALID: damaged. */
MUST_USE enum rc groups_begin(struct groups *groups, struct homes *homes);

/* After homes_start(): while the cluster has not been initialised, this node is home of all. */
void groups_start(struct groups *groups);

/* Whether none is served, since other nodes may know of a cluster that this one belongs to. Any
 * thread. */
bool groups_wait(const struct groups *groups);

/* Whether clients with a session of that shard are served here. Any thread. */
bool groups_serve(const struct groups *groups, uint32_t shard);

/* How many groups are served here. Any thread. */
uint32_t groups_served(const struct groups *groups);

/* After homes_stop(), when workers have ended: begins nothing that they would have to do. NULL is
 * fine. */
void groups_end(struct groups *groups);

/* After groups_end() and the end of the store. NULL is fine. */
void groups_free(struct groups *groups);

#endif
