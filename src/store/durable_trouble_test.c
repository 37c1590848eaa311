/* SPDX-License-Identifier: Apache-2.0 */
/* The durable store on a disk that takes nothing. */
#include "store/commit_fixture.h"

#include "base/fault.h"

#include <dirent.h>
#include <sys/mount.h>

enum { TRIES_MS = 2500 }; /* the store tries again each second */

static void store_that_cannot_write_refuses_and_then_works_again(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    assert_int_equal(record_and_wait(f, 1), RC_OK);
    limit_files(1);
    assert_int_not_equal(record_and_wait(f, 2), RC_OK);
    durable_turn_until(&f->d, false);
    assert_int_not_equal(store_trouble(&f->shards[0]), RC_OK);
    record(f, 0, 3); /* what is recorded meanwhile is kept */
    assert_int_not_equal(wait_synced(f, 1), RC_AGAIN);
    durable_settle(&f->d);
    limit_files(RLIM_INFINITY);
    durable_turn_until(&f->d, true);
    assert_int_equal(record_and_wait(f, 4), RC_OK);
    for (uint64_t number = 1; number <= 4; number++)
        assert_true(is_stored(f, 0, number));
    reopen(f);
    for (uint64_t number = 1; number <= 4; number++)
        assert_true(is_stored(f, 0, number));
}

/* What failed is stored in the end; who asks after that must not wait for ever. */
static void waiter_after_trouble_is_answered_without_anything_new(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    assert_int_equal(record_and_wait(f, 1), RC_OK);
    limit_files(1);
    struct store_ref ref = record(f, 0, 2);
    assert_int_equal(wait_synced(f, 0), RC_AGAIN);
    turn_until_answered(f, 0);
    assert_int_not_equal(f->waiting[0].rc, RC_OK);
    limit_files(RLIM_INFINITY);
    durable_turn_until(&f->d, true);
    enum rc rc = wait_synced(f, 1);
    if (rc == RC_AGAIN) {
        turn_until_answered(f, 1);
        rc = f->waiting[1].rc;
    }
    assert_int_equal(rc, RC_OK);
    assert_true(store_is_safe(&f->shards[0], ref));
    assert_true(is_stored(f, 0, 2));
}

/* The number of the newest log: the engine begins one each time it is opened. */
static long newest_log(const struct fixture *f)
{
    long newest = 0;
    DIR *folder = opendir(f->d.dir);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char *end;
        long number = strtol(entry->d_name, &end, 10);
        if (strcmp(end, ".log") == 0 && number > newest)
            newest = number;
    }
    closedir(folder);
    return newest;
}

static void flush_that_failed_has_the_engine_opened_again(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    assert_int_equal(record_and_wait(f, 1), RC_OK);
    long log = newest_log(f);
    fault_fail("store.sync", 0, 1);
    record(f, 0, 2); /* nobody waits: it is flushed after the interval */
    durable_turn_until(&f->d, false);
    durable_turn_until(&f->d, true);
    assert_true(newest_log(f) > log);
    assert_int_equal(record_and_wait(f, 3), RC_OK);
    assert_true(is_stored(f, 0, 2));
}

static void flush_is_not_tried_on_an_engine_that_has_failed(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    record(f, 0, 1);
    durable_settle(&f->d); /* written, to be flushed */
    limit_files(1);
    record(f, 0, 2);
    durable_turn_until(&f->d, false);
    limit_files(RLIM_INFINITY);
    durable_turn_until(&f->d, true);
    assert_true(is_stored(f, 0, 1));
    assert_true(is_stored(f, 0, 2));
}

static void store_closes_on_a_disk_that_has_failed(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    assert_int_equal(record_and_wait(f, 1), RC_OK);
    limit_files(1);
    assert_int_not_equal(record_and_wait(f, 2), RC_OK);
    durable_close(&f->d);
    limit_files(RLIM_INFINITY);
    open_store(f);
    assert_true(is_stored(f, 0, 1));
}

/* What is kept while there is trouble ends with the first that finds no room, however small the
 * next one is. */
static void disk_that_goes_on_failing_is_waited_for(void **state)
{
    struct fixture *f = *state;
    store_start(f->d.store);
    assert_int_equal(record_and_wait(f, 1), RC_OK);
    limit_files(1);
    assert_int_not_equal(record_and_wait(f, 2), RC_OK);
    for (uint64_t until_ms = clock_ms() + TRIES_MS; clock_ms() < until_ms; poll(NULL, 0, 5))
        durable_turn(&f->d);
    assert_int_not_equal(store_state(f->d.store), RC_OK);
    limit_files(RLIM_INFINITY);
    durable_turn_until(&f->d, true);
    assert_int_equal(record_and_wait(f, 3), RC_OK);
    assert_true(is_stored(f, 0, 1));
    assert_true(is_stored(f, 0, 2));
}

