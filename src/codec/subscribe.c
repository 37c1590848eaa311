/* SPDX-License-Identifier: Apache-2.0 */
/* SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10). */
#include "base/check.h"
#include "codec/flags.h"
#include "codec/packet.h"
#include "codec/property_walk.h"
#include "codec/wire.h"

/* Subscription options (section 3.8.3.1). */
enum {
    OPTION_QOS = 3,
    OPTION_NO_LOCAL = 4,
    OPTION_RETAIN_AS_PUBLISHED = 8,
    OPTION_RETAIN_HANDLING_SHIFT = 4,
    OPTION_RETAIN_HANDLING = 3,
    OPTION_RESERVED = 0xC0,
};

/* ---- what both begin with ----------------------------------------------------------------------
 */

static enum mqtt_reason decode_start(const struct frame *frame, enum mqtt_version version,
                                     uint16_t *packet_id, struct properties *properties,
                                     struct bytes *filters)
{
    if (!flags_valid(frame, version))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.8.1-1, MQTT-3.10.1-1] */
    struct reader r = reader_of(frame->body);
    *packet_id = read_u16(&r);
    *filters = read_rest(&r);
    if (r.failed)
        return MQTT_MALFORMED_PACKET;
    if (*packet_id == 0)
        return MQTT_PROTOCOL_ERROR;
    if (version == MQTT_V5) {
        enum mqtt_reason reason = properties_decode(filters, frame->type, properties);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    return filters->len > 0 ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR; /* [3.8.3-2, 3.10.3-2] */
}

/* Bytes behind the fixed header, without the filters. */
static size_t start_size(enum mqtt_version version, const struct properties *properties)
{
    return 2 + (version == MQTT_V5 ? properties_whole_size(properties) : 0);
}

static uint8_t *write_start(uint8_t *out, uint8_t type, size_t remaining, uint16_t packet_id,
                            enum mqtt_version version, const struct properties *properties)
{
    CHECK(packet_id != 0);
    out = write_u16(write_header(out, type, FLAGS_ASKING, remaining), packet_id);
    return version == MQTT_V5 ? properties_encode(out, properties) : out;
}

/* ---- SUBSCRIBE ---------------------------------------------------------------------------------
 */

static enum mqtt_reason check_options(uint8_t options, enum mqtt_version version)
{
    if (version != MQTT_V5)
        return options <= 2 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET; /* [v3.1.1 MQTT-3.8.3-4] */
    if ((options & OPTION_RESERVED) != 0)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.8.3-5] */
    if ((options & OPTION_QOS) == 3)
        return MQTT_PROTOCOL_ERROR;
    if ((options >> OPTION_RETAIN_HANDLING_SHIFT & OPTION_RETAIN_HANDLING) == 3)
        return MQTT_PROTOCOL_ERROR;
    return MQTT_SUCCESS;
}

enum mqtt_reason subscribe_decode(const struct frame *frame, enum mqtt_version version,
                                  struct subscribe *subscribe)
{
    *subscribe = (struct subscribe){0};
    enum mqtt_reason reason = decode_start(frame, version, &subscribe->packet_id,
                                           &subscribe->properties, &subscribe->filters);
    if (reason != MQTT_SUCCESS)
        return reason;
    struct reader r = reader_of(subscribe->filters);
    while (reader_left(&r) > 0) {
        read_string(&r); /* [MQTT-3.8.3-1] */
        uint8_t options = read_u8(&r);
        if (r.failed)
            return MQTT_MALFORMED_PACKET;
        reason = check_options(options, version);
        if (reason != MQTT_SUCCESS)
            return reason;
        subscribe->count++;
    }
    return MQTT_SUCCESS;
}

bool subscribe_next(struct bytes *rest, enum mqtt_version version, struct subscribe_filter *filter)
{
    if (rest->len == 0)
        return false;
    struct reader r = reader_of(*rest);
    filter->filter = read_binary(&r);
    uint8_t options = read_u8(&r);
    CHECK(!r.failed);
    *rest = bytes_of(r.at, reader_left(&r));
    filter->options = (struct subscription_options){.qos = options & OPTION_QOS};
    if (version == MQTT_V5) {
        filter->options.no_local = (options & OPTION_NO_LOCAL) != 0;
        filter->options.retain_as_published = (options & OPTION_RETAIN_AS_PUBLISHED) != 0;
        filter->options.retain_handling =
            options >> OPTION_RETAIN_HANDLING_SHIFT & OPTION_RETAIN_HANDLING;
    }
    return true;
}

static uint8_t options_byte(const struct subscription_options *options, enum mqtt_version version)
{
    unsigned byte = options->qos;
    if (version == MQTT_V5) {
        if (options->no_local)
            byte |= OPTION_NO_LOCAL;
        if (options->retain_as_published)
            byte |= OPTION_RETAIN_AS_PUBLISHED;
        byte |= (unsigned)options->retain_handling << OPTION_RETAIN_HANDLING_SHIFT;
    }
    return (uint8_t)byte;
}

size_t subscribe_encode(uint16_t packet_id, enum mqtt_version version,
                        const struct properties *properties, const struct subscribe_filter *filters,
                        size_t count, uint8_t *out, size_t room)
{
    static const struct properties none;
    if (properties == NULL)
        properties = &none;
    size_t remaining = start_size(version, properties);
    for (size_t i = 0; i < count; i++)
        remaining += 2 + filters[i].filter.len + 1;
    if (packet_size(remaining) > room)
        return packet_size(remaining);
    out = write_start(out, PACKET_SUBSCRIBE, remaining, packet_id, version, properties);
    for (size_t i = 0; i < count; i++) {
        out = write_binary(out, filters[i].filter);
        out = write_u8(out, options_byte(&filters[i].options, version));
    }
    return packet_size(remaining);
}

/* ---- UNSUBSCRIBE -------------------------------------------------------------------------------
 */

enum mqtt_reason unsubscribe_decode(const struct frame *frame, enum mqtt_version version,
                                    struct unsubscribe *unsubscribe)
{
    *unsubscribe = (struct unsubscribe){0};
    enum mqtt_reason reason = decode_start(frame, version, &unsubscribe->packet_id,
                                           &unsubscribe->properties, &unsubscribe->filters);
    if (reason != MQTT_SUCCESS)
        return reason;
    struct reader r = reader_of(unsubscribe->filters);
    while (reader_left(&r) > 0) {
        read_string(&r); /* [MQTT-3.10.3-1] */
        if (r.failed)
            return MQTT_MALFORMED_PACKET;
        unsubscribe->count++;
    }
    return MQTT_SUCCESS;
}

bool unsubscribe_next(struct bytes *rest, struct bytes *filter)
{
    if (rest->len == 0)
        return false;
    struct reader r = reader_of(*rest);
    *filter = read_binary(&r);
    CHECK(!r.failed);
    *rest = bytes_of(r.at, reader_left(&r));
    return true;
}

size_t unsubscribe_encode(uint16_t packet_id, enum mqtt_version version,
                          const struct properties *properties, const struct bytes *filters,
                          size_t count, uint8_t *out, size_t room)
{
    static const struct properties none;
    if (properties == NULL)
        properties = &none;
    size_t remaining = start_size(version, properties);
    for (size_t i = 0; i < count; i++)
        remaining += 2 + filters[i].len;
    if (packet_size(remaining) > room)
        return packet_size(remaining);
    out = write_start(out, PACKET_UNSUBSCRIBE, remaining, packet_id, version, properties);
    for (size_t i = 0; i < count; i++)
        out = write_binary(out, filters[i]);
    return packet_size(remaining);
}
