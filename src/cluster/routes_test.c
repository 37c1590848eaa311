/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/routes.h"

#include "router/router_fixture.h"

enum { REMOTE = 3 };

struct tables {
    struct router_fixture *f;
    struct own_routes own;
    struct remote_routes remote;
};

static int set_up(void **state)
{
    struct tables *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    t->f = router_fixture_new(1);
    own_routes_init(&t->own);
    remote_routes_init(&t->remote, &t->f->router, REMOTE);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct tables *t = *state;
    void *fixture = t->f;
    remote_routes_clear(&t->remote);
    own_routes_deinit(&t->own);
    router_fixture_free(&fixture);
    free(t);
    return 0;
}

static const struct route_key *key_of(const char *filter, uint16_t shard)
{
    static struct route_key key;
    key = (struct route_key){bytes_of_str(filter), shard};
    return &key;
}

static bool add(struct tables *t, const char *filter)
{
    return remote_routes_add(&t->remote, key_of(filter, NO_SHARD), INTEREST_CLEAN);
}

static void assert_leads_there(struct tables *t, const char *topic, bool expected)
{
    struct route_set set = find(t->f, topic);
    assert_int_equal(set.count, expected);
    if (expected)
        assert_int_equal(set.routes[0].session, session_ref_of_remote(REMOTE));
}

static void filter_that_another_node_tells_leads_there_until_it_is_taken_back(void **state)
{
    struct tables *t = *state;
    assert_true(add(t, "a/+"));
    assert_true(add(t, "a/+")); /* twice does no harm */
    assert_leads_there(t, "a/b", true);
    assert_true(remote_routes_remove(&t->remote, key_of("a/+", NO_SHARD)));
    assert_true(remote_routes_remove(&t->remote, key_of("a/+", NO_SHARD)));
    assert_leads_there(t, "a/b", false);
}

static void share_that_another_node_tells_has_it_as_a_member(void **state)
{
    struct tables *t = *state;
    assert_true(add(t, "$share/g/a"));
    struct route_set set = find(t->f, "a");
    assert_int_equal(set.count, 0);
    assert_int_equal(set.share_count, 1);
}

static void share_has_a_member_for_each_shard_that_another_node_tells(void **state)
{
    struct tables *t = *state;
    struct subscription *member;
    struct route route;
    for (uint16_t shard = 3; shard < 5; shard++)
        assert_true(remote_routes_add(&t->remote, key_of("$share/g/a", shard), INTEREST_DURABLE));
    assert_true(add(t, "$share/g/a"));
    uint32_t chosen[2] = {0}, clean = 0;
    for (int i = 0; i < 9; i++) {
        assert_true(share_choose(find(t->f, "a").shares[0], CHOOSE_ROUND_ROBIN, SHARE_ANYWHERE, 0,
                                 bytes_of("", 0), 0, &member, &route));
        if (member->shard == NO_SHARD)
            clean++;
        else
            chosen[member->shard - 3]++;
    }
    assert_int_equal(chosen[0], 3);
    assert_int_equal(chosen[1], 3);
    assert_int_equal(clean, 3);
    assert_false(share_find_member(find(t->f, "a").shares[0], 3, &member, &route)); /* none here */
    assert_true(remote_routes_remove(&t->remote, key_of("$share/g/a", 3)));
    assert_true(remote_routes_remove(&t->remote, key_of("$share/g/a", NO_SHARD)));
    assert_true(share_choose(find(t->f, "a").shares[0], CHOOSE_ROUND_ROBIN, SHARE_ANYWHERE, 0,
                             bytes_of("", 0), 0, &member, &route));
    assert_int_equal(member->shard, 4);
}

