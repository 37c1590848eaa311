/* SPDX-License-Identifier: Apache-2.0 */
/* The nats-server of a node: what it is told, and how it is found again. A shell script stands for
 * it. */
#include "managed/files.h"
#include "managed/process.h"

#include "base/clock.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRET "0123456789abcdef"

struct place {
    char root[64], folder[96], program[96];
    struct managed_nats nats;
    enum managed_store store;
    struct managed_process process;
};

/* What stands for the server says where it was started from, and goes on until it is told. */
static const char script[] = "#!/bin/sh\n"
                             "folder=${2%/nats.conf}\n"
                             "echo $$ >\"$folder/nats.pid\"\n"
                             "mkdir -p \"$folder/store/jetstream\"\n"
                             "echo started >>\"$folder/starts\"\n"
                             "[ -e \"$folder/die\" ] && exit 1\n"
                             "trap 'exit 0' TERM\n"
                             "while :; do sleep 0.05; done\n";

static void look(struct place *place)
{
    char error[MANAGED_ERROR_MAX] = "";

    assert_int_equal(managed_look(place->folder, &place->nats, &place->store, error), RC_OK);
}

static struct place *place_new(void)
{
    struct place *place = calloc(1, sizeof(*place));

    assert_non_null(place);
    snprintf(place->root, sizeof(place->root), "%s", "/tmp/skein-managed-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(place->folder, sizeof(place->folder), "%s/engine", place->root);
    snprintf(place->program, sizeof(place->program), "%s/server", place->root);
    assert_true(managed_write_file(place->root, "server", script, sizeof(script) - 1));
    assert_int_equal(chmod(place->program, 0700), 0);
    snprintf(place->nats.cluster, sizeof(place->nats.cluster), "%s", "home");
    snprintf(place->nats.node, sizeof(place->nats.node), "%s", "n1");
    snprintf(place->nats.listen.host, sizeof(place->nats.listen.host), "%s", "127.0.0.1");
    place->nats.listen.port = 9883;
    place->nats.client_port = 8883;
    place->nats.store_bytes_max = 1000;
    managed_derive(SECRET, "home", &place->nats.credentials);
    look(place);
    return place;
}

static void start(struct place *place)
{
    char error[MANAGED_ERROR_MAX];
    assert_int_equal(
        managed_start(&place->process, place->program, &place->nats, clock_ms(), error), RC_OK);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* Waits, with turns, until `fact`; CHECKs that it comes. */
#define AWAIT(place, fact)                                                                         \
    do {                                                                                           \
        uint64_t until_ms_ = clock_ms() + 20000;                                                   \
        while (!(fact)) {                                                                          \
            assert_true(clock_ms() < until_ms_);                                                   \
            managed_turn(&(place)->process, clock_ms());                                           \
            nap();                                                                                 \
        }                                                                                          \
    } while (0)

static int starts(const struct place *place)
{
    char text[1024];
    int count = 0;

    if (!managed_read_file(place->folder, "starts", text, sizeof(text)))
        return 0;
    for (const char *at = text; *at != '\0'; at++)
        count += *at == '\n';
    return count;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static void end(struct place *place)
{
    managed_stop(&place->process, clock_ms());
    AWAIT(place, place->process.state == MANAGED_OFF);
    pid_t left = managed_find(place->folder);
    assert_int_equal(left, 0);
    assert_int_equal(nftw(place->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(place);
}

/* ---- configuration -----------------------------------------------------------------------------
 */

static char *config_of(const struct managed_nats *nats)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    assert_int_equal(managed_write_config(nats, out), RC_OK);
    fclose(out);
    return text;
}

static void server_alone_has_no_cluster(void **state)
{
    struct place *place = place_new();
    (void)state;

    char *text = config_of(&place->nats);
    assert_null(strstr(text, "cluster {"));
    assert_non_null(strstr(text, "listen: \"127.0.0.1:8883\"\n"));
    assert_non_null(strstr(text, "max_payload: 8388608\n"));
    assert_non_null(strstr(text, "ping_interval: \"1s\"\nping_max: 2\n"));
    free(text);
    end(place);
}

static void routes_carry_a_password_of_their_own(void **state)
{
    struct place *place = place_new();
    char expected[256];
    (void)state;

    place->nats.route_count = 2;
    place->nats.routes[0] = (struct managed_route){.host = "n2", .port = 9883};
    place->nats.routes[1] = (struct managed_route){.host = "fe80::1", .port = 9884};
    char *text = config_of(&place->nats);
    snprintf(expected, sizeof(expected), "\"nats-route://route:%s@n2:9883\"",
             place->nats.credentials.route);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "@[fe80::1]:9884\""));
    assert_non_null(strstr(text, "no_advertise: true\n")); /* 127.0.0.1 is another one there */
    assert_null(strstr(text, SECRET));
    free(text);
    end(place);
}

static void credentials_differ_by_purpose_cluster_and_secret(void **state)
{
    struct managed_credentials a, b, c, again;
    (void)state;

    managed_derive(SECRET, "a", &a);
    managed_derive(SECRET, "b", &b);
    managed_derive("fedcba9876543210", "a", &c);
    managed_derive(SECRET, "a", &again);

    assert_int_equal(strlen(a.user), 64);
    assert_string_not_equal(a.user, a.system);
    assert_string_not_equal(a.user, a.route);
    assert_string_not_equal(a.user, b.user);
    assert_string_not_equal(a.user, c.user);
    assert_string_equal(a.user, again.user);
    assert_string_equal(a.route, again.route);
}

static void name_that_would_end_its_quotes_is_refused(void **state)
{
    struct place *place = place_new();
    struct managed_nats bad = place->nats;
    FILE *out = fopen("/dev/null", "w");
    (void)state;

    snprintf(bad.listen.host, sizeof(bad.listen.host), "%s", "a\"");
    assert_int_equal(managed_write_config(&bad, out), RC_INVALID);
    bad = place->nats;
    snprintf(bad.folder, sizeof(bad.folder), "%s", "/a\nb");
    assert_int_equal(managed_write_config(&bad, out), RC_INVALID);
    bad = place->nats;
    bad.route_count = 1;
    snprintf(bad.routes[0].host, sizeof(bad.routes[0].host), "%s", "a\\b");
    assert_int_equal(managed_write_config(&bad, out), RC_INVALID);
    fclose(out);
    end(place);
}

/* ---- store -------------------------------------------------------------------------------------
 */

static void server_is_named_after_its_store(void **state)
{
    struct place *place = place_new();
    char name[MANAGED_NAME_MAX + MANAGED_STORE_ID], first[MANAGED_STORE_ID];
    char error[MANAGED_ERROR_MAX];
    (void)state;

    assert_int_equal(place->store, MANAGED_STORE_NEW);
    snprintf(first, sizeof(first), "%s", place->nats.store_id);
    start(place);
    AWAIT(place, starts(place) == 1);
    managed_server_name(&place->nats, name);
    assert_int_equal(strncmp(name, "n1-", 3), 0);
    managed_stop(&place->process, clock_ms());
    AWAIT(place, place->process.state == MANAGED_OFF);
    look(place);
    assert_int_equal(place->store, MANAGED_STORE_CLEAN);
    assert_string_equal(place->nats.store_id, first);

    assert_int_equal(managed_discard(place->folder, error), RC_OK);
    look(place);
    assert_int_equal(place->store, MANAGED_STORE_NEW);
    assert_string_not_equal(place->nats.store_id, first);
    end(place);
}

static void server_was_alone_when_it_has_never_been_one_of_several(void **state)
{
    struct place *place = place_new();
    char path[256] = "";
    (void)state;

    assert_false(managed_was_alone(place->folder)); /* none was ever started */
    start(place);
    AWAIT(place, starts(place) == 1);
    assert_true(managed_was_alone(place->folder));
    for (const char *part = "store/jetstream/SYSTEM/_js_/_meta_"; part != NULL;) {
        const char *end = strchr(part, '/');
        snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s/%.*s",
                 path[0] == '\0' ? place->folder : "", end ? (int)(end - part) : 64, part);
        (void)mkdir(path, 0700);
        part = end ? end + 1 : NULL;
    }
    assert_false(managed_was_alone(place->folder)); /* what nats-server makes for a cluster */
    assert_int_equal(rmdir(path), 0);
    place->nats.route_count = 1;
    place->nats.routes[0] = place->nats.listen;
    start(place);
    assert_false(managed_was_alone(place->folder));
    place->process.child = true;
    AWAIT(place, starts(place) == 2);
    end(place);
}

static void store_that_was_in_use_when_the_machine_went_down_is_unclean(void **state)
{
    struct place *place = place_new();
    struct managed_note note;
    (void)state;

    start(place);
    AWAIT(place, starts(place) == 1);
    pid_t pid = place->process.pid;
    assert_true(managed_note_read(place->folder, &note));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    place->process.state = MANAGED_OFF;
    look(place);
    assert_int_equal(place->store, MANAGED_STORE_CLEAN); /* the machine has not been down */
    snprintf(note.boot, sizeof(note.boot), "%s", "another-boot");
    assert_true(managed_note_write(place->folder, &note));
    look(place);

    assert_int_equal(place->store, MANAGED_STORE_UNCLEAN);
    end(place);
}

static void server_that_loses_its_connections_again_and_again_is_killed(void **state)
{
    struct place *place = place_new();
    (void)state;

    start(place);
    AWAIT(place, starts(place) == 1);
    pid_t pid = place->process.pid;
    uint64_t now_ms = clock_ms(), first_ms = now_ms - MANAGED_HANGS_MS - 2;
    place->process.since_ms = first_ms;
    assert_false(managed_lost(&place->process, first_ms));
    assert_false(managed_lost(&place->process, first_ms + 1000));
    assert_false(managed_lost(&place->process, now_ms - 1)); /* too slowly */
    kill(pid, SIGSTOP);                                      /* what it is told it does not do */
    assert_true(managed_lost(&place->process, now_ms));
    assert_false(managed_lost(&place->process, now_ms)); /* that is done */
    AWAIT(place, starts(place) == 2);
    assert_int_not_equal(place->process.pid, pid);
    assert_false(managed_lost(&place->process, clock_ms())); /* those were of the last one */
    end(place);
}

static void server_that_never_comes_up_is_killed(void **state)
{
    struct place *place = place_new();
    (void)state;

    start(place);
    for (int count = 1; count <= 2; count++) {
        AWAIT(place, starts(place) == count);
        uint64_t now_ms = clock_ms();
        assert_false(managed_stuck(&place->process, now_ms));
        assert_false(managed_stuck(&place->process, now_ms + MANAGED_STUCK_MS - 1));
        assert_true(managed_write_file(place->folder, "engine.log", "a line", (size_t)count));
        now_ms += MANAGED_STUCK_MS;
        assert_false(managed_stuck(&place->process, now_ms)); /* it had something to say */
        place->process.answered = true;
        assert_false(managed_stuck(&place->process, now_ms + MANAGED_STUCK_MS));
        place->process.answered = false;
        assert_true(managed_stuck(&place->process, now_ms + MANAGED_STUCK_MS));
        assert_false(
            managed_stuck(&place->process, now_ms + 2 * MANAGED_STUCK_MS)); /* it is done */
    }
    AWAIT(place, starts(place) == 3);
    assert_true(place->process.deaths >= MANAGED_DEATHS);
    end(place);
}

static void server_that_rests_is_started_when_it_is_woken(void **state)
{
    struct place *place = place_new();
    struct managed_note note;
    (void)state;

    start(place);
    AWAIT(place, starts(place) == 1);
    managed_rest(&place->process, clock_ms());
    AWAIT(place, place->process.state == MANAGED_RESTS);
    assert_int_equal(managed_find(place->folder), 0);
    assert_true(managed_deadline_ms(&place->process) == UINT64_MAX);
    managed_turn(&place->process, clock_ms() + 60 * 1000);
    assert_int_equal(starts(place), 1);
    look(place);
    assert_int_equal(place->store, MANAGED_STORE_CLEAN);
    assert_true(managed_note_read(place->folder, &note));
    snprintf(note.boot, sizeof(note.boot), "another-boot"); /* its files may not be on the disk */
    assert_true(managed_note_write(place->folder, &note));
    look(place);
    assert_int_equal(place->store, MANAGED_STORE_UNCLEAN);
    managed_wake(&place->process, clock_ms());
    AWAIT(place, starts(place) == 2);
    kill(place->process.pid, SIGSTOP);
    managed_rest(&place->process, clock_ms());
    managed_wake(&place->process, clock_ms()); /* before it has ended */
    AWAIT(place, starts(place) == 3);
    managed_rest(&place->process, clock_ms());
    AWAIT(place, place->process.state == MANAGED_RESTS);
    end(place);
}

/* A consensus log of the server: a snapshot, and what came after it. */
static void make_log(const struct place *place, const char *name)
{
    static const char *const folders[] = {"store", "jetstream", "SYSTEM", "_js_",
                                          NULL,    "snapshots"}; /* NULL: the log's own */
    char at[256], end[300];

    snprintf(at, sizeof(at), "%s", place->folder);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        size_t len = strlen(at);
        snprintf(at + len, sizeof(at) - len, "/%s", folders[i] == NULL ? name : folders[i]);
        (void)mkdir(at, 0700);
    }
    assert_true(managed_write_file(at, "snap.1.3", "s", 1));
    at[strlen(at) - strlen("/snapshots")] = '\0';
    assert_true(managed_write_file(at, "tav.idx", "vote", 4));
    snprintf(end, sizeof(end), "%s/msgs", at);
    assert_int_equal(mkdir(end, 0700), 0);
    assert_true(managed_write_file(end, "1.blk", "1", 1) &&
                managed_write_file(end, "1.idx", "1", 1));
}

