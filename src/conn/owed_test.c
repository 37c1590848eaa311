/* SPDX-License-Identifier: Apache-2.0 */
/* Acknowledgements that wait for the store: their order, what becomes of them when it fails, when
 * the connection goes, and when what they are about comes again. */
#include "conn/conn_fixture.h"

/* A publisher, and a subscriber on the other worker whose session keeps what it gets. */
static struct client *pair_on_late_store(struct fixture *f, enum mqtt_version version,
                                         struct client **keeper)
{
    *keeper = connected_durable(f, 1, MQTT_V5);
    subscribe(*keeper, "t", 2);
    struct client *client = connected_durable(f, 0, version);
    make_late(f);
    return client;
}

static bool orphaned(struct fixture *f)
{
    return !list_empty(&f->workers[0].conns.orphans);
}

/* The shard of that client's session answers. */
static void answer_client(struct client *client, enum rc rc)
{
    answer(session_of(client)->store, rc);
    settle(client->f);
}

/* ---- order --------------------------------------------------------------------------------- */

static void puback_waits_until_the_subscribers_shard_has_committed(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 1, 7, "x");
    expect_silence(client);
    assert_int_equal(metric(f, METRIC_ACKS_DELAYED), 1);
    answer_client(keeper, RC_OK);
    expect_ack(client, PACKET_PUBACK, 7, 0);
}

static void pubrec_waits_for_both_shards(void **state)
{
    struct fixture *f = *state;
    for (int first = 0; first < 2; first++) {
        struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
        send_publish(client, 2, 7, "x");
        settle(f);
        answer_client(first == 0 ? keeper : client, RC_OK);
        expect_silence(client);
        answer_client(first == 0 ? client : keeper, RC_OK);
        expect_ack(client, PACKET_PUBREC, 7, 0);
        make_early(f);
        send_raw(keeper, "\xe0\0", 2);
        settle(f);
    }
}

static void acknowledgements_leave_in_the_order_of_what_they_answer(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V311, &keeper);
    send_publish(client, 1, 1, "x");       /* waits for the keeper's shard */
    send_publish(client, 2, 2, "x");       /* and for the publisher's own */
    send_ack(client, PACKET_PUBREL, 9, 0); /* waits for nothing but its turn */
    expect_silence(client);
    answer_client(client, RC_OK);
    expect_silence(client);
    answer_client(keeper, RC_OK);
    expect_ack(client, PACKET_PUBACK, 1, 0);
    expect_ack(client, PACKET_PUBREC, 2, 0);
    expect_ack(client, PACKET_PUBCOMP, 9, 0);
    assert_int_equal(metric(f, METRIC_ACKS_DELAYED), 3);
    send_ack(client, PACKET_PUBREL, 9, 0);
    expect_ack(client, PACKET_PUBCOMP, 9, 0);
    assert_int_equal(metric(f, METRIC_ACKS_DELAYED), 3);
}

static void store_that_is_done_at_once_delays_nothing(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected_durable(f, 0, MQTT_V5);
    for (uint16_t id = 1; id <= 3; id++) {
        send_publish(client, 2, id, "x");
        expect_ack(client, PACKET_PUBREC, id, MQTT_NO_MATCHING_SUBSCRIBERS);
    }
    assert_int_equal(metric(f, METRIC_ACKS_DELAYED), 0);
}

static void session_that_ends_with_the_connection_waits_for_no_store(void **state)
{
    struct fixture *f = *state;
    make_late(f);
    struct client *client = connected(f, 0, MQTT_V5);
    subscribe(client, "other", 1);
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("x")};
    struct publish_form form = {.version = MQTT_V5, .qos = 1, .packet_id = 4};
    send_publication(client, &p, &form);
    expect_ack(client, PACKET_PUBACK, 4, MQTT_NO_MATCHING_SUBSCRIBERS);
    send_publish(client, 2, 5, "x");
    expect_ack(client, PACKET_PUBREC, 5, MQTT_NO_MATCHING_SUBSCRIBERS);
    send_ack(client, PACKET_PUBREL, 5, 0);
    expect_ack(client, PACKET_PUBCOMP, 5, 0);
}

static void retained_message_waits_for_the_shard_of_its_topic(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected_durable(f, 0, MQTT_V5);
    make_late(f);
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of_str("x")};
    struct publish_form form = {.version = MQTT_V5, .qos = 1, .packet_id = 4, .retain = true};
    send_publication(client, &p, &form);
    expect_silence(client);
    answer_all(f, RC_OK);
    expect_ack(client, PACKET_PUBACK, 4, 0);
    send_publish(client, 1, 5, "changes nothing");
    expect_ack(client, PACKET_PUBACK, 5, MQTT_NO_MATCHING_SUBSCRIBERS);
}

