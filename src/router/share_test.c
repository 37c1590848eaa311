/* SPDX-License-Identifier: Apache-2.0 */
#include "router/router_fixture.h"

#include <stdio.h>

enum { MEMBERS = 5 };

struct group {
    struct router_fixture *f;
    struct subscription *members[MEMBERS]; /* sessions 1..MEMBERS */
    uint32_t got[MEMBERS + 1];             /* messages by session */
};

static struct group group_new(struct router_fixture *f)
{
    struct group group = {.f = f};
    for (uint32_t i = 0; i < MEMBERS; i++)
        group.members[i] = join(f, i + 1, "t", "group");
    return group;
}

static void set_online(struct group *group, session_ref session, bool online)
{
    atomic_store(&group->members[session - 1]->member.online, online);
}

static void set_load(struct group *group, session_ref session, uint32_t load)
{
    atomic_store(&group->members[session - 1]->member.load, load);
}

struct call {
    enum share_choice how;
    session_ref publisher, not_this;
    const char *topic;
};

/* The session that gets it, 0: nobody. */
static session_ref choose(struct group *group, struct call call)
{
    struct route_set set = find(group->f, "t");
    struct subscription *member;
    struct route route;
    struct bytes topic = bytes_of_str(call.topic == NULL ? "t" : call.topic);
    assert_int_equal(set.share_count, 1);
    if (!share_choose(set.shares[0], call.how, SHARE_ANYWHERE, call.publisher, topic, call.not_this,
                      &member, &route))
        return 0;
    assert_int_equal(member->session, route.session);
    group->got[route.session]++;
    return route.session;
}

static void choose_times(struct group *group, struct call call, int times)
{
    memset(group->got, 0, sizeof(group->got));
    for (int i = 0; i < times; i++)
        assert_int_not_equal(choose(group, call), 0);
}

static const enum share_choice all_choices[] = {CHOOSE_ROUND_ROBIN, CHOOSE_RANDOM,
                                                CHOOSE_LEAST_INFLIGHT, CHOOSE_STICKY_CLIENT,
                                                CHOOSE_STICKY_TOPIC};
enum { CHOICES = sizeof(all_choices) / sizeof(*all_choices) };

/* ---- what holds for every way of choosing --------------------------------------------------- */

static void share_prefers_a_member_that_is_online(void **state)
{
    struct group group = group_new(*state);
    for (session_ref s = 1; s <= MEMBERS; s++)
        set_online(&group, s, s == 4);
    for (int i = 0; i < CHOICES; i++)
        for (uint32_t n = 0; n < 20; n++)
            assert_int_equal(choose(&group, (struct call){.how = all_choices[i], .publisher = n}),
                             4);
}

static void share_finds_a_member_of_a_shard(void **state)
{
    struct group group = group_new(*state);
    for (uint32_t i = 0; i < MEMBERS; i++)
        group.members[i]->shard = (uint16_t)(10 + i);
    struct share *share = find(group.f, "t").shares[0];
    struct subscription *member;
    struct route route;
    for (uint32_t i = 0; i < MEMBERS; i++) {
        assert_true(share_find_member(share, 10 + i, &member, &route));
        assert_ptr_equal(member, group.members[i]);
        assert_int_equal(route.session, i + 1);
    }
    assert_false(share_find_member(share, 9, &member, &route));
}

static void share_finds_an_online_member_of_a_shard(void **state)
{
    struct group group = group_new(*state);
    for (uint32_t i = 0; i < MEMBERS; i++)
        group.members[i]->shard = 7;
    struct share *share = find(group.f, "t").shares[0];
    struct subscription *member;
    struct route route;
    for (session_ref online = 1; online <= MEMBERS; online++) {
        for (session_ref s = 1; s <= MEMBERS; s++)
            set_online(&group, s, s == online);
        assert_true(share_find_member(share, 7, &member, &route));
        assert_int_equal(route.session, online);
    }
    set_online(&group, MEMBERS, false);
    assert_true(share_find_member(share, 7, &member, &route));
}

static void share_without_anybody_online_still_chooses(void **state)
{
    struct group group = group_new(*state);
    for (session_ref s = 1; s <= MEMBERS; s++)
        set_online(&group, s, false);
    for (int i = 0; i < CHOICES; i++)
        assert_int_not_equal(choose(&group, (struct call){.how = all_choices[i]}), 0);
}

static void share_leaves_out_the_session_that_must_not_get_it(void **state)
{
    struct group group = group_new(*state);
    for (int i = 0; i < CHOICES; i++)
        for (uint32_t n = 0; n < 20; n++) {
            struct call call = {.how = all_choices[i], .publisher = n, .not_this = n % 5 + 1};
            assert_int_not_equal(choose(&group, call), call.not_this);
        }
}

