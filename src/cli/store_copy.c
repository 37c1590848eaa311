/* SPDX-License-Identifier: Apache-2.0 */
/* `skein store backup` and `restore`. A backup is a data directory that holds nothing but a store. */
#include "cli/store.h"

#include "store/folder.h"
#include "store/lock.h"
#include "store/logs.h"

#include <errno.h>
#include <stdio.h>
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

/* The store is ours: a copy by links where that is possible. */
static int backup_directly(const char *data_dir, const char *to)
{
    struct opened_store opened;
    struct engine *engine;
    char target[STORE_PATH_MAX + 16], error[ENGINE_ERROR_MAX] = "";
    if (access(to, F_OK) == 0) {
        errno = EEXIST;
        return say_errno(to);
    }
    int code = store_open_to_read(data_dir, &opened);
    if (code != EX_OK)
        return code;
    store_close_read(&opened); /* a checkpoint has to write its own part of the log */
    enum rc rc = engine_open(opened.dir, ENGINE_EXISTING, ENGINE_SMALL, &engine, error);
    if (rc != RC_OK)
        return store_explain(data_dir, rc, error);
    snprintf(target, sizeof(target), "%s/store", to);
    if (mkdir(to, 0700) != 0) {
        code = say_errno(to);
        engine_close(engine);
        return code;
    }
    rc = engine_checkpoint(engine, target, error);
    engine_close(engine);
    if (rc != RC_OK)
        rmdir(to);
    return store_explain(data_dir, rc, error);
}

int store_backup(const struct store_args *args)
{
    const char *data_dir = args->data_dir == NULL ? DEFAULT_DATA_DIR : args->data_dir;
    int code = backup_directly(data_dir, args->paths[0]);
    if (code == EX_OK)
        printf("%s is a copy of the store in %s\n", args->paths[0], data_dir);
    return code;
}

static void unreadable(void *arg, const char *name, const char *error)
{
    *(bool *)arg = true;
    fprintf(stderr, "skein store: %s: %s\n", name, error);
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
