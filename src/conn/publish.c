/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUBLISH from a client (section 3.3): the front half of the road. Parse, check, give the message
 * to delivery, owe the acknowledgement. Nothing here allocates or copies for an ordinary message.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "model/topic.h"

/* ---- topic aliases of the client ----------------------------------------------------------------
 */

static bool alias_fault(struct conn *conn, enum mqtt_reason reason, const char *text)
{
    conn_fault(conn, reason, text);
    return false;
}

/* Sets or looks up the alias; gives false after a fault. Only for a PUBLISH that has one. */
static bool resolve_alias(struct conn *conn, struct publish *publish)
{
    uint16_t max = conn_config(conn)->mqtt.topic_alias_max;
    if (publish->topic_alias > max) /* 0 does not decode */
        return alias_fault(conn, MQTT_TOPIC_ALIAS_INVALID, "topic alias [X5.0-3.3.4-1]");
    struct conn_extra *extra = conn_extra(conn);
    if (extra->alias_in == NULL)
        extra->alias_in = mem_new(max * sizeof(*extra->alias_in));
    struct alias_in *alias = &extra->alias_in[publish->topic_alias - 1];
    if (publish->topic.len == 0) {
        if (alias->topic == NULL)
            return alias_fault(conn, MQTT_PROTOCOL_ERROR, "unknown topic alias [X5.0-3.3.4-3]");
        publish->topic = bytes_of(alias->topic, alias->len);
        return true;
    }
    if (bytes_equal(publish->topic, bytes_of(alias->topic, alias->len)))
        return true;
    uint8_t *topic = mem_try_resize(alias->topic, publish->topic.len);
    if (topic == NULL)
        return alias_fault(conn, MQTT_QUOTA_EXCEEDED, "no memory for a topic alias");
    memcpy(topic, publish->topic.data, publish->topic.len);
    *alias = (struct alias_in){.topic = topic, .len = (uint32_t)publish->topic.len};
    return true;
}

/* ---- checks ------------------------------------------------------------------------------------
 */

/* What ends the connection; false after a fault. */
static bool may_publish(struct conn *conn, const struct publish *publish)
{
    const struct config *config = conn_config(conn);
    if (publish->qos > config->mqtt.qos_max) {
        conn_fault(conn, MQTT_QOS_NOT_SUPPORTED, "QoS above the maximum [MQTT-3.2.2-11]");
        return false;
    }
    if (publish->retain && !config->mqtt.retain_available) {
        conn_fault(conn, MQTT_RETAIN_NOT_SUPPORTED, "RETAIN is not available [MQTT-3.2.2-14]");
        return false;
    }
    if (publish->subscription_identifiers > 0) {
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "subscription identifier [MQTT-3.3.4-6]");
        return false;
    }
    if (!conn_user_properties_ok(conn, publish->properties)) {
        conn_fault(conn, MQTT_QUOTA_EXCEEDED, "too many user properties");
        return false;
    }
    if (publish->topic.len > config->limits.topic_bytes) {
        metric_inc(conn->worker->metrics, METRIC_LIMIT_TOPIC);
        conn_fault(conn, MQTT_TOPIC_NAME_INVALID, "topic is too long");
        return false;
    }
    if (publish->retain && topic_levels(publish->topic) > config->limits.filter_levels) {
        metric_inc(conn->worker->metrics, METRIC_LIMIT_FILTER_LEVELS);
        conn_fault(conn, MQTT_TOPIC_NAME_INVALID, "topic has too many levels");
        return false;
    }
    return true;
}

/* What is refused with a reason code of its own and leaves the connection as it is. */
static enum mqtt_reason refusal_of(const struct conn *conn, const struct publish *publish)
{
    if (publish->topic.data[0] == '$' && bytes_starts_with(publish->topic, bytes_of_str("$SYS/")))
        return MQTT_NOT_AUTHORIZED;
    if (publish->payload_is_utf8 && conn_config(conn)->mqtt.check_payload_format &&
        !utf8_valid(publish->payload))
        return MQTT_PAYLOAD_FORMAT_INVALID;
    /* What nobody has to keep goes through, and so does what frees memory. */
    bool keeps = publish->retain ? publish->payload.len > 0 : publish->qos > 0;
    if (keeps && atomic_load_explicit(&conn->worker->shared->memory_full, memory_order_relaxed)) {
        metric_inc(conn->worker->metrics, METRIC_LIMIT_MEMORY);
        return MQTT_QUOTA_EXCEEDED;
    }
    return MQTT_SUCCESS;
}

