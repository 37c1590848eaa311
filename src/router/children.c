/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The literal children of a node of the trie. Writers run under router->lock, except trie_child(),
 * which any thread may call: what it looks at is replaced as a whole and freed after a grace
 * period.
 */
#include "router/trie.h"

#include "base/check.h"
#include "base/memory.h"

#define LOAD(pointer) atomic_load_explicit((pointer), memory_order_acquire)
#define STORE(pointer, value) atomic_store_explicit((pointer), (value), memory_order_release)

enum {
    TABLE_MIN = 2,
    FIRST_SHIFT = 32 - CHILD_WAY_BITS, /* branches use the hash from above, tables from below */
    LAST_SHIFT = 14,
    SHRINK_FROM = 16,
    COLLAPSE_AT = 256, /* so few children need no branch */
};

/* ---- reading -----------------------------------------------------------------------------------
 */

/* The place in a branch of what has this hash. */
static _Atomic(struct child_table *) *way_of(struct child_table *branch, uint32_t hash)
{
    return &branch->slots[hash >> branch->filled & (CHILD_WAYS - 1)].table;
}

struct trie_node *trie_child(struct trie_node *node, struct bytes level)
{
    struct child_table *table = LOAD(&node->children);
    if (table == NULL)
        return NULL;
    uint32_t hash = level_hash(level);
    while (table->mask == 0)
        table = LOAD(way_of(table, hash));
    for (uint32_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        struct trie_node *child = LOAD(&table->slots[i].node);
        if (child == NULL)
            return NULL;
        if (child == TRIE_TOMB ||
            atomic_load_explicit(&table->slots[i].hash, memory_order_relaxed) != hash)
            continue;
        if (child->level_len == level.len && memcmp(child->level, level.data, level.len) == 0)
            return child;
    }
}

/* ---- tables ------------------------------------------------------------------------------------
 */

static struct child_table *table_new(uint32_t slots)
{
    struct child_table *table = mem_try(sizeof(*table) + (size_t)slots * sizeof(struct child_slot));
    if (table == NULL)
        return NULL;
    table->mask = slots - 1;
    table->filled = table->live = 0;
    for (uint32_t i = 0; i < slots; i++) {
        atomic_init(&table->slots[i].node, NULL);
        atomic_init(&table->slots[i].hash, 0);
    }
    return table;
}

/* For so many children and half as many more to come. */
static uint32_t slots_for(uint32_t children)
{
    uint32_t slots = TABLE_MIN;
    while (slots < 2 * children)
        slots *= 2;
    return slots;
}

static void put(struct child_table *table, struct trie_node *child, uint32_t hash)
{
    uint32_t i = hash & table->mask;
    while (atomic_load_explicit(&table->slots[i].node, memory_order_relaxed) != NULL)
        i = (i + 1) & table->mask;
    atomic_store_explicit(&table->slots[i].hash, hash, memory_order_relaxed);
    STORE(&table->slots[i].node, child); /* pairs with trie_child() */
    table->filled++;
    table->live++;
}

static bool has_child(const struct child_slot *slot)
{
    struct trie_node *child = atomic_load_explicit(&slot->node, memory_order_relaxed);
    return child != NULL && child != TRIE_TOMB;
}

static uint32_t hash_of(const struct child_slot *slot)
{
    return atomic_load_explicit(&slot->hash, memory_order_relaxed);
}

/* Puts everything that is in `from`, a table or a branch, into `to`. */
static void put_all(struct child_table *to, struct child_table *from)
{
    for (uint32_t i = 0; from != NULL && i < child_table_slots(from); i++) {
        struct child_slot *slot = &from->slots[i];
        if (from->mask == 0)
            put_all(to, LOAD(&slot->table));
        else if (has_child(slot))
            put(to, LOAD(&slot->node), hash_of(slot));
    }
}

void child_table_free_later(struct child_table *table)
{
    if (table == NULL)
        return;
    for (uint32_t i = 0; table->mask == 0 && i < CHILD_WAYS; i++)
        child_table_free_later(LOAD(&table->slots[i].table));
    free_later(&table->rcu);
}

/* ---- branches ----------------------------------------------------------------------------------
 */

