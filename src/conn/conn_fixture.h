/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of this folder share: a node of two workers in one thread, turned by hand, with
 * everything below a connection real. A client is the other end of a socket pair, which sends and
 * expects packets. The stores are in memory, or answer when a test says so. Time does not pass by
 * itself in a test: age() makes everything so much older.
 */
#ifndef CONN_FIXTURE_H
#define CONN_FIXTURE_H

#include "base/clock.h"
#include "base/log.h"
#include "base/rcu.h"
#include "conn/connection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKERS = 2, STORES = 4, CLIENTS_MAX = 300, READ_SIZE = 64 * 1024, QUIET_TURNS = 4 };
enum { FIXTURE_DEADLINE_MS = 10 * 1000 };

/* What a client got and has not been looked at. */
struct client {
    struct fixture *f;
    int fd; /* -1: closed by the client */
    uint8_t version;
    char id[24];
    uint8_t *in;
    size_t len, taken, room;
    bool ended; /* the broker closed */
    struct frame frame;
};

struct worker {
    struct fixture *f;
    struct loop loop;
    struct mailbox mailbox;
    struct job_queue jobs;
    struct session_table sessions;
    struct store_shard stores[STORES];
    struct delivery_peer peers[WORKERS];
    struct delivery_hub hub;
    struct conn_worker conns;
    bool jobs_wait; /* a test does their steps itself */
};

struct fixture {
    struct config config;
    struct conn_shared shared;
    struct router router;
    struct retained retained;
    struct metrics metrics;
    struct worker workers[WORKERS];
    struct client clients[CLIENTS_MAX];
    uint32_t client_count;
    uint32_t moves;
};

/* ---- the workers ---------------------------------------------------------------------------- */

static inline void on_wake(void *owner)
{
    loop_wake(&((struct worker *)owner)->loop);
}

static inline void on_wake_at(void *arg, uint64_t at_ms)
{
    (void)arg;
    (void)at_ms;
}

static inline void on_move(void *owner, uint32_t to, int fd, const struct conn_origin *origin,
                           struct stream_filter *filter, uint8_t *unread, size_t unread_len)
{
    struct fixture *f = ((struct worker *)owner)->f;
    f->moves++;
    conn_accept(&f->workers[to].conns, fd, origin, filter, unread, unread_len);
}

static const struct conn_worker_ops fixture_conn_ops = {.move = on_move};

static inline bool on_turn(void *owner)
{
    struct worker *worker = owner;
    worker->sessions.now_ms = worker->loop.now_ms;
    struct letter *letter = mailbox_take_all(&worker->mailbox);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct mail *mail = CONTAINER_OF(letter, struct mail, letter);
        mail->open(mail, &worker->hub);
        letter = next;
    }
    bool more = session_table_advance(&worker->sessions, worker->loop.now_ms);
    more |= conn_worker_turn(&worker->conns);
    if (!worker->jobs_wait)
        more |= job_queue_run(&worker->jobs);
    more |= delivery_turn(&worker->hub);
    rcu_quiescent();
    return more;
}

static const struct loop_ops fixture_loop_ops = {.turn = on_turn};

static inline void worker_set_up(struct fixture *f, uint32_t index)
{
    struct worker *worker = &f->workers[index];
    worker->f = f;
    loop_init(&worker->loop, &fixture_loop_ops, worker);
    mailbox_init(&worker->mailbox, on_wake, worker);
    job_queue_init(&worker->jobs);
    for (uint32_t i = 0; i < STORES; i++)
        store_memory_init(&worker->stores[i], i);
    struct session_table *table = &worker->sessions;
    session_table_init(table, index, worker->loop.now_ms);
    table->shard_count = STORES;
    table->stores = worker->stores;
    table->wake_at = on_wake_at;
    table->ops = &delivery_session_ops;
    table->owner = &worker->hub;
    table->metrics = metrics_shard_get(&f->metrics, index);
    table->sessions = &f->shared.sessions;
    table->memory_full = &f->shared.memory_full;
    table->queues_full = &f->shared.queues_full;
    table->limits = (struct session_limits){.sessions_max = 1000,
                                            .queue_messages_max = 1000,
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
                                        .ops = &conn_hub_ops,
                                        .owner = &worker->conns};
    delivery_init(&worker->hub);
    worker->conns = (struct conn_worker){.shared = &f->shared,
                                         .loop = &worker->loop,
                                         .hub = &worker->hub,
                                         .sessions = table,
                                         .metrics = table->metrics,
                                         .jobs = &worker->jobs,
                                         .worker = index,
                                         .worker_count = WORKERS,
                                         .ops = &fixture_conn_ops,
                                         .owner = worker};
    conn_worker_init(&worker->conns);
}