/* Answers a refused publication: 5.0 says why, 3.x has no way to. */
static void refuse(struct conn *conn, const struct publish *publish, enum mqtt_reason reason)
{
    if (publish->qos == 0) {
        if (reason == MQTT_PAYLOAD_FORMAT_INVALID)
            conn_fault(conn, reason, "payload is not UTF-8");
        return;
    }
    uint8_t type = publish->qos == 1 ? PACKET_PUBACK : PACKET_PUBREC;
    if (conn->version != MQTT_V5) {
        if (reason == MQTT_QUOTA_EXCEEDED)
            return; /* withheld: it is not safe, and 3.x cannot say so */
        reason = MQTT_SUCCESS;
        if (publish->qos == 2)
            session_received_add(conn->session, publish->packet_id, /* for its PUBREL */
                                 DURABILITY_FSYNC);
    }
    conn_owe_ack(conn, type, publish->packet_id, reason, NULL, OWED_NO_CHANGES);
}

/* ---- flow control and QoS 2 ---------------------------------------------------------------------
 */

/* Counts a QoS 1/2 publication against our receive maximum; false after a fault. */
static bool count_open(struct conn *conn)
{
    if (conn->version == MQTT_V5 && conn->receive_open >= conn_config(conn)->mqtt.receive_maximum) {
        conn_fault(conn, MQTT_RECEIVE_MAXIMUM_EXCEEDED, "receive maximum [MQTT-3.3.4-7]");
        return false;
    }
    conn->receive_open++;
    return true;
}

/* A QoS 2 publication that is here for the first time; false: it was answered already. */
static bool begin_qos2(struct conn *conn, const struct publish *publish, enum durability durability)
{
    switch (session_received_add(conn->session, publish->packet_id, durability)) {
    case RC_OK:
        return true;
    case RC_EXISTS:           /* a repeat: acknowledge, do not deliver [MQTT-4.3.3-10] */
        conn->receive_open--; /* it was counted the first time */
        conn_owe_repeat(conn, publish->packet_id, publish->retain);
        return false;
    default:
        refuse(conn, publish, MQTT_QUOTA_EXCEEDED);
        return false;
    }
}

/* ---- delivery -----------------------------------------------------------------------------------
 */

/* Properties that cannot be forwarded as they stand are copied here without the others. */
enum { STRIPPED_INLINE = 1024 };

struct incoming {
    struct publication publication;
    struct message *message; /* when it is retained */
    struct ready_made ready_made;
    bool is_ready_made;
    uint8_t stripped[STRIPPED_INLINE];
    uint8_t *stripped_long; /* NULL: not needed */
};

static bool take_in(struct conn *conn, const struct publish *publish, enum durability durability,
                    struct bytes packet, struct incoming *in)
{
    in->message = NULL;
    in->stripped_long = NULL;
    in->publication = (struct publication){
        .topic = publish->topic,
        .properties = publish->properties,
        .payload = publish->payload,
        .received_ms = conn_received_ms(conn),
        .expiry_s = publish->expiry_s,
        .qos = publish->qos,
        .retain = publish->retain,
        .has_expiry = publish->has_expiry,
        .durability = (uint8_t)durability,
        .publisher_hash = conn->session->hash,
        .publisher = conn->session->ref,
    };
    in->is_ready_made = publish->qos == 0 && !publish->retain && packet.len <= DELIVERY_SCRATCH;
    if (!publish->properties_forwardable) {
        in->is_ready_made = false;
        uint8_t *to = in->stripped;
        if (publish->properties.len > sizeof(in->stripped))
            to = in->stripped_long = mem_try(publish->properties.len);
        if (to == NULL)
            return false;
        in->publication.properties =
            bytes_of(to, publish_properties_strip(publish->properties, to));
    }
    in->ready_made = (struct ready_made){.packet = packet, .v5 = conn->version == MQTT_V5};
    return true;
}

static void let_out(struct incoming *in)
{
    message_drop(in->message);
    mem_free(in->stripped_long);
}

