/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT in a cluster: where the session lives, and who is let in. */
#include "conn/conn_fixture.h"

/* What the rest of the cluster says, and what it was asked. */
struct cluster {
    enum conn_place place;
    bool others; /* another node has a connection of that name */
    struct conn *waits;
    bool is_enrolled;
    bool has_will; /* the one that enrolled last */
    uint32_t tunnelled, enrolled, withdrawn, forgotten, due;
    size_t unread_len;
    struct conn_origin origin;
};

static struct cluster cluster;

static struct conn_home home_of(void *owner, uint32_t hash)
{
    (void)owner;
    (void)hash;
    return (struct conn_home){.place = cluster.place, .node = 7, .workers = 1};
}

static void take_tunnel(void *owner, const struct conn_home *home, int fd,
                        const struct conn_origin *origin, struct stream_filter *filter,
                        uint8_t *unread, size_t unread_len)
{
    (void)owner;
    assert_int_equal(home->node, 7);
    cluster.tunnelled++;
    cluster.origin = *origin;
    cluster.unread_len = unread_len;
    stream_filter_free(filter);
    free(unread);
    close(fd);
}

static struct registration *enroll(void *owner, const struct conn_home *home,
                                   struct bytes client_id, struct conn *conn,
                                   enum conn_enrolment kind, struct message *will)
{
    (void)owner;
    cluster.has_will = will != NULL;
    assert_int_equal(kind == CONN_CONNECTED_BEFORE, conn->session != NULL);
    assert_int_equal(home->place, cluster.place);
    assert_true(client_id.len > 0);
    cluster.enrolled++;
    cluster.waits = conn;
    return (struct registration *)&cluster;
}

static bool is_enrolled(void *owner, const struct registration *registration)
{
    (void)owner;
    assert_ptr_equal(registration, &cluster);
    return cluster.is_enrolled;
}

static void withdraw(void *owner, struct registration *registration, enum session_will will)
{
    (void)owner;
    assert_ptr_equal(registration, &cluster);
    cluster.withdrawn++;
    cluster.due += will == SESSION_WILL_KEEP;
}

/* The home lets it in. */
static void grant(struct fixture *f)
{
    cluster.is_enrolled = true;
    conn_go_on(cluster.waits);
    settle(f);
}

static bool vacate(void *owner, struct bytes client_id, struct conn *conn)
{
    (void)owner;
    (void)client_id;
    cluster.waits = conn;
    return !cluster.others;
}

static void forget(void *owner, const struct conn *conn)
{
    (void)owner;
    assert_ptr_equal(conn, cluster.waits);
    cluster.forgotten++;
}

static const struct conn_worker_ops ops = {.move = on_move,
                                           .home_of = home_of,
                                           .tunnel = take_tunnel,
                                           .enroll = enroll,
                                           .is_enrolled = is_enrolled,
                                           .withdraw = withdraw,
                                           .vacate = vacate,
                                           .forget = forget};

static int set_up(void **state)
{
    fixture_set_up(state);
    struct fixture *f = *state;
    cluster = (struct cluster){.place = CONN_HERE};
    for (uint32_t i = 0; i < WORKERS; i++)
        f->workers[i].conns.ops = &ops;
    return 0;
}

static void homes_are(struct fixture *f, enum conn_place place)
{
    cluster.place = place;
    for (uint32_t i = 0; i < WORKERS; i++)
        conn_worker_homes_changed(&f->workers[i].conns);
    settle(f);
}

static struct client *asks(struct fixture *f, enum mqtt_version version, bool durable)
{
    struct client *client = dial(f, 0, version);
    struct connect connect = durable ? connect_durable(client) : connect_of(client);
    send_connect(client, &connect);
    settle(f);
    return client;
}

/* ---- homes --- */

static void without_a_home_connect_waits_until_there_is_one(void **state)
{
    struct fixture *f = *state;
    struct client *client = asks(f, MQTT_V5, true);
    (void)expect_connack(client, 0);
    cluster.place = CONN_NOWHERE;
    struct client *late = asks(f, MQTT_V5, true);
    expect_silence(late);
    homes_are(f, CONN_NOWHERE);
    expect_silence(late);
    homes_are(f, CONN_HERE);
    expect_connack(late, 0);
}