/* A branch with everything that is in the table; NULL: no memory. */
static struct child_table *branch_of(const struct child_table *table, uint32_t shift)
{
    uint32_t counts[CHILD_WAYS] = {0};
    CHECK(table != NULL);
    for (uint32_t i = 0; i <= table->mask; i++)
        if (has_child(&table->slots[i]))
            counts[hash_of(&table->slots[i]) >> shift & (CHILD_WAYS - 1)]++;
    struct child_table *branch = table_new(CHILD_WAYS);
    if (branch == NULL)
        return NULL;
    branch->mask = 0;
    branch->filled = (uint16_t)shift;
    for (uint32_t way = 0; way < CHILD_WAYS; way++) {
        struct child_table *part = table_new(slots_for(counts[way] + 1));
        if (part == NULL) {
            while (way-- > 0)
                mem_free(LOAD(&branch->slots[way].table));
            mem_free(branch);
            return NULL;
        }
        atomic_init(&branch->slots[way].table, part);
    }
    for (uint32_t i = 0; i <= table->mask; i++) {
        const struct child_slot *slot = &table->slots[i];
        if (has_child(slot))
            put(LOAD(way_of(branch, hash_of(slot))),
                atomic_load_explicit(&slot->node, memory_order_relaxed), hash_of(slot));
    }
    return branch;
}

/* A table without tombs for one child more, or a branch when that would be too large. */
static struct child_table *enlarged(struct child_table *table, uint32_t shift)
{
    uint32_t slots = slots_for(table == NULL ? 1 : table->live + 1);
    if (slots > CHILD_TABLE_MAX && shift >= LAST_SHIFT)
        return branch_of(table, shift);
    if (slots > CHILD_TABLE_FULL)
        return NULL;
    struct child_table *fresh = table_new(slots);
    if (fresh != NULL)
        put_all(fresh, table);
    return fresh;
}

/* Where the table for this hash hangs; *shift: the bits that a branch in its place would use. */
static _Atomic(struct child_table *) *place_of(struct trie_node *node, uint32_t hash,
                                               uint32_t *shift)
{
    _Atomic(struct child_table *) *place = &node->children;
    *shift = FIRST_SHIFT;
    for (struct child_table *table; (table = LOAD(place)) != NULL && table->mask == 0;) {
        *shift = table->filled - CHILD_WAY_BITS;
        place = way_of(table, hash);
    }
    return place;
}

enum rc trie_child_add(struct trie_node *node, struct trie_node *child)
{
    for (;;) {
        uint32_t shift;
        _Atomic(struct child_table *) *place = place_of(node, child->hash, &shift);
        struct child_table *table = LOAD(place);
        if (table != NULL && (table->filled + 1U) * 4 <= (table->mask + 1) * 3) {
            put(table, child, child->hash);
            return RC_OK;
        }
        struct child_table *fresh = enlarged(table, shift);
        if (fresh == NULL)
            return RC_NO_MEMORY;
        STORE(place, fresh);
        free_later(table == NULL ? NULL : &table->rcu);
    }
}

/* Puts a table for so many children in the place of another or of a branch, if there is memory. */
static void shrink(_Atomic(struct child_table *) *place, uint32_t children)
{
    struct child_table *old = LOAD(place);
    struct child_table *fresh = table_new(slots_for(children));
    if (fresh == NULL)
        return;
    put_all(fresh, old);
    STORE(place, fresh);
    child_table_free_later(old);
}

void trie_child_remove(struct trie_node *node, struct trie_node *child)
{
    uint32_t shift;
    _Atomic(struct child_table *) *place = place_of(node, child->hash, &shift);
    struct child_table *table = LOAD(place);
    CHECK(table != NULL);
    uint32_t i = child->hash & table->mask;
    while (atomic_load_explicit(&table->slots[i].node, memory_order_relaxed) != child)
        i = (i + 1) & table->mask;
    STORE(&table->slots[i].node, TRIE_TOMB);
    table->live--;
    if (table->mask >= SHRINK_FROM && table->live < table->mask / 8)
        shrink(place, table->live + 1U);
    if (node->child_count == COLLAPSE_AT && LOAD(&node->children)->mask == 0)
        shrink(&node->children, COLLAPSE_AT);
}