/* Stores or clears the retained message. MQTT_SUCCESS, or why not. */
static enum mqtt_reason retain(struct conn *conn, struct incoming *in)
{
    struct delivery_hub *hub = conn->worker->hub;
    in->message = message_new(&in->publication);
    if (in->message == NULL)
        return MQTT_QUOTA_EXCEEDED;
    in->publication = in->message->publication;
    return delivery_retain(hub, in->message) == RC_OK ? MQTT_SUCCESS : MQTT_QUOTA_EXCEEDED;
}

/* Refuses one that has been taken in: when it comes again, it is a new try. */
static void refuse_kept(struct conn *conn, const struct publish *publish, enum mqtt_reason reason)
{
    if (publish->qos == 2)
        session_received_remove(conn->session, publish->packet_id);
    if (conn->version == MQTT_V5) /* withheld in 3.x */
        refuse(conn, publish, reason);
}

static void acknowledge(struct conn *conn, const struct publish *publish,
                        enum durability durability, const struct publish_outcome *outcome)
{
    if (publish->qos == 0)
        return;
    bool refused = outcome->rc == RC_REFUSED && conn->version != MQTT_V5
                       ? false /* dropped, and 3.x cannot say so */
                       : outcome->rc != RC_OK;
    if (outcome->ticket == NULL && refused) {
        refuse_kept(conn, publish, conn_reason_of(outcome->rc));
        return;
    }
    uint8_t type = publish->qos == 1 ? PACKET_PUBACK : PACKET_PUBREC;
    enum mqtt_reason reason = MQTT_SUCCESS;
    if (!outcome->matched && !publish->retain)
        reason = MQTT_NO_MATCHING_SUBSCRIBERS; /* written in 5.0 only */
    bool changed = session_durable(conn->session) && publish->qos == 2;
    conn_owe_ack(conn, type, publish->packet_id, reason, outcome->ticket,
                 changed ? owed_changed(durability) : OWED_NO_CHANGES);
}

static void deliver(struct conn *conn, const struct publish *publish, enum durability durability,
                    struct bytes packet)
{
    struct incoming in;
    if (!take_in(conn, publish, durability, packet, &in)) {
        refuse_kept(conn, publish, MQTT_QUOTA_EXCEEDED);
        return;
    }
    enum mqtt_reason reason = publish->retain ? retain(conn, &in) : MQTT_SUCCESS;
    if (reason != MQTT_SUCCESS && publish->qos > 0 && conn->version == MQTT_V5) {
        refuse_kept(conn, publish, reason);
    } else {
        struct publish_outcome outcome =
            delivery_publish(conn->worker->hub, &in.publication, in.message,
                             in.is_ready_made ? &in.ready_made : NULL);
        acknowledge(conn, publish, durability, &outcome);
        if (outcome.slow)
            conn_pause(conn, PAUSE_FOR_LAG, conn->worker->worker);
        if (outcome.backlog)
            conn_pause(conn, PAUSE_FOR_BACKLOG, outcome.behind);
    }
    let_out(&in);
}

void conn_handle_publish(struct conn *conn, const struct frame *frame, const uint8_t *packet)
{
    struct publish publish;
    enum mqtt_reason reason = publish_decode(frame, conn->version, &publish);
    if (reason != MQTT_SUCCESS) {
        conn_fault(conn, reason, "PUBLISH");
        return;
    }
    struct metrics_shard *metrics = conn->worker->metrics;
    metric_inc(metrics, METRIC_PUBLISH_RECEIVED);
    metric_add(metrics, METRIC_PUBLISH_RECEIVED_BYTES, publish.payload.len);
    if (publish.has_topic_alias && !resolve_alias(conn, &publish))
        return;
    if (!may_publish(conn, &publish))
        return;
    if (publish.qos > 0 && !count_open(conn))
        return;
    if (publish.qos == 2 && session_received_has(conn->session, publish.packet_id)) {
        begin_qos2(conn, &publish, DURABILITY_FSYNC); /* a repeat: nothing is added */
        return;
    }
    reason = refusal_of(conn, &publish);
    if (reason != MQTT_SUCCESS) {
        refuse(conn, &publish, reason);
        return;
    }
    enum durability durability = DURABILITY_MEMORY; /* QoS 0: nobody waits, nothing is written */
    if (publish.qos > 0 || publish.retain)
        durability = conn_durability_of(conn, publish.topic);
    if (publish.qos == 2 && !begin_qos2(conn, &publish, durability))
        return;
    deliver(conn, &publish, durability, bytes_of(packet, frame->size));
}
