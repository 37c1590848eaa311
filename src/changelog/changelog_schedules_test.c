/* SPDX-License-Identifier: Apache-2.0 */
/* Ways in which a simpler design loses what was acknowledged, or has two homes, or two logs. The
 * numbers are those of one list of such schedules, kept so that rule, test and reason share a name:
 * 1 replicas that differ, 2 a home without its engine, 3 a refused batch, 5 a replica that is
 * behind, 6 an answer that is lost, 17 a batch larger than a message of the engine. */
#include "changelog/changelog_fixture.h"

static void schedule_2_home_cut_off_from_the_engine_may_not_act_when_another_opens(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 3000);
    assert_true(fresh(a));
    a->cut = true;
    claim(b);
    while (b->opened == 0) {
        if (fresh(a))
            assert_int_equal(b->opened, 0);
        world_advance(world, 1);
    }

    assert_false(fresh(a));
    assert_true(a->home); /* it does not know yet, and need not */
    assert_true(fresh(b));
    a->cut = false;
    world_advance(world, 5000);
    assert_int_equal(a->deposed, 1);
    world_free(world);
}

static void schedule_2_answer_that_comes_late_gives_no_lease(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->delay_ms = CHANGELOG_LEASE_MS + 10;
    world_advance(world, 10000);
    assert_false(fresh(a));
    assert_true(a->home);
    a->delay_ms = 1;
    world_advance(world, 3000);

    assert_true(fresh(a));
    world_free(world);
}

static void schedule_2_resent_record_counts_from_when_it_was_sent_first(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->lost_answers = 3; /* in the log since the first time */
    assert_int_equal(append(a, "one", 1), RC_OK);
    uint64_t sent_ms = world->now_ms;
    world_advance(world, 200);
    claim(b);
    while (a->committed_count == 0)
        world_advance(world, 1);

    assert_true(world->now_ms > sent_ms + CHANGELOG_LEASE_MS);
    assert_false(fresh(a));
    world_free(world);
}

static void schedule_3_what_the_engine_refused_is_never_committed(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    assert_int_equal(append(a, "kept", 1), RC_OK);
    world_advance(world, 20);
    a->cut = true;
    assert_int_equal(append(a, "phantom", 2), RC_OK);
    claim(b);
    world_advance(world, 3000);
    assert_int_equal(append(b, "other", 3), RC_OK);
    a->cut = false;
    world_advance(world, 5000);
    assert_int_equal(a->deposed, 1);
    assert_int_equal(a->committed_count, 1);
    follow(a);
    world_advance(world, 1000);

    /* what it had committed is on the chain, so it goes on from there */
    assert_int_equal(a->broken, 0);
    assert_int_equal(a->applied_count, 1);
    assert_string_equal(a->applied[0], "other");
    assert_string_equal(b->applied[0], "kept");
    world_free(world);
}

static void schedule_3_while_an_answer_is_missing_nothing_later_is_sent(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    uint64_t last = world->log.last;
    a->lost_answers = UINT32_MAX;
    assert_int_equal(append(a, "one", 1), RC_OK);
    assert_int_equal(append(a, "two", 2), RC_AGAIN);
    world_advance(world, 20000);

    assert_int_equal(a->committed_count, 0);
    assert_int_equal(world->log.last, last + 1);
    assert_false(fresh(a));
    a->lost_answers = 0;
    world_advance(world, 3000);
    assert_int_equal(a->committed_count, 1);
    assert_true(fresh(a));
    world_free(world);
}

static void schedule_5_claim_opens_only_when_it_has_read_up_to_itself(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    claim(a);
    world_advance(world, 20);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(append(a, "x", i), RC_OK);
        world_advance(world, 5);
    }
    a->cut = true;
    b->stale_above = 5; /* the replica that answers is behind */
    claim(b);
    world_advance(world, 10000);
    assert_int_equal(b->opened, 0);
    assert_int_equal(b->changelog.state, CHANGELOG_CATCHING_UP);
    b->stale_above = 0;
    world_advance(world, 1000);

    assert_int_equal(b->opened, 1);
    assert_int_equal(b->applied_count, 20);
    world_free(world);
}

