/* SPDX-License-Identifier: Apache-2.0 */
#include "link/frame.h"

enum link_parse link_frame_parse(struct bytes in, uint32_t body_max, struct link_frame *frame,
                                 size_t *size)
{
    if (in.len < LINK_HEADER)
        return LINK_INCOMPLETE;
    struct link_reader reader = link_reader_of(bytes_of(in.data, LINK_HEADER));
    uint32_t len = link_read_u32(&reader);
    if (len > body_max)
        return LINK_TOO_LONG;
    if (in.len - LINK_HEADER < len)
        return LINK_INCOMPLETE;
    frame->kind = link_read_u8(&reader);
    frame->flags = link_read_u8(&reader);
    frame->body = bytes_of(in.data + LINK_HEADER, len);
    *size = LINK_HEADER + (size_t)len;
    return LINK_PARSED;
}

void link_header_write(uint8_t out[LINK_HEADER], enum link_kind kind, uint8_t flags,
                       uint32_t body_len)
{
    link_write_u32(out, body_len);
    out[4] = (uint8_t)kind;
    out[5] = flags;
    out[6] = out[7] = 0;
}

/* ---- bodies ------------------------------------------------------------------------------------
 */

struct bytes link_read_bytes(struct link_reader *reader, size_t len)
{
    if (reader->failed || (size_t)(reader->end - reader->at) < len) {
        reader->failed = true;
        return bytes_of(NULL, 0);
    }
    const uint8_t *start = reader->at;
    reader->at += len;
    return bytes_of(start, len);
}

static uint64_t read_number(struct link_reader *reader, size_t len)
{
    struct bytes bytes = link_read_bytes(reader, len);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | bytes.data[i];
    return value;
}

uint8_t link_read_u8(struct link_reader *reader)
{
    return (uint8_t)read_number(reader, 1);
}

uint16_t link_read_u16(struct link_reader *reader)
{
    return (uint16_t)read_number(reader, 2);
}

uint32_t link_read_u32(struct link_reader *reader)
{
    return (uint32_t)read_number(reader, 4);
}

uint64_t link_read_u64(struct link_reader *reader)
{
    return read_number(reader, 8);
}

struct bytes link_read_text(struct link_reader *reader)
{
    return link_read_bytes(reader, link_read_u16(reader));
}

static uint8_t *write_number(uint8_t *out, uint64_t value, int len)
{
    for (int i = len - 1; i >= 0; i--) {
        out[i] = (uint8_t)value;
        value >>= 8;
    }
    return out + len;
}

uint8_t *link_write_u16(uint8_t *out, uint16_t value)
{
    return write_number(out, value, 2);
}

uint8_t *link_write_u32(uint8_t *out, uint32_t value)
{
    return write_number(out, value, 4);
}

uint8_t *link_write_u64(uint8_t *out, uint64_t value)
{
    return write_number(out, value, 8);
}

uint8_t *link_write_bytes(uint8_t *out, struct bytes bytes)
{
    if (bytes.len > 0)
        memcpy(out, bytes.data, bytes.len);
    return out + bytes.len;
}

uint8_t *link_write_text(uint8_t *out, struct bytes text)
{
    return link_write_bytes(link_write_u16(out, (uint16_t)text.len), text);
}

/* ---- publications ------------------------------------------------------------------------------
 */

enum publish_flags {
    PUBLISH_QOS = 3,
    PUBLISH_RETAIN = 4,
    PUBLISH_EXPIRES = 8,
    PUBLISH_SHARED = 16,
    PUBLISH_DURABILITY_SHIFT = 5,
    PUBLISH_DURABILITY = 3,
    PUBLISH_ASKS = 128,
};

/* A byte in the body. */
enum publish_once {
    PUBLISH_ONCE = 1,
    PUBLISH_REPLAYED = 2,
    PUBLISH_LOW = 4,
    PUBLISH_TO_SHARD = 8,
};

