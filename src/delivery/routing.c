/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One publication on its way: to sessions of this worker by a call, to other workers by their
 * batches, to other nodes by their roads. delivery.c asks the trie who gets it.
 */
#include "delivery/routing.h"

#include "base/memory.h"

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

void deliver_run(struct delivery_hub *hub, struct delivery *delivery, const struct route *run,
                 uint32_t count, struct share_member *member, struct commit_source *source,
                 bool *slow)
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

/* ---- the publisher's side ----------------------------------------------------------------------
 */

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

void routing_to_batch(struct routing *routing, uint32_t worker, const struct addressees *to)
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

/* What begins with '$' is each node's own. What is delivered again after a start goes to other
 * nodes when they can tell that it has been there. */
static bool stays_here(const struct routing *routing)
{
    const struct delivery_remote *remote = routing->hub->remote;
    return remote == NULL || routing->from_remote ||
           routing->delivery.publication->topic.data[0] == '$' ||
           (routing->delivery.outbox.replayed &&
            !atomic_load_explicit(&remote->shards_have_homes, memory_order_relaxed));
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
        .outbox =
            hub->remote->shards_have_homes ? routing->delivery.outbox : (struct outbox_tag){0},
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

void routing_to_remote_member(struct routing *routing, const struct route *route, uint64_t share)
{
    forward(routing, route, 1, share);
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
        routing_to_batch(
            routing, worker,
            &(struct addressees){.routes = routes, .count = count, .block = routing->block});
        return;
    }
    hub->work += count;
    routing->delivery.many = count > 1;
    for (uint32_t i = 0; i < count;) {
        uint32_t n = route_run_length(routes + i, count - i);
        deliver_run(hub, &routing->delivery, routes + i, n, NULL, &routing->source,
                    &routing->outcome.slow);
        i += n;
    }
}

void routing_to_share(struct routing *routing, struct share *share)
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
        routing_to_batch(
            routing, worker,
            &(struct addressees){.routes = &route, .count = 1, .member = member, .share = share});
        return;
    }
    hub->work++;
    routing->delivery.many = false;
    deliver_run(hub, &routing->delivery, &route, 1, &member->member, &routing->source,
                &routing->outcome.slow);
}

void routing_begin(struct routing *routing, struct delivery_hub *hub,
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
void routing_end(struct routing *routing, const struct message *message)
{
    if (message == NULL)
        message_drop(routing->delivery.message);
    mem_free(routing->delivery.copies);
    route_block_drop(routing->block);
}

void routing_to_routes(struct routing *routing, const struct route_set *set)
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

void routing_to_set(struct routing *routing, const struct route_set *set)
{
    if (set->too_many)
        deliver_by_walk(routing);
    else
        routing_to_routes(routing, set);
    for (uint32_t i = 0; i < set->share_count; i++)
        routing_to_share(routing, set->shares[i]);
}
