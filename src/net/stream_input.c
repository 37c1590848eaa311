/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input of a stream. Bytes are read into the loop's shared buffer and handed up from there. What is
 * not consumed is kept in a block of its own, and there are two ways to go on:
 *
 *   little is kept   it is copied into the headroom before the next bytes of the shared buffer
 *   much is kept     (a big packet on its way) the next bytes are read behind it; the block
 *                    doubles, so a packet of any size is copied a bounded number of times
 *
 * The block is freed as soon as it is consumed.
 */
#include "base/check.h"
#include "base/memory.h"
#include "net/stream_internal.h"
#include "net/websocket.h"

#include <errno.h>
#include <sys/socket.h>

enum { KEPT_GROW_MIN = 64 * 1024 };

static size_t hand_up(struct stream *stream, const uint8_t *data, size_t len)
{
    struct loop *loop = stream->loop;
    size_t consumed;

    CHECK(loop->receiving == NULL);
    loop->receiving = stream;
    loop->receiving_data = data;
    loop->receiving_len = len;
    consumed = stream->ops->received(stream, bytes_of(data, len));
    loop->receiving = NULL;
    loop->receiving_data = NULL;
    loop->receiving_len = 0;
    CHECK(consumed <= len || stream->state != STREAM_OPEN);
    return consumed;
}

static bool kept_resize(struct stream *stream, size_t room)
{
    uint8_t *resized = room > UINT32_MAX ? NULL : mem_try_resize(stream->kept, room);

    if (resized == NULL)
        return false;
    stream->kept = resized;
    stream->kept_room = (uint32_t)room;
    return true;
}

void stream_kept_free(struct stream *stream)
{
    mem_free(stream->kept);
    stream->kept = NULL;
    stream->kept_len = stream->kept_room = 0;
}

/* Keeps `left` (not inside the kept block) instead of what is kept. */
static bool kept_replace(struct stream *stream, struct bytes left)
{
    if (left.len == 0) {
        stream_kept_free(stream);
        return true;
    }
    if (left.len > stream->kept_room || stream->kept_room > 2 * left.len) {
        stream_kept_free(stream);
        if (!kept_resize(stream, left.len))
            return false;
    }
    memcpy(stream->kept, left.data, left.len);
    stream->kept_len = (uint32_t)left.len;
    return true;
}

static bool kept_append(struct stream *stream, struct bytes more)
{
    size_t len = stream->kept_len + more.len;
    size_t twice = 2 * (size_t)stream->kept_room;

    if (len > stream->kept_room && !kept_resize(stream, len > twice ? len : twice))
        return false;
    memcpy(stream->kept + stream->kept_len, more.data, more.len);
    stream->kept_len = (uint32_t)len;
    return true;
}

/* `fresh` lies behind the headroom of the loop's buffer. */
static void deliver_from_shared(struct stream *stream, uint8_t *fresh, size_t fresh_len)
{
    uint8_t *data = fresh - stream->kept_len;
    size_t len = stream->kept_len + fresh_len;
    size_t consumed;
    bool kept;

    if (stream->kept_len > 0)
        memcpy(data, stream->kept, stream->kept_len);
    consumed = hand_up(stream, data, len);
    if (stream->state != STREAM_OPEN)
        return;
    if (consumed == 0 && stream->kept_len > 0)
        kept = kept_append(stream, bytes_of(fresh, fresh_len));
    else
        kept = kept_replace(stream, bytes_of(data + consumed, len - consumed));
    if (!kept)
        stream_end(stream, STREAM_CLOSED_BY_ERROR);
}

/* Hands up the kept block. While received() runs the block is not the stream's, so that
 * the span outlives a close from there. */
static void deliver_from_kept(struct stream *stream)
{
    uint8_t *block = stream->kept;
    uint32_t len = stream->kept_len;
    uint32_t room = stream->kept_room;
    size_t consumed;

    stream->kept = NULL;
    stream->kept_len = stream->kept_room = 0;
    consumed = hand_up(stream, block, len);
    if (stream->state != STREAM_OPEN || consumed == len) {
        mem_free(block);
        return;
    }
    if (consumed > 0)
        memmove(block, block + consumed, len - consumed);
    stream->kept = block;
    stream->kept_len = len - (uint32_t)consumed;
    stream->kept_room = room;
    if (consumed > 0 && stream->kept_len <= LOOP_READ_HEADROOM && room / 2 > stream->kept_len)
        kept_resize(stream, stream->kept_len);
}

void stream_deliver_kept(struct stream *stream)
{
    if (!stream->paused && stream->kept != NULL)
        deliver_from_kept(stream);
    if (stream->state == STREAM_OPEN && stream->filter != NULL)
        websocket_input_done(stream);
    if (stream->out_first != NULL)
        stream_mark_dirty(stream);
    stream_poll_update(stream); /* only now: or more would be read than is consumed */
}

/* Where the next bytes go; *room is how many. NULL: no memory. */
static uint8_t *read_target(struct stream *stream, size_t *room)
{
    *room = LOOP_READ_SIZE;
    if (stream->state != STREAM_OPEN || stream->kept_len <= LOOP_READ_HEADROOM)
        return stream->loop->read_buffer + LOOP_READ_HEADROOM;
    if (stream->kept_room - stream->kept_len < KEPT_GROW_MIN &&
        !kept_resize(stream, 2 * (size_t)stream->kept_len + KEPT_GROW_MIN))
        return NULL;
    if (*room > stream->kept_room - stream->kept_len)
        *room = stream->kept_room - stream->kept_len;
    return stream->kept + stream->kept_len;
}

bool stream_read(struct stream *stream)
{
    struct loop_counters *counters = &stream->loop->counters;
    bool shared = stream->kept_len <= LOOP_READ_HEADROOM;
    size_t room;
    uint8_t *target = read_target(stream, &room);
    ssize_t got;
    size_t fresh;

    if (target == NULL) {
        stream_end(stream, STREAM_CLOSED_BY_ERROR);
        return false;
    }
    got = recv(stream->fd, target, room, 0);
    if (got <= 0) {
        if (got == 0)
            stream_end_soon(stream, STREAM_CLOSED_BY_PEER);
        else if (errno != EAGAIN && errno != EINTR)
            stream_end_soon(stream, STREAM_CLOSED_BY_ERROR);
        return false;
    }
    loop_count(&counters->reads, 1);
    loop_count(&counters->read_bytes, (uint64_t)got);
    if (stream->state != STREAM_OPEN)
        return true; /* it is closing: input is thrown away */
    fresh = stream->filter == NULL ? (size_t)got : websocket_decode(stream, target, (size_t)got);
    if (fresh > 0) {
        if (shared) {
            deliver_from_shared(stream, target, fresh);
        } else {
            stream->kept_len += (uint32_t)fresh;
            deliver_from_kept(stream);
        }
    }
    if (stream->state == STREAM_OPEN && stream->filter != NULL)
        websocket_input_done(stream);
    return true;
}
