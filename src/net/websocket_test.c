/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net_fixture.h"

#include "model/message.h"
#include "net/websocket.h"

#include <pthread.h>
#include <stdio.h>

static const char request[] = "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Protocol: mqtt\r\n\r\n";

enum { FIN = 0x80, BINARY = WSLAY_BINARY_FRAME, CONTINUATION = WSLAY_CONTINUATION_FRAME };

/* Reads the response up to its empty line. */
static void read_response(struct fixture *f, char *response, size_t room)
{
    size_t len = 0;

    while (len < 4 || memcmp(response + len - 4, "\r\n\r\n", 4) != 0) {
        assert_true(len + 1 < room);
        peer_read(f, response + len++, 1);
    }
    response[len] = '\0';
}

static struct fixture *websocket_opened(void)
{
    struct fixture *f = fixture_new(TRANSPORT_WEBSOCKET);
    char response[512];

    peer_send(f, request, strlen(request));
    read_response(f, response, sizeof(response));
    assert_memory_equal(response, "HTTP/1.1 101 ", 13);
    return f;
}

/* Makes a masked frame; gives its length. `first` is FIN and opcode. */
static size_t make_frame(uint8_t *frame, uint8_t first, const void *payload, size_t len)
{
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    size_t header = frame_header(frame, 0, len);

    frame[0] = first;
    frame[1] |= 0x80;
    memcpy(frame + header, mask, 4);
    for (size_t i = 0; i < len; i++)
        frame[header + 4 + i] = ((const uint8_t *)payload)[i] ^ mask[i % 4];
    return header + 4 + len;
}

static void send_frame(struct fixture *f, uint8_t first, const void *payload, size_t len)
{
    uint8_t *frame = malloc(len + 16);

    assert_non_null(frame);
    peer_send(f, frame, make_frame(frame, first, payload, len));
    free(frame);
}

/* Reads one frame; gives its payload length. */
static size_t read_frame(struct fixture *f, uint8_t *first, uint8_t *payload, size_t room)
{
    uint8_t header[10];
    uint64_t len;

    peer_read(f, header, 2);
    *first = header[0];
    assert_false(header[1] & 0x80); /* a server does not mask */
    len = header[1];
    if (len >= 126) {
        size_t size = len == 126 ? 2 : 8;
        peer_read(f, header + 2, size);
        len = 0;
        for (size_t i = 0; i < size; i++)
            len = len << 8 | header[2 + i];
    }
    assert_true(len <= room);
    peer_read(f, payload, len);
    return len;
}

static void expect_close(struct fixture *f, unsigned code, enum stream_close_reason reason)
{
    uint8_t first, payload[125];

    assert_int_equal(read_frame(f, &first, payload, sizeof(payload)), 2);
    assert_int_equal(first, FIN | WSLAY_CONNECTION_CLOSE);
    assert_int_equal(payload[0] << 8 | payload[1], code);
    TURN_UNTIL(f, peer_sees_end(f));
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->reason, reason);
    peer_close(f);
    TURN_UNTIL(f, f->closed == 1);
}

/* --- handshake --- */

static void websocket_that_is_refused_gets_the_answer_and_is_closed(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_WEBSOCKET);
    char response[512];

    (void)state;
    peer_send(f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    read_response(f, response, sizeof(response));
    assert_memory_equal(response, "HTTP/1.1 426 ", 13);
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_HANDSHAKE);
    assert_int_equal(f->received_calls, 0);
    peer_close(f);
    TURN_UNTIL(f, f->closed == 1);
    fixture_free(f);
}

static void websocket_handshake_that_takes_too_long_is_answered_408(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_WEBSOCKET);
    char response[512];

    (void)state;
    peer_send(f, request, 20);
    turn(f);
    timer_start(&f->loop.wheel, &f->stream.filter->opening->timer.timer, f->loop.now_ms); /* now */
    read_response(f, response, sizeof(response));
    assert_memory_equal(response, "HTTP/1.1 408 ", 13);
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_HANDSHAKE);
    fixture_free(f);
}

