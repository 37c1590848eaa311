/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

struct fixture {
    char dir[DIR_ROOM];
    char error[ENGINE_ERROR_MAX];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    folder_new(f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    folder_remove(f->dir);
    free(f);
    return 0;
}

static enum rc open_as(struct fixture *f, const char *dir, enum engine_open_mode mode,
                       struct engine **engine)
{
    f->error[0] = '\0';
    return engine_open(dir, mode, ENGINE_SMALL, engine, f->error);
}

/* Opening is refused for that reason, and says something. */
static void assert_not_opened(struct fixture *f, enum engine_open_mode mode, enum rc rc)
{
    struct engine *engine = NULL;
    enum rc got = open_as(f, f->dir, mode, &engine);
    if (got != rc)
        print_error("%s\n", f->error);
    assert_int_equal(got, rc);
    assert_true(f->error[0] != '\0');
    assert_null(engine);
}

/* A store of that many keys in its queue. */
static void make_store(struct fixture *f, int keys)
{
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    struct batch batch;
    char key[16];
    batch_init(&batch);
    for (int i = 0; i < keys; i++) {
        snprintf(key, sizeof(key), "%06d", i);
        add_put(&batch, STORE_QUEUE, key, "some value that is not very short");
    }
    assert_int_equal(write_batch(engine, &batch), RC_OK);
    batch_deinit(&batch);
    engine_close(engine);
}

/* The first file of the store whose name has that in it. */
static void find_file(struct fixture *f, const char *part, char path[PATH_MAX])
{
    DIR *dir = opendir(f->dir);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL && strstr(entry->d_name, part) == NULL)
        ;
    assert_non_null(entry);
    snprintf(path, PATH_MAX, "%s/%s", f->dir, entry->d_name);
    closedir(dir);
}

/* ---- opening -------------------------------------------------------------------------------- */

static void engine_opens_only_what_is_there_unless_told_to_make_it(void **state)
{
    struct fixture *f = *state;
    assert_not_opened(f, ENGINE_EXISTING, RC_NOT_FOUND);
    assert_not_opened(f, ENGINE_READ_ONLY, RC_NOT_FOUND);
    engine_close(engine_at(f->dir, ENGINE_CREATE));
    engine_close(engine_at(f->dir, ENGINE_EXISTING));
}

static void engine_keeps_what_was_written(void **state)
{
    struct fixture *f = *state;
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    put(engine, STORE_STATE, "a", "1");
    put(engine, STORE_QUEUE, "a", "2");
    put(engine, STORE_RETAINED, "a", "3");
    engine_close(engine);
    static const enum engine_open_mode modes[] = {ENGINE_EXISTING, ENGINE_READ_ONLY, ENGINE_CREATE};
    for (int i = 0; i < 3; i++) {
        engine = engine_at(f->dir, modes[i]);
        assert_value(engine, STORE_STATE, "a", "1");
        assert_value(engine, STORE_QUEUE, "a", "2");
        assert_value(engine, STORE_RETAINED, "a", "3");
        assert_value(engine, STORE_RETAINED, "b", NULL);
        engine_close(engine);
    }
}

static void engine_opened_to_read_takes_no_writes(void **state)
{
    struct fixture *f = *state;
    make_store(f, 1);
    struct engine *engine = engine_at(f->dir, ENGINE_READ_ONLY);
    struct batch batch;
    batch_init(&batch);
    add_put(&batch, STORE_STATE, "a", "1");
    assert_int_not_equal(write_batch(engine, &batch), RC_OK);
    batch_deinit(&batch);
    engine_close(engine);
}

static void engine_folder_is_opened_once_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    assert_not_opened(f, ENGINE_CREATE, RC_EXISTS);
    assert_not_opened(f, ENGINE_EXISTING, RC_EXISTS);
    engine_close(engine);
    engine_close(engine_at(f->dir, ENGINE_EXISTING));
}

/* In another process: holds the lock until the pipe is closed. */
static void hold_lock(const char *path, int tell, int until)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char byte = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fcntl(fd, F_SETLK, &lock) != 0 || write(tell, &byte, 1) != 1)
        _exit(1);
    (void)!read(until, &byte, 1);
    _exit(0);
}

