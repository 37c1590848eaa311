/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers' side of the trie: one walk finds everybody who gets a topic. Each worker has a
 * reader of its own with a memory of hot topics, which holds until the next change anywhere in the
 * trie. A topic is remembered at its second miss, so that a flood of different topics allocates
 * nothing.
 */
#include "router/trie.h"

#include "base/check.h"
#include "base/memory.h"
#include "model/topic.h"

#include <stdlib.h>

#define LOAD(pointer) atomic_load_explicit((pointer), memory_order_acquire)

enum {
    ROUTE_ROOM_KEPT = 4096,   /* of the reader, between two walks */
    PAGES_FROM = 1024 * 1024, /* bytes of a block */
};

struct route_memo_entry {
    uint64_t hash, generation;
    uint32_t topic_len, count, share_count;
    struct route *routes;
    struct share **shares;
    uint8_t topic[];
};

/* ---- blocks of routes --------------------------------------------------------------------------
 */

/* The size of a block as pages; 0 for one that malloc serves. */
static size_t block_pages(uint32_t room)
{
    size_t size = sizeof(struct route_block) + room * sizeof(struct route);
    return size < PAGES_FROM ? 0 : (size + MEM_PAGES - 1) / MEM_PAGES * MEM_PAGES;
}

static struct route_block *block_new(uint32_t room)
{
    size_t pages = block_pages(room);
    struct route_block *block;
    if (pages == 0) {
        block = mem_new(sizeof(*block) + room * sizeof(struct route));
    } else {
        block = mem_new_pages(pages);
        mem_hint_all_used(block, pages);
    }
    block->room = room;
    return block;
}

static void block_free(struct route_block *block)
{
    size_t pages = block == NULL ? 0 : block_pages(block->room);
    if (pages > 0)
        mem_free_pages(block, pages);
    else
        mem_free(block);
}

struct route_block *route_block_hold(struct route_block *block)
{
    if (block != NULL)
        atomic_fetch_add_explicit(&block->holders, 1, memory_order_relaxed);
    return block;
}

void route_block_drop(struct route_block *block)
{
    /* Release what this holder read, acquire what the others did: the last one frees. */
    if (block != NULL && atomic_fetch_sub_explicit(&block->holders, 1, memory_order_acq_rel) == 1)
        block_free(block);
}

/* ---- the reader --------------------------------------------------------------------------------
 */

void route_reader_init(struct route_reader *reader, struct router *router, uint32_t workers)
{
    *reader = (struct route_reader){.router = router, .sort_always = workers > 1};
    reader->memo = mem_new(ROUTE_MEMO_SLOTS * sizeof(*reader->memo));
    reader->seen = mem_new(ROUTE_MEMO_SLOTS * sizeof(*reader->seen));
}

void route_reader_deinit(struct route_reader *reader)
{
    for (int i = 0; i < ROUTE_MEMO_SLOTS; i++)
        mem_free(reader->memo[i]);
    mem_free(reader->memo);
    mem_free(reader->seen);
    block_free(reader->block);
    mem_free(reader->shares);
}

/* ---- collecting --------------------------------------------------------------------------------
 */

static void reserve(struct route_reader *reader, uint32_t more)
{
    uint32_t needed = reader->count + more;
    struct route_block *old = reader->block;
    if (old != NULL && needed <= old->room)
        return;
    reader->block = block_new(needed < ROUTE_MEMO_ROUTES_MAX ? needed * 2 : needed);
    if (old != NULL && reader->count > 0)
        memcpy(reader->block->routes, old->routes, reader->count * sizeof(struct route));
    block_free(old);
}

static void collect_piece(struct route_reader *reader, struct subscriber_list *piece)
{
    uint32_t used = LOAD(&piece->used);
    reserve(reader, used); /* it may have got longer since the list was measured */
    struct route *out = reader->block->routes + reader->count;
    for (uint32_t i = 0; i < used; i++) {
        const struct subscriber *slot = &piece->slots[i];
        if (atomic_load_explicit(&slot->subscription, memory_order_relaxed) != NULL)
            *out++ = subscriber_route(slot);
    }
    reader->count = (uint32_t)(out - reader->block->routes);
}

static uint32_t list_length(struct subscriber_list *list)
{
    uint32_t used = 0;
    for (struct subscriber_list *piece = list; piece != NULL; piece = LOAD(&piece->next))
        used += LOAD(&piece->used);
    return used;
}

/* Makes room for all of it at once: growing step by step would copy what was found. */
static void collect_pieces(struct route_reader *reader, struct subscriber_list *list)
{
    reserve(reader, list_length(list));
    for (struct subscriber_list *piece = list; piece != NULL; piece = LOAD(&piece->next))
        collect_piece(reader, piece);
}

