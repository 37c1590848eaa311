/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net_fixture.h"

#include "model/message.h"
#include "net/out_pool.h"
#include "net/stream_internal.h"

#include <netinet/in.h>
#include <pthread.h>

static void send_record(struct fixture *f, const void *body, uint32_t len)
{
    peer_send(f, &len, sizeof(len));
    peer_send(f, body, len);
}

static struct message *message_of(size_t payload_len)
{
    uint8_t *payload = malloc(payload_len);
    struct publication publication = {
        .topic = bytes_of_str("t"),
        .payload = bytes_of(payload, payload_len),
    };
    struct message *message;

    assert_non_null(payload);
    for (size_t i = 0; i < payload_len; i++)
        payload[i] = (uint8_t)(i * 7 + i / 251);
    message = message_new(&publication);
    assert_non_null(message);
    free(payload);
    return message;
}

/* --- input --- */

static void stream_hands_up_unconsumed_bytes_in_front_of_new_ones(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t wire[] = {3, 0, 0, 0, 'a', 'b', 'c', 2, 0, 0, 0, 'd', 'e'};

    (void)state;
    for (size_t i = 0; i < sizeof(wire); i++) {
        size_t before = f->received_calls;
        peer_send(f, &wire[i], 1);
        TURN_UNTIL(f, f->received_calls > before);
    }
    assert_int_equal(f->record_count, 2);
    assert_memory_equal(f->records, "abcde", 5);
    assert_int_equal(f->largest_span, 7);
    fixture_free(f);
}

static void stream_that_is_idle_holds_no_buffer(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);

    (void)state;
    send_record(f, "abc", 3);
    TURN_UNTIL(f, f->record_count == 1);
    assert_int_equal(stream_write(&f->stream, bytes_of("xyz", 3)), RC_OK);
    TURN_UNTIL(f, f->stream.out_bytes == 0);
    assert_null(f->stream.kept);
    assert_null(f->stream.out_first);
    assert_null(f->stream.out_last);
    fixture_free(f);
}

static void stream_keeps_only_the_tail_that_was_not_consumed(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t wire[1000 + 4 + 2] = {(1000 & 0xff), (1000 >> 8)};

    (void)state;
    memcpy(wire + 1004, "\x09\x00", 2);
    peer_send(f, wire, sizeof(wire));
    TURN_UNTIL(f, f->record_count == 1);
    assert_int_equal(f->stream.kept->len, 2);
    assert_int_equal(f->stream.kept->room, 2);
    fixture_free(f);
}

static void stream_assembles_a_big_packet_within_twice_its_size(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint32_t len = 24 * 1024 * 1024;
    uint8_t *body = malloc(len);
    size_t most_room = 0;

    (void)state;
    assert_non_null(body);
    for (uint32_t i = 0; i < len; i++)
        body[i] = (uint8_t)(i * 31 + (i >> 13));
    peer_send(f, &len, sizeof(len));
    for (uint32_t at = 0; at < len; at += 64 * 1024) {
        peer_send(f, body + at, 64 * 1024);
        if (f->stream.kept != NULL && f->stream.kept->room > most_room)
            most_room = f->stream.kept->room;
    }
    TURN_UNTIL(f, f->record_count == 1);
    assert_memory_equal(f->records, body, len);
    assert_true(most_room <= 2U * len + 128 * 1024);
    assert_null(f->stream.kept);
    free(body);
    fixture_free(f);
}

static void stream_packets_of_all_sizes_survive_all_cuts(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t body[20000];
    size_t expected = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (uint8_t)(i % 253);
    for (uint32_t len = 0; len < sizeof(body); len = len * 5 / 4 + 1) {
        uint32_t cut = len / 3;
        size_t before = f->received_calls;
        peer_send(f, &len, sizeof(len));
        peer_send(f, body, cut);
        TURN_UNTIL(f, f->received_calls > before);
        peer_send(f, body + cut, len - cut);
        expected++;
    }
    TURN_UNTIL(f, f->record_count == expected);
    for (uint32_t len = 0, at = 0; len < sizeof(body); at += len, len = len * 5 / 4 + 1)
        assert_memory_equal(f->records + at, body, len);
    fixture_free(f);
}

