/* SPDX-License-Identifier: Apache-2.0 */
/* Inside salvage only: salvage.c reads what can be opened, salvage_raw.c the files without it. */
#ifndef STORE_SALVAGE_INSIDE_H
#define STORE_SALVAGE_INSIDE_H

#include "store/blob.h"
#include "store/salvage.h"
#include "store/table.h"
#include "store/walk.h"
#include "store/writer.h"

#include <stdio.h>

enum { TEXT_SHOWN = 200 };

struct gaps {
    struct audit_gap *first, **last;
};

struct salvage {
    const char *dir; /* the damaged store */
    char work[SALVAGE_PATH_MAX];
    FILE *list;
    struct writer writer;
    struct walk walk; /* of a view: copies records, notes gaps */
    struct gaps gaps; /* that are left */
    struct audit_gap
        *seen; /* when it was read as it is: what is damaged, wherever it was found then */
    struct blob_walk blobs;
    struct table_walk tables;
    struct engine *rebuilt;    /* while tables without an index are read */
    struct audit audit;        /* of what was written */
    struct audit_gap **sorted; /* for the blob files */
    size_t gap_count;
    uint64_t copied, from_blobs, from_tables, filled;
    uint32_t shard_max;  /* seen */
    uint64_t number_max; /* of sessions and messages */
    struct salvaged *out;
    char *error;
};

/* A line of the list of what is lost. */
__attribute__((format(printf, 2, 3))) void salvage_lost(struct salvage *s, const char *format, ...);

/* Writes a record into the new store, if it is one. */
enum rc salvage_copy(struct salvage *s, enum store_family family, struct bytes whole,
                     struct bytes value);

/* Reads the tables that were moved to `path`/lost when the index was rebuilt, which `view` reads.
 */
enum rc salvage_dropped(struct salvage *s, const char *path, struct engine *view);

/* Reads large values, of which only the place is lost. */
enum rc salvage_blobs(struct salvage *s);

#endif
