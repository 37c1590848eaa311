/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver's side: batches that other workers, or we ourselves, have sent, worked off in
 * slices. */
#include "delivery/routing.h"
#include "delivery/testament.h"

#include "base/clock.h"
#include "base/memory.h"

/* The member of a share that the publisher's worker chose, if the session still has it. Another
 * subscription may lie where it was by now. */
static struct share_member *member_of(struct delivery_hub *hub, const struct route *route,
                                      const struct delivery_item *item)
{
    struct session *session = session_of_ref(hub->sessions, route->session);
    for (struct subscription *s = session == NULL ? NULL : session->subscriptions; s != NULL;
         s = s->next)
        if (s == item->member && item->share != NULL && subscription_share(s) == item->share)
            return &s->member;
    return NULL;
}

/* It was online when it was chosen, and is not any more, and another one is. */
static bool has_gone_offline(struct delivery_hub *hub, const struct route *run,
                             const struct delivery_item *item)
{
    const struct session *session = session_of_ref(hub->sessions, run->session);
    const struct publication *p = &item->publication;
    struct subscription *other;
    struct route route;
    return session->sink == NULL && item->outbox.number == 0 &&
           share_choose(item->share, hub->router->share_choice, share_reach_of(hub->router),
                        p->publisher_hash, p->topic, run->session, &other, &route) &&
           atomic_load_explicit(&other->member.online, memory_order_relaxed);
}

/* Who gets an entry instead of a clean member is chosen where the entry is, and stored there first:
 * its next home would choose yet another. */
static bool is_for_clean_member(const struct delivery_item *item)
{
    return item->outbox.number != 0 && item->ticket != NULL &&
           !(item->routes[item->next].flags & SUBSCRIPTION_DURABLE);
}

/* It was not to be a member whose session ends with its connection. */
static bool is_for_shard(const struct delivery_item *item)
{
    return item->outbox.number != 0 && (item->routes[item->next].flags & SUBSCRIPTION_DURABLE);
}

/* The chosen member went away while the message was on its way: choose again. This goes behind what
 * is in the inbox, on whichever worker; a publisher that waits then waits for that member's shard.
 */
static void choose_again(struct delivery_hub *hub, struct delivery_item *item)
{
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    routing_begin(&routing, hub, &item->publication, item->message, &wire, NULL);
    routing.again = item;
    routing.delivery.outbox = item->outbox;
    routing.delivery.outbox.replayed = false; /* whoever is chosen now has not got it */
    route_find(&hub->reader, item->publication.topic, ROUTE_AT_ONCE, &set);
    for (uint32_t i = 0; i < set.share_count; i++)
        if (set.shares[i] == item->share)
            routing_to_share(&routing, set.shares[i]);
    item->message = routing.delivery.message;
    mem_free(routing.delivery.copies);
}

/* Nobody of the shard that was chosen is a member any more. In one batch the shard has got the
 * entry and has one of its own, for another member: were that one only told, the entry, when it has
 * to be sent again, would find yet another. */
static void hand_over(struct delivery_hub *hub, struct delivery_item *item)
{
    const struct publication *p = &item->publication;
    struct store_shard *store = &hub->sessions->stores[item->member_shard];
    struct subscription *member;
    struct route route;
    if (!shard_is_here(hub, item->member_shard)) {
        item->source.rc = RC_CLOSED; /* it has moved since the member was chosen */
        return;
    }
    if (item->message == NULL)
        item->message = message_new(p);
    if (item->message == NULL) {
        item->source.rc = RC_FULL;
        return;
    }
    bool any = share_choose(item->share, hub->router->share_choice, share_reach_of(hub->router),
                            p->publisher_hash, p->topic, 0, &member, &route);
    if (any && member->shard == item->member_shard) {
        item->source.rc = RC_CLOSED; /* another node tells that, which has been its home */
        return;
    }
    if (any)
        outbox_hand_over(hub, store, item->message, item->share, member, &route);
    high_water_set(hub, store, item->outbox);
    if (item->ticket != NULL)
        commit_source_await(&item->source, store, (struct store_ref){0});
}

/* Every shard that has sessions among the routes has got the entry, and so have the sessions that
 * are not stored. */
static void note_arrival(struct delivery_hub *hub, const struct delivery_item *item)
{
    bool clean = false;
    for (uint32_t i = 0; i < item->count; i++) {
        const struct session *session = session_of_ref(hub->sessions, item->routes[i].session);
        if (session == NULL)
            continue;
        if (!session_stored(session))
            clean = true;
        else if (!is_expected_elsewhere(item->elsewhere, session) &&
                 !high_water_covers(hub, session->store, item->outbox))
            high_water_set(hub, session->store, item->outbox);
    }
    if (clean)
        high_water_set_clean(hub, item->outbox);
}

/* Somebody of that shard has got the message, or is to get it: finds the member. False: there is
 * nothing to deliver, because one has, or because nobody can say it here any more. */
static bool find_chosen(struct delivery_hub *hub, struct delivery_item *item)
{
    struct store_shard *store = &hub->sessions->stores[item->member_shard];
    struct route_set set;
    if (!shard_is_here(hub, item->member_shard)) {
        item->source.rc = RC_CLOSED;
        return false;
    }
    if (high_water_covers(hub, store, item->outbox)) {
        if (item->ticket != NULL) /* it may not be safe yet */
            commit_source_await(&item->source, store, (struct store_ref){0});
        return false;
    }
    route_find(&hub->reader, item->publication.topic, ROUTE_AT_ONCE, &set);
    for (uint32_t i = 0; i < set.share_count; i++)
        if (set.shares[i] == item->share)
            share_find_member(item->share, item->member_shard, &item->member, &item->copied[0]);
    return true;
}

