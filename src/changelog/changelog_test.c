/* SPDX-License-Identifier: Apache-2.0 */
/* Who becomes home of a group and when, and what being home means. */
#include "base/breaks.h"
#include "changelog/changelog_fixture.h"

/* ---- becoming home -----------------------------------------------------------------------------
 */

static void first_claim_of_an_empty_log_opens_without_waiting(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);

    assert_int_equal(a->opened, 1);
    assert_int_equal(a->opened_epoch, 1);
    assert_true(fresh(a));
    assert_int_equal(a->changelog.state, CHANGELOG_OPEN);
    world_free(world);
}

static void claim_waits_for_the_lease_of_a_home_that_is_gone(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->cut = true;
    uint64_t from_ms = world->now_ms;
    claim(b);
    world_advance(world, CHANGELOG_LEASE_MS + CHANGELOG_LEASE_MARGIN_MS - 1);
    assert_int_equal(b->opened, 0);
    assert_int_equal(b->changelog.state, CHANGELOG_WAITING);
    world_advance(world, 100);

    assert_int_equal(b->opened, 1);
    assert_true(b->opened_ms >= from_ms + CHANGELOG_LEASE_MS + CHANGELOG_LEASE_MARGIN_MS);
    world_free(world);
}

static void claim_of_a_follower_counts_from_the_last_record_it_has_read(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    follow(b);
    claim(a);
    world_advance(world, 3000);
    a->cut = true;
    world_advance(world, 1000);
    uint64_t read_ms = b->changelog.holder_read_ms;
    assert_true(read_ms < world->now_ms - 500);
    claim(b);
    world_advance(world, 250);
    assert_int_equal(b->opened, 0);
    world_advance(world, 950);

    assert_int_equal(b->opened, 1);
    assert_in_range(b->opened_ms - read_ms, CHANGELOG_LEASE_MS + CHANGELOG_LEASE_MARGIN_MS,
                    CHANGELOG_LEASE_MS + CHANGELOG_LEASE_MARGIN_MS + 10);
    world_free(world);
}

static void claim_of_a_follower_of_a_home_that_was_silent_for_long_opens_at_once(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    follow(b);
    claim(a);
    world_advance(world, 3000);
    a->cut = true;
    world_advance(world, 3000);
    claim(b);
    world_advance(world, 20);

    assert_int_equal(b->opened, 1);
    world_free(world);
}

static void claim_of_who_reads_the_home_only_afterwards_counts_from_the_claim(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 3000);
    b->stale_above = 2; /* the rest is read a second after the claim */
    claim(b);
    uint64_t from_ms = world->now_ms;
    world_advance(world, 1000);
    b->stale_above = 0;
    world_advance(world, 2000);

    assert_int_equal(b->opened, 1);
    assert_in_range(b->opened_ms - from_ms, CHANGELOG_LEASE_MS + CHANGELOG_LEASE_MARGIN_MS,
                    CHANGELOG_LEASE_MS + CHANGELOG_LEASE_MARGIN_MS + 20);
    world_free(world);
}

static void claim_behind_a_copy_does_not_count_from_what_was_read_before_it(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    follow(b);
    claim(a);
    world_advance(world, 3000);
    changelog_stop(&b->changelog);
    world_advance(world, 3000); /* the home goes on, and b gets a copy of what it has written */
    changelog_start_at(&b->changelog, changelog_position(&a->changelog));
    claim(b);
    a->cut = true;
    world_advance(world, CHANGELOG_LEASE_MS + CHANGELOG_LEASE_MARGIN_MS - 1);
    assert_int_equal(b->opened, 0);
    world_advance(world, 20);

    assert_int_equal(b->opened, 1);
    world_free(world);
}

static void claim_after_a_release_opens_at_once(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    changelog_release(&a->changelog, world->now_ms);
    assert_false(fresh(a));
    world_advance(world, 20);
    assert_int_equal(a->released, 1);
    claim(b);
    world_advance(world, 20);

    assert_int_equal(b->opened, 1);
    world_free(world);
}

static void claim_behind_a_claim_that_never_opened_waits_for_the_home_before_it(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    struct node *c = node_new(world, 2, "c");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->cut = true;
    claim(b);
    world_advance(world, 20);
    b->cut = true;
    claim(c);
    world_advance(world, 1000);
    assert_int_equal(c->opened, 0);
    world_advance(world, 1100);
    assert_int_equal(c->opened, 1);
    b->cut = false;
    world_advance(world, 4000);

    assert_int_equal(b->opened, 0);
    assert_int_equal(b->deposed, 1);
    world_free(world);
}

static void process_that_was_home_itself_claims_again_without_waiting(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    const struct kept *kept = &world->log.kept[0]; /* its claim arrives a second time, much later */
    log_keep(&world->log, bytes_of(kept->bytes, kept->len), bytes_of(NULL, 0), "again");
    world_advance(world, 1000);
    assert_int_equal(a->deposed, 1);
    assert_false(fresh(a));
    claim(a);
    world_advance(world, 20);

    assert_int_equal(a->opened, 2);
    assert_true(fresh(a));
    world_free(world);
}

