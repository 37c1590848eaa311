/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct element {
    uint32_t key;
    bool in;
};

static bool key_matches(const void *element, const void *key)
{
    return ((const struct element *)element)->key == *(const uint32_t *)key;
}

static struct element *find(const struct map *map, uint64_t hash, uint32_t key)
{
    return map_find(map, hash, key_matches, &key);
}

static void map_find_in_an_empty_map_gives_null(void **state)
{
    struct map map;
    (void)state;
    map_init(&map);
    assert_null(find(&map, 1, 1));
}

static void map_tells_elements_with_one_hash_apart_by_their_key(void **state)
{
    struct map map;
    struct element a = {.key = 1}, b = {.key = 2};
    (void)state;
    map_init(&map);
    map_insert(&map, 7, &a);
    map_insert(&map, 7, &b);
    assert_ptr_equal(find(&map, 7, 1), &a);
    assert_ptr_equal(find(&map, 7, 2), &b);
    assert_null(find(&map, 7, 3));
    assert_null(find(&map, 8, 1));
    map_deinit(&map);
}

/* Hashes that all fall on few slots of any size, some of them at the end of the table. */
static uint64_t clustering_hash(uint32_t key)
{
    return key % 5 == 0 ? UINT64_MAX - key % 3 : (uint64_t)(key % 7) << 40 | key % 7;
}

static uint64_t spread_hash(uint32_t key)
{
    return key * 0x9E3779B97F4A7C15u;
}

/* Pushes many past the end of a table of any size. */
static uint64_t high_hash(uint32_t key)
{
    return UINT64_MAX - key % 4096;
}

static void compare(const struct map *map, const struct element *model, uint32_t count,
                    uint64_t (*hash)(uint32_t))
{
    size_t in = 0, seen = 0, cursor = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct element *found = find(map, hash(i), i);
        assert_ptr_equal(found, model[i].in ? &model[i] : NULL);
        in += model[i].in;
    }
    assert_int_equal(map->count, in);
    while (map_next(map, &cursor) != NULL)
        seen++;
    assert_int_equal(seen, in);
}

static void run_against_model(uint32_t count, uint64_t (*hash)(uint32_t))
{
    struct element *model = calloc(count, sizeof(*model));
    struct map map;
    unsigned seed = 4711;
    map_init(&map);
    for (uint32_t i = 0; i < count; i++)
        model[i].key = i;
    for (int step = 0; step < 20000; step++) {
        uint32_t limit = step < 10000 ? count : count / 8 + 1; /* grows, then is emptied */
        struct element *e = &model[(uint32_t)rand_r(&seed) % count];
        if (e->in)
            map_remove(&map, hash(e->key), e);
        else if (e->key < limit)
            map_insert(&map, hash(e->key), e);
        else
            continue;
        e->in = !e->in;
        if (step % 500 == 0)
            compare(&map, model, count, hash);
    }
    compare(&map, model, count, hash);
    map_deinit(&map);
    free(model);
}

static void map_behaves_like_a_set_with_spread_hashes(void **state)
{
    (void)state;
    run_against_model(1000, spread_hash);
}

/* Large enough to be moved in steps, and often looked at while that goes on. */
static void map_behaves_like_a_set_while_it_moves(void **state)
{
    (void)state;
    run_against_model(20000, spread_hash);
    run_against_model(20000, high_hash);
}

static void map_change_never_moves_a_large_table_at_once(void **state)
{
    enum { COUNT = 200000, SLOTS_MAX = 64 };
    struct element *elements = calloc(COUNT, sizeof(*elements));
    struct map map;
    size_t moves = 0;
    (void)state;
    map_init(&map);
    for (uint32_t i = 0; i < 2 * COUNT; i++) {
        struct map before = map;
        if (i < COUNT)
            map_insert(&map, spread_hash(i), &elements[i]);
        else
            map_remove(&map, spread_hash(i - COUNT), &elements[i - COUNT]);
        if (before.old.slots != NULL && map.old.slots == before.old.slots)
            assert_in_range(map.moved - before.moved, 1, SLOTS_MAX);
        else if (before.old.slots != NULL)
            assert_in_range(before.old.capacity - before.moved, 1, SLOTS_MAX);
        else if (before.now.capacity > SLOTS_MAX * 32 && map.now.slots != before.now.slots)
            moves += map.old.slots == before.now.slots && map.moved == 0;
    }
    assert_true(moves >= 12); /* up from 4096 to 524288, and down again */
    assert_int_equal(map.count, 0);
    map_deinit(&map);
    free(elements);
}

static void map_behaves_like_a_set_when_hashes_collide(void **state)
{
    (void)state;
    run_against_model(60, clustering_hash);
}

static void map_gives_memory_back_when_it_empties(void **state)
{
    enum { COUNT = 4096 };
    static struct element elements[COUNT];
    struct map map;
    (void)state;
    map_init(&map);
    for (uint32_t i = 0; i < COUNT; i++)
        map_insert(&map, spread_hash(i), &elements[i]);
    size_t full = map.now.capacity;
    assert_true(full >= COUNT && full <= COUNT * 8 / 3);
    for (uint32_t i = 0; i < COUNT; i++)
        map_remove(&map, spread_hash(i), &elements[i]);
    assert_true(map.now.capacity <= full / 64);
    map_deinit(&map);
    assert_null(map.now.slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_find_in_an_empty_map_gives_null),
        cmocka_unit_test(map_tells_elements_with_one_hash_apart_by_their_key),
        cmocka_unit_test(map_behaves_like_a_set_with_spread_hashes),
        cmocka_unit_test(map_behaves_like_a_set_while_it_moves),
        cmocka_unit_test(map_change_never_moves_a_large_table_at_once),
        cmocka_unit_test(map_behaves_like_a_set_when_hashes_collide),
        cmocka_unit_test(map_gives_memory_back_when_it_empties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
