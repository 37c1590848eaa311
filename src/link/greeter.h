/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where nodes meet: one listener and the dialling of one loop, the handshake of both, and then the
 * descriptor is given to whoever it is for, perhaps on another thread.
 *
 * Limits: GREETINGS_MAX meetings at a time, a new one gives way; GREETING_MS for each.
 */
#ifndef LINK_GREETER_H
#define LINK_GREETER_H

#include "link/handshake.h"
#include "net/listener.h"

enum { GREETINGS_MAX = 256, GREETING_MS = 3000 };

struct greeter;

/* What one wants to meet a node for. Comes back with the result. */
struct greeter_call {
    char host[LINK_ADDRESS_MAX + 1]; /* an address or a name, without brackets */
    uint16_t port;
    enum link_purpose purpose;
    uint16_t worker; /* LINK_ROAD, LINK_TUNNEL */
    void *owner;
};

struct greeter_ops {
    /* A meeting that we asked for: takes the descriptor; borrows the rest. */
    void (*reached)(struct greeter *greeter, const struct greeter_call *call,
                    const struct link_peer *peer, int fd, struct bytes unread);
    /* It failed; `why` is a line for people. HANDSHAKE_FINE: there was nobody at all. */
    void (*failed)(struct greeter *greeter, const struct greeter_call *call,
                   enum handshake_refusal refusal, const char *why);
    /* One that another node asked for: takes the descriptor. */
    void (*met)(struct greeter *greeter, const struct link_peer *peer, int fd, struct bytes unread);
};

struct greeter {
    struct loop *loop;
    const struct link_identity *own;
    const struct greeter_ops *ops;
    void *owner;
    struct listener listener;
    struct list greetings;
    uint32_t greeting_count, resolving;
    bool stopped;
};

/* Takes the listening descriptor. Borrows the rest. RC_IO: the descriptor is closed. */
MUST_USE enum rc greeter_start(struct greeter *greeter, struct loop *loop, int listening_fd,
                               const struct link_identity *own, const struct greeter_ops *ops,
                               void *owner);

/* Meets a node: reached() or failed() is called later, and not from here. Copies the call. */
void greeter_dial(struct greeter *greeter, const struct greeter_call *call);

/* Meetings under way end without a word, and no more are begun. */
void greeter_stop(struct greeter *greeter);

/* After the stop: names that are being looked up are waited for by loop_run()'s caller. */
static inline bool greeter_idle(const struct greeter *greeter)
{
    return greeter->resolving == 0 && list_empty(&greeter->greetings);
}

#endif
