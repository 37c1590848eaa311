/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a stream (life, input, output, proxy, websocket) and the loop call of each
 * other. Inside net only. */
#ifndef NET_STREAM_INTERNAL_H
#define NET_STREAM_INTERNAL_H

#include "net/stream.h"

/* What is not in struct stream, because few need it and never for long, or are few. */
struct stream_aside {
    struct stream *stream;
    struct loop_timer timer; /* for the header to come; when FLUSHING, for the peer to close */
    struct stream_peer peer;
    struct stream_carrier *carrier; /* of a stream without a descriptor */
    bool awaits_header;             /* what is kept is the beginning of one */
    uint32_t skip;                  /* bytes of it that are still to come and mean nothing */
};

/* Gives the aside, a new one if there is none. */
struct stream_aside *stream_aside(struct stream *stream);
/* The same, with its timer set to call `fire`. */
struct stream_aside *stream_aside_start(struct stream *stream, uint64_t wait_ms,
                                        void (*fire)(struct loop_timer *timer));
/* NULL is fine. */
void stream_aside_free(struct stream *stream);

static inline bool stream_awaits_header(const struct stream *stream)
{
    return stream->aside != NULL && stream->aside->awaits_header;
}

/* `len` bytes were read to *data, which has the loop's headroom before it. Gives how many of them
 * stand behind the header, and moves *data there; 0 when it is not complete or is refused. */
size_t stream_take_header(struct stream *stream, uint8_t **data, size_t len);

/* The loop's epoll set has reported these EPOLL* bits. Harmless for a stream that was closed since
 * the report was made. */
void stream_ready(struct stream *stream, uint32_t events);

/* Makes the epoll set wait for what the stream needs now; nothing when it does already. */
void stream_poll_update(struct stream *stream);

/* CLOSING -> CLOSED; for a stream taken off loop->closing. */
void stream_closed(struct stream *stream);

/* Reads once and hands the bytes up. False when there was nothing, or the stream ended. */
bool stream_read(struct stream *stream);

/* Hands the kept input up again; for a stream taken off loop->resumed. */
void stream_deliver_kept(struct stream *stream);

/* Input that was kept: empty when there is none. */
static inline struct bytes stream_kept_bytes(const struct stream *stream)
{
    const struct stream_kept *kept = stream->kept;
    return kept == NULL ? bytes_of(NULL, 0) : bytes_of(kept->data + kept->from, kept->len);
}

/* Keeps `left` (not inside the kept block) instead of what is kept. False: no memory. */
bool stream_keep(struct stream *stream, struct bytes left);

/* Frees the input that was kept. */
void stream_kept_free(struct stream *stream);

/* Hands up what is in no buffer of the stream, and keeps what is not consumed. What was kept before
 * goes first. */
void stream_take_input(struct stream *stream, struct bytes fresh);

/* Writes what the kernel takes; for a stream taken off loop->dirty. */
void stream_flush(struct stream *stream);

/* The same for one taken off loop->bulk. */
void stream_flush_bulk(struct stream *stream);

/* Off whatever list it is in. */
static inline void stream_unlink(struct stream *stream)
{
    list_remove(&stream->link);
    stream->is_bulk = false;
}

/* Gives the last chunk of the output, or a new one behind it, with room for `size` bytes. NULL: no
 * memory, or too much output already; the stream is going to end. */
struct out_chunk *stream_output_chunk(struct stream *stream, size_t size);

/* `size` bytes were put into the last chunk. */
void stream_output_grew(struct stream *stream, size_t size);

/* The same number has been sent of it, from the front. */
void stream_output_sent(struct stream *stream, size_t size);

/* Frees all output that is not written. */
void stream_output_clear(struct stream *stream);

/* Closes now for this reason; ended() is called from here unless it was. */
void stream_end(struct stream *stream, enum stream_close_reason reason);

/* The same, but when many end at once it may be in one of the next turns. */
void stream_end_soon(struct stream *stream, enum stream_close_reason reason);
/* The same, always in one of the next turns: the caller may be anywhere. */
void stream_end_later(struct stream *stream, enum stream_close_reason reason);
/* For one taken off loop->ending. */
void stream_end_now(struct stream *stream);

/* OPEN -> FLUSHING for this reason; otherwise as stream_close_after_flush(). */
void stream_finish(struct stream *stream, enum stream_close_reason reason, uint64_t linger_ms);

/* FLUSHING -> LINGERING: everything is written. */
void stream_flushed(struct stream *stream);

/* ---- carried.c: what is done for a stream without a descriptor instead of a system call ---------
 */

static inline bool stream_is_carried(const struct stream *stream)
{
    return stream->fd == STREAM_CARRIED;
}

/* Its epoll set would wait for this now. */
void carried_wants(struct stream *stream, uint32_t events);
/* Gives the carrier what it takes of the output. */
void carried_write(struct stream *stream);
/* Nothing follows the output that was given. */
void carried_finish(struct stream *stream);
size_t carried_unsent(const struct stream *stream);

#endif
