/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of frames between two nodes that have met (greeter.h). Owned by one loop's thread.
 *
 * A link is always read: what cannot be taken at the moment is the upper layer's to bound, by not
 * letting the other end send it. Output above STREAM_OUT_HIGH says "hold", as any stream's.
 */
#ifndef LINK_LINK_H
#define LINK_LINK_H

#include "link/frame.h"
#include "net/stream.h"

struct link;

struct link_ops {
    /* Whether what has come may be handed up now; else link_resume() says when. May be NULL. */
    bool (*ready)(struct link *link);
    /* A frame has come; it is borrowed. False: it makes no sense, and the link ends. */
    bool (*frame)(struct link *link, const struct link_frame *frame);
    /* All that had come at once has been handed up. May be NULL. */
    void (*received)(struct link *link);
    /* There is room in the output again, after link_is_high() had said yes. May be NULL. */
    void (*drained)(struct link *link);
    /* The link will give nothing more. Called once. */
    void (*ended)(struct link *link);
    /* Nothing refers to the link any more: its memory may go. Called once, last. */
    void (*closed)(struct link *link);
};

struct link {
    struct stream stream;
    const struct link_ops *ops;
    bool open;
    bool finished; /* behind ended(): the other end has closed it, or its process has ended */
};

/* Takes the descriptor; borrows `unread`, what has come on it and was not looked at. RC_IO,
 * RC_NO_MEMORY: the descriptor is closed, and closed() will not be called. */
MUST_USE enum rc link_open(struct link *link, struct loop *loop, const struct link_ops *ops, int fd,
                           struct bytes unread);

/* Sends a frame whose body is copied. False: the link is at its end. */
bool link_send(struct link *link, enum link_kind kind, uint8_t flags, struct bytes body);

/* The same with a body of two parts. The second lives in `message` when that is not NULL, and is
 * not copied then if it is long. */
bool link_send_parts(struct link *link, enum link_kind kind, uint8_t flags, struct bytes head,
                     struct bytes rest, struct message *message);

/* Sends a publication; a long payload of a message is not copied. The same. */
bool link_publish(struct link *link, const struct link_publish *publish, struct message *message);

static inline bool link_is_high(struct link *link)
{
    return stream_is_high(&link->stream);
}

static inline void link_resume(struct link *link)
{
    stream_resume(&link->stream);
}

/* Closes now; ended() is called from here unless it was. */
static inline void link_close(struct link *link)
{
    stream_close(&link->stream);
}

/* The same to a node that cannot be reached: what is on the way must not arrive when it can again,
 * behind what has been sent on another link. */
static inline void link_abort(struct link *link)
{
    stream_abort(&link->stream);
}

#endif
