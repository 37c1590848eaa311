/* SPDX-License-Identifier: Apache-2.0 */
#include "router/trie.h"

#include "model/topic.h"
#include "router/router_fixture.h"

#include <stdio.h>

/* ---- the model: a list of filters and topic_matches() --------------------------------------- */

enum { MODEL_MAX = 512 };

struct model {
    struct random random;
    uint32_t count;
    session_ref next_session;
    struct model_entry {
        struct subscription *subscription;
        session_ref session;
        bool shared;
        char filter[TOPIC_ROOM];
    } entries[MODEL_MAX];
};

/* Every subscription is of a session of its own, every fourth is the only member of a share. */
static void model_subscribe(struct model *model, struct router_fixture *f)
{
    struct model_entry *entry = &model->entries[model->count++];
    char share[24] = "";
    entry->session = model->next_session++;
    entry->shared = random_below(&model->random, 4) == 0;
    random_filter(&model->random, entry->filter);
    if (entry->shared)
        snprintf(share, sizeof(share), "s%llu", (unsigned long long)entry->session);
    entry->subscription = join(f, entry->session, entry->filter, share);
}

static void model_unsubscribe(struct model *model, struct router_fixture *f)
{
    uint32_t which = random_below(&model->random, model->count);
    router_unsubscribe(&f->router, model->entries[which].subscription);
    model->entries[which] = model->entries[--model->count];
}

static bool in_shares(struct router_fixture *f, const struct route_set *set, session_ref session)
{
    struct subscription *member;
    struct route route;
    for (uint32_t i = 0; i < set->share_count; i++)
        if (share_choose(set->shares[i], f->router.share_choice, SHARE_ANYWHERE, 0,
                         bytes_of_str("a"), 0, &member, &route) &&
            route.session == session)
            return true;
    return false;
}

static void assert_topic_as_model(struct model *model, struct router_fixture *f, const char *topic)
{
    struct route_set set = find(f, topic);
    uint32_t ordinary = 0, shared = 0;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct model_entry *entry = &model->entries[i];
        bool matches = topic_matches(bytes_of_str(entry->filter), bytes_of_str(topic));
        bool found =
            entry->shared ? in_shares(f, &set, entry->session) : has_session(&set, entry->session);
        if (found != matches)
            print_error("topic '%s', filter '%s'\n", topic, entry->filter);
        assert_int_equal(found, matches);
        ordinary += matches && !entry->shared;
        shared += matches && entry->shared;
    }
    assert_int_equal(set.count, ordinary); /* nobody twice, nobody else */
    assert_int_equal(set.share_count, shared);
}

static struct model *model_new(uint64_t seed)
{
    struct model *model = calloc(1, sizeof(*model));
    assert_non_null(model);
    model->random.state = seed;
    model->next_session = 1;
    return model;
}

static void trie_finds_exactly_the_filters_that_match(void **state)
{
    struct router_fixture *f = *state;
    struct model *model = model_new(0x5EED);
    char topic[TOPIC_ROOM];
    while (model->count < MODEL_MAX)
        model_subscribe(model, f);
    for (int i = 0; i < 2000; i++) {
        random_topic(&model->random, topic);
        assert_topic_as_model(model, f, topic);
    }
    free(model);
}

static void trie_keeps_up_with_filters_that_come_and_go(void **state)
{
    struct router_fixture *f = *state;
    struct model *model = model_new(0xC0FFEE);
    char topic[TOPIC_ROOM];
    for (int step = 0; step < 8000; step++) {
        uint32_t wanted = step / 1000 % 2 == 0 ? MODEL_MAX : 4; /* fill, empty, fill, ... */
        bool add = model->count < wanted ? random_below(&model->random, 10) < 7
                                         : random_below(&model->random, 10) < 3;
        if (add && model->count < MODEL_MAX)
            model_subscribe(model, f);
        else if (model->count > 0)
            model_unsubscribe(model, f);
        random_topic(&model->random, topic);
        if (step % 16 == 0)
            assert_topic_as_model(model, f, topic);
        if (step % 512 == 0)
            grace_period();
    }
    free(model);
}