static void stream_reads_once_a_turn_so_that_nobody_hogs_the_loop(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t *noise = calloc(1, LOOP_READ_SIZE);
    int size = 4 * LOOP_READ_SIZE;
    uint64_t reads;

    (void)state;
    assert_non_null(noise);
    noise[3] = 0x7f; /* a record that never ends */
    setsockopt(f->peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    while (send(f->peer, noise, LOOP_READ_SIZE, MSG_NOSIGNAL) > 0)
        continue;
    reads = f->loop.counters.reads;
    turn(f);
    assert_int_equal(f->loop.counters.reads, reads + 1);
    free(noise);
    fixture_free(f);
}

static void stream_paused_reads_nothing_and_hands_up_the_rest_after_resume(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);

    (void)state;
    f->records_max = 1;
    send_record(f, "one", 3);
    send_record(f, "two", 3);
    TURN_UNTIL(f, f->record_count == 1);
    send_record(f, "six", 3);
    for (int i = 0; i < 10; i++)
        turn(f);
    assert_int_equal(f->record_count, 1);
    f->records_max = 2;
    stream_resume(
        &f->stream); /* the socket may have nothing new: what is kept comes all the same */
    turn(f);
    assert_int_equal(f->record_count, 2);
    f->records_max = 0;
    stream_resume(&f->stream);
    TURN_UNTIL(f, f->record_count == 3);
    assert_memory_equal(f->records, "onetwosix", 9);
    fixture_free(f);
}

static void stream_taken_little_by_little_is_not_copied_each_time(void **state)
{
    enum { COUNT = 64, SIZE = 1000 };
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t body[SIZE] = {0};

    (void)state;
    f->records_max = 1;
    for (int i = 0; i < COUNT; i++) {
        body[0] = (uint8_t)i;
        send_record(f, body, SIZE);
    }
    TURN_UNTIL(f, f->record_count == 1);
    const struct stream_kept *kept = f->stream.kept;
    uint32_t from = kept->from, all = kept->len;
    assert_true(all > 2 * LOOP_READ_HEADROOM);
    while (all - (kept->from - from) > LOOP_READ_HEADROOM + SIZE + 4) {
        uint32_t before = kept->from;
        f->records_max++;
        stream_resume(&f->stream);
        turn(f);
        assert_ptr_equal(f->stream.kept, kept);
        assert_int_equal(kept->from, before + SIZE + 4);
    }
    f->records_max = 0;
    stream_resume(&f->stream);
    TURN_UNTIL(f, f->record_count == COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(f->records[i * SIZE], i);
    fixture_free(f);
}

/* --- output --- */

static void stream_output_of_a_turn_leaves_in_one_write(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t got[40 * 100];

    (void)state;
    for (int i = 0; i < 40; i++) {
        uint8_t *room = stream_reserve(&f->stream, 200);
        assert_non_null(room);
        memset(room, i, 100);
        stream_commit(&f->stream, 100);
    }
    assert_int_equal(f->loop.buffered_bytes, sizeof(got));
    assert_non_null(f->stream.out_first->next); /* more than one chunk */
    turn(f);
    turn(f);
    assert_int_equal(f->loop.counters.writes, 1);
    assert_int_equal(f->loop.counters.write_bytes, sizeof(got));
    peer_read(f, got, sizeof(got));
    for (size_t i = 0; i < sizeof(got); i++)
        assert_int_equal(got[i], i / 100);
    fixture_free(f);
}

static void stream_chunks_go_back_to_the_pool_of_the_loop(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    struct out_chunk *chunk;
    uint8_t got[10];

    (void)state;
    assert_int_equal(stream_write(&f->stream, bytes_of("hello", 5)), RC_OK);
    chunk = f->stream.out_last;
    peer_read(f, got, 5);
    assert_int_equal(stream_write(&f->stream, bytes_of("world", 5)), RC_OK);
    assert_ptr_equal(f->stream.out_last, chunk);
    fixture_free(f);
}

static void stream_payload_of_a_message_is_referenced_not_copied(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    struct message *message = message_of(100 * 1000);
    struct bytes payload = message->publication.payload;
    uint8_t *got = malloc(2 * payload.len + 20);

    (void)state;
    assert_non_null(got);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stream_write(&f->stream, bytes_of("0123456789", 10)), RC_OK);
        stream_write_message(&f->stream, message, payload);
    }
    assert_ptr_equal(f->stream.out_first->external.data, payload.data);
    assert_ptr_equal(f->stream.out_last->external.data, payload.data);
    assert_int_equal(message->references, 3);
    peer_read(f, got, 2 * payload.len + 20);
    assert_memory_equal(got, "0123456789", 10);
    assert_memory_equal(got + 10, payload.data, payload.len);
    assert_memory_equal(got + 20 + payload.len, payload.data, payload.len);
    assert_int_equal(message->references, 1);
    message_drop(message);
    free(got);
    fixture_free(f);
}

