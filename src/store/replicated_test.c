/* SPDX-License-Identifier: Apache-2.0 */
/* A store whose groups have changelogs; the test is the changelogs, and two workers. */
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
    int appended, ready, closed, failed, flushed;
    uint8_t *batch;
    size_t len;
    struct store_position position; /* that was flushed last */
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

static void append(void *owner, uint32_t group, struct bytes batch)
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

static void count(struct fixture *f, int *counter)
{
    pthread_mutex_lock(&f->lock);
    ++*counter;
    pthread_cond_broadcast(&f->news);
    pthread_mutex_unlock(&f->lock);
}

static void flushed(void *owner, uint32_t group, const struct store_position *position)
{
    struct fixture *f = owner;
    pthread_mutex_lock(&f->lock);
    f->asked[group].position = *position;
    pthread_mutex_unlock(&f->lock);
    count(f, &f->asked[group].flushed);
}

static void ready(void *owner, uint32_t group, uint64_t token)
{
    assert_int_equal(token, 17);
    count(owner, &((struct fixture *)owner)->asked[group].ready);
}

static void closed(void *owner, uint32_t group)
{
    count(owner, &((struct fixture *)owner)->asked[group].closed);
}

static void failed(void *owner, uint32_t group)
{
    count(owner, &((struct fixture *)owner)->asked[group].failed);
}

static bool lease_fresh(void *owner, uint32_t group)
{
    (void)group;
    return !((struct fixture *)owner)->lease_lost;
}

static const struct store_replica_ops ops = {
    .append = append,
    .flushed = flushed,
    .ready = ready,
    .closed = closed,
    .failed = failed,
    .lease_fresh = lease_fresh,
};

static void await_count(struct fixture *f, const int *counter, int least)
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

static void wake(void *owner)
{
    (void)!write(((struct fixture *)owner)->woken, &(uint64_t){1}, sizeof(uint64_t));
}

static void open_store(struct fixture *f)
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

static int set_up(void **state)
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

static void forget_batches(struct fixture *f)
{
    for (int i = 0; i < GROUPS; i++)
        free(f->asked[i].batch);
    memset(f->asked, 0, sizeof(f->asked));
}

static int tear_down(void **state)
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

static void reopen(struct fixture *f)
{
    store_close(f->store);
    forget_batches(f);
    open_store(f);
    store_start(f->store);
}

static void turn(struct fixture *f)
{
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        for (uint32_t group = 0; group < GROUPS; group++) {
            store_end_turn(store_end_of(f->store, worker, group), NULL, NULL);
            store_end_post(store_end_of(f->store, worker, group));
        }
}

/* ---- what tests do -------------------------------------------------------------------------- */

static void done(struct store_waiter *waiter, enum rc rc)
{
    struct waiting *waiting = CONTAINER_OF(waiter, struct waiting, waiter);
    waiting->answers++;
    waiting->rc = rc;
}

static struct store_ref record(struct fixture *f, uint32_t shard, uint64_t number)
{
    struct store_key key = record_key_of(shard, RECORD_SHARED, number);
    struct bytes value = bytes_of_str("value");
    return store_put(&f->shards[shard], STORE_QUEUE, &key, &value, 1);
}

static enum rc wait(struct fixture *f, uint32_t shard, int which)
{
    struct waiting *waiting = &f->waiting[which];
    *waiting = (struct waiting){.waiter = {.done = done}};
    list_init(&waiting->waiter.link);
    return store_wait(&f->shards[shard], &waiting->waiter);
}

static void await_answer(struct fixture *f, int which)
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

static bool is_stored(struct fixture *f, uint32_t shard, uint64_t number)
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

static struct store_position at(uint8_t where)
{
    return (struct store_position){.bytes = {where}, .len = 1};
}

static void open_group(struct fixture *f, uint32_t group)
{
    int before = f->asked[group].ready;
    store_replica_open(f->store, group, 17);
    await_count(f, &f->asked[group].ready, before + 1);
}

static void serve(struct fixture *f, uint32_t group)
{
    open_group(f, group);
    store_replica_serve(f->store, group);
}

static void commit(struct fixture *f, uint32_t group, uint8_t where)
{
    struct store_position position = at(where);
    store_replica_committed(f->store, group, &position);
}

/* A batch as another home would have appended it. */
static void apply(struct fixture *f, uint32_t shard, uint64_t number, uint8_t where)
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

static struct store_position position_of(struct fixture *f, uint32_t group)
{
    struct store_position position;
    assert_int_equal(store_replica_position(f->store, group, &position), RC_OK);
    return position;
}

/* ---- rules ---------------------------------------------------------------------------------- */

