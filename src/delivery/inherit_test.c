/* SPDX-License-Identifier: Apache-2.0 */
/* What a member of a share had in its queue on disk, when its session ends. */
#include "delivery/node_fixture.h"

enum { MANY = 700 }; /* more than one piece */

/* A member of "g" on "a" whose client is away, with MANY messages in its queue. */
static struct session *away_with_many(struct node *n, uint8_t qos)
{
    struct client *client = come(n, id_of(0), LONG_S);
    char text[TEXT_ROOM];
    subscribe_as(client, "a", "g", 2);
    leave(client);
    for (int i = 1; i <= MANY; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(n->f, 0, "a", text, qos);
        if (i % 100 > 0)
            continue;
        node_settle(n);
        n->f->published_count = 0;
    }
    assert_int_equal(queue_size(client->session->queue), MANY);
    return client->session;
}

static void share_gets_all_that_an_ended_member_had_on_disk(void **state)
{
    struct node *n = *state;
    struct session *gone = away_with_many(n, 1);
    struct client *heir = come(n, id_of(1), LONG_S);
    subscribe_as(heir, "a", "g", 1);
    session_end(gone);
    node_settle(n);
    assert_int_equal(heir->count, MANY);
    assert_int_equal(atoi(heir->got[(MANY - 1) % GOT_MAX].payload), MANY);
    assert_int_equal(metric(n->f, METRIC_PUBLISH_DROPPED_SESSION_GONE), 0);
    assert_int_equal(key_count(store_engine(n->store), STORE_QUEUE), MANY); /* the heir's */
}

static void share_member_that_is_away_inherits_too_and_keeps_it(void **state)
{
    struct node *n = *state;
    struct session *gone = away_with_many(n, 2);
    struct client *heir = come(n, id_of(1), LONG_S);
    subscribe_as(heir, "a", "g", 2);
    leave(heir);
    session_end(gone);
    node_restart(n);
    heir = come(n, id_of(1), LONG_S);
    assert_int_equal(queue_size(heir->session->queue), MANY);
    node_settle(n);
    assert_int_equal(heir->count, MANY);
    assert_int_equal(atoi(heir->got[(MANY - 1) % GOT_MAX].payload), MANY);
}

static void share_without_another_member_drops_and_counts_what_an_ended_one_had(void **state)
{
    struct node *n = *state;
    session_end(away_with_many(n, 1));
    node_settle(n);
    assert_int_equal(metric(n->f, METRIC_PUBLISH_DROPPED_SESSION_GONE), MANY);
    assert_int_equal(metric(n->f, METRIC_QUEUED_MESSAGES), 0);
    assert_int_equal(key_count(store_engine(n->store), STORE_QUEUE), 0);
}

/* [MQTT-4.8.2-5] */
static void share_gets_no_qos2_message_that_an_ended_member_may_have_got(void **state)
{
    struct node *n = *state;
    struct client *gone = come(n, id_of(0), LONG_S);
    subscribe_as(gone, "a", "g", 2);
    publish(n->f, 0, "a", "sent", 2);
    node_settle(n);
    assert_got(gone, "sent");
    leave(gone);
    publish(n->f, 0, "a", "not sent", 2);
    node_settle(n);
    struct client *heir = come(n, id_of(1), LONG_S);
    subscribe_as(heir, "a", "g", 2);
    session_end(gone->session);
    node_settle(n);
    assert_got(heir, "not sent");
    assert_int_equal(metric(n->f, METRIC_PUBLISH_DROPPED_SESSION_GONE), 1);
}

static void queue_of_a_member_that_ended_just_before_a_crash_is_handed_over_at_the_next_start(
    void **state)
{
    struct node *n = *state;
    struct publication p = {.topic = bytes_of_str("a"), .payload = bytes_of_str("x"), .qos = 1};
    struct record_clock clock = {NOW_MS, clock_wall_ms()};
    struct record_value value;
    subscribe_as(come(n, id_of(1), LONG_S), "a", "g", 1);
    node_crash(n);
    for (uint64_t sequence = 3; sequence <= 4; sequence++) { /* the second one is not of a share */
        struct queue_record record = {.kind = QUEUE_RECORD_MESSAGE, .qos = 1};
        record.share = bytes_of_str(sequence == 3 ? "$share/g/a" : "");
        struct store_key key = record_key_queued(0, 99, sequence);
        queue_record_encode(&record, &p, &clock, &value);
        write_value(n, STORE_QUEUE, &key, &value);
    }
    node_start(n);
    node_settle(n);
    struct client *heir = come(n, id_of(1), LONG_S);
    node_settle(n);
    assert_got(heir, "x");
    assert_int_equal(session_puback(heir->session, packet_id_of(1)), RC_OK);
    node_settle(n);
    assert_int_equal(key_count(store_engine(n->store), STORE_QUEUE), 0);
}

/* The crash comes between the entry's commit and its arrival. */
static void message_handed_over_goes_to_its_share_alone_after_a_crash(void **state)
{
    struct node *n = *state;
    struct publication p = {.topic = bytes_of_str("a"), .payload = bytes_of_str("x"), .qos = 2};
    struct record_clock clock = {NOW_MS, clock_wall_ms()};
    struct record_value value;
    uint8_t encoded[OUTBOX_SHARE_BYTES + 1];
    struct outbox_share share = {.filter_hash = bytes_hash(bytes_of_str("$share/g/a")), .shard = 1};
    subscribe_as(come(n, id_of(0), LONG_S), "a", "", 2);
    subscribe_as(come(n, id_of(1), LONG_S), "a", "g", 2);
    node_crash(n);
    struct store_key key = record_key_of(0, RECORD_OUTBOX, 1);
    message_record_encode(&p, &clock, &value);
    write_value(n, STORE_STATE, &key, &value);
    key = record_key_of(0, RECORD_CHOICES, 1);
    choices_record_encode(&share, 1, OUTBOX_SHARES, encoded, &value);
    write_value(n, STORE_STATE, &key, &value);
    node_start(n);
    node_settle(n);
    struct client *ordinary = come(n, id_of(0), LONG_S), *heir = come(n, id_of(1), LONG_S);
    node_settle(n);
    assert_got(ordinary, "");
    assert_got(heir, "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(share_gets_all_that_an_ended_member_had_on_disk),
        RULE(share_member_that_is_away_inherits_too_and_keeps_it),
        RULE(share_without_another_member_drops_and_counts_what_an_ended_one_had),
        RULE(share_gets_no_qos2_message_that_an_ended_member_may_have_got),
        RULE(queue_of_a_member_that_ended_just_before_a_crash_is_handed_over_at_the_next_start),
        RULE(message_handed_over_goes_to_its_share_alone_after_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
