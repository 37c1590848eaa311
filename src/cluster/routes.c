/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/routes.h"

#include "base/memory.h"
#include "model/topic.h"

static uint64_t key_hash(const struct route_key *key)
{
    return bytes_hash(key->filter) ^ key->shard * 0x9E3779B97F4A7C15u;
}

/* ---- our own -----------------------------------------------------------------------------------
 */

static bool own_matches(const void *element, const void *key)
{
    const struct own_route *route = element;
    const struct route_key *k = key;
    return route->shard == k->shard && bytes_equal(bytes_of(route->filter, route->len), k->filter);
}

void own_routes_init(struct own_routes *own)
{
    list_init(&own->all);
    map_init(&own->by_filter);
}

void own_routes_deinit(struct own_routes *own)
{
    for (struct list *link; (link = list_take_first(&own->all)) != NULL;)
        mem_free(CONTAINER_OF(link, struct own_route, link));
    map_deinit(&own->by_filter);
}

struct own_route *own_routes_add(struct own_routes *own, const struct route_key *key)
{
    struct own_route *route = mem_new(sizeof(*route) + key->filter.len);
    route->hash = key_hash(key);
    route->shard = key->shard;
    route->len = (uint32_t)key->filter.len;
    memcpy(route->filter, key->filter.data, key->filter.len);
    list_add_last(&own->all, &route->link);
    map_insert(&own->by_filter, route->hash, route);
    return route;
}

struct own_route *own_routes_find(const struct own_routes *own, const struct route_key *key)
{
    return map_find(&own->by_filter, key_hash(key), own_matches, key);
}

void own_routes_remove(struct own_routes *own, struct own_route *route)
{
    map_remove(&own->by_filter, route->hash, route);
    list_remove(&route->link);
    mem_free(route);
}

/* ---- another node's ----------------------------------------------------------------------------
 */

struct remote_route {
    struct list link;
    struct subscription *subscription;
    uint64_t hash;
    uint32_t round;
    uint32_t len;
    char filter[];
};

static bool remote_matches(const void *element, const void *key)
{
    const struct remote_route *route = element;
    const struct route_key *k = key;
    return route->subscription->shard == k->shard &&
           bytes_equal(bytes_of(route->filter, route->len), k->filter);
}

void remote_routes_init(struct remote_routes *routes, struct router *router, uint32_t remote)
{
    *routes = (struct remote_routes){.router = router, .session = session_ref_of_remote(remote)};
    list_init(&routes->all);
    map_init(&routes->by_filter);
}

static void take_out(struct remote_routes *routes, struct remote_route *route)
{
    map_remove(&routes->by_filter, route->hash, route);
    list_remove(&route->link);
    router_unsubscribe(routes->router, route->subscription);
    mem_free(route);
}

void remote_routes_clear(struct remote_routes *routes)
{
    LIST_FOR_EACH_SAFE (link, &routes->all)
        take_out(routes, CONTAINER_OF(link, struct remote_route, link));
    map_deinit(&routes->by_filter);
    map_init(&routes->by_filter);
}

void remote_routes_deinit(struct remote_routes *routes)
{
    for (struct list *link; (link = list_take_first(&routes->all)) != NULL;)
        mem_free(CONTAINER_OF(link, struct remote_route, link));
    map_deinit(&routes->by_filter);
}

void remote_routes_begin(struct remote_routes *routes)
{
    routes->round++;
}

void remote_routes_end(struct remote_routes *routes)
{
    LIST_FOR_EACH_SAFE (link, &routes->all) {
        struct remote_route *route = CONTAINER_OF(link, struct remote_route, link);
        if (route->round != routes->round)
            take_out(routes, route);
    }
}

/* The message keeps its own QoS: what each subscriber gets is decided where it is. */
static const struct subscription_options everything = {.qos = 2, .retain_as_published = true};

bool remote_routes_add(struct remote_routes *routes, const struct route_key *key,
                       enum interest_level level)
{
    bool durable = level >= INTEREST_DURABLE, offline = level == INTEREST_OFFLINE;
    uint64_t hash = key_hash(key);
    struct bytes filter = key->filter;
    struct remote_route *route = map_find(&routes->by_filter, hash, remote_matches, key);
    if (route != NULL) {
        route->round = routes->round;
        if (route->subscription->durable != durable)
            router_set_durable(routes->router, route->subscription, durable);
        router_set_online(routes->router, route->subscription, !offline);
        return true;
    }
    struct bytes share = bytes_of("", 0), inner = filter;
    if (topic_share_parse(filter, &share, &inner) == SHARE_INVALID || !topic_filter_valid(inner) ||
        (share.len == 0 && key->shard != NO_SHARD))
        return false;
    struct subscriber_is who = {
        .session = routes->session,
        .shard = key->shard,
        .flags = durable ? SUBSCRIPTION_DURABLE : 0,
        .offline = offline,
    };
    struct subscription *s = router_subscribe(routes->router, &who, inner, share, &everything);
    route = s == NULL ? NULL : mem_try(sizeof(*route) + filter.len);
    if (route == NULL) {
        if (s != NULL)
            router_unsubscribe(routes->router, s);
        return false;
    }
    *route = (struct remote_route){
        .subscription = s, .hash = hash, .round = routes->round, .len = (uint32_t)filter.len};
    memcpy(route->filter, filter.data, filter.len);
    list_add_last(&routes->all, &route->link);
    map_insert(&routes->by_filter, hash, route);
    return true;
}

bool remote_routes_remove(struct remote_routes *routes, const struct route_key *key)
{
    struct remote_route *route = map_find(&routes->by_filter, key_hash(key), remote_matches, key);
    if (route != NULL)
        take_out(routes, route);
    return true;
}
