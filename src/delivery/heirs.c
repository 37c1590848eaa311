/* SPDX-License-Identifier: Apache-2.0 */
/* What sessions leave to others: wills, and the messages that came to them through a share. */
#include "delivery/routing.h"

#include "base/memory.h"

static void publish_will(struct session_table *table, struct session *session, struct message *will)
{
    struct delivery_hub *hub = table->owner;
    will->publication.received_ms = table->now_ms; /* it expires from now on */
    if (will->publication.retain)
        delivery_retain(hub, will);
    if (session_stored(session) && publication_is_awaited(&will->publication)) {
        /* In one batch with the record that the will is gone. */
        outbox_add(hub, session->store, will, OUTBOX_PROMISED, NULL);
        message_drop(will);
        return;
    }
    struct publish_outcome outcome = delivery_publish(hub, &will->publication, will, NULL);
    if (outcome.ticket != NULL)
        outcome.ticket->owner = 0; /* nobody waits */
    message_drop(will);
}

struct orphan {
    struct session *session;
    struct share *share;
    struct message *message;
    const struct moved_record *record; /* NULL: it has none, or none any more */
};

void moved_delivered(struct moved_record *record, enum rc rc)
{
    if (rc == RC_OK) /* else the record stays, and the message comes again after the next start */
        session_moved(record);
    mem_free(record);
}

/* An orphan is one that a session leaves in its queue. What is stored goes through the outbox, in
 * one batch with the end of its record: that node may not answer, and nobody would know then
 * whether it has it. */
static bool send_orphan(struct routing *routing, struct orphan *orphan, struct subscription *member,
                        const struct route *route)
{
    if (orphan->record == NULL) {
        struct outbox_share to = {outbox_share_hash(member), member->shard};
        return routing_to_remote_member(routing, route, &to);
    }
    outbox_hand_over(routing->hub, orphan->session->store, orphan->message, orphan->share, member,
                     route);
    session_moved(orphan->record);
    orphan->record = NULL;
    return true;
}

/* To another member: an online one of this node, or if there is none one of another node. False:
 * neither, and it may as well wait here unless the session ends. */
static bool pass_on(struct routing *routing, struct orphan *orphan)
{
    const struct session *session = orphan->session;
    struct share *share = orphan->share;
    struct delivery_hub *hub = routing->hub;
    const struct publication *p = routing->delivery.publication;
    enum share_choice how = hub->router->share_choice;
    struct subscription *here, *other;
    struct route route, away;
    bool any = share_choose(share, how, SHARE_HERE, p->publisher_hash, p->topic, session->ref,
                            &here, &route);
    bool online = any && atomic_load_explicit(&here->member.online, memory_order_relaxed);
    if (!online && routing_may_leave(routing) &&
        share_choose(share, how, SHARE_ANYWHERE, p->publisher_hash, p->topic, session->ref, &other,
                     &away) &&
        session_ref_is_remote(away.session) && send_orphan(routing, orphan, other, &away))
        return true;
    if (!online && !(any && session->ending))
        return false;
    routing_to_batch(
        routing, session_ref_worker(route.session),
        &(struct addressees){.routes = &route, .count = 1, .member = here, .share = share});
    return true;
}

static bool share_orphan(struct session_table *table, struct session *session,
                         struct share_member *member, struct message *message,
                         const struct moved_record *record)
{
    struct delivery_hub *hub = table->owner;
    struct share *share = subscription_share(subscription_of_member(member));
    struct routing routing;
    struct wire_cache wire;
    if (share == NULL)
        return false;
    struct orphan orphan = {session, share, message, record};
    routing_begin(&routing, hub, &message->publication, message, &wire, NULL);
    bool passed = pass_on(&routing, &orphan);
    enum rc rc;
    struct publish_ticket *ticket = commit_source_close(&routing.source, &rc);
    if (ticket != NULL)
        ticket->owner = 0; /* nobody waits, but for the record */
    if (!passed || orphan.record == NULL)
        return passed;
    struct moved_record *moved = NEW(struct moved_record);
    *moved = *orphan.record;
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
    enum share_choice how = hub->router->share_choice;
    struct route_set set;
    struct subscription *member;
    struct route route;
    route_find(&hub->reader, p->topic, ROUTE_AT_ONCE, &set);
    struct share *found = share_of_hash(&set, bytes_hash(share));
    if (found == NULL || (!share_choose(found, how, SHARE_HERE, p->publisher_hash, p->topic, ended,
                                        &member, &route) &&
                          !share_choose(found, how, SHARE_ANYWHERE, p->publisher_hash, p->topic,
                                        ended, &member, &route)))
        return false;
    outbox_hand_over(hub, store, message, found, member, &route);
    return true;
}

const struct session_ops delivery_session_ops = {
    .ended = delivery_session_ended,
    .publish_will = publish_will,
    .share_orphan = share_orphan,
    .share_inherit = share_inherit,
    .share_filter = delivery_share_filter,
    .share_find = delivery_share_find,
};
