/* SPDX-License-Identifier: Apache-2.0 */
/* Two nodes and one group: who is home, and that never both act. */
#include "homes/group_fixture.h"

/* ---- rules -------------------------------------------------------------------------------------
 */

static void group_has_the_first_in_order_as_its_home(void **state)
{
    struct pair *pair = pair_new();
    (void)state;

    assert_true(until_home(pair, pair->first) < 1000);
    advance(pair, 5000);
    assert_int_equal(pair->second->opened, 0);
    struct home seen = group_home(pair->second->group);
    assert_int_equal(seen.place, HOME_AWAY);
    assert_string_equal(homes_node_name(pair->second->homes, seen.node), pair->first->homes->node);
    assert_int_equal(seen.epoch, pair->first->group->epoch);
    pair_free(pair);
}

static void group_has_another_home_soon_after_its_home_has_died(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->first->node->cut = true;
    pair->linked = false;
    assert_in_range(until_home(pair, pair->second), CHANGELOG_LEASE_MS - CHANGELOG_REFRESH_MS,
                    CHANGELOG_LEASE_MS + JUDGE_LIVES_MS + 500);
    pair_free(pair);
}

static void group_is_taken_from_a_home_that_the_engine_does_not_hear(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->first->node->cut = true; /* the links do hear it */
    assert_true(until_home(pair, pair->second) < CHANGELOG_LEASE_MS + JUDGE_LIVES_MS + 1000);
    pair->first->node->cut = false;
    advance(pair, 2000);
    assert_int_equal(pair->first->lost, 1);
    assert_false(is_home(pair->first));
    pair_free(pair);
}

static void group_stays_when_the_engine_is_silent_for_all(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    while (pair->second->group->log.chain.at.sequence < pair->world->log.last)
        step(pair);
    pair->first->node->cut = pair->second->node->cut = true;
    advance(pair, 7000);
    uint64_t heard_ms = pair->world->now_ms;
    pair->second->node->cut = false;
    while (pair->second->group->log.end_ms < heard_ms)
        step(pair);
    advance(pair, 800); /* it answers one sooner than the other */
    pair->first->node->cut = false;
    advance(pair, 10000);
    assert_true(is_home(pair->first));
    assert_int_equal(pair->first->opened, 1);
    assert_int_equal(pair->second->group->claims, 0);
    pair_free(pair);
}

static void group_stays_when_only_the_links_break(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->linked = false;
    advance(pair, 20000);
    assert_true(is_home(pair->first));
    assert_int_equal(pair->second->group->claims, 0);
    pair_free(pair);
}

static void group_comes_back_to_the_first_after_the_minimum_stay(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->first->node->cut = true;
    pair->linked = false;
    until_home(pair, pair->second);
    pair->first->node->cut = false;
    pair->linked = true;
    advance(pair, STAY_MS - 500);
    assert_true(is_home(pair->second));
    assert_true(until_home(pair, pair->first) < 2000);
    assert_int_equal(pair->second->closed, 1);
    assert_int_equal(pair->second->lost, 0);
    pair_free(pair);
}

static void group_is_released_by_a_node_that_leaves_and_claimed_at_once(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->first->homes->leave_ms = pair->world->now_ms;
    assert_true(group_leave(pair->first->group, pair->world->now_ms));
    pair->linked = false; /* the second is first now */
    assert_true(until_home(pair, pair->second) < 1000);
    assert_false(group_leave(pair->first->group, pair->world->now_ms));
    pair_free(pair);
}

static void group_is_not_released_before_its_owner_has_closed_it(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->first->answers = false;
    pair->first->homes->leave_ms = pair->world->now_ms;
    (void)group_leave(pair->first->group, pair->world->now_ms);
    advance(pair, 5000);
    assert_int_equal(pair->first->closed, 1);
    assert_int_equal(pair->second->opened, 0);
    assert_true(acts(pair->first, pair->world->now_ms)); /* the lease is kept meanwhile */
    pair->first->answers = true;
    pair->linked = false;
    until_home(pair, pair->second);
    pair_free(pair);
}

static void group_that_its_node_cannot_go_on_with_goes_to_the_other_for_a_while(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    group_closed(pair->first->group, pair->first->group->epoch, pair->world->now_ms);
    assert_true(until_home(pair, pair->second) < JUDGE_TURN_MS + 1000);
    advance(pair, HOMES_UNFIT_MS - 5000);
    assert_true(is_home(pair->second));
    assert_int_equal(pair->first->closed, 0);
    advance(pair, 20000);
    assert_true(is_home(pair->first));
    pair_free(pair);
}

