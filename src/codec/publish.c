/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUBLISH (section 3.3): the packet of every message, so the only one of the codec that is written
 * for speed. Decoding reads the topic name once, a word at a time, and walks the properties without
 * storing those that are passed on as they are.
 */
#include "base/check.h"
#include "codec/flags.h"
#include "codec/packet.h"
#include "codec/property_walk.h"
#include "codec/topic_name.h"
#include "codec/wire.h"

enum { FLAG_RETAIN = 1, QOS_SHIFT = 1, QOS_MASK = 3 };

/* ---- decode ------------------------------------------------------------------------------------
 */

static void take_property(struct publish *publish, const struct property *p)
{
    switch (p->id) {
    case PROPERTY_TOPIC_ALIAS:
        publish->topic_alias = (uint16_t)p->number;
        publish->has_topic_alias = true;
        publish->properties_forwardable = false;
        break;
    case PROPERTY_MESSAGE_EXPIRY_INTERVAL:
        publish->expiry_s = p->number;
        publish->has_expiry = true;
        publish->properties_forwardable = false;
        break;
    case PROPERTY_SUBSCRIPTION_IDENTIFIER:
        publish->subscription_identifiers++;
        publish->properties_forwardable = false;
        break;
    case PROPERTY_PAYLOAD_FORMAT_INDICATOR:
        publish->payload_is_utf8 = p->number == 1;
        publish->payload_format_present = 1;
        break;
    default:
        break;
    }
}

static enum mqtt_reason decode_properties(struct reader *r, struct publish *publish)
{
    struct reader block = properties_open(r);
    if (r->failed)
        return MQTT_MALFORMED_PACKET;
    publish->properties = bytes_of(block.at, reader_left(&block));
    uint64_t seen = 0;
    while (reader_left(&block) > 0) {
        struct property p;
        enum mqtt_reason reason = property_read(&block, PACKET_PUBLISH, &seen, &p);
        if (reason != MQTT_SUCCESS)
            return reason;
        take_property(publish, &p);
    }
    return MQTT_SUCCESS;
}

static enum mqtt_reason decode_flags(uint8_t flags, enum mqtt_version version,
                                     struct publish *publish)
{
    *publish = (struct publish){
        .dup = (flags & FLAG_DUP) != 0,
        .retain = (flags & FLAG_RETAIN) != 0,
        .qos = flags >> QOS_SHIFT & QOS_MASK,
        .properties_forwardable = true,
    };
    if (publish->qos > 2)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.3.1-4] */
    if (publish->dup && publish->qos == 0) {
        if (version != MQTT_V31)
            return MQTT_MALFORMED_PACKET; /* [MQTT-3.3.1-2] */
        publish->dup = false;
    }
    return MQTT_SUCCESS;
}

enum mqtt_reason publish_decode(const struct frame *frame, enum mqtt_version version,
                                struct publish *publish)
{
    enum mqtt_reason reason = decode_flags(frame->flags, version, publish);
    if (reason != MQTT_SUCCESS)
        return reason;
    struct reader r = reader_of(frame->body);
    publish->topic = read_binary(&r);
    if (publish->qos > 0)
        publish->packet_id = read_u16(&r);
    if (r.failed)
        return MQTT_MALFORMED_PACKET;
    if (publish->qos > 0 && publish->packet_id == 0)
        return MQTT_PROTOCOL_ERROR; /* [MQTT-2.2.1-3] */
    if (version == MQTT_V5) {
        reason = decode_properties(&r, publish);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    publish->payload = read_rest(&r);
    if (publish->topic.len == 0)
        return publish->has_topic_alias ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
    return topic_name_check(publish->topic);
}

size_t publish_properties_strip(struct bytes block, uint8_t *out)
{
    return properties_forward(block, out);
}

uint32_t publish_subscription_identifier(struct bytes block, uint32_t n)
{
    struct property p;
    while (property_skim(&block, &p))
        if (p.id == PROPERTY_SUBSCRIPTION_IDENTIFIER && n-- == 0)
            return p.number;
    return 0;
}

/* ---- encode ------------------------------------------------------------------------------------
 */

static size_t block_size(const struct publication *publication, const struct publish_form *form)
{
    size_t size = publication->properties.len;
    if (publication->has_expiry)
        size += 1 + 4;
    if (form->topic_alias != 0)
        size += 1 + 2;
    for (uint32_t i = 0; i < form->subscription_identifier_count; i++)
        size += 1 + varint_size(form->subscription_identifiers[i]);
    return size;
}

/* Bytes between the fixed header and the payload. */
static size_t variable_header_size(const struct publication *publication,
                                   const struct publish_form *form)
{
    size_t size = 2 + (form->topic_left_out ? 0 : publication->topic.len);
    if (form->qos > 0)
        size += 2;
    if (form->version == MQTT_V5) {
        size_t block = block_size(publication, form);
        size += varint_size((uint32_t)block) + block;
    }
    return size;
}

size_t publish_header_size(const struct publication *publication, const struct publish_form *form)
{
    size_t size = variable_header_size(publication, form);
    return 1 + varint_size((uint32_t)(size + publication->payload.len)) + size;
}

static uint8_t *write_block(uint8_t *out, const struct publication *publication,
                            const struct publish_form *form)
{
    out = varint_write(out, (uint32_t)block_size(publication, form));
    if (publication->has_expiry)
        out = write_u32(write_u8(out, PROPERTY_MESSAGE_EXPIRY_INTERVAL), form->expiry_left_s);
    if (form->topic_alias != 0)
        out = write_u16(write_u8(out, PROPERTY_TOPIC_ALIAS), form->topic_alias);
    for (uint32_t i = 0; i < form->subscription_identifier_count; i++)
        out = varint_write(write_u8(out, PROPERTY_SUBSCRIPTION_IDENTIFIER),
                           form->subscription_identifiers[i]);
    return write_raw(out, publication->properties);
}

uint8_t *publish_header_encode(uint8_t *out, const struct publication *publication,
                               const struct publish_form *form)
{
    CHECK(form->qos == 0 || form->packet_id != 0);
    CHECK(!form->topic_left_out || form->topic_alias != 0);
    unsigned flags = (unsigned)form->qos << QOS_SHIFT;
    if (form->dup)
        flags |= FLAG_DUP;
    if (form->retain)
        flags |= FLAG_RETAIN;
    out = write_header(out, PACKET_PUBLISH, (uint8_t)flags,
                       variable_header_size(publication, form) + publication->payload.len);
    if (form->topic_left_out)
        out = write_u16(out, 0);
    else
        out = write_binary(out, publication->topic);
    if (form->qos > 0)
        out = write_u16(out, form->packet_id);
    if (form->version == MQTT_V5)
        out = write_block(out, publication, form);
    return out;
}
