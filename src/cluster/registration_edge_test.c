/* SPDX-License-Identifier: Apache-2.0 */
/* What an edge tells the homes of its clients' ids, and does when they say something. */
#include "cluster/tunnel_fixture.h"

#include <stdio.h>

enum { SHARDS = 64, EPOCH = 7 };

static const char *const here = "n0", *const there = "n1", *const elsewhere = "n2";

struct edge {
    struct fixture *f;
    struct session_table sessions;
    struct member *members[2];
    struct registration *registration;
    char client_id[16];
    uint32_t group, went_on;
    uint32_t dropped, lost; /* since its home has asked for it, or there is none */
};

/* One test at a time. */
static struct edge *edge;

static void on_go_on(void *owner, void *holder)
{
    (void)owner;
    assert_ptr_equal(holder, edge);
    edge->went_on++;
}

static void on_drop(void *owner, void *holder, bool reached)
{
    (void)owner;
    assert_ptr_equal(holder, edge);
    if (reached)
        edge->dropped++;
    else
        edge->lost++;
}

static void on_homes_changed(void *owner)
{
    (void)owner;
}

static const struct cluster_clients clients = {
    .farewell = on_farewell, .homes_changed = on_homes_changed, .go_on = on_go_on, .drop = on_drop};

static struct member *member_new(struct cluster *cluster, const char *node, uint32_t remote)
{
    struct member *member = NEW(struct member);
    member->cluster = cluster;
    snprintf(member->node, sizeof(member->node), "%s", node);
    member->remote = remote;
    member->workers = HOME_WORKER + 1;
    member->live = true;
    list_add_last(&cluster->members, &member->link);
    return member;
}

/* A client id whose home is that worker of the other node. */
static void choose_client_id(struct edge *e)
{
    uint32_t shard = 0;
    for (uint32_t i = 0; shard % (HOME_WORKER + 1) != HOME_WORKER; i++) {
        snprintf(e->client_id, sizeof(e->client_id), "c%u", i);
        shard = client_id_hash(bytes_of_str(e->client_id)) % SHARDS;
    }
    e->group = shard % CLUSTER_GROUPS;
}

/* NULL: nobody is heard to be home. */
static void be_home(struct edge *e, const char *node, uint64_t epoch)
{
    for (int i = 0; i < 2; i++)
        e->members[i]->home_epochs[e->group] =
            node != NULL && strcmp(e->members[i]->node, node) == 0 ? epoch : 0;
    (void)places_set(&e->f->cluster, e->group, node, node == NULL ? 0 : epoch);
    (void)places_look(&e->f->cluster);
    tunnels_post_homes_changed(e->f->tunnels);
}

static int set_up(void **state)
{
    edge = NEW(struct edge);
    edge->f = fixture_new(&clients);
    struct cluster *cluster = &edge->f->cluster;
    list_init(&cluster->members);
    places_init(&cluster->places);
    cluster->own.node = here;
    edge->members[0] = member_new(cluster, there, REMOTE);
    edge->members[1] = member_new(cluster, elsewhere, REMOTE + 1);
    edge->sessions.shard_count = SHARDS;
    edge->f->hub.sessions = &edge->sessions;
    choose_client_id(edge);
    be_home(edge, there, EPOCH);
    *state = edge;
    return 0;
}

static int tear_down(void **state)
{
    struct edge *e = *state;
    if (e->registration != NULL)
        registration_end(e->registration, CLUSTER_WILL_VOID);
    places_deinit(&e->f->cluster.places);
    fixture_free(e->f);
    for (int i = 0; i < 2; i++)
        mem_free(e->members[i]);
    mem_free(e);
    return 0;
}

static uint64_t hear_of_client(struct edge *e, enum link_kind kind)
{
    struct link_frame frame = hear(e->f, kind);
    struct registration_frame said;
    assert_true(registration_read(frame.body, &said));
    assert_true(bytes_equal(said.client_id, bytes_of_str(e->client_id)));
    return said.number;
}

static void tell_of_client(struct edge *e, enum link_kind kind, uint64_t number)
{
    uint8_t body[REGISTRATION_MAX];
    size_t len = registration_write(number, bytes_of_str(e->client_id), body);
    say(e->f, kind, 0, bytes_of(body, len));
}

/* Its number. */
static uint64_t be_registered(struct edge *e)
{
    struct cluster_home home = {
        .place = CLUSTER_AWAY, .remote = REMOTE, .workers = HOME_WORKER + 1};
    e->registration =
        registration_new(e->f->tunnels, &home, bytes_of_str(e->client_id), e, REGISTER_NEW, NULL);
    reach(e->f);
    uint64_t number = hear_of_client(e, LINK_REGISTER);
    tell_of_client(e, LINK_REGISTERED, number);
    TURN_UNTIL(e->f, e->went_on == 1);
    return number;
}