/* One turn of both workers that does not wait. True: there is more to do at once. */
static inline bool turn(struct fixture *f)
{
    bool more = false;
    for (uint32_t i = 0; i < WORKERS; i++) {
        loop_turn(&f->workers[i].loop, LOOP_LOOK);
        more |= f->workers[i].loop.more;
    }
    return more;
}

/* Turns until nothing is left to do. */
static inline void settle(struct fixture *f)
{
    int turns = 0;
    for (int quiet = 0; quiet < QUIET_TURNS; turns++) {
        assert_true(turns < 100000);
        quiet = turn(f) ? 0 : quiet + 1;
    }
}

#define TURN_UNTIL(f, condition)                                                                   \
    do {                                                                                           \
        uint64_t deadline_ms_ = clock_ms() + FIXTURE_DEADLINE_MS;                                  \
        while (!(condition)) {                                                                     \
            turn(f);                                                                               \
            if (clock_ms() > deadline_ms_)                                                         \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

static inline int fixture_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    log_set_level(LOG_ERROR);
    rcu_reader_start();
    config_defaults(&f->config);
    f->config.shards = STORES;
    f->shared.config = &f->config;
    router_init(&f->router, CHOOSE_ROUND_ROBIN);
    retained_init(&f->retained, 1000, 1 << 30);
    metrics_init(&f->metrics, WORKERS);
    for (uint32_t i = 0; i < WORKERS; i++)
        worker_set_up(f, i);
    *state = f;
    return 0;
}

static inline void answer_all(struct fixture *f, enum rc rc);

/* Whatever a test did: nothing is left of it. */
static inline int fixture_tear_down(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 0; i < WORKERS; i++)
        conn_worker_close(&f->workers[i].conns);
    settle(f);
    answer_all(f, RC_OK);
    bool clean = f->shared.connections == 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct worker *worker = &f->workers[i];
        clean &= list_empty(&worker->conns.orphans);
        for (uint32_t slot = 0; slot < worker->sessions.slot_count; slot++)
            if (worker->sessions.slots[slot].session != NULL)
                session_end(worker->sessions.slots[slot].session);
    }
    settle(f);
    clean &= f->router.node_count == 0 && f->shared.sessions == 0;
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct worker *worker = &f->workers[i];
        clean &= worker->loop.buffered_bytes == 0;
        conn_worker_deinit(&worker->conns);
        session_table_deinit(&worker->sessions);
        delivery_deinit(&worker->hub);
        loop_deinit(&worker->loop);
    }
    rcu_sleep();
    rcu_drain();
    rcu_wake();
    router_deinit(&f->router);
    retained_deinit(&f->retained);
    clean &= metrics_read(&f->metrics, METRIC_CONNECTIONS_CURRENT) == 0;
    clean &= metrics_read(&f->metrics, METRIC_CONNECTIONS_OPENED) ==
             metrics_read(&f->metrics, METRIC_CONNECTIONS_CLOSED);
    metrics_deinit(&f->metrics);
    rcu_reader_stop();
    for (uint32_t i = 0; i < f->client_count; i++) {
        if (f->clients[i].fd >= 0)
            close(f->clients[i].fd);
        free(f->clients[i].in);
    }
    free(f);
    return clean ? 0 : -1;
}

static inline uint64_t metric(const struct fixture *f, enum metric which)
{
    return metrics_read(&f->metrics, which);
}

/* Bytes that are allocated when nothing waits to be freed. */
static inline size_t memory_used(void)
{
    rcu_sleep();
    rcu_drain();
    rcu_wake();
    return mallinfo2().uordblks;
}

/*
 * Does it many times, and sees to it that memory does not grow with that. Under a sanitizer nothing
 * ever seems to grow, but it has an eye of its own on leaks.
 */
