/* SPDX-License-Identifier: Apache-2.0 */
/* A node of two workers on one store, which can crash and be started again. */
#ifndef NODE_FIXTURE_H
#define NODE_FIXTURE_H

#include "base/clock.h"
#include "delivery/delivery_fixture.h"
#include "session/stored.h"
#include "store/durable.h"
#include "store/store_fixture.h"

#include <poll.h>

enum { DEADLINE_MS = 20000, LONG_S = 1000000 };

/* A node of two workers on one store. A client id is served by the worker of its shard. */
struct node {
    struct fixture *f;
    char dir[DIR_ROOM];
    struct store *store;
    struct restored counts;
    bool refused; /* the store could not be loaded */
};

/* ---- the node ------------------------------------------------------------------------------- */

static inline void node_open(struct node *n)
{
    char error[ENGINE_ERROR_MAX] = "";
    struct store_options options = {.dir = n->dir,
                                    .profile = ENGINE_SMALL,
                                    .workers = WORKERS,
                                    .shards = STORES,
                                    .interval_ms = 1};
    fixture_set_up((void **)&n->f);
    assert_int_equal(store_open(&options, &n->store, error), RC_OK);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        for (uint32_t shard = 0; shard < STORES; shard++)
            store_durable_init(&n->f->workers[worker].stores[shard], shard,
                               store_end_of(n->store, worker, 0));
}

static inline void node_load(struct node *n)
{
    n->counts = (struct restored){0};
    n->refused = false;
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        n->refused |=
            delivery_restore(&n->f->workers[worker].hub, store_engine(n->store),
                             (struct shard_group){0, 1}, RESTORE_ALL, &n->counts) != RC_OK;
    for (uint32_t worker = 0; worker < WORKERS && !n->refused; worker++)
        assert_int_equal(delivery_replay(&n->f->workers[worker].hub, store_engine(n->store),
                                         (struct shard_group){0, 1}),
                         RC_OK);
    store_start(n->store);
}

/* Starts with what the store has. */
static inline void node_start(struct node *n)
{
    node_open(n);
    node_load(n);
}

static inline bool node_turn(struct node *n)
{
    bool busy = false;
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        store_end_turn(store_end_of(n->store, worker, 0), NULL, NULL);
    settle(n->f);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        busy |= store_end_busy(store_end_of(n->store, worker, 0));
        store_end_post(store_end_of(n->store, worker, 0));
    }
    return busy;
}

static inline void node_settle(struct node *n)
{
    uint64_t until_ms = clock_ms() + DEADLINE_MS;
    while (node_turn(n)) {
        assert_true(clock_ms() < until_ms);
        poll(NULL, 0, 1);
    }
}

/* The process is gone; only the store is left. */
static inline void node_crash(struct node *n)
{
    node_settle(n);
    store_close(n->store);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct session_table *table = &n->f->workers[worker].table;
        for (uint32_t shard = 0; shard < STORES; shard++)
            store_memory_init(&n->f->workers[worker].stores[shard], shard);
        stored_shared_deinit(table); /* their records stay: nobody counts them off */
        map_init(&table->shared);
    }
    assert_int_equal(fixture_tear_down((void **)&n->f), 0);
}

static inline void node_restart(struct node *n)
{
    node_crash(n);
    node_start(n);
}

static inline int set_up(void **state)
{
    struct node *n = calloc(1, sizeof(*n));
    assert_non_null(n);
    folder_new(n->dir);
    node_start(n);
    *state = n;
    return 0;
}

static inline int tear_down(void **state)
{
    struct node *n = *state;
    node_crash(n);
    folder_remove(n->dir);
    free(n);
    return 0;
}

/* ---- clients -------------------------------------------------------------------------------- */

static inline struct session_table *table_of(struct node *n, const char *client_id)
{
    return &n->f->workers[client_id_hash(bytes_of_str(client_id)) % STORES % WORKERS].table;
}

/* Connects a client, to its session if there is one. */
static inline struct client *come(struct node *n, const char *client_id, uint32_t expiry_s)
{
    struct session_table *table = table_of(n, client_id);
    struct client *client = &n->f->clients[n->f->client_count++];
    assert_true(n->f->client_count <= CLIENTS_MAX);
    client->sink.ops = &client_ops;
    client->session = session_find(table, bytes_of_str(client_id));
    if (client->session == NULL)
        assert_int_equal(session_new(table, bytes_of_str(client_id), &client->session), RC_OK);
    session_attach(client->session, &client->sink, expiry_s, UINT16_MAX);
    delivery_session_changed(hub_of(client->session), client->session);
    session_resume(client->session);
    return client;
}

static inline void leave(struct client *client)
{
    struct session *session = client->session;
    struct delivery_hub *hub = hub_of(session);
    bool stays = session_durable(session);
    session_detach(session, SESSION_WILL_KEEP);
    if (stays) /* else it has ended */
        delivery_session_changed(hub, session);
}

static inline void subscribe_as(struct client *client, const char *filter, const char *share,
                                uint8_t qos)
{
    subscribe_with(client->session, filter, share, &(struct subscription_options){.qos = qos});
}

/* Two client ids, one of each worker. */
static inline const char *id_of(uint32_t worker)
{
    static char id[WORKERS][TEXT_ROOM];
    for (int i = 0;; i++) {
        snprintf(id[worker], TEXT_ROOM, "client-%d", i);
        if (client_id_hash(bytes_of_str(id[worker])) % STORES == worker)
            return id[worker];
    }
}

/* Changes the closed store. */
static inline void write_record(struct node *n, enum store_family family,
                                const struct store_key *key, struct bytes value)
{
    struct engine *engine = engine_at(n->dir, ENGINE_EXISTING);
    struct bytes parts[] = {bytes_of(key->head, key->head_len), key->tail};
    struct batch batch;
    batch_init(&batch);
    batch_add(&batch, &(struct batch_record){.operation = BATCH_PUT,
                                             .family = family,
                                             .key = parts,
                                             .key_parts = 2,
                                             .value = &value,
                                             .value_parts = 1});
    assert_int_equal(write_batch(engine, &batch), RC_OK);
    batch_deinit(&batch);
    engine_close(engine);
}

/* Of a value that was made. */
static inline void write_value(struct node *n, enum store_family family,
                               const struct store_key *key, const struct record_value *value)
{
    uint8_t bytes[512];
    size_t len = 0;
    for (uint32_t i = 0; i < value->count; i++) {
        assert_true(len + value->parts[i].len <= sizeof(bytes));
        if (value->parts[i].len > 0)
            memcpy(bytes + len, value->parts[i].data, value->parts[i].len);
        len += value->parts[i].len;
    }
    write_record(n, family, key, bytes_of(bytes, len));
}

#undef RULE
#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

#endif
