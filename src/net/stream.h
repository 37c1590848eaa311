/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's byte stream: tcp, then the header of the PROXY protocol where one is expected, then
 * websocket where that is spoken (later tls between the two). The stream reads into its loop's
 * shared buffer and hands the bytes up; it keeps what the upper layer has not consumed (a packet
 * that is not complete) and nothing else, so an idle connection holds no buffer. Output is appended
 * to chunks and written once a loop turn. Owned by one loop's thread.
 *
 *   OPEN --(stream_close_after_flush(), websocket close)--> FLUSHING --(written)--> LINGERING
 *    |                                                         |                        |
 *    '--(stream_close(), the peer closes, error, time is over)-+------------------------+-->
 * CLOSING
 *
 * ended() is called when a stream leaves OPEN, closed() at the end of the loop's turn in which it
 * became CLOSING; its owner may free it then.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "base/bytes.h"
#include "base/rc.h"
#include "net/loop.h"

struct message;
struct stream;
struct stream_filter; /* websocket state; NULL for plain tcp */
struct stream_aside;  /* what few streams need: see stream_internal.h */

enum stream_close_reason {
    STREAM_CLOSED_BY_US,
    STREAM_CLOSED_BY_PEER, /* EOF */
    STREAM_CLOSED_BY_ERROR,
    STREAM_CLOSED_BY_HANDSHAKE, /* websocket: what came was not a handshake, or broke the framing */
    STREAM_CLOSED_BY_PROXY,     /* the header of the PROXY protocol is wrong, or did not come */
};

enum transport { TRANSPORT_TCP, TRANSPORT_WEBSOCKET };

/* What the layer above (conn, client) must provide. */
struct stream_ops {
    /*
     * Bytes have come: everything not consumed before, and the new ones behind. Gives how many
     * bytes were consumed; the rest is kept and comes again in front of the next ones. The span
     * stays readable until the return, even when the stream is closed from here. After
     * stream_close(), stream_close_after_flush() or stream_detach() the result does not matter.
     */
    size_t (*received)(struct stream *stream, struct bytes in);
    /* Output fell below STREAM_OUT_LOW after stream_is_high() had said yes. */
    void (*drained)(struct stream *stream);
    /* The stream will give nothing more. Called once; from then on writes are ignored. */
    void (*ended)(struct stream *stream, enum stream_close_reason reason);
    /* Nothing refers to the stream any more: its memory may go. Called once, last. */
    void (*closed)(struct stream *stream);
};

/* A piece of output: small writes are copied into data[], then perhaps a big payload is referenced.
 */
struct out_chunk {
    struct out_chunk *next;
    struct message *message; /* not NULL: `external` belongs to it, held until sent */
    struct bytes external;   /* sent behind data[] */
    uint64_t sent;           /* bytes of this chunk, both parts, that are gone */
    uint64_t limit;          /* stream_reserve() gives away data[] up to here: room, 0 if sealed */
    uint32_t used, room;     /* bytes written into data[], and how many fit */
    uint8_t size_class;      /* of the pool that it came from */
    uint8_t data[];
};

enum stream_state {
    STREAM_OPEN,
    STREAM_FLUSHING,  /* what was written before goes out, input is thrown away */
    STREAM_LINGERING, /* all is out and the peer was told; waiting for it to close, for a while */
    STREAM_CLOSING,
    STREAM_CLOSED,
};

/* Input that nobody has consumed yet: `len` bytes from `from` on. */
struct stream_kept {
    uint32_t from, len, room;
    uint8_t data[];
};

struct stream {
    struct loop *loop;
    const struct stream_ops *ops;
    struct stream_filter *filter;
    struct stream_aside *aside; /* NULL for most, until they are FLUSHING */
    struct list link;           /* in loop->dirty, bulk, resumed, ending or closing */
    struct out_chunk *out_first, *out_last;
    struct stream_kept *kept; /* unconsumed input, NULL when there is none */
    uint32_t out_bytes;       /* not yet taken by the kernel; at most STREAM_OUT_MAX */
    int fd;                   /* -1 once it is closed or given away; STREAM_CARRIED */
    uint8_t state;            /* enum stream_state */
    uint8_t transport;        /* enum transport */
    uint8_t polled;           /* EPOLLIN, EPOLLOUT: what the epoll set waits for now */
    bool paused;              /* reading is stopped on purpose */
    bool above_high;          /* drained() is owed */
    bool waits_writable;      /* the kernel's buffer is full: flushes wait for it */
    bool is_bulk;             /* in loop->bulk */
    uint8_t end_reason;       /* in loop->ending: 1 + enum stream_close_reason */
};

enum {
    STREAM_CARRIED = -2,          /* instead of a descriptor: see net/carried.h */
    STREAM_OUT_HIGH = 256 * 1024, /* above: stream_write tells the caller to hold data back */
    STREAM_OUT_LOW = 64 * 1024,
    STREAM_OUT_MAX = 1024 * 1024 * 1024, /* what would go beyond is refused: no memory */
    STREAM_REFERENCE_MIN = 8 * 1024,     /* payloads from here on are referenced, not copied */
};

/*
 * Takes the descriptor (connected) and starts to read. With TRANSPORT_WEBSOCKET and filter NULL the
 * HTTP handshake comes first. `filter` (taken) and `unread` (borrowed, copied) come from
 * stream_detach() of a stream on another loop; the unread bytes are handed up by the next turn.
 * RC_IO, RC_NO_MEMORY: the descriptor is closed, the filter freed, and closed() will not be called.
 */
