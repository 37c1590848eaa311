/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions as they come back from the store at start-up. Times on disk are wall clock times: a
 * clock that went back lengthens nothing beyond the whole interval. */
#include "session/stored.h"

#include "base/memory.h"

/* What is left of an interval that began at that wall clock time. */
static uint64_t left_ms(uint64_t interval_s, uint64_t since_wall_ms,
                        const struct record_clock *clock)
{
    uint64_t whole_ms = interval_s * 1000;
    uint64_t gone_ms = clock->wall_ms > since_wall_ms ? clock->wall_ms - since_wall_ms : 0;
    return gone_ms >= whole_ms ? 0 : whole_ms - gone_ms;
}

/* When the interval is over, by now_ms: not 0. */
static uint64_t over_at(uint64_t now_ms, uint64_t interval_s, uint64_t since_wall_ms,
                        const struct record_clock *clock)
{
    uint64_t at_ms = now_ms + left_ms(interval_s, since_wall_ms, clock);
    return at_ms == 0 ? 1 : at_ms;
}

enum rc session_restore(struct session_table *table, uint64_t number,
                        const struct session_record *record, const struct record_clock *clock,
                        struct session **out)
{
    struct session *session;
    enum rc rc = session_new_stored(table, record->client_id, &session);
    if (rc != RC_OK)
        return rc;
    session->number = number;
    session->expiry_s = record->expiry_s;
    session->next_sequence = record->next_sequence > 0 ? record->next_sequence : 1;
    session->sent_sequence = record->sent_sequence;
    session->was_connected = record->connected;
    session->receive_maximum = record->connected ? table->limits.inflight_max : 0;
    /* A client that was there when the broker ended has been away from now on. */
    uint64_t since_ms = record->connected ? clock->wall_ms : record->at_wall_ms;
    session->will_at_ms =
        record->at_wall_ms; /* until session_restored() knows whether there is a will */
    if (record->expiry_s != SESSION_NEVER_EXPIRES)
        session->end_at_ms = over_at(table->now_ms, record->expiry_s, since_ms, clock);
    *out = session;
    return RC_OK;
}

void session_restore_will(struct session *session, struct message *will, uint32_t delay_s)
{
    session->will = will;
    session->will_delay_s = delay_s;
}

enum rc session_restore_received(struct session *session, uint16_t packet_id)
{
    uint64_t number = session->number;
    session->number = 0; /* it has its record */
    enum rc rc = session_received_add(session, packet_id, DURABILITY_FSYNC);
    session->number = number;
    return rc == RC_EXISTS ? RC_OK : rc;
}

void session_restore_queued(struct session *session, uint64_t sequence,
                            const struct queue_record *record)
{
    if (session->queue == NULL) {
        session->queue = queue_new(session);
        if (session->was_connected)
            session->queue->tail.told =
                (struct queue_told){session->sent_sequence, session->will_at_ms};
    }
    struct queue_tail *tail = &session->queue->tail;
    if (tail->count++ == 0)
        tail->from = sequence;
    if (session->receive_maximum > 0) { /* the broker may have sent it, and noted nothing down */
        session->receive_maximum--;
        if (session->sent_sequence <= sequence)
            session->sent_sequence = sequence + 1;
    }
    uint64_t bytes = record->size + sizeof(struct kept);
    tail->bytes += bytes;
    if (sequence >= session->next_sequence)
        session->next_sequence = sequence + 1;
    if (record->shared != 0)
        stored_shared_hold(session->table, session->store->shard, record->shared);
    metric_inc(session->table->metrics, METRIC_QUEUED_MESSAGES);
    metric_add(session->table->metrics, METRIC_QUEUED_BYTES, bytes);
}

void session_restored(struct session *session, const struct record_clock *clock)
{
    uint64_t since_ms = session->was_connected ? clock->wall_ms : session->will_at_ms;
    session->will_at_ms = 0;
    if (session->will != NULL)
        session->will_at_ms = over_at(clock->now_ms, session->will_delay_s, since_ms, clock);
    if (session->was_connected) /* and if the broker ends now, it still left when it did */
        stored_session(session);
    session->was_connected = 0;
    session_start_timer(session);
}
