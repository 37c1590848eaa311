/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of this folder share: a node of two workers in one thread, turned by hand. The
 * wake-up of a mailbox sets a flag; the stores are in memory, or answer when a test says so;
 * clients note down what they are sent.
 */
#ifndef DELIVERY_FIXTURE_H
#define DELIVERY_FIXTURE_H

#include "base/memory.h"
#include "delivery/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WORKERS = 2, STORES = 2, GOT_MAX = 64, CLIENTS_MAX = 16, EVENTS_MAX = 512 };
enum { TEXT_ROOM = 32, NOW_MS = 1000 * 1000 };

/* One PUBLISH as a client got it. */
struct got {
    char topic[TEXT_ROOM], payload[TEXT_ROOM]; /* as much as fits */
    size_t payload_len;
    uint8_t qos;
    bool retain;
    uint32_t identifiers[20], identifier_count;
    struct bytes ready_made; /* there was one for 5.0; valid during the call only */
    char ready_made_copy[64];
};

struct client {
    struct session_sink sink;
    struct session *session;
    struct got got[GOT_MAX]; /* the last ones */
    uint32_t count;
    uint32_t hold_at; /* output is full after so many; 0: never */
};

struct fixture;

struct worker {
    struct fixture *f;
    struct delivery_hub hub;
    struct session_table table;
    struct store_shard stores[STORES];
    struct job_queue jobs;
    struct mailbox mailbox;
    struct delivery_peer peers[WORKERS];
    bool woken;
};

struct fixture {
    struct router router;
    struct retained retained;
    struct metrics metrics;
    _Atomic uint32_t sessions;
    _Atomic bool memory_full, queues_full;
    struct worker workers[WORKERS];
    struct client clients[CLIENTS_MAX];
    uint32_t client_count;
    struct {
        uint64_t number;
        enum rc rc;
    } published[EVENTS_MAX]; /* tickets, in the order of their end */
    int all_routed;
    uint32_t published_count;
    session_ref slowed[EVENTS_MAX];
    uint32_t slowed_count;
    enum delivery_output output;
    uint32_t bulks;         /* times that it became bulk */
    uint32_t caught_up;     /* the last question that was answered */
    uint32_t slowed_before; /* slowed_count at that time */
};

/* ---- the clients ---------------------------------------------------------------------------- */

static inline void copy_text(char out[TEXT_ROOM], struct bytes text)
{
    size_t len = text.len < TEXT_ROOM ? text.len : TEXT_ROOM - 1;
    if (len > 0)
        memcpy(out, text.data, len);
    out[len] = '\0';
}

static inline enum send_result client_publish(struct session_sink *sink,
                                              const struct outgoing *outgoing)
{
    struct client *client = CONTAINER_OF(sink, struct client, sink);
    struct got *got = &client->got[client->count++ % GOT_MAX];
    assert_false(sink->hold);
    *got = (struct got){.qos = outgoing->qos,
                        .retain = outgoing->retain,
                        .payload_len = outgoing->publication->payload.len,
                        .identifier_count = outgoing->identifier_count};
    assert_true(outgoing->identifier_count <= 20);
    for (uint32_t i = 0; i < outgoing->identifier_count; i++)
        got->identifiers[i] = outgoing->identifiers[i];
    copy_text(got->topic, outgoing->publication->topic);
    copy_text(got->payload, outgoing->publication->payload);
    if (outgoing->wire != NULL && outgoing->wire->packet[1].data != NULL) {
        got->ready_made = outgoing->wire->packet[1];
        assert_true(got->ready_made.len <= sizeof(got->ready_made_copy));
        memcpy(got->ready_made_copy, got->ready_made.data, got->ready_made.len);
    }
    if (client->count == client->hold_at)
        sink->hold = true;
    return SEND_OK;
}

static inline void client_pubrel(struct session_sink *sink, uint16_t packet_id)
{
    (void)sink;
    (void)packet_id;
}

static inline size_t client_unsent(struct session_sink *sink)
{
    (void)sink;
    return 0;
}

static inline void client_taken_over(struct session_sink *sink)
{
    (void)sink;
}

static const struct session_sink_ops client_ops = {client_publish, client_pubrel, client_unsent,
                                                   client_taken_over};

/* ---- the workers ---------------------------------------------------------------------------- */

static inline void on_published(struct delivery_hub *hub, struct publish_ticket *ticket, enum rc rc)
{
    struct fixture *f = ((struct worker *)hub->owner)->f;
    assert_true(f->published_count < EVENTS_MAX);
    f->published[f->published_count].number = ticket->number;
    f->published[f->published_count++].rc = rc;
}

static inline void on_slow_down(struct delivery_hub *hub, session_ref publisher, uint32_t worker)
{
    struct fixture *f = ((struct worker *)hub->owner)->f;
    assert_int_not_equal(worker, hub->worker);
    assert_int_equal(hub->worker, session_ref_worker(publisher));
    assert_true(f->slowed_count < EVENTS_MAX);
    f->slowed[f->slowed_count++] = publisher;
}

