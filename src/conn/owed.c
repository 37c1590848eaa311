/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acknowledgements: sent at once when what they promise is safe already, else kept in order until
 * the store has answered. An owed packet outlives its connection while somebody still has to
 * answer: then nothing is sent, but a QoS 2 publication that could not be kept is forgotten all the
 * same, and a repeat of it on the next connection waits for the same answer.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"

struct owed {
    struct owed *next; /* in the connection's list */
    struct conn *conn; /* NULL: the connection is gone */
    struct conn_worker *worker;
    session_ref session;
    uint8_t version;
    struct list orphans; /* in worker->orphans, when the connection is gone */
    struct owed *repeat; /* waits for the same answer */
    struct store_waiter waiter;
    uint32_t unanswered;
    enum rc rc; /* the first failure */
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
    if (packet.len <= conn->packet_max_out && stream_write(&conn->stream, packet) == RC_OK) {
        metric_inc(conn->worker->metrics, METRIC_PACKETS_SENT);
        metric_add(conn->worker->metrics, METRIC_BYTES_SENT, packet.len);
    }
    if (type == PACKET_CONNACK)
        conn_connack_sent(conn);
}

static uint8_t type_of(const struct owed *owed)
{
    return owed->packet[0] >> 4;
}

/* Of PUBACK to PUBCOMP, SUBACK and UNSUBACK. */
static uint16_t owed_packet_id(const struct owed *owed)
{
    return (uint16_t)(owed->packet[2] << 8 | owed->packet[3]);
}

enum mqtt_reason conn_reason_of(enum rc rc)
{
    return rc == RC_FULL || rc == RC_REFUSED ? MQTT_QUOTA_EXCEEDED
                                             : MQTT_IMPLEMENTATION_SPECIFIC_ERROR;
}

/* The store could not keep what this packet promises, or no session had room for it. */
static void write_failure(struct conn *conn, struct owed *owed)
{
    uint8_t type = type_of(owed);
    if (owed->rc == RC_REFUSED && conn->version != MQTT_V5) {
        write_packet(conn, bytes_of(owed->packet, owed->len)); /* dropped, and 3.x cannot say so */
        return;
    }
    metric_inc(conn->worker->metrics, METRIC_STORE_ERRORS);
    LOG_LIMITED(LOG_ERROR, "conn.not_acknowledged", log_int("packet_type", type),
                log_text("reason", rc_name(owed->rc)));
    if (type == PACKET_SUBACK || type == PACKET_UNSUBACK) {
        conn_close(conn, MQTT_IMPLEMENTATION_SPECIFIC_ERROR);
        return;
    }
    if (type == PACKET_CONNACK) {
        conn_refuse(conn, MQTT_SERVER_UNAVAILABLE, NULL);
        return;
    }
    if (conn->version != MQTT_V5 || type == PACKET_PUBCOMP || type == PACKET_PUBREL)
        return; /* withheld: it is sent again when the client comes back */
    uint8_t packet[8];
    uint8_t *end =
        ack_write(packet, MQTT_V5, type, owed_packet_id(owed), (uint8_t)conn_reason_of(owed->rc));
    write_packet(conn, bytes_of(packet, (size_t)(end - packet)));
}

/* Sends from the front what is safe. */
static void send_ready(struct conn *conn)
{
    while (conn->owed_first != NULL) { /* nothing is owed when one has ended the connection */
        struct owed *owed = conn->owed_first;
        if (owed->unanswered > 0)
            return;
        conn->owed_first = owed->next;
        if (owed->rc != RC_OK)
            write_failure(conn, owed);
        else
            write_packet(conn, bytes_of(owed->packet, owed->len));
        owed_free(owed);
    }
}

/* What was not kept was not received: when it comes again, it is a new try. */
static void forget_received(const struct owed *owed)
{
    struct session *session = session_of_ref(owed->worker->sessions, owed->session);
    if (type_of(owed) == PACKET_PUBREC && session != NULL)
        session_received_remove(session, owed_packet_id(owed));
}

