/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/delivery.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "delivery/routing.h"
#include "delivery/testament.h"

void delivery_init(struct delivery_hub *hub)
{
    route_reader_init(&hub->reader, hub->router, hub->worker_count + (hub->remote != NULL));
    list_init(&hub->parked);
    list_init(&hub->unsettled);
    list_init(&hub->undelivered);
    again_init(hub);
    list_init(&hub->unspread);
    testaments_init(hub);
    hub->cost_min = hub->under_way_max == 0 ? 0 : BACKLOG_HIGH / hub->under_way_max;
    map_init(&hub->subscriptions);
    map_init(&hub->high_water);
    hub->spare_waiter = NULL;
    hub->scratch = mem_new(DELIVERY_SCRATCH);
}

void delivery_deinit(struct delivery_hub *hub)
{
    for (uint32_t i = 0; i < hub->worker_count; i++)
        deliveries_free(hub->peers[i].batch);
    while (hub->inbox_first != NULL) {
        struct deliveries *batch = hub->inbox_first;
        hub->inbox_first = batch->next;
        deliveries_free(batch);
    }
    route_reader_deinit(&hub->reader);
    map_deinit(&hub->subscriptions);
    high_water_deinit(hub);
    outbox_deinit(hub);
    again_deinit(hub);
    testaments_deinit(hub);
    mem_free(hub->orphans);
    mem_free(hub->spare_waiter);
    mem_free(hub->scratch);
}

/* ---- publishing --------------------------------------------------------------------------------
 */

/* One of QoS 2 is not: it is to come once, and its outbox sees to that. */
static bool may_be_routed_anew(const struct delivery_hub *hub, const struct publication *p)
{
    return p->qos == 1 && publication_is_awaited(p) && delivery_has_homes(hub);
}

struct publish_outcome delivery_publish(struct delivery_hub *hub,
                                        const struct publication *publication,
                                        struct message *message,
                                        const struct ready_made *ready_made)
{
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    routing_begin(&routing, hub, publication, message, &wire, ready_made);
    route_find(&hub->reader, publication->topic,
               publication->qos == 2 ? ROUTE_AT_ONCE : ROUTE_STEPS, &set); /* see item_step() */
    routing.outcome.matched = set.count > 0 || set.share_count > 0 || set.too_many;
    if (set.count > ROUTE_MEMO_ROUTES_MAX)
        routing.block = route_reader_take(&hub->reader);
    if (publication->payload.len >= DELIVERY_MESSAGE_MIN && routing.outcome.matched &&
        delivery_message(&routing.delivery) != NULL)
        routing.delivery.publication = &routing.delivery.message->publication;
    struct store_shard *outbox = publication->qos == 2 && publication_is_awaited(publication)
                                     ? outbox_for(hub, publication, &set)
                                     : NULL;
    if (outbox == NULL)
        routing_to_set(&routing, &set);
    else if (delivery_message(&routing.delivery) != NULL)
        outbox_add(hub, outbox, routing.delivery.message, OUTBOX_ASKED,
                   publication->retain ? commit_source_ticket(&routing.source) : NULL);
    else
        routing.source.rc = RC_NO_MEMORY;
    /* What is in the outbox is retained from there, or it would be refused, and published again,
     * when the home of its topic is away, although it has been delivered. */
    if (publication->retain && outbox == NULL)
        retained_keep(hub, publication, &routing.source);
    if (may_be_routed_anew(hub, publication) && delivery_message(&routing.delivery) != NULL)
        commit_source_keep(&routing.source, routing.delivery.message);
    routing.outcome.ticket = commit_source_close(&routing.source, &routing.outcome.rc);
    routing_end(&routing, message);
    return routing.outcome;
}

/* To a session of that shard, or if one of them has got it to nobody. */
static void deliver_to_shard(struct routing *routing, struct share *share, uint16_t shard)
{
    struct route route = {.qos = routing->delivery.publication->qos, .flags = SUBSCRIPTION_DURABLE};
    routing_to_batch(
        routing, shard % routing->hub->worker_count,
        &(struct addressees){.routes = &route, .count = 1, .share = share, .member_shard = shard});
}