static void pubcomp_waits_when_the_identifier_was_known(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected_durable(f, 0, MQTT_V5);
    send_publish(client, 2, 5, "x");
    expect_ack(client, PACKET_PUBREC, 5, MQTT_NO_MATCHING_SUBSCRIBERS);
    make_late(f);
    send_ack(client, PACKET_PUBREL, 6, 0);
    expect_ack(client, PACKET_PUBCOMP, 6, MQTT_PACKET_IDENTIFIER_NOT_FOUND);
    send_ack(client, PACKET_PUBREL, 5, 0);
    expect_silence(client);
    answer_client(client, RC_OK);
    expect_ack(client, PACKET_PUBCOMP, 5, 0);
}

/* ---- failure ------------------------------------------------------------------------------- */

static void puback_of_what_could_not_be_kept_says_so_or_is_withheld(void **state)
{
    struct fixture *f = *state;
    for (enum mqtt_version version = MQTT_V311; version <= MQTT_V5; version++) {
        struct client *keeper, *client = pair_on_late_store(f, version, &keeper);
        send_publish(client, 1, 7, "x");
        settle(f);
        answer_client(keeper, RC_IO);
        if (version == MQTT_V5)
            expect_ack(client, PACKET_PUBACK, 7, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
        else
            expect_silence(client);
        make_early(f);
        client_close(keeper);
    }
    assert_int_equal(metric(f, METRIC_STORE_ERRORS), 2);
}

static void failed_acknowledgement_holds_up_none_behind_it(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V311, &keeper);
    send_publish(client, 1, 1, "x");
    settle(f);
    send_ack(client, PACKET_PUBREL, 9, 0);
    settle(f);
    answer_client(keeper, RC_IO);
    expect_ack(client, PACKET_PUBCOMP, 9, 0);
}

