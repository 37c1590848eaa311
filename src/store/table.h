/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the engine's tables without their index: blocks stand one behind the other from the
 * beginning on, each with a checksum, and where one ends follows from what is in it. For a table
 * whose index or end is damaged. Any thread.
 */
#ifndef STORE_TABLE_H
#define STORE_TABLE_H

#include "store/engine.h"

enum table_kind {
    TABLE_DELETED,
    TABLE_VALUE,
    TABLE_BLOB, /* the value says where it stands: blob_read() */
};

struct table_record {
    enum table_kind kind;
    bool sound; /* else its block's checksum is wrong: it may be altered */
    uint64_t sequence;
    struct bytes key, value;
};

struct table_walk {
    /* Borrows. */
    enum rc (*record)(struct table_walk *walk, const struct table_record *record);
    bool holes; /* result: there are bytes between blocks, or the end is missing */
};

/* All blocks of a table that can be read. RC_IO: it cannot be read at all. */
enum rc table_walk(const char *path, struct table_walk *walk, char error[ENGINE_ERROR_MAX]);

#endif
