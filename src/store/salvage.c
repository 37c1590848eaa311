/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/list.h"
#include "store/folder.h"
#include "store/lock.h"
#include "store/logs.h"
#include "store/salvage_inside.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the list of what is lost ------------------------------------------------------------------
 */

void salvage_lost(struct salvage *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(s->list, format, args);
    va_end(args);
    fputc('\n', s->list);
    s->out->losses++;
}

/* "shard 3, session 12, entry 7", "topic a/b". */
static void describe(struct bytes key, const char *none, char *out, size_t room)
{
    struct record_key parsed;
    if (key.len == 0)
        snprintf(out, room, "%s", none);
    else if (!record_key_parse(key, &parsed) &&
             (key.len < 3 || !record_key_parse(bytes_of(key.data, key.len - 1), &parsed)))
        snprintf(out, room, "a key of %zu bytes", key.len);
    else if (parsed.kind == RECORD_RETAINED)
        snprintf(out, room, "shard %u, topic %.*s", parsed.shard,
                 parsed.text.len > TEXT_SHOWN ? TEXT_SHOWN : (int)parsed.text.len,
                 (const char *)parsed.text.data);
    else if (parsed.kind == RECORD_QUEUED)
        snprintf(out, room, "shard %u, queue of session %llu, entry %llu", parsed.shard,
                 (unsigned long long)parsed.number, (unsigned long long)parsed.sequence);
    else
        snprintf(out, room, "shard %u, record '%c' %llu", parsed.shard, (int)parsed.kind,
                 (unsigned long long)parsed.number);
}

static void list_gap(struct salvage *s, const struct audit_gap *gap)
{
    static const char *const names[STORE_FAMILIES] = {"sessions and subscriptions", "queues",
                                                      "retained messages"};
    char from[TEXT_SHOWN + 64], until[TEXT_SHOWN + 64];
    describe(gap->from, "the beginning", from, sizeof(from));
    describe(gap->until, "the end", until, sizeof(until));
    salvage_lost(s, "%s: not all can be read from %s to %s: %s", names[gap->family], from, until,
                 gap->error);
}

static void list_gaps(struct salvage *s)
{
    for (const struct audit_gap *gap = s->gaps.first; gap != NULL; gap = gap->next)
        if (!gap->suspected && (s->seen || (s->holes && !gap->filled)))
            list_gap(s, gap);
    if (s->filled > 0)
        salvage_lost(s, "%llu records there were found in the files, read one by one",
                     (unsigned long long)s->filled);
    if (s->altered > 0)
        salvage_lost(s,
                     "%llu records of sessions and subscriptions were read without their "
                     "checksum, and may be altered",
                     (unsigned long long)s->altered);
}

static void file_unreadable(void *arg, const char *name, const char *error)
{
    salvage_lost(arg, "file %s: cannot be read: %s", name, error);
}

static void log_lost(struct logs_mending *mending, const struct logs_loss *loss)
{
    struct salvage *s = CONTAINER_OF(mending, struct salvage, logs);
    if (loss->changes > 0)
        salvage_lost(s, "log %s: %llu bytes at %llu with %llu changes cannot be read", loss->name,
                     (unsigned long long)loss->bytes, (unsigned long long)loss->at,
                     (unsigned long long)loss->changes);
    else
        salvage_lost(s, "log %s: %llu bytes at %llu cannot be read", loss->name,
                     (unsigned long long)loss->bytes, (unsigned long long)loss->at);
}

static void blob_damaged(struct blob_walk *walk, const char *name, uint64_t at)
{
    salvage_lost(CONTAINER_OF(walk, struct salvage, blobs), "file %s: damaged at byte %llu", name,
                 (unsigned long long)at);
}

/* ---- copying -----------------------------------------------------------------------------------
 */