static void schedule_6_append_whose_answer_is_lost_is_committed_and_not_deposed(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    uint64_t last = world->log.last;
    a->lost_answers = 1;
    assert_int_equal(append(a, "one", 1), RC_OK);
    world_advance(world, CHANGELOG_ANSWER_MS + 10);

    assert_int_equal(a->committed_count, 1);
    assert_int_equal(a->deposed, 0);
    assert_int_equal(a->changelog.counts.resent, 1);
    assert_int_equal(world->log.last, last + 1);
    world_free(world);
}

static void schedule_6_refused_record_is_read_back(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->lost_answers = 1;
    a->forgets_ids = true;
    assert_int_equal(append(a, "one", 1), RC_OK);
    world_advance(world, 1000);

    assert_int_equal(a->committed_count, 1);
    assert_int_equal(a->deposed, 0);
    assert_int_equal(a->changelog.counts.read_back, 1);
    world_free(world);
}

static void schedule_6_read_back_from_a_replica_that_is_behind_is_repeated(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->lost_answers = 1;
    a->forgets_ids = true;
    a->stale_above = world->log.last;
    assert_int_equal(append(a, "one", 1), RC_OK);
    world_advance(world, 6000);
    assert_int_equal(a->committed_count, 0);
    assert_int_equal(a->deposed, 0);
    a->stale_above = 0;
    world_advance(world, 4000);

    assert_int_equal(a->committed_count, 1);
    world_free(world);
}

static void schedule_6_late_answer_of_an_earlier_record_is_not_the_next_ones(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    a->delay_ms = 700; /* the second attempt's answer comes after the first has settled it */
    assert_int_equal(append(a, "one", 1), RC_OK);
    world_advance(world, 701);
    assert_int_equal(a->committed_count, 1);
    a->cut = true;
    assert_int_equal(append(a, "two", 2), RC_OK);
    a->cut = false;
    world_advance(world, 510);

    assert_int_equal(a->committed_count, 1);
    world_advance(world, 2000);
    assert_int_equal(a->committed_count, 2);
    assert_int_equal(a->broken, 0);
    world_free(world);
}

static char large[5000];

static void schedule_17_batch_above_the_largest_payload_goes_in_parts(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    memset(large, 'L', sizeof(large) - 1);
    a->record_max = 1000;
    follow(b);
    claim(a);
    world_advance(world, 300);
    uint64_t last = world->log.last;
    assert_int_equal(append(a, large, 1), RC_OK);
    world_advance(world, 500);

    assert_int_equal(world->log.last, last + 6); /* 952 bytes each */
    assert_int_equal(a->committed_count, 1);
    assert_int_equal(b->applied_count, 1);
    assert_int_equal(b->applied_len[0], sizeof(large) - 1);
    assert_true(changelog_hash_equal(&a->position.hash, &b->position.hash) ||
                a->position.sequence != b->position.sequence);
    world_free(world);
}

static void schedule_17_parts_without_the_rest_are_not_applied(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    (void)state;

    memset(large, 'L', sizeof(large) - 1);
    a->record_max = 1000;
    claim(a);
    world_advance(world, 20);
    uint64_t last = world->log.last;
    assert_int_equal(append(a, large, 1), RC_OK);
    while (world->log.last < last + 3)
        world_advance(world, 1);
    a->cut = true;
    claim(b);
    world_advance(world, 3000);
    assert_int_equal(b->opened, 1);
    assert_int_equal(b->applied_count, 0);
    assert_int_equal(append(b, "after", 2), RC_OK);
    a->cut = false;
    world_advance(world, 5000);
    assert_int_equal(a->deposed, 1);
    assert_int_equal(a->committed_count, 0);
    follow(a);
    world_advance(world, 1000);

    assert_int_equal(a->broken, 0);
    assert_int_equal(a->applied_count, 1);
    assert_string_equal(a->applied[0], "after");
    world_free(world);
}

