/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a good store of a damaged one. Works on a copy (links, for what does not change); the
 * damaged store is only renamed, at the very end. Tried in this order, each for what the ones
 * before could not read:
 *
 *      1  the store as it is, read around what is damaged; logs are mended first
 *      2  the tables and logs one by one, without the engine and without the index: of each key the
 *         newest counts. What is not whole is left out, but for sessions and subscriptions: who
 *         they are decides over whole queues
 *      3  the blob files, record by record
 *
 * Then what belongs to nobody is taken out, so that the new store is whole in itself. Space for a
 * second store is needed.
 */
#ifndef STORE_SALVAGE_H
#define STORE_SALVAGE_H

#include "store/audit.h"
#include "store/durable.h"

enum { SALVAGE_PATH_MAX = STORE_PATH_MAX + 64 };

struct salvaged {
    char aside[SALVAGE_PATH_MAX]; /* where the damaged store is now */
    char list[SALVAGE_PATH_MAX];  /* what was lost */
    uint64_t losses;              /* lines in it */
    struct audit_count counts[AUDIT_KINDS];
    uint32_t shards;
    bool shards_unknown; /* it could not be read: the most likely number was taken */
};

/* The store in `data_dir`/store. RC_EXISTS: a broker uses it. RC_NOT_FOUND: there is none.
 * RC_REFUSED: of a newer version. RC_FULL, RC_IO; then nothing has been changed. `shards`: if the
 * store does not say. */
enum rc salvage(const char *data_dir, uint32_t shards, struct salvaged *out,
                char error[ENGINE_ERROR_MAX]);

#endif