static void engine_folder_of_another_process_is_in_use(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX], byte;
    int told[2], until[2], status;
    make_store(f, 1);
    find_file(f, "LOCK", path);
    assert_int_equal(pipe(told) | pipe(until), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(until[1]);
        hold_lock(path, told[1], until[0]);
    }
    assert_int_equal(read(told[0], &byte, 1), 1);
    assert_not_opened(f, ENGINE_CREATE, RC_EXISTS);
    assert_not_opened(f, ENGINE_EXISTING, RC_EXISTS);
    close(until[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(until[0]);
    close(told[0]);
    close(told[1]);
}

static void engine_folder_that_cannot_be_made_is_an_error_of_the_system(void **state)
{
    struct fixture *f = *state;
    struct engine *engine;
    char path[2 * DIR_ROOM];
    snprintf(path, sizeof(path), "%s/file", f->dir);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(open_as(f, path, ENGINE_CREATE, &engine), RC_IO);
    snprintf(path, sizeof(path), "/proc/no/store");
    assert_int_equal(open_as(f, path, ENGINE_CREATE, &engine), RC_IO);
}

static void engine_close_of_nothing_is_fine(void **state)
{
    (void)state;
    engine_close(NULL);
}

/* ---- copies --------------------------------------------------------------------------------- */

static void engine_checkpoint_is_a_store_of_its_own(void **state)
{
    struct fixture *f = *state;
    char copy[2 * DIR_ROOM];
    snprintf(copy, sizeof(copy), "%s/copy", f->dir);
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    put(engine, STORE_STATE, "a", "1");
    put(engine, STORE_RETAINED, "b", "2");
    assert_int_equal(engine_checkpoint(engine, copy, f->error), RC_OK);
    put(engine, STORE_STATE, "a", "later");
    struct engine *other = engine_at(copy, ENGINE_EXISTING);
    assert_value(other, STORE_STATE, "a", "1");
    assert_value(other, STORE_RETAINED, "b", "2");
    engine_close(other);
    engine_close(engine);
}

static void engine_checkpoint_overwrites_nothing(void **state)
{
    struct fixture *f = *state;
    char copy[2 * DIR_ROOM];
    snprintf(copy, sizeof(copy), "%s/copy", f->dir);
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    assert_int_equal(engine_checkpoint(engine, copy, f->error), RC_OK);
    assert_int_equal(engine_checkpoint(engine, copy, f->error), RC_EXISTS);
    assert_int_equal(engine_checkpoint(engine, "/proc/no/copy", f->error), RC_IO);
    engine_close(engine);
}

/* ---- cursors -------------------------------------------------------------------------------- */

static void assert_range(struct engine *engine, const char *from, const char *until,
                         const char *keys)
{
    struct engine_cursor *cursor =
        engine_cursor_open(engine, STORE_QUEUE, bytes_of_str(from), bytes_of_str(until));
    char all[64] = "";
    size_t used = 0;
    struct bytes key, value;
    while (engine_cursor_next(cursor, &key, &value) == RC_OK) {
        memcpy(all + used, key.data, key.len);
        used += key.len;
    }
    assert_int_equal(engine_cursor_next(cursor, &key, &value), RC_NOT_FOUND); /* and stays there */
    assert_string_equal(all, keys);
    engine_cursor_close(cursor);
}

static void cursor_goes_from_the_first_bound_to_before_the_second(void **state)
{
    struct fixture *f = *state;
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    put(engine, STORE_STATE, "c", "of another family");
    for (char key[] = "b"; key[0] <= 'f'; key[0]++)
        put(engine, STORE_QUEUE, key, "value");
    assert_range(engine, "", "", "bcdef");
    assert_range(engine, "c", "e", "cd");
    assert_range(engine, "a", "z", "bcdef");
    assert_range(engine, "cc", "", "def");
    assert_range(engine, "", "c", "b");
    assert_range(engine, "d", "d", "");
    assert_range(engine, "g", "", "");
    engine_close(engine);
}

static void cursor_sees_the_moment_at_which_it_was_opened(void **state)
{
    struct fixture *f = *state;
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    put(engine, STORE_QUEUE, "a", "1");
    struct engine_cursor *cursor =
        engine_cursor_open(engine, STORE_QUEUE, bytes_of("", 0), bytes_of("", 0));
    put(engine, STORE_QUEUE, "a", "2");
    put(engine, STORE_QUEUE, "b", "2");
    struct bytes key, value;
    assert_int_equal(engine_cursor_next(cursor, &key, &value), RC_OK);
    assert_true(bytes_equal(value, bytes_of_str("1")));
    assert_int_equal(engine_cursor_next(cursor, &key, &value), RC_NOT_FOUND);
    engine_cursor_close(cursor);
    engine_close(engine);
}

/* ---- damage --------------------------------------------------------------------------------- */

static void flip_bytes(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t bytes[4];
    assert_int_equal(pread(fd, bytes, 4, at), 4);
    for (int i = 0; i < 4; i++)
        bytes[i] ^= 0x55;
    assert_int_equal(pwrite(fd, bytes, 4, at), 4);
    close(fd);
}

/* Opening moves what the log has into a table. */
static void into_tables(struct fixture *f)
{
    engine_close(engine_at(f->dir, ENGINE_EXISTING));
}

static void engine_verify_finds_flipped_bytes(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    make_store(f, 10000);
    into_tables(f);
    struct engine *engine = engine_at(f->dir, ENGINE_EXISTING);
    for (int family = 0; family < STORE_FAMILIES; family++)
        assert_int_equal(engine_verify(engine, family, f->error), RC_OK);
    engine_close(engine);
    find_file(f, ".sst", path);
    flip_bytes(path, 1000);
    engine = engine_at(f->dir, ENGINE_EXISTING);
    assert_int_equal(engine_verify(engine, STORE_QUEUE, f->error), RC_INVALID);
    assert_non_null(strstr(f->error, "Corruption"));
    assert_int_equal(engine_verify(engine, STORE_RETAINED, f->error), RC_OK);
    engine_close(engine);
}

static void engine_reads_say_that_bytes_were_flipped(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    make_store(f, 10000);
    into_tables(f);
    find_file(f, ".sst", path);
    flip_bytes(path, 1000);
    struct engine *engine = engine_at(f->dir, ENGINE_EXISTING);
    void *got;
    size_t len;
    assert_int_equal(engine_get(engine, STORE_QUEUE, bytes_of_str("000001"), &got, &len),
                     RC_INVALID);
    struct engine_cursor *cursor =
        engine_cursor_open(engine, STORE_QUEUE, bytes_of("", 0), bytes_of("", 0));
    struct bytes key, value;
    enum rc rc;
    while ((rc = engine_cursor_next(cursor, &key, &value)) == RC_OK)
        ;
    assert_int_equal(rc, RC_INVALID);
    engine_cursor_close(cursor);
    engine_close(engine);
}

static void engine_without_a_table_is_damaged(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    make_store(f, 1000);
    into_tables(f);
    find_file(f, ".sst", path);
    assert_int_equal(unlink(path), 0);
    assert_not_opened(f, ENGINE_EXISTING, RC_INVALID);
    assert_not_opened(f, ENGINE_CREATE, RC_INVALID);
}

static void engine_with_a_manifest_cut_short_is_damaged(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    make_store(f, 1000);
    into_tables(f);
    find_file(f, "MANIFEST", path);
    assert_int_equal(truncate(path, 20), 0);
    assert_not_opened(f, ENGINE_CREATE, RC_INVALID);
}

static void engine_without_its_manifest_is_damaged(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    make_store(f, 1000);
    into_tables(f);
    find_file(f, "MANIFEST", path);
    assert_int_equal(unlink(path), 0);
    assert_not_opened(f, ENGINE_EXISTING, RC_INVALID);
    assert_not_opened(f, ENGINE_CREATE, RC_INVALID);
}

/* It must not be taken for an empty folder: a new store there would delete what is left. */
static void engine_without_its_current_file_is_damaged(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    make_store(f, 1000);
    into_tables(f);
    find_file(f, "CURRENT", path);
    assert_int_equal(unlink(path), 0);
    assert_not_opened(f, ENGINE_CREATE, RC_INVALID);
    assert_not_opened(f, ENGINE_EXISTING, RC_INVALID);
    find_file(f, ".sst", path); /* still there */
}

static void engine_log_without_its_end_loses_only_that(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    put(engine, STORE_STATE, "a", "1");
    put(engine, STORE_STATE, "b", "2");
    engine_close(engine);
    find_file(f, ".log", path);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size - 1), 0);
    engine = engine_at(f->dir, ENGINE_EXISTING);
    assert_value(engine, STORE_STATE, "a", "1");
    assert_value(engine, STORE_STATE, "b", NULL);
    engine_close(engine);
}

