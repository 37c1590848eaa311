/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening on a unix socket, and connecting to one. The descriptors are used with listener_start()
 * and stream_open() as those of TCP are. A path that is longer than the kernel's sun_path is bound
 * through /proc/self/fd, so only the file's own name has a limit. Any thread.
 */
#ifndef NET_UNIX_SOCKET_H
#define NET_UNIX_SOCKET_H

#include "base/rc.h"

#include <sys/types.h>

/*
 * Gives a listening, non-blocking descriptor, or -1 with errno. The file never has other
 * permissions than `mode`, less the umask. A file that a process left behind when it was killed is
 * replaced; EADDRINUSE: somebody answers there, or it is not a socket. Whoever closes the
 * descriptor removes the file.
 */
MUST_USE int unix_socket_listen(const char *path, mode_t mode, int backlog);

/* Gives a connected, blocking descriptor, or -1 with errno: ENOENT, ECONNREFUSED (nobody listens).
 */
MUST_USE int unix_socket_connect(const char *path);

#endif
