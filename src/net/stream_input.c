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
    struct stream *outer = loop->receiving; /* what comes in it is carried: see carried.h */
    const uint8_t *outer_data = loop->receiving_data;
    size_t outer_len = loop->receiving_len;
    size_t consumed;

    CHECK(outer == NULL || stream_is_carried(stream));
    loop->receiving = stream;
    loop->receiving_data = data;
    loop->receiving_len = len;
    consumed = stream->ops->received(stream, bytes_of(data, len));
    loop->receiving = outer;
    loop->receiving_data = outer_data;
    loop->receiving_len = outer_len;
    CHECK(consumed <= len || stream->state != STREAM_OPEN);
    return consumed;
}

/* How much fits. False: no memory, and what is kept is as before. */
static bool kept_resize(struct stream *stream, size_t room)
{
    bool is_new = stream->kept == NULL;
    struct stream_kept *resized =
        room > UINT32_MAX ? NULL : mem_try_resize(stream->kept, sizeof(*resized) + room);

    if (resized == NULL)
        return false;
    if (is_new)
        resized->from = resized->len = 0;
    resized->room = (uint32_t)room;
    stream->kept = resized;
    return true;
}

void stream_kept_free(struct stream *stream)
{
    mem_free(stream->kept);
    stream->kept = NULL;
}

/* What is kept begins where its block does. */
static void kept_to_front(struct stream_kept *kept)
{
    if (kept->from > 0)
        memmove(kept->data, kept->data + kept->from, kept->len);
    kept->from = 0;
}

bool stream_keep(struct stream *stream, struct bytes left)
{
    struct stream_kept *kept = stream->kept;

    if (left.len == 0) {
        stream_kept_free(stream);
        return true;
    }
    if (kept == NULL || left.len > kept->room || kept->room > 2 * left.len) {
        stream_kept_free(stream);
        if (!kept_resize(stream, left.len))
            return false;
        kept = stream->kept;
    }
    memcpy(kept->data, left.data, left.len);
    kept->from = 0;
    kept->len = (uint32_t)left.len;
    return true;
}

static bool kept_append(struct stream *stream, struct bytes more)
{
    size_t len = stream->kept->len + more.len;
    size_t twice = 2 * (size_t)stream->kept->room;

    kept_to_front(stream->kept);
    if (len > stream->kept->room && !kept_resize(stream, len > twice ? len : twice))
        return false;
    memcpy(stream->kept->data + stream->kept->len, more.data, more.len);
    stream->kept->len = (uint32_t)len;
    return true;
}

/* `fresh` lies behind the headroom of the loop's buffer. */
static void deliver_from_shared(struct stream *stream, uint8_t *fresh, size_t fresh_len)
{
    struct bytes before = stream_kept_bytes(stream);
    uint8_t *data = fresh - before.len;
    size_t len = before.len + fresh_len;
    size_t consumed;
    bool kept;

    if (before.len > 0)
        memcpy(data, before.data, before.len);
    consumed = hand_up(stream, data, len);
    if (stream->state != STREAM_OPEN)
        return;
    if (consumed == 0 && stream->kept != NULL)
        kept = kept_append(stream, bytes_of(fresh, fresh_len));
    else
        kept = stream_keep(stream, bytes_of(data + consumed, len - consumed));
    if (!kept)
        stream_end(stream, STREAM_CLOSED_BY_ERROR);
}

/* Hands up the kept block. While received() runs the block is not the stream's, so that
 * the span outlives a close from there. A receiver that takes a little of much again and again
 * costs no copying: the rest stays where it is. */
static void deliver_from_kept(struct stream *stream)
{
    struct stream_kept *kept = stream->kept;
    size_t consumed;

    stream->kept = NULL;
    consumed = hand_up(stream, kept->data + kept->from, kept->len);
    if (stream->state != STREAM_OPEN || consumed == kept->len) {
        mem_free(kept);
        return;
    }
    stream->kept = kept;
    kept->from += (uint32_t)consumed;
    kept->len -= (uint32_t)consumed;
    if (consumed > 0 && kept->len <= LOOP_READ_HEADROOM && kept->room / 2 > kept->len) {
        kept_to_front(kept);
        kept_resize(stream, kept->len);
    }
}

void stream_take_input(struct stream *stream, struct bytes fresh)
{
    bool fits;

    if (stream->kept == NULL && !stream->paused) {
        size_t consumed = hand_up(stream, fresh.data, fresh.len);
        if (stream->state != STREAM_OPEN)
            return;
        fits = stream_keep(stream, bytes_of(fresh.data + consumed, fresh.len - consumed));
    } else if (stream->kept == NULL) {
        fits = stream_keep(stream, fresh);
    } else {
        fits = kept_append(stream, fresh);
        if (fits && !stream->paused)
            deliver_from_kept(stream);
    }
    if (!fits)
        stream_end(stream, STREAM_CLOSED_BY_ERROR);
}

void stream_deliver_kept(struct stream *stream)
{
    if (!stream->paused && stream->kept != NULL && !stream_awaits_header(stream))
        deliver_from_kept(stream);
    if (stream->state == STREAM_OPEN && stream->filter != NULL)
        websocket_input_done(stream);
    if (stream->out_first != NULL)
        stream_mark_dirty(stream);
    stream_poll_update(stream); /* only now: or more would be read than is consumed */
}

/* What is kept fits before the next bytes of the shared buffer. */
static bool is_little(const struct stream *stream)
{
    return stream->kept == NULL || stream->kept->len <= LOOP_READ_HEADROOM;
}

/* Where the next bytes go; *room is how many. NULL: no memory. */
static uint8_t *read_target(struct stream *stream, size_t *room)
{
    *room = LOOP_READ_SIZE;
    if (stream->state != STREAM_OPEN || is_little(stream))
        return stream->loop->read_buffer + LOOP_READ_HEADROOM;
    kept_to_front(stream->kept);
    if (stream->kept->room - stream->kept->len < KEPT_GROW_MIN &&
        !kept_resize(stream, 2 * (size_t)stream->kept->len + KEPT_GROW_MIN))
        return NULL;
    if (*room > stream->kept->room - stream->kept->len)
        *room = stream->kept->room - stream->kept->len;
    return stream->kept->data + stream->kept->len;
}

bool stream_read(struct stream *stream)
{
    struct loop_counters *counters = &stream->loop->counters;
    bool shared = is_little(stream);
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
    fresh = (size_t)got;
    if (__builtin_expect(stream_awaits_header(stream), 0)) {
        fresh = stream_take_header(stream, &target, fresh);
        if (fresh == 0)
            return stream->state == STREAM_OPEN;
    }
    if (stream->filter != NULL)
        fresh = websocket_decode(stream, target, fresh);
    if (fresh > 0) {
        if (shared) {
            deliver_from_shared(stream, target, fresh);
        } else {
            stream->kept->len += (uint32_t)fresh;
            deliver_from_kept(stream);
        }
    }
    if (stream->state == STREAM_OPEN && stream->filter != NULL)
        websocket_input_done(stream);
    return true;
}
