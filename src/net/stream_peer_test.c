/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net_fixture.h"

#include "net/proxy_header.h"
#include "net/stream_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char line[] = "PROXY TCP4 192.0.2.1 198.51.100.7 54321 1883\r\n";
static const char line6[] = "PROXY TCP6 2001:db8::1 2001:db8::2 7 1883\r\n";
static const char local[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0";
static const char record[] = "\5\0\0\0hello";

enum { RECORD_SIZE = sizeof(record) - 1 };

static struct fixture *proxied(enum transport transport)
{
    struct fixture *f = fixture_new(transport);

    stream_expect_proxy_header(&f->stream);
    return f;
}

static void assert_peer(const struct fixture *f, const char *name)
{
    char seen[64];

    stream_peer_name(&f->stream, seen, sizeof(seen));
    assert_string_equal(seen, name);
}

static void assert_hello(struct fixture *f)
{
    TURN_UNTIL(f, f->record_count == 1);
    assert_int_equal(f->records_len, 5);
    assert_memory_equal(f->records, "hello", 5);
}

/* A binary header for 192.0.2.1:54321 with `more` bytes of TLVs. Gives its size. */
static size_t make_binary(uint8_t *out, size_t more)
{
    static const uint8_t head[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11";
    static const uint8_t addresses[] = {192, 0, 2, 1, 198, 51, 100, 7, 0xd4, 0x31, 7, 0x5b};
    size_t block = sizeof(addresses) + more;

    memcpy(out, head, 14);
    out[14] = (uint8_t)(block >> 8);
    out[15] = (uint8_t)block;
    memcpy(out + 16, addresses, sizeof(addresses));
    memset(out + 28, 0xee, more);
    return 16 + block;
}

static void header_says_who_the_peer_is_and_is_not_handed_up(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);

    (void)state;
    assert_peer(f, "local"); /* the socket's */
    peer_send(f, line, strlen(line));
    peer_send(f, record, RECORD_SIZE);
    assert_hello(f);
    assert_int_equal(f->received_calls, 1);
    assert_peer(f, "192.0.2.1:54321");
    fixture_free(f);
}

static void header_names_a_peer_of_ipv6(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);

    (void)state;
    peer_send(f, line6, strlen(line6));
    peer_send(f, record, RECORD_SIZE);
    assert_hello(f);
    assert_peer(f, "[2001:db8::1]:7");
    fixture_free(f);
}

static void header_may_come_byte_by_byte(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);
    uint8_t all[16 + 12 + 40 + RECORD_SIZE];
    size_t len = make_binary(all, 40);

    (void)state;
    memcpy(all + len, record, RECORD_SIZE);
    for (size_t i = 0; i < len + RECORD_SIZE; i++) {
        assert_int_equal(f->received_calls, i <= len ? 0 : i - len);
        peer_send(f, all + i, 1);
        turn(f);
    }
    assert_hello(f);
    assert_peer(f, "192.0.2.1:54321");
    fixture_free(f);
}

static void header_of_the_largest_size_is_skipped_without_being_kept(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);
    uint8_t *all = malloc(PROXY_HEADER_MAX);
    size_t len;

    (void)state;
    assert_non_null(all);
    len = make_binary(all, UINT16_MAX - 12);
    assert_int_equal(len, PROXY_HEADER_MAX);
    peer_send(f, all, len - 1);
    TURN_UNTIL(f, f->stream.aside->skip == 1);
    assert_null(f->stream.kept);
    peer_send(f, all + len - 1, 1);
    peer_send(f, record, RECORD_SIZE);
    assert_hello(f);
    free(all);
    fixture_free(f);
}

static void header_that_names_nobody_leaves_the_peer_of_the_socket_and_costs_nothing(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);

    (void)state;
    peer_send(f, local, 16);
    peer_send(f, record, RECORD_SIZE);
    assert_hello(f);
    assert_peer(f, "local");
    assert_null(f->stream.aside);
    fixture_free(f);
}

