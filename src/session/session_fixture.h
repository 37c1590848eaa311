/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of this folder share: a table of sessions on a store in memory, a client that
 * notes down what it is sent, and an owner that notes down wills and orphans. Time stands still
 * until a test moves it.
 */
#ifndef SESSION_FIXTURE_H
#define SESSION_FIXTURE_H

#include "session/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PACKETS_MAX = 512, PAYLOAD_ROOM = 24, STORES = 4, START_MS = 5 * 1000 * 1000, TICK_MS = 16 };

struct packet {
    bool pubrel; /* else PUBLISH */
    uint16_t packet_id;
    uint8_t qos;
    bool dup, retain;
    uint32_t identifiers[4], identifier_count;
    char payload[PAYLOAD_ROOM];
};

struct client {
    struct session_sink sink;
    struct packet packets[PACKETS_MAX];
    uint32_t count;
    size_t payload_max; /* what is longer does not fit its maximum packet size */
    uint32_t hold_at;   /* as many packets fill its output; 0: none do */
    size_t unsent;      /* bytes that it has not read yet */
    bool failing;       /* the connection is ending */
};

struct fixture {
    struct session_table table;
    struct metrics metrics;
    struct store_shard stores[STORES];
    _Atomic uint32_t sessions;
    _Atomic bool memory_full, queues_full;
    struct client client;
    struct share_member member; /* lives longer than what counts for it */
    uint64_t wake_at_ms;        /* the last that the table asked for */
    uint32_t ended;
    char wills[8][PAYLOAD_ROOM];
    uint32_t will_count;
    char orphans[PACKETS_MAX][PAYLOAD_ROOM]; /* all that were offered */
    uint32_t orphan_count;
    uint32_t adopt; /* of the orphans, the first so many find another member */
};

static inline void copy_payload(char out[PAYLOAD_ROOM], const struct publication *p)
{
    assert_true(p->payload.len < PAYLOAD_ROOM);
    memset(out, 0, PAYLOAD_ROOM);
    if (p->payload.len > 0)
        memcpy(out, p->payload.data, p->payload.len);
}

/* ---- the client ----------------------------------------------------------------------------- */

static inline struct packet *client_packet(struct client *client)
{
    assert_true(client->count < PACKETS_MAX);
    struct packet *packet = &client->packets[client->count++];
    *packet = (struct packet){0};
    if (client->count == client->hold_at)
        client->sink.hold = true;
    return packet;
}

static inline enum send_result client_publish(struct session_sink *sink,
                                              const struct outgoing *outgoing)
{
    struct client *client = CONTAINER_OF(sink, struct client, sink);
    assert_false(sink->hold); /* nobody sends to a client whose output is full */
    if (client->failing)
        return SEND_FAILED;
    if (outgoing->publication->payload.len > client->payload_max)
        return SEND_TOO_LARGE;
    struct packet *packet = client_packet(client);
    packet->packet_id = outgoing->packet_id;
    packet->qos = outgoing->qos;
    packet->dup = outgoing->dup;
    packet->retain = outgoing->retain;
    packet->identifier_count = outgoing->identifier_count;
    for (uint32_t i = 0; i < outgoing->identifier_count && i < 4; i++)
        packet->identifiers[i] = outgoing->identifiers[i];
    copy_payload(packet->payload, outgoing->publication);
    return SEND_OK;
}

static inline void client_pubrel(struct session_sink *sink, uint16_t packet_id)
{
    struct packet *packet = client_packet(CONTAINER_OF(sink, struct client, sink));
    packet->pubrel = true;
    packet->packet_id = packet_id;
}

static inline size_t client_unsent(struct session_sink *sink)
{
    return CONTAINER_OF(sink, struct client, sink)->unsent;
}

static inline void client_taken_over(struct session_sink *sink)
{
    (void)sink;
}

static const struct session_sink_ops client_ops = {
    .publish = client_publish,
    .pubrel = client_pubrel,
    .unsent = client_unsent,
    .taken_over = client_taken_over,
};

/* ---- the owner ------------------------------------------------------------------------------ */

static inline void owner_ended(struct session_table *table, struct session *session)
{
    ((struct fixture *)table->owner)->ended++;
    session_free(session);
}

static inline void owner_publish_will(struct session_table *table, struct session *session,
                                      struct message *will)
{
    struct fixture *f = table->owner;
    assert_null(session->will); /* it cannot be published twice */
    assert_true(f->will_count < 8);
    copy_payload(f->wills[f->will_count++], &will->publication);
    message_drop(will);
}

static inline bool owner_share_orphan(struct session_table *table, struct session *session,
                                      struct share_member *member, struct message *message,
                                      const struct moved_record *record)
{
    struct fixture *f = table->owner;
    (void)session;
    (void)record;
    assert_non_null(member);
    copy_payload(f->orphans[f->orphan_count], &message->publication);
    return f->orphan_count++ < f->adopt;
}