/* The next of very many subscribers go behind what is in the inboxes, each on its worker. True:
 * that were all. */
static bool walk_step(struct delivery_hub *hub, struct delivery_item *item)
{
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    struct ready_made ready_made = {item->packet, item->packet_v5};
    bool more = true;
    routing_begin(&routing, hub, &item->publication, item->message, &wire,
                  item->packet.len > 0 ? &ready_made : NULL);
    routing.source.ticket = item->ticket; /* of this worker: it counts those who are asked, too */
    if (!hub->walking)
        more = hub->walking =
            route_walk_begin(&hub->reader, item->publication.topic, item->walk, &set);
    if (hub->walking)
        more = hub->walking = route_walk_step(&hub->reader, item->walk, &set);
    if (set.count > 0)
        routing.block = route_reader_take(&hub->reader);
    routing_to_routes(&routing, &set);
    hub->work += DELIVERY_SLICE;
    item->source.taken |= routing.source.taken;
    item->source.refused = !item->source.taken; /* by itself; those who are asked may take it */
    item->message = routing.delivery.message;
    mem_free(routing.delivery.copies);
    route_block_drop(routing.block);
    return !more;
}

/* Delivers up to DELIVERY_SLICE routes of the item; true when it is finished. */
static bool item_step(struct delivery_hub *hub, struct delivery_item *item)
{
    struct wire_cache wire = {.scratch = hub->scratch, .scratch_room = DELIVERY_SCRATCH};
    struct delivery delivery = {
        .publication = &item->publication,
        .message = item->message,
        .wire = &wire,
        .copies = item->copies,
        .outbox = item->outbox,
        .elsewhere = item->elsewhere,
        .many = item->count > 1,
    };
    if (item->walk != NULL)
        return walk_step(hub, item);
    if (item->packet.len > 0)
        wire.packet[item->packet_v5] = item->packet;
    struct commit_source *source = item->ticket != NULL ? &item->source : NULL;
    bool slow = false;
    /* All of an outbox entry's goes into one batch, with the note that it has come. */
    uint32_t slice = item->outbox.number != 0 ? UINT32_MAX : DELIVERY_SLICE, budget = slice;
    bool shared = item->member != NULL || item->share != NULL;
    if (item->share != NULL && item->member == NULL && !find_chosen(hub, item))
        item->next = item->count;
    while (item->next < item->count && budget > 0) {
        const struct route *run = item->routes + item->next;
        uint32_t n = route_run_length(run, item->count - item->next);
        struct share_member *member = NULL;
        if (shared) {
            member = member_of(hub, run, item);
            if (member != NULL && has_gone_offline(hub, run, item))
                member = NULL;
            if (member == NULL && is_for_clean_member(item)) {
                item->source.rc = RC_NOT_FOUND;
            } else if (member == NULL && is_for_shard(item)) {
                hand_over(hub, item);
                delivery.message = item->message;
            } else if (member == NULL) {
                choose_again(hub, item);
                delivery.message = item->message;
            }
        }
        if (!shared || member != NULL)
            deliver_run(hub, &delivery, run, n, member, source, &slow);
        item->next += n;
        budget -= n < budget ? n : budget;
    }
    hub->work += slice - budget;
    if (item->outbox.number != 0)
        note_arrival(hub, item);
    item->message = delivery.message;
    item->copies = delivery.copies;
    if (slow)
        deliveries_report_lag(hub, item);
    return item->next == item->count;
}

static bool work_off_inbox(struct delivery_hub *hub)
{
    if (hub->inbox_first == NULL)
        return false;
    uint64_t end_ns = clock_ns() + JOB_BUDGET_NS;
    uint32_t looked_at = hub->work; /* what was done when the clock was last looked at */
    uint32_t wide = 0;              /* deliveries of items for many sessions */
    while (hub->inbox_first != NULL) {
        struct deliveries *batch = hub->inbox_first;
        struct delivery_item *item = deliveries_item(batch);
        if (item == NULL) {
            hub->inbox_first = batch->next;
            if (hub->inbox_first == NULL)
                hub->inbox_last = NULL;
            deliveries_done(hub, batch);
            continue;
        }
        bool bulk = item->count > DELIVERY_SLICE;
        wide += bulk ? DELIVERY_SLICE : 0;
        if (bulk)
            hub->ops->output_is(hub, OUTPUT_BULK);
        bool finished = item_step(hub, item);
        if (bulk)
            hub->ops->output_is(hub, OUTPUT_PROMPT);
        if (finished)
            deliveries_item_done(hub, batch, item);
        if (hub->work - looked_at < DELIVERY_SLICE)
            continue;
        looked_at = hub->work;
        if (clock_ns() >= end_ns || wide >= DELIVERY_WIDE_MAX)
            return hub->inbox_first != NULL;
    }
    return false;
}

void delivery_finish_walk(struct delivery_hub *hub)
{
    while (hub->walking)
        work_off_inbox(hub);
}

bool delivery_turn(struct delivery_hub *hub)
{
    bool more = work_off_inbox(hub);
    more |= delivery_unpark(hub);
    routes_settle(hub);
    again_turn(hub);
    outbox_try_again(hub);
    testaments_turn(hub);
    commits_spread(hub);
    more |= deliveries_post_all(hub);
    return more;
}