static void group_is_not_claimed_by_who_has_less_of_it_on_disk_than_another(void **state)
{
    struct pair *pair = pair_new();
    (void)state;

    struct changelog_position ahead = {.sequence = 1000, .epoch = 1};
    pair->second->group->flushed = ahead; /* its log was lost, or ours is the wrong one */
    advance(pair, 20000);
    assert_int_equal(pair->first->group->claims, 0);
    pair_free(pair);
}

static void group_waits_for_all_nodes_after_a_loss_of_power(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->second->homes->cold = true;
    pair->second->group->warm = false;
    pair->linked = false;
    pair->first->node->cut = true;
    advance(pair, 20000);
    assert_int_equal(pair->second->group->claims, 0);
    pair->linked = true;
    until_home(pair, pair->second);
    pair_free(pair);
}

/* The second node cannot go on: what it would read next is not in the log any more. */
static struct pair *pair_trimmed(struct changelog_position *copy)
{
    static const struct changelog_position nothing = {0};
    struct pair *pair = pair_settled();
    struct member *second = pair->second;

    *copy = *changelog_position(&second->group->log);
    changelog_stop(&second->group->log);
    changelog_start_at(&second->group->log, &nothing);
    second->group->flushed = nothing;
    pair->world->log.first = STORE / 2;
    advance(pair, 3 * HOMES_BEHIND_MS);
    assert_int_equal(second->group->log.state, CHANGELOG_IDLE);
    return pair;
}

static struct homes_group_news news_of(const struct member *member)
{
    struct homes_group_news news;
    group_news(member->group, &news);
    return news;
}

/* Others read of the claim meanwhile, and would think that a node that is out of reach has made it.
 */
static void node_says_what_it_has_claimed_before_it_opens_it(void **state)
{
    struct pair *pair = pair_settled();
    struct member *second = pair->second;
    (void)state;

    pair->linked = false;
    pair->first->node->cut = true;
    while (second->group->log.state != CHANGELOG_WAITING)
        step(pair);
    struct homes_group_news said = news_of(second);
    assert_int_equal(said.part, HOMES_NO_PART);
    assert_true(said.epoch > pair->first->group->epoch);
    assert_true(atomic_load(&second->homes->hurry));
    until_home(pair, second);
    assert_int_equal(second->group->epoch, said.epoch);
    pair_free(pair);
}

static void group_whose_log_was_trimmed_waits_for_a_copy(void **state)
{
    struct changelog_position copied;
    struct pair *pair = pair_trimmed(&copied);
    struct member *second = pair->second;
    (void)state;

    assert_true(second->behind >= 2); /* it is asked for again */
    assert_string_equal(second->source, pair->first->homes->node);
    assert_int_equal(news_of(second).part, HOMES_LACKS);
    group_place(second->group, &copied);
    advance(pair, 1000);
    assert_int_equal(second->group->log.state, CHANGELOG_FOLLOWING);
    assert_true(second->group->log.chain.at.sequence > copied.sequence);
    pair_free(pair);
}

static void copy_is_not_taken_from_who_does_not_have_enough(void **state)
{
    struct changelog_position copied;
    struct pair *pair = pair_trimmed(&copied);
    struct member *second = pair->second;
    (void)state;

    assert_int_equal(second->group->lacks_until, pair->world->log.first - 1);
    second->group->lacks_until = pair->first->group->log.chain.at.sequence + 100;
    advance(pair, HOMES_SETTLE_MS + HOMES_BEHIND_MS);
    assert_string_equal(second->source, "");
    second->group->lacks_until = pair->first->group->log.chain.at.sequence;
    advance(pair, 2 * HOMES_BEHIND_MS);
    assert_string_equal(second->source, pair->first->homes->node);
    pair_free(pair);
}

static void group_of_a_node_that_is_drained_goes_when_it_may_and_does_not_come_back(void **state)
{
    struct pair *pair = pair_settled();
    struct homes *first = pair->first->homes;
    (void)state;

    pair->first->holds = true;
    atomic_store(&first->drained, true);
    advance(pair, 2000);
    assert_true(is_home(pair->first));
    pair->first->holds = false;
    assert_true(until_home(pair, pair->second) < 1000);
    pair->second->node->cut = true;
    pair->linked = false;
    advance(pair, 20000);
    assert_false(is_home(pair->first)); /* not even when it is the last */
    atomic_store(&first->drained, false);
    assert_true(until_home(pair, pair->first) < 1000);
    pair_free(pair);
}

static void group_stays_when_both_nodes_are_drained(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    atomic_store(&pair->first->homes->drained, true);
    atomic_store(&pair->second->homes->drained, true);
    advance(pair, 2 * STAY_MS);
    assert_true(is_home(pair->first));
    pair_free(pair);
}

