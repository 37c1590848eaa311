/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retained messages: into the tree at once, on the publisher's worker; into the store by the worker
 * that is home to the topic's shard. That one writes what the tree has when it looks, so that two
 * publishers on two workers leave the same message in both. One whose durability is memory is not
 * written; the record of the one that it replaces goes.
 */
#include "delivery/batch.h"

#include "base/clock.h"
#include "base/memory.h"
#include "store/record.h"

static bool has_record(const struct message *message)
{
    return message != NULL && message->publication.durability != DURABILITY_MEMORY;
}

static bool nothing_is_stored(const struct delivery_hub *hub)
{
    return hub->sessions->stores[0].ops->at_once;
}

/* Whether the topic's message, as it is now, has a record, or is about to get one. */
static bool retained_has_record(struct delivery_hub *hub, struct bytes topic)
{
    if (nothing_is_stored(hub))
        return false;
    struct message *message = retained_get(hub->retained, topic, 0);
    bool has = has_record(message);
    message_drop(message);
    return has;
}

/* On the home of the shard. */
static void record(struct delivery_hub *hub, struct store_shard *store, struct bytes topic)
{
    struct store_key key = record_key_retained(store->shard, topic);
    struct message *message = retained_get(hub->retained, topic, hub->sessions->now_ms);
    if (!has_record(message)) {
        store_delete(store, STORE_RETAINED, &key);
        message_drop(message);
        return;
    }
    struct record_clock clock = {hub->sessions->now_ms, clock_wall_ms()};
    struct record_value value;
    message_record_encode(&message->publication, &clock, &value);
    record_put(store, STORE_RETAINED, &key, &value);
    message_drop(message);
}

/* To the home of a topic's shard. */
struct retained_mail {
    struct mail mail;
    struct commit_source source;
    struct store_shard *store;
    size_t topic_len;
    uint8_t topic[];
};

static void open_retained(struct mail *mail, void *receiver)
{
    struct delivery_hub *hub = receiver;
    struct retained_mail *asked = CONTAINER_OF(mail, struct retained_mail, mail);
    record(hub, asked->store, bytes_of(asked->topic, asked->topic_len));
    if (asked->source.asked != NULL) {
        asked->source.taken = true;
        commit_source_await_spread(&asked->source, asked->store);
        commit_source_answer(&asked->source);
    }
    mem_free(asked);
}

static void post(struct delivery_hub *hub, uint32_t home, struct store_shard *store,
                 struct bytes topic, const struct commit_source *source,
                 struct publish_ticket *ticket)
{
    struct delivery_peer *peer = &hub->peers[home];
    struct retained_mail *mail = mem_new(sizeof(*mail) + topic.len);
    mail->mail.open = open_retained;
    mail->source = (struct commit_source){.hub = peer->hub,
                                          .answering = true,
                                          .asked = ticket,
                                          .asked_worker = hub->worker,
                                          .durability = source == NULL ? 0 : source->durability};
    mail->store = store;
    mail->topic_len = topic.len;
    memcpy(mail->topic, topic.data, topic.len);
    mailbox_post(peer->mailbox, &mail->mail.letter);
}

static uint32_t shard_of(const struct delivery_hub *hub, struct bytes topic)
{
    return client_id_hash(topic) % hub->sessions->shard_count;
}

static bool is_of_broker(struct bytes topic)
{
    return bytes_starts_with(topic, bytes_of_str("$SYS/"));
}

static enum delivery_place home_of(struct delivery_hub *hub, struct bytes topic, uint32_t *remote)
{
    if (hub->remote == NULL || is_of_broker(topic))
        return HOME_IS_HERE;
    return hub->remote->ops->home_of(hub, shard_of(hub, topic), remote);
}

