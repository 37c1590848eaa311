/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream without a descriptor: its bytes come and go inside something else, a link to another
 * node that carries many of them. To the layer above it is a stream like any other: the same calls,
 * states and callbacks. What is below is a struct stream_carrier, which whoever owns the link
 * embeds in its own.
 *
 *     conn/  <- received() - struct stream <- stream_carry_in() - carrier <- frames of the link
 *            - stream_write() ->            - ops->send() ->              -> frames of the link
 *
 * The carrier bounds what comes: bytes handed up while the stream is paused are kept, all of them,
 * so it gives the far end credit for them when ops->wanted() says so. One thread: the loop's.
 */
#ifndef NET_CARRIED_H
#define NET_CARRIED_H

#include "net/stream.h"

struct stream_carrier;

/* All are called by the stream; none may end it before it returns. */
struct stream_carrier_ops {
    /* Takes bytes of the output, at most all of these, and gives how many; fewer: the stream waits
     * for stream_carry_on(). `message` is not NULL when the bytes live in it, and may be held
     * instead of copying them. `left`: bytes of output that follow in this flush. */
    size_t (*send)(struct stream_carrier *carrier, struct bytes bytes, struct message *message,
                   size_t left);
    /* Everything that came was taken, or kept by a layer that goes on reading. */
    void (*wanted)(struct stream_carrier *carrier);
    /* No output follows, the far end may close. closed() comes too. */
    void (*finished)(struct stream_carrier *carrier);
    /* The stream is over and uses the carrier no more. Its last call. */
    void (*closed)(struct stream_carrier *carrier);
    /* Bytes that were taken and that the far end has not worked off. */
    size_t (*unsent)(const struct stream_carrier *carrier);
};

struct stream_carrier {
    const struct stream_carrier_ops *ops;
    struct stream *stream; /* set by stream_open_carried(); not to be used after closed() */
};

/* Borrows the carrier until its closed(). `transport` is what the far end has. Cannot fail. */
void stream_open_carried(struct stream *stream, struct loop *loop, const struct stream_ops *ops,
                         enum transport transport, struct stream_carrier *carrier);

/* Bytes have come: they are handed up at once, or kept while the stream is paused. Borrowed. May
 * call ops->closed(). */
void stream_carry_in(struct stream_carrier *carrier, struct bytes bytes);

/* send() takes more again. */
void stream_carry_on(struct stream_carrier *carrier);

/* The far end is gone. closed() is called from here, or in one of the next turns when many end at
 * once; send() is not called in between. */
void stream_carry_end(struct stream_carrier *carrier, enum stream_close_reason reason);

#endif
