/* SPDX-License-Identifier: Apache-2.0 */
/* A store whose groups have changelogs; the test is the changelogs, and two workers. */
#ifndef STORE_REPLICATED_FIXTURE_H
#define STORE_REPLICATED_FIXTURE_H

#include "store/replicated.h"

#include "base/clock.h"
#include "store/batch.h"
#include "store/record.h"
#include "store/store_fixture.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>

enum { WORKERS = 2, GROUPS = 2, SHARDS = 4, WAITERS = 8, DEADLINE_MS = 20000 };

struct waiting {
    struct store_waiter waiter;
    int answers;
    enum rc rc;
};

/* What the store has asked of a group's changelog. */
struct asked {
    int appended, ready, closed, failed, flushed, refused; /* the last: records */
    uint8_t *batch;
    size_t len;
    struct store_position position; /* that was flushed last */
    uint64_t token;                 /* of the copy of which so much has been written */
    int chunks;
};

struct fixture {
    char dir[DIR_ROOM];
    struct store *store;
    struct store_shard shards[SHARDS]; /* shard % 2: group; shard / 2: worker */
    struct waiting waiting[WAITERS];
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct asked asked[GROUPS];
    _Atomic bool lease_lost;
    int woken;
};

/* ---- the changelogs ------------------------------------------------------------------------- */

static inline void append(void *owner, uint32_t group, struct bytes batch)
{
    struct fixture *f = owner;
    struct asked *asked = &f->asked[group];
    pthread_mutex_lock(&f->lock);
    asked->appended++;
    free(asked->batch);
    asked->batch = malloc(batch.len);
    memcpy(asked->batch, batch.data, batch.len);
    asked->len = batch.len;
    pthread_cond_broadcast(&f->news);
    pthread_mutex_unlock(&f->lock);
}

static inline void count(struct fixture *f, int *counter)
{
    pthread_mutex_lock(&f->lock);
    ++*counter;
    pthread_cond_broadcast(&f->news);
    pthread_mutex_unlock(&f->lock);
}

static inline void flushed(void *owner, uint32_t group, const struct store_position *position)
{
    struct fixture *f = owner;
    pthread_mutex_lock(&f->lock);
    f->asked[group].position = *position;
    pthread_mutex_unlock(&f->lock);
    count(f, &f->asked[group].flushed);
}

static inline void ready(void *owner, uint32_t group, uint64_t token)
{
    assert_int_equal(token, 17);
    count(owner, &((struct fixture *)owner)->asked[group].ready);
}

static inline void refused(void *owner, uint32_t group, struct bytes batch)
{
    struct fixture *f = owner;
    pthread_mutex_lock(&f->lock);
    f->asked[group].refused += (int)batch_header_count(batch);
    pthread_mutex_unlock(&f->lock);
}

static inline void closed(void *owner, uint32_t group)
{
    count(owner, &((struct fixture *)owner)->asked[group].closed);
}

static inline void failed(void *owner, uint32_t group)
{
    count(owner, &((struct fixture *)owner)->asked[group].failed);
}

static inline void copied(void *owner, uint32_t group, uint64_t token, uint32_t chunks)
{
    struct fixture *f = owner;
    pthread_mutex_lock(&f->lock);
    f->asked[group].token = token;
    f->asked[group].chunks += (int)chunks;
    pthread_cond_broadcast(&f->news);
    pthread_mutex_unlock(&f->lock);
}

static inline bool lease_fresh(void *owner, uint32_t group)
{
    (void)group;
    return !((struct fixture *)owner)->lease_lost;
}

static const struct store_replica_ops ops = {
    .append = append,
    .flushed = flushed,
    .ready = ready,
    .refused = refused,
    .closed = closed,
    .failed = failed,
    .copied = copied,
    .lease_fresh = lease_fresh,
};

static inline void await_count(struct fixture *f, const int *counter, int least)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    pthread_mutex_lock(&f->lock);
    while (*counter < least)
        assert_int_equal(pthread_cond_timedwait(&f->news, &f->lock, &until), 0);
    pthread_mutex_unlock(&f->lock);
}

/* ---- the store ------------------------------------------------------------------------------ */

static inline void wake(void *owner)
{
    (void)!write(((struct fixture *)owner)->woken, &(uint64_t){1}, sizeof(uint64_t));
}

static inline void open_store(struct fixture *f)
{
    char error[ENGINE_ERROR_MAX] = "";
    struct store_options options = {.dir = f->dir,
                                    .profile = ENGINE_SMALL,
                                    .workers = WORKERS,
                                    .shards = SHARDS,
                                    .groups = GROUPS,
                                    .interval_ms = 1};
    assert_int_equal(store_open(&options, &f->store, error), RC_OK);
    store_replicate(f->store, &ops, f);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct store_end *end = store_end_of(f->store, i / GROUPS, i % GROUPS);
        store_end_wake_by(end, wake, f);
        store_durable_init(&f->shards[i], i, end);
    }
    memset(f->asked, 0, sizeof(f->asked));
}

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->news, NULL);
    f->woken = eventfd(0, EFD_CLOEXEC);
    folder_new(f->dir);
    open_store(f);
    store_start(f->store);
    *state = f;
    return 0;
}