static void without_a_home_connect_is_refused_in_the_end(void **state)
{
    struct fixture *f = *state;
    cluster.place = CONN_NOWHERE;
    struct client *v5 = asks(f, MQTT_V5, true), *v3 = asks(f, MQTT_V311, true);
    pass(f, f->config.cluster.home_wait_ms / 2);
    homes_are(f, CONN_NOWHERE); /* a change begins no new wait */
    pass(f, f->config.cluster.home_wait_ms / 2 + 100);
    expect_refusal(v5, MQTT_SERVER_UNAVAILABLE);
    expect_refusal(v3, 3);
}

static void who_waits_for_a_home_when_the_broker_stops_is_refused(void **state)
{
    struct fixture *f = *state;
    cluster.place = CONN_NOWHERE;
    struct client *client = asks(f, MQTT_V5, true);
    for (uint32_t i = 0; i < WORKERS; i++)
        conn_worker_drain(&f->workers[i].conns, UINT32_MAX);
    expect_refusal(client, MQTT_SERVER_UNAVAILABLE);
}

static void a_session_that_outlives_its_connection_goes_to_its_home(void **state)
{
    struct fixture *f = *state;
    cluster.place = CONN_AWAY;
    asks(f, MQTT_V5, true);
    assert_int_equal(cluster.tunnelled, 1);
    assert_true(cluster.unread_len > 0); /* all of CONNECT */
    assert_int_equal(cluster.origin.version, MQTT_V5);
    assert_int_equal(f->shared.connections, 0);
    assert_int_equal(cluster.enrolled, 0);
}

/* ---- one client id, one connection --- */

static void a_session_that_ends_with_its_connection_is_let_in_by_its_home(void **state)
{
    struct fixture *f = *state;
    cluster.place = CONN_AWAY;
    struct client *client = asks(f, MQTT_V5, false);
    assert_int_equal(cluster.tunnelled, 0);
    assert_int_equal(cluster.enrolled, 1);
    expect_silence(client);
    grant(f);
    expect_connack(client, 0);
    client_close(client);
    settle(f);
    assert_int_equal(cluster.enrolled, 1);
    assert_int_equal(cluster.withdrawn, 1);
}

static void who_is_not_let_in_is_refused_in_the_end(void **state)
{
    struct fixture *f = *state;
    cluster.place = CONN_AWAY;
    struct client *client = asks(f, MQTT_V5, false);
    pass(f, 60 * 1000);
    expect_refusal(client, MQTT_SERVER_UNAVAILABLE);
    assert_int_equal(cluster.withdrawn, 1);
}

static struct client *let_in(struct fixture *f)
{
    cluster.place = CONN_AWAY;
    struct client *client = asks(f, MQTT_V5, false);
    grant(f);
    expect_connack(client, 0);
    return client;
}

static void who_is_dropped_is_told_that_another_came(void **state)
{
    struct fixture *f = *state;
    struct client *client = let_in(f);
    conn_drop(cluster.waits, true);
    settle(f);
    expect_fault(client, MQTT_SESSION_TAKEN_OVER);
    assert_int_equal(cluster.withdrawn, 1);
    assert_int_equal(f->shared.sessions, 0);
}

static void who_is_given_up_is_told_that_the_server_is_busy(void **state)
{
    struct fixture *f = *state;
    struct client *client = let_in(f);
    conn_drop(cluster.waits, false);
    settle(f);
    expect_fault(client, MQTT_SERVER_BUSY);
    assert_int_equal(cluster.withdrawn, 1);
}

static void at_home_connect_waits_for_another_nodes_connection(void **state)
{
    struct fixture *f = *state;
    cluster.others = true;
    struct client *client = asks(f, MQTT_V5, true);
    expect_silence(client);
    cluster.others = false;
    conn_go_on(cluster.waits);
    settle(f);
    expect_connack(client, 0);
    assert_int_equal(cluster.forgotten, 0);
}

static void who_leaves_while_it_waits_is_forgotten(void **state)
{
    struct fixture *f = *state;
    cluster.others = true;
    asks(f, MQTT_V5, true);
    pass(f, 60 * 1000);
    assert_int_equal(cluster.forgotten, 1);
}

