/* SPDX-License-Identifier: Apache-2.0 */
#include "store/engine.h"

#include "base/check.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    KIB = 1024,
    MIB = 1024 * 1024,
    /* Its own log then has the options of each start. Debian's build of RocksDB aborts when it
     * writes another line there after the disk was full. */
    LOG_LEVEL_FATAL = 4,
    LOG_UP_TO_TORN_END = 2, /* logs_check() has seen that nothing is behind it */
    LOG_WHAT_CAN_BE_READ = 3,
    BLOB_MIN = 4 * KIB, /* larger payloads are not moved by every compaction */
    QUEUE_BLOCK = 8 * KIB,
};

static const char *const family_names[STORE_FAMILIES] = {"default", "queue", "retained"};

struct engine {
    rocksdb_t *db;
    rocksdb_options_t *options[STORE_FAMILIES];
    rocksdb_column_family_handle_t *families[STORE_FAMILIES];
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *synced, *buffered;
    rocksdb_readoptions_t *verifying;
    uint64_t tidy_min; /* bytes of the queue's tables together: less is left alone */
    bool tidying;
};

struct engine_cursor {
    rocksdb_iterator_t *iterator;
    rocksdb_readoptions_t *options;
    bool started;
    uint8_t until[]; /* the options point to it */
};

struct engine_view {
    struct engine *engine;
    const rocksdb_snapshot_t *snapshot;
};

/* ---- errors ------------------------------------------------------------------------------------
 */

/* Takes RocksDB's text, NULL when all went well. */
static enum rc take_error(char *text, char error[ENGINE_ERROR_MAX])
{
    if (text == NULL)
        return RC_OK;
    snprintf(error, ENGINE_ERROR_MAX, "%s", text);
    enum rc rc = RC_IO;
    if (strstr(text, "No space left") != NULL || strstr(text, "NoSpace") != NULL)
        rc = RC_FULL;
    else if (strncmp(text, "Corruption", 10) == 0 ||
             strstr(text, "Column family not found") != NULL)
        rc = RC_INVALID;
    else if (strstr(text, "lock hold by current process") != NULL ||
             strstr(text, "While lock file") != NULL)
        rc = RC_EXISTS;
    rocksdb_free(text);
    return rc;
}

/* ---- settings ----------------------------------------------------------------------------------
 */

/*
 * The queue's memory tables are small, because a place in a large one takes longer to find; several
 * of them are written out together, because a message that is read back and deleted before that
 * never becomes a table.
 */
struct tuning {
    size_t cache, write_buffer, queue_buffer, log_total, readahead, tidy_min;
    int write_buffers, queue_buffers; /* memory tables at most */
    int queue_together;               /* so many of the queue's are written out as one */
    int open_files;
};

static const struct tuning tunings[] = {
    [ENGINE_NORMAL] = {.cache = 32 * MIB,
                       .write_buffer = 16 * MIB,
                       .queue_buffer = 16 * MIB,
                       .log_total = 192 * MIB,
                       .readahead = 256 * KIB,
                       .tidy_min = 128 * MIB,
                       .write_buffers = 3,
                       .queue_buffers = 6,
                       .queue_together = 4,
                       .open_files = 512},
    [ENGINE_SMALL] = {.cache = 1 * MIB,
                      .write_buffer = 1 * MIB,
                      .queue_buffer = 2 * MIB,
                      .log_total = 8 * MIB,
                      .readahead = 64 * KIB,
                      .tidy_min = 8 * MIB,
                      .write_buffers = 2,
                      .queue_buffers = 2,
                      .queue_together = 1,
                      .open_files = 64},
};

/*
 * Messages of one session arrive in the order of their keys: the memory table remembers where the
 * last one of each went, which saves most of the search. Takes the options and gives others; the C
 * API has this setting as text only. RocksDB 7.8 mixes up the memory of keys and of deleted ranges
 * that begin with the same 12 bytes: so a range begins with a key of 11, and a message's key has a
 * byte more in that place.
 */