static void trie_has_no_nodes_when_the_last_subscription_is_gone(void **state)
{
    struct router_fixture *f = *state;
    struct model *model = model_new(42);
    while (model->count < MODEL_MAX)
        model_subscribe(model, f);
    assert_true(f->router.node_count > 0);
    while (model->count > 0)
        model_unsubscribe(model, f);
    assert_int_equal(f->router.node_count, 0);
    free(model);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static void trie_filters_with_a_common_start_share_its_nodes(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *deep = subscribe(f, 1, "a/b/c");
    assert_int_equal(f->router.node_count, 3);
    struct subscription *shallow = subscribe(f, 2, "a/b");
    assert_int_equal(f->router.node_count, 3);
    router_unsubscribe(&f->router, deep);
    assert_int_equal(f->router.node_count, 2);
    router_unsubscribe(&f->router, shallow);
    assert_int_equal(f->router.node_count, 0);
}

static void trie_node_stays_while_something_below_it_is_subscribed(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *shallow = subscribe(f, 1, "a");
    subscribe(f, 2, "a/+/#");
    router_unsubscribe(&f->router, shallow);
    struct route_set set = find(f, "a/b/c/d");
    assert_int_equal(set.count, 1);
    assert_int_equal(find(f, "a").count, 0);
}

static void trie_node_with_many_children_finds_each_of_those_left(void **state)
{
    enum { CHILDREN = 3000 };
    struct router_fixture *f = *state;
    static struct subscription *s[CHILDREN];
    char filter[TOPIC_ROOM];
    for (int i = 0; i < CHILDREN; i++) {
        snprintf(filter, sizeof(filter), "device/%d/up", i);
        s[i] = subscribe(f, (session_ref)i + 1, filter);
    }
    for (int i = 0; i < CHILDREN; i += 2)
        router_unsubscribe(&f->router, s[i]);
    for (int i = 0; i < CHILDREN; i++) {
        snprintf(filter, sizeof(filter), "device/%d/up", i);
        struct route_set set = find(f, filter);
        assert_int_equal(set.count, i % 2);
        assert_int_equal(has_session(&set, (session_ref)i + 1), i % 2);
    }
}

/* Each child leaves a tomb where it was: they must not fill the table. */
static void trie_children_may_come_and_go_for_ever(void **state)
{
    struct router_fixture *f = *state;
    char filter[TOPIC_ROOM];
    subscribe(f, 1, "room/always");
    for (int i = 0; i < 5000; i++) {
        snprintf(filter, sizeof(filter), "room/%d", i);
        struct subscription *s = subscribe(f, 2, filter);
        assert_int_equal(find(f, filter).count, 1);
        router_unsubscribe(&f->router, s);
        assert_int_equal(find(f, filter).count, 0);
        if (i % 512 == 0)
            grace_period();
    }
    assert_int_equal(find(f, "room/always").count, 1);
    assert_int_equal(f->router.node_count, 2);
}

static void trie_filter_of_many_levels_is_found(void **state)
{
    struct router_fixture *f = *state;
    char filter[401], topic[401];
    for (int i = 0; i < 200; i++) {
        memcpy(filter + 2 * i, i % 3 == 0 ? "+/" : "a/", 2);
        memcpy(topic + 2 * i, "a/", 2);
    }
    filter[399] = topic[399] = '\0';
    struct subscription *s = subscribe(f, 1, filter);
    assert_int_equal(f->router.node_count, 200);
    assert_int_equal(find(f, topic).count, 1);
    topic[398] = 'b';
    assert_int_equal(find(f, topic).count, 0);
    router_unsubscribe(&f->router, s);
    assert_int_equal(f->router.node_count, 0);
}

/* ---- wildcards by name, besides the model --------------------------------------------------- */

static void trie_multi_level_wildcard_includes_its_parent(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, 1, "sport/#");
    assert_int_equal(find(f, "sport").count, 1);
    assert_int_equal(find(f, "sport/").count, 1);
    assert_int_equal(find(f, "sports").count, 0);
}

static void trie_single_level_wildcard_takes_an_empty_level(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, 1, "/+");
    assert_int_equal(find(f, "/").count, 1);
    assert_int_equal(find(f, "/finance").count, 1);
    assert_int_equal(find(f, "finance").count, 0);
}

static void trie_leading_wildcard_does_not_see_dollar_topics(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, 1, "#");
    subscribe(f, 2, "+/uptime");
    join(f, 3, "#", "group");
    subscribe(f, 4, "$SYS/#");
    subscribe(f, 5, "$SYS/+");
    struct route_set set = find(f, "$SYS/uptime");
    assert_int_equal(set.count, 2);
    assert_true(has_session(&set, 4) && has_session(&set, 5));
    assert_int_equal(set.share_count, 0);
}

static void trie_dollar_behind_the_first_level_is_nothing_special(void **state)
{
    struct router_fixture *f = *state;
    subscribe(f, 1, "a/+");
    subscribe(f, 2, "#");
    assert_int_equal(find(f, "a/$b").count, 2);
}

/* ---- subscriber lists ----------------------------------------------------------------------- */

