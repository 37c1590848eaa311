/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a damaged store, and what is said of the rest. */
#include "store/salvage.h"

#include "store/made_fixture.h"

enum { SESSIONS = 100, MANY = 2000, IN_A_BLOCK = 240 };

/* Sessions, of which one has a queue, and retained messages. */
static void make_store(struct made *m)
{
    char text[TEXT_ROOM];
    for (int i = 1; i <= SESSIONS; i++) {
        snprintf(text, sizeof(text), "client-%d", i);
        made_session(m, 1, (uint64_t)i, text);
        snprintf(text, sizeof(text), "topic/%d", i);
        made_retained(m, 2, text, bytes_of_str("kept"));
    }
    made_queue(m, 1, 7, MANY);
    made_finish(m);
}

static void salvaged_with(struct made *m, struct salvaged *out)
{
    char error[ENGINE_ERROR_MAX] = "";
    assert_int_equal(salvage(m->dir, 64, out, error), RC_OK);
    assert_string_equal(error, "");
    assert_int_equal(out->shards, MADE_SHARDS);
    assert_int_equal(access(out->aside, F_OK), 0);
}

static bool list_says(const struct salvaged *out, const char *text)
{
    char line[2048];
    bool says = false;
    FILE *list = fopen(out->list, "re");
    assert_non_null(list);
    while (!says && fgets(line, sizeof(line), list) != NULL)
        says = strstr(line, text) != NULL;
    fclose(list);
    return says;
}

static void assert_sessions_and_retained(const struct salvaged *out)
{
    assert_int_equal(out->counts[AUDIT_SESSIONS].records, SESSIONS);
    assert_int_equal(out->counts[AUDIT_RETAINED].records, SESSIONS);
}

static void good_store_loses_nothing(void **state)
{
    struct salvaged out;
    make_store(*state);
    salvaged_with(*state, &out);
    assert_sessions_and_retained(&out);
    assert_int_equal(out.counts[AUDIT_QUEUED].records, MANY);
    assert_int_equal(out.losses, 0);
}

static void bad_block_of_a_queue_costs_its_messages_and_is_told_by_session(void **state)
{
    char path[PATH_ROOM];
    struct salvaged out;
    make_store(*state);
    made_largest(*state, ".sst", path);
    flip_byte(path, 50000);
    salvaged_with(*state, &out);
    assert_sessions_and_retained(&out);
    assert_in_range(out.counts[AUDIT_QUEUED].records, MANY - IN_A_BLOCK, MANY - 1);
    assert_true(list_says(&out, "session client-7: "));
}

static void table_whose_end_is_bad_loses_nothing(void **state)
{
    char path[PATH_ROOM];
    struct salvaged out;
    make_store(*state);
    flip_byte(path, made_largest(*state, ".sst", path) - 4);
    salvaged_with(*state, &out);
    assert_sessions_and_retained(&out);
    assert_int_equal(out.counts[AUDIT_QUEUED].records, MANY);
    assert_true(list_says(&out, "what is whole in it was read"));
}

static void store_without_a_manifest_is_made_of_its_files(void **state)
{
    struct made *m = *state;
    char path[PATH_ROOM];
    struct salvaged out;
    make_store(m);
    snprintf(path, sizeof(path), "%s/CURRENT", m->store);
    assert_int_equal(unlink(path), 0);
    for (int number = 1; number < 20; number++) {
        snprintf(path, sizeof(path), "%s/MANIFEST-%06d", m->store, number);
        unlink(path);
    }
    salvaged_with(m, &out);
    assert_sessions_and_retained(&out);
    assert_int_equal(out.counts[AUDIT_QUEUED].records, MANY);
}

/* In a table there is an older state; what came since is in the log alone. */
static void newest_version_of_a_record_counts(void **state)
{
    struct made *m = *state;
    char path[PATH_ROOM], error[ENGINE_ERROR_MAX];
    struct salvaged out;
    made_session(m, 1, 7, "old-name");
    made_queue(m, 1, 7, MANY);
    assert_int_equal(writer_flush(&m->writer, error), RC_OK);
    for (int family = 0; family < STORE_FAMILIES; family++)
        assert_int_equal(engine_flush(m->writer.engine, (enum store_family)family, error), RC_OK);
    const struct meta_record meta = {.format = STORE_FORMAT, .shards = MADE_SHARDS, .starts = 1};
    made_session(m, 1, 7, "new-name");
    struct store_key key = record_key_queued(1, 7, 2);
    assert_int_equal(
        writer_delete(&m->writer, STORE_QUEUE, bytes_of(key.head, key.head_len), error), RC_OK);
    assert_int_equal(writer_finish(&m->writer, &meta, error), RC_OK);
    off_t size = made_largest(m, ".sst", path);
    writer_close(&m->writer);
    m->writer = (struct writer){0};
    flip_byte(path, size - 4);
    snprintf(path, sizeof(path), "%s/CURRENT", m->store);
    flip_byte(path, 3);
    salvaged_with(m, &out);
    assert_int_equal(out.counts[AUDIT_SESSIONS].records, 1);
    assert_int_equal(out.counts[AUDIT_QUEUED].records, MANY - 1);
    struct engine *engine = engine_at(m->store, ENGINE_READ_ONLY);
    struct session_record session;
    void *value;
    size_t len;
    key = record_key_of(1, RECORD_SESSION, 7);
    assert_int_equal(
        engine_get(engine, STORE_STATE, bytes_of(key.head, key.head_len), &value, &len), RC_OK);
    assert_true(session_record_decode(bytes_of(value, len), &session));
    assert_true(bytes_equal(session.client_id, bytes_of_str("new-name")));
    engine_free(value);
    engine_close(engine);
}

static void folder_without_a_store_is_refused(void **state)
{
    char error[ENGINE_ERROR_MAX];
    struct salvaged out;
    (void)state;
    assert_int_equal(salvage("/nonexistent", 64, &out, error), RC_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MADE_RULE(good_store_loses_nothing),
        MADE_RULE(bad_block_of_a_queue_costs_its_messages_and_is_told_by_session),
        MADE_RULE(table_whose_end_is_bad_loses_nothing),
        MADE_RULE(store_without_a_manifest_is_made_of_its_files),
        MADE_RULE(newest_version_of_a_record_counts),
        MADE_RULE(folder_without_a_store_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
