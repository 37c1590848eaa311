/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT and CONNACK (sections 3.1 and 3.2). */
#include "codec/cursor.h"
#include "codec/packet.h"
#include "codec/trim.h"

enum connect_flag {
    FLAG_RESERVED = 0x01,
    FLAG_CLEAN_START = 0x02,
    FLAG_WILL = 0x04,
    FLAG_WILL_QOS = 0x18,
    FLAG_WILL_RETAIN = 0x20,
    FLAG_PASSWORD = 0x40,
    FLAG_USER_NAME = 0x80,
};

/* Protocol name and level; what we do not speak is "unsupported", not "malformed". */
static enum mqtt_reason decode_protocol(struct bytes *in, struct connect *connect)
{
    struct bytes name;
    uint8_t level;
    if (!take_binary(in, &name) || !take_u8(in, &level))
        return MQTT_MALFORMED_PACKET;
    bool old = bytes_equal(name, bytes_of_str("MQIsdp"));
    if (!old && !bytes_equal(name, bytes_of_str("MQTT")))
        return MQTT_UNSUPPORTED_PROTOCOL_VERSION;
    connect->version = level;
    bool known = old ? level == MQTT_V31 : level == MQTT_V311 || level == MQTT_V5;
    return known ? MQTT_SUCCESS : MQTT_UNSUPPORTED_PROTOCOL_VERSION;
}

static enum mqtt_reason check_flags(const struct connect *connect, uint8_t flags)
{
    if (flags & FLAG_RESERVED)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.2-3] */
    if (!(flags & FLAG_WILL) && (flags & (FLAG_WILL_QOS | FLAG_WILL_RETAIN)))
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.2-11] [MQTT-3.1.2-13] */
    if ((flags & FLAG_WILL_QOS) == FLAG_WILL_QOS)
        return MQTT_MALFORMED_PACKET; /* [MQTT-3.1.2-12] */
    if (connect->version != MQTT_V5 && (flags & FLAG_PASSWORD) && !(flags & FLAG_USER_NAME))
        return MQTT_MALFORMED_PACKET; /* [v3.1.1 MQTT-3.1.2-22] */
    return MQTT_SUCCESS;
}

