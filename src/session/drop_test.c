/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_fixture.h"

/* ---- what is not sent ----------------------------------------------------------------------- */

static void expired_messages_are_dropped_when_their_turn_comes(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 100);
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str("short"),
                            .qos = 1,
                            .received_ms = START_MS,
                            .has_expiry = true,
                            .expiry_s = 10};
    session_detach(session, SESSION_WILL_KEEP);
    deliver_publication(session, &p, &(struct deliver_as){.qos = 1});
    p.expiry_s = 60;
    p.payload = bytes_of_str("long");
    deliver_publication(session, &p, &(struct deliver_as){.qos = 1});
    deliver(session, "ever", 1);
    pass(f, 10000);
    attach(f, session, 100);
    session_resume(session);
    assert_sent(f, "long ever");
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_EXPIRED), 1);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 0);
}

static void too_large_messages_are_dropped_and_counted(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->client.payload_max = 4;
    session->receive_maximum = 1;
    for (uint8_t qos = 0; qos < 3; qos++)
        assert_int_equal(deliver(session, "large", qos), NOT_DELIVERED);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE), 3);
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 0);
    deliver(session, "fits", 1); /* no place in the window was lost */
    assert_sent(f, "fits");
}

static void too_large_messages_do_not_stop_a_pump(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session_detach(session, SESSION_WILL_KEEP);
    deliver(session, "large", 1);
    deliver(session, "fits", 1);
    f->client.payload_max = 4;
    attach(f, session, 10);
    session_resume(session);
    assert_sent(f, "fits");
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE), 1);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 0);
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 1);
}

/* The client came back and takes less than before. */
static void too_large_messages_do_not_stop_a_resend(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver(session, "large", 1);
    deliver(session, "fits", 1);
    deliver(session, "large", 2);
    deliver(session, "too", 2);
    f->client.payload_max = 4;
    reconnect(f, session, 2);
    assert_sent(f, "fits too");
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 2);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE), 2);
}

static void message_for_which_there_is_no_memory_is_dropped_and_counted(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = {.data = (const uint8_t *)"", .len = UINT32_MAX}};
    f->table.limits.queue_bytes_max = UINT64_MAX;
    assert_int_equal(deliver_publication(session, &p, &(struct deliver_as){.qos = 1}),
                     NOT_DELIVERED);
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(deliver_publication(session, &p, &(struct deliver_as){.qos = 1}),
                     NOT_DELIVERED);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_NO_MEMORY), 2);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 0);
}

static void message_is_not_queued_when_memory_is_full(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    session->receive_maximum = 1;
    deliver(session, "a", 1);
    atomic_store(&f->memory_full, true);
    assert_int_equal(deliver(session, "b", 1), NOT_DELIVERED);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_NO_MEMORY), 1);
}

static void messages_that_wait_when_the_session_ends_are_counted(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    deliver(session, "a", 1);
    session_detach(session, SESSION_WILL_KEEP);
    deliver(session, "b", 1);
    deliver(session, "c", 2);
    session_end(session);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_SESSION_GONE), 2);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 0);
    assert_int_equal(metric(f, METRIC_QUEUED_BYTES), 0);
    assert_int_equal(metric(f, METRIC_INFLIGHT_MESSAGES), 0);
}

static void connection_that_is_ending_loses_qos0_and_keeps_the_rest(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->client.failing = true;
    assert_int_equal(deliver(session, "zero", 0), NOT_DELIVERED);
    assert_int_equal(deliver(session, "one", 1), DELIVERED);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_SESSION_GONE), 1);
    f->client.failing = false;
    reconnect(f, session, 10);
    assert_sent(f, "one");
}

/* ---- limits of the queue -------------------------------------------------------------------- */

/* A session whose client is away, and a queue for three messages. */
static struct session *away_with_little_queue(struct fixture *f, enum queue_policy policy)
{
    struct session *session = connected(f, 10);
    session_detach(session, SESSION_WILL_KEEP);
    f->table.limits.queue_messages_max = 3;
    f->table.limits.queue_policy = policy;
    f->table.limits.queue_qos0_offline = true;
    return session;
}

static void come_back(struct fixture *f, struct session *session)
{
    attach(f, session, 10);
    session_resume(session);
}

static void queue_that_is_full_rejects_what_is_new(void **state)
{
    struct fixture *f = *state;
    struct session *session = away_with_little_queue(f, QUEUE_REJECT_NEW);
    assert_int_equal(deliver_letters(session, "abc", 1), DELIVERED);
    assert_int_equal(deliver(session, "d", 1), NOT_DELIVERED);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QUEUE_FULL), 1);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 3);
    come_back(f, session);
    assert_sent(f, "a b c");
}

