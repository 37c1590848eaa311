/* SPDX-License-Identifier: Apache-2.0 */
/* The workers' side of the durable store, and its life. The threads are in commit.c and read.c. */
#include "store/inside.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "store/lock.h"
#include "store/logs.h"
#include "store/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- records ------------------------------------------------------------------------------------
 */

/* The batch that can still be added to, taken back from the slot if it lies there; NULL: none. */
static struct batch *claim(struct store_end *end)
{
    if (end->open == NULL) /* acquire: pairs with the release of store_end_post() */
        end->open = atomic_exchange_explicit(&end->slot, NULL, memory_order_acquire);
    return end->open;
}

static struct batch *open_batch(struct store_end *end)
{
    if (claim(end) != NULL)
        return end->open;
    struct batch *batch = end->spare;
    if (batch != NULL)
        end->spare = NULL;
    else
        batch = mem_new(sizeof(*batch));
    batch->number = ++end->last;
    batch->opened_ns = clock_ns();
    end->open = batch;
    return batch;
}

static struct store_ref add(struct store_shard *shard, enum batch_operation operation,
                            enum store_family family, const struct store_key *key,
                            const struct bytes *value, uint32_t parts)
{
    if (shard->end == NULL)
        return (struct store_ref){0};
    struct batch *batch = open_batch(shard->end);
    struct bytes key_parts[] = {bytes_of(key->head, key->head_len), key->tail};
    struct batch_record record = {
        .shard = (uint16_t)shard->shard,
        .operation = operation,
        .family = family,
        .key = key_parts,
        .key_parts = 2,
        .value = value,
        .value_parts = parts,
    };
    size_t at = batch_add(batch, &record);
    return (struct store_ref){.batch = (uint32_t)batch->number, .at = (uint32_t)at};
}

struct store_ref store_put(struct store_shard *shard, enum store_family family,
                           const struct store_key *key, const struct bytes *value, uint32_t parts)
{
    return add(shard, BATCH_PUT, family, key, value, parts);
}

void store_delete(struct store_shard *shard, enum store_family family, const struct store_key *key)
{
    add(shard, BATCH_DELETE, family, key, NULL, 0);
}

void store_delete_prefix(struct store_shard *shard, enum store_family family,
                         const struct store_key *key)
{
    struct store_key end = record_key_end(key);
    CHECK(key->tail.len == 0);
    struct bytes until = bytes_of(end.head, end.head_len);
    add(shard, BATCH_DELETE_RANGE, family, key, &until, 1);
}

bool store_cancel(struct store_shard *shard, struct store_ref ref)
{
    struct store_end *end = shard->end;
    if (end == NULL || ref.batch == 0 || ref.batch != (uint32_t)end->last || claim(end) == NULL)
        return false;
    return batch_cancel(end->open, ref.at);
}

/* ---- waiting ------------------------------------------------------------------------------------
 */

/* Number of the latest batch with something in it. */
static uint64_t last_with_records(struct store_end *end)
{
    const struct batch *open = claim(end);
    return open != NULL && open->live == 0 ? end->last - 1 : end->last;
}

/* Behind those that wait for the same batch or an earlier one: who only needs it written may wait
 * for a commit under way, while somebody before him waits for the flush behind that. */
static void add_waiter(struct store_end *end, struct store_waiter *waiter)
{
    struct list *before = end->waiting.prev;
    while (before != &end->waiting &&
           CONTAINER_OF(before, struct store_waiter, link)->batch > waiter->batch)
        before = before->prev;
    list_insert_between(&waiter->link, before, before->next);
}

static enum rc durable_wait(struct store_shard *shard, struct store_waiter *waiter)
{
    struct store_end *end = shard->end;
    uint64_t last = last_with_records(end);
    bool written_is_enough = waiter->written_is_enough || end->store->never_at_once;
    uint64_t safe = written_is_enough ? end->written : end->synced;
    if (last <= safe || end->breaks_promises)
        return RC_OK;
    enum rc trouble = store_trouble(shard);
    if (trouble != RC_OK)
        return trouble;
    /* What failed has been answered, and was stored later or not: a new batch tells. */
    bool under_way = last > end->answered && (end->open == NULL || end->open->number != last);
    if (under_way && (written_is_enough || last <= end->sync_asked)) {
        waiter->batch = last;
    } else {
        /* What was written and not flushed is flushed with the next batch, however empty. */
        struct batch *batch = open_batch(end);
        if (!written_is_enough) {
            batch->sync = true;
            end->sync_asked = batch->number;
        }
        waiter->batch = batch->number;
    }
    add_waiter(end, waiter);
    return RC_AGAIN;
}

