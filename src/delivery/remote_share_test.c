/* SPDX-License-Identifier: Apache-2.0 */
/* Shares that have members on another node. */
#include "delivery/other_node_fixture.h"

/* The other node has members of "team" on "g", whose sessions may be stored; so has this one. */
static struct subscription *join_there(struct node *n, uint8_t flags)
{
    static const struct subscription_options options = {.qos = 2};
    return router_subscribe(&n->f->router, there_in(NO_SHARD, flags), bytes_of_str("g"),
                            bytes_of_str("team"), &options);
}

/* So often that each member is chosen at some time. */
static void publish_to_team(struct node *n, uint8_t qos)
{
    for (int i = 0; i < 4; i++)
        publish(n->f, 0, "g", "x", qos);
    node_settle(n);
}

/* From a stored session: by its outbox. */
static void publish_entry_to_team(struct node *n, struct client *publisher)
{
    publish_as(n->f, 0,
               &(struct publication){.topic = bytes_of_str("g"),
                                     .payload = bytes_of_str("x"),
                                     .qos = 2,
                                     .received_ms = NOW_MS,
                                     .publisher = publisher->session->ref});
    node_settle(n);
}

static void message_of_a_share_goes_to_another_member_when_a_node_cannot_be_reached(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, SUBSCRIPTION_DURABLE);
    other.there = false;
    for (uint8_t qos = 0; qos <= 2; qos++) {
        publish_to_team(n, qos);
        assert_int_equal(here->count, 4 * (qos + 1));
    }
    for (uint32_t i = 0; i < n->f->published_count; i++)
        assert_int_equal(n->f->published[i].rc, RC_OK);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void message_of_qos_1_goes_to_another_member_when_a_node_is_lost_before_it_answers(
    void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, 0);
    other.answer = RC_CLOSED;
    publish_to_team(n, 1);
    assert_int_equal(here->count, 4);
    assert_true(other.count > 0);
    for (uint32_t i = 0; i < n->f->published_count; i++)
        assert_int_equal(n->f->published[i].rc, RC_OK);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void message_goes_to_another_member_when_the_last_one_there_has_left(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, 0);
    other.answer = RC_NOT_FOUND;
    for (uint8_t qos = 1; qos <= 2; qos++) {
        publish_to_team(n, qos);
        assert_int_equal(here->count, 4 * qos);
    }
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void share_of_another_nodes_message_may_have_no_member_left(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), 0);
    subscribe_as(here, "g", "team", 1);
    meet(n);
    struct publication p = {
        .topic = bytes_of_str("g"), .payload = bytes_of_str("x"), .qos = 1, .received_ms = NOW_MS};
    uint64_t share = bytes_hash(bytes_of_str("$share/team/g"));
    struct delivery_hub *hub = hub_of(here->session);
    struct outbox_tag none = {0};
    assert_int_equal(delivery_publish_remote(hub, &p, share, NO_SHARD, none, 0).rc, RC_OK);
    assert_int_equal(delivery_publish_remote(hub, &p, share + 1, NO_SHARD, none, 0).rc,
                     RC_NOT_FOUND);
    node_settle(n);
    assert_got(here, "x");
    part(n);
}

static void member_that_ends_leaves_its_messages_to_another_node(void **state)
{
    struct node *n = *state;
    struct client *clean = come(n, id_of(0), 0), *kept = come(n, id_of(1), LONG_S);
    subscribe_as(clean, "g", "team", 1);
    subscribe_as(kept, "h", "team", 1);
    publish(n->f, 0, "g", "clean", 1);
    publish(n->f, 0, "h", "kept", 1);
    node_settle(n);
    meet(n);
    static const struct subscription_options options = {.qos = 2};
    struct subscription *there[] = {
        join_there(n, 0), router_subscribe(&n->f->router, there_in(NO_SHARD, 0), bytes_of_str("h"),
                                           bytes_of_str("team"), &options)};
    leave(clean);
    session_end(kept->session);
    node_settle(n);
    assert_int_equal(other.count, 2);
    assert_string_equal(other.sent[0].payload, "clean");
    assert_string_equal(other.sent[1].payload, "kept");
    for (int i = 0; i < 2; i++)
        router_unsubscribe(&n->f->router, there[i]);
    part(n);
}