static void queue_that_is_full_gives_up_the_oldest(void **state)
{
    struct fixture *f = *state;
    struct session *session = away_with_little_queue(f, QUEUE_GIVE_UP_OLDEST);
    assert_int_equal(deliver_letters(session, "abcde", 1), DELIVERED);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QUEUE_FULL), 2);
    assert_int_equal(metric(f, METRIC_QUEUED_MESSAGES), 3);
    come_back(f, session);
    assert_sent(f, "c d e");
}

static void queue_that_is_full_gives_up_qos0_for_qos1(void **state)
{
    struct fixture *f = *state;
    struct session *session = away_with_little_queue(f, QUEUE_GIVE_UP_QOS0);
    deliver(session, "a", 0);
    deliver(session, "b", 1);
    deliver(session, "c", 0);
    assert_int_equal(deliver(session, "d", 1), DELIVERED);
    assert_int_equal(deliver(session, "zero", 0), NOT_DELIVERED);
    assert_int_equal(deliver(session, "e", 1), DELIVERED);
    assert_int_equal(deliver(session, "f", 1), NOT_DELIVERED); /* no QoS 0 is left */
    come_back(f, session);
    assert_sent(f, "b d e");
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QUEUE_FULL), 4);
}

static void queue_has_a_limit_of_bytes(void **state)
{
    struct fixture *f = *state;
    struct session *session = away_with_little_queue(f, QUEUE_REJECT_NEW);
    deliver(session, "a", 1);
    f->table.limits.queue_bytes_max = 2 * session->queue->bytes;
    assert_int_equal(deliver(session, "b", 1), DELIVERED);
    assert_int_equal(deliver(session, "c", 1), NOT_DELIVERED);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QUEUE_BYTES_FULL), 1);
}

static void queue_gives_up_as_many_as_a_longer_message_needs(void **state)
{
    struct fixture *f = *state;
    struct session *session = away_with_little_queue(f, QUEUE_GIVE_UP_OLDEST);
    deliver(session, "a", 1);
    f->table.limits.queue_bytes_max = 2 * session->queue->bytes;
    deliver(session, "b", 1);
    assert_int_equal(deliver(session, "longer", 1), DELIVERED);
    come_back(f, session);
    assert_sent(f, "longer");
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QUEUE_BYTES_FULL), 2);
}

static void queue_gives_up_nothing_for_a_message_that_can_never_fit(void **state)
{
    struct fixture *f = *state;
    struct session *session = away_with_little_queue(f, QUEUE_GIVE_UP_OLDEST);
    deliver(session, "a", 1);
    f->table.limits.queue_bytes_max = session->queue->bytes;
    assert_int_equal(deliver(session, "longer", 1), NOT_DELIVERED);
    come_back(f, session);
    assert_sent(f, "a");
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QUEUE_BYTES_FULL), 1);
}

static void queue_of_a_client_that_reads_too_slowly_drops_qos0_by_that_name(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.queue_messages_max = 1;
    f->client.sink.hold = true;
    deliver(session, "a", 0);
    deliver(session, "b", 0);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QOS0_NOT_WRITABLE), 1);
}

static void queue_counts_who_gave_way_by_its_own_qos(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.queue_messages_max = 1;
    f->table.limits.queue_policy = QUEUE_GIVE_UP_OLDEST;
    f->client.sink.hold = true;
    deliver(session, "a", 1);
    deliver(session, "b", 0);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QUEUE_FULL), 1);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_QOS0_NOT_WRITABLE), 0);
}

/* ---- lag ------------------------------------------------------------------------------------ */

static enum deliver_result deliver_many(struct session *session, uint32_t count)
{
    enum deliver_result result = DELIVERED;
    for (uint32_t i = 0; i < count; i++)
        result = deliver(session, "x", 1);
    return result;
}

static void subscriber_that_falls_behind_is_reported_before_its_queue_is_full(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.queue_messages_max = 100;
    f->client.sink.hold = true;
    assert_int_equal(deliver_many(session, 10), DELIVERED);
    assert_int_equal(deliver_many(session, 80), DELIVERED_LAGGING);
}

static void subscriber_that_falls_behind_is_reported_when_its_queue_is_full_too(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.queue_messages_max = 100;
    f->client.sink.hold = true;
    assert_int_equal(deliver_many(session, 101), NOT_DELIVERED_LAGGING);
}

static void subscriber_that_is_away_slows_nobody(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.queue_messages_max = 100;
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(deliver_many(session, 99), DELIVERED);
    assert_int_equal(deliver_many(session, 10), NOT_DELIVERED);
}

