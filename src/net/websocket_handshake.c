/* SPDX-License-Identifier: Apache-2.0 */
#include "net/websocket_handshake.h"

#include "base/check.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <strings.h>

enum { KEY_LEN = 24 }; /* 16 bytes in base64 */

static bool is_name(const struct handshake *h, const char *name)
{
    return strlen(name) == h->name_len && strncasecmp(h->name, name, h->name_len) == 0;
}

static bool token_equal(struct bytes token, const char *wanted)
{
    return token.len == strlen(wanted) &&
           strncasecmp((const char *)token.data, wanted, token.len) == 0;
}

/* Takes the first element off a comma-separated list, without the white space around it. */
static struct bytes list_take(struct bytes *list)
{
    const uint8_t *comma = list->len == 0 ? NULL : memchr(list->data, ',', list->len);
    size_t len = comma == NULL ? list->len : (size_t)(comma - list->data);
    size_t skip = comma == NULL ? len : len + 1;
    struct bytes token = bytes_of(list->data, len);

    *list = bytes_of(list->data + skip, list->len - skip);
    while (token.len > 0 && (token.data[0] == ' ' || token.data[0] == '\t'))
        token = bytes_of(token.data + 1, token.len - 1);
    while (token.len > 0 && (token.data[token.len - 1] == ' ' || token.data[token.len - 1] == '\t'))
        token.len--;
    return token;
}

static bool list_has(struct bytes list, const char *wanted)
{
    while (list.len > 0) {
        if (token_equal(list_take(&list), wanted))
            return true;
    }
    return false;
}

static void protocols_note(struct handshake *h, struct bytes list)
{
    while (list.len > 0) {
        struct bytes token = list_take(&list);
        /* subprotocol names are compared as they are [MQTT-6.0.0-3] */
        h->offers_mqtt |= bytes_equal(token, bytes_of_str("mqtt"));
        h->offers_mqttv31 |= bytes_equal(token, bytes_of_str("mqttv3.1"));
    }
}

static void header_note(struct handshake *h)
{
    struct bytes value = bytes_of(h->value, h->value_len);

    if (h->name_len == 0 || h->name_len >= sizeof(h->name) || h->value_len >= sizeof(h->value))
        return;
    if (is_name(h, "host")) {
        h->hosts++;
    } else if (is_name(h, "upgrade")) {
        h->upgrade |= list_has(value, "websocket");
    } else if (is_name(h, "connection")) {
        h->connection |= list_has(value, "upgrade");
    } else if (is_name(h, "sec-websocket-version")) {
        h->version |= token_equal(list_take(&value), "13");
    } else if (is_name(h, "sec-websocket-protocol")) {
        protocols_note(h, value);
    } else if (is_name(h, "sec-websocket-key")) {
        struct bytes key = list_take(&value);
        h->keys++;
        if (key.len < sizeof(h->key)) {
            memcpy(h->key, key.data, key.len);
            h->key[key.len] = '\0';
        }
    }
}

static void header_end(struct handshake *h)
{
    header_note(h);
    h->name_len = h->value_len = 0;
    h->in_value = false;
}

static void collect(char *to, size_t room, size_t *used, const char *from, size_t len)
{
    if (len > room - *used)
        len = room - *used;
    memcpy(to + *used, from, len);
    *used += len;
}

static int on_header_field(http_parser *parser, const char *at, size_t len)
{
    struct handshake *h = parser->data;

    if (h->in_value)
        header_end(h);
    collect(h->name, sizeof(h->name), &h->name_len, at, len);
    return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t len)
{
    struct handshake *h = parser->data;

    h->in_value = true;
    collect(h->value, sizeof(h->value), &h->value_len, at, len);
    return 0;
}

static void refuse(struct handshake *h, const char *status, const char *headers, const char *text)
{
    int len = snprintf(h->response, sizeof(h->response),
                       "HTTP/1.1 %s\r\n%sConnection: close\r\nContent-Type: text/plain\r\n"
                       "Content-Length: %zu\r\n\r\n%s\n",
                       status, headers, strlen(text) + 1, text);

    CHECK(len > 0 && (size_t)len < sizeof(h->response));
    h->result = HANDSHAKE_REFUSED;
}

