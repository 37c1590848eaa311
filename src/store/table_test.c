/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and blob files, read without the engine. */
#include "store/table.h"

#include "base/list.h"
#include "base/memory.h"
#include "store/blob.h"
#include "store/made_fixture.h"

enum { MANY = 2000, IN_A_BLOCK = 240, LARGE = 20000 };

struct seen {
    struct table_walk tables;
    struct blob_walk blobs;
    const char *dir;
    uint64_t sound, altered, deleted, large, damaged;
};

static enum rc note_record(struct table_walk *walk, const struct table_record *record)
{
    struct seen *seen = CONTAINER_OF(walk, struct seen, tables);
    struct record_key key;
    assert_true(!record->sound || record_key_parse(record->key, &key));
    seen->sound += record->sound;
    seen->altered += !record->sound;
    seen->deleted += record->kind == TABLE_DELETED;
    if (record->kind != TABLE_BLOB)
        return RC_OK;
    uint8_t *value;
    size_t len;
    if (blob_read(seen->dir, record->key, record->value, &value, &len) == RC_OK) {
        assert_true(len > LARGE);
        seen->large++;
        mem_free(value);
    }
    return RC_OK;
}

static void read_table(struct made *m, struct seen *seen)
{
    char path[PATH_ROOM], error[ENGINE_ERROR_MAX];
    made_largest(m, ".sst", path);
    *seen = (struct seen){.tables.record = note_record, .dir = m->store};
    assert_int_equal(table_walk(path, &seen->tables, error), RC_OK);
}

static void table_is_read_to_its_end_without_its_index(void **state)
{
    struct made *m = *state;
    struct seen seen;
    char path[PATH_ROOM];
    made_queue(m, 1, 7, MANY);
    made_finish(m);
    read_table(m, &seen);
    assert_int_equal(seen.sound, MANY);
    assert_int_equal(seen.altered, 0);
    assert_false(seen.tables.holes);
    assert_int_equal(truncate(path, made_largest(m, ".sst", path) - 800), 0);
    read_table(m, &seen);
    assert_int_equal(seen.sound, MANY);
    assert_true(seen.tables.holes);
}

/* Of each byte of a block: its records are altered or left out, and all others are there. */
static void wrong_bit_in_a_table_concerns_its_block_only(void **state)
{
    struct made *m = *state;
    struct seen seen;
    char path[PATH_ROOM];
    made_queue(m, 1, 7, MANY);
    made_finish(m);
    made_largest(m, ".sst", path);
    for (off_t at = 50000; at < 54200; at += 7) {
        flip_byte(path, at);
        read_table(m, &seen);
        assert_in_range(seen.sound, MANY - IN_A_BLOCK, MANY - 1);
        assert_true(seen.altered == 0 || seen.sound + seen.altered == MANY);
        assert_true(seen.tables.holes);
        flip_byte(path, at);
    }
}

static void deleted_records_of_a_table_are_told(void **state)
{
    struct made *m = *state;
    struct seen seen;
    char error[ENGINE_ERROR_MAX];
    made_queue(m, 1, 7, 10);
    assert_int_equal(writer_flush(&m->writer, error), RC_OK);
    assert_int_equal(engine_flush(m->writer.engine, STORE_QUEUE, error), RC_OK);
    made_queue(m, 1, 8, MANY);
    struct store_key key = record_key_queued(1, 7, 3);
    assert_int_equal(
        writer_delete(&m->writer, STORE_QUEUE, bytes_of(key.head, key.head_len), error), RC_OK);
    made_finish(m);
    read_table(m, &seen);
    assert_int_equal(seen.deleted, 1);
}

static enum rc note_blob(struct blob_walk *walk, enum store_family family, struct bytes key,
                         struct bytes value)
{
    struct seen *seen = CONTAINER_OF(walk, struct seen, blobs);
    struct record_key parsed;
    assert_int_equal(family, STORE_RETAINED);
    assert_true(record_key_parse(key, &parsed));
    assert_true(value.len > LARGE);
    seen->large++;
    return RC_OK;
}

static void note_damage(struct blob_walk *walk, const char *name, uint64_t at)
{
    struct seen *seen = CONTAINER_OF(walk, struct seen, blobs);
    assert_non_null(strstr(name, ".blob"));
    assert_true(at > 0);
    seen->damaged++;
}

/* Retained messages, each with a value of its own in a blob file. */
static void make_large(struct made *m, int count)
{
    char topic[TEXT_ROOM], *payload = malloc(LARGE);
    assert_non_null(payload);
    memset(payload, 'x', LARGE);
    for (int i = 0; i < count; i++) {
        snprintf(topic, sizeof(topic), "t/%d", i);
        made_retained(m, 1, topic, bytes_of(payload, LARGE));
    }
    free(payload);
    made_finish(m);
}

static void large_values_are_found_with_their_keys_around_what_is_damaged(void **state)
{
    struct made *m = *state;
    char path[PATH_ROOM], error[ENGINE_ERROR_MAX];
    struct seen seen = {.blobs = {.record = note_blob, .damaged = note_damage}};
    make_large(m, 10);
    assert_int_equal(blob_walk(m->store, &seen.blobs, error), RC_OK);
    assert_int_equal(seen.large, 10);
    assert_int_equal(seen.damaged, 0);
    made_largest(m, ".blob", path);
    flip_byte(path, 3 * LARGE);
    seen.large = 0;
    assert_int_equal(blob_walk(m->store, &seen.blobs, error), RC_OK);
    assert_int_equal(seen.large, 9);
    assert_int_equal(seen.damaged, 1);
}

static void large_values_are_read_where_the_table_says(void **state)
{
    struct made *m = *state;
    char path[PATH_ROOM];
    struct seen seen;
    make_large(m, 10);
    read_table(m, &seen);
    assert_int_equal(seen.large, 10);
    made_largest(m, ".blob", path);
    flip_byte(path, 3 * LARGE);
    read_table(m, &seen);
    assert_int_equal(seen.large, 9);
    assert_int_equal(unlink(path), 0);
    read_table(m, &seen);
    assert_int_equal(seen.large, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MADE_RULE(table_is_read_to_its_end_without_its_index),
        MADE_RULE(wrong_bit_in_a_table_concerns_its_block_only),
        MADE_RULE(deleted_records_of_a_table_are_told),
        MADE_RULE(large_values_are_found_with_their_keys_around_what_is_damaged),
        MADE_RULE(large_values_are_read_where_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
