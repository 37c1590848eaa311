/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every MQTT control packet, both directions, versions 3.1, 3.1.1 and 5.0, as plain structs. All
 * spans are borrowed: decoded ones point into the packet's bytes. Pure: no I/O, no clock, no log,
 * no allocation. Decoders take a complete frame body and check every length, flag and string, so
 * what they accept is well-formed; they return MQTT_SUCCESS or the reason code of section 4.13 for
 * what is wrong. Encoders give the size of the whole packet and write it only when it is <= room.
 */
#ifndef CODEC_PACKET_H
#define CODEC_PACKET_H

#include "codec/frame.h"
#include "codec/property.h"
#include "model/message.h"
#include "model/reason.h"
#include "model/subscription.h"
#include "model/version.h"

/* ---- CONNECT (3.1) --------------------------------------------------------------------------- */

struct connect {
    bool name_known; /* the protocol name is "MQTT", or goes with its level */
    enum mqtt_version version;
    bool clean_start;
    uint16_t keep_alive_s;
    struct bytes client_id;
    struct properties properties;

    bool has_will;
    uint8_t will_qos;
    bool will_retain;
    struct bytes will_topic, will_payload;
    struct properties will_properties;

    bool has_user_name, has_password;
    struct bytes user_name, password;
};

/*
 * Gives MQTT_UNSUPPORTED_PROTOCOL_VERSION for a protocol name or level that is not ours; then
 * connect->version is the level byte if the name was right, else 0. On any other error
 * connect->version says how far we know whom we talk to (0: not known).
 */
enum mqtt_reason connect_decode(const struct frame *frame, struct connect *connect);
size_t connect_encode(const struct connect *connect, uint8_t *out, size_t room);

/* ---- CONNACK (3.2) --------------------------------------------------------------------------- */

struct connack {
    bool session_present;
    uint8_t reason;               /* 5.0: reason code; 3.x: return code 0..5 */
    struct properties properties; /* 5.0 */
};

enum mqtt_reason connack_decode(const struct frame *frame, enum mqtt_version version,
                                struct connack *connack);
/* When the packet would be larger than room, reason string and user properties are left out
 * [MQTT-3.2.2-19, MQTT-3.2.2-20]; a result > room means that even this did not help. */
size_t connack_encode(const struct connack *connack, enum mqtt_version version, uint8_t *out,
                      size_t room);

/* ---- PUBLISH (3.3) --------------------------------------------------------------------------- */

struct publish {
    bool dup, retain;
    uint8_t qos;
    uint16_t packet_id; /* 0 with QoS 0 */
    struct bytes topic; /* may be empty in 5.0 with a topic alias */
    struct bytes payload;

    /* 5.0 */
    uint16_t topic_alias; /* meaningless unless has_topic_alias */
    bool has_topic_alias, has_expiry;
    bool payload_is_utf8; /* payload format indicator 1 */
    uint8_t payload_format_present;
    uint32_t expiry_s;
    uint32_t subscription_identifiers; /* how many are in the block */
    struct bytes properties;           /* the whole block, without its length */
    /* True when `properties` holds nothing but what is forwarded unaltered (no alias, expiry,
     * subscription identifier), so that it can be used as struct publication.properties as it
     * stands. */
    bool properties_forwardable;
};

/* Checks the topic name (UTF-8, no wildcards, no U+0000) and the response topic too. */
enum mqtt_reason publish_decode(const struct frame *frame, enum mqtt_version version,
                                struct publish *publish);

/* Copies the forwardable properties of a decoded block to `out` (room for block.len), in order;
 * gives their size. */
size_t publish_properties_strip(struct bytes block, uint8_t *out);

/* Finds the n-th subscription identifier of a decoded block (n from 0); 0 when there is none. */
uint32_t publish_subscription_identifier(struct bytes block, uint32_t n);

/* How to send a publication to one receiver. */
struct publish_form {
    enum mqtt_version version;
    uint8_t qos;
    bool dup, retain;
    uint16_t packet_id; /* qos > 0 */
    /* 5.0 */
    uint16_t topic_alias;   /* 0: none */
    bool topic_left_out;    /* send an empty topic; topic_alias stands for it */
    uint32_t expiry_left_s; /* written when the publication has an expiry */
    const uint32_t *subscription_identifiers;
    uint32_t subscription_identifier_count;
};

/* Size of everything before the payload, so header + payload.len is the packet. */
size_t publish_header_size(const struct publication *publication, const struct publish_form *form);

/* Writes everything before the payload; the caller made room for publish_header_size(). Gives the
 * end. */
uint8_t *publish_header_encode(uint8_t *out, const struct publication *publication,
                               const struct publish_form *form);

