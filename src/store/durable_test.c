/* SPDX-License-Identifier: Apache-2.0 */
#include "base/breaks.h"
#include "base/memory.h"
#include "store/commit_fixture.h"
#include "store/inside.h"

/* ---- commits -------------------------------------------------------------------------------- */

static void wait_with_nothing_recorded_is_safe_at_once(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    assert_int_equal(wait_synced(f, 0), RC_OK);
    assert_false(store_end_busy(f->d.end));
    assert_int_equal(record_and_wait(f, 1), RC_OK);
    assert_int_equal(wait_synced(f, 0), RC_OK); /* all of it is safe */
    assert_int_equal(f->waiting[0].answers, 0);
}

static void waiters_are_answered_in_order_when_their_records_are_stored(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < WAITERS; i++) {
        record(f, (uint32_t)i % SHARDS, (uint64_t)i);
        assert_int_equal(wait_synced(f, i), RC_AGAIN);
    }
    durable_turn(&f->d);
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(f->waiting[i].answers, 0);
    store_start(f->d.store);
    turn_until_answered(f, WAITERS - 1);
    for (int i = 0; i < WAITERS; i++) {
        assert_int_equal(f->waiting[i].answers, 1);
        assert_int_equal(f->waiting[i].order, i + 1);
        assert_int_equal(f->waiting[i].rc, RC_OK);
        assert_true(is_stored(f, (uint32_t)i % SHARDS, (uint64_t)i));
    }
}

static void records_of_many_turns_are_one_commit_while_the_disk_is_busy(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < WAITERS; i++) {
        record(f, 0, (uint64_t)i);
        wait_synced(f, i);
        durable_turn(&f->d);
    }
    store_start(f->d.store);
    turn_until_answered(f, WAITERS - 1);
    struct store_figures figures = store_end_figures(f->d.end);
    assert_int_equal(figures.commits, 1);
    assert_int_equal(figures.syncs, 1);
    assert_int_equal(figures.records, WAITERS);
    assert_true(figures.bytes > WAITERS * 5);
    assert_int_equal(figures.failures, 0);
    assert_int_equal(store_end_figures(f->d.end).commits, 0); /* since it was last asked */
}

static void records_without_a_waiter_are_stored_too(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    record(f, 1, 7);
    durable_settle(&f->d);
    assert_true(is_stored(f, 1, 7));
    struct store_figures figures = store_end_figures(f->d.end);
    assert_int_equal(figures.commits, 1);
    assert_int_equal(figures.syncs, 0); /* nobody needs it on the disk yet */
}

static void records_are_there_after_the_store_is_closed(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    record(f, 0, 1);
    durable_turn(&f->d);
    record(f, 0, 2); /* not handed over */
    reopen(f);
    assert_true(is_stored(f, 0, 1));
    assert_true(is_stored(f, 0, 2));
}

static void delete_takes_out_one_and_delete_prefix_all_that_begin_so(void **state)
{
    struct fixture *f = *state;
    struct bytes value = bytes_of_str("value");
    store_start(f->d.store);
    for (uint64_t session = 254; session < 258; session++)
        for (uint64_t sequence = 0; sequence < 3; sequence++) {
            struct store_key key = record_key_queued(0, session, sequence);
            store_put(&f->shards[0], STORE_QUEUE, &key, &value, 1);
        }
    durable_settle(&f->d);
    assert_int_equal(key_count(store_engine(f->d.store), STORE_QUEUE), 12);
    struct store_key one = record_key_queued(0, 254, 1);
    store_delete(&f->shards[0], STORE_QUEUE, &one);
    struct store_key all = record_key_of(0, RECORD_QUEUED, 255);
    store_delete_prefix(&f->shards[0], STORE_QUEUE, &all);
    durable_settle(&f->d);
    assert_int_equal(key_count(store_engine(f->d.store), STORE_QUEUE), 8);
}

/* ---- records taken back --------------------------------------------------------------------- */

static void record_taken_back_in_time_is_not_written(void **state)
{
    struct fixture *f = *state;
    struct store_ref gone = record(f, 0, 1);
    record(f, 0, 2);
    assert_true(store_cancel(&f->shards[0], gone));
    assert_false(store_cancel(&f->shards[0], gone));
    store_start(f->d.store);
    durable_settle(&f->d);
    assert_false(is_stored(f, 0, 1));
    assert_true(is_stored(f, 0, 2));
}

