/* SPDX-License-Identifier: Apache-2.0 */
/* Records that are held back because they will probably be taken back. */
#include "store/commit_fixture.h"
#include "store/inside.h"

enum { MANY = STORE_HOLD_MIN + 2 };

static enum rc wait_for(struct fixture *f, int which, struct store_ref ref)
{
    struct waiting *waiting = &f->waiting[which];
    *waiting = (struct waiting){.waiter = {.done = done}};
    list_init(&waiting->waiter.link);
    return store_wait_for(&f->shards[0], ref, &waiting->waiter);
}

/* Records `count` and waits for each alone. */
static void hold(struct fixture *f, int count, struct store_ref refs[])
{
    for (int i = 0; i < count; i++) {
        refs[i] = record(f, 0, (uint64_t)i);
        assert_int_equal(wait_for(f, i, refs[i]), RC_AGAIN);
    }
}

/* A store at work, and many records that are held back at the end of the turn. */
static void hold_many(struct fixture *f, struct store_ref refs[MANY])
{
    store_start(f->d.store);
    hold(f, MANY, refs);
    assert_true(store_end_post(f->d.end) > 0);
}

static int answers(const struct fixture *f)
{
    int count = 0;
    for (int i = 0; i < WAITERS; i++)
        count += f->waiting[i].answers;
    return count;
}

static void turn_until_all_are_answered(struct fixture *f, int count)
{
    uint64_t until_ms = clock_ms() + DEADLINE_MS;
    while (answers(f) < count) {
        assert_true(clock_ms() < until_ms);
        store_end_turn(f->d.end, NULL, NULL);
        uint32_t again_ms = store_end_post(f->d.end);
        if (answers(f) < count)
            poll(NULL, 0, again_ms > 0 ? (int)again_ms : 1);
    }
}

static void end_for_which_there_is_nothing_to_do_is_left_out(void **state)
{
    struct fixture *f = *state;
    struct store_ends *ends = &f->d.ends;
    struct store_figures figures = {0};
    store_start(f->d.store);
    assert_int_equal(store_ends_post(ends), 0);
    assert_true(list_empty(&ends->active));
    struct store_ref ref = record(f, 0, 1);
    assert_int_equal(wait_for(f, 0, ref), RC_AGAIN);
    assert_true(store_ends_busy(ends));
    uint64_t until_ms = clock_ms() + DEADLINE_MS;
    while (!list_empty(&ends->active)) {
        assert_true(clock_ms() < until_ms);
        (void)store_ends_post(ends);
        poll(NULL, 0, 1);
        store_ends_turn(ends, NULL, NULL, &figures);
    }
    assert_int_equal(answers(f), 1);
    assert_false(store_ends_busy(ends));
    assert_int_equal(figures.records, 1);
}

static void settled_records_are_never_written_and_nobody_waits_for_them(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[MANY];
    hold_many(f, refs);
    for (int i = 0; i < MANY; i++)
        assert_true(store_settle(&f->shards[0], refs[i]));
    assert_int_equal(answers(f), 0); /* not from inside of what settles them */
    assert_true(store_ends_have_news(&f->d.ends));
    assert_true(store_end_busy(f->d.end));
    durable_turn(&f->d);
    assert_int_equal(answers(f), MANY);
    assert_false(store_ends_have_news(&f->d.ends));
    assert_false(store_end_busy(f->d.end));
    struct store_figures figures = store_end_figures(f->d.end);
    assert_int_equal(figures.commits, 0);
    assert_int_equal(figures.spared, MANY);
}

static void few_records_are_not_held_back(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[MANY];
    hold(f, STORE_HOLD_MIN - 1, refs);
    assert_int_equal(store_end_post(f->d.end), 0);
    assert_non_null(atomic_load(&f->d.end->slot));
    store_start(f->d.store);
    turn_until_all_are_answered(f, STORE_HOLD_MIN - 1);
    assert_true(is_stored(f, 0, STORE_HOLD_MIN - 2));
}

static void records_that_nobody_settles_are_stored_in_time(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[MANY];
    hold_many(f, refs);
    assert_null(atomic_load(&f->d.end->slot));
    turn_until_all_are_answered(f, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(f->waiting[i].rc, RC_OK);
        assert_true(store_is_safe(&f->shards[0], refs[i]));
        assert_true(is_stored(f, 0, (uint64_t)i));
        assert_false(store_settle(&f->shards[0], refs[i]));
    }
}

static void whoever_waits_for_everything_waits_for_nothing_held_back(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[MANY];
    hold_many(f, refs);
    record(f, 1, 100);
    assert_int_equal(wait_synced(f, MANY), RC_AGAIN);
    assert_int_equal(store_end_post(f->d.end), 0);
    turn_until_answered(f, MANY);
    assert_int_equal(answers(f), MANY + 1);
    assert_true(is_stored(f, 0, 0));
    assert_true(is_stored(f, 1, 100));
}

/* What takes its place is younger, and waited for. */
static void record_taken_back_but_not_settled_is_waited_for_with_all_that_came_since(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[MANY];
    hold_many(f, refs);
    record(f, 1, 100);
    assert_true(store_cancel(&f->shards[0], refs[3]));
    assert_int_equal(f->waiting[3].answers, 0);
    assert_int_equal(store_end_post(f->d.end), 0);
    turn_until_answered(f, 3);
    assert_true(is_stored(f, 1, 100));
    assert_false(is_stored(f, 0, 3));
}