/* Its queue is emptied at once; the node that gets it may be lost before it answers. */
static void stored_message_of_a_member_that_leaves_is_sent_until_another_node_has_it(void **state)
{
    struct node *n = *state;
    struct client *kept = come(n, id_of(1), LONG_S), *publisher = come(n, id_of(0), LONG_S);
    subscribe_as(kept, "g", "team", 1);
    publish(n->f, 0, "g", "one", 1);
    node_settle(n);
    publish_entry_to_team(n, publisher);
    assert_int_equal(kept->count, 2); /* not acknowledged */
    meet(n);
    static const struct subscription_options options = {.qos = 2};
    struct subscription *there =
        router_subscribe(&n->f->router, there_in(1, SUBSCRIPTION_DURABLE), bytes_of_str("g"),
                         bytes_of_str("team"), &options);
    node_settle(n);
    other.answer = RC_CLOSED;
    other.is_home = true;
    leave(kept);
    node_settle(n);
    size_t tries = other.count;
    assert_true(tries >= 1); /* the second waits behind the first */
    other.answer = RC_OK;
    later(n);
    assert_int_equal(other.count, tries + 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(other.sent[tries + i].outbox.number != 0);
        assert_true(other.sent[tries + i].outbox.replayed);
    }
    later(n);
    assert_int_equal(other.count, tries + 2);
    other.is_home = false;
    kept = come(n, id_of(1), LONG_S);
    node_settle(n);
    assert_int_equal(kept->count, 0); /* nor is it here any more */
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void publisher_waits_for_the_stored_member_that_gets_it_instead(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(0), LONG_S);
    subscribe_as(here, "g", "team", 1);
    node_settle(n);
    meet(n);
    struct subscription *there = join_there(n, 0);
    other.answer = RC_CLOSED;
    for (int i = 0; i < 2; i++) {
        struct publish_outcome outcome = publish(n->f, 0, "g", "x", 1);
        assert_non_null(outcome.ticket);
        assert_int_equal(n->f->published_count, (uint32_t)i);
        node_settle(n);
        assert_int_equal(n->f->published_count, (uint32_t)i + 1);
        assert_int_equal(n->f->published[i].rc, RC_OK);
    }
    assert_int_equal(here->count, 2);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void entry_goes_to_another_member_when_a_node_cannot_be_reached(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S), *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, SUBSCRIPTION_DURABLE);
    other.there = false;
    for (int i = 0; i < 4; i++)
        publish_entry_to_team(n, publisher);
    for (int i = 0; i < 8; i++)
        later(n);
    assert_int_equal(here->count, 4);
    assert_int_equal(other.count, 0);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void message_of_qos_2_that_may_have_been_sent_goes_to_no_other_member(void **state)
{
    struct node *n = *state;
    struct client *here = come(n, id_of(1), 0);
    subscribe_as(here, "g", "team", 2);
    meet(n);
    struct subscription *there = join_there(n, 0);
    other.answer = RC_CLOSED;
    publish_to_team(n, 2);
    assert_int_equal(here->count + (uint32_t)other.count, 4);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

/* That node remembers whether it has got it. Here it has to be sent again for another share's sake.
 */
static void entry_that_may_have_been_sent_to_a_clean_member_goes_to_that_node_again(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S),
                  *here[] = {come(n, "one", 0), come(n, "two", 0), come(n, "three", 0)};
    static const struct subscription_options options = {.qos = 2};
    meet(n);
    struct subscription *there = join_there(n, 0);
    struct subscription *stored =
        router_subscribe(&n->f->router, there_in(1, SUBSCRIPTION_DURABLE), bytes_of_str("g"),
                         bytes_of_str("other"), &options);
    uint64_t team = bytes_hash(bytes_of_str("$share/team/g")), number = 0;
    uint32_t times = 0;
    other.is_home = true;
    other.answer = RC_CLOSED;
    publish_entry_to_team(n, publisher);
    for (int i = 0; i < 3; i++)
        subscribe_as(here[i], "g", "team", 2);
    for (int i = 0; i < 4; i++)
        later(n);
    other.answer = RC_OK;
    for (int i = 0; i < 4; i++)
        later(n);
    for (uint32_t i = 0; i < (uint32_t)other.count; i++) {
        if (other.sent[i].share != team)
            continue;
        assert_int_equal(other.sent[i].shard, NO_SHARD);
        assert_true(number == 0 || other.sent[i].outbox.number == number);
        number = other.sent[i].outbox.number;
        times++;
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(here[i]->count, 0);
    assert_true(times >= 2);
    router_unsubscribe(&n->f->router, stored);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

/* It is stored before, or the next time yet another one would be chosen. */
static void member_that_gets_an_entry_instead_of_one_that_has_gone_is_the_only_one(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S), *members[4];
    static const char *const names[] = {"one", "two", "three", "four"};
    static const struct subscription_options options = {.qos = 2};
    meet(n);
    struct subscription *there = join_there(n, 0);
    struct subscription *stored =
        router_subscribe(&n->f->router, there_in(1, SUBSCRIPTION_DURABLE), bytes_of_str("g"),
                         bytes_of_str("other"), &options);
    other.is_home = true;
    other.answer = RC_CLOSED;
    other.remote.headless = 1; /* it is not sent before the member has gone */
    struct publication p = {.topic = bytes_of_str("g"),
                            .payload = bytes_of_str("x"),
                            .qos = 2,
                            .received_ms = NOW_MS,
                            .publisher = publisher->session->ref};
    delivery_publish(hub_of(publisher->session), &p, NULL, NULL);
    node_settle(n);
    router_unsubscribe(&n->f->router, there);
    for (uint32_t i = 0; i < 4; i++) {
        members[i] = come(n, names[i], i == 3 ? 0 : LONG_S);
        subscribe_as(members[i], "g", "team", 2);
    }
    other.remote.headless = 0;
    other.is_home = false;
    other.there = false; /* the other share waits, and so the entry is tried again and again */
    for (int i = 0; i < 12; i++)
        later(n);
    uint32_t count = 0;
    for (uint32_t i = 0; i < 4; i++)
        count += members[i]->count;
    assert_int_equal(count, 1);
    router_unsubscribe(&n->f->router, stored);
    part(n);
}

static void clean_member_gets_another_nodes_entry_once(void **state)
{
    struct node *n = *state;
    struct client *clean = come(n, id_of(0), 0), *kept = come(n, id_of(1), LONG_S);
    subscribe_as(clean, "g", "team", 2);
    subscribe_as(kept, "g", "team", 2);
    meet(n);
    struct publication p = {
        .topic = bytes_of_str("g"), .payload = bytes_of_str("x"), .qos = 2, .received_ms = NOW_MS};
    uint64_t share = bytes_hash(bytes_of_str("$share/team/g"));
    struct outbox_tag tag = {.number = 5, .low = 1, .shard = 3, .replayed = true};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(
            delivery_publish_remote(hub_of(clean->session), &p, share, NO_SHARD, tag, 0).rc, RC_OK);
        node_settle(n);
    }
    assert_int_equal(clean->count, 1);
    tag.number++;
    delivery_publish_remote(hub_of(clean->session), &p, share, NO_SHARD, tag, 0);
    node_settle(n);
    assert_int_equal(clean->count, 2);
    struct delivery_hub *hub = hub_of(clean->session);
    leave(clean);
    assert_int_equal(delivery_publish_remote(hub, &p, share, NO_SHARD, tag, 0).rc, RC_OK);
    tag.number++;
    assert_int_equal(delivery_publish_remote(hub, &p, share, NO_SHARD, tag, 0).rc, RC_NOT_FOUND);
    node_settle(n);
    assert_int_equal(kept->count, 0);
    part(n);
}