static const struct session_ops owner_ops = {
    .ended = owner_ended,
    .publish_will = owner_publish_will,
    .share_orphan = owner_share_orphan,
};

static inline void owner_wake_at(void *arg, uint64_t at_ms)
{
    ((struct fixture *)arg)->wake_at_ms = at_ms;
}

/* ---- the fixture ---------------------------------------------------------------------------- */

static inline void table_set_up(struct fixture *f, struct session_table *table, uint32_t worker)
{
    session_table_init(table, worker, START_MS);
    table->shard_count = STORES;
    table->stores = f->stores;
    table->wake_at = owner_wake_at;
    table->wake_arg = f;
    table->ops = &owner_ops;
    table->owner = f;
    table->metrics = metrics_shard_get(&f->metrics, 0);
    table->sessions = &f->sessions;
    table->memory_full = &f->memory_full;
    table->queues_full = &f->queues_full;
    table->limits = (struct session_limits){
        .sessions_max = 100000,
        .queue_messages_max = 1000,
        .queue_bytes_max = 1 << 20,
        .inflight_max = 100,
        .lag_patience_ms = 1000,
    };
}

static inline int fixture_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    metrics_init(&f->metrics, 1);
    for (uint32_t i = 0; i < STORES; i++)
        store_memory_init(&f->stores[i], i);
    table_set_up(f, &f->table, 3);
    f->client.sink.ops = &client_ops;
    f->client.payload_max = PAYLOAD_ROOM - 1;
    *state = f;
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    struct fixture *f = *state;
    session_table_deinit(&f->table);
    metrics_deinit(&f->metrics);
    free(f);
    return 0;
}

static inline uint64_t metric(const struct fixture *f, enum metric which)
{
    return metrics_read(&f->metrics, which);
}

/* Moves time on. */
static inline void pass(struct fixture *f, uint64_t ms)
{
    while (session_table_advance(&f->table, f->table.now_ms + ms))
        ms = 0;
}

/* ---- sessions ------------------------------------------------------------------------------- */

static inline struct session *session_of(struct fixture *f, const char *client_id)
{
    struct session *session = NULL;
    assert_int_equal(session_new(&f->table, bytes_of_str(client_id), &session), RC_OK);
    return session;
}

static inline void attach(struct fixture *f, struct session *session, uint32_t expiry_s)
{
    f->client.count = 0;
    f->client.sink.hold = false;
    session_attach(session, &f->client.sink, expiry_s, UINT16_MAX);
}

/* A session of that expiry interval with the fixture's client. */
static inline struct session *connected(struct fixture *f, uint32_t expiry_s)
{
    struct session *session = session_of(f, "client");
    attach(f, session, expiry_s);
    return session;
}

/* The connection breaks and the client comes back. */
static inline void reconnect(struct fixture *f, struct session *session, uint16_t receive_maximum)
{
    session_detach(session, SESSION_WILL_KEEP);
    f->client.count = 0;
    f->client.sink.hold = false;
    session_attach(session, &f->client.sink, session->expiry_s, receive_maximum);
    session_resume(session);
}

static inline struct message *will_of(const char *payload)
{
    struct publication p = {.topic = bytes_of_str("will"), .payload = bytes_of_str(payload)};
    struct message *message = message_new(&p);
    assert_non_null(message);
    return message;
}

static inline enum deliver_result deliver_publication(struct session *session,
                                                      const struct publication *p,
                                                      const struct deliver_as *as)
{
    struct delivery delivery = {.publication = p};
    enum deliver_result result = session_deliver(session, &delivery, as);
    message_drop(delivery.message);
    return result;
}

static inline enum deliver_result deliver_as(struct session *session, const char *payload,
                                             const struct deliver_as *as)
{
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str(payload),
                            .qos = as->qos,
                            .received_ms = START_MS};
    return deliver_publication(session, &p, as);
}

static inline enum deliver_result deliver(struct session *session, const char *payload, uint8_t qos)
{
    return deliver_as(session, payload, &(struct deliver_as){.qos = qos});
}

/* A message for each letter; what became of the last. */
static inline enum deliver_result deliver_letters(struct session *session, const char *letters,
                                                  uint8_t qos)
{
    enum deliver_result result = DELIVERED;
    for (; *letters != '\0'; letters++)
        result = deliver(session, (char[]){*letters, '\0'}, qos);
    return result;
}

/* The client was sent just these PUBLISH packets, "a b c". */
static inline void assert_sent(const struct fixture *f, const char *payloads)
{
    char all[PACKETS_MAX * PAYLOAD_ROOM] = "";
    for (uint32_t i = 0; i < f->client.count; i++) {
        if (f->client.packets[i].pubrel)
            continue;
        if (*all != '\0')
            strcat(all, " ");
        strcat(all, f->client.packets[i].payload);
    }
    assert_string_equal(all, payloads);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, fixture_set_up, fixture_tear_down)

#endif