static enum mqtt_reason decode_will(struct bytes *in, struct connect *connect)
{
    if (connect->version == MQTT_V5) {
        enum mqtt_reason reason =
            properties_decode(in, PROPERTIES_OF_WILL, &connect->will_properties);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    if (!take_string(in, &connect->will_topic) || !take_binary(in, &connect->will_payload))
        return MQTT_MALFORMED_PACKET;
    return MQTT_SUCCESS;
}

static enum mqtt_reason decode_credentials(struct bytes *in, struct connect *connect)
{
    /* 3.1 lets a client set the flags and leave the fields out. */
    bool lenient = connect->version == MQTT_V31;
    if (connect->has_user_name && lenient && in->len == 0)
        connect->has_user_name = connect->has_password = false;
    if (connect->has_user_name && !take_string(in, &connect->user_name))
        return MQTT_MALFORMED_PACKET;
    if (connect->has_password && lenient && in->len == 0)
        connect->has_password = false;
    if (connect->has_password && !take_binary(in, &connect->password))
        return MQTT_MALFORMED_PACKET;
    return in->len == 0 ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
}

enum mqtt_reason connect_decode(const struct frame *frame, struct connect *connect)
{
    struct bytes in = frame->body;
    *connect = (struct connect){0};
    enum mqtt_reason reason = decode_protocol(&in, connect);
    if (reason != MQTT_SUCCESS)
        return reason;
    uint8_t flags;
    if (frame->flags != 0 || !take_u8(&in, &flags))
        return MQTT_MALFORMED_PACKET;
    reason = check_flags(connect, flags);
    if (reason != MQTT_SUCCESS)
        return reason;
    connect->clean_start = flags & FLAG_CLEAN_START;
    connect->has_will = flags & FLAG_WILL;
    connect->will_qos = (flags & FLAG_WILL_QOS) >> 3;
    connect->will_retain = flags & FLAG_WILL_RETAIN;
    connect->has_user_name = flags & FLAG_USER_NAME;
    connect->has_password = flags & FLAG_PASSWORD;
    if (!take_u16(&in, &connect->keep_alive_s))
        return MQTT_MALFORMED_PACKET;
    if (connect->version == MQTT_V5) {
        reason = properties_decode(&in, PACKET_CONNECT, &connect->properties);
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    if (!take_string(&in, &connect->client_id))
        return MQTT_MALFORMED_PACKET;
    reason = connect->has_will ? decode_will(&in, connect) : MQTT_SUCCESS;
    return reason == MQTT_SUCCESS ? decode_credentials(&in, connect) : reason;
}

static size_t connect_body_size(const struct connect *c)
{
    size_t size = 2 + (c->version == MQTT_V31 ? 6 : 4) + 1 + 1 + 2 + 2 + c->client_id.len;
    if (c->version == MQTT_V5)
        size += block_size(&c->properties);
    if (c->has_will) {
        size += 4 + c->will_topic.len + c->will_payload.len;
        size += c->version == MQTT_V5 ? block_size(&c->will_properties) : 0;
    }
    size += c->has_user_name ? 2 + c->user_name.len : 0;
    return size + (c->has_password ? 2 + c->password.len : 0);
}

static uint8_t connect_flags(const struct connect *c)
{
    uint8_t flags = c->clean_start ? FLAG_CLEAN_START : 0;
    if (c->has_will)
        flags |= (uint8_t)(FLAG_WILL | c->will_qos << 3 | (c->will_retain ? FLAG_WILL_RETAIN : 0));
    if (c->has_user_name)
        flags |= FLAG_USER_NAME;
    return c->has_password ? flags | FLAG_PASSWORD : flags;
}

size_t connect_encode(const struct connect *connect, uint8_t *out, size_t room)
{
    size_t body = connect_body_size(connect);
    size_t size = packet_size(body);
    if (size > room)
        return size;
    out = packet_begin(out, PACKET_CONNECT, 0, body);
    out = put_string(out, bytes_of_str(connect->version == MQTT_V31 ? "MQIsdp" : "MQTT"));
    *out++ = (uint8_t)connect->version;
    *out++ = connect_flags(connect);
    out = put_u16(out, connect->keep_alive_s);
    if (connect->version == MQTT_V5)
        out = properties_encode(out, &connect->properties);
    out = put_string(out, connect->client_id);
    if (connect->has_will) {
        if (connect->version == MQTT_V5)
            out = properties_encode(out, &connect->will_properties);
        out = put_string(out, connect->will_topic);
        out = put_string(out, connect->will_payload);
    }
    if (connect->has_user_name)
        out = put_string(out, connect->user_name);
    if (connect->has_password)
        put_string(out, connect->password);
    return size;
}

/* ---- CONNACK ----------------------------------------------------------------------------------- */

enum mqtt_reason connack_decode(const struct frame *frame, enum mqtt_version version,
                                struct connack *connack)
{
    struct bytes in = frame->body;
    uint8_t flags;
    *connack = (struct connack){0};
    if (frame->flags != 0 || !take_u8(&in, &flags) || flags > 1 || !take_u8(&in, &connack->reason))
        return MQTT_MALFORMED_PACKET;
    connack->session_present = flags;
    enum mqtt_reason reason = MQTT_SUCCESS;
    if (version == MQTT_V5)
        reason = properties_decode(&in, PACKET_CONNACK, &connack->properties);
    if (reason == MQTT_SUCCESS && in.len > 0)
        return MQTT_MALFORMED_PACKET;
    return reason;
}

size_t connack_encode(const struct connack *connack, enum mqtt_version version, uint8_t *out,
                      size_t room)
{
    if (version != MQTT_V5) {
        if (room < 4)
            return 4;
        out = packet_begin(out, PACKET_CONNACK, 0, 2);
        out[0] = connack->session_present;
        out[1] = connack->reason;
        return 4;
    }
    struct properties p = connack->properties;
    size_t size = trim_to(&p, 2, room);
    if (size > room)
        return size;
    out = packet_begin(out, PACKET_CONNACK, 0, 2 + block_size(&p));
    *out++ = connack->session_present;
    *out++ = connack->reason;
    properties_encode(out, &p);
    return size;
}
