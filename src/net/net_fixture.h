/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of this folder share: a loop that is turned by hand, a stream whose other end is a
 * plain socket, and an upper layer that takes records (four bytes of length, then as many bytes)
 * and remembers everything that was called.
 */
#ifndef NET_FIXTURE_H
#define NET_FIXTURE_H

/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIXTURE_DEADLINE_MS = 10 * 1000 };

struct fixture {
    struct loop loop;
    struct stream stream;
    int peer; /* the other end, non-blocking, -1 when closed */
    /* what the upper layer saw */
    uint8_t *records; /* bodies of all records, one behind the other */
    size_t records_len, record_count, received_calls, largest_span;
    size_t drained, ended, closed;
    enum stream_close_reason reason;
    /* what it does */
    void (*on_record)(struct fixture *f);
    size_t records_max; /* pause when this many were taken; 0: never */
    size_t turns, turns_left, sleeps;
};

static inline bool fixture_turn(void *owner)
{
    struct fixture *f = owner;
    f->turns++;
    if (f->turns_left > 0)
        f->turns_left--;
    return f->turns_left > 0;
}

static inline void fixture_sleep(void *owner)
{
    ((struct fixture *)owner)->sleeps++;
}

static inline void fixture_stopping(void *owner)
{
    stream_close(&((struct fixture *)owner)->stream);
}

static const struct loop_ops fixture_loop_ops = {
    .turn = fixture_turn,
    .sleep = fixture_sleep,
    .stopping = fixture_stopping,
};

static inline struct fixture *fixture_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct fixture, stream);
}

static inline size_t record_take(struct fixture *f, struct bytes in)
{
    uint32_t len;

    if (in.len < sizeof(len))
        return 0;
    memcpy(&len, in.data, sizeof(len));
    if (in.len - sizeof(len) < len)
        return 0;
    f->records = realloc(f->records, f->records_len + len + 1);
    assert_non_null(f->records);
    memcpy(f->records + f->records_len, in.data + sizeof(len), len);
    f->records_len += len;
    f->record_count++;
    return sizeof(len) + len;
}

static inline size_t fixture_received(struct stream *stream, struct bytes in)
{
    struct fixture *f = fixture_of(stream);
    size_t consumed = 0;

    f->received_calls++;
    if (in.len > f->largest_span)
        f->largest_span = in.len;
    for (;;) {
        size_t size = record_take(f, bytes_of(in.data + consumed, in.len - consumed));
        consumed += size;
        if (size == 0)
            return consumed;
        if (f->on_record != NULL)
            f->on_record(f);
        if (stream->state != STREAM_OPEN)
            return consumed;
        if (f->records_max != 0 && f->record_count >= f->records_max) {
            stream_pause(stream);
            return consumed;
        }
    }
}

static inline void fixture_drained(struct stream *stream)
{
    fixture_of(stream)->drained++;
}

static inline void fixture_ended(struct stream *stream, enum stream_close_reason reason)
{
    fixture_of(stream)->ended++;
    fixture_of(stream)->reason = reason;
}

static inline void fixture_closed(struct stream *stream)
{
    fixture_of(stream)->closed++;
}

static const struct stream_ops fixture_stream_ops = {
    .received = fixture_received,
    .drained = fixture_drained,
    .ended = fixture_ended,
    .closed = fixture_closed,
};

/* One turn that does not block. */
static inline void turn(struct fixture *f)
{
    loop_turn(&f->loop, LOOP_LOOK);
}

/* Turns until the condition holds; the test fails when it does not in time. */
#define TURN_UNTIL(f, condition)                                                                   \
    do {                                                                                           \
        uint64_t deadline_ms_ = clock_ms() + FIXTURE_DEADLINE_MS;                                  \
        while (!(condition)) {                                                                     \
            turn(f);                                                                               \
            if (clock_ms() > deadline_ms_)                                                         \
                fail_msg("never: %s", #condition);                                                 \
        }                                                                                          \
    } while (0)

static inline struct fixture *fixture_new(enum transport transport)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int ends[2];

    assert_non_null(f);
    loop_init(&f->loop, &fixture_loop_ops, f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    f->peer = ends[1];
    assert_int_equal(stream_open(&f->stream, &f->loop, &fixture_stream_ops, ends[0], transport,
                                 NULL, bytes_of(NULL, 0)),
                     RC_OK);
    return f;
}

static inline void fixture_free(struct fixture *f)
{
    stream_close(&f->stream);
    TURN_UNTIL(f, f->closed == 1);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->loop.buffered_bytes, 0);
    loop_deinit(&f->loop);
    if (f->peer >= 0)
        close(f->peer);
    free(f->records);
    free(f);
}

/* Sends all of it from the other end, turning the loop when the socket is full. */
static inline void peer_send(struct fixture *f, const void *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t sent = send(f->peer, (const uint8_t *)data + done, len - done, MSG_NOSIGNAL);
        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            turn(f);
            continue;
        }
        done += (size_t)sent;
    }
}

/* Reads exactly `len` bytes at the other end, turning the loop meanwhile. */
static inline void peer_read(struct fixture *f, void *data, size_t len)
{
    uint64_t deadline_ms = clock_ms() + FIXTURE_DEADLINE_MS;
    size_t done = 0;

    while (done < len) {
        ssize_t got = recv(f->peer, (uint8_t *)data + done, len - done, 0);
        if (got < 0) {
            assert_int_equal(errno, EAGAIN);
            assert_true(clock_ms() < deadline_ms);
            turn(f);
            continue;
        }
        if (got == 0)
            fail_msg("end of stream after %zu of %zu bytes", done, len);
        done += (size_t)got;
    }
}

/* True when the other end has nothing to read but the end of the stream. */
static inline bool peer_sees_end(struct fixture *f)
{
    uint8_t byte;
    ssize_t got = recv(f->peer, &byte, 1, 0);

    assert_true(got <= 0);
    return got == 0 || errno == ECONNRESET;
}

static inline void peer_close(struct fixture *f)
{
    close(f->peer);
    f->peer = -1;
}

#endif