static void header_comes_before_the_handshake_of_a_websocket(void **state)
{
    static const char request[] = "GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                  "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    struct fixture *f = proxied(TRANSPORT_WEBSOCKET);
    char answer[13];

    (void)state;
    peer_send(f, line, 20);
    turn(f);
    peer_send(f, line + 20, strlen(line) - 20);
    peer_send(f, request, strlen(request));
    peer_read(f, answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 101 ", sizeof(answer));
    assert_peer(f, "192.0.2.1:54321");
    fixture_free(f);
}

static void stream_without_a_header_ends(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);

    (void)state;
    peer_send(f, "\x10\x10", 2);
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_PROXY);
    assert_int_equal(f->received_calls, 0);
    fixture_free(f);
}

/* What it waits with is due so much earlier. */
static void pass_time(struct fixture *f, uint64_t ms)
{
    struct loop_timer *timer = &f->stream.aside->timer;

    turn(f);
    loop_timer_start(&f->loop, timer, timer->timer.deadline_ms - ms);
    turn(f);
}

static void header_that_does_not_come_in_time_ends_the_stream(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);

    (void)state;
    peer_send(f, line, 20);
    pass_time(f, STREAM_PROXY_HEADER_MS - 1000);
    assert_int_equal(f->ended, 0);
    pass_time(f, 1000);
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_PROXY);
    fixture_free(f);
}

static void header_whose_end_does_not_come_in_time_ends_the_stream(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);
    uint8_t all[16 + 12 + 40];
    size_t len = make_binary(all, 40);

    (void)state;
    peer_send(f, all, len - 1);
    TURN_UNTIL(f, f->stream.aside->skip == 1);
    pass_time(f, STREAM_PROXY_HEADER_MS);
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_PROXY);
    fixture_free(f);
}

static void no_time_is_measured_behind_the_header(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);

    (void)state;
    peer_send(f, line, strlen(line));
    TURN_UNTIL(f, !stream_awaits_header(&f->stream));
    assert_false(timer_running(&f->stream.aside->timer.timer));
    fixture_free(f);
}

static void stream_may_be_closed_while_it_waits_for_a_header(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);

    (void)state;
    peer_send(f, line, 20);
    turn(f);
    stream_close_after_flush(&f->stream, 1000);
    peer_send(f, line + 20, strlen(line) - 20);
    TURN_UNTIL(f, peer_sees_end(f));
    peer_close(f);
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->reason, STREAM_CLOSED_BY_US);
    assert_int_equal(f->received_calls, 0);
    fixture_free(f);
}

static void beginning_of_a_header_is_not_handed_up_by_a_pause(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);

    (void)state;
    peer_send(f, line, 20);
    turn(f);
    stream_pause(&f->stream);
    stream_resume(&f->stream);
    turn(f);
    assert_int_equal(f->received_calls, 0);
    peer_send(f, line + 20, strlen(line) - 20);
    peer_send(f, record, RECORD_SIZE);
    assert_hello(f);
    fixture_free(f);
}

static void peer_moves_to_another_loop_with_what_was_not_read(void **state)
{
    struct fixture *f = proxied(TRANSPORT_TCP);
    struct fixture *g = fixture_new(TRANSPORT_TCP);
    struct stream_filter *filter;
    uint8_t *unread;
    size_t len;

    (void)state;
    peer_send(f, line, strlen(line));
    peer_send(f, record, RECORD_SIZE - 1);
    TURN_UNTIL(f, f->received_calls > 0);
    struct stream_peer peer = stream_peer(&f->stream);
    int fd = stream_detach(&f->stream, 0, &filter, &unread, &len);
    assert_true(fd >= 0);
    stream_close(&g->stream);
    TURN_UNTIL(g, g->closed == 1);
    assert_int_equal(stream_open(&g->stream, &g->loop, &fixture_stream_ops, fd, TRANSPORT_TCP,
                                 filter, bytes_of(unread, len)),
                     RC_OK);
    free(unread);
    stream_set_peer(&g->stream, &peer);
    g->ended = g->closed = 0;
    peer_send(f, record + RECORD_SIZE - 1, 1);
    assert_hello(g);
    assert_peer(g, "192.0.2.1:54321");
    TURN_UNTIL(f, f->closed == 1);
    f->ended = 1; /* it went elsewhere: nobody told */
    fixture_free(f);
    fixture_free(g);
}

