/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of a replicated store as it is at one moment, to be given to another node: all records of
 * its shards, in chunks, and where in its changelog that is. Opened, read and closed on one thread,
 * which is none of the store's own; reading waits for the disk.
 *
 * Limits: a chunk has IMAGE_CHUNK bytes and its last record.
 */
#ifndef STORE_IMAGE_H
#define STORE_IMAGE_H

#include "store/replicated.h"

enum { IMAGE_CHUNK = 256 * 1024 };

struct store_image;

/* RC_NOT_FOUND: the group is not whole here, or nothing has ever been in its changelog. RC_IO: the
 * store does not work. RC_INVALID: damaged. */
MUST_USE enum rc store_image_open(struct store *store, uint32_t group, struct store_image **out,
                                  struct store_position *position);

/* What is there of one family, whole or not. RC_IO. */
MUST_USE enum rc store_image_open_family(struct store *store, uint32_t group,
                                         enum store_family family, struct store_image **out);

/* The next records as a serialised write batch, borrowed until the next call. RC_NOT_FOUND: that
 * was all. RC_IO: the engine has been opened again meanwhile. RC_INVALID: damaged. */
MUST_USE enum rc store_image_next(struct store_image *image, struct bytes *chunk);

/* Before the store is closed. NULL is fine. */
void store_image_close(struct store_image *image);

/* Whether a chunk that another node has sent has nothing but records of that group. Gives how many.
 * Pure. */
bool store_image_fits(struct bytes chunk, uint32_t group, uint32_t groups, uint32_t shards,
                      uint32_t *records);

#endif
