/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that get one line and are closed. */
#include "admin/server_internal.h"

#include "base/memory.h"

#include <unistd.h>

enum { LINGER_MS = 2000 };

struct line_connection {
    struct stream stream; /* first */
    struct admin_server *server;
    struct list link; /* in server->lines */
};

static struct line_connection *line_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct line_connection, stream);
}

static size_t received(struct stream *stream, struct bytes in)
{
    (void)stream;
    return in.len;
}

static void drained(struct stream *stream)
{
    (void)stream;
}

static void ended(struct stream *stream, enum stream_close_reason reason)
{
    (void)stream;
    (void)reason;
}

static void closed(struct stream *stream)
{
    struct line_connection *connection = line_of(stream);

    list_remove(&connection->link);
    connection->server->line_count--;
    mem_free(connection);
}

static const struct stream_ops stream_ops = {
    .received = received,
    .drained = drained,
    .ended = ended,
    .closed = closed,
};

/* The oldest that is not closing already. */
static void make_room(struct admin_server *server)
{
    LIST_FOR_EACH (link, &server->lines) {
        struct stream *stream = &CONTAINER_OF(link, struct line_connection, link)->stream;
        if (stream->state < STREAM_CLOSING) {
            stream_close(stream);
            return;
        }
    }
}

void line_connection_open(struct admin_server *server, int fd)
{
    struct line_connection *connection;
    char line[SERVER_LINE_MAX];

    if (server->stopping) {
        close(fd);
        return;
    }
    connection = NEW(struct line_connection);
    connection->server = server;
    list_init(&connection->link);
    if (stream_open(&connection->stream, &server->loop, &stream_ops, fd, TRANSPORT_TCP, NULL,
                    bytes_of(NULL, 0)) != RC_OK) {
        mem_free(connection);
        return;
    }
    if (server->line_count >= SERVER_LINES_MAX)
        make_room(server);
    list_add_last(&server->lines, &connection->link);
    server->line_count++;
    server->options.line(server->options.context, line, sizeof(line));
    stream_write(&connection->stream, bytes_of_str(line));
    stream_close_after_flush(&connection->stream, LINGER_MS);
}

void line_connections_close(struct admin_server *server)
{
    LIST_FOR_EACH (link, &server->lines)
        stream_close(&CONTAINER_OF(link, struct line_connection, link)->stream);
}
