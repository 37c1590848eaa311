/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages from the broker to one client: send at once, keep in flight, queue, send again. Messages
 * of one QoS leave in the order in which they were delivered to the session, whatever path each
 * takes: none is sent past others that wait or past a window that is being sent again.
 */
#include "session/session.h"

#include "base/check.h"
#include "base/memory.h"
#include "session/stored.h"

struct message *delivery_message(struct delivery *delivery)
{
    if (delivery->message == NULL)
        delivery->message = message_new(delivery->publication);
    return delivery->message;
}

/* ---- keeping -----------------------------------------------------------------------------------
 */

/* Fills *kept with a reference of its own and the next number; false when there is no memory. */
static bool keep(struct session *session, struct delivery *delivery, const struct deliver_as *as,
                 struct kept *kept)
{
    struct message *message = delivery_message(delivery);
    if (message == NULL)
        return false;
    uint32_t *more = NULL;
    if (as->identifier_count > 1) {
        more = mem_try((as->identifier_count + 1) * sizeof(*more));
        if (more == NULL)
            return false;
        more[0] = as->identifier_count;
        memcpy(more + 1, as->identifiers, as->identifier_count * sizeof(*more));
    }
    *kept = (struct kept){
        .message = message_hold(message),
        .identifiers = more,
        .identifier = as->identifier_count == 1 ? as->identifiers[0] : 0,
        .qos = as->qos,
        .retain = as->retain,
        .share = as->share,
        .sequence = as->qos > 0 ? session->next_sequence++ : session->next_sequence,
    };
    if (as->share != NULL)
        atomic_fetch_add_explicit(&as->share->load, 1, memory_order_relaxed);
    return true;
}

static enum send_result send_kept(struct session *session, const struct kept *kept,
                                  uint16_t packet_id, bool dup)
{
    struct outgoing outgoing = {
        .publication = &kept->message->publication,
        .message = kept->message,
        .packet_id = packet_id,
        .qos = kept->qos,
        .dup = dup,
        .retain = kept->retain,
        .identifiers = kept->identifiers != NULL ? kept->identifiers + 1 : &kept->identifier,
        .identifier_count = kept->identifiers != NULL ? kept->identifiers[0] : kept->identifier > 0,
    };
    return session->sink->ops->publish(session->sink, &outgoing);
}

/* ---- the queue ---------------------------------------------------------------------------------
 */

static void count_queue(struct session *session, uint64_t count_before, uint64_t bytes_before)
{
    struct metrics_shard *metrics = session->table->metrics;
    metric_add(metrics, METRIC_QUEUED_MESSAGES, queue_size(session->queue) - count_before);
    metric_add(metrics, METRIC_QUEUED_BYTES, queue_bytes(session->queue) - bytes_before);
}

static bool queue_is_full(const struct session *session, uint64_t bytes)
{
    const struct session_limits *limits = &session->table->limits;
    return queue_size(session->queue) >= limits->queue_messages_max ||
           queue_bytes(session->queue) + bytes > limits->queue_bytes_max;
}

static enum metric full_metric(const struct session *session, uint8_t qos)
{
    if (qos == 0 && session->sink != NULL)
        return METRIC_PUBLISH_DROPPED_QOS0_NOT_WRITABLE;
    return queue_size(session->queue) >= session->table->limits.queue_messages_max
               ? METRIC_PUBLISH_DROPPED_QUEUE_FULL
               : METRIC_PUBLISH_DROPPED_QUEUE_BYTES_FULL;
}

static void drop_oldest(struct session *session)
{
    struct queue *queue = session->queue;
    if (!queue_front_in_memory(queue)) {
        queue_drop_tail_first(session);
        return;
    }
    struct kept oldest = queue_take(queue);
    stored_finished(session, &oldest);
    kept_drop(&oldest);
}

/* Makes room for a message of so many bytes by the policy, and counts what gave way; false when the
 * new message has to. Nothing gives way to a message that would not fit into an empty queue. */
