/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as MQTT wants it. Pure. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/bytes.h"

/* True for well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF)
 * without U+0000. Control characters and non-characters are let through, as the standard allows.
 * [v5 MQTT-1.5.4-1, v5 MQTT-1.5.4-2, v3.1.1 MQTT-1.5.3-1, v3.1.1 MQTT-1.5.3-2] */
bool utf8_valid_mqtt(struct bytes text);

/* True for well-formed UTF-8, U+0000 included: what payload format indicator 1 promises. */
bool utf8_valid(struct bytes text);

/* Bytes of the character at the start of `text`, 1 to 4; 0 when it is ill-formed. text.len > 0. */
size_t utf8_character_size(struct bytes text);

#endif
