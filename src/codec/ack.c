/* SPDX-License-Identifier: Apache-2.0 */
/* PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7), which differ in a number and two bits.
 */
#include "base/check.h"
#include "codec/flags.h"
#include "codec/packet.h"
#include "codec/property_walk.h"
#include "codec/wire.h"

static uint8_t flags_of(uint8_t type)
{
    return type == PACKET_PUBREL ? FLAGS_ASKING : FLAGS_NONE;
}

/* [MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1] */
static bool reason_valid(uint8_t type, uint8_t reason)
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

enum mqtt_reason ack_decode(const struct frame *frame, enum mqtt_version version, struct ack *ack)
{
    ack->type = frame->type;
    ack->reason = MQTT_SUCCESS;
    properties_init(&ack->properties);
    if (!flags_valid(frame, version))
        return MQTT_MALFORMED_PACKET;
    struct reader r = reader_of(frame->body);
    ack->packet_id = read_u16(&r);
    if (version == MQTT_V5 && reader_left(&r) > 0)
        ack->reason = read_u8(&r);
    struct bytes rest = read_rest(&r);
    if (r.failed)
        return MQTT_MALFORMED_PACKET;
    if (ack->packet_id == 0 || !reason_valid(ack->type, ack->reason))
        return MQTT_PROTOCOL_ERROR;
    if (version == MQTT_V5 && rest.len > 0) {
        enum mqtt_reason reason = properties_decode(&rest, ack->type, &ack->properties);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    return rest.len == 0 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
}

uint8_t *ack_write(uint8_t *out, enum mqtt_version version, uint8_t type, uint16_t packet_id,
                   uint8_t reason)
{
    CHECK(type >= PACKET_PUBACK && type <= PACKET_PUBCOMP);
    bool with_reason = version == MQTT_V5 && reason != MQTT_SUCCESS;
    out = write_u16(write_header(out, type, flags_of(type), with_reason ? 3 : 2), packet_id);
    return with_reason ? write_u8(out, reason) : out;
}

size_t ack_encode(const struct ack *ack, enum mqtt_version version, uint8_t *out, size_t room)
{
    enum { ID_AND_REASON = 3 };
    struct properties properties = {0};
    if (version == MQTT_V5)
        properties = properties_fit(&ack->properties, ID_AND_REASON, room);
    bool with_properties = properties_size(&properties) > 0;
    bool with_reason = version == MQTT_V5 && (with_properties || ack->reason != MQTT_SUCCESS);
    size_t remaining = with_reason ? ID_AND_REASON : 2;
    if (with_properties)
        remaining += properties_whole_size(&properties);
    if (packet_size(remaining) > room)
        return packet_size(remaining);
    out = write_header(out, ack->type, flags_of(ack->type), remaining);
    out = write_u16(out, ack->packet_id);
    if (with_reason)
        out = write_u8(out, ack->reason);
    if (with_properties)
        properties_encode(out, &properties);
    return packet_size(remaining);
}