/* Nobody else here gets it: the entry's home chooses, and stores whom. */
static void entry_for_a_clean_member_that_has_just_gone_is_sent_back(void **state)
{
    struct node *n = *state;
    struct client *clean = come(n, id_of(0), 0), *kept = come(n, id_of(1), LONG_S);
    subscribe_as(clean, "g", "team", 2);
    subscribe_as(kept, "g", "team", 2);
    meet(n);
    struct publication p = {
        .topic = bytes_of_str("g"), .payload = bytes_of_str("x"), .qos = 2, .received_ms = NOW_MS};
    uint64_t share = bytes_hash(bytes_of_str("$share/team/g"));
    struct outbox_tag tag = {.number = 5, .low = 1, .shard = 3, .replayed = true};
    struct delivery_hub *hub = hub_of(kept->session);
    struct publish_outcome outcome = delivery_publish_remote(hub, &p, share, NO_SHARD, tag, 0);
    assert_non_null(outcome.ticket);
    outcome.ticket->owner = 1;
    uint32_t answered = n->f->published_count;
    leave(clean);
    node_settle(n);
    assert_int_equal(n->f->published_count, answered + 1);
    assert_int_equal(n->f->published[answered].rc, RC_NOT_FOUND);
    assert_int_equal(kept->count, 0);
    struct client *next = come(n, id_of(0), 0);
    subscribe_as(next, "g", "team", 2);
    delivery_publish_remote(hub, &p, share, NO_SHARD, tag, 0);
    node_settle(n);
    assert_int_equal(next->count, 1);
    part(n);
}

