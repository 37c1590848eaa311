/* SPDX-License-Identifier: Apache-2.0 */
#include "store/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_LEN = 4096, COPY_BYTES = 64 * 1024 };

static enum rc failed(char error[ENGINE_ERROR_MAX], const char *path)
{
    int number = errno;
    snprintf(error, ENGINE_ERROR_MAX, "%.300s: %s", path, strerror(number));
    return number == ENOSPC || number == EDQUOT ? RC_FULL : RC_IO;
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

/* RC_IO: it cannot be read, RC_FULL: not written. */
static enum rc copy_bytes(int from, int to)
{
    char bytes[COPY_BYTES];
    ssize_t got;
    while ((got = read(from, bytes, sizeof(bytes))) > 0)
        if (write(to, bytes, (size_t)got) != got)
            return RC_FULL;
    return got < 0 ? RC_IO : RC_OK;
}

static enum rc copy_file(const char *from, const char *to)
{
    int source = open(from, O_RDONLY | O_CLOEXEC);
    if (source < 0)
        return RC_IO;
    int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    enum rc rc = target < 0 ? RC_FULL : copy_bytes(source, target);
    if (rc == RC_OK && fsync(target) != 0)
        rc = RC_FULL;
    int number = errno;
    close(source);
    if (target >= 0)
        close(target);
    errno = number;
    return rc;
}

enum rc folder_link(const char *from, const char *to)
{
    if (access(from, R_OK) != 0)
        return RC_IO;
    return link(from, to) == 0 ? RC_OK : copy_file(from, to);
}

static bool is_of_store(const char *name)
{
    return ends_with(name, ".sst") || ends_with(name, ".blob") || ends_with(name, ".log") ||
           strncmp(name, "MANIFEST-", 9) == 0 || strcmp(name, "CURRENT") == 0 ||
           strcmp(name, "IDENTITY") == 0 || strncmp(name, "OPTIONS-", 8) == 0;
}

enum rc folder_copy_store(const char *from, const char *to,
                          void (*unreadable)(void *arg, const char *name, const char *error),
                          void *arg, char error[ENGINE_ERROR_MAX])
{
    char source[PATH_LEN + 256], target[PATH_LEN + 256];
    enum rc rc = RC_OK;
    DIR *folder = opendir(from);
    if (folder == NULL)
        return failed(error, from);
    if (mkdir(to, 0700) != 0)
        rc = failed(error, to);
    for (struct dirent *entry; rc == RC_OK && (entry = readdir(folder)) != NULL;) {
        const char *name = entry->d_name;
        if (!is_of_store(name))
            continue;
        snprintf(source, sizeof(source), "%s/%s", from, name);
        snprintf(target, sizeof(target), "%s/%s", to, name);
        bool constant = ends_with(name, ".sst") || ends_with(name, ".blob");
        enum rc copied = constant ? folder_link(source, target) : copy_file(source, target);
        if (copied == RC_IO)
            unreadable(arg, name, strerror(errno));
        else if (copied != RC_OK)
            rc = failed(error, target);
    }
    closedir(folder);
    if (rc == RC_OK && folder_sync(to) != RC_OK)
        rc = failed(error, to);
    return rc;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
    (void)status, (void)flag, (void)ftw;
    return remove(path);
}

enum rc folder_remove(const char *path, char error[ENGINE_ERROR_MAX])
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return RC_OK;
    return failed(error, path);
}

enum rc folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return RC_IO;
    enum rc rc = fsync(fd) == 0 ? RC_OK : RC_IO;
    close(fd);
    return rc;
}

bool folder_empty(const char *path)
{
    DIR *folder = opendir(path);
    bool empty = true;
    if (folder == NULL)
        return errno == ENOENT;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        empty &= strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(folder);
    return empty;
}
