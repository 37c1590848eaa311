/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on its way to its answer, as the handler of a resource sees it. Handlers run on the
 * server's thread and must not block it: they answer at once, or later, after a worker or a thread
 * of libuv has done its part. Every call gets exactly one answer, also when its peer has gone by
 * then; it must not be touched afterwards. All of this is for the server's thread only, except
 * admin_mail_post().
 */
#ifndef ADMIN_CALL_H
#define ADMIN_CALL_H

#include "admin/resource.h"
#include "base/mailbox.h"

struct admin_server;
struct admin_call;

/* The parameter of that name; see struct admin_value. Borrowed until the answer. */
const struct admin_value *call_value(const struct admin_call *call, const char *name);

/* What the server was started for. */
void *call_context(const struct admin_call *call);

struct admin_server *call_server(const struct admin_call *call);

/* The table of the server. */
const struct resource *call_table(const struct admin_call *call);

/* ---- answers -----------------------------------------------------------------------------------
 */

/* Answers with this JSON, which it takes. */
void call_answer(struct admin_call *call, unsigned status, json_t *body);

/* Answers with a problem (RFC 9457); the format makes its detail, a sentence. */
void call_problem(struct admin_call *call, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Answers with status 200 in pieces, so that a long list never stands in memory: `next` is called
 * when the peer can take more. It calls call_piece(), then call_again() for another turn or
 * call_end(), now or later.
 */
void call_stream(struct admin_call *call, void (*next)(struct admin_call *call));

/* A part of the JSON text. False: nobody takes it (the peer has gone, or it was HEAD); end soon. */
bool call_piece(struct admin_call *call, struct bytes text);
void call_again(struct admin_call *call);
void call_end(struct admin_call *call);

/* The handler's own state, from its first step to its last. */
void call_set_own(struct admin_call *call, void *own);
void *call_own(const struct admin_call *call);

/* ---- other threads -----------------------------------------------------------------------------
 */

/* Opened on the server's thread; takes the mail. */
struct admin_mail {
    struct letter letter; /* first */
    void (*open)(struct admin_mail *mail);
};

/* Any thread, while a call has not been answered or the server is held. */
void admin_mail_post(struct admin_server *server, struct admin_mail *mail);

/* Between these the server does not end: mail is on its way that no call waits for. */
void admin_hold(struct admin_server *server);
void admin_release(struct admin_server *server);

/*
 * Runs `work` on another thread, where it may block for as long as it likes, and then `done` on the
 * server's. Few of them run at a time; others wait.
 */
void call_work(struct admin_call *call, void (*work)(void *own), void (*done)(struct admin_call *));

#endif
