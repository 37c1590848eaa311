/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that wait for one client. In memory: a ring. In a session that is stored, only the
 * oldest stand there, and the others are on disk alone (drain.c reads them back). The caller checks
 * the limits and chooses what gives way; the queue only knows how to take out what it is told.
 */
#ifndef SESSION_QUEUE_H
#define SESSION_QUEUE_H

#include "session/inflight.h"

enum queue_policy { QUEUE_REJECT_NEW, QUEUE_GIVE_UP_OLDEST, QUEUE_GIVE_UP_QOS0 };

struct session;

/*
 * What a home that died had noted down last while the client was there: what came before `sent` had
 * been sent at wall_ms. It may have sent everything else since, but nothing that had expired by
 * then.
 */
struct queue_told {
    uint64_t sent, wall_ms; /* wall_ms 0: nothing is known */
};

/* The part of a queue that is on disk alone: everything from a sequence number on. */
struct queue_tail {
    uint64_t from;  /* the first that is not in memory */
    uint32_t count; /* messages; an estimate when numbers are missing in between */
    uint64_t bytes; /* the same */
    uint32_t epoch; /* how often all that was in memory has been let go to here */
    bool reading;
    bool blocked; /* what is left is not on disk yet, and the store has trouble */
    struct queue_told told;
};

struct queue {
    struct kept *ring;
    uint32_t room; /* power of two */
    uint32_t first, count;
    uint32_t qos0; /* of count */
    uint64_t bytes;
    struct queue_tail tail;
    uint64_t progress_ms;       /* when something last left it, or the client took bytes */
    size_t unsent;              /* what the client had not got at the last look */
    struct store_waiter waiter; /* for the commit of the oldest, or a store that works again */
    struct session *session;    /* whose waiter it is */
};

struct queue *queue_new(struct session *session);

/* Drops everything in memory. NULL is fine. */
void queue_free(struct queue *queue);

/* Messages, on disk and in memory. */
static inline uint64_t queue_size(const struct queue *queue)
{
    return queue == NULL ? 0 : (uint64_t)queue->count + queue->tail.count;
}

static inline uint64_t queue_bytes(const struct queue *queue)
{
    return queue == NULL ? 0 : queue->bytes + queue->tail.bytes;
}

/* Whether the oldest of all stands in memory. */
static inline bool queue_front_in_memory(const struct queue *queue)
{
    return queue->count > 0 &&
           (queue->tail.count == 0 || queue->ring[queue->first].sequence <= queue->tail.from);
}

/* Takes what is kept. RC_NO_MEMORY: it is still the caller's. */
enum rc queue_push(struct queue *queue, const struct kept *kept);

/* The same, behind those with lower numbers: what was read back goes before what came since. */
enum rc queue_insert(struct queue *queue, const struct kept *kept);

/* The oldest in memory, borrowed; NULL when there is none. */
struct kept *queue_peek(struct queue *queue);

/* Gives the oldest to the caller. The ring is not empty. */
struct kept queue_take(struct queue *queue);

/* The n-th from the oldest; n < count. */
struct kept *queue_at(struct queue *queue, uint32_t n);

/* Drops the oldest QoS 0 message among the first 64; false when there is none. */
bool queue_drop_qos0(struct queue *queue);

/* Bytes that a message counts for. */
static inline uint64_t kept_bytes(const struct kept *kept)
{
    return (kept->message == NULL ? 0 : kept->message->size) + sizeof(struct kept);
}

#endif