/* One of two shards is enough to fail, whichever answers first. */
static void pubrec_fails_when_one_of_its_shards_does(void **state)
{
    struct fixture *f = *state;
    for (int order = 0; order < 2; order++) {
        struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
        send_publish(client, 2, 7, "x");
        settle(f);
        answer_client(order == 0 ? keeper : client, RC_IO);
        expect_silence(client);
        answer_client(order == 0 ? client : keeper, RC_OK);
        expect_ack(client, PACKET_PUBREC, 7, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
        assert_false(session_received_has(session_of(client), 7));
        make_early(f);
        client_close(keeper);
    }
}

static void failed_pubrec_gives_the_receive_maximum_back(void **state)
{
    struct fixture *f = *state;
    f->config.mqtt.receive_maximum = 1;
    struct client *client = connected_durable(f, 0, MQTT_V5);
    make_late(f);
    for (int i = 0; i < 3; i++) {
        send_publish(client, 2, 7, "x");
        settle(f);
        answer_client(client, RC_IO);
        expect_ack(client, PACKET_PUBREC, 7, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
    }
}

static void failed_pubcomp_is_withheld(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected_durable(f, 0, MQTT_V5);
    send_publish(client, 2, 5, "x");
    expect_ack(client, PACKET_PUBREC, 5, MQTT_NO_MATCHING_SUBSCRIBERS);
    make_late(f);
    send_ack(client, PACKET_PUBREL, 5, 0);
    settle(f);
    answer_client(client, RC_IO);
    expect_silence(client);
}

static void subscription_that_could_not_be_kept_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    for (int type = 0; type < 2; type++) {
        struct client *client = connected_durable(f, 0, MQTT_V5);
        make_late(f);
        if (type == 0)
            send_subscribe(client, 1, "t", (struct subscription_options){0});
        else
            SEND(client, "\xa2\6\0\1\0\0\1t");
        settle(f);
        answer_client(client, RC_IO);
        expect_fault(client, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
        make_early(f);
    }
}

static void session_that_could_not_be_kept_refuses_the_connect(void **state)
{
    struct fixture *f = *state;
    make_late(f);
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_durable(client);
    send_connect(client, &connect);
    expect_silence(client);
    answer_client(client, RC_IO);
    expect_refusal(client, MQTT_SERVER_UNAVAILABLE);
}

static void acknowledgement_of_the_shortest_form_says_success(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    struct conn *conn = conn_of(client);
    conn->receive_open = 2;
    const char packet[] = "\x50\2\0\1\xff"; /* PUBREC 1, and a byte that is not of it */
    conn_owe(conn, bytes_of(packet, 4), NULL, OWED_NO_CHANGES);
    expect_ack(client, PACKET_PUBREC, 1, 0);
    assert_int_equal(conn->receive_open, 2);
    const char refused[] = "\x50\3\0\1\x80"; /* the lowest reason that is an error */
    conn_owe(conn, bytes_of(refused, 5), NULL, OWED_NO_CHANGES);
    expect_ack(client, PACKET_PUBREC, 1, MQTT_UNSPECIFIED_ERROR);
    assert_int_equal(conn->receive_open, 1);
}

/* ---- CONNACK that waits -------------------------------------------------------------------- */

static void nothing_is_read_or_sent_before_a_connack_that_waits(void **state)
{
    struct fixture *f = *state;
    struct client *first = connected_durable(f, 0, MQTT_V5);
    subscribe(first, "t", 1);
    client_close(first);
    make_late(f);
    struct client *client = dial(f, 0, MQTT_V5);
    strcpy(client->id, first->id);
    struct connect connect = connect_durable(client);
    connect.clean_start = false;
    send_connect(client, &connect);
    SEND(client, "\xc0\0"); /* PINGREQ */
    expect_silence(client);
    struct client *publisher = connected(f, 1, MQTT_V5);
    send_publish(publisher, 1, 1, "meanwhile");
    send_publish(publisher, 0, 0, "this too");
    expect_silence(client);
    answer_client(client, RC_OK);
    assert_true(expect_connack(client, 0).session_present);
    expect_publish(client, "meanwhile");
    TURN_UNTIL(f, next_packet(client) != NULL);
    /* a QoS 0 message is kept by nobody while the client cannot be sent anything, or follows */
    if (client->frame.type == PACKET_PUBLISH)
        expect(client, PACKET_PINGRESP);
    else
        assert_int_equal(client->frame.type, PACKET_PINGRESP);
}

static void connack_of_a_session_that_ends_with_the_connection_does_not_wait(void **state)
{
    struct fixture *f = *state;
    make_late(f);
    connected(f, 0, MQTT_V5);
    assert_int_equal(metric(f, METRIC_ACKS_DELAYED), 0);
}

static void connection_that_ends_before_its_connack_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    make_late(f);
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_durable(client);
    send_connect(client, &connect);
    settle(f);
    conn_close(conn_of(client), MQTT_ADMINISTRATIVE_ACTION);
    expect_end(client);
    assert_true(orphaned(f));
    answer_all(f, RC_OK);
    assert_false(orphaned(f));
    assert_int_equal(metric(f, METRIC_CONNECTIONS_CURRENT), 0);
}

/* Nothing goes before a CONNACK, so not a DISCONNECT either. */
static void taken_over_before_its_connack_ends_without_a_word(void **state)
{
    struct fixture *f = *state;
    make_late(f);
    struct client *first = dial(f, 0, MQTT_V5);
    struct connect connect = connect_durable(first);
    send_connect(first, &connect);
    settle(f);
    struct client *second = dial(f, 0, MQTT_V5);
    strcpy(second->id, first->id);
    send_connect(second, &connect);
    expect_end(first);
    answer_all(f, RC_OK);
    expect_connack(second, 0);
}

static void acknowledgement_that_is_long_waits_as_well(void **state)
{
    enum { FILTERS = 40 };
    struct fixture *f = *state;
    struct client *client = connected_durable(f, 0, MQTT_V5);
    make_late(f);
    struct subscribe_filter filters[FILTERS];
    for (int i = 0; i < FILTERS; i++)
        filters[i] = (struct subscribe_filter){.filter = bytes_of_str("t")};
    uint8_t packet[1024];
    send_raw(client, packet,
             subscribe_encode(3, MQTT_V5, NULL, filters, FILTERS, packet, sizeof(packet)));
    expect_silence(client);
    answer_client(client, RC_OK);
    struct suback suback;
    assert_int_equal(suback_decode(expect(client, PACKET_SUBACK), MQTT_V5, &suback), MQTT_SUCCESS);
    assert_int_equal(suback.reasons.len, FILTERS);
}

static void owe_long_packet(struct client *client)
{
    static uint8_t packet[130] = {0x90, 127, 1, 0};
    struct conn *conn = conn_of(client);
    conn_owe(conn, bytes_of(packet, 129), NULL, OWED_SESSION_CHANGED);
    answer_client(client, RC_OK);
    expect(client, PACKET_SUBACK);
}

static void long_acknowledgements_are_freed(void **state)
{
    struct client *client = connected_durable(*state, 0, MQTT_V5);
    make_late(*state);
    assert_frees(client, owe_long_packet);
}

/* ---- the connection goes ------------------------------------------------------------------- */

static void orphan_that_fails_forgets_what_was_received(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 2, 7, "x");
    settle(f);
    client_close(client);
    assert_true(orphaned(f));
    assert_true(session_received_has(session_of(client), 7));
    answer_all(f, RC_IO);
    assert_false(orphaned(f));
    assert_false(session_received_has(session_of(client), 7));
}