static void schedule_1_forked_replica_is_refused(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a"), *b = node_new(world, 1, "b");
    struct fake_log *fork = NEW(struct fake_log);
    (void)state;

    claim(a);
    world_advance(world, 20);
    assert_int_equal(append(a, "one", 1), RC_OK);
    world_advance(world, 20);
    for (uint64_t i = 0; i < world->log.last; i++) /* a replica with all so far ... */
        log_keep(fork, bytes_of(world->log.kept[i].bytes, world->log.kept[i].len),
                 bytes_of(NULL, 0), "");
    fork->first = 1;
    fork->kept[fork->last - 1].bytes[CHANGELOG_HEADER] ^= 1; /* ... but for the last */
    assert_int_equal(append(a, "two", 2), RC_OK);
    world_advance(world, 20);
    const struct kept *kept = &world->log.kept[world->log.last - 1];
    log_keep(fork, bytes_of(kept->bytes, kept->len), bytes_of(NULL, 0), "");
    b->log = fork;
    follow(b);
    world_advance(world, 1000);

    assert_int_equal(b->broken, 1);
    assert_int_equal(b->changelog.state, CHANGELOG_BROKEN);
    assert_non_null(strstr(b->why, "forked"));
    world_free(world);
    log_empty(fork);
    mem_free(fork);
}

/* a is home, b has read what a has appended, and the engine has lost it but for two records. */
static struct world *world_that_lost(struct node **a, struct node **b)
{
    struct world *world = world_new();
    *a = node_new(world, 0, "a");
    *b = node_new(world, 1, "b");

    claim(*a);
    world_advance(world, 20);
    follow(*b);
    world_advance(world, 5000);
    (*a)->cut = true;
    world_lose(world, 2);
    tail_clear(&(*a)->changelog.tail); /* both have been restarted, say */
    tail_clear(&(*b)->changelog.tail);
    return world;
}

static void schedule_1_log_that_has_lost_records_is_refused_by_who_claims(void **state)
{
    struct node *a, *b;
    struct world *world = world_that_lost(&a, &b);
    (void)state;

    changelog_stop(&b->changelog);
    uint64_t read = changelog_position(&b->changelog)->sequence;
    claim(b);
    world_advance(world, 100);
    assert_int_equal(b->opened, 0);
    assert_int_equal(b->changelog.state, CHANGELOG_IDLE);
    assert_int_equal(b->changelog.missing, read - 2);
    world_free(world);
}

static void log_that_has_lost_records_is_noticed_by_who_follows(void **state)
{
    struct node *a, *b;
    struct world *world = world_that_lost(&a, &b);
    (void)state;

    world_advance(world, CHANGELOG_INFO_MS + CHANGELOG_POLL_MS);
    assert_int_equal(b->changelog.missing, changelog_position(&b->changelog)->sequence - 2);
    assert_int_equal(b->changelog.state, CHANGELOG_FOLLOWING);
    world_free(world);
}

static void log_that_has_lost_records_is_noticed_by_its_home(void **state)
{
    struct node *a, *b;
    struct world *world = world_that_lost(&a, &b);
    (void)state;

    a->cut = false;
    world_advance(world, CHANGELOG_INFO_MS + 2 * CHANGELOG_ANSWER_MAX_MS);
    assert_true(a->changelog.missing > 0);
    assert_int_equal(a->broken, 0);
    assert_false(fresh(a));
    changelog_trim(&a->changelog, changelog_position(&a->changelog)->sequence + 1);
    world_advance(world, 2 * CHANGELOG_ANSWER_MAX_MS);
    assert_int_equal(a->changelog.missing, 0);
    assert_true(fresh(a));
    assert_int_equal(a->deposed, 0);
    world_free(world);
}

