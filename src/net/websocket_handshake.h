/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opening handshake of RFC 6455, the server's side, as a pure state machine: request bytes go
 * in, a response comes out. It takes GET over HTTP/1.1 with the subprotocol "mqtt" or "mqttv3.1",
 * any path and any origin; everything else gets a status and a sentence that says what was
 * expected. Bounded: HANDSHAKE_BYTES_MAX of request, no body. Inside net only.
 */
#ifndef NET_WEBSOCKET_HANDSHAKE_H
#define NET_WEBSOCKET_HANDSHAKE_H

#include "base/bytes.h"

#include <http_parser.h>

enum { HANDSHAKE_BYTES_MAX = 8 * 1024 };

enum handshake_result {
    HANDSHAKE_MORE,     /* the request is not complete */
    HANDSHAKE_ACCEPTED, /* the response is to be sent, frames follow */
    HANDSHAKE_REFUSED,  /* the response is to be sent, then the connection closes */
};

struct handshake {
    http_parser parser;
    enum handshake_result result;
    size_t bytes; /* of the request, until now */
    /* the header that is being read; longer ones are cut and then match nothing */
    char name[32];
    char value[512];
    size_t name_len, value_len;
    bool in_value;
    /* what the headers said */
    bool upgrade, connection, version, offers_mqtt, offers_mqttv31;
    unsigned hosts, keys;
    char key[32];
    char response[512];
};

void handshake_init(struct handshake *h);

/* Parses the next bytes of the request; *consumed of them belonged to it. Only after
 * HANDSHAKE_MORE. */
enum handshake_result handshake_feed(struct handshake *h, struct bytes in, size_t *consumed);

/* The time is over: refuses with status 408. */
void handshake_time_out(struct handshake *h);

/* Sec-WebSocket-Accept for a key of 24 characters, with its final '\0'. */
void handshake_accept_key(const char *key, char accept[29]);

#endif
