/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roads of one worker: to every other node one that it sends on, and those that others send on.
 * What the hub says of another node (struct remote_ops) becomes frames here, and the other way
 * round. On the worker's thread, but for the orders that the control posts.
 *
 * What has to be safe before it is acknowledged may reach a node just when sessions have left it.
 * So each end of a road is told which groups it is believed to be home of, in order with the
 * publications, and refuses these while that is not so any more.
 *
 * Back-pressure: the receiver says how many bytes it has worked off; when more than BACKLOG_HIGH
 * are under way publishers wait, as they do for a worker of their own node. While a worker that the
 * receiver passes them on to is behind, it says nothing. So at most about BACKLOG_HIGH, and what
 * the publishers of one turn send, is in the receiver's hands.
 */
#ifndef CLUSTER_ROAD_H
#define CLUSTER_ROAD_H

#include "cluster/cluster.h"
#include "link/link.h"

struct roads;

/* Who hears that a road is open, and that one has ended or could not be opened. On the worker's
 * thread. */
struct roads_ops {
    void (*opened)(void *owner, uint32_t worker, uint32_t remote, uint32_t serial);
    void (*lost)(void *owner, uint32_t worker, uint32_t remote, uint32_t serial);
};

struct roads *roads_new(uint32_t worker, const struct roads_ops *ops, void *owner);
void roads_join(struct roads *roads, const struct cluster_worker *is);
struct delivery_remote *roads_remote(struct roads *roads);

/* Orders, from the control's thread. Each takes its descriptor; `unread` is copied. `serial` comes
 * back in struct roads_ops: it tells a road from the one that was there before. */
void roads_post_out(struct roads *roads, uint32_t remote, uint32_t serial, uint16_t version, int fd,
                    struct bytes unread);
/* From that worker of that node; one that it had before is closed. */
void roads_post_in(struct roads *roads, uint32_t remote, uint32_t from, int fd,
                   struct bytes unread);
/* The node is not heard of any more: its roads are closed, without lost(). One that has left in
 * order closes those that it sends on itself, behind what it has sent. */
void roads_post_close(struct roads *roads, uint32_t remote, bool left);
/* This process has stalled, and may hand up again what has come (delivery_has_stalled()). */
void roads_post_go_on(struct roads *roads);

/* Adds what goes to that node. Any thread, no lock. */
void roads_count(const struct roads *roads, uint32_t remote, struct road_counts *sum);

/* On the worker's thread: tells each node what it is believed to be home of. */
void roads_tell_view(struct roads *roads);

/* On the worker's thread, when it stops. */
void roads_close(struct roads *roads);
void roads_free(struct roads *roads);

#endif
