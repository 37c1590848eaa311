/* SPDX-License-Identifier: Apache-2.0 */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum rc store_lock_take(const char *dir, int *fd)
{
    char path[4096];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(path, sizeof(path), "%s/LOCK", dir);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return errno == ENOENT ? RC_NOT_FOUND : RC_IO;
    if (fcntl(*fd, F_SETLK, &lock) == 0)
        return RC_OK;
    enum rc rc = errno == EAGAIN || errno == EACCES ? RC_EXISTS : RC_IO;
    close(*fd);
    return rc;
}

void store_lock_drop(int fd)
{
    close(fd);
}