static void websocket_takes_no_output_before_the_handshake_is_over(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_WEBSOCKET);

    (void)state;
    assert_null(stream_reserve(&f->stream, 10));
    assert_int_equal(stream_write(&f->stream, bytes_of("x", 1)), RC_CLOSED);
    fixture_free(f);
}

static void websocket_frames_right_behind_the_request_are_taken(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_WEBSOCKET);
    uint8_t wire[sizeof(request) + 32];
    size_t len = strlen(request);

    (void)state;
    memcpy(wire, request, len);
    len += make_frame(wire + len, FIN | BINARY, "\3\0\0\0abc", 7);
    peer_send(f, wire, len);
    TURN_UNTIL(f, f->record_count == 1);
    assert_memory_equal(f->records, "abc", 3);
    fixture_free(f);
}

static void websocket_that_is_idle_holds_no_decoder_and_no_buffer(void **state)
{
    struct fixture *f = websocket_opened();

    (void)state;
    send_frame(f, FIN | BINARY, "\3\0\0\0abc", 7);
    TURN_UNTIL(f, f->record_count == 1);
    assert_int_equal(stream_write(&f->stream, bytes_of("x", 1)), RC_OK);
    TURN_UNTIL(f, f->stream.out_bytes == 0);
    assert_null(f->stream.filter->opening);
    assert_null(f->stream.filter->frames.decoder);
    assert_null(f->stream.kept);
    assert_null(f->stream.out_first);
    fixture_free(f);
}

/* --- input --- */

static void websocket_packets_need_not_be_aligned_with_frames(void **state)
{
    struct fixture *f = websocket_opened();

    (void)state; /* [MQTT-6.0.0-2] */
    send_frame(f, FIN | BINARY, "\3\0", 2);
    send_frame(f, FIN | BINARY, "\0\0a", 3);
    send_frame(f, FIN | BINARY, "", 0);
    send_frame(f, FIN | BINARY, "bc\2\0\0\0de\1\0\0\0", 12);
    send_frame(f, FIN | BINARY, "f", 1);
    TURN_UNTIL(f, f->record_count == 3);
    assert_memory_equal(f->records, "abcdef", 6);
    fixture_free(f);
}

static void websocket_fragments_with_a_ping_between_them_are_one_message(void **state)
{
    struct fixture *f = websocket_opened();
    uint8_t first, payload[125];

    (void)state;
    send_frame(f, BINARY, "\3\0\0", 3);
    send_frame(f, CONTINUATION, "\0a", 2);
    send_frame(f, FIN | WSLAY_PING, "are you there", 13);
    send_frame(f, FIN | CONTINUATION, "bc", 2);
    TURN_UNTIL(f, f->record_count == 1);
    assert_memory_equal(f->records, "abc", 3);
    assert_int_equal(read_frame(f, &first, payload, sizeof(payload)), 13);
    assert_int_equal(first, FIN | WSLAY_PONG);
    assert_memory_equal(payload, "are you there", 13);
    fixture_free(f);
}

static void websocket_frames_may_come_byte_by_byte(void **state)
{
    struct fixture *f = websocket_opened();
    uint8_t body[304] = {44, 1};
    uint8_t wire[400];
    size_t len;

    (void)state;
    memset(body + 4, 'z', 300);
    len = make_frame(wire, FIN | BINARY, body, sizeof(body));
    len += make_frame(wire + len, FIN | WSLAY_PING, "p", 1);
    len += make_frame(wire + len, FIN | BINARY, "\1\0\0\0!", 5);
    for (size_t i = 0; i < len; i++) {
        peer_send(f, wire + i, 1);
        turn(f);
    }
    TURN_UNTIL(f, f->record_count == 2);
    assert_int_equal(f->records_len, 301);
    assert_int_equal(f->records[300], '!');
    fixture_free(f);
}

static void websocket_big_messages_survive(void **state)
{
    struct fixture *f = websocket_opened();
    uint32_t len = 3 * 1000 * 1000;
    uint8_t *body = malloc(len + 4);

    (void)state;
    assert_non_null(body);
    memcpy(body, &len, 4);
    for (uint32_t i = 0; i < len; i++)
        body[4 + i] = (uint8_t)(i * 11 + (i >> 10));
    send_frame(f, FIN | BINARY, body, len + 4);
    TURN_UNTIL(f, f->record_count == 1);
    assert_memory_equal(f->records, body + 4, len);
    free(body);
    fixture_free(f);
}

