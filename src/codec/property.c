/* SPDX-License-Identifier: Apache-2.0 */
/* The table of properties (table 2-4), and the two loops over it. */
#include "codec/property.h"

#include "base/check.h"
#include "codec/cursor.h"
#include "codec/packet.h"

#include <stddef.h>

enum property_type { TYPE_NONE, TYPE_BYTE, TYPE_U16, TYPE_U32, TYPE_VARINT, TYPE_STRING, TYPE_BINARY };

/* Which packets a property may be in: bit enum packet_type, bit 0 the will. */
#define IN(packet) (1u << PACKET_##packet)
#define IN_WILL 1u
#define IN_ACKS (IN(PUBACK) | IN(PUBREC) | IN(PUBREL) | IN(PUBCOMP) | IN(SUBACK) | IN(UNSUBACK))
#define IN_ALL_BUT_PING                                                                            \
    (IN_WILL | IN(CONNECT) | IN(CONNACK) | IN(PUBLISH) | IN_ACKS | IN(SUBSCRIBE) |                 \
     IN(UNSUBSCRIBE) | IN(DISCONNECT) | IN(AUTH))

struct property_rule {
    const char *name;
    enum property_type type;
    uint32_t packets;
    uint32_t min, max; /* of a number */
    uint16_t field;    /* offset in struct properties */
};