static void stream_close_drops_the_messages_in_the_output(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    struct message *message = message_of(100);

    (void)state;
    assert_int_equal(stream_write(&f->stream, bytes_of("0", 1)), RC_OK);
    stream_write_message(&f->stream, message, message->publication.payload);
    assert_int_equal(message->references, 2);
    stream_close(&f->stream);
    assert_int_equal(message->references, 1);
    message_drop(message);
    fixture_free(f);
}

static void stream_write_of_any_size_comes_out_whole(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t *data = malloc(300000);
    uint8_t *got = malloc(300000);

    (void)state;
    assert_non_null(data);
    assert_non_null(got);
    for (size_t i = 0; i < 300000; i++)
        data[i] = (uint8_t)(i * 13 + (i >> 9));
    for (size_t len = 1; len < 300000; len = len * 3 + 1) {
        assert_int_equal(stream_write(&f->stream, bytes_of("ab", 2)), RC_OK);
        assert_int_equal(stream_write(&f->stream, bytes_of(data, len)), RC_OK);
        peer_read(f, got, 2);
        peer_read(f, got, len);
        assert_memory_equal(got, data, len);
    }
    free(data);
    free(got);
    fixture_free(f);
}

static void stream_with_a_reader_that_stops_is_high_until_it_reads_again(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    static uint8_t data[10000];
    size_t written = 0;
    uint8_t *got;

    (void)state;
    while (!stream_is_high(&f->stream)) {
        assert_int_equal(stream_write(&f->stream, bytes_of(data, sizeof(data))), RC_OK);
        written += sizeof(data);
        turn(f);
    }
    assert_true(f->stream.waits_writable);
    assert_true(f->stream.out_bytes <= STREAM_OUT_HIGH + sizeof(data));
    assert_int_equal(f->loop.buffered_bytes, f->stream.out_bytes);
    for (int i = 0; i < 10; i++)
        turn(f);
    assert_int_equal(f->drained, 0);
    got = malloc(written);
    assert_non_null(got);
    peer_read(f, got, written);
    free(got);
    TURN_UNTIL(f, f->drained > 0);
    for (int i = 0; i < 10; i++)
        turn(f);
    assert_int_equal(f->drained, 1);
    assert_false(f->stream.waits_writable);
    assert_int_equal(f->stream.polled, EPOLLIN);
    fixture_free(f);
}

/* Given a stream that could not take a packet. */
static void lose_packet(struct fixture *f)
{
    assert_int_equal(stream_write(&f->stream, bytes_of("before", 6)), RC_OK);
    assert_null(stream_reserve(&f->stream, (size_t)STREAM_OUT_MAX + 1));
    assert_int_equal(f->ended, 0); /* not from here */
    assert_int_equal(stream_write(&f->stream, bytes_of("behind", 6)), RC_OK);
}

