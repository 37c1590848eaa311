/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of two bytes: PINGREQ, PINGRESP (sections 3.12, 3.13), the DISCONNECT of MQTT 3.x. */
#include "codec/flags.h"
#include "codec/packet.h"

enum mqtt_reason empty_decode(const struct frame *frame)
{
    if (frame->flags != FLAGS_NONE || frame->body.len != 0)
        return MQTT_MALFORMED_PACKET;
    return MQTT_SUCCESS;
}

uint8_t *empty_write(uint8_t *out, enum packet_type type)
{
    out[0] = (uint8_t)(type << 4);
    out[1] = 0;
    return out + 2;
}
