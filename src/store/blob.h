/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the engine's blob files, where large values stand with their keys, without the engine: when
 * its index of them is lost, the values are not. Any thread.
 */
#ifndef STORE_BLOB_H
#define STORE_BLOB_H

#include "store/engine.h"

struct blob_walk {
    /* One pair, borrowed. Deleted ones are among them, and older values before newer ones. */
    enum rc (*record)(struct blob_walk *walk, enum store_family family, struct bytes key,
                      struct bytes value);
    /* A file is damaged from a place on, or between two. */
    void (*damaged)(struct blob_walk *walk, const char *name, uint64_t at);
};

/* All blob files of a folder, oldest first. */
enum rc blob_walk(const char *dir, struct blob_walk *walk, char error[ENGINE_ERROR_MAX]);

/* The value of a key, which stands where an index says that was found in a table. RC_INVALID: it
 * does not. *value: to be freed with mem_free(). */
enum rc blob_read(const char *dir, struct bytes key, struct bytes index, uint8_t **value,
                  size_t *len);

#endif