static inline void assert_frees(struct client *client, void (*once)(struct client *client))
{
    enum { TIMES = 500, GROWTH_MAX = 16 * 1024 };
    once(client);
    size_t before = memory_used();
    for (int i = 0; i < TIMES; i++)
        once(client);
    assert_true(memory_used() < before + GROWTH_MAX);
}

/* ---- time ----------------------------------------------------------------------------------- */

/* Every timer of the wheel is due so much earlier. */
static inline void timers_age(struct timer_wheel *wheel, uint64_t ms)
{
    static struct timer *timers[2 * CLIENTS_MAX];
    size_t count = 0;
    for (size_t level = 0; level < WHEEL_LEVELS; level++)
        for (size_t slot = 0; slot < WHEEL_SLOTS; slot++)
            LIST_FOR_EACH (link, &wheel->slots[level][slot]) {
                assert_true(count < 2 * CLIENTS_MAX);
                timers[count++] = CONTAINER_OF(link, struct timer, link);
            }
    for (size_t i = 0; i < count; i++)
        timer_start(wheel, timers[i], timers[i]->deadline_ms - ms);
}

/* Everything that waits for a moment has waited so much longer. */
static inline void age(struct fixture *f, uint64_t ms)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        LIST_FOR_EACH (link, &f->workers[i].conns.connections)
            CONTAINER_OF(link, struct conn, link)->last_in_ms -= ms;
        timers_age(&f->workers[i].loop.wheel, ms);
    }
}

/* The same, and what is due then has fired. */
static inline void pass(struct fixture *f, uint64_t ms)
{
    age(f, ms);
    uint64_t next_tick_ms = clock_ms() + (1 << TIMER_TICK_SHIFT) + 1;
    TURN_UNTIL(f, clock_ms() >= next_tick_ms);
    settle(f);
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

static inline void make_late(struct fixture *f)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        for (uint32_t n = 0; n < STORES; n++)
            f->workers[i].stores[n].ops = &late_ops;
}

static inline void make_early(struct fixture *f)
{
    struct store_shard early;
    store_memory_init(&early, 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        for (uint32_t n = 0; n < STORES; n++)
            f->workers[i].stores[n].ops = early.ops;
}

/* Everybody who waits for a shard of that client's is answered. */
static inline void answer(struct store_shard *shard, enum rc rc)
{
    if (shard->ops != &late_ops)
        return;
    store_answer = rc;
    store_turn(shard, 0);
}

static inline void answer_all(struct fixture *f, enum rc rc)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        for (uint32_t n = 0; n < STORES; n++)
            answer(&f->workers[i].stores[n], rc);
    settle(f);
}

/* ---- clients -------------------------------------------------------------------------------- */

/* A client identifier that is at home on that worker. */
static inline void name_of_worker(struct client *client, uint32_t worker)
{
    for (uint32_t number = client->f->client_count * 1000;; number++) {
        snprintf(client->id, sizeof(client->id), "client%u", number);
        if (client_id_hash(bytes_of_str(client->id)) % STORES % WORKERS == worker)
            return;
    }
}

static inline struct client *dial_as(struct fixture *f, uint32_t worker, enum mqtt_version version,
                                     const struct conn_origin *origin)
{
    int ends[2];
    assert_true(f->client_count < CLIENTS_MAX);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    struct client *client = &f->clients[f->client_count++];
    *client = (struct client){.f = f, .fd = ends[1], .version = (uint8_t)version};
    name_of_worker(client, worker);
    conn_accept(&f->workers[worker].conns, ends[0], origin, NULL, NULL, 0);
    return client;
}

/* A connection that has sent nothing, accepted by that worker; its client's home is there too. */
static inline struct client *dial(struct fixture *f, uint32_t worker, enum mqtt_version version)
{
    return dial_as(f, worker, version, &(struct conn_origin){.transport = TRANSPORT_TCP});
}

/* The broker's end of a connected client; NULL when it has none. */
static inline struct session *session_of(const struct client *client)
{
    uint32_t worker = client_id_hash(bytes_of_str(client->id)) % STORES % WORKERS;
    return session_find(&client->f->workers[worker].sessions, bytes_of_str(client->id));
}

static inline struct conn *conn_of(const struct client *client)
{
    struct session *session = session_of(client);
    assert_non_null(session);
    assert_non_null(session->sink);
    return conn_of_sink(session->sink);
}

