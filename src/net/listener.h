/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket of one loop. Each worker has its own socket on the same address (SO_REUSEPORT),
 * so the kernel spreads connections. TCP_NODELAY is set on the listening socket and inherited.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base/rc.h"
#include "net/stream.h"

struct listener_address {
    char host[256];
    uint16_t port; /* 0: any */
    enum transport transport;
};

struct listener {
    uv_tcp_t tcp;
    struct loop *loop;
    enum transport transport;
    /* A new connection; takes the descriptor (non-blocking, close-on-exec). */
    void (*accepted)(struct listener *listener, int fd);
    void *owner;
    void (*closed)(struct listener *listener);
};

/*
 * Opens, binds and listens without a loop, so that a port that is taken is found before any worker starts. Gives the
 * descriptor, or -1 with errno; *address->port gets the real port when it was 0. `host` is an address
 * or a name; the first address that it resolves to is used.
 */
int listener_bind(struct listener_address *address, int backlog);

/* Takes the descriptor and accepts from now on. Borrows loop and owner. */
enum rc listener_start(struct listener *listener, struct loop *loop, int fd,
                       enum transport transport, void (*accepted)(struct listener *listener, int fd),
                       void *owner);

/* Stops accepting; closed() comes when the handle is gone. */
void listener_close(struct listener *listener, void (*closed)(struct listener *listener));

#endif
