/* SPDX-License-Identifier: Apache-2.0 */
/* What other nodes are told: the first and the last subscriber of a filter on this one. */
#include "base/memory.h"
#include "router/router_fixture.h"

#include <stdio.h>

enum { HERE = 1, THERE = 2 }; /* sessions of this node */

static uint32_t woken;

static void wake(void *owner)
{
    (*(uint32_t *)owner)++;
}

static int watched(void **state)
{
    struct router_fixture *f = router_fixture_new(1);
    woken = 0;
    router_watch(&f->router, &(struct interest_watch){wake, &woken});
    *state = f;
    return 0;
}

/* Takes what has come up, as "+a/b !d -c *e !f(3) ~f(2)": clean, durable, none, both; of
 * shard 3, durable and offline of shard 2. */
static void assert_interests(struct router_fixture *f, const char *expected)
{
    char text[256] = "";
    uint64_t count;
    struct interest *interest = router_take_interests(&f->router, &count);
    while (interest != NULL) {
        struct interest *next = interest->next;
        size_t used = strlen(text);
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "%s%c%.*s", used > 0 ? " " : "",
                             "-+!~*"[interest->level], (int)interest -> len, interest -> filter);
        if (interest->shard != NO_SHARD)
            snprintf(text + used, sizeof(text) - used, "(%u)", interest->shard);
        mem_free(interest);
        interest = next;
    }
    assert_string_equal(text, expected);
}

static void first_subscriber_of_a_filter_is_told_and_no_other(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, HERE, "a/+");
    subscribe(f, THERE, "a/+");
    subscribe(f, HERE, "#");
    assert_interests(f, "+a/+ +#");
    subscribe(f, THERE, "#");
    assert_interests(f, "");
}

static void last_subscriber_of_a_filter_that_goes_is_told(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *one = subscribe(f, HERE, "a"), *two = subscribe(f, THERE, "a");
    router_unsubscribe(&f->router, one);
    assert_interests(f, "+a");
    router_unsubscribe(&f->router, two);
    assert_interests(f, "-a");
}

static void share_is_told_with_its_name_and_apart_from_the_filter(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, HERE, "a");
    struct subscription *member = join(f, HERE, "a", "g");
    join(f, THERE, "a", "h");
    router_unsubscribe(&f->router, member);
    assert_interests(f, "+a +$share/g/a +$share/h/a -$share/g/a");
}

/* Sessions of the fixture are in shards by their numbers. Whatever is told in between, the share is
 * never without a member as long as it has one. */
static void durable_members_of_a_share_are_told_by_their_shards(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *one = join(f, 1, "a", "g"), *two = join(f, 5, "a", "g");
    struct subscription *other = join(f, 2, "a", "g");
    assert_interests(f, "+$share/g/a");
    router_set_durable(&f->router, one, true);
    assert_interests(f, "!$share/g/a(1) *$share/g/a");
    router_set_durable(&f->router, two, true); /* the same shard */
    assert_interests(f, "");
    router_set_durable(&f->router, other, true);
    assert_interests(f, "!$share/g/a(2) !$share/g/a");
    router_unsubscribe(&f->router, one);
    assert_interests(f, "");
    router_set_durable(&f->router, two, false);
    assert_interests(f, "*$share/g/a -$share/g/a(1)");
    router_unsubscribe(&f->router, other);
    router_unsubscribe(&f->router, two);
    assert_interests(f, "+$share/g/a -$share/g/a(2) -$share/g/a");
}

static void shard_of_a_share_is_told_when_none_of_its_members_is_connected(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *one = join(f, 1, "a", "g"), *two = join(f, 5, "a", "g");
    router_set_durable(&f->router, one, true);
    router_set_durable(&f->router, two, true);
    assert_interests(f, "+$share/g/a !$share/g/a(1) *$share/g/a !$share/g/a");
    router_set_online(&f->router, one, false);
    router_set_online(&f->router, one, false); /* as it is */
    assert_interests(f, "");
    router_set_online(&f->router, two, false);
    assert_interests(f, "~$share/g/a(1)");
    router_set_online(&f->router, one, true);
    assert_interests(f, "!$share/g/a(1)");
    router_unsubscribe(&f->router, one);
    assert_interests(f, "~$share/g/a(1)");
    router_unsubscribe(&f->router, two);
    assert_interests(f, "-$share/g/a -$share/g/a(1)");
}