static rocksdb_options_t *with_hints(rocksdb_options_t *options)
{
    char *text = NULL;
    rocksdb_options_t *hinted = rocksdb_options_create();
    rocksdb_get_options_from_string(
        options, "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.12", hinted,
        &text);
    CHECK(text == NULL);
    rocksdb_options_destroy(options);
    return hinted;
}

/*
 * Messages are written once, read once and deleted, so every time that tables are merged is work
 * for nothing: only when there are QUEUE_RUNS tables, QUEUE_MERGE_MIN to QUEUE_MERGE_MAX of about
 * the same age and size become one. What is deleted does not shrink a table before it is merged;
 * for that there is engine_tidy(). Writers are slowed only when merging is far behind.
 */
enum {
    QUEUE_RUNS = 16,
    QUEUE_MERGE_MIN = 8,
    QUEUE_MERGE_MAX = 15,
    QUEUE_SIZE_RATIO = 10,        /* percent */
    QUEUE_AMPLIFICATION = 100000, /* percent: never for that reason */
    QUEUE_RUNS_SLOW = 64,
    QUEUE_RUNS_STOP = 128,
    TIDY_RUNS = 2, /* while tidying: all tables become one */
    TIDY_AMPLIFICATION = 5,
};

static void merge_rarely(rocksdb_options_t *options)
{
    rocksdb_universal_compaction_options_t *merging = rocksdb_universal_compaction_options_create();
    rocksdb_universal_compaction_options_set_size_ratio(merging, QUEUE_SIZE_RATIO);
    rocksdb_universal_compaction_options_set_min_merge_width(merging, QUEUE_MERGE_MIN);
    rocksdb_universal_compaction_options_set_max_merge_width(merging, QUEUE_MERGE_MAX);
    rocksdb_universal_compaction_options_set_max_size_amplification_percent(merging,
                                                                            QUEUE_AMPLIFICATION);
    rocksdb_options_set_compaction_style(options, rocksdb_universal_compaction);
    rocksdb_options_set_universal_compaction_options(options, merging);
    rocksdb_universal_compaction_options_destroy(merging);
    rocksdb_options_set_level0_file_num_compaction_trigger(options, QUEUE_RUNS);
    rocksdb_options_set_level0_slowdown_writes_trigger(options, QUEUE_RUNS_SLOW);
    rocksdb_options_set_level0_stop_writes_trigger(options, QUEUE_RUNS_STOP);
}

static rocksdb_options_t *make_options(const struct tuning *tuning, enum store_family family,
                                       rocksdb_cache_t *cache)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_wal_recovery_mode(options, LOG_UP_TO_TORN_END);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_max_open_files(options, tuning->open_files);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_write_buffer_size(options, tuning->write_buffer);
    rocksdb_options_set_max_write_buffer_number(options, tuning->write_buffers);
    rocksdb_options_set_max_total_wal_size(options, tuning->log_total);
    rocksdb_options_set_allow_concurrent_memtable_write(options, 0); /* one thread writes */
    rocksdb_options_set_enable_write_thread_adaptive_yield(options, 0);
    rocksdb_options_set_bytes_per_sync(options, MIB);
    rocksdb_options_compaction_readahead_size(options, tuning->readahead);
    rocksdb_options_set_info_log_level(options, LOG_LEVEL_FATAL);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_max_log_file_size(options, MIB);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    if (family != STORE_STATE) {
        rocksdb_options_set_enable_blob_files(options, 1);
        rocksdb_options_set_min_blob_size(options, BLOB_MIN);
        rocksdb_options_set_enable_blob_gc(options, 1);
    }
    if (family == STORE_QUEUE) {
        rocksdb_options_set_write_buffer_size(options, tuning->queue_buffer);
        rocksdb_options_set_max_write_buffer_number(options, tuning->queue_buffers);
        rocksdb_options_set_min_write_buffer_number_to_merge(options, tuning->queue_together);
        merge_rarely(options);
        options = with_hints(options);
    }
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_format_version(table, 5);
    if (family == STORE_QUEUE) {
        rocksdb_block_based_options_set_block_size(table, QUEUE_BLOCK);
        rocksdb_block_based_options_set_index_type(
            table, rocksdb_block_based_table_index_type_two_level_index_search);
        rocksdb_block_based_options_set_pin_top_level_index_and_filter(table, 1);
    }
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    return options;
}

