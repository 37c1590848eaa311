/* SPDX-License-Identifier: Apache-2.0 */
#include "net/carried.h"

#include "base/check.h"
#include "net/out_pool.h"
#include "net/stream_internal.h"

static struct stream_carrier *carrier_of(const struct stream *stream)
{
    return stream->aside->carrier;
}

/* ---- called by the carrier ---------------------------------------------------------------------
 */

void stream_open_carried(struct stream *stream, struct loop *loop, const struct stream_ops *ops,
                         enum transport transport, struct stream_carrier *carrier)
{
    *stream = (struct stream){
        .loop = loop,
        .ops = ops,
        .fd = STREAM_CARRIED,
        .state = STREAM_OPEN,
        .transport = (uint8_t)transport,
        .polled = EPOLLIN,
    };
    list_init(&stream->link);
    stream_aside(stream)->carrier = carrier;
    carrier->stream = stream;
    loop->stream_count++;
}

void stream_carry_in(struct stream_carrier *carrier, struct bytes bytes)
{
    struct stream *stream = carrier->stream;

    if (stream->state == STREAM_OPEN && stream->end_reason == 0)
        stream_take_input(stream, bytes);
}

void stream_carry_on(struct stream_carrier *carrier)
{
    struct stream *stream = carrier->stream;

    if (!stream->waits_writable)
        return;
    stream->waits_writable = false;
    stream_mark_dirty(stream);
    stream_poll_update(stream);
}

void stream_carry_end(struct stream_carrier *carrier, enum stream_close_reason reason)
{
    stream_end_soon(carrier->stream, reason);
}

/* ---- called by the stream ----------------------------------------------------------------------
 */

void carried_wants(struct stream *stream, uint32_t events)
{
    if (events & EPOLLIN)
        carrier_of(stream)->ops->wanted(carrier_of(stream));
}

/* What comes next of a chunk. */
static struct bytes next_piece(const struct out_chunk *chunk, struct message **message)
{
    bool copied = chunk->sent < chunk->used;
    size_t skip = copied ? chunk->sent : chunk->sent - chunk->used;

    *message = copied ? NULL : chunk->message;
    return copied ? bytes_of(chunk->data + skip, chunk->used - skip)
                  : bytes_of(chunk->external.data + skip, chunk->external.len - skip);
}

void carried_write(struct stream *stream)
{
    struct stream_carrier *carrier = carrier_of(stream);

    stream->loop->carried = true;
    if (stream->end_reason != 0)
        return; /* a packet may be missing: nothing follows it */
    while (stream->out_bytes > 0) {
        struct message *message;
        struct bytes piece = next_piece(stream->out_first, &message);
        size_t taken = carrier->ops->send(carrier, piece, message, stream->out_bytes - piece.len);
        CHECK(taken <= piece.len);
        if (taken > 0)
            stream_output_sent(stream, taken);
        if (taken < piece.len) {
            stream->waits_writable = true;
            return;
        }
    }
    stream_output_clear(stream); /* a chunk that was reserved and not used */
}

void carried_finish(struct stream *stream)
{
    stream->loop->carried = true;
    carrier_of(stream)->ops->finished(carrier_of(stream));
}

size_t carried_unsent(const struct stream *stream)
{
    return carrier_of(stream)->ops->unsent(carrier_of(stream));
}