static void record_handed_over_and_not_yet_fetched_can_be_taken_back(void **state)
{
    struct fixture *f = *state;
    struct store_ref gone = record(f, 0, 1);
    durable_turn(&f->d);
    assert_true(store_cancel(&f->shards[0], gone));
    store_start(f->d.store);
    durable_settle(&f->d);
    assert_false(is_stored(f, 0, 1));
    assert_int_equal(store_end_figures(f->d.end).commits, 0);
}

static void record_that_is_stored_cannot_be_taken_back(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    struct store_ref ref = record(f, 0, 1);
    durable_settle(&f->d);
    assert_false(store_cancel(&f->shards[0], ref));
    record(f, 0, 2); /* the next batch has a record at the same place */
    assert_false(store_cancel(&f->shards[0], ref));
    assert_false(store_cancel(&f->shards[0], (struct store_ref){0}));
}

static void wait_for_records_that_were_all_taken_back_is_safe_at_once(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    store_cancel(&f->shards[0], record(f, 0, 1));
    assert_int_equal(wait_synced(f, 0), RC_OK);
    assert_false(store_end_busy(f->d.end));
}

static void waiter_is_answered_though_its_record_is_taken_back(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    struct store_ref ref = record(f, 0, 1);
    assert_int_equal(wait_synced(f, 0), RC_AGAIN);
    store_cancel(&f->shards[0], ref);
    turn_until_answered(f, 0);
    assert_int_equal(f->waiting[0].rc, RC_OK);
    assert_false(is_stored(f, 0, 1));
}

/* ---- written, flushed ----------------------------------------------------------------------- */

static void waiter_that_needs_the_disk_makes_the_commit_a_flushed_one(void **state)
{
    struct fixture *f = *state;
    struct store_ref ref = record(f, 0, 1);
    assert_int_equal(wait_written(f, 0), RC_AGAIN);
    assert_int_equal(wait_synced(f, 1), RC_AGAIN);
    assert_false(store_is_safe(&f->shards[0], ref));
    store_start(f->d.store);
    turn_until_answered(f, 1);
    assert_int_equal(f->waiting[0].answers, 1);
    assert_true(store_is_safe(&f->shards[0], ref));
}

static void waiter_content_with_written_flushes_nothing(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    struct store_ref ref = record(f, 0, 1);
    assert_int_equal(wait_written(f, 0), RC_AGAIN);
    turn_until_answered(f, 0);
    assert_false(store_is_safe(&f->shards[0], ref));
    assert_int_equal(wait_written(f, 0), RC_OK);
}

static void written_is_enough_for_everybody_in_a_store_that_flushes_for_nobody(void **state)
{
    struct fixture *f = *state;
    f->d.never_at_once = true;
    reopen(f);
    store_start(f->d.store);
    struct store_ref ref = record(f, 0, 1);
    assert_false(store_is_safe(&f->shards[0], ref));
    assert_int_equal(wait_synced(f, 0), RC_AGAIN);
    turn_until_answered(f, 0);
    assert_true(store_is_safe(&f->shards[0], ref));
    assert_int_equal(wait_synced(f, 1), RC_OK);
    /* and so it was not flushed: another one would be asked for that */
    f->d.store->never_at_once = false;
    assert_false(store_is_safe(&f->shards[0], ref));
}

static void waiter_that_needs_the_disk_flushes_what_was_only_written(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    struct store_ref ref = record(f, 0, 1);
    wait_written(f, 0);
    turn_until_answered(f, 0);
    assert_int_equal(wait_synced(f, 1), RC_AGAIN); /* nothing new is recorded */
    turn_until_answered(f, 1);
    assert_int_equal(f->waiting[1].rc, RC_OK);
    assert_true(store_is_safe(&f->shards[0], ref));
    assert_int_equal(wait_synced(f, 1), RC_OK);
}

