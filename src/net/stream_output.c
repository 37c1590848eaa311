/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output of a stream: chunks are appended during a turn and written by one system call when it
 * ends. When the kernel's buffer is full the rest waits for writability; what is appended meanwhile
 * waits behind it. Nothing is allocated while the pool has chunks.
 */
#include "base/check.h"
#include "model/message.h"
#include "net/out_pool.h"
#include "net/stream_internal.h"
#include "net/websocket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    FLUSH_IOV_MAX = 64,
    FLUSH_BYTES_MAX = 1024 * 1024, /* of one stream a turn */
};

/* A small chunk first and larger ones for a stream that goes on writing; after a referenced
 * payload only a packet header is expected. */
static unsigned next_size_class(const struct stream *stream)
{
    const struct out_chunk *last = stream->out_last;

    if (last == NULL || last->message != NULL)
        return 0;
    return last->size_class + 1U < OUT_CLASSES ? last->size_class + 1U : OUT_CLASSES - 1;
}

static bool output_has_room(const struct stream *stream, size_t size)
{
    return stream->out_bytes <= STREAM_OUT_MAX && size <= STREAM_OUT_MAX - stream->out_bytes;
}

struct out_chunk *stream_output_chunk(struct stream *stream, size_t size)
{
    struct out_chunk *last = stream->out_last;
    struct out_chunk *chunk = NULL;

    if (last != NULL && last->message == NULL && last->room - last->used >= size)
        return last;
    if (output_has_room(stream, size))
        chunk = out_chunk_take(stream->loop->pool, next_size_class(stream), size);
    if (chunk == NULL) {
        /* The caller may be anywhere, so the end comes from the loop: the next read or write says
         * that the stream is over. */
        if (stream_is_carried(stream))
            stream_end_later(stream, STREAM_CLOSED_BY_ERROR);
        else
            shutdown(stream->fd, SHUT_RDWR);
        return NULL;
    }
    if (last == NULL)
        stream->out_first = chunk;
    else
        last->next = chunk;
    stream->out_last = chunk;
    return chunk;
}

void stream_output_grew(struct stream *stream, size_t size)
{
    stream->out_bytes += (uint32_t)size;
    stream->loop->buffered_bytes += size;
    stream_mark_dirty(stream);
}

static void output_shrank(struct stream *stream, size_t size)
{
    CHECK(stream->out_bytes >= size);
    stream->out_bytes -= (uint32_t)size;
    stream->loop->buffered_bytes -= size;
}

static bool takes_output(const struct stream *stream)
{
    return stream->state == STREAM_OPEN &&
           (stream->filter == NULL || websocket_is_open(stream->filter));
}

uint8_t *stream_reserve_more(struct stream *stream, size_t size)
{
    struct out_chunk *chunk;

    if (!takes_output(stream))
        return NULL;
    if (stream->filter != NULL)
        return websocket_begin_frame(stream, size);
    chunk = stream_output_chunk(stream, size);
    if (chunk == NULL)
        return NULL;
    out_chunk_unseal(chunk);
    return chunk->data + chunk->used;
}

enum rc stream_write(struct stream *stream, struct bytes packet)
{
    uint8_t *room;

    if (!takes_output(stream))
        return RC_CLOSED;
    if (packet.len == 0)
        return RC_OK;
    room = stream_reserve(stream, packet.len);
    if (room == NULL)
        return RC_NO_MEMORY;
    memcpy(room, packet.data, packet.len);
    stream_commit(stream, packet.len);
    return RC_OK;
}

void stream_write_message(struct stream *stream, struct message *message, struct bytes external)
{
    struct out_chunk *chunk = stream->out_last;

    CHECK(chunk != NULL && chunk->message == NULL);
    chunk->message = message_hold(message);
    chunk->external = external;
    out_chunk_seal(chunk);
    stream_output_grew(stream, external.len);
}

static void chunk_drop_first(struct stream *stream)
{
    struct out_chunk *chunk = stream->out_first;

    stream->out_first = chunk->next;
    if (stream->out_first == NULL)
        stream->out_last = NULL;
    out_chunk_put(stream->loop->pool, chunk);
}