/* A long one is left out while it is the only one: those of two lists have to be put together. */
static void collect_list(struct route_reader *reader, struct subscriber_list *list)
{
    if (reader->lists++ == 0 && reader->steps && list_length(list) >= ROUTE_WALK_MIN) {
        reader->long_list = list;
        return;
    }
    if (reader->long_list != NULL)
        collect_pieces(reader, reader->long_list);
    reader->long_list = NULL;
    collect_pieces(reader, list);
}

static void collect_node(struct route_reader *reader, struct trie_node *node)
{
    struct subscriber_list *list = LOAD(&node->subscribers);
    if (list != NULL)
        collect_list(reader, list);
    for (struct share *share = LOAD(&node->shares); share != NULL; share = LOAD(&share->next)) {
        if (reader->share_count == reader->share_room) {
            reader->share_room = reader->share_room == 0 ? 8 : reader->share_room * 2;
            reader->shares =
                mem_resize(reader->shares, reader->share_room * sizeof(*reader->shares));
        }
        reader->shares[reader->share_count++] = share;
    }
}

/* Depth is bounded by the filters' depth, which has a limit. */
static void walk(struct route_reader *reader, struct trie_node *node, struct topic_cursor cursor,
                 bool wildcards)
{
    struct bytes level;
    struct trie_node *multi = wildcards ? LOAD(&node->multi) : NULL;
    if (multi != NULL)
        collect_node(reader, multi); /* "a/#" matches "a" too: section 4.7.1.2 */
    if (!topic_next_level(&cursor, &level)) {
        collect_node(reader, node);
        return;
    }
    struct trie_node *plus = wildcards ? LOAD(&node->plus) : NULL;
    if (plus != NULL)
        walk(reader, plus, cursor, true);
    struct trie_node *child = trie_child(node, level);
    if (child != NULL)
        walk(reader, child, cursor, true);
}

static int by_session(const void *a, const void *b)
{
    session_ref left = ((const struct route *)a)->session;
    session_ref right = ((const struct route *)b)->session;
    return left < right ? -1 : left > right;
}

/* ---- sorting -----------------------------------------------------------------------------------
 */

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, SLOT_BITS = 32 };

/* One pass of a radix sort: stable, by DIGIT_BITS bits of the reference. */
static void sort_pass(struct route_reader *reader, unsigned shift)
{
    uint32_t starts[DIGITS] = {0};
    struct route_block *sorted = block_new(reader->count);
    const struct route *from = reader->block->routes;
    for (uint32_t i = 0; i < reader->count; i++)
        starts[from[i].session >> shift & (DIGITS - 1)]++;
    for (uint32_t digit = 0, at = 0; digit < DIGITS; digit++) {
        uint32_t count = starts[digit];
        starts[digit] = at;
        at += count;
    }
    for (uint32_t i = 0; i < reader->count; i++)
        sorted->routes[starts[from[i].session >> shift & (DIGITS - 1)]++] = from[i];
    block_free(reader->block);
    reader->block = sorted;
}

/* By slot, then worker. A slot that has a new session while subscriptions of the old one are still
 * being removed is put right one by one. */
static void sort_wide(struct route_reader *reader)
{
    uint32_t slots = 0;
    for (uint32_t i = 0; i < reader->count; i++)
        slots |= (uint32_t)reader->block->routes[i].session;
    for (unsigned shift = 0; shift < SLOT_BITS && slots >> shift != 0; shift += DIGIT_BITS)
        sort_pass(reader, shift);
    sort_pass(reader, SESSION_REF_WORKER_SHIFT);
    struct route *routes = reader->block->routes;
    for (uint32_t i = 1; i < reader->count; i++) {
        struct route route = routes[i];
        uint32_t at = i;
        for (; at > 0 && (uint32_t)routes[at - 1].session == (uint32_t)route.session &&
               routes[at - 1].session > route.session;
             at--)
            routes[at] = routes[at - 1];
        routes[at] = route;
    }
}

static void sort(struct route_reader *reader)
{
    if (reader->count < 2 || (reader->lists < 2 && !reader->sort_always))
        return;
    if (reader->count <= ROUTE_MEMO_ROUTES_MAX)
        qsort(reader->block->routes, reader->count, sizeof(struct route), by_session);
    else if (reader->lists > 1)
        sort_wide(reader);
    else
        sort_pass(reader, SESSION_REF_WORKER_SHIFT);
}

