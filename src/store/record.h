/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's format: keys and values of all records, version STORE_FORMAT. Numbers in keys are big
 * endian, so that keys sort as numbers do; numbers in values are little endian. Every key begins
 * with its shard (2 bytes) and its kind (1 byte). Times are milliseconds since 1970, since only
 * those mean anything after a restart.
 *
 *  family    key                                   value
 *  state     shard 's' session                     struct session_record
 *  state     shard 'u' session filter              struct subscription_record
 *  state     shard 'i' session packet-id           (empty): an inbound QoS 2 identifier
 *  state     shard 'w' session                     struct will_record
 *  state     shard 't' number client-id            struct will_record: of one whose session is not
 *                                                  stored, in a cluster
 *  state     shard 'o' number                      a message: the outbox of the shard's publishers
 *  state     shard 'c' number                      which members of shares were chosen for it
 *  state     shard 'h' source-shard                number: outbox entries up to it have arrived
 *  state     0xFFFF 'v'                            struct meta_record
 *  state     0xFFFF 'p' group                      where its changelog has been applied up to: only
 *                                                  that changelog's reader understands it; one
 * byte: a copy of it is being taken from another node queue     shard 'q' session 0 sequence struct
 * queue_record queue     shard 'm' number                      a message that several queues of the
 * shard share retained  shard 'r' topic                       a message
 *
 * A filter of a shared subscription stands as the client wrote it: "$share/name/filter". Values
 * begin with a format byte of their own. To add a field: append it, and let readers take what is
 * shorter; to change one: a new format byte, and both are read.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "model/message.h"
#include "model/subscription.h"
#include "store/store.h"

enum { STORE_FORMAT = 1, SHARD_META = 0xFFFF, SHARD_PREFIX = 2 /* bytes of a key */ };

enum record_kind {
    RECORD_SESSION = 's',
    RECORD_SUBSCRIPTION = 'u',
    RECORD_RECEIVED = 'i',
    RECORD_WILL = 'w',
    RECORD_TESTAMENT = 't',
    RECORD_OUTBOX = 'o',
    RECORD_CHOICES = 'c',
    RECORD_HIGH_WATER = 'h',
    RECORD_META = 'v',
    RECORD_POSITION = 'p',
    RECORD_QUEUED = 'q',
    RECORD_SHARED = 'm',
    RECORD_RETAINED = 'r',
};

/* ---- keys --------------------------------------------------------------------------------------
 */

/* shard, kind: the beginning of all keys of one kind. */
struct store_key record_key(uint32_t shard, enum record_kind kind);
/* and a number of 8 bytes: a session's or a message's. */
struct store_key record_key_of(uint32_t shard, enum record_kind kind, uint64_t number);
/* and a second one: the place in a queue. */
struct store_key record_key_queued(uint32_t shard, uint64_t session, uint64_t sequence);
/* and 2 bytes. */
struct store_key record_key_received(uint32_t shard, uint64_t session, uint16_t packet_id);
struct store_key record_key_high_water(uint32_t shard, uint32_t source);
struct store_key record_key_position(uint32_t group);
/* and a text, borrowed. */
struct store_key record_key_subscription(uint32_t shard, uint64_t session, struct bytes filter);
struct store_key record_key_testament(uint32_t shard, uint64_t number, struct bytes client_id);
struct store_key record_key_retained(uint32_t shard, struct bytes topic);

/* The first key behind all that begin with this one. */
struct store_key record_key_end(const struct store_key *key);

struct record_key {
    uint32_t shard;
    enum record_kind kind;
    uint64_t number;   /* session, message, outbox or testament number; 0: none */
    uint64_t sequence; /* of a queue; packet id; source shard */
    struct bytes text; /* filter, topic, client id */
};

/* False: not a key of this format. */
bool record_key_parse(struct bytes key, struct record_key *out);

/* ---- values ------------------------------------------------------------------------------------
 */

/* A value on its way into the store: spans that borrow what they were made from. */
enum { RECORD_HEAD = 128, RECORD_PARTS = 6 };

struct record_value {
    uint8_t head[RECORD_HEAD];
    struct bytes parts[RECORD_PARTS];
    uint32_t count;
};

/* Writes a made value. */
static inline struct store_ref record_put(struct store_shard *shard, enum store_family family,
                                          const struct store_key *key,
                                          const struct record_value *value)
{
    return store_put(shard, family, key, value->parts, value->count);
}

/* What time it is on both clocks; times on disk are wall clock times. */
struct record_clock {
    uint64_t now_ms, wall_ms;
};

struct meta_record {
    uint32_t format;
    uint32_t shards;
    uint64_t starts; /* how often a broker has opened the store */
};

void meta_record_encode(const struct meta_record *meta, struct record_value *out);
bool meta_record_decode(struct bytes value, struct meta_record *out);

