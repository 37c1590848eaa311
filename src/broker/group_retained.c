/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/group_retained.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/node.h"
#include "homes/homes.h"
#include "store/batch.h"
#include "store/engine.h"
#include "store/record.h"

/* The key of a record. */
struct refused {
    struct refused *next;
    size_t len;
    uint8_t key[];
};

struct of_group {
    struct refused *refused; /* under the lock */
    _Atomic bool any;
    uint64_t applied;         /* the homes thread's */
    _Atomic uint64_t written; /* partner of the store is the load in restore() */
};

struct group_retained {
    struct broker *broker;
    pthread_mutex_t lock;
    struct of_group groups[HOMES_GROUPS];
};

static void apply_change(struct broker *broker, const struct batch_change *change)
{
    struct record_clock clock = {clock_ms(), clock_wall_ms()};
    struct record_key key;
    struct publication publication;
    bool expired;
    if (!record_key_parse(change->key, &key))
        return;
    if (change->operation != BATCH_PUT ||
        !message_record_decode(change->value, &clock, &publication, &expired) || expired) {
        retained_clear(&broker->retained, key.text);
        return;
    }
    struct message *message = message_new(&publication);
    if (message == NULL || retained_set(&broker->retained, message) != RC_OK)
        LOG_LIMITED(LOG_ERROR, "retained.not_taken", log_bytes("topic", key.text));
    message_drop(message);
}

bool group_retained_apply(struct broker *broker, struct bytes batch)
{
    struct bytes rest = bytes_of(batch.data + BATCH_HEADER, batch.len - BATCH_HEADER);
    struct batch_change change;
    bool any = false;
    while (batch_change_next(&rest, &change))
        if (change.family == STORE_RETAINED) {
            apply_change(broker, &change);
            any = true;
        }
    return any;
}

void group_retained_applied(struct group_retained *retained, uint32_t group, uint64_t sequence)
{
    retained->groups[group].applied = sequence;
}

void group_retained_written(struct group_retained *retained, uint32_t group, uint64_t sequence)
{
    /* release: who sees it finds in the store what was written */
    atomic_store_explicit(&retained->groups[group].written, sequence, memory_order_release);
}

void group_retained_refused(struct group_retained *retained, uint32_t group, struct bytes batch)
{
    struct of_group *of = &retained->groups[group];
    struct bytes rest = bytes_of(batch.data + BATCH_HEADER, batch.len - BATCH_HEADER);
    struct batch_change change;
    while (batch_change_next(&rest, &change)) {
        if (change.family != STORE_RETAINED)
            continue;
        struct refused *refused = mem_new(sizeof(*refused) + change.key.len);
        refused->len = change.key.len;
        memcpy(refused->key, change.key.data, change.key.len);
        pthread_mutex_lock(&retained->lock);
        refused->next = of->refused;
        of->refused = refused;
        atomic_store_explicit(&of->any, true, memory_order_relaxed); /* read under the lock again */
        pthread_mutex_unlock(&retained->lock);
    }
}

static void restore(struct broker *broker, const struct refused *refused)
{
    struct batch_change change = {.operation = BATCH_DELETE,
                                  .family = STORE_RETAINED,
                                  .key = bytes_of(refused->key, refused->len)};
    void *value = NULL;
    size_t len;
    enum rc rc = engine_get(store_engine(broker->store), STORE_RETAINED, change.key, &value, &len);
    if (rc == RC_OK) {
        change.operation = BATCH_PUT;
        change.value = bytes_of(value, len);
    }
    if (rc == RC_OK || rc == RC_NOT_FOUND)
        apply_change(broker, &change);
    else
        LOG_LIMITED(LOG_ERROR, "retained.not_restored", log_text("error", rc_name(rc)));
    engine_free(value);
}

void group_retained_restore(struct group_retained *retained, uint32_t group)
{
    struct of_group *of = &retained->groups[group];
    if (!atomic_load_explicit(&of->any, memory_order_relaxed) ||
        atomic_load_explicit(&of->written, memory_order_acquire) < of->applied)
        return;
    pthread_mutex_lock(&retained->lock);
    struct refused *first = of->refused;
    of->refused = NULL;
    atomic_store_explicit(&of->any, false, memory_order_relaxed);
    pthread_mutex_unlock(&retained->lock);
    while (first != NULL) {
        struct refused *next = first->next;
        restore(retained->broker, first);
        mem_free(first);
        first = next;
    }
}

struct group_retained *group_retained_new(struct broker *broker)
{
    struct group_retained *retained = NEW(struct group_retained);
    retained->broker = broker;
    pthread_mutex_init(&retained->lock, NULL);
    return retained;
}

void group_retained_free(struct group_retained *retained)
{
    if (retained == NULL)
        return;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        for (struct refused *refused; (refused = retained->groups[i].refused) != NULL;) {
            retained->groups[i].refused = refused->next;
            mem_free(refused);
        }
    pthread_mutex_destroy(&retained->lock);
    mem_free(retained);
}
