/* SPDX-License-Identifier: Apache-2.0 */
#include "store/walk.h"

#include "base/list.h"
#include "store/made_fixture.h"

enum { MANY = 2000, IN_A_BLOCK = 240 };

struct seen {
    struct walk walk;
    uint64_t count, first, last, gaps, gap_from, gap_until; /* sequences */
    bool gap_ends;
    uint64_t stop_after; /* 0: never */
};

static enum rc note_record(struct walk *walk, enum store_family family, struct bytes key,
                           struct bytes value)
{
    struct seen *seen = CONTAINER_OF(walk, struct seen, walk);
    struct record_key parsed;
    assert_int_equal(family, STORE_QUEUE);
    assert_true(value.len > 0);
    assert_true(record_key_parse(key, &parsed));
    assert_true(parsed.sequence > seen->last);
    seen->last = parsed.sequence;
    seen->count++;
    return seen->count == seen->stop_after ? RC_FULL : RC_OK;
}

static enum rc note_gap(struct walk *walk, enum store_family family, struct bytes from,
                        struct bytes until, const char *error)
{
    struct seen *seen = CONTAINER_OF(walk, struct seen, walk);
    struct record_key parsed;
    assert_int_equal(family, STORE_QUEUE);
    assert_non_null(strstr(error, "checksum"));
    assert_true(record_key_parse(bytes_of(from.data, from.len - 1), &parsed));
    seen->gap_from = parsed.sequence + 1; /* the key before it, and a byte behind that */
    seen->gap_ends = record_key_parse(until, &parsed) && parsed.kind == RECORD_QUEUED;
    seen->gap_until = seen->gap_ends ? parsed.sequence : MANY + 1;
    seen->gaps++;
    return RC_OK;
}

/* Walks over the queue of session 7. */
static enum rc walk_queue(struct made *m, struct seen *seen)
{
    struct engine *engine = engine_at(m->store, ENGINE_LENIENT);
    seen->walk.record = note_record;
    enum rc rc = walk_kind(engine, &seen->walk, STORE_QUEUE, 1, RECORD_QUEUED);
    engine_close(engine);
    return rc;
}

static void queue_with_damage_at(struct made *m, off_t at)
{
    char path[PATH_ROOM];
    made_queue(m, 1, 7, MANY);
    made_finish(m);
    off_t size = made_largest(m, ".sst", path);
    flip_byte(path, at < 0 ? size + at : at);
}

static void walk_gives_all_records_in_order(void **state)
{
    struct made *m = *state;
    struct seen seen = {0};
    made_queue(m, 1, 7, MANY);
    made_queue(m, 2, 8, 3); /* another shard's */
    made_finish(m);
    assert_int_equal(walk_queue(m, &seen), RC_OK);
    assert_int_equal(seen.count, MANY);
}

static void walk_steps_over_a_bad_block_and_no_further(void **state)
{
    struct seen seen = {.walk.gap = note_gap};
    queue_with_damage_at(*state, 50000);
    assert_int_equal(walk_queue(*state, &seen), RC_OK);
    assert_int_equal(seen.gaps, 1);
    assert_true(seen.gap_ends);
    assert_in_range(seen.gap_until - seen.gap_from, 1, IN_A_BLOCK);
    assert_int_equal(seen.count, MANY - (seen.gap_until - seen.gap_from));
    assert_int_equal(seen.last, MANY);
}

static void walk_names_a_gap_that_goes_to_the_end(void **state)
{
    struct seen seen = {.walk.gap = note_gap};
    queue_with_damage_at(*state, -2000);
    assert_int_equal(walk_queue(*state, &seen), RC_OK);
    assert_int_equal(seen.gaps, 1);
    assert_false(seen.gap_ends);
    assert_int_equal(seen.gap_from, seen.last + 1);
}

static void walk_that_may_not_step_over_a_gap_ends_there(void **state)
{
    struct seen seen = {0};
    queue_with_damage_at(*state, 50000);
    assert_int_equal(walk_queue(*state, &seen), RC_INVALID);
    assert_in_range(seen.count, 1, MANY - 1);
}

static void walk_ends_when_it_is_told_to(void **state)
{
    struct made *m = *state;
    struct seen seen = {.stop_after = 3};
    made_queue(m, 1, 7, 10);
    made_finish(m);
    assert_int_equal(walk_queue(m, &seen), RC_FULL);
    assert_int_equal(seen.count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MADE_RULE(walk_gives_all_records_in_order),
        MADE_RULE(walk_steps_over_a_bad_block_and_no_further),
        MADE_RULE(walk_names_a_gap_that_goes_to_the_end),
        MADE_RULE(walk_that_may_not_step_over_a_gap_ends_there),
        MADE_RULE(walk_ends_when_it_is_told_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
