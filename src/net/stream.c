/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a stream: open, what the loop's epoll set waits for, pause, detach, close. Input is
 * in stream_input.c, output in stream_output.c, the PROXY protocol and whom the stream is with in
 * stream_peer.c, WebSocket in websocket.c, streams without a descriptor in carried.c.
 *
 * A stream is in the set from stream_open() on and leaves it when its descriptor is closed, so a
 * connection that neither pauses nor fills the kernel's buffer costs one epoll_ctl(). The set is
 * level-triggered. It may have reported a stream that another one's received() then closes; that
 * is why closed() waits for the end of the turn.
 */
#include "net/stream.h"

#include "base/check.h"
#include "base/memory.h"
#include "net/carried.h"
#include "net/out_pool.h"
#include "net/stream_internal.h"
#include "net/websocket.h"

#include <sys/socket.h>
#include <unistd.h>

_Static_assert(sizeof(struct stream) <= 88, "an idle connection stays small");

/* The peer is gone, or half of it: what the kernel still holds (a DISCONNECT perhaps) comes first.
 */
static void read_to_the_end(struct stream *stream)
{
    while (stream->state == STREAM_OPEN && !stream->paused && stream_read(stream))
        continue;
    stream_end_soon(stream, STREAM_CLOSED_BY_ERROR);
}

void stream_ready(struct stream *stream, uint32_t events)
{
    if (stream->polled == 0)
        return; /* paused or closed after this was reported */
    if (events & EPOLLERR) {
        read_to_the_end(stream);
        return;
    }
    if (events & EPOLLHUP)
        events |= stream->polled; /* reading or writing says why */
    if (events & stream->polled & EPOLLOUT) {
        stream->waits_writable = false;
        stream_mark_dirty(stream);
    }
    if (events & stream->polled & EPOLLIN)
        stream_read(stream);
}

static int set_change(struct stream *stream, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = stream};

    stream->polled = (uint8_t)(events & (EPOLLIN | EPOLLOUT));
    if (stream_is_carried(stream)) {
        carried_wants(stream, events);
        return 0;
    }
    return epoll_ctl(stream->loop->events_fd, operation, stream->fd, &event);
}

void stream_poll_update(struct stream *stream)
{
    uint32_t wanted = 0;

    if (stream->state >= STREAM_CLOSING)
        return;
    if (!stream->paused || stream->state != STREAM_OPEN)
        wanted |= EPOLLIN;
    if (stream->waits_writable)
        wanted |= EPOLLOUT;
    if (wanted == stream->polled)
        return;
    /* A hang-up is reported even when nothing is waited for; once, it does not go away. */
    CHECK(set_change(stream, EPOLL_CTL_MOD, wanted == 0 ? EPOLLONESHOT : wanted) == 0);
}

enum rc stream_open(struct stream *stream, struct loop *loop, const struct stream_ops *ops, int fd,
                    enum transport transport, struct stream_filter *filter, struct bytes unread)
{
    enum rc rc = RC_IO;

    *stream = (struct stream){
        .loop = loop,
        .ops = ops,
        .filter = filter,
        .fd = fd,
        .state = STREAM_OPEN,
        .transport = (uint8_t)transport,
    };
    list_init(&stream->link);
    if (transport == TRANSPORT_WEBSOCKET && filter == NULL) {
        CHECK(unread.len == 0);
        stream->filter = websocket_new(stream);
    }
    if (!stream_keep(stream, unread)) {
        rc = RC_NO_MEMORY;
        goto out;
    }
    if (set_change(stream, EPOLL_CTL_ADD, EPOLLIN) != 0)
        goto out;
    if (stream->kept != NULL || filter != NULL)
        list_add_last(&loop->resumed, &stream->link);
    loop->stream_count++;
    return RC_OK;
out:
    mem_free(stream->kept);
    stream_filter_free(stream->filter);
    close(fd);
    return rc;
}

void stream_closed(struct stream *stream)
{
    CHECK(stream->state == STREAM_CLOSING);
    stream->state = STREAM_CLOSED;
    stream->loop->stream_count--;
    stream->ops->closed(stream);
}

/* Lets go of everything but the descriptor; the end of the turn calls stream_closed(). */
static void release(struct stream *stream)
{
    stream->state = STREAM_CLOSING;
    stream->polled = 0;
    stream_unlink(stream);
    stream_output_clear(stream);
    stream_kept_free(stream);
    stream_filter_free(stream->filter);
    stream->filter = NULL;
    stream_aside_free(stream);
    list_add_last(&stream->loop->closing, &stream->link);
}

void stream_end(struct stream *stream, enum stream_close_reason reason)
{
    bool was_open = stream->state == STREAM_OPEN;
    struct stream_carrier *carrier = stream_is_carried(stream) ? stream->aside->carrier : NULL;

    if (stream->state >= STREAM_CLOSING)
        return;
    release(stream);
    if (carrier == NULL) {
        /* Closing takes it out of the set only when nobody else holds the open file for a moment,
         * as who looks at /proc does: then events would come for a stream that is gone. */
        set_change(stream, EPOLL_CTL_DEL, 0);
        close(stream->fd);
    }
    stream->fd = -1;
    if (carrier != NULL)
        carrier->ops->closed(carrier);
    if (was_open)
        stream->ops->ended(stream, reason);
}

