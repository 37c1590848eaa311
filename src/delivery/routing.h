/* SPDX-License-Identifier: Apache-2.0 */
/* Inside delivery only: one publication on its way from its worker to sessions, batches and nodes.
 */
#ifndef DELIVERY_ROUTING_H
#define DELIVERY_ROUTING_H

#include "delivery/batch.h"

/* One publication while it is being routed. */
struct routing {
    struct delivery_hub *hub;
    struct delivery delivery;
    const struct ready_made *ready_made;
    struct route_block *block;   /* of a wide set */
    struct commit_source source; /* who waits for commits: a ticket here */
    struct delivery_item *again; /* NULL, or the item for which another member is chosen */
    bool from_remote;            /* for our own subscribers only */
    struct publish_outcome outcome;
};

/* Ready-made may be NULL; `wire` is the caller's memory, until routing_end(). Borrows the rest. */
void routing_begin(struct routing *routing, struct delivery_hub *hub,
                   const struct publication *publication, struct message *message,
                   struct wire_cache *wire, const struct ready_made *ready_made);

/* Gives back what the delivery has made; `message` is the caller's. */
void routing_end(struct routing *routing, const struct message *message);

/* To everybody that route_find() gave; to those that are in no share; to one member of a share. */
void routing_to_set(struct routing *routing, const struct route_set *set);
void routing_to_routes(struct routing *routing, const struct route_set *set);
void routing_to_share(struct routing *routing, struct share *share);

/* The share among those that "$share/name/filter" hashes to that; NULL: it has no member left. */
struct share *share_of_hash(const struct route_set *set, uint64_t hash);

/* Whether it may go to other nodes at all. */
bool routing_may_leave(const struct routing *routing);

/* To a member of a share that is on another node, which chooses one of its own: of that shard, when
 * it is one and the message is of an outbox. False: there is no way to that node. */
bool routing_to_remote_member(struct routing *routing, const struct route *route,
                              const struct outbox_share *to);

/* To a worker of this node, behind what is on its way there. */
void routing_to_batch(struct routing *routing, uint32_t worker, const struct addressees *to);

/* To one session of this worker, by a run of routes to it; `member`: of a share, or NULL. `source`
 * waits for its commit; NULL: nobody does. *slow is set when it lags. */
void deliver_run(struct delivery_hub *hub, struct delivery *delivery, const struct route *run,
                 uint32_t count, struct share_member *member, struct commit_source *source,
                 bool *slow);

/* Whether a session is one of those `elsewhere` (struct delivery). */
bool is_expected_elsewhere(uint32_t elsewhere, const struct session *session);

/* Whether sessions of that shard are at home on this node. */
bool shard_is_here(struct delivery_hub *hub, uint32_t shard);

/* How many of the routes, at least one, lead to the first one's session. */
static inline uint32_t route_run_length(const struct route *routes, uint32_t count)
{
    uint32_t n = 1;
    while (n < count && routes[n].session == routes[0].session)
        n++;
    return n;
}

#endif
