/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that wait for one client: a ring with a limit in messages and in bytes. The caller
 * checks the limits and chooses what gives way; the queue only knows how to take out what it is
 * told.
 */
#ifndef SESSION_QUEUE_H
#define SESSION_QUEUE_H

#include "session/inflight.h"

enum queue_policy { QUEUE_REJECT_NEW, QUEUE_GIVE_UP_OLDEST, QUEUE_GIVE_UP_QOS0 };

struct queue {
    struct kept *ring;
    uint32_t room; /* power of two */
    uint32_t first, count;
    uint32_t qos0; /* of count */
    uint64_t bytes;
    uint64_t progress_ms; /* when something last left it, or the client took bytes */
    size_t unsent;        /* what the client had not got at the last look */
};

struct queue *queue_new(void);

/* Drops everything. NULL is fine. */
void queue_free(struct queue *queue);

/* Takes what is kept. RC_NO_MEMORY: it is still the caller's. */
enum rc queue_push(struct queue *queue, const struct kept *kept);

/* The oldest, borrowed; NULL when the queue is empty. */
struct kept *queue_peek(struct queue *queue);

/* Gives the oldest to the caller. The queue is not empty. */
struct kept queue_take(struct queue *queue);

/* The n-th from the oldest; n < count. */
struct kept *queue_at(struct queue *queue, uint32_t n);

/* Drops the oldest QoS 0 message among the first 64; false when there is none. */
bool queue_drop_qos0(struct queue *queue);

/* Bytes that a message counts for. */
static inline uint64_t kept_bytes(const struct kept *kept)
{
    return kept->message->size + sizeof(struct kept);
}

#endif