MUST_USE enum rc stream_open(struct stream *stream, struct loop *loop, const struct stream_ops *ops,
                             int fd, enum transport transport, struct stream_filter *filter,
                             struct bytes unread);

/*
 * Takes the stream off this loop so that another one can go on with it: gives the descriptor, the
 * filter and (in *unread, malloc'ed, NULL when there is none) the input not consumed, for the
 * caller to free. `consumed` counts from the start of what received() was given when called from
 * there, otherwise of what is kept. The stream then closes (closed() comes, ended() does not).
 * Output is written first; -1 when not all of it went out or there is no memory: the stream is as
 * before, or has ended.
 */
int stream_detach(struct stream *stream, size_t consumed, struct stream_filter **filter,
                  uint8_t **unread, size_t *unread_len);

/* Frees a filter that stream_detach() gave and no stream_open() took. NULL is fine. */
void stream_filter_free(struct stream_filter *filter);

uint8_t *stream_reserve_more(struct stream *stream, size_t size);

/*
 * Room for a packet of at most `size` bytes (at least 1) at the end of the output, to be filled at
 * once and made final with stream_commit(). On a websocket each packet becomes a frame. NULL when
 * the stream is not open or there is no memory (a peer chooses sizes): then nothing more reaches
 * the peer, since a packet is missing, and the stream ends in one of the next turns. Up to 64 KiB
 * and a packet header are served from the pool; use stream_write_message() for big payloads.
 */
static inline uint8_t *stream_reserve(struct stream *stream, size_t size)
{
    struct out_chunk *last = stream->out_last;

    if (__builtin_expect(last != NULL && last->used + size <= last->limit, 1))
        return last->data + last->used;
    return stream_reserve_more(stream, size);
}

/* Inside net: makes sure that the output is flushed, this turn if it is not for bulk. */
static inline void stream_mark_dirty(struct stream *stream)
{
    struct loop *loop = stream->loop;

    if (list_linked(&stream->link)) {
        if (__builtin_expect(!stream->is_bulk || loop->output == LOOP_OUTPUT_BULK, 1))
            return;
        list_remove(&stream->link);
    }
    stream->is_bulk = loop->output == LOOP_OUTPUT_BULK;
    list_add_last(stream->is_bulk ? &loop->bulk : &loop->dirty, &stream->link);
}

/* Makes the first `used` bytes of what was just reserved part of the output. */
static inline void stream_commit(struct stream *stream, size_t used)
{
    stream->out_last->used += (uint32_t)used;
    stream->out_bytes += (uint32_t)used;
    stream->loop->buffered_bytes += used;
    stream_mark_dirty(stream);
}

/* Copies a packet to the output. RC_OK, RC_CLOSED, RC_NO_MEMORY: as stream_reserve(). */
enum rc stream_write(struct stream *stream, struct bytes packet);

/* Ends the packet whose beginning was just committed or written with `external`, which lives in
 * `message` and is not copied. Shares message. */
void stream_write_message(struct stream *stream, struct message *message, struct bytes external);

/* True when more data should wait for drained(). Control packets may be written all the same. */
static inline bool stream_is_high(struct stream *stream)
{
    if (__builtin_expect(stream->out_bytes > STREAM_OUT_HIGH, 0)) {
        stream->above_high = true;
        return true;
    }
    return false;
}

/*
 * Stops and starts reading. What the kernel holds stays there: TCP slows the peer. Input that was
 * not consumed when reading stopped is handed up again in the turn after stream_resume(), even when
 * nothing new came.
 */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* Bytes that the peer has not got yet: of our output and in the kernel or with the carrier. Costs a
 * system call. */
size_t stream_unsent(const struct stream *stream);

/*
 * ended(STREAM_CLOSED_BY_US) is called from here unless it was; then what was written goes out, the
 * peer is told (a websocket close frame, FIN), and the stream closes when the peer does, after at
 * most `linger_ms`.
 */
void stream_close_after_flush(struct stream *stream, uint64_t linger_ms);

/* Closes now; output is thrown away. ended(STREAM_CLOSED_BY_US) is called from here unless it was.
 */
void stream_close(struct stream *stream);

/* The same, and what the kernel has of the output is thrown away, too: the peer gets none of it
 * later, when it can be reached again. */
void stream_abort(struct stream *stream);

/* The same, but when many streams end at once in one of the next turns. Nothing is read meanwhile.
 */
void stream_close_soon(struct stream *stream);

/* ---- whom it is with ---------------------------------------------------------------------------
 */

/* A client behind somebody else: the socket knows only that one. */
struct stream_peer {
    uint8_t family; /* AF_INET, AF_INET6; 0: whom the socket knows */
    uint8_t address[16];
    uint16_t port;
};

enum { STREAM_PROXY_HEADER_MS = 5 * 1000 };

/*
 * Right after stream_open(): the first bytes have to be a header of the PROXY protocol, and all of
 * it has to be there in STREAM_PROXY_HEADER_MS. It is not handed up; the peer is from then on whom
 * it names. Without one the stream ends with STREAM_CLOSED_BY_PROXY. Nothing may be written before.
 */
void stream_expect_proxy_header(struct stream *stream);

/* Says whom it is with, for a stream that comes from another loop. Copied. */
void stream_set_peer(struct stream *stream, const struct stream_peer *peer);
struct stream_peer stream_peer(const struct stream *stream);
/* The same, asking the socket when nobody has said. */
struct stream_peer stream_peer_known(const struct stream *stream);

/* The peer's address as "127.0.0.1:54321" or "[::1]:54321", "?" when it is gone; at most 54 bytes.
 */
void stream_peer_name(const struct stream *stream, char *out, size_t room);

#endif
