/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include "base/check.h"

#include <stdlib.h>

void *mem_new(size_t size)
{
    void *block = calloc(1, size);
    CHECK(block != NULL);
    return block;
}

void *mem_try(size_t size)
{
    return malloc(size);
}

void *mem_resize(void *old, size_t size)
{
    void *block = realloc(old, size);
    CHECK(block != NULL);
    return block;
}

void *mem_try_resize(void *old, size_t size)
{
    return realloc(old, size);
}

void mem_free(void *block)
{
    free(block);
}