static void share_takes_one_offline_before_the_one_left_out(void **state)
{
    struct group group = group_new(*state);
    for (session_ref s = 1; s <= MEMBERS; s++)
        set_online(&group, s, s == 2);
    session_ref chosen = choose(&group, (struct call){.not_this = 2});
    assert_int_not_equal(chosen, 0);
    assert_int_not_equal(chosen, 2);
}

static void share_prefers_those_that_are_near_and_online(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *near = join(f, 1, "t", "group"), *member;
    struct route route;
    join(f, session_ref_of_remote(0), "t", "group");
    for (int online = 1; online >= 0; online--) {
        atomic_store(&near->member.online, online);
        for (int i = 0; i < CHOICES; i++) {
            assert_true(share_choose(find(f, "t").shares[0], all_choices[i], SHARE_NEAR,
                                     (uint64_t)i, bytes_of_str("t"), 0, &member, &route));
            assert_int_equal(member == near, online);
        }
    }
}

static void share_of_one_has_nobody_else(void **state)
{
    struct group group = {.f = *state};
    join(group.f, 1, "t", "group");
    for (int i = 0; i < CHOICES; i++)
        assert_int_equal(choose(&group, (struct call){.how = all_choices[i], .not_this = 1}), 0);
}

static void share_gives_the_route_of_the_member(void **state)
{
    struct router_fixture *f = *state;
    subscribe_with(
        f, 9, "t", "group",
        &(struct subscription_options){.qos = 2, .identifier = 12, .retain_as_published = true});
    struct route_set set = find(f, "t");
    struct subscription *member;
    struct route route;
    assert_true(share_choose(set.shares[0], CHOOSE_ROUND_ROBIN, SHARE_ANYWHERE, 0,
                             bytes_of_str("t"), 0, &member, &route));
    assert_int_equal(route.session, 9);
    assert_int_equal(route.qos, 2);
    assert_int_equal(route.identifier, 12);
    assert_int_equal(route.flags, SUBSCRIPTION_RETAIN_AS_PUBLISHED);
}

static void share_of_a_member_leads_to_the_others(void **state)
{
    struct group group = group_new(*state);
    struct route_set set = find(group.f, "t");
    assert_ptr_equal(subscription_share(group.members[0]), set.shares[0]);
    assert_ptr_equal(subscription_of_member(&group.members[0]->member), group.members[0]);
    assert_null(subscription_share(subscribe(group.f, 9, "t")));
}

/* ---- round robin ---------------------------------------------------------------------------- */

static void round_robin_gives_everybody_the_same(void **state)
{
    struct group group = group_new(*state);
    choose_times(&group, (struct call){.how = CHOOSE_ROUND_ROBIN}, 20 * MEMBERS);
    for (uint32_t s = 1; s <= MEMBERS; s++)
        assert_int_equal(group.got[s], 20);
}

static void round_robin_is_fair_when_members_have_left(void **state)
{
    struct group group = group_new(*state);
    router_unsubscribe(&group.f->router, group.members[1]);
    router_unsubscribe(&group.f->router, group.members[2]);
    choose_times(&group, (struct call){.how = CHOOSE_ROUND_ROBIN}, 60);
    assert_int_equal(group.got[1], 20);
    assert_int_equal(group.got[4], 20);
    assert_int_equal(group.got[5], 20);
}

static void round_robin_is_fair_when_members_are_offline(void **state)
{
    struct group group = group_new(*state);
    set_online(&group, 1, false);
    set_online(&group, 3, false);
    choose_times(&group, (struct call){.how = CHOOSE_ROUND_ROBIN}, 60);
    assert_int_equal(group.got[2], 20);
    assert_int_equal(group.got[4], 20);
    assert_int_equal(group.got[5], 20);
}

static void round_robin_includes_a_member_that_comes_later(void **state)
{
    struct group group = {.f = *state};
    join(group.f, 1, "t", "group");
    choose_times(&group, (struct call){.how = CHOOSE_ROUND_ROBIN}, 7);
    join(group.f, 2, "t", "group");
    choose_times(&group, (struct call){.how = CHOOSE_ROUND_ROBIN}, 20);
    assert_int_equal(group.got[1], 10);
    assert_int_equal(group.got[2], 10);
}

/* ---- random --------------------------------------------------------------------------------- */

/* 5,000 draws of five: each is expected 1,000 times, with a deviation of 28. */
static void random_choice_reaches_everybody_about_equally(void **state)
{
    struct group group = group_new(*state);
    choose_times(&group, (struct call){.how = CHOOSE_RANDOM}, 1000 * MEMBERS);
    for (uint32_t s = 1; s <= MEMBERS; s++)
        assert_in_range(group.got[s], 700, 1300);
}

/* ---- least in flight ------------------------------------------------------------------------ */

