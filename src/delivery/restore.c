/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start-up: from the store into memory. Sessions with their subscriptions, inbound identifiers and
 * wills; of their queues only how much waits; retained messages. What belongs to no session any
 * more is deleted on the way. On each worker's thread, for its own shards, before anybody is
 * served.
 */
#include "delivery/batch.h"
#include "delivery/testament.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/topic.h"
#include "session/stored.h"

struct restoring {
    struct delivery_hub *hub;
    struct engine *engine;
    struct restored *counts;
    struct store_shard *store; /* of the shard that is being loaded */
    struct map sessions;       /* of that shard, by number */
    struct record_clock clock;
    struct session *last; /* found last: records of one session stand together */
};

/* ---- finding sessions by number ----------------------------------------------------------------
 */

static uint32_t number_hash(uint64_t number)
{
    return (uint32_t)((number * 0x9E3779B97F4A7C15u) >> 32);
}

static bool has_number(const void *element, const void *key)
{
    return ((const struct session *)element)->number == *(const uint64_t *)key;
}

static struct session *session_of(struct restoring *r, uint64_t number)
{
    if (r->last == NULL || r->last->number != number)
        r->last = map_find(&r->sessions, number_hash(number), has_number, &number);
    return r->last;
}

static void delete (struct restoring *r, enum store_family family, struct bytes key)
{
    struct store_key whole = {.tail = key};
    store_delete(r->store, family, &whole);
}

static void damaged(struct restoring *r, struct bytes key, const char *what)
{
    (void)key;
    r->counts->damaged++;
    LOG_LIMITED(LOG_ERROR, "store.record_not_readable", log_text("record", what),
                log_uint("shard", r->store->shard));
}

/* ---- one record --------------------------------------------------------------------------------
 */

static enum rc load_session(struct restoring *r, const struct record_key *key, struct bytes value)
{
    struct session_record record;
    if (!session_record_decode(value, &record)) {
        damaged(r, value, "session");
        return RC_OK;
    }
    struct session *session;
    enum rc rc = session_restore(r->hub->sessions, key->number, &record, &r->clock, &session);
    if (rc != RC_OK)
        return rc;
    map_insert(&r->sessions, number_hash(session->number), session);
    r->counts->sessions++;
    return RC_OK;
}

static enum rc load_subscription(struct restoring *r, const struct record_key *key,
                                 struct bytes whole, struct bytes value)
{
    struct session *session = session_of(r, key->number);
    struct subscription_record record;
    if (session == NULL) {
        delete (r, STORE_STATE, whole);
        return RC_OK;
    }
    struct bytes share = bytes_of("", 0), filter = key->text;
    enum share_parse parsed = topic_share_parse(filter, &share, &filter);
    if (parsed != SHARE_OK)
        share = bytes_of("", 0), filter = key->text;
    if (!subscription_record_decode(value, &record) || parsed == SHARE_INVALID ||
        !topic_filter_valid(filter)) {
        damaged(r, whole, "subscription");
        return RC_OK;
    }
    struct subscription *s = subscription_add(r->hub, session, filter, share, &record.options);
    if (s == NULL)
        return RC_NO_MEMORY;
    r->counts->subscriptions++;
    return RC_OK;
}

static void load_will(struct restoring *r, const struct record_key *key, struct bytes whole,
                      struct bytes value)
{
    struct session *session = session_of(r, key->number);
    struct will_record record;
    if (session == NULL) {
        delete (r, STORE_STATE, whole);
    } else if (!will_record_decode(value, &r->clock, &record)) {
        damaged(r, whole, "will");
    } else {
        record.publication.publisher = session->ref;
        struct message *will = message_new(&record.publication);
        if (will == NULL)
            metric_inc(r->hub->metrics, METRIC_PUBLISH_DROPPED_NO_MEMORY);
        session_restore_will(session, will, record.delay_s);
    }
}

static void load_testament(struct restoring *r, const struct record_key *key, struct bytes whole,
                           struct bytes value)
{
    struct will_record record;
    if (!will_record_decode(value, &r->clock, &record) || key->text.len == 0) {
        damaged(r, whole, "will");
        return;
    }
    struct message *will = message_new(&record.publication);
    if (will == NULL)
        metric_inc(r->hub->metrics, METRIC_PUBLISH_DROPPED_NO_MEMORY);
    else
        testament_load(r->hub, r->store, key->text, key->number, will);
    message_drop(will);
}

static void load_high_water(struct restoring *r, const struct record_key *key, struct bytes whole,
                            struct bytes value)
{
    if (!high_water_load(r->hub, key->shard, (uint32_t)key->sequence, value))
        damaged(r, whole, "outbox mark");
}

static enum rc load_state(struct restoring *r, const struct record_key *key, struct bytes whole,
                          struct bytes value)
{
    struct session *session;
    switch (key->kind) {
    case RECORD_SESSION:
        return load_session(r, key, value);
    case RECORD_SUBSCRIPTION:
        return load_subscription(r, key, whole, value);
    case RECORD_WILL:
        load_will(r, key, whole, value);
        return RC_OK;
    case RECORD_TESTAMENT:
        load_testament(r, key, whole, value);
        return RC_OK;
    case RECORD_HIGH_WATER:
        load_high_water(r, key, whole, value);
        return RC_OK;
    case RECORD_RECEIVED:
        session = session_of(r, key->number);
        if (session == NULL)
            delete (r, STORE_STATE, whole);
        else
            return session_restore_received(session, (uint16_t)key->sequence);
        return RC_OK;
    default:
        return RC_OK;
    }
}

