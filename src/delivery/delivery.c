/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/delivery.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "delivery/batch.h"

void delivery_init(struct delivery_hub *hub)
{
    route_reader_init(&hub->reader, hub->router, hub->worker_count + (hub->remote != NULL));
    list_init(&hub->parked);
    list_init(&hub->unsettled);
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
    mem_free(hub->orphans);
    mem_free(hub->spare_waiter);
    mem_free(hub->scratch);
}

/* ---- one session -------------------------------------------------------------------------------
 */

/* What one run of routes to the same session comes to (section 3.3.4). */
struct merged {
    struct deliver_as as;
    uint32_t identifiers[16]; /* more overlapping subscriptions than that lose their identifiers */
};

/* False: nothing is left after No Local. */
static bool merge(const struct publication *p, const struct route *run, uint32_t count,
                  struct merged *merged)
{
    struct deliver_as *as = &merged->as;
    *as = (struct deliver_as){.identifiers = merged->identifiers};
    bool any = false;
    for (const struct route *r = run; r < run + count; r++) {
        if ((r->flags & SUBSCRIPTION_NO_LOCAL) && r->session == p->publisher)
            continue; /* [MQTT-3.8.3-3] */
        any = true;
        if (r->qos > as->qos)
            as->qos = r->qos; /* the highest [MQTT-3.3.4-2] */
        as->retain |= p->retain && (r->flags & SUBSCRIPTION_RETAIN_AS_PUBLISHED);
        if (r->identifier != 0 && as->identifier_count < 16)
            merged->identifiers[as->identifier_count++] = r->identifier; /* [MQTT-3.3.4-4] */
    }
    if (as->qos > p->qos)
        as->qos = p->qos; /* [MQTT-3.8.4-8] */
    return any;
}

static void note_result(struct commit_source *source, enum deliver_result result)
{
    switch (result) {
    case DELIVERED:
    case DELIVERED_LAGGING:
        source->taken = true;
        break;
    case NOT_DELIVERED:
    case NOT_DELIVERED_LAGGING:
        source->refused = true;
        break;
    case NOT_STORED:
        source->rc = RC_FULL;
        break;
    }
}

static void deliver_run(struct delivery_hub *hub, struct delivery *delivery,
                        const struct route *run, uint32_t count, struct share_member *member,
                        struct commit_source *source, bool *slow)
{
    struct session *session = session_of_ref(hub->sessions, run->session);
    if (session == NULL)
        return; /* ended since the route was found */
    struct merged merged;
    if (!merge(delivery->publication, run, count, &merged))
        return;
    if (delivery->outbox.replayed && merged.as.qos > 0 && session_stored(session) &&
        high_water_covers(hub, session->store, delivery->outbox))
        return; /* it got this before the broker ended */
    merged.as.share = member;
    enum deliver_result result = session_deliver(session, delivery, &merged.as);
    if (result == DELIVERED_LAGGING || result == NOT_DELIVERED_LAGGING)
        *slow = true;
    if (merged.as.qos == 0 || source == NULL)
        return;
    note_result(source, result);
    if (session_durable(session) && publication_is_awaited(delivery->publication))
        commit_source_await(source, session->store, delivery->prompt);
}

static uint32_t run_length(const struct route *routes, uint32_t count)
{
    uint32_t n = 1;
    while (n < count && routes[n].session == routes[0].session)
        n++;
    return n;
}

/* ---- the publisher's side ----------------------------------------------------------------------
 */

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

static bool waits_for_commit(const struct routing *routing, const struct route *run, uint32_t count)
{
    if (!publication_is_awaited(routing->delivery.publication))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (run[i].qos > 0 && (run[i].flags & SUBSCRIPTION_DURABLE))
            return true;
    return false;
}

/* Who is answered for an item. One for which another member is chosen hands its ticket on. */
static struct asker asker_of(struct routing *routing, bool waits)
{
    struct delivery_item *again = routing->again;
    if (again == NULL)
        return (struct asker){routing->hub->worker,
                              waits ? commit_source_ticket(&routing->source) : NULL};
    struct asker asker = {again->from, waits ? again->ticket : NULL};
    if (waits)
        again->ticket = NULL;
    return asker;
}

static void put_on_batch(struct routing *routing, uint32_t worker, const struct addressees *to)
{
    struct delivery_hub *hub = routing->hub;
    struct asker asker = asker_of(routing, waits_for_commit(routing, to->routes, to->count));
    if (!deliveries_add(hub, worker, &routing->delivery, routing->ready_made, asker, to)) {
        metric_add(hub->metrics, METRIC_PUBLISH_DROPPED_NO_MEMORY, 1);
        return;
    }
    if (asker.ticket == NULL)
        routing->source.taken = true; /* nobody will say */
    if (deliveries_are_behind(&hub->peers[worker])) {
        routing->outcome.backlog = true;
        routing->outcome.behind = worker;
    }
}

