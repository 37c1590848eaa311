/* SPDX-License-Identifier: Apache-2.0 */
/* What the generator's connections say and what they make of the answers. */
#include "cli/bench_packets.h"

#include "base/check.h"
#include "base/memory.h"
#include "codec/packet.h"

#include <stdio.h>
#include <string.h>

enum {
    SMALL_PACKET_MAX = 1024,
    CLIENT_ID_MAX = 128,
    ID_LIMIT_FIRST = 1024,
    SESSION_EXPIRY_S = 3600,
    /* What a publisher's packet id waits for, besides 0: free; a subscriber's is 1 until PUBREL. */
    INBOUND_RELEASE_DUE = 1,
    QOS_FLAGS = 6, /* of the fixed header of PUBLISH */
};

/* ---- What we say ------------------------------------------------------------------------------
 */

void packets_put_connect(struct wire *wire, struct wire_conn *conn)
{
    const struct bench_settings *settings = wire->settings;
    char client_id[CLIENT_ID_MAX];
    struct connect connect = {
        .version = settings->version,
        .clean_start = !conn->persistent,
        .keep_alive_s = settings->keep_alive_s,
    };

    snprintf(client_id, sizeof(client_id), "%s-%c%u", settings->prefix,
             conn->is_publisher ? 'p' : 's', conn->address);
    connect.client_id = bytes_of_str(client_id);
    if (settings->version == MQTT_V5 && conn->persistent) {
        property_set(&connect.properties, PROPERTY_SESSION_EXPIRY_INTERVAL);
        connect.properties.session_expiry_s = SESSION_EXPIRY_S;
    }
    if (settings->user_name != NULL) {
        connect.has_user_name = true;
        connect.user_name = bytes_of_str(settings->user_name);
    }
    if (settings->password != NULL) {
        connect.has_password = true;
        connect.password = bytes_of_str(settings->password);
    }
    size_t size = connect_encode(&connect, NULL, 0);
    connect_encode(&connect, wire_reserve(&conn->out, size), size);
    conn->out.len += size;
}

static void put_empty(struct wire_conn *conn, enum packet_type type)
{
    uint8_t *at = wire_reserve(&conn->out, FRAME_HEADER_MAX);

    conn->out.len += (size_t)(empty_write(at, type) - at);
}

void packets_put_disconnect(struct wire_conn *conn)
{
    put_empty(conn, PACKET_DISCONNECT);
}

void wire_ping(struct wire *wire, struct wire_conn *conn)
{
    put_empty(conn, PACKET_PINGREQ);
    wire_mark(wire, conn);
}

void wire_subscribe(struct wire *wire, struct wire_conn *conn, uint16_t packet_id,
                    const char *filter)
{
    const struct bench_settings *settings = wire->settings;
    struct properties none = {0};
    struct subscribe_filter one = {
        .filter = bytes_of_str(filter),
        .options.qos = settings->qos,
    };
    uint8_t *at = wire_reserve(&conn->out, SMALL_PACKET_MAX);
    size_t size =
        subscribe_encode(packet_id, settings->version, &none, &one, 1, at, SMALL_PACKET_MAX);

    CHECK(size <= SMALL_PACKET_MAX);
    conn->out.len += size;
    wire_mark(wire, conn);
}

static void put_ack(struct wire *wire, struct wire_conn *conn, enum packet_type type, uint16_t id)
{
    uint8_t *at = wire_reserve(&conn->out, 2 * FRAME_HEADER_MAX);

    conn->out.len +=
        (size_t)(ack_write(at, wire->settings->version, (uint8_t)type, id, MQTT_SUCCESS) - at);
}

static void ids_need(struct wire_conn *conn)
{
    if (conn->ids == NULL)
        conn->ids = mem_new(WIRE_PACKET_IDS);
}

/* A free packet id. They come from a small range, so that the table stays in the cache. */
static uint16_t id_take(struct wire_conn *conn, uint8_t waits_for)
{
    ids_need(conn);
    CHECK(conn->inflight < BENCH_WINDOW_MAX);
    if (conn->id_limit < ID_LIMIT_FIRST)
        conn->id_limit = ID_LIMIT_FIRST;
    if (conn->inflight >= conn->id_limit / 2)
        conn->id_limit = conn->id_limit < UINT16_MAX / 2 ? 2 * conn->id_limit : UINT16_MAX;
    do {
        conn->last_id = conn->last_id < conn->id_limit ? (uint16_t)(conn->last_id + 1) : 1;
    } while (conn->ids[conn->last_id] != 0);
    conn->ids[conn->last_id] = waits_for;
    conn->inflight++;
    return conn->last_id;
}

