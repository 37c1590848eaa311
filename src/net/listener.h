/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket of one loop. Each worker has its own socket on the same address
 * (SO_REUSEPORT), so the kernel spreads connections. TCP_NODELAY is set on the listening socket and
 * inherited, so a new connection costs one accept4() and what the loop needs to watch it. When the
 * process is out of descriptors, accepting rests for LISTENER_REST_MS and the kernel's backlog
 * waits.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/rc.h"
#include "net/stream.h"

struct listener_address {
    char host[256];
    uint16_t port; /* 0: any */
    enum transport transport;
    bool exclusive; /* fail when any socket is on the address, also one with SO_REUSEPORT */
};

enum {
    LISTENER_ACCEPTS_PER_TURN = 64,
    LISTENER_REST_MS = 100,
};

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    int fd;
    enum transport transport;
    struct loop_timer rest; /* runs while there are no descriptors */
    /* A new connection; takes the descriptor (non-blocking, close-on-exec). */
    void (*accepted)(struct listener *listener, int fd);
    void *owner;
    void (*closed)(struct listener *listener);
};

/*
 * Opens, binds and listens without a loop, so that a port that is taken is found before any worker
 * starts. Gives the descriptor, or -1 with errno (EADDRNOTAVAIL for a name that does not resolve);
 * address->port gets the real port when it was 0. `host` is an address or a name; the first address
 * that it resolves to is used. An IPv6 address takes IPv6 connections only. Every socket lets later
 * ones of the same user share its address, so the first of several workers binds with `exclusive`:
 * otherwise another process of that user would not be noticed.
 */
MUST_USE int listener_bind(struct listener_address *address, int backlog);

/* Takes the descriptor and accepts from now on. Borrows loop and owner. RC_IO: the descriptor is
 * closed. */
MUST_USE enum rc listener_start(struct listener *listener, struct loop *loop, int fd,
                                enum transport transport,
                                void (*accepted)(struct listener *listener, int fd), void *owner);

/* Stops accepting at once; closed(), which may be NULL, comes when the handle is gone. */
void listener_close(struct listener *listener, void (*closed)(struct listener *listener));

#endif
