/* SPDX-License-Identifier: Apache-2.0 */
/* A group whose log the engine has lost the end of, one that nobody is home of, and one whose home
 * is cut off. */
#include "homes/group_fixture.h"

/* ---- what the engine has lost ------------------------------------------------------------------
 */

static void stores_have_all(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        struct group *group = pair->members[i].group;
        group_flushed(group, changelog_position(&group->log));
    }
}

/* Both have read everything; then both were restarted, and the engine has lost the end. */
static struct pair *pair_that_lost(void)
{
    struct pair *pair = pair_settled();

    while (pair->second->group->log.chain.at.sequence < pair->world->log.last)
        step(pair);
    stores_have_all(pair);
    for (int i = 0; i < 2; i++) {
        struct group *group = pair->members[i].group;
        struct changelog_position position = *changelog_position(&group->log);
        struct homes *homes = group->homes;
        groups_close(homes);
        group->start = position;
        group->state = GROUP_AWAY;
        group_open(group, &pair->members[i].node->engine);
        homes->running_ms = pair->world->now_ms;
    }
    world_lose(pair->world, pair->world->log.last - 5);
    return pair;
}

static void log_whose_end_the_engine_has_lost_goes_on_behind_the_stores(void **state)
{
    struct pair *pair = pair_that_lost();
    uint64_t read = pair->first->group->log.chain.at.sequence;
    (void)state;

    until_home(pair, pair->first);
    assert_true(pair->first->group->epoch > read);
    advance(pair, 2000);
    assert_int_equal(pair->second->group->log.state, CHANGELOG_FOLLOWING);
    assert_int_equal(pair->second->behind, 0);
    assert_true(pair->first->group->mended + pair->second->group->mended >= 1);
    pair_free(pair);
}

static void log_whose_end_was_lost_waits_for_all_nodes(void **state)
{
    struct pair *pair = pair_that_lost();
    (void)state;

    pair->linked = false;
    advance(pair, 3 * HOMES_MEND_MS);
    assert_false(is_home(pair->first) || is_home(pair->second));
    assert_int_equal(pair->first->group->mended + pair->second->group->mended, 0);
    pair->linked = true;
    until_home(pair, pair->first);
    pair_free(pair);
}

static void log_whose_end_was_lost_is_mended_by_who_has_most_of_it(void **state)
{
    struct pair *pair = pair_that_lost();
    struct group *first = pair->first->group;
    (void)state;

    struct changelog_position less = first->log.chain.whole;
    less.sequence -= 3;
    changelog_stop(&first->log);
    changelog_start_at(&first->log, &less);
    first->flushed = less;
    until_home(pair, pair->second);
    assert_int_equal(first->mended, 0);
    assert_int_equal(pair->second->group->mended, 1);
    advance(pair, CHANGELOG_GONE_MS + 2 * CHANGELOG_POLL_MS);
    assert_true(pair->first->behind > 0); /* it asks for a copy */
    assert_string_equal(pair->first->source, pair->second->homes->node);
    pair_free(pair);
}

static void home_mends_the_log_that_the_engine_has_lost_under_it(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    while (pair->second->group->log.chain.at.sequence < pair->world->log.last)
        step(pair);
    stores_have_all(pair);
    world_lose(pair->world, pair->world->log.last - 5);
    tail_clear(&pair->first->group->log.tail);
    tail_clear(&pair->second->group->log.tail);
    advance(pair, 3 * HOMES_MEND_MS);
    stores_have_all(pair); /* what was on its way */
    advance(pair, 3 * HOMES_MEND_MS);
    assert_true(is_home(pair->first) || is_home(pair->second));
    assert_true(acts(pair->first, pair->world->now_ms) || acts(pair->second, pair->world->now_ms));
    pair_free(pair);
}

