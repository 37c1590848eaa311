/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's life: packets cut from bytes and dispatched, faults, timers, input that waits. */
#include "conn/conn_fixture.h"

/* ---- before CONNECT ------------------------------------------------------------------------- */

static void what_is_no_connect_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    SEND(client, "\xe0"); /* half a DISCONNECT */
    expect_end(client);
    assert_int_equal(metric(f, METRIC_PROTOCOL_ERRORS), 1);
}

static void connect_that_is_too_large_ends_without_a_word(void **state)
{
    struct fixture *f = *state;
    f->config.limits.packet_bytes = 1000;
    struct client *client = dial(f, 0, MQTT_V5);
    SEND(client, "\x10\xe7\x07"); /* 999 bytes behind the fixed header */
    expect_end(client);
    assert_int_equal(metric(f, METRIC_LIMIT_PACKET_SIZE), 1);
    assert_int_equal(metric(f, METRIC_MALFORMED_PACKETS), 0);
}

static void connect_whose_length_is_malformed_ends_without_a_word(void **state)
{
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    SEND(client, "\x10\xff\xff\xff\xff\x01");
    expect_end(client);
    assert_int_equal(metric(f, METRIC_MALFORMED_PACKETS), 1);
    assert_int_equal(metric(f, METRIC_LIMIT_PACKET_SIZE), 0);
}

static void client_without_connect_is_closed_in_time(void **state)
{
    struct fixture *f = *state;
    f->config.limits.connect_timeout_ms = 50000;
    struct client *client = dial(f, 0, MQTT_V5);
    SEND(client, "\x10\x20");
    pass(f, 40000);
    expect_silence(client);
    pass(f, 11000);
    assert_int_equal(metric(f, METRIC_CONNECT_TIMEOUTS), 1);
    expect_end(client);
}

/* ---- faults --------------------------------------------------------------------------------- */

/* What these bytes bring a connected client, and which metric they count in. */
static void assert_fault(struct fixture *f, enum mqtt_version version, struct bytes bytes,
                         enum mqtt_reason reason, enum metric counted)
{
    uint64_t before = metric(f, counted);
    struct client *client = connected(f, 0, version);
    send_raw(client, bytes.data, bytes.len);
    expect_fault(client, reason);
    assert_int_equal(metric(f, counted) - before, 1);
}

#define LITERAL(text) bytes_of(text, sizeof(text) - 1)

static void packet_that_is_too_large_is_a_fault(void **state)
{
    struct fixture *f = *state;
    f->config.limits.packet_bytes = 100;
    assert_fault(f, MQTT_V5, LITERAL("\x30\x63"), MQTT_PACKET_TOO_LARGE, METRIC_LIMIT_PACKET_SIZE);
    assert_fault(f, MQTT_V311, LITERAL("\x30\x63"), 0, METRIC_LIMIT_PACKET_SIZE);
}

static void malformed_length_is_a_fault(void **state)
{
    assert_fault(*state, MQTT_V5, LITERAL("\x30\xff\xff\xff\xff\x01"), MQTT_MALFORMED_PACKET,
                 METRIC_MALFORMED_PACKETS);
}

static void packet_that_a_client_does_not_send_is_a_fault(void **state)
{
    struct fixture *f = *state;
    assert_fault(f, MQTT_V5, LITERAL("\x20\2\0\0"), MQTT_PROTOCOL_ERROR, METRIC_PROTOCOL_ERRORS);
    assert_fault(f, MQTT_V5, LITERAL("\xd0\0"), MQTT_PROTOCOL_ERROR, METRIC_PROTOCOL_ERRORS);
    assert_fault(f, MQTT_V5, LITERAL("\x10\0"), MQTT_PROTOCOL_ERROR, METRIC_PROTOCOL_ERRORS);
    assert_fault(f, MQTT_V311, LITERAL("\x10\0"), 0, METRIC_PROTOCOL_ERRORS);
}

static void reserved_packet_type_is_malformed(void **state)
{
    struct fixture *f = *state;
    assert_fault(f, MQTT_V5, LITERAL("\0\0"), MQTT_MALFORMED_PACKET, METRIC_MALFORMED_PACKETS);
    assert_fault(f, MQTT_V311, LITERAL("\xf0\0"), 0, METRIC_MALFORMED_PACKETS);
}

static void malformed_packet_of_each_type_is_a_fault(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } packets[] = {{"\xc0\1x", 3},  {"\x42\2\0\1", 4}, {"\x82\1\0", 3},
                   {"\xa2\1\0", 3}, {"\xe1\0", 2},     {"\xf1\0", 2}};
    for (size_t i = 0; i < sizeof(packets) / sizeof(*packets); i++)
        assert_fault(*state, MQTT_V5, bytes_of(packets[i].bytes, packets[i].len),
                     MQTT_MALFORMED_PACKET, METRIC_MALFORMED_PACKETS);
}

