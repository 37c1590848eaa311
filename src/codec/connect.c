/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONNECT (section 3.1) of all three versions. MQTT 3.1 differs in its protocol name, in
 * that nobody checks the reserved flag, and in that user name and password may be missing at the
 * end in spite of their flags.
 */
#include "codec/flags.h"
#include "codec/packet.h"
#include "codec/property_walk.h"
#include "codec/topic_name.h"
#include "codec/wire.h"

enum {
    CONNECT_RESERVED = 0x01,
    CONNECT_CLEAN_START = 0x02,
    CONNECT_WILL = 0x04,
    CONNECT_WILL_QOS_SHIFT = 3,
    CONNECT_WILL_QOS = 3,
    CONNECT_WILL_RETAIN = 0x20,
    CONNECT_PASSWORD = 0x40,
    CONNECT_USER_NAME = 0x80,
};

static const char name_v31[] = "MQIsdp", name_now[] = "MQTT";

/* ---- decode ------------------------------------------------------------------------------------
 */

static enum mqtt_reason decode_version(struct reader *r, struct connect *connect)
{
    struct bytes name = read_binary(r);
    if (r->failed)
        return MQTT_MALFORMED_PACKET;
    bool is_now = bytes_equal(name, bytes_of_str(name_now));
    bool is_v31 = bytes_equal(name, bytes_of_str(name_v31));
    if (!is_now && !is_v31)
        return MQTT_UNSUPPORTED_PROTOCOL_VERSION; /* [MQTT-3.1.2-1] */
    uint8_t level = read_u8(r);
    if (r->failed)
        return MQTT_MALFORMED_PACKET;
    connect->version = (enum mqtt_version)level;
    bool known = is_v31 ? level == MQTT_V31 : level == MQTT_V311 || level == MQTT_V5;
    connect->name_known = is_now || known;
    return known ? MQTT_SUCCESS : MQTT_UNSUPPORTED_PROTOCOL_VERSION; /* [MQTT-3.1.2-2] */
}

static enum mqtt_reason decode_flags(uint8_t flags, struct connect *connect)
{
    if ((flags & CONNECT_RESERVED) != 0 && connect->version != MQTT_V31)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.2-3] */
    connect->clean_start = (flags & CONNECT_CLEAN_START) != 0;
    connect->has_will = (flags & CONNECT_WILL) != 0;
    connect->will_qos = flags >> CONNECT_WILL_QOS_SHIFT & CONNECT_WILL_QOS;
    connect->will_retain = (flags & CONNECT_WILL_RETAIN) != 0;
    connect->has_user_name = (flags & CONNECT_USER_NAME) != 0;
    connect->has_password = (flags & CONNECT_PASSWORD) != 0;
    if (connect->will_qos > 2)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.2-12] */
    if (!connect->has_will && (connect->will_qos != 0 || connect->will_retain))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.2-11, MQTT-3.1.2-13] */
    if (connect->has_password && !connect->has_user_name && connect->version != MQTT_V5)
        return MQTT_MALFORMED_PACKET; /* [v3.1.1 MQTT-3.1.2-22] */
    return MQTT_SUCCESS;
}

/* Properties at the reader; nothing in 3.x. */
static enum mqtt_reason decode_properties(struct reader *r, const struct connect *connect,
                                          int where, struct properties *properties)
{
    if (connect->version != MQTT_V5)
        return MQTT_SUCCESS;
    struct bytes rest = bytes_of(r->at, reader_left(r));
    enum mqtt_reason reason = properties_decode(&rest, where, properties);
    *r = reader_of(rest);
    return reason;
}

static enum mqtt_reason decode_will(struct reader *r, struct connect *connect)
{
    enum mqtt_reason reason =
        decode_properties(r, connect, PROPERTIES_OF_WILL, &connect->will_properties);
    if (reason != MQTT_SUCCESS)
        return reason;
    connect->will_topic = read_binary(r);
    connect->will_payload = read_binary(r);
    if (r->failed)
        return MQTT_MALFORMED_PACKET;
    return topic_name_check(connect->will_topic);
}

