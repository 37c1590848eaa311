/* SPDX-License-Identifier: Apache-2.0 */
/* SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (sections 3.8 to 3.11). */
#include "codec/cursor.h"
#include "codec/packet.h"
#include "codec/trim.h"

enum { SUBSCRIBE_FLAGS = 2 };

enum option_bits {
    OPTION_QOS = 0x03,
    OPTION_NO_LOCAL = 0x04,
    OPTION_RETAIN_AS_PUBLISHED = 0x08,
    OPTION_RETAIN_HANDLING = 0x30,
    OPTION_RESERVED = 0xC0,
};

/* Packet id and properties, the same for both. */
static enum mqtt_reason decode_head(const struct frame *frame, enum mqtt_version version,
                                    struct bytes *in, uint16_t *packet_id, struct properties *p)
{
    *p = (struct properties){0};
    if (frame->flags != SUBSCRIBE_FLAGS || !take_u16(in, packet_id))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.8.1-1] [MQTT-3.10.1-1] */
    if (version == MQTT_V5) {
        enum mqtt_reason reason = properties_decode(in, frame->type, p);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    return *packet_id == 0 ? MQTT_PROTOCOL_ERROR : MQTT_SUCCESS;
}

static enum mqtt_reason check_options(uint8_t options, enum mqtt_version version)
{
    if (version != MQTT_V5)
        return options > 2 ? MQTT_MALFORMED_PACKET : MQTT_SUCCESS; /* [v3.1.1 MQTT-3-8.3-4] */
    if (options & OPTION_RESERVED)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.8.3-5] */
    if ((options & OPTION_QOS) == OPTION_QOS ||
        (options & OPTION_RETAIN_HANDLING) == OPTION_RETAIN_HANDLING)
        return MQTT_PROTOCOL_ERROR;
    return MQTT_SUCCESS;
}

enum mqtt_reason subscribe_decode(const struct frame *frame, enum mqtt_version version,
                                  struct subscribe *subscribe)
{
    struct bytes in = frame->body;
    *subscribe = (struct subscribe){0};
    enum mqtt_reason reason =
        decode_head(frame, version, &in, &subscribe->packet_id, &subscribe->properties);
    if (reason != MQTT_SUCCESS)
        return reason;
    subscribe->filters = in;
    while (in.len > 0) {
        struct bytes filter;
        uint8_t options;
        if (!take_string(&in, &filter) || !take_u8(&in, &options))
            return MQTT_MALFORMED_PACKET;
        reason = check_options(options, version);
        if (reason != MQTT_SUCCESS)
            return reason;
        subscribe->count++;
    }
    return subscribe->count == 0 ? MQTT_PROTOCOL_ERROR : MQTT_SUCCESS; /* [MQTT-3.8.3-2] */
}

bool subscribe_next(struct bytes *rest, enum mqtt_version version, struct subscribe_filter *filter)
{
    uint8_t options;
    if (rest->len == 0 || !take_binary(rest, &filter->filter) || !take_u8(rest, &options))
        return false;
    filter->options = (struct subscription_options){.qos = options & OPTION_QOS};
    if (version == MQTT_V5) {
        filter->options.no_local = options & OPTION_NO_LOCAL;
        filter->options.retain_as_published = options & OPTION_RETAIN_AS_PUBLISHED;
        filter->options.retain_handling = (options & OPTION_RETAIN_HANDLING) >> 4;
    }
    return true;
}

static uint8_t options_byte(const struct subscription_options *o, enum mqtt_version version)
{
    if (version != MQTT_V5)
        return o->qos;
    return (uint8_t)(o->qos | (o->no_local ? OPTION_NO_LOCAL : 0) |
                     (o->retain_as_published ? OPTION_RETAIN_AS_PUBLISHED : 0) |
                     o->retain_handling << 4);
}

