/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over the records of a store that nobody writes to, around what cannot be read: behind a
 * bad block the next key that can be read is looked for by bisection, so the gap is as small as the
 * block. Any thread; in bounded memory.
 */
#ifndef STORE_WALK_H
#define STORE_WALK_H

#include "store/engine.h"
#include "store/record.h"

struct walk {
    /* One pair, borrowed. RC_OK: go on. Else the walk ends with that. */
    enum rc (*record)(struct walk *walk, enum store_family family, struct bytes key,
                      struct bytes value);
    /* from <= key < until cannot be read; `until` empty: to the end. NULL: the walk ends with
     * RC_INVALID at the first gap. */
    enum rc (*gap)(struct walk *walk, enum store_family family, struct bytes from,
                   struct bytes until, const char *error);
};

/* All keys from <= key < until; both empty: all of the family. */
enum rc walk_range(struct engine *engine, struct walk *walk, enum store_family family,
                   struct bytes from, struct bytes until);

/* All records of a kind of a shard. */
enum rc walk_kind(struct engine *engine, struct walk *walk, enum store_family family,
                  uint32_t shard, enum record_kind kind);

#endif
