/* SPDX-License-Identifier: Apache-2.0 */
/* The struct of a connection and what the files of this folder call in each other. */
#ifndef CONN_CONNECTION_H
#define CONN_CONNECTION_H

#include "conn/conn.h"

enum conn_state {
    CONN_WAIT_CONNECT,
    CONN_AUTHENTICATING, /* enhanced authentication before CONNACK */
    CONN_ACCEPTED,       /* CONNACK waits for the store */
    CONN_CONNECTED,
    CONN_CLOSING, /* what still comes in is thrown away */
};

/* Why input waits; reading goes on when none is left. */
enum conn_busy {
    CONN_BUSY_JOB = 1,      /* a long SUBSCRIBE or UNSUBSCRIBE is being worked off */
    CONN_BUSY_YIELDED = 2,  /* did its share of this turn */
    CONN_BUSY_PAUSED = 4,   /* its subscribers lag */
    CONN_BUSY_OUTPUT = 8,   /* it does not read what it is answered */
    CONN_BUSY_CONNACK = 16, /* its CONNACK waits for the store */
    CONN_BUSY_HOME = 32,    /* its session has no home, or that has not let it in yet, or others
                             * that a publication may be for have none */
};

struct alias_in {
    uint32_t len;
    uint8_t *topic; /* NULL: not mapped */
};

enum { ASSIGNED_MAX = 64 };

/* What only some connections need; NULL until then. */
struct conn_extra {
    struct alias_in *alias_in; /* index alias - 1; mqtt.topic_alias_max of them */
    struct alias_out *alias_out;
    const struct auth_mechanism *mechanism;
    void *exchange;   /* of the mechanism, while one runs */
    uint8_t *connect; /* copy of the CONNECT packet while authenticating */
    size_t connect_len;
    struct auth_reply reply;
    char assigned[ASSIGNED_MAX]; /* the client id that it will have, for its will; or "" */
};

struct owed;

struct conn {
    struct stream stream; /* first */
    struct conn_worker *worker;
    struct session *session; /* NULL before CONNECT and after the end */
    struct session_sink sink;
    struct list link;        /* in worker->connections, or homeless */
    struct loop_timer timer; /* CONNECT timeout, then keep alive */
    struct conn_extra *extra;
    struct owed *owed_first, *owed_last; /* acknowledgements that wait for the store, in order */
    struct filter_job *job;
    struct registration *registration; /* with the home of its client id; NULL: not needed */
    uint64_t last_in_ms;               /* when the last complete packet came */
    struct pace *pace;                 /* NULL: its subscribers did not lag lately */
    uint32_t stuck_bytes;              /* output at the last look, while CONN_BUSY_OUTPUT */
    uint32_t connected_s;              /* clock_ms() / 1000 at CONNACK */
    uint32_t packet_max_out;           /* what the client takes */
    uint32_t held_ms;      /* since when packets wait for a home: the lower bits; 0: none does */
    uint32_t receive_open; /* QoS 1/2 publications of the client that are not acknowledged */
    uint16_t keep_alive_s; /* 0: none */
    uint16_t alias_out_max;
    uint8_t version;              /* enum mqtt_version, 0 before CONNECT */
    uint8_t state;                /* enum conn_state */
    uint8_t busy;                 /* enum conn_busy bits */
    uint8_t listener;             /* of the configuration */
    uint8_t durability;           /* enum durability: the listener's */
    bool problem_information : 1; /* reason strings and user properties are welcome everywhere */
    bool counted : 1;             /* in METRIC_CONNECTIONS_CURRENT */
    bool open : 1;                /* in shared->connections */
    bool awaits_home : 1;         /* since its CONNECT came; `timer` says how long still */
    bool claims : 1;              /* vacate() has said no */
    bool will_away : 1;           /* the home of its client id has its will */
    bool will_stands : 1;         /* ... and publishes it at the end of the connection */
};

static inline struct conn *conn_of_stream(struct stream *stream)
{
    return CONTAINER_OF(stream, struct conn, stream);
}

static inline struct conn *conn_of_sink(struct session_sink *sink)
{
    return CONTAINER_OF(sink, struct conn, sink);
}

/* How long the client may be silent [MQTT-3.1.2-22]; 0: for ever. */
static inline uint32_t conn_keep_alive_ms(const struct conn *conn)
{
    return conn->keep_alive_s * 1500u;
}

/* When what is handed up now was read: it may have waited for a home. */
static inline uint64_t conn_received_ms(const struct conn *conn)
{
    uint64_t now_ms = conn->worker->loop->now_ms;
    return conn->held_ms == 0 ? now_ms : now_ms - ((uint32_t)now_ms - conn->held_ms);
}

static inline const struct config *conn_config(const struct conn *conn)
{
    return conn->worker->shared->config;
}

