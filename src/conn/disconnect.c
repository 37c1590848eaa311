/* SPDX-License-Identifier: Apache-2.0 */
/* DISCONNECT from a client (section 3.14). */
#include "conn/connection.h"

/* Codes that a client may use: table 3-10. */
static bool client_may_say(uint8_t reason)
{
    switch (reason) {
    case MQTT_NORMAL_DISCONNECTION:
    case MQTT_DISCONNECT_WITH_WILL:
    case MQTT_UNSPECIFIED_ERROR:
    case MQTT_MALFORMED_PACKET:
    case MQTT_PROTOCOL_ERROR:
    case MQTT_IMPLEMENTATION_SPECIFIC_ERROR:
    case MQTT_TOPIC_NAME_INVALID:
    case MQTT_RECEIVE_MAXIMUM_EXCEEDED:
    case MQTT_TOPIC_ALIAS_INVALID:
    case MQTT_PACKET_TOO_LARGE:
    case MQTT_MESSAGE_RATE_TOO_HIGH:
    case MQTT_QUOTA_EXCEEDED:
    case MQTT_ADMINISTRATIVE_ACTION:
    case MQTT_PAYLOAD_FORMAT_INVALID:
        return true;
    default:
        return false;
    }
}

/* The session expiry interval of DISCONNECT replaces that of CONNECT; false after a fault. */
static bool change_expiry(struct conn *conn, const struct properties *properties)
{
    struct session *session = conn->session;
    if (!property_present(properties, PROPERTY_SESSION_EXPIRY_INTERVAL))
        return true;
    uint32_t asked = properties->session_expiry_s;
    if (session->expiry_s == 0 && asked > 0) {
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "session expiry was 0 [X5.0-3.14.2.2.2-1]");
        return false;
    }
    uint32_t max = conn_config(conn)->mqtt.session_expiry_max_s;
    session->expiry_s = asked < max ? asked : max;
    return true;
}

void conn_handle_disconnect(struct conn *conn, const struct frame *frame)
{
    struct disconnect disconnect;
    enum mqtt_reason reason = disconnect_decode(frame, conn->version, &disconnect);
    if (reason != MQTT_SUCCESS) {
        conn_fault(conn, reason, "DISCONNECT");
        return;
    }
    if (!client_may_say(disconnect.reason)) {
        conn_fault(conn, MQTT_PROTOCOL_ERROR, "a client does not say that [MQTT-3.14.2-1]");
        return;
    }
    if (!change_expiry(conn, &disconnect.properties))
        return;
    /* 3.x says nothing, which is a normal disconnection [v3.1.1 MQTT-3.14.4-3] */
    conn_end_by_client(conn, disconnect.reason == MQTT_NORMAL_DISCONNECTION ? SESSION_WILL_DISCARD
                                                                            : SESSION_WILL_KEEP);
}