static inline void on_caught_up(struct delivery_hub *hub, session_ref publisher, uint32_t question)
{
    struct fixture *f = ((struct worker *)hub->owner)->f;
    assert_int_equal(hub->worker, session_ref_worker(publisher));
    f->caught_up = question;
    f->slowed_before = f->slowed_count;
}

static inline void on_output_is(struct delivery_hub *hub, enum delivery_output output)
{
    struct fixture *f = ((struct worker *)hub->owner)->f;
    assert_int_not_equal(f->output, output);
    f->output = output;
    f->bulks += output == OUTPUT_BULK;
}

static inline void on_all_routed(struct delivery_hub *hub)
{
    struct fixture *f = ((struct worker *)hub->owner)->f;
    f->all_routed++;
}

static const struct hub_ops hub_ops = {.published = on_published,
                                       .all_routed = on_all_routed,
                                       .slow_down = on_slow_down,
                                       .output_is = on_output_is,
                                       .caught_up = on_caught_up};

static inline void on_wake(void *owner)
{
    ((struct worker *)owner)->woken = true;
}

static inline void on_wake_at(void *arg, uint64_t at_ms)
{
    (void)arg;
    (void)at_ms;
}

static inline void worker_set_up(struct fixture *f, uint32_t index)
{
    struct worker *worker = &f->workers[index];
    struct session_table *table = &worker->table;
    worker->f = f;
    mailbox_init(&worker->mailbox, on_wake, worker);
    job_queue_init(&worker->jobs);
    session_table_init(table, index, NOW_MS);
    for (uint32_t i = 0; i < STORES; i++)
        store_memory_init(&worker->stores[i], i);
    table->shard_count = STORES;
    table->stores = worker->stores;
    table->wake_at = on_wake_at;
    table->ops = &delivery_session_ops;
    table->owner = &worker->hub;
    table->metrics = metrics_shard_get(&f->metrics, index);
    table->sessions = &f->sessions;
    table->memory_full = &f->memory_full;
    table->queues_full = &f->queues_full;
    table->limits = (struct session_limits){.sessions_max = 100000,
                                            .queue_messages_max = 100000,
                                            .queue_bytes_max = 1 << 30,
                                            .lag_patience_ms = 1000,
                                            .inflight_max = 1000};
    for (uint32_t i = 0; i < WORKERS; i++)
        worker->peers[i] = (struct delivery_peer){
            .mailbox = i == index ? NULL : &f->workers[i].mailbox,
            .hub = &f->workers[i].hub,
            .backlog = &f->workers[i].hub.backlog,
        };
    worker->hub = (struct delivery_hub){.sessions = table,
                                        .router = &f->router,
                                        .retained = &f->retained,
                                        .metrics = table->metrics,
                                        .jobs = &worker->jobs,
                                        .worker = index,
                                        .worker_count = WORKERS,
                                        .peers = worker->peers,
                                        .ops = &hub_ops,
                                        .owner = worker};
    delivery_init(&worker->hub);
}

static inline void open_mail(struct worker *worker)
{
    struct letter *letter = mailbox_take_all(&worker->mailbox);
    worker->woken = false;
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct mail *mail = CONTAINER_OF(letter, struct mail, letter);
        mail->open(mail, &worker->hub);
        letter = next;
    }
}

/* One loop turn of a worker. True: it has more to do at once. */
static inline bool turn(struct fixture *f, uint32_t index)
{
    struct worker *worker = &f->workers[index];
    open_mail(worker);
    bool more = job_queue_run(&worker->jobs);
    more |= delivery_turn(&worker->hub);
    if (!f->workers[0].hub.walking && !f->workers[1].hub.walking) /* both are this thread */
        rcu_quiescent();
    return more;
}

/* Turns both workers until nothing is left to do. */
static inline void settle(struct fixture *f)
{
    for (int turns = 0;; turns++) {
        assert_true(turns < 100000);
        bool more = turn(f, 0);
        more |= turn(f, 1);
        if (!more && !f->workers[0].woken && !f->workers[1].woken)
            return;
    }
}

static inline int fixture_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    rcu_reader_start();
    router_init(&f->router, CHOOSE_ROUND_ROBIN);
    retained_init(&f->retained, 100000, 1 << 30);
    metrics_init(&f->metrics, WORKERS);
    for (uint32_t i = 0; i < WORKERS; i++)
        worker_set_up(f, i);
    *state = f;
    return 0;
}