/* What begins with '$' is each node's own. What is delivered again after a start has been there. */
static bool stays_here(const struct routing *routing)
{
    return routing->hub->remote == NULL || routing->from_remote ||
           routing->delivery.publication->topic.data[0] == '$' || routing->delivery.outbox.replayed;
}

/* To another node, once however many of its subscriptions match. */
static void forward(struct routing *routing, const struct route *run, uint32_t count,
                    uint64_t share)
{
    struct delivery_hub *hub = routing->hub;
    uint32_t worker = session_ref_worker(run->session);
    if (stays_here(routing))
        return;
    const struct remote_ops *ops = hub->remote->ops;
    bool waits = waits_for_commit(routing, run, count);
    struct forwarding forwarding = {
        .publication = routing->delivery.publication,
        .message = routing->delivery.message,
        .share = share,
        .ticket = waits ? commit_source_ticket(&routing->source) : NULL,
    };
    if (!ops->forward(hub, worker - REMOTE_FIRST, &forwarding)) {
        metric_inc(hub->metrics, METRIC_PUBLISH_DROPPED_NO_LINK);
        if (waits)
            ticket_answered(forwarding.ticket, RC_CLOSED);
        return;
    }
    metric_inc(hub->metrics, METRIC_PUBLISH_FORWARDED);
    if (!waits)
        routing->source.taken = true; /* nobody will say */
    if (ops->is_behind(hub, worker - REMOTE_FIRST)) {
        routing->outcome.backlog = true;
        routing->outcome.behind = worker;
    }
}

/* Routes of one worker. */
static void deliver_to_worker(struct routing *routing, uint32_t worker, const struct route *routes,
                              uint32_t count)
{
    struct delivery_hub *hub = routing->hub;
    if (worker >= REMOTE_FIRST) {
        forward(routing, routes, count, 0);
        return;
    }
    if (worker != hub->worker || count > DELIVERY_INLINE_MAX || deliveries_pending(hub) ||
        routing->delivery.outbox.number != 0) {
        put_on_batch(
            routing, worker,
            &(struct addressees){.routes = routes, .count = count, .block = routing->block});
        return;
    }
    hub->work += count;
    routing->delivery.many = count > 1;
    for (uint32_t i = 0; i < count;) {
        uint32_t n = run_length(routes + i, count - i);
        deliver_run(hub, &routing->delivery, routes + i, n, NULL, &routing->source,
                    &routing->outcome.slow);
        i += n;
    }
}

static void deliver_to_share(struct routing *routing, struct share *share)
{
    struct delivery_hub *hub = routing->hub;
    const struct publication *p = routing->delivery.publication;
    struct subscription *member;
    struct route route;
    if (!share_choose(share, hub->router->share_choice,
                      routing->from_remote ? SHARE_HERE : SHARE_ANYWHERE, p->publisher_hash,
                      p->topic, 0, &member, &route))
        return;
    uint32_t worker = session_ref_worker(route.session);
    if (worker >= REMOTE_FIRST) {
        forward(routing, &route, 1, outbox_share_hash(member));
        return;
    }
    /* One that ended, and has not left the share yet, is found out when the batch is worked off. */
    if (worker != hub->worker || deliveries_pending(hub) || routing->delivery.outbox.number != 0 ||
        session_of_ref(hub->sessions, route.session) == NULL) {
        put_on_batch(
            routing, worker,
            &(struct addressees){.routes = &route, .count = 1, .member = member, .share = share});
        return;
    }
    hub->work++;
    routing->delivery.many = false;
    deliver_run(hub, &routing->delivery, &route, 1, &member->member, &routing->source,
                &routing->outcome.slow);
}

static void begin(struct routing *routing, struct delivery_hub *hub,
                  const struct publication *publication, struct message *message,
                  struct wire_cache *wire, const struct ready_made *ready_made)
{
    *wire = (struct wire_cache){.scratch = hub->scratch, .scratch_room = DELIVERY_SCRATCH};
    if (ready_made != NULL)
        wire->packet[ready_made->v5] = ready_made->packet;
    *routing = (struct routing){
        .hub = hub,
        .delivery = {.publication = publication, .message = message, .wire = wire},
        .ready_made = ready_made,
    };
    commit_source_init(&routing->source, hub, publication->durability);
}

