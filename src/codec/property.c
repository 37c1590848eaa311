/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of MQTT 5.0 properties and the loops over it: decode, size, encode. A new property is
 * one line in rules[], one id and one field in property.h.
 */
#include "codec/property.h"

#include "base/check.h"
#include "codec/property_walk.h"
#include "model/topic.h"

enum property_type {
    TYPE_NONE, /* no such property */
    TYPE_BYTE,
    TYPE_U16,
    TYPE_U32,
    TYPE_VARINT,
    TYPE_BINARY,
    TYPE_STRING,
    TYPE_TOPIC, /* a string that is a topic name */
    TYPE_PAIR,
};

struct property_rule {
    const char *name;
    uint8_t type;      /* enum property_type */
    uint8_t bad_value; /* reason code for a number that is not in min..max */
    uint16_t packets;  /* bit n: packet type n may have it; bit 0: the will */
    uint16_t repeats;  /* the same: where it may stand more than once */
    uint32_t min, max; /* of numbers */
    size_t field;      /* offset in struct properties */
};

enum {
    IN_WILL = 1 << PROPERTIES_OF_WILL,
    IN_CONNECT = 1 << PACKET_CONNECT,
    IN_CONNACK = 1 << PACKET_CONNACK,
    IN_PUBLISH = 1 << PACKET_PUBLISH,
    IN_SUBSCRIBE = 1 << PACKET_SUBSCRIBE,
    IN_DISCONNECT = 1 << PACKET_DISCONNECT,
    IN_AUTH = 1 << PACKET_AUTH,
    IN_MESSAGE = IN_PUBLISH | IN_WILL,
    IN_ANSWERS = IN_CONNACK | 1 << PACKET_PUBACK | 1 << PACKET_PUBREC | 1 << PACKET_PUBREL |
                 1 << PACKET_PUBCOMP | 1 << PACKET_SUBACK | 1 << PACKET_UNSUBACK | IN_DISCONNECT |
                 IN_AUTH,
    IN_ALL = IN_ANSWERS | IN_CONNECT | IN_MESSAGE | IN_SUBSCRIBE | 1 << PACKET_UNSUBSCRIBE,
};

enum { PROPERTY_IDS = PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE + 1 };

#define NUMBER(name_, type_, packets_, repeats_, min_, max_, field_)                               \
    {                                                                                              \
        .name = (name_), .type = (type_), .bad_value = MQTT_PROTOCOL_ERROR, .packets = (packets_), \
        .repeats = (repeats_), .min = (min_), .max = (max_),                                       \
        .field = offsetof(struct properties, field_),                                              \
    }
#define FLAG(name_, packets_, field_) NUMBER(name_, TYPE_BYTE, packets_, 0, 0, 1, field_)
#define TEXT(name_, type_, packets_, field_)                                                       \
    {                                                                                              \
        .name = (name_), .type = (type_), .packets = (packets_),                                   \
        .field = offsetof(struct properties, field_),                                              \
    }