static void claim_carries_a_note_that_followers_read(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    char note[] = "boot 5";
    (void)state;

    follow(b);
    changelog_claim(&a->changelog, bytes_of_str(note), world->now_ms);
    memset(note, 'x', sizeof(note) - 1); /* it has been copied */
    world_advance(world, 1000);

    assert_int_equal(b->claims_applied, 1);
    assert_string_equal(b->note, "boot 5");
    world_free(world);
}

static void claim_whose_answer_is_lost_is_sent_again_and_is_one(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    a->lost_answers = 2;
    claim(a);
    world_advance(world, 5000);

    assert_int_equal(a->opened, 1);
    assert_int_equal(a->claims_applied, 1);
    world_free(world);
}

static void answer_to_an_earlier_life_of_the_group_is_not_taken_for_one_of_this(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    a->delay_ms = 100;
    claim(a);
    changelog_deinit(&a->changelog);
    a->failing = true;
    changelog_init(&a->changelog, WORLD_GROUP, &a->engine, &node_ops, a, "a", 2);
    a->delay_ms = 150;
    claim(a);
    world_advance(world, 120);

    assert_int_equal(a->changelog.state, CHANGELOG_CLAIMING);
    world_free(world);
}

static void claim_that_is_stopped_does_not_open(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    a->cut = true;
    claim(a);
    world_advance(world, 100);
    changelog_stop(&a->changelog);
    a->cut = false;
    world_advance(world, 5000);

    assert_int_equal(a->opened, 0);
    assert_int_equal(world->log.last, 0);
    assert_int_equal(a->changelog.state, CHANGELOG_IDLE);
    world_free(world);
}

/* ---- being home --------------------------------------------------------------------------------
 */

static void idle_home_keeps_its_lease_with_empty_records(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    uint64_t last = world->log.last;
    for (int i = 0; i < 6000; i++) {
        world_advance(world, 1);
        assert_true(fresh(a));
    }

    uint64_t written = world->log.last - last;
    assert_true(written >= 8 && written <= 6000 / CHANGELOG_REFRESH_MS + 1);
    assert_int_equal(a->lease_changes, 1);
    world_free(world);
}

static void batches_keep_the_lease_without_empty_records(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    uint64_t empty = a->changelog.counts.empty;
    for (uint64_t i = 0; i < 30; i++) {
        assert_int_equal(append(a, "x", i), RC_OK);
        world_advance(world, 100);
    }

    assert_int_equal(a->changelog.counts.empty, empty);
    assert_true(fresh(a));
    world_free(world);
}

static void lease_that_was_lost_comes_back_and_both_are_told(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->failing = true;
    world_advance(world, 3000);
    assert_false(fresh(a));
    assert_int_equal(a->lease_changes, 2);
    a->failing = false;
    world_advance(world, 4000);

    assert_true(fresh(a));
    assert_int_equal(a->lease_changes, 3);
    assert_true(a->home);
    world_free(world);
}

static void batch_given_while_an_empty_record_is_in_flight_goes_next(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->delay_ms = 50;
    while (a->changelog.flight.token == 0)
        world_advance(world, 1);
    assert_int_equal(append(a, "x", 9), RC_OK);
    assert_int_equal(append(a, "y", 10), RC_AGAIN);
    world_advance(world, 110);

    assert_int_equal(a->committed_count, 1);
    assert_int_equal(a->committed[0], 9);
    world_free(world);
}

static void release_waits_for_the_batch_on_its_way(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->delay_ms = 50;
    assert_int_equal(append(a, "x", 1), RC_OK);
    changelog_release(&a->changelog, world->now_ms);
    assert_int_equal(append(a, "y", 2), RC_CLOSED);
    assert_false(fresh(a));
    changelog_release(&a->changelog, world->now_ms); /* once more: harmless */
    world_advance(world, 200);
    changelog_release(&a->changelog, world->now_ms);

    assert_int_equal(a->committed_count, 1);
    assert_int_equal(a->released, 1);
    assert_false(fresh(a));
    world_free(world);
}

static void append_of_who_is_not_home_is_refused(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    assert_int_equal(append(a, "x", 1), RC_CLOSED);
    follow(a);
    assert_int_equal(append(a, "x", 1), RC_CLOSED);
    world_free(world);
}

static char large[UINT16_MAX + 1];

static void batch_above_its_limit_is_refused(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    struct bytes batch = bytes_of(large, (size_t)CHANGELOG_BATCH_MAX + 1);
    assert_int_equal(changelog_append_fenced(&a->changelog, batch, 1, world->now_ms), RC_FULL);
    a->record_max = CHANGELOG_HEADER + 1;
    batch = bytes_of(large, UINT16_MAX + 1);
    assert_int_equal(changelog_append_fenced(&a->changelog, batch, 1, world->now_ms), RC_FULL);
    world_free(world);
}

