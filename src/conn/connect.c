/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONNECT (section 3.1): check, find the home, authenticate, take over or make the session, answer.
 * A connection that belongs to another worker or node goes there before anything is sent, with the
 * CONNECT unread, so that this file runs twice for it and knows nothing of that but
 * conn_find_home().
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "model/topic.h"

#include <stdio.h>

void conn_refuse(struct conn *conn, enum mqtt_reason reason, const char *text)
{
    metric_inc(conn->worker->metrics, METRIC_CONNECTS_REFUSED);
    bool says_nothing = conn->version == 0 || conn->state == CONN_CLOSING;
    bool v3 = conn->version < MQTT_V5;
    /* 3.x has no return code for a packet that breaks the rules: the connection is closed. */
    if (v3 && (reason == MQTT_MALFORMED_PACKET || reason == MQTT_TOPIC_NAME_INVALID))
        says_nothing = true;
    if (!says_nothing) {
        struct connack connack = {.reason = v3 ? reason_to_v3_connack(reason) : (uint8_t)reason};
        if (text != NULL) { /* written in 5.0 only */
            property_set(&connack.properties, PROPERTY_REASON_STRING);
            connack.properties.reason_string = bytes_of_str(text);
        }
        if (reason == MQTT_USE_ANOTHER_SERVER)
            conn_add_server_reference(conn, &connack.properties);
        conn_send_connack(conn, &connack);
    }
    conn_end(conn, SESSION_WILL_KEEP);
}

/* ---- checks ------------------------------------------------------------------------------------
 */

struct refusal {
    enum mqtt_reason reason;
    const char *text;
};

#define ACCEPTED ((struct refusal){MQTT_SUCCESS, NULL})
#define REFUSED(code, why) ((struct refusal){code, why})

static struct refusal check_client_id(const struct conn *conn, const struct connect *connect)
{
    const struct config *config = conn_config(conn);
    struct bytes id = connect->client_id;
    if (id.len > config->limits.client_id_bytes) {
        metric_inc(conn->worker->metrics, METRIC_LIMIT_CLIENT_ID);
        return REFUSED(MQTT_CLIENT_IDENTIFIER_NOT_VALID, "client identifier is too long");
    }
    if (id.len > 0)
        return ACCEPTED;
    if (connect->version == MQTT_V31)
        return REFUSED(MQTT_CLIENT_IDENTIFIER_NOT_VALID, "3.1 wants a client identifier");
    if (connect->version == MQTT_V311 && !connect->clean_start) /* [v3.1.1 MQTT-3.1.3-8] */
        return REFUSED(MQTT_CLIENT_IDENTIFIER_NOT_VALID, "no identifier, no session to keep");
    if (!config->mqtt.allow_empty_client_id)
        return REFUSED(MQTT_CLIENT_IDENTIFIER_NOT_VALID, "a client identifier is required");
    return ACCEPTED;
}

static struct refusal check_will(const struct conn *conn, const struct connect *connect)
{
    const struct config *config = conn_config(conn);
    if (!connect->has_will)
        return ACCEPTED;
    if (connect->will_topic.len > config->limits.topic_bytes) {
        metric_inc(conn->worker->metrics, METRIC_LIMIT_TOPIC);
        return REFUSED(MQTT_TOPIC_NAME_INVALID, "will topic is too long");
    }
    if (topic_levels(connect->will_topic) > config->limits.filter_levels) {
        metric_inc(conn->worker->metrics, METRIC_LIMIT_FILTER_LEVELS);
        return REFUSED(MQTT_TOPIC_NAME_INVALID, "will topic has too many levels");
    }
    if (bytes_starts_with(connect->will_topic, bytes_of_str("$SYS/")))
        return REFUSED(MQTT_NOT_AUTHORIZED, "$SYS is the broker's own");
    if (connect->will_qos > config->mqtt.qos_max)
        return REFUSED(MQTT_QOS_NOT_SUPPORTED, "will QoS [MQTT-3.2.2-12]");
    if (connect->will_retain && !config->mqtt.retain_available)
        return REFUSED(MQTT_RETAIN_NOT_SUPPORTED, "will retain [MQTT-3.2.2-13]");
    if (config->mqtt.check_payload_format && connect->will_properties.payload_format == 1 &&
        !utf8_valid(connect->will_payload))
        return REFUSED(MQTT_PAYLOAD_FORMAT_INVALID, "will payload is not UTF-8");
    return ACCEPTED;
}

/* Who comes through a tunnel has another node to be connected to. */
static bool is_unwanted(const struct conn *conn)
{
    uint64_t closed_ms =
        atomic_load_explicit(&conn->worker->shared->closed_ms, memory_order_relaxed);
    return closed_ms != 0 && conn->worker->loop->now_ms >= closed_ms && !conn_is_tunnelled(conn);
}