void store_wait_until_it_works(struct store_shard *shard, struct store_waiter *waiter)
{
    struct store_end *end = shard->end;
    list_add_last(&end->stuck, &waiter->link);
    if (store_trouble(shard) == RC_OK) /* it has been mended meanwhile */
        end->answers.wake(end->answers.owner);
}

/* Tells those who wait for a store that works. */
static void tell_stuck(struct store_end *end, enum rc rc)
{
    struct list now;
    struct list *link;
    list_init(&now);
    list_move_all(&now, &end->stuck);
    while ((link = list_take_first(&now)) != NULL) {
        struct store_waiter *waiter = CONTAINER_OF(link, struct store_waiter, link);
        waiter->done(waiter, rc);
    }
}

static const struct store_ops durable_ops = {.wait = durable_wait};

void store_durable_init(struct store_shard *shard, uint32_t number, struct store_end *end)
{
    *shard = (struct store_shard){.ops = &durable_ops, .shard = number, .end = end};
    list_init(&shard->waiting);
}

enum rc store_trouble(const struct store_shard *shard)
{
    return shard->end == NULL ? RC_OK : store_state(shard->end->store);
}

bool store_is_safe(const struct store_shard *shard, struct store_ref ref)
{
    const struct store_end *end = shard->end;
    if (end == NULL || ref.batch == 0 || end->breaks_promises)
        return true;
    uint64_t safe = end->store->never_at_once ? end->written : end->synced;
    return (int32_t)((uint32_t)safe - ref.batch) >= 0;
}

bool store_is_behind(const struct store_shard *shard)
{
    const struct store_end *end = shard->end;
    return end != NULL && end->open != NULL && end->open->used > STORE_BATCH_HIGH;
}

/* ---- the worker's turn --------------------------------------------------------------------------
 */

static void batch_answered(struct store_end *end, struct batch *batch)
{
    end->answered = batch->number;
    if (batch->rc == RC_OK) {
        end->written = batch->number;
        if (batch->sync)
            end->synced = batch->number;
    }
    end->figures.commits++;
    end->figures.syncs += batch->rc == RC_OK && batch->sync;
    end->figures.records += batch->live;
    end->figures.bytes += batch->live_bytes;
    end->figures.failures += batch->rc != RC_OK;
    while (!list_empty(&end->waiting)) {
        struct store_waiter *waiter = CONTAINER_OF(end->waiting.next, struct store_waiter, link);
        if (waiter->batch > batch->number)
            break;
        list_remove(&waiter->link);
        waiter->done(waiter, batch->rc);
    }
}

static void recycle(struct store_end *end, struct batch *batch)
{
    if (end->spare == NULL) {
        batch_reset(batch);
        end->spare = batch;
    } else {
        batch_deinit(batch);
        mem_free(batch);
    }
}

void store_end_turn(struct store_end *end, void (*commit_ns)(void *arg, uint64_t ns), void *arg)
{
    struct letter *letter = mailbox_take_all(&end->answers);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct batch *batch = CONTAINER_OF(letter, struct batch, letter);
        if (commit_ns != NULL)
            commit_ns(arg, clock_ns() - batch->opened_ns);
        batch_answered(end, batch);
        recycle(end, batch);
        letter = next;
    }
    store_end_reads(end);
    if (store_state(end->store) == RC_OK)
        tell_stuck(end, RC_OK);
}

static bool awaited(const struct store_end *end, const struct batch *batch)
{
    return !list_empty(&end->waiting) &&
           CONTAINER_OF(end->waiting.prev, struct store_waiter, link)->batch == batch->number;
}

void store_end_post(struct store_end *end)
{
    struct batch *batch = end->open;
    if (batch == NULL || (batch->live == 0 && !awaited(end, batch)))
        return; /* all of it was taken back: it stays open */
    end->open = NULL;
    /* release: the commit thread's acquire sees the whole batch */
    atomic_store_explicit(&end->slot, batch, memory_order_release);
    store_wake_commit(end->store);
}

bool store_end_busy(struct store_end *end)
{
    return !list_empty(&end->waiting) || end->reads > 0 || end->answered < last_with_records(end);
}

