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

#define NEW(type) ((type *)mem_new(sizeof(type)))

#endif