/* ---- tidying -------------------------------------------------------------------------------- */

enum { TIDY_KEYS = 60000, TIDY_EACH = 1000, TIDY_PATIENCE_S = 30 };

/* Puts or deletes the keys of the queue from `first` to before `last`, into tables. */
static void change_keys(struct engine *engine, enum batch_operation operation, int first, int last)
{
    char error[ENGINE_ERROR_MAX], key[16], text[200];
    struct batch batch;
    memset(text, 'v', sizeof(text));
    struct bytes value = bytes_of(text, sizeof(text));
    batch_init(&batch);
    for (int i = first; i < last; i++) {
        snprintf(key, sizeof(key), "%06d", i);
        struct bytes k = bytes_of_str(key);
        batch_add(&batch, &(struct batch_record){.operation = operation,
                                                 .family = STORE_QUEUE,
                                                 .key = &k,
                                                 .key_parts = 1,
                                                 .value = &value,
                                                 .value_parts = 1});
        if (batch.live == TIDY_EACH) {
            assert_int_equal(write_batch(engine, &batch), RC_OK);
            batch_reset(&batch);
        }
    }
    batch_deinit(&batch);
    assert_int_equal(engine_flush(engine, STORE_QUEUE, error), RC_OK);
}

static void engine_tidy_gives_back_the_space_of_what_was_deleted(void **state)
{
    struct fixture *f = *state;
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    change_keys(engine, BATCH_PUT, 0, TIDY_KEYS);
    uint64_t full = engine_disk_bytes(engine, STORE_QUEUE);
    change_keys(engine, BATCH_DELETE, 0, TIDY_KEYS - TIDY_EACH);
    assert_true(engine_disk_bytes(engine, STORE_QUEUE) >= full);
    time_t limit = time(NULL) + TIDY_PATIENCE_S;
    while (engine_disk_bytes(engine, STORE_QUEUE) > full / 10 && time(NULL) < limit) {
        engine_tidy(engine);
        sched_yield();
    }
    assert_true(engine_disk_bytes(engine, STORE_QUEUE) <= full / 10);
    assert_int_equal(key_count(engine, STORE_QUEUE), TIDY_EACH);
    engine_close(engine);
}