/* Gives back what the delivery has made; `message` is the caller's. */
static void end(struct routing *routing, const struct message *message)
{
    if (message == NULL)
        message_drop(routing->delivery.message);
    mem_free(routing->delivery.copies);
    route_block_drop(routing->block);
}

static void deliver_to_routes(struct routing *routing, const struct route_set *set)
{
    if (routing->hub->worker_count == 1 && routing->hub->remote == NULL) {
        if (set->count > 0)
            deliver_to_worker(routing, 0, set->routes, set->count);
    } else {
        for (uint32_t i = 0, n; i < set->count; i += n) {
            uint32_t worker = session_ref_worker(set->routes[i].session);
            n = 1;
            while (i + n < set->count && session_ref_worker(set->routes[i + n].session) == worker)
                n++;
            deliver_to_worker(routing, worker, set->routes + i, n);
        }
    }
}

/* Very many: found in steps, as an item for ourselves. Until then the publisher has to wait, or
 * what it sends next would overtake this on the way to other workers. */
static void deliver_by_walk(struct routing *routing)
{
    struct delivery_hub *hub = routing->hub;
    bool waits = publication_is_awaited(routing->delivery.publication);
    struct asker asker = {hub->worker, waits ? commit_source_ticket(&routing->source) : NULL};
    if (!deliveries_add(hub, hub->worker, &routing->delivery, routing->ready_made, asker,
                        &(struct addressees){.walk = NEW(struct route_walk)})) {
        metric_add(hub->metrics, METRIC_PUBLISH_DROPPED_NO_MEMORY, 1);
        return;
    }
    routing->outcome.backlog = true;
    routing->outcome.behind = hub->worker;
}

static void deliver_to_set(struct routing *routing, const struct route_set *set)
{
    if (set->too_many)
        deliver_by_walk(routing);
    else
        deliver_to_routes(routing, set);
    for (uint32_t i = 0; i < set->share_count; i++)
        deliver_to_share(routing, set->shares[i]);
}

struct publish_outcome delivery_publish(struct delivery_hub *hub,
                                        const struct publication *publication,
                                        struct message *message,
                                        const struct ready_made *ready_made)
{
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    begin(&routing, hub, publication, message, &wire, ready_made);
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
        deliver_to_set(&routing, &set);
    else if (delivery_message(&routing.delivery) != NULL)
        outbox_add(hub, outbox, routing.delivery.message, OUTBOX_ASKED);
    else
        routing.source.rc = RC_NO_MEMORY;
    if (publication->retain)
        retained_keep(hub, publication, &routing.source);
    routing.outcome.ticket = commit_source_close(&routing.source, &routing.outcome.rc);
    end(&routing, message);
    return routing.outcome;
}

/* One of our members of the share that the other node has chosen us for. */
static void deliver_to_hashed_share(struct routing *routing, const struct route_set *set,
                                    uint64_t share)
{
    struct subscription *member;
    struct route route;
    for (uint32_t i = 0; i < set->share_count; i++)
        if (share_choose(set->shares[i], CHOOSE_RANDOM, SHARE_HERE, 0, bytes_of("", 0), 0, &member,
                         &route) &&
            outbox_share_hash(member) == share)
            deliver_to_share(routing, set->shares[i]);
}

struct publish_outcome delivery_publish_remote(struct delivery_hub *hub,
                                               const struct publication *publication,
                                               uint64_t share)
{
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    begin(&routing, hub, publication, NULL, &wire, NULL);
    routing.from_remote = true;
    route_find(&hub->reader, publication->topic, ROUTE_AT_ONCE, &set);
    routing.outcome.matched = set.count > 0 || set.share_count > 0;
    if (set.count > ROUTE_MEMO_ROUTES_MAX)
        routing.block = route_reader_take(&hub->reader);
    if (share == 0)
        deliver_to_routes(&routing, &set);
    else
        deliver_to_hashed_share(&routing, &set, share);
    routing.outcome.ticket = commit_source_close(&routing.source, &routing.outcome.rc);
    end(&routing, NULL);
    return routing.outcome;
}

/* The share of an entry that was replayed: whoever got it, or was to get it, is of that shard. */
static void deliver_to_chosen_shard(struct routing *routing, struct share *share,
                                    const struct outbox_share *chosen)
{
    const struct route somebody = {.qos = routing->delivery.publication->qos,
                                   .flags = SUBSCRIPTION_DURABLE};
    put_on_batch(
        routing, chosen->shard % routing->hub->worker_count,
        &(struct addressees){
            .routes = &somebody, .count = 1, .share = share, .member_shard = chosen->shard});
}

