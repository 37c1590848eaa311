/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include "base/check.h"
#include "base/fault.h"

#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* Segments that cannot be written have nothing that the file has not. */
static int release_object(struct dl_phdr_info *object, size_t size, void *arg)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)size;
    (void)arg;
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0)
            continue;
        uintptr_t begin = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = object->dlpi_addr + segment->p_vaddr + segment->p_memsz;
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* else they stay: no harm */
    }
    return 0;
}

void mem_release_code(void)
{
    (void)dl_iterate_phdr(release_object, NULL);
}