static void shard_with_nobody_connected_is_chosen_last(void **state)
{
    struct tables *t = *state;
    struct subscription *member;
    struct route route;
    for (uint16_t shard = 3; shard < 6; shard++)
        assert_true(remote_routes_add(&t->remote, key_of("$share/g/a", shard),
                                      shard == 4 ? INTEREST_DURABLE : INTEREST_OFFLINE));
    for (int i = 0; i < 9; i++) {
        assert_true(share_choose(find(t->f, "a").shares[0], CHOOSE_ROUND_ROBIN, SHARE_ANYWHERE, 0,
                                 bytes_of("", 0), 0, &member, &route));
        assert_int_equal(member->shard, 4);
    }
    assert_true(remote_routes_add(&t->remote, key_of("$share/g/a", 4), INTEREST_OFFLINE));
    assert_true(remote_routes_add(&t->remote, key_of("$share/g/a", 3), INTEREST_DURABLE));
    assert_true(share_choose(find(t->f, "a").shares[0], CHOOSE_ROUND_ROBIN, SHARE_ANYWHERE, 0,
                             bytes_of("", 0), 0, &member, &route));
    assert_int_equal(member->shard, 3);
}

static void what_is_not_in_the_whole_table_goes_at_its_end(void **state)
{
    struct tables *t = *state;
    add(t, "stays");
    add(t, "goes");
    remote_routes_begin(&t->remote);
    add(t, "stays");
    add(t, "new");
    assert_leads_there(t, "goes", true); /* until then */
    remote_routes_end(&t->remote);
    assert_leads_there(t, "stays", true);
    assert_leads_there(t, "new", true);
    assert_leads_there(t, "goes", false);
}

static void clear_takes_everything_out(void **state)
{
    struct tables *t = *state;
    add(t, "a");
    add(t, "$share/g/a");
    remote_routes_clear(&t->remote);
    assert_leads_there(t, "a", false);
    assert_int_equal(find(t->f, "a").share_count, 0);
    assert_true(add(t, "a"));
    assert_leads_there(t, "a", true);
}

static void route_is_durable_while_a_session_there_is(void **state)
{
    struct tables *t = *state;
    add(t, "a");
    assert_int_equal(find(t->f, "a").routes[0].flags & SUBSCRIPTION_DURABLE, 0);
    assert_true(remote_routes_add(&t->remote, key_of("a", NO_SHARD), INTEREST_DURABLE));
    assert_true(find(t->f, "a").routes[0].flags & SUBSCRIPTION_DURABLE);
    add(t, "a");
    assert_int_equal(find(t->f, "a").routes[0].flags & SUBSCRIPTION_DURABLE, 0);
}

static void what_is_no_filter_is_refused(void **state)
{
    struct tables *t = *state;
    assert_false(add(t, ""));
    assert_false(add(t, "a/#/b"));
    assert_false(add(t, "$share/"));
    assert_false(remote_routes_add(&t->remote, key_of("a", 3), INTEREST_DURABLE)); /* no share */
}

static void own_route_is_there_once(void **state)
{
    struct tables *t = *state;
    struct own_route *route = own_routes_add(&t->own, key_of("a", NO_SHARD));
    assert_non_null(route);
    assert_ptr_equal(own_routes_find(&t->own, key_of("a", NO_SHARD)), route);
    assert_null(own_routes_find(&t->own, key_of("a", 1)));
    own_routes_remove(&t->own, route);
    assert_null(own_routes_find(&t->own, key_of("a", NO_SHARD)));
    assert_true(list_empty(&t->own.all));
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(filter_that_another_node_tells_leads_there_until_it_is_taken_back),
        RULE(share_that_another_node_tells_has_it_as_a_member),
        RULE(share_has_a_member_for_each_shard_that_another_node_tells),
        RULE(shard_with_nobody_connected_is_chosen_last),
        RULE(what_is_not_in_the_whole_table_goes_at_its_end),
        RULE(clear_takes_everything_out),
        RULE(route_is_durable_while_a_session_there_is),
        RULE(what_is_no_filter_is_refused),
        RULE(own_route_is_there_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
