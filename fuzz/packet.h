/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of packets of one version, of any bytes. What is decoded is encoded again; that must
 * decode too, encode to the same bytes, and never be longer than what came in.
 */
#ifndef FUZZ_PACKET_H
#define FUZZ_PACKET_H

#include "base/check.h"
#include "codec/packet.h"

#include <stdlib.h>

/* A packet as the encoders write it. */
struct rewritten {
    uint8_t *data;
    size_t size, room;
};

static inline void rewrite_publish(const struct publish *p, enum mqtt_version version,
                                   struct rewritten *out)
{
    uint8_t *forwarded = malloc(p->properties.len + 1);
    uint32_t *identifiers = malloc((p->subscription_identifiers + 1) * sizeof(*identifiers));
    for (uint32_t i = 0; i < p->subscription_identifiers; i++)
        CHECK((identifiers[i] = publish_subscription_identifier(p->properties, i)) != 0);
    struct publication publication = {
        .topic = p->topic,
        .payload = p->payload,
        .has_expiry = p->has_expiry,
    };
    if (version == MQTT_V5)
        publication.properties =
            bytes_of(forwarded, publish_properties_strip(p->properties, forwarded));
    if (p->properties_forwardable && version == MQTT_V5)
        CHECK(bytes_equal(publication.properties, p->properties));
    struct publish_form form = {
        .version = version,
        .qos = p->qos,
        .dup = p->dup,
        .retain = p->retain,
        .packet_id = p->packet_id,
        .topic_alias = p->has_topic_alias ? p->topic_alias : 0,
        .topic_left_out = p->topic.len == 0,
        .expiry_left_s = p->expiry_s,
        .subscription_identifiers = identifiers,
        .subscription_identifier_count = p->subscription_identifiers,
    };
    size_t header = publish_header_size(&publication, &form);
    out->size = header + p->payload.len;
    CHECK(out->size <= out->room);
    CHECK(publish_header_encode(out->data, &publication, &form) == out->data + header);
    if (p->payload.len > 0)
        memcpy(out->data + header, p->payload.data, p->payload.len);
    free(forwarded);
    free(identifiers);
}

static inline void rewrite_subscribe(const struct subscribe *s, enum mqtt_version version,
                                     struct rewritten *out)
{
    struct subscribe_filter *filters = malloc(s->count * sizeof(*filters));
    struct bytes rest = s->filters;
    for (uint32_t i = 0; i < s->count; i++)
        CHECK(subscribe_next(&rest, version, &filters[i]));
    CHECK(rest.len == 0);
    out->size = subscribe_encode(s->packet_id, version, &s->properties, filters, s->count,
                                 out->data, out->room);
    free(filters);
}

static inline void rewrite_unsubscribe(const struct unsubscribe *u, enum mqtt_version version,
                                       struct rewritten *out)
{
    struct bytes *filters = malloc(u->count * sizeof(*filters));
    struct bytes rest = u->filters;
    for (uint32_t i = 0; i < u->count; i++)
        CHECK(unsubscribe_next(&rest, &filters[i]));
    CHECK(rest.len == 0);
    out->size = unsubscribe_encode(u->packet_id, version, &u->properties, filters, u->count,
                                   out->data, out->room);
    free(filters);
}

static inline enum mqtt_reason rewrite_acks(const struct frame *frame, enum mqtt_version version,
                                            struct rewritten *out)
{
    enum mqtt_reason reason;
    if (frame->type == PACKET_SUBACK || frame->type == PACKET_UNSUBACK) {
        struct suback suback;
        reason = suback_decode(frame, version, &suback);
        if (reason == MQTT_SUCCESS)
            out->size = suback_encode(&suback, version, out->data, out->room);
    } else {
        struct ack ack;
        reason = ack_decode(frame, version, &ack);
        if (reason == MQTT_SUCCESS)
            out->size = ack_encode(&ack, version, out->data, out->room);
    }
    return reason;
}