enum rc salvage_copy(struct salvage *s, enum store_family family, struct bytes whole,
                     struct bytes value)
{
    struct record_key key;
    if (!record_key_parse(whole, &key) || !audit_record_good(family, &key, value)) {
        char text[TEXT_SHOWN + 64];
        describe(whole, "", text, sizeof(text));
        salvage_lost(s, "record not readable: %s", text);
        return RC_OK;
    }
    if (key.kind == RECORD_POSITION) /* what is salvaged is not what the changelog says */
        return RC_OK;
    if (key.kind != RECORD_META) {
        s->shard_max = key.shard > s->shard_max ? key.shard : s->shard_max;
        s->number_max = key.number > s->number_max ? key.number : s->number_max;
    }
    s->copied++;
    return writer_put(&s->writer, family, whole, &value, 1, s->error);
}

static enum rc copy_of_view(struct walk *walk, enum store_family family, struct bytes key,
                            struct bytes value)
{
    return salvage_copy(CONTAINER_OF(walk, struct salvage, walk), family, key, value);
}

static enum rc note_gap(struct walk *walk, enum store_family family, struct bytes from,
                        struct bytes until, const char *error)
{
    struct salvage *s = CONTAINER_OF(walk, struct salvage, walk);
    *s->gaps.last = audit_gap_new(family, from, until, error);
    s->gaps.last = &(*s->gaps.last)->next;
    return RC_OK;
}

static void gaps_begin(struct salvage *s)
{
    s->gaps.first = NULL;
    s->gaps.last = &s->gaps.first;
}

/* All that the view has of what is missing so far; what it lacks is what is missing then. */
static enum rc fill_from(struct salvage *s, struct engine *view)
{
    struct audit_gap *missing = s->gaps.first;
    enum rc rc = RC_OK;
    gaps_begin(s);
    for (struct audit_gap *gap = missing; gap != NULL && rc == RC_OK; gap = gap->next)
        rc = walk_range(view, &s->walk, gap->family, gap->from, gap->until);
    audit_gaps_free(missing);
    return rc;
}

/* Everything is missing. */
static void gaps_of_all(struct salvage *s, const char *error)
{
    gaps_begin(s);
    for (int family = 0; family < STORE_FAMILIES; family++)
        note_gap(&s->walk, (enum store_family)family, bytes_of("", 0), bytes_of("", 0), error);
}

/* ---- the views ---------------------------------------------------------------------------------
 */

/* What stands in the way of reading the copy as it is; NULL: nothing. */
static const char *obstacle(struct salvage *s, const char *path, char error[ENGINE_ERROR_MAX])
{
    struct logs_report report;
    enum rc rc = logs_check(path, &report, error);
    if ((rc == RC_INVALID && report.fault == LOGS_CURRENT) || rc == RC_NOT_FOUND) {
        salvage_lost(s, "%s", error);
        if (logs_mend_current(path) == RC_OK)
            rc = logs_check(path, &report, error);
    }
    if (rc == RC_OK)
        return NULL;
    if (report.fault == LOGS_RECORDS) { /* that was said when they were mended */
        if (report.logs == 0)
            salvage_lost(s, "%s", error);
        return NULL;
    }
    salvage_lost(s, "%s", error);
    return error; /* an index that is not whole would hide what it does not name */
}

static bool wants_missing_file(const struct audit_gap *gap)
{
    return strstr(gap->error, "No such file") != NULL;
}

/*
 * An index that names files which are not there may be an older one, and lack what is newer, in
 * families where it has no gap, too: all of them are read once more from the files.
 */
static void distrust_index(struct salvage *s)
{
    struct audit_gap *found = s->gaps.first;
    const struct audit_gap *missing = found;
    while (missing != NULL && !wants_missing_file(missing))
        missing = missing->next;
    if (missing == NULL)
        return;
    gaps_begin(s);
    for (int family = 0; family < STORE_FAMILIES; family++) {
        const struct audit_gap *own = found;
        while (own != NULL && (int)own->family != family)
            own = own->next;
        struct audit_gap *all = audit_gap_new((enum store_family)family, bytes_of("", 0),
                                              bytes_of("", 0), (own ? own : missing)->error);
        all->suspected = own == NULL;
        *s->gaps.last = all;
        s->gaps.last = &all->next;
    }
    audit_gaps_free(found);
}

