/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the durable store share: a folder that is gone afterwards, and raw writing. */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include "store/batch.h"
#include "store/engine.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { DIR_ROOM = 64 };

static inline int remove_entry(const char *path, const struct stat *status, int type,
                               struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

/* A new folder in $TMPDIR. */
static inline void folder_new(char dir[DIR_ROOM])
{
    const char *parent = getenv("TMPDIR");
    int len = snprintf(dir, DIR_ROOM, "%s/skein-test-XXXXXX", parent == NULL ? "/tmp" : parent);
    assert_in_range(len, 1, DIR_ROOM - 1);
    assert_non_null(mkdtemp(dir));
}

static inline void folder_remove(const char *dir)
{
    assert_int_equal(nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline struct engine *engine_at(const char *dir, enum engine_open_mode mode)
{
    char error[ENGINE_ERROR_MAX] = "";
    struct engine *engine = NULL;
    enum rc rc = engine_open(dir, mode, ENGINE_SMALL, &engine, error);
    assert_string_equal(error, "");
    assert_int_equal(rc, RC_OK);
    return engine;
}

/* Adds a PUT of two texts. */
static inline size_t add_put(struct batch *batch, enum store_family family, const char *key,
                             const char *value)
{
    struct bytes k = bytes_of_str(key), v = bytes_of_str(value);
    return batch_add(batch, &(struct batch_record){.operation = BATCH_PUT,
                                                   .family = family,
                                                   .key = &k,
                                                   .key_parts = 1,
                                                   .value = &v,
                                                   .value_parts = 1});
}

/* Writes what is live in the batch. */
static inline enum rc write_batch(struct engine *engine, const struct batch *batch)
{
    char error[ENGINE_ERROR_MAX];
    size_t len = BATCH_HEADER + batch_size(batch);
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    batch_header(bytes, batch->live);
    assert_ptr_equal(batch_serialise(batch, bytes + BATCH_HEADER), bytes + len);
    enum rc rc = engine_write(engine, bytes_of(bytes, len), ENGINE_SYNCED, error);
    free(bytes);
    return rc;
}

static inline void put(struct engine *engine, enum store_family family, const char *key,
                       const char *value)
{
    struct batch batch;
    batch_init(&batch);
    add_put(&batch, family, key, value);
    assert_int_equal(write_batch(engine, &batch), RC_OK);
    batch_deinit(&batch);
}

/* The value is just this; NULL: there is none. */
static inline void assert_value(struct engine *engine, enum store_family family, const char *key,
                                const char *value)
{
    void *got = NULL;
    size_t len = 0;
    enum rc rc = engine_get(engine, family, bytes_of_str(key), &got, &len);
    assert_int_equal(rc, value == NULL ? RC_NOT_FOUND : RC_OK);
    if (value != NULL)
        assert_true(bytes_equal(bytes_of(got, len), bytes_of_str(value)));
    if (got != NULL)
        engine_free(got);
}

/* Keys of a family. */
static inline uint32_t key_count(struct engine *engine, enum store_family family)
{
    struct engine_cursor *cursor =
        engine_cursor_open(engine, family, bytes_of("", 0), bytes_of("", 0));
    struct bytes key, value;
    uint32_t count = 0;
    while (engine_cursor_next(cursor, &key, &value) == RC_OK)
        count++;
    engine_cursor_close(cursor);
    return count;
}

#endif