static struct refusal check_limits(struct conn *conn, const struct connect *connect)
{
    if (!conn_user_properties_ok(conn, connect->properties.user) ||
        !conn_user_properties_ok(conn, connect->will_properties.user))
        return REFUSED(MQTT_QUOTA_EXCEEDED, "too many user properties");
    struct conn_shared *shared = conn->worker->shared;
    if (atomic_load_explicit(&shared->connections, memory_order_relaxed) >
        shared->config->limits.connections) {
        metric_inc(conn->worker->metrics, METRIC_LIMIT_CONNECTIONS);
        return REFUSED(conn_elsewhere(conn, MQTT_QUOTA_EXCEEDED), "too many connections");
    }
    if (atomic_load_explicit(&shared->memory_full, memory_order_relaxed)) {
        metric_inc(conn->worker->metrics, METRIC_LIMIT_MEMORY);
        return REFUSED(conn_elsewhere(conn, MQTT_QUOTA_EXCEEDED), "the broker's memory is full");
    }
    if (conn->worker->draining || is_unwanted(conn))
        return REFUSED(conn_elsewhere(conn, MQTT_SERVER_UNAVAILABLE), NULL); /* no 0x8B here */
    return ACCEPTED;
}

static struct refusal check(struct conn *conn, const struct connect *connect)
{
    struct refusal refusal = check_client_id(conn, connect);
    if (refusal.reason == MQTT_SUCCESS)
        refusal = check_will(conn, connect);
    if (refusal.reason == MQTT_SUCCESS)
        refusal = check_limits(conn, connect);
    return refusal;
}

/* ---- the session --------------------------------------------------------------------------------
 */

uint32_t conn_session_expiry(const struct conn *conn, const struct connect *connect)
{
    uint32_t asked = 0;
    if (connect->version == MQTT_V5) {
        if (property_present(&connect->properties, PROPERTY_SESSION_EXPIRY_INTERVAL))
            asked = connect->properties.session_expiry_s;
    } else if (!connect->clean_start) {
        asked = SESSION_NEVER_EXPIRES;
    }
    uint32_t max = conn_config(conn)->mqtt.session_expiry_max_s;
    return asked < max ? asked : max;
}

/* Takes the session away from whoever has it. NULL: it ended with that, or there was none. */
static struct session *take_session(struct conn *conn, const struct connect *connect)
{
    struct session *session = session_find(conn->worker->sessions, connect->client_id);
    if (session == NULL)
        return NULL;
    if (session->sink != NULL)
        session->sink->ops->taken_over(session->sink); /* [MQTT-3.1.4-3] */
    session->sink = NULL;
    if (session_end_if_expired(session)) /* its timer may come later, after a home has moved */
        return NULL;
    if (connect->clean_start || !session_durable(session)) {
        session_end(session); /* [MQTT-3.1.2-4] */
        return NULL;
    }
    if (session->will_delay_s == 0)
        session_will_now(session);
    return session;
}

struct message *conn_will_of(const struct conn *conn, const struct connect *connect,
                             session_ref publisher)
{
    const struct properties *p = &connect->will_properties;
    uint8_t *forward = mem_try(p->user.len + 1);
    if (forward == NULL)
        return NULL;
    size_t len = properties_forward(p->user, forward);
    struct publication publication = {
        .topic = connect->will_topic,
        .properties = bytes_of(forward, len),
        .payload = connect->will_payload,
        .received_ms = conn->worker->sessions->now_ms,
        .qos = connect->will_qos,
        .retain = connect->will_retain,
        .has_expiry = property_present(p, PROPERTY_MESSAGE_EXPIRY_INTERVAL),
        .durability = (uint8_t)conn_durability_of(conn, connect->will_topic),
        .expiry_s = p->message_expiry_s,
        .publisher_hash = client_id_hash(connect->client_id),
        .publisher = publisher,
    };
    struct message *will = message_new(&publication);
    mem_free(forward);
    return will;
}

/* ---- CONNACK ------------------------------------------------------------------------------------
 */

enum { DURABILITY_PROPERTY_MAX = 32 };

static void add_capabilities(const struct config *config, struct properties *p)
{
    if (config->mqtt.receive_maximum != 65535) {
        property_set(p, PROPERTY_RECEIVE_MAXIMUM);
        p->receive_maximum = config->mqtt.receive_maximum;
    }
    if (config->mqtt.qos_max < 2) {
        property_set(p, PROPERTY_MAXIMUM_QOS);
        p->maximum_qos = config->mqtt.qos_max;
    }
    if (!config->mqtt.retain_available)
        property_set(p, PROPERTY_RETAIN_AVAILABLE); /* value 0 */
    if (!config->mqtt.wildcard_available)
        property_set(p, PROPERTY_WILDCARD_SUBSCRIPTION_AVAILABLE);
    if (!config->mqtt.subscription_identifier_available)
        property_set(p, PROPERTY_SUBSCRIPTION_IDENTIFIER_AVAILABLE);
    if (!config->mqtt.shared_available)
        property_set(p, PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE);
    property_set(p, PROPERTY_MAXIMUM_PACKET_SIZE);
    p->maximum_packet_size = config->limits.packet_bytes;
    if (config->mqtt.topic_alias_max > 0) {
        property_set(p, PROPERTY_TOPIC_ALIAS_MAXIMUM);
        p->topic_alias_maximum = config->mqtt.topic_alias_max;
    }
}

