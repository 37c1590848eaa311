/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: what MQTT keeps of a client id (section 4.1) whether or not it is connected.
 * Subscriptions (owned by the router, listed here), messages in flight and queued, inbound QoS 2
 * identifiers, the will, and when all of it ends. Only the home worker touches a session: no lock.
 *
 *      connected --(connection gone)--> waiting --(expiry passes)--> ended
 *          ^                               |
 *          +---------(CONNECT)-------------+
 *
 * An idle session costs its struct and its client id; windows and queues exist while they are used.
 */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include "base/bytes.h"
#include "base/map.h"
#include "base/rc.h"
#include "base/timer_wheel.h"
#include "metrics/metrics.h"
#include "model/message.h"
#include "model/subscription.h"
#include "session/inflight.h"
#include "session/queue.h"
#include "store/store.h"

struct session;
struct session_table;
struct subscription;

/* How one copy of a publication is to be sent. */
struct outgoing {
    const struct publication *publication;
    struct message *message; /* the same as a message, NULL while it is only a view */
    uint16_t packet_id;      /* 0 with QoS 0 */
    uint8_t qos;
    bool dup, retain;
    const uint32_t *identifiers; /* subscription identifiers */
    uint32_t identifier_count;
    struct wire_cache *wire; /* NULL: not one of many copies, or it has a packet identifier */
};

/* Ready-made packets of one publication, shared by all receivers that need no packet identifier, no
 * subscription identifier and no alias: [0] 3.x, [1] 5.0, [2] and [3] the same with RETAIN 1. */
struct wire_cache {
    struct bytes packet[4]; /* data NULL: not made yet */
    uint8_t *scratch;       /* where packets are made; the worker's */
    size_t scratch_room;
};

enum send_result {
    SEND_OK,
    SEND_TOO_LARGE, /* larger than the client's maximum packet size: as if delivered [MQTT-3.1.2-25]
                     */
    SEND_FAILED,    /* the connection is ending */
};

/* The connection of a session, as the session sees it. Upward calls only. */
struct session_sink {
    const struct session_sink_ops *ops;
    bool hold; /* output is full: keep messages until session_pump() is called */
};

struct session_sink_ops {
    enum send_result (*publish)(struct session_sink *sink, const struct outgoing *outgoing);
    void (*pubrel)(struct session_sink *sink, uint16_t packet_id);
    /* Bytes sent to the client that it has not got yet; costs a system call. */
    size_t (*unsent)(struct session_sink *sink);
    /* Another connection takes this session: say so and close [MQTT-3.1.4-3]. */
    void (*taken_over)(struct session_sink *sink);
};

/* The record of a message that another session takes over: deleted when that one has it. */
struct moved_record {
    struct session_table *table;
    uint64_t session, sequence, shared;
    uint32_t shard; /* of the session that had it */
};

/* What a session's owner (delivery) does for it. */
struct session_ops {
    /* The session's end: remove its subscriptions. Everything else is gone already; session_free()
     * follows when subscriptions are NULL. */
    void (*ended)(struct session_table *table, struct session *session);
    /* Takes the will, already out of the session, and publishes it. */
    void (*publish_will)(struct session_table *table, struct session *session,
                         struct message *will);
    /* A member of a share went away without acknowledging this: true when another member (an online
     * one unless the session ends) takes it over. Borrows message. `record` (NULL: there is none)
     * is copied, and given to session_moved() when the other has the message. */
    bool (*share_orphan)(struct session_table *table, struct session *session,
                         struct share_member *member, struct message *message,
                         const struct moved_record *record);
    /* A stored message of a member whose session, with the reference `ended`, is gone: true when
     * another member gets it, for good once the caller's batch is committed. `share` is its
     * "$share/name/filter". Shares message. NULL: share_orphan() is asked. */
    bool (*share_inherit)(struct session_table *table, struct store_shard *store, uint64_t ended,
                          struct bytes share, struct message *message);
    /* The filter of a member's subscription, "$share/name/filter"; gives its length, 0: too long.
     * For records; NULL: not needed. */
    size_t (*share_filter)(struct share_member *member, char *out, size_t room);
    /* And back: NULL when the session has no such subscription any more. */
    struct share_member *(*share_find)(struct session_table *table, struct session *session,
                                       struct bytes filter);
};

enum { SESSION_NEVER_EXPIRES = 0xFFFFFFFF };

/* A QoS 2 packet identifier of the client that is not released. */
struct received {
    uint16_t packet_id;
    bool only_in_memory; /* of a message for which nothing is waited */
};