static void a_clean_start_elsewhere_ends_the_session_here(void **state)
{
    struct fixture *f = *state;
    struct client *client = asks(f, MQTT_V5, true);
    expect_connack(client, 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        conn_worker_evict(&f->workers[i].conns, bytes_of_str(client->id));
    settle(f);
    expect_fault(client, MQTT_SESSION_TAKEN_OVER);
    assert_int_equal(f->shared.sessions, 0);
}

static void who_was_at_home_here_is_registered_with_the_next_home(void **state)
{
    struct fixture *f = *state;
    struct client *clean = asks(f, MQTT_V5, false), *durable = asks(f, MQTT_V5, true);
    expect_connack(clean, 0);
    expect_connack(durable, 0);
    homes_are(f, CONN_NOWHERE);
    assert_int_equal(cluster.enrolled, 0);
    homes_are(f, CONN_AWAY);
    homes_are(f, CONN_AWAY);
    assert_int_equal(cluster.enrolled, 1);
    expect_silence(clean);
    client_close(clean);
    settle(f);
    assert_int_equal(cluster.withdrawn, 1);
}

static void who_asked_another_home_and_was_let_in_here_is_no_newcomer_to_the_next(void **state)
{
    struct fixture *f = *state;
    cluster.place = CONN_AWAY;
    struct client *client = asks(f, MQTT_V5, false);
    expect_silence(client);
    homes_are(f, CONN_HERE);
    expect_connack(client, 0);
    assert_int_equal(cluster.withdrawn, 1);
    homes_are(f, CONN_AWAY);
    assert_int_equal(cluster.enrolled, 2); /* as one that was connected before: enroll() */
    expect_silence(client);
}

/* ---- cut off from most others --- */

static void cut_off_clean_clients_are_closed_and_refused(void **state)
{
    struct fixture *f = *state;
    struct client *client = asks(f, MQTT_V5, false);
    expect_connack(client, 0);
    homes_are(f, CONN_CUT_OFF);
    expect_fault(client, MQTT_SERVER_BUSY);
    struct client *late = asks(f, MQTT_V5, false), *nameless = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(nameless);
    connect.client_id = bytes_of("", 0);
    send_connect(nameless, &connect);
    settle(f);
    pass(f, f->config.cluster.home_wait_ms + 100);
    expect_refusal(late, MQTT_SERVER_UNAVAILABLE);
    expect_refusal(nameless, MQTT_SERVER_UNAVAILABLE);
    assert_int_equal(cluster.enrolled, 0);
}

static void cut_off_clean_clients_are_served_when_that_is_configured(void **state)
{
    struct fixture *f = *state;
    f->config.cluster.cut_off = CLUSTER_CUT_OFF_SERVE;
    struct client *client = asks(f, MQTT_V5, false);
    expect_connack(client, 0);
    cluster.place = CONN_AWAY;
    struct client *asking =
        asks(f, MQTT_V311, false); /* of a home that cannot be reached any more */
    expect_silence(asking);
    homes_are(f, CONN_CUT_OFF);
    expect_connack(asking, 0);
    struct client *late = asks(f, MQTT_V5, false);
    expect_connack(late, 0);
    expect_silence(client);
    assert_int_equal(cluster.withdrawn, 1); /* of the one that has asked */
    homes_are(f, CONN_AWAY);
    assert_int_equal(cluster.enrolled, 1 + 3); /* all are told to the home that there is then */
}

static void cut_off_stored_sessions_are_refused_in_any_case(void **state)
{
    struct fixture *f = *state;
    f->config.cluster.cut_off = CLUSTER_CUT_OFF_SERVE;
    cluster.place = CONN_CUT_OFF;
    struct client *v5 = asks(f, MQTT_V5, true), *v3 = asks(f, MQTT_V311, true);
    pass(f, f->config.cluster.home_wait_ms + 100);
    expect_refusal(v5, MQTT_SERVER_UNAVAILABLE);
    expect_refusal(v3, 3);
}

static void who_waits_for_connack_when_its_session_goes_is_refused(void **state)
{
    struct fixture *f = *state;
    make_late(f);
    struct client *client = asks(f, MQTT_V5, true);
    expect_silence(client);
    for (uint32_t i = 0; i < WORKERS; i++)
        conn_worker_send_away(&f->workers[i].conns, (struct shard_group){.group = 0, .of = 1});
    settle(f);
    expect_refusal(client, MQTT_SERVER_UNAVAILABLE);
    answer_all(f, RC_CLOSED);
    make_early(f);
}

/* ---- retained messages --- */

static struct delivery_remote remote;

/* The cluster has been initialised. */
static void initialise(struct fixture *f)
{
    remote = (struct delivery_remote){0};
    remote.settled = UINT64_MAX;
    remote.shards_have_homes = true;
    for (uint32_t i = 0; i < WORKERS; i++)
        f->workers[i].hub.remote = &remote;
}

static void uninitialise(struct fixture *f)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        f->workers[i].hub.remote = NULL;
}