static uint8_t once_of(const struct link_publish *publish)
{
    if (publish->outbox == 0)
        return 0;
    return (uint8_t)(PUBLISH_ONCE | (publish->replayed ? PUBLISH_REPLAYED : 0) |
                     (publish->outbox_low != 0 ? PUBLISH_LOW : 0) |
                     (publish->has_shard ? PUBLISH_TO_SHARD : 0));
}

size_t link_publish_write(const struct link_publish *publish, uint64_t now_ms, uint8_t *out)
{
    const struct publication *p = &publish->publication;
    uint8_t flags =
        (uint8_t)(p->qos | (p->retain ? PUBLISH_RETAIN : 0) |
                  (p->has_expiry ? PUBLISH_EXPIRES : 0) |
                  (publish->share != 0 ? PUBLISH_SHARED : 0) | (publish->asks ? PUBLISH_ASKS : 0) |
                  p->durability << PUBLISH_DURABILITY_SHIFT);
    uint8_t *at = out + LINK_HEADER;
    at = link_write_u16(at, (uint16_t)p->topic.len);
    at = link_write_u32(at, (uint32_t)p->properties.len);
    at = link_write_u32(at, p->publisher_hash);
    at = link_write_u64(at, p->publisher);
    *at++ = once_of(publish);
    if (p->has_expiry)
        at = link_write_u32(at, publication_expiry_left_s(p, now_ms));
    if (publish->share != 0)
        at = link_write_u64(at, publish->share);
    if (publish->asks)
        at = link_write_u64(at, publish->number);
    if (publish->outbox != 0) {
        at = link_write_u64(link_write_u32(at, publish->outbox_shard), publish->outbox);
        if (publish->outbox_low != 0)
            at = link_write_u64(at, publish->outbox_low);
        if (publish->has_shard)
            at = link_write_u16(at, publish->shard);
    }
    at = link_write_bytes(at, p->topic);
    at = link_write_bytes(at, p->properties);
    size_t size = (size_t)(at - out);
    link_header_write(out, publish->to_retain ? LINK_RETAIN : LINK_PUBLISH, flags,
                      (uint32_t)(size - LINK_HEADER + p->payload.len));
    return size;
}

bool link_publish_read(const struct link_frame *frame, uint64_t now_ms,
                       struct link_publish *publish)
{
    struct link_reader reader = link_reader_of(frame->body);
    uint16_t topic_len = link_read_u16(&reader);
    uint32_t properties_len = link_read_u32(&reader);
    struct publication *p = &publish->publication;
    *publish = (struct link_publish){.to_retain = frame->kind == LINK_RETAIN,
                                     .asks = frame->flags & PUBLISH_ASKS};
    *p = (struct publication){
        .received_ms = now_ms,
        .qos = frame->flags & PUBLISH_QOS,
        .retain = frame->flags & PUBLISH_RETAIN,
        .has_expiry = frame->flags & PUBLISH_EXPIRES,
        .durability = frame->flags >> PUBLISH_DURABILITY_SHIFT & PUBLISH_DURABILITY,
    };
    p->publisher_hash = link_read_u32(&reader);
    p->publisher = link_read_u64(&reader);
    uint8_t once = link_read_u8(&reader);
    if (p->has_expiry)
        p->expiry_s = link_read_u32(&reader);
    if (frame->flags & PUBLISH_SHARED)
        publish->share = link_read_u64(&reader);
    if (publish->asks)
        publish->number = link_read_u64(&reader);
    if (once & PUBLISH_ONCE) {
        publish->outbox_shard = link_read_u32(&reader);
        publish->outbox = link_read_u64(&reader);
        publish->outbox_low = once & PUBLISH_LOW ? link_read_u64(&reader) : 0;
        publish->replayed = once & PUBLISH_REPLAYED;
        publish->has_shard = once & PUBLISH_TO_SHARD;
        publish->shard = publish->has_shard ? link_read_u16(&reader) : 0;
    }
    p->topic = link_read_bytes(&reader, topic_len);
    p->properties = link_read_bytes(&reader, properties_len);
    p->payload = bytes_of(reader.at, (size_t)(reader.end - reader.at));
    return !reader.failed && topic_len > 0 && p->qos <= 2 && p->durability <= DURABILITY_MEMORY;
}