enum { CROWD = 100 };

static void trie_list_with_holes_gives_everyone_who_is_left_once(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *s[CROWD];
    for (uint32_t i = 0; i < CROWD; i++)
        s[i] = subscribe(f, i + 1, "t");
    for (uint32_t i = 0; i < CROWD; i += 3)
        router_unsubscribe(&f->router, s[i]);
    struct route_set set = find(f, "t");
    assert_int_equal(set.count, CROWD - (CROWD + 2) / 3);
    for (uint32_t i = 0; i < CROWD; i++)
        assert_int_equal(has_session(&set, i + 1), i % 3 != 0);
}

static void trie_list_that_empties_gives_its_room_back(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *s[CROWD];
    for (uint32_t i = 0; i < CROWD; i++)
        s[i] = subscribe(f, i + 1, "t");
    for (uint32_t i = 0; i < CROWD - 2; i++)
        router_unsubscribe(&f->router, s[i]);
    assert_true(atomic_load(&s[CROWD - 1]->node->subscribers)->room <= 16);
    assert_int_equal(find(f, "t").count, 2);
    router_unsubscribe(&f->router, s[CROWD - 1]); /* the places are still right after the move */
    router_unsubscribe(&f->router, s[CROWD - 2]);
    assert_int_equal(f->router.node_count, 0);
}

static void trie_list_whose_members_change_does_not_grow(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *stays = subscribe(f, 1, "t");
    for (uint32_t i = 0; i < 1000; i++)
        router_unsubscribe(&f->router, subscribe(f, i + 2, "t"));
    assert_true(atomic_load(&stays->node->subscribers)->room <= 8);
    assert_int_equal(find(f, "t").count, 1);
}

/* ---- options -------------------------------------------------------------------------------- */

static void trie_replaced_options_are_seen_by_readers(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *s = subscribe(f, 1, "t");
    router_change(&f->router, s,
                  &(struct subscription_options){
                      .qos = 2, .identifier = 77, .no_local = true, .retain_as_published = true},
                  SUBSCRIPTION_DURABLE);
    struct route_set set = find(f, "t");
    assert_int_equal(set.count, 1);
    assert_int_equal(set.routes[0].qos, 2);
    assert_int_equal(set.routes[0].identifier, 77);
    assert_int_equal(set.routes[0].flags, SUBSCRIPTION_DURABLE | SUBSCRIPTION_NO_LOCAL |
                                              SUBSCRIPTION_RETAIN_AS_PUBLISHED);
}

static void trie_replaced_options_forget_the_old_ones(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *s = subscribe_with(
        f, 1, "t", "",
        &(struct subscription_options){
            .qos = 2, .identifier = 77, .no_local = true, .retain_as_published = true});
    router_change(&f->router, s, &(struct subscription_options){0}, 0);
    struct route_set set = find(f, "t");
    assert_int_equal(set.routes[0].qos, 0);
    assert_int_equal(set.routes[0].identifier, 0);
    assert_int_equal(set.routes[0].flags, 0);
}

static void trie_durable_is_set_and_cleared_beside_the_other_flags(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *s =
        subscribe_with(f, 1, "t", "", &(struct subscription_options){.no_local = true});
    router_set_durable(&f->router, s, true);
    assert_int_equal(find(f, "t").routes[0].flags, SUBSCRIPTION_DURABLE | SUBSCRIPTION_NO_LOCAL);
    router_set_durable(&f->router, s, false);
    assert_int_equal(find(f, "t").routes[0].flags, SUBSCRIPTION_NO_LOCAL);
}

/* ---- what a subscription says of itself ----------------------------------------------------- */

static const char *const filters[] = {"a",    "/",   "//",  "a/b/c", "a/+/#", "#",
                                      "+",    "a/",  "/a",  "+/+/+", "a//b",  "ab/c",
                                      "$SYS", "b/c", "a/b", "/a/b/c"};
enum { FILTERS = sizeof(filters) / sizeof(*filters) };

static void subscription_is_of_its_own_filter_only(void **state)
{
    struct router_fixture *f = *state;
    for (int i = 0; i < FILTERS; i++) {
        struct subscription *s = subscribe(f, 1, filters[i]);
        for (int k = 0; k < FILTERS; k++)
            assert_int_equal(subscription_is(s, bytes_of_str(filters[k]), bytes_of_str("")),
                             i == k);
    }
}

