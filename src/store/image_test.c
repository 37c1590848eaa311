/* SPDX-License-Identifier: Apache-2.0 */
/* A group goes from one store into another, whole or not at all. */
#include "store/image.h"
#include "store/replicated_fixture.h"

enum { MANY = 3000, VALUE = 512, TOKEN = 5 };

/* ---- what is there ------------------------------------------------------------------------------
 */

static struct bytes put_of(uint32_t shard, enum store_family family, const struct store_key *key,
                           struct bytes value, uint8_t *out, size_t room)
{
    struct batch batch;
    struct bytes spans[] = {bytes_of(key->head, key->head_len), key->tail};
    batch_init(&batch);
    batch_add(&batch, &(struct batch_record){.shard = (uint16_t)shard,
                                             .operation = BATCH_PUT,
                                             .family = family,
                                             .key = spans,
                                             .key_parts = 2,
                                             .value = &value,
                                             .value_parts = 1});
    assert_true(BATCH_HEADER + batch_size(&batch) <= room);
    batch_header(out, batch.live);
    uint8_t *end = batch_serialise(&batch, out + BATCH_HEADER);
    batch_deinit(&batch);
    return bytes_of(out, (size_t)(end - out));
}

static void bring(struct fixture *f, uint32_t shard, enum store_family family,
                  const struct store_key *key, uint8_t where)
{
    static uint8_t value[VALUE];
    uint8_t out[VALUE + 256];
    struct store_position position = at(where);
    struct bytes batch =
        put_of(shard, family, key, bytes_of(value, sizeof(value)), out, sizeof(out));
    store_replica_apply(f->store, shard % GROUPS, batch, &position);
}

/* Shards 0 and 2 are group 0; 1 and 3 are group 1. */
static void fill(struct fixture *f)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct store_key key = record_key_of(shard, RECORD_OUTBOX, 1);
        bring(f, shard, STORE_STATE, &key, 1);
        for (uint64_t number = 1; number <= MANY; number++) {
            key = record_key_of(shard, RECORD_SHARED, number);
            bring(f, shard, STORE_QUEUE, &key, 2);
        }
        key = record_key_retained(shard, bytes_of_str("a/topic"));
        bring(f, shard, STORE_RETAINED, &key, 3);
    }
    for (uint32_t group = 0; group < GROUPS; group++) /* all of that is written */
        open_group(f, group);
    for (uint32_t group = 0; group < GROUPS; group++)
        store_replica_lost(f->store, group);
}

static struct fixture *other_store(void)
{
    void *other;
    assert_int_equal(set_up(&other), 0);
    return other;
}

static void close_store(struct fixture *f)
{
    void *state = f;
    tear_down(&state);
}

static struct store_image *image_of(struct fixture *f, uint32_t group,
                                    struct store_position *position)
{
    struct store_image *image = NULL;
    assert_int_equal(store_image_open(f->store, group, &image, position), RC_OK);
    return image;
}

/* Gives how many chunks there were. */
static int take(struct fixture *to, struct store_image *image, uint32_t group, uint32_t *records)
{
    struct bytes chunk;
    int chunks = 0;
    *records = 0;
    for (enum rc rc; (rc = store_image_next(image, &chunk)) != RC_NOT_FOUND; chunks++) {
        uint32_t count;
        assert_int_equal(rc, RC_OK);
        assert_true(chunk.len < IMAGE_CHUNK + 2 * VALUE);
        assert_true(store_image_fits(chunk, group, GROUPS, SHARDS, &count));
        *records += count;
        store_replica_copy_chunk(to->store, group, TOKEN, chunk);
    }
    return chunks;
}

static uint32_t count_records(struct fixture *f, uint32_t group)
{
    uint32_t sum = 0, count;
    for (int family = 0; family < STORE_FAMILIES; family++) {
        struct store_image *image = NULL;
        struct bytes chunk;
        assert_int_equal(
            store_image_open_family(f->store, group, (enum store_family)family, &image), RC_OK);
        while (store_image_next(image, &chunk) == RC_OK) {
            assert_true(store_image_fits(chunk, group, GROUPS, SHARDS, &count));
            sum += count;
        }
        store_image_close(image);
    }
    return sum;
}

/* ---- rules ---------------------------------------------------------------------------------- */

static void a_copy_is_the_group_and_nothing_else(void **state)
{
    struct fixture *f = *state, *to = other_store();
    struct store_position position;
    uint32_t records;
    fill(f);
    struct store_image *image = image_of(f, 0, &position);
    store_replica_copy(to->store, 0, TOKEN);
    int chunks = take(to, image, 0, &records);
    store_image_close(image);
    assert_true(chunks > 2);
    assert_int_equal(records, 2 * (MANY + 2));
    store_replica_copied(to->store, 0, TOKEN, &position);
    await_count(to, &to->asked[0].chunks, chunks + 1);
    assert_int_equal(to->asked[0].token, TOKEN);
    assert_int_equal(position_of(to, 0).bytes[0], 3);
    assert_int_equal(count_records(to, 0), records);
    assert_int_equal(count_records(to, 1), 0);
    assert_true(is_stored(to, 2, MANY));
    close_store(to);
}

static void what_comes_after_an_image_was_opened_is_not_in_it(void **state)
{
    struct fixture *f = *state, *to = other_store();
    struct store_position position;
    uint32_t records;
    fill(f);
    struct store_image *image = image_of(f, 0, &position);
    apply(f, 0, MANY + 1, 9);
    open_group(f, 0);
    assert_true(is_stored(f, 0, MANY + 1));
    store_replica_copy(to->store, 0, TOKEN);
    take(to, image, 0, &records);
    store_image_close(image);
    assert_int_equal(records, 2 * (MANY + 2));
    assert_int_equal(position.bytes[0], 3);
    close_store(to);
}

