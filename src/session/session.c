/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of sessions: the worker's table of them, connect, disconnect, will, expiry, end. What a
 * session sends and keeps is in outbound.c. Home worker's thread only.
 */
#include "session/session.h"

#include "base/check.h"
#include "base/memory.h"
#include "session/stored.h"

#include <xxhash.h>

enum { GENERATION_MAX = (1 << 20) - 1, SESSION_TIMERS_PER_TURN = 512 };

uint32_t client_id_hash(struct bytes client_id)
{
    return XXH32(client_id.data, client_id.len, 0);
}

/* ---- the table ---------------------------------------------------------------------------------
 */

void session_table_init(struct session_table *table, uint32_t worker, uint64_t now_ms)
{
    *table = (struct session_table){.worker = worker, .now_ms = now_ms};
    map_init(&table->by_client_id);
    timer_wheel_init(&table->wheel, now_ms);
}

void session_table_deinit(struct session_table *table)
{
    for (uint32_t i = 0; i < table->slot_count; i++) {
        struct session *session = table->slots[i].session;
        if (session != NULL)
            session_free(session);
    }
    mem_free(table->slots);
    map_deinit(&table->by_client_id);
    stored_shared_deinit(table);
}

static bool has_client_id(const void *element, const void *key)
{
    return bytes_equal(session_client_id(element), *(const struct bytes *)key);
}

struct session *session_find(struct session_table *table, struct bytes client_id)
{
    return map_find(&table->by_client_id, client_id_hash(client_id), has_client_id, &client_id);
}

static uint32_t slot_take(struct session_table *table)
{
    if (table->free_slot != 0) {
        uint32_t slot = table->free_slot - 1;
        table->free_slot = table->slots[slot].next_free;
        return slot;
    }
    if (table->slot_count == table->slot_room) {
        table->slot_room = table->slot_room == 0 ? 64 : table->slot_room * 2;
        table->slots = mem_resize(table->slots, table->slot_room * sizeof(*table->slots));
    }
    uint32_t slot = table->slot_count++;
    table->slots[slot] = (struct session_slot){0};
    return slot;
}

static void slot_give(struct session_table *table, struct session *session)
{
    uint32_t slot = (uint32_t)session->ref;
    CHECK(table->slots[slot].session == session);
    table->slots[slot].session = NULL;
    table->slots[slot].next_free = table->free_slot;
    table->free_slot = slot + 1;
}

static enum rc new_up_to(struct session_table *table, struct bytes client_id, uint32_t sessions_max,
                         struct session **out)
{
    uint32_t before = atomic_fetch_add_explicit(table->sessions, 1, memory_order_relaxed);
    struct session *session = NULL;
    if (before < sessions_max)
        session = mem_try(sizeof(*session) + client_id.len);
    if (session == NULL) {
        atomic_fetch_sub_explicit(table->sessions, 1, memory_order_relaxed);
        return before < sessions_max ? RC_NO_MEMORY : RC_FULL;
    }
    uint32_t hash = client_id_hash(client_id);
    uint32_t slot = slot_take(table);
    uint32_t generation = table->slots[slot].generation % GENERATION_MAX + 1;
    table->slots[slot].generation = generation;
    table->slots[slot].session = session;
    *session = (struct session){
        .ref = (uint64_t)table->worker << 52 | (uint64_t)generation << 32 | slot,
        .table = table,
        .store = &table->stores[hash % table->shard_count],
        .hash = hash,
        .next_sequence = 1,
        .promptness = PROMPT,
        .client_id_len = (uint16_t)client_id.len,
    };
    memcpy(session->client_id, client_id.data, client_id.len);
    timer_init(&session->timer);
    map_insert(&table->by_client_id, hash, session);
    metric_inc(table->metrics, METRIC_SESSIONS_CURRENT);
    *out = session;
    return RC_OK;
}

enum rc session_new(struct session_table *table, struct bytes client_id, struct session **out)
{
    return new_up_to(table, client_id, table->limits.sessions_max, out);
}

