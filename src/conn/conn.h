/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol state machine of one client's connection, for all versions of MQTT.
 *
 *   WAIT_CONNECT --CONNECT--> [on another worker? move there] --ok--> ACCEPTED --CONNACK is out-->
 *        |                          |                                    ^          CONNECTED -->
 * CLOSING |                          +--enhanced authentication--> AUTHENTICATING
 *        +--anything else, timeout--> CLOSING
 *
 * A connection belongs to one worker; after CONNECT that is its session's home. All of it runs on
 * that thread.
 */
#ifndef CONN_CONN_H
#define CONN_CONN_H

#include "codec/packet.h"
#include "config/config.h"
#include "delivery/delivery.h"
#include "hook/auth.h"
#include "net/stream.h"
#include "session/session.h"

struct conn;

/* What all connections of a node share. Read-only, but for the atomics. */
struct conn_shared {
    const struct config *config;
    struct auth_registry auth;
    _Atomic uint32_t connections; /* open transports */
    _Atomic uint32_t sessions;
    _Atomic uint64_t next_number; /* makes assigned client ids unique within the process */
    uint64_t process_id;          /* random; the same between processes */
    _Atomic bool memory_full;     /* resident size is above limits.memory_bytes */
    _Atomic bool queues_full;     /* all queues together hold queue.total_bytes_max */
};

/* How a connection came in. */
struct conn_origin {
    enum transport transport;
    uint32_t listener;       /* of the configuration */
    bool proxy_header;       /* one comes first: it is new, and its listener wants one */
    struct stream_peer peer; /* of one that another worker has moved */
};

struct conn_worker_ops {
    /* The session's home is another worker: takes descriptor, filter and unread bytes there. */
    void (*move)(void *owner, uint32_t worker, int fd, const struct conn_origin *origin,
                 struct stream_filter *filter, uint8_t *unread, size_t unread_len);
};

enum { WORK_PER_TURN = 16384, CONNECTIONS_GRACE = 256 };

struct conn_worker {
    struct conn_shared *shared;
    struct loop *loop;
    struct delivery_hub *hub;
    struct session_table *sessions;
    struct metrics_shard *metrics;
    struct job_queue *jobs;
    struct list connections; /* all of this worker */
    session_ref *yielded;    /* have bytes to parse and did enough for this turn */
    uint32_t yielded_count, yielded_room;
    struct owed *spare_owed;
    struct topic_policy *policy; /* NULL: no topic has a durability of its own */
    struct list orphans;         /* owed acknowledgements of connections that are gone */
    uint32_t worker, worker_count;
    uint32_t questions; /* asked of other workers so far; numbers them */
    const struct conn_worker_ops *ops;
    void *owner;
    bool draining; /* shutting down: accept nobody */
};

void conn_worker_init(struct conn_worker *worker);
void conn_worker_deinit(struct conn_worker *worker);

/* Once a loop turn: lets connections that yielded go on. True: some have more to do at once. */
bool conn_worker_turn(struct conn_worker *worker);

/* Shuts down: DISCONNECT 0x8B to up to `max` clients; true when none is left to tell. */
bool conn_worker_drain(struct conn_worker *worker, uint32_t max);

/* Sends away the clients whose sessions are stored in the group's shards, without telling the
 * sessions: they go on at another node. */
void conn_worker_send_away(struct conn_worker *worker, struct shard_group group);

/* Closes every connection now. */
void conn_worker_close(struct conn_worker *worker);

/* A descriptor that a listener accepted, or that another worker moved here with what it had read
 * (takes both). It is closed when the worker shuts down. */
void conn_accept(struct conn_worker *worker, int fd, const struct conn_origin *origin,
                 struct stream_filter *filter, uint8_t *unread, size_t unread_len);

/* hub_ops of every hub; hub->owner is the conn_worker. */
extern const struct hub_ops conn_hub_ops;

/* Closes the connections that a person or the broker wants gone. */
void conn_close(struct conn *conn, enum mqtt_reason reason);

/* The connection that a session has now; NULL: none. Borrowed. */
struct conn *conn_of_session(const struct session *session);

enum { CONN_ADDRESS_MAX = 64 };

/* What a person wants to know of a connection. */
struct conn_facts {
    char address[CONN_ADDRESS_MAX]; /* of the peer, "127.0.0.1:54321" */
    enum transport transport;
    enum mqtt_version version;
    uint16_t keep_alive_s; /* 0: none */
    uint64_t connected_ms; /* clock_ms(), to the second */
};

void conn_tell(struct conn *conn, struct conn_facts *facts);

#endif
