/* SPDX-License-Identifier: Apache-2.0 */
#include "session/stored.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"

static struct record_clock clock_of(const struct session_table *table)
{
    return (struct record_clock){.now_ms = table->now_ms, .wall_ms = clock_wall_ms()};
}

/* ---- the session itself ------------------------------------------------------------------------
 */

/* The first message that has not been sent to this client. */
static uint64_t first_not_sent(const struct session *session)
{
    const struct inflight *inflight = session->inflight;
    if (inflight != NULL)
        return inflight->first_sequence + inflight->span;
    return session->sent_sequence;
}

void stored_session(struct session *session)
{
    if (!session_stored(session))
        return;
    struct session_record record = {
        .client_id = session_client_id(session),
        .expiry_s = session->expiry_s,
        .connected = session->sink != NULL,
        .at_wall_ms = clock_wall_ms(),
        .next_sequence = session->next_sequence,
        .sent_sequence = first_not_sent(session),
    };
    struct store_key key = record_key_of(session->store->shard, RECORD_SESSION, session->number);
    struct record_value value;
    session_record_encode(&record, &value);
    record_put(session->store, STORE_STATE, &key, &value);
}

void stored_will(struct session *session)
{
    if (!session_stored(session))
        return;
    struct store_key key = record_key_of(session->store->shard, RECORD_WILL, session->number);
    if (session->will == NULL) {
        store_delete(session->store, STORE_STATE, &key);
        return;
    }
    struct record_clock clock = clock_of(session->table);
    struct will_record record = {.delay_s = session->will_delay_s,
                                 .publication = session->will->publication};
    struct record_value value;
    will_record_encode(&record, &clock, &value);
    record_put(session->store, STORE_STATE, &key, &value);
}

void stored_received(struct session *session, const struct received *received,
                     enum stored_change change)
{
    if (!session_stored(session) || received->only_in_memory)
        return;
    struct store_key key =
        record_key_received(session->store->shard, session->number, received->packet_id);
    if (change == STORED_ADDED)
        store_put(session->store, STORE_STATE, &key, NULL, 0);
    else
        store_delete(session->store, STORE_STATE, &key);
}

/* ---- messages that several queues share --------------------------------------------------------
 */

struct shared_key {
    uint64_t number;
    uint32_t shard;
};

static uint32_t shared_hash(uint32_t shard, uint64_t number)
{
    return (uint32_t)(((number ^ (uint64_t)shard << 48) * 0x9E3779B97F4A7C15u) >> 32);
}

static bool shared_matches(const void *element, const void *key)
{
    const struct shared_message *shared = element;
    const struct shared_key *wanted = key;
    return shared->number == wanted->number && shared->shard == wanted->shard;
}

static struct shared_message *shared_find(struct session_table *table, uint32_t shard,
                                          uint64_t number)
{
    struct shared_key key = {number, shard};
    return map_find(&table->shared, shared_hash(shard, number), shared_matches, &key);
}

static struct shared_message *shared_get(struct session_table *table, uint32_t shard,
                                         uint64_t number)
{
    struct shared_message *shared = shared_find(table, shard, number);
    if (shared != NULL)
        return shared;
    shared = NEW(struct shared_message);
    shared->number = number;
    shared->shard = shard;
    map_insert(&table->shared, shared_hash(shard, number), shared);
    return shared;
}

void stored_shared_hold(struct session_table *table, uint32_t shard, uint64_t number)
{
    shared_get(table, shard, number)->queues++;
}

void stored_shared_drop(struct session_table *table, uint32_t shard, uint64_t number)
{
    struct shared_message *shared = shared_find(table, shard, number);
    if (shared == NULL || --shared->queues > 0)
        return;
    struct store_shard *store = &table->stores[shard];
    struct store_key key = record_key_of(shard, RECORD_SHARED, number);
    if (!store_cancel(store, shared->ref))
        store_delete(store, STORE_QUEUE, &key);
    map_remove(&table->shared, shared_hash(shard, number), shared);
    mem_free(shared);
}

bool stored_shared_is_held(struct session_table *table, uint32_t shard, uint64_t number)
{
    return shared_find(table, shard, number) != NULL;
}

void session_drop_shared(struct session_table *table, bool (*is_gone)(void *arg, uint32_t shard),
                         void *arg)
{
    struct shared_message *shared;
    size_t cursor = 0;
    struct map left;
    map_init(&left);
    while ((shared = map_next(&table->shared, &cursor)) != NULL)
        if (is_gone(arg, shared->shard))
            mem_free(shared);
        else
            map_insert(&left, shared_hash(shared->shard, shared->number), shared);
    map_deinit(&table->shared);
    table->shared = left;
}

void stored_shared_deinit(struct session_table *table)
{
    size_t cursor = 0;
    for (void *shared; (shared = map_next(&table->shared, &cursor)) != NULL;)
        mem_free(shared);
    map_deinit(&table->shared);
}