static bool log_has(const struct place *place, const char *log, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/store/jetstream/SYSTEM/_js_/%s/%s", place->folder, log, name);
    return access(path, F_OK) == 0;
}

static void server_that_joins_a_quorum_begins_without_the_ends_of_its_logs(void **state)
{
    struct place *place = place_new();
    (void)state;

    make_log(place, "S-R3F-one");
    make_log(place, "S-R3F-two");
    make_log(place, "_meta_");
    start(place);
    AWAIT(place, starts(place) == 1);
    assert_false(place->process.joined);
    assert_true(log_has(place, "S-R3F-one", "msgs/1.blk")); /* it may be needed for a quorum */
    place->process.joins = true;
    kill(place->process.pid, SIGKILL);
    AWAIT(place, starts(place) == 2);
    assert_true(place->process.joined);
    static const char *const logs[] = {"S-R3F-one", "S-R3F-two"};
    for (size_t i = 0; i < 2; i++) {
        assert_false(log_has(place, logs[i], "msgs/1.blk") ||
                     log_has(place, logs[i], "msgs/1.idx"));
        assert_true(log_has(place, logs[i], "msgs") && log_has(place, logs[i], "tav.idx"));
        assert_true(log_has(place, logs[i], "snapshots/snap.1.3"));
    }
    assert_true(log_has(place, "_meta_", "msgs/1.blk"));
    place->process.joins = false;
    kill(place->process.pid, SIGKILL);
    AWAIT(place, starts(place) == 3);
    assert_false(place->process.joined);
    end(place);
}