#define NUMBER(text, kind, in, low, high, member)                                                  \
    {text, TYPE_##kind, in, low, high, offsetof(struct properties, member)}
#define TEXT(text, kind, in, member)                                                               \
    {text, TYPE_##kind, in, 0, 0, offsetof(struct properties, member)}

static const struct property_rule rules[43] = {
    [1] = NUMBER("payload_format_indicator", BYTE, IN(PUBLISH) | IN_WILL, 0, 1, payload_format),
    [2] = NUMBER("message_expiry_interval", U32, IN(PUBLISH) | IN_WILL, 0, UINT32_MAX,
                 message_expiry_s),
    [3] = TEXT("content_type", STRING, IN(PUBLISH) | IN_WILL, content_type),
    [8] = TEXT("response_topic", STRING, IN(PUBLISH) | IN_WILL, response_topic),
    [9] = TEXT("correlation_data", BINARY, IN(PUBLISH) | IN_WILL, correlation_data),
    [11] = NUMBER("subscription_identifier", VARINT, IN(PUBLISH) | IN(SUBSCRIBE), 1, VARINT_MAX,
                  subscription_identifier),
    [17] = NUMBER("session_expiry_interval", U32, IN(CONNECT) | IN(CONNACK) | IN(DISCONNECT), 0,
                  UINT32_MAX, session_expiry_s),
    [18] = TEXT("assigned_client_identifier", STRING, IN(CONNACK), assigned_client_id),
    [19] = NUMBER("server_keep_alive", U16, IN(CONNACK), 0, 65535, server_keep_alive_s),
    [21] = TEXT("authentication_method", STRING, IN(CONNECT) | IN(CONNACK) | IN(AUTH),
                authentication_method),
    [22] = TEXT("authentication_data", BINARY, IN(CONNECT) | IN(CONNACK) | IN(AUTH),
                authentication_data),
    [23] = NUMBER("request_problem_information", BYTE, IN(CONNECT), 0, 1,
                  request_problem_information),
    [24] = NUMBER("will_delay_interval", U32, IN_WILL, 0, UINT32_MAX, will_delay_s),
    [25] = NUMBER("request_response_information", BYTE, IN(CONNECT), 0, 1,
                  request_response_information),
    [26] = TEXT("response_information", STRING, IN(CONNACK), response_information),
    [28] = TEXT("server_reference", STRING, IN(CONNACK) | IN(DISCONNECT), server_reference),
    [31] = TEXT("reason_string", STRING, IN(CONNACK) | IN_ACKS | IN(DISCONNECT) | IN(AUTH),
                reason_string),
    [33] = NUMBER("receive_maximum", U16, IN(CONNECT) | IN(CONNACK), 1, 65535, receive_maximum),
    [34] = NUMBER("topic_alias_maximum", U16, IN(CONNECT) | IN(CONNACK), 0, 65535,
                  topic_alias_maximum),
    [35] = NUMBER("topic_alias", U16, IN(PUBLISH), 0, 65535, topic_alias),
    [36] = NUMBER("maximum_qos", BYTE, IN(CONNACK), 0, 1, maximum_qos),
    [37] = NUMBER("retain_available", BYTE, IN(CONNACK), 0, 1, retain_available),
    [38] = TEXT("user_property", NONE, IN_ALL_BUT_PING, user),
    [39] = NUMBER("maximum_packet_size", U32, IN(CONNECT) | IN(CONNACK), 1, UINT32_MAX,
                  maximum_packet_size),
    [40] = NUMBER("wildcard_subscription_available", BYTE, IN(CONNACK), 0, 1, wildcard_available),
    [41] = NUMBER("subscription_identifier_available", BYTE, IN(CONNACK), 0, 1,
                  subscription_identifier_available),
    [42] = NUMBER("shared_subscription_available", BYTE, IN(CONNACK), 0, 1, shared_available),
};

enum { PROPERTY_LAST = 42 };

int property_find(const char *name)
{
    for (int id = 1; id <= PROPERTY_LAST; id++)
        if (rules[id].name != NULL && strcmp(rules[id].name, name) == 0)
            return id;
    return 0;
}

/* ---- decoding ---------------------------------------------------------------------------------- */

static void *field_of(struct properties *p, const struct property_rule *rule)
{
    return (char *)p + rule->field;
}

static const void *field_of_const(const struct properties *p, const struct property_rule *rule)
{
    return (const char *)p + rule->field;
}

/* Reads a number of any width; false when the block ends too early. */
static bool take_number(struct bytes *in, enum property_type type, uint32_t *value)
{
    uint8_t byte;
    uint16_t word;
    switch (type) {
    case TYPE_BYTE:
        if (!take_u8(in, &byte))
            return false;
        *value = byte;
        return true;
    case TYPE_U16:
        if (!take_u16(in, &word))
            return false;
        *value = word;
        return true;
    case TYPE_U32:
        return take_u32(in, value);
    default:
        return take_varint(in, value);
    }
}

static void set_number(void *field, enum property_type type, uint32_t value)
{
    if (type == TYPE_BYTE)
        *(uint8_t *)field = (uint8_t)value;
    else if (type == TYPE_U16)
        *(uint16_t *)field = (uint16_t)value;
    else
        *(uint32_t *)field = value;
}

static enum mqtt_reason take_user_property(struct bytes *in)
{
    struct bytes name, value;
    return take_string(in, &name) && take_string(in, &value) ? MQTT_SUCCESS
                                                             : MQTT_MALFORMED_PACKET;
}

static enum mqtt_reason take_property(struct bytes *in, const struct property_rule *rule, int id,
                                      int where, struct properties *out)
{
    void *field = field_of(out, rule);
    bool repeated = property_present(out, (enum property_id)id);
    if (repeated && !(id == PROPERTY_SUBSCRIPTION_IDENTIFIER && where == PACKET_PUBLISH))
        return MQTT_PROTOCOL_ERROR;
    property_set(out, (enum property_id)id);
    if (rule->type == TYPE_STRING)
        return take_string(in, field) ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
    if (rule->type == TYPE_BINARY)
        return take_binary(in, field) ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
    uint32_t value;
    if (!take_number(in, rule->type, &value))
        return MQTT_MALFORMED_PACKET;
    if (value < rule->min || value > rule->max)
        return MQTT_PROTOCOL_ERROR;
    if (!repeated)
        set_number(field, rule->type, value);
    return MQTT_SUCCESS;
}

static enum mqtt_reason check_together(const struct properties *p, int where)
{
    if (property_present(p, PROPERTY_AUTHENTICATION_DATA) &&
        !property_present(p, PROPERTY_AUTHENTICATION_METHOD))
        return MQTT_PROTOCOL_ERROR;
    if (where == PACKET_AUTH && !property_present(p, PROPERTY_AUTHENTICATION_METHOD))
        return MQTT_PROTOCOL_ERROR;
    if (property_present(p, PROPERTY_RESPONSE_TOPIC)) {
        struct bytes topic = p->response_topic;
        if (topic.len == 0)
            return MQTT_PROTOCOL_ERROR;
        for (size_t i = 0; i < topic.len; i++)
            if (topic.data[i] == '+' || topic.data[i] == '#')
                return MQTT_PROTOCOL_ERROR; /* [MQTT-3.3.2-14] */
    }
    return MQTT_SUCCESS;
}

enum mqtt_reason properties_decode(struct bytes *in, int where, struct properties *out)
{
    uint32_t len;
    struct bytes block;
    *out = (struct properties){0};
    if (!take_varint(in, &len) || !take_bytes(in, len, &block))
        return MQTT_MALFORMED_PACKET;
    out->user = block;
    while (block.len > 0) {
        uint32_t id;
        if (!take_varint(&block, &id) || id > PROPERTY_LAST || rules[id].name == NULL ||
            !(rules[id].packets & 1u << where))
            return MQTT_MALFORMED_PACKET; /* [X5.0-2.2.2.2-1] */
        enum mqtt_reason reason;
        if (id == PROPERTY_USER_PROPERTY) {
            property_set(out, PROPERTY_USER_PROPERTY);
            reason = take_user_property(&block);
        } else {
            reason = take_property(&block, &rules[id], (int)id, where, out);
        }
        if (reason != MQTT_SUCCESS)
            return reason;
    }
    return check_together(out, where);
}

/* Moves *block behind its first property; false at the end. The block has been checked. */
static bool skip_property(struct bytes *block, uint32_t *id, struct bytes *whole)
{
    const uint8_t *start = block->data;
    struct bytes text;
    uint32_t number;
    if (block->len == 0 || !take_varint(block, id))
        return false;
    CHECK(*id <= PROPERTY_LAST);
    if (*id == PROPERTY_USER_PROPERTY) {
        if (!take_binary(block, &text) || !take_binary(block, &text))
            return false;
    } else if (rules[*id].type == TYPE_STRING || rules[*id].type == TYPE_BINARY) {
        if (!take_binary(block, &text))
            return false;
    } else if (!take_number(block, rules[*id].type, &number)) {
        return false;
    }
    *whole = bytes_of(start, (size_t)(block->data - start));
    return true;
}

bool properties_next_user(struct bytes *rest, struct bytes *name, struct bytes *value)
{
    uint32_t id;
    struct bytes whole;
    while (skip_property(rest, &id, &whole)) {
        if (id != PROPERTY_USER_PROPERTY)
            continue;
        struct bytes pair = bytes_of(whole.data + 1, whole.len - 1);
        return take_binary(&pair, name) && take_binary(&pair, value);
    }
    return false;
}

size_t properties_user_size(struct bytes block)
{
    size_t size = 0;
    uint32_t id;
    struct bytes whole;
    while (skip_property(&block, &id, &whole))
        size += id == PROPERTY_USER_PROPERTY ? whole.len : 0;
    return size;
}

size_t properties_forward(struct bytes block, uint8_t *out)
{
    uint8_t *end = out;
    uint32_t id;
    struct bytes whole;
    while (skip_property(&block, &id, &whole)) {
        if (id != PROPERTY_TOPIC_ALIAS && id != PROPERTY_MESSAGE_EXPIRY_INTERVAL &&
            id != PROPERTY_SUBSCRIPTION_IDENTIFIER && id != PROPERTY_WILL_DELAY_INTERVAL)
            end = put_bytes(end, whole);
    }
    return (size_t)(end - out);
}

uint32_t properties_count(struct bytes block, enum property_id wanted)
{
    uint32_t id, count = 0;
    struct bytes whole;
    while (skip_property(&block, &id, &whole))
        count += id == wanted;
    return count;
}

uint32_t publish_subscription_identifier(struct bytes block, uint32_t n)
{
    uint32_t id;
    struct bytes whole;
    while (skip_property(&block, &id, &whole)) {
        if (id != PROPERTY_SUBSCRIPTION_IDENTIFIER || n-- > 0)
            continue;
        uint32_t value;
        struct bytes number = bytes_of(whole.data + 1, whole.len - 1);
        return take_varint(&number, &value) ? value : 0;
    }
    return 0;
}

/* ---- encoding ---------------------------------------------------------------------------------- */

static uint32_t get_number(const void *field, enum property_type type)
{
    if (type == TYPE_BYTE)
        return *(const uint8_t *)field;
    if (type == TYPE_U16)
        return *(const uint16_t *)field;
    return *(const uint32_t *)field;
}

static size_t value_size(const struct properties *p, const struct property_rule *rule)
{
    const void *field = field_of_const(p, rule);
    switch (rule->type) {
    case TYPE_BYTE:
        return 1;
    case TYPE_U16:
        return 2;
    case TYPE_U32:
        return 4;
    case TYPE_VARINT:
        return varint_size(get_number(field, TYPE_VARINT));
    case TYPE_STRING:
    case TYPE_BINARY:
        return 2 + ((const struct bytes *)field)->len;
    case TYPE_NONE:
        break;
    }
    return 0;
}

static uint8_t *put_value(uint8_t *out, const struct properties *p,
                          const struct property_rule *rule)
{
    const void *field = field_of_const(p, rule);
    switch (rule->type) {
    case TYPE_BYTE:
        *out = (uint8_t)get_number(field, TYPE_BYTE);
        return out + 1;
    case TYPE_U16:
        return put_u16(out, (uint16_t)get_number(field, TYPE_U16));
    case TYPE_U32:
        return put_u32(out, get_number(field, TYPE_U32));
    case TYPE_VARINT:
        return varint_write(out, get_number(field, TYPE_VARINT));
    case TYPE_STRING:
    case TYPE_BINARY:
        return put_string(out, *(const struct bytes *)field);
    case TYPE_NONE:
        break;
    }
    return out;
}

/* The ids present, user properties left out: they are written last. */
static uint64_t ids_of(const struct properties *p)
{
    return p->present & ~((uint64_t)1 << PROPERTY_USER_PROPERTY);
}

size_t properties_size(const struct properties *p)
{
    size_t size = 0;
    for (uint64_t ids = ids_of(p); ids != 0; ids &= ids - 1)
        size += 1 + value_size(p, &rules[__builtin_ctzll(ids)]);
    return size + (property_present(p, PROPERTY_USER_PROPERTY) ? p->user.len : 0);
}

static uint8_t *put_block(uint8_t *out, const struct properties *p)
{
    for (uint64_t ids = ids_of(p); ids != 0; ids &= ids - 1) {
        int id = __builtin_ctzll(ids);
        *out++ = (uint8_t)id;
        out = put_value(out, p, &rules[id]);
    }
    return property_present(p, PROPERTY_USER_PROPERTY) ? put_bytes(out, p->user) : out;
}

uint8_t *properties_encode(uint8_t *out, const struct properties *p)
{
    return put_block(varint_write(out, (uint32_t)properties_size(p)), p);
}
