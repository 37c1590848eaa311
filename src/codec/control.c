/* SPDX-License-Identifier: Apache-2.0 */
/* PINGREQ, PINGRESP, DISCONNECT and AUTH (sections 3.12 to 3.15). */
#include "codec/cursor.h"
#include "codec/packet.h"
#include "codec/trim.h"

enum mqtt_reason empty_decode(const struct frame *frame)
{
    return frame->flags == 0 && frame->body.len == 0 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
}

uint8_t *empty_write(uint8_t *out, enum packet_type type)
{
    *out++ = (uint8_t)(type << 4);
    *out++ = 0;
    return out;
}

/* Reason code and properties, either of which may be left out at the end. */
static enum mqtt_reason decode_reason(const struct frame *frame, uint8_t *reason,
                                      struct properties *p)
{
    struct bytes in = frame->body;
    *p = (struct properties){0};
    *reason = MQTT_SUCCESS;
    if (frame->flags != 0)
        return MQTT_MALFORMED_PACKET;
    if (!take_u8(&in, reason) || in.len == 0)
        return MQTT_SUCCESS;
    enum mqtt_reason fault = properties_decode(&in, frame->type, p);
    if (fault != MQTT_SUCCESS)
        return fault;
    return in.len == 0 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
}

static size_t encode_reason(enum packet_type type, uint8_t reason, const struct properties *given,
                            uint8_t *out, size_t room)
{
    struct properties p = *given;
    size_t size = trim_to(&p, 1, room);
    if (p.present == 0)
        size = reason == MQTT_SUCCESS ? 2 : 3;
    if (size > room)
        return size;
    if (p.present == 0) {
        out = packet_begin(out, type, 0, size - 2);
        if (reason != MQTT_SUCCESS)
            *out = reason;
        return size;
    }
    out = packet_begin(out, type, 0, 1 + block_size(&p));
    *out++ = reason;
    properties_encode(out, &p);
    return size;
}

enum mqtt_reason disconnect_decode(const struct frame *frame, enum mqtt_version version,
                                   struct disconnect *disconnect)
{
    *disconnect = (struct disconnect){0};
    if (version != MQTT_V5)
        return empty_decode(frame);
    return decode_reason(frame, &disconnect->reason, &disconnect->properties);
}

size_t disconnect_encode(const struct disconnect *disconnect, enum mqtt_version version,
                         uint8_t *out, size_t room)
{
    if (version == MQTT_V5)
        return encode_reason(PACKET_DISCONNECT, disconnect->reason, &disconnect->properties, out,
                             room);
    if (room >= 2)
        empty_write(out, PACKET_DISCONNECT);
    return 2;
}

enum mqtt_reason auth_decode(const struct frame *frame, struct auth *auth)
{
    enum mqtt_reason fault = decode_reason(frame, &auth->reason, &auth->properties);
    if (fault != MQTT_SUCCESS)
        return fault;
    if (auth->reason != MQTT_SUCCESS && auth->reason != MQTT_CONTINUE_AUTHENTICATION &&
        auth->reason != MQTT_REAUTHENTICATE)
        return MQTT_PROTOCOL_ERROR; /* [MQTT-3.15.2-1] */
    return property_present(&auth->properties, PROPERTY_AUTHENTICATION_METHOD)
               ? MQTT_SUCCESS
               : MQTT_PROTOCOL_ERROR; /* [X5.0-3.15.2.2-1] */
}

size_t auth_encode(const struct auth *auth, uint8_t *out, size_t room)
{
    return encode_reason(PACKET_AUTH, auth->reason, &auth->properties, out, room);
}