/* Without a shard it is for those whose sessions end with their connections, if there is one: the
 * others live on when this node does not, and nobody would know that they have it. */
static void deliver_to_clean_member(struct routing *routing, struct share *share)
{
    struct delivery_hub *hub = routing->hub;
    const struct publication *p = routing->delivery.publication;
    enum share_choice how = hub->router->share_choice;
    struct subscription *member;
    struct route route;
    if (high_water_chosen(hub, routing->delivery.outbox))
        return; /* also when that one has gone since: it had got it, or has left it to another */
    bool any = share != NULL && share_choose(share, how, SHARE_CLEAN, p->publisher_hash, p->topic,
                                             0, &member, &route);
    if (any) {
        routing_to_batch(
            routing, session_ref_worker(route.session),
            &(struct addressees){.routes = &route, .count = 1, .member = member, .share = share});
    } else {
        high_water_not_chosen(hub, routing->delivery.outbox);
        routing->source.rc = RC_NOT_FOUND;
    }
}

/* One of our members of the share that the other node has chosen us for; the last one may have left
 * it in the meantime. */
static void deliver_to_hashed_share(struct routing *routing, const struct route_set *set,
                                    const struct outbox_share *to)
{
    struct subscription *member;
    struct route route;
    struct share *share = share_of_hash(set, to->filter_hash);
    if (to->shard != NO_SHARD && routing->delivery.outbox.number != 0) {
        if (!shard_is_here(routing->hub, to->shard) ||
            (share == NULL && delivery_lacks_routes(routing->hub)))
            routing->source.rc = RC_CLOSED;
        else if (share != NULL)
            deliver_to_shard(routing, share, to->shard);
    } else if (routing->delivery.outbox.number != 0) {
        deliver_to_clean_member(routing, share);
    } else if (share != NULL && share_choose(share, CHOOSE_RANDOM, SHARE_HERE, 0, bytes_of("", 0),
                                             0, &member, &route)) {
        routing_to_share(routing, share);
    } else {
        routing->source.rc = RC_NOT_FOUND;
    }
}

struct publish_outcome delivery_publish_remote(struct delivery_hub *hub,
                                               const struct publication *publication,
                                               uint64_t share, uint16_t member_shard,
                                               struct outbox_tag outbox, uint32_t elsewhere)
{
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    routing_begin(&routing, hub, publication, NULL, &wire, NULL);
    routing.from_remote = true;
    routing.delivery.outbox = outbox;
    routing.delivery.elsewhere = elsewhere;
    route_find(&hub->reader, publication->topic, ROUTE_AT_ONCE, &set);
    routing.outcome.matched = set.count > 0 || set.share_count > 0;
    if (set.count > ROUTE_MEMO_ROUTES_MAX)
        routing.block = route_reader_take(&hub->reader);
    if (share == 0)
        routing_to_routes(&routing, &set);
    else
        deliver_to_hashed_share(&routing, &set, &(struct outbox_share){share, member_shard});
    routing.outcome.ticket = commit_source_close(&routing.source, &routing.outcome.rc);
    if (routing.outcome.ticket != NULL && share != 0 && member_shard == NO_SHARD)
        routing.outcome.ticket->clean = outbox;
    routing_end(&routing, NULL);
    return routing.outcome;
}

/* Whoever has got it, or is to get it, is of that shard, wherever that is at home now. */
static void deliver_to_chosen_shard(struct routing *routing, struct share *share,
                                    const struct outbox_choice *choice)
{
    struct delivery_hub *hub = routing->hub;
    const struct outbox_share *chosen = &choice->stored;
    struct route route = {.qos = routing->delivery.publication->qos, .flags = SUBSCRIPTION_DURABLE};
    uint32_t remote;
    enum delivery_place place = HOME_IS_HERE;
    if (hub->remote != NULL)
        place = hub->remote->ops->home_of(hub, chosen->shard, &remote);
    if (place == HOME_IS_REMOTE)
        route.session = session_ref_of_remote(remote);
    if (place == HOME_IS_HERE)
        deliver_to_shard(routing, share, chosen->shard);
    else if (place == HOME_IS_UNKNOWN || !routing_to_remote_member(routing, &route, chosen))
        routing->source.rc = RC_CLOSED; /* it may have it, and nobody else */
}