static void answered(struct owed *owed, enum rc rc)
{
    CHECK(owed->unanswered > 0);
    if (owed->rc == RC_OK)
        owed->rc = rc;
    if (--owed->unanswered > 0)
        return;
    rc = owed->rc;
    struct owed *repeat = owed->repeat;
    if (rc != RC_OK && !(rc == RC_REFUSED && owed->version != MQTT_V5))
        forget_received(owed);
    if (owed->conn != NULL) {
        send_ready(owed->conn);
    } else {
        list_remove(&owed->orphans);
        owed_free(owed);
    }
    if (repeat != NULL)
        answered(repeat, rc);
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
    *owed = (struct owed){
        .conn = conn, .worker = worker, .version = conn->version, .waiter.done = committed};
    if (conn->session != NULL)
        owed->session = conn->session->ref;
    list_init(&owed->orphans);
    list_init(&owed->waiter.link);
    return owed;
}

/* Puts it behind what waits already. */
static void owed_add(struct conn *conn, struct owed *owed, struct bytes packet)
{
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

void conn_owe(struct conn *conn, struct bytes packet, struct publish_ticket *ticket,
              enum owed_changes changes)
{
    if (ticket == NULL && changes == OWED_NO_CHANGES && conn->owed_first == NULL) {
        write_packet(conn, packet);
        return;
    }
    struct owed *owed = owed_new(conn);
    enum rc rc = RC_OK;
    owed->waiter.written_is_enough = changes == OWED_SESSION_WRITTEN;
    if (changes != OWED_NO_CHANGES)
        rc = store_wait(conn->session->store, &owed->waiter);
    if (rc == RC_AGAIN)
        owed->unanswered++;
    else
        owed->rc = rc;
    if (ticket != NULL) {
        ticket->owner = (uint64_t)(uintptr_t)owed;
        owed->unanswered++;
    }
    if (owed->rc == RC_OK && owed->unanswered == 0 && conn->owed_first == NULL) {
        conn->worker->spare_owed = owed;
        write_packet(conn, packet);
        return;
    }
    owed_add(conn, owed, packet);
    if (owed->unanswered == 0) {
        owed->unanswered = 1;
        answered(owed, RC_OK); /* it has failed already */
    }
}

void conn_owe_ack(struct conn *conn, uint8_t type, uint16_t packet_id, enum mqtt_reason reason,
                  struct publish_ticket *ticket, enum owed_changes changes)
{
    uint8_t packet[8];
    uint8_t *end = ack_write(packet, conn->version, type, packet_id, (uint8_t)reason);
    conn_owe(conn, bytes_of(packet, (size_t)(end - packet)), ticket, changes);
}

static bool awaits_pubrec(const struct owed *owed, session_ref session, uint16_t packet_id)
{
    return owed->unanswered > 0 && owed->repeat == NULL && owed->session == session &&
           type_of(owed) == PACKET_PUBREC && owed_packet_id(owed) == packet_id;
}

/* The last PUBREC of that identifier which waits for the store, of this connection or one before;
 * NULL: none. */
static struct owed *find_pubrec(struct conn *conn, uint16_t packet_id)
{
    session_ref session = conn->session->ref;
    for (struct owed *owed = conn->owed_first; owed != NULL; owed = owed->next)
        if (awaits_pubrec(owed, session, packet_id))
            return owed;
    LIST_FOR_EACH (link, &conn->worker->orphans) {
        struct owed *owed = CONTAINER_OF(link, struct owed, orphans);
        if (awaits_pubrec(owed, session, packet_id))
            return owed;
    }
    return NULL;
}

void conn_owe_repeat(struct conn *conn, uint16_t packet_id, bool retained)
{
    struct owed *first = find_pubrec(conn, packet_id);
    if (first == NULL) {
        struct publish_ticket *ticket =
            retained ? delivery_await_outbox(conn->worker->hub, conn->session) : NULL;
        conn_owe_ack(conn, PACKET_PUBREC, packet_id, MQTT_SUCCESS, ticket, OWED_NO_CHANGES);
        return;
    }
    uint8_t packet[8];
    uint8_t *end = ack_write(packet, conn->version, PACKET_PUBREC, packet_id, MQTT_SUCCESS);
    first->repeat = owed_new(conn);
    first->repeat->unanswered = 1;
    owed_add(conn, first->repeat, bytes_of(packet, (size_t)(end - packet)));
}

void conn_owed_forget(struct conn *conn)
{
    struct owed *owed;
    while ((owed = conn->owed_first) != NULL) {
        conn->owed_first = owed->next;
        owed->conn = NULL;
        if (owed->unanswered == 0)
            owed_free(owed);
        else
            list_add_last(&conn->worker->orphans, &owed->orphans);
    }
}