/* Whoever comes between a commit under way and the flush behind it. */
static void waiter_content_with_written_does_not_lose_the_one_before_it(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    for (uint64_t round = 0; round < 200; round++) {
        record(f, 0, round);
        durable_turn(&f->d); /* on its way, most often */
        enum rc synced = wait_synced(f, 0), written = wait_written(f, 1);
        if (synced == RC_AGAIN)
            turn_until_answered(f, 0);
        if (written == RC_AGAIN)
            turn_until_answered(f, 1);
    }
}

/* ---- reading back --------------------------------------------------------------------------- */

struct reading {
    struct store_read read;
    bool done;
};

static void read_done(struct store_read *read)
{
    CONTAINER_OF(read, struct reading, read)->done = true;
}

static void read_queue(struct fixture *f, uint64_t session, uint32_t records_max, size_t bytes_max,
                       struct reading *reading)
{
    struct store_key all = record_key_of(0, RECORD_QUEUED, session);
    *reading = (struct reading){.read = {.family = STORE_QUEUE,
                                         .from = all,
                                         .until = record_key_end(&all),
                                         .records_max = records_max,
                                         .bytes_max = bytes_max,
                                         .done = read_done}};
    assert_true(store_read_start(&f->shards[0], &reading->read));
    assert_true(store_end_busy(f->d.end));
    uint64_t until_ms = clock_ms() + DEADLINE_MS;
    while (!reading->done) {
        durable_sleep(&f->d, until_ms);
        durable_turn(&f->d);
    }
}

/* Records of a session's queue, each of a message of its own. */
static void record_queue(struct fixture *f, uint64_t session, uint64_t count, uint64_t shared)
{
    struct publication p = {.topic = bytes_of_str("topic"), .qos = 1};
    struct record_clock clock = {1, 1};
    for (uint64_t sequence = 1; sequence <= count; sequence++) {
        struct queue_record entry = {.kind =
                                         shared == 0 ? QUEUE_RECORD_MESSAGE : QUEUE_RECORD_SHARED,
                                     .qos = 1,
                                     .shared = shared};
        struct store_key key = record_key_queued(0, session, sequence);
        struct record_value value;
        queue_record_encode(&entry, &p, &clock, &value);
        record_put(&f->shards[0], STORE_QUEUE, &key, &value);
    }
}

static void read_sees_what_was_committed_in_order(void **state)
{
    struct fixture *f = *state;
    struct reading reading;
    store_start(f->d.store);
    record_queue(f, 7, 300, 0);
    record_queue(f, 8, 5, 0);
    durable_settle(&f->d);
    read_queue(f, 7, 1000, MIB, &reading);
    assert_int_equal(reading.read.rc, RC_OK);
    assert_int_equal(reading.read.records, 300);
    assert_false(reading.read.more);
    struct bytes key, value;
    uint64_t next = 1;
    for (size_t at = 0; store_read_next(&reading.read, &at, &key, &value);) {
        struct record_key parsed;
        struct queue_record entry;
        assert_true(record_key_parse(key, &parsed));
        assert_true(queue_record_decode(value, &entry));
        assert_int_equal(parsed.number, 7);
        assert_int_equal(parsed.sequence, next++);
    }
    assert_int_equal(next, 301);
    mem_free(reading.read.data);
}

static void read_stops_at_its_limits_and_says_that_there_is_more(void **state)
{
    struct fixture *f = *state;
    struct reading reading;
    store_start(f->d.store);
    record_queue(f, 7, 10, 0);
    durable_settle(&f->d);
    read_queue(f, 7, 4, MIB, &reading);
    assert_int_equal(reading.read.records, 4);
    assert_true(reading.read.more);
    mem_free(reading.read.data);
    read_queue(f, 7, 1000, 1, &reading); /* one comes all the same */
    assert_int_equal(reading.read.records, 1);
    assert_true(reading.read.more);
    mem_free(reading.read.data);
    read_queue(f, 7, 10, MIB, &reading);
    assert_int_equal(reading.read.records, 10);
    assert_false(reading.read.more);
    mem_free(reading.read.data);
    read_queue(f, 9, 10, MIB, &reading); /* nobody's */
    assert_int_equal(reading.read.records, 0);
    assert_null(reading.read.data);
}