struct session {
    uint64_t ref;           /* session_ref: worker, slot, generation */
    uint64_t number;        /* of its records, unique in its shard for ever; 0: it is not stored */
    uint64_t next_sequence; /* of the next QoS 1/2 message to the client */
    uint64_t sent_sequence; /* stored, while away: what comes before may have been sent */
    struct session_table *table;
    struct session_sink *sink; /* NULL: not connected */
    struct store_shard *store; /* of its shard */
    struct inflight *inflight; /* NULL: nothing sent and unacknowledged */
    struct queue *queue;       /* NULL: nothing waits */
    struct received *received; /* inbound QoS 2, in the order of arrival; NULL: none */
    uint16_t received_count, received_room;
    struct message *will;
    struct subscription *subscriptions; /* linked by next/previous; the router's */
    uint32_t subscription_count;
    uint32_t share_count; /* of the subscriptions: memberships in shares */
    uint32_t expiry_s;    /* 0: ends with the connection */
    uint32_t will_delay_s;
    struct timer timer;             /* not connected: the earlier of will and end */
    uint64_t will_at_ms, end_at_ms; /* 0: none */
    uint32_t hash;                  /* of the client id; its shard follows from it */
    uint16_t receive_maximum;       /* of the connection: how many may be in flight */
    uint16_t client_id_len;
    uint8_t ending;        /* bool: out of the table, subscriptions are being removed */
    uint8_t was_connected; /* bool: at start-up, when the broker ended */
    uint8_t promptness;    /* how often it has acknowledged in time lately: see PROMPT */
    char client_id[];      /* not terminated */
};

struct session_limits {
    uint32_t sessions_max;
    uint32_t queue_messages_max;
    uint64_t queue_bytes_max;
    enum queue_policy queue_policy;
    uint32_t lag_patience_ms; /* a subscriber whose queue did not move for so long slows nobody */
    uint16_t inflight_max;
    bool queue_qos0_offline;
};

/* A stored message that several queues of one shard share. */
struct shared_message {
    uint64_t number;
    struct store_ref ref;
    uint32_t shard;
    uint32_t queues; /* that still need it */
};

struct session_slot {
    struct session *session;
    uint32_t generation;
    uint32_t next_free;
};

struct session_table {
    struct map by_client_id;
    struct session_slot *slots;
    uint32_t slot_count, slot_room, free_slot; /* free_slot: 1 + index, 0: none */
    uint32_t worker;
    uint32_t shard_count;
    struct store_shard *stores; /* one a shard, indexed by shard; only this worker's are used */
    struct timer_wheel wheel;
    uint64_t now_ms; /* set by the worker when it wakes and each turn */
    /* A timer was started: be called again, session_table_advance(), by then. */
    void (*wake_at)(void *arg, uint64_t at_ms);
    void *wake_arg;
    struct session_limits limits;
    const struct session_ops *ops;
    void *owner;
    struct metrics_shard *metrics;
    _Atomic uint32_t *sessions; /* of the node, for the limit */
    _Atomic bool *memory_full;  /* of the node: queue nothing more */
    _Atomic bool *queues_full;  /* of the node: the limit of all queues together */
    struct map shared;          /* struct shared_message */
};

/* ---- the table ---------------------------------------------------------------------------------
 */

void session_table_init(struct session_table *table, uint32_t worker, uint64_t now_ms);
void session_table_deinit(struct session_table *table);

/* The 32-bit hash (xxh32) by which a client id finds its shard: hash % shards. */
uint32_t client_id_hash(struct bytes client_id);

/* NULL when there is none. Borrowed. */
struct session *session_find(struct session_table *table, struct bytes client_id);

/* By reference; NULL when that session has ended. */
static inline struct session *session_of_ref(struct session_table *table, uint64_t ref)
{
    uint32_t slot = (uint32_t)ref;
    if (slot >= table->slot_count)
        return NULL;
    struct session *session = table->slots[slot].session;
    return session != NULL && session->ref == ref ? session : NULL;
}

/* A new session, not connected, with nothing in it. RC_FULL at the limit, RC_NO_MEMORY. */
enum rc session_new(struct session_table *table, struct bytes client_id, struct session **out);

static inline struct bytes session_client_id(const struct session *session)
{
    return bytes_of(session->client_id, session->client_id_len);
}

static inline bool session_durable(const struct session *session)
{
    return session->expiry_s > 0;
}

/* Whether its changes are written to the store. A session that outlives its connection is, unless
 * the store keeps nothing. */
static inline bool session_stored(const struct session *session)
{
    return session->number != 0;
}

/* Fires due wills and ends; returns true when more are due at once. */
bool session_table_advance(struct session_table *table, uint64_t now_ms);

/* ---- life --------------------------------------------------------------------------------------
 */

/* Connects a session: stops its timers, drops a waiting will [MQTT-3.1.3-9]. */
void session_attach(struct session *session, struct session_sink *sink, uint32_t expiry_s,
                    uint16_t receive_maximum);

/* After CONNACK(session present): sends again what was in flight, in order, then what waits
 * [MQTT-4.4.0-1]. */
void session_resume(struct session *session);

enum session_will { SESSION_WILL_KEEP, SESSION_WILL_DISCARD };

/*
 * The connection is gone. The will (unless discarded) is published now or after its delay; a
 * session with expiry 0 ends now, and must not be touched afterwards.
 */
void session_detach(struct session *session, enum session_will will);

