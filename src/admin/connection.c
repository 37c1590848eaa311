/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP connection: requests in, one at a time, answers out.
 *
 *     READING --request complete--> HANDLING --answered--> DRAINING --the client has read-->
 * READING
 *        '--bad request, 408, Connection: close--> ENDING
 */
#include "admin/server_internal.h"

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"

#include <time.h>
#include <unistd.h>

enum { LINGER_MS = 2000, HEAD_ROOM = 1024 };

static struct http_connection *connection_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct http_connection, stream);
}

static void start_timer(struct http_connection *connection, uint64_t wait_ms)
{
    struct loop *loop = &connection->server->loop;
    loop_timer_start(loop, &connection->timer, loop->now_ms + wait_ms);
}

/* ---- out ---------------------------------------------------------------------------------------
 */

static void write_date(char *out, size_t room)
{
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(out, room, "%a, %d %b %Y %H:%M:%S GMT", &utc);
}

static bool will_close(const struct http_connection *connection)
{
    return connection->request.result != HTTP_COMPLETE || !connection->request.keeps_alive;
}

void http_write_head(struct http_connection *connection, unsigned status, const char *type,
                     const char *more_headers, size_t content_len)
{
    char head[HEAD_ROOM], date[64], length[64];
    int len;

    write_date(date, sizeof(date));
    if (content_len != SIZE_MAX)
        snprintf(length, sizeof(length), "Content-Length: %zu\r\n", content_len);
    else if (connection->request.parser.http_minor >= 1)
        snprintf(length, sizeof(length), "Transfer-Encoding: chunked\r\n");
    else
        length[0] = '\0'; /* HTTP/1.0: until the connection ends */
    len = snprintf(head, sizeof(head),
                   "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\n%s%s%s"
                   "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n",
                   status, http_status_str((enum http_status)status), date, type, length,
                   will_close(connection) ? "Connection: close\r\n" : "", more_headers);
    CHECK(len > 0 && (size_t)len < sizeof(head));
    stream_write(&connection->stream, bytes_of(head, (size_t)len));
}

static void end(struct http_connection *connection)
{
    connection->state = HTTP_ENDING;
    loop_timer_stop(&connection->server->loop, &connection->timer);
    stream_close_after_flush(&connection->stream, LINGER_MS);
}

/* The client has read enough of its answers: it may ask again. */
static void read_next(struct http_connection *connection)
{
    connection->state = HTTP_READING;
    start_timer(connection, connection->server->options.limits->idle_ms);
    stream_resume(&connection->stream);
}

void http_answered(struct http_connection *connection)
{
    bool closes = will_close(connection);

    connection->call = NULL;
    connection->answers++;
    if (closes) {
        end(connection);
        return;
    }
    http_request_next(&connection->request);
    if (!stream_is_high(&connection->stream)) {
        read_next(connection);
        return;
    }
    connection->state = HTTP_DRAINING;
    connection->stuck_bytes = connection->stream.out_bytes;
    start_timer(connection, SERVER_STALL_MS);
}

/* ---- in ----------------------------------------------------------------------------------------
 */

static void refuse(struct http_connection *connection)
{
    const struct http_request *request = &connection->request;

    problem_write(connection, request->status, request->detail, "", false);
    end(connection);
}

static void begin_handling(struct http_connection *connection)
{
    connection->state = HTTP_HANDLING;
    loop_timer_stop(&connection->server->loop, &connection->timer);
    stream_pause(&connection->stream);
    call_begin(connection);
}

static size_t received(struct stream *stream, struct bytes in)
{
    struct http_connection *connection = connection_of(stream);
    struct http_request *request = &connection->request;
    bool begun = http_request_begun(request);
    size_t consumed;

    if (connection->state != HTTP_READING)
        return 0;
    switch (http_request_feed(request, in, &consumed)) {
    case HTTP_MORE:
        if (!begun)
            start_timer(connection, connection->server->options.limits->request_ms);
        if (request->asks_to_continue) {
            request->asks_to_continue = false;
            stream_write(stream, bytes_of_str("HTTP/1.1 100 Continue\r\n\r\n"));
        }
        break;
    case HTTP_COMPLETE:
        begin_handling(connection);
        break;
    case HTTP_REFUSED:
        refuse(connection);
        break;
    }
    return consumed;
}