/* `source` (may be NULL) waits for it. */
static void keep(struct delivery_hub *hub, struct bytes topic, struct commit_source *source)
{
    struct session_table *table = hub->sessions;
    if (nothing_is_stored(hub) || is_of_broker(topic))
        return;
    uint32_t shard = shard_of(hub, topic);
    uint32_t home = shard % hub->worker_count;
    if (home != hub->worker) {
        struct store_shard *there = &hub->peers[home].hub->sessions->stores[shard];
        post(hub, home, there, topic, source, source != NULL ? commit_source_ticket(source) : NULL);
        return;
    }
    record(hub, &table->stores[shard], topic);
    if (source != NULL) {
        source->taken = true;
        commit_source_await_spread(source, &table->stores[shard]);
    }
}

/* To the node that is home of the topic. */
static void forward(struct delivery_hub *hub, uint32_t remote,
                    const struct publication *publication, struct commit_source *source)
{
    struct forwarding forwarding = {
        .publication = publication,
        .to_retain = true,
        .ticket = source != NULL ? commit_source_ticket(source) : NULL,
    };
    if (hub->remote->ops->forward(hub, remote, &forwarding))
        return;
    metric_inc(hub->metrics, METRIC_PUBLISH_DROPPED_NO_LINK);
    if (source != NULL)
        ticket_answered(forwarding.ticket, RC_CLOSED);
}

void retained_keep(struct delivery_hub *hub, const struct publication *publication,
                   struct commit_source *source)
{
    uint32_t remote;
    if (publication->qos == 0)
        source = NULL;
    switch (home_of(hub, publication->topic, &remote)) {
    case HOME_IS_REMOTE:
        forward(hub, remote, publication, source);
        return;
    case HOME_IS_UNKNOWN:
        metric_inc(hub->metrics, METRIC_PUBLISH_DROPPED_NO_LINK);
        if (source != NULL && source->rc == RC_OK)
            source->rc = RC_CLOSED;
        return;
    case HOME_IS_HERE:
        break;
    }
    if (publication->durability == DURABILITY_MEMORY)
        return; /* delivery_retain() has seen to what it replaces */
    keep(hub, publication->topic, source);
}

enum rc delivery_retain(struct delivery_hub *hub, struct message *message)
{
    enum rc rc = RC_OK;
    uint32_t remote;
    if (home_of(hub, message->publication.topic, &remote) != HOME_IS_HERE)
        return RC_OK; /* retained_keep() sends it there */
    bool replaces_record = message->publication.durability == DURABILITY_MEMORY &&
                           retained_has_record(hub, message->publication.topic);
    hub->work += RETAIN_WORK;
    if (message->publication.payload.len == 0)
        retained_clear(hub->retained, message->publication.topic); /* [MQTT-3.3.1-6] */
    else
        rc = retained_set(hub->retained, message);
    if (rc != RC_OK) {
        metric_inc(hub->metrics, METRIC_LIMIT_RETAINED);
        metric_inc(hub->metrics, METRIC_RETAINED_REFUSED);
    } else if (replaces_record) {
        keep(hub, message->publication.topic, NULL);
    }
    return rc;
}

void retained_have(struct delivery_hub *hub, struct message *message)
{
    struct message *has = retained_get(hub->retained, message->publication.topic, 0);
    bool is_it = has == message;
    message_drop(has);
    if (!is_it)
        delivery_retain(hub, message);
}

struct publish_outcome delivery_retain_remote(struct delivery_hub *hub,
                                              const struct publication *publication)
{
    struct publish_outcome outcome = {0};
    struct commit_source source;
    uint32_t remote;
    struct message *message = message_new(publication);
    commit_source_init(&source, hub, publication->durability);
    if (message == NULL)
        source.rc = RC_NO_MEMORY;
    else if (home_of(hub, publication->topic, &remote) != HOME_IS_HERE)
        source.rc = RC_CLOSED;
    else
        source.rc = delivery_retain(hub, message);
    if (source.rc == RC_OK)
        retained_keep(hub, publication, &source);
    outcome.ticket = commit_source_close(&source, &outcome.rc);
    message_drop(message);
    return outcome;
}