static inline void forget_batches(struct fixture *f)
{
    for (int i = 0; i < GROUPS; i++)
        free(f->asked[i].batch);
    memset(f->asked, 0, sizeof(f->asked));
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    close(f->woken);
    folder_remove(f->dir);
    forget_batches(f);
    pthread_cond_destroy(&f->news);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static inline void reopen(struct fixture *f)
{
    store_close(f->store);
    forget_batches(f);
    open_store(f);
    store_start(f->store);
}

static inline void turn(struct fixture *f)
{
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        for (uint32_t group = 0; group < GROUPS; group++) {
            store_end_turn(store_end_of(f->store, worker, group), NULL, NULL);
            store_end_post(store_end_of(f->store, worker, group));
        }
}

/* ---- what tests do -------------------------------------------------------------------------- */

static inline void done(struct store_waiter *waiter, enum rc rc)
{
    struct waiting *waiting = CONTAINER_OF(waiter, struct waiting, waiter);
    waiting->answers++;
    waiting->rc = rc;
}

static inline struct store_ref record(struct fixture *f, uint32_t shard, uint64_t number)
{
    struct store_key key = record_key_of(shard, RECORD_SHARED, number);
    struct bytes value = bytes_of_str("value");
    return store_put(&f->shards[shard], STORE_QUEUE, &key, &value, 1);
}

static inline struct store_waiter *waiter_of(struct fixture *f, int which)
{
    struct waiting *waiting = &f->waiting[which];
    *waiting = (struct waiting){.waiter = {.done = done}};
    list_init(&waiting->waiter.link);
    return &waiting->waiter;
}

static inline enum rc wait(struct fixture *f, uint32_t shard, int which)
{
    return store_wait(&f->shards[shard], waiter_of(f, which));
}

static inline void wait_until_it_works(struct fixture *f, uint32_t shard, int which)
{
    store_wait_until_it_works(&f->shards[shard], waiter_of(f, which));
}

static inline void await_answer(struct fixture *f, int which)
{
    uint64_t until_ms = clock_ms() + DEADLINE_MS, count;
    turn(f);
    while (f->waiting[which].answers == 0) {
        struct pollfd fd = {.fd = f->woken, .events = POLLIN};
        assert_true(clock_ms() < until_ms);
        if (poll(&fd, 1, 100) > 0)
            (void)!read(f->woken, &count, sizeof(count));
        turn(f);
    }
}

static inline bool is_stored(struct fixture *f, uint32_t shard, uint64_t number)
{
    struct store_key key = record_key_of(shard, RECORD_SHARED, number);
    void *value = NULL;
    size_t len;
    enum rc rc = engine_get(store_engine(f->store), STORE_QUEUE, bytes_of(key.head, key.head_len),
                            &value, &len);
    if (rc == RC_OK)
        engine_free(value);
    return rc == RC_OK;
}

static inline struct store_position at(uint8_t where)
{
    return (struct store_position){.bytes = {where}, .len = 2};
}

static inline void open_group(struct fixture *f, uint32_t group)
{
    int before = f->asked[group].ready;
    store_replica_open(f->store, group, 17);
    await_count(f, &f->asked[group].ready, before + 1);
}

static inline void serve(struct fixture *f, uint32_t group)
{
    open_group(f, group);
    store_replica_serve(f->store, group);
}

static inline void commit(struct fixture *f, uint32_t group, uint8_t where)
{
    struct store_position position = at(where);
    store_replica_committed(f->store, group, &position);
}

/* A batch as another home would have appended it. */
static inline void apply(struct fixture *f, uint32_t shard, uint64_t number, uint8_t where)
{
    struct batch batch;
    uint8_t bytes[256];
    struct store_key key = record_key_of(shard, RECORD_SHARED, number);
    struct bytes spans[] = {bytes_of(key.head, key.head_len), bytes_of_str("theirs")};
    struct store_position position = at(where);
    batch_init(&batch);
    batch_add(&batch, &(struct batch_record){.shard = (uint16_t)shard,
                                             .operation = BATCH_PUT,
                                             .family = STORE_QUEUE,
                                             .key = &spans[0],
                                             .key_parts = 1,
                                             .value = &spans[1],
                                             .value_parts = 1});
    batch_header(bytes, batch.live);
    uint8_t *end = batch_serialise(&batch, bytes + BATCH_HEADER);
    batch_deinit(&batch);
    store_replica_apply(f->store, shard % GROUPS, bytes_of(bytes, (size_t)(end - bytes)),
                        &position);
}

static inline struct store_position position_of(struct fixture *f, uint32_t group)
{
    struct store_position position;
    assert_int_equal(store_replica_position(f->store, group, &position), RC_OK);
    return position;
}

#endif