static void home_that_is_leaving_mends_the_log_that_the_engine_has_lost_under_it(void **state)
{
    struct pair *pair = pair_settled();
    struct group *first = pair->first->group, *second = pair->second->group;
    (void)state;

    while (second->log.chain.at.sequence < pair->world->log.last)
        step(pair);
    stores_have_all(pair);
    struct changelog_position less = second->log.chain.whole;
    less.sequence -= 3;
    changelog_stop(&second->log);
    changelog_start_at(&second->log, &less);
    second->flushed = less;
    world_lose(pair->world, pair->world->log.last - 5);
    tail_clear(&first->log.tail);
    uint64_t epoch = first->epoch;
    assert_true(group_leave(first, pair->world->now_ms));
    for (int i = 0; i < 3; i++) {
        advance(pair, HOMES_MEND_MS);
        group_flushed(first, changelog_position(&first->log));
    }
    assert_int_equal(first->mended, 1);
    assert_true(first->epoch > epoch); /* it was released, and claimed anew */
    pair_free(pair);
}

/* A third node, which only says that it is there. */
static struct peer *hear_third(struct member *member)
{
    struct peer *third = peer_get(member->homes, "c");
    third->here = third->heard = true;
    return third;
}

/* The claim of the second was lost with the end of the log, so the first cannot read of it. */
static void home_gives_way_to_a_later_one_of_which_the_log_says_nothing(void **state)
{
    struct pair *pair = pair_settled();
    struct member *home = is_home(pair->first) ? pair->first : pair->second;
    struct peer *later = hear_third(home);
    (void)state;

    later->news.founded = true;
    memcpy(later->news.id, home->homes->mark.id, sizeof(later->news.id));
    later->news.groups[WORLD_GROUP].sequence = home->group->log.chain.at.sequence;
    later->news.groups[WORLD_GROUP].part = HOMES_IS_HOME;
    later->news.groups[WORLD_GROUP].epoch = home->group->epoch - 1;
    advance(pair, 1000);
    assert_int_equal(home->group->deposed, 0); /* that one is of the past, and will hear so */
    later->news.groups[WORLD_GROUP].epoch = home->group->epoch + 1;
    uint32_t lost = home->lost;
    while (home->lost == lost)
        step(pair);
    assert_int_equal(home->group->deposed, 1);
    assert_false(is_home(home));
    pair_free(pair);
}

/* Its engine is cut off from those of the others, and its link from the next home. */
static void home_gives_way_to_a_claim_that_others_have_read(void **state)
{
    struct pair *pair = pair_settled();
    struct member *home = is_home(pair->first) ? pair->first : pair->second;
    struct member *other = home == pair->first ? pair->second : pair->first;
    struct peer *third = hear_third(home);
    struct homes_group_news news, *said = &third->news.groups[WORLD_GROUP];
    (void)state;

    group_news(other->group, &news);
    assert_int_equal(news.part, HOMES_FOLLOWS);
    assert_int_equal(news.epoch, home->group->epoch);
    third->news.founded = true;
    memcpy(third->news.id, home->homes->mark.id, sizeof(third->news.id));
    *said = news;
    advance(pair, 1000);
    assert_int_equal(home->group->deposed, 0);
    said->epoch++;
    uint32_t lost = home->lost;
    while (home->lost == lost)
        step(pair);
    assert_int_equal(home->group->deposed, 1);
    pair_free(pair);
}

static bool waits_for_the_other(struct member *home)
{
    (void)peers_note_spread(home->homes);
    return !homes_is_spread(home->homes, WORLD_GROUP, UINT32_MAX);
}

/* It may not know yet that it is not heard, and tells subscribers what it has. */
static void publication_waits_a_little_for_a_node_that_has_fallen_silent(void **state)
{
    struct pair *pair = pair_settled();
    struct member *home = is_home(pair->first) ? pair->first : pair->second;
    struct member *other = home == pair->first ? pair->second : pair->first;
    (void)state;

    assert_true(waits_for_the_other(home));
    pair->linked = false;
    step(pair);
    assert_true(waits_for_the_other(home));
    advance(pair, HOMES_SERVES_MS - 10);
    assert_true(waits_for_the_other(home));
    struct peer *silent = peer_find(home->homes, other->homes->node);
    silent->gone = true; /* it has closed its links: it serves nobody */
    assert_false(waits_for_the_other(home));
    silent->gone = false;
    advance(pair, 20);
    assert_false(waits_for_the_other(home));
    pair_free(pair);
}

