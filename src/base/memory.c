/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include "base/check.h"
#include "base/fault.h"

#include <stdlib.h>
#include <sys/mman.h>

void *mem_new(size_t size)
{
    void *block = calloc(1, size);
    CHECK(block != NULL);
    return block;
}

void *mem_try(size_t size)
{
    return fault_fails("memory") ? NULL : malloc(size);
}

void *mem_resize(void *old, size_t size)
{
    void *block = realloc(old, size);
    CHECK(block != NULL);
    return block;
}

void *mem_try_resize(void *old, size_t size)
{
    return fault_fails("memory") ? NULL : realloc(old, size);
}

void mem_free(void *block)
{
    free(block);
}

void *mem_new_pages(size_t size)
{
    CHECK(size % MEM_PAGES == 0);
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    return pages;
}

void mem_free_pages(void *pages, size_t size)
{
    CHECK(munmap(pages, size) == 0);
}

void mem_hint_all_used(void *pages, size_t size)
{
    (void)madvise(pages, size, MADV_HUGEPAGE); /* a system without them gives small ones */
}