void stream_output_clear(struct stream *stream)
{
    output_shrank(stream, stream->out_bytes);
    while (stream->out_first != NULL)
        chunk_drop_first(stream);
    if (stream->filter != NULL)
        stream->filter->frame = NULL;
}

static int gather(const struct stream *stream, struct iovec *iov, size_t *total)
{
    int count = 0;

    *total = 0;
    for (struct out_chunk *chunk = stream->out_first; chunk != NULL; chunk = chunk->next) {
        size_t skip = chunk->sent;
        if (count + 2 > FLUSH_IOV_MAX)
            break;
        if (skip < chunk->used)
            iov[count++] = (struct iovec){chunk->data + skip, chunk->used - skip};
        skip = skip > chunk->used ? skip - chunk->used : 0;
        if (skip < chunk->external.len)
            iov[count++] = (struct iovec){(void *)(uintptr_t)(chunk->external.data + skip),
                                          chunk->external.len - skip};
        *total += out_chunk_left(chunk);
    }
    return count;
}

static ssize_t send_iov(int fd, struct iovec *iov, int count)
{
    struct msghdr header = {.msg_iov = iov, .msg_iovlen = (size_t)count};

    if (count == 1)
        return send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
    return sendmsg(fd, &header, MSG_NOSIGNAL);
}

void stream_output_sent(struct stream *stream, size_t size)
{
    output_shrank(stream, size);
    while (stream->out_first != NULL) {
        size_t left = out_chunk_left(stream->out_first);
        if (size < left) {
            stream->out_first->sent += size;
            break;
        }
        size -= left;
        chunk_drop_first(stream);
    }
}

/* The peer cannot be written to any more. What it sent before that (a DISCONNECT perhaps) is
 * still to be read, and the end comes behind it, unless nobody reads. */
static void output_broke(struct stream *stream, int error)
{
    if (stream->state == STREAM_OPEN && !stream->paused && (error == EPIPE || error == ECONNRESET))
        stream_output_clear(stream);
    else
        stream_end(stream, STREAM_CLOSED_BY_ERROR);
}

/* False when the peer cannot be written to any more. */
static bool output_write(struct stream *stream)
{
    struct iovec iov[FLUSH_IOV_MAX];
    size_t written = 0;

    while (stream->out_bytes > 0) {
        size_t total;
        int count = gather(stream, iov, &total);
        ssize_t sent = send_iov(stream->fd, iov, count);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN) {
            output_broke(stream, errno);
            return false;
        }
        if (sent > 0) {
            loop_count(&stream->loop->counters.writes, 1);
            loop_count(&stream->loop->counters.write_bytes, (uint64_t)sent);
            stream_output_sent(stream, (size_t)sent);
        }
        if (sent < (ssize_t)total) {
            stream->waits_writable = true;
            return true;
        }
        written += total;
        if (written >= FLUSH_BYTES_MAX && stream->out_bytes > 0) {
            stream_mark_dirty(stream);
            return true;
        }
    }
    stream_output_clear(stream); /* a chunk that was reserved and not used */
    return true;
}

void stream_flush(struct stream *stream)
{
    if (stream->waits_writable || stream->state >= STREAM_LINGERING)
        return;
    if (stream->filter != NULL)
        websocket_end_frame(stream);
    if (__builtin_expect(stream_is_carried(stream), 0))
        carried_write(stream);
    else if (!output_write(stream))
        return;
    if (stream->state == STREAM_FLUSHING && stream->out_bytes == 0) {
        stream_flushed(stream);
        return;
    }
    stream_poll_update(stream);
    if (stream->state == STREAM_OPEN && stream->above_high && stream->out_bytes < STREAM_OUT_LOW) {
        stream->above_high = false;
        stream->ops->drained(stream);
    }
}

void stream_flush_bulk(struct stream *stream)
{
    stream->is_bulk = false;
    stream_flush(stream);
}

size_t stream_unsent(const struct stream *stream)
{
    int in_kernel = 0;

    if (stream_is_carried(stream))
        return stream->out_bytes + carried_unsent(stream);
    if (stream->fd < 0 || ioctl(stream->fd, SIOCOUTQ, &in_kernel) != 0)
        in_kernel = 0;
    return stream->out_bytes + (size_t)in_kernel;
}
