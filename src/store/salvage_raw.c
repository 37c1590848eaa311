/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in gaps, from the files without the engine: of each key all versions are put into a
 * store of their own, in the order of key and age, and the newest counts. Then the blob files, for
 * large messages whose key is in no other file.
 */
#include "store/salvage_inside.h"

#include "base/list.h"
#include "base/memory.h"

#include <dirent.h>
#include <stdlib.h>

/* ---- gaps --------------------------------------------------------------------------------------
 */

/* For gap_of(). */
static void sort_gaps(struct salvage *s)
{
    size_t at = 0;
    for (const struct audit_gap *gap = s->gaps.first; gap != NULL; gap = gap->next)
        s->gap_count++;
    s->sorted = mem_new(s->gap_count * sizeof(s->sorted[0]));
    for (struct audit_gap *gap = s->gaps.first; gap != NULL; gap = gap->next)
        s->sorted[at++] = gap;
}

static int compare(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The gap that the key lies in; NULL: in none. */
static struct audit_gap *gap_of(const struct salvage *s, enum store_family family, struct bytes key)
{
    size_t low = 0, high = s->gap_count; /* they are in order */
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct audit_gap *gap = s->sorted[middle];
        if (gap->family < family ||
            (gap->family == family && gap->until.len > 0 && compare(gap->until, key) <= 0))
            low = middle + 1;
        else
            high = middle;
    }
    bool in = low < s->gap_count && s->sorted[low]->family == family &&
              compare(s->sorted[low]->from, key) <= 0;
    return in ? s->sorted[low] : NULL;
}

/* ---- versions ----------------------------------------------------------------------------------
 */

enum { AGE = 8, VERSION_KEY_MAX = 128 * 1024 };
enum version { VERSION_DELETED, VERSION_VALUE, VERSION_BLOB, VERSION_ALTERED };

/* The key of a version: behind the record's stands its age, newest first. */
static struct bytes version_key(struct bytes key, uint64_t sequence, uint8_t *out)
{
    if (key.len > 0)
        memcpy(out, key.data, key.len);
    for (uint32_t i = 0; i < AGE; i++)
        out[key.len + i] = (uint8_t)(~sequence >> (8 * (AGE - 1 - i)));
    return bytes_of(out, key.len + AGE);
}

static enum store_family family_of(enum record_kind kind)
{
    return kind == RECORD_QUEUED || kind == RECORD_SHARED ? STORE_QUEUE
           : kind == RECORD_RETAINED                      ? STORE_RETAINED
                                                          : STORE_STATE;
}

static enum rc put_version(struct salvage *s, enum version version, struct bytes key,
                           uint64_t sequence, struct bytes value)
{
    struct record_key parsed;
    if (!record_key_parse(key, &parsed))
        return RC_OK;
    enum store_family family = family_of(parsed.kind);
    if (gap_of(s, family, key) == NULL || (version == VERSION_ALTERED && family != STORE_STATE))
        return RC_OK;
    uint8_t *whole = mem_new(key.len + AGE), kind = (uint8_t)version;
    struct bytes parts[] = {bytes_of(&kind, 1), value};
    enum rc rc =
        writer_put(&s->versions, family, version_key(key, sequence, whole), parts, 2, s->error);
    mem_free(whole);
    return rc;
}

static enum rc take_from_table(struct table_walk *walk, const struct table_record *record)
{
    static const enum version versions[] = {[TABLE_DELETED] = VERSION_DELETED,
                                            [TABLE_VALUE] = VERSION_VALUE,
                                            [TABLE_BLOB] = VERSION_BLOB};
    struct salvage *s = CONTAINER_OF(walk, struct salvage, tables);
    if (!record->sound && record->kind != TABLE_VALUE)
        return RC_OK;
    return put_version(s, record->sound ? versions[record->kind] : VERSION_ALTERED, record->key,
                       record->sequence, record->value);
}