static void read_brings_the_shared_message_before_each_that_shares_it(void **state)
{
    struct fixture *f = *state;
    struct reading reading;
    store_start(f->d.store);
    record(f, 0, 99);
    record_queue(f, 7, 2, 99);
    durable_settle(&f->d);
    read_queue(f, 7, 2, MIB, &reading);
    assert_int_equal(reading.read.records, 2);
    assert_false(reading.read.more);
    struct bytes key, value;
    size_t at = 0;
    for (int i = 0; i < 2; i++) {
        struct record_key parsed;
        assert_true(store_read_next(&reading.read, &at, &key, &value));
        assert_true(record_key_parse(key, &parsed));
        assert_int_equal(parsed.kind, RECORD_SHARED);
        assert_true(bytes_equal(value, bytes_of_str("value")));
        assert_true(store_read_next(&reading.read, &at, &key, &value));
        assert_true(record_key_parse(key, &parsed));
        assert_int_equal(parsed.kind, RECORD_QUEUED);
    }
    assert_false(store_read_next(&reading.read, &at, &key, &value));
    mem_free(reading.read.data);
}

static void read_of_a_shared_message_that_is_missing_brings_an_empty_one(void **state)
{
    struct fixture *f = *state;
    struct reading reading;
    store_start(f->d.store);
    record_queue(f, 7, 1, 99);
    durable_settle(&f->d);
    read_queue(f, 7, 10, MIB, &reading);
    struct bytes key, value;
    size_t at = 0;
    assert_true(store_read_next(&reading.read, &at, &key, &value));
    assert_int_equal(value.len, 0);
    mem_free(reading.read.data);
}

/* ---- a store and its broker ----------------------------------------------------------------- */

static void starts_are_counted(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(store_starts(f->d.store), 1);
    reopen(f);
    assert_int_equal(store_starts(f->d.store), 2);
    reopen(f);
    assert_int_equal(store_starts(f->d.store), 3);
}

static enum rc open_other(const char *dir, uint32_t shards)
{
    char error[ENGINE_ERROR_MAX] = "";
    struct store *store = NULL;
    struct store_options options = {
        .dir = dir, .profile = ENGINE_SMALL, .workers = 1, .shards = shards};
    enum rc rc = store_open(&options, &store, error);
    assert_int_equal(rc == RC_OK, error[0] == '\0');
    store_close(store);
    return rc;
}

static void store_in_use_is_not_opened_again(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(open_other(f->d.dir, SHARDS), RC_EXISTS);
}

/* Writes the record of the format into a closed store. */
static void write_meta(struct fixture *f, const struct bytes *value, uint32_t parts)
{
    struct engine *engine = engine_at(f->d.dir, ENGINE_EXISTING);
    struct store_key key = record_key(SHARD_META, RECORD_META);
    struct bytes whole = bytes_of(key.head, key.head_len);
    struct batch batch;
    batch_init(&batch);
    batch_add(&batch, &(struct batch_record){.operation = BATCH_PUT,
                                             .key = &whole,
                                             .key_parts = 1,
                                             .value = value,
                                             .value_parts = parts});
    assert_int_equal(write_batch(engine, &batch), RC_OK);
    batch_deinit(&batch);
    engine_close(engine);
}

static void store_of_another_kind_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    struct record_value value;
    struct meta_record good = {.format = STORE_FORMAT, .shards = SHARDS};
    struct meta_record newer = {.format = STORE_FORMAT + 1, .shards = SHARDS};
    durable_close(&f->d);
    meta_record_encode(&newer, &value);
    write_meta(f, value.parts, value.count);
    assert_int_equal(open_other(f->d.dir, SHARDS), RC_REFUSED);
    meta_record_encode(&good, &value);
    write_meta(f, value.parts, value.count);
    assert_int_equal(open_other(f->d.dir, SHARDS + 1), RC_REFUSED);
    open_store(f);
}

static void store_whose_format_cannot_be_read_is_damaged(void **state)
{
    struct fixture *f = *state;
    struct record_value value;
    struct bytes damaged = bytes_of_str("?");
    struct meta_record good = {.format = STORE_FORMAT, .shards = SHARDS};
    durable_close(&f->d);
    write_meta(f, &damaged, 1);
    assert_int_equal(open_other(f->d.dir, SHARDS), RC_INVALID);
    meta_record_encode(&good, &value);
    write_meta(f, value.parts, value.count);
    open_store(f);
}

