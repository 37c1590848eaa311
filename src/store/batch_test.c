/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_fixture.h"

#include "base/memory.h"

struct fixture {
    char dir[DIR_ROOM];
    struct batch batch;
    struct engine *engine;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    folder_new(f->dir);
    f->engine = engine_at(f->dir, ENGINE_CREATE);
    batch_init(&f->batch);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    batch_deinit(&f->batch);
    engine_close(f->engine);
    folder_remove(f->dir);
    free(f);
    return 0;
}

static void add_delete(struct batch *batch, enum store_family family, const char *key)
{
    struct bytes k = bytes_of_str(key);
    batch_add(batch, &(struct batch_record){
                         .operation = BATCH_DELETE, .family = family, .key = &k, .key_parts = 1});
}

static void add_delete_range(struct batch *batch, enum store_family family, const char *from,
                             const char *until)
{
    struct bytes k = bytes_of_str(from), v = bytes_of_str(until);
    batch_add(batch, &(struct batch_record){.operation = BATCH_DELETE_RANGE,
                                            .family = family,
                                            .key = &k,
                                            .key_parts = 1,
                                            .value = &v,
                                            .value_parts = 1});
}

static void batch_is_what_the_engine_takes_for_each_family(void **state)
{
    struct fixture *f = *state;
    for (int family = 0; family < STORE_FAMILIES; family++) {
        add_put(&f->batch, family, "a", "1");
        add_put(&f->batch, family, "b", "2");
        add_put(&f->batch, family, "c", "3");
        add_put(&f->batch, family, "d", "4");
        add_delete(&f->batch, family, "a");
        add_delete_range(&f->batch, family, "b", "d");
    }
    assert_int_equal(f->batch.live, 6 * STORE_FAMILIES);
    assert_int_equal(write_batch(f->engine, &f->batch), RC_OK);
    for (int family = 0; family < STORE_FAMILIES; family++) {
        assert_value(f->engine, family, "a", NULL);
        assert_value(f->engine, family, "b", NULL);
        assert_value(f->engine, family, "c", NULL);
        assert_value(f->engine, family, "d", "4");
    }
}

static void batch_puts_keys_and_values_together_from_parts(void **state)
{
    struct fixture *f = *state;
    struct bytes key[] = {bytes_of_str("ke"), bytes_of(NULL, 0), bytes_of_str("y")};
    struct bytes value[] = {bytes_of_str("va"), bytes_of_str("l"), bytes_of(NULL, 0),
                            bytes_of_str("ue")};
    batch_add(&f->batch, &(struct batch_record){.operation = BATCH_PUT,
                                                .family = STORE_RETAINED,
                                                .key = key,
                                                .key_parts = 3,
                                                .value = value,
                                                .value_parts = 4});
    assert_int_equal(write_batch(f->engine, &f->batch), RC_OK);
    assert_value(f->engine, STORE_RETAINED, "key", "value");
}

static void batch_value_of_no_parts_is_empty(void **state)
{
    struct fixture *f = *state;
    struct bytes key = bytes_of_str("key");
    batch_add(&f->batch,
              &(struct batch_record){.operation = BATCH_PUT, .key = &key, .key_parts = 1});
    assert_int_equal(write_batch(f->engine, &f->batch), RC_OK);
    assert_value(f->engine, STORE_STATE, "key", "");
}

/* Lengths on both sides of where a varint grows. */
static void batch_takes_values_of_any_length(void **state)
{
    static const size_t lengths[] = {0, 1, 127, 128, 16383, 16384, 2097151, 2097152};
    struct fixture *f = *state;
    char *value = malloc(2097153);
    assert_non_null(value);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        memset(value, 'a' + (int)i, lengths[i]);
        value[lengths[i]] = '\0';
        add_put(&f->batch, STORE_QUEUE, "key", value);
        assert_int_equal(write_batch(f->engine, &f->batch), RC_OK);
        assert_value(f->engine, STORE_QUEUE, "key", value);
        batch_reset(&f->batch);
    }
    free(value);
}

static void batch_record_that_was_taken_back_is_not_written(void **state)
{
    struct fixture *f = *state;
    size_t places[100];
    char key[8];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "%d", i);
        places[i] = add_put(&f->batch, STORE_QUEUE, key, "value");
    }
    for (int i = 0; i < 100; i += 3)
        assert_true(batch_cancel(&f->batch, places[i], &(struct store_waiter *){NULL}));
    assert_int_equal(f->batch.live, 66);
    assert_int_equal(write_batch(f->engine, &f->batch), RC_OK);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_value(f->engine, STORE_QUEUE, key, i % 3 == 0 ? NULL : "value");
    }
}

static void batch_record_is_taken_back_once(void **state)
{
    struct fixture *f = *state;
    size_t at = add_put(&f->batch, STORE_QUEUE, "a", "1");
    add_put(&f->batch, STORE_QUEUE, "b", "2");
    assert_true(batch_cancel(&f->batch, at, &(struct store_waiter *){NULL}));
    assert_false(batch_cancel(&f->batch, at, &(struct store_waiter *){NULL}));
    assert_int_equal(f->batch.live, 1);
}

static void batch_of_nothing_live_has_no_bytes(void **state)
{
    struct fixture *f = *state;
    assert_true(batch_cancel(&f->batch, add_put(&f->batch, STORE_STATE, "a", "1"),
                             &(struct store_waiter *){NULL}));
    assert_int_equal(f->batch.live, 0);
    assert_int_equal(batch_size(&f->batch), 0);
    assert_int_equal(write_batch(f->engine, &f->batch), RC_OK);
    assert_int_equal(key_count(f->engine, STORE_STATE), 0);
}

static void batch_later_records_of_a_key_win(void **state)
{
    struct fixture *f = *state;
    add_put(&f->batch, STORE_STATE, "a", "1");
    add_delete(&f->batch, STORE_STATE, "a");
    add_put(&f->batch, STORE_STATE, "a", "2");
    size_t last = add_put(&f->batch, STORE_STATE, "a", "3");
    batch_cancel(&f->batch, last, &(struct store_waiter *){NULL});
    assert_int_equal(write_batch(f->engine, &f->batch), RC_OK);
    assert_value(f->engine, STORE_STATE, "a", "2");
}

static void batch_reset_keeps_its_buffer_when_that_is_small(void **state)
{
    struct fixture *f = *state;
    add_put(&f->batch, STORE_STATE, "a", "1");
    f->batch.sync = true;
    batch_reset(&f->batch);
    assert_int_equal(f->batch.live, 0);
    assert_int_equal(f->batch.used, 0);
    assert_int_equal(batch_size(&f->batch), 0);
    assert_false(f->batch.sync);
    assert_int_equal(f->batch.room, BATCH_ROOM_FIRST);
    char *large = calloc(1, BATCH_KEEP_ROOM + 2);
    assert_non_null(large);
    memset(large, 'x', BATCH_KEEP_ROOM + 1);
    add_put(&f->batch, STORE_STATE, "a", large);
    batch_reset(&f->batch);
    assert_int_equal(f->batch.room, 0);
    free(large);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(batch_is_what_the_engine_takes_for_each_family),
        RULE(batch_puts_keys_and_values_together_from_parts),
        RULE(batch_value_of_no_parts_is_empty),
        RULE(batch_takes_values_of_any_length),
        RULE(batch_record_that_was_taken_back_is_not_written),
        RULE(batch_record_is_taken_back_once),
        RULE(batch_of_nothing_live_has_no_bytes),
        RULE(batch_later_records_of_a_key_win),
        RULE(batch_reset_keeps_its_buffer_when_that_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