/* Sees that the delivery's bytes are stored in the session's shard, and gives their number. */
static uint64_t share_bytes(struct session *session, struct delivery *delivery)
{
    struct session_table *table = session->table;
    uint32_t shard = session->store->shard;
    if (delivery->copies == NULL)
        delivery->copies = mem_new(table->shard_count * sizeof(uint64_t));
    uint64_t *number = &delivery->copies[shard];
    bool there = *number != 0;
    if (!there)
        *number = store_numbers(session->store, 1);
    struct shared_message *shared = shared_get(table, shard, *number);
    shared->queues++;
    /* A copy that everybody has acknowledged meanwhile is gone, and is stored again. */
    if (there && shared->queues > 1)
        return *number;
    struct record_clock clock = clock_of(table);
    struct store_key key = record_key_of(shard, RECORD_SHARED, *number);
    struct record_value value;
    message_record_encode(delivery->publication, &clock, &value);
    shared->ref = record_put(session->store, STORE_QUEUE, &key, &value);
    return *number;
}

/* ---- messages ----------------------------------------------------------------------------------
 */

enum { SHARE_TEXT_MAX = 1024 };

void stored_message(struct session *session, struct delivery *delivery, const struct deliver_as *as,
                    struct kept *kept)
{
    if (!session_stored(session))
        return;
    const struct publication *p = delivery->publication;
    char share[SHARE_TEXT_MAX];
    /* A queue that gives up its oldest drops what it would have to read to know what it shares. */
    bool shared = delivery->many && session->table->limits.queue_policy != QUEUE_GIVE_UP_OLDEST;
    struct queue_record record = {
        .kind = shared ? QUEUE_RECORD_SHARED : QUEUE_RECORD_MESSAGE,
        .qos = as->qos,
        .retain = as->retain,
        .identifiers = as->identifiers,
        .identifier_count = as->identifier_count,
        .size =
            (uint32_t)(sizeof(struct message) + p->topic.len + p->properties.len + p->payload.len),
    };
    if (as->share != NULL && session->table->ops->share_filter != NULL)
        record.share =
            bytes_of(share, session->table->ops->share_filter(as->share, share, SHARE_TEXT_MAX));
    if (shared)
        record.shared = kept->shared = share_bytes(session, delivery);
    struct record_clock clock = clock_of(session->table);
    struct store_key key =
        record_key_queued(session->store->shard, session->number, kept->sequence);
    struct record_value value;
    queue_record_encode(&record, p, &clock, &value);
    kept->ref = record_put(session->store, STORE_QUEUE, &key, &value);
    kept->stored = true;
}

void stored_released(struct session *session, struct kept *kept)
{
    if (!kept->stored)
        return;
    struct queue_record record = {.kind = QUEUE_RECORD_RELEASED, .qos = 2};
    struct store_key key =
        record_key_queued(session->store->shard, session->number, kept->sequence);
    struct record_value value;
    queue_record_encode(&record, NULL, NULL, &value);
    kept->ref = (struct store_ref){0}; /* taking this one back would leave the message */
    record_put(session->store, STORE_QUEUE, &key, &value);
    if (kept->shared != 0)
        stored_shared_drop(session->table, session->store->shard, kept->shared);
    kept->shared = 0;
}

static void finished(struct session *session, struct kept *kept, bool taken_back)
{
    if (!taken_back) {
        struct store_key key =
            record_key_queued(session->store->shard, session->number, kept->sequence);
        store_delete(session->store, STORE_QUEUE, &key);
    }
    if (kept->shared != 0)
        stored_shared_drop(session->table, session->store->shard, kept->shared);
    kept->shared = 0;
    kept->stored = false;
}

void stored_finished(struct session *session, struct kept *kept)
{
    if (kept->stored)
        finished(session, kept, store_cancel(session->store, kept->ref));
}

static void note_promptness(struct session *session, bool prompt)
{
    if (prompt && session->promptness < PROMPTNESS_MAX)
        session->promptness++;
    else if (!prompt && session->promptness > 0)
        session->promptness--;
}

void stored_acknowledged(struct session *session, struct kept *kept)
{
    if (!kept->stored)
        return;
    bool taken_back = store_settle(session->store, kept->ref);
    if (kept->qos == 1)
        note_promptness(session, taken_back || store_is_recent(session->store, kept->ref));
    finished(session, kept, taken_back);
}

/* ---- the client goes ---------------------------------------------------------------------------
 */

/* All that is in memory and has a number is on disk too. */
static bool all_on_disk(struct session *session)
{
    for (uint32_t n = 0; n < inflight_size(session->inflight); n++) {
        const struct kept *kept = inflight_at(session->inflight, n);
        if (kept->state != INFLIGHT_DONE && !kept->stored)
            return false;
    }
    for (uint32_t n = 0; session->queue != NULL && n < session->queue->count; n++) {
        const struct kept *kept = queue_at(session->queue, n);
        if (kept->qos > 0 && !kept->stored)
            return false;
    }
    return true;
}