static void publication_waits_while_nobody_of_a_share_can_be_reached(void **state)
{
    struct node *n = *state;
    meet(n);
    struct subscription *there = join_there(n, SUBSCRIPTION_DURABLE);
    other.there = false;
    assert_non_null(publish(n->f, 0, "g", "x", 1).ticket);
    even_later(n);
    other.there = true;
    other.answer = RC_CLOSED;
    even_later(n);
    assert_int_equal(n->f->published_count, 0);
    other.answer = RC_OK;
    even_later(n);
    assert_int_equal(n->f->published_count, 1);
    assert_int_equal(n->f->published[0].rc, RC_OK);
    other.there = false;
    router_unsubscribe(&n->f->router, there);
    there = join_there(n, 0); /* its sessions have ended with it */
    assert_int_equal(publish(n->f, 0, "g", "x", 1).rc, RC_OK);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

/* ---- members that are known by their shards -------------------------------------------------- */

enum { THERE = 3 }; /* a shard */

static struct subscription *join_there_in(struct node *n, uint16_t shard)
{
    static const struct subscription_options options = {.qos = 2};
    return router_subscribe(&n->f->router, there_in(shard, SUBSCRIPTION_DURABLE), bytes_of_str("g"),
                            bytes_of_str("team"), &options);
}

static void entry_goes_to_the_shard_that_was_chosen_until_that_has_it(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.is_home = true;
    struct subscription *there = join_there_in(n, THERE);
    other.answer = RC_CLOSED; /* it may have it */
    publish_entry_to_team(n, publisher);
    assert_int_equal(other.count, 1);
    struct client *here = come(n, id_of(1), LONG_S);
    subscribe_as(here, "g", "team", 2);
    router_unsubscribe(&n->f->router, there); /* as its node is away */
    later(n);
    other.is_home = false;
    other.nobody_is_home = true;
    later(n);
    assert_int_equal(other.count, 2);
    assert_int_equal(here->count, 0);
    other.is_home = true;
    other.nobody_is_home = false;
    other.answer = RC_OK;
    later(n);
    later(n);
    assert_int_equal(other.count, 3);
    for (int i = 0; i < other.count; i++) {
        assert_int_equal(other.sent[i].shard, THERE);
        assert_int_equal(other.sent[i].share, bytes_hash(bytes_of_str("$share/team/g")));
        assert_int_equal(other.sent[i].outbox.number, other.sent[0].outbox.number);
    }
    assert_int_equal(here->count, 0);
    part(n);
}

static void entry_goes_to_the_shard_that_was_chosen_after_a_restart(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    other.is_home = true;
    struct subscription *there = join_there_in(n, THERE);
    other.answer = RC_CLOSED;
    publish_entry_to_team(n, publisher);
    router_unsubscribe(&n->f->router, there);
    part(n);
    node_crash(n);
    node_open(n);
    meet(n);
    other.is_home = true;
    there = join_there_in(n, THERE + 1);
    node_load(n);
    later(n);
    assert_int_equal(other.count, 1);
    assert_int_equal(other.sent[0].shard, THERE);
    assert_true(other.sent[0].outbox.replayed);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

/* One came from another node. */
static enum rc arrive(struct node *n, uint16_t shard, uint64_t number)
{
    struct publication p = {
        .topic = bytes_of_str("g"), .payload = bytes_of_str("x"), .qos = 2, .received_ms = NOW_MS};
    struct outbox_tag tag = {.number = number, .shard = 1, .replayed = true};
    uint64_t share = bytes_hash(bytes_of_str("$share/team/g"));
    struct publish_outcome outcome =
        delivery_publish_remote(&n->f->workers[0].hub, &p, share, shard, tag, 0);
    if (outcome.ticket != NULL)
        outcome.ticket->owner = 0;
    node_settle(n);
    return outcome.rc;
}

static void entry_for_a_shard_comes_to_one_of_its_members_once(void **state)
{
    struct node *n = *state;
    struct client *one = come(n, id_of(0), LONG_S), *two = come(n, id_of(1), LONG_S);
    subscribe_as(one, "g", "team", 2);
    subscribe_as(two, "g", "team", 2);
    meet(n);
    uint16_t shard = (uint16_t)two->session->store->shard;
    for (int i = 0; i < 4; i++)
        assert_int_equal(arrive(n, shard, 7), RC_OK);
    assert_int_equal(one->count, 0);
    assert_int_equal(two->count, 1);
    arrive(n, shard, 9);
    assert_int_equal(one->count, 0);
    assert_int_equal(two->count, 2);
    part(n);
}

static void entry_for_a_shard_whose_member_has_gone_goes_to_another(void **state)
{
    struct node *n = *state;
    struct client *one = come(n, id_of(0), LONG_S);
    subscribe_as(one, "g", "team", 2);
    meet(n);
    arrive(n, (uint16_t)(one->session->store->shard + 1), 7);
    assert_int_equal(one->count, 1);
    part(n);
}

static void entry_for_a_shard_that_is_not_here_is_sent_back(void **state)
{
    struct node *n = *state;
    struct client *one = come(n, id_of(0), LONG_S);
    subscribe_as(one, "g", "team", 2);
    meet(n);
    other.is_home = true;
    assert_int_equal(arrive(n, (uint16_t)one->session->store->shard, 7), RC_CLOSED);
    assert_int_equal(one->count, 0);
    part(n);
}

/* Its shard has moved while the entry was being stored. */
static void entry_for_a_member_that_has_moved_on_the_way_goes_to_its_shard(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S), *gone = come(n, id_of(1), LONG_S);
    uint32_t shard = gone->session->store->shard;
    subscribe_as(gone, "g", "team", 2);
    meet(n);
    struct publication p = {.topic = bytes_of_str("g"),
                            .payload = bytes_of_str("x"),
                            .qos = 2,
                            .received_ms = NOW_MS,
                            .publisher = publisher->session->ref};
    publish_as(n->f, 0, &p);
    session_end(gone->session);
    struct client *left = come(n, "left", LONG_S);
    subscribe_as(left, "g", "team", 2);
    other.is_home = true;
    node_settle(n);
    struct subscription *there = join_there_in(n, (uint16_t)shard);
    later(n);
    assert_int_equal(left->count, 0);
    assert_int_equal(other.count, 1);
    assert_int_equal(other.sent[0].shard, shard);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

static void unloaded(void *arg)
{
    (*(uint32_t *)arg)++;
}

/* The group is lost, and comes back to this node. */
static void lose_and_load(struct node *n)
{
    struct shard_group all = {0, 1};
    uint32_t done = 0;
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        delivery_unload(&n->f->workers[worker].hub, all, unloaded, &done);
    node_settle(n);
    assert_int_equal(done, WORKERS);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        assert_int_equal(delivery_restore(&n->f->workers[worker].hub, store_engine(n->store), all,
                                          RESTORE_ALL, &n->counts),
                         RC_OK);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        assert_int_equal(delivery_replay(&n->f->workers[worker].hub, store_engine(n->store), all),
                         RC_OK);
}

static void entries_that_wait_are_one_each_when_their_shard_was_lost_and_came_back(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S), *members[STORES];
    meet(n);
    n->f->router.share_choice = CHOOSE_RANDOM;
    struct subscription *there = join_there(n, 0);
    other.is_home = true;
    other.remote.headless = 1;
    for (int i = 0; i < 8; i++)
        publish_entry_to_team(n, publisher);
    router_unsubscribe(&n->f->router, there);
    other.is_home = false;
    lose_and_load(n);
    for (uint32_t i = 0; i < STORES; i++) { /* of one shard each */
        members[i] = come(n, id_of(i), LONG_S);
        subscribe_as(members[i], "g", "team", 2);
    }
    other.remote.headless = 0;
    for (int i = 0; i < 20; i++)
        later(n);
    assert_int_equal(members[0]->count + members[1]->count, 8);
    part(n);
}

static void entry_that_is_under_way_is_one_when_its_shard_was_lost_and_came_back(void **state)
{
    struct node *n = *state;
    struct client *publisher = come(n, id_of(0), LONG_S);
    meet(n);
    struct subscription *there = join_there(n, SUBSCRIPTION_DURABLE);
    other.hangs = true;
    publish_entry_to_team(n, publisher);
    assert_int_equal(other.count, 1);
    lose_and_load(n);
    node_settle(n);
    assert_int_equal(other.count, 2); /* by the one that was read again */
    ticket_answered(other.hanging[0], RC_CLOSED);
    other.hangs = false;
    for (int i = 0; i < 4; i++)
        later(n);
    assert_int_equal(other.count, 2);
    ticket_answered(other.hanging[1], RC_CLOSED);
    later(n);
    assert_int_equal(other.count, 3);
    for (int i = 0; i < 4; i++)
        later(n);
    assert_int_equal(other.count, 3);
    router_unsubscribe(&n->f->router, there);
    part(n);
}

/* It came there once, and is sent again for another share's sake. */
static void entry_for_a_shard_without_a_member_goes_to_the_same_one_each_time(void **state)
{
    struct node *n = *state;
    struct client *members[4];
    char name[16];
    uint32_t met = 0, shard = 1;
    meet(n);
    for (uint32_t i = 0; met < 4; i++) {
        snprintf(name, sizeof(name), "client%u", i);
        if (client_id_hash(bytes_of_str(name)) % STORES == shard)
            continue;
        members[met] = come(n, name, LONG_S);
        subscribe_as(members[met++], "g", "team", 2);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(arrive(n, (uint16_t)shard, 7), RC_OK);
    uint32_t count = 0;
    for (uint32_t i = 0; i < 4; i++)
        count += members[i]->count;
    assert_int_equal(count, 1);
    part(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(message_of_a_share_goes_to_another_member_when_a_node_cannot_be_reached),
        RULE(message_of_qos_1_goes_to_another_member_when_a_node_is_lost_before_it_answers),
        RULE(entry_goes_to_another_member_when_a_node_cannot_be_reached),
        RULE(message_goes_to_another_member_when_the_last_one_there_has_left),
        RULE(share_of_another_nodes_message_may_have_no_member_left),
        RULE(member_that_ends_leaves_its_messages_to_another_node),
        RULE(stored_message_of_a_member_that_leaves_is_sent_until_another_node_has_it),
        RULE(publisher_waits_for_the_stored_member_that_gets_it_instead),
        RULE(message_of_qos_2_that_may_have_been_sent_goes_to_no_other_member),
        RULE(entry_that_may_have_been_sent_to_a_clean_member_goes_to_that_node_again),
        RULE(member_that_gets_an_entry_instead_of_one_that_has_gone_is_the_only_one),
        RULE(clean_member_gets_another_nodes_entry_once),
        RULE(entry_for_a_clean_member_that_has_just_gone_is_sent_back),
        RULE(publication_waits_while_nobody_of_a_share_can_be_reached),
        RULE(entry_goes_to_the_shard_that_was_chosen_until_that_has_it),
        RULE(entry_goes_to_the_shard_that_was_chosen_after_a_restart),
        RULE(entry_for_a_shard_comes_to_one_of_its_members_once),
        RULE(entry_for_a_shard_whose_member_has_gone_goes_to_another),
        RULE(entry_for_a_shard_that_is_not_here_is_sent_back),
        RULE(entry_for_a_member_that_has_moved_on_the_way_goes_to_its_shard),
        RULE(entry_for_a_shard_without_a_member_goes_to_the_same_one_each_time),
        RULE(entries_that_wait_are_one_each_when_their_shard_was_lost_and_came_back),
        RULE(entry_that_is_under_way_is_one_when_its_shard_was_lost_and_came_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