static void client_is_dropped_when_somebody_waits_for_its_id(void **state)
{
    struct edge *e = *state;
    uint64_t number = be_registered(e);
    tell_of_client(e, LINK_DROP, number);
    TURN_UNTIL(e->f, e->dropped == 1);
    hear_nothing(e->f); /* when its connection has ended */
    registration_end(e->registration, CLUSTER_WILL_VOID);
    e->registration = NULL;
    assert_int_equal(hear_of_client(e, LINK_UNREGISTER), number);
}

/* It may be home still, and not be heard: it would let another one in. */
static void home_is_not_told_that_a_client_has_gone_when_nobody_is_heard_to_be_home(void **state)
{
    struct edge *e = *state;
    uint64_t number = be_registered(e);
    be_home(e, NULL, 0);
    hear_nothing(e->f);
    be_home(e, there, EPOCH + 1);
    assert_int_equal(hear_of_client(e, LINK_REGISTER), number);
    assert_int_equal(e->dropped, 0);
}

static void former_home_is_told_that_a_client_has_another_one(void **state)
{
    struct edge *e = *state;
    uint64_t number = be_registered(e);
    be_home(e, here, EPOCH + 1); /* what is in it here is not looked at */
    e->f->hub.remote = NULL;
    assert_int_equal(hear_of_client(e, LINK_UNREGISTER), number);
}

/* It has ended while nobody was heard to be home. */
static void home_that_asks_for_a_client_that_has_gone_is_told_so(void **state)
{
    struct edge *e = *state;
    uint64_t number = be_registered(e);
    be_home(e, NULL, 0);
    hear_nothing(e->f);
    registration_end(e->registration, CLUSTER_WILL_VOID);
    e->registration = NULL;
    hear_nothing(e->f);
    tell_of_client(e, LINK_DROP, number);
    assert_int_equal(hear_of_client(e, LINK_UNREGISTER), number);
    assert_int_equal(e->dropped, 0);
}

/* It is home although it was not heard to be: the client goes. */
static void home_that_was_given_up_and_asks_for_a_client_gets_it(void **state)
{
    struct edge *e = *state;
    uint64_t number = be_registered(e);
    be_home(e, NULL, 0);
    hear_nothing(e->f);
    tell_of_client(e, LINK_DROP, number);
    assert_int_equal(hear_of_client(e, LINK_UNREGISTER), number);
    assert_int_equal(e->dropped, 1);
}

/* Somebody who is heard has read that another node has claimed the group, and that one is not. */
static void client_goes_when_the_next_home_is_out_of_reach(void **state)
{
    struct edge *e = *state;
    be_registered(e);
    e->members[1]->read_epochs[e->group] = EPOCH;
    be_home(e, NULL, 0);
    usleep(400 * 1000);
    be_home(e, NULL, 0);
    hear_nothing(e->f);
    assert_int_equal(e->dropped, 0); /* that is of the home that there was */
    e->members[1]->read_epochs[e->group] = EPOCH + 2;
    be_home(e, NULL, 0);
    hear_nothing(e->f);
    assert_int_equal(e->dropped, 0); /* it may be about to say so itself */
    assert_false(cluster_is_out_of_reach(&e->f->cluster, e->group));
    usleep(400 * 1000);
    be_home(e, NULL, 0);
    TURN_UNTIL(e->f, e->lost == 1);
    assert_true(cluster_is_out_of_reach(&e->f->cluster, e->group));
    e->members[0]->taken_epochs[e->group] = EPOCH + 2;
    be_home(e, NULL, 0);
    assert_false(cluster_is_out_of_reach(&e->f->cluster, e->group));
}

/* What its sessions want comes from the other node from then on, at once. */
static void group_of_this_node_has_no_home_from_when_another_says_that_it_has_claimed_it(
    void **state)
{
    struct edge *e = *state;
    struct cluster *cluster = &e->f->cluster;
    be_home(e, cluster->own.node, EPOCH);
    assert_int_equal(places_get(&cluster->places, e->group).place, CLUSTER_HERE);
    e->members[0]->taken_epochs[e->group] = EPOCH - 1; /* long ago */
    assert_false(places_look(cluster));
    e->members[0]->taken_epochs[e->group] = EPOCH + 1;
    assert_true(places_look(cluster));
    assert_int_equal(places_get(&cluster->places, e->group).place, CLUSTER_NOWHERE);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RULE(client_is_dropped_when_somebody_waits_for_its_id),
        RULE(home_is_not_told_that_a_client_has_gone_when_nobody_is_heard_to_be_home),
        RULE(former_home_is_told_that_a_client_has_another_one),
        RULE(home_that_asks_for_a_client_that_has_gone_is_told_so),
        RULE(home_that_was_given_up_and_asks_for_a_client_gets_it),
        RULE(client_goes_when_the_next_home_is_out_of_reach),
        RULE(group_of_this_node_has_no_home_from_when_another_says_that_it_has_claimed_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
