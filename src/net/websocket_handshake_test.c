/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/websocket_handshake.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: mqtt\r\n"
#define HOST "Host: broker.example\r\n"
#define GET "GET /mqtt HTTP/1.1\r\n"

/* Feeds the whole text and expects an answer that begins with `status` and holds `part`. */
static void expect(const char *request, const char *status, const char *part)
{
    struct handshake h;
    size_t consumed;

    handshake_init(&h);
    assert_int_not_equal(handshake_feed(&h, bytes_of_str(request), &consumed), HANDSHAKE_MORE);
    if (strncmp(h.response, status, strlen(status)) != 0 || strstr(h.response, part) == NULL)
        fail_msg("expected %s ... %s, got:\n%s", status, part, h.response);
    assert_int_equal(h.result,
                     strstr(status, "101") != NULL ? HANDSHAKE_ACCEPTED : HANDSHAKE_REFUSED);
}

static void handshake_accept_key_is_that_of_the_rfc(void **state)
{
    char accept[29];

    (void)state;
    handshake_accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept); /* RFC 6455, section 1.3 */
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void handshake_that_is_right_is_accepted(void **state)
{
    (void)state;
    expect(GET HOST UPGRADE KEY VERSION PROTOCOL "\r\n", "HTTP/1.1 101 ",
           "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
}

static void handshake_names_are_compared_without_case(void **state)
{
    (void)state;
    expect("GET / HTTP/1.1\r\nhOST: x\r\nUPGRADE: WebSocket\r\n"
           "connection: keep-alive, UPGRADE\r\n"
           "sec-websocket-key:dGhlIHNhbXBsZSBub25jZQ== \r\nSEC-WEBSOCKET-VERSION:  13\r\n"
           "sec-websocket-protocol: mqtt\r\n\r\n",
           "HTTP/1.1 101 ", "Sec-WebSocket-Protocol: mqtt\r\n");
}

static void handshake_prefers_mqtt_among_the_offered_subprotocols(void **state)
{
    (void)state;
    expect(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: mqttv3.1, chat,mqtt\r\n\r\n",
           "HTTP/1.1 101 ", "Sec-WebSocket-Protocol: mqtt\r\n");
    expect(GET HOST UPGRADE KEY VERSION
           "Sec-WebSocket-Protocol: mqttv3.1\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
           "HTTP/1.1 101 ", "Sec-WebSocket-Protocol: mqtt\r\n");
    expect(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat, mqttv3.1\r\n\r\n",
           "HTTP/1.1 101 ", "Sec-WebSocket-Protocol: mqttv3.1\r\n");
}

static void handshake_without_an_mqtt_subprotocol_is_told_which(void **state)
{
    (void)state;
    expect(GET HOST UPGRADE KEY VERSION "\r\n", "HTTP/1.1 400 ", "subprotocol mqtt or mqttv3.1");
    expect(GET HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat, MQTT\r\n\r\n",
           "HTTP/1.1 400 ", "subprotocol mqtt or mqttv3.1");
}

static void handshake_of_a_browser_tab_or_another_version_is_told_to_upgrade(void **state)
{
    (void)state;
    expect("GET / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 426 ", "Sec-WebSocket-Version: 13\r\n");
    expect(GET HOST "Connection: Upgrade\r\n" KEY VERSION PROTOCOL "\r\n", "HTTP/1.1 426 ",
           "Upgrade: websocket\r\n");
    expect(GET HOST "Upgrade: websocket\r\n" KEY VERSION PROTOCOL "\r\n", "HTTP/1.1 426 ", "");
    expect(GET HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" PROTOCOL "\r\n", "HTTP/1.1 426 ",
           "Sec-WebSocket-Version: 13\r\n");
    expect(GET HOST UPGRADE KEY PROTOCOL "\r\n", "HTTP/1.1 426 ", "");
}

static void handshake_takes_get_only(void **state)
{
    (void)state;
    expect("POST / HTTP/1.1\r\n" HOST UPGRADE KEY VERSION PROTOCOL "Content-Length: 5\r\n\r\nhello",
           "HTTP/1.1 405 ", "Allow: GET\r\n");
}

static void handshake_needs_http_1_1(void **state)
{
    (void)state;
    expect("GET / HTTP/1.0\r\n" HOST UPGRADE KEY VERSION PROTOCOL "\r\n", "HTTP/1.1 400 ",
           "HTTP/1.1");
}

static void handshake_needs_one_host_and_one_key_and_no_body(void **state)
{
    (void)state;
    expect(GET UPGRADE KEY VERSION PROTOCOL "\r\n", "HTTP/1.1 400 ", "Host");
    expect(GET HOST HOST UPGRADE KEY VERSION PROTOCOL "\r\n", "HTTP/1.1 400 ", "Host");
    expect(GET HOST UPGRADE VERSION PROTOCOL "\r\n", "HTTP/1.1 400 ", "Sec-WebSocket-Key");
    expect(GET HOST UPGRADE KEY KEY VERSION PROTOCOL "\r\n", "HTTP/1.1 400 ", "Sec-WebSocket-Key");
    expect(GET HOST UPGRADE "Sec-WebSocket-Key: c2hvcnQ=\r\n" VERSION PROTOCOL "\r\n",
           "HTTP/1.1 400 ", "16 bytes");
    expect(GET HOST UPGRADE KEY VERSION PROTOCOL "Content-Length: 3\r\n\r\nabc", "HTTP/1.1 400 ",
           "no body");
    expect(GET HOST UPGRADE KEY VERSION PROTOCOL "Transfer-Encoding: chunked\r\n\r\n",
           "HTTP/1.1 400 ", "no body");
}

static void handshake_that_is_not_http_is_refused(void **state)
{
    (void)state;
    expect("\x10\x0c\x00\x04MQTT\x04\x02", "HTTP/1.1 400 ", "not an HTTP request");
}

static void handshake_may_come_in_any_pieces(void **state)
{
    const char *request = GET HOST UPGRADE KEY VERSION PROTOCOL "\r\n";
    struct handshake h;
    size_t consumed;

    (void)state;
    handshake_init(&h);
    for (size_t i = 0; request[i] != '\0'; i++) {
        assert_int_equal(h.result, HANDSHAKE_MORE);
        handshake_feed(&h, bytes_of(request + i, 1), &consumed);
        assert_int_equal(consumed, 1);
    }
    assert_int_equal(h.result, HANDSHAKE_ACCEPTED);
}

static void handshake_leaves_the_frames_behind_it_alone(void **state)
{
    const char *request = GET HOST UPGRADE KEY VERSION PROTOCOL "\r\n\x82\x80";
    struct handshake h;
    size_t consumed;

    (void)state;
    handshake_init(&h);
    assert_int_equal(handshake_feed(&h, bytes_of_str(request), &consumed), HANDSHAKE_ACCEPTED);
    assert_int_equal(consumed, strlen(request) - 2);
}

static void handshake_is_at_most_8_kib(void **state)
{
    char *request = malloc(3 * HANDSHAKE_BYTES_MAX);
    struct handshake h;
    size_t consumed;
    int len = snprintf(request, HANDSHAKE_BYTES_MAX, GET HOST "Cookie: ");

    (void)state;
    assert_non_null(request);
    memset(request + len, 'c', 3 * HANDSHAKE_BYTES_MAX - (size_t)len);
    handshake_init(&h);
    handshake_feed(&h, bytes_of(request, 3 * HANDSHAKE_BYTES_MAX), &consumed);
    assert_int_equal(h.result, HANDSHAKE_REFUSED);
    assert_memory_equal(h.response, "HTTP/1.1 431 ", 13);
    assert_int_equal(consumed, HANDSHAKE_BYTES_MAX);
    free(request);
}

static void handshake_with_long_headers_of_no_interest_is_accepted(void **state)
{
    char request[4096];
    char cookie[3000];

    (void)state;
    memset(cookie, 'c', sizeof(cookie) - 1);
    cookie[sizeof(cookie) - 1] = '\0';
    snprintf(request, sizeof(request),
             GET HOST "Cookie: %s\r\n"
                      "X-A-Name-That-Is-Longer-Than-Any-Name-That-Matters-Here: 1\r\n" UPGRADE KEY
                          VERSION PROTOCOL "\r\n",
             cookie);
    expect(request, "HTTP/1.1 101 ", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_accept_key_is_that_of_the_rfc),
        cmocka_unit_test(handshake_that_is_right_is_accepted),
        cmocka_unit_test(handshake_names_are_compared_without_case),
        cmocka_unit_test(handshake_prefers_mqtt_among_the_offered_subprotocols),
        cmocka_unit_test(handshake_without_an_mqtt_subprotocol_is_told_which),
        cmocka_unit_test(handshake_of_a_browser_tab_or_another_version_is_told_to_upgrade),
        cmocka_unit_test(handshake_takes_get_only),
        cmocka_unit_test(handshake_needs_http_1_1),
        cmocka_unit_test(handshake_needs_one_host_and_one_key_and_no_body),
        cmocka_unit_test(handshake_that_is_not_http_is_refused),
        cmocka_unit_test(handshake_may_come_in_any_pieces),
        cmocka_unit_test(handshake_leaves_the_frames_behind_it_alone),
        cmocka_unit_test(handshake_is_at_most_8_kib),
        cmocka_unit_test(handshake_with_long_headers_of_no_interest_is_accepted),
    };
    return cmocka_run_group_tests_name("websocket_handshake", tests, NULL, NULL);
}
