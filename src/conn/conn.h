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
 * that thread. In a cluster a session that outlives its connection may live on another node: then
 * the transport stays here, and the connection is over there (home.c).
 */
#ifndef CONN_CONN_H
#define CONN_CONN_H

#include "codec/packet.h"
#include "config/config.h"
#include "delivery/delivery.h"
#include "hook/auth.h"
#include "net/carried.h"
#include "session/session.h"

struct conn;
struct registration; /* of a client id with its home, another node */

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
    _Atomic uint64_t closed_ms;   /* clients that come are sent elsewhere from then on; 0: not */
};

/* How a connection came in. */
struct conn_origin {
    enum transport transport;
    uint32_t listener;       /* of the configuration */
    bool proxy_header;       /* one comes first: it is new, and its listener wants one */
    struct stream_peer peer; /* of one that another worker has moved, or another node has */
    uint32_t hash;      /* client_id_hash(), of one that goes to another node or comes from it */
    uint8_t durability; /* enum durability: of the listener; the same */
    uint8_t version;    /* enum mqtt_version, of one that goes */
};

enum conn_place {
    CONN_HERE,
    CONN_AWAY,
    CONN_NOWHERE, /* no node has them at the moment */
    CONN_CUT_OFF, /* nor can most be reached, who may have them, or the one that has them */
};

struct conn_home {
    enum conn_place place;
    uint32_t node, workers; /* CONN_AWAY: for tunnel() */
};

enum conn_enrolment {
    CONN_ASKS,             /* for its CONNECT to be let in */
    CONN_CONNECTED_BEFORE, /* to stay: there is no conn_go_on() */
};

struct conn_worker_ops {
    /* The session's home is another worker: takes descriptor, filter and unread bytes there. */
    void (*move)(void *owner, uint32_t worker, int fd, const struct conn_origin *origin,
                 struct stream_filter *filter, uint8_t *unread, size_t unread_len);
    /* Where sessions with that client_id_hash() live that outlive their connection. NULL, as the
     * next: this node is alone. */
    struct conn_home (*home_of)(void *owner, uint32_t hash);
    /* The session's home is another node: the same as move(). */
    void (*tunnel)(void *owner, const struct conn_home *home, int fd,
                   const struct conn_origin *origin, struct stream_filter *filter, uint8_t *unread,
                   size_t unread_len);
    /* The session lives here because it ends with its connection, and its client id has that home:
     * asks it to let the client in, and to keep its will (NULL: none), which is shared.
     * conn_go_on() follows, or conn_drop(), also later. */
    struct registration *(*enroll)(void *owner, const struct conn_home *home,
                                   struct bytes client_id, struct conn *conn,
                                   enum conn_enrolment kind, struct message *will);
    /* The home has let it in, and there is no other since that has not heard of it. */
    bool (*is_enrolled)(void *owner, const struct registration *registration);
    /* The connection is over; its will, if it gave one, is to be published or not. */
    void (*withdraw)(void *owner, struct registration *registration, enum session_will will);
    /* At the home of the client id: true when no other node has a connection of that name. Else
     * conn_go_on() follows, unless forget() is called before. */
    bool (*vacate)(void *owner, struct bytes client_id, struct conn *conn);
    void (*forget)(void *owner, const struct conn *conn);
};

enum { WORK_PER_TURN = 16384, CONNECTIONS_GRACE = 256 };

struct conn_worker {
    struct conn_shared *shared;
    struct loop *loop;
    struct delivery_hub *hub;
    struct session_table *sessions;
    struct metrics_shard *metrics;
    struct job_queue *jobs;
    struct list connections; /* all of this worker, but for */
    struct list homeless;    /* those whose next packet waits until sessions have a home */
    bool stalls;             /* it was found that the process had been stopped (conn/home.c) ... */
    uint64_t stalled_ms;     /* ... and when last, or that this was over */
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
 * sessions: they go on at another node. Gives how many. */
uint32_t conn_worker_send_away(struct conn_worker *worker, struct shard_group group);

/* Sends away up to `max` clients whose sessions end with that; gives how many it has found. It
 * looks at some of the connections only: the rest come with the next calls. */
uint32_t conn_worker_thin_out(struct conn_worker *worker, uint32_t max);

/* Closes every connection now. */
void conn_worker_close(struct conn_worker *worker);

/* A descriptor that a listener accepted, or that another worker moved here with what it had read
 * (takes both). It is closed when the worker shuts down. */
void conn_accept(struct conn_worker *worker, int fd, const struct conn_origin *origin,
                 struct stream_filter *filter, uint8_t *unread, size_t unread_len);

/* A client whose transport another node has: the carrier is taken for a stream. False: not now. */
bool conn_accept_tunnelled(struct conn_worker *worker, struct stream_carrier *carrier,
                           const struct conn_origin *origin);

/* What a connection waited for is there: see struct conn_worker_ops. */
void conn_go_on(struct conn *conn);
/* Another node has let in a connection of the same client id; or, without `reached`, may have. */
void conn_drop(struct conn *conn, bool reached);
/* The same for a client id that has its home here; it may be connected or not. */
void conn_worker_evict(struct conn_worker *worker, struct bytes client_id);

/* What has waited for a home or for routes comes again. */
void conn_worker_go_on(struct conn_worker *worker);
/* home_of() gives something else for some. */
void conn_worker_homes_changed(struct conn_worker *worker);

/* What a client that we have for another node is told when that ends: CONNACK, or DISCONNECT when
 * it was `answered`; nothing in 3.x then. Fills `out`, at most `room` bytes, and gives how many. */
size_t conn_farewell(const struct conn_worker *worker, enum mqtt_version version, bool answered,
                     uint8_t *out, size_t room);

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
