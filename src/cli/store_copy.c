/* SPDX-License-Identifier: Apache-2.0 */
/* `skein store backup` and `restore`. A backup is a data directory that holds nothing but a store.
 */
#include "cli/store.h"

#include "cli/control_client.h"
#include "store/folder.h"
#include "store/lock.h"
#include "store/logs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define DEFAULT_DATA_DIR "/var/lib/skein"

static int say_errno(const char *path)
{
    fprintf(stderr, "skein store: %s: %s\n", path, strerror(errno));
    return errno == EEXIST ? EX_CANTCREAT : EX_IOERR;
}

static void unreadable(void *arg, const char *name, const char *error)
{
    *(bool *)arg = true;
    fprintf(stderr, "skein store: %s: %s\n", name, error);
}

/* The store is ours: a copy of its files, by links where that is possible. */
static int backup_directly(const char *data_dir, const char *to)
{
    struct opened_store opened;
    char target[STORE_PATH_MAX + 16], error[ENGINE_ERROR_MAX] = "";
    bool bad = false;
    if (access(to, F_OK) == 0) {
        errno = EEXIST;
        return say_errno(to);
    }
    int code = store_open_to_read(data_dir, &opened);
    if (code != EX_OK)
        return code;
    snprintf(target, sizeof(target), "%s/store", to);
    if (mkdir(to, 0700) != 0) {
        code = say_errno(to);
    } else {
        enum rc rc = folder_copy_store(opened.dir, target, unreadable, &bad, error);
        code = bad ? EX_IOERR : store_explain(data_dir, rc, error);
        folder_sync(to);
    }
    store_close_read(&opened);
    return code;
}

/* A broker serves from it: it makes the copy. */
static int backup_by_broker(const char *data_dir, const char *to)
{
    struct control_answer answer;
    char *path = to[0] == '/' ? strdup(to) : NULL, here[STORE_PATH_MAX];
    if (path == NULL && getcwd(here, sizeof(here)) != NULL &&
        asprintf(&path, "%s/%s", here, to) < 0)
        path = NULL;
    json_t *body = json_pack("{s:s}", "path", path == NULL ? to : path);
    int code = control_ask("store", data_dir, HTTP_POST, "/v1/store/backup", body, &answer);
    control_answer_free(&answer);
    json_decref(body);
    free(path);
    return code;
}

/* A socket that nobody answers at is left by a broker that was killed. */
static bool broker_runs(const char *data_dir)
{
    char dir[STORE_PATH_MAX];
    int lock;
    snprintf(dir, sizeof(dir), "%s/store", data_dir);
    enum rc rc = store_lock_take(dir, &lock);
    if (rc == RC_OK)
        store_lock_drop(lock);
    return rc == RC_EXISTS;
}

int store_backup(const struct store_args *args)
{
    const char *data_dir = args->data_dir == NULL ? DEFAULT_DATA_DIR : args->data_dir;
    int code = broker_runs(data_dir) ? backup_by_broker(data_dir, args->paths[0])
                                     : backup_directly(data_dir, args->paths[0]);
    if (code == EX_OK)
        printf("%s is a copy of the store in %s\n", args->paths[0], data_dir);
    return code;
}

int store_restore(const struct store_args *args)
{
    const char *from = args->paths[0], *data_dir = args->paths[1];
    struct opened_store opened;
    char target[STORE_PATH_MAX], work[STORE_PATH_MAX + 16], error[ENGINE_ERROR_MAX] = "";
    bool bad = false;
    int lock;
    int code = store_open_to_read(from, &opened);
    if (code != EX_OK)
        return code;
    snprintf(target, sizeof(target), "%s/store", data_dir);
    snprintf(work, sizeof(work), "%s/store.restore", data_dir);
    if (mkdir(data_dir, 0700) != 0 && errno != EEXIST)
        code = say_errno(data_dir);
    bool there = !folder_empty(target);
    enum rc rc = there ? store_lock_take(target, &lock) : RC_OK;
    if (code == EX_OK && rc == RC_EXISTS)
        code = store_explain(data_dir, rc, "");
    if (code == EX_OK && there && !args->force) {
        fprintf(stderr, "skein store: there is a store in %s; --force sets it aside\n", data_dir);
        code = EX_CANTCREAT;
    }
    if (code == EX_OK) {
        rc = folder_remove(work, error);
        if (rc == RC_OK)
            rc = folder_copy_store(opened.dir, work, unreadable, &bad, error);
        code = bad ? EX_IOERR : store_explain(data_dir, rc, error);
    }
    if (code == EX_OK)
        code = store_put_in_place(work, target, args->force);
    if (code == EX_OK)
        folder_sync(data_dir);
    else
        folder_remove(work, error);
    if (there && rc != RC_EXISTS)
        store_lock_drop(lock);
    store_close_read(&opened);
    return code;
}