static bool make_room(struct session *session, uint8_t qos, uint64_t bytes)
{
    const struct session_limits *limits = &session->table->limits;
    struct queue *queue = session->queue;
    enum queue_policy policy =
        bytes > limits->queue_bytes_max ? QUEUE_REJECT_NEW : limits->queue_policy;
    while (queue_is_full(session, bytes)) {
        bool oldest = policy == QUEUE_GIVE_UP_OLDEST && queue_size(queue) > 0;
        uint8_t gone = !oldest ? qos : queue_front_in_memory(queue) ? queue_peek(queue)->qos : 1;
        metric_inc(session->table->metrics, full_metric(session, gone));
        if (oldest)
            drop_oldest(session);
        else if (policy != QUEUE_GIVE_UP_QOS0 || qos == 0 || !queue_drop_qos0(queue))
            return false;
    }
    return true;
}

/* A queue so full lags: what is on its way from other workers still has to fit. */
enum { LAG_FRACTION = 4, LOOK_AFTER_MS = 50 };

/* Whether the client took anything lately: from the queue, or from its socket. */
static bool moves(struct session *session)
{
    struct queue *queue = session->queue;
    uint64_t now_ms = session->table->now_ms;
    if (now_ms - queue->progress_ms > LOOK_AFTER_MS) {
        size_t unsent = session->sink->ops->unsent(session->sink);
        if (unsent != queue->unsent)
            queue->progress_ms = now_ms;
        queue->unsent = unsent;
    }
    return now_ms - queue->progress_ms < session->table->limits.lag_patience_ms;
}

static bool lags(struct session *session)
{
    const struct session_limits *limits = &session->table->limits;
    const struct queue *queue = session->queue;
    return session->sink != NULL &&
           (queue_size(queue) > limits->queue_messages_max / LAG_FRACTION ||
            queue_bytes(queue) > limits->queue_bytes_max / LAG_FRACTION) &&
           moves(session);
}

static enum deliver_result not_delivered(struct session *session)
{
    return lags(session) ? NOT_DELIVERED_LAGGING : NOT_DELIVERED;
}

static enum deliver_result no_memory(struct session *session)
{
    metric_inc(session->table->metrics, METRIC_PUBLISH_DROPPED_NO_MEMORY);
    return NOT_DELIVERED;
}

static uint64_t bytes_to_keep(const struct publication *p)
{
    return sizeof(struct message) + p->topic.len + p->properties.len + p->payload.len +
           sizeof(struct kept);
}

static enum deliver_result not_stored(struct session *session)
{
    metric_inc(session->table->metrics, METRIC_PUBLISH_DROPPED_STORE);
    return NOT_STORED;
}

/* Behind everything else that is on disk alone. */
static enum deliver_result to_tail(struct session *session, struct delivery *delivery,
                                   const struct deliver_as *as)
{
    struct queue_tail *tail = &session->queue->tail;
    if (stored_is_spared(delivery, as->qos) && store_trouble(session->store) != RC_OK)
        return not_stored(session);
    struct kept kept = {.sequence = session->next_sequence++, .qos = as->qos};
    stored_message(session, delivery, as, &kept);
    if (tail->count == 0 && !tail->reading)
        tail->from = kept.sequence;
    tail->count++;
    tail->bytes += bytes_to_keep(delivery->publication);
    return DELIVERED;
}

static enum deliver_result to_ring(struct session *session, struct delivery *delivery,
                                   const struct deliver_as *as)
{
    struct kept kept;
    if (atomic_load_explicit(session->table->memory_full, memory_order_relaxed) ||
        !keep(session, delivery, as, &kept))
        return no_memory(session);
    if (queue_push(session->queue, &kept) != RC_OK) {
        kept_drop(&kept);
        return no_memory(session);
    }
    if (as->qos > 0 && !stored_is_spared(delivery, as->qos))
        stored_message(session, delivery, as, queue_at(session->queue, session->queue->count - 1));
    return DELIVERED;
}

/* Whether the message is to be on disk alone. One that need not be written stays in memory also
 * while the client is away, as far as the head of the queue has room: behind it nothing is read
 * back in between, so its place among those on disk is found when they are. */
static bool belongs_to_tail(const struct session *session, const struct delivery *delivery,
                            const struct deliver_as *as)
{
    if (as->qos == 0 || !session_stored(session))
        return false;
    if (session->sink != NULL)
        return !queue_head_has_room(session->queue);
    return !stored_is_spared(delivery, as->qos) || !queue_ring_has_room(session->queue);
}