static void stream_without_room_for_a_packet_says_nothing_more_and_ends(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);

    (void)state;
    send_record(f, "unread", 6);
    lose_packet(f);
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->record_count, 1);
    assert_true(peer_sees_end(f));
    fixture_free(f);
}

static void stream_without_room_for_a_packet_ends_also_while_it_is_paused(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);

    (void)state;
    stream_pause(&f->stream);
    lose_packet(f);
    TURN_UNTIL(f, f->ended == 1);
    assert_true(peer_sees_end(f));
    fixture_free(f);
}

/* --- the end --- */

static void stream_close_calls_ended_once_and_then_closed(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);

    (void)state;
    stream_close(&f->stream);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_US);
    assert_int_equal(f->closed, 0);
    stream_close(&f->stream);
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->ended, 1);
    assert_null(stream_reserve(&f->stream, 1));
    assert_int_equal(stream_write(&f->stream, bytes_of("x", 1)), RC_CLOSED);
    fixture_free(f);
}

static void stream_ends_when_the_peer_closes(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);

    (void)state;
    send_record(f, "last", 4);
    peer_close(f);
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_PEER);
    assert_memory_equal(f->records, "last", 4);
    TURN_UNTIL(f, f->closed == 1);
    fixture_free(f);
}

static void stream_waiting_for_a_full_socket_ends_when_the_peer_goes(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    static uint8_t data[100000];

    (void)state;
    while (!f->stream.waits_writable) {
        assert_int_equal(stream_write(&f->stream, bytes_of(data, sizeof(data))), RC_OK);
        turn(f);
    }
    peer_close(f);
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->loop.buffered_bytes, 0);
    fixture_free(f);
}

static void stream_reads_what_came_before_a_reset(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);

    (void)state;
    /* given a peer that says its last record and resets, since it has not read what we sent */
    assert_int_equal(stream_write(&f->stream, bytes_of("unread", 6)), RC_OK);
    turn(f);
    send_record(f, "disconnect", 10);
    peer_close(f);
    /* when more is written to it than read from it */
    assert_int_equal(stream_write(&f->stream, bytes_of("more", 4)), RC_OK);
    stream_flush(&f->stream);
    TURN_UNTIL(f, f->ended == 1);
    assert_int_equal(f->record_count, 1);
    assert_memory_equal(f->records, "disconnect", 10);
    fixture_free(f);
}

static void close_with_goodbye(struct fixture *f)
{
    stream_write(&f->stream, bytes_of("goodbye", 7));
    stream_close_after_flush(&f->stream, 5000);
    assert_int_equal(stream_write(&f->stream, bytes_of("x", 1)), RC_CLOSED);
    assert_null(stream_reserve(&f->stream, 1));
}

static void stream_close_after_flush_says_all_and_waits_for_the_peer(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t got[7];

    (void)state;
    f->on_record = close_with_goodbye;
    send_record(f, "a", 1);
    send_record(f, "ignored", 7);
    peer_read(f, got, 7);
    assert_memory_equal(got, "goodbye", 7);
    assert_int_equal(f->record_count, 1);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_US);
    TURN_UNTIL(f, peer_sees_end(f));
    assert_int_equal(f->closed, 0); /* our side is shut, the peer's is not */
    peer_close(f);
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->ended, 1);
    fixture_free(f);
}

static void stream_close_after_flush_gives_up_on_a_peer_that_does_not_read(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    static uint8_t data[100000];
    uint64_t start_ms = clock_ms();

    (void)state;
    while (!f->stream.waits_writable) {
        assert_int_equal(stream_write(&f->stream, bytes_of(data, sizeof(data))), RC_OK);
        turn(f);
    }
    stream_close_after_flush(&f->stream, 50);
    assert_int_equal(f->closed, 0);
    TURN_UNTIL(f, f->closed == 1);
    assert_true(clock_ms() >= start_ms + 50);
    fixture_free(f);
}

/* --- moving to another loop --- */

struct second {
    pthread_t thread;
    struct loop loop;
    struct fixture *first;
    struct fixture taken; /* only its stream and what it saw */
    int fd;
    struct stream_filter *filter;
    uint8_t *unread;
    size_t unread_len;
    _Atomic size_t record_count;
};