static enum mqtt_reason decode_payload(struct reader *r, struct connect *connect)
{
    connect->client_id = read_string(r);
    if (r->failed)
        return MQTT_MALFORMED_PACKET;
    if (connect->has_will) {
        enum mqtt_reason reason = decode_will(r, connect);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    bool may_end = connect->version == MQTT_V31;
    if (may_end && reader_left(r) == 0)
        connect->has_user_name = false;
    if (connect->has_user_name)
        connect->user_name = read_string(r);
    if (may_end && reader_left(r) == 0)
        connect->has_password = false;
    if (connect->has_password)
        connect->password = read_binary(r);
    return reader_done(r) ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
}

enum mqtt_reason connect_decode(const struct frame *frame, struct connect *connect)
{
    *connect = (struct connect){0};
    if (frame->flags != FLAGS_NONE)
        return MQTT_MALFORMED_PACKET;
    struct reader r = reader_of(frame->body);
    enum mqtt_reason reason = decode_version(&r, connect);
    if (reason != MQTT_SUCCESS)
        return reason;
    uint8_t flags = read_u8(&r);
    connect->keep_alive_s = read_u16(&r);
    reason = decode_flags(flags, connect);
    if (reason != MQTT_SUCCESS)
        return reason;
    reason = decode_properties(&r, connect, PACKET_CONNECT, &connect->properties);
    if (reason != MQTT_SUCCESS)
        return reason;
    if (property_present(&connect->properties, PROPERTY_AUTHENTICATION_DATA) &&
        !property_present(&connect->properties, PROPERTY_AUTHENTICATION_METHOD))
        return MQTT_PROTOCOL_ERROR;
    return decode_payload(&r, connect);
}

/* ---- encode ------------------------------------------------------------------------------------
 */

static struct bytes protocol_name(const struct connect *connect)
{
    return bytes_of_str(connect->version == MQTT_V31 ? name_v31 : name_now);
}

static uint8_t flags_byte(const struct connect *connect)
{
    unsigned flags = 0;
    if (connect->clean_start)
        flags |= CONNECT_CLEAN_START;
    if (connect->has_will) {
        flags |= CONNECT_WILL | (unsigned)connect->will_qos << CONNECT_WILL_QOS_SHIFT;
        if (connect->will_retain)
            flags |= CONNECT_WILL_RETAIN;
    }
    if (connect->has_user_name)
        flags |= CONNECT_USER_NAME;
    if (connect->has_password)
        flags |= CONNECT_PASSWORD;
    return (uint8_t)flags;
}

static size_t remaining_length(const struct connect *connect)
{
    bool v5 = connect->version == MQTT_V5;
    size_t size = 2 + protocol_name(connect).len + 1 + 1 + 2 + 2 + connect->client_id.len;
    if (v5)
        size += properties_whole_size(&connect->properties);
    if (connect->has_will) {
        size += 2 + connect->will_topic.len + 2 + connect->will_payload.len;
        if (v5)
            size += properties_whole_size(&connect->will_properties);
    }
    if (connect->has_user_name)
        size += 2 + connect->user_name.len;
    if (connect->has_password)
        size += 2 + connect->password.len;
    return size;
}

size_t connect_encode(const struct connect *connect, uint8_t *out, size_t room)
{
    bool v5 = connect->version == MQTT_V5;
    size_t remaining = remaining_length(connect);
    if (packet_size(remaining) > room)
        return packet_size(remaining);
    out = write_header(out, PACKET_CONNECT, FLAGS_NONE, remaining);
    out = write_binary(out, protocol_name(connect));
    out = write_u8(out, (uint8_t)connect->version);
    out = write_u8(out, flags_byte(connect));
    out = write_u16(out, connect->keep_alive_s);
    if (v5)
        out = properties_encode(out, &connect->properties);
    out = write_binary(out, connect->client_id);
    if (connect->has_will) {
        if (v5)
            out = properties_encode(out, &connect->will_properties);
        out = write_binary(out, connect->will_topic);
        out = write_binary(out, connect->will_payload);
    }
    if (connect->has_user_name)
        out = write_binary(out, connect->user_name);
    if (connect->has_password)
        write_binary(out, connect->password);
    return packet_size(remaining);
}
