/* SPDX-License-Identifier: Apache-2.0 */
/* The small files beside the store of a nats-server, and what the kernel says of a process. */
#include "managed/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WALK_FDS = 8,
    WALKS_MAX = 4,
};

#define META "store/jetstream/SYSTEM/_js_/_meta_" /* which servers and streams there are */

static void path_of(const char *folder, const char *name, char out[MANAGED_PATH_MAX + 64])
{
    snprintf(out, MANAGED_PATH_MAX + 64, "%s/%s", folder, name);
}

/* What is behind the end is NUL, too. */
static bool read_path(const char *path, char *out, size_t room)
{
    size_t used = 0;
    ssize_t got = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    while (got > 0 && used < room - 1) {
        got = read(fd, out + used, room - 1 - used);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            used += (size_t)got;
    }
    close(fd);
    memset(out + used, 0, room - used);
    return got >= 0;
}

bool managed_read_file(const char *folder, const char *name, char *out, size_t room)
{
    char path[MANAGED_PATH_MAX + 64];

    path_of(folder, name, path);
    return read_path(path, out, room);
}

uint64_t managed_file_size(const char *folder, const char *name)
{
    char path[MANAGED_PATH_MAX + 64];
    struct stat status;

    path_of(folder, name, path);
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

bool managed_write_file(const char *folder, const char *name, const char *text, size_t len)
{
    char path[MANAGED_PATH_MAX + 64], part[MANAGED_PATH_MAX + 64];
    bool good = false;

    path_of(folder, name, path);
    path_of(folder, ".new", part);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    good = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    good = close(fd) == 0 && good && rename(part, path) == 0;
    if (!good)
        unlink(part);
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        good = fsync(dir) == 0 && good;
        close(dir);
    }
    return good;
}

/* ---- processes ---------------------------------------------------------------------------------
 */

void managed_boot(char out[37])
{
    if (!read_path("/proc/sys/kernel/random/boot_id", out, 37))
        out[0] = '\0';
}

/* Field 22 of /proc/PID/stat, behind the name in parentheses; a zombie counts as gone. */
uint64_t managed_started(pid_t pid)
{
    char path[64], text[1024];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (pid <= 0 || !read_path(path, text, sizeof(text)))
        return 0;
    char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
        return 0;
    at += 2;
    for (int field = 3; field < 22; field++) {
        at = strchr(at, ' ');
        if (at == NULL)
            return 0;
        at++;
    }
    return strtoull(at, NULL, 10);
}

bool managed_has_argument(pid_t pid, const char *argument)
{
    char path[64], text[4096];

    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    if (pid <= 0 || !read_path(path, text, sizeof(text)))
        return false;
    /* arguments end with a NUL each; two end the list, as what was read is shorter than its room */
    for (const char *at = text; *at != '\0'; at += strlen(at) + 1)
        if (strcmp(at, argument) == 0)
            return true;
    return false;
}

/* ---- the note ----------------------------------------------------------------------------------
 */

/* The next word, which must fit; false: there is none. */
static bool take_word(char **at, char *out, size_t room)
{
    size_t len = strcspn(*at, " \n");

    if (len == 0 || len >= room)
        return false;
    memcpy(out, *at, len);
    out[len] = '\0';
    *at += len + ((*at)[len] != '\0' ? 1 : 0);
    return true;
}

/* "PID STARTED BOOT HASH" */
bool managed_note_read(const char *folder, struct managed_note *note)
{
    char text[256], pid[16], started[24], *at = text;

    memset(note, 0, sizeof(*note));
    if (!managed_read_file(folder, "process", text, sizeof(text)) ||
        !take_word(&at, pid, sizeof(pid)) || !take_word(&at, started, sizeof(started)) ||
        !take_word(&at, note->boot, sizeof(note->boot)) ||
        !take_word(&at, note->hash, sizeof(note->hash)))
        return false;
    note->pid = (pid_t)strtol(pid, NULL, 10);
    note->started = strtoull(started, NULL, 10);
    return true;
}