/* clang-format off */
/* One for each value of the byte that is an id, so no id is out of range; most are in no packet. */
static const struct property_rule rules[UINT8_MAX + 1] = {
    [PROPERTY_PAYLOAD_FORMAT_INDICATOR] =
        FLAG("payload_format_indicator", IN_MESSAGE, payload_format),
    [PROPERTY_MESSAGE_EXPIRY_INTERVAL] =
        NUMBER("message_expiry_interval", TYPE_U32, IN_MESSAGE, 0, 0, UINT32_MAX, message_expiry_s),
    [PROPERTY_CONTENT_TYPE] =
        TEXT("content_type", TYPE_STRING, IN_MESSAGE, content_type),
    [PROPERTY_RESPONSE_TOPIC] =
        TEXT("response_topic", TYPE_TOPIC, IN_MESSAGE, response_topic),
    [PROPERTY_CORRELATION_DATA] =
        TEXT("correlation_data", TYPE_BINARY, IN_MESSAGE, correlation_data),
    [PROPERTY_SUBSCRIPTION_IDENTIFIER] =
        NUMBER("subscription_identifier", TYPE_VARINT, IN_PUBLISH | IN_SUBSCRIBE, IN_PUBLISH,
               1, VARINT_MAX, subscription_identifier),
    [PROPERTY_SESSION_EXPIRY_INTERVAL] =
        NUMBER("session_expiry_interval", TYPE_U32, IN_CONNECT | IN_CONNACK | IN_DISCONNECT, 0,
               0, UINT32_MAX, session_expiry_s),
    [PROPERTY_ASSIGNED_CLIENT_IDENTIFIER] =
        TEXT("assigned_client_identifier", TYPE_STRING, IN_CONNACK, assigned_client_id),
    [PROPERTY_SERVER_KEEP_ALIVE] =
        NUMBER("server_keep_alive", TYPE_U16, IN_CONNACK, 0, 0, UINT16_MAX, server_keep_alive_s),
    [PROPERTY_AUTHENTICATION_METHOD] =
        TEXT("authentication_method", TYPE_STRING, IN_CONNECT | IN_CONNACK | IN_AUTH,
             authentication_method),
    [PROPERTY_AUTHENTICATION_DATA] =
        TEXT("authentication_data", TYPE_BINARY, IN_CONNECT | IN_CONNACK | IN_AUTH,
             authentication_data),
    [PROPERTY_REQUEST_PROBLEM_INFORMATION] =
        FLAG("request_problem_information", IN_CONNECT, request_problem_information),
    [PROPERTY_WILL_DELAY_INTERVAL] =
        NUMBER("will_delay_interval", TYPE_U32, IN_WILL, 0, 0, UINT32_MAX, will_delay_s),
    [PROPERTY_REQUEST_RESPONSE_INFORMATION] =
        FLAG("request_response_information", IN_CONNECT, request_response_information),
    [PROPERTY_RESPONSE_INFORMATION] =
        TEXT("response_information", TYPE_STRING, IN_CONNACK, response_information),
    [PROPERTY_SERVER_REFERENCE] =
        TEXT("server_reference", TYPE_STRING, IN_CONNACK | IN_DISCONNECT, server_reference),
    [PROPERTY_REASON_STRING] =
        TEXT("reason_string", TYPE_STRING, IN_ANSWERS, reason_string),
    [PROPERTY_RECEIVE_MAXIMUM] =
        NUMBER("receive_maximum", TYPE_U16, IN_CONNECT | IN_CONNACK, 0, 1, UINT16_MAX,
               receive_maximum),
    [PROPERTY_TOPIC_ALIAS_MAXIMUM] =
        NUMBER("topic_alias_maximum", TYPE_U16, IN_CONNECT | IN_CONNACK, 0, 0, UINT16_MAX,
               topic_alias_maximum),
    [PROPERTY_TOPIC_ALIAS] = {
        .name = "topic_alias", .type = TYPE_U16, .bad_value = MQTT_TOPIC_ALIAS_INVALID,
        .packets = IN_PUBLISH, .min = 1, .max = UINT16_MAX,
        .field = offsetof(struct properties, topic_alias),
    },
    [PROPERTY_MAXIMUM_QOS] =
        FLAG("maximum_qos", IN_CONNACK, maximum_qos),
    [PROPERTY_RETAIN_AVAILABLE] =
        FLAG("retain_available", IN_CONNACK, retain_available),
    [PROPERTY_USER_PROPERTY] = {
        .name = "user_property", .type = TYPE_PAIR, .packets = IN_ALL, .repeats = IN_ALL,
    },
    [PROPERTY_MAXIMUM_PACKET_SIZE] =
        NUMBER("maximum_packet_size", TYPE_U32, IN_CONNECT | IN_CONNACK, 0, 1, UINT32_MAX,
               maximum_packet_size),
    [PROPERTY_WILDCARD_SUBSCRIPTION_AVAILABLE] =
        FLAG("wildcard_subscription_available", IN_CONNACK, wildcard_available),
    [PROPERTY_SUBSCRIPTION_IDENTIFIER_AVAILABLE] =
        FLAG("subscription_identifier_available", IN_CONNACK, subscription_identifier_available),
    [PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE] =
        FLAG("shared_subscription_available", IN_CONNACK, shared_available),
};
/* clang-format on */

/* ---- one property ------------------------------------------------------------------------------
 */

static void read_value(struct reader *r, const struct property_rule *rule, struct property *out)
{
    out->number = 0;
    out->text = out->value = bytes_of(r->at, 0);
    switch (rule->type) {
    case TYPE_BYTE:
        out->number = read_u8(r);
        break;
    case TYPE_U16:
        out->number = read_u16(r);
        break;
    case TYPE_U32:
        out->number = read_u32(r);
        break;
    case TYPE_VARINT:
        out->number = read_varint(r);
        break;
    case TYPE_BINARY:
    case TYPE_STRING:
    case TYPE_TOPIC:
        out->text = read_binary(r);
        break;
    case TYPE_PAIR:
        out->text = read_binary(r);
        out->value = read_binary(r);
        break;
    default:
        UNREACHABLE();
    }
}