static void older_and_younger_go_together_in_order(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[MANY];
    hold(f, MANY, refs);
    f->d.end->now_ns = clock_ns() + f->d.end->commit_ns; /* they are no longer the youngest */
    assert_true(store_end_post(f->d.end) > 0);
    struct store_ref young = record(f, 0, 0); /* over what is held back */
    assert_int_not_equal(young.batch, refs[0].batch);
    assert_int_equal(wait_for(f, MANY, young), RC_AGAIN);
    struct store_key key = key_of(0, 1);
    store_delete(&f->shards[0], STORE_QUEUE, &key);
    store_end_post_all(f->d.end);
    assert_true(store_settle(&f->shards[0], young)); /* taken back from the slot */
    store_end_post_all(f->d.end);
    store_start(f->d.store);
    turn_until_all_are_answered(f, MANY + 1);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(f->waiting[i].rc, RC_OK);
    assert_true(is_stored(f, 0, 0));
    assert_false(is_stored(f, 0, 1));
}

static void too_much_is_not_held_back(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[MANY];
    uint8_t *large = calloc(1, STORE_HOLD_BYTES);
    struct bytes value = bytes_of(large, STORE_HOLD_BYTES);
    struct store_key key = key_of(0, 100);
    hold(f, MANY, refs);
    store_put(&f->shards[0], STORE_QUEUE, &key, &value, 1);
    assert_int_equal(store_end_post(f->d.end), 0);
    assert_non_null(atomic_load(&f->d.end->slot));
    free(large);
    store_start(f->d.store);
    turn_until_all_are_answered(f, MANY);
}

static void trouble_ends_the_wait_for_what_is_held_back(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[MANY];
    hold(f, MANY, refs);
    limit_files(0);
    store_start(f->d.store);
    turn_until_all_are_answered(f, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(f->waiting[i].rc, RC_IO);
    struct store_ref refused = record(f, 0, 100);
    assert_int_equal(wait_for(f, MANY, refused), RC_IO);
    limit_files(RLIM_INFINITY);
    durable_turn_until(&f->d, true);
}

static void what_is_held_back_is_there_after_the_store_is_closed(void **state)
{
    struct fixture *f = *state;
    struct store_ref refs[MANY];
    hold_many(f, refs);
    reopen(f);
    assert_true(is_stored(f, 0, MANY - 1));
}

static void wait_for_one_that_was_taken_back_is_a_wait_for_everything(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    struct store_ref gone = record(f, 0, 1);
    store_cancel(&f->shards[0], gone);
    assert_int_equal(wait_for(f, 0, gone), RC_OK);
    record(f, 0, 2);
    assert_int_equal(wait_for(f, 0, gone), RC_AGAIN);
    durable_settle(&f->d);
    assert_int_equal(f->waiting[0].answers, 1);
    assert_true(is_stored(f, 0, 2));
}

static void record_is_recent_while_it_could_have_been_held_back(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    struct store_ref ref = record(f, 0, 1);
    assert_true(store_is_recent(&f->shards[0], ref));
    assert_false(store_is_recent(&f->shards[0], (struct store_ref){0}));
    uint64_t until_ms = clock_ms() + DEADLINE_MS;
    while (store_is_recent(&f->shards[0], ref))
        assert_true(clock_ms() < until_ms);
    for (uint64_t i = 0; i < END_TIMES; i++) {
        ref = record(f, 0, i);
        durable_settle(&f->d);
    }
    ref.batch -= END_TIMES;
    assert_false(store_is_recent(&f->shards[0], ref));
}

/* The batch of both is empty, and opened by the first. */
static void two_that_need_the_flush_of_what_is_only_being_written_both_wait_for_it(void **state)
{
    struct fixture *f = *state;
    struct store_ref ref = record(f, 0, 1);
    assert_int_equal(wait_written(f, 0), RC_AGAIN);
    store_end_post(f->d.end);
    struct batch *fetched = atomic_exchange(&f->d.end->slot, NULL); /* by the commit thread */
    assert_int_equal(wait_synced(f, 1), RC_AGAIN);
    assert_int_equal(wait_synced(f, 2), RC_AGAIN);
    fetched->rc = RC_OK;
    mailbox_post(&f->d.end->answers, &fetched->letter);
    durable_turn(&f->d);
    assert_int_equal(f->waiting[0].answers, 1);
    assert_false(store_is_safe(&f->shards[0], ref));
    assert_int_equal(f->waiting[1].answers + f->waiting[2].answers, 0);
    store_start(f->d.store);
    turn_until_all_are_answered(f, 3);
    assert_true(store_is_safe(&f->shards[0], ref));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(settled_records_are_never_written_and_nobody_waits_for_them),
        RULE(end_for_which_there_is_nothing_to_do_is_left_out),
        RULE(few_records_are_not_held_back),
        RULE(records_that_nobody_settles_are_stored_in_time),
        RULE(whoever_waits_for_everything_waits_for_nothing_held_back),
        RULE(record_taken_back_but_not_settled_is_waited_for_with_all_that_came_since),
        RULE(older_and_younger_go_together_in_order),
        RULE(too_much_is_not_held_back),
        RULE(trouble_ends_the_wait_for_what_is_held_back),
        RULE(what_is_held_back_is_there_after_the_store_is_closed),
        RULE(wait_for_one_that_was_taken_back_is_a_wait_for_everything),
        RULE(record_is_recent_while_it_could_have_been_held_back),
        RULE(two_that_need_the_flush_of_what_is_only_being_written_both_wait_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
