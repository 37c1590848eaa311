/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ws.h"

#include "base/check.h"
#include "base/memory.h"
#include "net/websocket_handshake.h"

#include <http_parser.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/random.h>
#include <wslay/wslay.h>

enum {
    NONCE_SIZE = 16,
    KEY_ROOM = 25,    /* base64 of the nonce */
    ACCEPT_ROOM = 29, /* base64 of a SHA-1 */
    CONTROL_MAX = 125,
    STATUS_SWITCHING = 101,
};

struct ws {
    wslay_frame_context_ptr frames;
    char key[KEY_ROOM];
    uint64_t mask_state;
    /* while ws_read() or ws_write() runs */
    struct bytes in;
    ws_put_fn *put;
    void *put_owner;
    /* a control frame on its way in */
    uint8_t control[CONTROL_MAX];
    size_t control_len;
};

/* ---- What wslay calls -------------------------------------------------------------------------
 */

static ssize_t on_send(const uint8_t *data, size_t len, int flags, void *owner)
{
    struct ws *ws = owner;

    (void)flags;
    ws->put(ws->put_owner, data, len);
    return (ssize_t)len;
}

static ssize_t on_recv(uint8_t *buffer, size_t len, int flags, void *owner)
{
    struct ws *ws = owner;

    (void)flags;
    if (ws->in.len == 0)
        return -1; /* wslay then says WSLAY_ERR_WANT_READ */
    if (len > ws->in.len)
        len = ws->in.len;
    memcpy(buffer, ws->in.data, len);
    ws->in = bytes_of(ws->in.data + len, ws->in.len - len);
    return (ssize_t)len;
}

/* Masks keep proxies from being fooled; they are no secret, so a seeded generator is enough. */
static int on_mask(uint8_t *mask, size_t len, void *owner)
{
    struct ws *ws = owner;

    ws->mask_state ^= ws->mask_state << 13;
    ws->mask_state ^= ws->mask_state >> 7;
    ws->mask_state ^= ws->mask_state << 17;
    memcpy(mask, &ws->mask_state, len);
    return 0;
}

static const struct wslay_frame_callbacks callbacks = {on_send, on_recv, on_mask};

/* ---- Life and handshake -----------------------------------------------------------------------
 */

struct ws *ws_new(void)
{
    struct ws *ws = NEW(struct ws);

    CHECK(wslay_frame_context_init(&ws->frames, &callbacks, ws) == 0);
    if (getrandom(&ws->mask_state, sizeof(ws->mask_state), 0) != (ssize_t)sizeof(ws->mask_state) ||
        ws->mask_state == 0)
        ws->mask_state = 1;
    return ws;
}

void ws_free(struct ws *ws)
{
    if (ws == NULL)
        return;
    wslay_frame_context_free(ws->frames);
    mem_free(ws);
}

