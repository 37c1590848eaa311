/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading back the part of a queue that is on disk alone, while its client is there: a piece at a
 * time, asked for when half of the last one has gone. What was recorded is committed first, so a
 * read sees all of it.
 *
 *      ring runs low -> wait for commits -> read -> ring      (one at a time for each session)
 */
#include "session/stored.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

struct drain {
    struct store_waiter waiter;
    struct store_read read;
    struct session_table *table;
    uint64_t session; /* session_ref: it may have ended meanwhile */
    uint64_t until;   /* what came from this number on may be missing in the answer */
    uint32_t epoch;   /* of the tail, when the read began */
    bool partly;      /* some of what was recorded before is not on disk */
};

/* ---- what came back ----------------------------------------------------------------------------
 */

/* Makes the kept entry of a record; false when it cannot be used. `message` is what it stands for.
 */
static bool make_kept(struct session *session, uint64_t sequence, const struct queue_record *record,
                      struct bytes message, struct kept *kept, bool *expired)
{
    struct record_clock clock = {session->table->now_ms, clock_wall_ms()};
    struct publication publication;
    *expired = false;
    *kept = (struct kept){
        .sequence = sequence,
        .qos = record->qos,
        .retain = record->retain,
        .stored = true,
        .seen = sequence < session->sent_sequence,
        .shared = record->shared,
    };
    if (record->kind == QUEUE_RECORD_RELEASED) {
        kept->state = INFLIGHT_RELEASED;
        return true;
    }
    if (!message_record_decode(message, &clock, &publication, expired))
        return false;
    const struct queue_told *told = &session->queue->tail.told;
    if (publication.has_expiry && kept->seen && sequence >= told->sent &&
        message_record_expired_by(message, told->wall_ms)) {
        *expired = true; /* [MQTT-3.3.2-5] */
        kept->seen = false;
    }
    kept->message = message_new(&publication);
    if (kept->message == NULL)
        return false;
    struct bytes rest = record->identifier_bytes;
    if (record->identifier_count == 1) {
        queue_record_identifier(&rest, &kept->identifier);
    } else if (record->identifier_count > 1) {
        kept->identifiers = mem_new((record->identifier_count + 1) * sizeof(uint32_t));
        kept->identifiers[0] = record->identifier_count;
        for (uint32_t i = 1; queue_record_identifier(&rest, &kept->identifiers[i]); i++)
            ;
    }
    if (record->share.len > 0 && session->table->ops->share_find != NULL) {
        kept->share = session->table->ops->share_find(session->table, session, record->share);
        if (kept->share != NULL)
            atomic_fetch_add_explicit(&kept->share->load, 1, memory_order_relaxed);
    }
    return true;
}

/* One pair of the answer into the ring. */
static void take_in(struct session *session, struct bytes key, struct bytes value,
                    struct bytes shared)
{
    struct queue_tail *tail = &session->queue->tail;
    struct record_key parsed;
    struct queue_record record;
    if (!record_key_parse(key, &parsed) || parsed.sequence < tail->from)
        return; /* dropped meanwhile */
    struct kept kept = {.sequence = parsed.sequence, .stored = true};
    bool expired = false, made = false;
    if (queue_record_decode(value, &record))
        made = make_kept(session, parsed.sequence, &record,
                         record.kind == QUEUE_RECORD_SHARED ? shared : record.message, &kept,
                         &expired);
    else
        record.size = 0;
    uint64_t size = record.size + sizeof(struct kept);
    tail->from = parsed.sequence + 1;
    tail->count -= tail->count > 0;
    tail->bytes -= size < tail->bytes ? size : tail->bytes;
    if (made && (!expired || kept.seen) && queue_insert(session->queue, &kept) == RC_OK)
        return;
    struct metrics_shard *metrics = session->table->metrics;
    metric_inc(metrics, expired ? METRIC_PUBLISH_DROPPED_EXPIRED : METRIC_PUBLISH_DROPPED_DAMAGED);
    stored_finished(session, &kept);
    kept_drop(&kept);
}