static void subscriber_that_takes_nothing_at_all_slows_nobody(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.queue_messages_max = 100;
    f->client.sink.hold = true;
    deliver_many(session, 90);
    for (int i = 0; i < 20; i++) { /* its patience is 1 s */
        pass(f, 100);
        deliver(session, "x", 0);
    }
    assert_int_equal(deliver(session, "x", 1), NOT_DELIVERED);
}

static void subscriber_that_still_reads_bytes_slows_publishers(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.queue_messages_max = 100;
    f->client.sink.hold = true;
    deliver_many(session, 50);
    for (int i = 0; i < 20; i++) {
        pass(f, 100);
        f->client.unsent = 1000 - 10 * (size_t)i;
        assert_int_equal(deliver(session, "x", 1), DELIVERED_LAGGING);
    }
}

/* The queue was there before and has been empty for long: that is no sign of a client that hangs.
 */
static void subscriber_that_had_nothing_to_read_for_long_still_slows_publishers(void **state)
{
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.queue_messages_max = 100;
    f->client.sink.hold = true;
    deliver(session, "x", 0);
    f->client.sink.hold = false;
    session_pump(session);
    pass(f, 3600 * 1000);
    f->client.sink.hold = true;
    assert_int_equal(deliver_many(session, 80), DELIVERED_LAGGING);
}

/* ---- a client that never acknowledges some -----------------------------------------------------
 */

enum { MESSAGES = 100000 };

struct unacknowledged {
    uint16_t ids[MESSAGES];
    uint32_t count, sent;
};

/* Notes what the client has been sent, and lets it take more. */
static void note_sent(struct fixture *f, struct session *session, struct unacknowledged *open)
{
    while (f->client.count > 0) {
        for (; f->client.count > 0; open->sent++)
            open->ids[open->count++] = f->client.packets[--f->client.count].packet_id;
        f->client.sink.hold = false;
        session_pump(session);
    }
}

/* One of forty is left unacknowledged: more than a window can leave behind. */
static void messages_left_behind_let_others_wait_and_drop_none(void **state)
{
    static struct unacknowledged open;
    struct fixture *f = *state;
    struct session *session = connected(f, 10);
    f->table.limits.inflight_max = session->receive_maximum = UINT16_MAX;
    f->table.limits.queue_messages_max = MESSAGES;
    f->table.limits.queue_bytes_max = UINT64_MAX;
    f->client.hold_at = 100;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        uint32_t before = open.sent;
        assert_int_not_equal(deliver(session, "x", 1), NOT_DELIVERED);
        note_sent(f, session, &open);
        if (open.sent > before && i % 40 != 0)
            assert_int_equal(session_puback(session, open.ids[--open.count]), RC_OK);
    }
    assert_true(open.sent < MESSAGES);
    while (open.count > 0) {
        assert_int_equal(session_puback(session, open.ids[--open.count]), RC_OK);
        note_sent(f, session, &open);
    }
    assert_int_equal(open.sent, MESSAGES);
    assert_int_equal(metric(f, METRIC_PUBLISH_DROPPED_NO_MEMORY), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(expired_messages_are_dropped_when_their_turn_comes),
        RULE(too_large_messages_are_dropped_and_counted),
        RULE(too_large_messages_do_not_stop_a_pump),
        RULE(too_large_messages_do_not_stop_a_resend),
        RULE(message_for_which_there_is_no_memory_is_dropped_and_counted),
        RULE(message_is_not_queued_when_memory_is_full),
        RULE(messages_that_wait_when_the_session_ends_are_counted),
        RULE(connection_that_is_ending_loses_qos0_and_keeps_the_rest),
        RULE(queue_that_is_full_rejects_what_is_new),
        RULE(queue_that_is_full_gives_up_the_oldest),
        RULE(queue_that_is_full_gives_up_qos0_for_qos1),
        RULE(queue_has_a_limit_of_bytes),
        RULE(queue_gives_up_as_many_as_a_longer_message_needs),
        RULE(queue_gives_up_nothing_for_a_message_that_can_never_fit),
        RULE(queue_of_a_client_that_reads_too_slowly_drops_qos0_by_that_name),
        RULE(queue_counts_who_gave_way_by_its_own_qos),
        RULE(subscriber_that_falls_behind_is_reported_before_its_queue_is_full),
        RULE(subscriber_that_falls_behind_is_reported_when_its_queue_is_full_too),
        RULE(subscriber_that_is_away_slows_nobody),
        RULE(subscriber_that_takes_nothing_at_all_slows_nobody),
        RULE(subscriber_that_still_reads_bytes_slows_publishers),
        RULE(subscriber_that_had_nothing_to_read_for_long_still_slows_publishers),
        RULE(messages_left_behind_let_others_wait_and_drop_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