static void orphan_that_is_kept_is_still_received(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 2, 7, "x");
    settle(f);
    client_close(client);
    answer_all(f, RC_OK);
    assert_false(orphaned(f));
    assert_true(session_received_has(session_of(client), 7));
}

/* PUBACK 7 that fails says nothing of the QoS 2 publication 7 (nobody sends both, but one may come
 * after the other while the store is slow). */
static void failure_of_another_type_forgets_nothing(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 1, 7, "x");
    settle(f);
    assert_int_equal(session_received_add(session_of(client), 7, DURABILITY_FSYNC), RC_OK);
    answer_client(keeper, RC_IO);
    expect_ack(client, PACKET_PUBACK, 7, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
    assert_true(session_received_has(session_of(client), 7));
}

static void orphan_of_a_session_that_has_ended_is_harmless(void **state)
{
    struct fixture *f = *state;
    struct client *keeper = connected_durable(f, 1, MQTT_V5);
    subscribe(keeper, "t", 2);
    make_late(f);
    struct client *client = connected(f, 0, MQTT_V5);
    send_publish(client, 2, 7, "x");
    settle(f);
    client_close(client);
    assert_null(session_of(client));
    assert_true(orphaned(f));
    answer_all(f, RC_IO);
    assert_false(orphaned(f));
}

static void owed_packet_that_waits_for_its_turn_only_goes_with_the_connection(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 1, 7, "x");
    send_ack(client, PACKET_PUBREL, 9, 0);
    settle(f);
    client_close(client);
    struct list *orphans = &f->workers[0].conns.orphans;
    assert_true(orphaned(f));
    assert_ptr_equal(orphans->next, orphans->prev); /* one */
    answer_all(f, RC_OK);
    assert_false(orphaned(f));
}

/* ---- repeats ------------------------------------------------------------------------------- */

static void repeat_waits_for_the_commit_of_the_first(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 2, 7, "x");
    settle(f);
    send_publish(client, 2, 7, "x");
    expect_silence(client);
    answer_all(f, RC_OK);
    expect_ack(client, PACKET_PUBREC, 7, 0);
    expect_ack(client, PACKET_PUBREC, 7, 0);
    expect_publish(keeper, "x");
    expect_silence(keeper);
}

static void repeat_on_another_connection_waits_for_the_commit_of_the_first(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 2, 7, "x");
    settle(f);
    make_early(f);
    struct client *again = reconnected(client);
    expect_connack(again, 0);
    make_late(f);
    send_publish(again, 2, 7, "x");
    send_publish(again, 2, 7, "x"); /* waits for that one */
    expect_silence(again);
    send_publish(again, 2, 8, "another");
    expect_silence(again);
    answer_all(f, RC_OK);
    expect_ack(again, PACKET_PUBREC, 7, 0);
    expect_ack(again, PACKET_PUBREC, 7, 0);
    expect_ack(again, PACKET_PUBREC, 8, 0);
    assert_false(orphaned(f));
}

static void repeat_of_a_repeat_waits_too(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    for (int i = 0; i < 4; i++)
        send_publish(client, 2, 7, "x");
    expect_silence(client);
    answer_all(f, RC_OK);
    for (int i = 0; i < 4; i++)
        expect_ack(client, PACKET_PUBREC, 7, 0);
}

/* It is safe, and waits only for the one before it: so does its repeat. */
static void repeat_of_what_waits_for_its_turn_waits_for_its_turn(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 1, 1, "x"); /* waits for the keeper */
    struct publication p = {.topic = bytes_of_str("other"), .payload = bytes_of_str("x")};
    struct publish_form form = {.version = MQTT_V5, .qos = 2, .packet_id = 2};
    send_publication(client, &p, &form);
    settle(f);
    answer_client(client, RC_OK);
    send_publication(client, &p, &form);
    expect_silence(client);
    answer_client(keeper, RC_OK);
    expect_ack(client, PACKET_PUBACK, 1, 0);
    expect_ack(client, PACKET_PUBREC, 2, MQTT_NO_MATCHING_SUBSCRIBERS);
    expect_ack(client, PACKET_PUBREC, 2, 0);
}

