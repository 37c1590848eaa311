/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the codec only: reading the data types of section 1.5 from a span that shrinks, and writing
 * them. Reads give false when the span is too short or the value is ill-formed.
 */
#ifndef CODEC_CURSOR_H
#define CODEC_CURSOR_H

#include "base/bytes.h"
#include "base/utf8.h"

static inline bool take_u8(struct bytes *in, uint8_t *value)
{
    if (in->len < 1)
        return false;
    *value = in->data[0];
    in->data += 1;
    in->len -= 1;
    return true;
}

static inline bool take_u16(struct bytes *in, uint16_t *value)
{
    if (in->len < 2)
        return false;
    *value = (uint16_t)(in->data[0] << 8 | in->data[1]);
    in->data += 2;
    in->len -= 2;
    return true;
}

static inline bool take_u32(struct bytes *in, uint32_t *value)
{
    if (in->len < 4)
        return false;
    *value = (uint32_t)in->data[0] << 24 | (uint32_t)in->data[1] << 16 |
             (uint32_t)in->data[2] << 8 | in->data[3];
    in->data += 4;
    in->len -= 4;
    return true;
}

/* At most four bytes and the shortest form [MQTT-1.5.5-1]. */
static inline bool take_varint(struct bytes *in, uint32_t *value)
{
    uint8_t byte = 0;
    *value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        if (!take_u8(in, &byte))
            return false;
        *value |= (uint32_t)(byte & 127) << shift;
        if (!(byte & 128))
            return byte != 0 || shift == 0;
    }
    return false;
}

static inline bool take_bytes(struct bytes *in, size_t len, struct bytes *value)
{
    if (in->len < len)
        return false;
    *value = bytes_of(in->data, len);
    in->data += len;
    in->len -= len;
    return true;
}

/* Two bytes of length, then so many bytes. */
static inline bool take_binary(struct bytes *in, struct bytes *value)
{
    uint16_t len;
    return take_u16(in, &len) && take_bytes(in, len, value);
}

/* The same, and well-formed UTF-8 without U+0000. */
static inline bool take_string(struct bytes *in, struct bytes *value)
{
    return take_binary(in, value) && utf8_valid_mqtt(*value);
}

static inline uint8_t *put_u16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return out + 2;
}

static inline uint8_t *put_u32(uint8_t *out, uint32_t value)
{
    out = put_u16(out, (uint16_t)(value >> 16));
    return put_u16(out, (uint16_t)value);
}

static inline uint8_t *put_bytes(uint8_t *out, struct bytes value)
{
    if (value.len > 0)
        memcpy(out, value.data, value.len);
    return out + value.len;
}

/* Two bytes of length, then the bytes; value.len <= 65535. */
static inline uint8_t *put_string(uint8_t *out, struct bytes value)
{
    return put_bytes(put_u16(out, (uint16_t)value.len), value);
}

#endif