static void add_to_tail(struct queue *queue, struct kept *kept, uint64_t *from)
{
    queue->tail.count++;
    queue->tail.bytes += kept_bytes(kept);
    if (kept->sequence < *from)
        *from = kept->sequence;
    kept_drop(kept);
}

static void let_queue_go(struct queue *queue, uint64_t *from)
{
    for (uint32_t left = queue->count; left > 0; left--) {
        struct kept kept = queue_take(queue);
        if (kept.qos > 0)
            add_to_tail(queue, &kept, from);
        else
            CHECK(queue_push(queue, &kept) == RC_OK); /* there is room: it was just taken out */
    }
}

void stored_let_go(struct session *session)
{
    struct metrics_shard *metrics = session->table->metrics;
    struct inflight *inflight = session->inflight;
    if (!session_stored(session) || !all_on_disk(session))
        return;
    if (inflight == NULL && session->queue == NULL)
        return;
    session->sent_sequence = first_not_sent(session);
    if (session->queue == NULL)
        session->queue = queue_new(session);
    struct queue *queue = session->queue;
    uint64_t messages = queue_size(queue), bytes = queue_bytes(queue);
    uint64_t from = queue->tail.count > 0 ? queue->tail.from : UINT64_MAX;
    for (uint32_t n = 0; n < inflight_size(inflight); n++) {
        struct kept *kept = inflight_at(inflight, n);
        if (kept->state != INFLIGHT_DONE)
            add_to_tail(queue, kept, &from);
    }
    if (inflight != NULL)
        metric_sub(metrics, METRIC_INFLIGHT_MESSAGES, inflight->unacknowledged);
    inflight_free(inflight);
    session->inflight = NULL;
    let_queue_go(queue, &from);
    queue->tail.from = from;
    queue->tail.epoch++;
    queue->tail.blocked = false;
    list_remove(&queue->waiter.link);
    metric_add(metrics, METRIC_QUEUED_MESSAGES, queue_size(queue) - messages);
    metric_add(metrics, METRIC_QUEUED_BYTES, queue_bytes(queue) - bytes);
}

/* ---- begin and end -----------------------------------------------------------------------------
 */

static void store_kept(struct session *session, struct kept *kept)
{
    if (kept->message == NULL) {
        if (kept->state == INFLIGHT_RELEASED) {
            kept->stored = true;
            stored_released(session, kept);
        }
        return;
    }
    struct delivery delivery = {.publication = &kept->message->publication,
                                .message = kept->message};
    struct deliver_as as = {
        .qos = kept->qos,
        .retain = kept->retain,
        .identifiers = kept->identifiers != NULL ? kept->identifiers + 1 : &kept->identifier,
        .identifier_count = kept->identifiers != NULL ? kept->identifiers[0] : kept->identifier > 0,
        .share = kept->share,
    };
    stored_message(session, &delivery, &as, kept);
}

void stored_begin(struct session *session)
{
    session->number = store_numbers(session->store, 1);
    stored_session(session);
    stored_will(session);
    for (uint16_t i = 0; i < session->received_count; i++)
        stored_received(session, &session->received[i], STORED_ADDED);
    for (uint32_t n = 0; n < inflight_size(session->inflight); n++)
        store_kept(session, inflight_at(session->inflight, n));
    for (uint32_t n = 0; session->queue != NULL && n < session->queue->count; n++)
        if (queue_at(session->queue, n)->qos > 0)
            store_kept(session, queue_at(session->queue, n));
}

void stored_ended(struct session *session)
{
    if (!session_stored(session))
        return;
    struct store_shard *store = session->store;
    uint64_t number = session->number;
    struct store_key key = record_key_of(store->shard, RECORD_SESSION, number);
    store_delete(store, STORE_STATE, &key);
    for (uint16_t i = 0; i < session->received_count; i++)
        stored_received(session, &session->received[i], STORED_REMOVED);
    if (session->subscription_count > STORED_SUBSCRIPTIONS_ONE_BY_ONE) {
        key = record_key_of(store->shard, RECORD_SUBSCRIPTION, number);
        store_delete_prefix(store, STORE_STATE, &key);
    }
    for (uint32_t n = 0; n < inflight_size(session->inflight); n++) {
        struct kept *kept = inflight_at(session->inflight, n);
        if (kept->state != INFLIGHT_DONE)
            stored_finished(session, kept);
    }
    for (uint32_t n = 0; session->queue != NULL && n < session->queue->count; n++)
        stored_finished(session, queue_at(session->queue, n));
    if (session->queue != NULL && session->queue->tail.count > 0)
        queue_discard_tail(session);
}
