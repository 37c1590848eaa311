/* SPDX-License-Identifier: Apache-2.0 */
/* The topic name of a PUBLISH or a will. Internal to codec/. */
#ifndef CODEC_TOPIC_NAME_H
#define CODEC_TOPIC_NAME_H

#include "base/utf8.h"
#include "model/reason.h"
#include "model/topic.h"

/* MQTT_MALFORMED_PACKET for bad UTF-8 or U+0000, MQTT_TOPIC_NAME_INVALID for an empty name or one
 * with wildcards [MQTT-3.3.2-1, MQTT-3.3.2-2]. */
static inline enum mqtt_reason topic_name_check(struct bytes name)
{
    if (__builtin_expect(topic_name_is_plain(name), 1))
        return MQTT_SUCCESS;
    if (!utf8_valid_mqtt(name))
        return MQTT_MALFORMED_PACKET;
    return topic_name_valid(name) ? MQTT_SUCCESS : MQTT_TOPIC_NAME_INVALID;
}

#endif
