/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: the API on a unix socket in the data directory. Main thread. */
#ifndef BROKER_CONTROL_H
#define BROKER_CONTROL_H

#include <limits.h>

#define CONTROL_SOCKET "control.sock"

struct broker;
struct admin_server;

struct control {
    int fd; /* listening, until control_start() */
    struct admin_server *server;
    char path[PATH_MAX];
};

/* Makes the socket, for its owner alone. Gives BROKER_EXIT_OK, or the exit code after having said
 * what is wrong: another broker uses this data directory, or the socket cannot be made. */
int control_open(struct control *control, const char *data_dir);

/* Answers from now on. The workers run. */
void control_start(struct control *control, struct broker *broker);

/* Finishes what was asked, while the workers still run, and removes the socket. */
void control_stop(struct control *control);

/* After the workers have ended. */
void control_deinit(struct control *control);

#endif