static void engine_tidy_leaves_alone_what_is_mostly_wanted(void **state)
{
    struct fixture *f = *state;
    struct engine *engine = engine_at(f->dir, ENGINE_CREATE);
    change_keys(engine, BATCH_PUT, 0, TIDY_KEYS);
    change_keys(engine, BATCH_DELETE, 0, TIDY_KEYS / 3);
    uint64_t full = engine_disk_bytes(engine, STORE_QUEUE);
    engine_tidy(engine);
    engine_close(engine);
    engine = engine_at(f->dir, ENGINE_EXISTING);
    assert_int_equal(engine_disk_bytes(engine, STORE_QUEUE), full);
    engine_close(engine);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(engine_opens_only_what_is_there_unless_told_to_make_it),
        RULE(engine_keeps_what_was_written),
        RULE(engine_opened_to_read_takes_no_writes),
        RULE(engine_folder_is_opened_once_at_a_time),
        RULE(engine_folder_of_another_process_is_in_use),
        RULE(engine_folder_that_cannot_be_made_is_an_error_of_the_system),
        RULE(engine_close_of_nothing_is_fine),
        RULE(engine_checkpoint_is_a_store_of_its_own),
        RULE(engine_checkpoint_overwrites_nothing),
        RULE(cursor_goes_from_the_first_bound_to_before_the_second),
        RULE(cursor_sees_the_moment_at_which_it_was_opened),
        RULE(engine_verify_finds_flipped_bytes),
        RULE(engine_reads_say_that_bytes_were_flipped),
        RULE(engine_without_a_table_is_damaged),
        RULE(engine_with_a_manifest_cut_short_is_damaged),
        RULE(engine_without_its_manifest_is_damaged),
        RULE(engine_without_its_current_file_is_damaged),
        RULE(engine_log_without_its_end_loses_only_that),
        RULE(engine_tidy_gives_back_the_space_of_what_was_deleted),
        RULE(engine_tidy_leaves_alone_what_is_mostly_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
