/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets out. PUBLISH has three ways: a ready-made packet shared by many receivers is copied in
 * one piece; a small payload is copied behind its own header; a big one is referenced.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/map.h"
#include "base/memory.h"

static void count_sent(struct conn *conn, size_t bytes)
{
    metric_inc(conn->worker->metrics, METRIC_PACKETS_SENT);
    metric_add(conn->worker->metrics, METRIC_BYTES_SENT, bytes);
}

/* ---- topic aliases that we make -----------------------------------------------------------------
 */

struct alias_entry {
    uint64_t hash;
    uint16_t alias, len;
    uint8_t topic[];
};

struct alias_out {
    struct map by_topic;
    uint16_t used;
};

static bool alias_matches(const void *element, const void *key)
{
    const struct alias_entry *entry = element;
    return bytes_equal(bytes_of(entry->topic, entry->len), *(const struct bytes *)key);
}

/* First come, first served: a topic gets an alias when one is free and it is long enough to pay. */
static void choose_alias(struct conn *conn, struct bytes topic, struct publish_form *form)
{
    struct conn_extra *extra = conn_extra(conn);
    if (topic.len < 4)
        return;
    if (extra->alias_out == NULL)
        extra->alias_out = NEW(struct alias_out);
    struct alias_out *out = extra->alias_out;
    uint64_t hash = bytes_hash(topic);
    struct alias_entry *entry = map_find(&out->by_topic, hash, alias_matches, &topic);
    if (entry != NULL) {
        form->topic_alias = entry->alias;
        form->topic_left_out = true;
        return;
    }
    if (out->used >= conn->alias_out_max)
        return;
    entry = mem_try(sizeof(*entry) + topic.len);
    if (entry == NULL)
        return;
    *entry = (struct alias_entry){
        .hash = hash, .alias = (uint16_t)(out->used + 1), .len = (uint16_t)topic.len};
    memcpy(entry->topic, topic.data, topic.len);
    map_insert(&out->by_topic, hash, entry);
    out->used++;
    form->topic_alias = entry->alias;
}

/* A packet that sets an alias was not sent: the client does not know the alias. */
static void unchoose_alias(struct conn *conn, struct bytes topic, const struct publish_form *form)
{
    if (form->topic_alias == 0 || form->topic_left_out)
        return;
    struct alias_out *out = conn->extra->alias_out;
    struct alias_entry *entry = map_find(&out->by_topic, bytes_hash(topic), alias_matches, &topic);
    map_remove(&out->by_topic, entry->hash, entry);
    mem_free(entry);
    out->used--; /* it was the newest */
}

void conn_alias_out_free(struct conn_extra *extra)
{
    if (extra->alias_out == NULL)
        return;
    size_t cursor = 0;
    void *entry;
    while ((entry = map_next(&extra->alias_out->by_topic, &cursor)) != NULL)
        mem_free(entry);
    map_deinit(&extra->alias_out->by_topic);
    mem_free(extra->alias_out);
    extra->alias_out = NULL;
}

/* ---- PUBLISH -----------------------------------------------------------------------------------
 */

static void count_publish(struct conn *conn, size_t packet, size_t payload)
{
    count_sent(conn, packet);
    metric_inc(conn->worker->metrics, METRIC_PUBLISH_SENT);
    metric_add(conn->worker->metrics, METRIC_PUBLISH_SENT_BYTES, payload);
}

static enum send_result sent(struct conn *conn)
{
    conn->sink.hold = stream_is_high(&conn->stream);
    return SEND_OK;
}

static void fill_form(const struct conn *conn, const struct outgoing *outgoing,
                      struct publish_form *form)
{
    const struct publication *p = outgoing->publication;
    *form = (struct publish_form){
        .version = conn->version,
        .qos = outgoing->qos,
        .dup = outgoing->dup,
        .retain = outgoing->retain,
        .packet_id = outgoing->packet_id,
        .subscription_identifiers = outgoing->identifiers, /* these and what follows: 5.0 only */
        .subscription_identifier_count = outgoing->identifier_count,
    };
    if (p->has_expiry)
        form->expiry_left_s = publication_expiry_left_s(p, conn->worker->loop->now_ms);
}

/* Whether all receivers of one version can get the same bytes: nothing in them is its own. */
static bool can_share(const struct conn *conn, const struct outgoing *outgoing)
{
    return outgoing->wire != NULL && outgoing->identifier_count == 0 && conn->alias_out_max == 0;
}

