/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what others append. */
#include "changelog/changelog_fixture.h"

static void follower_applies_everything_in_order(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    char texts[50][8];
    (void)state;

    claim(a);
    world_advance(world, 20);
    for (uint64_t i = 0; i < 50; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%u", (unsigned)i);
        assert_int_equal(append(a, texts[i], i), RC_OK);
        world_advance(world, 5);
    }
    follow(b);
    world_advance(world, 1000);

    assert_int_equal(b->applied_count, 50);
    for (int i = 0; i < 50; i++)
        assert_string_equal(b->applied[i], texts[i]);
    world_free(world);
}

static void follower_that_is_told_does_not_wait_to_look(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    follow(b);
    world_advance(world, 300);
    while (b->changelog.poll_ms < world->now_ms + 200)
        world_advance(world, 1);
    assert_int_equal(append(a, "x", 1), RC_OK);
    world_advance(world, 5);
    assert_int_equal(b->applied_count, 0);
    changelog_hint(&b->changelog, a->position.sequence, world->now_ms);
    world_advance(world, 5);

    assert_int_equal(b->applied_count, 1);
    world_free(world);
}

static void follower_reads_a_copy_while_the_engines_leader_does_not_answer(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    follow(b);
    world_advance(world, 500);
    assert_int_equal(b->copies_read, 0);
    b->failing = true;
    uint64_t end_ms = b->changelog.end_ms;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(append(a, "x", (uint64_t)i), RC_OK);
        world_advance(world, 500);
    }
    assert_int_equal(b->applied_count, 20);
    assert_int_equal(b->changelog.end_ms, end_ms); /* a copy does not say where the log ends */
    b->failing = false;
    uint32_t copies = b->copies_read;
    world_advance(world, 5000);
    assert_true(b->changelog.end_ms > end_ms);
    assert_true(b->copies_read <= copies + CHANGELOG_COPIES_MS / CHANGELOG_POLL_MS);
    world_free(world);
}

static void follower_asks_leader_and_copies_in_turns_while_neither_answers(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    follow(b);
    world_advance(world, 500);
    for (int cut = 0; cut < 2; cut++) {
        uint32_t reads = b->reads_seen, copies = b->copies_read;
        b->cut = cut; /* then nothing comes back at all */
        b->failing = b->copies_fail = !cut;
        world_advance(world, 20000);
        copies = b->copies_read - copies;
        reads = b->reads_seen - reads - copies;
        assert_in_range(copies, 2, 50);
        assert_in_range(reads, 2, 50);
    }
    world_free(world);
}

static void follower_goes_on_behind_the_position_that_its_store_holds(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    assert_int_equal(append(a, "one", 1), RC_OK);
    world_advance(world, 20);
    struct changelog_position position = a->position;
    assert_int_equal(append(a, "two", 2), RC_OK);
    world_advance(world, 20);
    changelog_trim(&a->changelog, position.sequence + 1);
    changelog_start_at(&b->changelog, &position);
    b->position = position;
    follow(b);
    world_advance(world, 300);

    assert_int_equal(b->behind, 0);
    assert_int_equal(b->applied_count, 1);
    assert_string_equal(b->applied[0], "two");
    world_free(world);
}

static void follower_whose_next_record_is_trimmed_needs_a_copy(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 2000);
    changelog_trim(&a->changelog, 3);
    follow(b);
    world_advance(world, 100);
    assert_int_equal(b->behind, 0); /* said once */
    world_advance(world, CHANGELOG_GONE_MS + CHANGELOG_POLL_MS);

    assert_int_equal(b->behind, 1);
    assert_int_equal(b->behind_first, 3);
    assert_int_equal(b->changelog.state, CHANGELOG_IDLE);
    world_free(world);
}

static void follower_does_not_believe_at_once_that_its_next_record_is_gone(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 2000);
    follow(b);
    world_advance(world, 100);
    for (int i = 0; i < 3; i++) {
        b->wrong_infos = 1;
        world_advance(world, CHANGELOG_INFO_MS + CHANGELOG_POLL_MS);
        assert_int_equal(b->wrong_infos, 0);
    }

    assert_int_equal(b->behind, 0);
    assert_int_equal(append(a, "one", 1), RC_OK);
    world_advance(world, 500);
    assert_int_equal(b->applied_count, 1);
    world_free(world);
}

static void claim_of_who_needs_a_copy_does_not_open(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 2000);
    changelog_trim(&a->changelog, 3);
    claim(b);
    world_advance(world, 5000);

    assert_int_equal(b->behind, 1);
    assert_int_equal(b->opened, 0);
    assert_int_equal(a->deposed, 1);
    world_free(world);
}

static void follower_reads_ahead_and_asks_little_when_there_is_nothing(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(append(a, "x", i), RC_OK);
        world_advance(world, 2);
    }
    changelog_release(&a->changelog, world->now_ms);
    world_advance(world, 10);
    b->delay_ms = 10;
    follow(b);
    world_advance(world, 200); /* one at a time would take a second */
    assert_int_equal(b->applied_count, 100);
    uint32_t reads = b->reads_seen;
    world_advance(world, 5000);

    assert_true(b->reads_seen - reads <= 5000 / CHANGELOG_POLL_MS + CHANGELOG_READS);
    world_free(world);
}

static void record_that_comes_late_counts_although_it_was_asked_for_again(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    b->delay_ms = CHANGELOG_ANSWER_MS + 100;
    follow(b);
    world_advance(world, CHANGELOG_ANSWER_MS + 110);

    assert_int_equal(b->claims_applied, 1);
    world_free(world);
}

static void record_that_does_not_come_is_asked_for_less_and_less_often(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    a->cut = true;
    follow(a);
    world_advance(world, 30000); /* 0.5, 1, 2 s, then every 4 */

    assert_true(a->reads_seen >= 9 && a->reads_seen <= 12);
    world_free(world);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(follower_applies_everything_in_order),
        cmocka_unit_test(follower_that_is_told_does_not_wait_to_look),
        cmocka_unit_test(follower_reads_a_copy_while_the_engines_leader_does_not_answer),
        cmocka_unit_test(follower_asks_leader_and_copies_in_turns_while_neither_answers),
        cmocka_unit_test(follower_goes_on_behind_the_position_that_its_store_holds),
        cmocka_unit_test(follower_whose_next_record_is_trimmed_needs_a_copy),
        cmocka_unit_test(follower_does_not_believe_at_once_that_its_next_record_is_gone),
        cmocka_unit_test(claim_of_who_needs_a_copy_does_not_open),
        cmocka_unit_test(follower_reads_ahead_and_asks_little_when_there_is_nothing),
        cmocka_unit_test(record_that_comes_late_counts_although_it_was_asked_for_again),
        cmocka_unit_test(record_that_does_not_come_is_asked_for_less_and_less_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