static void server_that_is_to_start_again_does(void **state)
{
    struct place *place = place_new();
    (void)state;

    managed_restart(&place->process, "it is not there");
    start(place);
    AWAIT(place, starts(place) == 1);
    pid_t first = place->process.pid;
    managed_restart(&place->process, "a test");
    AWAIT(place, starts(place) == 2);
    assert_int_not_equal(place->process.pid, first);
    end(place);
}

static void touch(const struct place *place, const char *name, time_t s)
{
    char path[256];
    struct timespec times[2] = {{.tv_sec = s}, {.tv_sec = s}};

    snprintf(path, sizeof(path), "%s/store/jetstream/SYSTEM/_js_/_meta_/%s", place->folder, name);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void what_servers_agree_on_has_changed_with_any_of_its_files(void **state)
{
    struct place *place = place_new();
    static const char *const names[] = {"tav.idx", "msgs/1.blk", "snapshots/snap.1.3", "snapshots"};
    time_t later = time(NULL) + 1000;
    (void)state;

    assert_int_equal(managed_meta_changed(place->folder), 0);
    make_log(place, "_meta_");
    uint64_t before = managed_meta_changed(place->folder);
    assert_true(before > 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        touch(place, names[i], later + (time_t)i);
        assert_true(managed_meta_changed(place->folder) > before);
        before = managed_meta_changed(place->folder);
        assert_int_equal(managed_meta_changed(place->folder), before);
    }
    end(place);
}

/* Else a node that has lost everything would say that it has run on. */
static void store_that_never_got_to_the_disk_is_unclean_when_its_server_ran(void **state)
{
    struct place *place = place_new();
    struct managed_note note;
    char path[128];
    (void)state;

    start(place);
    AWAIT(place, starts(place) == 1);
    managed_stop(&place->process, clock_ms());
    AWAIT(place, place->process.state == MANAGED_OFF);
    snprintf(path, sizeof(path), "%s/store/jetstream", place->folder);
    (void)rmdir(path);
    look(place);
    assert_int_equal(place->store, MANAGED_STORE_NEW);
    assert_true(managed_note_read(place->folder, &note));
    note.started = 1;
    snprintf(note.boot, sizeof(note.boot), "another-boot");
    assert_true(managed_note_write(place->folder, &note));
    look(place);
    assert_int_equal(place->store, MANAGED_STORE_UNCLEAN);
    end(place);
}

static void store_counts_as_used_before_its_server_runs(void **state)
{
    struct place *place = place_new();
    struct managed_note note;
    (void)state;

    start(place);
    AWAIT(place, starts(place) == 1);
    managed_stop(&place->process, clock_ms());
    AWAIT(place, place->process.state == MANAGED_OFF);
    assert_int_equal(unlink(place->program), 0); /* stands for a power cut right behind its start */
    start(place);
    assert_true(managed_note_read(place->folder, &note));
    snprintf(note.boot, sizeof(note.boot), "another-boot");
    assert_true(managed_note_write(place->folder, &note));
    look(place);

    assert_int_equal(place->store, MANAGED_STORE_UNCLEAN);
    end(place);
}

/* ---- process -----------------------------------------------------------------------------------
 */

static void process_of_the_same_configuration_is_taken_over(void **state)
{
    struct place *place = place_new();
    (void)state;

    start(place);
    AWAIT(place, starts(place) == 1);
    pid_t pid = place->process.pid;
    assert_int_equal(getsid(pid), pid); /* a signal to our group does not reach it */
    start(place);                       /* as another broker would, when this one has been killed */
    managed_turn(&place->process, clock_ms() + 1000);

    assert_int_equal(place->process.pid, pid);
    assert_int_equal(starts(place), 1);
    assert_int_equal(managed_find(place->folder), pid);
    place->process.child = true; /* so that it is waited for */
    end(place);
}

static void process_of_another_configuration_is_started_again(void **state)
{
    struct place *place = place_new();
    (void)state;

    start(place);
    AWAIT(place, starts(place) == 1);
    pid_t pid = place->process.pid;
    place->nats.client_port++;
    start(place);
    place->process.child = true;
    AWAIT(place, starts(place) == 2);

    assert_int_not_equal(place->process.pid, pid);
    end(place);
}

static void process_that_nobody_noted_is_found_and_started_again(void **state)
{
    struct place *place = place_new();
    char path[128];
    (void)state;

    start(place);
    AWAIT(place, starts(place) == 1);
    pid_t pid = place->process.pid;
    snprintf(path, sizeof(path), "%s/process", place->folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(managed_find(place->folder), pid);
    start(place);
    place->process.child = true;
    AWAIT(place, starts(place) == 2);
    end(place);
}

static void process_that_died_is_started_again_later_each_time(void **state)
{
    struct place *place = place_new();
    (void)state;

    assert_true(managed_write_file(place->folder, "die", "", 0));
    uint64_t from_ms = clock_ms();
    start(place);
    AWAIT(place, starts(place) == 3);
    assert_true(clock_ms() - from_ms >= 300); /* 100, 200 */
    assert_true(place->process.pause_ms >= 400);
    assert_true(place->process.deaths >= 2);
    char path[128];
    snprintf(path, sizeof(path), "%s/die", place->folder);
    assert_int_equal(unlink(path), 0);
    AWAIT(place, place->process.state == MANAGED_RUNS && starts(place) == 4);
    end(place);
}

static void program_that_is_not_there_is_tried_again(void **state)
{
    struct place *place = place_new();
    (void)state;

    assert_int_equal(unlink(place->program), 0);
    start(place);
    assert_int_equal(place->process.state, MANAGED_PAUSES);
    assert_true(managed_write_file(place->root, "server", script, sizeof(script) - 1));
    assert_int_equal(chmod(place->program, 0700), 0);
    AWAIT(place, place->process.state == MANAGED_RUNS && starts(place) == 1);
    end(place);
}

static void folder_is_flushed_with_all_that_is_below_it(void **state)
{
    char path[MANAGED_PATH_MAX + 64];
    struct place *place = place_new();
    (void)state;

    snprintf(path, sizeof(path), "%s/below", place->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(managed_write_file(path, "file", "text", 4));
    snprintf(path, sizeof(path), "%s/below/link", place->folder);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_true(managed_flush_files(place->folder));
    assert_true(managed_flush_meta(place->folder)); /* nobody has agreed on anything yet */
    snprintf(path, sizeof(path), "%s/nowhere", place->folder);
    assert_false(managed_flush_files(path));
    end(place);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_alone_has_no_cluster),
        cmocka_unit_test(routes_carry_a_password_of_their_own),
        cmocka_unit_test(credentials_differ_by_purpose_cluster_and_secret),
        cmocka_unit_test(name_that_would_end_its_quotes_is_refused),
        cmocka_unit_test(server_is_named_after_its_store),
        cmocka_unit_test(server_was_alone_when_it_has_never_been_one_of_several),
        cmocka_unit_test(store_that_was_in_use_when_the_machine_went_down_is_unclean),
        cmocka_unit_test(store_that_never_got_to_the_disk_is_unclean_when_its_server_ran),
        cmocka_unit_test(store_counts_as_used_before_its_server_runs),
        cmocka_unit_test(server_that_loses_its_connections_again_and_again_is_killed),
        cmocka_unit_test(server_that_never_comes_up_is_killed),
        cmocka_unit_test(server_that_rests_is_started_when_it_is_woken),
        cmocka_unit_test(server_that_joins_a_quorum_begins_without_the_ends_of_its_logs),
        cmocka_unit_test(what_servers_agree_on_has_changed_with_any_of_its_files),
        cmocka_unit_test(server_that_is_to_start_again_does),
        cmocka_unit_test(process_of_the_same_configuration_is_taken_over),
        cmocka_unit_test(process_of_another_configuration_is_started_again),
        cmocka_unit_test(process_that_nobody_noted_is_found_and_started_again),
        cmocka_unit_test(process_that_died_is_started_again_later_each_time),
        cmocka_unit_test(program_that_is_not_there_is_tried_again),
        cmocka_unit_test(folder_is_flushed_with_all_that_is_below_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