static enum deliver_result enqueue(struct session *session, struct delivery *delivery,
                                   const struct deliver_as *as)
{
    if (session->queue == NULL)
        session->queue = queue_new(session);
    struct queue *queue = session->queue;
    if (queue_size(queue) == 0)
        queue->progress_ms = session->table->now_ms; /* there was nothing to take */
    uint64_t count = queue_size(queue), bytes = queue_bytes(queue);
    if (atomic_load_explicit(session->table->queues_full, memory_order_relaxed)) {
        metric_inc(session->table->metrics, METRIC_PUBLISH_DROPPED_QUEUES_FULL);
        return not_delivered(session);
    }
    bool room = make_room(session, as->qos, bytes_to_keep(delivery->publication));
    enum deliver_result result = DELIVERED;
    if (room && belongs_to_tail(session, delivery, as))
        result = to_tail(session, delivery, as);
    else if (room)
        result = to_ring(session, delivery, as);
    count_queue(session, count, bytes);
    if (!room)
        return not_delivered(session);
    if (result != DELIVERED)
        return result;
    return lags(session) ? DELIVERED_LAGGING : DELIVERED;
}

/* ---- sending -----------------------------------------------------------------------------------
 */

/*
 * Nothing stands before a new message: it may go out at once. QoS 0 waits behind QoS 0 only: a
 * client that does not acknowledge still gets what needs no acknowledgement (order is promised
 * within a QoS).
 */
static bool way_is_free(const struct session *session, uint8_t qos)
{
    const struct queue *queue = session->queue;
    const struct inflight *inflight = session->inflight;
    if (qos == 0)
        return queue == NULL || queue->qos0 == 0;
    return queue_size(queue) == 0 && (queue == NULL || !queue->tail.reading) &&
           (inflight == NULL || inflight->resend == inflight->span);
}

/* Whether the message with that number may be sent now. */
static bool window_is_open(const struct session *session, uint64_t sequence)
{
    const struct inflight *inflight = session->inflight;
    return inflight == NULL || (inflight->counted < session->receive_maximum &&
                                inflight->unacknowledged < session->table->limits.inflight_max &&
                                inflight_has_room(inflight, sequence));
}

/* Puts the message into the window and sends it. Takes kept in any case. */
static enum deliver_result send_inflight(struct session *session, struct kept *kept)
{
    struct metrics_shard *metrics = session->table->metrics;
    if (session->inflight == NULL)
        session->inflight = inflight_new();
    if (inflight_push(session->inflight, kept) != RC_OK) {
        stored_finished(session, kept);
        kept_drop(kept);
        return no_memory(session);
    }
    metric_inc(metrics, METRIC_INFLIGHT_MESSAGES);
    uint16_t packet_id = packet_id_of(kept->sequence);
    if (send_kept(session, kept, packet_id, kept->seen) != SEND_TOO_LARGE)
        return DELIVERED; /* on a connection that is ending it waits for the next one */
    enum inflight_state state = kept->qos == 1 ? INFLIGHT_SENT_QOS1 : INFLIGHT_SENT_QOS2;
    struct kept *entry = inflight_find(session->inflight, packet_id, state);
    stored_finished(session, entry);
    inflight_finish(session->inflight, entry);
    metric_dec(metrics, METRIC_INFLIGHT_MESSAGES);
    metric_inc(metrics, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE);
    return NOT_DELIVERED;
}

/* What was released before the client went away: PUBREL again [MQTT-4.4.0-1]. */
static void send_released(struct session *session, struct kept *kept)
{
    if (session->inflight == NULL)
        session->inflight = inflight_new();
    if (inflight_push(session->inflight, kept) != RC_OK) {
        kept_drop(kept);
        return;
    }
    session->inflight->counted--;
    inflight_at(session->inflight, session->inflight->span - 1)->counted = false;
    metric_inc(session->table->metrics, METRIC_INFLIGHT_MESSAGES);
    session->sink->ops->pubrel(session->sink, packet_id_of(kept->sequence));
}

static enum deliver_result send_qos0(struct session *session, struct delivery *delivery,
                                     const struct deliver_as *as)
{
    struct outgoing outgoing = {
        .publication = delivery->publication,
        .message = delivery->message,
        .retain = as->retain,
        .identifiers = as->identifiers,
        .identifier_count = as->identifier_count,
        .wire = delivery->wire,
    };
    enum send_result sent = session->sink->ops->publish(session->sink, &outgoing);
    if (__builtin_expect(sent == SEND_OK, 1))
        return DELIVERED;
    metric_inc(session->table->metrics, sent == SEND_TOO_LARGE
                                            ? METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE
                                            : METRIC_PUBLISH_DROPPED_SESSION_GONE);
    return NOT_DELIVERED;
}

