/* SPDX-License-Identifier: Apache-2.0 */
#include "router/router_fixture.h"

#include <pthread.h>
#include <stdio.h>

/* ---- one walk ------------------------------------------------------------------------------- */

static session_ref ref(uint32_t worker, uint32_t slot)
{
    return (session_ref)worker << SESSION_REF_WORKER_SHIFT | slot;
}

static void assert_sorted(const struct route_set *set)
{
    for (uint32_t i = 1; i < set->count; i++)
        assert_true(set->routes[i - 1].session <= set->routes[i].session);
}

static void route_set_of_a_topic_without_subscribers_is_empty(void **state)
{
    struct route_set set = find(*state, "nobody/here");
    assert_int_equal(set.count, 0);
    assert_int_equal(set.share_count, 0);
}

static void route_set_has_a_session_beside_itself_when_filters_overlap(void **state)
{
    struct router_fixture *f = *state;
    static const session_ref order[] = {9, 3, 7};
    for (int i = 0; i < 3; i++) {
        subscribe(f, order[i], "a/b");
        subscribe(f, order[i], "a/+");
        subscribe(f, order[i], "a/#");
    }
    struct route_set set = find(f, "a/b");
    assert_int_equal(set.count, 9);
    assert_sorted(&set);
}

static void route_set_is_grouped_by_worker_when_there_are_several(void **state)
{
    struct router_fixture *f = *state;
    for (uint32_t i = 0; i < 50; i++)
        subscribe(f, ref(i % 3, i), "t");
    struct route_set set = find(f, "t");
    assert_int_equal(set.count, 50);
    assert_sorted(&set);
}

static void route_set_carries_what_was_asked_for(void **state)
{
    struct router_fixture *f = *state;
    subscribe_with(f, 5, "t", "",
                   &(struct subscription_options){
                       .qos = 2, .identifier = 268435455, .retain_as_published = true});
    struct route_set set = find(f, "t");
    assert_int_equal(set.routes[0].session, 5);
    assert_int_equal(set.routes[0].qos, 2);
    assert_int_equal(set.routes[0].identifier, 268435455);
    assert_int_equal(set.routes[0].flags, SUBSCRIPTION_RETAIN_AS_PUBLISHED);
}

static void route_set_holds_thousands(void **state)
{
    enum { MANY = 10000 };
    struct router_fixture *f = *state;
    for (uint32_t i = 0; i < MANY; i++)
        subscribe(f, i + 1, i % 2 == 0 ? "t/u" : "t/#");
    struct route_set set = find(f, "t/u");
    assert_int_equal(set.count, MANY);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(set.routes[i].session, i + 1);
}

static void assert_runs(const struct route_set *set, uint32_t each)
{
    for (uint32_t i = 0; i < set->count; i++) {
        bool begins = i % each == 0;
        assert_int_equal(set->routes[i].session == set->routes[i - !begins].session, true);
        assert_true(i == 0 || begins == (set->routes[i].session != set->routes[i - 1].session));
    }
}

static void route_set_of_very_many_has_overlapping_ones_beside_each_other(void **state)
{
    enum { MANY = 5000 };
    struct router_fixture *f = *state;
    for (uint32_t i = 0; i < MANY; i++)
        subscribe(f, ref(i % 3, 4096 * 1000 + (i * 7919) % MANY), "t/u");
    for (uint32_t i = 0; i < MANY; i++)
        subscribe(f, ref(i % 3, 4096 * 1000 + (i * 7919) % MANY), "t/#");
    struct route_set set = find(f, "t/u");
    assert_int_equal(set.count, 2 * MANY);
    assert_sorted(&set);
    assert_runs(&set, 2);
}

/* The old session of a slot is still being removed: the new one's routes stay together. */
static void route_set_of_very_many_tells_sessions_of_one_slot_apart(void **state)
{
    enum { MANY = 3000 };
    struct router_fixture *f = *state;
    const session_ref generation = (session_ref)1 << 32;
    for (uint32_t i = 0; i < MANY; i++) {
        subscribe(f, i + 5 * generation, "t/u");
        subscribe(f, i + 2 * generation, "t/u");
        subscribe(f, i + 2 * generation, "t/#");
        subscribe(f, i + 5 * generation, "t/#");
    }
    struct route_set set = find(f, "t/u");
    assert_int_equal(set.count, 4 * MANY);
    assert_runs(&set, 2);
}