/* ---- open and close ----------------------------------------------------------------------------
 */

/* Files that say the same twice are fine. Takes options, gives others. */
static rocksdb_options_t *without_consistency_checks(rocksdb_options_t *options)
{
    char *text = NULL;
    rocksdb_options_t *lenient = rocksdb_options_create();
    rocksdb_get_options_from_string(options, "force_consistency_checks=false", lenient, &text);
    CHECK(text == NULL);
    rocksdb_options_destroy(options);
    return lenient;
}

static void be_lenient(struct engine *engine)
{
    for (int i = 0; i < STORE_FAMILIES; i++) {
        engine->options[i] = without_consistency_checks(engine->options[i]);
        rocksdb_options_set_paranoid_checks(engine->options[i], 0);
        rocksdb_options_set_wal_recovery_mode(engine->options[i], LOG_WHAT_CAN_BE_READ);
        rocksdb_options_set_skip_checking_sst_file_sizes_on_db_open(engine->options[i], 1);
    }
}

static char *open_db(struct engine *engine, const char *dir, enum engine_open_mode mode)
{
    char *text = NULL;
    if (mode == ENGINE_LENIENT)
        be_lenient(engine);
    rocksdb_options_t *options = engine->options[STORE_STATE];
    rocksdb_options_set_create_if_missing(options, mode == ENGINE_CREATE);
    rocksdb_options_set_create_missing_column_families(options, mode == ENGINE_CREATE);
    if (mode == ENGINE_READ_ONLY || mode == ENGINE_LENIENT)
        engine->db = rocksdb_open_for_read_only_column_families(
            options, dir, STORE_FAMILIES, family_names,
            (const rocksdb_options_t *const *)engine->options, engine->families, 0, &text);
    else
        engine->db = rocksdb_open_column_families(options, dir, STORE_FAMILIES, family_names,
                                                  (const rocksdb_options_t *const *)engine->options,
                                                  engine->families, &text);
    return text;
}

static void free_all(struct engine *engine)
{
    for (int i = 0; i < STORE_FAMILIES; i++)
        rocksdb_options_destroy(engine->options[i]);
    rocksdb_cache_destroy(engine->cache);
    rocksdb_writeoptions_destroy(engine->synced);
    rocksdb_writeoptions_destroy(engine->buffered);
    rocksdb_readoptions_destroy(engine->verifying);
    mem_free(engine);
}

/* Whether a file of that name holds records: tables, blobs, logs. */
static bool is_content(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL &&
           (strcmp(dot, ".sst") == 0 || strcmp(dot, ".blob") == 0 || strcmp(dot, ".log") == 0);
}

/* RC_OK: there is a store. RC_NOT_FOUND: there is none. RC_INVALID: there are only parts of one,
 * and RocksDB would make a new one there and delete them. */
static enum rc look_for_store(const char *dir, char error[ENGINE_ERROR_MAX])
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/CURRENT", dir);
    if (access(path, F_OK) == 0)
        return RC_OK;
    snprintf(error, ENGINE_ERROR_MAX, "there is no store in %s", dir);
    enum rc rc = RC_NOT_FOUND;
    DIR *entries = opendir(dir);
    const struct dirent *entry;
    while (entries != NULL && rc == RC_NOT_FOUND && (entry = readdir(entries)) != NULL)
        if (is_content(entry->d_name)) {
            snprintf(error, ENGINE_ERROR_MAX, "%.200s is there and CURRENT is missing in %.200s",
                     entry->d_name, dir);
            rc = RC_INVALID;
        }
    if (entries != NULL)
        closedir(entries);
    return rc;
}

/* Whether the manifest names all families. When one is missing, opening would first write what the
 * logs have of the others. */