static void find_by_walk(struct route_reader *reader, struct bytes topic, enum route_way way)
{
    if (reader->block != NULL && reader->block->room > ROUTE_ROOM_KEPT) {
        block_free(reader->block);
        reader->block = NULL;
    }
    reader->count = reader->share_count = reader->lists = 0;
    reader->long_list = NULL;
    reader->steps = way == ROUTE_STEPS;
    bool hidden = topic.data[0] == '$'; /* [MQTT-4.7.2-1] */
    walk(reader, reader->router->root, topic_cursor_of(topic), !hidden);
    sort(reader);
}

struct route_block *route_reader_take(struct route_reader *reader)
{
    struct route_block *block = reader->block;
    CHECK(reader->count > 0);
    atomic_init(&block->holders, 1);
    reader->block = NULL;
    reader->count = 0;
    return block;
}

static struct route_set found(const struct route_reader *reader)
{
    return (struct route_set){
        .routes = reader->count == 0 ? NULL : reader->block->routes,
        .count = reader->count,
        .share_count = reader->share_count,
        .shares = reader->shares,
        .too_many = reader->long_list != NULL,
    };
}

/* ---- the memory of hot topics ------------------------------------------------------------------
 */

static void remember(struct route_reader *reader, struct bytes topic, uint64_t hash,
                     uint64_t generation)
{
    struct route_memo_entry **slot = &reader->memo[hash % ROUTE_MEMO_SLOTS];
    if (reader->count + reader->share_count > ROUTE_MEMO_ROUTES_MAX || reader->long_list != NULL)
        return;
    size_t routes_at = (sizeof(**slot) + topic.len + 7) & ~(size_t)7;
    size_t shares_at = routes_at + reader->count * sizeof(struct route);
    size_t size = shares_at + reader->share_count * sizeof(struct share *);
    struct route_memo_entry *entry = mem_try_resize(*slot, size);
    if (entry == NULL)
        return;
    *slot = entry;
    entry->hash = hash;
    entry->generation = generation;
    entry->topic_len = (uint32_t)topic.len;
    entry->count = reader->count;
    entry->share_count = reader->share_count;
    entry->routes = (struct route *)((uint8_t *)entry + routes_at);
    entry->shares = (struct share **)((uint8_t *)entry + shares_at);
    memcpy(entry->topic, topic.data, topic.len);
    if (entry->count > 0)
        memcpy(entry->routes, reader->block->routes, entry->count * sizeof(struct route));
    if (entry->share_count > 0)
        memcpy(entry->shares, reader->shares, entry->share_count * sizeof(struct share *));
}

void route_find(struct route_reader *reader, struct bytes topic, enum route_way way,
                struct route_set *set)
{
    CHECK(topic.len > 0);
    uint64_t generation = LOAD(&reader->router->generation); /* pairs with changed() in trie.c */
    uint64_t hash = bytes_hash(topic);
    struct route_memo_entry *entry = reader->memo[hash % ROUTE_MEMO_SLOTS];
    if (entry != NULL && entry->hash == hash && entry->generation == generation &&
        bytes_equal(bytes_of(entry->topic, entry->topic_len), topic)) {
        reader->memo_hits++;
        *set = (struct route_set){.routes = entry->routes,
                                  .count = entry->count,
                                  .share_count = entry->share_count,
                                  .shares = entry->shares};
        return;
    }
    reader->memo_misses++;
    find_by_walk(reader, topic, way);
    uint64_t *seen = &reader->seen[hash % ROUTE_MEMO_SLOTS];
    if (*seen == hash)
        remember(reader, topic, hash, generation);
    *seen = hash;
    *set = found(reader);
}

/* ---- very many, in steps -----------------------------------------------------------------------
 */

bool route_walk_begin(struct route_reader *reader, struct bytes topic, struct route_walk *walk,
                      struct route_set *set)
{
    find_by_walk(reader, topic, ROUTE_STEPS);
    *set = found(reader);
    *walk = (struct route_walk){.piece = reader->long_list};
    return set->too_many;
}

bool route_walk_step(struct route_reader *reader, struct route_walk *walk, struct route_set *set)
{
    reader->count = reader->share_count = 0;
    reader->long_list = NULL;
    reader->lists = 1;
    reserve(reader, ROUTE_WALK_STEP);
    while (walk->piece != NULL && reader->count <= ROUTE_WALK_STEP - SUBSCRIBERS_MAX) {
        collect_piece(reader, walk->piece);
        walk->piece = LOAD(&walk->piece->next);
    }
    sort(reader);
    *set = found(reader);
    return reader->count > 0;
}