static void route_set_of_very_many_is_grouped_by_worker(void **state)
{
    enum { MANY = 5000 };
    struct router_fixture *f = *state;
    uint32_t changes = 0;
    for (uint32_t i = 0; i < MANY; i++)
        subscribe(f, ref(i % 3, i), "t");
    struct route_set set = find(f, "t");
    assert_int_equal(set.count, MANY);
    for (uint32_t i = 1; i < MANY; i++)
        changes += session_ref_worker(set.routes[i].session) !=
                   session_ref_worker(set.routes[i - 1].session);
    assert_int_equal(changes, 2);
}

static void route_block_outlives_the_reader_s_next_walk(void **state)
{
    enum { MANY = 100000 }; /* pages, not malloc's */
    struct router_fixture *f = *state;
    for (uint32_t i = 0; i < MANY; i++)
        subscribe(f, i + 1, "t");
    struct route_set set = find(f, "t");
    struct route_block *block = route_block_hold(route_reader_take(&f->reader));
    assert_ptr_equal(block->routes, set.routes);
    assert_int_equal(find(f, "t").count, MANY);
    route_block_drop(block);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < MANY; i++)
        sum += set.routes[i].session;
    assert_int_equal(sum, (uint64_t)MANY * (MANY + 1) / 2);
    route_block_drop(block);
}

/* ---- the memory of hot topics --------------------------------------------------------------- */

static void memo_answers_from_the_third_time_on(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, 1, "t");
    find(f, "t");
    find(f, "t");
    assert_int_equal(f->reader.memo_hits, 0);
    find(f, "t");
    assert_int_equal(f->reader.memo_hits, 1);
    assert_int_equal(f->reader.memo_misses, 2);
}

static void memo_gives_what_the_walk_gave(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, 1, "a/b");
    subscribe(f, 2, "a/+");
    join(f, 3, "a/#", "group");
    struct route_set walked = find(f, "a/b");
    struct route first[2] = {walked.routes[0], walked.routes[1]};
    struct share *share = walked.shares[0];
    find(f, "a/b");
    struct route_set remembered = find(f, "a/b");
    assert_int_equal(f->reader.memo_hits, 1);
    assert_int_equal(remembered.count, 2);
    assert_memory_equal(remembered.routes, first, sizeof(first));
    assert_int_equal(remembered.share_count, 1);
    assert_ptr_equal(remembered.shares[0], share);
}

static void memo_does_not_remember_topics_that_come_once(void **state)
{
    struct router_fixture *f = *state;
    char topic[TOPIC_ROOM];
    for (int i = 0; i < 3 * ROUTE_MEMO_SLOTS; i++) {
        snprintf(topic, sizeof(topic), "flood/%d", i);
        find(f, topic);
    }
    for (int i = 0; i < ROUTE_MEMO_SLOTS; i++)
        assert_null(f->reader.memo[i]);
}

static void memo_does_not_remember_very_many_routes(void **state)
{
    struct router_fixture *f = *state;
    for (uint32_t i = 0; i <= ROUTE_MEMO_ROUTES_MAX; i++)
        subscribe(f, i + 1, "t");
    for (int i = 0; i < 4; i++)
        assert_int_equal(find(f, "t").count, ROUTE_MEMO_ROUTES_MAX + 1);
    assert_int_equal(f->reader.memo_hits, 0);
}

static void memo_remembers_that_nobody_subscribes(void **state)
{
    struct router_fixture *f = *state;
    find(f, "t");
    find(f, "t");
    assert_int_equal(find(f, "t").count, 0);
    assert_int_equal(f->reader.memo_hits, 1);
}

static void make_hot(struct router_fixture *f, const char *topic)
{
    for (int i = 0; i < 3; i++)
        find(f, topic);
    assert_int_equal(f->reader.memo_hits, 1);
}

static void memo_ends_with_a_new_subscription(void **state)
{
    struct router_fixture *f = *state;
    make_hot(f, "t");
    subscribe(f, 1, "t");
    assert_int_equal(find(f, "t").count, 1);
}

static void memo_ends_with_a_subscription_removed(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *s = subscribe(f, 1, "t");
    make_hot(f, "t");
    router_unsubscribe(&f->router, s);
    grace_period();
    assert_int_equal(find(f, "t").count, 0);
}

