/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/server.h"

#include "admin/server_internal.h"
#include "base/check.h"
#include "base/memory.h"

#include <unistd.h>

const struct server_limits server_limits_trusted = {
    .connections_max = 64,
    .request_ms = 30 * 1000,
    .idle_ms = 60 * 1000,
    .body_max = HTTP_BODY_MAX,
    .room = SERVER_ROOM_OF_IDLE,
};

const struct server_limits server_limits_open = {
    .connections_max = 64,
    .request_ms = 5 * 1000,
    .idle_ms = 60 * 1000,
    .room = SERVER_ROOM_OF_OLDEST,
};

/* ---- the thread --------------------------------------------------------------------------------
 */

static void open_mail(struct admin_server *server)
{
    struct letter *letter = mailbox_take_all(&server->mailbox);

    while (letter != NULL) {
        struct letter *next = letter->next;
        struct admin_mail *mail = CONTAINER_OF(letter, struct admin_mail, letter);
        mail->open(mail);
        letter = next;
    }
}

static bool turn(void *owner)
{
    struct admin_server *server = owner;

    open_mail(server);
    calls_turn(server);
    if (server->stopping && server->holds == 0)
        loop_stop(&server->loop);
    return !list_empty(&server->ready);
}

static void close_all(void *owner)
{
    struct admin_server *server = owner;

    LIST_FOR_EACH (link, &server->connections)
        stream_close(&CONTAINER_OF(link, struct http_connection, link)->stream);
    line_connections_close(server);
}

static const struct loop_ops loop_ops = {.turn = turn, .stopping = close_all};

static void accepted(struct listener *listener, int fd)
{
    http_connection_open(listener->owner, fd);
}

static void line_accepted(struct listener *listener, int fd)
{
    line_connection_open(listener->owner, fd);
}

static void *run(void *arg)
{
    struct admin_server *server = arg;
    const struct admin_server_options *options = &server->options;

    if (options->listening_fd >= 0)
        CHECK(listener_start(&server->listener, &server->loop, options->listening_fd, TRANSPORT_TCP,
                             accepted, server) == RC_OK);
    if (options->line_fd >= 0)
        CHECK(listener_start(&server->line_listener, &server->loop, options->line_fd, TRANSPORT_TCP,
                             line_accepted, server) == RC_OK);
    loop_run(&server->loop);
    return NULL;
}

static void wake(void *owner)
{
    struct admin_server *server = owner;
    loop_wake(&server->loop);
}

void admin_mail_post(struct admin_server *server, struct admin_mail *mail)
{
    mailbox_post(&server->mailbox, &mail->letter);
}

void admin_hold(struct admin_server *server)
{
    server->holds++;
}

void admin_release(struct admin_server *server)
{
    CHECK(server->holds > 0);
    server->holds--;
}

/* ---- start and stop ----------------------------------------------------------------------------
 */

void admin_server_free(struct admin_server *server)
{
    if (server == NULL)
        return;
    loop_deinit(&server->loop);
    mem_free(server);
}

static void close_descriptor(int fd)
{
    if (fd >= 0)
        close(fd);
}

struct admin_server *admin_server_start(const struct admin_server_options *options)
{
    struct admin_server *server = NEW(struct admin_server);

    server->options = *options;
    list_init(&server->connections);
    list_init(&server->lines);
    list_init(&server->ready);
    loop_init(&server->loop, &loop_ops, server);
    mailbox_init(&server->mailbox, wake, server);
    if (pthread_create(&server->thread, NULL, run, server) != 0) {
        close_descriptor(options->listening_fd);
        close_descriptor(options->line_fd);
        admin_server_free(server);
        return NULL;
    }
    pthread_setname_np(server->thread, options->name);
    return server;
}

struct stop_order {
    struct admin_mail mail;
    struct admin_server *server;
};

static void open_stop_order(struct admin_mail *mail)
{
    struct stop_order *order = CONTAINER_OF(mail, struct stop_order, mail);
    struct admin_server *server = order->server;

    mem_free(order);
    if (server->options.listening_fd >= 0)
        listener_close(&server->listener, NULL);
    if (server->options.line_fd >= 0)
        listener_close(&server->line_listener, NULL);
    close_all(server);
    server->stopping = true;
}

void admin_server_stop(struct admin_server *server)
{
    struct stop_order *order;

    if (server == NULL)
        return;
    order = NEW(struct stop_order);
    *order = (struct stop_order){.mail.open = open_stop_order, .server = server};
    admin_mail_post(server, &order->mail);
    pthread_join(server->thread, NULL);
}

struct loop *admin_server_loop(struct admin_server *server)
{
    return &server->loop;
}