static void acknowledgement_without_identifier_is_a_fault(void **state)
{
    assert_fault(*state, MQTT_V5, LITERAL("\x40\2\0\0"), MQTT_PROTOCOL_ERROR,
                 METRIC_PROTOCOL_ERRORS);
}

/* In one write: the work of the first is so much that what follows would have to yield. */
static void packets_behind_a_fault_are_not_looked_at(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    uint64_t before = metric(f, METRIC_PACKETS_RECEIVED);
    f->workers[0].hub.work = WORK_PER_TURN + 1;
    SEND(client, "\0\0\xc0\0\xc0\0");
    expect_fault(client, MQTT_MALFORMED_PACKET);
    assert_int_equal(metric(f, METRIC_PACKETS_RECEIVED) - before, 1);
}

static void fault_counts_once(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    struct conn *conn = conn_of(client);
    conn_fault(conn, MQTT_PROTOCOL_ERROR, "first");
    conn_fault(conn, MQTT_PROTOCOL_ERROR, "second");
    expect_fault(client, MQTT_PROTOCOL_ERROR);
    assert_int_equal(metric(f, METRIC_PROTOCOL_ERRORS), 1);
    assert_int_equal(metric(f, METRIC_CONNECTS_REFUSED), 0);
}

static void fault_keeps_the_will(void **state)
{
    struct fixture *f = *state;
    struct client *watcher = connected(f, 0, MQTT_V5);
    subscribe(watcher, "will", 0);
    struct client *client = dial(f, 0, MQTT_V5);
    struct connect connect = connect_of(client);
    connect.has_will = true;
    connect.will_topic = bytes_of_str("will");
    connected_with(client, &connect);
    SEND(client, "\0\0");
    expect_fault(client, MQTT_MALFORMED_PACKET);
    expect_publish(watcher, "");
}

static void disconnect_of_a_fault_is_not_larger_than_the_client_takes(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    conn_of(client)->packet_max_out = 3;
    SEND(client, "\0\0");
    const struct frame *frame = expect(client, PACKET_DISCONNECT);
    assert_int_equal(frame->size, 3); /* without the words */
    expect_end(client);
    client = connected(f, 0, MQTT_V5);
    conn_of(client)->packet_max_out = 2;
    SEND(client, "\0\0");
    expect_end(client);
}

/* ---- keep alive ----------------------------------------------------------------------------- */

static struct client *client_with_keep_alive(struct fixture *f, enum mqtt_version version)
{
    struct client *client = dial(f, 0, version);
    struct connect connect = connect_of(client);
    connect.keep_alive_s = 200;
    return connected_with(client, &connect);
}

static void silence_of_one_and_a_half_keep_alives_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    for (enum mqtt_version version = MQTT_V31; version <= MQTT_V5; version++) {
        struct client *client = client_with_keep_alive(f, version);
        uint64_t before = metric(f, METRIC_KEEP_ALIVE_TIMEOUTS);
        pass(f, 290000);
        expect_silence(client);
        pass(f, 15000);
        assert_int_equal(metric(f, METRIC_KEEP_ALIVE_TIMEOUTS), before + 1);
        expect_fault(client, MQTT_KEEP_ALIVE_TIMEOUT);
    }
}

static void every_packet_keeps_alive(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_with_keep_alive(f, MQTT_V5);
    for (int i = 0; i < 4; i++) {
        pass(f, 290000);
        SEND(client, "\xc0\0");
        expect(client, PACKET_PINGRESP);
    }
    pass(f, 310000);
    expect_fault(client, MQTT_KEEP_ALIVE_TIMEOUT);
}

static void part_of_a_packet_does_not_keep_alive(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_with_keep_alive(f, MQTT_V5);
    pass(f, 290000);
    SEND(client, "\xc0");
    expect_silence(client);
    pass(f, 15000);
    expect_fault(client, MQTT_KEEP_ALIVE_TIMEOUT);
}

static void keep_alive_ends_in_the_very_millisecond(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_with_keep_alive(f, MQTT_V5);
    struct conn *conn = conn_of(client);
    conn->last_in_ms = f->workers[0].loop.now_ms - conn_keep_alive_ms(conn) + 1;
    conn->timer.fire(&conn->timer);
    expect_silence(client);
    conn->last_in_ms = f->workers[0].loop.now_ms - conn_keep_alive_ms(conn);
    conn->timer.fire(&conn->timer);
    expect_fault(client, MQTT_KEEP_ALIVE_TIMEOUT);
}