enum rc session_new_stored(struct session_table *table, struct bytes client_id,
                           struct session **out)
{
    return new_up_to(table, client_id, UINT32_MAX, out);
}

/* ---- will --------------------------------------------------------------------------------------
 */

void session_set_will(struct session *session, struct message *will, uint32_t delay_s)
{
    bool had_one = session->will != NULL;
    message_drop(session->will);
    session->will = will;
    session->will_delay_s = delay_s;
    if (had_one || will != NULL)
        stored_will(session);
}

void session_will_now(struct session *session)
{
    struct message *will = session->will;
    if (will == NULL)
        return;
    session->will = NULL;
    stored_will(session);
    metric_inc(session->table->metrics, METRIC_WILLS_PUBLISHED);
    session->table->ops->publish_will(session->table, session, will);
}

/* ---- messages of shares whose member went away --------------------------------------------------
 */

enum { SHARE_TEXT_MAX = 1024 };

/* The session ends: the message goes to another member in the batch that deletes its record. */
static bool bequeath(struct session *session, struct kept *kept)
{
    const struct session_ops *ops = session->table->ops;
    char text[SHARE_TEXT_MAX];
    size_t len = ops->share_filter(kept->share, text, sizeof(text));
    if (len == 0 || !ops->share_inherit(session->table, session->store, session->ref,
                                        bytes_of(text, len), kept->message))
        return false;
    stored_finished(session, kept);
    return true;
}

static bool hand_over(struct session *session, struct kept *kept)
{
    if (kept->qos == 2 && kept->seen)
        return false; /* it may have been sent [MQTT-4.8.2-5] */
    if (session->ending && kept->stored && kept->share != NULL && kept->message != NULL &&
        session->table->ops->share_inherit != NULL)
        return bequeath(session, kept);

    /* Two shards are not written in one: after a crash between them both members would have it. */
    if (kept->qos == 2 && kept->stored && !session->ending)
        return false;
    struct moved_record record = {
        .table = session->table,
        .session = session->number,
        .sequence = kept->sequence,
        .shared = kept->shared,
        .shard = session->store->shard,
    };
    return kept->share != NULL && kept->message != NULL &&
           session->table->ops->share_orphan(session->table, session, kept->share, kept->message,
                                             kept->stored ? &record : NULL);
}

void session_moved(const struct moved_record *record)
{
    struct store_shard *store = &record->table->stores[record->shard];
    struct store_key key = record_key_queued(record->shard, record->session, record->sequence);
    store_delete(store, STORE_QUEUE, &key);
    if (record->shared != 0)
        stored_shared_drop(record->table, record->shard, record->shared);
}

/* What was sent with QoS 2 stays with this session [MQTT-4.8.2-4, MQTT-4.8.2-5]. */
static void hand_over_shared(struct session *session)
{
    struct inflight *inflight = session->inflight;
    for (uint32_t n = 0; n < inflight_size(inflight);) {
        uint32_t size = inflight_size(inflight);
        struct kept *kept = inflight_at(inflight, n);
        if (kept->state == INFLIGHT_SENT_QOS1 && hand_over(session, kept)) {
            inflight_finish(inflight, kept);
            metric_dec(session->table->metrics, METRIC_INFLIGHT_MESSAGES);
        }
        if (inflight_size(inflight) == size)
            n++; /* else something went, and what is behind it moved down */
    }
    struct queue *queue = session->queue;
    for (uint32_t left = queue == NULL ? 0 : queue->count; left > 0; left--) {
        uint64_t bytes = queue->bytes;
        struct kept kept = queue_take(queue);
        if (hand_over(session, &kept)) {
            metric_dec(session->table->metrics, METRIC_QUEUED_MESSAGES);
            metric_sub(session->table->metrics, METRIC_QUEUED_BYTES, bytes - queue->bytes);
            kept_drop(&kept);
        } else {
            CHECK(queue_push(queue, &kept) == RC_OK); /* there is room: it was just taken out */
        }
    }
}

/* ---- connect and disconnect --------------------------------------------------------------------
 */