static void memo_ends_with_a_share_removed(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *s = join(f, 1, "t", "group");
    make_hot(f, "t");
    router_unsubscribe(&f->router, s);
    grace_period();
    assert_int_equal(find(f, "t").share_count, 0);
}

static void memo_ends_with_options_replaced(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *s = subscribe(f, 1, "t");
    make_hot(f, "t");
    router_change(&f->router, s, &(struct subscription_options){.qos = 2}, 0);
    assert_int_equal(find(f, "t").routes[0].qos, 2);
}

static void memo_ends_with_a_session_made_durable(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *s = subscribe(f, 1, "t");
    make_hot(f, "t");
    router_set_durable(&f->router, s, true);
    assert_int_equal(find(f, "t").routes[0].flags, SUBSCRIPTION_DURABLE);
}

static void memo_starts_again_after_a_change(void **state)
{
    struct router_fixture *f = *state;
    make_hot(f, "t");
    subscribe(f, 1, "elsewhere");
    uint64_t hits = f->reader.memo_hits;
    find(f, "t"); /* its hash is known: remembered at once */
    find(f, "t");
    assert_int_equal(f->reader.memo_hits, hits + 1);
}

/* Two topics of one slot must not be taken for each other. */
static void memo_slot_is_of_the_topic_that_came_last(void **state)
{
    struct router_fixture *f = *state;
    char other[TOPIC_ROOM];
    uint64_t slot = bytes_hash(bytes_of_str("t")) % ROUTE_MEMO_SLOTS;
    int i = 0;
    do
        snprintf(other, sizeof(other), "u/%d", i++);
    while (bytes_hash(bytes_of_str(other)) % ROUTE_MEMO_SLOTS != slot);
    subscribe(f, 1, "t");
    subscribe(f, 2, other);
    for (i = 0; i < 20; i++) {
        const char *topic = i / 4 % 2 == 0 ? "t" : other;
        struct route_set set = find(f, topic);
        assert_int_equal(set.count, 1);
        assert_int_equal(set.routes[0].session, topic == other ? 2 : 1);
    }
    assert_true(f->reader.memo_hits > 0);
}

/* ---- readers beside a writer ---------------------------------------------------------------- */

enum { READERS = 2, CHANGES = 4000, GUESTS = 64, CROWD = 6000 };

struct reading {
    struct router *router;
    _Atomic bool *stop;
    uint32_t wrong, turns;
};

/* Sessions 1 and 2 are always there, 1000 and up come and go. */
static bool read_is_right(struct route_reader *reader, const char *topic)
{
    struct route_set set;
    route_find(reader, bytes_of_str(topic), ROUTE_AT_ONCE, &set);
    uint32_t constant = 0;
    for (uint32_t i = 0; i < set.count; i++) {
        session_ref session = set.routes[i].session;
        if (session < 1000)
            constant++;
        else if (session >= 1000 + GUESTS + CROWD)
            return false;
    }
    for (uint32_t i = 0; i < set.share_count; i++) {
        struct subscription *member;
        struct route route;
        if (share_choose(set.shares[i], CHOOSE_ROUND_ROBIN, SHARE_ANYWHERE, 0, bytes_of_str(topic),
                         0, &member, &route) &&
            (route.session < 1000 || member->session != route.session))
            return false;
    }
    return constant == 2 && has_session(&set, 1) && has_session(&set, 2);
}

static void *read_until_stopped(void *arg)
{
    struct reading *reading = arg;
    struct route_reader reader;
    rcu_reader_start();
    route_reader_init(&reader, reading->router, 2);
    while (!atomic_load_explicit(reading->stop, memory_order_relaxed)) {
        for (int i = 0; i < 3; i++)
            reading->wrong += !read_is_right(&reader, "room/1/lamp");
        reading->wrong += !read_is_right(&reader, "room/2/lamp");
        reading->turns++;
        rcu_quiescent();
    }
    route_reader_deinit(&reader);
    rcu_reader_stop();
    return NULL;
}