static inline enum mqtt_reason rewrite_requests(const struct frame *frame,
                                                enum mqtt_version version, struct rewritten *out)
{
    enum mqtt_reason reason;
    struct publish publish;
    struct subscribe subscribe;
    struct unsubscribe unsubscribe;
    switch (frame->type) {
    case PACKET_PUBLISH:
        reason = publish_decode(frame, version, &publish);
        if (reason == MQTT_SUCCESS)
            rewrite_publish(&publish, version, out);
        return reason;
    case PACKET_SUBSCRIBE:
        reason = subscribe_decode(frame, version, &subscribe);
        if (reason == MQTT_SUCCESS)
            rewrite_subscribe(&subscribe, version, out);
        return reason;
    default:
        reason = unsubscribe_decode(frame, version, &unsubscribe);
        if (reason == MQTT_SUCCESS)
            rewrite_unsubscribe(&unsubscribe, version, out);
        return reason;
    }
}

static inline enum mqtt_reason rewrite_session(const struct frame *frame, enum mqtt_version version,
                                               struct rewritten *out)
{
    enum mqtt_reason reason;
    struct connect connect;
    struct connack connack;
    struct disconnect disconnect;
    struct auth auth;
    switch (frame->type) {
    case PACKET_CONNECT:
        reason = connect_decode(frame, &connect);
        if (reason == MQTT_SUCCESS)
            out->size = connect_encode(&connect, out->data, out->room);
        return reason;
    case PACKET_CONNACK:
        reason = connack_decode(frame, version, &connack);
        if (reason == MQTT_SUCCESS)
            out->size = connack_encode(&connack, version, out->data, out->room);
        return reason;
    case PACKET_DISCONNECT:
        reason = disconnect_decode(frame, version, &disconnect);
        if (reason == MQTT_SUCCESS)
            out->size = disconnect_encode(&disconnect, version, out->data, out->room);
        return reason;
    default:
        reason = auth_decode(frame, &auth);
        if (reason == MQTT_SUCCESS)
            out->size = auth_encode(&auth, out->data, out->room);
        return reason;
    }
}

/* Decodes the frame and writes it again; MQTT_SUCCESS or why it is not a packet. */
static inline enum mqtt_reason rewrite(const struct frame *frame, enum mqtt_version version,
                                       struct rewritten *out)
{
    enum mqtt_reason reason;
    switch (frame->type) {
    case 0:
        return MQTT_MALFORMED_PACKET;
    case PACKET_CONNECT:
    case PACKET_CONNACK:
    case PACKET_DISCONNECT:
    case PACKET_AUTH:
        return rewrite_session(frame, version, out);
    case PACKET_PUBLISH:
    case PACKET_SUBSCRIBE:
    case PACKET_UNSUBSCRIBE:
        return rewrite_requests(frame, version, out);
    case PACKET_PINGREQ:
    case PACKET_PINGRESP:
        reason = empty_decode(frame);
        if (reason == MQTT_SUCCESS)
            out->size = (size_t)(empty_write(out->data, frame->type) - out->data);
        return reason;
    default:
        return rewrite_acks(frame, version, out);
    }
}

static inline void fuzz_packet(const struct frame *frame, struct bytes packet,
                               enum mqtt_version version)
{
    struct rewritten first = {.data = malloc(frame->size), .room = frame->size};
    struct rewritten second = {.data = malloc(frame->size), .room = frame->size};
    if (rewrite(frame, version, &first) == MQTT_SUCCESS) {
        struct frame again;
        CHECK(first.size <= frame->size);
        struct bytes written = bytes_of(first.data, first.size);
        CHECK(frame_parse(written, SIZE_MAX, &again) == FRAME_OK && again.size == first.size);
        CHECK(rewrite(&again, version, &second) == MQTT_SUCCESS);
        CHECK(bytes_equal(written, bytes_of(second.data, second.size)));
        /* 3.1.1 has one way only to write a packet. */
        if (version == MQTT_V311 && frame->type != PACKET_CONNECT && frame->type != PACKET_AUTH)
            CHECK(bytes_equal(written, packet));
    }
    free(first.data);
    free(second.data);
}

static inline void fuzz_packets(const uint8_t *data, size_t size, enum mqtt_version version)
{
    struct frame frame;
    struct bytes in = bytes_of(data, size);
    while (frame_parse(in, SIZE_MAX, &frame) == FRAME_OK) {
        fuzz_packet(&frame, bytes_of(in.data, frame.size), version);
        in = bytes_of(in.data + frame.size, in.len - frame.size);
    }
}

#endif
