/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests to the control socket: whole, and byte by byte; both must come to the same. What is
 * complete then finds its resource, or a refusal that can be shown.
 */
#include "admin/http_request.h"
#include "base/check.h"
#include "base/memory.h"
#include "broker/api.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t feed_all(struct http_request *request, struct bytes in, size_t step)
{
    size_t done = 0;

    while (done < in.len && request->result == HTTP_MORE) {
        size_t len = in.len - done < step ? in.len - done : step;
        size_t consumed = 0;
        http_request_feed(request, bytes_of(in.data + done, len), &consumed);
        CHECK(consumed <= len);
        CHECK(consumed == len || request->result != HTTP_MORE);
        done += consumed;
    }
    return done;
}

static void check_values(const struct admin_request *request)
{
    for (size_t i = 0; i < ADMIN_PARAMETERS_MAX && request->values[i].field != NULL; i++) {
        const struct admin_value *value = &request->values[i];
        const struct admin_field *field = value->field;
        CHECK(value->given || field->presence == ADMIN_OPTIONAL);
        if (value->given && field->type == ADMIN_INTEGER)
            CHECK(value->number >= field->min && value->number <= field->max);
        if (value->given && field->type == ADMIN_FILE)
            CHECK(value->text[0] == '/');
    }
}

static void route(const struct http_request *http)
{
    struct admin_request request;
    const struct admin_question question = {
        .method = http_request_method(http),
        .target = http_request_target(http),
        .content_type = http_request_header(http, "content-type"),
        .body = http_request_body(http),
    };

    if (admin_request_parse(&request, api_resources, &question)) {
        check_values(&request);
    } else {
        CHECK(request.status >= 400 && request.status < 600);
        CHECK(request.detail[0] != '\0');
        CHECK((request.status == 405) == (request.allow[0] != '\0'));
    }
    admin_request_deinit(&request);
}

static void check_same(const struct http_request *a, const struct http_request *b)
{
    /* Of two faults close together, which one is named depends on where the pieces end. */
    CHECK(a->result == b->result);
    if (a->result != HTTP_COMPLETE)
        return;
    CHECK(bytes_equal(http_request_target(a), http_request_target(b)));
    CHECK(bytes_equal(http_request_body(a), http_request_body(b)));
    CHECK(a->header_count == b->header_count);
    CHECK(a->keeps_alive == b->keeps_alive);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request *whole = NEW(struct http_request);
    struct http_request *pieces = NEW(struct http_request);
    size_t whole_len, pieces_len;

    http_request_init(whole, HTTP_BODY_MAX);
    http_request_init(pieces, HTTP_BODY_MAX);
    whole_len = feed_all(whole, bytes_of(data, size), size);
    pieces_len = feed_all(pieces, bytes_of(data, size), 1);
    check_same(whole, pieces);
    CHECK(whole->result != HTTP_COMPLETE || whole_len == pieces_len);
    CHECK(whole->result != HTTP_MORE || whole->head_bytes <= HTTP_HEAD_MAX);
    CHECK(whole->body_len <= HTTP_BODY_MAX);
    if (whole->result == HTTP_COMPLETE)
        route(whole);
    if (whole->result == HTTP_REFUSED)
        CHECK(whole->detail != NULL);
    http_request_deinit(whole);
    http_request_deinit(pieces);
    mem_free(whole);
    mem_free(pieces);
    return 0;
}