static void count_and_stop(struct fixture *f)
{
    struct second *s = CONTAINER_OF(f, struct second, taken);
    if (f->record_count == 2)
        loop_stop(&s->loop);
}

static void *second_main(void *arg)
{
    struct second *s = arg;

    loop_init(&s->loop, &fixture_loop_ops, &s->taken);
    s->taken.on_record = count_and_stop;
    assert_int_equal(stream_open(&s->taken.stream, &s->loop, &fixture_stream_ops, s->fd,
                                 TRANSPORT_TCP, s->filter, bytes_of(s->unread, s->unread_len)),
                     RC_OK);
    free(s->unread);
    loop_run(&s->loop);
    loop_deinit(&s->loop);
    return NULL;
}

static struct second *second;

static void move_to_second(struct fixture *f)
{
    second->fd =
        stream_detach(&f->stream, 5, &second->filter, &second->unread, &second->unread_len);
    assert_true(second->fd >= 0);
    assert_int_equal(pthread_create(&second->thread, NULL, second_main, second), 0);
}

static void stream_detached_in_the_middle_of_a_packet_goes_on_elsewhere(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t wire[] = {1, 0, 0, 0, 'a', 3, 0, 0, 0, 'b', 'c', 'd', 3, 0, 0, 0, 'e', 'f', 'g'};

    (void)state;
    second = calloc(1, sizeof(*second));
    assert_non_null(second);
    f->on_record = move_to_second;
    peer_send(f, wire, 11); /* all of the first record, half of the second */
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->ended, 0);
    assert_int_equal(f->record_count, 1);
    peer_send(f, wire + 11, sizeof(wire) - 11);
    pthread_join(second->thread, NULL);
    assert_int_equal(second->taken.record_count, 2);
    assert_memory_equal(second->taken.records, "bcdefg", 6);
    assert_int_equal(second->taken.ended, 1);
    assert_int_equal(second->taken.closed, 1);
    assert_int_equal(f->closed, 1);
    free(second->taken.records);
    free(second);
    loop_deinit(&f->loop);
    close(f->peer);
    free(f->records);
    free(f);
}

static void stream_detach_is_refused_while_output_does_not_go_out(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    static uint8_t data[100000];
    struct stream_filter *filter;
    uint8_t *unread;
    size_t unread_len;

    (void)state;
    while (!f->stream.waits_writable) {
        assert_int_equal(stream_write(&f->stream, bytes_of(data, sizeof(data))), RC_OK);
        turn(f);
    }
    assert_int_equal(stream_detach(&f->stream, 0, &filter, &unread, &unread_len), -1);
    send_record(f, "abc", 3);
    TURN_UNTIL(f, f->record_count == 1);
    fixture_free(f);
}

/* --- names and limits --- */

static void stream_peer_name_is_address_and_port(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    char name[64];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    struct stream stream = {0};
    char expected[64];

    (void)state;
    assert_int_equal(bind(listening, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, len), 0);
    stream.fd = client;
    stream_peer_name(&stream, name, sizeof(name));
    snprintf(expected, sizeof(expected), "127.0.0.1:%u", ntohs(address.sin_port));
    assert_string_equal(name, expected);
    close(client);
    close(listening);
    stream_peer_name(&f->stream, name, sizeof(name));
    assert_string_equal(name, "local");
    fixture_free(f);
}

static void out_pool_keeps_a_bounded_number_of_free_chunks(void **state)
{
    enum { COUNT = 4 * OUT_POOL_BYTES_MAX / 65536 };
    struct out_pool *pool = out_pool_new();
    struct out_chunk *chunks[COUNT];
    size_t pooled = 0;

    (void)state;
    for (int i = 0; i < COUNT; i++)
        chunks[i] = out_chunk_take(pool, 2, 1);
    for (int i = 0; i < COUNT; i++)
        out_chunk_put(pool, chunks[i]);
    pooled = out_pool_free_bytes(pool);
    assert_in_range(pooled, OUT_POOL_BYTES_MAX - 70000, OUT_POOL_BYTES_MAX);
    out_pool_free(pool);
}

