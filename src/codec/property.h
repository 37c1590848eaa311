/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT 5.0 properties (section 2.2.2). One table says of each property its type, the packets it may
 * be in, whether it may repeat and which values are legal; decoding is one loop over that table.
 * To add a property: one line in the table, one field here. Pure.
 */
#ifndef CODEC_PROPERTY_H
#define CODEC_PROPERTY_H

#include "base/bytes.h"
#include "model/reason.h"

enum property_id {
    PROPERTY_PAYLOAD_FORMAT_INDICATOR = 1,
    PROPERTY_MESSAGE_EXPIRY_INTERVAL = 2,
    PROPERTY_CONTENT_TYPE = 3,
    PROPERTY_RESPONSE_TOPIC = 8,
    PROPERTY_CORRELATION_DATA = 9,
    PROPERTY_SUBSCRIPTION_IDENTIFIER = 11,
    PROPERTY_SESSION_EXPIRY_INTERVAL = 17,
    PROPERTY_ASSIGNED_CLIENT_IDENTIFIER = 18,
    PROPERTY_SERVER_KEEP_ALIVE = 19,
    PROPERTY_AUTHENTICATION_METHOD = 21,
    PROPERTY_AUTHENTICATION_DATA = 22,
    PROPERTY_REQUEST_PROBLEM_INFORMATION = 23,
    PROPERTY_WILL_DELAY_INTERVAL = 24,
    PROPERTY_REQUEST_RESPONSE_INFORMATION = 25,
    PROPERTY_RESPONSE_INFORMATION = 26,
    PROPERTY_SERVER_REFERENCE = 28,
    PROPERTY_REASON_STRING = 31,
    PROPERTY_RECEIVE_MAXIMUM = 33,
    PROPERTY_TOPIC_ALIAS_MAXIMUM = 34,
    PROPERTY_TOPIC_ALIAS = 35,
    PROPERTY_MAXIMUM_QOS = 36,
    PROPERTY_RETAIN_AVAILABLE = 37,
    PROPERTY_USER_PROPERTY = 38,
    PROPERTY_MAXIMUM_PACKET_SIZE = 39,
    PROPERTY_WILDCARD_SUBSCRIPTION_AVAILABLE = 40,
    PROPERTY_SUBSCRIPTION_IDENTIFIER_AVAILABLE = 41,
    PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE = 42,
};

/* Where a block of properties stands: enum packet_type, or the will of CONNECT. */
enum { PROPERTIES_OF_WILL = 0 };

/*
 * All properties of one block. A field means something only when its bit is in `present`; use
 * property_present(), unless 0 says the same: decoding sets to 0 what is not there. Encoding writes
 * the fields whose bits are set, in the order of their ids, user properties last; decoding accepts
 * any order.
 */
struct properties {
    uint64_t present; /* bit n: property with id n */
    struct bytes content_type, response_topic, correlation_data;
    struct bytes assigned_client_id, authentication_method, authentication_data;
    struct bytes response_information, server_reference, reason_string;
    /* Decoded: the whole block, to be walked with properties_next_user(). To be encoded: user
     * properties in their wire form (id, name, value; repeated), or empty. */
    struct bytes user;
    uint32_t message_expiry_s, session_expiry_s, will_delay_s, maximum_packet_size;
    uint32_t subscription_identifier; /* decoded PUBLISH: the first of them */
    uint16_t server_keep_alive_s, receive_maximum, topic_alias_maximum, topic_alias;
    uint8_t payload_format, request_problem_information, request_response_information;
    uint8_t maximum_qos, retain_available, wildcard_available, subscription_identifier_available;
    uint8_t shared_available;
};

static inline bool property_present(const struct properties *p, enum property_id id)
{
    return (p->present >> id) & 1;
}

static inline void property_set(struct properties *p, enum property_id id)
{
    p->present |= (uint64_t)1 << id;
}

/* No properties: the cheap way to begin, as the fields mean nothing then. */
static inline void properties_init(struct properties *p)
{
    p->present = 0;
    p->user = (struct bytes){0};
}

/*
 * Reads the property length and the block at the start of *in and moves *in behind it.
 * MQTT_SUCCESS; MQTT_MALFORMED_PACKET for truncation, an unknown or misplaced property or bad
 * UTF-8; MQTT_PROTOCOL_ERROR for a duplicate or a value that the standard forbids. Spans borrow
 * from *in.
 */
enum mqtt_reason properties_decode(struct bytes *in, int where, struct properties *out);

/* Bytes of the block without its length. */
size_t properties_size(const struct properties *p);

/* Writes length and block (at least one byte: a length of 0); gives the end. The caller made room
 * for properties_size() + varint_size(properties_size()). */
uint8_t *properties_encode(uint8_t *out, const struct properties *p);

/* Copies from a decoded block of PUBLISH or of a will what goes on to subscribers: all but topic
 * alias, expiry interval, subscription identifiers and will delay. Gives its size; room for
 * block.len. */
size_t properties_forward(struct bytes block, uint8_t *out);

/* How often a property stands in a decoded block. */
uint32_t properties_count(struct bytes block, enum property_id wanted);

/* Bytes of the user properties of a decoded block. */
size_t properties_user_size(struct bytes block);

/* Walks the user properties of a decoded block in order: start with *rest = properties.user; false
 * at the end. */
bool properties_next_user(struct bytes *rest, struct bytes *name, struct bytes *value);

/* "session_expiry_interval" -> its id, 0 when there is no such property. For tools and tests. */
int property_find(const char *name);

#endif
