/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data types of section 1.5, read and written. A reader remembers its first fault and gives
 * zeroes and empty spans after it, so a decoder reads its fields one after the other and asks once.
 * Writers assume that the size was reckoned first. Internal to codec/.
 */
#ifndef CODEC_WIRE_H
#define CODEC_WIRE_H

#include "base/bytes.h"
#include "base/check.h"
#include "base/utf8.h"
#include "codec/frame.h"

struct reader {
    const uint8_t *at, *end;
    bool failed; /* truncated, an overlong integer or bad UTF-8: a malformed packet */
};

static inline struct reader reader_of(struct bytes in)
{
    return (struct reader){.at = in.data, .end = in.data + in.len};
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

/* True when there are `size` bytes; otherwise the reader has failed. */
static inline bool reader_has(struct reader *r, size_t size)
{
    if (__builtin_expect(reader_left(r) >= size, 1))
        return true;
    r->at = r->end;
    r->failed = true;
    return false;
}

/* True when everything was there and nothing is left over. */
static inline bool reader_done(const struct reader *r)
{
    return !r->failed && r->at == r->end;
}

static inline struct bytes read_bytes(struct reader *r, size_t size)
{
    if (!reader_has(r, size))
        return bytes_of(r->at, 0);
    r->at += size;
    return bytes_of(r->at - size, size);
}

static inline struct bytes read_rest(struct reader *r)
{
    return read_bytes(r, reader_left(r));
}

static inline uint8_t read_u8(struct reader *r)
{
    return reader_has(r, 1) ? *r->at++ : 0;
}

static inline uint16_t read_u16(struct reader *r)
{
    if (!reader_has(r, 2))
        return 0;
    r->at += 2;
    return (uint16_t)(r->at[-2] << 8 | r->at[-1]);
}

static inline uint32_t read_u32(struct reader *r)
{
    if (!reader_has(r, 4))
        return 0;
    r->at += 4;
    return (uint32_t)r->at[-4] << 24 | (uint32_t)r->at[-3] << 16 | (uint32_t)r->at[-2] << 8 |
           r->at[-1];
}

/* At most four bytes and the shortest form [MQTT-1.5.5-1]. */
static inline uint32_t read_varint(struct reader *r)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t byte = read_u8(r);
        value |= (uint32_t)(byte & 127) << shift;
        if (byte < 128) {
            if (byte == 0 && shift > 0)
                r->failed = true;
            return value;
        }
    }
    r->failed = true;
    return 0;
}

/* Binary data: two bytes of length, then that many. */
static inline struct bytes read_binary(struct reader *r)
{
    return read_bytes(r, read_u16(r));
}

/* A UTF-8 encoded string [MQTT-1.5.4-1, MQTT-1.5.4-2]. */
static inline struct bytes read_string(struct reader *r)
{
    struct bytes text = read_binary(r);
    if (!utf8_valid_mqtt(text))
        r->failed = true;
    return text;
}

static inline uint8_t *write_u8(uint8_t *out, uint8_t value)
{
    *out = value;
    return out + 1;
}

static inline uint8_t *write_u16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return out + 2;
}

static inline uint8_t *write_u32(uint8_t *out, uint32_t value)
{
    return write_u16(write_u16(out, (uint16_t)(value >> 16)), (uint16_t)value);
}

static inline uint8_t *write_raw(uint8_t *out, struct bytes raw)
{
    if (raw.len > 0)
        memcpy(out, raw.data, raw.len);
    return out + raw.len;
}

/* Binary data or a string, with its length before it. */
static inline uint8_t *write_binary(uint8_t *out, struct bytes text)
{
    CHECK(text.len <= UINT16_MAX);
    return write_raw(write_u16(out, (uint16_t)text.len), text);
}

/* The fixed header. */
static inline uint8_t *write_header(uint8_t *out, uint8_t type, uint8_t flags, size_t remaining)
{
    CHECK(remaining <= VARINT_MAX);
    return varint_write(write_u8(out, (uint8_t)(type << 4 | flags)), (uint32_t)remaining);
}

/* Bytes of a whole packet with so many behind its fixed header. */
static inline size_t packet_size(size_t remaining)
{
    return 1 + varint_size((uint32_t)remaining) + remaining;
}

#endif