/* The two halves of a PUBLISH to `topic`; only the length of the payload matters here. */
static void describe(const struct bench_settings *settings, struct bytes topic, bool retain,
                     struct publication *publication, struct publish_form *form)
{
    *publication = (struct publication){
        .topic = topic,
        .payload = bytes_of(NULL, settings->payload_size),
        .qos = settings->qos,
        .retain = retain,
    };
    *form = (struct publish_form){
        .version = settings->version,
        .qos = settings->qos,
        .retain = retain,
    };
}

void wire_fix_topic(struct wire *wire, struct wire_conn *conn, struct bytes topic)
{
    struct publication publication;
    struct publish_form form;

    describe(wire->settings, topic, false, &publication, &form);
    form.packet_id = 1;
    conn->header_size = publish_header_size(&publication, &form);
    conn->header = mem_resize(conn->header, conn->header_size);
    publish_header_encode(conn->header, &publication, &form);
}

/* The fixed header again, with the next packet id before the (empty) properties. */
static uint8_t *publish_again(struct wire *wire, struct wire_conn *conn, uint16_t packet_id)
{
    uint8_t *at = wire_reserve(&conn->out, conn->header_size + wire->settings->payload_size);
    uint8_t *end = at + conn->header_size;

    memcpy(at, conn->header, conn->header_size);
    if (packet_id != 0) {
        uint8_t *id = end - (wire->settings->version == MQTT_V5 ? 3 : 2);
        id[0] = (uint8_t)(packet_id >> 8);
        id[1] = (uint8_t)packet_id;
    }
    return end;
}

uint8_t *wire_publish(struct wire *wire, struct wire_conn *conn, struct bytes topic, bool retain)
{
    const struct bench_settings *settings = wire->settings;
    struct publication publication;
    struct publish_form form;
    uint16_t packet_id = 0;
    size_t header_size;
    uint8_t *payload;

    if (settings->qos > 0)
        packet_id = id_take(conn, settings->qos == 1 ? PACKET_PUBACK : PACKET_PUBREC);
    if (topic.len == 0) {
        payload = publish_again(wire, conn, packet_id);
        header_size = conn->header_size;
    } else {
        describe(settings, topic, retain, &publication, &form);
        form.packet_id = packet_id;
        header_size = publish_header_size(&publication, &form);
        payload = wire_reserve(&conn->out, header_size + settings->payload_size);
        payload = publish_header_encode(payload, &publication, &form);
    }
    conn->out.len += header_size + settings->payload_size;
    return payload;
}

/* ---- What we hear -----------------------------------------------------------------------------
 */

static void note_reason(struct wire *wire, uint8_t reason)
{
    if (wire->counters.first_reason == 0)
        wire->counters.first_reason = reason;
}

/* Gives whether the connection goes on. */
static bool take_connack(struct wire *wire, struct wire_conn *conn, const struct frame *frame)
{
    struct connack connack;

    if (connack_decode(frame, wire->settings->version, &connack) != MQTT_SUCCESS ||
        connack.reason != 0 || conn->state != WIRE_GREETING) {
        note_reason(wire, connack.reason);
        wire_lose(wire, conn);
        return false;
    }
    if (property_present(&connack.properties, PROPERTY_RECEIVE_MAXIMUM))
        conn->receive_maximum = connack.properties.receive_maximum;
    conn->state = WIRE_UP;
    wire->counters.up++;
    if (wire->ops->up != NULL)
        wire->ops->up(conn, wire->owner);
    return conn->state == WIRE_UP;
}

