/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client_properties.h"

#include "base/memory.h"
#include "codec/packet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_LEN = 64, WORD_MAX = UINT16_MAX };

enum wire_kind {
    WIRE_TEXT, /* two bytes of length; also binary data */
    WIRE_PAIR,
    WIRE_U8,
    WIRE_U16,
    WIRE_U32,
    WIRE_VARINT,
};

static const struct {
    const char *name;
    int where;
} places[PROPERTY_PLACES] = {
    [PLACE_CONNECT] = {"connect", PACKET_CONNECT},
    [PLACE_PUBLISH] = {"publish", PACKET_PUBLISH},
    [PLACE_SUBSCRIBE] = {"subscribe", PACKET_SUBSCRIBE},
    [PLACE_UNSUBSCRIBE] = {"unsubscribe", PACKET_UNSUBSCRIBE},
    [PLACE_DISCONNECT] = {"disconnect", PACKET_DISCONNECT},
    [PLACE_WILL] = {"will", PROPERTIES_OF_WILL},
};

static enum wire_kind kind_of(int id)
{
    switch (id) {
    case PROPERTY_USER_PROPERTY:
        return WIRE_PAIR;
    case PROPERTY_MESSAGE_EXPIRY_INTERVAL:
    case PROPERTY_SESSION_EXPIRY_INTERVAL:
    case PROPERTY_WILL_DELAY_INTERVAL:
    case PROPERTY_MAXIMUM_PACKET_SIZE:
        return WIRE_U32;
    case PROPERTY_SERVER_KEEP_ALIVE:
    case PROPERTY_RECEIVE_MAXIMUM:
    case PROPERTY_TOPIC_ALIAS_MAXIMUM:
    case PROPERTY_TOPIC_ALIAS:
        return WIRE_U16;
    case PROPERTY_SUBSCRIPTION_IDENTIFIER:
        return WIRE_VARINT;
    case PROPERTY_PAYLOAD_FORMAT_INDICATOR:
    case PROPERTY_REQUEST_PROBLEM_INFORMATION:
    case PROPERTY_REQUEST_RESPONSE_INFORMATION:
    case PROPERTY_MAXIMUM_QOS:
    case PROPERTY_RETAIN_AVAILABLE:
    case PROPERTY_WILDCARD_SUBSCRIPTION_AVAILABLE:
    case PROPERTY_SUBSCRIPTION_IDENTIFIER_AVAILABLE:
    case PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE:
        return WIRE_U8;
    default:
        return WIRE_TEXT;
    }
}

static uint8_t *write_text(uint8_t *at, const char *text)
{
    size_t len = strlen(text);

    *at++ = (uint8_t)(len >> 8);
    *at++ = (uint8_t)len;
    memcpy(at, text, len);
    return at + len;
}

static uint8_t *write_number(uint8_t *at, uint64_t number, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *at++ = (uint8_t)(number >> (8 * i));
    return at;
}

/* The value as a number up to `max`; fails the walk. */
static uint64_t number_of(struct options *o, const char *name, const char *value, uint64_t max)
{
    char *end = NULL;

    errno = 0;
    uint64_t number = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number > max)
        options_fail(o, "%s: '%s' is not a number from 0 to %llu", name, value,
                     (unsigned long long)max);
    return o->ended ? 0 : number;
}

static uint8_t *write_value(uint8_t *at, struct options *o, int id, const char *name,
                            const char *value, const char *second)
{
    switch (kind_of(id)) {
    case WIRE_U8:
        return write_number(at, number_of(o, name, value, UINT8_MAX), 1);
    case WIRE_U16:
        return write_number(at, number_of(o, name, value, UINT16_MAX), 2);
    case WIRE_U32:
        return write_number(at, number_of(o, name, value, UINT32_MAX), 4);
    case WIRE_VARINT:
        return varint_write(at, (uint32_t)number_of(o, name, value, VARINT_MAX));
    case WIRE_PAIR:
        return write_text(write_text(at, value), second);
    case WIRE_TEXT:
        break;
    }
    return write_text(at, value);
}

static void add(struct property_block *block, struct options *o, int id, const char *name,
                const char *value, const char *second)
{
    size_t room = 1 + 2 + strlen(value) + 2 + strlen(second) + sizeof(uint64_t);
    uint8_t *made = mem_new(room);

    made[0] = (uint8_t)id;
    size_t size = (size_t)(write_value(made + 1, o, id, name, value, second) - made);
    block->data = mem_resize(block->data, block->len + size);
    memcpy(block->data + block->len, made, size);
    block->len += size;
    mem_free(made);
}

/* "session-expiry-interval" -> its id, 0. */
static int find_id(const char *name)
{
    char with_underscores[NAME_MAX_LEN];
    size_t len = strlen(name);

    if (len >= sizeof(with_underscores))
        return 0;
    for (size_t i = 0; i <= len; i++)
        with_underscores[i] = name[i] == '-' ? '_' : name[i];
    return property_find(with_underscores);
}

void properties_take(struct property_block blocks[PROPERTY_PLACES], struct options *o)
{
    const char *packet = o->value, *name = options_word(o), *value = options_word(o);
    const char *second = "";
    int id = find_id(name), place = 0;

    if (!o->ended && id == PROPERTY_USER_PROPERTY)
        second = options_word(o);
    while (place < PROPERTY_PLACES && strcasecmp(packet, places[place].name) != 0)
        place++;
    if (o->ended)
        return;
    if (place == PROPERTY_PLACES)
        options_fail(o,
                     "-D: '%s' is none of connect, publish, subscribe, unsubscribe, disconnect, "
                     "will",
                     packet);
    else if (id == 0)
        options_fail(o, "-D: there is no property '%s'", name);
    else if (strlen(value) > WORD_MAX || strlen(second) > WORD_MAX)
        options_fail(o, "-D %s: at most %d bytes", name, WORD_MAX);
    else
        add(&blocks[place], o, id, name, value, second);
}

void properties_finish(struct property_block blocks[PROPERTY_PLACES], struct options *o)
{
    for (int place = 0; place < PROPERTY_PLACES && !o->ended; place++) {
        struct property_block *block = &blocks[place];
        if (block->len == 0)
            continue;
        if (block->len > VARINT_MAX) {
            options_fail(o, "-D %s: too much", places[place].name);
            return;
        }
        size_t prefix = block->prefix = varint_size((uint32_t)block->len);
        block->data = mem_resize(block->data, block->len + prefix);
        memmove(block->data + prefix, block->data, block->len);
        varint_write(block->data, (uint32_t)block->len);
        struct bytes in = bytes_of(block->data, block->len + prefix);
        enum mqtt_reason reason = properties_decode(&in, places[place].where, &block->properties);
        if (reason != MQTT_SUCCESS)
            options_fail(o,
                         "-D: a property that %s does not have, has twice, or not with this "
                         "value",
                         places[place].name);
    }
}

void properties_free(struct property_block blocks[PROPERTY_PLACES])
{
    for (int place = 0; place < PROPERTY_PLACES; place++)
        mem_free(blocks[place].data);
}
