/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up, or a group that comes here: entries of outboxes that had not come to all. */
#include "delivery/outbox.h"

#include "base/clock.h"
#include "base/memory.h"
#include "session/stored.h"
#include "store/record.h"

/* Delivers an entry again, with the choices that stand in the store. */
static void replay(struct delivery_hub *hub, struct engine *engine, struct store_shard *store,
                   struct message *message, uint64_t number)
{
    struct store_key key = record_key_of(store->shard, RECORD_CHOICES, number);
    struct bytes shares = bytes_of("", 0);
    enum outbox_whom whom = OUTBOX_ALL;
    void *value = NULL;
    size_t len;
    if (engine_get(engine, STORE_STATE, bytes_of(key.head, key.head_len), &value, &len) == RC_OK &&
        !choices_record_decode(bytes_of(value, len), &shares, &whom))
        shares = bytes_of("", 0);
    uint32_t count = (uint32_t)(shares.len / OUTBOX_SHARE_BYTES);
    struct outbox_entry *entry = outbox_entry_new(hub, store, message, number, count);
    entry->chosen = value != NULL;
    entry->restored = entry->replayed = true;
    entry->whom = whom;
    while (entry->count < count)
        choices_record_next(&shares, &entry->choices[entry->count++].stored);
    if (value != NULL)
        engine_free(value);
    outbox_set_out(entry);
}

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
        replay(hub, engine, store, message, key.number);
        message_drop(message);
    }
    engine_cursor_close(cursor);
    return rc == RC_NOT_FOUND ? RC_OK : rc;
}

enum rc delivery_replay(struct delivery_hub *hub, struct engine *engine, struct shard_group group)
{
    struct session_table *table = hub->sessions;
    enum rc rc = RC_OK;
    for (uint32_t shard = hub->worker; shard < table->shard_count && rc == RC_OK;
         shard += hub->worker_count)
        if (shard % group.of == group.group)
            rc = replay_shard(hub, engine, &table->stores[shard]);
    for (uint32_t i = 0; i < hub->orphan_count; i++)
        queue_discard_orphans(table, &table->stores[hub->orphans[i].shard],
                              hub->orphans[i].session);
    mem_free(hub->orphans);
    hub->orphans = NULL;
    hub->orphan_count = 0;
    return rc;
}