/* ---- conn.c ------------------------------------------------------------------------------------
 */

/*
 * The peer's fault: answers with the reason where the version and the moment allow it (DISCONNECT,
 * or CONNACK before there was one), closes, and keeps the will. `text` goes into the log and,
 * for 5.0, the reason string.
 */
void conn_fault(struct conn *conn, enum mqtt_reason reason, const char *text);

/* Whether a decoded property block keeps to limits.user_properties; counts when it does not. */
bool conn_user_properties_ok(struct conn *conn, struct bytes block);

/* Closes after what is buffered has been sent. The session, if any, is detached. */
void conn_end(struct conn *conn, enum session_will will);

/* The client said DISCONNECT: it waits for nothing but what is buffered already. */
void conn_end_by_client(struct conn *conn, enum session_will will);

/* Lets go of the session without telling it. */
void conn_forget_session(struct conn *conn);

/* The extra part, made when needed; NULL: no memory. */
struct conn_extra *conn_extra(struct conn *conn);

/* Takes the connection out of the number of open ones, once. */
void conn_count_closed(struct conn *conn);

void conn_set_busy(struct conn *conn, enum conn_busy why);
void conn_clear_busy(struct conn *conn, enum conn_busy why);

/* Lets the others of this turn go first: the rest of the input is parsed in the next one. */
void conn_yield(struct conn *conn);

/* ---- one file per packet family -----------------------------------------------------------------
 */

/* Gives false when the frame is not consumed: the connection moved to another worker or node, or
 * waits. */
bool conn_handle_connect(struct conn *conn, const struct frame *frame, const uint8_t *packet,
                         size_t consumed);
void conn_handle_publish(struct conn *conn, const struct frame *frame, const uint8_t *packet);
void conn_handle_ack(struct conn *conn, const struct frame *frame);
void conn_handle_subscribe(struct conn *conn, const struct frame *frame);
void conn_handle_unsubscribe(struct conn *conn, const struct frame *frame);
void conn_handle_disconnect(struct conn *conn, const struct frame *frame);
void conn_handle_auth(struct conn *conn, const struct frame *frame);

/* connect.c: authentication, if any, is done: accept the CONNECT. */
void conn_accept_connect(struct conn *conn, const struct connect *given);
/* CONNACK has gone out: what the session has for the client follows. */
void conn_connack_sent(struct conn *conn);
/* CONNACK with an error (mapped for 3.x), then the end. */
void conn_refuse(struct conn *conn, enum mqtt_reason reason, const char *text);

/* home.c */
enum home_result {
    HOME_FOUND,   /* this worker */
    HOME_LEFT,    /* the connection is on its way there, and must not be touched */
    HOME_AWAITED, /* there is none: CONNECT comes again when there is, or is refused after a while
                   */
    HOME_REFUSED, /* the client was told so */
};
enum home_result conn_find_home(struct conn *conn, const struct connect *connect, size_t consumed);

/* Whether nothing of the client may be answered now, since others may have let it in elsewhere
 * while this process did not run: then its packet is handed up again later. */
bool conn_hold_stalled(struct conn *conn);

/* Whether a PINGREQ has to wait: this node cannot be sure to be the home of the client's session
 * still, or has not heard of the home that it knows the client, so another one may have been let
 * in. One whose session is not stored waits some seconds at most. As above. */
bool conn_hold_ping(struct conn *conn);

/* Whether a PUBLISH that is to be acknowledged or retained has to wait, because it may not get to
 * everybody now: then it is handed up again later. */
bool conn_hold_publish(struct conn *conn, const struct frame *frame);

/* A SUBSCRIBE must wait, since it would be answered with old retained messages: as above. */
bool conn_hold_subscribe(struct conn *conn);
/* Its will, NULL: no memory. Gives a reference. */
struct message *conn_will_of(const struct conn *conn, const struct connect *connect,
                             session_ref publisher);
/* For the session of the CONNECT; 0: it ends with the connection. */
uint32_t conn_session_expiry(const struct conn *conn, const struct connect *connect);

/* A client id for a client without one: unique, and at home on this worker, so nothing moves. Gives
 * its length. */
size_t conn_assign_client_id(struct conn *conn, char *out, size_t room);

/* The end of the connection, for its home. */
void conn_leave_home(struct conn *conn);

static inline bool conn_is_tunnelled(const struct conn *conn)
{
    return conn->stream.fd == STREAM_CARRIED;
}

/* auth.c */
enum auth_start { AUTH_NONE, AUTH_RUNNING, AUTH_REFUSED };
enum auth_start conn_auth_begin(struct conn *conn, const struct connect *connect,
                                const uint8_t *packet, size_t packet_len);