size_t subscribe_encode(uint16_t packet_id, enum mqtt_version version,
                        const struct properties *properties, const struct subscribe_filter *filters,
                        size_t count, uint8_t *out, size_t room)
{
    static const struct properties none;
    const struct properties *p = properties == NULL ? &none : properties;
    size_t body = 2 + (version == MQTT_V5 ? block_size(p) : 0);
    for (size_t i = 0; i < count; i++)
        body += 3 + filters[i].filter.len;
    size_t size = packet_size(body);
    if (size > room)
        return size;
    out = packet_begin(out, PACKET_SUBSCRIBE, SUBSCRIBE_FLAGS, body);
    out = put_u16(out, packet_id);
    if (version == MQTT_V5)
        out = properties_encode(out, p);
    for (size_t i = 0; i < count; i++) {
        out = put_string(out, filters[i].filter);
        *out++ = options_byte(&filters[i].options, version);
    }
    return size;
}

/* ---- UNSUBSCRIBE ------------------------------------------------------------------------------- */

enum mqtt_reason unsubscribe_decode(const struct frame *frame, enum mqtt_version version,
                                    struct unsubscribe *unsubscribe)
{
    struct bytes in = frame->body;
    *unsubscribe = (struct unsubscribe){0};
    enum mqtt_reason reason =
        decode_head(frame, version, &in, &unsubscribe->packet_id, &unsubscribe->properties);
    if (reason != MQTT_SUCCESS)
        return reason;
    unsubscribe->filters = in;
    for (; in.len > 0; unsubscribe->count++) {
        struct bytes filter;
        if (!take_string(&in, &filter))
            return MQTT_MALFORMED_PACKET;
    }
    return unsubscribe->count == 0 ? MQTT_PROTOCOL_ERROR : MQTT_SUCCESS; /* [MQTT-3.10.3-2] */
}

bool unsubscribe_next(struct bytes *rest, struct bytes *filter)
{
    return rest->len > 0 && take_binary(rest, filter);
}

size_t unsubscribe_encode(uint16_t packet_id, enum mqtt_version version,
                          const struct properties *properties, const struct bytes *filters,
                          size_t count, uint8_t *out, size_t room)
{
    static const struct properties none;
    const struct properties *p = properties == NULL ? &none : properties;
    size_t body = 2 + (version == MQTT_V5 ? block_size(p) : 0);
    for (size_t i = 0; i < count; i++)
        body += 2 + filters[i].len;
    size_t size = packet_size(body);
    if (size > room)
        return size;
    out = packet_begin(out, PACKET_UNSUBSCRIBE, SUBSCRIBE_FLAGS, body);
    out = put_u16(out, packet_id);
    if (version == MQTT_V5)
        out = properties_encode(out, p);
    for (size_t i = 0; i < count; i++)
        out = put_string(out, filters[i]);
    return size;
}

/* ---- SUBACK and UNSUBACK ----------------------------------------------------------------------- */

enum mqtt_reason suback_decode(const struct frame *frame, enum mqtt_version version,
                               struct suback *suback)
{
    struct bytes in = frame->body;
    *suback = (struct suback){.type = frame->type};
    if (frame->flags != 0 || !take_u16(&in, &suback->packet_id))
        return MQTT_MALFORMED_PACKET;
    if (version == MQTT_V5) {
        enum mqtt_reason reason = properties_decode(&in, frame->type, &suback->properties);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    suback->reasons = in;
    return suback->packet_id == 0 ? MQTT_PROTOCOL_ERROR : MQTT_SUCCESS;
}

static size_t suback_encode_v3(const struct suback *suback, uint8_t *out, size_t room)
{
    size_t count = suback->type == PACKET_SUBACK ? suback->reasons.len : 0;
    size_t size = packet_size(2 + count);
    if (size > room)
        return size;
    out = packet_begin(out, suback->type, 0, 2 + count);
    out = put_u16(out, suback->packet_id);
    for (size_t i = 0; i < count; i++)
        *out++ = suback->reasons.data[i] >= 0x80 ? 0x80 : suback->reasons.data[i];
    return size;
}

size_t suback_encode(const struct suback *suback, enum mqtt_version version, uint8_t *out,
                     size_t room)
{
    if (version != MQTT_V5)
        return suback_encode_v3(suback, out, room);
    struct properties p = suback->properties;
    size_t size = trim_to(&p, 2 + suback->reasons.len, room);
    if (size > room)
        return size;
    out = packet_begin(out, suback->type, 0, 2 + block_size(&p) + suback->reasons.len);
    out = put_u16(out, suback->packet_id);
    out = properties_encode(out, &p);
    put_bytes(out, suback->reasons);
    return size;
}