/* ---- broken on purpose -------------------------------------------------------------------------
 */

static void home_that_is_not_fenced_appends_behind_the_claim_of_another(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    struct node *c = node_new(world, 2, "c");
    (void)state;

    breaks_set(BREAK_NO_FENCING);
    follow(c);
    claim(a);
    world_advance(world, 20);
    claim(b);
    world_advance(world, 10); /* its claim is there, and it waits for the lease */
    assert_int_equal(append(a, "late", 1), RC_OK);
    world_advance(world, 300);
    breaks_set(BREAK_NOTHING);

    assert_int_equal(b->changelog.state, CHANGELOG_WAITING);
    assert_int_equal(a->committed_count, 1);
    assert_int_equal(a->deposed, 0);
    assert_int_equal(c->broken, 0);
    assert_string_equal(c->applied[0], "late");
    world_free(world);
}

static void home_without_a_lease_is_sure_of_itself_while_it_hears_nothing(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    breaks_set(BREAK_NO_LEASE);
    claim(a);
    world_advance(world, 20);
    a->cut = true;
    world_advance(world, 10 * CHANGELOG_LEASE_MS);
    bool sure = fresh(a);
    breaks_set(BREAK_NOTHING);

    assert_true(sure);
    assert_false(fresh(a));
    world_free(world);
}

static void claim_where_nobody_has_a_lease_opens_at_once(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->cut = true;
    breaks_set(BREAK_NO_LEASE);
    claim(b);
    uint64_t until_ms = world->now_ms + 20;
    while (b->changelog.state != CHANGELOG_OPENING && world->now_ms < until_ms)
        world_advance(world, 1);
    breaks_set(BREAK_NOTHING);

    assert_int_equal(b->changelog.state, CHANGELOG_OPENING);
    world_free(world);
}

static void home_that_abandons_reads_what_it_had_in_flight_and_is_followed(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->lost_answers = 1;
    assert_int_equal(append(a, "in flight", 1), RC_OK);
    world_advance(world, 5);
    changelog_abandon(&a->changelog);
    assert_false(fresh(a));
    assert_int_equal(a->committed_count, 0);
    follow(a);
    claim(b);
    world_advance(world, CHANGELOG_LEASE_MS + CHANGELOG_LEASE_MARGIN_MS - 100);
    assert_int_equal(b->opened, 0); /* nobody has told it anything */
    world_advance(world, 200);

    assert_int_equal(b->opened, 1);
    assert_int_equal(a->applied_count, 1);
    assert_string_equal(a->applied[0], "in flight");
    assert_int_equal(a->deposed, 0);
    world_free(world);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_claim_of_an_empty_log_opens_without_waiting),
        cmocka_unit_test(claim_waits_for_the_lease_of_a_home_that_is_gone),
        cmocka_unit_test(claim_of_a_follower_counts_from_the_last_record_it_has_read),
        cmocka_unit_test(claim_of_a_follower_of_a_home_that_was_silent_for_long_opens_at_once),
        cmocka_unit_test(claim_of_who_reads_the_home_only_afterwards_counts_from_the_claim),
        cmocka_unit_test(claim_behind_a_copy_does_not_count_from_what_was_read_before_it),
        cmocka_unit_test(claim_after_a_release_opens_at_once),
        cmocka_unit_test(claim_behind_a_claim_that_never_opened_waits_for_the_home_before_it),
        cmocka_unit_test(process_that_was_home_itself_claims_again_without_waiting),
        cmocka_unit_test(claim_carries_a_note_that_followers_read),
        cmocka_unit_test(claim_whose_answer_is_lost_is_sent_again_and_is_one),
        cmocka_unit_test(answer_to_an_earlier_life_of_the_group_is_not_taken_for_one_of_this),
        cmocka_unit_test(claim_that_is_stopped_does_not_open),
        cmocka_unit_test(idle_home_keeps_its_lease_with_empty_records),
        cmocka_unit_test(batches_keep_the_lease_without_empty_records),
        cmocka_unit_test(lease_that_was_lost_comes_back_and_both_are_told),
        cmocka_unit_test(batch_given_while_an_empty_record_is_in_flight_goes_next),
        cmocka_unit_test(release_waits_for_the_batch_on_its_way),
        cmocka_unit_test(append_of_who_is_not_home_is_refused),
        cmocka_unit_test(batch_above_its_limit_is_refused),
        cmocka_unit_test(home_that_is_not_fenced_appends_behind_the_claim_of_another),
        cmocka_unit_test(home_without_a_lease_is_sure_of_itself_while_it_hears_nothing),
        cmocka_unit_test(claim_where_nobody_has_a_lease_opens_at_once),
        cmocka_unit_test(home_that_abandons_reads_what_it_had_in_flight_and_is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
