/* SPDX-License-Identifier: Apache-2.0 */
/* Records that the engine had accepted and has lost, and that are appended again. */
#include "changelog/changelog_fixture.h"

#include "base/log.h"

enum { NOTICED_MS = CHANGELOG_INFO_MS + CHANGELOG_POLL_MS + 2 * CHANGELOG_ANSWER_MAX_MS };

/* a is home, b has read all of it. */
static struct world *world_before(struct node **a, struct node **b)
{
    static char texts[8][8];
    struct world *world = world_new();
    *a = node_new(world, 0, "a");
    *b = node_new(world, 1, "b");

    claim(*a);
    world_advance(world, 20);
    follow(*b);
    for (uint64_t i = 0; i < 8; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%u", (unsigned)i);
        assert_int_equal(append(*a, texts[i], i), RC_OK);
        world_advance(world, 100);
    }
    world_advance(world, CHANGELOG_POLL_MS);
    assert_int_equal((*b)->applied_count, 8);
    return world;
}

static struct kept *copy_of_log(const struct world *world)
{
    struct kept *copy = mem_new(world->log.last * sizeof(*copy));
    for (uint64_t i = 0; i < world->log.last; i++) {
        copy[i] = world->log.kept[i];
        copy[i].bytes = mem_new(copy[i].len);
        memcpy(copy[i].bytes, world->log.kept[i].bytes, copy[i].len);
    }
    return copy;
}

/* Up to `last`; frees the copy. */
static void check_log(const struct world *world, struct kept *copy, uint64_t last)
{
    assert_true(world->log.last >= last);
    for (uint64_t i = 0; i < last; i++) {
        assert_int_equal(world->log.kept[i].len, copy[i].len);
        assert_memory_equal(world->log.kept[i].bytes, copy[i].bytes, copy[i].len);
        mem_free(copy[i].bytes);
    }
    mem_free(copy);
}

static void who_follows_appends_again_what_the_engine_has_lost(void **state)
{
    struct node *a, *b;
    struct world *world = world_before(&a, &b);
    struct kept *copy = copy_of_log(world);
    (void)state;

    a->cut = true;
    uint64_t last = changelog_position(&b->changelog)->sequence;
    world_lose(world, 3);
    world_advance(world, NOTICED_MS);
    assert_int_equal(b->changelog.missing, 0);
    assert_int_equal(world->log.last, last);
    assert_int_equal(b->changelog.counts.replayed, last - 3);
    check_log(world, copy, last);
    claim(b);
    world_advance(world, 5000);
    assert_int_equal(b->opened, 1);
    world_free(world);
}

static void home_appends_again_what_the_engine_has_lost_and_stays_home(void **state)
{
    struct node *a, *b;
    struct world *world = world_before(&a, &b);
    struct kept *copy = copy_of_log(world);
    uint64_t last = world->log.last;
    (void)state;

    b->cut = true;
    world_lose(world, last - 5);
    assert_int_equal(append(a, "x", 8), RC_OK);
    world_advance(world, NOTICED_MS);
    assert_true(fresh(a));
    assert_int_equal(a->deposed + a->broken, 0);
    assert_int_equal(a->committed_count, 9);
    assert_int_equal(a->changelog.counts.replayed, 5);
    check_log(world, copy, last);
    world_free(world);
}

static void two_that_append_it_again_do_not_disturb_each_other(void **state)
{
    (void)state;

    for (uint32_t delay = 0; delay < 40; delay++) {
        struct node *a, *b;
        struct world *world = world_before(&a, &b);
        struct kept *copy = copy_of_log(world);
        uint64_t last = world->log.last;
        struct node *c = node_new(world, 2, "c");
        follow(c);
        world_advance(world, 100);
        a->cut = true;
        world_lose(world, 2);
        world_advance(world, 1 + delay);
        b->changelog.info_ms = c->changelog.info_ms = b->changelog.poll_ms = c->changelog.poll_ms =
            0;
        c->delay_ms = 1 + delay % 7;
        world_advance(world, NOTICED_MS);
        assert_int_equal(b->broken + c->broken, 0);
        assert_int_equal(b->changelog.missing + c->changelog.missing, 0);
        assert_int_equal(world->log.last, last);
        check_log(world, copy, last);
        a->cut = false;
        world_advance(world, 3000);
        assert_true(fresh(a));
        world_free(world);
    }
}

static void answers_that_are_lost_meanwhile_are_asked_for_again(void **state)
{
    struct node *a, *b;
    struct world *world = world_before(&a, &b);
    struct kept *copy = copy_of_log(world);
    uint64_t last = world->log.last;
    (void)state;

    a->cut = true;
    world_lose(world, 2);
    b->lost_answers = 3;
    world_advance(world, NOTICED_MS);
    b->failing = true;
    world_advance(world, 1000);
    b->failing = false;
    world_advance(world, 2 * NOTICED_MS);
    assert_int_equal(b->changelog.missing, 0);
    assert_int_equal(world->log.last, last);
    check_log(world, copy, last);
    world_free(world);
}

static void nothing_is_appended_behind_a_record_that_is_another_one(void **state)
{
    struct node *a, *b;
    struct world *world = world_before(&a, &b);
    (void)state;

    a->cut = true;
    uint64_t last = world->log.last;
    world_lose(world, 3);
    world->log.kept[2].bytes[CHANGELOG_HEADER - 1] ^= 1;
    world_advance(world, 2 * NOTICED_MS);
    assert_int_equal(world->log.last, 3);
    assert_int_equal(b->changelog.missing, last - 3);
    assert_int_equal(b->changelog.replay.token, 0);
    assert_int_equal(b->changelog.counts.replayed, 0);
    world_free(world);
}