static void repeat_fails_with_the_first(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 2, 7, "x");
    settle(f);
    send_publish(client, 2, 7, "x");
    settle(f);
    answer_all(f, RC_IO);
    expect_ack(client, PACKET_PUBREC, 7, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
    expect_ack(client, PACKET_PUBREC, 7, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
    assert_false(session_received_has(session_of(client), 7));
}

static void repeat_of_what_is_kept_waits_for_nothing(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 2, 7, "x");
    settle(f);
    answer_all(f, RC_OK);
    expect_ack(client, PACKET_PUBREC, 7, 0);
    send_publish(client, 2, 7, "x");
    expect_ack(client, PACKET_PUBREC, 7, 0);
}

static void repeat_does_not_wait_for_what_another_client_sent(void **state)
{
    struct fixture *f = *state;
    struct client *other = connected_durable(f, 0, MQTT_V5);
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    assert_ptr_equal(session_of(other)->table, session_of(client)->table);
    send_publish(other, 2, 7, "x");
    settle(f);
    client_close(other); /* an orphan now, with the same identifier */
    assert_true(orphaned(f));
    assert_int_equal(session_received_add(session_of(client), 7, DURABILITY_FSYNC), RC_OK);
    send_publish(client, 2, 7, "x");
    expect_ack(client, PACKET_PUBREC, 7, 0);
}

static void repeat_does_not_wait_for_other_identifiers_and_types(void **state)
{
    struct fixture *f = *state;
    struct client *keeper, *client = pair_on_late_store(f, MQTT_V5, &keeper);
    send_publish(client, 1, 7, "x"); /* owes PUBACK 7 */
    send_publish(client, 2, 8, "x"); /* owes PUBREC 8 */
    settle(f);
    assert_int_equal(session_received_add(session_of(client), 7, DURABILITY_FSYNC), RC_OK);
    send_publish(client, 2, 7, "x");
    settle(f);
    answer_client(keeper, RC_IO); /* PUBACK 7 fails, PUBREC 7 is safe */
    expect_ack(client, PACKET_PUBACK, 7, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
    answer_client(client, RC_OK);
    expect_ack(client, PACKET_PUBREC, 8, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
    expect_ack(client, PACKET_PUBREC, 7, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(puback_waits_until_the_subscribers_shard_has_committed),
        RULE(pubrec_waits_for_both_shards),
        RULE(acknowledgements_leave_in_the_order_of_what_they_answer),
        RULE(store_that_is_done_at_once_delays_nothing),
        RULE(session_that_ends_with_the_connection_waits_for_no_store),
        RULE(retained_message_waits_for_the_shard_of_its_topic),
        RULE(pubcomp_waits_when_the_identifier_was_known),
        RULE(puback_of_what_could_not_be_kept_says_so_or_is_withheld),
        RULE(failed_acknowledgement_holds_up_none_behind_it),
        RULE(pubrec_fails_when_one_of_its_shards_does),
        RULE(failed_pubrec_gives_the_receive_maximum_back),
        RULE(failed_pubcomp_is_withheld),
        RULE(subscription_that_could_not_be_kept_ends_the_connection),
        RULE(session_that_could_not_be_kept_refuses_the_connect),
        RULE(acknowledgement_of_the_shortest_form_says_success),
        RULE(nothing_is_read_or_sent_before_a_connack_that_waits),
        RULE(connack_of_a_session_that_ends_with_the_connection_does_not_wait),
        RULE(connection_that_ends_before_its_connack_leaves_nothing),
        RULE(taken_over_before_its_connack_ends_without_a_word),
        RULE(acknowledgement_that_is_long_waits_as_well),
        RULE(long_acknowledgements_are_freed),
        RULE(orphan_that_fails_forgets_what_was_received),
        RULE(orphan_that_is_kept_is_still_received),
        RULE(failure_of_another_type_forgets_nothing),
        RULE(orphan_of_a_session_that_has_ended_is_harmless),
        RULE(owed_packet_that_waits_for_its_turn_only_goes_with_the_connection),
        RULE(repeat_waits_for_the_commit_of_the_first),
        RULE(repeat_on_another_connection_waits_for_the_commit_of_the_first),
        RULE(repeat_of_a_repeat_waits_too),
        RULE(repeat_of_what_waits_for_its_turn_waits_for_its_turn),
        RULE(repeat_fails_with_the_first),
        RULE(repeat_of_what_is_kept_waits_for_nothing),
        RULE(repeat_does_not_wait_for_what_another_client_sent),
        RULE(repeat_does_not_wait_for_other_identifiers_and_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