static enum rc look_for_families(const struct engine *engine, const char *dir,
                                 char error[ENGINE_ERROR_MAX])
{
    char *text = NULL;
    size_t count = 0, found = 0;
    char **names = rocksdb_list_column_families(engine->options[STORE_STATE], dir, &count, &text);
    if (text != NULL) {
        rocksdb_list_column_families_destroy(names, count);
        return take_error(text, error);
    }
    for (size_t i = 0; i < count; i++)
        for (int family = 0; family < STORE_FAMILIES; family++)
            found += strcmp(names[i], family_names[family]) == 0;
    rocksdb_list_column_families_destroy(names, count);
    if (found == STORE_FAMILIES)
        return RC_OK;
    snprintf(error, ENGINE_ERROR_MAX, "the manifest lacks parts of the store");
    return RC_INVALID;
}

enum rc engine_open(const char *dir, enum engine_open_mode mode, enum engine_profile profile,
                    struct engine **out, char error[ENGINE_ERROR_MAX])
{
    enum rc there = look_for_store(dir, error);
    if (there == RC_INVALID || (there == RC_NOT_FOUND && mode != ENGINE_CREATE))
        return there;
    struct engine *engine = NEW(struct engine);
    const struct tuning *tuning = &tunings[profile];
    engine->cache = rocksdb_cache_create_lru(tuning->cache);
    engine->tidy_min = tuning->tidy_min;
    for (int i = 0; i < STORE_FAMILIES; i++)
        engine->options[i] = make_options(tuning, (enum store_family)i, engine->cache);
    engine->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(engine->synced, 1);
    engine->buffered = rocksdb_writeoptions_create();
    engine->verifying = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(engine->verifying, 1);
    error[0] = '\0';
    enum rc rc = mode == ENGINE_CREATE ? RC_OK : look_for_families(engine, dir, error);
    if (rc == RC_OK)
        rc = take_error(open_db(engine, dir, mode), error);
    if (rc != RC_OK) {
        free_all(engine);
        bool file_missing = there == RC_OK && strstr(error, "No such file") != NULL;
        return file_missing ? RC_INVALID : rc;
    }
    *out = engine;
    return RC_OK;
}

void engine_close(struct engine *engine)
{
    if (engine == NULL)
        return;
    for (int i = 0; i < STORE_FAMILIES; i++)
        rocksdb_column_family_handle_destroy(engine->families[i]);
    rocksdb_close(engine->db);
    free_all(engine);
}

/* ---- writing -----------------------------------------------------------------------------------
 */

void engine_thread_begin(void)
{
    rocksdb_set_perf_level(rocksdb_disable);
}

enum rc engine_write(struct engine *engine, struct bytes batch, enum engine_sync sync,
                     char error[ENGINE_ERROR_MAX])
{
    char *text = NULL;
    rocksdb_writebatch_t *rep = rocksdb_writebatch_create_from((const char *)batch.data, batch.len);
    rocksdb_write(engine->db, sync == ENGINE_SYNCED ? engine->synced : engine->buffered, rep,
                  &text);
    rocksdb_writebatch_destroy(rep);
    return take_error(text, error);
}

uint64_t engine_sequence(struct engine *engine)
{
    return rocksdb_get_latest_sequence_number(engine->db);
}

enum rc engine_sync(struct engine *engine, char error[ENGINE_ERROR_MAX])
{
    char *text = NULL;
    rocksdb_flush_wal(engine->db, 1, &text);
    return take_error(text, error);
}

enum rc engine_flush(struct engine *engine, enum store_family family, char error[ENGINE_ERROR_MAX])
{
    char *text = NULL;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flush_cf(engine->db, options, engine->families[family], &text);
    rocksdb_flushoptions_destroy(options);
    return take_error(text, error);
}

/* ---- tidying -----------------------------------------------------------------------------------
 */

/* The number behind `name` in RocksDB's text. */
static uint64_t number_in(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at == NULL ? 0 : strtoull(at + strlen(name), NULL, 10);
}

/* Whether at least half of the messages in the queue's tables have been deleted. */
static bool is_half_dead(struct engine *engine)
{
    if (engine_disk_bytes(engine, STORE_QUEUE) < engine->tidy_min)
        return false;
    char *text = rocksdb_property_value_cf(engine->db, engine->families[STORE_QUEUE],
                                           "rocksdb.aggregated-table-properties");
    if (text == NULL)
        return false;
    uint64_t entries = number_in(text, "# entries="), deletions = number_in(text, "# deletions=");
    rocksdb_free(text);
    return deletions > 0 && 3 * deletions >= entries; /* a deletion is an entry too */
}