static void backlog_that_was_full_takes_nothing_behind_what_it_refused(void **state)
{
    struct fixture *f = *state;
    char *large = calloc(1, MIB);
    assert_non_null(large);
    struct bytes value = bytes_of(large, MIB);
    const uint64_t first = 100;
    uint64_t next = first;
    store_start(f->d.store);
    assert_int_equal(record_and_wait(f, 1), RC_OK);
    limit_files(1);
    assert_int_not_equal(record_and_wait(f, 2), RC_OK);
    for (size_t used = 0; used <= STORE_BACKLOG_MAX; used += MIB) {
        struct store_key key = key_of(0, next++);
        store_put(&f->shards[0], STORE_QUEUE, &key, &value, 1);
    }
    durable_settle(&f->d);
    record(f, 0, 4);
    durable_settle(&f->d);
    limit_files(RLIM_INFINITY);
    durable_turn_until(&f->d, true);
    assert_int_equal(record_and_wait(f, 5), RC_OK);
    assert_true(is_stored(f, 0, 2));
    assert_true(is_stored(f, 0, first));
    assert_false(is_stored(f, 0, next - 1));
    assert_false(is_stored(f, 0, 4));
    assert_true(is_stored(f, 0, 5));
    free(large);
}

static void fill_file(const char *path, size_t bytes)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    char *block = calloc(1, 64 * KIB);
    assert_non_null(block);
    while (bytes > 0 && fwrite(block, 64 * KIB, 1, file) == 1 && fflush(file) == 0)
        bytes -= bytes < 64 * KIB ? bytes : 64 * KIB;
    fclose(file);
    free(block);
}

/* A disk of its own under the fixture's folder; the store that was there is forgotten. */
static void onto_small_disk(struct fixture *f, const char *options)
{
    durable_close(&f->d);
    if (mount("none", f->d.dir, "tmpfs", 0, options) != 0) {
        open_store(f);
        print_message("a tmpfs cannot be mounted here\n");
        skip();
    }
    open_store(f);
    store_start(f->d.store);
}

static void off_small_disk(struct fixture *f)
{
    durable_close(&f->d);
    assert_int_equal(umount(f->d.dir), 0);
    open_store(f);
}

static void disk_that_is_nearly_full_takes_nothing_new_until_space_returns(void **state)
{
    struct fixture *f = *state;
    char filler[2 * DIR_ROOM];
    snprintf(filler, sizeof(filler), "%s/filler", f->d.dir);
    onto_small_disk(f, "size=24m");
    assert_int_equal(record_and_wait(f, 1), RC_OK);
    fill_file(filler, 20 * MIB); /* less than STORE_FREE_MIN is left */
    durable_turn_until(&f->d, false);
    assert_int_equal(store_trouble(&f->shards[0]), RC_FULL);
    record(f, 0, 2);
    assert_int_equal(wait_synced(f, 0), RC_FULL);
    durable_settle(&f->d); /* what is recorded all the same is written: there is room for that */
    assert_true(is_stored(f, 0, 2));
    unlink(filler);
    durable_turn_until(&f->d, true);
    assert_int_equal(record_and_wait(f, 3), RC_OK);
    off_small_disk(f);
}

static void disk_that_is_full_keeps_what_was_recorded_for_when_space_returns(void **state)
{
    struct fixture *f = *state;
    char filler[2 * DIR_ROOM];
    char *large = calloc(1, MIB);
    assert_non_null(large);
    struct bytes value = bytes_of(large, MIB);
    snprintf(filler, sizeof(filler), "%s/filler", f->d.dir);
    onto_small_disk(f, "size=24m");
    assert_int_equal(record_and_wait(f, 1), RC_OK);
    fill_file(filler, 64 * MIB); /* all of it */
    struct store_key key = key_of(0, 2);
    for (int i = 0; i < 3; i++)
        store_put(&f->shards[0], STORE_QUEUE, &key, &value, 1);
    enum rc rc = wait_synced(f, 0);
    if (rc == RC_AGAIN) {
        turn_until_answered(f, 0);
        rc = f->waiting[0].rc;
    }
    assert_int_equal(rc, RC_FULL);
    durable_settle(&f->d);
    assert_int_equal(store_trouble(&f->shards[0]), RC_FULL);
    unlink(filler);
    durable_turn_until(&f->d, true);
    assert_int_equal(record_and_wait(f, 3), RC_OK);
    for (uint64_t number = 1; number <= 3; number++)
        assert_true(is_stored(f, 0, number));
    off_small_disk(f);
    free(large);
}

static int no_more_trouble(void **state)
{
    limit_files(RLIM_INFINITY);
    fault_fail("store.sync", 0, 0);
    return tear_down(state);
}

#define TROUBLE_RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, no_more_trouble)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(store_that_cannot_write_refuses_and_then_works_again),
        RULE(waiter_after_trouble_is_answered_without_anything_new),
        TROUBLE_RULE(flush_that_failed_has_the_engine_opened_again),
        TROUBLE_RULE(flush_is_not_tried_on_an_engine_that_has_failed),
        TROUBLE_RULE(store_closes_on_a_disk_that_has_failed),
        TROUBLE_RULE(disk_that_goes_on_failing_is_waited_for),
        TROUBLE_RULE(backlog_that_was_full_takes_nothing_behind_what_it_refused),
        RULE(disk_that_is_nearly_full_takes_nothing_new_until_space_returns),
        RULE(disk_that_is_full_keeps_what_was_recorded_for_when_space_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
