/* SPDX-License-Identifier: Apache-2.0 */
/* What people are told of a group: why it came and went, and how far everybody is behind. */
#include "homes/group_fixture.h"

/* Each node counts for itself. */
static struct metrics_shard shards[2];

static struct pair *pair_counted(void)
{
    struct pair *pair = pair_new();
    memset(shards, 0, sizeof(shards));
    pair->first->homes->options.metrics = &shards[0];
    pair->second->homes->options.metrics = &shards[1];
    until_home(pair, pair->first);
    advance(pair, 2 * STAY_MS);
    return pair;
}

static uint64_t counted(struct member *member, enum metric metric)
{
    observe_count(member->homes);
    return atomic_load(&member->homes->options.metrics->values[metric]);
}

static struct homes_group_status told(struct member *member)
{
    struct homes_group_status status;
    group_status(member->group, &status);
    observe_status(member->group, &status);
    return status;
}

/* Steps until that is so; fails when it never is. */
#define TURN_TO(pair, condition)                                                                   \
    for (uint64_t ms_ = 0; !(condition); ms_++) {                                                  \
        assert_true(ms_ < PATIENCE_MS);                                                            \
        step(pair);                                                                                \
    }

static void assert_cause(struct member *member, enum homes_cause cause, enum metric metric,
                         uint64_t times)
{
    assert_int_equal(told(member).cause, cause);
    assert_int_equal(counted(member, metric), times);
    assert_int_equal(counted(member, metric), times); /* once */
}

/* ---- causes ------------------------------------------------------------------------------------
 */

static void group_without_a_home_says_so_as_the_cause_of_its_claim(void **state)
{
    struct pair *pair = pair_counted();
    (void)state;

    assert_cause(pair->first, HOMES_CLAIMED_VACANT, METRIC_HOMES_CLAIMED_VACANT, 1);
    assert_cause(pair->second, HOMES_NO_CAUSE, METRIC_HOMES_CLAIMED_VACANT, 0);
    assert_string_equal(homes_cause_text(HOMES_NO_CAUSE), "");
    pair_free(pair);
}

static void home_that_fell_silent_is_the_cause_there_and_being_deposed_is_here(void **state)
{
    struct pair *pair = pair_counted();
    (void)state;

    pair->first->node->cut = true;
    until_home(pair, pair->second);
    assert_int_equal(counted(pair->first, METRIC_HOMES_LEASES_OVER), 1);
    pair->first->node->cut = false;
    advance(pair, 2000);
    assert_cause(pair->second, HOMES_CLAIMED_SILENT, METRIC_HOMES_CLAIMED_SILENT, 1);
    assert_cause(pair->first, HOMES_LOST_DEPOSED, METRIC_HOMES_LOST_DEPOSED, 1);
    assert_int_equal(counted(pair->second, METRIC_HOMES_LEASES_OVER), 0);
    pair_free(pair);
}

static void node_that_is_drained_and_one_that_goes_first_are_told_apart(void **state)
{
    struct pair *pair = pair_counted();
    (void)state;

    atomic_store(&pair->first->homes->drained, true);
    until_home(pair, pair->second);
    assert_cause(pair->first, HOMES_GIVEN_UP_DRAINED, METRIC_HOMES_GIVEN_UP_DRAINED, 1);
    advance(pair, 500); /* else it claims the group before it has read who has */
    atomic_store(&pair->first->homes->drained, false);
    until_home(pair, pair->first);
    assert_cause(pair->second, HOMES_GIVEN_UP_PREFERRED, METRIC_HOMES_GIVEN_UP_PREFERRED, 1);
    assert_cause(pair->first, HOMES_CLAIMED_VACANT, METRIC_HOMES_CLAIMED_VACANT, 2);
    pair_free(pair);
}

static void node_that_ends_and_one_that_cannot_go_on_are_told_apart(void **state)
{
    struct pair *pair = pair_counted();
    (void)state;

    group_closed(pair->first->group, pair->first->group->epoch, pair->world->now_ms);
    assert_cause(pair->first, HOMES_GIVEN_UP_UNFIT, METRIC_HOMES_GIVEN_UP_UNFIT, 1);
    until_home(pair, pair->second);
    pair->second->homes->leave_ms = pair->world->now_ms;
    assert_true(group_leave(pair->second->group, pair->world->now_ms));
    assert_cause(pair->second, HOMES_GIVEN_UP_ENDING, METRIC_HOMES_GIVEN_UP_ENDING, 1);
    pair_free(pair);
}