static enum rc read_tables(struct salvage *s)
{
    char path[SALVAGE_PATH_MAX + 300], error[ENGINE_ERROR_MAX];
    enum rc rc = RC_OK;
    DIR *folder = opendir(s->dir);
    if (folder == NULL)
        return RC_OK;
    s->tables.record = take_from_table;
    for (struct dirent *entry; rc == RC_OK && (entry = readdir(folder)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || strcmp(dot, ".sst") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", s->dir, entry->d_name);
        rc = table_walk(path, &s->tables, error);
        s->holes |= rc == RC_IO || s->tables.holes;
        if (rc == RC_OK && s->tables.holes)
            salvage_lost(s, "file %s: damaged; what is whole in it was read", entry->d_name);
        rc = rc == RC_IO ? RC_OK : rc; /* that it cannot be read has been said */
    }
    closedir(folder);
    return rc;
}

static void said_before(struct logs_mending *mending, const struct logs_loss *loss)
{
    (void)mending, (void)loss;
}

static void take_from_log(struct logs_mending *mending, struct bytes batch)
{
    enum { HEAD = 12, SEQUENCE = 8 };
    struct salvage *s = CONTAINER_OF(mending, struct salvage, logs);
    struct batch_change change;
    uint64_t sequence = 0;
    for (uint32_t i = 0; i < SEQUENCE; i++)
        sequence |= (uint64_t)batch.data[i] << (8 * i);
    struct bytes rest = bytes_of(batch.data + HEAD, batch.len - HEAD);
    for (; s->log_rc == RC_OK && batch_change_next(&rest, &change); sequence++)
        if (change.operation != BATCH_DELETE_RANGE)
            s->log_rc =
                put_version(s, change.operation == BATCH_PUT ? VERSION_VALUE : VERSION_DELETED,
                            change.key, sequence, change.value);
}

/* Those that were mended before. */
static enum rc read_logs(struct salvage *s)
{
    char path[SALVAGE_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/as-it-is", s->work);
    s->logs = (struct logs_mending){.lost = said_before, .record = take_from_log};
    enum rc rc = logs_mend(path, &s->logs, s->error);
    return rc == RC_OK ? s->log_rc : rc;
}

/* ---- the newest of each ------------------------------------------------------------------------
 */

static enum rc copy_version(struct salvage *s, enum store_family family, struct bytes key,
                            struct bytes value)
{
    struct record_key parsed;
    enum version version = (enum version)value.data[0];
    uint8_t *blob = NULL;
    size_t len;
    value = bytes_of(value.data + 1, value.len - 1);
    if (version == VERSION_DELETED) /* an older index may still have had it */
        return writer_delete(&s->writer, family, key, s->error);
    if (version == VERSION_BLOB) {
        if (blob_read(s->dir, key, value, &blob, &len) != RC_OK)
            return RC_OK; /* its file is damaged, and listed */
        value = bytes_of(blob, len);
    }
    enum rc rc = RC_OK;
    if (record_key_parse(key, &parsed) &&
        (version != VERSION_ALTERED || audit_record_good(family, &parsed, value))) {
        gap_of(s, family, key)->filled = true;
        s->filled++;
        s->altered += version == VERSION_ALTERED;
        rc = salvage_copy(s, family, key, value);
    }
    mem_free(blob);
    return rc;
}

static enum rc copy_newest(struct salvage *s, enum store_family family)
{
    uint8_t *last = mem_new(VERSION_KEY_MAX);
    size_t last_len = 0;
    struct bytes key, value, none = bytes_of("", 0);
    struct engine_cursor *cursor = engine_cursor_open(s->versions.engine, family, none, none);
    enum rc rc;
    while ((rc = engine_cursor_next(cursor, &key, &value)) == RC_OK) {
        key.len -= AGE;
        if (bytes_equal(key, bytes_of(last, last_len)))
            continue; /* an older one */
        memcpy(last, key.data, key.len);
        last_len = key.len;
        rc = copy_version(s, family, key, value);
        if (rc != RC_OK)
            break;
    }
    engine_cursor_close(cursor);
    mem_free(last);
    return rc == RC_NOT_FOUND ? RC_OK : rc;
}

/* ---- large messages ----------------------------------------------------------------------------
 */

/* Whether any file has said something of the key. */
static bool has_version(struct salvage *s, enum store_family family, struct bytes key)
{
    uint8_t *bounds = mem_new(2 * (key.len + AGE));
    struct bytes from = version_key(key, UINT64_MAX, bounds);
    struct bytes until = version_key(key, 0, bounds + from.len);
    struct engine_cursor *cursor = engine_cursor_open(s->versions.engine, family, from, until);
    bool has = engine_cursor_state(cursor) == RC_OK;
    engine_cursor_close(cursor);
    mem_free(bounds);
    return has;
}

static enum rc copy_blob(struct blob_walk *walk, enum store_family family, struct bytes key,
                         struct bytes value)
{
    struct salvage *s = CONTAINER_OF(walk, struct salvage, blobs);
    struct audit_gap *gap = gap_of(s, family, key);
    if (gap == NULL || has_version(s, family, key))
        return RC_OK;
    gap->filled = true;
    s->from_blobs++;
    return salvage_copy(s, family, key, value);
}

static enum rc read_blobs(struct salvage *s)
{
    s->blobs.record = copy_blob;
    enum rc rc = blob_walk(s->dir, &s->blobs, s->error);
    if (s->from_blobs > 0)
        salvage_lost(s,
                     "%llu large messages were taken from files without an index; some may have "
                     "been delivered before",
                     (unsigned long long)s->from_blobs);
    return rc;
}

enum rc salvage_raw(struct salvage *s)
{
    char path[SALVAGE_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/versions", s->work);
    enum rc rc = writer_open(&s->versions, path, s->error);
    if (rc != RC_OK)
        return rc;
    sort_gaps(s);
    rc = read_tables(s);
    if (rc == RC_OK)
        rc = read_logs(s);
    if (rc == RC_OK)
        rc = writer_flush(&s->versions, s->error);
    for (int family = 0; family < STORE_FAMILIES && rc == RC_OK; family++)
        rc = copy_newest(s, (enum store_family)family);
    if (rc == RC_OK && (s->seen || s->holes))
        rc = read_blobs(s);
    writer_close(&s->versions);
    mem_free(s->sorted);
    return rc;
}