static void client_that_we_do_not_read_is_not_called_silent(void **state)
{
    struct fixture *f = *state;
    struct client *client = client_with_keep_alive(f, MQTT_V5);
    struct conn *conn = conn_of(client);
    conn_set_busy(conn, CONN_BUSY_PAUSED);
    for (int i = 0; i < 3; i++) {
        pass(f, 500000);
        expect_silence(client);
        assert_true(timer_running(&conn->timer.timer));
    }
    conn_clear_busy(conn, CONN_BUSY_PAUSED);
    pass(f, 500000);
    expect_fault(client, MQTT_KEEP_ALIVE_TIMEOUT);
}

/* Takes what has come; gives how many of that type. */
static uint32_t packets_of(struct client *client, enum packet_type type)
{
    uint32_t count = 0;
    while (next_packet(client) != NULL)
        count += client->frame.type == type;
    return count;
}

/* ---- a client that does not read ------------------------------------------------------------ */

enum { BIG = 60000 };

/* More than the kernel takes and the broker holds for a client. */
static void flood(struct fixture *f, struct client *reader)
{
    struct client *publisher = connected(f, 0, MQTT_V5);
    static uint8_t payload[BIG];
    struct publication p = {.topic = bytes_of_str("t"), .payload = bytes_of(payload, BIG)};
    struct publish_form form = {.version = MQTT_V5};
    while (!conn_of(reader)->sink.hold) {
        send_publication(publisher, &p, &form);
        settle(f);
    }
}

/* Its answers wait, too. */
static struct client *stuck_client(struct fixture *f)
{
    struct client *client = client_with_keep_alive(f, MQTT_V5);
    subscribe(client, "t", 0);
    flood(f, client);
    assert_int_equal(conn_of(client)->busy, 0);
    SEND(client, "\xc0\0");
    settle(f);
    assert_int_equal(conn_of(client)->busy, CONN_BUSY_OUTPUT);
    return client;
}

static void client_that_reads_nothing_for_a_keep_alive_has_gone(void **state)
{
    struct fixture *f = *state;
    struct client *client = stuck_client(f);
    pass(f, 310000); /* the first look */
    assert_true(conn_of(client)->stuck_bytes > 0);
    assert_int_equal(metric(f, METRIC_KEEP_ALIVE_TIMEOUTS), 0);
    pass(f, 310000);
    assert_int_equal(metric(f, METRIC_KEEP_ALIVE_TIMEOUTS), 1);
    assert_null(session_of(client));
    client_read(client);
}

/* Whatever was written before the end goes out, and then nobody is told that there is room. */
static void client_that_reads_after_the_end_gets_what_was_sent(void **state)
{
    struct fixture *f = *state;
    struct client *client = stuck_client(f);
    conn_close(conn_of(client), MQTT_ADMINISTRATIVE_ACTION);
    uint32_t goodbyes = 0;
    TURN_UNTIL(f, (goodbyes += packets_of(client, PACKET_DISCONNECT)) == 1);
    expect_end(client);
}

/* As one that authenticates for long. */
static void client_without_a_session_may_read_late_too(void **state)
{
    static uint8_t much[2 * STREAM_OUT_HIGH];
    struct fixture *f = *state;
    struct client *client = dial(f, 0, MQTT_V5);
    struct conn *conn = CONTAINER_OF(f->workers[0].conns.connections.next, struct conn, link);
    assert_int_equal(stream_write(&conn->stream, bytes_of(much, sizeof(much))), RC_OK);
    assert_true(stream_is_high(&conn->stream));
    size_t got = 0;
    TURN_UNTIL(f, (client_read(client), got += client->len, client->len = 0, got) == sizeof(much));
    assert_false(conn->stream.above_high);
}

static void client_that_reads_slowly_stays(void **state)
{
    struct fixture *f = *state;
    struct client *client = stuck_client(f);
    struct conn *conn = conn_of(client);
    pass(f, 310000);
    assert_true(conn->stuck_bytes > 0);
    conn->stuck_bytes++; /* as if it had read one byte meanwhile */
    uint32_t before = conn->stuck_bytes;
    pass(f, 310000);
    assert_true(conn->stuck_bytes < before);
    assert_int_equal(metric(f, METRIC_KEEP_ALIVE_TIMEOUTS), 0);
    client_read(client);
}

static void client_that_reads_again_is_read_again(void **state)
{
    struct fixture *f = *state;
    struct client *client = stuck_client(f);
    SEND(client, "\xc0\0"); /* not looked at yet */
    settle(f);
    while (conn_of(client)->busy != 0) {
        client_read(client);
        turn(f);
    }
    assert_false(conn_of(client)->sink.hold);
    assert_int_equal(conn_of(client)->stuck_bytes, 0);
    uint32_t answers = 0;
    TURN_UNTIL(f, (answers += packets_of(client, PACKET_PINGRESP)) == 2);
}