void session_attach(struct session *session, struct session_sink *sink, uint32_t expiry_s,
                    uint16_t receive_maximum)
{
    struct session_table *table = session->table;
    CHECK(session->sink == NULL && !session->ending);
    timer_stop(&table->wheel, &session->timer);
    /* Only a client that is back before the delay has passed takes its will back [MQTT-3.1.3-9]. */
    bool due = session->will_at_ms != 0 &&
               (session->will_delay_s == 0 || session->will_at_ms <= table->now_ms);
    if (session->will != NULL && due)
        session_will_now(session);
    session->will_at_ms = session->end_at_ms = 0;
    session->sink = sink;
    session->expiry_s = expiry_s;
    if (!session_stored(session) && session_durable(session) && store_keeps(session->store))
        stored_begin(session);
    else
        stored_session(session);
    if (session->will != NULL)
        session_set_will(session, NULL, 0);
    uint16_t ours = table->limits.inflight_max;
    session->receive_maximum = receive_maximum < ours ? receive_maximum : ours;
    if (session->inflight != NULL)
        inflight_rewind(session->inflight);
}

void session_start_timer(struct session *session)
{
    uint64_t at = session->end_at_ms;
    if (session->will_at_ms != 0 && (at == 0 || session->will_at_ms < at))
        at = session->will_at_ms;
    if (at == 0)
        return;
    timer_start(&session->table->wheel, &session->timer, at);
    session->table->wake_at(session->table->wake_arg, at);
}

