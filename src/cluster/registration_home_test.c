/* SPDX-License-Identifier: Apache-2.0 */
/* What a home answers to edges that register their clients. The test is the edge. */
#include "cluster/tunnel_fixture.h"

#include "delivery/testament.h"
#include "session/session.h"

enum { SHARDS = 64, EPOCH = 7, NUMBER = 4711 };

static const char *const here = "n0", *const id = "meter";

struct letting_in {
    struct fixture *f;
    struct session_table sessions;
    struct store_shard stores[SHARDS];
    struct delivery_remote remote;
    struct cluster_worker workers[WORKER + 1];
    uint32_t group, evicted;
};

/* One test at a time. */
static struct letting_in *home;

static void on_evict(void *owner, struct bytes client_id)
{
    (void)owner;
    assert_true(bytes_equal(client_id, bytes_of_str(id)));
    home->evicted++;
}

static void on_homes_changed(void *owner)
{
    (void)owner;
}

static const struct cluster_clients clients = {.evict = on_evict,
                                               .homes_changed = on_homes_changed};

/* `gathered`: all nodes have said which client ids they have. */
static void be_home(struct letting_in *h, uint64_t epoch, bool gathered)
{
    struct places *places = &h->f->cluster.places;
    (void)places_set(&h->f->cluster, h->group, here, epoch);
    (void)places_look(&h->f->cluster);
    atomic_store(&places->gathered[h->group], gathered ? epoch : 0);
    tunnels_post_homes_changed(h->f->tunnels);
    turn(h->f);
}

static int set_up(void **state)
{
    home = NEW(struct letting_in);
    home->f = fixture_new(&clients);
    struct fixture *f = home->f;
    int ends[2];
    list_init(&f->cluster.members);
    places_init(&f->cluster.places);
    f->cluster.own.node = here;
    f->cluster.workers = home->workers;
    home->workers[WORKER].hub = &f->hub;
    home->sessions.shard_count = SHARDS;
    home->sessions.stores = home->stores;
    f->hub.sessions = &home->sessions;
    f->hub.remote = &home->remote;
    testaments_init(&f->hub);
    home->remote.shards_have_homes = true;
    home->remote.serving = UINT32_MAX;
    home->group = client_id_hash(bytes_of_str(id)) % SHARDS % CLUSTER_GROUPS;
    pair_open(ends);
    f->link = (struct far){.fd = ends[1]};
    tunnels_post_in(f->tunnels, REMOTE, ends[0], bytes_of(NULL, 0));
    turn(f);
    *state = home;
    return 0;
}

static int tear_down(void **state)
{
    struct letting_in *h = *state;
    places_deinit(&h->f->cluster.places);
    testaments_deinit(&h->f->hub);
    fixture_free(h->f);
    mem_free(h);
    return 0;
}

static void ask_for_client(struct letting_in *h, uint64_t number)
{
    uint8_t body[REGISTRATION_MAX];
    size_t len = registration_write(number, bytes_of_str(id), body);
    say(h->f, LINK_REGISTER, REGISTER_NEW, bytes_of(body, len));
}

static void hear_of_client(struct letting_in *h, enum link_kind kind, uint64_t number)
{
    struct link_frame frame = hear(h->f, kind);
    struct registration_frame said;
    assert_true(registration_read(frame.body, &said));
    assert_true(bytes_equal(said.client_id, bytes_of_str(id)));
    assert_int_equal(said.number, number);
}

static void home_lets_nobody_in_before_it_has_heard_of_all(void **state)
{
    struct letting_in *h = *state;
    be_home(h, EPOCH, false);
    ask_for_client(h, NUMBER);
    hear_nothing(h->f);
    be_home(h, EPOCH, true);
    hear_of_client(h, LINK_REGISTERED, NUMBER);
    assert_int_equal(h->evicted, 1);
}

/* Its edge has asked the home that was between: it may have gone there, and its will be out. */
static void who_has_asked_a_home_that_is_no_more_has_to_ask_the_next_one(void **state)
{
    struct letting_in *h = *state;
    be_home(h, EPOCH, false);
    ask_for_client(h, NUMBER);
    hear_nothing(h->f);
    be_home(h, EPOCH + 2, true);
    usleep(2 * REGISTRATION_TICK_MS * 1000);
    hear_nothing(h->f);
    assert_int_equal(h->evicted, 0);
    ask_for_client(h, NUMBER + 1);
    hear_of_client(h, LINK_REGISTERED, NUMBER + 1);
}

static void next_one_waits_until_the_one_before_has_gone(void **state)
{
    struct letting_in *h = *state;
    uint8_t body[REGISTRATION_MAX];
    size_t len = registration_write(NUMBER, bytes_of_str(id), body);
    be_home(h, EPOCH, true);
    ask_for_client(h, NUMBER);
    hear_of_client(h, LINK_REGISTERED, NUMBER);
    ask_for_client(h, NUMBER + 1);
    hear_of_client(h, LINK_DROP, NUMBER);
    hear_nothing(h->f);
    say(h->f, LINK_UNREGISTER, UNREGISTER_ONLY, bytes_of(body, len));
    hear_of_client(h, LINK_REGISTERED, NUMBER + 1);
}

/* It is registered with the home that serves then, and told here no more. */
static void home_that_is_none_any_more_forgets_who_was_registered(void **state)
{
    struct letting_in *h = *state;
    be_home(h, EPOCH, true);
    ask_for_client(h, NUMBER);
    hear_of_client(h, LINK_REGISTERED, NUMBER);
    ask_for_client(h, NUMBER + 1); /* it waits for the first */
    hear_of_client(h, LINK_DROP, NUMBER);
    h->remote.serving = 0;
    be_home(h, EPOCH + 1, false);
    h->remote.serving = UINT32_MAX;
    be_home(h, EPOCH + 2, true);
    hear_nothing(h->f);
    ask_for_client(h, NUMBER + 2);
    hear_of_client(h, LINK_REGISTERED, NUMBER + 2); /* no other is known of */
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RULE(home_lets_nobody_in_before_it_has_heard_of_all),
        RULE(who_has_asked_a_home_that_is_no_more_has_to_ask_the_next_one),
        RULE(next_one_waits_until_the_one_before_has_gone),
        RULE(home_that_is_none_any_more_forgets_who_was_registered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