static void who_does_not_hear_the_home_is_behind_when_another_has_read_more(void **state)
{
    struct pair *pair = pair_settled();
    struct member *home = is_home(pair->first) ? pair->first : pair->second;
    struct member *other = home == pair->first ? pair->second : pair->first;
    struct peer *third = hear_third(other);
    struct homes_group_news *said = &third->news.groups[WORLD_GROUP];
    (void)state;

    third->news.founded = true;
    third->news.engine = HOMES_ENGINE_UP;
    memcpy(third->news.id, other->homes->mark.id, sizeof(third->news.id));
    said->part = HOMES_FOLLOWS;
    said->sequence = UINT32_MAX;
    step(pair);
    assert_int_equal(homes_behind(other->homes), 0); /* its home is heard */
    pair->linked = false;
    step(pair);
    step(pair);
    assert_int_equal(homes_behind(other->homes), 1u << WORLD_GROUP);
    said->sequence = other->group->log.chain.at.sequence;
    step(pair);
    assert_int_equal(homes_behind(other->homes), 0);
    said->sequence = UINT32_MAX;
    step(pair);
    assert_int_equal(homes_behind(other->homes), 1u << WORLD_GROUP);
    advance(pair, HOMES_OLD_MS + 1);
    assert_int_equal(homes_behind(other->homes), 0); /* nobody waits any longer */
    pair_free(pair);
}

static bool is_vacant(const struct pair *pair, const struct member *member)
{
    return homes_is_vacant(member->homes, WORLD_GROUP, pair->world->now_ms);
}

static void group_is_vacant_when_its_log_stands_still_and_most_nodes_are_heard(void **state)
{
    struct pair *pair = pair_settled();
    struct member *second = pair->second;
    (void)state;

    struct peer *third = hear_third(second);
    assert_false(is_vacant(pair, second));
    pair->linked = false; /* the home has a partner yet that this node does not hear */
    advance(pair, 1000);
    assert_false(is_vacant(pair, second));
    second->node->failing = pair->first->node->cut = true; /* an engine without a leader */
    advance(pair, 2 * CHANGELOG_POLL_MS);                  /* what a copy has still comes */
    advance(pair, HOMES_STILL_MS + HOMES_VACANT_MS);
    assert_true(is_vacant(pair, second));
    third->here = false; /* somebody may be home where this node does not hear it */
    advance(pair, HOMES_VACANT_MS);
    assert_false(is_vacant(pair, second));
    third->removed = true; /* one of two is still not most of them */
    advance(pair, HOMES_VACANT_MS);
    assert_false(is_vacant(pair, second));
    third->here = true;
    third->removed = false;
    second->node->failing = false;
    until_home(pair, second);
    advance(pair, HOMES_TURN_MS + 1);
    assert_false(is_vacant(pair, second));
    pair_free(pair);
}

static void group_is_not_vacant_whose_home_is_not_heard_but_appends(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    (void)hear_third(pair->second);
    pair->second->homes->leave_ms = 1; /* it does not claim */
    pair->linked = false;
    for (int i = 0; i < 10; i++) {
        advance(pair, 1000);
        assert_false(is_vacant(pair, pair->second));
    }
    pair_free(pair);
}

/* ---- a home that is cut off --------------------------------------------------------------------
 */

