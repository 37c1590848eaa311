/* SPDX-License-Identifier: Apache-2.0 */
#include "base/breaks.h"
#include "store/replicated_fixture.h"

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
    assert_int_equal(f->asked[0].refused, 2);
    assert_false(is_stored(f, 0, 1));
    assert_false(is_stored(f, 0, 2));
    assert_int_equal(position_of(f, 0).len, 0);
    assert_int_equal(store_trouble(&f->shards[0]), RC_CLOSED);
}

/* The disk works again, but that does not mean that the changelog has it. */
static void what_waits_until_the_store_works_waits_for_the_changelog(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    record(f, 0, 1);
    wait_until_it_works(f, 0, 0);
    turn(f);
    await_count(f, &f->asked[0].appended, 1);
    turn(f);
    assert_int_equal(f->waiting[0].answers, 0);
    commit(f, 0, 1);
    await_answer(f, 0);
    assert_int_equal(f->waiting[0].rc, RC_OK);
    record(f, 0, 2);
    wait_until_it_works(f, 0, 1);
    turn(f);
    store_replica_lost(f->store, 0);
    await_answer(f, 1);
    assert_int_equal(f->waiting[1].rc, RC_CLOSED);
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

/* ---- broken on purpose ----------------------------------------------------------------------- */

static void store_that_does_not_wait_for_the_changelog_says_safe_before_it_is(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    breaks_set(BREAK_ACK_BEFORE_CHANGELOG);
    record(f, 0, 7);
    assert_int_equal(wait(f, 0, 0), RC_AGAIN);
    await_answer(f, 0);
    breaks_set(BREAK_NOTHING);
    assert_int_equal(f->waiting[0].rc, RC_OK);
    assert_false(is_stored(f, 0, 7));
    store_replica_lost(f->store, 0);
    serve(f, 0);
    assert_false(is_stored(f, 0, 7));
}

static void store_that_keeps_what_was_refused_has_it(void **state)
{
    struct fixture *f = *state;
    serve(f, 0);
    record(f, 0, 7);
    assert_int_equal(wait(f, 0, 0), RC_AGAIN);
    turn(f);
    await_count(f, &f->asked[0].appended, 1);
    breaks_set(BREAK_KEEP_REFUSED);
    store_replica_lost(f->store, 0);
    await_answer(f, 0);
    serve(f, 0);
    breaks_set(BREAK_NOTHING);
    assert_int_equal(f->waiting[0].rc, RC_CLOSED);
    assert_true(is_stored(f, 0, 7));
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
        RULE(what_waits_until_the_store_works_waits_for_the_changelog),
        RULE(nobody_may_record_where_this_node_is_not_home),
        RULE(a_group_is_ready_when_everything_before_is_written),
        RULE(positions_are_there_after_a_restart),
        RULE(what_workers_record_while_they_load_is_appended_when_they_serve),
        RULE(a_group_is_closed_when_all_is_written),
        RULE(much_is_appended_in_several_batches),
        RULE(without_a_lease_what_was_taken_back_waits_for_the_changelog),
        RULE(with_a_lease_it_does_not),
        RULE(store_that_does_not_wait_for_the_changelog_says_safe_before_it_is),
        RULE(store_that_keeps_what_was_refused_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
