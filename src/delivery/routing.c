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

/* The session has ended since the route was found, or moved to another node: then the publication
 * has to go there. Routing it anew tells. */
static void note_gone(const struct delivery_hub *hub, const struct route *route,
                      struct commit_source *source)
{
    if (source != NULL && source->rc == RC_OK && route->qos > 0 &&
        (route->flags & SUBSCRIPTION_DURABLE) && delivery_has_homes(hub))
        source->rc = RC_CLOSED;
}

static void note_result(struct commit_source *source, const struct session *session,
                        enum deliver_result result)
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
        source->rc = store_trouble(session->store) == RC_CLOSED ? RC_CLOSED : RC_FULL;
        break;
    }
}

static bool has_it(struct delivery_hub *hub, const struct delivery *delivery,
                   const struct session *session)
{
    if (!delivery->outbox.replayed)
        return false;
    return session_stored(session) ? high_water_covers(hub, session->store, delivery->outbox)
                                   : high_water_covers_clean(hub, delivery->outbox);
}

bool is_expected_elsewhere(uint32_t elsewhere, const struct session *session)
{
    return elsewhere != 0 && session_stored(session) &&
           (elsewhere >> session->store->shard % SHARD_GROUPS & 1) != 0;
}

void deliver_run(struct delivery_hub *hub, struct delivery *delivery, const struct route *run,
                 uint32_t count, struct share_member *member, struct commit_source *source,
                 bool *slow)
{
    struct session *session = session_of_ref(hub->sessions, run->session);
    if (session == NULL) {
        note_gone(hub, run, source);
        return;
    }
    struct merged merged;
    if (!merge(delivery->publication, run, count, &merged))
        return;
    bool awaited = source != NULL && merged.as.qos > 0 && session_durable(session) &&
                   publication_is_awaited(delivery->publication);
    if (merged.as.qos > 0 && has_it(hub, delivery, session)) {
        if (awaited) /* it may not be safe yet */
            commit_source_await(source, session->store, (struct store_ref){0});
        return;
    }
    if (member == NULL && is_expected_elsewhere(delivery->elsewhere, session)) {
        if (merged.as.qos > 0 && source != NULL && source->rc == RC_OK)
            source->rc = RC_CLOSED;
        return;
    }
    merged.as.share = member;
    enum deliver_result result = session_deliver(session, delivery, &merged.as);
    if (result == DELIVERED_LAGGING || result == NOT_DELIVERED_LAGGING)
        *slow = true;
    if (merged.as.qos == 0 || source == NULL)
        return;
    note_result(source, session, result);
    if (awaited)
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

/* It is not answered after all. */
static void asker_give_back(struct routing *routing, struct asker asker)
{
    if (asker.ticket == NULL)
        return;
    if (routing->again != NULL)
        routing->again->ticket = asker.ticket;
    else
        asker.ticket->remaining--; /* the source's own is left */
}

void routing_to_batch(struct routing *routing, uint32_t worker, const struct addressees *to)
{
    struct delivery_hub *hub = routing->hub;
    bool may_have_gone = to->member != NULL && routing->delivery.outbox.number != 0;
    struct asker asker =
        asker_of(routing, may_have_gone || waits_for_commit(routing, to->routes, to->count));
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

/* False: there is no way to the node, and the ticket (NULL: nobody waits) was not taken. */
static bool send_away(struct routing *routing, const struct route *route,
                      const struct outbox_share *to, struct publish_ticket *ticket)
{
    struct delivery_hub *hub = routing->hub;
    uint32_t worker = session_ref_worker(route->session);
    const struct remote_ops *ops = hub->remote->ops;
    struct forwarding forwarding = {
        .publication = routing->delivery.publication,
        .message = routing->delivery.message,
        .share = to->filter_hash,
        .member_shard = to->shard,
        .outbox =
            hub->remote->shards_have_homes ? routing->delivery.outbox : (struct outbox_tag){0},
        .ticket = ticket,
    };
    if (!ops->forward(hub, worker - REMOTE_FIRST, &forwarding)) {
        metric_inc(hub->metrics, METRIC_PUBLISH_DROPPED_NO_LINK);
        return false;
    }
    metric_inc(hub->metrics, METRIC_PUBLISH_FORWARDED);
    if (ticket == NULL)
        routing->source.taken = true; /* nobody will say */
    if (ops->is_behind(hub, worker - REMOTE_FIRST)) {
        routing->outcome.backlog = true;
        routing->outcome.behind = worker;
    }
    return true;
}

/* To another node, once however many of its subscriptions match. */
static void forward(struct routing *routing, const struct route *run, uint32_t count)
{
    if (stays_here(routing))
        return;
    bool waits = waits_for_commit(routing, run, count);
    struct publish_ticket *ticket = waits ? commit_source_ticket(&routing->source) : NULL;
    static const struct outbox_share no_share = {.shard = NO_SHARD};
    if (!send_away(routing, run, &no_share, ticket) && waits)
        ticket_answered(ticket, RC_CLOSED);
}

/* Routes of one worker. */
static void deliver_to_worker(struct routing *routing, uint32_t worker, const struct route *routes,
                              uint32_t count)
{
    struct delivery_hub *hub = routing->hub;
    if (worker >= REMOTE_FIRST) {
        forward(routing, routes, count);
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

/* ---- shares ------------------------------------------------------------------------------------
 */

/*
 * A message of QoS 1 or 2 on its way to a member on another node. Another one gets it when there is
 * no member any more, and at QoS 1 also when nobody can know whether that node has taken it: it may
 * then come twice, and one of QoS 2 must not [MQTT-4.8.2-5].
 */
struct share_watch {
    struct delivery_hub *hub;
    struct message *message;
    struct asker asker; /* who is told in the end; ticket NULL: nobody */
    uint64_t share;
    session_ref sent_to;
    uint8_t qos;  /* with which that member would get it */
    bool durable; /* the member that it was sent to may have a stored session */
};

static bool is_watched(const struct routing *routing, const struct route *route)
{
    const struct publication *p = routing->delivery.publication;
    return route->qos > 0 && publication_is_awaited(p) && routing->delivery.outbox.number == 0;
}

static void watch_free(struct share_watch *watch)
{
    message_drop(watch->message);
    mem_free(watch);
}

/* Takes the watch when that is true. */
static bool send_watched(struct routing *routing, const struct route *route,
                         struct share_watch *watch)
{
    struct publish_ticket *ticket = NEW(struct publish_ticket);
    *ticket = (struct publish_ticket){.hub = routing->hub, .remaining = 1, .watch = watch};
    watch->sent_to = route->session;
    uint8_t qos = watch->message->publication.qos;
    watch->qos = route->qos < qos ? route->qos : qos;
    watch->durable = route->flags & SUBSCRIPTION_DURABLE;
    struct outbox_share to = {watch->share, NO_SHARD};
    if (send_away(routing, route, &to, ticket))
        return true;
    mem_free(ticket);
    return false;
}

static bool send_to_share(struct routing *routing, const struct route *route,
                          const struct outbox_share *to)
{
    struct message *message = NULL;
    if (is_watched(routing, route))
        message = delivery_message(&routing->delivery);
    /* Of an outbox: it is sent again, or to another member, unless that node says that it has it.
     */
    struct asker asker =
        asker_of(routing, message != NULL || routing->delivery.outbox.number != 0 ||
                              waits_for_commit(routing, route, 1));
    bool sent;
    if (message == NULL) {
        sent = send_away(routing, route, to, asker.ticket);
    } else {
        struct share_watch *watch = NEW(struct share_watch);
        *watch = (struct share_watch){.hub = routing->hub,
                                      .message = message_hold(message),
                                      .asker = asker,
                                      .share = to->filter_hash};
        sent = send_watched(routing, route, watch);
        if (!sent)
            watch_free(watch);
    }
    if (!sent)
        asker_give_back(routing, asker);
    return sent;
}

/* Who gets a message of the share; who is away and cannot be reached does not. False: nobody, or it
 * is on its way to another node already. */
static bool choose_reachable(struct routing *routing, struct share *share,
                             struct subscription **member, struct route *route)
{
    const struct publication *p = routing->delivery.publication;
    enum share_choice how = routing->hub->router->share_choice;
    enum share_reach reach =
        stays_here(routing) ? SHARE_HERE : share_reach_of(routing->hub->router);
    session_ref not_this = 0;
    bool is_missed = false;
    while (share_choose(share, how, reach, p->publisher_hash, p->topic, not_this, member, route)) {
        if (!session_ref_is_remote(route->session))
            return true;
        struct outbox_share to = {outbox_share_hash(*member), (*member)->shard};
        if (send_to_share(routing, route, &to))
            return false;
        is_missed |= waits_for_commit(routing, route, 1);
        if (not_this != 0)
            reach = SHARE_HERE; /* that was the second */
        not_this = route->session;
    }
    if (is_missed)
        (routing->again == NULL ? &routing->source : &routing->again->source)->rc = RC_CLOSED;
    return false;
}

void routing_to_share(struct routing *routing, struct share *share)
{
    struct delivery_hub *hub = routing->hub;
    struct subscription *member;
    struct route route;
    if (!choose_reachable(routing, share, &member, &route))
        return;
    uint32_t worker = session_ref_worker(route.session);
    /* One that ended, and has not left the share yet, is found out when the batch is worked off. */
    if (worker != hub->worker || deliveries_pending(hub) || routing->delivery.outbox.number != 0 ||
        session_of_ref(hub->sessions, route.session) == NULL) {
        routing_to_batch(routing, worker,
                         &(struct addressees){.routes = &route,
                                              .count = 1,
                                              .member = member,
                                              .share = share,
                                              .member_shard = member->shard});
        return;
    }
    hub->work++;
    routing->delivery.many = false;
    deliver_run(hub, &routing->delivery, &route, 1, &member->member, &routing->source,
                &routing->outcome.slow);
}

bool routing_may_leave(const struct routing *routing)
{
    return !stays_here(routing);
}

bool routing_to_remote_member(struct routing *routing, const struct route *route,
                              const struct outbox_share *to)
{
    return stays_here(routing) || send_to_share(routing, route, to);
}

bool shard_is_here(struct delivery_hub *hub, uint32_t shard)
{
    uint32_t remote;
    return hub->remote == NULL || hub->remote->ops->home_of(hub, shard, &remote) == HOME_IS_HERE;
}

struct share *share_of_hash(const struct route_set *set, uint64_t hash)
{
    struct subscription *any;
    struct route route;
    for (uint32_t i = 0; i < set->share_count; i++)
        if (share_choose(set->shares[i], CHOOSE_RANDOM, SHARE_ANYWHERE, 0, bytes_of("", 0), 0, &any,
                         &route) &&
            outbox_share_hash(any) == hash)
            return set->shares[i];
    return NULL;
}

/* True: who waits will be answered. */
static bool pass_on(struct share_watch *watch, struct routing *routing, struct share *share,
                    bool *taken)
{
    struct delivery_hub *hub = watch->hub;
    const struct publication *p = &watch->message->publication;
    enum share_choice how = hub->router->share_choice;
    session_ref not_this = watch->sent_to;
    struct subscription *member;
    struct route route;
    if (!share_choose(share, how, SHARE_ANYWHERE, p->publisher_hash, p->topic, not_this, &member,
                      &route))
        return false;
    if (session_ref_is_remote(route.session) && send_watched(routing, &route, watch))
        return true;
    if (session_ref_is_remote(route.session) &&
        !share_choose(share, how, SHARE_HERE, p->publisher_hash, p->topic, not_this, &member,
                      &route))
        return false;
    bool waits = waits_for_commit(routing, &route, 1);
    struct asker nobody = {hub->worker, NULL};
    *taken = deliveries_add(
        hub, session_ref_worker(route.session), &routing->delivery, NULL,
        waits ? watch->asker : nobody,
        &(struct addressees){.routes = &route, .count = 1, .member = member, .share = share});
    if (waits)
        watch_free(watch);
    return waits;
}

/* RC_IO, RC_AGAIN: the node did not take it, or its store did not. */
static bool may_go_elsewhere(const struct share_watch *watch, enum rc rc)
{
    if (rc == RC_OK || rc == RC_REFUSED || rc == RC_FULL)
        return false;
    return watch->qos == 1 || rc == RC_NOT_FOUND ||
           ((rc == RC_IO || rc == RC_AGAIN) && !watch->durable);
}

void share_watch_answered(struct share_watch *watch, enum rc rc)
{
    struct delivery_hub *hub = watch->hub;
    struct routing routing;
    struct wire_cache wire;
    struct route_set set;
    bool taken = false;
    if (may_go_elsewhere(watch, rc)) {
        struct message *message = message_hold(watch->message);
        routing_begin(&routing, hub, &message->publication, message, &wire, NULL);
        route_find(&hub->reader, message->publication.topic, ROUTE_AT_ONCE, &set);
        struct share *share = share_of_hash(&set, watch->share);
        bool passed = share != NULL && pass_on(watch, &routing, share, &taken);
        routing_end(&routing, message);
        message_drop(message);
        if (passed)
            return;
    }
    bool has_gone = rc == RC_NOT_FOUND || (rc == RC_CLOSED && !watch->durable);
    if (taken || has_gone) /* whoever was to get it has left the share, or ended with its node */
        rc = RC_OK;
    if (watch->asker.ticket != NULL)
        answers_add(hub, watch->asker.worker, watch->asker.ticket, 0, rc);
    watch_free(watch);
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