static void what_is_kept_by_nobody_stays_missing(void **state)
{
    struct node *a, *b;
    struct world *world = world_before(&a, &b);
    (void)state;

    a->cut = true;
    uint64_t last = world->log.last;
    tail_clear(&b->changelog.tail); /* it was restarted, say, and has read the last one since */
    world_lose(world, 3);
    world_advance(world, 2 * NOTICED_MS);
    assert_int_equal(world->log.last, 3);
    assert_int_equal(b->changelog.missing, last - 3);
    world_free(world);
}

static void home_that_was_abandoned_keeps_what_it_had_appended(void **state)
{
    struct node *a, *b;
    struct world *world = world_before(&a, &b);
    struct kept *copy = copy_of_log(world);
    uint64_t last = world->log.last;
    (void)state;

    changelog_stop(&b->changelog); /* it reads nothing more */
    changelog_abandon(&a->changelog);
    world_lose(world, 4);
    follow(a);
    world_advance(world, NOTICED_MS);
    assert_int_equal(world->log.last, last);
    check_log(world, copy, last);
    world_free(world);
}

/* A home whose engine loses something again and again loses nothing that it has committed. */
static void engine_that_loses_again_and_again(void **state)
{
    struct node *a, *b;
    struct world *world = world_before(&a, &b);
    static char texts[300][8];
    uint64_t random = 12345, cookie = 8;
    (void)state;

    for (uint32_t round = 0; round < 60; round++) {
        for (uint32_t i = 0; i < 5; i++) {
            snprintf(texts[cookie - 8], sizeof(texts[0]), "%u", (unsigned)cookie);
            while (append(a, texts[cookie - 8], cookie) != RC_OK)
                world_advance(world, 10);
            cookie++;
            world_advance(world, random % 40);
            random = random * 6364136223846793005u + 1442695040888963407u;
        }
        uint64_t lose = (random >> 33) % 12;
        world_lose(world, world->log.last - lose);
        world_advance(world, (random >> 40) % 3000);
    }
    world_advance(world, 2 * NOTICED_MS);
    assert_int_equal(a->deposed + a->broken + b->broken, 0);
    assert_int_equal(a->committed_count, cookie);
    assert_int_equal(b->applied_count, cookie);
    assert_true(a->changelog.counts.replayed + b->changelog.counts.replayed > 60);
    world_free(world);
}

/* ---- the tail ----------------------------------------------------------------------------------
 */

static struct changelog_hash hash_of(uint64_t sequence)
{
    struct changelog_hash hash = {0};
    memcpy(hash.bytes, &sequence, sizeof(sequence));
    return hash;
}

static void add(struct tail *tail, uint64_t sequence, size_t len)
{
    static uint8_t bytes[TAIL_BYTES + 1];
    struct changelog_hash hash = hash_of(sequence);
    bytes[0] = (uint8_t)sequence;
    tail_add(tail, sequence, bytes_of(bytes, 1), bytes_of(bytes + 1, len - 1), &hash);
}

static void tail_keeps_the_youngest(void **state)
{
    struct tail tail = {0};
    (void)state;

    for (uint64_t i = 1; i <= TAIL_RECORDS + 3; i++)
        add(&tail, i, 10);
    assert_int_equal(tail.count, TAIL_RECORDS);
    assert_null(tail_at(&tail, 3).data);
    assert_int_equal(tail_at(&tail, 4).data[0], 4);
    assert_null(tail_at(&tail, TAIL_RECORDS + 4).data);
    assert_null(tail_at(&tail, 0).data);
    for (uint64_t i = TAIL_RECORDS + 4; i < TAIL_RECORDS + 10; i++)
        add(&tail, i, TAIL_BYTES / 4);
    assert_int_equal(tail.count, 4);
    assert_true(tail.bytes <= TAIL_BYTES);
    add(&tail, TAIL_RECORDS + 10, TAIL_BYTES + 1);
    assert_int_equal(tail.count + tail.bytes, 0);
    add(&tail, TAIL_RECORDS + 11, 5);
    assert_int_equal(tail.count, 1);
    add(&tail, TAIL_RECORDS + 13, 5); /* one was left out */
    assert_int_equal(tail.count, 1);
    tail_clear(&tail);
}

static void tail_is_cut_where_a_store_goes_on(void **state)
{
    struct tail tail = {0};
    struct changelog_hash hash = hash_of(6), other = hash_of(60);
    (void)state;

    for (uint64_t i = 1; i <= 9; i++)
        add(&tail, i, 10);
    tail_cut(&tail, 6, &hash);
    assert_int_equal(tail.count, 6);
    assert_int_equal(tail.last, 6);
    add(&tail, 7, 10);
    assert_int_equal(tail.count, 7);
    tail_cut(&tail, 6, &other);
    assert_int_equal(tail.count + tail.bytes, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_follows_appends_again_what_the_engine_has_lost),
        cmocka_unit_test(home_appends_again_what_the_engine_has_lost_and_stays_home),
        cmocka_unit_test(two_that_append_it_again_do_not_disturb_each_other),
        cmocka_unit_test(answers_that_are_lost_meanwhile_are_asked_for_again),
        cmocka_unit_test(nothing_is_appended_behind_a_record_that_is_another_one),
        cmocka_unit_test(what_is_kept_by_nobody_stays_missing),
        cmocka_unit_test(home_that_was_abandoned_keeps_what_it_had_appended),
        cmocka_unit_test(engine_that_loses_again_and_again),
        cmocka_unit_test(tail_keeps_the_youngest),
        cmocka_unit_test(tail_is_cut_where_a_store_goes_on),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