size_t ws_request(struct ws *ws, const char *host, uint16_t port, const char *path, char *out,
                  size_t room)
{
    uint8_t nonce[NONCE_SIZE] = {0};
    const char *open = strchr(host, ':') != NULL ? "[" : "", *close = open[0] != '\0' ? "]" : "";

    if (getrandom(nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
        memcpy(nonce, &ws->mask_state, sizeof(ws->mask_state));
    EVP_EncodeBlock((unsigned char *)ws->key, nonce, NONCE_SIZE);
    int len = snprintf(out, room,
                       "GET %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
                       path, open, host, close, port, ws->key);
    return len > 0 && (size_t)len < room ? (size_t)len : 0;
}

/* What the headers of the answer said. */
struct answer {
    char name[32], value[128];
    size_t name_len, value_len;
    bool in_value, complete;
    char accept[ACCEPT_ROOM]; /* what it should be */
    bool accepted, speaks_mqtt;
};

static void header_done(struct answer *answer)
{
    answer->name[answer->name_len] = answer->value[answer->value_len] = '\0';
    if (strcasecmp(answer->name, "Sec-WebSocket-Accept") == 0)
        answer->accepted = strcmp(answer->value, answer->accept) == 0;
    else if (strcasecmp(answer->name, "Sec-WebSocket-Protocol") == 0)
        answer->speaks_mqtt = strcmp(answer->value, "mqtt") == 0;
    answer->name_len = answer->value_len = 0;
}

static int on_name(http_parser *parser, const char *at, size_t len)
{
    struct answer *answer = parser->data;

    if (answer->in_value)
        header_done(answer);
    answer->in_value = false;
    for (size_t i = 0; i < len && answer->name_len < sizeof(answer->name) - 1; i++)
        answer->name[answer->name_len++] = at[i];
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
    struct answer *answer = parser->data;

    answer->in_value = true;
    for (size_t i = 0; i < len && answer->value_len < sizeof(answer->value) - 1; i++)
        answer->value[answer->value_len++] = at[i];
    return 0;
}

static int on_headers_complete(http_parser *parser)
{
    struct answer *answer = parser->data;

    header_done(answer);
    answer->complete = true;
    return 0;
}

enum rc ws_answer(struct ws *ws, struct bytes in, size_t *consumed)
{
    const http_parser_settings settings = {
        .on_header_field = on_name,
        .on_header_value = on_value,
        .on_headers_complete = on_headers_complete,
    };
    struct answer answer = {0};
    http_parser parser;

    handshake_accept_key(ws->key, answer.accept);
    http_parser_init(&parser, HTTP_RESPONSE);
    parser.data = &answer;
    *consumed = http_parser_execute(&parser, &settings, (const char *)in.data, in.len);
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
        return RC_INVALID;
    if (!answer.complete)
        return in.len < WS_ANSWER_MAX ? RC_AGAIN : RC_INVALID;
    if (parser.status_code != STATUS_SWITCHING || !answer.accepted || !answer.speaks_mqtt)
        return RC_INVALID;
    return RC_OK;
}

/* ---- Frames -----------------------------------------------------------------------------------
 */

static void write_frame(struct ws *ws, enum wslay_opcode opcode, struct bytes payload,
                        ws_put_fn *put, void *owner)
{
    struct wslay_frame_iocb frame = {
        .fin = 1,
        .opcode = (uint8_t)opcode,
        .mask = 1,
        .payload_length = payload.len,
        .data = payload.data,
        .data_length = payload.len,
    };

    ws->put = put;
    ws->put_owner = owner;
    CHECK(wslay_frame_send(ws->frames, &frame) == (ssize_t)payload.len);
}

void ws_write(struct ws *ws, struct bytes payload, ws_put_fn *put, void *owner)
{
    write_frame(ws, WSLAY_BINARY_FRAME, payload, put, owner);
}

void ws_write_close(struct ws *ws, ws_put_fn *put, void *owner)
{
    static const uint8_t normal[2] = {WSLAY_CODE_NORMAL_CLOSURE >> 8,
                                      WSLAY_CODE_NORMAL_CLOSURE & 0xff};

    write_frame(ws, WSLAY_CONNECTION_CLOSE, bytes_of(normal, sizeof(normal)), put, owner);
}

/* Collects a control frame and acts on it when it is whole. */
static enum rc take_control(struct ws *ws, const struct wslay_frame_iocb *frame, ws_put_fn *put_out,
                            void *out_owner)
{
    if (frame->payload_length > CONTROL_MAX)
        return RC_INVALID;
    if (frame->data_length > 0)
        memcpy(ws->control + ws->control_len, frame->data, frame->data_length);
    ws->control_len += frame->data_length;
    if (ws->control_len < frame->payload_length)
        return RC_OK;
    size_t len = ws->control_len;
    ws->control_len = 0;
    if (frame->opcode == WSLAY_CONNECTION_CLOSE)
        return RC_CLOSED;
    if (frame->opcode == WSLAY_PING)
        write_frame(ws, WSLAY_PONG, bytes_of(ws->control, len), put_out, out_owner);
    return RC_OK;
}

static bool is_allowed(const struct wslay_frame_iocb *frame)
{
    switch (frame->opcode) {
    case WSLAY_CONTINUATION_FRAME:
    case WSLAY_BINARY_FRAME:
    case WSLAY_CONNECTION_CLOSE:
    case WSLAY_PING:
    case WSLAY_PONG:
        return frame->mask == 0 && frame->rsv == 0;
    default:
        return false; /* text, or nothing that exists */
    }
}

enum rc ws_read(struct ws *ws, struct bytes in, ws_put_fn *put, void *owner, ws_put_fn *put_out,
                void *out_owner)
{
    struct wslay_frame_iocb frame;

    ws->in = in;
    for (;;) {
        memset(&frame, 0, sizeof(frame));
        ssize_t got = wslay_frame_recv(ws->frames, &frame);
        if (got == WSLAY_ERR_WANT_READ)
            return RC_OK;
        if (got < 0 || !is_allowed(&frame))
            return RC_INVALID;
        if (wslay_is_ctrl_frame(frame.opcode)) {
            enum rc rc = take_control(ws, &frame, put_out, out_owner);
            if (rc != RC_OK)
                return rc;
        } else if (frame.data_length > 0) {
            put(owner, frame.data, frame.data_length);
        }
    }
}