static void least_inflight_chooses_the_lowest_load(void **state)
{
    struct group group = group_new(*state);
    for (session_ref s = 1; s <= MEMBERS; s++)
        set_load(&group, s, 10 + (uint32_t)s);
    set_load(&group, 3, 9);
    choose_times(&group, (struct call){.how = CHOOSE_LEAST_INFLIGHT}, 20);
    assert_int_equal(group.got[3], 20);
}

static void least_inflight_does_not_count_those_offline(void **state)
{
    struct group group = group_new(*state);
    for (session_ref s = 1; s <= MEMBERS; s++)
        set_load(&group, s, 10 - (uint32_t)s);
    set_online(&group, MEMBERS, false);
    assert_int_equal(choose(&group, (struct call){.how = CHOOSE_LEAST_INFLIGHT}), MEMBERS - 1);
}

static void least_inflight_takes_turns_among_equals(void **state)
{
    struct group group = group_new(*state);
    choose_times(&group, (struct call){.how = CHOOSE_LEAST_INFLIGHT}, 10 * MEMBERS);
    for (uint32_t s = 1; s <= MEMBERS; s++)
        assert_int_equal(group.got[s], 10);
}

/* ---- sticky --------------------------------------------------------------------------------- */

static void sticky_client_stays_with_its_member(void **state)
{
    struct group group = group_new(*state);
    for (session_ref publisher = 1; publisher < 50; publisher++) {
        struct call call = {.how = CHOOSE_STICKY_CLIENT, .publisher = publisher, .topic = "a"};
        session_ref first = choose(&group, call);
        call.topic = "b";
        for (int i = 0; i < 5; i++)
            assert_int_equal(choose(&group, call), first);
    }
}

static void sticky_clients_are_spread_over_the_members(void **state)
{
    struct group group = group_new(*state);
    for (session_ref publisher = 1; publisher <= 500; publisher++)
        choose(&group, (struct call){.how = CHOOSE_STICKY_CLIENT, .publisher = publisher});
    for (uint32_t s = 1; s <= MEMBERS; s++)
        assert_in_range(group.got[s], 50, 200);
}

static void sticky_topic_stays_with_its_member(void **state)
{
    struct group group = group_new(*state);
    char topic[TOPIC_ROOM];
    for (int i = 0; i < 50; i++) {
        snprintf(topic, sizeof(topic), "t/%d", i);
        struct call call = {.how = CHOOSE_STICKY_TOPIC, .topic = topic, .publisher = 1};
        session_ref first = choose(&group, call);
        call.publisher = 2;
        for (int n = 0; n < 5; n++)
            assert_int_equal(choose(&group, call), first);
    }
}

static void sticky_topics_are_spread_over_the_members(void **state)
{
    struct group group = group_new(*state);
    char topic[TOPIC_ROOM];
    for (int i = 0; i < 500; i++) {
        snprintf(topic, sizeof(topic), "t/%d", i);
        choose(&group, (struct call){.how = CHOOSE_STICKY_TOPIC, .topic = topic});
    }
    for (uint32_t s = 1; s <= MEMBERS; s++)
        assert_in_range(group.got[s], 50, 200);
}

static void sticky_goes_back_to_its_member_when_that_is_online_again(void **state)
{
    struct group group = group_new(*state);
    struct call call = {.how = CHOOSE_STICKY_TOPIC, .topic = "a/b"};
    session_ref first = choose(&group, call);
    set_online(&group, first, false);
    assert_int_not_equal(choose(&group, call), first);
    set_online(&group, first, true);
    assert_int_equal(choose(&group, call), first);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, one_worker, router_fixture_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(share_prefers_a_member_that_is_online),
        RULE(share_finds_a_member_of_a_shard),
        RULE(share_finds_an_online_member_of_a_shard),
        RULE(share_without_anybody_online_still_chooses),
        RULE(share_leaves_out_the_session_that_must_not_get_it),
        RULE(share_takes_one_offline_before_the_one_left_out),
        RULE(share_prefers_those_that_are_near_and_online),
        RULE(share_of_one_has_nobody_else),
        RULE(share_gives_the_route_of_the_member),
        RULE(share_of_a_member_leads_to_the_others),
        RULE(round_robin_gives_everybody_the_same),
        RULE(round_robin_is_fair_when_members_have_left),
        RULE(round_robin_is_fair_when_members_are_offline),
        RULE(round_robin_includes_a_member_that_comes_later),
        RULE(random_choice_reaches_everybody_about_equally),
        RULE(least_inflight_chooses_the_lowest_load),
        RULE(least_inflight_does_not_count_those_offline),
        RULE(least_inflight_takes_turns_among_equals),
        RULE(sticky_client_stays_with_its_member),
        RULE(sticky_clients_are_spread_over_the_members),
        RULE(sticky_topic_stays_with_its_member),
        RULE(sticky_topics_are_spread_over_the_members),
        RULE(sticky_goes_back_to_its_member_when_that_is_online_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
