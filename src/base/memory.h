/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two kinds of allocation: sizes fixed by us abort when memory is gone (there is nothing
 * sensible left to do), sizes that a peer chose may fail and are answered with a reason code.
 * Any thread.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* Gives `size` zeroed bytes; aborts when there are none. For sizes that no peer can choose. */
void *mem_new(size_t size) __attribute__((malloc, returns_nonnull));

/* Gives `size` bytes, not zeroed, or NULL. For sizes that a peer can choose. */
void *mem_try(size_t size) __attribute__((malloc));

/* Takes `old` and gives a block of `size` bytes with its contents; aborts when there are none. */
void *mem_resize(void *old, size_t size) __attribute__((returns_nonnull));

/* As mem_resize, but gives NULL and leaves `old` as it is when there is no memory. */
void *mem_try_resize(void *old, size_t size);

/* Takes `block`; NULL is fine. */
void mem_free(void *block);

/*
 * Whole pages for large tables: zeroed at their first use and not before, so that getting them
 * takes no time, and given back to the system at once. Any part that is whole pages may be given
 * back by itself. Sizes are multiples of MEM_PAGES; aborts when there are none.
 */
enum { MEM_PAGES = 64 * 1024 };

void *mem_new_pages(size_t size) __attribute__((returns_nonnull));
void mem_free_pages(void *pages, size_t size);

/* All of it will be used, and soon: the system may give it in larger pieces. */
void mem_hint_all_used(void *pages, size_t size);

/*
 * After start-up: gives back the pages of the program and its libraries that are as in their files,
 * most of which only starting needed. What is used again comes back by itself, from the system's
 * page cache as a rule.
 */
void mem_release_code(void);

#define NEW(type) ((type *)mem_new(sizeof(type)))

#endif