static inline void client_close(struct client *client)
{
    close(client->fd);
    client->fd = -1;
    settle(client->f);
}

static inline void send_raw(struct client *client, const void *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = send(client->fd, (const uint8_t *)data + done, len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            turn(client->f);
            continue;
        }
        if (n < 0)
            return; /* the broker has closed */
        done += (size_t)n;
    }
}

/* Sends the bytes of a text literal. */
#define SEND(client, literal) send_raw(client, literal, sizeof(literal) - 1)

static inline void client_read(struct client *client)
{
    while (!client->ended) {
        if (client->len == client->taken)
            client->len = client->taken = 0;
        if (client->room - client->len < READ_SIZE) {
            client->room = 2 * client->room + READ_SIZE;
            client->in = realloc(client->in, client->room);
            assert_non_null(client->in);
        }
        ssize_t n = recv(client->fd, client->in + client->len, READ_SIZE, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            client->ended = true;
        else
            client->len += (size_t)n;
    }
}

/* The next packet, if one is here. Valid until the next is asked for. */
static inline const struct frame *next_packet(struct client *client)
{
    client_read(client);
    struct bytes in = bytes_of(client->in + client->taken, client->len - client->taken);
    if (frame_parse(in, SIZE_MAX, &client->frame) != FRAME_OK)
        return NULL;
    client->taken += client->frame.size;
    return &client->frame;
}

/* The next packet, which has to be of that type. */
static inline const struct frame *expect(struct client *client, enum packet_type type)
{
    const struct frame *frame;
    settle(client->f);
    frame = next_packet(client);
    if (frame == NULL)
        fail_msg("nothing came, where packet type %d was due", type);
    assert_int_equal(frame->type, type);
    return frame;
}

/* Nothing comes, and the connection stays. */
static inline void expect_silence(struct client *client)
{
    settle(client->f);
    assert_null(next_packet(client));
    assert_int_equal(client->len, client->taken);
    assert_false(client->ended);
}

/* The broker closes without another word. */
static inline void expect_end(struct client *client)
{
    settle(client->f);
    assert_null(next_packet(client));
    assert_int_equal(client->len, client->taken);
    assert_true(client->ended);
    client_close(client);
}

static inline void expect_ack(struct client *client, enum packet_type type, uint16_t packet_id,
                              enum mqtt_reason reason)
{
    struct ack ack;
    assert_int_equal(ack_decode(expect(client, type), client->version, &ack), MQTT_SUCCESS);
    assert_int_equal(ack.packet_id, packet_id);
    assert_int_equal(ack.reason, reason);
}

/* DISCONNECT with that reason (5.0), and the end. */
static inline void expect_fault(struct client *client, enum mqtt_reason reason)
{
    if (client->version == MQTT_V5) {
        struct disconnect said;
        const struct frame *frame = expect(client, PACKET_DISCONNECT);
        assert_int_equal(disconnect_decode(frame, MQTT_V5, &said), MQTT_SUCCESS);
        assert_int_equal(said.reason, reason);
    }
    expect_end(client);
}

static inline struct publish expect_publish(struct client *client, const char *payload)
{
    struct publish publish;
    const struct frame *frame = expect(client, PACKET_PUBLISH);
    assert_int_equal(publish_decode(frame, client->version, &publish), MQTT_SUCCESS);
    assert_int_equal(publish.payload.len, strlen(payload));
    assert_memory_equal(publish.payload.data, payload, strlen(payload));
    return publish;
}

/* ---- packets -------------------------------------------------------------------------------- */

/* CONNECT with the client's own version and identifier. */
static inline struct connect connect_of(const struct client *client)
{
    return (struct connect){.name_known = true,
                            .version = client->version,
                            .clean_start = true,
                            .client_id = bytes_of_str(client->id)};
}

/* The same with the will "gone" to that topic. */
static inline struct connect connect_with_will(const struct client *client, const char *topic)
{
    struct connect connect = connect_of(client);
    connect.has_will = true;
    connect.will_topic = bytes_of_str(topic);
    connect.will_payload = bytes_of_str("gone");
    return connect;
}

static inline void send_connect(struct client *client, const struct connect *connect)
{
    uint8_t packet[4096];
    send_raw(client, packet, connect_encode(connect, packet, sizeof(packet)));
}

static inline struct connack expect_connack(struct client *client, uint8_t reason)
{
    struct connack connack;
    const struct frame *frame = expect(client, PACKET_CONNACK);
    assert_int_equal(connack_decode(frame, client->version, &connack), MQTT_SUCCESS);
    assert_int_equal(connack.reason, reason);
    return connack;
}

/* CONNACK with that reason, and the end. */
static inline void expect_refusal(struct client *client, uint8_t reason)
{
    expect_connack(client, reason);
    expect_end(client);
}

static inline struct client *connected_with(struct client *client, const struct connect *connect)
{
    send_connect(client, connect);
    expect_connack(client, 0);
    return client;
}

/* A client whose session ends with the connection. */
static inline struct client *connected(struct fixture *f, uint32_t worker,
                                       enum mqtt_version version)
{
    struct client *client = dial(f, worker, version);
    struct connect connect = connect_of(client);
    return connected_with(client, &connect);
}

/* CONNECT of a session that stays: clean start, which expires in an hour (5.0) or never. */
static inline struct connect connect_durable(const struct client *client)
{
    struct connect connect = connect_of(client);
    connect.clean_start = client->version == MQTT_V5;
    property_set(&connect.properties, PROPERTY_SESSION_EXPIRY_INTERVAL);
    connect.properties.session_expiry_s = 3600;
    return connect;
}

static inline struct client *connected_durable(struct fixture *f, uint32_t worker,
                                               enum mqtt_version version)
{
    struct client *client = dial(f, worker, version);
    struct connect connect = connect_durable(client);
    return connected_with(client, &connect);
}

/* The client breaks off and comes back to its session on another connection. */
static inline struct client *reconnected(struct client *before)
{
    struct fixture *f = before->f;
    struct client *client = dial(f, 0, before->version);
    if (before->fd >= 0)
        client_close(before);
    strcpy(client->id, before->id);
    struct connect connect = connect_durable(client);
    connect.clean_start = false;
    send_connect(client, &connect);
    return client;
}

static inline void send_publication(struct client *client, const struct publication *p,
                                    const struct publish_form *form)
{
    size_t header = publish_header_size(p, form);
    uint8_t *packet = malloc(header + p->payload.len);
    assert_non_null(packet);
    publish_header_encode(packet, p, form);
    if (p->payload.len > 0)
        memcpy(packet + header, p->payload.data, p->payload.len);
    send_raw(client, packet, header + p->payload.len);
    free(packet);
}

/* A publication to "t". */
static inline void send_publish(struct client *client, uint8_t qos, uint16_t packet_id,
                                const char *payload)
{
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str(payload)};
    struct publish_form form = {.version = client->version, .qos = qos, .packet_id = packet_id};
    send_publication(client, &p, &form);
}