static bool take_publish(struct wire *wire, struct wire_conn *conn, const struct frame *frame)
{
    size_t payload_size = wire->settings->payload_size;
    struct publish publish;

    if ((frame->flags & QOS_FLAGS) == 0 && frame->body.len >= payload_size) {
        /* Our payload is at the end, and whether it is ours the receiver sees: no need to decode.
         */
        wire->ops->message(
            conn, bytes_of(frame->body.data + frame->body.len - payload_size, payload_size),
            wire->owner);
        return conn->state == WIRE_UP;
    }
    if (publish_decode(frame, wire->settings->version, &publish) != MQTT_SUCCESS) {
        wire->counters.strange++;
        return true;
    }
    if (publish.qos == 1)
        put_ack(wire, conn, PACKET_PUBACK, publish.packet_id);
    if (publish.qos == 2) {
        ids_need(conn);
        put_ack(wire, conn, PACKET_PUBREC, publish.packet_id);
        if (conn->ids[publish.packet_id] == INBOUND_RELEASE_DUE) {
            wire->counters.redelivered++;
            return true;
        }
        conn->ids[publish.packet_id] = INBOUND_RELEASE_DUE;
    }
    wire->ops->message(conn, publish.payload, wire->owner);
    return conn->state == WIRE_UP;
}

static void take_ack(struct wire *wire, struct wire_conn *conn, const struct frame *frame)
{
    struct ack ack;

    if (ack_decode(frame, wire->settings->version, &ack) != MQTT_SUCCESS) {
        wire->counters.strange++;
        return;
    }
    if (ack.type == PACKET_PUBREL) { /* of a message to us */
        ids_need(conn);
        conn->ids[ack.packet_id] = 0;
        put_ack(wire, conn, PACKET_PUBCOMP, ack.packet_id);
        return;
    }
    if (!conn->is_publisher || conn->ids == NULL || conn->ids[ack.packet_id] != ack.type) {
        wire->counters.strange++;
        return;
    }
    if (ack.reason >= MQTT_UNSPECIFIED_ERROR) {
        wire->counters.refused++;
        note_reason(wire, ack.reason);
    } else if (ack.type == PACKET_PUBREC) {
        conn->ids[ack.packet_id] = PACKET_PUBCOMP;
        put_ack(wire, conn, PACKET_PUBREL, ack.packet_id);
        return;
    }
    conn->ids[ack.packet_id] = 0;
    conn->inflight--;
    wire_mark(wire, conn);
}

static void take_suback(struct wire *wire, const struct frame *frame)
{
    struct suback suback;

    if (suback_decode(frame, wire->settings->version, &suback) != MQTT_SUCCESS) {
        wire->counters.strange++;
        return;
    }
    for (size_t i = 0; i < suback.reasons.len; i++) {
        if (suback.reasons.data[i] < MQTT_UNSPECIFIED_ERROR) {
            wire->counters.subscribed++;
        } else {
            wire->counters.not_subscribed++;
            note_reason(wire, suback.reasons.data[i]);
        }
    }
}

static void take_disconnect(struct wire *wire, struct wire_conn *conn, const struct frame *frame)
{
    struct disconnect disconnect;

    if (disconnect_decode(frame, wire->settings->version, &disconnect) == MQTT_SUCCESS)
        note_reason(wire, disconnect.reason);
    wire_lose(wire, conn);
}

/* Gives whether the connection goes on. */
static bool take(struct wire *wire, struct wire_conn *conn, const struct frame *frame)
{
    if (frame->type == PACKET_CONNACK)
        return take_connack(wire, conn, frame);
    if (conn->state != WIRE_UP) {
        wire_lose(wire, conn);
        return false;
    }
    switch (frame->type) {
    case PACKET_PUBLISH:
        return take_publish(wire, conn, frame);
    case PACKET_PUBACK:
    case PACKET_PUBREC:
    case PACKET_PUBREL:
    case PACKET_PUBCOMP:
        take_ack(wire, conn, frame);
        return true;
    case PACKET_SUBACK:
        take_suback(wire, frame);
        return true;
    case PACKET_PINGRESP:
        wire->counters.pongs++;
        return true;
    case PACKET_DISCONNECT:
        take_disconnect(wire, conn, frame);
        return false;
    default:
        wire->counters.strange++;
        return true;
    }
}

size_t packets_take(struct wire *wire, struct wire_conn *conn, struct bytes in)
{
    size_t consumed = 0;
    struct frame frame;

    while (consumed < in.len) {
        struct bytes rest = bytes_of(in.data + consumed, in.len - consumed);
        enum frame_result result = frame_parse(rest, SIZE_MAX, &frame);
        if (result == FRAME_MORE)
            break;
        if (result != FRAME_OK) {
            wire_lose(wire, conn);
            break;
        }
        if (!take(wire, conn, &frame))
            break;
        consumed += frame.size;
    }
    return consumed;
}