static void websocket_paused_keeps_a_close_for_later(void **state)
{
    struct fixture *f = websocket_opened();
    uint8_t wire[64];
    size_t len;

    (void)state;
    f->records_max = 1;
    len = make_frame(wire, FIN | BINARY, "\1\0\0\0a\1\0\0\0b", 10);
    len += make_frame(wire + len, FIN | WSLAY_CONNECTION_CLOSE, "\x03\xe8", 2);
    peer_send(f, wire, len);
    TURN_UNTIL(f, f->record_count == 1);
    turn(f);
    assert_int_equal(f->ended, 0);
    f->records_max = 0;
    stream_resume(&f->stream);
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->record_count, 2);
    expect_close(f, 1000, STREAM_CLOSED_BY_PEER);
    fixture_free(f);
}

/* --- faults and the end --- */

static void websocket_text_frame_is_closed_with_1003(void **state)
{
    struct fixture *f = websocket_opened();

    (void)state; /* [MQTT-6.0.0-1] */
    send_frame(f, FIN | WSLAY_TEXT_FRAME, "hi", 2);
    expect_close(f, 1003, STREAM_CLOSED_BY_HANDSHAKE);
    fixture_free(f);
}

static void expect_fault(const void *wire, size_t len)
{
    struct fixture *f = websocket_opened();

    peer_send(f, wire, len);
    expect_close(f, 1002, STREAM_CLOSED_BY_HANDSHAKE);
    fixture_free(f);
}

static void expect_faulty_frame(uint8_t first, size_t len)
{
    static const uint8_t payload[200];
    uint8_t wire[256];

    expect_fault(wire, make_frame(wire, first, payload, len));
}

static void websocket_frames_that_break_the_protocol_are_closed_with_1002(void **state)
{
    uint8_t wire[64];
    size_t len;

    (void)state;
    expect_fault("\x82\x03"
                 "abc",
                 5);                                       /* not masked */
    expect_fault("\x82\xfe\x00\x05mmmmhello", 13);         /* length not in its shortest form */
    expect_faulty_frame(FIN | 0x40 | BINARY, 3);           /* a reserved bit */
    expect_faulty_frame(FIN | 0x3, 3);                     /* a reserved opcode */
    expect_faulty_frame(FIN | CONTINUATION, 3);            /* nothing to continue */
    expect_faulty_frame(WSLAY_PING, 3);                    /* a fragmented control frame */
    expect_faulty_frame(FIN | WSLAY_PING, 126);            /* a long control frame */
    expect_faulty_frame(FIN | WSLAY_CONNECTION_CLOSE, 1);  /* half a code */
    expect_faulty_frame(FIN | WSLAY_CONNECTION_CLOSE, 20); /* code 0 */
    len = make_frame(wire, BINARY, "x", 1);
    len += make_frame(wire + len, FIN | BINARY, "y", 1); /* a message inside a message */
    expect_fault(wire, len);
}

static void websocket_close_with_a_reason_that_is_not_utf8_is_answered_1007(void **state)
{
    struct fixture *f = websocket_opened();

    (void)state;
    send_frame(f, FIN | WSLAY_CONNECTION_CLOSE, "\x03\xe8\xff", 3);
    expect_close(f, 1007, STREAM_CLOSED_BY_HANDSHAKE);
    fixture_free(f);
}

static void websocket_close_is_answered_with_its_code_after_what_came_before(void **state)
{
    struct fixture *f = websocket_opened();
    uint8_t wire[64];
    size_t len = make_frame(wire, FIN | BINARY, "\1\0\0\0a", 5);

    (void)state;
    len += make_frame(wire + len, FIN | WSLAY_CONNECTION_CLOSE,
                      "\x0f\xa0"
                      "bye",
                      5);                                        /* 4000 */
    len += make_frame(wire + len, FIN | BINARY, "\1\0\0\0b", 5); /* nobody hears that */
    peer_send(f, wire, len);
    expect_close(f, 4000, STREAM_CLOSED_BY_PEER);
    assert_int_equal(f->record_count, 1);
    fixture_free(f);
}

