/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `skein cluster`, one file for each action that is more than a few lines. */
#ifndef CLI_CLUSTER_H
#define CLI_CLUSTER_H

#include <stdbool.h>

enum { CLUSTER_FILES_MAX = 64 };

struct cluster_args {
    const char *files[CLUSTER_FILES_MAX]; /* -c, in their order */
    int file_count;
    const char *data_dir; /* -d; NULL: not given */
    const char *listen;   /* --listen; NULL: not given */
    const char *node;     /* of drain, undrain, remove, and --without; NULL: not given */
    bool by_client_id;
    bool json;
};

/* The broker that runs on the data directory is asked; exit codes as of control_ask(). */
int cluster_ask_init(const struct cluster_args *args);
int cluster_show_status(const struct cluster_args *args);
int cluster_show_members(const struct cluster_args *args);
int cluster_show_shards(const struct cluster_args *args);
int cluster_drain(const struct cluster_args *args);
int cluster_undrain(const struct cluster_args *args);
int cluster_rebalance(const struct cluster_args *args);
int cluster_remove(const struct cluster_args *args);
int cluster_recover(const struct cluster_args *args);

/* Prints the configuration of an HAProxy in front of the nodes. Gives the exit code. */
int cluster_haproxy(const struct cluster_args *args);

#endif