static enum mqtt_reason check_value(const struct property_rule *rule, const struct property *p)
{
    switch (rule->type) {
    case TYPE_BINARY:
        return MQTT_SUCCESS;
    case TYPE_STRING:
        return utf8_valid_mqtt(p->text) ? MQTT_SUCCESS : MQTT_MALFORMED_PACKET;
    case TYPE_TOPIC:
        if (!utf8_valid_mqtt(p->text))
            return MQTT_MALFORMED_PACKET;
        return topic_name_valid(p->text) ? MQTT_SUCCESS : MQTT_PROTOCOL_ERROR;
    case TYPE_PAIR: /* [MQTT-1.5.7-1] */
        if (!utf8_valid_mqtt(p->text) || !utf8_valid_mqtt(p->value))
            return MQTT_MALFORMED_PACKET;
        return MQTT_SUCCESS;
    default:
        if (p->number < rule->min || p->number > rule->max)
            return (enum mqtt_reason)rule->bad_value;
        return MQTT_SUCCESS;
    }
}

enum mqtt_reason property_read(struct reader *r, int where, uint64_t *seen, struct property *out)
{
    const uint8_t *start = r->at;
    out->id = read_u8(r); /* a variable byte integer, but all that are known take one byte */
    const struct property_rule *rule = &rules[out->id];
    if ((rule->packets >> where & 1) == 0)
        return MQTT_MALFORMED_PACKET;
    read_value(r, rule, out);
    if (r->failed)
        return MQTT_MALFORMED_PACKET;
    uint64_t bit = (uint64_t)1 << out->id;
    if ((*seen & bit) != 0 && (rule->repeats >> where & 1) == 0)
        return MQTT_PROTOCOL_ERROR;
    *seen |= bit;
    out->raw = bytes_of(start, (size_t)(r->at - start));
    return check_value(rule, out);
}

bool property_skim(struct bytes *rest, struct property *out)
{
    if (rest->len == 0)
        return false;
    struct reader r = reader_of(*rest);
    out->id = read_u8(&r);
    const struct property_rule *rule = &rules[out->id];
    CHECK(rule->type != TYPE_NONE);
    read_value(&r, rule, out);
    CHECK(!r.failed);
    out->raw = bytes_of(rest->data, (size_t)(r.at - rest->data));
    *rest = bytes_of(r.at, reader_left(&r));
    return true;
}

/* ---- decode ------------------------------------------------------------------------------------
 */

static void store(struct properties *to, const struct property *p)
{
    const struct property_rule *rule = &rules[p->id];
    void *field = (char *)to + rule->field;
    switch (rule->type) {
    case TYPE_BYTE:
        *(uint8_t *)field = (uint8_t)p->number;
        break;
    case TYPE_U16:
        *(uint16_t *)field = (uint16_t)p->number;
        break;
    case TYPE_U32:
    case TYPE_VARINT:
        *(uint32_t *)field = p->number;
        break;
    case TYPE_PAIR: /* stays in the block */
        break;
    default:
        *(struct bytes *)field = p->text;
        break;
    }
}

enum mqtt_reason properties_decode(struct bytes *in, int where, struct properties *out)
{
    *out = (struct properties){0};
    struct reader r = reader_of(*in);
    struct reader block = properties_open(&r);
    if (r.failed)
        return MQTT_MALFORMED_PACKET;
    *in = bytes_of(r.at, reader_left(&r));
    out->user = bytes_of(block.at, reader_left(&block));
    while (reader_left(&block) > 0) {
        uint64_t before = out->present;
        struct property p;
        enum mqtt_reason reason = property_read(&block, where, &out->present, &p);
        if (reason != MQTT_SUCCESS)
            return reason;
        if (out->present != before) /* of those that repeat, the first */
            store(out, &p);
    }
    return MQTT_SUCCESS;
}

/* ---- what is in a decoded block ----------------------------------------------------------------
 */

static bool forwarded(uint8_t id)
{
    switch (id) {
    case PROPERTY_TOPIC_ALIAS:
    case PROPERTY_MESSAGE_EXPIRY_INTERVAL:
    case PROPERTY_SUBSCRIPTION_IDENTIFIER:
    case PROPERTY_WILL_DELAY_INTERVAL:
        return false;
    default:
        return true;
    }
}

