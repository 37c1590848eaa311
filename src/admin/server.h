/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP server for one table of resources: a thread of its own with a loop of its own, on the
 * streams and listeners that MQTT uses, never on a worker. A client sends one request after the
 * other on a connection; what it sends ahead waits in the socket.
 *
 * Limits: SERVER_CONNECTIONS_MAX (one that idles between requests gives way to a new one, else
 * 503), those of http_request.h, SERVER_REQUEST_MS for a request to come, SERVER_IDLE_MS between
 * requests, SERVER_STALL_MS in which a client has to take something of its answer.
 */
#ifndef ADMIN_SERVER_H
#define ADMIN_SERVER_H

#include "admin/resource.h"
#include "base/rc.h"

struct admin_server;
struct loop;

enum {
    SERVER_CONNECTIONS_MAX = 64,
    SERVER_REQUEST_MS = 30 * 1000,
    SERVER_IDLE_MS = 60 * 1000,
    SERVER_STALL_MS = 30 * 1000,
};

/*
 * Starts to serve `table` on a listening descriptor, which it takes. Borrows table and context.
 * NULL: the system has no thread to give; the descriptor is closed.
 */
struct admin_server *admin_server_start(int listening_fd, const struct resource *table,
                                        void *context);

/* Accepts nobody any more, cuts connections, and waits for the calls that have not been answered.
 * Whatever answers calls has to run meanwhile. NULL is fine. */
void admin_server_stop(struct admin_server *server);

/* After the stop, and after every thread that has posted mail has ended: it may still be about to
 * wake a server that has read its mail already. NULL is fine. */
void admin_server_free(struct admin_server *server);

/* The loop of the server's thread, for timers of handlers. */
struct loop *admin_server_loop(struct admin_server *server);

#endif
