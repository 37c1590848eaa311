/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the durable store. Its workers' side is in end.c, its threads in commit.c and read.c.
 */
#include "store/inside.h"

#include "base/breaks.h"
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
    uint32_t ends = options->workers * (options->groups > 0 ? options->groups : 1);
    struct store *store = mem_new(sizeof(*store) + ends * sizeof(store->ends[0]));
    store->engine = engine;
    store->synced_sequence = engine_sequence(engine); /* begin() has synced its record */
    store->starts = meta.starts;
    snprintf(store->dir, sizeof(store->dir), "%s", options->dir);
    store->profile = options->profile;
    store->interval_ms = options->interval_ms;
    store->never_at_once = options->never_at_once;
    store->worker_count = options->workers;
    store->group_count = options->groups;
    store->shards = options->shards;
    list_init(&store->images);
    pthread_mutex_init(&store->images_lock, NULL);
    store->end_count = ends;
    replicas_init(store);
    store->commit_fd = eventfd(0, EFD_CLOEXEC);
    store->read_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(store->commit_fd >= 0 && store->read_fd >= 0);
    pthread_rwlock_init(&store->engine_lock, NULL);
    mailbox_init(&store->requests, store_wake_read, store);
    for (uint32_t i = 0; i < store->end_count; i++) {
        struct store_end *end = &store->ends[i];
        store_end_init(end, store);
        end->group = i / options->workers;
        end->breaks_promises = broken(BREAK_ACK_BEFORE_COMMIT);
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

uint32_t store_groups(const struct store *store)
{
    return store->group_count > 0 ? store->group_count : 1;
}

struct store_end *store_end_of(struct store *store, uint32_t worker, uint32_t group)
{
    CHECK(worker < store->worker_count && (group == 0 || group < store->group_count));
    return &store->ends[group * store->worker_count + worker];
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
        store_end_post_all(&store->ends[i]);
    if (store->started)
        stop_threads(store);
    for (uint32_t i = 0; i < store->end_count; i++)
        store_end_deinit(&store->ends[i]);
    fault_point("store.close");
    CHECK(list_empty(&store->images));
    engine_close(store->engine);
    logs_note_end(store->dir);
    close(store->commit_fd);
    close(store->read_fd);
    pthread_rwlock_destroy(&store->engine_lock);
    pthread_mutex_destroy(&store->images_lock);
    mem_free(store->group);
    replicas_deinit(store);
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

static bool family_is_blank(struct engine *engine, enum store_family family)
{
    struct store_key meta = record_key(SHARD_META, RECORD_META);
    meta.head_len = SHARD_PREFIX; /* all that begins with SHARD_META */
    struct engine_cursor *cursor =
        engine_cursor_open(engine, family, bytes_of("", 0), bytes_of(meta.head, meta.head_len));
    struct bytes key, value;
    bool blank = engine_cursor_next(cursor, &key, &value) == RC_NOT_FOUND;
    engine_cursor_close(cursor);
    return blank;
}

bool store_is_blank(struct store *store)
{
    pthread_rwlock_rdlock(&store->engine_lock);
    bool blank = store->engine != NULL;
    for (int i = 0; i < STORE_FAMILIES && blank; i++)
        blank = family_is_blank(store->engine, (enum store_family)i);
    pthread_rwlock_unlock(&store->engine_lock);
    return blank;
}

enum rc store_state(const struct store *store)
{
    return (enum rc)atomic_load_explicit(&store->trouble, memory_order_relaxed);
}

struct store_sizes store_sizes(struct store *store)
{
    struct store_sizes sizes = {0};
    pthread_rwlock_rdlock(&store->engine_lock);
    for (int i = 0; i < STORE_FAMILIES && store->engine != NULL; i++) {
        sizes.disk += engine_disk_bytes(store->engine, (enum store_family)i);
        sizes.tables += engine_memory_bytes(store->engine, (enum store_family)i);
    }
    if (store->engine != NULL)
        sizes.cache = engine_cache_bytes(store->engine);
    pthread_rwlock_unlock(&store->engine_lock);
    return sizes;
}