static void deliver_to_member(struct routing *routing, const struct outbox_choice *choice)
{
    routing_to_batch(routing, session_ref_worker(choice->route.session),
                     &(struct addressees){.routes = &choice->route,
                                          .count = 1,
                                          .member = choice->member,
                                          .share = choice->share,
                                          .member_shard = choice->stored.shard});
}

/* To one whose session ends with its connection, or to a node that knows which one has got it. */
static void deliver_to_chosen_client(struct routing *routing, struct outbox_choice *choice)
{
    if (choice->is_over)
        return;
    choice->sent = true;
    if (!session_ref_is_remote(choice->route.session)) {
        deliver_to_member(routing, choice);
    } else if (!routing_to_remote_member(routing, &choice->route, &choice->stored)) {
        choice->sent = false;
        choice->unreached = true;
        routing->source.rc = RC_CLOSED; /* another member is chosen the next time */
    }
}

/* Shares that are new since the entry was made get nothing of it. */
static void replay_shares(struct routing *routing, const struct route_set *set,
                          struct outbox_choice *choices, uint32_t count)
{
    struct outbox_tag tag = routing->delivery.outbox;
    for (uint32_t i = 0; i < count; i++) {
        struct share *share = share_of_hash(set, choices[i].stored.filter_hash);
        routing->delivery.outbox.number = tag.number + 1 + i;
        if (choices[i].stored.shard == OUTBOX_SHARD_AWAY)
            deliver_to_chosen_client(routing, &choices[i]);
        else if (share != NULL)
            deliver_to_chosen_shard(routing, share, &choices[i]);
    }
    routing->delivery.outbox = tag;
}

/* No member was chosen, as it is no entry, or one without any. */
static void deliver_to_anybody(struct routing *routing, const struct route_set *set)
{
    routing->delivery.outbox = (struct outbox_tag){0}; /* tells nothing of a member */
    for (uint32_t i = 0; i < set->share_count; i++)
        routing_to_share(routing, set->shares[i]);
}

static void deliver_to_members(struct routing *routing, const struct route_set *set,
                               struct outbox_choice *choices, uint32_t count)
{
    struct outbox_tag tag = routing->delivery.outbox;
    for (uint32_t i = 0; i < count; i++) {
        struct outbox_choice *choice = &choices[i];
        routing->delivery.outbox.number = tag.number + 1 + i;
        if (choice->stored.shard == OUTBOX_SHARD_AWAY) {
            deliver_to_chosen_client(routing, choice);
        } else if (session_ref_is_remote(choice->route.session)) {
            struct share *share = share_of_hash(set, choice->stored.filter_hash);
            if (share != NULL)
                deliver_to_chosen_shard(routing, share, choice);
        } else {
            deliver_to_member(routing, choice);
        }
    }
    routing->delivery.outbox = tag;
}

struct publish_ticket *delivery_dispatch(struct delivery_hub *hub, struct message *message,
                                         struct outbox_tag tag, struct outbox_choice *choices,
                                         uint32_t count, enum outbox_whom whom, enum rc *rc)
{
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    const struct publication *publication = &message->publication;
    routing_begin(&routing, hub, publication, message, &wire, NULL);
    routing.delivery.outbox = tag;
    if (publication->retain && whom == OUTBOX_ALL && tag.keeps) {
        retained_have(hub, message);
        retained_keep(hub, publication, &routing.source);
    }
    route_find(&hub->reader, publication->topic, ROUTE_AT_ONCE, &set);
    if (whom == OUTBOX_ALL)
        routing_to_routes(&routing, &set);
    if (choices == NULL)
        deliver_to_anybody(&routing, &set);
    else if (tag.replayed)
        replay_shares(&routing, &set, choices, count);
    else
        deliver_to_members(&routing, &set, choices, count);
    struct publish_ticket *ticket = commit_source_close(&routing.source, rc);
    routing_end(&routing, message);
    return ticket;
}
