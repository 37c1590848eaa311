/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output chunks and the loop's pool of them. A chunk is some bytes, then perhaps a payload that is
 * referenced. Chunks come in three sizes, so that a stream with one small packet holds 2 KiB for
 * the turn and a busy one gets few large ones; freed chunks wait in the pool of their loop, up to
 * OUT_POOL_BYTES_MAX of each size, and those that nobody needs for OUT_POOL_IDLE_MS are given back.
 * Inside net only.
 */
#ifndef NET_OUT_POOL_H
#define NET_OUT_POOL_H

#include "net/stream.h"

enum {
    OUT_CLASSES = 3,
    OUT_POOL_BYTES_MAX = 1024 * 1024, /* kept free, of each size */
    OUT_POOL_IDLE_MS = 500,
};

struct out_pool;

struct out_pool *out_pool_new(void);
void out_pool_free(struct out_pool *pool);

/* Gives an empty, sealed chunk with room for at least `size` bytes, of `size_class` (0: 2 KiB, 1:
 * 16 KiB, 2: 64 KiB and a little) or larger; NULL when there is no memory. */
struct out_chunk *out_chunk_take(struct out_pool *pool, unsigned size_class, size_t size);

/* Takes the chunk and drops the message that it refers to. */
void out_chunk_put(struct out_pool *pool, struct out_chunk *chunk);

/* Gives back what was free all the time since the last call. */
void out_pool_shrink(struct out_pool *pool);

/* Memory of all free chunks. */
size_t out_pool_free_bytes(const struct out_pool *pool);

/* Bytes of the chunk that are still to be sent. */
static inline size_t out_chunk_left(const struct out_chunk *chunk)
{
    return chunk->used + chunk->external.len - chunk->sent;
}

/* stream_reserve() appends to this chunk without asking, as long as there is room. */
static inline void out_chunk_unseal(struct out_chunk *chunk)
{
    chunk->limit = chunk->room;
}

/* stream_reserve() has to ask. */
static inline void out_chunk_seal(struct out_chunk *chunk)
{
    chunk->limit = 0;
}

#endif