/* What is retained goes on at the client's pace: the turn after it has read must come by itself. */
static void retained_messages_go_on_when_the_client_reads(void **state)
{
    enum { MESSAGES = 20 };
    struct fixture *f = *state;
    struct client *publisher = connected(f, 0, MQTT_V5);
    static uint8_t payload[BIG];
    for (char topic[] = "t/a"; topic[2] < 'a' + MESSAGES; topic[2]++) {
        struct publication p = {.topic = bytes_of_str(topic), .payload = bytes_of(payload, BIG)};
        send_publication(publisher, &p, &(struct publish_form){.version = MQTT_V5, .retain = true});
        settle(f);
    }
    struct client *client = connected(f, 0, MQTT_V5);
    subscribe(client, "t/#", 0);
    settle(f);
    assert_false(list_empty(&f->workers[0].hub.parked));
    struct loop *loop = &f->workers[0].loop;
    while (conn_of(client)->sink.hold) {
        client_read(client);
        assert_int_not_equal(loop->state, LOOP_WOKEN);
        loop_turn(loop, LOOP_LOOK);
    }
    assert_int_equal(loop->state, LOOP_WOKEN);
    uint32_t got = 0;
    TURN_UNTIL(f, (got += packets_of(client, PACKET_PUBLISH)) == MESSAGES);
}

/* ---- input that waits ----------------------------------------------------------------------- */

static void input_waits_until_no_reason_is_left(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    struct conn *conn = conn_of(client);
    conn_set_busy(conn, CONN_BUSY_PAUSED);
    conn_set_busy(conn, CONN_BUSY_JOB);
    SEND(client, "\xc0\0");
    expect_silence(client);
    conn_clear_busy(conn, CONN_BUSY_PAUSED);
    expect_silence(client);
    conn_clear_busy(conn, CONN_BUSY_JOB);
    expect(client, PACKET_PINGRESP);
}

static void one_packet_in_many_pieces_is_one_packet(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    subscribe(client, "t", 0);
    const char packet[] = "\x30\6\0\1t\0xy\xc0\0";
    for (size_t i = 0; i + 1 < sizeof(packet); i++) {
        send_raw(client, packet + i, 1);
        settle(f);
    }
    expect_publish(client, "xy");
    expect(client, PACKET_PINGRESP);
}

static void bytes_and_packets_are_counted(void **state)
{
    struct fixture *f = *state;
    struct client *client = connected(f, 0, MQTT_V5);
    uint64_t bytes = metric(f, METRIC_BYTES_RECEIVED), packets = metric(f, METRIC_PACKETS_RECEIVED);
    uint64_t bytes_out = metric(f, METRIC_BYTES_SENT), out = metric(f, METRIC_PACKETS_SENT);
    SEND(client, "\xc0\0\xc0\0");
    expect(client, PACKET_PINGRESP);
    expect(client, PACKET_PINGRESP);
    assert_int_equal(metric(f, METRIC_BYTES_RECEIVED) - bytes, 4);
    assert_int_equal(metric(f, METRIC_PACKETS_RECEIVED) - packets, 2);
    assert_int_equal(metric(f, METRIC_BYTES_SENT) - bytes_out, 4);
    assert_int_equal(metric(f, METRIC_PACKETS_SENT) - out, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(what_is_no_connect_is_not_waited_for),
        RULE(connect_that_is_too_large_ends_without_a_word),
        RULE(connect_whose_length_is_malformed_ends_without_a_word),
        RULE(client_without_connect_is_closed_in_time),
        RULE(packet_that_is_too_large_is_a_fault),
        RULE(malformed_length_is_a_fault),
        RULE(packet_that_a_client_does_not_send_is_a_fault),
        RULE(reserved_packet_type_is_malformed),
        RULE(malformed_packet_of_each_type_is_a_fault),
        RULE(acknowledgement_without_identifier_is_a_fault),
        RULE(packets_behind_a_fault_are_not_looked_at),
        RULE(fault_counts_once),
        RULE(fault_keeps_the_will),
        RULE(disconnect_of_a_fault_is_not_larger_than_the_client_takes),
        RULE(silence_of_one_and_a_half_keep_alives_ends_the_connection),
        RULE(every_packet_keeps_alive),
        RULE(part_of_a_packet_does_not_keep_alive),
        RULE(keep_alive_ends_in_the_very_millisecond),
        RULE(client_that_we_do_not_read_is_not_called_silent),
        RULE(client_that_reads_nothing_for_a_keep_alive_has_gone),
        RULE(client_that_reads_after_the_end_gets_what_was_sent),
        RULE(client_without_a_session_may_read_late_too),
        RULE(client_that_reads_slowly_stays),
        RULE(client_that_reads_again_is_read_again),
        RULE(retained_messages_go_on_when_the_client_reads),
        RULE(input_waits_until_no_reason_is_left),
        RULE(one_packet_in_many_pieces_is_one_packet),
        RULE(bytes_and_packets_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