static void group_goes_to_its_preferred_home_without_the_stay_when_rebalanced(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    atomic_store(&pair->first->homes->drained, true);
    until_home(pair, pair->second);
    atomic_store(&pair->first->homes->drained, false);
    advance(pair, 500);
    assert_true(is_home(pair->second));
    pair->second->homes->rebalance_ms = pair->world->now_ms + HOMES_REBALANCE_MS;
    assert_true(until_home(pair, pair->first) < STAY_MS / 3);
    pair_free(pair);
}

static void group_that_lacks_a_copy_is_not_claimed_and_there_is_nobody_to_ask(void **state)
{
    struct changelog_position copied;
    struct pair *pair = pair_trimmed(&copied);
    struct member *second = pair->second;
    uint64_t claims = second->group->claims;
    (void)state;

    pair->linked = false;
    pair->first->node->cut = true;
    advance(pair, 20000);
    assert_int_equal(second->group->claims, claims);
    assert_string_equal(second->source, "");
    pair_free(pair);
}

static void copy_that_is_being_taken_holds_the_log_and_one_that_is_not_does_not(void **state)
{
    struct changelog_position copy;
    struct pair *pair = pair_trimmed(&copy);
    struct homes *first = pair->first->homes;
    uint64_t own = pair->first->group->flushed.sequence = 5000;
    (void)state;

    uint32_t count = peers_rank(first, WORLD_GROUP, first->ranked);
    assert_int_equal(peers_lowest(first, WORLD_GROUP, first->ranked, count), own);
    group_copying(pair->second->group, &copy);
    step(pair);
    assert_int_equal(news_of(pair->second).part, HOMES_COPIES);
    assert_int_equal(peers_lowest(first, WORLD_GROUP, first->ranked, count), copy.sequence);
    assert_int_equal(peers_highest(first, WORLD_GROUP), 0);
    group_copying(pair->second->group, NULL);
    step(pair);
    assert_int_equal(peers_lowest(first, WORLD_GROUP, first->ranked, count), own);
    pair_free(pair);
}

static void publications_wait_for_no_node_that_lacks_a_copy(void **state)
{
    struct changelog_position copy;
    struct pair *pair = pair_trimmed(&copy);
    struct homes *first = pair->first->homes;
    (void)state;

    peers_note_spread(first);
    assert_true(homes_is_spread(first, WORLD_GROUP, 1000000));
    group_place(pair->second->group, &copy);
    advance(pair, 1000);
    peers_note_spread(first);
    assert_false(homes_is_spread(first, WORLD_GROUP, 1000000));
    pair_free(pair);
}

static void copy_that_does_not_help_is_not_asked_for_again_at_once(void **state)
{
    struct changelog_position copied;
    struct pair *pair = pair_trimmed(&copied);
    struct member *second = pair->second;
    (void)state;

    struct changelog_position other = copied;
    other.hash.bytes[0] ^= 1; /* of another log */
    group_place(second->group, &other);
    uint32_t behind = second->behind;
    advance(pair, 9000);
    assert_int_equal(second->group->log.state, CHANGELOG_BROKEN);
    assert_int_equal(second->behind, behind);
    advance(pair, 2000);
    assert_true(second->behind > behind);
    assert_true(second->group->lacks_home); /* which one of the two logs is right? */
    pair_free(pair);
}

static void group_that_is_part_of_a_copy_is_not_followed(void **state)
{
    struct pair *pair = pair_new();
    struct member *second = pair->second;
    (void)state;

    changelog_stop(&second->group->log); /* it had begun to follow */
    group_lacks(second->group);
    until_home(pair, pair->first);
    advance(pair, 5000);
    assert_int_equal(second->group->log.chain.at.sequence, 0);
    assert_true(second->behind > 0);
    assert_int_equal(homes_behind(second->homes), 1u << WORLD_GROUP);
    advance(pair, HOMES_OLD_MS);
    assert_int_equal(homes_behind(second->homes), 0); /* nobody waits any longer */
    pair_free(pair);
}

/* The first node has begun the cluster with what it holds. */
static struct pair *pair_seeded(void)
{
    static const struct changelog_position beginning = {0};
    struct pair *pair = pair_new();
    struct member *first = pair->first;

    changelog_stop(&first->group->log);
    changelog_stop(&pair->second->group->log);
    first->homes->mark.seeding = true;
    first->group->attached = false;
    group_place(first->group, &beginning);
    first->group->attached = true;
    until_home(pair, first);
    return pair;
}