static bool key_is_valid(const struct handshake *h)
{
    const char *base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    return h->keys == 1 && strlen(h->key) == KEY_LEN && strspn(h->key, base64) == KEY_LEN - 2 &&
           strcmp(h->key + KEY_LEN - 2, "==") == 0;
}

void handshake_accept_key(const char *key, char accept[29])
{
    /* The fixed string is RFC 6455's, section 1.3. */
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[KEY_LEN + sizeof(guid) - 1];
    uint8_t digest[SHA_DIGEST_LENGTH];

    memcpy(text, key, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof(guid) - 1);
    SHA1(text, sizeof(text), digest);
    EVP_EncodeBlock((unsigned char *)accept, digest, sizeof(digest));
}

static void accept_with(struct handshake *h, const char *protocol)
{
    char accept[29];
    int len;

    handshake_accept_key(h->key, accept);
    len = snprintf(h->response, sizeof(h->response),
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
                   "Sec-WebSocket-Protocol: %s\r\n\r\n",
                   accept, protocol);
    CHECK(len > 0 && (size_t)len < sizeof(h->response));
    h->result = HANDSHAKE_ACCEPTED;
}

static bool has_body(const http_parser *parser)
{
    return parser->uses_transfer_encoding ||
           ((parser->flags & F_CONTENTLENGTH) && parser->content_length > 0);
}

/* All headers are in: what the answer is. */
static void decide(struct handshake *h)
{
    const http_parser *parser = &h->parser;

    if (parser->method != HTTP_GET)
        refuse(h, "405 Method Not Allowed", "Allow: GET\r\n",
               "This is MQTT over WebSocket: use GET.");
    else if (parser->http_major != 1 || parser->http_minor < 1)
        refuse(h, "400 Bad Request", "", "A WebSocket handshake needs HTTP/1.1.");
    else if (!h->upgrade || !h->connection || !h->version)
        refuse(h, "426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
               "This is MQTT over WebSocket: connect with a WebSocket client, version 13.");
    else if (h->hosts != 1)
        refuse(h, "400 Bad Request", "", "A WebSocket handshake needs one Host header.");
    else if (has_body(parser))
        refuse(h, "400 Bad Request", "", "A WebSocket handshake has no body.");
    else if (!key_is_valid(h))
        refuse(h, "400 Bad Request", "",
               "Sec-WebSocket-Key is missing, or is not 16 bytes in base64.");
    else if (h->offers_mqtt)
        accept_with(h, "mqtt");
    else if (h->offers_mqttv31)
        accept_with(h, "mqttv3.1");
    else
        refuse(h, "400 Bad Request", "",
               "This is MQTT over WebSocket: offer the subprotocol mqtt or mqttv3.1.");
}

static int on_headers_complete(http_parser *parser)
{
    struct handshake *h = parser->data;

    header_end(h);
    decide(h);
    return 2; /* nothing of HTTP follows: stop here */
}

static const http_parser_settings settings = {
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

void handshake_init(struct handshake *h)
{
    *h = (struct handshake){0};
    http_parser_init(&h->parser, HTTP_REQUEST);
    h->parser.data = h;
}

enum handshake_result handshake_feed(struct handshake *h, struct bytes in, size_t *consumed)
{
    size_t len = in.len;

    CHECK(h->result == HANDSHAKE_MORE);
    if (len > HANDSHAKE_BYTES_MAX - h->bytes)
        len = HANDSHAKE_BYTES_MAX - h->bytes;
    *consumed = http_parser_execute(&h->parser, &settings, (const char *)in.data, len);
    h->bytes += *consumed;
    if (h->result != HANDSHAKE_MORE)
        return h->result;
    if (HTTP_PARSER_ERRNO(&h->parser) != HPE_OK)
        refuse(h, "400 Bad Request", "",
               "This is not an HTTP request; MQTT over WebSocket is spoken here.");
    else if (h->bytes >= HANDSHAKE_BYTES_MAX)
        refuse(h, "431 Request Header Fields Too Large", "", "The request is longer than 8 KiB.");
    return h->result;
}

void handshake_time_out(struct handshake *h)
{
    refuse(h, "408 Request Timeout", "", "The WebSocket handshake took too long.");
}