static void out_pool_gives_back_what_nobody_has_needed(void **state)
{
    struct out_pool *pool = out_pool_new();
    struct out_chunk *chunks[3];
    size_t one;

    (void)state;
    for (int i = 0; i < 3; i++)
        chunks[i] = out_chunk_take(pool, 1, 1);
    for (int i = 0; i < 3; i++)
        out_chunk_put(pool, chunks[i]);
    one = out_pool_free_bytes(pool) / 3;
    out_pool_shrink(pool); /* all three were needed */
    assert_int_equal(out_pool_free_bytes(pool), 3 * one);
    chunks[0] = out_chunk_take(pool, 1, 1);
    out_chunk_put(pool, chunks[0]);
    out_pool_shrink(pool); /* one was */
    assert_int_equal(out_pool_free_bytes(pool), one);
    out_pool_shrink(pool);
    assert_int_equal(out_pool_free_bytes(pool), 0);
    out_pool_free(pool);
}

static void out_chunk_larger_than_all_classes_is_made_to_measure(void **state)
{
    struct out_pool *pool = out_pool_new();
    struct out_chunk *chunk = out_chunk_take(pool, 0, 1000 * 1000);

    (void)state;
    assert_int_equal(chunk->room, 1000 * 1000);
    out_chunk_put(pool, chunk);
    assert_int_equal(out_pool_free_bytes(pool), 0);
    out_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_hands_up_unconsumed_bytes_in_front_of_new_ones),
        cmocka_unit_test(stream_that_is_idle_holds_no_buffer),
        cmocka_unit_test(stream_keeps_only_the_tail_that_was_not_consumed),
        cmocka_unit_test(stream_assembles_a_big_packet_within_twice_its_size),
        cmocka_unit_test(stream_packets_of_all_sizes_survive_all_cuts),
        cmocka_unit_test(stream_reads_once_a_turn_so_that_nobody_hogs_the_loop),
        cmocka_unit_test(stream_paused_reads_nothing_and_hands_up_the_rest_after_resume),
        cmocka_unit_test(stream_taken_little_by_little_is_not_copied_each_time),
        cmocka_unit_test(stream_output_of_a_turn_leaves_in_one_write),
        cmocka_unit_test(stream_chunks_go_back_to_the_pool_of_the_loop),
        cmocka_unit_test(stream_payload_of_a_message_is_referenced_not_copied),
        cmocka_unit_test(stream_close_drops_the_messages_in_the_output),
        cmocka_unit_test(stream_write_of_any_size_comes_out_whole),
        cmocka_unit_test(stream_with_a_reader_that_stops_is_high_until_it_reads_again),
        cmocka_unit_test(stream_without_room_for_a_packet_says_nothing_more_and_ends),
        cmocka_unit_test(stream_without_room_for_a_packet_ends_also_while_it_is_paused),
        cmocka_unit_test(stream_close_calls_ended_once_and_then_closed),
        cmocka_unit_test(stream_ends_when_the_peer_closes),
        cmocka_unit_test(stream_waiting_for_a_full_socket_ends_when_the_peer_goes),
        cmocka_unit_test(stream_reads_what_came_before_a_reset),
        cmocka_unit_test(stream_close_after_flush_says_all_and_waits_for_the_peer),
        cmocka_unit_test(stream_close_after_flush_gives_up_on_a_peer_that_does_not_read),
        cmocka_unit_test(stream_detached_in_the_middle_of_a_packet_goes_on_elsewhere),
        cmocka_unit_test(stream_detach_is_refused_while_output_does_not_go_out),
        cmocka_unit_test(stream_peer_name_is_address_and_port),
        cmocka_unit_test(out_pool_keeps_a_bounded_number_of_free_chunks),
        cmocka_unit_test(out_pool_gives_back_what_nobody_has_needed),
        cmocka_unit_test(out_chunk_larger_than_all_classes_is_made_to_measure),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
