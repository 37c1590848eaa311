/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net_fixture.h"
#include "net/unix_socket.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { PATH_ROOM = 1024 };

struct folder {
    char name[PATH_ROOM], path[PATH_ROOM];
};

static struct folder folder_new(void)
{
    struct folder f = {.name = "/tmp/skein-unix-socket-XXXXXX"};

    assert_non_null(mkdtemp(f.name));
    snprintf(f.path, sizeof(f.path), "%.200s/s", f.name);
    return f;
}

static void folder_free(const struct folder *f)
{
    unlink(f->path);
    assert_int_equal(rmdir(f->name), 0);
}

static void listen_gives_the_file_its_mode_whatever_the_umask_allows(void **state)
{
    struct folder f = folder_new();
    mode_t before = umask(0);
    int fd = unix_socket_listen(f.path, 0600, 4);
    struct stat status;

    (void)state;
    umask(before);
    assert_true(fd >= 0);
    assert_int_equal(stat(f.path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0600);
    close(fd);
    folder_free(&f);
}

static void listen_replaces_a_socket_that_nobody_listens_on(void **state)
{
    struct folder f = folder_new();
    int fd = unix_socket_listen(f.path, 0600, 4);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    fd = unix_socket_listen(f.path, 0600, 4);
    assert_true(fd >= 0);
    close(fd);
    folder_free(&f);
}

static void listen_where_somebody_answers_is_refused(void **state)
{
    struct folder f = folder_new();
    int fd = unix_socket_listen(f.path, 0600, 4);
    int connected;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(unix_socket_listen(f.path, 0600, 4), -1);
    assert_int_equal(errno, EADDRINUSE);
    connected = unix_socket_connect(f.path);
    assert_true(connected >= 0);
    close(connected);
    close(fd);
    folder_free(&f);
}

static void listen_leaves_a_file_that_is_no_socket_alone(void **state)
{
    struct folder f = folder_new();
    int file = open(f.path, O_CREAT | O_WRONLY, 0600);
    struct stat status;

    (void)state;
    assert_true(file >= 0);
    close(file);
    assert_int_equal(unix_socket_listen(f.path, 0600, 4), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(stat(f.path, &status), 0);
    assert_true(S_ISREG(status.st_mode));
    folder_free(&f);
}

static void a_path_longer_than_sun_path_works_at_both_ends(void **state)
{
    struct folder f = folder_new();
    char deep[PATH_ROOM], path[PATH_ROOM + 8];
    int fd, connected;

    (void)state;
    snprintf(deep, sizeof(deep), "%.200s/%0150d", f.name, 0);
    snprintf(path, sizeof(path), "%s/s", deep);
    assert_int_equal(mkdir(deep, 0700), 0);
    fd = unix_socket_listen(path, 0600, 4);
    assert_true(fd >= 0);
    connected = unix_socket_connect(path);
    assert_true(connected >= 0);
    close(connected);
    close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(deep), 0);
    folder_free(&f);
}

static void a_file_name_that_does_not_fit_is_refused_as_too_long(void **state)
{
    struct folder f = folder_new();
    char path[PATH_ROOM];

    (void)state;
    snprintf(path, sizeof(path), "%.200s/%0150d", f.name, 0);
    assert_int_equal(unix_socket_listen(path, 0600, 4), -1);
    assert_int_equal(errno, ENAMETOOLONG);
    folder_free(&f);
}

static void connect_says_when_there_is_no_socket_and_when_nobody_listens(void **state)
{
    struct folder f = folder_new();
    int fd;

    (void)state;
    assert_int_equal(unix_socket_connect(f.path), -1);
    assert_int_equal(errno, ENOENT);
    fd = unix_socket_listen(f.path, 0600, 4);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(unix_socket_connect(f.path), -1);
    assert_int_equal(errno, ECONNREFUSED);
    folder_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listen_gives_the_file_its_mode_whatever_the_umask_allows),
        cmocka_unit_test(listen_replaces_a_socket_that_nobody_listens_on),
        cmocka_unit_test(listen_where_somebody_answers_is_refused),
        cmocka_unit_test(listen_leaves_a_file_that_is_no_socket_alone),
        cmocka_unit_test(a_path_longer_than_sun_path_works_at_both_ends),
        cmocka_unit_test(a_file_name_that_does_not_fit_is_refused_as_too_long),
        cmocka_unit_test(connect_says_when_there_is_no_socket_and_when_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
