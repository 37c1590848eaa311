/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket as the filter of a stream: input is decoded in place behind the read, each packet of
 * the output is written behind the header of its own binary frame. (A packet may lie anywhere in
 * frames [MQTT-6.0.0-2], but clients are in use that lose the second packet of a frame.) The filter
 * is a heap object without pointers to its stream once the handshake is over, so it moves to
 * another loop as a pointer. Inside net only.
 *
 *   HANDSHAKE --(101)--> OPEN --(close frame from either side, fault)--> CLOSED
 *       '--(refused, time is over)-----------------------------------------^
 */
#ifndef NET_WEBSOCKET_H
#define NET_WEBSOCKET_H

#include "net/stream.h"
#include "net/websocket_frames.h"
#include "net/websocket_handshake.h"

enum {
    WEBSOCKET_HANDSHAKE_MS = 10 * 1000, /* for the whole request to come */
    WEBSOCKET_LINGER_MS = 2 * 1000, /* for a peer that has broken the rules to take its answer */
};

enum websocket_state { WEBSOCKET_HANDSHAKE, WEBSOCKET_OPEN, WEBSOCKET_CLOSED };

/* What is needed only until the handshake is over. */
struct websocket_opening {
    struct loop_timer timer;
    struct stream *stream;
    struct handshake handshake;
};

struct stream_filter {
    enum websocket_state state;
    struct websocket_opening *opening; /* only in HANDSHAKE */
    struct out_chunk *frame;           /* the last chunk, when a frame in it is not ended */
    uint32_t frame_at;                 /* where in the chunk that frame begins, and */
    uint32_t frame_header;             /* the length of the header that it has room for */
    struct frames frames;
};

/* Gives a filter that waits for the handshake. Borrows the stream until that is over. */
struct stream_filter *websocket_new(struct stream *stream);

/* Decodes in place what was read; gives how many bytes are for the layer above, at the front. */
size_t websocket_decode(struct stream *stream, uint8_t *data, size_t len);

/* Ends the stream when the input said so. Called when everything before that was handed up. */
void websocket_input_done(struct stream *stream);

/* What stream_reserve() does on an open websocket: ends the frame before and begins one. */
uint8_t *websocket_begin_frame(struct stream *stream, size_t size);

/* Writes the header of the frame that was begun, if there is one. */
void websocket_end_frame(struct stream *stream);

/* Puts a close frame behind the output, unless the handshake is not over or one is there already.
 */
void websocket_put_close(struct stream *stream);

/* True when output may be appended, false before the handshake is over and behind a close frame. */
static inline bool websocket_is_open(const struct stream_filter *filter)
{
    return filter->state == WEBSOCKET_OPEN;
}

#endif
