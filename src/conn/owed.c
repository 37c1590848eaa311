/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acknowledgements: sent at once when what they promise is safe already, else kept in order until
 * the store has answered. An owed packet outlives its connection while somebody still has to
 * answer; then it is only a counter.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"

struct owed {
    struct owed *next; /* in the connection's list */
    struct conn *conn; /* NULL: the connection is gone */
    struct store_waiter waiter;
    uint32_t unanswered;
    bool failed;
    bool own_waiter; /* the waiter is with the store */
    uint32_t len;
    uint8_t *packet; /* inside, or of its own when it is long */
    uint8_t small[16];
};

static void owed_free(struct owed *owed)
{
    if (owed->packet != owed->small)
        mem_free(owed->packet);
    mem_free(owed);
}

static void write_packet(struct conn *conn, struct bytes packet)
{
    uint8_t type = packet.data[0] >> 4;
    if ((type == PACKET_PUBACK || type == PACKET_PUBCOMP ||
         (type == PACKET_PUBREC && packet.len > 4 && packet.data[4] >= 0x80)) &&
        conn->receive_open > 0)
        conn->receive_open--; /* [MQTT-3.3.4-7]: the exchange is over */
    if (packet.len > conn->packet_max_out || stream_write(&conn->stream, packet) != RC_OK)
        return;
    metric_inc(conn->worker->metrics, METRIC_PACKETS_SENT);
    metric_add(conn->worker->metrics, METRIC_BYTES_SENT, packet.len);
}

/* The store could not keep what this packet promises. */
static void write_failure(struct conn *conn, struct owed *owed)
{
    uint8_t type = owed->packet[0] >> 4;
    metric_inc(conn->worker->metrics, METRIC_STORE_ERRORS);
    LOG_LIMITED(LOG_ERROR, "conn.not_acknowledged", log_int("packet_type", type));
    if (type == PACKET_SUBACK || type == PACKET_UNSUBACK) {
        conn_close(conn, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
        return;
    }
    if (type == PACKET_CONNACK) {
        conn_close(conn, MQTT_SERVER_UNAVAILABLE);
        return;
    }
    uint16_t packet_id = (uint16_t)(owed->packet[2] << 8 | owed->packet[3]);
    if (type == PACKET_PUBREC && conn->session != NULL)
        session_received_remove(conn->session, packet_id); /* a repeat is a new try */
    if (conn->version != MQTT_V5 || type == PACKET_PUBCOMP)
        return; /* withheld: the client sends it again when it comes back */
    uint8_t packet[8];
    uint8_t *end = ack_write(packet, MQTT_V5, type, packet_id, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
    write_packet(conn, bytes_of(packet, (size_t)(end - packet)));
}

/* Sends from the front what is safe. */
static void send_ready(struct conn *conn)
{
    while (conn->state == CONN_CONNECTED && conn->owed_first != NULL) {
        struct owed *owed = conn->owed_first;
        if (owed->unanswered > 0)
            return;
        conn->owed_first = owed->next;
        if (owed->failed)
            write_failure(conn, owed);
        else
            write_packet(conn, bytes_of(owed->packet, owed->len));
        owed_free(owed);
    }
}

static void answered(struct owed *owed, enum rc rc)
{
    CHECK(owed->unanswered > 0);
    owed->failed |= rc != RC_OK;
    if (--owed->unanswered > 0)
        return;
    if (owed->conn == NULL)
        owed_free(owed);
    else
        send_ready(owed->conn);
}

static void committed(struct store_waiter *waiter, enum rc rc)
{
    answered(CONTAINER_OF(waiter, struct owed, waiter), rc);
}

void conn_owed_published(struct publish_ticket *ticket, enum rc rc)
{
    if (ticket->owner != 0)
        answered((struct owed *)(uintptr_t)ticket->owner, rc); /* never left this thread */
}

static struct owed *owed_new(struct conn *conn)
{
    struct conn_worker *worker = conn->worker;
    struct owed *owed = worker->spare_owed;
    worker->spare_owed = NULL;
    if (owed == NULL)
        owed = mem_new(sizeof(*owed));
    *owed = (struct owed){.conn = conn, .waiter.done = committed};
    list_init(&owed->waiter.link);
    return owed;
}

void conn_owe(struct conn *conn, struct bytes packet, struct publish_ticket *ticket,
              enum owed_changes changes)
{
    if (ticket == NULL && changes == OWED_NO_CHANGES && conn->owed_first == NULL) {
        write_packet(conn, packet);
        return;
    }
    struct owed *owed = owed_new(conn);
    if (changes == OWED_SESSION_CHANGED &&
        store_wait(conn->session->store, &owed->waiter) == RC_AGAIN)
        owed->unanswered++;
    if (ticket != NULL) {
        ticket->owner = (uint64_t)(uintptr_t)owed;
        owed->unanswered++;
    }
    if (owed->unanswered == 0 && conn->owed_first == NULL) {
        conn->worker->spare_owed = owed;
        write_packet(conn, packet);
        return;
    }
    metric_inc(conn->worker->metrics, METRIC_ACKS_DELAYED);
    owed->len = (uint32_t)packet.len;
    owed->packet = packet.len <= sizeof(owed->small) ? owed->small : mem_new(packet.len);
    memcpy(owed->packet, packet.data, packet.len);
    if (conn->owed_first == NULL)
        conn->owed_first = owed;
    else
        conn->owed_last->next = owed;
    conn->owed_last = owed;
}

void conn_owe_ack(struct conn *conn, uint8_t type, uint16_t packet_id, enum mqtt_reason reason,
                  struct publish_ticket *ticket, enum owed_changes changes)
{
    uint8_t packet[8];
    uint8_t *end = ack_write(packet, conn->version, type, packet_id, (uint8_t)reason);
    conn_owe(conn, bytes_of(packet, (size_t)(end - packet)), ticket, changes);
}

void conn_owed_forget(struct conn *conn)
{
    struct owed *owed;
    while ((owed = conn->owed_first) != NULL) {
        conn->owed_first = owed->next;
        owed->conn = NULL;
        if (owed->unanswered == 0)
            owed_free(owed);
    }
}