void engine_tidy(struct engine *engine)
{
    static const char *const names[] = {"level0_file_num_compaction_trigger",
                                        "compaction_options_universal"};
    bool due = is_half_dead(engine);
    if (due == engine->tidying)
        return;
    char runs[32], merging[64], *text = NULL;
    snprintf(runs, sizeof(runs), "%d", due ? TIDY_RUNS : QUEUE_RUNS);
    snprintf(merging, sizeof(merging), "{max_size_amplification_percent=%d}",
             due ? TIDY_AMPLIFICATION : QUEUE_AMPLIFICATION);
    const char *const values[] = {runs, merging};
    rocksdb_set_options_cf(engine->db, engine->families[STORE_QUEUE], 2, names, values, &text);
    if (text == NULL)
        engine->tidying = due;
    rocksdb_free(text);
}

/* ---- copies and repair -------------------------------------------------------------------------
 */

/* A copy has all in tables and no log, where a store that has lost its log looks the same. An empty
 * log makes the difference. */
static enum rc add_empty_log(const char *dir, char error[ENGINE_ERROR_MAX])
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/000001.log", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fsync(fd) != 0) {
        snprintf(error, ENGINE_ERROR_MAX, "%.200s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return RC_IO;
    }
    close(fd);
    return RC_OK;
}

enum rc engine_checkpoint(struct engine *engine, const char *to, char error[ENGINE_ERROR_MAX])
{
    char *text = NULL;
    if (access(to, F_OK) == 0) {
        snprintf(error, ENGINE_ERROR_MAX, "%s exists", to);
        return RC_EXISTS;
    }
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(engine->db, &text);
    if (text == NULL)
        rocksdb_checkpoint_create(checkpoint, to, UINT64_MAX, &text); /* with its log: no flush */
    if (checkpoint != NULL)
        rocksdb_checkpoint_object_destroy(checkpoint);
    enum rc rc = take_error(text, error);
    return rc == RC_OK ? add_empty_log(to, error) : rc;
}

enum rc engine_verify(struct engine *engine, enum store_family family, char error[ENGINE_ERROR_MAX])
{
    char *text = NULL;
    rocksdb_readoptions_set_fill_cache(engine->verifying, 0);
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(engine->db, engine->verifying, engine->families[family]);
    for (rocksdb_iter_seek_to_first(iterator); rocksdb_iter_valid(iterator);
         rocksdb_iter_next(iterator))
        ;
    rocksdb_iter_get_error(iterator, &text);
    rocksdb_iter_destroy(iterator);
    return take_error(text, error);
}

/* ---- figures -----------------------------------------------------------------------------------
 */

static uint64_t property(struct engine *engine, enum store_family family, const char *name)
{
    uint64_t value = 0;
    rocksdb_property_int_cf(engine->db, engine->families[family], name, &value);
    return value;
}

uint64_t engine_disk_bytes(struct engine *engine, enum store_family family)
{
    return property(engine, family, "rocksdb.total-sst-files-size") +
           property(engine, family, "rocksdb.total-blob-file-size");
}

uint64_t engine_memory_bytes(struct engine *engine, enum store_family family)
{
    return property(engine, family, "rocksdb.size-all-mem-tables");
}