void session_detach(struct session *session, enum session_will will)
{
    struct session_table *table = session->table;
    session->sink = NULL;
    if (will == SESSION_WILL_DISCARD && session->will != NULL)
        session_set_will(session, NULL, 0);
    if (!session_durable(session)) {
        session_end(session);
        return;
    }
    hand_over_shared(session);
    stored_let_go(session);
    session_trim(session);
    stored_session(session);
    session->end_at_ms = session->expiry_s == SESSION_NEVER_EXPIRES
                             ? 0
                             : table->now_ms + (uint64_t)session->expiry_s * 1000;
    if (session->will != NULL && session->will_delay_s > 0)
        session->will_at_ms = table->now_ms + (uint64_t)session->will_delay_s * 1000;
    else
        session_will_now(session);
    session_start_timer(session);
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static void count_lost(struct session *session)
{
    uint64_t handed_over = queue_tail_is_inherited(session) ? session->queue->tail.count : 0;
    metric_add(session->table->metrics, METRIC_PUBLISH_DROPPED_SESSION_GONE,
               queue_size(session->queue) - handed_over);
}

static void drop_messages(struct session *session)
{
    uint64_t queued = queue_size(session->queue);
    uint32_t sent = session->inflight == NULL ? 0 : session->inflight->unacknowledged;
    struct metrics_shard *metrics = session->table->metrics;
    metric_sub(metrics, METRIC_QUEUED_MESSAGES, queued);
    metric_sub(metrics, METRIC_QUEUED_BYTES, queue_bytes(session->queue));
    metric_sub(metrics, METRIC_INFLIGHT_MESSAGES, sent);
    inflight_free(session->inflight);
    queue_free(session->queue);
    mem_free(session->received);
    session->inflight = NULL;
    session->queue = NULL;
    session->received = NULL;
    session->received_count = session->received_room = 0;
}

/* From now on nobody finds it. */
static void leave_table(struct session *session)
{
    struct session_table *table = session->table;
    CHECK(!session->ending);
    session->ending = 1;
    session->sink = NULL;
    timer_stop(&table->wheel, &session->timer);
    map_remove(&table->by_client_id, session->hash, session);
    slot_give(table, session);
    atomic_fetch_sub_explicit(table->sessions, 1, memory_order_relaxed);
    metric_dec(table->metrics, METRIC_SESSIONS_CURRENT);
}

void session_end(struct session *session)
{
    leave_table(session);
    session_will_now(session); /* the session's end is the latest moment: [MQTT-3.1.2-8] */
    hand_over_shared(session);
    stored_ended(session);
    count_lost(session);
    drop_messages(session);
    session->table->ops->ended(session->table, session);
}

void session_drop(struct session *session)
{
    leave_table(session);
    session->number = 0; /* what follows leaves no record */
    drop_messages(session);
    session->table->ops->ended(session->table, session);
}

void session_free(struct session *session)
{
    inflight_free(session->inflight);
    queue_free(session->queue);
    mem_free(session->received);
    message_drop(session->will);
    mem_free(session);
}

static bool queue_is_idle(const struct queue *queue)
{
    return queue != NULL && queue_size(queue) == 0 && !queue->tail.reading;
}

void session_trim(struct session *session)
{
    if (session->inflight != NULL && inflight_size(session->inflight) == 0) {
        inflight_free(session->inflight);
        session->inflight = NULL;
    }
    if (queue_is_idle(session->queue)) {
        queue_free(session->queue);
        session->queue = NULL;
    }
    if (session->received != NULL && session->received_count == 0) {
        mem_free(session->received);
        session->received = NULL;
        session->received_room = 0;
    }
}

/* ---- timers ------------------------------------------------------------------------------------
 */

bool session_end_if_expired(struct session *session)
{
    if (session->end_at_ms == 0 || session->table->now_ms < session->end_at_ms)
        return false;
    metric_inc(session->table->metrics, METRIC_SESSIONS_EXPIRED);
    session_end(session);
    return true;
}

static void timer_due(struct session *session)
{
    uint64_t now_ms = session->table->now_ms;
    if (session_end_if_expired(session))
        return;
    if (session->will_at_ms != 0 && now_ms >= session->will_at_ms) {
        session->will_at_ms = 0;
        session_will_now(session);
    }
    session_start_timer(session);
}

bool session_table_advance(struct session_table *table, uint64_t now_ms)
{
    struct list due;
    list_init(&due);
    table->now_ms = now_ms;
    size_t count = timer_wheel_advance(&table->wheel, now_ms, SESSION_TIMERS_PER_TURN, &due);
    struct list *link;
    while ((link = list_take_first(&due)) != NULL)
        timer_due(CONTAINER_OF(link, struct session, timer.link));
    return count == SESSION_TIMERS_PER_TURN;
}

/* ---- inbound QoS 2 -----------------------------------------------------------------------------
 */

bool session_received_has(const struct session *session, uint16_t packet_id)
{
    for (uint16_t i = 0; i < session->received_count; i++)
        if (session->received[i].packet_id == packet_id)
            return true;
    return false;
}

bool session_received_is_kept(const struct session *session, uint16_t packet_id)
{
    for (uint16_t i = 0; i < session->received_count; i++)
        if (session->received[i].packet_id == packet_id)
            return session_durable(session) && !session->received[i].only_in_memory;
    return false;
}

enum rc session_received_add(struct session *session, uint16_t packet_id,
                             enum durability durability)
{
    if (session_received_has(session, packet_id))
        return RC_EXISTS;
    if (session->received_count == session->received_room) {
        uint32_t room = session->received_room == 0 ? 8 : session->received_room * 2u;
        if (room > UINT16_MAX)
            room = UINT16_MAX;
        struct received *grown = mem_try_resize(session->received, room * sizeof(*grown));
        if (grown == NULL || session->received_count == room)
            return RC_NO_MEMORY;
        session->received = grown;
        session->received_room = (uint16_t)room;
    }
    struct received received = {packet_id, durability == DURABILITY_MEMORY};
    session->received[session->received_count++] = received;
    stored_received(session, &received, STORED_ADDED);
    return RC_OK;
}

bool session_received_remove(struct session *session, uint16_t packet_id)
{
    for (uint16_t i = 0; i < session->received_count; i++) {
        struct received received = session->received[i];
        if (received.packet_id != packet_id)
            continue;
        /* Releases come in order as a rule, so this is short. */
        memmove(session->received + i, session->received + i + 1,
                (size_t)(session->received_count - i - 1) * sizeof(received));
        session->received_count--;
        stored_received(session, &received, STORED_REMOVED);
        return true;
    }
    return false;
}