enum deliver_result session_deliver(struct session *session, struct delivery *delivery,
                                    const struct deliver_as *as)
{
    delivery->prompt = (struct store_ref){0};
    if (publication_overdue(delivery->publication, session->table->now_ms)) {
        /* it has waited for a home, or in an outbox [MQTT-3.3.2-5] */
        metric_inc(session->table->metrics, METRIC_PUBLISH_DROPPED_EXPIRED);
        return DELIVERED;
    }
    /* What an outbox has promised is taken all the same: it is little, and nobody can be told. */
    if (as->qos > 0 && delivery->outbox.number == 0 && session_stored(session) &&
        store_trouble(session->store) != RC_OK && !stored_is_spared(delivery, as->qos))
        return not_stored(session);
    if (session->sink == NULL) {
        if (as->qos > 0 || session->table->limits.queue_qos0_offline)
            return enqueue(session, delivery, as);
        metric_inc(session->table->metrics, METRIC_PUBLISH_DROPPED_QOS0_OFFLINE);
        return NOT_DELIVERED;
    }
    if (session->sink->hold || !way_is_free(session, as->qos))
        return enqueue(session, delivery, as);
    if (as->qos == 0)
        return send_qos0(session, delivery, as);
    bool after_commit = as->qos == 2 && session_stored(session);
    if (after_commit || !window_is_open(session, session->next_sequence)) {
        enum deliver_result result = enqueue(session, delivery, as);
        if (after_commit)
            session_pump(session); /* it asks to be told of the commit */
        return result;
    }
    struct kept kept;
    if (!keep(session, delivery, as, &kept))
        return no_memory(session);
    if (!stored_is_spared(delivery, as->qos))
        stored_message(session, delivery, as, &kept);
    struct store_ref record = kept.ref;
    enum deliver_result result = send_inflight(session, &kept);
    if (result == DELIVERED && session->promptness >= PROMPT)
        delivery->prompt = record;
    return result;
}

/* ---- sending what waits ------------------------------------------------------------------------
 */

/* Sends the window again, as far as the client's receive maximum and the output allow. True: all of
 * it. */
static bool resend(struct session *session)
{
    struct inflight *inflight = session->inflight;
    while (inflight != NULL && inflight->resend < inflight_size(inflight)) {
        struct kept *kept = inflight_at(inflight, inflight->resend);
        uint16_t packet_id = packet_id_of(inflight->first_sequence + inflight->resend);
        if (kept->state == INFLIGHT_RELEASED) {
            session->sink->ops->pubrel(session->sink, packet_id);
        } else if (kept->state != INFLIGHT_DONE) {
            if (session->sink->hold || inflight->counted >= session->receive_maximum)
                return false;
            kept->counted = true;
            inflight->counted++;
            inflight->resend++; /* before finish, which moves it */
            if (send_kept(session, kept, packet_id, true) == SEND_TOO_LARGE) {
                stored_finished(session, kept);
                inflight_finish(inflight, kept);
                metric_dec(session->table->metrics, METRIC_INFLIGHT_MESSAGES);
                metric_inc(session->table->metrics, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE);
            }
            continue;
        }
        inflight->resend++;
    }
    return true;
}

static void send_queued(struct session *session, struct kept *kept)
{
    struct metrics_shard *metrics = session->table->metrics;
    if (kept->state == INFLIGHT_RELEASED) {
        send_released(session, kept);
    } else if (!kept->seen &&
               publication_expired(&kept->message->publication, session->table->now_ms)) {
        metric_inc(metrics, METRIC_PUBLISH_DROPPED_EXPIRED); /* [MQTT-3.3.2-5] */
        stored_finished(session, kept);
        kept_drop(kept);
    } else if (kept->qos > 0) {
        send_inflight(session, kept);
    } else {
        if (send_kept(session, kept, 0, false) == SEND_TOO_LARGE)
            metric_inc(metrics, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE);
        kept_drop(kept);
    }
}

