/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/check.h"
#include "base/memory.h"

/* With each insert 8 slots move: a table that has doubled needs 2 to be done before it is full.
 * With each removal 32: one that has halved needs 16 before it halves again. */
enum {
    CAPACITY_MIN = 8,
    MOVE_AT_ONCE = 1024,
    MOVE_ON_INSERT = 8,
    MOVE_ON_REMOVE = 32,
    SLOTS_IN_PAGES = 64 * 1024, /* tables from here on are pages, given back in such pieces */
};

/* In the old table: something was here. */
#define TOMB ((void *)1)

/* ---- one table ---------------------------------------------------------------------------------
 */

static struct map_slot *slots_new(size_t capacity)
{
    size_t size = capacity * sizeof(struct map_slot);
    return capacity < SLOTS_IN_PAGES ? mem_new(size) : mem_new_pages(size);
}

/* Frees the slots from that one on. */
static void table_free(struct map_table *table, size_t from)
{
    if (table->capacity < SLOTS_IN_PAGES)
        mem_free(table->slots);
    else if (from < table->capacity)
        mem_free_pages(table->slots + from, (table->capacity - from) * sizeof(*table->slots));
    *table = (struct map_table){0};
}

/* The slot of the element with this hash that matches, NULL when there is none. What was before
 * `from` has gone elsewhere, and is passed over as if it were there. */
static struct map_slot *find_in(const struct map_table *table, size_t from, uint64_t hash,
                                map_match_fn *match, const void *key)
{
    if (table->capacity == 0)
        return NULL;
    size_t i = hash & (table->capacity - 1);
    if (i < from)
        i = from;
    for (size_t left = table->capacity - from; left > 0; left--) {
        struct map_slot *slot = &table->slots[i];
        if (slot->element == NULL)
            return NULL;
        if (slot->hash == hash && slot->element != TOMB && match(slot->element, key))
            return slot;
        if (++i == table->capacity)
            i = from;
    }
    return NULL;
}

static bool is_same(const void *element, const void *key)
{
    return element == key;
}

static void put(struct map_table *table, uint64_t hash, void *element)
{
    size_t mask = table->capacity - 1;
    size_t i = hash & mask;
    while (table->slots[i].element != NULL)
        i = (i + 1) & mask;
    table->slots[i] = (struct map_slot){.hash = hash, .element = element};
}

/* Moves back what was pushed on by the element that left slot `hole`, so that no tombs are needed.
 */
static void close_hole(struct map_table *table, size_t hole)
{
    size_t mask = table->capacity - 1;
    for (size_t i = (hole + 1) & mask; table->slots[i].element != NULL; i = (i + 1) & mask) {
        size_t home = table->slots[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* it sits between the hole and its home */
        table->slots[hole] = table->slots[i];
        hole = i;
    }
    table->slots[hole] = (struct map_slot){0};
}

/* ---- growing and shrinking ---------------------------------------------------------------------
 */

static void move_some(struct map *map, size_t slots)
{
    struct map_table *old = &map->old;
    for (; slots > 0 && map->moved < old->capacity; slots--) {
        const struct map_slot *slot = &old->slots[map->moved++];
        if (slot->element != NULL && slot->element != TOMB)
            put(&map->now, slot->hash, slot->element);
        if (map->moved % SLOTS_IN_PAGES == 0)
            mem_free_pages(old->slots + map->moved - SLOTS_IN_PAGES,
                           SLOTS_IN_PAGES * sizeof(*old->slots));
    }
    if (map->moved < old->capacity)
        return;
    table_free(old, map->moved);
    map->moved = 0;
}

static void resize(struct map *map, size_t capacity)
{
    move_some(map, SIZE_MAX); /* nothing is left by now: see above */
    map->old = map->now;
    map->now = (struct map_table){.slots = slots_new(capacity), .capacity = capacity};
    if (map->old.capacity <= MOVE_AT_ONCE)
        move_some(map, SIZE_MAX);
}

/* ---- the set -----------------------------------------------------------------------------------
 */

void map_deinit(struct map *map)
{
    table_free(&map->now, 0);
    table_free(&map->old, map->moved - map->moved % SLOTS_IN_PAGES);
    map_init(map);
}

void *map_find(const struct map *map, uint64_t hash, map_match_fn *match, const void *key)
{
    const struct map_slot *slot = find_in(&map->now, 0, hash, match, key);
    if (slot == NULL && map->old.capacity > 0)
        slot = find_in(&map->old, map->moved, hash, match, key);
    return slot == NULL ? NULL : slot->element;
}

void map_insert(struct map *map, uint64_t hash, void *element)
{
    CHECK(element != NULL && element != TOMB);
    move_some(map, MOVE_ON_INSERT);
    if ((map->count + 1) * 4 > map->now.capacity * 3)
        resize(map, map->now.capacity == 0 ? CAPACITY_MIN : map->now.capacity * 2);
    put(&map->now, hash, element);
    map->count++;
}

void map_remove(struct map *map, uint64_t hash, const void *element)
{
    move_some(map, MOVE_ON_REMOVE);
    struct map_slot *slot = find_in(&map->now, 0, hash, is_same, element);
    if (slot != NULL) {
        close_hole(&map->now, (size_t)(slot - map->now.slots));
    } else {
        slot = find_in(&map->old, map->moved, hash, is_same, element);
        CHECK(slot != NULL);
        slot->element = TOMB;
    }
    map->count--;
    if (map->now.capacity > CAPACITY_MIN * 4 && map->count * 8 < map->now.capacity)
        resize(map, map->now.capacity / 2);
}

void *map_next(const struct map *map, size_t *cursor)
{
    size_t left = map->old.capacity - map->moved; /* of the old table, then the new one */
    while (*cursor < left + map->now.capacity) {
        size_t i = (*cursor)++;
        void *element =
            i < left ? map->old.slots[map->moved + i].element : map->now.slots[i - left].element;
        if (element != NULL && element != TOMB)
            return element;
    }
    return NULL;
}