static void subscription_is_of_its_own_share_only(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *shared = join(f, 1, "a/b", "group");
    struct subscription *ordinary = subscribe(f, 1, "a/b");
    struct bytes filter = bytes_of_str("a/b");
    assert_true(subscription_is(shared, filter, bytes_of_str("group")));
    assert_false(subscription_is(shared, filter, bytes_of_str("grou")));
    assert_false(subscription_is(shared, filter, bytes_of_str("")));
    assert_false(subscription_is(ordinary, filter, bytes_of_str("group")));
}

static void subscription_filter_gives_what_was_subscribed(void **state)
{
    struct router_fixture *f = *state;
    char text[TOPIC_ROOM], wanted[TOPIC_ROOM];
    for (int i = 0; i < FILTERS; i++) {
        size_t len = subscription_filter(subscribe(f, 1, filters[i]), text, sizeof(text));
        assert_int_equal(len, strlen(filters[i]));
        assert_memory_equal(text, filters[i], len);
        snprintf(wanted, sizeof(wanted), "$share/group/%s", filters[i]);
        len = subscription_filter(join(f, 2, filters[i], "group"), text, sizeof(text));
        assert_int_equal(len, strlen(wanted));
        assert_memory_equal(text, wanted, len);
    }
}

static void subscription_filter_writes_nothing_into_too_little_room(void **state)
{
    struct router_fixture *f = *state;
    char text[] = "????????????????";
    assert_int_equal(subscription_filter(join(f, 1, "a/b", "g"), text, 11), 12);
    assert_string_equal(text, "????????????????");
}

/* ---- shares at nodes ------------------------------------------------------------------------ */

static void trie_shares_of_one_filter_are_told_apart_by_name(void **state)
{
    struct router_fixture *f = *state;
    join(f, 1, "t", "red");
    join(f, 2, "t", "red");
    join(f, 3, "t", "blue");
    subscribe(f, 4, "t");
    struct route_set set = find(f, "t");
    assert_int_equal(set.share_count, 2);
    assert_int_equal(set.count, 1);
}

static void trie_share_goes_with_its_last_member(void **state)
{
    struct router_fixture *f = *state;
    struct subscription *red[] = {join(f, 1, "t", "red"), join(f, 2, "t", "red")};
    struct subscription *blue = join(f, 3, "t", "blue");
    router_unsubscribe(&f->router, red[0]);
    assert_int_equal(find(f, "t").share_count, 2);
    router_unsubscribe(&f->router, red[1]);
    assert_int_equal(find(f, "t").share_count, 1);
    router_unsubscribe(&f->router, blue);
    assert_int_equal(f->router.node_count, 0);
}

/* ---- very many ------------------------------------------------------------------------------ */

enum { CHILDREN = 40000, STAY = 100 };

static const char *child_filter(uint32_t number, char out[TOPIC_ROOM])
{
    snprintf(out, TOPIC_ROOM, "device/%08u/state", number);
    return out;
}

static void assert_children(struct router_fixture *f, uint32_t first, uint32_t step)
{
    char topic[TOPIC_ROOM];
    for (uint32_t i = 0; i < CHILDREN; i++) {
        struct route_set set = find(f, child_filter(i, topic));
        bool in = i >= first && i % step == 0;
        assert_int_equal(set.count, in);
        if (in)
            assert_int_equal(set.routes[0].session, i + 1);
    }
}

/* Slots of the largest table below, and of all. */
static size_t slots_below(struct child_table *table, size_t *all)
{
    size_t largest = table->mask == 0 ? 0 : table->mask + 1U;
    *all += child_table_slots(table);
    for (uint32_t i = 0; table->mask == 0 && i < CHILD_WAYS; i++) {
        size_t below = slots_below(atomic_load(&table->slots[i].table), all);
        largest = below > largest ? below : largest;
    }
    return largest;
}

static void trie_finds_each_of_very_many_children_in_tables_of_bounded_size(void **state)
{
    static struct subscription *subscriptions[CHILDREN];
    struct router_fixture *f = *state;
    char filter[TOPIC_ROOM];
    size_t all = 0, left = 0;
    for (uint32_t i = 0; i < CHILDREN; i++)
        subscriptions[i] = subscribe(f, i + 1, child_filter(i, filter));
    assert_children(f, 0, 1);
    struct trie_node *device = trie_child(f->router.root, bytes_of_str("device"));
    assert_true(slots_below(atomic_load(&device->children), &all) <= CHILD_TABLE_MAX);
    assert_true(all < CHILDREN * 8);
    for (uint32_t i = 0; i < CHILDREN; i++)
        if (i % (CHILDREN / STAY) != 0)
            router_unsubscribe(&f->router, subscriptions[i]);
    assert_children(f, 0, CHILDREN / STAY);
    slots_below(atomic_load(&device->children), &left);
    assert_true(left <= 2048);
    for (uint32_t i = 0; i < CHILDREN; i += CHILDREN / STAY)
        router_unsubscribe(&f->router, subscriptions[i]);
    assert_int_equal(f->router.node_count, 0);
}

