/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's byte stream: tcp, or websocket over tcp (later tls and proxy in the same chain). The
 * stream reads into its loop's shared buffer and hands the bytes up; it keeps what the upper layer has
 * not consumed (a packet that is not complete) and nothing else, so an idle connection holds no buffer.
 * Output is appended to chunks and written once a loop turn. Owned by one loop's thread.
 *
 *   open --(peer closes, error, stream_close())--> closing --(libuv done)--> closed() callback, then freed by its owner
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "base/bytes.h"
#include "base/rc.h"
#include "net/loop.h"

struct message;
struct stream;
struct stream_filter; /* websocket state; NULL for plain tcp */

enum stream_close_reason {
    STREAM_CLOSED_BY_US,
    STREAM_CLOSED_BY_PEER, /* EOF */
    STREAM_CLOSED_BY_ERROR,
    STREAM_CLOSED_BY_HANDSHAKE, /* websocket: what came was not a handshake or not binary frames */
};

enum transport { TRANSPORT_TCP, TRANSPORT_WEBSOCKET };

/* What the layer above (conn, client) must provide. */
struct stream_ops {
    /*
     * Bytes have come: everything not consumed before, and the new ones behind. Gives how many bytes were
     * consumed; the rest is kept and comes again in front of the next ones. Must not free the stream; may
     * call stream_close(), stream_pause(), stream_detach(); then the result does not matter.
     */
    size_t (*received)(struct stream *stream, struct bytes in);
    /* Output fell to low water after stream_write() had said STREAM_HIGH. */
    void (*drained)(struct stream *stream);
    /* The stream will give nothing more. Called once; from then on writes are ignored. */
    void (*ended)(struct stream *stream, enum stream_close_reason reason);
    /* The handle is closed: the memory of the stream may go. Called once, last. */
    void (*closed)(struct stream *stream);
};

/* A piece of output. Small writes are copied into one; a big payload is referenced. */
struct out_chunk {
    struct out_chunk *next;
    uint32_t used, room;     /* bytes written into data[], and its size */
    uint32_t sent;           /* bytes of this chunk that the kernel has taken */
    struct message *message; /* not NULL: `external` belongs to it, held until sent */
    struct bytes external;   /* sent instead of data[] */
    uint8_t data[];
};

enum stream_state { STREAM_OPEN, STREAM_CLOSE_AFTER_FLUSH, STREAM_CLOSING, STREAM_CLOSED };

struct stream {
    uv_tcp_t tcp;
    struct loop *loop;
    const struct stream_ops *ops;
    struct stream_filter *filter;
    struct list dirty; /* in loop->dirty while there is output to flush */
    struct out_chunk *out_first, *out_last;
    uint8_t *kept; /* unconsumed input, NULL when there is none; kept_len bytes of kept_room */
    uint32_t kept_len, kept_room;
    uint32_t out_bytes;  /* not yet taken by the kernel */
    uint8_t state;       /* enum stream_state */
    uint8_t transport;   /* enum transport */
    bool paused;         /* reading is stopped on purpose */
    bool above_high;     /* drained() is owed */
    bool waits_writable; /* the kernel's buffer is full: flushes wait for it */
};

enum {
    STREAM_OUT_HIGH = 256 * 1024, /* above: stream_write tells the caller to hold data back */
    STREAM_OUT_LOW = 64 * 1024,
    STREAM_REFERENCE_MIN = 8 * 1024, /* payloads from here on are referenced, not copied */
};

/*
 * Takes the descriptor (connected, non-blocking) and starts to read. `unread` is input that was already
 * read from it: it is handed up by the next turn. With TRANSPORT_WEBSOCKET and state NULL the HTTP handshake
 * comes first. RC_IO: the descriptor is closed and closed() will not be called.
 */
enum rc stream_open(struct stream *stream, struct loop *loop, const struct stream_ops *ops, int fd,
                    enum transport transport, struct stream_filter *filter, struct bytes unread);

/*
 * Takes the stream off this loop so that another one can go on with it: gives a new descriptor, the
 * filter and (in *unread, malloc'ed, may be NULL) the input not consumed. The stream then closes
 * (closed() comes, ended() does not). Output must have been empty. -1 when the system has no descriptor: the
 * stream then is as before.
 */
int stream_detach(struct stream *stream, size_t consumed, struct stream_filter **filter,
                  uint8_t **unread, size_t *unread_len);

/*
 * Room for `size` bytes at the end of the output, to be filled at once and made final with
 * stream_commit(). NULL when the stream is closing or there is no memory (a peer chooses sizes).
 * Size at most 64 KiB more than any packet header; use stream_write for more.
 */
uint8_t *stream_reserve(struct stream *stream, size_t size);
void stream_commit(struct stream *stream, size_t used);

/* Copies the bytes to the output. RC_OK, RC_CLOSED, RC_NO_MEMORY. */
enum rc stream_write(struct stream *stream, struct bytes bytes);

/* Puts `external`, which lives in `message`, into the output without a copy. Shares message. */
enum rc stream_write_message(struct stream *stream, struct message *message, struct bytes external);

/* True when more data should wait for drained(). Control packets may be written all the same. */
static inline bool stream_is_high(struct stream *stream)
{
    if (__builtin_expect(stream->out_bytes > STREAM_OUT_HIGH, 0)) {
        stream->above_high = true;
        return true;
    }
    return false;
}

/* Stops and starts reading. What the kernel holds stays there: TCP slows the peer. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* Flushes what it can, then closes; at most `linger_ms` are spent on a peer that does not read. */
void stream_close_after_flush(struct stream *stream, uint64_t linger_ms);

/* Closes now; output is thrown away. ended(STREAM_CLOSED_BY_US) is called from here unless it was. */
void stream_close(struct stream *stream);

/* The peer's address as "127.0.0.1:54321" or "[::1]:54321". */
void stream_peer_name(struct stream *stream, char *out, size_t room);

#endif
