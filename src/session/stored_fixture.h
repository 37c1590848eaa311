/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions on a real store in a folder of its own, which can be closed and loaded again. */
#ifndef STORED_FIXTURE_H
#define STORED_FIXTURE_H

#include "session/session_fixture.h"
#include "session/stored.h"
#include "store/durable_fixture.h"

enum { TEXT_ROOM = 16, LONG_S = 1000000 };

struct stored {
    struct fixture f; /* first: a test's state is either */
    struct durable d;
    uint16_t window; /* of the next start; 0: the fixture's */
};

static inline void stored_open(struct stored *s)
{
    struct fixture *f = &s->f;
    durable_open(&s->d, STORES);
    for (uint32_t i = 0; i < STORES; i++)
        store_durable_init(&f->stores[i], i, s->d.end);
    table_set_up(f, &f->table, 3);
    f->table.limits.queue_messages_max = 100000;
    f->table.limits.queue_bytes_max = 1 << 30;
    if (s->window > 0)
        f->table.limits.inflight_max = s->window;
}

static inline void settle(struct stored *s)
{
    durable_settle(&s->d);
}

static inline int stored_set_up(void **state)
{
    struct stored *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    folder_new(s->d.dir);
    metrics_init(&s->f.metrics, 1);
    s->f.client.sink.ops = &client_ops;
    s->f.client.payload_max = PAYLOAD_ROOM - 1;
    stored_open(s);
    store_start(s->d.store);
    *state = s;
    return 0;
}

/* The process is gone, in the middle of whatever it did; only the store is left. */
static inline void stored_crash(struct stored *s)
{
    settle(s);
    durable_close(&s->d);
    session_table_deinit(&s->f.table);
    metrics_deinit(&s->f.metrics);
    metrics_init(&s->f.metrics, 1);
    atomic_store(&s->f.sessions, 0);
    s->f.client.count = 0;
    s->f.client.sink.hold = false;
}

static inline int stored_tear_down(void **state)
{
    struct stored *s = *state;
    stored_crash(s);
    metrics_deinit(&s->f.metrics);
    folder_remove(s->d.dir);
    free(s);
    return 0;
}

/* ---- loading, as start-up does it ----------------------------------------------------------- */

static inline struct session *session_numbered(struct fixture *f, uint32_t shard, uint64_t number)
{
    for (uint32_t i = 0; i < f->table.slot_count; i++) {
        struct session *session = f->table.slots[i].session;
        if (session != NULL && session->number == number && session->store->shard == shard)
            return session;
    }
    return NULL;
}

static inline void load_one(struct fixture *f, const struct record_clock *clock,
                            const struct record_key *key, struct bytes value)
{
    struct session_record session_record;
    struct will_record will;
    struct queue_record queued;
    struct session *session = session_numbered(f, key->shard, key->number);
    switch (key->kind) {
    case RECORD_SESSION:
        assert_true(session_record_decode(value, &session_record));
        assert_int_equal(session_restore(&f->table, key->number, &session_record, clock, &session),
                         RC_OK);
        break;
    case RECORD_WILL:
        assert_true(will_record_decode(value, clock, &will));
        session_restore_will(session, message_new(&will.publication), will.delay_s);
        break;
    case RECORD_RECEIVED:
        assert_int_equal(session_restore_received(session, (uint16_t)key->sequence), RC_OK);
        break;
    case RECORD_QUEUED:
        assert_true(queue_record_decode(value, &queued));
        session_restore_queued(session, key->sequence, &queued);
        break;
    default:
        break;
    }
}

static inline void load_kind(struct stored *s, const struct record_clock *clock, uint32_t shard,
                             enum store_family family, enum record_kind kind)
{
    struct store_key from = record_key(shard, kind), until = record_key_end(&from);
    struct engine_cursor *cursor =
        engine_cursor_open(store_engine(s->d.store), family, bytes_of(from.head, from.head_len),
                           bytes_of(until.head, until.head_len));
    struct bytes whole, value;
    while (engine_cursor_next(cursor, &whole, &value) == RC_OK) {
        struct record_key key;
        assert_true(record_key_parse(whole, &key));
        load_one(&s->f, clock, &key, value);
    }
    engine_cursor_close(cursor);
}

/* Loads the open store, so much later by the wall clock. */
static inline void stored_restore(struct stored *s, uint64_t later_ms)
{
    struct record_clock clock = {s->f.table.now_ms, clock_wall_ms() + later_ms};
    for (uint32_t shard = 0; shard < STORES; shard++) {
        load_kind(s, &clock, shard, STORE_STATE, RECORD_SESSION);
        load_kind(s, &clock, shard, STORE_STATE, RECORD_RECEIVED);
        load_kind(s, &clock, shard, STORE_STATE, RECORD_WILL);
        load_kind(s, &clock, shard, STORE_QUEUE, RECORD_QUEUED);
    }
    for (uint32_t i = 0; i < s->f.table.slot_count; i++)
        session_restored(s->f.table.slots[i].session, &clock);
    store_start(s->d.store);
}

static inline void stored_load(struct stored *s, uint64_t later_ms)
{
    stored_open(s);
    stored_restore(s, later_ms);
}

static inline void crash_and_load(struct stored *s)
{
    stored_crash(s);
    stored_load(s, 0);
}

static inline struct session *found(struct stored *s, const char *client_id)
{
    struct session *session = session_find(&s->f.table, bytes_of_str(client_id));
    assert_non_null(session);
    return session;
}

/* ---- what is stored ------------------------------------------------------------------------- */

/* Keys of a family once everything is written, the one of the format excepted. */
static inline uint32_t stored_keys(struct stored *s, enum store_family family)
{
    settle(s);
    return key_count(store_engine(s->d.store), family) - (family == STORE_STATE);
}

/* ---- messages ------------------------------------------------------------------------------- */

/* Messages whose payloads are the numbers from first to last. */
static inline void deliver_numbers(struct session *session, int first, int last, uint8_t qos)
{
    char text[TEXT_ROOM];
    for (int number = first; number <= last; number++) {
        snprintf(text, sizeof(text), "%d", number);
        assert_int_not_equal(deliver(session, text, qos), NOT_DELIVERED);
    }
}

/* The client comes (back), and sees what it gets at once. */
static inline void come(struct stored *s, struct session *session)
{
    attach(&s->f, session, LONG_S);
    session_resume(session);
}

static inline void acknowledge(struct session *session, const struct packet *packet)
{
    if (packet->pubrel) {
        assert_int_equal(session_pubcomp(session, packet->packet_id), RC_OK);
    } else if (packet->qos == 1) {
        assert_int_equal(session_puback(session, packet->packet_id), RC_OK);
    } else if (packet->qos == 2) {
        assert_int_equal(session_pubrec(session, packet->packet_id, false), RC_OK);
        assert_int_equal(session_pubcomp(session, packet->packet_id), RC_OK);
    }
}

/* The client acknowledges whatever it gets, which is just these numbers in order. */
static inline void take_numbers(struct stored *s, struct session *session, int first, int last)
{
    struct client *client = &s->f.client;
    static struct packet packets[PACKETS_MAX];
    int next = first;
    for (;;) {
        settle(s);
        uint32_t count = client->count;
        if (count == 0)
            break;
        memcpy(packets, client->packets, count * sizeof(*packets));
        client->count = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (!packets[i].pubrel)
                assert_int_equal(atoi(packets[i].payload), next++);
            acknowledge(session, &packets[i]);
        }
    }
    assert_int_equal(next, last + 1);
}

#define STORED_RULE(rule) cmocka_unit_test_setup_teardown(rule, stored_set_up, stored_tear_down)

#endif
