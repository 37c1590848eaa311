/* SPDX-License-Identifier: Apache-2.0 */
/* CONNACK (section 3.2). */
#include "codec/flags.h"
#include "codec/packet.h"
#include "codec/property_walk.h"
#include "codec/wire.h"

enum { SESSION_PRESENT = 1, V3_CODE_MAX = 5 };

/* Table 3-1 [MQTT-3.2.2-8]; 3.1.1: table 3.1. */
static bool reason_valid(enum mqtt_version version, uint8_t reason)
{
    if (version != MQTT_V5)
        return reason <= V3_CODE_MAX;
    switch (reason) {
    case MQTT_SUCCESS:
    case MQTT_TOPIC_NAME_INVALID:
    case MQTT_PACKET_TOO_LARGE:
    case MQTT_QUOTA_EXCEEDED:
    case MQTT_PAYLOAD_FORMAT_INVALID:
    case MQTT_RETAIN_NOT_SUPPORTED:
    case MQTT_QOS_NOT_SUPPORTED:
    case MQTT_USE_ANOTHER_SERVER:
    case MQTT_SERVER_MOVED:
    case MQTT_CONNECTION_RATE_EXCEEDED:
    case MQTT_BAD_AUTHENTICATION_METHOD:
        return true;
    default:
        return reason >= MQTT_UNSPECIFIED_ERROR && reason <= MQTT_BANNED;
    }
}

enum mqtt_reason connack_decode(const struct frame *frame, enum mqtt_version version,
                                struct connack *connack)
{
    *connack = (struct connack){0};
    if (!flags_valid(frame, version))
        return MQTT_MALFORMED_PACKET;
    struct reader r = reader_of(frame->body);
    uint8_t flags = read_u8(&r);
    connack->reason = read_u8(&r);
    struct bytes rest = read_rest(&r);
    if (r.failed || flags > SESSION_PRESENT)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.2.2-1] */
    connack->session_present = flags == SESSION_PRESENT;
    if (!reason_valid(version, connack->reason))
        return MQTT_PROTOCOL_ERROR;
    if (connack->session_present && connack->reason != MQTT_SUCCESS)
        return MQTT_PROTOCOL_ERROR; /* [MQTT-3.2.2-6] */
    if (version == MQTT_V5) {
        enum mqtt_reason reason = properties_decode(&rest, PACKET_CONNACK, &connack->properties);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    return rest.len == 0 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
}

size_t connack_encode(const struct connack *connack, enum mqtt_version version, uint8_t *out,
                      size_t room)
{
    size_t remaining = 2;
    struct properties properties;
    if (version == MQTT_V5) {
        properties = properties_fit(&connack->properties, remaining, room);
        remaining += properties_whole_size(&properties);
    }
    if (packet_size(remaining) > room)
        return packet_size(remaining);
    bool session_present = connack->session_present && version != MQTT_V31;
    out = write_header(out, PACKET_CONNACK, FLAGS_NONE, remaining);
    out = write_u8(out, session_present ? SESSION_PRESENT : 0);
    out = write_u8(out, connack->reason);
    if (version == MQTT_V5)
        properties_encode(out, &properties);
    return packet_size(remaining);
}