/* Shares that are new since the entry was made get nothing of it. */
static void replay_shares(struct routing *routing, const struct route_set *set,
                          const struct outbox_choice *choices, uint32_t count)
{
    struct outbox_tag tag = routing->delivery.outbox;
    for (uint32_t i = 0; i < count; i++) {
        routing->delivery.outbox.number = tag.number + 1 + i;
        for (uint32_t n = 0; n < set->share_count; n++) {
            struct subscription *any;
            struct route route;
            if (share_choose(set->shares[n], CHOOSE_RANDOM, SHARE_HERE, 0, bytes_of("", 0), 0, &any,
                             &route) &&
                outbox_share_hash(any) == choices[i].stored.filter_hash)
                deliver_to_chosen_shard(routing, set->shares[n], &choices[i].stored);
        }
    }
    routing->delivery.outbox = tag;
}

/* Nothing is known of the shares of an entry: it had none, or it was imported. */
static void replay_to_anybody(struct routing *routing, const struct route_set *set)
{
    routing->delivery.outbox = (struct outbox_tag){0}; /* tells nothing of a member */
    for (uint32_t i = 0; i < set->share_count; i++)
        deliver_to_share(routing, set->shares[i]);
}

static void deliver_to_members(struct routing *routing, const struct outbox_choice *choices,
                               uint32_t count)
{
    struct outbox_tag tag = routing->delivery.outbox;
    for (uint32_t i = 0; i < count; i++) {
        const struct outbox_choice *choice = &choices[i];
        routing->delivery.outbox.number = tag.number + 1 + i;
        put_on_batch(routing, session_ref_worker(choice->route.session),
                     &(struct addressees){.routes = &choice->route,
                                          .count = 1,
                                          .member = choice->member,
                                          .share = choice->share});
    }
    routing->delivery.outbox = tag;
}

struct publish_ticket *delivery_dispatch(struct delivery_hub *hub, struct message *message,
                                         struct outbox_tag tag, const struct outbox_choice *choices,
                                         uint32_t count, enum outbox_whom whom)
{
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    enum rc rc;
    const struct publication *publication = &message->publication;
    begin(&routing, hub, publication, message, &wire, NULL);
    routing.delivery.outbox = tag;
    if (tag.replayed && publication->retain && whom == OUTBOX_ALL) {
        delivery_retain(hub, message);
        retained_keep(hub, publication, &routing.source);
    }
    route_find(&hub->reader, publication->topic, ROUTE_AT_ONCE, &set);
    if (whom == OUTBOX_ALL)
        deliver_to_routes(&routing, &set);
    if (choices == NULL)
        replay_to_anybody(&routing, &set);
    else if (tag.replayed)
        replay_shares(&routing, &set, choices, count);
    else
        deliver_to_members(&routing, choices, count);
    struct publish_ticket *ticket = commit_source_close(&routing.source, &rc);
    end(&routing, message);
    return ticket;
}

/* ---- the receiver's side -----------------------------------------------------------------------
 */

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

/* The chosen member went away while the message was on its way: choose again. This goes behind what
 * is in the inbox, on whichever worker; a publisher that waits then waits for that member's shard.
 */
static void choose_again(struct delivery_hub *hub, struct delivery_item *item)
{
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    begin(&routing, hub, &item->publication, item->message, &wire, NULL);
    routing.again = item;
    routing.delivery.outbox = item->outbox;
    routing.delivery.outbox.replayed = false; /* whoever is chosen now has not got it */
    route_find(&hub->reader, item->publication.topic, ROUTE_AT_ONCE, &set);
    for (uint32_t i = 0; i < set.share_count; i++)
        if (set.shares[i] == item->share)
            deliver_to_share(&routing, set.shares[i]);
    item->message = routing.delivery.message;
    mem_free(routing.delivery.copies);
}

/* Every shard that has sessions among the routes has got the entry. */
static void note_arrival(struct delivery_hub *hub, const struct delivery_item *item)
{
    for (uint32_t i = 0; i < item->count; i++) {
        const struct session *session = session_of_ref(hub->sessions, item->routes[i].session);
        if (session != NULL && session_stored(session) &&
            !high_water_covers(hub, session->store, item->outbox))
            high_water_set(hub, session->store, item->outbox);
    }
}

/* Somebody of that shard got the message before the broker ended, or was to get it: finds the
 * member, which is none when it is done, and then there is nothing to deliver. */
