/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/check.h"
#include "base/memory.h"

/*
 * A large table is not moved at once, which would take milliseconds: until all is moved there are
 * two, and each insert and removal moves some slots of the old one. It is full enough never to need
 * another move before: after growing, 3/4 of the old capacity are inserted before the table is full
 * again, after shrinking, 1/16 is removed before it is empty enough again.
 */
enum { MAP_CAPACITY_MIN = 8, MAP_MOVES = 32 };

/* Stands in the old table where an element was, so that what lies behind it is still found. */
static const char gone;
#define GONE ((void *)(uintptr_t)&gone)

void map_deinit(struct map *map)
{
    mem_free(map->slots);
    mem_free(map->old);
    map_init(map);
}

void *map_find(const struct map *map, uint64_t hash, map_match_fn *match, const void *key)
{
    if (map->capacity == 0)
        return NULL;
    size_t mask = map->capacity - 1;
    for (size_t i = hash & mask; map->slots[i].element != NULL; i = (i + 1) & mask)
        if (map->slots[i].hash == hash && match(map->slots[i].element, key))
            return map->slots[i].element;
    if (map->old == NULL)
        return NULL;
    mask = map->old_capacity - 1;
    for (size_t i = hash & mask; map->old[i].element != NULL; i = (i + 1) & mask)
        if (map->old[i].hash == hash && map->old[i].element != GONE &&
            match(map->old[i].element, key))
            return map->old[i].element;
    return NULL;
}

static void put(struct map *map, uint64_t hash, void *element)
{
    size_t mask = map->capacity - 1;
    size_t i = hash & mask;
    while (map->slots[i].element != NULL)
        i = (i + 1) & mask;
    map->slots[i] = (struct map_slot){.hash = hash, .element = element};
}

/* Moves up to `max` slots of the old table. */
static void move_some(struct map *map, size_t max)
{
    if (map->old == NULL)
        return;
    for (; max > 0 && map->moved < map->old_capacity; max--) {
        struct map_slot *slot = &map->old[map->moved++];
        if (slot->element == NULL || slot->element == GONE)
            continue;
        put(map, slot->hash, slot->element);
        slot->element = GONE;
    }
    if (map->moved < map->old_capacity)
        return;
    mem_free(map->old);
    map->old = NULL;
}

static void resize(struct map *map, size_t capacity)
{
    move_some(map, SIZE_MAX); /* nothing, as a rule: see above */
    map->old = map->slots;
    map->old_capacity = map->capacity;
    map->moved = 0;
    map->slots = mem_new(capacity * sizeof(*map->slots));
    map->capacity = capacity;
}

void map_insert(struct map *map, uint64_t hash, void *element)
{
    CHECK(element != NULL);
    if ((map->count + 1) * 4 > map->capacity * 3)
        resize(map, map->capacity == 0 ? MAP_CAPACITY_MIN : map->capacity * 2);
    move_some(map, MAP_MOVES);
    put(map, hash, element);
    map->count++;
}

/* Moves back what was pushed on by the element that left slot `hole`, so that no tombs are needed.
 */
static void close_hole(struct map *map, size_t hole)
{
    size_t mask = map->capacity - 1;
    for (size_t i = (hole + 1) & mask; map->slots[i].element != NULL; i = (i + 1) & mask) {
        size_t home = map->slots[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* it sits between the hole and its home */
        map->slots[hole] = map->slots[i];
        hole = i;
    }
    map->slots[hole] = (struct map_slot){0};
}

/* The slot of the element in a table; NULL when it is not there. */
static struct map_slot *slot_of(struct map_slot *slots, size_t capacity, uint64_t hash,
                                const void *element)
{
    size_t i = hash & (capacity - 1);
    while (slots[i].element != element) {
        if (slots[i].element == NULL)
            return NULL;
        i = (i + 1) & (capacity - 1);
    }
    return &slots[i];
}

void map_remove(struct map *map, uint64_t hash, const void *element)
{
    CHECK(map->count > 0);
    struct map_slot *slot = slot_of(map->slots, map->capacity, hash, element);
    if (slot != NULL) {
        close_hole(map, (size_t)(slot - map->slots));
    } else {
        CHECK(map->old != NULL);
        slot = slot_of(map->old, map->old_capacity, hash, element);
        CHECK(slot != NULL);
        slot->element = GONE;
    }
    map->count--;
    move_some(map, MAP_MOVES);
    if (map->capacity > MAP_CAPACITY_MIN * 4 && map->count * 8 < map->capacity)
        resize(map, map->capacity / 2);
}

void *map_next(const struct map *map, size_t *cursor)
{
    while (*cursor < map->capacity) {
        void *element = map->slots[(*cursor)++].element;
        if (element != NULL)
            return element;
    }
    while (map->old != NULL && *cursor < map->capacity + map->old_capacity) {
        void *element = map->old[(*cursor)++ - map->capacity].element;
        if (element != NULL && element != GONE)
            return element;
    }
    return NULL;
}
