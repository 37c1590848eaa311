/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of sessions: what is written to the store when something changes. Inside session/,
 * and for those who load sessions at start-up. All of it does nothing for a session that is not
 * stored. Home worker's thread only.
 */
#ifndef SESSION_STORED_H
#define SESSION_STORED_H

#include "session/session.h"
#include "store/record.h"

enum stored_change { STORED_ADDED, STORED_REMOVED };

/* The session becomes a stored one: gives it a number and writes all that it has, subscriptions
 * excepted. */
void stored_begin(struct session *session);

/* As it is now, connected or not. */
void stored_session(struct session *session);

/* Its will as it is now, or that there is none. */
void stored_will(struct session *session);

void stored_received(struct session *session, const struct received *received,
                     enum stored_change change);

/* Deletes all its records; its subscriptions are removed one by one when they are few. The session
 * is not a stored one any more. */
void stored_ended(struct session *session);

enum { STORED_SUBSCRIPTIONS_ONE_BY_ONE = 8 };

/* ---- messages ----------------------------------------------------------------------------------
 */

/* Whether the message need not be written, and is not while there is room in memory. One of QoS 2
 * is: after a crash its packet identifier must not go to another message. */
static inline bool stored_is_spared(const struct delivery *delivery, uint8_t qos)
{
    return qos == 1 && delivery->publication->durability == DURABILITY_MEMORY;
}

/* Writes a message of QoS 1 or 2 that the session is to get; fills in what kept says of its record.
 * kept->message may be NULL. */
void stored_message(struct session *session, struct delivery *delivery, const struct deliver_as *as,
                    struct kept *kept);

/* PUBREL follows: the message itself is not needed any more. */
void stored_released(struct session *session, struct kept *kept);

/* The exchange has ended, or the message is dropped. */
void stored_finished(struct session *session, struct kept *kept);

/* The same because the client has the message: who waits for its record need not any more. */
void stored_acknowledged(struct session *session, struct kept *kept);

/* Of session.promptness. A new session is given credit. */
enum { PROMPT = 2, PROMPTNESS_MAX = 3 };

/* The client has gone: what is on disk need not be in memory. */
void stored_let_go(struct session *session);

/* One more queue needs the shared message (at start-up), one needs it no more. */
void stored_shared_hold(struct session_table *table, uint32_t shard, uint64_t number);
void stored_shared_drop(struct session_table *table, uint32_t shard, uint64_t number);
bool stored_shared_is_held(struct session_table *table, uint32_t shard, uint64_t number);
void stored_shared_deinit(struct session_table *table);

/* ---- restore.c: start-up
 * -------------------------------------------------------------------------
 */

/* session_new() for one that is there already: the limit is not asked. RC_NO_MEMORY. */
enum rc session_new_stored(struct session_table *table, struct bytes client_id,
                           struct session **out);

/* A session as it was written; it waits for its client. RC_NO_MEMORY. */
enum rc session_restore(struct session_table *table, uint64_t number,
                        const struct session_record *record, const struct record_clock *clock,
                        struct session **out);
/* Takes the will. */
void session_restore_will(struct session *session, struct message *will, uint32_t delay_s);
enum rc session_restore_received(struct session *session, uint16_t packet_id);
/* One record of its queue, in order. */
void session_restore_queued(struct session *session, uint64_t sequence,
                            const struct queue_record *record);
/* All of it has been loaded: its clocks run. */
void session_restored(struct session *session, const struct record_clock *clock);

/* ---- drain.c: the part of a queue that is on disk alone
 * -------------------------------------------
 */

enum {
    QUEUE_HEAD_MESSAGES = 256, /* of a stored session's queue stand in memory */
    QUEUE_HEAD_BYTES = 256 * 1024,
};

static inline bool queue_ring_has_room(const struct queue *queue)
{
    return queue->count < QUEUE_HEAD_MESSAGES && queue->bytes < QUEUE_HEAD_BYTES;
}

/* Room in memory for one more of the queue, behind all others. */
static inline bool queue_head_has_room(const struct queue *queue)
{
    return queue->tail.count == 0 && !queue->tail.reading && queue_ring_has_room(queue);
}

/* The queue goes on when the store works again, if nothing else makes it. */
void queue_await_store(struct queue *queue);

/* Reads more of the tail when the ring runs low. */
void queue_read_tail(struct session *session);

/* Deletes the records of a tail that nobody will read any more: its session ends. What came through
 * a share goes to other members, piece by piece. */
void queue_discard_tail(struct session *session);

/* Whether some of the tail goes to others when the session ends. */
bool queue_tail_is_inherited(const struct session *session);

/* At start-up: the same for records of a session that had ended before the broker did. */
void queue_discard_orphans(struct session_table *table, struct store_shard *store,
                           uint64_t session_number);

/* Drops the oldest message of a queue that has none in memory. */
void queue_drop_tail_first(struct session *session);

#endif