/* The end of the range was reached: what is left came since the read began. */
static void all_read(struct session *session, uint64_t until)
{
    struct queue_tail *tail = &session->queue->tail;
    if (tail->from < until)
        tail->from = until;
    uint64_t left = session->next_sequence > tail->from ? session->next_sequence - tail->from : 0;
    if (tail->count != left)
        LOG_LIMITED(LOG_DEBUG, "session.queue_counted_again",
                    log_bytes("client", session_client_id(session)),
                    log_uint("estimate", tail->count), log_uint("messages", left));
    tail->bytes = tail->count == 0 ? 0 : tail->bytes / tail->count * left;
    tail->count = (uint32_t)left;
}

/* What the disk had has come; what is left is written when the store works again, and read then. */
static void all_read_but_the_backlog(struct session *session)
{
    struct queue_tail *tail = &session->queue->tail;
    if (tail->from >= session->next_sequence)
        return;
    tail->count += tail->count == 0;
    tail->blocked = true;
    queue_await_store(session->queue);
}

/* What lies where nothing can be read is passed over, told and counted. */
static void count_damage(struct session *session, const struct drain *drain)
{
    uint64_t lost = drain->read.unreadable;
    if (drain->read.unreadable_from < drain->until)
        lost += drain->until - drain->read.unreadable_from;
    if (lost == 0)
        return;
    metric_add(session->table->metrics, METRIC_PUBLISH_DROPPED_DAMAGED, lost);
    LOG(LOG_ERROR, "session.queue_damaged", log_bytes("client", session_client_id(session)),
        log_uint("up_to_messages", lost));
}

/* What is to be read next, if anything. */
static void go_on(struct session *session, const struct drain *drain)
{
    struct queue_tail *tail = &session->queue->tail;
    count_damage(session, drain);
    if (drain->read.rc != RC_OK || (drain->partly && !drain->read.more))
        all_read_but_the_backlog(session);
    else if (!drain->read.more)
        all_read(session, drain->until);
    else if (tail->count == 0)
        tail->count = 1; /* there is more than was counted */
}

