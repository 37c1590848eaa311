/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must arrive once: QoS 2 publications of stored sessions, and wills. The message is stored in
 * the publisher's shard, in one batch with what says that it was taken in; when that is safe it is
 * acknowledged and delivered. Each subscriber's shard notes in the batch that queues it how far it
 * has come with that outbox, so that after a crash it goes to those only who have not got it. When
 * all have, it is deleted.
 *
 *      PUBLISH -> {received id, entry} -> PUBREC
 *                         +-> shards: {queued message, high water} -> entry deleted
 */
#include "delivery/batch.h"

#include "base/clock.h"
#include "base/memory.h"
#include "store/record.h"

struct outbox_entry {
    struct store_waiter waiter;
    struct delivery_hub *hub;
    struct store_shard *store;
    struct message *message;
    uint64_t number;
};

/* ---- high water --------------------------------------------------------------------------------
 */

struct high_water {
    uint64_t number;
    uint32_t shard, source;
};

struct high_water_key {
    uint32_t shard, source;
};

static uint32_t high_water_hash(uint32_t shard, uint32_t source)
{
    return (uint32_t)((((uint64_t)shard << 32 | source) * 0x9E3779B97F4A7C15u) >> 32);
}

static bool high_water_matches(const void *element, const void *key)
{
    const struct high_water *mark = element;
    const struct high_water_key *wanted = key;
    return mark->shard == wanted->shard && mark->source == wanted->source;
}

static struct high_water *find(struct delivery_hub *hub, uint32_t shard, uint32_t source)
{
    struct high_water_key key = {shard, source};
    return map_find(&hub->high_water, high_water_hash(shard, source), high_water_matches, &key);
}

bool high_water_covers(struct delivery_hub *hub, const struct store_shard *store,
                       struct outbox_tag tag)
{
    const struct high_water *mark = find(hub, store->shard, tag.shard);
    return mark != NULL && mark->number >= tag.number;
}

void high_water_load(struct delivery_hub *hub, uint32_t shard, struct outbox_tag tag)
{
    struct high_water *mark = find(hub, shard, tag.shard);
    if (mark == NULL) {
        mark = NEW(struct high_water);
        *mark = (struct high_water){.shard = shard, .source = tag.shard};
        map_insert(&hub->high_water, high_water_hash(shard, tag.shard), mark);
    }
    mark->number = tag.number;
}

void high_water_set(struct delivery_hub *hub, struct store_shard *store, struct outbox_tag tag)
{
    high_water_load(hub, store->shard, tag);
    struct store_key key = record_key_high_water(store->shard, tag.shard);
    struct record_value value;
    high_water_record_encode(tag.number, &value);
    record_put(store, STORE_STATE, &key, &value);
}

void high_water_deinit(struct delivery_hub *hub)
{
    size_t cursor = 0;
    for (void *mark; (mark = map_next(&hub->high_water, &cursor)) != NULL;)
        mem_free(mark);
    map_deinit(&hub->high_water);
}

/* ---- entries -----------------------------------------------------------------------------------
 */

struct store_shard *outbox_for(struct delivery_hub *hub, const struct publication *publication,
                               const struct route_set *set)
{
    const struct session *publisher = session_of_ref(hub->sessions, publication->publisher);
    if (publisher == NULL || !session_stored(publisher))
        return NULL; /* when the broker ends, its client starts anew all the same */
    for (uint32_t i = 0; i < set->count; i++)
        if (set->routes[i].qos > 0 && (set->routes[i].flags & SUBSCRIPTION_DURABLE))
            return publisher->store;
    return set->share_count > 0 ? publisher->store : NULL;
}

static void entry_end(struct outbox_entry *entry)
{
    struct store_key key = record_key_of(entry->store->shard, RECORD_OUTBOX, entry->number);
    store_delete(entry->store, STORE_STATE, &key);
    message_drop(entry->message);
    mem_free(entry);
}

void outbox_delivered(struct outbox_entry *entry, enum rc rc)
{
    if (rc == RC_OK || rc == RC_REFUSED) {
        entry_end(entry);
        return;
    }
    /* Some shard's records wait for a disk that works. The entry stays until the next start, which
     * finds out who has got it. */
    message_drop(entry->message);
    mem_free(entry);
}

static void dispatch(struct outbox_entry *entry, bool replayed)
{
    struct outbox_tag tag = {.number = entry->number, .shard = entry->store->shard};
    struct publish_ticket *ticket = delivery_dispatch(entry->hub, entry->message, tag, replayed);
    if (ticket != NULL)
        ticket->outbox = entry;
    else
        entry_end(entry);
}

static void committed(struct store_waiter *waiter, enum rc rc)
{
    struct outbox_entry *entry = CONTAINER_OF(waiter, struct outbox_entry, waiter);
    if (rc == RC_OK)
        dispatch(entry, false);
    else
        entry_end(entry); /* its publisher is told that it was not kept */
}

static struct outbox_entry *entry_new(struct delivery_hub *hub, struct store_shard *store,
                                      struct message *message, uint64_t number)
{
    struct outbox_entry *entry = NEW(struct outbox_entry);
    *entry = (struct outbox_entry){
        .waiter.done = committed,
        .hub = hub,
        .store = store,
        .message = message_hold(message),
        .number = number,
    };
    list_init(&entry->waiter.link);
    return entry;
}

void outbox_add(struct delivery_hub *hub, struct store_shard *store, struct message *message)
{
    struct outbox_entry *entry = entry_new(hub, store, message, ++hub->sessions->next_number);
    struct store_key key = record_key_of(store->shard, RECORD_OUTBOX, entry->number);
    struct record_clock clock = {hub->sessions->now_ms, clock_wall_ms()};
    struct record_value value;
    message_record_encode(&message->publication, &clock, &value);
    record_put(store, STORE_STATE, &key, &value);
    enum rc rc = store_wait(store, &entry->waiter);
    if (rc != RC_AGAIN)
        committed(&entry->waiter, rc);
}

/* ---- start-up ----------------------------------------------------------------------------------
 */

static enum rc replay_shard(struct delivery_hub *hub, struct engine *engine,
                            struct store_shard *store)
{
    struct store_key from = record_key(store->shard, RECORD_OUTBOX), until = record_key_end(&from);
    struct engine_cursor *cursor =
        engine_cursor_open(engine, STORE_STATE, bytes_of(from.head, from.head_len),
                           bytes_of(until.head, until.head_len));
    struct record_clock clock = {hub->sessions->now_ms, clock_wall_ms()};
    struct bytes whole, value;
    enum rc rc;
    while ((rc = engine_cursor_next(cursor, &whole, &value)) == RC_OK) {
        struct record_key key;
        struct publication publication;
        bool expired;
        if (!record_key_parse(whole, &key) ||
            !message_record_decode(value, &clock, &publication, &expired))
            continue;
        struct message *message = message_new(&publication);
        if (message == NULL)
            continue;
        dispatch(entry_new(hub, store, message, key.number), true);
        message_drop(message);
    }
    engine_cursor_close(cursor);
    return rc == RC_NOT_FOUND ? RC_OK : rc;
}

enum rc delivery_replay(struct delivery_hub *hub, struct engine *engine)
{
    struct session_table *table = hub->sessions;
    enum rc rc = RC_OK;
    for (uint32_t shard = hub->worker; shard < table->shard_count && rc == RC_OK;
         shard += hub->worker_count)
        rc = replay_shard(hub, engine, &table->stores[shard]);
    return rc;
}