/* Its session ended, and the broker before other members of the share had it. */
static void note_orphan(struct restoring *r, uint64_t number, const struct queue_record *record)
{
    struct delivery_hub *hub = r->hub;
    const struct orphan_queue *last =
        hub->orphan_count == 0 ? NULL : &hub->orphans[hub->orphan_count - 1];
    if (record->shared != 0)
        stored_shared_hold(hub->sessions, r->store->shard, record->shared);
    if (last != NULL && last->session == number && last->shard == r->store->shard)
        return;
    hub->orphans = mem_resize(hub->orphans, (hub->orphan_count + 1) * sizeof(*hub->orphans));
    hub->orphans[hub->orphan_count++] =
        (struct orphan_queue){.session = number, .shard = r->store->shard};
}

static void load_queued(struct restoring *r, const struct record_key *key, struct bytes whole,
                        struct bytes value)
{
    struct session *session = session_of(r, key->number);
    struct queue_record record;
    bool good = queue_record_decode(value, &record);
    if (session == NULL && good && record.share.len > 0) {
        note_orphan(r, key->number, &record);
    } else if (session == NULL) {
        delete (r, STORE_QUEUE, whole);
    } else if (!good) {
        damaged(r, whole, "message");
    } else {
        session_restore_queued(session, key->sequence, &record);
        r->counts->messages++;
    }
}

static enum rc load_retained(struct restoring *r, struct bytes whole, struct bytes value)
{
    struct publication publication;
    bool expired;
    if (!message_record_decode(value, &r->clock, &publication, &expired)) {
        damaged(r, whole, "retained message");
        return RC_OK;
    }
    if (expired) {
        delete (r, STORE_RETAINED, whole);
        return RC_OK;
    }
    struct message *message = message_new(&publication);
    if (message == NULL)
        return RC_NO_MEMORY;
    enum rc rc = retained_set(r->hub->retained, message);
    message_drop(message);
    r->counts->retained += rc == RC_OK;
    return rc == RC_FULL ? RC_OK : rc; /* the limit has been lowered: what is over stays on disk */
}

/* ---- one shard ---------------------------------------------------------------------------------
 */

/* All records of one kind in the order of their keys. */
static enum rc load_kind(struct restoring *r, enum store_family family, enum record_kind kind)
{
    struct store_key from = record_key(r->store->shard, kind), until = record_key_end(&from);
    struct engine_cursor *cursor =
        engine_cursor_open(r->engine, family, bytes_of(from.head, from.head_len),
                           bytes_of(until.head, until.head_len));
    struct bytes whole, value;
    enum rc rc = RC_OK, next;
    r->last = NULL;
    while (rc == RC_OK && (next = engine_cursor_next(cursor, &whole, &value)) == RC_OK) {
        struct record_key key;
        if (!record_key_parse(whole, &key))
            damaged(r, whole, "key");
        else if (family == STORE_STATE)
            rc = load_state(r, &key, whole, value);
        else if (family == STORE_RETAINED)
            rc = load_retained(r, whole, value);
        else if (kind == RECORD_QUEUED)
            load_queued(r, &key, whole, value);
        else if (!stored_shared_is_held(r->hub->sessions, key.shard, key.number))
            delete (r, STORE_QUEUE, whole);
    }
    if (rc == RC_OK && next != RC_NOT_FOUND)
        rc = next;
    engine_cursor_close(cursor);
    return rc;
}

static bool is_wanted(enum restore_what what, enum store_family family)
{
    return what == RESTORE_ALL || (what == RESTORE_RETAINED) == (family == STORE_RETAINED);
}

static enum rc load_shard(struct restoring *r, enum restore_what what)
{
    static const struct {
        enum store_family family;
        enum record_kind kind;
    } order[] = {
        {STORE_STATE, RECORD_SESSION},     {STORE_STATE, RECORD_SUBSCRIPTION},
        {STORE_STATE, RECORD_RECEIVED},    {STORE_STATE, RECORD_WILL},
        {STORE_STATE, RECORD_TESTAMENT},   {STORE_STATE, RECORD_HIGH_WATER},
        {STORE_QUEUE, RECORD_QUEUED},      {STORE_QUEUE, RECORD_SHARED},
        {STORE_RETAINED, RECORD_RETAINED},
    };
    enum rc rc = RC_OK;
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]) && rc == RC_OK; i++)
        if (is_wanted(what, order[i].family))
            rc = load_kind(r, order[i].family, order[i].kind);
    size_t cursor = 0;
    for (struct session *session;
         rc == RC_OK && (session = map_next(&r->sessions, &cursor)) != NULL;)
        session_restored(session, &r->clock);
    return rc;
}

enum rc delivery_restore(struct delivery_hub *hub, struct engine *engine, struct shard_group group,
                         enum restore_what what, struct restored *counts)
{
    struct session_table *table = hub->sessions;
    struct restoring r = {
        .hub = hub,
        .engine = engine,
        .counts = counts,
        .clock = {table->now_ms, clock_wall_ms()},
    };
    enum rc rc = RC_OK;
    for (uint32_t shard = hub->worker; shard < table->shard_count && rc == RC_OK;
         shard += hub->worker_count) {
        if (shard % group.of != group.group)
            continue;
        r.store = &table->stores[shard];
        map_init(&r.sessions);
        rc = load_shard(&r, what);
        map_deinit(&r.sessions);
    }
    return rc;
}