static void durable_subscriber_is_told_and_when_there_is_none_any_more(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *clean = subscribe(f, HERE, "a"), *durable = subscribe(f, THERE, "a");
    router_set_durable(&f->router, durable, true);
    assert_interests(f, "+a !a");
    router_unsubscribe(&f->router, clean);
    router_set_durable(&f->router, durable, true); /* as it is */
    assert_interests(f, "");
    router_set_durable(&f->router, durable, false);
    assert_interests(f, "+a");
    router_change(&f->router, durable, &(struct subscription_options){0}, SUBSCRIPTION_DURABLE);
    router_unsubscribe(&f->router, durable);
    assert_interests(f, "!a -a");
}

static void subscriptions_of_other_nodes_are_nobodys_news(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *remote = subscribe(f, session_ref_of_remote(0), "a");
    assert_interests(f, "");
    struct subscription *own = subscribe(f, HERE, "a");
    router_unsubscribe(&f->router, remote);
    router_unsubscribe(&f->router, own);
    assert_interests(f, "+a -a");
}

static void watcher_is_woken_once_until_it_has_taken_the_news(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, HERE, "a");
    subscribe(f, HERE, "b");
    assert_int_equal(woken, 1);
    assert_interests(f, "+a +b");
    subscribe(f, HERE, "c");
    assert_int_equal(woken, 2);
}

static void interests_are_counted_from_the_beginning(void **state)
{
    struct router_fixture *f = *state;
    uint64_t count;
    subscribe(f, HERE, "a");
    assert_interests(f, "+a");
    subscribe(f, HERE, "b");
    mem_free(router_take_interests(&f->router, &count));
    assert_int_equal(count, 2);
    assert_null(router_take_interests(&f->router, &count));
    assert_int_equal(count, 2);
}

static void without_a_watcher_nothing_is_kept(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, HERE, "a");
    assert_interests(f, "");
}

/* ---- routes to other nodes ------------------------------------------------------------------ */

static void another_node_stands_behind_our_workers(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, session_ref_of_remote(7), "a");
    subscribe(f, HERE, "a");
    struct route_set set = find(f, "a");
    assert_int_equal(set.count, 2);
    assert_int_equal(set.routes[0].session, HERE);
    assert_true(session_ref_is_remote(set.routes[1].session));
    assert_int_equal(session_ref_worker(set.routes[1].session), REMOTE_FIRST + 7);
}

static void member_of_a_share_can_be_asked_for_on_this_node_only(void **state)
{
    struct router_fixture *f = *state;
    join(f, session_ref_of_remote(7), "a", "g");
    struct route_set set = find(f, "a");
    struct subscription *member;
    struct route route;
    assert_false(share_choose(set.shares[0], CHOOSE_ROUND_ROBIN, SHARE_HERE, 0, bytes_of_str("a"),
                              0, &member, &route));
    assert_true(share_choose(set.shares[0], CHOOSE_ROUND_ROBIN, SHARE_ANYWHERE, 0,
                             bytes_of_str("a"), 0, &member, &route));
    assert_true(session_ref_is_remote(route.session));
}

#define WATCHED(name) cmocka_unit_test_setup_teardown(name, watched, router_fixture_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCHED(first_subscriber_of_a_filter_is_told_and_no_other),
        WATCHED(last_subscriber_of_a_filter_that_goes_is_told),
        WATCHED(share_is_told_with_its_name_and_apart_from_the_filter),
        WATCHED(durable_members_of_a_share_are_told_by_their_shards),
        WATCHED(shard_of_a_share_is_told_when_none_of_its_members_is_connected),
        WATCHED(durable_subscriber_is_told_and_when_there_is_none_any_more),
        WATCHED(subscriptions_of_other_nodes_are_nobodys_news),
        WATCHED(watcher_is_woken_once_until_it_has_taken_the_news),
        WATCHED(interests_are_counted_from_the_beginning),
        cmocka_unit_test_setup_teardown(without_a_watcher_nothing_is_kept, one_worker,
                                        router_fixture_free),
        cmocka_unit_test_setup_teardown(another_node_stands_behind_our_workers, two_workers,
                                        router_fixture_free),
        cmocka_unit_test_setup_teardown(member_of_a_share_can_be_asked_for_on_this_node_only,
                                        two_workers, router_fixture_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
