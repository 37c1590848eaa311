/* SPDX-License-Identifier: Apache-2.0 */
/* The structs behind server.h and call.h, and what server.c, connection.c, line.c and call.c call
 * of each other. Inside admin only. */
#ifndef ADMIN_SERVER_INTERNAL_H
#define ADMIN_SERVER_INTERNAL_H

#include "admin/call.h"
#include "admin/http_request.h"
#include "admin/server.h"
#include "net/listener.h"
#include "net/stream.h"

#include <pthread.h>

struct admin_server {
    struct loop loop;
    struct mailbox mailbox;
    struct listener listener, line_listener;
    pthread_t thread;
    struct admin_server_options options;
    struct list lines; /* connections that got a line, oldest first */
    uint32_t line_count;
    struct list connections; /* of HTTP, oldest first */
    struct list ready;       /* calls whose next() is due */
    uint32_t connection_count;
    uint32_t holds; /* calls not answered, and what else must be over before the end */
    bool stopping;
};

enum http_state {
    HTTP_READING,  /* a request is coming, or nothing is */
    HTTP_HANDLING, /* its call has not answered; input is paused */
    HTTP_DRAINING, /* the answer is written; the next request waits until the client has read it */
    HTTP_ENDING,
};

struct http_connection {
    struct stream stream; /* first */
    struct admin_server *server;
    struct list link; /* in server->connections */
    struct loop_timer timer;
    struct admin_call *call;
    uint64_t answers; /* given so far */
    uint32_t stuck_bytes;
    enum http_state state;
    struct http_request request;
};

struct admin_call {
    struct admin_server *server;
    struct http_connection *connection; /* NULL: the peer has gone */
    struct admin_request request;
    struct list link;                      /* in server->ready */
    void (*next)(struct admin_call *call); /* NULL: not an answer in pieces */
    void *own;
    bool head_only; /* HEAD: no body */
    bool chunked;
    bool waits; /* call_again() was called and the output is high */
};

/* ---- connection.c ------------------------------------------------------------------------------
 */

/* Takes the descriptor. */
void http_connection_open(struct admin_server *server, int fd);

/* The answer's status line and headers; content_len SIZE_MAX: not known, chunks follow. */
void http_write_head(struct http_connection *connection, unsigned status, const char *type,
                     const char *more_headers, size_t content_len);

/* The answer is complete: the next request may come, or the connection ends. */
void http_answered(struct http_connection *connection);

/* ---- line.c ------------------------------------------------------------------------------------
 */

/* Takes the descriptor. */
void line_connection_open(struct admin_server *server, int fd);

void line_connections_close(struct admin_server *server);

/* ---- call.c ------------------------------------------------------------------------------------
 */

/* A complete request has come: finds its resource and starts its handler. */
void call_begin(struct http_connection *connection);

/* Writes a problem without a call: the request could not be read. */
void problem_write(struct http_connection *connection, unsigned status, const char *detail,
                   const char *more_headers, bool head_only);

/* The connection of the call is gone. */
void call_peer_gone(struct admin_call *call);

/* The client has read: an answer in pieces may go on. */
void call_drained(struct admin_call *call);

/* Once a turn: calls next() of the calls that are due. */
void calls_turn(struct admin_server *server);

#endif