/* ---- PUBACK, PUBREC, PUBREL, PUBCOMP (3.4 - 3.7) --------------------------------------------- */

struct ack {
    uint8_t type; /* enum packet_type */
    uint16_t packet_id;
    uint8_t reason;               /* 5.0; 0 in 3.x */
    struct properties properties; /* 5.0 */
};

enum mqtt_reason ack_decode(const struct frame *frame, enum mqtt_version version, struct ack *ack);

/* The usual acknowledgement, without properties: writes 4 bytes (5 with a reason in 5.0); gives the
 * end. Room for 6. In 3.x the reason is left out. */
uint8_t *ack_write(uint8_t *out, enum mqtt_version version, uint8_t type, uint16_t packet_id,
                   uint8_t reason);
/* With properties; reason string and user properties give way as in connack_encode(). */
size_t ack_encode(const struct ack *ack, enum mqtt_version version, uint8_t *out, size_t room);

/* ---- SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (3.8 - 3.11) ----------------------------------- */

struct subscribe {
    uint16_t packet_id;
    struct properties properties;
    struct bytes filters; /* the payload; walk it with subscribe_next() */
    uint32_t count;       /* of filters, at least 1 */
};

struct subscribe_filter {
    struct bytes filter; /* valid UTF-8; whether it is a legal filter is not checked */
    struct subscription_options options;
};

/* Options bytes are checked here (reserved bits, QoS 3, retain handling 3). */
enum mqtt_reason subscribe_decode(const struct frame *frame, enum mqtt_version version,
                                  struct subscribe *subscribe);
/* Start with *rest = subscribe.filters; false at the end. options.identifier is 0. */
bool subscribe_next(struct bytes *rest, enum mqtt_version version, struct subscribe_filter *filter);
/* properties may be NULL: none. */
size_t subscribe_encode(uint16_t packet_id, enum mqtt_version version,
                        const struct properties *properties, const struct subscribe_filter *filters,
                        size_t count, uint8_t *out, size_t room);

struct unsubscribe {
    uint16_t packet_id;
    struct properties properties;
    struct bytes filters;
    uint32_t count;
};

enum mqtt_reason unsubscribe_decode(const struct frame *frame, enum mqtt_version version,
                                    struct unsubscribe *unsubscribe);
bool unsubscribe_next(struct bytes *rest, struct bytes *filter);
/* properties may be NULL: none. */
size_t unsubscribe_encode(uint16_t packet_id, enum mqtt_version version,
                          const struct properties *properties, const struct bytes *filters,
                          size_t count, uint8_t *out, size_t room);

/* SUBACK and UNSUBACK. */
struct suback {
    uint8_t type; /* PACKET_SUBACK or PACKET_UNSUBACK */
    uint16_t packet_id;
    struct properties properties;
    struct bytes reasons; /* one a filter; none in a 3.x UNSUBACK */
};

enum mqtt_reason suback_decode(const struct frame *frame, enum mqtt_version version,
                               struct suback *suback);
/* 3.x: reasons >= 0x80 are written as 0x80, and as they are in 3.1.1 otherwise; a 3.x UNSUBACK has
 * none. Reason string and user properties give way as in connack_encode(). */
size_t suback_encode(const struct suback *suback, enum mqtt_version version, uint8_t *out,
                     size_t room);

/* ---- PINGREQ, PINGRESP, DISCONNECT, AUTH (3.12 - 3.15) --------------------------------------- */

/* Flags and an empty body; for PINGREQ, PINGRESP and the DISCONNECT of 3.x. */
enum mqtt_reason empty_decode(const struct frame *frame);
/* Writes the two bytes of PINGREQ, PINGRESP or a plain DISCONNECT; gives the end. */
uint8_t *empty_write(uint8_t *out, enum packet_type type);

struct disconnect {
    uint8_t reason;
    struct properties properties;
};

/* Whether the reason is one that this side may receive is the connection's business. */
enum mqtt_reason disconnect_decode(const struct frame *frame, enum mqtt_version version,
                                   struct disconnect *disconnect);
/* 3.x: two bytes. Reason string and user properties give way as in connack_encode(). */
size_t disconnect_encode(const struct disconnect *disconnect, enum mqtt_version version,
                         uint8_t *out, size_t room);

struct auth {
    uint8_t reason;               /* 0x00, 0x18 or 0x19 */
    struct properties properties; /* authentication method always present once decoded */
};

enum mqtt_reason auth_decode(const struct frame *frame, struct auth *auth);
size_t auth_encode(const struct auth *auth, uint8_t *out, size_t room);

#endif