size_t properties_forward(struct bytes block, uint8_t *out)
{
    uint8_t *at = out;
    struct property p;
    while (property_skim(&block, &p))
        if (forwarded(p.id))
            at = write_raw(at, p.raw);
    return (size_t)(at - out);
}

uint32_t properties_count(struct bytes block, enum property_id wanted)
{
    uint32_t count = 0;
    struct property p;
    while (property_skim(&block, &p))
        count += p.id == wanted;
    return count;
}

size_t properties_user_size(struct bytes block)
{
    size_t size = 0;
    struct property p;
    while (property_skim(&block, &p))
        if (p.id == PROPERTY_USER_PROPERTY)
            size += p.raw.len;
    return size;
}

bool properties_next_user(struct bytes *rest, struct bytes *name, struct bytes *value)
{
    struct property p;
    while (property_skim(rest, &p)) {
        if (p.id == PROPERTY_USER_PROPERTY) {
            *name = p.text;
            *value = p.value;
            return true;
        }
    }
    return false;
}

/* ---- encode ------------------------------------------------------------------------------------
 */

static uint8_t *write_user(uint8_t *out, struct bytes block)
{
    struct property p;
    while (property_skim(&block, &p))
        if (p.id == PROPERTY_USER_PROPERTY)
            out = write_raw(out, p.raw);
    return out;
}

static size_t value_size(const struct property_rule *rule, const void *field)
{
    switch (rule->type) {
    case TYPE_BYTE:
        return 1;
    case TYPE_U16:
        return 2;
    case TYPE_U32:
        return 4;
    case TYPE_VARINT:
        return varint_size(*(const uint32_t *)field);
    default:
        return 2 + ((const struct bytes *)field)->len;
    }
}

static uint8_t *write_value(uint8_t *out, const struct property_rule *rule, const void *field)
{
    switch (rule->type) {
    case TYPE_BYTE:
        return write_u8(out, *(const uint8_t *)field);
    case TYPE_U16:
        return write_u16(out, *(const uint16_t *)field);
    case TYPE_U32:
        return write_u32(out, *(const uint32_t *)field);
    case TYPE_VARINT:
        return varint_write(out, *(const uint32_t *)field);
    default:
        return write_binary(out, *(const struct bytes *)field);
    }
}

/* The ids of `present` that have a field, lowest first; 0 at the end. */
static uint8_t take_id(uint64_t *present)
{
    *present &= ~((uint64_t)1 << PROPERTY_USER_PROPERTY);
    if (*present == 0)
        return 0;
    uint8_t id = (uint8_t)__builtin_ctzll(*present);
    *present &= *present - 1;
    CHECK(rules[id].type != TYPE_NONE);
    return id;
}

static bool has_user(const struct properties *p)
{
    return property_present(p, PROPERTY_USER_PROPERTY);
}

size_t properties_size(const struct properties *p)
{
    size_t size = has_user(p) ? properties_user_size(p->user) : 0;
    uint64_t present = p->present;
    uint8_t id;
    while ((id = take_id(&present)) != 0)
        size += 1 + value_size(&rules[id], (const char *)p + rules[id].field);
    return size;
}

static uint8_t *write_block(uint8_t *out, const struct properties *p)
{
    uint64_t present = p->present;
    uint8_t id;
    while ((id = take_id(&present)) != 0) {
        out = write_u8(out, id);
        out = write_value(out, &rules[id], (const char *)p + rules[id].field);
    }
    return has_user(p) ? write_user(out, p->user) : out;
}

uint8_t *properties_encode(uint8_t *out, const struct properties *p)
{
    return write_block(varint_write(out, (uint32_t)properties_size(p)), p);
}

struct properties properties_fit(const struct properties *p, size_t others, size_t room)
{
    struct properties fitted = *p;
    if (packet_size(others + properties_whole_size(&fitted)) > room)
        fitted.present &= ~((uint64_t)1 << PROPERTY_USER_PROPERTY);
    if (packet_size(others + properties_whole_size(&fitted)) > room)
        fitted.present &= ~((uint64_t)1 << PROPERTY_REASON_STRING);
    return fitted;
}

int property_find(const char *name)
{
    for (int id = 1; id < PROPERTY_IDS; id++)
        if (rules[id].type != TYPE_NONE && strcmp(rules[id].name, name) == 0)
            return id;
    return 0;
}