static void write_and_close(struct fixture *f)
{
    assert_int_equal(stream_write(&f->stream, bytes_of("goodbye", 7)), RC_OK);
    stream_close_after_flush(&f->stream, 5000);
}

static void websocket_that_we_close_sends_its_output_and_a_close_frame(void **state)
{
    struct fixture *f = websocket_opened();
    uint8_t first, payload[16];

    (void)state;
    f->on_record = write_and_close;
    send_frame(f, FIN | BINARY, "\1\0\0\0a", 5);
    assert_int_equal(read_frame(f, &first, payload, sizeof(payload)), 7);
    assert_int_equal(first, FIN | BINARY);
    assert_memory_equal(payload, "goodbye", 7);
    expect_close(f, 1000, STREAM_CLOSED_BY_US);
    fixture_free(f);
}

/* --- output --- */

/* Appends a packet of `len` bytes of this value. */
static void write_packet(struct fixture *f, size_t len, uint8_t value)
{
    uint8_t *room = stream_reserve(&f->stream, len);

    assert_non_null(room);
    memset(room, value, len);
    stream_commit(&f->stream, len);
}

static void expect_packet(struct fixture *f, size_t len, uint8_t value)
{
    uint8_t *payload = malloc(len), first;

    assert_non_null(payload);
    assert_int_equal(read_frame(f, &first, payload, len), len);
    assert_int_equal(first, FIN | BINARY);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(payload[i], value);
    free(payload);
}