/* The durability of the client's listener, as a user property in its wire form. */
static void add_durability(const struct conn *conn, struct properties *p,
                           uint8_t wire[DURABILITY_PROPERTY_MAX])
{
    const struct bytes name = bytes_of_str("durability");
    const struct bytes value =
        bytes_of_str(config_durability_name((enum durability)conn->durability));
    uint8_t *to = wire;
    *to++ = PROPERTY_USER_PROPERTY;
    for (int i = 0; i < 2; i++) {
        struct bytes text = i == 0 ? name : value;
        *to++ = 0; /* of the length */
        *to++ = (uint8_t)text.len;
        memcpy(to, text.data, text.len);
        to += text.len;
    }
    property_set(p, PROPERTY_USER_PROPERTY);
    p->user = bytes_of(wire, (size_t)(to - wire));
}

static void add_answers(struct conn *conn, const struct connect *connect, struct properties *p)
{
    const struct config *config = conn_config(conn);
    uint32_t expiry_s = conn_session_expiry(conn, connect);
    if (connect->properties.session_expiry_s != expiry_s) {
        property_set(p, PROPERTY_SESSION_EXPIRY_INTERVAL);
        p->session_expiry_s = expiry_s;
    }
    if (connect->properties.request_response_information == 1 &&
        config->mqtt.response_information[0] != '\0') {
        property_set(p, PROPERTY_RESPONSE_INFORMATION);
        p->response_information = bytes_of_str(config->mqtt.response_information);
    }
    if (conn->extra != NULL &&
        conn->extra->mechanism != NULL) { /* CONNECT named a method [MQTT-4.12.0-5] */
        property_set(p, PROPERTY_AUTHENTICATION_METHOD);
        p->authentication_method = bytes_of_str(conn->extra->mechanism->name);
        if (conn->extra->reply.len > 0) {
            property_set(p, PROPERTY_AUTHENTICATION_DATA);
            p->authentication_data = bytes_of(conn->extra->reply.data, conn->extra->reply.len);
        }
    }
}

/* ---- accepting ----------------------------------------------------------------------------------
 */

/* What the client said of this connection; 3.x says nothing. */
static void read_client_limits(struct conn *conn, const struct connect *connect)
{
    const struct properties *p = &connect->properties;
    if (p->maximum_packet_size > 0)
        conn->packet_max_out = p->maximum_packet_size;
    if (property_present(p, PROPERTY_REQUEST_PROBLEM_INFORMATION))
        conn->problem_information = p->request_problem_information == 1;
    if (property_present(p, PROPERTY_TOPIC_ALIAS_MAXIMUM)) {
        uint16_t ours = conn_config(conn)->mqtt.topic_alias_out_max;
        conn->alias_out_max = p->topic_alias_maximum < ours ? p->topic_alias_maximum : ours;
    }
}

static void start_keep_alive(struct conn *conn, const struct connect *connect,
                             struct properties *answer)
{
    uint16_t seconds = connect->keep_alive_s;
    uint16_t max = conn_config(conn)->mqtt.keep_alive_max_s;
    if (connect->version == MQTT_V5 && max > 0 && (seconds == 0 || seconds > max)) {
        seconds = max;
        property_set(answer, PROPERTY_SERVER_KEEP_ALIVE);
        answer->server_keep_alive_s = max;
    }
    conn->keep_alive_s = seconds;
    if (seconds > 0)
        loop_timer_start(conn->worker->loop, &conn->timer,
                         conn->worker->loop->now_ms + conn_keep_alive_ms(conn));
    else
        loop_timer_stop(conn->worker->loop, &conn->timer);
}

