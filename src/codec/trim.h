/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the codec only: sizes of packets, and what gives way when one is too large for its receiver. */
#ifndef CODEC_TRIM_H
#define CODEC_TRIM_H

#include "codec/frame.h"
#include "codec/property.h"

/* A block with its length. */
static inline size_t block_size(const struct properties *p)
{
    size_t size = properties_size(p);
    return size + varint_size((uint32_t)size);
}

static inline size_t packet_size(size_t body)
{
    return 1 + varint_size((uint32_t)body) + body;
}

static inline uint8_t *packet_begin(uint8_t *out, enum packet_type type, uint8_t flags, size_t body)
{
    *out++ = (uint8_t)(type << 4 | flags);
    return varint_write(out, (uint32_t)body);
}

static inline void property_clear(struct properties *p, enum property_id id)
{
    p->present &= ~((uint64_t)1 << id);
}

/*
 * Leaves out the reason string, then the user properties, as far as needed to bring a packet of `fixed` bytes of
 * body besides its properties under `room`. Gives the size of the packet, > room when nothing helped.
 */
static inline size_t trim_to(struct properties *p, size_t fixed, size_t room)
{
    size_t size = packet_size(fixed + block_size(p));
    if (size > room) {
        property_clear(p, PROPERTY_REASON_STRING);
        size = packet_size(fixed + block_size(p));
    }
    if (size > room) {
        property_clear(p, PROPERTY_USER_PROPERTY);
        size = packet_size(fixed + block_size(p));
    }
    return size;
}

#endif