static inline void send_ack(struct client *client, enum packet_type type, uint16_t packet_id,
                            enum mqtt_reason reason)
{
    uint8_t packet[8];
    uint8_t *end = ack_write(packet, client->version, (uint8_t)type, packet_id, (uint8_t)reason);
    send_raw(client, packet, (size_t)(end - packet));
}

static inline void send_subscribe(struct client *client, uint16_t packet_id, const char *filter,
                                  struct subscription_options options)
{
    uint8_t packet[1024];
    struct subscribe_filter asked = {.filter = bytes_of_str(filter), .options = options};
    size_t size = subscribe_encode(packet_id, client->version, NULL, &asked, 1, packet, 1024);
    assert_true(size <= sizeof(packet));
    send_raw(client, packet, size);
}

static inline void expect_suback(struct client *client, uint16_t packet_id, uint8_t reason)
{
    struct suback suback;
    const struct frame *frame = expect(client, PACKET_SUBACK);
    assert_int_equal(suback_decode(frame, client->version, &suback), MQTT_SUCCESS);
    assert_int_equal(suback.packet_id, packet_id);
    assert_int_equal(suback.reasons.len, 1);
    assert_int_equal(suback.reasons.data[0], reason);
}

static inline void subscribe(struct client *client, const char *filter, uint8_t qos)
{
    send_subscribe(client, 1, filter, (struct subscription_options){.qos = qos});
    expect_suback(client, 1, qos);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, fixture_set_up, fixture_tear_down)

#endif
