/* SPDX-License-Identifier: Apache-2.0 */
/* A request from the moment it is complete to its answer. */
#include "admin/call.h"

#include "admin/server_internal.h"
#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"

#include <stdarg.h>
#include <stdlib.h>

#define PROBLEM_TYPE "application/problem+json"
#define JSON_TYPE "application/json"

enum { DETAIL_ROOM = 1024 };

/* ---- for handlers ------------------------------------------------------------------------------
 */

const struct admin_value *call_value(const struct admin_call *call, const char *name)
{
    return admin_request_value(&call->request, name);
}

void *call_context(const struct admin_call *call)
{
    return call->server->options.context;
}

struct admin_server *call_server(const struct admin_call *call)
{
    return call->server;
}

const struct resource *call_table(const struct admin_call *call)
{
    return call->server->options.table;
}

void call_set_own(struct admin_call *call, void *own)
{
    call->own = own;
}

void *call_own(const struct admin_call *call)
{
    return call->own;
}

/* ---- the end -----------------------------------------------------------------------------------
 */

/* What changed something is worth a line. */
static void note(const struct admin_call *call, unsigned status)
{
    const struct resource *resource = call->request.resource;

    if (resource != NULL && resource->method != HTTP_GET)
        LOG(LOG_INFO, "admin.request", log_text("method", http_method_str(resource->method)),
            log_text("resource", resource->path),
            log_text("of",
                     call->request.values[0].text == NULL ? "" : call->request.values[0].text),
            log_uint("status", status));
}

static void finish(struct admin_call *call)
{
    struct http_connection *connection = call->connection;

    admin_release(call->server);
    list_remove(&call->link);
    admin_request_deinit(&call->request);
    mem_free(call);
    if (connection != NULL)
        http_answered(connection);
}

/* ---- whole answers -----------------------------------------------------------------------------
 */

/* Takes the body. */
static void write_json(struct http_connection *connection, unsigned status, const char *type,
                       const char *more_headers, json_t *body, bool head_only)
{
    char *text = json_dumps(body, JSON_COMPACT);

    json_decref(body);
    CHECK(text != NULL);
    size_t len = strlen(text);
    http_write_head(connection, status, type, more_headers, len + 1);
    if (!head_only) {
        stream_write(&connection->stream, bytes_of(text, len));
        stream_write(&connection->stream, bytes_of_str("\n"));
    }
    free(text); /* jansson's */
}

void call_answer(struct admin_call *call, unsigned status, json_t *body)
{
    note(call, status);
    if (call->connection != NULL)
        write_json(call->connection, status, JSON_TYPE, "", body, call->head_only);
    else
        json_decref(body);
    finish(call);
}

void problem_write(struct http_connection *connection, unsigned status, const char *detail,
                   const char *more_headers, bool head_only)
{
    json_t *problem =
        json_pack("{s:s, s:i, s:s}", "title", http_status_str((enum http_status)status), "status",
                  (int)status, "detail", detail);

    CHECK(problem != NULL);
    write_json(connection, status, PROBLEM_TYPE, more_headers, problem, head_only);
}

void call_problem(struct admin_call *call, unsigned status, const char *format, ...)
{
    char detail[DETAIL_ROOM];
    va_list args;

    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    note(call, status);
    if (call->connection != NULL)
        problem_write(call->connection, status, detail, "", call->head_only);
    finish(call);
}

/* ---- answers in pieces -------------------------------------------------------------------------
 */

void call_stream(struct admin_call *call, void (*next)(struct admin_call *call))
{
    struct http_connection *connection = call->connection;

    call->next = next;
    if (connection != NULL) {
        call->chunked = connection->request.parser.http_minor >= 1;
        http_write_head(connection, 200, JSON_TYPE, "", SIZE_MAX);
    }
    call_again(call);
}