bool managed_note_write(const char *folder, const struct managed_note *note)
{
    char text[256];

    int len = snprintf(text, sizeof(text), "%d %" PRIu64 " %s %s\n", (int)note->pid, note->started,
                       note->boot[0] != '\0' ? note->boot : "-", note->hash);
    return managed_write_file(folder, "process", text, (size_t)len);
}

/* ---- consensus logs ----------------------------------------------------------------------------
 */

static bool empty_folder(const char *path)
{
    DIR *folder = opendir(path);
    bool any = false;

    if (folder == NULL)
        return false;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        any = unlinkat(dirfd(folder), entry->d_name, 0) == 0 || any; /* not "." and ".." */
    closedir(folder);
    return any;
}

uint32_t managed_drop_ends(const char *folder)
{
    char logs[MANAGED_PATH_MAX + 64], log[MANAGED_PATH_MAX + 512];
    uint32_t count = 0;

    path_of(folder, "store/jetstream/SYSTEM/_js_", logs);
    DIR *all = opendir(logs);
    if (all == NULL)
        return 0;
    for (const struct dirent *entry; (entry = readdir(all)) != NULL;) {
        if (strncmp(entry->d_name, "S-", 2) != 0)
            continue; /* it is of no stream */
        snprintf(log, sizeof(log), "%s/%s/msgs", logs, entry->d_name);
        count += empty_folder(log);
    }
    closedir(all);
    return count;
}

/* ---- what servers agree on ---------------------------------------------------------------------
 */

static uint64_t newest_in(const char *path, uint64_t newest)
{
    DIR *folder = opendir(path);

    if (folder == NULL)
        return newest;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat status;
        if (strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        uint64_t changed =
            (uint64_t)status.st_mtim.tv_sec * 1000000000 + (uint64_t)status.st_mtim.tv_nsec;
        newest = changed > newest ? changed : newest;
    }
    closedir(folder);
    return newest;
}

uint64_t managed_meta_changed(const char *folder)
{
    static const char *const parts[] = {"", "/msgs", "/snapshots"};
    char meta[MANAGED_PATH_MAX + 64], path[MANAGED_PATH_MAX + 128];
    uint64_t newest = 0;

    path_of(folder, META, meta);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", meta, parts[i]);
        newest = newest_in(path, newest);
    }
    return newest;
}

/* ---- the disk ----------------------------------------------------------------------------------
 */

static int flush_one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    (void)stat;
    (void)at;
    if (kind != FTW_F && kind != FTW_DP)
        return 0;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno != ENOENT;
    int failed = fsync(fd);
    close(fd);
    return failed;
}

/* All at once where the file system hears of it; those in user space do not. */
static bool flush_file_system(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    bool good = fd >= 0 && syncfs(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

static bool flush_each(const char *folder)
{
    bool good = true;

    for (int i = 0; good && i < WALKS_MAX; i++) {
        if (nftw(folder, flush_one, WALK_FDS, FTW_DEPTH | FTW_PHYS) == 0)
            return true;
        good = errno == ENOENT; /* a folder went away meanwhile: once more */
    }
    return false;
}

bool managed_flush_files(const char *folder)
{
    return flush_file_system(folder) && flush_each(folder);
}

bool managed_flush_meta(const char *folder)
{
    char path[MANAGED_PATH_MAX + 64];
    size_t top = strlen(folder);

    path_of(folder, META, path);
    bool none = access(path, F_OK) != 0 && errno == ENOENT; /* as in a cluster of one */
    bool good = flush_file_system(folder) && (none || flush_each(path));
    for (char *end; good && (end = strrchr(path, '/')) != NULL && end >= path + top;) {
        *end = '\0'; /* the way there */
        good = flush_one(path, NULL, FTW_DP, NULL) == 0;
    }
    return good;
}