/* Ends the session now, connected or not (then its sink is forgotten): clean start, administrative.
 */
void session_end(struct session *session);

/* The timer of a session whose time is over may come later than its client does. */
bool session_end_if_expired(struct session *session);

/*
 * Takes a session that is not connected out of memory and leaves what is stored of it: another node
 * is home to its shard. Nobody is told: no will is published, no message handed over. The shard's
 * store must be one that takes no records. session_ops.ended follows.
 */
void session_drop(struct session *session);

/* After the sessions of shards have been dropped: what they shared, of each shard for which
 * `is_gone` says so. */
void session_drop_shared(struct session_table *table, bool (*is_gone)(void *arg, uint32_t shard),
                         void *arg);

/* Another session has the message for good. */
void session_moved(const struct moved_record *record);

/* Takes the will (NULL: none). Whoever had no memory for one counts it as dropped. */
void session_set_will(struct session *session, struct message *will, uint32_t delay_s);

/* Publishes the will at once, if there is one: the old connection of a session that goes on. */
void session_will_now(struct session *session);

/* Frees a session whose subscriptions are gone. For session_ops.ended. */
void session_free(struct session *session);

/* Starts the timer of a session whose client is away, by will_at_ms and end_at_ms. */
void session_start_timer(struct session *session);

/* Gives back memory that an idle session does not need. */
void session_trim(struct session *session);

/* ---- messages out ------------------------------------------------------------------------------
 */

/* Names an outbox entry: the publisher's shard, and a number that grows there. number 0: none. */
struct outbox_tag {
    uint64_t number;
    uint64_t low; /* of the entries of that shard that have not come to all, the lowest */
    uint32_t shard;
    bool replayed; /* it may have arrived before */
    bool restored; /* it was read from the store: what it retains is not retained yet */
    bool keeps;    /* nobody else sees to it that what it retains is stored */
};

/* Shards whose number modulo this is the same go from node to node together. */
enum { SHARD_GROUPS = 16 };

/* One publication on its way to many sessions. The message is made when the first one has to keep
 * it. */
struct delivery {
    const struct publication *publication;
    struct message *message; /* NULL until needed; one reference is the delivery's */
    struct wire_cache *wire;
    /* By shard: the number under which its bytes are stored there, 0: they are not. NULL until
     * needed; the caller's to free. */
    uint64_t *copies;
    struct outbox_tag outbox; /* it is stored there until every shard has it */
    uint32_t elsewhere; /* a bit for each group of shards that its sender, another node, takes to be
                           at home elsewhere, and has sent it there, too */
    bool many;          /* several stored sessions get it: its bytes are stored once a shard */
    /* Of the session that got it last, when that will probably acknowledge it before it is written:
     * its record. Else batch 0. */
    struct store_ref prompt;
};

/* Gives the delivery's message (borrowed), making it from the view if need be; NULL: no memory. */
struct message *delivery_message(struct delivery *delivery);

enum deliver_result {
    DELIVERED,         /* sent or queued */
    DELIVERED_LAGGING, /* queued, and the queue is more than half full of a subscriber that still
                          reads */
    NOT_DELIVERED,     /* dropped, and counted with a reason */
    NOT_DELIVERED_LAGGING, /* both */
    NOT_STORED,            /* dropped: the store takes nothing at the moment */
};

struct deliver_as {
    uint8_t qos;
    bool retain;
    const uint32_t *identifiers;
    uint32_t identifier_count;
    struct share_member *share; /* NULL: not of a share */
};

/* Sends to, or queues for, one session. */
enum deliver_result session_deliver(struct session *session, struct delivery *delivery,
                                    const struct deliver_as *as);

/* The client can take more: sends what waits. May be called at any time. */
void session_pump(struct session *session);

/* PUBACK, PUBREC, PUBCOMP of the client. RC_NOT_FOUND: there is no such identifier in that state.
 */
enum rc session_puback(struct session *session, uint16_t packet_id);
/* `refused`: a reason code of 0x80 or above; that ends the exchange and no PUBREL follows. Else the
 * PUBREL goes out when the store has what is recorded now. */
enum rc session_pubrec(struct session *session, uint16_t packet_id, bool refused);
enum rc session_pubcomp(struct session *session, uint16_t packet_id);

/* A member's share has gone (unsubscribed): messages of it are the session's own from now on. */
void session_forget_share(struct session *session, struct share_member *member);

/* ---- messages in (QoS 2) -----------------------------------------------------------------------
 */

/* Remembers an inbound QoS 2 packet id. RC_EXISTS: it is a repeat; RC_NO_MEMORY. */
enum rc session_received_add(struct session *session, uint16_t packet_id,
                             enum durability durability);
bool session_received_has(const struct session *session, uint16_t packet_id);
/* Whether removing it has to be safe before anybody is told. */
bool session_received_is_kept(const struct session *session, uint16_t packet_id);
/* PUBREL. False: it was not there. */
bool session_received_remove(struct session *session, uint16_t packet_id);

#endif
