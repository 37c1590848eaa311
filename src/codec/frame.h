/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed header (section 2.1): where a packet ends in a stream of bytes. Pure. */
#ifndef CODEC_FRAME_H
#define CODEC_FRAME_H

#include "base/bytes.h"

enum packet_type {
    PACKET_CONNECT = 1,
    PACKET_CONNACK,
    PACKET_PUBLISH,
    PACKET_PUBACK,
    PACKET_PUBREC,
    PACKET_PUBREL,
    PACKET_PUBCOMP,
    PACKET_SUBSCRIBE,
    PACKET_SUBACK,
    PACKET_UNSUBSCRIBE,
    PACKET_UNSUBACK,
    PACKET_PINGREQ,
    PACKET_PINGRESP,
    PACKET_DISCONNECT,
    PACKET_AUTH,
};

enum {
    FRAME_HEADER_MAX = 5,
    VARINT_MAX = 268435455, /* the largest variable byte integer */
};

struct frame {
    uint8_t type;      /* enum packet_type, or 0 for the forbidden type */
    uint8_t flags;     /* the low four bits of the first byte */
    struct bytes body; /* variable header and payload */
    size_t size;       /* of the whole packet, fixed header included */
};

enum frame_result {
    FRAME_OK,
    FRAME_MORE,      /* not all here yet; frame->size is the whole size when known, else 0 */
    FRAME_MALFORMED, /* remaining length of more than four bytes, or not in its shortest form */
    FRAME_TOO_LARGE, /* the whole packet is larger than size_max */
};

/* Looks at the first packet of `in`. Borrows: the body points into `in`. */
enum frame_result frame_parse(struct bytes in, size_t size_max, struct frame *frame);

/* Bytes that a variable byte integer takes: 1..4. value <= VARINT_MAX. */
static inline size_t varint_size(uint32_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

/* Writes the shortest form [MQTT-1.5.5-1]; gives the end of it. */
static inline uint8_t *varint_write(uint8_t *out, uint32_t value)
{
    while (value >= 128) {
        *out++ = (uint8_t)(value | 128);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

#endif
