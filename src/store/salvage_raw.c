/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are read without the engine, for what it could not give. */
#include "store/salvage_inside.h"

#include "base/list.h"
#include "base/memory.h"

#include <dirent.h>
#include <stdlib.h>

/* ---- gaps --------------------------------------------------------------------------------------
 */

/* For gap_of(). Gives memory to be freed. */
static void sort_gaps(struct salvage *s, struct audit_gap *first)
{
    size_t at = 0;
    s->gap_count = 0;
    for (const struct audit_gap *gap = first; gap != NULL; gap = gap->next)
        s->gap_count++;
    s->sorted = mem_new((s->gap_count + 1) * sizeof(s->sorted[0]));
    for (struct audit_gap *gap = first; gap != NULL; gap = gap->next)
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

static enum store_family family_of(enum record_kind kind)
{
    return kind == RECORD_QUEUED || kind == RECORD_SHARED ? STORE_QUEUE
           : kind == RECORD_RETAINED                      ? STORE_RETAINED
                                                          : STORE_STATE;
}

static bool in_view(struct engine *view, enum store_family family, struct bytes key)
{
    void *value;
    size_t len;
    if (engine_get(view, family, key, &value, &len) != RC_OK)
        return false;
    engine_free(value);
    return true;
}

/* What other tables have of a key is taken before this; a message of a queue that was deleted is
 * not there again. */
static enum rc copy_of_table(struct table_walk *walk, enum table_kind kind, struct bytes whole,
                             struct bytes value)
{
    struct salvage *s = CONTAINER_OF(walk, struct salvage, tables);
    struct record_key key;
    if (!record_key_parse(whole, &key) || key.kind == RECORD_META)
        return RC_OK;
    enum store_family family = family_of(key.kind);
    if (s->seen != NULL && gap_of(s, family, whole) == NULL)
        return RC_OK;
    if (kind == TABLE_DELETED)
        return family == STORE_QUEUE ? writer_delete(&s->writer, family, whole, s->error) : RC_OK;
    uint8_t *blob = NULL;
    size_t len;
    if (kind == TABLE_BLOB && blob_read(s->dir, whole, value, &blob, &len) == RC_OK)
        value = bytes_of(blob, len);
    enum rc rc = RC_OK;
    if (audit_record_good(family, &key, value) && !in_view(s->rebuilt, family, whole)) {
        s->from_tables++;
        rc = salvage_copy(s, family, whole, value);
    }
    mem_free(blob);
    return rc;
}

static enum rc read_dropped_table(struct salvage *s, const char *name)
{
    char path[SALVAGE_PATH_MAX + 300], error[ENGINE_ERROR_MAX];
    uint64_t before = s->from_tables;
    snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    enum rc rc = table_walk(path, &s->tables, error);
    if (rc == RC_IO)
        return RC_OK; /* that it cannot be read has been said */
    salvage_lost(s, "file %s: damaged; %llu records of it were read without its index", name,
                 (unsigned long long)(s->from_tables - before));
    return rc;
}

/* Later ones are newer. */
enum rc salvage_dropped(struct salvage *s, const char *path, struct engine *view)
{
    char lost_path[SALVAGE_PATH_MAX + 32];
    struct dirent **names;
    enum rc rc = RC_OK;
    snprintf(lost_path, sizeof(lost_path), "%s/lost", path);
    int count = scandir(lost_path, &names, NULL, alphasort);
    if (count < 0)
        return RC_OK;
    s->rebuilt = view;
    s->tables.record = copy_of_table;
    sort_gaps(s, s->seen);
    for (int i = 0; i < count; i++) {
        const char *dot = strrchr(names[i]->d_name, '.');
        if (rc == RC_OK && dot != NULL && strcmp(dot, ".sst") == 0)
            rc = read_dropped_table(s, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    mem_free(s->sorted);
    return rc;
}

static enum rc copy_blob(struct blob_walk *walk, enum store_family family, struct bytes key,
                         struct bytes value)
{
    struct salvage *s = CONTAINER_OF(walk, struct salvage, blobs);
    struct audit_gap *gap = gap_of(s, family, key);
    if (gap == NULL)
        return RC_OK;
    gap->filled = true;
    s->from_blobs++;
    return salvage_copy(s, family, key, value);
}

enum rc salvage_blobs(struct salvage *s)
{
    sort_gaps(s, s->gaps.first);
    s->blobs.record = copy_blob;
    enum rc rc = blob_walk(s->dir, &s->blobs, s->error);
    mem_free(s->sorted);
    if (s->from_blobs > 0)
        salvage_lost(
            s,
            "%llu large messages were taken from files without an index; some may have been "
            "delivered before",
            (unsigned long long)s->from_blobs);
    return rc;
}
