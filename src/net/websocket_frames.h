/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of RFC 6455 that a client sends, decoded in place: raw bytes in, the bytes of binary
 * messages out, whatever the fragments and wherever the cuts. Their framing is wslay's; what MQTT
 * makes of it (masked, binary only [MQTT-6.0.0-1]) is here. wslay's context takes 4 KiB, so it
 * exists only while a frame is incomplete: between frames this is two words. Pure but for memory.
 * Inside net only.
 */
#ifndef NET_WEBSOCKET_FRAMES_H
#define NET_WEBSOCKET_FRAMES_H

#include "base/bytes.h"

#include <wslay/wslay.h>

enum {
    FRAME_CONTROL_MAX = 125, /* payload of a control frame */
    FRAME_HEADER_MAX = 10,   /* of an unmasked frame */
};

struct frames {
    struct frame_decoder *decoder; /* NULL between frames */
    uint16_t close_code; /* not 0: no more input is taken, and this is the code to close with */
    bool in_message;     /* a data message has begun and its last fragment has not come */
    bool closed_by_peer; /* close_code answers the peer's close frame */
};

/* A ping has come: `payload` (at most FRAME_CONTROL_MAX bytes, borrowed) belongs into a pong. */
typedef void frames_ping_fn(void *owner, struct bytes payload);

/*
 * Decodes all of `raw` and writes payload bytes to `out`, which may be raw.data or lie before it in
 * the same buffer. Gives how many. Stops at a close frame or at the first fault and sets
 * close_code.
 */
size_t frames_decode(struct frames *frames, uint8_t *out, struct bytes raw, frames_ping_fn *ping,
                     void *owner);

void frames_deinit(struct frames *frames);

/* The length of the header of an unmasked frame. */
static inline size_t frame_header_size(uint64_t payload_len)
{
    if (payload_len > UINT16_MAX)
        return FRAME_HEADER_MAX;
    return payload_len > FRAME_CONTROL_MAX ? 4 : 2;
}

/* Writes the header of an unmasked, unfragmented frame into header[0..FRAME_HEADER_MAX); gives its
 * length. */
size_t frame_header(uint8_t *header, enum wslay_opcode opcode, uint64_t payload_len);

#endif
