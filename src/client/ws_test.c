/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/ws.h"
#include "net/websocket_handshake.h"

#include <stdio.h>
#include <string.h>

struct text {
    uint8_t data[1024];
    size_t len;
};

static void put(void *owner, const uint8_t *data, size_t len)
{
    struct text *text = owner;

    assert_true(text->len + len <= sizeof(text->data));
    memcpy(text->data + text->len, data, len);
    text->len += len;
}

static enum rc feed(struct ws *ws, const void *data, size_t len, struct text *in, struct text *out)
{
    return ws_read(ws, bytes_of(data, len), put, in, put, out);
}

/* What a server says to the request; `protocol` and `accept` NULL: what is right. */
static void answer_to(struct ws *ws, const char *status, const char *protocol, const char *accept,
                      char *out, size_t room)
{
    char request[512], key[25] = "", right[29];

    assert_true(ws_request(ws, "::1", 80, "/mqtt", request, sizeof(request)) > 0);
    assert_non_null(strstr(request, "Host: [::1]:80\r\n"));
    const char *at = strstr(request, "Sec-WebSocket-Key: ");
    assert_non_null(at);
    memcpy(key, at + strlen("Sec-WebSocket-Key: "), 24);
    handshake_accept_key(key, right);
    snprintf(out, room,
             "HTTP/1.1 %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "sec-websocket-accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
             status, accept != NULL ? accept : right, protocol != NULL ? protocol : "mqtt");
}

static void ws_takes_the_right_answer_and_leaves_what_follows(void **state)
{
    struct ws *ws = ws_new();
    char answer[512];
    size_t consumed = 0;

    (void)state;
    answer_to(ws, "101 Switching Protocols", NULL, NULL, answer, sizeof(answer));
    size_t len = strlen(answer);
    assert_int_equal(ws_answer(ws, bytes_of(answer, len - 1), &consumed), RC_AGAIN);
    strcat(answer, "\x82");
    assert_int_equal(ws_answer(ws, bytes_of(answer, len + 1), &consumed), RC_OK);
    assert_int_equal(consumed, len);
    ws_free(ws);
}

static void ws_refuses_answers_of_somebody_else(void **state)
{
    static const struct {
        const char *status, *protocol, *accept;
    } cases[] = {
        {"200 OK", NULL, NULL},
        {"101 Switching Protocols", "chat", NULL},
        {"101 Switching Protocols", NULL, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    };
    char answer[512];
    size_t consumed;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ws *ws = ws_new();
        answer_to(ws, cases[i].status, cases[i].protocol, cases[i].accept, answer, sizeof(answer));
        assert_int_equal(ws_answer(ws, bytes_of_str(answer), &consumed), RC_INVALID);
        ws_free(ws);
    }
    struct ws *ws = ws_new();
    assert_int_equal(ws_answer(ws, bytes_of_str("SSH-2.0-x\r\n"), &consumed), RC_INVALID);
    ws_free(ws);
}

static void ws_write_masks_one_binary_frame(void **state)
{
    struct ws *ws = ws_new();
    struct text out = {0};

    (void)state;
    ws_write(ws, bytes_of_str("hello"), put, &out);
    assert_int_equal(out.len, 2 + 4 + 5);
    assert_int_equal(out.data[0], 0x82);
    assert_int_equal(out.data[1], 0x80 | 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(out.data[6 + i] ^ out.data[2 + i % 4], "hello"[i]);
    ws_free(ws);
}

static void ws_read_gives_one_stream_whatever_the_frames(void **state)
{
    static const uint8_t frames[] = {0x02, 2, 'a', 'b', 0x89, 0, 0x80, 1, 'c', 0x82, 2, 'd', 'e'};
    struct ws *ws = ws_new();
    struct text in = {0}, out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(frames); i++) /* one byte at a time */
        assert_int_equal(feed(ws, frames + i, 1, &in, &out), RC_OK);
    assert_int_equal(in.len, 5);
    assert_memory_equal(in.data, "abcde", 5);
    ws_free(ws);
}

static void ws_read_answers_a_ping_with_its_payload(void **state)
{
    static const uint8_t ping[] = {0x89, 3, 'x', 'y', 'z'};
    struct ws *ws = ws_new();
    struct text in = {0}, out = {0};

    (void)state;
    assert_int_equal(feed(ws, ping, 3, &in, &out), RC_OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(feed(ws, ping + 3, 2, &in, &out), RC_OK);
    assert_int_equal(out.len, 2 + 4 + 3);
    assert_int_equal(out.data[0], 0x8A);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(out.data[6 + i] ^ out.data[2 + i % 4], "xyz"[i]);
    ws_free(ws);
}

static void ws_read_ends_at_a_close_frame(void **state)
{
    static const uint8_t close[] = {0x88, 2, 3, 0xE8};
    struct ws *ws = ws_new();
    struct text in = {0}, out = {0};

    (void)state;
    assert_int_equal(feed(ws, close, sizeof(close), &in, &out), RC_CLOSED);
    ws_free(ws);
}

static void ws_read_refuses_what_no_server_may_send(void **state)
{
    static const struct {
        uint8_t frame[8];
        size_t len;
    } cases[] = {
        {{0x82, 0x81, 1, 2, 3, 4, 'x'}, 7}, /* masked */
        {{0x81, 1, 'x'}, 3},                /* text */
        {{0xC2, 1, 'x'}, 3},                /* an extension that nobody asked for */
        {{0x83, 1, 'x'}, 3},                /* an opcode that does not exist */
    };
    struct text in = {0}, out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ws *ws = ws_new();
        assert_int_equal(feed(ws, cases[i].frame, cases[i].len, &in, &out), RC_INVALID);
        ws_free(ws);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ws_takes_the_right_answer_and_leaves_what_follows),
        cmocka_unit_test(ws_refuses_answers_of_somebody_else),
        cmocka_unit_test(ws_write_masks_one_binary_frame),
        cmocka_unit_test(ws_read_gives_one_stream_whatever_the_frames),
        cmocka_unit_test(ws_read_answers_a_ping_with_its_payload),
        cmocka_unit_test(ws_read_ends_at_a_close_frame),
        cmocka_unit_test(ws_read_refuses_what_no_server_may_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
