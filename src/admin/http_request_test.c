/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/http_request.h"
#include "base/memory.h"

#include <stdio.h>

static struct http_request *request_new(void)
{
    struct http_request *request = NEW(struct http_request);

    http_request_init(request, HTTP_BODY_MAX);
    return request;
}

static void request_free(struct http_request *request)
{
    http_request_deinit(request);
    mem_free(request);
}

/* Feeds all of it, `step` bytes at a time; gives how many belonged to the request. */
static size_t feed(struct http_request *request, struct bytes in, size_t step)
{
    size_t done = 0;

    while (done < in.len && request->result == HTTP_MORE) {
        size_t len = in.len - done < step ? in.len - done : step;
        size_t consumed;
        http_request_feed(request, bytes_of(in.data + done, len), &consumed);
        done += consumed;
    }
    return done;
}

static struct http_request *request_of(const char *text)
{
    struct http_request *request = request_new();

    feed(request, bytes_of_str(text), SIZE_MAX);
    return request;
}

static void assert_refused(const char *text, unsigned status)
{
    struct http_request *request = request_of(text);

    assert_int_equal(request->result, HTTP_REFUSED);
    assert_int_equal(request->status, status);
    assert_non_null(request->detail);
    request_free(request);
}

static void assert_text(struct bytes have, const char *want)
{
    assert_int_equal(have.len, strlen(want));
    assert_memory_equal(have.data, want, have.len);
}

#define POST "POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n"

static void request_is_the_same_whole_and_byte_by_byte(void **state)
{
    const char *text = POST "Content-Length: 5\r\n\r\nhello";

    (void)state;
    for (size_t step = 1; step <= strlen(text); step += strlen(text) - 1) {
        struct http_request *request = request_new();
        assert_int_equal(feed(request, bytes_of_str(text), step), strlen(text));
        assert_int_equal(request->result, HTTP_COMPLETE);
        assert_int_equal(http_request_method(request), HTTP_POST);
        assert_text(http_request_target(request), "/v1/x?y=1");
        assert_text(http_request_header(request, "content-type"), "text/plain");
        assert_null(http_request_header(request, "content").data);
        assert_text(http_request_body(request), "hello");
        assert_true(request->keeps_alive);
        request_free(request);
    }
}

static void what_follows_a_request_is_left_for_the_next(void **state)
{
    const char *first = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    const char *both = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_request *request = request_new();
    size_t used = feed(request, bytes_of_str(both), SIZE_MAX);

    (void)state;
    assert_int_equal(used, strlen(first));
    assert_text(http_request_target(request), "/1");
    http_request_next(request);
    assert_int_equal(feed(request, bytes_of_str(both + used), SIZE_MAX), strlen(both) - used);
    assert_int_equal(request->result, HTTP_COMPLETE);
    assert_text(http_request_target(request), "/2");
    request_free(request);
}

static void chunked_body_is_put_together(void **state)
{
    struct http_request *request = request_of(
        POST
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n");

    (void)state;
    assert_int_equal(request->result, HTTP_COMPLETE);
    assert_text(http_request_body(request), "abcde");
    assert_null(http_request_header(request, "trailer").data);
    request_free(request);
}

static void body_of_the_largest_size_is_taken_and_one_byte_more_is_not(void **state)
{
    char head[256];
    uint8_t *body = mem_new(HTTP_BODY_MAX);
    struct http_request *request = request_new();

    (void)state;
    snprintf(head, sizeof(head), POST "Content-Length: %d\r\n\r\n", HTTP_BODY_MAX);
    feed(request, bytes_of_str(head), SIZE_MAX);
    feed(request, bytes_of(body, HTTP_BODY_MAX), 60000);
    assert_int_equal(request->result, HTTP_COMPLETE);
    assert_int_equal(request->body_len, HTTP_BODY_MAX);
    request_free(request);
    mem_free(body);
    snprintf(head, sizeof(head), POST "Content-Length: %d\r\n\r\n", HTTP_BODY_MAX + 1);
    assert_refused(head, 413);
}

static void body_where_none_is_taken_is_refused(void **state)
{
    static const char *const bodies[] = {"Content-Length: 1\r\n\r\nx",
                                         "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"};
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct http_request *request = request_new();
        request->body_max = 0;
        snprintf(text, sizeof(text), POST "%s", bodies[i]);
        feed(request, bytes_of_str(text), SIZE_MAX);
        assert_int_equal(request->result, HTTP_REFUSED);
        assert_int_equal(request->status, 413);
        assert_string_equal(request->detail, "Nothing here takes a body.");
        request_free(request);
    }
}

