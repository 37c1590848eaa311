/* SPDX-License-Identifier: Apache-2.0 */
/* What `skein pub` and `skein sub` have in common once they run: a loop with one client, signals
 * that end it, and the exit code that follows from how the connection ended. */
#ifndef CLI_CLIENT_RUN_H
#define CLI_CLIENT_RUN_H

#include "cli/client_args.h"
#include "client/client.h"

#include <uv.h>

enum {
    EXIT_TIMEOUT = 27, /* what mosquitto_sub -W ends with */
    DIAL_TIMEOUT_MS = 10 * 1000,
    REDIAL_FIRST_MS = 1000, /* doubles up to: */
    REDIAL_LAST_MS = 30 * 1000,
};

struct client_run {
    struct loop loop;
    struct client client;
    const struct client_args *args;
    const char *command; /* "pub", for messages */
    void *owner;
    bool (*turn)(void *owner); /* may be NULL */
    uv_signal_t interrupt, terminate;
    struct loop_timer redial;
    uint64_t redial_ms; /* the next pause */
    bool redials;       /* dial again when a connection that was up is lost */
    bool was_up;
    bool finished; /* the loop is ending */
    int exit_code;
};

/* Borrows args, ops and owner; ops->ended and ops->closed are to call the functions below. */
void client_run_init(struct client_run *run, const struct client_args *args, const char *command,
                     const struct client_ops *ops, void *owner);

/* Dials, runs until client_run_finish() and gives the exit code. */
int client_run(struct client_run *run);

/* Ends it all: says DISCONNECT when there is a connection. The first exit code that is not EX_OK
 * stays. */
void client_run_finish(struct client_run *run, int exit_code);

/* From ops->connected. */
void client_run_connected(struct client_run *run, const struct connack *connack);

/* From ops->ended: says on stderr what happened and remembers the exit code. */
void client_run_ended(struct client_run *run, enum client_end why, uint8_t reason);

/* From ops->closed: dials again, or stops the loop. */
void client_run_closed(struct client_run *run);

#endif