/* ---- what the kernel has -----------------------------------------------------------------------
 */

/* A stream over loopback whose peer does not read, after more was written than the kernel takes. */
static struct fixture *stuffed(void)
{
    static const uint8_t piece[64 * 1024];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listening = socket(AF_INET, SOCK_STREAM, 0), near = socket(AF_INET, SOCK_STREAM, 0);
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(near, (struct sockaddr *)&address, len), 0);
    f->peer = accept(listening, NULL, NULL);
    close(listening);
    assert_int_equal(fcntl(near, F_SETFL, O_NONBLOCK), 0);
    loop_init(&f->loop, &fixture_loop_ops, f);
    assert_int_equal(stream_open(&f->stream, &f->loop, &fixture_stream_ops, near, TRANSPORT_TCP,
                                 NULL, bytes_of(NULL, 0)),
                     RC_OK);
    for (int i = 0; i < 256; i++)
        stream_write(&f->stream, bytes_of(piece, sizeof(piece)));
    turn(f);
    assert_true(f->stream.out_bytes > 0);
    return f;
}

/* All that still comes. Gives what ends it: 0, or errno. */
static int read_to_the_end(int peer, size_t *len)
{
    static uint8_t buffer[256 * 1024];
    ssize_t n;

    for (*len = 0; (n = recv(peer, buffer, sizeof(buffer), 0)) > 0;)
        *len += (size_t)n;
    return n == 0 ? 0 : errno;
}

static void aborted_stream_gives_nothing_that_the_kernel_still_had(void **state)
{
    struct fixture *closed = stuffed(), *aborted = stuffed();
    size_t all, some;

    (void)state;
    stream_close(&closed->stream);
    stream_abort(&aborted->stream);
    assert_int_equal(read_to_the_end(closed->peer, &all), 0);
    assert_int_equal(read_to_the_end(aborted->peer, &some), ECONNRESET);
    assert_true(some < all);
    assert_int_equal(aborted->ended, 1);
    assert_int_equal(aborted->reason, STREAM_CLOSED_BY_US);
    stream_abort(&aborted->stream); /* twice is once */
    fixture_free(closed);
    fixture_free(aborted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_says_who_the_peer_is_and_is_not_handed_up),
        cmocka_unit_test(header_names_a_peer_of_ipv6),
        cmocka_unit_test(header_may_come_byte_by_byte),
        cmocka_unit_test(header_of_the_largest_size_is_skipped_without_being_kept),
        cmocka_unit_test(header_that_names_nobody_leaves_the_peer_of_the_socket_and_costs_nothing),
        cmocka_unit_test(header_comes_before_the_handshake_of_a_websocket),
        cmocka_unit_test(stream_without_a_header_ends),
        cmocka_unit_test(header_that_does_not_come_in_time_ends_the_stream),
        cmocka_unit_test(header_whose_end_does_not_come_in_time_ends_the_stream),
        cmocka_unit_test(no_time_is_measured_behind_the_header),
        cmocka_unit_test(stream_may_be_closed_while_it_waits_for_a_header),
        cmocka_unit_test(beginning_of_a_header_is_not_handed_up_by_a_pause),
        cmocka_unit_test(peer_moves_to_another_loop_with_what_was_not_read),
        cmocka_unit_test(aborted_stream_gives_nothing_that_the_kernel_still_had),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