static void chunked_body_that_grows_too_large_is_refused(void **state)
{
    struct http_request *request = request_of(POST "Transfer-Encoding: chunked\r\n\r\n");
    char *chunk = mem_new(0x10000 + 16);
    int head = snprintf(chunk, 16, "10000\r\n");

    (void)state;
    memset(chunk + head, 'x', 0x10000);
    memcpy(chunk + head + 0x10000, "\r\n", 2);
    for (int i = 0; i < 17 && request->result == HTTP_MORE; i++)
        feed(request, bytes_of(chunk, (size_t)head + 0x10000 + 2), SIZE_MAX);
    assert_int_equal(request->result, HTTP_REFUSED);
    assert_int_equal(request->status, 413);
    mem_free(chunk);
    request_free(request);
}

static void head_beyond_its_limit_is_refused_without_reading_on(void **state)
{
    static const char line[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    uint8_t *text = mem_new(3 * HTTP_HEAD_MAX);
    struct http_request *request = request_new();

    (void)state;
    memset(text, 'x', 3 * HTTP_HEAD_MAX);
    memcpy(text, line, sizeof(line) - 1);
    assert_true(feed(request, bytes_of(text, 3 * HTTP_HEAD_MAX), SIZE_MAX) <= HTTP_HEAD_MAX);
    assert_int_equal(request->result, HTTP_REFUSED);
    assert_int_equal(request->status, 431);
    request_free(request);
    mem_free(text);
}

static void more_headers_than_allowed_are_refused(void **state)
{
    struct http_request *request = request_of("GET / HTTP/1.1\r\nHost: a\r\n");

    (void)state;
    for (int i = 1; i < HTTP_HEADERS_MAX; i++)
        feed(request, bytes_of_str("A: b\r\n"), SIZE_MAX);
    assert_int_equal(request->result, HTTP_MORE);
    feed(request, bytes_of_str("A: b\r\n"), SIZE_MAX);
    assert_int_equal(request->status, 431);
    request_free(request);
}

static void what_is_not_http_is_refused(void **state)
{
    (void)state;
    assert_refused("\x10\x0c\x00\x04MQTT", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n",
                   400);
    assert_refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
}

static void request_without_exactly_one_host_is_refused(void **state)
{
    (void)state;
    assert_refused("GET / HTTP/1.1\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
}

static void http_1_0_needs_no_host_and_ends_the_connection(void **state)
{
    struct http_request *request = request_of("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");

    (void)state;
    assert_int_equal(request->result, HTTP_COMPLETE);
    assert_false(request->keeps_alive);
    request_free(request);
}

static void connection_close_ends_the_connection(void **state)
{
    struct http_request *request =
        request_of("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

    (void)state;
    assert_int_equal(request->result, HTTP_COMPLETE);
    assert_false(request->keeps_alive);
    request_free(request);
}

static void expect_100_continue_is_noticed_until_the_body_comes(void **state)
{
    struct http_request *request =
        request_of(POST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n");

    (void)state;
    assert_true(request->asks_to_continue);
    feed(request, bytes_of_str("a"), SIZE_MAX);
    assert_false(request->asks_to_continue);
    request_free(request);
}

static void time_out_refuses_with_408(void **state)
{
    struct http_request *request = request_of("GET / HT");

    (void)state;
    assert_true(http_request_begun(request));
    http_request_time_out(request);
    assert_int_equal(request->result, HTTP_REFUSED);
    assert_int_equal(request->status, 408);
    request_free(request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_is_the_same_whole_and_byte_by_byte),
        cmocka_unit_test(what_follows_a_request_is_left_for_the_next),
        cmocka_unit_test(chunked_body_is_put_together),
        cmocka_unit_test(body_of_the_largest_size_is_taken_and_one_byte_more_is_not),
        cmocka_unit_test(body_where_none_is_taken_is_refused),
        cmocka_unit_test(chunked_body_that_grows_too_large_is_refused),
        cmocka_unit_test(head_beyond_its_limit_is_refused_without_reading_on),
        cmocka_unit_test(more_headers_than_allowed_are_refused),
        cmocka_unit_test(what_is_not_http_is_refused),
        cmocka_unit_test(request_without_exactly_one_host_is_refused),
        cmocka_unit_test(http_1_0_needs_no_host_and_ends_the_connection),
        cmocka_unit_test(connection_close_ends_the_connection),
        cmocka_unit_test(expect_100_continue_is_noticed_until_the_body_comes),
        cmocka_unit_test(time_out_refuses_with_408),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
