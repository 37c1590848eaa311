/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash set of pointers, open addressing with linear probing; the elements live elsewhere and
 * carry their own keys. 16 bytes a slot; at most 8/3 slots an element while it grows, 8 after
 * removals, and the half or the double of that while a large table moves. A table that grows or
 * shrinks moves a few slots with each change, so that no single change takes long. One thread.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t hash;
    void *element; /* NULL: free */
};

struct map_table {
    struct map_slot *slots; /* NULL until the first insert */
    size_t capacity;        /* power of two, or 0 */
};

struct map {
    struct map_table now;
    struct map_table old; /* what is still in here moves to `now`; mostly without slots */
    size_t moved;         /* slots of `old` before this one are done with */
    size_t count;
};

/* True when `element` has the key that the caller looks for. */
typedef bool map_match_fn(const void *element, const void *key);

static inline void map_init(struct map *map)
{
    *map = (struct map){0};
}

/* Frees the slots; the elements are the caller's. */
void map_deinit(struct map *map);

/* The element with this hash that matches, borrowed; NULL when there is none. */
void *map_find(const struct map *map, uint64_t hash, map_match_fn *match, const void *key);

/* Shares nothing: keeps the pointer only. The caller knows that no equal element is in. O(1), and
 * memory for a new table when 3/4 of the slots are taken. */
void map_insert(struct map *map, uint64_t hash, void *element);

/* Takes the element out; it must be in. Shrinks the table when it is an eighth full. */
void map_remove(struct map *map, uint64_t hash, const void *element);

/* Iterates: start with *cursor = 0; NULL at the end. The map must not change in between, so collect
 * first when removing. */
void *map_next(const struct map *map, size_t *cursor);

#endif