static void websocket_packets_of_a_turn_are_a_frame_each_and_leave_in_one_write(void **state)
{
    struct fixture *f = websocket_opened();
    const size_t sizes[] = {1, 125, 126, 2, 2000, 65535, 65536, 3, 200000, 4};
    const size_t count = sizeof(sizes) / sizeof(*sizes);
    uint64_t writes = f->loop.counters.writes;
    int room = 1024 * 1024;

    (void)state;
    setsockopt(f->stream.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    for (size_t i = 0; i < count; i++)
        write_packet(f, sizes[i], (uint8_t)i);
    turn(f);
    assert_int_equal(f->stream.out_bytes, 0);
    assert_int_equal(f->loop.counters.writes, writes + 1);
    for (size_t i = 0; i < count; i++)
        expect_packet(f, sizes[i], (uint8_t)i);
    assert_int_equal(f->loop.buffered_bytes, 0);
    fixture_free(f);
}

static void websocket_thousand_packets_of_a_turn_share_few_chunks(void **state)
{
    struct fixture *f = websocket_opened();
    uint64_t writes = f->loop.counters.writes;

    (void)state;
    for (size_t i = 0; i < 1000; i++)
        write_packet(f, 50, (uint8_t)i);
    assert_ptr_equal(f->stream.out_first->next->next, f->stream.out_last);
    turn(f);
    assert_int_equal(f->loop.counters.writes, writes + 1);
    for (size_t i = 0; i < 1000; i++)
        expect_packet(f, 50, (uint8_t)i);
    fixture_free(f);
}

static void websocket_packet_smaller_than_its_room_has_the_shortest_header(void **state)
{
    struct fixture *f = websocket_opened();
    const size_t used[] = {65535, 126, 125, 1};

    (void)state;
    for (size_t i = 0; i < sizeof(used) / sizeof(*used); i++) {
        uint8_t *room = stream_reserve(&f->stream, 70000);
        assert_non_null(room);
        memset(room, (int)i, used[i]);
        stream_commit(&f->stream, used[i]);
    }
    for (size_t i = 0; i < sizeof(used) / sizeof(*used); i++)
        expect_packet(f, used[i], (uint8_t)i);
    fixture_free(f);
}

static void websocket_room_that_was_not_used_is_no_frame(void **state)
{
    struct fixture *f = websocket_opened();

    (void)state;
    assert_non_null(stream_reserve(&f->stream, 100));
    write_packet(f, 5, 'a');
    assert_non_null(stream_reserve(&f->stream, 100));
    expect_packet(f, 5, 'a');
    turn(f);
    assert_null(f->stream.out_first);
    fixture_free(f);
}

static void websocket_packet_that_comes_while_the_socket_is_full_follows_whole(void **state)
{
    struct fixture *f = websocket_opened();
    size_t count = 0;

    (void)state;
    while (!f->stream.waits_writable) {
        write_packet(f, 3000, (uint8_t)count++);
        turn(f);
    }
    for (int i = 0; i < 3; i++) {
        write_packet(f, 7, (uint8_t)count++);
        turn(f);
    }
    for (size_t i = 0; i < count; i++)
        expect_packet(f, i + 3 < count ? 3000 : 7, (uint8_t)i);
    assert_int_equal(f->loop.buffered_bytes, 0);
    fixture_free(f);
}

static void websocket_pong_goes_between_frames_not_into_one(void **state)
{
    struct fixture *f = websocket_opened();
    uint8_t first, payload[16];

    (void)state;
    /* given output of this turn that is not flushed when a ping comes */
    assert_int_equal(stream_write(&f->stream, bytes_of("before", 6)), RC_OK);
    send_frame(f, FIN | WSLAY_PING, "?", 1);
    turn(f);
    assert_int_equal(stream_write(&f->stream, bytes_of("after", 5)), RC_OK);
    assert_int_equal(read_frame(f, &first, payload, sizeof(payload)), 6);
    assert_int_equal(first, FIN | BINARY);
    assert_int_equal(read_frame(f, &first, payload, sizeof(payload)), 1);
    assert_int_equal(first, FIN | WSLAY_PONG);
    assert_int_equal(read_frame(f, &first, payload, sizeof(payload)), 5);
    assert_memory_equal(payload, "after", 5);
    fixture_free(f);
}

/* Each size needs a header of another length than the beginning of the packet alone would. */
static void websocket_payload_of_a_message_is_referenced_inside_the_frame(void **state)
{
    struct fixture *f = websocket_opened();
    static uint8_t body[70000];
    const size_t sizes[] = {sizeof(body), 8192, 1, sizeof(body)};
    const size_t count = sizeof(sizes) / sizeof(*sizes);
    struct publication publication = {.topic = bytes_of_str("t"),
                                      .payload = bytes_of(body, sizeof(body))};
    struct message *message = message_new(&publication);
    struct bytes payload = message->publication.payload;
    uint8_t *got = malloc(sizeof(body) + 3);
    uint8_t first;

    (void)state;
    assert_non_null(got);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(stream_write(&f->stream, bytes_of("abc", 3)), RC_OK);
        stream_write_message(&f->stream, message, bytes_of(payload.data, sizes[i]));
    }
    assert_ptr_equal(f->stream.out_first->external.data, payload.data);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(read_frame(f, &first, got, sizeof(body) + 3), sizes[i] + 3);
        assert_int_equal(first, FIN | BINARY);
        assert_memory_equal(got, "abc", 3);
        assert_memory_equal(got + 3, body, sizes[i]);
    }
    assert_int_equal(message->references, 1);
    message_drop(message);
    free(got);
    fixture_free(f);
}