static void subscribe_waits_while_retained_messages_are_old(void **state)
{
    struct fixture *f = *state;
    struct client *client = asks(f, MQTT_V5, true);
    (void)expect_connack(client, 0);
    initialise(f);
    remote.behind = 1 << 7;
    send_subscribe(client, 1, "a", (struct subscription_options){.qos = 1});
    settle(f);
    homes_are(f, CONN_HERE);
    expect_silence(client);
    remote.behind = 0;
    homes_are(f, CONN_HERE);
    expect_suback(client, 1, 1);
    uninitialise(f);
}

/* ---- wills --- */

static struct client *asks_with_will(struct fixture *f, bool durable)
{
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = durable ? connect_durable(client) : connect_of(client);
    connect.has_will = true;
    connect.will_topic = bytes_of_str("will");
    send_connect(client, &connect);
    settle(f);
    return client;
}

static void will_of_a_session_that_ends_with_its_connection_is_kept_by_its_home(void **state)
{
    struct fixture *f = *state;
    initialise(f);
    for (enum conn_place place = CONN_HERE; place <= CONN_AWAY; place++) {
        cluster = (struct cluster){.place = place};
        struct client *client = asks_with_will(f, false);
        assert_int_equal(cluster.enrolled, 1);
        assert_true(cluster.has_will);
        expect_silence(client);
        grant(f);
        expect_connack(client, 0);
        client_close(client);
        settle(f);
        assert_int_equal(cluster.due, 1);
        assert_int_equal(metric(f, METRIC_WILLS_PUBLISHED), 0);
    }
    uninitialise(f);
}

static void will_of_a_client_that_disconnects_is_not_due(void **state)
{
    struct fixture *f = *state;
    initialise(f);
    struct client *client = asks_with_will(f, false);
    grant(f);
    expect_connack(client, 0);
    SEND(client, "\xe0\0");
    settle(f);
    assert_int_equal(cluster.withdrawn, 1);
    assert_int_equal(cluster.due, 0);
    uninitialise(f);
}

static void will_of_a_client_that_was_not_let_in_is_not_due(void **state)
{
    struct fixture *f = *state;
    initialise(f);
    struct client *client = asks_with_will(f, false);
    pass(f, 60 * 1000);
    expect_refusal(client, MQTT_SERVER_UNAVAILABLE);
    assert_int_equal(cluster.withdrawn, 1);
    assert_int_equal(cluster.due, 0);
    uninitialise(f);
}

/* As if the store had taken it in. */
static void number_session(struct fixture *f, const struct client *client, uint64_t number)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct session *session =
            session_find(f->workers[i].conns.sessions, bytes_of_str(client->id));
        if (session != NULL)
            session->number = number;
    }
}

static void answers_ping(struct fixture *f, struct client *client, bool now)
{
    SEND(client, "\xc0\0");
    settle(f);
    if (now)
        expect(client, PACKET_PINGRESP);
    else
        expect_silence(client);
}

/* This node may not be the home of their ids any more: others may have been let in under them. */
static void ping_is_answered_when_it_is_known_who_is_home(void **state)
{
    struct fixture *f = *state;
    struct client *clean = asks(f, MQTT_V5, false), *durable = asks(f, MQTT_V5, true);
    expect_connack(clean, 0);
    expect_connack(durable, 0);
    initialise(f);
    number_session(f, durable, 1);
    answers_ping(f, clean, true);
    answers_ping(f, durable, true);
    homes_are(f, CONN_NOWHERE);
    answers_ping(f, clean, false);
    answers_ping(f, durable, false);
    homes_are(f, CONN_NOWHERE);
    expect_silence(clean);
    homes_are(f, CONN_HERE);
    expect(clean, PACKET_PINGRESP);
    expect(durable, PACKET_PINGRESP);
    homes_are(f, CONN_NOWHERE);
    answers_ping(f, clean, false);
    answers_ping(f, durable, false);
    for (uint32_t i = 0; i < WORKERS; i++) { /* it has waited for long enough */
        LIST_FOR_EACH (link, &f->workers[i].conns.homeless)
            CONTAINER_OF(link, struct conn, link)->held_ms -= 4000;
        f->workers[i].conns.stalled_ms =
            f->workers[i].loop.now_ms; /* but this process stood still */
    }
    homes_are(f, CONN_NOWHERE);
    expect_silence(clean);
    for (uint32_t i = 0; i < WORKERS; i++)
        f->workers[i].conns.stalled_ms = 0;
    homes_are(f, CONN_NOWHERE);
    expect(clean, PACKET_PINGRESP);
    expect_silence(durable);
    number_session(f, durable, 0);
    uninitialise(f);
}