static void nothing_is_written_before_the_changelog_has_it(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    record(f, 0, 7);
    assert_int_equal(wait(f, 0, 0), RC_AGAIN);
    turn(f);
    await_count(f, &f->asked[0].appended, 1);
    turn(f);
    assert_int_equal(f->waiting[0].answers, 0);
    assert_false(is_stored(f, 0, 7));
    commit(f, 0, 1);
    await_answer(f, 0);
    assert_int_equal(f->waiting[0].rc, RC_OK);
    assert_true(is_stored(f, 0, 7));
    await_count(f, &f->asked[0].flushed, 1);
    assert_int_equal(f->asked[0].position.bytes[0], 1);
}

static void what_is_appended_is_what_is_written(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    record(f, 0, 7); /* of one worker */
    record(f, 2, 8); /* of the other, in the same group */
    turn(f);
    await_count(f, &f->asked[0].appended, 1);
    struct bytes rest = bytes_of(f->asked[0].batch, f->asked[0].len);
    uint32_t in_first = batch_header_count(rest);
    struct batch_change change;
    rest = bytes_of(rest.data + BATCH_HEADER, rest.len - BATCH_HEADER);
    for (uint32_t i = 0; i < in_first; i++) {
        struct record_key key;
        assert_true(batch_change_next(&rest, &change));
        assert_true(record_key_parse(change.key, &key));
        assert_int_equal(key.shard % GROUPS, 0);
    }
    assert_int_equal(rest.len, 0);
}

static void one_batch_is_on_its_way_and_the_next_one_waits(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    record(f, 0, 1);
    assert_int_equal(wait(f, 0, 0), RC_AGAIN);
    turn(f);
    await_count(f, &f->asked[0].appended, 1);
    record(f, 0, 2);
    assert_int_equal(wait(f, 0, 1), RC_AGAIN);
    turn(f);
    assert_int_equal(f->asked[0].appended, 1);
    commit(f, 0, 1);
    await_count(f, &f->asked[0].appended, 2);
    await_answer(f, 0);
    assert_int_equal(f->waiting[1].answers, 0);
    commit(f, 0, 2);
    await_answer(f, 1);
    assert_true(is_stored(f, 0, 2));
}

static void groups_do_not_wait_for_each_other(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    serve(f, 1);
    record(f, 0, 1);
    turn(f);
    await_count(f, &f->asked[0].appended, 1);
    record(f, 1, 2);
    assert_int_equal(wait(f, 1, 1), RC_AGAIN);
    turn(f);
    await_count(f, &f->asked[1].appended, 1);
    commit(f, 1, 1);
    await_answer(f, 1);
    assert_true(is_stored(f, 1, 2));
    assert_false(is_stored(f, 0, 1));
}

static void what_was_appended_by_a_home_that_is_none_any_more_is_nowhere(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    record(f, 0, 1);
    assert_int_equal(wait(f, 0, 0), RC_AGAIN);
    turn(f);
    await_count(f, &f->asked[0].appended, 1);
    record(f, 0, 2);
    assert_int_equal(wait(f, 0, 1), RC_AGAIN);
    store_replica_lost(f->store, 0);
    await_answer(f, 0);
    await_answer(f, 1);
    assert_int_equal(f->waiting[0].rc, RC_CLOSED);
    assert_int_equal(f->waiting[1].rc, RC_CLOSED);
    assert_false(is_stored(f, 0, 1));
    assert_false(is_stored(f, 0, 2));
    assert_int_equal(position_of(f, 0).len, 0);
    assert_int_equal(store_trouble(&f->shards[0]), RC_CLOSED);
}

static void nobody_may_record_where_this_node_is_not_home(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(store_trouble(&f->shards[0]), RC_CLOSED);
    serve(f, 0);
    assert_int_equal(store_trouble(&f->shards[0]), RC_OK);
    assert_int_equal(store_trouble(&f->shards[1]), RC_CLOSED);
}

static void a_group_is_ready_when_everything_before_is_written(void **state)
{
    struct fixture *f = *state;
    for (uint8_t i = 1; i <= 100; i++)
        apply(f, 2, i, i);
    open_group(f, 0);
    for (uint8_t i = 1; i <= 100; i++)
        assert_true(is_stored(f, 2, i));
    assert_int_equal(position_of(f, 0).bytes[0], 100);
}

static void positions_are_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    apply(f, 1, 5, 17);
    await_count(f, &f->asked[1].flushed, 1);
    reopen(f);
    assert_int_equal(position_of(f, 1).bytes[0], 17);
    assert_int_equal(position_of(f, 0).len, 0);
    assert_true(is_stored(f, 1, 5));
}

static void what_workers_record_while_they_load_is_appended_when_they_serve(void **state)
{
    struct fixture *f = *state;
    open_group(f, 0);
    record(f, 0, 1);
    assert_int_equal(wait(f, 0, 0), RC_AGAIN);
    turn(f);
    apply(f, 1, 1, 1); /* a round of the commit thread */
    await_count(f, &f->asked[1].flushed, 1);
    assert_int_equal(f->asked[0].appended, 0);
    store_replica_serve(f->store, 0);
    await_count(f, &f->asked[0].appended, 1);
    commit(f, 0, 1);
    await_answer(f, 0);
    assert_int_equal(f->waiting[0].rc, RC_OK);
}

