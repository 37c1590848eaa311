/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { DELAY_MS = 1000 };

struct waiting {
    struct store_waiter waiter;
    int answers;
    enum rc rc;
    int order; /* of the answer, among all of the test */
};

static int answer_count;

static void done(struct store_waiter *waiter, enum rc rc)
{
    struct waiting *waiting = CONTAINER_OF(waiter, struct waiting, waiter);
    waiting->answers++;
    waiting->rc = rc;
    waiting->order = ++answer_count;
}

static enum rc wait_for(struct store_shard *shard, struct waiting *waiting)
{
    *waiting = (struct waiting){.waiter.done = done};
    list_init(&waiting->waiter.link);
    return store_wait(shard, &waiting->waiter);
}

static int set_up(void **state)
{
    (void)state;
    answer_count = 0;
    return 0;
}

/* ---- in memory ------------------------------------------------------------------------------ */

static void memory_store_is_safe_at_once(void **state)
{
    (void)state;
    struct store_shard shard;
    struct waiting waiting;
    store_memory_init(&shard, 3);
    assert_int_equal(shard.shard, 3);
    assert_int_equal(wait_for(&shard, &waiting), RC_OK);
    assert_false(store_turn(&shard, UINT64_MAX));
    assert_int_equal(waiting.answers, 0); /* the waiter was not used */
}

static void memory_store_counts_who_waited(void **state)
{
    (void)state;
    struct store_shard shard;
    struct waiting waiting;
    store_memory_init(&shard, 0);
    wait_for(&shard, &waiting);
    wait_for(&shard, &waiting);
    assert_int_equal(shard.commits, 2);
}

static void memory_store_keeps_nothing(void **state)
{
    (void)state;
    struct store_shard shard;
    struct store_key key = {.head = "key", .head_len = 3};
    struct bytes value = bytes_of_str("value");
    store_memory_init(&shard, 0);
    assert_false(store_keeps(&shard));
    struct store_ref ref = store_put(&shard, STORE_STATE, &key, &value, 1);
    assert_int_equal(ref.batch, 0);
    assert_true(store_is_safe(&shard, ref));
    assert_false(store_cancel(&shard, ref));
    assert_false(store_is_behind(&shard));
    assert_int_equal(store_trouble(&shard), RC_OK);
    assert_false(store_read_start(&shard, &(struct store_read){.family = STORE_STATE}));
}

/* ---- late ----------------------------------------------------------------------------------- */

static void late_store_answers_when_its_time_has_come(void **state)
{
    (void)state;
    struct store_shard shard;
    struct waiting waiting;
    store_late_init(&shard, 0, DELAY_MS, 0);
    uint64_t before_ms = clock_ms();
    assert_int_equal(wait_for(&shard, &waiting), RC_AGAIN);
    assert_true(store_turn(&shard, before_ms + DELAY_MS - 1));
    assert_int_equal(waiting.answers, 0);
    assert_false(store_turn(&shard, clock_ms() + DELAY_MS));
    assert_int_equal(waiting.answers, 1);
    assert_int_equal(waiting.rc, RC_OK);
}

static void late_store_answers_those_of_one_shard_in_order(void **state)
{
    (void)state;
    struct store_shard shard;
    struct waiting waiting[5];
    store_late_init(&shard, 0, DELAY_MS, 0);
    for (int i = 0; i < 5; i++)
        wait_for(&shard, &waiting[i]);
    store_turn(&shard, UINT64_MAX);
    for (int i = 0; i < 5; i++)
        assert_int_equal(waiting[i].order, i + 1);
}

static void late_store_answers_shards_out_of_order(void **state)
{
    (void)state;
    struct store_shard slow, quick;
    struct waiting first, second;
    store_late_init(&slow, 2, DELAY_MS, 0);
    store_late_init(&quick, 0, DELAY_MS, 0);
    wait_for(&slow, &first);
    wait_for(&quick, &second);
    uint64_t now_ms = clock_ms() + DELAY_MS;
    assert_true(store_turn(&slow, now_ms));
    assert_false(store_turn(&quick, now_ms));
    assert_false(store_turn(&slow, now_ms + 2 * DELAY_MS));
    assert_true(second.order < first.order);
}

static void late_store_fails_as_often_as_it_is_told(void **state)
{
    (void)state;
    struct store_shard shard;
    struct waiting waiting[9];
    store_late_init(&shard, 0, DELAY_MS, 3);
    for (int i = 0; i < 9; i++)
        wait_for(&shard, &waiting[i]);
    store_turn(&shard, UINT64_MAX);
    for (int i = 0; i < 9; i++)
        assert_int_equal(waiting[i].rc, i % 3 == 2 ? RC_IO : RC_OK);
}

struct asking_again {
    struct waiting waiting;
    struct store_shard *shard;
    struct waiting *next;
};

static void done_and_again(struct store_waiter *waiter, enum rc rc)
{
    struct asking_again *asking = CONTAINER_OF(waiter, struct asking_again, waiting.waiter);
    done(waiter, rc);
    wait_for(asking->shard, asking->next);
}

static void late_store_takes_a_waiter_while_it_answers(void **state)
{
    (void)state;
    struct store_shard shard;
    struct waiting next;
    store_late_init(&shard, 0, DELAY_MS, 0);
    struct asking_again asking = {
        .waiting.waiter.done = done_and_again, .shard = &shard, .next = &next};
    list_init(&asking.waiting.waiter.link);
    assert_int_equal(store_wait(&shard, &asking.waiting.waiter), RC_AGAIN);
    assert_true(store_turn(&shard, UINT64_MAX));
    assert_int_equal(next.answers, 0);
    store_turn(&shard, UINT64_MAX);
    assert_int_equal(next.answers, 1);
}

static void store_turn_without_waiters_has_nothing_to_do(void **state)
{
    (void)state;
    struct store_shard shard;
    store_late_init(&shard, 0, DELAY_MS, 0);
    assert_false(store_turn(&shard, UINT64_MAX));
}

#define RULE(rule) cmocka_unit_test_setup(rule, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(memory_store_is_safe_at_once),
        RULE(memory_store_counts_who_waited),
        RULE(memory_store_keeps_nothing),
        RULE(late_store_answers_when_its_time_has_come),
        RULE(late_store_answers_those_of_one_shard_in_order),
        RULE(late_store_answers_shards_out_of_order),
        RULE(late_store_fails_as_often_as_it_is_told),
        RULE(late_store_takes_a_waiter_while_it_answers),
        RULE(store_turn_without_waiters_has_nothing_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
