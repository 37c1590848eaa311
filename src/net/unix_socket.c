/* SPDX-License-Identifier: Apache-2.0 */
#include "net/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* How to name a path to the kernel: as it is, or by way of a descriptor of its folder. */
struct place {
    struct sockaddr_un address;
    int folder; /* -1: not needed */
};

static bool place_directly(struct place *place, const char *path, size_t len)
{
    if (len >= sizeof(place->address.sun_path))
        return false;
    memcpy(place->address.sun_path, path, len + 1);
    return true;
}

/* "/proc/self/fd/7/control.sock" */
static bool place_through_folder(struct place *place, const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[4096];
    int len;

    if (slash == NULL || slash == path || (size_t)(slash - path) >= sizeof(folder))
        return false;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    place->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place->folder < 0)
        return false;
    len = snprintf(place->address.sun_path, sizeof(place->address.sun_path), "/proc/self/fd/%d/%s",
                   place->folder, slash + 1);
    if (len > 0 && (size_t)len < sizeof(place->address.sun_path))
        return true;
    close(place->folder);
    errno = ENAMETOOLONG;
    return false;
}

static bool place_find(struct place *place, const char *path)
{
    *place = (struct place){.address.sun_family = AF_UNIX, .folder = -1};
    errno = ENAMETOOLONG;
    return place_directly(place, path, strlen(path)) || place_through_folder(place, path);
}

static const struct sockaddr *place_address(const struct place *place)
{
    return (const struct sockaddr *)&place->address;
}

/* Closes what was opened, *fd too unless all is well; errno stays. */
static void place_leave(struct place *place, int *fd, bool well)
{
    int error = errno;

    if (place->folder >= 0)
        close(place->folder);
    if (!well && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    errno = error;
}

int unix_socket_connect(const char *path)
{
    struct place place;
    int fd;

    if (!place_find(&place, path))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    place_leave(&place, &fd,
                fd >= 0 && connect(fd, place_address(&place), sizeof(place.address)) == 0);
    return fd;
}

/* Whether the file at `path` may be replaced: a socket, and nobody listens on it. */
static bool is_stale(const char *path)
{
    struct stat status;
    int fd;

    if (lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    fd = unix_socket_connect(path);
    if (fd >= 0)
        close(fd);
    return fd < 0 && errno == ECONNREFUSED;
}

static bool bind_replacing(int fd, const struct place *place, const char *path)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (bind(fd, place_address(place), sizeof(place->address)) == 0)
            return true;
        if (errno != EADDRINUSE)
            return false;
        if (!is_stale(path) || unlink(path) != 0) {
            errno = EADDRINUSE;
            return false;
        }
    }
    return false;
}

int unix_socket_listen(const char *path, mode_t mode, int backlog)
{
    struct place place;
    int fd;

    if (!place_find(&place, path))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Linux gives the file that bind() makes the mode that the socket has by then: there is no
     * moment in which others could open it, and no need to change the umask of all threads. */
    place_leave(&place, &fd,
                fd >= 0 && fchmod(fd, mode) == 0 && bind_replacing(fd, &place, path) &&
                    listen(fd, backlog) == 0);
    return fd;
}
