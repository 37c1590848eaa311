/* SPDX-License-Identifier: Apache-2.0 */
/* DISCONNECT and AUTH (sections 3.14 and 3.15): a reason and properties, both left out when they
 * say nothing. */
#include "codec/flags.h"
#include "codec/packet.h"
#include "codec/property_walk.h"
#include "codec/wire.h"

static enum mqtt_reason decode(const struct frame *frame, uint8_t *code,
                               struct properties *properties)
{
    if (frame->flags != FLAGS_NONE)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.14.1-1, MQTT-3.15.1-1] */
    struct reader r = reader_of(frame->body);
    *code = read_u8(&r); /* 0 when there is none */
    struct bytes rest = read_rest(&r);
    if (rest.len > 0) {
        enum mqtt_reason reason = properties_decode(&rest, frame->type, properties);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    return rest.len == 0 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
}

static size_t encode(uint8_t type, uint8_t code, const struct properties *all, uint8_t *out,
                     size_t room)
{
    struct properties properties = properties_fit(all, 1, room);
    bool with_properties = properties_size(&properties) > 0;
    bool with_code = with_properties || code != MQTT_SUCCESS;
    size_t remaining = with_code ? 1 : 0;
    if (with_properties)
        remaining += properties_whole_size(&properties);
    if (packet_size(remaining) > room)
        return packet_size(remaining);
    out = write_header(out, type, FLAGS_NONE, remaining);
    if (with_code)
        out = write_u8(out, code);
    if (with_properties)
        properties_encode(out, &properties);
    return packet_size(remaining);
}

enum mqtt_reason disconnect_decode(const struct frame *frame, enum mqtt_version version,
                                   struct disconnect *disconnect)
{
    *disconnect = (struct disconnect){0};
    if (version != MQTT_V5)
        return empty_decode(frame);
    return decode(frame, &disconnect->reason, &disconnect->properties);
}

size_t disconnect_encode(const struct disconnect *disconnect, enum mqtt_version version,
                         uint8_t *out, size_t room)
{
    if (version == MQTT_V5)
        return encode(PACKET_DISCONNECT, disconnect->reason, &disconnect->properties, out, room);
    return encode(PACKET_DISCONNECT, MQTT_SUCCESS, &(struct properties){0}, out, room);
}

enum mqtt_reason auth_decode(const struct frame *frame, struct auth *auth)
{
    *auth = (struct auth){0};
    enum mqtt_reason reason = decode(frame, &auth->reason, &auth->properties);
    if (reason != MQTT_SUCCESS)
        return reason;
    if (auth->reason != MQTT_SUCCESS && auth->reason != MQTT_CONTINUE_AUTHENTICATION &&
        auth->reason != MQTT_REAUTHENTICATE)
        return MQTT_PROTOCOL_ERROR; /* [MQTT-3.15.2-1] */
    if (!property_present(&auth->properties, PROPERTY_AUTHENTICATION_METHOD))
        return MQTT_PROTOCOL_ERROR;
    return MQTT_SUCCESS;
}

size_t auth_encode(const struct auth *auth, uint8_t *out, size_t room)
{
    return encode(PACKET_AUTH, auth->reason, &auth->properties, out, room);
}
