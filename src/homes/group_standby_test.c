/* SPDX-License-Identifier: Apache-2.0 */
/* A home whose batches count when another node has read them, too, and who may claim a log of which
 * somebody has read more than there is. */
#include "homes/group_fixture.h"

#include "base/log.h"

enum { SOON_MS = 50, NOT_YET_MS = HOMES_STANDBY_MS / 2 };

static void append_as_home(struct pair *pair, struct member *home)
{
    group_append(home->group, home->group->epoch, bytes_of_str("batch"), pair->world->now_ms);
}

static void batch_is_committed_when_another_node_has_read_it(void **state)
{
    struct pair *pair = pair_settled();
    struct member *home = pair->first, *other = pair->second;
    (void)state;

    other->node->cut = true;
    append_as_home(pair, home);
    advance(pair, NOT_YET_MS);
    assert_int_equal(home->committed, 0);
    assert_true(home->group->awaits_standby); /* the engine has accepted it */
    other->node->cut = false;
    for (int ms = 0; home->committed == 0; ms++) {
        assert_true(ms < HOMES_STANDBY_MS);
        step(pair);
    }
    assert_true(other->group->log.chain.at.sequence >= home->group->accepted.sequence);
    pair_free(pair);
}

static void batch_waits_for_no_standby_for_ever(void **state)
{
    struct pair *pair = pair_settled();
    struct member *home = pair->first, *other = pair->second;
    (void)state;

    other->node->cut = true;
    append_as_home(pair, home);
    advance(pair, HOMES_STANDBY_MS + SOON_MS);
    assert_int_equal(home->committed, 1);
    append_as_home(pair, home);
    advance(pair, SOON_MS); /* it is known by now that nobody reads */
    assert_int_equal(home->committed, 2);
    assert_int_equal(home->group->alone, 2);
    other->node->cut = false;
    advance(pair, 5000);
    append_as_home(pair, home);
    advance(pair, 2 * CHANGELOG_POLL_MS);
    assert_int_equal(home->committed, 3);
    other->node->cut = true;
    append_as_home(pair, home);
    advance(pair, NOT_YET_MS);
    assert_int_equal(home->committed, 3);
    assert_int_equal(home->group->alone, 2);
    pair_free(pair);
}

static void batch_waits_for_nobody_when_nobody_is_here_who_could_read(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->linked = false;
    pair->second->node->cut = true;
    advance(pair, HOMES_TURN_MS);
    append_as_home(pair, pair->first);
    advance(pair, SOON_MS);
    assert_int_equal(pair->first->committed, 1);
    assert_int_equal(pair->first->group->alone, 0);
    pair_free(pair);
}

static void batch_of_a_home_that_is_lost_meanwhile_is_not_committed(void **state)
{
    struct pair *pair = pair_settled();
    struct member *home = pair->first;
    (void)state;

    pair->second->node->cut = true;
    append_as_home(pair, home);
    advance(pair, SOON_MS);
    uint32_t applied = home->applied;
    changelog_depose(&home->group->log);
    advance(pair, HOMES_STANDBY_MS + SOON_MS);
    assert_int_equal(home->committed, 0);
    assert_int_equal(home->lost, 1);
    assert_int_equal(home->applied, applied + 1); /* it is in the log, and not in the store */
    pair_free(pair);
}

/* A copy of the store would lack what its position has. */
static void store_is_not_said_to_have_what_waits_for_a_standby(void **state)
{
    struct pair *pair = pair_settled();
    struct member *home = pair->first;
    (void)state;

    pair->second->node->cut = true;
    append_as_home(pair, home);
    advance(pair, HOMES_STANDBY_MS - SOON_MS); /* an empty record behind it, too */
    assert_true(home->group->awaits_standby);
    assert_true(home->moved < home->group->accepted.sequence);
    advance(pair, 2 * SOON_MS + HOMES_TURN_MS);
    assert_int_equal(home->committed, 1);
    assert_true(home->moved >= home->group->accepted.sequence);
    pair_free(pair);
}

static void standbys_say_at_once_what_they_have_read(void **state)
{
    struct pair *pair = pair_settled();
    struct member *other = pair->second;
    (void)state;

    assert_true(other->group->stands_by);
    atomic_store(&other->homes->hurry, false);
    append_as_home(pair, pair->first);
    advance(pair, 2 * CHANGELOG_POLL_MS);
    assert_true(atomic_load(&other->homes->hurry));
    pair_free(pair);
}

/* The home is gone, and so is what the engine had accepted last; a third node has read it. */
static struct peer *third_that_has_read_more(struct pair *pair)
{
    struct member *second = pair->second;
    struct peer *third = peer_get(second->homes, "c");

    third->here = third->heard = true;
    third->news.founded = true;
    third->news.engine = HOMES_ENGINE_UP;
    memcpy(third->news.id, second->homes->mark.id, sizeof(third->news.id));
    third->news.groups[WORLD_GROUP].part = HOMES_FOLLOWS;
    third->news.groups[WORLD_GROUP].sequence = pair->world->log.last + 1000;
    pair->first->node->cut = true;
    pair->first->homes->leave_ms = 1; /* it does not claim it again */
    return third;
}

static void log_of_which_another_node_has_read_more_is_not_claimed_at_once(void **state)
{
    struct pair *pair = pair_settled();
    struct member *second = pair->second;
    struct peer *third = third_that_has_read_more(pair);
    uint64_t claims = second->group->claims;
    (void)state;

    advance(pair, HOMES_FURTHER_MS - 1000);
    assert_int_equal(second->group->claims, claims);
    third->news.groups[WORLD_GROUP].sequence = second->group->log.chain.at.sequence;
    (void)until_home(pair, second);
    pair_free(pair);
}

static void log_of_which_another_node_has_read_more_is_claimed_in_the_end(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    (void)third_that_has_read_more(pair);
    assert_true(until_home(pair, pair->second) >= HOMES_FURTHER_MS);
    pair_free(pair);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_is_committed_when_another_node_has_read_it),
        cmocka_unit_test(batch_waits_for_no_standby_for_ever),
        cmocka_unit_test(batch_waits_for_nobody_when_nobody_is_here_who_could_read),
        cmocka_unit_test(batch_of_a_home_that_is_lost_meanwhile_is_not_committed),
        cmocka_unit_test(store_is_not_said_to_have_what_waits_for_a_standby),
        cmocka_unit_test(standbys_say_at_once_what_they_have_read),
        cmocka_unit_test(log_of_which_another_node_has_read_more_is_not_claimed_at_once),
        cmocka_unit_test(log_of_which_another_node_has_read_more_is_claimed_in_the_end),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