/* Whatever a test did: sessions that end leave nothing in the router. */
static inline int fixture_tear_down(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < WORKERS; i++)
        for (uint32_t slot = 0; slot < f->workers[i].table.slot_count; slot++)
            if (f->workers[i].table.slots[slot].session != NULL)
                session_end(f->workers[i].table.slots[slot].session);
    settle(f);
    uint32_t nodes_left = f->router.node_count;
    for (uint32_t i = 0; i < WORKERS; i++) {
        delivery_deinit(&f->workers[i].hub);
        session_table_deinit(&f->workers[i].table);
    }
    rcu_sleep();
    rcu_drain();
    rcu_wake();
    router_deinit(&f->router);
    retained_deinit(&f->retained);
    metrics_deinit(&f->metrics);
    rcu_reader_stop();
    free(f);
    return nodes_left == 0 ? 0 : -1;
}

static inline uint64_t metric(const struct fixture *f, enum metric which)
{
    return metrics_read(&f->metrics, which);
}

/* ---- stores that answer when a test says so ------------------------------------------------- */

static enum rc store_answer; /* of the answers that are given next */

static inline enum rc late_wait(struct store_shard *shard, struct store_waiter *waiter)
{
    list_add_last(&shard->waiting, &waiter->link);
    return RC_AGAIN;
}

static inline void late_turn(struct store_shard *shard, uint64_t now_ms)
{
    struct list *link;
    (void)now_ms;
    while ((link = list_take_first(&shard->waiting)) != NULL) {
        struct store_waiter *waiter = CONTAINER_OF(link, struct store_waiter, link);
        waiter->done(waiter, store_answer);
    }
}

static const struct store_ops late_ops = {.wait = late_wait, .turn = late_turn};

static inline void make_late(struct fixture *f, uint32_t worker)
{
    for (uint32_t i = 0; i < STORES; i++)
        f->workers[worker].stores[i].ops = &late_ops;
}

/* One shard of a worker answers everybody who waits. */
static inline void answer(struct fixture *f, uint32_t worker, uint32_t store, enum rc rc)
{
    store_answer = rc;
    store_turn(&f->workers[worker].stores[store], NOW_MS);
}

static inline void answer_all(struct fixture *f, uint32_t worker, enum rc rc)
{
    for (uint32_t i = 0; i < STORES; i++)
        answer(f, worker, i, rc);
}

/* ---- doing things --------------------------------------------------------------------------- */

static inline struct session *session_of(struct fixture *f, uint32_t worker, const char *client_id)
{
    struct session *session = NULL;
    assert_int_equal(session_new(&f->workers[worker].table, bytes_of_str(client_id), &session),
                     RC_OK);
    return session;
}

/* A new session of that worker with a client of its own; expiry 0: not durable. */
static inline struct client *client_of(struct fixture *f, uint32_t worker, uint32_t expiry_s)
{
    char client_id[24];
    assert_true(f->client_count < CLIENTS_MAX);
    struct client *client = &f->clients[f->client_count++];
    snprintf(client_id, sizeof(client_id), "client%u", f->client_count);
    client->sink.ops = &client_ops;
    client->session = session_of(f, worker, client_id);
    session_attach(client->session, &client->sink, expiry_s, UINT16_MAX);
    return client;
}

static inline struct delivery_hub *hub_of(struct session *session)
{
    return session->table->owner;
}

static inline void subscribe_with(struct session *session, const char *filter, const char *share,
                                  const struct subscription_options *options)
{
    assert_int_not_equal(delivery_subscribe(hub_of(session), session, bytes_of_str(filter),
                                            bytes_of_str(share), options),
                         SUBSCRIBE_NO_MEMORY);
}

static inline void subscribe(struct client *client, const char *filter, uint8_t qos)
{
    subscribe_with(client->session, filter, "", &(struct subscription_options){.qos = qos});
}

static inline void join(struct client *client, const char *filter, const char *share)
{
    subscribe_with(client->session, filter, share, &(struct subscription_options){.qos = 1});
}

static inline struct publish_outcome publish_as(struct fixture *f, uint32_t worker,
                                                const struct publication *p)
{
    static uint64_t number;
    struct publish_outcome outcome = delivery_publish(&f->workers[worker].hub, p, NULL, NULL);
    if (outcome.ticket != NULL)
        outcome.ticket->number = ++number;
    return outcome;
}

static inline struct publish_outcome publish(struct fixture *f, uint32_t worker, const char *topic,
                                             const char *payload, uint8_t qos)
{
    return publish_as(f, worker,
                      &(struct publication){.topic = bytes_of_str(topic),
                                            .payload = bytes_of_str(payload),
                                            .qos = qos,
                                            .received_ms = NOW_MS});
}

/* What the client got is just these payloads, "a b c". */
static inline void assert_got(const struct client *client, const char *payloads)
{
    char all[GOT_MAX * TEXT_ROOM] = "";
    assert_true(client->count <= GOT_MAX);
    for (uint32_t i = 0; i < client->count; i++) {
        if (i > 0)
            strcat(all, " ");
        strcat(all, client->got[i].payload);
    }
    assert_string_equal(all, payloads);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, fixture_set_up, fixture_tear_down)

#endif