static void a_copy_takes_the_place_of_what_was_there(void **state)
{
    struct fixture *f = *state;
    struct store_position position = at(7);
    fill(f);
    store_replica_copy(f->store, 0, TOKEN);
    store_replica_copied(f->store, 0, TOKEN, &position);
    await_count(f, &f->asked[0].chunks, 1);
    assert_int_equal(count_records(f, 0), 0);
    assert_int_equal(count_records(f, 1), 2 * (MANY + 2)); /* the other group's */
    assert_int_equal(position_of(f, 0).bytes[0], 7);
}

static void a_group_that_is_being_copied_is_not_whole_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct store_position position;
    struct store_image *image = NULL;
    uint8_t out[VALUE];
    struct store_key key = record_key_of(0, RECORD_SHARED, 77);
    fill(f);
    store_replica_copy(f->store, 0, TOKEN);
    store_replica_copy_chunk(f->store, 0, TOKEN,
                             put_of(0, STORE_QUEUE, &key, bytes_of_str("part"), out, sizeof(out)));
    await_count(f, &f->asked[0].chunks, 1);
    reopen(f);
    assert_int_equal(store_replica_position(f->store, 0, &position), RC_AGAIN);
    assert_int_equal(store_replica_position(f->store, 1, &position), RC_OK);
    assert_int_equal(store_image_open(f->store, 0, &image, &position), RC_NOT_FOUND);
    assert_true(is_stored(f, 0, 77));
    store_replica_copy(f->store, 0, TOKEN + 1); /* begins anew */
    position = at(8);
    store_replica_copied(f->store, 0, TOKEN + 1, &position);
    await_count(f, &f->asked[0].chunks, 1);
    assert_false(is_stored(f, 0, 77));
    assert_int_equal(position_of(f, 0).bytes[0], 8);
}

static void what_comes_of_a_copy_that_was_given_up_is_left_out(void **state)
{
    struct fixture *f = *state;
    struct store_position position = at(4);
    struct store_key key = record_key_of(0, RECORD_SHARED, 77);
    uint8_t out[VALUE];
    store_replica_copy(f->store, 0, TOKEN);
    store_replica_copy(f->store, 0, TOKEN + 1);
    store_replica_copy_chunk(f->store, 0, TOKEN,
                             put_of(0, STORE_QUEUE, &key, bytes_of_str("part"), out, sizeof(out)));
    store_replica_copied(f->store, 0, TOKEN, &position);
    position = at(5);
    store_replica_copied(f->store, 0, TOKEN + 1, &position);
    await_count(f, &f->asked[0].chunks, 1);
    assert_int_equal(f->asked[0].chunks, 1);
    assert_false(is_stored(f, 0, 77));
    assert_int_equal(position_of(f, 0).bytes[0], 5);
}

static void a_group_without_a_position_is_not_given(void **state)
{
    struct fixture *f = *state;
    struct store_image *image = NULL;
    struct store_position position;
    assert_int_equal(store_image_open(f->store, 0, &image, &position), RC_NOT_FOUND);
}

static void a_chunk_has_only_what_is_put_into_shards_of_the_group(void **state)
{
    (void)state;
    uint8_t out[VALUE];
    uint32_t count;
    struct store_key key = record_key_of(2, RECORD_SHARED, 1);
    struct bytes good = put_of(2, STORE_QUEUE, &key, bytes_of_str("v"), out, sizeof(out));
    assert_true(store_image_fits(good, 0, GROUPS, SHARDS, &count));
    assert_int_equal(count, 1);
    assert_false(store_image_fits(good, 1, GROUPS, SHARDS, &count)); /* another group's */
    assert_false(store_image_fits(good, 0, GROUPS, 2, &count));      /* no such shard */
    for (size_t len = 0; len < good.len; len++)
        assert_false(store_image_fits(bytes_of(good.data, len), 0, GROUPS, SHARDS, &count));
    batch_header(out, 2); /* says more than there is */
    assert_false(store_image_fits(good, 0, GROUPS, SHARDS, &count));
    batch_header(out, 1);
    for (int i = 0; i < 256; i++) { /* any other operation */
        uint8_t was = out[BATCH_HEADER];
        out[BATCH_HEADER] = (uint8_t)i;
        if (i != was)
            assert_false(store_image_fits(good, 0, GROUPS, SHARDS, &count));
        out[BATCH_HEADER] = was;
    }
    key = record_key_position(0);
    good = put_of(SHARD_META, STORE_STATE, &key, bytes_of_str("v"), out, sizeof(out));
    assert_false(store_image_fits(good, SHARD_META % GROUPS, GROUPS, SHARDS, &count));
}

int main(void)
{
#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RULE(a_copy_is_the_group_and_nothing_else),
        RULE(what_comes_after_an_image_was_opened_is_not_in_it),
        RULE(a_copy_takes_the_place_of_what_was_there),
        RULE(a_group_that_is_being_copied_is_not_whole_after_a_restart),
        RULE(what_comes_of_a_copy_that_was_given_up_is_left_out),
        RULE(a_group_without_a_position_is_not_given),
        cmocka_unit_test(a_chunk_has_only_what_is_put_into_shards_of_the_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