static void log_that_has_lost_records_is_noticed_by_a_home_that_hears_no_answers(void **state)
{
    struct node *a, *b;
    struct world *world = world_that_lost(&a, &b);
    (void)state;

    a->cut = false;
    a->lost_answers = UINT32_MAX; /* of appends */
    world_advance(world, CHANGELOG_INFO_MS + 2 * CHANGELOG_ANSWER_MAX_MS);
    assert_true(a->changelog.missing > 0);
    world_free(world);
}

static void log_that_has_lost_records_goes_on_behind_what_was_read(void **state)
{
    struct node *a, *b;
    struct world *world = world_that_lost(&a, &b);
    (void)state;

    uint64_t read = changelog_position(&b->changelog)->sequence;
    changelog_trim(&b->changelog, read + 1);
    world_advance(world, CHANGELOG_INFO_MS + CHANGELOG_POLL_MS);
    assert_int_equal(b->changelog.missing, 0);
    claim(b);
    world_advance(world, 5000);
    assert_int_equal(b->opened, 1);
    assert_int_equal(b->opened_epoch, read + 1);
    assert_int_equal(append(b, "x", 1), RC_OK);
    world_advance(world, 100);
    assert_int_equal(b->committed_count, 1);
    world_free(world);
}

static void writer_without_a_claim_breaks_the_log(void **state)
{
    struct world *world = world_new();
    struct node *a = node_new(world, 0, "a");
    (void)state;

    claim(a);
    world_advance(world, 20);
    uint8_t head[CHANGELOG_HEADER];
    struct changelog_record stray = {.format = 1,
                                     .kind = CHANGELOG_EMPTY,
                                     .part = 1,
                                     .parts = 1,
                                     .group = WORLD_GROUP,
                                     .epoch = 1,
                                     .batch = 2};
    changelog_record_head(&stray, head);
    log_keep(&world->log, bytes_of(head, sizeof(head)), bytes_of(NULL, 0), "stray");
    world_advance(world, 2000);

    assert_int_equal(a->broken, 1);
    assert_false(fresh(a));
    world_free(world);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedule_2_home_cut_off_from_the_engine_may_not_act_when_another_opens),
        cmocka_unit_test(schedule_2_answer_that_comes_late_gives_no_lease),
        cmocka_unit_test(schedule_2_resent_record_counts_from_when_it_was_sent_first),
        cmocka_unit_test(schedule_3_what_the_engine_refused_is_never_committed),
        cmocka_unit_test(schedule_3_while_an_answer_is_missing_nothing_later_is_sent),
        cmocka_unit_test(schedule_5_claim_opens_only_when_it_has_read_up_to_itself),
        cmocka_unit_test(schedule_6_append_whose_answer_is_lost_is_committed_and_not_deposed),
        cmocka_unit_test(schedule_6_refused_record_is_read_back),
        cmocka_unit_test(schedule_6_read_back_from_a_replica_that_is_behind_is_repeated),
        cmocka_unit_test(schedule_6_late_answer_of_an_earlier_record_is_not_the_next_ones),
        cmocka_unit_test(schedule_17_batch_above_the_largest_payload_goes_in_parts),
        cmocka_unit_test(schedule_17_parts_without_the_rest_are_not_applied),
        cmocka_unit_test(schedule_1_forked_replica_is_refused),
        cmocka_unit_test(schedule_1_log_that_has_lost_records_is_refused_by_who_claims),
        cmocka_unit_test(log_that_has_lost_records_is_noticed_by_who_follows),
        cmocka_unit_test(log_that_has_lost_records_is_noticed_by_its_home),
        cmocka_unit_test(log_that_has_lost_records_is_noticed_by_a_home_that_hears_no_answers),
        cmocka_unit_test(log_that_has_lost_records_goes_on_behind_what_was_read),
        cmocka_unit_test(writer_without_a_claim_breaks_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
