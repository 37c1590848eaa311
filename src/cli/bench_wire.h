/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generator's end of the wire: many MQTT connections on one epoll set. Output is collected and
 * written once a step, input is read into one shared buffer; an idle connection holds no buffer.
 * There is no resend and no keep alive answer to wait for: a connection that ends has ended.
 *
 *   CLOSED --open--> DIALLING --connected--> [UPGRADING] --> GREETING --CONNACK--> UP
 *      ^                |                         |             |                  |
 *      '----------------+----(failed counts)------+-------------'---(lost counts)--'
 */
#ifndef CLI_BENCH_WIRE_H
#define CLI_BENCH_WIRE_H

#include "base/bytes.h"
#include "cli/bench.h"
#include "model/message.h"

#include <stddef.h>

struct ws;
struct wire;

enum wire_state {
    WIRE_CLOSED,
    WIRE_DIALLING,  /* TCP */
    WIRE_UPGRADING, /* the WebSocket handshake */
    WIRE_GREETING,  /* CONNECT is sent */
    WIRE_UP,
};

enum {
    WIRE_READ_SIZE = 256 * 1024,
    WIRE_OUT_HIGH = 256 * 1024, /* a publisher waits for the socket above this */
    WIRE_PACKET_IDS = 65536,
};

struct wire_buffer {
    uint8_t *data;
    size_t len, sent, room;
};

struct wire_conn {
    int fd;
    uint8_t state; /* enum wire_state */
    bool is_publisher;
    bool waits_writable;
    bool dirty;                 /* on wire->dirty */
    bool persistent;            /* keeps its session for an hour; set before wire_open() */
    uint32_t index;             /* in its group */
    uint32_t address;           /* chooses the source address, see wire_open() */
    struct wire_buffer in, out; /* MQTT */
    struct ws *websocket;
    struct wire_buffer framed; /* WebSocket: what goes to the socket */
    uint64_t opened_ns;

    /* What stands before each payload of a publisher that keeps to one topic; see wire_fix_topic().
     */
    uint8_t *header;
    size_t header_size;

    /* Packet ids. A publisher: what each of its own waits for; a subscriber: 1 from PUBREC to
     * PUBREL. NULL until one is used. */
    uint8_t *ids;
    uint32_t id_limit, inflight, receive_maximum;
    uint16_t last_id;

    uint64_t published, delivered, forgiven; /* of a publisher; the load layer's */
};

struct wire_ops {
    /* CONNACK has said yes. Callbacks may close the connection, not open it again. */
    void (*up)(struct wire_conn *conn, void *owner);
    /* The connection is over; not called for wire_close() and wire_goodbye(). */
    void (*lost)(struct wire_conn *conn, void *owner);
    /* A message to be counted (a QoS 2 message that is sent again is not). Borrowed. */
    void (*message)(struct wire_conn *conn, struct bytes payload, void *owner);
    /* At the end of each step, for every connection that wire_mark() named: room for more? */
    void (*refill)(struct wire_conn *conn, void *owner);
};

struct wire_counters {
    uint64_t up;             /* now */
    uint64_t failed;         /* ended before CONNACK */
    uint64_t lost;           /* ended behind it, not by us */
    uint64_t subscribed;     /* filters granted */
    uint64_t not_subscribed; /* filters refused */
    uint64_t refused;        /* publishes answered with an error */
    uint64_t redelivered;    /* QoS 2 messages that came again under the same id */
    uint64_t strange;        /* packets that nothing explains */
    uint64_t pongs;
    uint8_t first_reason; /* of the first refusal or DISCONNECT, 0: none */
};

struct wire {
    const struct bench_settings *settings;
    const struct wire_ops *ops;
    void *owner;
    int epoll;
    uint8_t *read_buffer;
    size_t read_room;
    struct wire_conn **dirty;
    size_t dirty_count, dirty_room;
    uint64_t now_ns; /* of the batch being handed up */
    struct wire_counters counters;
    void *peer;             /* struct addrinfo of the broker */
    void *subscribers_peer; /* the same, or of the broker where subscribers connect */
};

/* Borrows settings, ops and owner. Exits when the host does not resolve. */
void wire_init(struct wire *wire, const struct bench_settings *settings, const struct wire_ops *ops,
               void *owner);

/* The connections are the caller's and closed before. */
void wire_deinit(struct wire *wire);

/* A group of `count` closed connections, numbered from 0. */
struct wire_conn *wire_group_new(uint32_t count, bool publishers);

/* Closes what is open and frees the group. */
void wire_group_free(struct wire *wire, struct wire_conn *group, uint32_t count);

/*
 * Starts to connect a closed connection. `spread` binds 127.0.0.2 and following (8,000 connections
 * each, by conn->address), because one source address has only some 28,000 ports; it does nothing
 * when the broker is not on 127.0.0.0/8.
 */
enum wire_spread { WIRE_ONE_ADDRESS, WIRE_SPREAD };
void wire_open(struct wire *wire, struct wire_conn *conn, enum wire_spread spread);

/* Closes at once; harmless when it is closed. */
void wire_close(struct wire *wire, struct wire_conn *conn);

/* Sends DISCONNECT and closes. */
void wire_goodbye(struct wire *wire, struct wire_conn *conn);

/* These append to the output; wire_flush() or the end of the step writes it. */
void wire_subscribe(struct wire *wire, struct wire_conn *conn, uint16_t packet_id,
                    const char *filter);
void wire_ping(struct wire *wire, struct wire_conn *conn);
/* Appends all of a PUBLISH but the payload: gives where that goes, settings->payload_size bytes, to
 * be filled at once. Takes a packet id when QoS > 0; the caller knows that inflight <
 * receive_maximum. An empty topic stands for the one that was fixed. */
uint8_t *wire_publish(struct wire *wire, struct wire_conn *conn, struct bytes topic, bool retain);
/* From now on this publisher can publish without a topic, which is cheaper. */
void wire_fix_topic(struct wire *wire, struct wire_conn *conn, struct bytes topic);

void wire_flush(struct wire *wire, struct wire_conn *conn);

static inline bool wire_out_is_high(const struct wire_conn *conn)
{
    return conn->out.len - conn->out.sent + conn->framed.len - conn->framed.sent >= WIRE_OUT_HIGH;
}

void wire_mark_more(struct wire *wire, struct wire_conn *conn);

/* Calls refill() and flushes at the end of this step, or of the next one. */
static inline void wire_mark(struct wire *wire, struct wire_conn *conn)
{
    if (!conn->dirty)
        wire_mark_more(wire, conn);
}

/* Waits for at most timeout_ns, handles what is ready, refills, flushes. */
void wire_step(struct wire *wire, uint64_t timeout_ns);

/* Steps for so long, or until interrupted. */
void wire_run_for(struct wire *wire, double seconds);

#endif
