/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `skein store`, one file for what belongs together. */
#ifndef CLI_STORE_H
#define CLI_STORE_H

#include "store/durable.h"
#include "store/engine.h"

#include <stdbool.h>
#include <stdint.h>

struct store_args {
    const char *paths[2]; /* what stands behind the action; NULL: not given */
    const char *data_dir; /* -d */
    bool json, force;
    uint32_t shards; /* 0: not given */
};

/* Each gives the exit code. */
int store_check(const struct store_args *args);
int store_stats(const struct store_args *args);
int store_salvage(const struct store_args *args);
int store_backup(const struct store_args *args);
int store_restore(const struct store_args *args);
int store_export(const struct store_args *args);
int store_import(const struct store_args *args);

/* ---- what they share: store.c ------------------------------------------------------------------
 */

/* A store that was opened to be read, and kept from brokers meanwhile. */
struct opened_store {
    char dir[STORE_PATH_MAX];
    struct engine *engine;
    int lock;
};

/* The store in `data_dir`. 0 (EX_OK), or the exit code; what is wrong was printed, with what helps.
 */
int store_open_to_read(const char *data_dir, struct opened_store *out);
void store_close_read(struct opened_store *opened);

/* Prints what is wrong with a store and the command that helps; gives the exit code. */
int store_explain(const char *data_dir, enum rc rc, const char *error);

/* Brings what was made in `work` to `target`, which may hold what is older: that is set aside when
 * `force`, else it is an error. Gives the exit code. */
int store_put_in_place(const char *work, const char *target, bool force);

#endif