void stream_close(struct stream *stream)
{
    stream_end(stream, STREAM_CLOSED_BY_US);
}

void stream_abort(struct stream *stream)
{
    static const struct linger at_once = {.l_onoff = 1};

    if (stream->fd >= 0)
        (void)setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    stream_close(stream);
}

void stream_end_later(struct stream *stream, enum stream_close_reason reason)
{
    if (stream->end_reason != 0 || stream->state >= STREAM_CLOSING)
        return;
    stream->end_reason = (uint8_t)(1 + reason);
    stream->waits_writable = false;
    stream_pause(stream);
    stream_unlink(stream);
    list_add_last(&stream->loop->ending, &stream->link);
}

/* When thousands of clients go at once, the others need not wait until all of that is done. */
void stream_end_soon(struct stream *stream, enum stream_close_reason reason)
{
    struct loop *loop = stream->loop;

    if (loop->ends_left == 0 && stream->state == STREAM_OPEN) {
        stream_end_later(stream, reason);
        return;
    }
    if (loop->ends_left > 0)
        loop->ends_left--;
    stream_end(stream, reason);
}

void stream_end_now(struct stream *stream)
{
    stream_end(stream, (enum stream_close_reason)(stream->end_reason - 1));
}

void stream_close_soon(struct stream *stream)
{
    stream_end_soon(stream, STREAM_CLOSED_BY_US);
}

static void on_linger_over(struct loop_timer *timer)
{
    stream_close(CONTAINER_OF(timer, struct stream_aside, timer)->stream);
}

void stream_finish(struct stream *stream, enum stream_close_reason reason, uint64_t linger_ms)
{
    if (stream->state != STREAM_OPEN)
        return;
    if (stream->filter != NULL)
        websocket_put_close(stream);
    stream->state = STREAM_FLUSHING;
    stream_aside_start(stream, linger_ms, on_linger_over);
    if (stream->out_last != NULL)
        out_chunk_seal(stream->out_last); /* stream_reserve() finds no room from now on */
    stream_kept_free(stream);
    stream_unlink(stream);
    stream_mark_dirty(stream);
    stream_poll_update(stream);
    stream->ops->ended(stream, reason);
}

void stream_close_after_flush(struct stream *stream, uint64_t linger_ms)
{
    stream_finish(stream, STREAM_CLOSED_BY_US, linger_ms);
}

void stream_flushed(struct stream *stream)
{
    CHECK(stream->state == STREAM_FLUSHING);
    stream->state = STREAM_LINGERING;
    if (stream_is_carried(stream)) {
        carried_finish(stream);
        return;
    }
    /* Closing now could make the kernel answer unread input with a reset, which would throw away
     * at the peer what was just written. */
    if (shutdown(stream->fd, SHUT_WR) != 0)
        stream_close(stream);
}

void stream_pause(struct stream *stream)
{
    stream->paused = true;
    stream_poll_update(stream);
}

void stream_resume(struct stream *stream)
{
    if (!stream->paused || stream->end_reason != 0)
        return;
    stream->paused = false;
    if (stream->kept == NULL) /* else when that has been handed up: stream_deliver_kept() */
        stream_poll_update(stream);
    if (stream->state != STREAM_OPEN)
        return;
    stream_unlink(stream); /* output, if there is some, is flushed once the input was handed up */
    list_add_last(&stream->loop->resumed, &stream->link);
}

/* The input that nobody has consumed: of the span being handed up, or of what is kept. */
static struct bytes unconsumed(const struct stream *stream, size_t consumed)
{
    const struct loop *loop = stream->loop;
    struct bytes all = loop->receiving == stream
                           ? bytes_of(loop->receiving_data, loop->receiving_len)
                           : stream_kept_bytes(stream);

    CHECK(consumed <= all.len);
    return consumed == all.len ? bytes_of(NULL, 0)
                               : bytes_of(all.data + consumed, all.len - consumed);
}

int stream_detach(struct stream *stream, size_t consumed, struct stream_filter **filter,
                  uint8_t **unread, size_t *unread_len)
{
    struct bytes rest = unconsumed(stream, consumed);
    uint8_t *copy = NULL;
    int fd = stream->fd;

    CHECK(stream->state == STREAM_OPEN && !stream_awaits_header(stream));
    CHECK(!stream_is_carried(stream));
    if (stream->out_first != NULL)
        stream_flush(stream);
    if (stream->state != STREAM_OPEN || stream->out_first != NULL)
        return -1;
    if (rest.len > 0) {
        copy = mem_try(rest.len);
        if (copy == NULL)
            return -1;
        memcpy(copy, rest.data, rest.len);
    }
    *unread = copy;
    *unread_len = rest.len;
    CHECK(stream->filter == NULL || stream->filter->opening == NULL);
    *filter = stream->filter;
    stream->filter = NULL;
    CHECK(set_change(stream, EPOLL_CTL_DEL, 0) == 0);
    stream->fd = -1;
    release(stream);
    return fd;
}