static void attach(struct conn *conn, struct session *session, const struct connect *connect)
{
    uint16_t receive_maximum = 65535;
    if (property_present(&connect->properties, PROPERTY_RECEIVE_MAXIMUM))
        receive_maximum = connect->properties.receive_maximum;
    session_attach(session, &conn->sink, conn_session_expiry(conn, connect), receive_maximum);
    conn->session = session;
    conn->sink.hold = false;
    delivery_session_changed(conn->worker->hub, session);
    conn->will_stands = conn->will_away;
    if (connect->has_will && !conn->will_away) {
        bool delayed = property_present(&connect->will_properties, PROPERTY_WILL_DELAY_INTERVAL);
        struct message *will = conn_will_of(conn, connect, session->ref);
        if (will == NULL)
            metric_inc(conn->worker->metrics, METRIC_PUBLISH_DROPPED_NO_MEMORY);
        session_set_will(session, will, delayed ? connect->will_properties.will_delay_s : 0);
    }
    conn->connected_s = (uint32_t)(conn->worker->loop->now_ms / 1000);
    conn->counted = true;
    metric_inc(conn->worker->metrics, METRIC_CONNECTIONS_CURRENT);
}

void conn_accept_connect(struct conn *conn, const struct connect *given)
{
    struct connect connect = *given;
    struct connack connack = {0};
    char assigned[ASSIGNED_MAX];
    uint8_t user[DURABILITY_PROPERTY_MAX];
    if (connect.client_id.len == 0) {
        connect.client_id =
            bytes_of(assigned, conn_assign_client_id(conn, assigned, sizeof(assigned)));
        property_set(&connack.properties, PROPERTY_ASSIGNED_CLIENT_IDENTIFIER);
        connack.properties.assigned_client_id = connect.client_id;
    }
    struct session *session = take_session(conn, &connect);
    connack.session_present = session != NULL;
    if (session == NULL) {
        enum rc rc = session_new(conn->worker->sessions, connect.client_id, &session);
        if (rc != RC_OK) {
            metric_inc(conn->worker->metrics, METRIC_LIMIT_SESSIONS);
            conn_refuse(conn, conn_elsewhere(conn, MQTT_QUOTA_EXCEEDED), "too many sessions");
            return;
        }
    }
    attach(conn, session, &connect);
    conn->state = CONN_ACCEPTED;
    metric_inc(conn->worker->metrics, METRIC_CONNECTS_ACCEPTED);
    start_keep_alive(conn, &connect, &connack.properties);
    if (conn->version == MQTT_V5) {
        add_capabilities(conn_config(conn), &connack.properties);
        add_answers(conn, &connect, &connack.properties);
        if (conn_config(conn)->durability_property)
            add_durability(conn, &connack.properties, user);
    }
    uint8_t packet[8 * 1024];
    size_t room = conn->packet_max_out < sizeof(packet) ? conn->packet_max_out : sizeof(packet);
    size_t size = connack_encode(&connack, conn->version, packet, room);
    if (size > room) {
        conn_end(conn, SESSION_WILL_DISCARD); /* a client that cannot take a CONNACK */
        return;
    }
    conn_owe(conn, bytes_of(packet, size), NULL, conn_session_changed(conn));
    if (conn->state == CONN_ACCEPTED) { /* it waits, and so does everything else [MQTT-3.2.0-1] */
        conn->sink.hold = true;
        conn_set_busy(conn, CONN_BUSY_CONNACK);
    }
}

void conn_connack_sent(struct conn *conn)
{
    conn->state = CONN_CONNECTED;
    conn->sink.hold = false;
    conn_clear_busy(conn, CONN_BUSY_CONNACK);
    session_resume(conn->session);
}

/* The version in which an answer will be understood; 0: no answer. */
static uint8_t answer_version(const struct connect *connect)
{
    if (!connect->name_known)
        return 0;
    if ((int)connect->version >= MQTT_V5)
        return MQTT_V5;
    return connect->version == MQTT_V31 ? MQTT_V31 : MQTT_V311;
}

bool conn_handle_connect(struct conn *conn, const struct frame *frame, const uint8_t *packet,
                         size_t consumed)
{
    struct connect connect;
    enum mqtt_reason reason = connect_decode(frame, &connect);
    conn->version = answer_version(&connect);
    read_client_limits(conn, &connect); /* even a refusal keeps to them */
    if (reason != MQTT_SUCCESS) {
        if (reason != MQTT_UNSUPPORTED_PROTOCOL_VERSION)
            metric_inc(conn->worker->metrics, METRIC_MALFORMED_PACKETS);
        conn_refuse(conn, reason, "CONNECT");
        return true;
    }
    struct refusal refusal = check(conn, &connect);
    if (refusal.reason != MQTT_SUCCESS) {
        conn_refuse(conn, refusal.reason, refusal.text);
        return true;
    }
    switch (conn_find_home(conn, &connect, consumed)) {
    case HOME_FOUND:
        break;
    case HOME_LEFT:
    case HOME_AWAITED:
        return false;
    case HOME_REFUSED:
        return true;
    }
    switch (conn_auth_begin(conn, &connect, packet, frame->size)) {
    case AUTH_NONE:
        conn_accept_connect(conn, &connect);
        break;
    case AUTH_RUNNING:
    case AUTH_REFUSED:
        break;
    }
    return true;
}