/* Makes the shared packet in the worker's scratch space; false when it is too big for that. */
static bool make_shared(const struct conn *conn, const struct outgoing *outgoing,
                        struct bytes *packet)
{
    struct wire_cache *wire = outgoing->wire;
    const struct publication *p = outgoing->publication;
    struct publish_form form;
    fill_form(conn, outgoing, &form);
    size_t header = publish_header_size(p, &form);
    if (header + p->payload.len > wire->scratch_room)
        return false;
    uint8_t *end = publish_header_encode(wire->scratch, p, &form);
    CHECK((size_t)(end - wire->scratch) == header);
    if (p->payload.len > 0)
        memcpy(end, p->payload.data, p->payload.len);
    *packet = bytes_of(wire->scratch, header + p->payload.len);
    wire->scratch += packet->len;
    wire->scratch_room -= packet->len;
    return true;
}

static enum send_result send_shared(struct conn *conn, struct bytes packet, size_t payload)
{
    if (packet.len > conn->packet_max_out)
        return SEND_TOO_LARGE;
    uint8_t *out = stream_reserve(&conn->stream, packet.len);
    if (out == NULL)
        return SEND_FAILED;
    memcpy(out, packet.data, packet.len);
    stream_commit(&conn->stream, packet.len);
    count_publish(conn, packet.len, payload);
    return sent(conn);
}

static enum send_result send_own(struct conn *conn, const struct outgoing *outgoing)
{
    const struct publication *p = outgoing->publication;
    struct publish_form form;
    fill_form(conn, outgoing, &form);
    if (conn->alias_out_max > 0)
        choose_alias(conn, p->topic, &form);
    size_t header = publish_header_size(p, &form);
    if (header + p->payload.len > conn->packet_max_out) {
        unchoose_alias(conn, p->topic, &form);
        return SEND_TOO_LARGE;
    }
    bool referenced = p->payload.len >= STREAM_REFERENCE_MIN && outgoing->message != NULL;
    size_t copied = referenced ? header : header + p->payload.len;
    uint8_t *out = stream_reserve(&conn->stream, copied);
    if (out == NULL)
        return SEND_FAILED;
    out = publish_header_encode(out, p, &form);
    if (!referenced && p->payload.len > 0)
        memcpy(out, p->payload.data, p->payload.len);
    stream_commit(&conn->stream, copied);
    if (referenced)
        stream_write_message(&conn->stream, outgoing->message,
                             outgoing->message->publication.payload);
    count_publish(conn, header + p->payload.len, p->payload.len);
    return sent(conn);
}

static enum send_result sink_publish(struct session_sink *sink, const struct outgoing *outgoing)
{
    struct conn *conn = conn_of_sink(sink);
    if (!can_share(conn, outgoing))
        return send_own(conn, outgoing);
    struct bytes *packet =
        &outgoing->wire->packet[(conn->version == MQTT_V5) | outgoing->retain << 1];
    if (packet->data == NULL && !make_shared(conn, outgoing, packet))
        return send_own(conn, outgoing);
    return send_shared(conn, *packet, outgoing->publication->payload.len);
}

/* ---- acknowledgements and the rest --------------------------------------------------------------
 */

static void sink_pubrel(struct session_sink *sink, uint16_t packet_id)
{
    struct conn *conn = conn_of_sink(sink);
    uint8_t *out = stream_reserve(&conn->stream, 8);
    if (out == NULL)
        return;
    size_t size =
        (size_t)(ack_write(out, conn->version, PACKET_PUBREL, packet_id, MQTT_SUCCESS) - out);
    stream_commit(&conn->stream, size);
    count_sent(conn, size);
}

static size_t sink_unsent(struct session_sink *sink)
{
    return stream_unsent(&conn_of_sink(sink)->stream);
}

static void sink_taken_over(struct session_sink *sink)
{
    struct conn *conn = conn_of_sink(sink);
    metric_inc(conn->worker->metrics, METRIC_TAKEOVERS);
    conn_send_disconnect(conn, MQTT_SESSION_TAKEN_OVER, NULL);
    conn_forget_session(conn);
    conn_end(conn, SESSION_WILL_KEEP);
}

const struct session_sink_ops conn_sink_ops = {
    .publish = sink_publish,
    .pubrel = sink_pubrel,
    .unsent = sink_unsent,
    .taken_over = sink_taken_over,
};