static bool find_chosen(struct delivery_hub *hub, struct delivery_item *item)
{
    struct store_shard *store = &hub->sessions->stores[item->member_shard];
    struct route_set set;
    if (high_water_covers(hub, store, item->outbox))
        return false;
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
    begin(&routing, hub, &item->publication, item->message, &wire,
          item->packet.len > 0 ? &ready_made : NULL);
    routing.source.ticket = item->ticket; /* of this worker: it counts those who are asked, too */
    if (!hub->walking)
        more = hub->walking =
            route_walk_begin(&hub->reader, item->publication.topic, item->walk, &set);
    if (hub->walking)
        more = hub->walking = route_walk_step(&hub->reader, item->walk, &set);
    if (set.count > 0)
        routing.block = route_reader_take(&hub->reader);
    deliver_to_routes(&routing, &set);
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
        uint32_t n = run_length(run, item->count - item->next);
        struct share_member *member = NULL;
        if (shared) {
            member = member_of(hub, run, item);
            if (member == NULL) {
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
    more |= deliveries_post_all(hub);
    return more;
}

/* ---- for sessions ------------------------------------------------------------------------------
 */

static void publish_will(struct session_table *table, struct session *session, struct message *will)
{
    struct delivery_hub *hub = table->owner;
    if (will->publication.retain)
        delivery_retain(hub, will);
    if (session_stored(session) && publication_is_awaited(&will->publication)) {
        /* In one batch with the record that the will is gone. */
        outbox_add(hub, session->store, will, OUTBOX_PROMISED);
        message_drop(will);
        return;
    }
    struct publish_outcome outcome = delivery_publish(hub, &will->publication, will, NULL);
    if (outcome.ticket != NULL)
        outcome.ticket->owner = 0; /* nobody waits */
    message_drop(will);
}

void moved_delivered(struct moved_record *record, enum rc rc)
{
    if (rc == RC_OK) /* else the record stays, and the message comes again after the next start */
        session_moved(record);
    mem_free(record);
}

static bool share_orphan(struct session_table *table, struct session *session,
                         struct share_member *member, struct message *message,
                         const struct moved_record *record)
{
    struct delivery_hub *hub = table->owner;
    struct share *share = subscription_share(subscription_of_member(member));
    const struct publication *p = &message->publication;
    struct subscription *other;
    struct route route;
    if (share == NULL || !share_choose(share, hub->router->share_choice, SHARE_HERE,
                                       p->publisher_hash, p->topic, session->ref, &other, &route))
        return false;
    bool online = atomic_load_explicit(&other->member.online, memory_order_relaxed);
    if (!online && !session->ending)
        return false; /* it may as well wait here */
    struct routing routing;
    struct wire_cache wire;
    begin(&routing, hub, p, message, &wire, NULL);
    put_on_batch(
        &routing, session_ref_worker(route.session),
        &(struct addressees){.routes = &route, .count = 1, .member = other, .share = share});
    enum rc rc;
    struct publish_ticket *ticket = commit_source_close(&routing.source, &rc);
    if (ticket != NULL)
        ticket->owner = 0; /* nobody waits, but for the record */
    if (record == NULL)
        return true;
    struct moved_record *moved = NEW(struct moved_record);
    *moved = *record;
    if (ticket != NULL)
        ticket->moved = moved;
    else
        moved_delivered(moved, RC_OK);
    return true;
}

static bool share_inherit(struct session_table *table, struct store_shard *store, session_ref ended,
                          struct bytes share, struct message *message)
{
    struct delivery_hub *hub = table->owner;
    const struct publication *p = &message->publication;
    struct route_set set;
    struct subscription *member;
    struct route route;
    uint64_t wanted = bytes_hash(share);
    route_find(&hub->reader, p->topic, ROUTE_AT_ONCE, &set);
    for (uint32_t i = 0; i < set.share_count; i++) {
        struct share *found = set.shares[i];
        if (!share_choose(found, CHOOSE_RANDOM, SHARE_HERE, 0, p->topic, ended, &member, &route) ||
            outbox_share_hash(member) != wanted ||
            !share_choose(found, hub->router->share_choice, SHARE_HERE, p->publisher_hash, p->topic,
                          ended, &member, &route))
            continue;
        outbox_hand_over(hub, store, message, found, member, &route);
        return true;
    }
    return false;
}

const struct session_ops delivery_session_ops = {
    .ended = delivery_session_ended,
    .publish_will = publish_will,
    .share_orphan = share_orphan,
    .share_inherit = share_inherit,
    .share_filter = delivery_share_filter,
    .share_find = delivery_share_find,
};