/* Changes all there is to change around what the readers look at. */
static void write_changes(struct router *router)
{
    static const char *const around[] = {"room/1/lamp", "room/+/lamp", "room/#",   "#",
                                         "room/1",      "room/1/+",    "+/+/lamp", "room/2/lamp"};
    struct subscription *guests[GUESTS] = {NULL};
    struct subscription_options options = {.qos = 1};
    struct random random = {.state = 99};
    for (int i = 0; i < CHANGES; i++) {
        uint32_t n = random_below(&random, GUESTS);
        if (guests[n] == NULL) {
            struct bytes share = bytes_of_str(n % 4 == 0 ? "group" : "");
            guests[n] = router_subscribe(router, &(struct subscriber_is){.session = 1000 + n},
                                         bytes_of_str(around[n % 8]), share, &options);
        } else if (random_below(&random, 4) == 0) {
            router_change(router, guests[n], &options, SUBSCRIPTION_DURABLE);
        } else {
            router_unsubscribe(router, guests[n]);
            guests[n] = NULL;
        }
    }
    for (int n = 0; n < GUESTS; n++)
        if (guests[n] != NULL)
            router_unsubscribe(router, guests[n]);
}

/* A crowd comes and goes: at a filter, and as the children of a node. */
static void write_a_crowd(struct router *router)
{
    static struct subscription *crowd[CROWD];
    struct subscription_options options = {.qos = 1};
    for (int round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < CROWD; i++) {
            char filter[TOPIC_ROOM] = "room/+/lamp";
            if (i % 8 != 0)
                snprintf(filter, sizeof(filter), "room/%u/lamp", i + 10);
            crowd[i] =
                router_subscribe(router, &(struct subscriber_is){.session = 1000 + GUESTS + i},
                                 bytes_of_str(filter), bytes_of_str(""), &options);
        }
        for (uint32_t i = 0; i < CROWD; i++)
            router_unsubscribe(router, crowd[(i * 4999) % CROWD]);
    }
}

static void route_readers_find_who_is_there_while_others_come_and_go(void **state)
{
    struct router_fixture *f = *state;
    _Atomic bool stop = false;
    struct reading readings[READERS];
    pthread_t threads[READERS];
    subscribe(f, 1, "room/+/lamp");
    subscribe(f, 2, "room/#");
    uint32_t nodes = f->router.node_count;
    for (int i = 0; i < READERS; i++) {
        readings[i] = (struct reading){.router = &f->router, .stop = &stop};
        assert_int_equal(pthread_create(&threads[i], NULL, read_until_stopped, &readings[i]), 0);
    }
    rcu_sleep(); /* this thread writes and reads nothing */
    write_changes(&f->router);
    write_a_crowd(&f->router);
    atomic_store_explicit(&stop, true, memory_order_relaxed);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    rcu_wake();
    for (int i = 0; i < READERS; i++)
        assert_int_equal(readings[i].wrong, 0);
    assert_int_equal(f->router.node_count, nodes);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, one_worker, router_fixture_free)
#define RULE_OF_SEVERAL(rule)                                                                      \
    cmocka_unit_test_setup_teardown(rule, two_workers, router_fixture_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(route_set_of_a_topic_without_subscribers_is_empty),
        RULE(route_set_has_a_session_beside_itself_when_filters_overlap),
        RULE_OF_SEVERAL(route_set_is_grouped_by_worker_when_there_are_several),
        RULE(route_set_carries_what_was_asked_for),
        RULE(route_set_holds_thousands),
        RULE_OF_SEVERAL(route_set_of_very_many_has_overlapping_ones_beside_each_other),
        RULE(route_set_of_very_many_tells_sessions_of_one_slot_apart),
        RULE_OF_SEVERAL(route_set_of_very_many_is_grouped_by_worker),
        RULE(route_block_outlives_the_reader_s_next_walk),
        RULE(memo_answers_from_the_third_time_on),
        RULE(memo_gives_what_the_walk_gave),
        RULE(memo_does_not_remember_topics_that_come_once),
        RULE(memo_does_not_remember_very_many_routes),
        RULE(memo_remembers_that_nobody_subscribes),
        RULE(memo_ends_with_a_new_subscription),
        RULE(memo_ends_with_a_subscription_removed),
        RULE(memo_ends_with_a_share_removed),
        RULE(memo_ends_with_options_replaced),
        RULE(memo_ends_with_a_session_made_durable),
        RULE(memo_starts_again_after_a_change),
        RULE(memo_slot_is_of_the_topic_that_came_last),
        RULE_OF_SEVERAL(route_readers_find_who_is_there_while_others_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
