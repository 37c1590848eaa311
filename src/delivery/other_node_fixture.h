/* SPDX-License-Identifier: Apache-2.0 */
/* Another node, which is the test: it sees what is sent to it, and says what has become of that. */
#ifndef DELIVERY_OTHER_NODE_FIXTURE_H
#define DELIVERY_OTHER_NODE_FIXTURE_H

#include "delivery/node_fixture.h"

enum { SENT_MAX = 16 };

struct other_node {
    struct delivery_remote remote;
    struct subscription *subscription;
    bool there; /* else there is no way to it */
    bool hangs; /* it does not answer: */
    struct publish_ticket *hanging[SENT_MAX];
    enum rc answer; /* to what asks */
    bool is_home;   /* of all topics and sessions */
    bool nobody_is_home;
    int count, tries, asked_to_apply;
    uint64_t applied;
    struct {
        char payload[TEXT_ROOM];
        struct outbox_tag outbox;
        uint64_t share;
        uint16_t shard; /* of a share */
        bool to_retain;
    } sent[SENT_MAX];
};

static struct other_node other;

static inline bool forward(struct delivery_hub *hub, uint32_t remote,
                           const struct forwarding *forwarding)
{
    (void)hub;
    assert_int_equal(remote, 0);
    other.tries++;
    if (!other.there)
        return false;
    assert_true(other.count < SENT_MAX);
    struct bytes payload = forwarding->publication->payload;
    snprintf(other.sent[other.count].payload, TEXT_ROOM, "%.*s", (int)payload.len, payload.data);
    other.sent[other.count].outbox = forwarding->outbox;
    other.sent[other.count].share = forwarding->share;
    other.sent[other.count].shard = forwarding->member_shard;
    other.sent[other.count++].to_retain = forwarding->to_retain;
    if (forwarding->ticket != NULL && other.hangs)
        other.hanging[other.count - 1] = forwarding->ticket;
    else if (forwarding->ticket != NULL)
        ticket_answered(forwarding->ticket, other.answer);
    return true;
}

static inline bool is_behind(struct delivery_hub *hub, uint32_t remote)
{
    (void)hub;
    (void)remote;
    return false;
}

static inline enum delivery_place home_of(struct delivery_hub *hub, uint32_t shard,
                                          uint32_t *remote)
{
    (void)hub;
    (void)shard;
    *remote = 0;
    return other.nobody_is_home ? HOME_IS_UNKNOWN : other.is_home ? HOME_IS_REMOTE : HOME_IS_HERE;
}

static inline uint64_t sequence(struct delivery_hub *hub, uint32_t shard)
{
    (void)hub;
    (void)shard;
    return 17;
}

static inline bool is_spread(struct delivery_hub *hub, uint32_t shard, uint64_t to)
{
    (void)hub;
    (void)shard;
    return to <= other.applied;
}

static inline void spread(struct delivery_hub *hub)
{
    (void)hub;
    other.asked_to_apply++;
}

static const struct remote_ops other_ops = {.home_of = home_of,
                                            .sequence = sequence,
                                            .is_spread = is_spread,
                                            .spread = spread,
                                            .forward = forward,
                                            .is_behind = is_behind};

/* A subscriber of the other node. */
static inline const struct subscriber_is *there_in(uint16_t shard, uint8_t flags)
{
    static struct subscriber_is who;
    who =
        (struct subscriber_is){.session = session_ref_of_remote(0), .shard = shard, .flags = flags};
    return &who;
}

static inline void meet(struct node *n)
{
    static const struct subscription_options everything = {.qos = 2};
    other = (struct other_node){
        .remote = {.ops = &other_ops, .shards_have_homes = true}, .there = true, .answer = RC_OK};
    other.subscription = router_subscribe(&n->f->router, there_in(NO_SHARD, SUBSCRIPTION_DURABLE),
                                          bytes_of_str("a"), bytes_of_str(""), &everything);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->f->workers[worker].hub.remote = &other.remote;
}

static inline void part(struct node *n)
{
    router_unsubscribe(&n->f->router, other.subscription);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->f->workers[worker].hub.remote = NULL;
}

static inline void publish_twice_safe(struct node *n, struct client *publisher, const char *payload)
{
    struct publication p = {.topic = bytes_of_str("a"),
                            .payload = bytes_of_str(payload),
                            .qos = 2,
                            .received_ms = NOW_MS,
                            .publisher = publisher->session->ref};
    delivery_publish(hub_of(publisher->session), &p, NULL, NULL);
    node_settle(n);
}

static inline void later(struct node *n)
{
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->f->workers[worker].table.now_ms += OUTBOX_AGAIN_MS;
    node_settle(n);
}

static inline void even_later(struct node *n)
{
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->f->workers[worker].table.now_ms += AGAIN_MS;
    node_settle(n);
}

#endif
