/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/1.0 or 1.1 request as a pure state machine over http_parser: bytes go in, method,
 * target, headers and body come out, or the status and the sentence that refuse it. Bounded:
 * HTTP_HEAD_MAX bytes of request line and headers, HTTP_HEADERS_MAX headers, and a body that is not
 * larger than whoever reads the requests takes, at most HTTP_BODY_MAX bytes.
 */
#ifndef ADMIN_HTTP_REQUEST_H
#define ADMIN_HTTP_REQUEST_H

#include "base/bytes.h"

#include <http_parser.h>

enum {
    HTTP_HEAD_MAX = 16 * 1024,
    HTTP_HEADERS_MAX = 64,
    HTTP_BODY_MAX = 1024 * 1024,
};

enum http_result {
    HTTP_MORE,     /* not complete */
    HTTP_COMPLETE, /* everything is in; http_request_next() starts the next one */
    HTTP_REFUSED, /* status and detail say why; nothing more of this connection can be understood */
};

/* Both are offsets into text[]. */
struct http_header {
    uint16_t name, name_len, value, value_len;
};

struct http_request {
    http_parser parser;
    enum http_result result;
    unsigned status;    /* HTTP_REFUSED: 400, 408, 413, 431, 505 */
    const char *detail; /* HTTP_REFUSED: one sentence, static */
    bool head_done;
    bool asks_to_continue; /* Expect: 100-continue, and the body has not begun */
    bool keeps_alive;      /* HTTP_COMPLETE: the client may send another request */
    bool in_value;
    uint16_t target_len; /* text[0..] */
    uint16_t text_len;
    uint16_t header_count;
    size_t head_bytes;
    uint8_t *body;
    size_t body_len, body_room, body_max;
    struct http_header headers[HTTP_HEADERS_MAX];
    char text[HTTP_HEAD_MAX];
};

/* Bodies of at most `body_max` bytes; 0: none is taken. */
void http_request_init(struct http_request *request, size_t body_max);

/* Frees the body. */
void http_request_deinit(struct http_request *request);

/* Forgets a complete request. */
void http_request_next(struct http_request *request);

/* Parses the next bytes; *consumed of them belonged to this request. Only after HTTP_MORE. */
enum http_result http_request_feed(struct http_request *request, struct bytes in, size_t *consumed);

/* The time for the request is over: refuses with status 408. */
void http_request_time_out(struct http_request *request);

/* Whether any byte of it has come. */
static inline bool http_request_begun(const struct http_request *request)
{
    return request->head_bytes > 0;
}

/* ---- of a complete request ---------------------------------------------------------------------
 */

static inline enum http_method http_request_method(const struct http_request *request)
{
    return (enum http_method)request->parser.method;
}

/* The path and query as they came. Borrowed. */
static inline struct bytes http_request_target(const struct http_request *request)
{
    return bytes_of(request->text, request->target_len);
}

/* The value of a header (case of the name does not matter), borrowed; data NULL: not there. The
 * first of several. */
struct bytes http_request_header(const struct http_request *request, const char *name);

static inline struct bytes http_request_body(const struct http_request *request)
{
    return bytes_of(request->body, request->body_len);
}

#endif
