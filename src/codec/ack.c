/* SPDX-License-Identifier: Apache-2.0 */
/* PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7): one shape, other reason codes. */
#include "codec/cursor.h"
#include "codec/packet.h"
#include "codec/trim.h"

static uint8_t flags_of(uint8_t type)
{
    return type == PACKET_PUBREL ? 2 : 0;
}

static bool reason_is_legal(uint8_t type, uint8_t reason)
{
    if (reason == MQTT_SUCCESS)
        return true;
    if (type == PACKET_PUBREL || type == PACKET_PUBCOMP)
        return reason == MQTT_PACKET_IDENTIFIER_NOT_FOUND;
    switch (reason) {
    case MQTT_NO_MATCHING_SUBSCRIBERS:
    case MQTT_UNSPECIFIED_ERROR:
    case MQTT_IMPLEMENTATION_SPECIFIC_ERROR:
    case MQTT_NOT_AUTHORIZED:
    case MQTT_TOPIC_NAME_INVALID:
    case MQTT_PACKET_IDENTIFIER_IN_USE:
    case MQTT_QUOTA_EXCEEDED:
    case MQTT_PAYLOAD_FORMAT_INVALID:
        return true;
    default:
        return false;
    }
}

static enum mqtt_reason decode_rest(struct bytes *in, struct ack *ack)
{
    if (!take_u8(in, &ack->reason))
        return MQTT_SUCCESS; /* remaining length 2: reason 0 */
    if (!reason_is_legal(ack->type, ack->reason))
        return MQTT_PROTOCOL_ERROR;
    return in->len == 0 ? MQTT_SUCCESS : properties_decode(in, ack->type, &ack->properties);
}

enum mqtt_reason ack_decode(const struct frame *frame, enum mqtt_version version, struct ack *ack)
{
    struct bytes in = frame->body;
    *ack = (struct ack){.type = frame->type};
    if (frame->flags != flags_of(frame->type) || !take_u16(&in, &ack->packet_id))
        return MQTT_MALFORMED_PACKET;
    if (version == MQTT_V5) {
        enum mqtt_reason reason = decode_rest(&in, ack);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    if (in.len > 0)
        return MQTT_MALFORMED_PACKET;
    return ack->packet_id == 0 ? MQTT_PROTOCOL_ERROR : MQTT_SUCCESS;
}

uint8_t *ack_write(uint8_t *out, enum mqtt_version version, uint8_t type, uint16_t packet_id,
                   uint8_t reason)
{
    bool with_reason = version == MQTT_V5 && reason != MQTT_SUCCESS;
    *out++ = (uint8_t)(type << 4 | flags_of(type));
    *out++ = with_reason ? 3 : 2;
    out = put_u16(out, packet_id);
    if (with_reason)
        *out++ = reason;
    return out;
}

size_t ack_encode(const struct ack *ack, enum mqtt_version version, uint8_t *out, size_t room)
{
    struct properties p = ack->properties;
    size_t size = version == MQTT_V5 && p.present != 0 ? trim_to(&p, 3, room) : 0;
    if (size == 0 || p.present == 0) {
        size = version == MQTT_V5 && ack->reason != MQTT_SUCCESS ? 5 : 4;
        if (size <= room)
            ack_write(out, version, ack->type, ack->packet_id, ack->reason);
        return size;
    }
    if (size > room)
        return size;
    out = packet_begin(out, ack->type, flags_of(ack->type), 3 + block_size(&p));
    out = put_u16(out, ack->packet_id);
    *out++ = ack->reason;
    properties_encode(out, &p);
    return size;
}