static void ping_is_answered_when_the_home_knows_the_client(void **state)
{
    struct fixture *f = *state;
    struct client *client = let_in(f);
    initialise(f);
    answers_ping(f, client, true);
    cluster.is_enrolled = false; /* the home is another one */
    answers_ping(f, client, false);
    grant(f);
    expect(client, PACKET_PINGRESP);
    homes_are(f, CONN_NOWHERE); /* it did, and that is not known of the next one */
    answers_ping(f, client, false);
    homes_are(f, CONN_AWAY);
    expect(client, PACKET_PINGRESP);
    cluster.is_enrolled = false;
    cluster.place = CONN_CUT_OFF;
    answers_ping(f, client, false); /* it is closed as soon as that has come round */
    f->config.cluster.cut_off = CLUSTER_CUT_OFF_SERVE;
    homes_are(f, CONN_CUT_OFF);
    expect(client, PACKET_PINGRESP);
    answers_ping(f, client, true);
    uninitialise(f);
}

static void will_of_a_stored_session_stays_with_it(void **state)
{
    struct fixture *f = *state;
    initialise(f);
    expect_connack(asks_with_will(f, true), 0);
    assert_int_equal(cluster.enrolled, 0);
    uninitialise(f);
}

static void cut_off_client_that_leaves_a_will_is_refused(void **state)
{
    struct fixture *f = *state;
    initialise(f);
    f->config.cluster.cut_off = CLUSTER_CUT_OFF_SERVE;
    cluster.place = CONN_CUT_OFF;
    struct client *client = asks_with_will(f, false);
    pass(f, f->config.cluster.home_wait_ms + 100);
    expect_refusal(client, MQTT_SERVER_UNAVAILABLE);
    uninitialise(f);
}

static void will_stays_here_while_the_cluster_is_not_initialised(void **state)
{
    struct fixture *f = *state;
    struct client *client = asks_with_will(f, false);
    expect_connack(client, 0);
    assert_int_equal(cluster.enrolled, 0);
    client_close(client);
    settle(f);
    assert_int_equal(metric(f, METRIC_WILLS_PUBLISHED), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(without_a_home_connect_waits_until_there_is_one),
        TEST(without_a_home_connect_is_refused_in_the_end),
        TEST(who_waits_for_a_home_when_the_broker_stops_is_refused),
        TEST(a_session_that_outlives_its_connection_goes_to_its_home),
        TEST(a_session_that_ends_with_its_connection_is_let_in_by_its_home),
        TEST(who_is_not_let_in_is_refused_in_the_end),
        TEST(subscribe_waits_while_retained_messages_are_old),
        TEST(will_of_a_session_that_ends_with_its_connection_is_kept_by_its_home),
        TEST(will_of_a_client_that_disconnects_is_not_due),
        TEST(will_of_a_client_that_was_not_let_in_is_not_due),
        TEST(ping_is_answered_when_it_is_known_who_is_home),
        TEST(ping_is_answered_when_the_home_knows_the_client),
        TEST(will_of_a_stored_session_stays_with_it),
        TEST(will_stays_here_while_the_cluster_is_not_initialised),
        TEST(who_is_dropped_is_told_that_another_came),
        TEST(who_is_given_up_is_told_that_the_server_is_busy),
        TEST(at_home_connect_waits_for_another_nodes_connection),
        TEST(who_leaves_while_it_waits_is_forgotten),
        TEST(a_clean_start_elsewhere_ends_the_session_here),
        TEST(who_was_at_home_here_is_registered_with_the_next_home),
        TEST(who_asked_another_home_and_was_let_in_here_is_no_newcomer_to_the_next),
        TEST(cut_off_clean_clients_are_closed_and_refused),
        TEST(cut_off_clean_clients_are_served_when_that_is_configured),
        TEST(cut_off_stored_sessions_are_refused_in_any_case),
        TEST(cut_off_client_that_leaves_a_will_is_refused),
        TEST(who_waits_for_connack_when_its_session_goes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