uint64_t engine_cache_bytes(struct engine *engine)
{
    return rocksdb_cache_get_usage(engine->cache);
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static enum rc get(struct engine *engine, const rocksdb_readoptions_t *options,
                   enum store_family family, struct bytes key, void **value, size_t *len)
{
    char *text = NULL;
    *value = rocksdb_get_cf(engine->db, options, engine->families[family], (const char *)key.data,
                            key.len, len, &text);
    if (text != NULL) {
        rocksdb_free(text);
        return RC_INVALID;
    }
    return *value == NULL ? RC_NOT_FOUND : RC_OK;
}

enum rc engine_get(struct engine *engine, enum store_family family, struct bytes key, void **value,
                   size_t *len)
{
    return get(engine, engine->verifying, family, key, value, len);
}

void engine_free(void *value)
{
    rocksdb_free(value);
}

static struct engine_cursor *cursor_open(struct engine *engine, const rocksdb_snapshot_t *snapshot,
                                         enum store_family family, struct bytes from,
                                         struct bytes until)
{
    struct engine_cursor *cursor = mem_new(sizeof(*cursor) + until.len);
    cursor->options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(cursor->options, 1);
    if (snapshot != NULL) {
        rocksdb_readoptions_set_snapshot(cursor->options, snapshot);
        rocksdb_readoptions_set_fill_cache(cursor->options, 0);
    }
    if (until.len > 0) {
        memcpy(cursor->until, until.data, until.len);
        rocksdb_readoptions_set_iterate_upper_bound(cursor->options, (const char *)cursor->until,
                                                    until.len);
    }
    cursor->iterator =
        rocksdb_create_iterator_cf(engine->db, cursor->options, engine->families[family]);
    if (from.len > 0)
        rocksdb_iter_seek(cursor->iterator, (const char *)from.data, from.len);
    else
        rocksdb_iter_seek_to_first(cursor->iterator);
    return cursor;
}

struct engine_cursor *engine_cursor_open(struct engine *engine, enum store_family family,
                                         struct bytes from, struct bytes until)
{
    return cursor_open(engine, NULL, family, from, until);
}

struct engine_view *engine_view_take(struct engine *engine)
{
    struct engine_view *view = NEW(struct engine_view);
    view->engine = engine;
    view->snapshot = rocksdb_create_snapshot(engine->db);
    return view;
}

void engine_view_drop(struct engine_view *view)
{
    rocksdb_release_snapshot(view->engine->db, view->snapshot);
    mem_free(view);
}

enum rc engine_view_get(struct engine_view *view, enum store_family family, struct bytes key,
                        void **value, size_t *len)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(options, 1);
    rocksdb_readoptions_set_snapshot(options, view->snapshot);
    enum rc rc = get(view->engine, options, family, key, value, len);
    rocksdb_readoptions_destroy(options);
    return rc;
}

struct engine_cursor *engine_view_cursor(struct engine_view *view, enum store_family family,
                                         struct bytes from, struct bytes until)
{
    return cursor_open(view->engine, view->snapshot, family, from, until);
}

enum rc engine_cursor_next(struct engine_cursor *cursor, struct bytes *key, struct bytes *value)
{
    if (cursor->started && rocksdb_iter_valid(cursor->iterator))
        rocksdb_iter_next(cursor->iterator);
    cursor->started = true;
    if (!rocksdb_iter_valid(cursor->iterator)) {
        char *text = NULL;
        rocksdb_iter_get_error(cursor->iterator, &text);
        if (text == NULL)
            return RC_NOT_FOUND;
        rocksdb_free(text);
        return RC_INVALID;
    }
    size_t len;
    const char *data = rocksdb_iter_key(cursor->iterator, &len);
    *key = bytes_of(data, len);
    data = rocksdb_iter_value(cursor->iterator, &len);
    *value = bytes_of(data, len);
    return RC_OK;
}

enum rc engine_cursor_state(struct engine_cursor *cursor)
{
    char *text = NULL;
    if (rocksdb_iter_valid(cursor->iterator))
        return RC_OK;
    rocksdb_iter_get_error(cursor->iterator, &text);
    if (text == NULL)
        return RC_NOT_FOUND;
    rocksdb_free(text);
    return RC_INVALID;
}

void engine_cursor_error(struct engine_cursor *cursor, char error[ENGINE_ERROR_MAX])
{
    char *text = NULL;
    error[0] = '\0';
    rocksdb_iter_get_error(cursor->iterator, &text);
    take_error(text, error);
}

void engine_cursor_close(struct engine_cursor *cursor)
{
    rocksdb_iter_destroy(cursor->iterator);
    rocksdb_readoptions_destroy(cursor->options);
    mem_free(cursor);
}