static void drained(struct stream *stream)
{
    struct http_connection *connection = connection_of(stream);

    if (connection->state == HTTP_DRAINING)
        read_next(connection);
    else if (connection->call != NULL)
        call_drained(connection->call);
}

/* ---- time --------------------------------------------------------------------------------------
 */

static void timer_fired(struct loop_timer *timer)
{
    struct http_connection *connection = CONTAINER_OF(timer, struct http_connection, timer);
    struct stream *stream = &connection->stream;

    if (connection->state == HTTP_READING && http_request_begun(&connection->request)) {
        http_request_time_out(&connection->request);
        refuse(connection);
    } else if (connection->state == HTTP_READING) {
        end(connection); /* nothing was asked for a while */
    } else if (stream->out_bytes > 0 && stream->out_bytes >= connection->stuck_bytes) {
        stream_close(stream); /* it does not read its answer */
    } else {
        connection->stuck_bytes = stream->out_bytes;
        start_timer(connection, SERVER_STALL_MS);
    }
}

/* ---- begin and end -----------------------------------------------------------------------------
 */

static void ended(struct stream *stream, enum stream_close_reason reason)
{
    struct http_connection *connection = connection_of(stream);

    (void)reason;
    connection->state = HTTP_ENDING;
    loop_timer_stop(&connection->server->loop, &connection->timer);
    if (connection->call != NULL)
        call_peer_gone(connection->call);
    connection->call = NULL;
}

static void closed(struct stream *stream)
{
    struct http_connection *connection = connection_of(stream);

    list_remove(&connection->link);
    connection->server->connection_count--;
    http_request_deinit(&connection->request);
    mem_free(connection);
}

static const struct stream_ops stream_ops = {
    .received = received,
    .drained = drained,
    .ended = ended,
    .closed = closed,
};

static bool is_idle(const struct http_connection *connection)
{
    return connection->state == HTTP_READING && connection->answers > 0 &&
           !http_request_begun(&connection->request) && connection->stream.out_bytes == 0;
}

/* Nothing is being done for it. */
static bool is_waited_for(const struct http_connection *connection)
{
    return (connection->state == HTTP_READING || connection->state == HTTP_ENDING) &&
           connection->stream.state < STREAM_CLOSING;
}

/* Ends the oldest connection that is like that. False: there is none. */
static bool end_oldest(struct admin_server *server,
                       bool (*may_go)(const struct http_connection *connection))
{
    LIST_FOR_EACH (link, &server->connections) {
        struct http_connection *connection = CONTAINER_OF(link, struct http_connection, link);
        if (may_go(connection)) {
            stream_close(&connection->stream);
            return true;
        }
    }
    return false;
}

static bool make_room(struct admin_server *server)
{
    return end_oldest(server, is_idle) || (server->options.limits->room == SERVER_ROOM_OF_OLDEST &&
                                           end_oldest(server, is_waited_for));
}

void http_connection_open(struct admin_server *server, int fd)
{
    struct http_connection *connection = NEW(struct http_connection);

    connection->server = server;
    list_init(&connection->link);
    loop_timer_init(&connection->timer, timer_fired);
    http_request_init(&connection->request, server->options.limits->body_max);
    if (server->stopping || stream_open(&connection->stream, &server->loop, &stream_ops, fd,
                                        TRANSPORT_TCP, NULL, bytes_of(NULL, 0)) != RC_OK) {
        if (server->stopping)
            close(fd);
        mem_free(connection);
        return;
    }
    bool full =
        server->connection_count >= server->options.limits->connections_max && !make_room(server);
    list_add_last(&server->connections, &connection->link);
    server->connection_count++;
    if (full) {
        LOG_LIMITED(LOG_WARN, "admin.too_many_connections",
                    log_uint("limit", server->options.limits->connections_max));
        problem_write(connection, 503, "There are too many connections; try again soon.",
                      "Retry-After: 1\r\n", false);
        end(connection);
        return;
    }
    start_timer(connection, server->options.limits->request_ms);
}
