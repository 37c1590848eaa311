/* SPDX-License-Identifier: Apache-2.0 */
/* The reserved bits of the fixed header (section 2.1.3). Internal to codec/. */
#ifndef CODEC_FLAGS_H
#define CODEC_FLAGS_H

#include "codec/frame.h"
#include "model/version.h"

enum {
    FLAGS_NONE = 0,
    FLAGS_ASKING = 2, /* of PUBREL, SUBSCRIBE and UNSUBSCRIBE: what was QoS 1 in MQTT 3.1 */
    FLAG_DUP = 8,
};

/* True when the flags are what [MQTT-2.1.3-1] says. MQTT 3.1 sets DUP on packets sent again, which
 * its section 2.1 allows for exactly those three. */
static inline bool flags_valid(const struct frame *frame, enum mqtt_version version)
{
    bool asking = frame->type == PACKET_PUBREL || frame->type == PACKET_SUBSCRIBE ||
                  frame->type == PACKET_UNSUBSCRIBE;
    if (!asking)
        return frame->flags == FLAGS_NONE;
    if (version == MQTT_V31)
        return (frame->flags & ~FLAG_DUP) == FLAGS_ASKING;
    return frame->flags == FLAGS_ASKING;
}

#endif