struct session_record {
    struct bytes client_id;
    uint32_t expiry_s;
    bool connected;         /* when it was written */
    uint64_t at_wall_ms;    /* when the client left; while connected: when it was written, or 0 */
    uint64_t next_sequence; /* of its queue */
    uint64_t sent_sequence; /* what comes before had been sent once, then */
};

void session_record_encode(const struct session_record *session, struct record_value *out);
bool session_record_decode(struct bytes value, struct session_record *out);

struct subscription_record {
    struct subscription_options options;
};

void subscription_record_encode(const struct subscription_record *subscription,
                                struct record_value *out);
bool subscription_record_decode(struct bytes value, struct subscription_record *out);

/* A message: borrows from the publication. */
void message_record_encode(const struct publication *publication, const struct record_clock *clock,
                           struct record_value *out);
/* The expiry interval is what is left of it at clock; `expired`: nothing. Borrows from value. */
bool message_record_decode(struct bytes value, const struct record_clock *clock,
                           struct publication *out, bool *expired);

/* Whether the message had expired at wall_ms. Who sends it may think it has up to a second more:
 * what is left of an interval is whole seconds, rounded up. That second is allowed for. */
bool message_record_expired_by(struct bytes value, uint64_t wall_ms);

/* When the message came in, or the will was left, by the wall clock; 0: not readable. */
uint64_t message_record_wall_ms(struct bytes value);
uint64_t will_record_wall_ms(struct bytes value);

/* Of a share that has been given to a member: which one, and in which shard that member is. */
struct outbox_share {
    uint64_t filter_hash; /* of "$share/name/filter" */
    uint16_t shard;       /* of the member; OUTBOX_SHARD_AWAY: another node chooses */
};

enum { OUTBOX_SHARE_BYTES = 10, OUTBOX_SHARD_AWAY = UINT16_MAX };

enum outbox_whom {
    OUTBOX_ALL,    /* ordinary subscribers, and these shares */
    OUTBOX_SHARES, /* these shares only: a member that ended has handed the message over */
};

/* The shares of an outbox entry, in the order of their numbers behind the entry's. `encoded`: room
 * for OUTBOX_SHARE_BYTES for each and one more byte, borrowed by out. */
void choices_record_encode(const struct outbox_share *shares, uint32_t count, enum outbox_whom whom,
                           uint8_t *encoded, struct record_value *out);
/* *shares borrows from value: walk with choices_record_next(). */
bool choices_record_decode(struct bytes value, struct bytes *shares, enum outbox_whom *whom);
/* Takes the next share off the front; false at the end. */
bool choices_record_next(struct bytes *rest, struct outbox_share *share);

/* Which entries of an outbox have come: all up to one, and `count` behind that. `encoded` has room
 * for HIGH_WATER_NUMBER_BYTES for each and one more byte, borrowed by out. */
enum { HIGH_WATER_NUMBER_BYTES = 8 };
void high_water_record_encode(uint64_t all, const uint64_t *numbers, uint32_t count,
                              uint8_t *encoded, struct record_value *out);
/* *numbers borrows from value: walk with high_water_record_next(). */
bool high_water_record_decode(struct bytes value, uint64_t *all, struct bytes *numbers);
/* Takes the next one off the front; false at the end. */
bool high_water_record_next(struct bytes *rest, uint64_t *number);

struct will_record {
    uint32_t delay_s;
    struct publication publication;
};

void will_record_encode(const struct will_record *will, const struct record_clock *clock,
                        struct record_value *out);
bool will_record_decode(struct bytes value, const struct record_clock *clock,
                        struct will_record *out);

enum queue_record_kind {
    QUEUE_RECORD_MESSAGE = 1,  /* the message stands here */
    QUEUE_RECORD_SHARED = 2,   /* it stands once for several queues */
    QUEUE_RECORD_RELEASED = 3, /* PUBREL has been sent, the message is gone */
};

struct queue_record {
    enum queue_record_kind kind;
    uint8_t qos;
    bool retain;
    struct bytes share;          /* "name/filter" when it came through a share; else empty */
    const uint32_t *identifiers; /* to encode */
    uint32_t identifier_count;
    struct bytes identifier_bytes; /* decoded: walk with queue_record_identifier() */
    uint64_t shared;               /* number of the shared message */
    uint32_t size;                 /* bytes that the message counts for */
    struct bytes message;          /* decoded, of kind MESSAGE: for message_record_decode() */
};

/* More subscription identifiers than these are not kept. */
enum { QUEUE_RECORD_IDENTIFIERS = 16 };

/* `publication` is needed for kind MESSAGE only. */
void queue_record_encode(const struct queue_record *entry, const struct publication *publication,
                         const struct record_clock *clock, struct record_value *out);
bool queue_record_decode(struct bytes value, struct queue_record *out);
/* Takes the next identifier off the front; false at the end. */
bool queue_record_identifier(struct bytes *rest, uint32_t *identifier);

#endif