static void read_done(struct store_read *read)
{
    struct drain *drain = CONTAINER_OF(read, struct drain, read);
    struct session *session = session_of_ref(drain->table, drain->session);
    if (session != NULL && session->queue != NULL) {
        struct queue *queue = session->queue;
        uint64_t messages = queue_size(queue), bytes = queue_bytes(queue);
        struct bytes key, value, shared = bytes_of("", 0);
        queue->tail.reading = false;
        /* When the client has come and gone meanwhile, what was read is in the tail again. */
        bool current = queue->tail.epoch == drain->epoch;
        for (size_t at = 0; current && store_read_next(read, &at, &key, &value);) {
            struct record_key parsed;
            if (record_key_parse(key, &parsed) && parsed.kind == RECORD_SHARED)
                shared = value; /* of the pair that follows */
            else
                take_in(session, key, value, shared);
        }
        if (current)
            go_on(session, drain);
        metric_add(session->table->metrics, METRIC_QUEUED_MESSAGES, queue_size(queue) - messages);
        metric_add(session->table->metrics, METRIC_QUEUED_BYTES, queue_bytes(queue) - bytes);
        if (session->sink == NULL)
            stored_let_go(session);
        else
            session_pump(session);
    }
    mem_free(read->data);
    mem_free(drain);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static void committed(struct store_waiter *waiter, enum rc rc)
{
    struct drain *drain = CONTAINER_OF(waiter, struct drain, waiter);
    struct session *session = session_of_ref(drain->table, drain->session);
    drain->partly = rc != RC_OK;
    if (session == NULL || session->queue == NULL) {
        mem_free(drain);
        return;
    }
    struct store_key all = record_key_of(session->store->shard, RECORD_QUEUED, session->number);
    drain->read = (struct store_read){
        .family = STORE_QUEUE,
        .from =
            record_key_queued(session->store->shard, session->number, session->queue->tail.from),
        .until = record_key_end(&all),
        .records_max = QUEUE_HEAD_MESSAGES,
        .bytes_max = QUEUE_HEAD_BYTES,
        .done = read_done,
    };
    CHECK(store_read_start(session->store, &drain->read));
}

void queue_read_tail(struct session *session)
{
    struct queue *queue = session->queue;
    if (queue == NULL || queue->tail.count == 0 || queue->tail.reading || queue->tail.blocked)
        return;
    /* What stands in memory before the tail is enough for now; what stands behind it has to wait.
     */
    if (queue_front_in_memory(queue) &&
        (queue->count >= QUEUE_HEAD_MESSAGES / 2 || queue->bytes >= QUEUE_HEAD_BYTES / 2))
        return;
    struct drain *drain = NEW(struct drain);
    drain->table = session->table;
    drain->session = session->ref;
    drain->until = session->next_sequence;
    drain->epoch = queue->tail.epoch;
    drain->waiter.done = committed;
    drain->waiter.written_is_enough = true;
    queue->tail.reading = true;
    enum rc rc = store_wait(session->store, &drain->waiter);
    if (rc != RC_AGAIN)
        committed(&drain->waiter, rc);
}

/* ---- a tail that nobody will read ---------------------------------------------------------------
 */

/* A deleted range is kept in memory, about 100 bytes, as long as its table is on the disk. Many
 * sessions end with a few messages in their queue. */
enum { DELETED_ONE_BY_ONE = 32 };

/* Deletes what stands in the queue before `until`; `from`: nothing does before it. */
static void delete_queued(struct store_shard *store, uint64_t number, uint64_t from, uint64_t until)
{
    if (until - from > DELETED_ONE_BY_ONE) {
        struct store_key all = record_key_of(store->shard, RECORD_QUEUED, number);
        store_delete_prefix(store, STORE_QUEUE, &all);
        return;
    }
    for (; from < until; from++) {
        struct store_key key = record_key_queued(store->shard, number, from);
        store_delete(store, STORE_QUEUE, &key);
    }
}

/* Works off the records of an ended session, a piece at a time: counts off what they share with
 * others, and gives what came through a share to another member. */
struct discard {
    struct store_waiter waiter;
    struct store_read read;
    struct session_table *table;
    struct store_shard *store;
    uint64_t number, from;
    uint64_t first, until; /* what is deleted in the end; 0, UINT64_MAX: all */
    uint64_t ref;          /* of the session; 0: it ended before the broker did */
    uint64_t sent; /* of QoS 2, what comes before this number is nobody else's [MQTT-4.8.2-5] */
    bool inherited;
};

static void discard_next(struct discard *discard);

/* Gives it to another member of its share; false when it is nobody's. */
static bool pass_on(struct discard *discard, const struct queue_record *record,
                    struct bytes message)
{
    struct session_table *table = discard->table;
    struct record_clock clock = {table->now_ms, clock_wall_ms()};
    struct publication publication;
    bool expired;
    if (record->share.len == 0 || !message_record_decode(message, &clock, &publication, &expired) ||
        expired)
        return false;
    struct message *whole = message_new(&publication);
    bool passed = whole != NULL && table->ops->share_inherit(table, discard->store, discard->ref,
                                                             record->share, whole);
    message_drop(whole);
    return passed;
}

static void discard_pair(struct discard *discard, struct bytes key, struct bytes value,
                         struct bytes shared)
{
    struct store_shard *store = discard->store;
    struct record_key parsed;
    struct queue_record record;
    if (!record_key_parse(key, &parsed))
        return;
    discard->from = parsed.sequence + 1;
    bool good = queue_record_decode(value, &record);
    if (discard->inherited) {
        bool own = good && record.qos == 2 && parsed.sequence < discard->sent;
        struct bytes message = good && record.kind == QUEUE_RECORD_SHARED ? shared : record.message;
        if (!good || own || !pass_on(discard, &record, message))
            metric_inc(discard->table->metrics, METRIC_PUBLISH_DROPPED_SESSION_GONE);
        struct store_key whole = record_key_queued(store->shard, discard->number, parsed.sequence);
        store_delete(store, STORE_QUEUE, &whole); /* in the batch that has it for the other */
    }
    if (good && record.shared != 0)
        stored_shared_drop(discard->table, store->shard, record.shared);
}

static void discard_committed(struct store_waiter *waiter, enum rc rc)
{
    struct discard *discard = CONTAINER_OF(waiter, struct discard, waiter);
    if (rc == RC_CLOSED)
        mem_free(discard); /* the next start goes on */
    else if (rc != RC_OK && discard->inherited)
        store_wait_until_it_works(discard->store, waiter);
    else
        discard_next(discard);
}

/* What was recorded is committed before more is read. */
static void discard_go_on(struct discard *discard)
{
    enum rc rc = store_wait(discard->store, &discard->waiter);
    if (rc != RC_AGAIN)
        discard_committed(&discard->waiter, rc);
}

static void discard_done(struct store_read *read)
{
    struct discard *discard = CONTAINER_OF(read, struct discard, read);
    struct bytes key, value, shared = bytes_of("", 0);
    for (size_t at = 0; store_read_next(read, &at, &key, &value);) {
        struct record_key parsed;
        if (record_key_parse(key, &parsed) && parsed.kind == RECORD_SHARED)
            shared = value; /* of the pair that follows */
        else
            discard_pair(discard, key, value, shared);
    }
    mem_free(read->data);
    if (read->rc == RC_OK && read->more) {
        discard_go_on(discard);
        return;
    }
    if (read->rc != RC_OK && discard->inherited) {
        store_wait_until_it_works(discard->store, &discard->waiter);
        return;
    }
    delete_queued(discard->store, discard->number, discard->first, discard->until);
    mem_free(discard);
}

static void discard_next(struct discard *discard)
{
    struct store_key all = record_key_of(discard->store->shard, RECORD_QUEUED, discard->number);
    discard->read = (struct store_read){
        .family = STORE_QUEUE,
        .from = record_key_queued(discard->store->shard, discard->number, discard->from),
        .until = record_key_end(&all),
        .records_max = QUEUE_HEAD_MESSAGES,
        .bytes_max = QUEUE_HEAD_BYTES,
        .bare = !discard->inherited,
        .done = discard_done,
    };
    CHECK(store_read_start(discard->store, &discard->read));
}

static struct discard *discard_new(struct session_table *table, struct store_shard *store,
                                   uint64_t number)
{
    struct discard *discard = NEW(struct discard);
    *discard = (struct discard){
        .waiter = {.done = discard_committed, .written_is_enough = true},
        .table = table,
        .store = store,
        .number = number,
        .until = UINT64_MAX,
        .inherited = true,
    };
    list_init(&discard->waiter.link);
    return discard;
}

bool queue_tail_is_inherited(const struct session *session)
{
    return store_keeps(session->store) && session->queue != NULL &&
           session->queue->tail.count > 0 && session->share_count > 0 &&
           session->table->ops->share_inherit != NULL;
}

void queue_discard_tail(struct session *session)
{
    struct store_shard *store = session->store;
    bool inherited = queue_tail_is_inherited(session);
    if (!inherited && session->table->shared.count == 0) { /* nothing is shared with anybody */
        delete_queued(store, session->number, session->queue->tail.from, session->next_sequence);
        return;
    }
    struct discard *discard = discard_new(session->table, store, session->number);
    discard->from = discard->first = session->queue->tail.from;
    discard->until = session->next_sequence;
    discard->ref = session->ref;
    discard->sent = session->sent_sequence;
    discard->inherited = inherited;
    discard_go_on(discard);
}

void queue_discard_orphans(struct session_table *table, struct store_shard *store,
                           uint64_t session_number)
{
    discard_next(discard_new(table, store, session_number));
}

void queue_drop_tail_first(struct session *session)
{
    struct queue_tail *tail = &session->queue->tail;
    CHECK(tail->count > 0);
    struct kept oldest = {.sequence = tail->from++, .stored = true};
    tail->bytes -= tail->bytes / tail->count;
    if (tail->count > 1 || tail->from == session->next_sequence)
        tail->count--; /* numbers that are missing were counted off too: some may be left */
    stored_finished(session, &oldest);
}
