/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is subscribed to what, as far as other nodes have to know: own_routes is what this node
 * tells, remote_routes what one other node has told, kept in the router as subscriptions of that
 * node. On the control's thread.
 */
#ifndef CLUSTER_ROUTES_H
#define CLUSTER_ROUTES_H

#include "base/list.h"
#include "base/map.h"
#include "router/router.h"

/* A filter, with "$share/name/" before it for a share; of a share perhaps the members whose
 * sessions are in one shard, else NO_SHARD. See struct interest. */
struct route_key {
    struct bytes filter;
    uint16_t shard;
};

struct own_route {
    struct list link; /* in own_routes->all, oldest first: who tells them has a place in it */
    uint64_t hash;
    enum interest_level level;
    uint16_t shard;
    uint32_t len;
    char filter[];
};

struct own_routes {
    struct list all;
    struct map by_filter;
};

void own_routes_init(struct own_routes *own);
void own_routes_deinit(struct own_routes *own);

/* It is not there yet. */
struct own_route *own_routes_add(struct own_routes *own, const struct route_key *key);
/* NULL: it is not there. */
struct own_route *own_routes_find(const struct own_routes *own, const struct route_key *key);
/* Takes the route. */
void own_routes_remove(struct own_routes *own, struct own_route *route);

static inline struct route_key own_route_key(const struct own_route *route)
{
    return (struct route_key){bytes_of(route->filter, route->len), route->shard};
}

struct remote_routes {
    struct router *router;
    session_ref session; /* session_ref_of_remote() */
    struct list all;
    struct map by_filter;
    uint32_t round; /* which telling of the whole table is the last */
};

void remote_routes_init(struct remote_routes *routes, struct router *router, uint32_t remote);
/* Takes all out of the router. */
void remote_routes_clear(struct remote_routes *routes);
/* At the end: the router, which ends too, keeps its own. */
void remote_routes_deinit(struct remote_routes *routes);

/* The whole table follows; what is not in it goes with remote_routes_end(). */
void remote_routes_begin(struct remote_routes *routes);
void remote_routes_end(struct remote_routes *routes);

/* False: it is no filter. Filters that are there already, or are not, do no harm. */
bool remote_routes_add(struct remote_routes *routes, const struct route_key *key,
                       enum interest_level level);
bool remote_routes_remove(struct remote_routes *routes, const struct route_key *key);

#endif
