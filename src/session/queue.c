/* SPDX-License-Identifier: Apache-2.0 */
#include "session/queue.h"

#include "base/check.h"
#include "base/memory.h"

enum { QUEUE_ROOM_FIRST = 8, QUEUE_QOS0_SCAN = 64 };

struct queue *queue_new(struct session *session)
{
    struct queue *queue = NEW(struct queue);
    queue->session = session;
    list_init(&queue->waiter.link);
    return queue;
}

void queue_free(struct queue *queue)
{
    if (queue == NULL)
        return;
    for (uint32_t n = 0; n < queue->count; n++)
        kept_drop(queue_at(queue, n));
    list_remove(&queue->waiter.link);
    mem_free(queue->ring);
    mem_free(queue);
}

static bool grow(struct queue *queue)
{
    uint32_t room = queue->room == 0 ? QUEUE_ROOM_FIRST : queue->room * 2;
    struct kept *ring = mem_try(room * sizeof(*ring));
    if (ring == NULL)
        return false;
    for (uint32_t n = 0; n < queue->count; n++)
        ring[n] = *queue_at(queue, n);
    mem_free(queue->ring);
    queue->ring = ring;
    queue->room = room;
    queue->first = 0;
    return true;
}

enum rc queue_push(struct queue *queue, const struct kept *kept)
{
    if (queue->count == queue->room && !grow(queue))
        return RC_NO_MEMORY;
    queue->ring[(queue->first + queue->count) & (queue->room - 1)] = *kept;
    queue->count++;
    queue->qos0 += kept->qos == 0;
    queue->bytes += kept_bytes(kept);
    return RC_OK;
}

enum rc queue_insert(struct queue *queue, const struct kept *kept)
{
    enum rc rc = queue_push(queue, kept);
    uint32_t n = queue->count - 1;
    for (; rc == RC_OK && n > 0; n--) {
        struct kept *before = queue_at(queue, n - 1);
        if (before->sequence < kept->sequence + (before->qos == 0))
            break;
        *queue_at(queue, n) = *before;
        *before = *kept;
    }
    return rc;
}

struct kept *queue_peek(struct queue *queue)
{
    return queue == NULL || queue->count == 0 ? NULL : &queue->ring[queue->first];
}

struct kept queue_take(struct queue *queue)
{
    CHECK(queue->count > 0);
    struct kept kept = queue->ring[queue->first];
    queue->first = (queue->first + 1) & (queue->room - 1);
    queue->count--;
    queue->qos0 -= kept.qos == 0;
    queue->bytes -= kept_bytes(&kept);
    return kept;
}

struct kept *queue_at(struct queue *queue, uint32_t n)
{
    CHECK(n < queue->count);
    return &queue->ring[(queue->first + n) & (queue->room - 1)];
}

bool queue_drop_qos0(struct queue *queue)
{
    if (queue->qos0 == 0)
        return false;
    for (uint32_t n = 0; n < queue->count && n < QUEUE_QOS0_SCAN; n++) {
        if (queue_at(queue, n)->qos > 0)
            continue;
        struct kept gone = *queue_at(queue, n);
        for (uint32_t i = n; i > 0; i--) /* close the gap from the near end */
            *queue_at(queue, i) = *queue_at(queue, i - 1);
        queue->first = (queue->first + 1) & (queue->room - 1);
        queue->count--;
        queue->qos0--;
        queue->bytes -= kept_bytes(&gone);
        kept_drop(&gone);
        return true;
    }
    return false;
}