void conn_send_pingresp(struct conn *conn)
{
    uint8_t *out = stream_reserve(&conn->stream, 2);
    if (out == NULL)
        return;
    empty_write(out, PACKET_PINGRESP);
    stream_commit(&conn->stream, 2);
    count_sent(conn, 2);
}

/* Room for packets whose size we choose: properties of ours, at most a few texts of AUTH_DATA_MAX.
 */
enum { CONTROL_MAX = 16 * 1024 };

/* Of a CONNACK with a server reference and no other property, without the text. */
enum { WITH_REFERENCE_MAX = 10 };

static size_t control_room(const struct conn *conn)
{
    return conn->packet_max_out < CONTROL_MAX ? conn->packet_max_out : CONTROL_MAX;
}

static void send_control(struct conn *conn, const uint8_t *packet, size_t size)
{
    if (size > control_room(conn))
        return; /* it would be larger than the client takes: [MQTT-3.1.2-24] */
    if (stream_write(&conn->stream, bytes_of(packet, size)) == RC_OK)
        count_sent(conn, size);
}

void conn_send_connack(struct conn *conn, const struct connack *connack)
{
    uint8_t packet[CONTROL_MAX];
    send_control(conn, packet, connack_encode(connack, conn->version, packet, control_room(conn)));
}

static void add_text(struct properties *properties, const char *text)
{
    if (text == NULL)
        return;
    property_set(properties, PROPERTY_REASON_STRING);
    properties->reason_string = bytes_of_str(text);
}

enum mqtt_reason conn_elsewhere(const struct conn *conn, enum mqtt_reason reason)
{
    size_t len = strlen(conn_config(conn)->mqtt.server_reference);
    bool fits = len + WITH_REFERENCE_MAX <= conn->packet_max_out;
    return len > 0 && fits && conn->version == MQTT_V5 ? MQTT_USE_ANOTHER_SERVER : reason;
}

void conn_add_server_reference(const struct conn *conn, struct properties *properties)
{
    property_set(properties, PROPERTY_SERVER_REFERENCE);
    properties->server_reference = bytes_of_str(conn_config(conn)->mqtt.server_reference);
}

void conn_send_disconnect(struct conn *conn, enum mqtt_reason reason, const char *text)
{
    if (conn->version != MQTT_V5 || conn->state != CONN_CONNECTED)
        return; /* a 3.x server has no DISCONNECT; before CONNACK none is allowed [MQTT-3.14.0-1] */
    struct disconnect disconnect = {.reason = (uint8_t)reason};
    add_text(&disconnect.properties, text);
    if (reason == MQTT_USE_ANOTHER_SERVER)
        conn_add_server_reference(conn, &disconnect.properties);
    uint8_t packet[1024];
    size_t room = control_room(conn) < sizeof(packet) ? control_room(conn) : sizeof(packet);
    send_control(conn, packet, disconnect_encode(&disconnect, MQTT_V5, packet, room));
}

size_t conn_farewell(const struct conn_worker *worker, enum mqtt_version version, bool answered,
                     uint8_t *out, size_t room)
{
    const char *elsewhere = worker->shared->config->mqtt.server_reference;
    struct disconnect disconnect = {.reason = MQTT_SERVER_SHUTTING_DOWN};
    struct connack connack = {.reason = MQTT_SERVER_UNAVAILABLE};
    struct properties *properties = answered ? &disconnect.properties : &connack.properties;
    size_t size;
    if (answered && version != MQTT_V5)
        return 0; /* a 3.x server has no DISCONNECT */
    if (version != MQTT_V5) {
        connack.reason = reason_to_v3_connack(MQTT_SERVER_UNAVAILABLE);
    } else if (elsewhere[0] != '\0') {
        disconnect.reason = connack.reason = MQTT_USE_ANOTHER_SERVER;
        property_set(properties, PROPERTY_SERVER_REFERENCE);
        properties->server_reference = bytes_of_str(elsewhere);
    }
    size = answered ? disconnect_encode(&disconnect, version, out, room)
                    : connack_encode(&connack, (uint8_t)version, out, room);
    return size > room ? 0 : size;
}

void conn_send_auth(struct conn *conn, const struct auth *auth)
{
    uint8_t packet[CONTROL_MAX];
    send_control(conn, packet, auth_encode(auth, packet, control_room(conn)));
}