/* Ends the exchange, if one runs. The connection has its extra part. */
void conn_auth_end(struct conn *conn);

/* ---- pace.c: publishers that are slowed ---------------------------------------------------------
 */

enum pause_reason {
    PAUSE_FOR_LAG,     /* a subscriber lags: longer each time, if the policy wants it */
    PAUSE_FOR_BACKLOG, /* another worker is behind */
};

/* Reads nothing from this publisher for a while: some milliseconds for a lag, and in any case until
 * `worker`, where the lag or the backlog is, has worked off what was sent to it. */
void conn_pause(struct conn *conn, enum pause_reason reason, uint32_t worker);

/* Another worker's answer. */
void conn_caught_up(struct conn *conn, uint32_t question);

/* A packet was handled of a connection that has a pace. */
void conn_pace_packet(struct conn *conn);

void conn_pace_free(struct conn *conn);

/* ---- policy.c: durability by topic -------------------------------------------------------------
 */

/* NULL when the configuration has no such topics. Borrows config. */
struct topic_policy *topic_policy_new(const struct config *config);

/* What counts for the topic; `otherwise` when no filter matches. */
enum durability topic_policy_of(struct topic_policy *policy, struct bytes topic,
                                enum durability otherwise);

/* What counts for what the client publishes to that topic. */
static inline enum durability conn_durability_of(const struct conn *conn, struct bytes topic)
{
    enum durability own = (enum durability)conn->durability;
    struct topic_policy *policy = conn->worker->policy;
    return __builtin_expect(policy == NULL, 1) ? own : topic_policy_of(policy, topic, own);
}

/* subscribe.c */
void conn_job_cancel(struct conn *conn);

/* ---- send.c ------------------------------------------------------------------------------------
 */

extern const struct session_sink_ops conn_sink_ops;

/* The reason for a client that this broker does not want now: 0x9C if it can be sent to another
 * server, else `reason`. conn_refuse() and conn_send_disconnect() then say which. */
enum mqtt_reason conn_elsewhere(const struct conn *conn, enum mqtt_reason reason);
/* Adds the servers to a packet that says 0x9C. */
void conn_add_server_reference(const struct conn *conn, struct properties *properties);

void conn_send_connack(struct conn *conn, const struct connack *connack);
void conn_send_disconnect(struct conn *conn, enum mqtt_reason reason, const char *text);
void conn_send_auth(struct conn *conn, const struct auth *auth);
void conn_send_pingresp(struct conn *conn);
void conn_alias_out_free(struct conn_extra *extra);

/* ---- owed.c: acknowledgements -------------------------------------------------------------------
 */

/* What a client is told when the store, or every session's queue, has not kept its message. */
enum mqtt_reason conn_reason_of(enum rc rc);

enum owed_changes {
    OWED_NO_CHANGES,
    OWED_SESSION_CHANGED,
    OWED_SESSION_WRITTEN, /* it changed, and it is enough when that is written */
};

/* What an acknowledgement of that durability waits for when the session changed. */
static inline enum owed_changes owed_changed(enum durability durability)
{
    static const enum owed_changes changes[] = {[DURABILITY_FSYNC] = OWED_SESSION_CHANGED,
                                                [DURABILITY_INTERVAL] = OWED_SESSION_WRITTEN,
                                                [DURABILITY_MEMORY] = OWED_NO_CHANGES};
    return changes[durability];
}

/* The same for a change of the connection's own session. */
static inline enum owed_changes conn_session_changed(const struct conn *conn)
{
    return session_durable(conn->session) ? owed_changed((enum durability)conn->durability)
                                          : OWED_NO_CHANGES;
}

/*
 * Sends an acknowledgement when what it promises is safe: when `ticket` (may be NULL) has been
 * answered and, if the session changed, its shard has committed. Acknowledgements leave in the
 * order of these calls [MQTT-4.6.0-2]. `packet` is complete; it is copied.
 */
void conn_owe(struct conn *conn, struct bytes packet, struct publish_ticket *ticket,
              enum owed_changes changes);

/* The usual one, PUBACK to PUBCOMP; with a reason string if `text` is not NULL (5.0). */
void conn_owe_ack(struct conn *conn, uint8_t type, uint16_t packet_id, enum mqtt_reason reason,
                  struct publish_ticket *ticket, enum owed_changes changes);

/* PUBREC for a repeat of a publication: when that is safe, and not when it could not be kept; and
 * when it is retained, if it is to be. */
void conn_owe_repeat(struct conn *conn, uint16_t packet_id, bool retained);

/* A ticket that an owed packet waited for has been answered. */
void conn_owed_published(struct publish_ticket *ticket, enum rc rc);

/* The connection ends: nothing of it will be sent. */
void conn_owed_forget(struct conn *conn);

#endif