bool call_piece(struct admin_call *call, struct bytes text)
{
    struct stream *stream;
    char size[32];

    if (call->connection == NULL || call->head_only)
        return false;
    if (text.len == 0)
        return true; /* a chunk of no bytes would be the last */
    stream = &call->connection->stream;
    if (call->chunked) {
        snprintf(size, sizeof(size), "%zx\r\n", text.len);
        stream_write(stream, bytes_of_str(size));
    }
    stream_write(stream, text);
    if (call->chunked)
        stream_write(stream, bytes_of_str("\r\n"));
    return true;
}

void call_again(struct admin_call *call)
{
    struct http_connection *connection = call->connection;

    call->waits = connection != NULL && stream_is_high(&connection->stream);
    if (!call->waits) {
        list_add_last(&call->server->ready, &call->link);
        loop_wake(&call->server->loop);
        return;
    }
    connection->stuck_bytes = connection->stream.out_bytes;
    loop_timer_start(&call->server->loop, &connection->timer,
                     call->server->loop.now_ms + SERVER_STALL_MS);
}

static void go_on(struct admin_call *call)
{
    call->waits = false;
    list_add_last(&call->server->ready, &call->link);
    loop_wake(&call->server->loop);
}

void call_drained(struct admin_call *call)
{
    if (!call->waits)
        return;
    loop_timer_stop(&call->server->loop, &call->connection->timer);
    go_on(call);
}

void call_peer_gone(struct admin_call *call)
{
    call->connection = NULL;
    if (call->waits)
        go_on(call);
}

void call_end(struct admin_call *call)
{
    if (call->connection != NULL && call->chunked && !call->head_only)
        stream_write(&call->connection->stream, bytes_of_str("0\r\n\r\n"));
    finish(call);
}

void calls_turn(struct admin_server *server)
{
    struct list due;
    struct list *link;

    list_init(&due);
    list_move_all(&due, &server->ready);
    while ((link = list_take_first(&due)) != NULL) {
        struct admin_call *call = CONTAINER_OF(link, struct admin_call, link);
        call->next(call);
    }
}

/* ---- work on another thread --------------------------------------------------------------------
 */

struct work {
    uv_work_t request;
    struct admin_call *call;
    void (*run)(void *own);
    void (*done)(struct admin_call *call);
};

static void work_run(uv_work_t *request)
{
    struct work *work = CONTAINER_OF(request, struct work, request);
    work->run(work->call->own);
}

static void work_done(uv_work_t *request, int status)
{
    struct work *work = CONTAINER_OF(request, struct work, request);
    struct admin_call *call = work->call;
    void (*done)(struct admin_call * call) = work->done;

    CHECK(status == 0); /* nobody cancels */
    mem_free(work);
    done(call);
}

void call_work(struct admin_call *call, void (*work)(void *own), void (*done)(struct admin_call *))
{
    struct work *order = NEW(struct work);

    *order = (struct work){.call = call, .run = work, .done = done};
    CHECK(uv_queue_work(&call->server->loop.uv, &order->request, work_run, work_done) == 0);
}

/* ---- the beginning -----------------------------------------------------------------------------
 */

void call_begin(struct http_connection *connection)
{
    struct admin_server *server = connection->server;
    const struct http_request *http = &connection->request;
    struct admin_call *call = NEW(struct admin_call);
    const struct admin_question question = {
        .method = http_request_method(http),
        .target = http_request_target(http),
        .content_type = http_request_header(http, "content-type"),
        .body = http_request_body(http),
    };

    call->server = server;
    call->connection = connection;
    call->head_only = question.method == HTTP_HEAD;
    list_init(&call->link);
    connection->call = call;
    admin_hold(server);
    if (admin_request_parse(&call->request, server->options.table, &question)) {
        call->request.resource->handle(call);
        return;
    }
    char allow[96] = "";
    if (call->request.allow[0] != '\0')
        snprintf(allow, sizeof(allow), "Allow: %s\r\n", call->request.allow);
    problem_write(connection, call->request.status, call->request.detail, allow, call->head_only);
    finish(call);
}
