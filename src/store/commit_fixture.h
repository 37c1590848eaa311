/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the durable store do: record, wait, look. */
#ifndef COMMIT_FIXTURE_H
#define COMMIT_FIXTURE_H

#include "store/durable_fixture.h"
#include "store/record.h"

enum { SHARDS = 2, WAITERS = 16, KIB = 1024, MIB = 1024 * 1024 };

struct waiting {
    struct store_waiter waiter;
    int answers, order;
    enum rc rc;
};

struct fixture {
    struct durable d;
    struct store_shard shards[SHARDS];
    struct waiting waiting[WAITERS];
};

static int answer_count;

static inline void done(struct store_waiter *waiter, enum rc rc)
{
    struct waiting *waiting = CONTAINER_OF(waiter, struct waiting, waiter);
    waiting->answers++;
    waiting->rc = rc;
    waiting->order = ++answer_count;
}

static inline void open_store(struct fixture *f)
{
    durable_open(&f->d, SHARDS);
    for (uint32_t i = 0; i < SHARDS; i++)
        store_durable_init(&f->shards[i], i, f->d.end);
}

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    answer_count = 0;
    folder_new(f->d.dir);
    open_store(f);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    durable_close(&f->d);
    folder_remove(f->d.dir);
    free(f);
    return 0;
}

/* ---- what tests do -------------------------------------------------------------------------- */

static inline struct store_key key_of(uint32_t shard, uint64_t number)
{
    return record_key_of(shard, RECORD_SHARED, number);
}

static inline struct store_ref record(struct fixture *f, uint32_t shard, uint64_t number)
{
    struct store_key key = key_of(shard, number);
    struct bytes value = bytes_of_str("value");
    return store_put(&f->shards[shard], STORE_QUEUE, &key, &value, 1);
}

static inline enum rc wait_as(struct fixture *f, int which, bool written_is_enough)
{
    struct waiting *waiting = &f->waiting[which];
    *waiting = (struct waiting){.waiter = {.done = done, .written_is_enough = written_is_enough}};
    list_init(&waiting->waiter.link);
    return store_wait(&f->shards[0], &waiting->waiter);
}

static inline enum rc wait_synced(struct fixture *f, int which)
{
    return wait_as(f, which, false);
}

static inline enum rc wait_written(struct fixture *f, int which)
{
    return wait_as(f, which, true);
}

static inline void turn_until_answered(struct fixture *f, int which)
{
    uint64_t until_ms = clock_ms() + DEADLINE_MS;
    durable_turn(&f->d);
    while (f->waiting[which].answers == 0) {
        durable_sleep(&f->d, until_ms);
        durable_turn(&f->d);
    }
}

/* Records one and waits until it is safe, or is not. */
static inline enum rc record_and_wait(struct fixture *f, uint64_t number)
{
    record(f, 0, number);
    enum rc rc = wait_synced(f, 0);
    if (rc != RC_AGAIN)
        return rc;
    turn_until_answered(f, 0);
    return f->waiting[0].rc;
}

static inline bool is_stored(struct fixture *f, uint32_t shard, uint64_t number)
{
    struct store_key key = key_of(shard, number);
    void *value = NULL;
    size_t len;
    enum rc rc = engine_get(store_engine(f->d.store), STORE_QUEUE, bytes_of(key.head, key.head_len),
                            &value, &len);
    if (rc == RC_OK)
        engine_free(value);
    return rc == RC_OK;
}

static inline void reopen(struct fixture *f)
{
    durable_close(&f->d);
    open_store(f);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

#endif
