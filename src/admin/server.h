/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP server for one table of resources: a thread of its own with a loop of its own, on the
 * streams and listeners that MQTT uses, never on a worker. A client sends one request after the
 * other on a connection; what it sends ahead waits in the socket.
 *
 * Limits: those of struct server_limits and of http_request.h, and SERVER_STALL_MS in which a
 * client has to take something of its answer.
 *
 * Beside HTTP, or instead of it, a server can have a line to say: whoever connects to another
 * descriptor gets it and is closed, whatever he sends. At most SERVER_LINES_MAX at a time, the
 * oldest gives way.
 */
#ifndef ADMIN_SERVER_H
#define ADMIN_SERVER_H

#include "admin/resource.h"
#include "base/rc.h"

struct admin_server;
struct loop;

enum { SERVER_STALL_MS = 30 * 1000, SERVER_LINES_MAX = 64, SERVER_LINE_MAX = 128 };

/* Who gives way when one comes that is too many. If nobody does, he is answered 503. */
enum server_room {
    SERVER_ROOM_OF_IDLE,   /* the one that has idled between requests for longest */
    SERVER_ROOM_OF_OLDEST, /* if none idles, the oldest that it is waited for, so that nobody is
                              kept out by those who ask nothing or do not close */
};

struct server_limits {
    uint32_t connections_max;
    uint32_t request_ms; /* for a request to come */
    uint32_t idle_ms;    /* between requests */
    size_t body_max;     /* of a request; 0: none is taken */
    enum server_room room;
};

/* For people and programs that are let in: connections are few, and somebody is behind them. */
extern const struct server_limits server_limits_trusted;
/* For a port that anybody may reach. */
extern const struct server_limits server_limits_open;

struct admin_server_options {
    int listening_fd; /* of HTTP; -1: none */
    const struct resource *table;
    int line_fd; /* -1: none */
    /* Writes the line and its end; at most SERVER_LINE_MAX bytes with a NUL. Server's thread. */
    void (*line)(void *context, char *out, size_t room);
    void *context;
    const struct server_limits *limits;
    const char *name; /* of the thread */
};

/* Starts to serve. Takes the descriptors, borrows the rest for as long as it runs. NULL: the system
 * has no thread to give; the descriptors are closed. */
struct admin_server *admin_server_start(const struct admin_server_options *options);

/* Accepts nobody any more, cuts connections, and waits for the calls that have not been answered.
 * Whatever answers calls has to run meanwhile. NULL is fine. */
void admin_server_stop(struct admin_server *server);

/* After the stop, and after every thread that has posted mail has ended: it may still be about to
 * wake a server that has read its mail already. NULL is fine. */
void admin_server_free(struct admin_server *server);

/* The loop of the server's thread, for timers of handlers. */
struct loop *admin_server_loop(struct admin_server *server);

#endif
