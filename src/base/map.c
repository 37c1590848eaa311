/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/check.h"
#include "base/memory.h"

enum { MAP_CAPACITY_MIN = 8 };

void map_deinit(struct map *map)
{
    mem_free(map->slots);
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

static void resize(struct map *map, size_t capacity)
{
    struct map old = *map;
    map->slots = mem_new(capacity * sizeof(*map->slots));
    map->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].element != NULL)
            put(map, old.slots[i].hash, old.slots[i].element);
    mem_free(old.slots);
}

void map_insert(struct map *map, uint64_t hash, void *element)
{
    CHECK(element != NULL);
    if ((map->count + 1) * 4 > map->capacity * 3)
        resize(map, map->capacity == 0 ? MAP_CAPACITY_MIN : map->capacity * 2);
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

void map_remove(struct map *map, uint64_t hash, const void *element)
{
    CHECK(map->count > 0);
    size_t mask = map->capacity - 1;
    size_t i = hash & mask;
    while (map->slots[i].element != element) {
        CHECK(map->slots[i].element != NULL);
        i = (i + 1) & mask;
    }
    close_hole(map, i);
    map->count--;
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
    return NULL;
}
