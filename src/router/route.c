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

struct route_memo_entry {
    uint64_t hash, generation;
    uint32_t topic_len, count, share_count;
    struct route *routes;
    struct share **shares;
    uint8_t topic[];
};

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
    mem_free(reader->routes);
    mem_free(reader->shares);
}

/* ---- collecting --------------------------------------------------------------------------------
 */

static void collect_list(struct route_reader *reader, struct subscriber_list *list)
{
    uint32_t used = LOAD(&list->used);
    if (reader->count + used > reader->room) {
        reader->room = (reader->count + used) * 2;
        reader->routes = mem_resize(reader->routes, reader->room * sizeof(struct route));
    }
    struct route *out = reader->routes + reader->count;
    for (uint32_t i = 0; i < used; i++) {
        struct subscription *s = LOAD(&list->slots[i]);
        if (s == NULL)
            continue;
        *out++ = (struct route){
            .session = s->session,
            .identifier = atomic_load_explicit(&s->identifier, memory_order_relaxed),
            .qos = atomic_load_explicit(&s->qos, memory_order_relaxed),
            .flags = atomic_load_explicit(&s->flags, memory_order_relaxed),
        };
    }
    reader->count = (uint32_t)(out - reader->routes);
    reader->lists++;
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

static void find_by_walk(struct route_reader *reader, struct bytes topic)
{
    reader->count = reader->share_count = reader->lists = 0;
    bool hidden = topic.data[0] == '$'; /* [MQTT-4.7.2-1] */
    walk(reader, reader->router->root, topic_cursor_of(topic), !hidden);
    if (reader->count > 1 && (reader->lists > 1 || reader->sort_always))
        qsort(reader->routes, reader->count, sizeof(struct route), by_session);
}

/* ---- the memory of hot topics ------------------------------------------------------------------
 */

static void remember(struct route_reader *reader, struct bytes topic, uint64_t hash,
                     uint64_t generation)
{
    struct route_memo_entry **slot = &reader->memo[hash % ROUTE_MEMO_SLOTS];
    if (reader->count + reader->share_count > ROUTE_MEMO_ROUTES_MAX)
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
        memcpy(entry->routes, reader->routes, entry->count * sizeof(struct route));
    if (entry->share_count > 0)
        memcpy(entry->shares, reader->shares, entry->share_count * sizeof(struct share *));
}

void route_find(struct route_reader *reader, struct bytes topic, struct route_set *set)
{
    CHECK(topic.len > 0);
    uint64_t generation = LOAD(&reader->router->generation); /* pairs with changed() in trie.c */
    uint64_t hash = bytes_hash(topic);
    struct route_memo_entry *entry = reader->memo[hash % ROUTE_MEMO_SLOTS];
    if (entry != NULL && entry->hash == hash && entry->generation == generation &&
        bytes_equal(bytes_of(entry->topic, entry->topic_len), topic)) {
        reader->memo_hits++;
        *set = (struct route_set){entry->routes, entry->count, entry->share_count, entry->shares};
        return;
    }
    reader->memo_misses++;
    find_by_walk(reader, topic);
    uint64_t *seen = &reader->seen[hash % ROUTE_MEMO_SLOTS];
    if (*seen == hash)
        remember(reader, topic, hash, generation);
    *seen = hash;
    *set = (struct route_set){reader->routes, reader->count, reader->share_count, reader->shares};
}