/* 1: as it is. A view that cannot be opened leaves everything missing. */
static enum rc read_as_it_is(struct salvage *s)
{
    char path[SALVAGE_PATH_MAX + 16], error[ENGINE_ERROR_MAX];
    struct engine *view;
    snprintf(path, sizeof(path), "%s/as-it-is", s->work);
    enum rc rc = folder_copy_store(s->dir, path, file_unreadable, s, s->error);
    if (rc == RC_OK)
        rc = logs_mend(path, &s->logs, s->error);
    if (rc != RC_OK)
        return rc;
    if (obstacle(s, path, error) != NULL) {
        gaps_of_all(s, error);
        return RC_OK;
    }
    if (engine_open(path, ENGINE_LENIENT, ENGINE_NORMAL, &view, error) != RC_OK) {
        salvage_lost(s, "%s", error);
        gaps_of_all(s, error);
        return RC_OK;
    }
    gaps_of_all(s, "");
    rc = fill_from(s, view);
    engine_close(view);
    s->seen = s->gaps.first != NULL;
    distrust_index(s);
    return rc;
}

/* ---- putting the new store in order ------------------------------------------------------------
 */

static void audit_problem(struct audit *audit, const char *line)
{
    salvage_lost(CONTAINER_OF(audit, struct salvage, audit), "%s", line);
}

static enum rc audit_useless(struct audit *audit, enum store_family family, struct bytes key)
{
    struct salvage *s = CONTAINER_OF(audit, struct salvage, audit);
    return writer_delete(&s->writer, family, key, s->error);
}

/* What the store says of itself, or the most likely. */
static enum rc find_meta(struct salvage *s, uint32_t shards, struct meta_record *meta)
{
    enum rc rc = writer_flush(&s->writer, s->error);
    if (rc != RC_OK)
        return rc;
    rc = audit_meta(s->writer.engine, meta);
    if (rc == RC_OK && meta->format > STORE_FORMAT) {
        snprintf(s->error, ENGINE_ERROR_MAX, "its format is %u, this version reads up to %u",
                 meta->format, (unsigned)STORE_FORMAT);
        return RC_REFUSED;
    }
    if (rc == RC_OK)
        return RC_OK;
    while (shards <= s->shard_max && s->copied > 0)
        shards *= 2;
    *meta = (struct meta_record){STORE_FORMAT, shards, (s->number_max >> STORE_NUMBER_BITS) + 1};
    s->out->shards_unknown = true;
    salvage_lost(s, "the record of the store's format; shards: %u is assumed", shards);
    return RC_OK;
}

static enum rc put_in_order(struct salvage *s, uint32_t shards)
{
    struct meta_record meta;
    enum rc rc = find_meta(s, shards, &meta);
    if (rc == RC_OK)
        rc = writer_finish(&s->writer, &meta, s->error);
    if (rc != RC_OK)
        return rc;
    s->audit = (struct audit){.problem = audit_problem,
                              .useless = audit_useless,
                              .say_holes = true,
                              .gaps = s->gaps.first};
    rc = audit_run(s->writer.engine, &s->audit);
    if (rc == RC_OK)
        rc = writer_finish(&s->writer, &meta, s->error);
    memcpy(s->out->counts, s->audit.counts, sizeof(s->out->counts));
    s->out->shards = meta.shards;
    return rc;
}

