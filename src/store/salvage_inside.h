/* SPDX-License-Identifier: Apache-2.0 */
/* Inside salvage only: salvage.c reads what can be opened, salvage_raw.c the files without it. */
#ifndef STORE_SALVAGE_INSIDE_H
#define STORE_SALVAGE_INSIDE_H

#include "store/blob.h"
#include "store/logs.h"
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
    bool seen;        /* it could be read as it is, and the gaps are what is damaged */
    bool holes;       /* files were not whole when they were read one by one */
    struct blob_walk blobs;
    struct logs_mending logs;
    struct table_walk tables;
    enum rc log_rc;            /* while logs are read */
    struct writer versions;    /* all that files have of what lies in gaps: salvage_raw.c */
    struct audit audit;        /* of what was written */
    struct audit_gap **sorted; /* for the blob files */
    size_t gap_count;
    uint64_t copied, from_blobs, filled, altered;
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

/* Reads what lies in gaps from the files, one by one, without the engine. */
enum rc salvage_raw(struct salvage *s);

#endif
