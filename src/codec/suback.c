/* SPDX-License-Identifier: Apache-2.0 */
/* SUBACK and UNSUBACK (sections 3.9 and 3.11). */
#include "base/check.h"
#include "codec/flags.h"
#include "codec/packet.h"
#include "codec/property_walk.h"
#include "codec/wire.h"

/* [MQTT-3.9.3-2, MQTT-3.11.3-2]; 3.1.1: [MQTT-3.9.3-2] */
static bool reason_valid(uint8_t type, enum mqtt_version version, uint8_t reason)
{
    if (version != MQTT_V5)
        return reason <= MQTT_GRANTED_QOS_2 || reason == MQTT_UNSPECIFIED_ERROR;
    switch (reason) {
    case MQTT_SUCCESS:
    case MQTT_UNSPECIFIED_ERROR:
    case MQTT_IMPLEMENTATION_SPECIFIC_ERROR:
    case MQTT_NOT_AUTHORIZED:
    case MQTT_TOPIC_FILTER_INVALID:
    case MQTT_PACKET_IDENTIFIER_IN_USE:
        return true;
    case MQTT_GRANTED_QOS_1:
    case MQTT_GRANTED_QOS_2:
    case MQTT_QUOTA_EXCEEDED:
    case MQTT_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED:
    case MQTT_SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED:
    case MQTT_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED:
        return type == PACKET_SUBACK;
    case MQTT_NO_SUBSCRIPTION_EXISTED:
        return type == PACKET_UNSUBACK;
    default:
        return false;
    }
}

static bool has_reasons(uint8_t type, enum mqtt_version version)
{
    return type == PACKET_SUBACK || version == MQTT_V5;
}

enum mqtt_reason suback_decode(const struct frame *frame, enum mqtt_version version,
                               struct suback *suback)
{
    *suback = (struct suback){.type = frame->type};
    if (!flags_valid(frame, version))
        return MQTT_MALFORMED_PACKET;
    struct reader r = reader_of(frame->body);
    suback->packet_id = read_u16(&r);
    suback->reasons = read_rest(&r);
    if (r.failed)
        return MQTT_MALFORMED_PACKET;
    if (suback->packet_id == 0)
        return MQTT_PROTOCOL_ERROR;
    if (version == MQTT_V5) {
        enum mqtt_reason reason =
            properties_decode(&suback->reasons, suback->type, &suback->properties);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    if (!has_reasons(suback->type, version))
        return suback->reasons.len == 0 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
    for (size_t i = 0; i < suback->reasons.len; i++)
        if (!reason_valid(suback->type, version, suback->reasons.data[i]))
            return MQTT_PROTOCOL_ERROR;
    return suback->reasons.len > 0 ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
}

static uint8_t *write_reasons(uint8_t *out, struct bytes reasons, enum mqtt_version version)
{
    if (version == MQTT_V5)
        return write_raw(out, reasons);
    for (size_t i = 0; i < reasons.len; i++)
        out = write_u8(out, reasons.data[i] >= MQTT_UNSPECIFIED_ERROR ? MQTT_UNSPECIFIED_ERROR
                                                                      : reasons.data[i]);
    return out;
}

size_t suback_encode(const struct suback *suback, enum mqtt_version version, uint8_t *out,
                     size_t room)
{
    CHECK(suback->type == PACKET_SUBACK || suback->type == PACKET_UNSUBACK);
    struct bytes reasons = suback->reasons;
    if (!has_reasons(suback->type, version))
        reasons.len = 0;
    size_t remaining = 2 + reasons.len;
    struct properties properties;
    if (version == MQTT_V5) {
        properties = properties_fit(&suback->properties, remaining, room);
        remaining += properties_whole_size(&properties);
    }
    if (packet_size(remaining) > room)
        return packet_size(remaining);
    out = write_header(out, suback->type, FLAGS_NONE, remaining);
    out = write_u16(out, suback->packet_id);
    if (version == MQTT_V5)
        out = properties_encode(out, &properties);
    write_reasons(out, reasons, version);
    return packet_size(remaining);
}
