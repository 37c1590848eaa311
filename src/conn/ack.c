/* SPDX-License-Identifier: Apache-2.0 */
/* PUBACK, PUBREC, PUBREL and PUBCOMP from a client (sections 3.4 to 3.7, 4.3). */
#include "conn/connection.h"

static void handle_pubrec(struct conn *conn, const struct ack *ack)
{
    bool refused = ack->reason >= 0x80;
    enum rc rc = session_pubrec(conn->session, ack->packet_id, refused);
    if (refused)
        return; /* the exchange has ended [MQTT-4.3.3-4] */
    /* After a crash the message must not be sent again: PUBREL follows the record that says so. */
    conn_owe_ack(conn, PACKET_PUBREL, ack->packet_id,
                 rc == RC_OK ? MQTT_SUCCESS : MQTT_PACKET_IDENTIFIER_NOT_FOUND, NULL,
                 rc == RC_OK && session_stored(conn->session) ? OWED_SESSION_CHANGED
                                                              : OWED_NO_CHANGES);
}

static void handle_pubrel(struct conn *conn, const struct ack *ack)
{
    /* An identifier that came back after a crash would hide the next message that has it, whatever
     * that one was promised: so this waits as the strictest do. */
    bool changed = session_received_is_kept(conn->session, ack->packet_id);
    bool known = session_received_remove(conn->session, ack->packet_id);
    conn_owe_ack(conn, PACKET_PUBCOMP, ack->packet_id,
                 known ? MQTT_SUCCESS : MQTT_PACKET_IDENTIFIER_NOT_FOUND, NULL,
                 changed ? OWED_SESSION_CHANGED : OWED_NO_CHANGES);
}

void conn_handle_ack(struct conn *conn, const struct frame *frame)
{
    struct ack ack;
    enum mqtt_reason reason = ack_decode(frame, conn->version, &ack);
    if (reason != MQTT_SUCCESS) {
        conn_fault(conn, reason, "acknowledgement");
        return;
    }
    switch (ack.type) {
    case PACKET_PUBACK:
        (void)session_puback(conn->session, ack.packet_id); /* an unknown one means nothing */
        break;
    case PACKET_PUBREC:
        handle_pubrec(conn, &ack);
        break;
    case PACKET_PUBREL:
        handle_pubrel(conn, &ack);
        break;
    default:
        (void)session_pubcomp(conn->session, ack.packet_id);
        break;
    }
}
