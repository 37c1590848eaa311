/* SPDX-License-Identifier: Apache-2.0 */
#include "net/out_pool.h"

#include "base/check.h"
#include "base/memory.h"
#include "model/message.h"

enum { OUT_CLASS_NONE = OUT_CLASSES }; /* made to measure, never pooled */

/* Whole allocations, header included; the last one fits 64 KiB and a packet header. */
static const uint32_t class_size[OUT_CLASSES] = {2 * 1024, 16 * 1024, 66 * 1024};

struct out_pool {
    struct out_chunk *free[OUT_CLASSES];
    uint32_t count[OUT_CLASSES];
    uint32_t least[OUT_CLASSES]; /* the smallest count since out_pool_shrink() */
};

struct out_pool *out_pool_new(void)
{
    return NEW(struct out_pool);
}

void out_pool_free(struct out_pool *pool)
{
    if (pool == NULL)
        return;
    for (unsigned i = 0; i < OUT_CLASSES; i++) {
        struct out_chunk *next;
        for (struct out_chunk *chunk = pool->free[i]; chunk != NULL; chunk = next) {
            next = chunk->next;
            mem_free(chunk);
        }
    }
    mem_free(pool);
}

size_t out_pool_free_bytes(const struct out_pool *pool)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < OUT_CLASSES; i++)
        bytes += (size_t)pool->count[i] * class_size[i];
    return bytes;
}

struct out_chunk *out_chunk_take(struct out_pool *pool, unsigned size_class, size_t size)
{
    struct out_chunk *chunk;
    size_t whole = size + sizeof(*chunk);

    CHECK(size < UINT32_MAX - sizeof(*chunk));
    while (size_class < OUT_CLASSES && class_size[size_class] < whole)
        size_class++;
    if (size_class < OUT_CLASSES) {
        whole = class_size[size_class];
        chunk = pool->free[size_class];
        if (chunk != NULL) {
            pool->free[size_class] = chunk->next;
            if (--pool->count[size_class] < pool->least[size_class])
                pool->least[size_class] = pool->count[size_class];
            goto out;
        }
    }
    chunk = mem_try(whole);
    if (chunk == NULL)
        return NULL;
out:
    *chunk = (struct out_chunk){
        .room = (uint32_t)(whole - sizeof(*chunk)),
        .size_class = (uint8_t)size_class,
    };
    return chunk;
}

void out_chunk_put(struct out_pool *pool, struct out_chunk *chunk)
{
    unsigned size_class = chunk->size_class;

    message_drop(chunk->message);
    if (size_class == OUT_CLASS_NONE ||
        pool->count[size_class] >= OUT_POOL_BYTES_MAX / class_size[size_class]) {
        mem_free(chunk);
        return;
    }
    chunk->next = pool->free[size_class];
    pool->free[size_class] = chunk;
    pool->count[size_class]++;
}

void out_pool_shrink(struct out_pool *pool)
{
    for (unsigned i = 0; i < OUT_CLASSES; i++) {
        for (; pool->least[i] > 0; pool->least[i]--) {
            struct out_chunk *chunk = pool->free[i];
            pool->free[i] = chunk->next;
            pool->count[i]--;
            mem_free(chunk);
        }
        pool->least[i] = pool->count[i];
    }
}