static void websocket_pings_of_a_peer_that_does_not_read_are_not_piled_up(void **state)
{
    struct fixture *f = websocket_opened();
    uint8_t wire[160];
    static const uint8_t payload[125];
    size_t len = make_frame(wire, FIN | WSLAY_PING, payload, sizeof(payload));
    int size = 4096;

    (void)state;
    setsockopt(f->stream.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    for (int i = 0; i < 20000; i++)
        peer_send(f, wire, len);
    turn(f);
    assert_true(f->stream.waits_writable);
    assert_in_range(f->stream.out_bytes, STREAM_OUT_HIGH / 2, STREAM_OUT_HIGH + 256);
    fixture_free(f);
}

/* --- moving to another loop --- */

static struct fixture *second;
static pthread_t second_thread;
static int moved_fd;
static struct stream_filter *moved_filter;
static uint8_t *moved_bytes;
static size_t moved_len;

static void stop_when_two(struct fixture *f)
{
    if (f->record_count == 2)
        loop_stop(&f->loop);
}

static void *second_main(void *arg)
{
    (void)arg;
    loop_init(&second->loop, &fixture_loop_ops, second);
    second->on_record = stop_when_two;
    assert_int_equal(stream_open(&second->stream, &second->loop, &fixture_stream_ops, moved_fd,
                                 TRANSPORT_WEBSOCKET, moved_filter,
                                 bytes_of(moved_bytes, moved_len)),
                     RC_OK);
    free(moved_bytes);
    assert_int_equal(stream_write(&second->stream, bytes_of("moved", 5)), RC_OK);
    loop_run(&second->loop);
    loop_deinit(&second->loop);
    return NULL;
}

static void move_away(struct fixture *f)
{
    moved_fd = stream_detach(&f->stream, 5, &moved_filter, &moved_bytes, &moved_len);
    assert_true(moved_fd >= 0);
}

static void websocket_moves_to_another_loop_in_the_middle_of_a_frame(void **state)
{
    struct fixture *f = websocket_opened();
    uint8_t wire[64], first, payload[8];
    size_t len = make_frame(wire, BINARY, "\1\0\0\0a\3\0\0", 8);

    (void)state;
    second = calloc(1, sizeof(*second));
    assert_non_null(second);
    len += make_frame(wire + len, FIN | CONTINUATION, "\0bcd\3\0\0\0efg", 11);
    f->on_record = move_away;
    peer_send(f, wire, len - 8); /* cut inside the second frame */
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->ended, 0);
    assert_int_equal(pthread_create(&second_thread, NULL, second_main, NULL), 0);
    assert_int_equal(read_frame(f, &first, payload, sizeof(payload)), 5);
    assert_int_equal(first, FIN | BINARY);
    peer_send(f, wire + len - 8, 8);
    pthread_join(second_thread, NULL);
    assert_int_equal(second->record_count, 2);
    assert_memory_equal(second->records, "bcdefg", 6);
    free(second->records);
    free(second);
    loop_deinit(&f->loop);
    close(f->peer);
    free(f->records);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(websocket_that_is_refused_gets_the_answer_and_is_closed),
        cmocka_unit_test(websocket_handshake_that_takes_too_long_is_answered_408),
        cmocka_unit_test(websocket_takes_no_output_before_the_handshake_is_over),
        cmocka_unit_test(websocket_frames_right_behind_the_request_are_taken),
        cmocka_unit_test(websocket_that_is_idle_holds_no_decoder_and_no_buffer),
        cmocka_unit_test(websocket_packets_need_not_be_aligned_with_frames),
        cmocka_unit_test(websocket_fragments_with_a_ping_between_them_are_one_message),
        cmocka_unit_test(websocket_frames_may_come_byte_by_byte),
        cmocka_unit_test(websocket_big_messages_survive),
        cmocka_unit_test(websocket_paused_keeps_a_close_for_later),
        cmocka_unit_test(websocket_text_frame_is_closed_with_1003),
        cmocka_unit_test(websocket_frames_that_break_the_protocol_are_closed_with_1002),
        cmocka_unit_test(websocket_close_with_a_reason_that_is_not_utf8_is_answered_1007),
        cmocka_unit_test(websocket_close_is_answered_with_its_code_after_what_came_before),
        cmocka_unit_test(websocket_that_we_close_sends_its_output_and_a_close_frame),
        cmocka_unit_test(websocket_packets_of_a_turn_are_a_frame_each_and_leave_in_one_write),
        cmocka_unit_test(websocket_thousand_packets_of_a_turn_share_few_chunks),
        cmocka_unit_test(websocket_packet_smaller_than_its_room_has_the_shortest_header),
        cmocka_unit_test(websocket_room_that_was_not_used_is_no_frame),
        cmocka_unit_test(websocket_packet_that_comes_while_the_socket_is_full_follows_whole),
        cmocka_unit_test(websocket_pong_goes_between_frames_not_into_one),
        cmocka_unit_test(websocket_payload_of_a_message_is_referenced_inside_the_frame),
        cmocka_unit_test(websocket_pings_of_a_peer_that_does_not_read_are_not_piled_up),
        cmocka_unit_test(websocket_moves_to_another_loop_in_the_middle_of_a_frame),
    };
    return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