static enum rc build(struct salvage *s, uint32_t shards)
{
    char path[SALVAGE_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/new", s->work);
    enum rc rc = writer_open(&s->writer, path, s->error);
    if (rc != RC_OK)
        return rc;
    s->walk = (struct walk){.record = copy_of_view, .gap = note_gap};
    s->blobs.damaged = blob_damaged;
    s->logs.lost = log_lost;
    gaps_begin(s);
    rc = read_as_it_is(s);
    if (rc == RC_OK && s->gaps.first != NULL)
        rc = salvage_raw(s);
    if (rc == RC_OK) {
        list_gaps(s);
        rc = put_in_order(s, shards);
    }
    audit_gaps_free(s->gaps.first);
    writer_close(&s->writer);
    return rc;
}

/* ---- changing over -----------------------------------------------------------------------------
 */

static enum rc change_over(struct salvage *s, const char *data_dir)
{
    char path[SALVAGE_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/new", s->work);
    folder_sync(path);
    if (rename(s->dir, s->out->aside) != 0) {
        snprintf(s->error, ENGINE_ERROR_MAX, "%.300s: %s", s->out->aside, strerror(errno));
        return RC_IO;
    }
    if (rename(path, s->dir) != 0) {
        snprintf(s->error, ENGINE_ERROR_MAX, "%.300s: %s", s->dir, strerror(errno));
        if (rename(s->out->aside, s->dir) != 0)
            snprintf(s->error, ENGINE_ERROR_MAX, "the store is now %.300s", s->out->aside);
        return RC_IO;
    }
    return folder_sync(data_dir);
}

static void name_files(struct salvage *s, const char *data_dir)
{
    char when[32];
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &utc);
    snprintf(s->out->aside, sizeof(s->out->aside), "%.*s/store.damaged-%s", STORE_PATH_MAX - 1,
             data_dir, when);
    snprintf(s->out->list, sizeof(s->out->list), "%.*s/store.damaged-%s.lost.txt",
             STORE_PATH_MAX - 1, data_dir, when);
    snprintf(s->work, sizeof(s->work), "%.*s/store.salvage", STORE_PATH_MAX - 1, data_dir);
}

static enum rc prepare(struct salvage *s)
{
    enum rc rc = folder_remove(s->work, s->error);
    if (rc == RC_OK && mkdir(s->work, 0700) != 0) {
        snprintf(s->error, ENGINE_ERROR_MAX, "%.300s: %s", s->work, strerror(errno));
        rc = RC_IO;
    }
    if (rc != RC_OK)
        return rc;
    s->list = fopen(s->out->list, "we");
    if (s->list == NULL) {
        snprintf(s->error, ENGINE_ERROR_MAX, "%.300s: %s", s->out->list, strerror(errno));
        return RC_IO;
    }
    return RC_OK;
}

static enum rc end_list(struct salvage *s, enum rc rc)
{
    bool bad = s->list != NULL && ferror(s->list) != 0;
    if (s->list != NULL && (fclose(s->list) != 0 || bad) && rc == RC_OK) {
        snprintf(s->error, ENGINE_ERROR_MAX, "%.300s cannot be written", s->out->list);
        rc = RC_IO;
    }
    return rc;
}

enum rc salvage(const char *data_dir, uint32_t shards, struct salvaged *out,
                char error[ENGINE_ERROR_MAX])
{
    char dir[STORE_PATH_MAX], ignored[ENGINE_ERROR_MAX];
    int lock;
    snprintf(dir, sizeof(dir), "%s/store", data_dir);
    *out = (struct salvaged){0};
    struct salvage s = {.dir = dir, .out = out, .error = error};
    name_files(&s, data_dir);
    enum rc rc = store_lock_take(dir, &lock);
    if (rc != RC_OK) {
        snprintf(error, ENGINE_ERROR_MAX, "%.300s: %s", dir, strerror(errno));
        return rc;
    }
    rc = prepare(&s);
    if (rc == RC_OK)
        rc = build(&s, shards);
    rc = end_list(&s, rc);
    if (rc == RC_OK)
        rc = change_over(&s, data_dir);
    if (rc != RC_OK)
        unlink(out->list);
    folder_remove(s.work, ignored);
    store_lock_drop(lock);
    return rc;
}