static void home_whose_log_goes_on_otherwise_than_its_store_says_so(void **state)
{
    struct pair *pair = pair_counted();
    struct group *group = pair->first->group;
    (void)state;

    group->log.ops->broken(&group->log, "its chain is another one");
    assert_cause(pair->first, HOMES_LOST_BROKEN, METRIC_HOMES_LOST_BROKEN, 1);
    group->log.ops->broken(&group->log, "again"); /* it is not home any more */
    assert_int_equal(counted(pair->first, METRIC_HOMES_LOST_BROKEN), 1);
    pair_free(pair);
}

/* ---- lag ---------------------------------------------------------------------------------------
 */

static void standby_that_does_not_hear_the_engine_lags_by_what_its_home_has_appended(void **state)
{
    struct pair *pair = pair_counted();
    const struct changelog *home = &pair->first->group->log, *other = &pair->second->group->log;
    (void)state;

    while (other->chain.at.sequence < pair->world->log.last)
        step(pair);
    advance(pair, 2);
    (void)peers_note_spread(pair->first->homes);
    assert_int_equal(counted(pair->second, METRIC_CHANGELOG_READ_LAG), 0);
    pair->second->node->cut = true;
    advance(pair, 4000); /* it appends empty records, which keep its lease */
    (void)peers_note_spread(pair->first->homes);
    uint64_t lag = home->chain.at.sequence - other->chain.at.sequence;
    assert_true(lag >= 3);
    assert_int_equal(told(pair->second).read_lag, lag);
    assert_int_equal(counted(pair->second, METRIC_CHANGELOG_READ_LAG), lag);
    assert_int_equal(told(pair->second).standby_lag, 0);
    assert_int_equal(told(pair->first).standby_lag, lag);
    assert_int_equal(counted(pair->first, METRIC_CHANGELOG_STANDBY_LAG), lag);
    assert_int_equal(told(pair->first).read_lag, 0);
    pair->second->node->cut = false;
    TURN_TO(pair, told(pair->second).read_lag == 0);
    (void)peers_note_spread(pair->first->homes);
    assert_int_equal(counted(pair->second, METRIC_CHANGELOG_READ_LAG), 0); /* a gauge goes down */
    pair_free(pair);
}

static void home_that_nobody_follows_has_no_standby_that_lags(void **state)
{
    struct pair *pair = pair_counted();
    (void)state;

    pair->linked = false;
    advance(pair, 4000);
    (void)peers_note_spread(pair->first->homes);
    assert_int_equal(told(pair->first).standby_lag, 0);
    assert_int_equal(counted(pair->first, METRIC_CHANGELOG_STANDBY_LAG), 0);
    pair_free(pair);
}

/* ---- the engine --------------------------------------------------------------------------------
 */

static void engine_that_does_not_answer_shows_in_the_wait_and_in_the_lease(void **state)
{
    struct pair *pair = pair_counted();
    (void)state;

    assert_true(counted(pair->first, METRIC_HOMES_LEASE_AGE) <= CHANGELOG_LEASE_MS);
    assert_int_equal(counted(pair->second, METRIC_HOMES_LEASE_AGE), 0); /* it has none */
    pair->first->node->cut = true;
    advance(pair, 1200);
    uint64_t waits_ms = told(pair->first).wait_ms;
    assert_in_range(waits_ms, 1200 - CHANGELOG_REFRESH_MS, 1200);
    assert_int_equal(counted(pair->first, METRIC_CHANGELOG_WAIT), waits_ms);
    assert_int_equal(counted(pair->first, METRIC_CHANGELOG_IN_FLIGHT), 1);
    assert_in_range(counted(pair->first, METRIC_HOMES_LEASE_AGE), 1200,
                    1200 + CHANGELOG_REFRESH_MS + 100);
    pair->first->node->cut = false;
    TURN_TO(pair, counted(pair->first, METRIC_CHANGELOG_IN_FLIGHT) == 0);
    assert_int_equal(counted(pair->first, METRIC_CHANGELOG_WAIT), 0);
    assert_in_range(counted(pair->first, METRIC_HOMES_LEASE_AGE), 0, CHANGELOG_REFRESH_MS);
    pair_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_without_a_home_says_so_as_the_cause_of_its_claim),
        cmocka_unit_test(home_that_fell_silent_is_the_cause_there_and_being_deposed_is_here),
        cmocka_unit_test(node_that_is_drained_and_one_that_goes_first_are_told_apart),
        cmocka_unit_test(node_that_ends_and_one_that_cannot_go_on_are_told_apart),
        cmocka_unit_test(home_whose_log_goes_on_otherwise_than_its_store_says_so),
        cmocka_unit_test(standby_that_does_not_hear_the_engine_lags_by_what_its_home_has_appended),
        cmocka_unit_test(home_that_nobody_follows_has_no_standby_that_lags),
        cmocka_unit_test(engine_that_does_not_answer_shows_in_the_wait_and_in_the_lease),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
