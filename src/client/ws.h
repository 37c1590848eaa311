/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of a WebSocket (RFC 6455) with the subprotocol "mqtt": the HTTP upgrade, masked
 * binary frames out, frames in; framing by wslay. No I/O: bytes go in, bytes come out by a callback
 * of the owner. MQTT packets may be cut anywhere by frames, so what is read is a stream again.
 */
#ifndef CLIENT_WS_H
#define CLIENT_WS_H

#include "base/bytes.h"
#include "base/rc.h"

struct ws;

/* Takes a copy of the bytes. */
typedef void ws_put_fn(void *owner, const uint8_t *data, size_t len);

enum { WS_ANSWER_MAX = 8 * 1024 };

struct ws *ws_new(void);

/* NULL is fine. */
void ws_free(struct ws *ws);

/* Writes the HTTP request; gives its length, 0 when it does not fit. */
size_t ws_request(struct ws *ws, const char *host, uint16_t port, const char *path, char *out,
                  size_t room);

/* Looks at the HTTP answer. RC_OK: upgraded, *consumed bytes were the answer. RC_AGAIN: not all
 * here yet. RC_INVALID: no WebSocket with MQTT is spoken there. */
MUST_USE enum rc ws_answer(struct ws *ws, struct bytes in, size_t *consumed);

/* Puts one masked binary frame around `payload`. */
void ws_write(struct ws *ws, struct bytes payload, ws_put_fn *put, void *owner);

/* Puts a close frame. */
void ws_write_close(struct ws *ws, ws_put_fn *put, void *owner);

/*
 * Takes all of `in`; what was in binary frames goes to put(), answers to pings go to put_out().
 * RC_OK, RC_CLOSED (a close frame came), RC_INVALID (not what a server may send).
 */
MUST_USE enum rc ws_read(struct ws *ws, struct bytes in, ws_put_fn *put, void *owner,
                         ws_put_fn *put_out, void *out_owner);

#endif
