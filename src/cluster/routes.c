/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/routes.h"

#include "base/memory.h"
#include "model/topic.h"

/* ---- our own -----------------------------------------------------------------------------------
 */

static bool own_matches(const void *element, const void *key)
{
    const struct own_route *route = element;
    return bytes_equal(bytes_of(route->filter, route->len), *(const struct bytes *)key);
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

struct own_route *own_routes_add(struct own_routes *own, struct bytes filter)
{
    uint64_t hash = bytes_hash(filter);
    struct own_route *route = mem_new(sizeof(*route) + filter.len);
    route->hash = hash;
    route->len = (uint32_t)filter.len;
    memcpy(route->filter, filter.data, filter.len);
    list_add_last(&own->all, &route->link);
    map_insert(&own->by_filter, hash, route);
    return route;
}

struct own_route *own_routes_find(const struct own_routes *own, struct bytes filter)
{
    return map_find(&own->by_filter, bytes_hash(filter), own_matches, &filter);
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
    return bytes_equal(bytes_of(route->filter, route->len), *(const struct bytes *)key);
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

bool remote_routes_add(struct remote_routes *routes, struct bytes filter, enum interest_level level)
{
    bool durable = level == INTEREST_DURABLE;
    uint64_t hash = bytes_hash(filter);
    struct remote_route *route = map_find(&routes->by_filter, hash, remote_matches, &filter);
    if (route != NULL) {
        route->round = routes->round;
        if (route->subscription->durable != durable)
            router_set_durable(routes->router, route->subscription, durable);
        return true;
    }
    struct bytes share = bytes_of("", 0), inner = filter;
    if (topic_share_parse(filter, &share, &inner) == SHARE_INVALID || !topic_filter_valid(inner))
        return false;
    struct subscription *s = router_subscribe(routes->router, routes->session, inner, share,
                                              &everything, durable ? SUBSCRIPTION_DURABLE : 0);
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

bool remote_routes_remove(struct remote_routes *routes, struct bytes filter)
{
    struct remote_route *route =
        map_find(&routes->by_filter, bytes_hash(filter), remote_matches, &filter);
    if (route != NULL)
        take_out(routes, route);
    return true;
}