static void a_group_is_closed_when_all_is_written(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    record(f, 0, 1);
    turn(f);
    await_count(f, &f->asked[0].appended, 1);
    record(f, 0, 2);
    turn(f);
    store_replica_close(f->store, 0);
    commit(f, 0, 1);
    await_count(f, &f->asked[0].appended, 2);
    assert_int_equal(f->asked[0].closed, 0);
    commit(f, 0, 2);
    await_count(f, &f->asked[0].closed, 1);
    assert_true(is_stored(f, 0, 2));
    assert_int_equal(position_of(f, 0).bytes[0], 2);
    assert_int_equal(store_trouble(&f->shards[0]), RC_CLOSED);
    apply(f, 0, 3, 3); /* and follows again */
    serve(f, 0);
    assert_true(is_stored(f, 0, 3));
}

static void much_is_appended_in_several_batches(void **state)
{
    struct fixture *f = *state;
    static uint8_t megabyte[1024 * 1024];
    struct bytes value = bytes_of(megabyte, sizeof(megabyte));
    serve(f, 0);
    record(f, 0, 1000);
    turn(f);
    await_count(f, &f->asked[0].appended, 1); /* what follows waits for that */
    enum { MEGABYTES = 40 };
    for (uint64_t i = 0; i < MEGABYTES; i++) {
        struct store_key key = record_key_of(0, RECORD_SHARED, i);
        store_put(&f->shards[0], STORE_QUEUE, &key, &value, 1);
        if (i % 4 == 3)
            turn(f);
    }
    assert_int_equal(wait(f, 0, 0), RC_AGAIN);
    turn(f);
    uint64_t until_ms = clock_ms() + DEADLINE_MS;
    for (uint8_t told = 0; f->waiting[0].answers == 0;) {
        pthread_mutex_lock(&f->lock);
        int appended = f->asked[0].appended;
        size_t len = f->asked[0].len;
        pthread_mutex_unlock(&f->lock);
        assert_true(clock_ms() < until_ms);
        if (appended > told) {
            assert_in_range(len, 1, STORE_APPEND_MAX + STORE_BATCH_SPLIT + sizeof(megabyte));
            commit(f, 0, ++told);
        }
        poll(NULL, 0, 1);
        turn(f);
    }
    assert_in_range(f->asked[0].appended, 4, MEGABYTES);
    assert_int_equal(f->waiting[0].rc, RC_OK);
    for (uint64_t i = 0; i < MEGABYTES; i++)
        assert_true(is_stored(f, 0, i));
}

/* "Acknowledged before it was written is never written" is only for who is surely home. */
static void without_a_lease_what_was_taken_back_waits_for_the_changelog(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    struct store_ref ref = record(f, 0, 1);
    struct waiting *waiting = &f->waiting[0];
    *waiting = (struct waiting){.waiter = {.done = done}};
    list_init(&waiting->waiter.link);
    assert_int_equal(store_wait_for(&f->shards[0], ref, &waiting->waiter), RC_AGAIN);
    assert_true(store_settle(&f->shards[0], ref));
    f->lease_lost = true;
    turn(f);
    assert_int_equal(waiting->answers, 0);
    store_replica_lost(f->store, 0);
    await_answer(f, 0);
    assert_int_equal(waiting->rc, RC_CLOSED);
}

static void with_a_lease_it_does_not(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    struct store_ref ref = record(f, 0, 1);
    struct waiting *waiting = &f->waiting[0];
    *waiting = (struct waiting){.waiter = {.done = done}};
    list_init(&waiting->waiter.link);
    assert_int_equal(store_wait_for(&f->shards[0], ref, &waiting->waiter), RC_AGAIN);
    assert_true(store_settle(&f->shards[0], ref));
    turn(f);
    assert_int_equal(waiting->answers, 1);
    assert_int_equal(waiting->rc, RC_OK);
    assert_int_equal(f->asked[0].appended, 0);
}

int main(void)
{
#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RULE(nothing_is_written_before_the_changelog_has_it),
        RULE(what_is_appended_is_what_is_written),
        RULE(one_batch_is_on_its_way_and_the_next_one_waits),
        RULE(groups_do_not_wait_for_each_other),
        RULE(what_was_appended_by_a_home_that_is_none_any_more_is_nowhere),
        RULE(nobody_may_record_where_this_node_is_not_home),
        RULE(a_group_is_ready_when_everything_before_is_written),
        RULE(positions_are_there_after_a_restart),
        RULE(what_workers_record_while_they_load_is_appended_when_they_serve),
        RULE(a_group_is_closed_when_all_is_written),
        RULE(much_is_appended_in_several_batches),
        RULE(without_a_lease_what_was_taken_back_waits_for_the_changelog),
        RULE(with_a_lease_it_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
