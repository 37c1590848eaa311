/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/http_request.h"

#include "base/check.h"
#include "base/memory.h"

#include <strings.h>

_Static_assert(HTTP_HEAD_MAX <= UINT16_MAX, "offsets into text[] have 16 bits");

enum {
    STOP = -1, /* from on_headers_complete, 1 would mean that there is no body */
    BODY_ROOM_MIN = 1024,
};

static int refuse(struct http_request *request, unsigned status, const char *detail)
{
    request->result = HTTP_REFUSED;
    request->status = status;
    request->detail = detail;
    return STOP;
}

/* ---- head --------------------------------------------------------------------------------------
 */

static int too_long(struct http_request *request)
{
    return refuse(request, 431, "The request line and headers are longer than 16 KiB.");
}

/* Appends to text[]; the caller knows which field grows. */
static int collect(struct http_request *request, const char *at, size_t len, uint16_t *field_len)
{
    if (len > sizeof(request->text) - request->text_len)
        return too_long(request);
    memcpy(request->text + request->text_len, at, len);
    request->text_len = (uint16_t)(request->text_len + len);
    *field_len = (uint16_t)(*field_len + len);
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
    struct http_request *request = parser->data;
    return collect(request, at, len, &request->target_len);
}

static int on_header_field(http_parser *parser, const char *at, size_t len)
{
    struct http_request *request = parser->data;

    if (request->head_done)
        return 0; /* a trailer */
    if (request->header_count == 0 || request->in_value) {
        if (request->header_count == HTTP_HEADERS_MAX)
            return refuse(request, 431, "The request has more than 64 headers.");
        request->headers[request->header_count++] = (struct http_header){.name = request->text_len};
        request->in_value = false;
    }
    return collect(request, at, len, &request->headers[request->header_count - 1].name_len);
}

static int on_header_value(http_parser *parser, const char *at, size_t len)
{
    struct http_request *request = parser->data;
    struct http_header *header;

    if (request->head_done)
        return 0;
    header = &request->headers[request->header_count - 1];
    if (!request->in_value)
        header->value = request->text_len;
    request->in_value = true;
    return collect(request, at, len, &header->value_len);
}

static bool header_is(const struct http_request *request, const struct http_header *header,
                      const char *name)
{
    return strlen(name) == header->name_len &&
           strncasecmp(request->text + header->name, name, header->name_len) == 0;
}

static unsigned count_headers(const struct http_request *request, const char *name)
{
    unsigned count = 0;

    for (uint16_t i = 0; i < request->header_count; i++)
        count += header_is(request, &request->headers[i], name);
    return count;
}

struct bytes http_request_header(const struct http_request *request, const char *name)
{
    for (uint16_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (header_is(request, header, name))
            return bytes_of(request->text + header->value, header->value_len);
    }
    return bytes_of(NULL, 0);
}

static bool expects_continue(const struct http_request *request)
{
    static const char word[] = "100-continue";
    struct bytes value = http_request_header(request, "expect");

    return value.len == sizeof(word) - 1 &&
           strncasecmp((const char *)value.data, word, value.len) == 0;
}

static bool body_is_announced_too_large(const http_parser *parser)
{
    const struct http_request *request = parser->data;

    return (parser->flags & F_CONTENTLENGTH) && parser->content_length > request->body_max;
}

static int refuse_body(struct http_request *request)
{
    return refuse(request, 413,
                  request->body_max == 0 ? "Nothing here takes a body."
                                         : "The body is longer than 1 MiB.");
}

static int on_headers_complete(http_parser *parser)
{
    struct http_request *request = parser->data;

    request->head_done = true;
    if (parser->http_major != 1)
        return refuse(request, 505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.");
    if (parser->http_minor >= 1 && count_headers(request, "host") != 1)
        return refuse(request, 400, "A request needs one Host header.");
    if (body_is_announced_too_large(parser))
        return refuse_body(request);
    request->asks_to_continue = expects_continue(request);
    return 0;
}

/* ---- body --------------------------------------------------------------------------------------
 */

static int on_body(http_parser *parser, const char *at, size_t len)
{
    struct http_request *request = parser->data;
    size_t needed = request->body_len + len;

    request->asks_to_continue = false;
    if (needed > request->body_max)
        return refuse_body(request);
    if (needed > request->body_room) {
        size_t room =
            request->body_room * 2 > BODY_ROOM_MIN ? request->body_room * 2 : BODY_ROOM_MIN;
        uint8_t *grown = mem_try_resize(request->body, needed > room ? needed : room);
        if (grown == NULL)
            return refuse(request, 413, "There is no memory for the body.");
        request->body = grown;
        request->body_room = needed > room ? needed : room;
    }
    memcpy(request->body + request->body_len, at, len);
    request->body_len = needed;
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct http_request *request = parser->data;

    request->asks_to_continue = false;
    request->keeps_alive =
        parser->http_minor >= 1 && http_should_keep_alive(parser) && parser->method != HTTP_CONNECT;
    request->result = HTTP_COMPLETE;
    http_parser_pause(parser, 1); /* what follows is the next request */
    return 0;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- life --------------------------------------------------------------------------------------
 */

static void begin(struct http_request *request)
{
    http_parser_init(&request->parser, HTTP_REQUEST);
    request->parser.data = request;
    request->result = HTTP_MORE;
    request->status = 0;
    request->detail = NULL;
    request->head_done = request->asks_to_continue = request->in_value = false;
    request->target_len = request->text_len = request->header_count = 0;
    request->head_bytes = 0;
    request->body = NULL;
    request->body_len = request->body_room = 0;
}

void http_request_init(struct http_request *request, size_t body_max)
{
    CHECK(body_max <= HTTP_BODY_MAX);
    request->body_max = body_max;
    begin(request); /* text[] and headers[] stay as they are: counts say what is in them */
}

void http_request_deinit(struct http_request *request)
{
    mem_free(request->body);
    request->body = NULL;
}

void http_request_next(struct http_request *request)
{
    CHECK(request->result == HTTP_COMPLETE);
    mem_free(request->body);
    begin(request);
}

enum http_result http_request_feed(struct http_request *request, struct bytes in, size_t *consumed)
{
    *consumed = 0;
    CHECK(request->result == HTTP_MORE);
    while (*consumed < in.len && request->result == HTTP_MORE) {
        size_t len = in.len - *consumed;
        bool in_head = !request->head_done;
        if (in_head && len > HTTP_HEAD_MAX - request->head_bytes)
            len = HTTP_HEAD_MAX - request->head_bytes;
        size_t parsed = http_parser_execute(&request->parser, &settings,
                                            (const char *)in.data + *consumed, len);
        *consumed += parsed;
        if (in_head)
            request->head_bytes += parsed;
        if (request->result != HTTP_MORE)
            break;
        if (HTTP_PARSER_ERRNO(&request->parser) != HPE_OK || parsed < len)
            refuse(request, 400, "This is not an HTTP request.");
        else if (!request->head_done && request->head_bytes >= HTTP_HEAD_MAX)
            too_long(request);
    }
    return request->result;
}

void http_request_time_out(struct http_request *request)
{
    refuse(request, 408, "The request took longer than 30 seconds to come.");
}