static void checkpoint_has_what_was_committed(void **state)
{
    struct fixture *f = *state;
    char copy[2 * DIR_ROOM], error[ENGINE_ERROR_MAX];
    store_start(f->d.store);
    record(f, 0, 1);
    durable_settle(&f->d);
    snprintf(copy, sizeof(copy), "%s/copy", f->d.dir);
    assert_int_equal(store_checkpoint(f->d.store, copy, error), RC_OK);
    assert_int_equal(store_checkpoint(f->d.store, copy, error), RC_EXISTS);
    struct engine *engine = engine_at(copy, ENGINE_EXISTING);
    assert_int_equal(key_count(engine, STORE_QUEUE), 1);
    engine_close(engine);
}

static void store_that_breaks_promises_says_safe_before_it_is(void **state)
{
    struct fixture *f = *state;
    breaks_set(BREAK_ACK_BEFORE_COMMIT);
    reopen(f);
    breaks_set(BREAK_NOTHING);
    struct store_ref ref = record(f, 0, 1);
    assert_int_equal(wait_synced(f, 0), RC_OK);
    assert_true(store_is_safe(&f->shards[0], ref));
    assert_false(is_stored(f, 0, 1));
    reopen(f);
    record(f, 0, 2);
    assert_int_equal(wait_synced(f, 0), RC_AGAIN);
    store_start(f->d.store);
    turn_until_answered(f, 0);
}

static void worker_with_much_to_commit_is_behind(void **state)
{
    struct fixture *f = *state;
    char *large = calloc(1, MIB);
    assert_non_null(large);
    struct bytes value = bytes_of(large, MIB);
    struct store_key key = key_of(0, 1);
    assert_false(store_is_behind(&f->shards[0]));
    for (int i = 0; i < STORE_BATCH_HIGH / MIB + 1; i++)
        store_put(&f->shards[0], STORE_QUEUE, &key, &value, 1);
    assert_true(store_is_behind(&f->shards[0]));
    store_start(f->d.store);
    durable_settle(&f->d);
    assert_false(store_is_behind(&f->shards[0]));
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(wait_with_nothing_recorded_is_safe_at_once),
        RULE(waiters_are_answered_in_order_when_their_records_are_stored),
        RULE(records_of_many_turns_are_one_commit_while_the_disk_is_busy),
        RULE(records_without_a_waiter_are_stored_too),
        RULE(records_are_there_after_the_store_is_closed),
        RULE(delete_takes_out_one_and_delete_prefix_all_that_begin_so),
        RULE(record_taken_back_in_time_is_not_written),
        RULE(record_handed_over_and_not_yet_fetched_can_be_taken_back),
        RULE(record_that_is_stored_cannot_be_taken_back),
        RULE(wait_for_records_that_were_all_taken_back_is_safe_at_once),
        RULE(waiter_is_answered_though_its_record_is_taken_back),
        RULE(waiter_that_needs_the_disk_makes_the_commit_a_flushed_one),
        RULE(waiter_content_with_written_flushes_nothing),
        RULE(written_is_enough_for_everybody_in_a_store_that_flushes_for_nobody),
        RULE(waiter_that_needs_the_disk_flushes_what_was_only_written),
        RULE(waiter_content_with_written_does_not_lose_the_one_before_it),
        RULE(read_sees_what_was_committed_in_order),
        RULE(read_stops_at_its_limits_and_says_that_there_is_more),
        RULE(read_brings_the_shared_message_before_each_that_shares_it),
        RULE(read_of_a_shared_message_that_is_missing_brings_an_empty_one),
        RULE(starts_are_counted),
        RULE(store_in_use_is_not_opened_again),
        RULE(store_of_another_kind_is_refused_and_left_alone),
        RULE(store_whose_format_cannot_be_read_is_damaged),
        RULE(checkpoint_has_what_was_committed),
        RULE(store_that_breaks_promises_says_safe_before_it_is),
        RULE(worker_with_much_to_commit_is_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