static void group_is_abandoned_by_a_home_that_hears_few_when_its_lease_is_over(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->linked = false;
    advance(pair, 2 * HOMES_CUT_OFF_MS);
    assert_true(homes_is_cut_off(pair->first->homes));
    assert_true(is_home(pair->first)); /* the engine hears it */
    pair->first->node->cut = true;
    advance(pair, CHANGELOG_LEASE_MS);
    assert_false(is_home(pair->first));
    assert_int_equal(pair->first->lost, 1);
    until_home(pair, pair->second);
    pair->first->node->cut = false;
    pair->linked = true;
    advance(pair, 2000);
    assert_false(homes_is_cut_off(pair->first->homes));
    assert_int_equal(pair->first->group->deposed, 0);
    assert_int_equal(pair->first->group->log.state, CHANGELOG_FOLLOWING);
    assert_int_equal(group_home(pair->first->group).place, HOME_AWAY);
    pair_free(pair);
}

static void group_is_kept_by_one_of_two_whose_engines_need_each_other(void **state)
{
    struct pair *pair = pair_settled();
    (void)state;

    pair->first->homes->options.program = "nats-server";
    pair->linked = false;
    pair->first->node->cut = pair->second->node->cut = true;
    advance(pair, 3 * CHANGELOG_LEASE_MS);
    assert_true(homes_is_cut_off(pair->first->homes));
    assert_true(is_home(pair->first));
    pair->first->homes->known.count = 2; /* there is a third, which was not met in this life */
    uint64_t claims = pair->first->group->claims;
    advance(pair, 1);
    assert_false(is_home(pair->first));
    pair->first->node->cut = false; /* it reads what its own server has, which may not be all */
    advance(pair, 3000);
    assert_int_equal(pair->first->group->claims, claims);
    pair->first->homes->known.count = 0;
    pair_free(pair);
}

static void node_is_not_cut_off_from_those_that_have_ended(void **state)
{
    struct pair *pair = pair_settled();
    struct homes *homes = pair->first->homes;
    (void)state;

    pair->linked = false;
    advance(pair, 2 * HOMES_CUT_OFF_MS);
    assert_true(homes_is_cut_off(homes));
    peer_get(homes, pair->second->homes->node)->gone = true;
    advance(pair, 1);
    assert_false(homes_is_cut_off(homes));
    pair_free(pair);
}

static void node_is_not_cut_off_for_having_stood_still(void **state)
{
    struct pair *pair = pair_settled();
    struct homes *homes = pair->first->homes;
    (void)state;

    homes->peer_count = 0; /* it has not heard anybody yet, and knows that there are others */
    homes->known.count = 1;
    peers_look_whether_cut_off(homes, pair->world->now_ms + 10000);
    assert_false(homes_is_cut_off(homes));
    peers_look_whether_cut_off(homes, pair->world->now_ms + 10000 + HOMES_CUT_OFF_MS);
    assert_true(homes_is_cut_off(homes));
    homes->known.count = 0;
    homes->peer_count = 1;
    pair_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_whose_end_the_engine_has_lost_goes_on_behind_the_stores),
        cmocka_unit_test(log_whose_end_was_lost_waits_for_all_nodes),
        cmocka_unit_test(log_whose_end_was_lost_is_mended_by_who_has_most_of_it),
        cmocka_unit_test(home_mends_the_log_that_the_engine_has_lost_under_it),
        cmocka_unit_test(home_that_is_leaving_mends_the_log_that_the_engine_has_lost_under_it),
        cmocka_unit_test(home_gives_way_to_a_later_one_of_which_the_log_says_nothing),
        cmocka_unit_test(home_gives_way_to_a_claim_that_others_have_read),
        cmocka_unit_test(publication_waits_a_little_for_a_node_that_has_fallen_silent),
        cmocka_unit_test(who_does_not_hear_the_home_is_behind_when_another_has_read_more),
        cmocka_unit_test(group_is_vacant_when_its_log_stands_still_and_most_nodes_are_heard),
        cmocka_unit_test(group_is_not_vacant_whose_home_is_not_heard_but_appends),
        cmocka_unit_test(group_is_abandoned_by_a_home_that_hears_few_when_its_lease_is_over),
        cmocka_unit_test(group_is_kept_by_one_of_two_whose_engines_need_each_other),
        cmocka_unit_test(node_is_not_cut_off_from_those_that_have_ended),
        cmocka_unit_test(node_is_not_cut_off_for_having_stood_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
