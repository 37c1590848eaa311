/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session costs a message, without any connection: a delivery with its acknowledgement at
 * QoS 0, 1 and 2, and at QoS 1 behind a full window. Nanoseconds a message, median and worst of ten
 * runs. The worst of ten is what stands in for the 99th percentile.
 */
#include "base/check.h"
#include "base/clock.h"
#include "session/session.h"

#include <stdio.h>
#include <stdlib.h>

enum { SESSIONS = 100, RUNS = 10, ROUND = 500 * 1000, WINDOW = 20 };

struct client {
    struct session_sink sink;
    uint16_t last_id, acked_id;
};

static struct session_table table;
static struct store_shard store;
static struct metrics_shard metrics;
static _Atomic uint32_t session_count;
static _Atomic bool memory_full, queues_full;
static struct client clients[SESSIONS];
static struct session *sessions[SESSIONS];

static enum send_result client_publish(struct session_sink *sink, const struct outgoing *outgoing)
{
    CONTAINER_OF(sink, struct client, sink)->last_id = outgoing->packet_id;
    return SEND_OK;
}

static void client_pubrel(struct session_sink *sink, uint16_t packet_id)
{
    (void)sink;
    (void)packet_id;
}

static size_t client_unsent(struct session_sink *sink)
{
    (void)sink;
    return 0;
}

static void client_taken_over(struct session_sink *sink)
{
    (void)sink;
}

static const struct session_sink_ops client_ops = {client_publish, client_pubrel, client_unsent,
                                                   client_taken_over};

static void ended(struct session_table *ending_table, struct session *session)
{
    (void)ending_table;
    session_free(session);
}

static const struct session_ops owner_ops = {.ended = ended};

static void set_up(void)
{
    session_table_init(&table, 0, 1000);
    store_memory_init(&store, 0);
    table.shard_count = 1;
    table.stores = &store;
    table.ops = &owner_ops;
    table.metrics = &metrics;
    table.sessions = &session_count;
    table.memory_full = &memory_full;
    table.queues_full = &queues_full;
    table.limits = (struct session_limits){.sessions_max = SESSIONS,
                                           .queue_messages_max = 1000,
                                           .queue_bytes_max = 1 << 30,
                                           .lag_patience_ms = 1000,
                                           .inflight_max = 1000};
    for (int i = 0; i < SESSIONS; i++) {
        char client_id[16];
        snprintf(client_id, sizeof(client_id), "client%d", i);
        CHECK(session_new(&table, bytes_of_str(client_id), &sessions[i]) == RC_OK);
        clients[i].sink.ops = &client_ops;
        session_attach(sessions[i], &clients[i].sink, 0, WINDOW);
    }
}

/* Every message is another one, as if each came from a publisher of its own. */
static void deliver_one(int i, uint8_t qos)
{
    static const uint8_t payload[64];
    struct publication p = {.topic = bytes_of_str("site/1/device/1/temperature"),
                            .payload = bytes_of(payload, sizeof(payload)),
                            .qos = qos};
    struct delivery delivery = {.publication = &p};
    CHECK(session_deliver(sessions[i], &delivery, &(struct deliver_as){.qos = qos}) == DELIVERED);
    message_drop(delivery.message);
}

static void run_qos0(void)
{
    for (int n = 0; n < ROUND; n++)
        deliver_one(n % SESSIONS, 0);
}

static void run_qos1(void)
{
    for (int n = 0; n < ROUND; n++) {
        int i = n % SESSIONS;
        deliver_one(i, 1);
        CHECK(session_puback(sessions[i], clients[i].last_id) == RC_OK);
    }
}

static void run_qos2(void)
{
    for (int n = 0; n < ROUND; n++) {
        int i = n % SESSIONS;
        deliver_one(i, 2);
        CHECK(session_pubrec(sessions[i], clients[i].last_id, false) == RC_OK);
        CHECK(session_pubcomp(sessions[i], clients[i].last_id) == RC_OK);
    }
}

/* The window is full all the time: each message is queued, and sent when an older one is done. */
static void run_queued(void)
{
    for (int n = 0; n < ROUND; n++) {
        int i = n % SESSIONS;
        struct client *client = &clients[i];
        deliver_one(i, 1);
        if (sessions[i]->inflight->unacknowledged == WINDOW) {
            client->acked_id = client->acked_id % UINT16_MAX + 1;
            CHECK(session_puback(sessions[i], client->acked_id) == RC_OK);
        }
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *what, void (*run)(void))
{
    double ns[RUNS];
    run(); /* warm */
    for (int i = 0; i < RUNS; i++) {
        uint64_t start_ns = clock_ns();
        run();
        ns[i] = (double)(clock_ns() - start_ns) / ROUND;
    }
    qsort(ns, RUNS, sizeof(*ns), by_value);
    printf("%-36s %6.1f ns (median) %6.1f ns (worst of %d)\n", what,
           (ns[RUNS / 2 - 1] + ns[RUNS / 2]) / 2, ns[RUNS - 1], RUNS);
}

int main(void)
{
    set_up();
    measure("QoS 0", run_qos0);
    measure("QoS 1, acknowledged", run_qos1);
    measure("QoS 2, acknowledged", run_qos2);
    for (int i = 0; i < SESSIONS; i++)
        clients[i].acked_id = clients[i].last_id;
    measure("QoS 1 behind a full window", run_queued);
    session_table_deinit(&table);
    return EXIT_SUCCESS;
}
