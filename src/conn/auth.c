/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enhanced authentication (sections 3.15, 4.12): carries data between the client and a mechanism,
 * before CONNACK and again whenever the client wants. While it goes on before CONNACK the CONNECT
 * packet is kept.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/memory.h"

void conn_auth_end(struct conn *conn)
{
    struct conn_extra *extra = conn->extra;
    if (extra->exchange == NULL)
        return;
    extra->mechanism->end(extra->exchange);
    extra->exchange = NULL;
}

static void send_challenge(struct conn *conn, enum mqtt_reason reason)
{
    struct conn_extra *extra = conn->extra;
    struct auth auth = {.reason = (uint8_t)reason};
    property_set(&auth.properties, PROPERTY_AUTHENTICATION_METHOD);
    auth.properties.authentication_method = bytes_of_str(extra->mechanism->name);
    if (extra->reply.len > 0) {
        property_set(&auth.properties, PROPERTY_AUTHENTICATION_DATA);
        auth.properties.authentication_data = bytes_of(extra->reply.data, extra->reply.len);
    }
    conn_send_auth(conn, &auth);
}

static enum auth_result step(struct conn *conn, const struct properties *properties)
{
    struct conn_extra *extra = conn->extra;
    struct bytes data = property_present(properties, PROPERTY_AUTHENTICATION_DATA)
                            ? properties->authentication_data
                            : bytes_of("", 0);
    extra->reply.len = 0;
    enum auth_result result = extra->mechanism->step(extra->exchange, data, &extra->reply);
    CHECK(extra->reply.len <= sizeof(extra->reply.data));
    if (result != AUTH_CONTINUE)
        conn_auth_end(conn);
    return result;
}

/* ---- before CONNACK -----------------------------------------------------------------------------
 */

static enum auth_start keep_connect(struct conn *conn, const uint8_t *packet, size_t packet_len)
{
    struct conn_extra *extra = conn->extra;
    extra->connect = mem_try(packet_len);
    if (extra->connect == NULL) {
        conn_refuse(conn, MQTT_QUOTA_EXCEEDED, NULL);
        return AUTH_REFUSED;
    }
    memcpy(extra->connect, packet, packet_len);
    extra->connect_len = packet_len;
    conn->state = CONN_AUTHENTICATING;
    send_challenge(conn, MQTT_CONTINUE_AUTHENTICATION);
    return AUTH_RUNNING;
}

enum auth_start conn_auth_begin(struct conn *conn, const struct connect *connect,
                                const uint8_t *packet, size_t packet_len)
{
    if (!property_present(&connect->properties, PROPERTY_AUTHENTICATION_METHOD))
        return AUTH_NONE;
    struct conn_extra *extra = conn_extra(conn);
    extra->mechanism =
        auth_find(&conn->worker->shared->auth, connect->properties.authentication_method);
    if (extra->mechanism == NULL) { /* [MQTT-4.12.0-1] */
        conn_refuse(conn, MQTT_BAD_AUTHENTICATION_METHOD, "unknown authentication method");
        return AUTH_REFUSED;
    }
    extra->exchange = extra->mechanism->start(extra->mechanism);
    if (extra->exchange == NULL) {
        conn_refuse(conn, MQTT_QUOTA_EXCEEDED, NULL);
        return AUTH_REFUSED;
    }
    switch (step(conn, &connect->properties)) {
    case AUTH_SUCCESS:
        return AUTH_NONE; /* nothing more to ask: accept */
    case AUTH_FAILURE:
        conn_refuse(conn, MQTT_NOT_AUTHORIZED, "authentication failed");
        return AUTH_REFUSED;
    default:
        return keep_connect(conn, packet, packet_len);
    }
}

static void go_on_before_connack(struct conn *conn, const struct auth *auth)
{
    struct conn_extra *extra = conn->extra;
    struct frame frame;
    struct connect connect;
    switch (step(conn, &auth->properties)) {
    case AUTH_CONTINUE:
        send_challenge(conn, MQTT_CONTINUE_AUTHENTICATION);
        break;
    case AUTH_FAILURE:
        conn_refuse(conn, MQTT_NOT_AUTHORIZED, "authentication failed"); /* [MQTT-4.12.0-4] */
        break;
    case AUTH_SUCCESS:
        CHECK(frame_parse(bytes_of(extra->connect, extra->connect_len), SIZE_MAX, &frame) ==
              FRAME_OK);
        CHECK(connect_decode(&frame, &connect) == MQTT_SUCCESS);
        conn_accept_connect(conn, &connect);
        mem_free(extra->connect);
        extra->connect = NULL;
        break;
    }
}

/* ---- after CONNACK ------------------------------------------------------------------------------
 */

static void reauthenticate(struct conn *conn, const struct auth *auth)
{
    struct conn_extra *extra = conn->extra;
    if (auth->reason == MQTT_REAUTHENTICATE) {
        conn_auth_end(conn);
        extra->exchange = extra->mechanism->start(extra->mechanism);
    }
    if (extra->exchange == NULL) {
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "no authentication is under way");
        return;
    }
    switch (step(conn, &auth->properties)) {
    case AUTH_CONTINUE:
        send_challenge(conn, MQTT_CONTINUE_AUTHENTICATION);
        break;
    case AUTH_SUCCESS:
        send_challenge(conn, MQTT_SUCCESS);
        break;
    case AUTH_FAILURE: /* [MQTT-4.12.1-2] */
        conn_fault(conn, MQTT_NOT_AUTHORIZED, "authentication failed");
        break;
    }
}

void conn_handle_auth(struct conn *conn, const struct frame *frame)
{
    struct auth auth;
    enum mqtt_reason reason = auth_decode(frame, &auth);
    if (reason != MQTT_SUCCESS) {
        conn_fault(conn, reason, "AUTH");
        return;
    }
    struct conn_extra *extra = conn->extra;
    if (extra == NULL || extra->mechanism == NULL) {
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "CONNECT named no method [MQTT-4.12.0-7]");
        return;
    }
    if (!bytes_equal(auth.properties.authentication_method, bytes_of_str(extra->mechanism->name))) {
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "another authentication method [MQTT-4.12.0-5]");
        return;
    }
    if (conn->state == CONN_AUTHENTICATING && auth.reason == MQTT_CONTINUE_AUTHENTICATION)
        go_on_before_connack(conn, &auth);
    else if (conn->state == CONN_CONNECTED && auth.reason != MQTT_SUCCESS)
        reauthenticate(conn, &auth);
    else
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "AUTH reason code [MQTT-3.15.2-1]");
}