struct store_figures store_end_figures(struct store_end *end)
{
    struct store_figures figures = end->figures;
    end->figures = (struct store_figures){0};
    return figures;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static void no_wake(void *owner)
{
    (void)owner;
}

void store_end_wake_by(struct store_end *end, void (*wake)(void *owner), void *owner)
{
    mailbox_init(&end->answers, wake, owner);
    mailbox_init(&end->read_answers, wake, owner);
}

/* Checks that the store is one that we can use, and notes this start in it. */
static enum rc begin(struct engine *engine, uint32_t shards, struct meta_record *meta,
                     char error[ENGINE_ERROR_MAX])
{
    struct store_key key = record_key(SHARD_META, RECORD_META);
    struct bytes whole = bytes_of(key.head, key.head_len);
    void *value;
    size_t len;
    *meta = (struct meta_record){.format = STORE_FORMAT, .shards = shards};
    enum rc rc = engine_get(engine, STORE_STATE, whole, &value, &len);
    if (rc == RC_OK) {
        bool good = meta_record_decode(bytes_of(value, len), meta);
        engine_free(value);
        if (!good)
            rc = RC_INVALID;
    }
    if (rc != RC_OK && rc != RC_NOT_FOUND) {
        snprintf(error, ENGINE_ERROR_MAX, "the record of its format cannot be read");
        return RC_INVALID;
    }
    if (meta->format > STORE_FORMAT) {
        snprintf(error, ENGINE_ERROR_MAX, "its format is %u, this version reads up to %u",
                 meta->format, (unsigned)STORE_FORMAT);
        return RC_REFUSED;
    }
    if (meta->shards != shards) {
        snprintf(error, ENGINE_ERROR_MAX, "it was made with shards: %u, the configuration has %u",
                 meta->shards, shards);
        return RC_REFUSED;
    }
    meta->starts++;
    struct record_value record;
    meta_record_encode(meta, &record);
    struct batch batch;
    batch_init(&batch);
    batch_add(&batch, &(struct batch_record){.operation = BATCH_PUT,
                                             .family = STORE_STATE,
                                             .key = &whole,
                                             .key_parts = 1,
                                             .value = record.parts,
                                             .value_parts = record.count});
    uint8_t bytes[256];
    CHECK(BATCH_HEADER + batch_size(&batch) <= sizeof(bytes));
    batch_header(bytes, 1);
    uint8_t *end = batch_serialise(&batch, bytes + BATCH_HEADER);
    batch_deinit(&batch);
    return engine_write(engine, bytes_of(bytes, (size_t)(end - bytes)), ENGINE_SYNCED, error);
}

uint64_t store_starts(const struct store *store)
{
    return store->starts;
}

/* The engine, as Debian builds it, aborts when the disk gets full while it is opened. */
static enum rc check_room(const char *dir, char error[ENGINE_ERROR_MAX])
{
    struct statvfs status;
    uint64_t need = logs_bytes(dir) + STORE_OPEN_MIN;
    if (statvfs(dir, &status) != 0) { /* it is to be made */
        char parent[STORE_PATH_MAX];
        const char *slash = strrchr(dir, '/');
        int len = slash == NULL ? 1 : (int)(slash - dir) + 1;
        snprintf(parent, sizeof(parent), "%.*s", len, slash == NULL ? "." : dir);
        if (statvfs(parent, &status) != 0)
            return RC_OK; /* who makes it says what is wrong */
    }
    uint64_t have = (uint64_t)status.f_bavail * status.f_frsize;
    if (have >= need)
        return RC_OK;
    snprintf(error, ENGINE_ERROR_MAX,
             "%llu bytes are free, %llu bytes are needed to open the store",
             (unsigned long long)have, (unsigned long long)need);
    return RC_FULL;
}

/* Looks for damage that the engine would not see. A store that has been written to is never
 * completed by empty parts. */
static enum rc check_files(const char *dir, enum engine_open_mode *mode,
                           char error[ENGINE_ERROR_MAX])
{
    struct logs_report report;
    int lock;
    enum rc rc = store_lock_take(dir, &lock);
    *mode = ENGINE_CREATE;
    if (rc == RC_NOT_FOUND)
        return RC_OK;
    if (rc != RC_OK) {
        snprintf(error, ENGINE_ERROR_MAX, "%s/LOCK: %s", dir, strerror(errno));
        return rc;
    }
    rc = logs_check(dir, &report, error);
    store_lock_drop(lock); /* the engine takes it itself */
    if (rc == RC_NOT_FOUND)
        return RC_OK;
    if (rc != RC_OK)
        return rc;
    if (!report.unused)
        *mode = ENGINE_EXISTING;
    if (report.torn[0] != '\0')
        LOG(LOG_WARN, "store.log_ends_torn", log_text("file", report.torn),
            log_uint("at", report.torn_at), log_uint("bytes", report.torn_bytes),
            log_text("meaning", "the change that was being written was not acknowledged"));
    return RC_OK;
}

enum rc store_open(const struct store_options *options, struct store **out,
                   char error[ENGINE_ERROR_MAX])
{
    struct engine *engine;
    struct meta_record meta;
    enum engine_open_mode mode;
    enum rc rc = check_room(options->dir, error);
    if (rc == RC_OK)
        rc = check_files(options->dir, &mode, error);
    if (rc == RC_OK)
        rc = engine_open(options->dir, mode, options->profile, &engine, error);
    if (rc != RC_OK)
        return rc;
    rc = begin(engine, options->shards, &meta, error);
    if (rc != RC_OK) {
        engine_close(engine);
        return rc;
    }
    struct store *store = mem_new(sizeof(*store) + options->ends * sizeof(store->ends[0]));
    store->engine = engine;
    store->synced_sequence = engine_sequence(engine); /* begin() has synced its record */
    store->starts = meta.starts;
    snprintf(store->dir, sizeof(store->dir), "%s", options->dir);
    store->profile = options->profile;
    store->interval_ms = options->interval_ms;
    store->never_at_once = options->never_at_once;
    store->end_count = options->ends;
    store->commit_fd = eventfd(0, EFD_CLOEXEC);
    store->read_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(store->commit_fd >= 0 && store->read_fd >= 0);
    pthread_rwlock_init(&store->engine_lock, NULL);
    mailbox_init(&store->requests, store_wake_read, store);
    const char *breaks = getenv("SKEIN_TEST_BREAK");
    for (uint32_t i = 0; i < store->end_count; i++) {
        struct store_end *end = &store->ends[i];
        end->store = store;
        list_init(&end->waiting);
        list_init(&end->stuck);
        end->breaks_promises = breaks != NULL && strcmp(breaks, "ack_before_commit") == 0;
        store_end_wake_by(end, no_wake, NULL);
    }
    fault_point("store.open");
    *out = store;
    return RC_OK;
}

struct engine *store_engine(struct store *store)
{
    pthread_rwlock_rdlock(&store->engine_lock); /* tests ask when it has been opened again */
    struct engine *engine = store->engine;
    pthread_rwlock_unlock(&store->engine_lock);
    return engine;
}

struct store_end *store_end_of(struct store *store, uint32_t worker)
{
    CHECK(worker < store->end_count);
    return &store->ends[worker];
}

void store_start(struct store *store)
{
    CHECK(pthread_create(&store->commit_thread, NULL, store_commit_main, store) == 0);
    CHECK(pthread_create(&store->read_thread, NULL, store_read_main, store) == 0);
    pthread_setname_np(store->commit_thread, "commit");
    pthread_setname_np(store->read_thread, "read");
    store->started = true;
}

static void stop_threads(struct store *store)
{
    atomic_store_explicit(&store->stopping, true, memory_order_seq_cst);
    store_wake_commit(store);
    store_wake_read(store);
    pthread_join(store->commit_thread, NULL);
    pthread_join(store->read_thread, NULL);
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    for (uint32_t i = 0; i < store->end_count; i++)
        store_end_post(&store->ends[i]);
    if (store->started)
        stop_threads(store);
    for (uint32_t i = 0; i < store->end_count; i++) {
        struct store_end *end = &store->ends[i];
        tell_stuck(end, RC_CLOSED);
        while (list_take_first(&end->stuck) != NULL)
            ; /* who asked once more */
        store_end_turn(end, NULL, NULL);
        if (end->spare != NULL)
            batch_deinit(end->spare);
        mem_free(end->spare);
        if (claim(end) != NULL) /* nobody has taken it */
            batch_deinit(end->open);
        mem_free(end->open);
    }
    fault_point("store.close");
    engine_close(store->engine);
    logs_note_end(store->dir);
    close(store->commit_fd);
    close(store->read_fd);
    pthread_rwlock_destroy(&store->engine_lock);
    mem_free(store->group);
    mem_free(store);
}

enum rc store_checkpoint(struct store *store, const char *to, char error[ENGINE_ERROR_MAX])
{
    pthread_rwlock_rdlock(&store->engine_lock);
    fault_point("store.checkpoint");
    enum rc rc = RC_IO;
    if (atomic_load_explicit(&store->engine_failed, memory_order_relaxed))
        snprintf(error, ENGINE_ERROR_MAX, "the store is closed after an error");
    else
        rc = engine_checkpoint(store->engine, to, error);
    pthread_rwlock_unlock(&store->engine_lock);
    return rc;
}

enum rc store_state(const struct store *store)
{
    return (enum rc)atomic_load_explicit(&store->trouble, memory_order_relaxed);
}

void store_sizes(struct store *store, uint64_t *disk, uint64_t *memory)
{
    *disk = *memory = 0;
    pthread_rwlock_rdlock(&store->engine_lock);
    for (int i = 0; i < STORE_FAMILIES && store->engine != NULL; i++) {
        *disk += engine_disk_bytes(store->engine, (enum store_family)i);
        *memory += engine_memory_bytes(store->engine, (enum store_family)i);
    }
    pthread_rwlock_unlock(&store->engine_lock);
}