static void group_that_began_with_what_one_node_held_is_copied_and_not_read(void **state)
{
    struct pair *pair = pair_seeded();
    struct member *second = pair->second;
    (void)state;

    advance(pair, 1000);
    assert_int_equal(news_of(second).part, HOMES_LACKS);
    assert_int_equal(second->group->log.state, CHANGELOG_IDLE);
    assert_string_equal(second->source, pair->first->homes->node);
    struct changelog_position copied = *changelog_position(&pair->first->group->log);
    group_place(second->group, &copied);
    advance(pair, 1000);
    assert_int_equal(news_of(second).part, HOMES_FOLLOWS);
    pair_free(pair);
}

static void group_that_is_whole_here_alone_is_claimed_by_a_node_that_comes_after_all_others(
    void **state)
{
    struct pair *pair = pair_seeded();
    struct member *first = pair->first;
    struct candidate ranked[HOMES_FOLLOWERS + 1];
    struct peer others[HOMES_FOLLOWERS] = {0};
    (void)state;

    for (int i = 0; i < HOMES_FOLLOWERS; i++) {
        others[i].news.groups[WORLD_GROUP].part = i == 0 ? HOMES_COPIES : HOMES_LACKS;
        ranked[i] = (struct candidate){"x", &others[i]};
    }
    ranked[HOMES_FOLLOWERS] = (struct candidate){"self", NULL};
    assert_int_equal(group_turn_of(first->group, ranked, HOMES_FOLLOWERS + 1, ""), 0);
    first->group->lacks = true; /* then it is one of many */
    assert_int_equal(group_turn_of(first->group, ranked, HOMES_FOLLOWERS + 1, ""), JUDGE_NEVER);
    pair_free(pair);
}

static void group_takes_nothing_to_append_that_another_epoch_was_meant_for(void **state)
{
    struct pair *pair = pair_settled();
    uint64_t appended = pair->first->group->log.counts.appended;
    (void)state;

    group_append(pair->first->group, pair->first->group->epoch + 1, bytes_of_str("no"),
                 pair->world->now_ms);
    advance(pair, 100);
    assert_int_equal(pair->first->group->log.counts.appended, appended);
    group_append(pair->first->group, pair->first->group->epoch, bytes_of_str("yes"),
                 pair->world->now_ms);
    advance(pair, 100);
    assert_int_equal(pair->first->group->log.counts.appended, appended + 1);
    pair_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_has_the_first_in_order_as_its_home),
        cmocka_unit_test(group_has_another_home_soon_after_its_home_has_died),
        cmocka_unit_test(group_is_taken_from_a_home_that_the_engine_does_not_hear),
        cmocka_unit_test(group_stays_when_the_engine_is_silent_for_all),
        cmocka_unit_test(group_stays_when_only_the_links_break),
        cmocka_unit_test(group_comes_back_to_the_first_after_the_minimum_stay),
        cmocka_unit_test(group_is_released_by_a_node_that_leaves_and_claimed_at_once),
        cmocka_unit_test(node_says_what_it_has_claimed_before_it_opens_it),
        cmocka_unit_test(group_is_not_released_before_its_owner_has_closed_it),
        cmocka_unit_test(group_that_its_node_cannot_go_on_with_goes_to_the_other_for_a_while),
        cmocka_unit_test(group_is_not_claimed_by_who_has_less_of_it_on_disk_than_another),
        cmocka_unit_test(group_waits_for_all_nodes_after_a_loss_of_power),
        cmocka_unit_test(group_whose_log_was_trimmed_waits_for_a_copy),
        cmocka_unit_test(copy_is_not_taken_from_who_does_not_have_enough),
        cmocka_unit_test(group_of_a_node_that_is_drained_goes_when_it_may_and_does_not_come_back),
        cmocka_unit_test(group_stays_when_both_nodes_are_drained),
        cmocka_unit_test(group_goes_to_its_preferred_home_without_the_stay_when_rebalanced),
        cmocka_unit_test(group_that_lacks_a_copy_is_not_claimed_and_there_is_nobody_to_ask),
        cmocka_unit_test(copy_that_is_being_taken_holds_the_log_and_one_that_is_not_does_not),
        cmocka_unit_test(publications_wait_for_no_node_that_lacks_a_copy),
        cmocka_unit_test(copy_that_does_not_help_is_not_asked_for_again_at_once),
        cmocka_unit_test(group_that_is_part_of_a_copy_is_not_followed),
        cmocka_unit_test(group_that_began_with_what_one_node_held_is_copied_and_not_read),
        cmocka_unit_test(
            group_that_is_whole_here_alone_is_claimed_by_a_node_that_comes_after_all_others),
        cmocka_unit_test(group_takes_nothing_to_append_that_another_epoch_was_meant_for),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