static void trie_takes_children_again_when_most_have_left(void **state)
{
    static struct subscription *subscriptions[CHILDREN];
    struct router_fixture *f = *state;
    char filter[TOPIC_ROOM];
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < CHILDREN; i++)
            subscriptions[i] = subscribe(f, i + 1, child_filter(i, filter));
        for (uint32_t i = 0; i < CHILDREN / 2; i++)
            router_unsubscribe(&f->router, subscriptions[i]);
        assert_children(f, CHILDREN / 2, 1);
        for (uint32_t i = CHILDREN / 2; i < CHILDREN; i++)
            router_unsubscribe(&f->router, subscriptions[i]);
        grace_period();
    }
    assert_int_equal(f->router.node_count, 0);
}

static uint32_t pieces_of(struct router_fixture *f, const char *level, uint32_t *room)
{
    struct trie_node *node = trie_child(f->router.root, bytes_of_str(level));
    struct subscriber_list *piece = atomic_load(&node->subscribers);
    uint32_t count = 0;
    for (*room = 0; piece != NULL; piece = atomic_load(&piece->next), count++) {
        assert_true(piece->room <= SUBSCRIBERS_MAX);
        *room += piece->room;
    }
    return count;
}

static void subscribers_of_one_filter_are_pieces_that_go_with_them(void **state)
{
    static struct subscription *subscriptions[CHILDREN];
    struct router_fixture *f = *state;
    uint32_t room;
    for (uint32_t i = 0; i < CHILDREN; i++)
        subscriptions[i] = subscribe(f, i + 1, "t");
    assert_true(pieces_of(f, "t", &room) >= CHILDREN / SUBSCRIBERS_MAX);
    assert_true(room <= CHILDREN * 2);
    assert_int_equal(find(f, "t").count, CHILDREN);
    for (uint32_t i = 0; i < CHILDREN; i++)
        if (i % (CHILDREN / STAY) != 0)
            router_unsubscribe(&f->router, subscriptions[i]);
    pieces_of(f, "t", &room);
    assert_true(room <= STAY * 8);
    struct route_set set = find(f, "t");
    assert_int_equal(set.count, STAY);
    for (uint32_t i = 0; i < CHILDREN; i += CHILDREN / STAY)
        assert_true(has_session(&set, i + 1));
    for (uint32_t i = 0; i < CHILDREN; i += CHILDREN / STAY)
        router_unsubscribe(&f->router, subscriptions[i]);
    assert_int_equal(f->router.node_count, 0);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, one_worker, router_fixture_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(trie_finds_exactly_the_filters_that_match),
        RULE(trie_keeps_up_with_filters_that_come_and_go),
        RULE(trie_finds_each_of_very_many_children_in_tables_of_bounded_size),
        RULE(trie_takes_children_again_when_most_have_left),
        RULE(subscribers_of_one_filter_are_pieces_that_go_with_them),
        RULE(trie_has_no_nodes_when_the_last_subscription_is_gone),
        RULE(trie_filters_with_a_common_start_share_its_nodes),
        RULE(trie_node_stays_while_something_below_it_is_subscribed),
        RULE(trie_node_with_many_children_finds_each_of_those_left),
        RULE(trie_children_may_come_and_go_for_ever),
        RULE(trie_filter_of_many_levels_is_found),
        RULE(trie_multi_level_wildcard_includes_its_parent),
        RULE(trie_single_level_wildcard_takes_an_empty_level),
        RULE(trie_leading_wildcard_does_not_see_dollar_topics),
        RULE(trie_dollar_behind_the_first_level_is_nothing_special),
        RULE(trie_list_with_holes_gives_everyone_who_is_left_once),
        RULE(trie_list_that_empties_gives_its_room_back),
        RULE(trie_list_whose_members_change_does_not_grow),
        RULE(trie_replaced_options_are_seen_by_readers),
        RULE(trie_replaced_options_forget_the_old_ones),
        RULE(trie_durable_is_set_and_cleared_beside_the_other_flags),
        RULE(subscription_is_of_its_own_filter_only),
        RULE(subscription_is_of_its_own_share_only),
        RULE(subscription_filter_gives_what_was_subscribed),
        RULE(subscription_filter_writes_nothing_into_too_little_room),
        RULE(trie_shares_of_one_filter_are_told_apart_by_name),
        RULE(trie_share_goes_with_its_last_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
