/* SPDX-License-Identifier: Apache-2.0 */
/* What sessions leave to others: wills, and the messages that came to them through a share. */
#include "delivery/routing.h"

#include "base/memory.h"

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
    routing_begin(&routing, hub, p, message, &wire, NULL);
    routing_to_batch(
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