static void commit_done(struct store_waiter *waiter, enum rc rc)
{
    struct queue *queue = CONTAINER_OF(waiter, struct queue, waiter);
    if (rc == RC_OK) {
        queue->tail.blocked = false;
        session_pump(queue->session);
    } else {
        queue_await_store(queue);
    }
}

void queue_await_store(struct queue *queue)
{
    if (list_linked(&queue->waiter.link))
        return;
    queue->waiter.done = commit_done;
    store_wait_until_it_works(queue->session->store, &queue->waiter);
}

/*
 * A QoS 2 message goes out when its record is safe: after a crash the broker has to know that it
 * was sent. False: not yet, and the queue is pumped again when it is.
 */
static bool safe_to_send(struct session *session, const struct kept *kept)
{
    struct queue *queue = session->queue;
    if (kept->qos < 2 || !kept->stored || store_is_safe(session->store, kept->ref))
        return true;
    if (!list_linked(&queue->waiter.link)) {
        queue->waiter.done = commit_done;
        if (store_wait(session->store, &queue->waiter) != RC_AGAIN)
            queue_await_store(queue);
    }
    return false;
}

void session_pump(struct session *session)
{
    if (session->sink == NULL || !resend(session))
        return;
    struct queue *queue = session->queue;
    if (queue == NULL || queue_size(queue) == 0)
        return;
    uint64_t count = queue_size(queue), bytes = queue_bytes(queue);
    const struct kept *next;
    while (!session->sink->hold && queue_front_in_memory(queue) &&
           (next = queue_peek(queue)) != NULL &&
           (next->qos == 0 || next->state == INFLIGHT_RELEASED ||
            (window_is_open(session, next->sequence) && safe_to_send(session, next)))) {
        struct kept kept = queue_take(queue);
        queue->progress_ms = session->table->now_ms;
        send_queued(session, &kept);
    }
    count_queue(session, count, bytes);
    if (!session->sink->hold)
        queue_read_tail(session);
}

void session_resume(struct session *session)
{
    session_pump(session);
}

/* ---- acknowledgements of the client -------------------------------------------------------------
 */

static void finish(struct session *session, struct kept *kept)
{
    stored_acknowledged(session, kept);
    inflight_finish(session->inflight, kept);
    metric_dec(session->table->metrics, METRIC_INFLIGHT_MESSAGES);
    if (queue_size(session->queue) > 0)
        session_pump(session);
    else if (session->inflight->resend < inflight_size(session->inflight))
        session_pump(session);
}

enum rc session_puback(struct session *session, uint16_t packet_id)
{
    struct kept *kept = inflight_find(session->inflight, packet_id, INFLIGHT_SENT_QOS1);
    if (kept == NULL)
        return RC_NOT_FOUND;
    finish(session, kept);
    return RC_OK;
}

enum rc session_pubrec(struct session *session, uint16_t packet_id, bool refused)
{
    struct kept *kept = inflight_find(session->inflight, packet_id, INFLIGHT_SENT_QOS2);
    if (kept == NULL)
        return inflight_find(session->inflight, packet_id, INFLIGHT_RELEASED) != NULL
                   ? RC_OK /* a repeat: PUBREL again */
                   : RC_NOT_FOUND;
    if (refused) {
        finish(session, kept);
        return RC_OK;
    }
    message_drop(kept->message);
    mem_free(kept->identifiers);
    kept->message = NULL;
    kept->identifiers = NULL;
    kept->state = INFLIGHT_RELEASED;
    stored_released(session, kept);
    return RC_OK;
}

enum rc session_pubcomp(struct session *session, uint16_t packet_id)
{
    struct kept *kept = inflight_find(session->inflight, packet_id, INFLIGHT_RELEASED);
    if (kept == NULL)
        return RC_NOT_FOUND;
    finish(session, kept);
    return RC_OK;
}

void session_forget_share(struct session *session, struct share_member *member)
{
    for (uint32_t n = 0; n < inflight_size(session->inflight); n++) {
        struct kept *kept = inflight_at(session->inflight, n);
        if (kept->share == member)
            kept->share = NULL;
    }
    for (uint32_t n = 0; session->queue != NULL && n < session->queue->count; n++) {
        struct kept *kept = queue_at(session->queue, n);
        if (kept->share == member)
            kept->share = NULL;
    }
}
