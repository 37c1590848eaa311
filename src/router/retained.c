/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of retained messages. A node keeps its children in the order of their arrival, so that a
 * walk can name its place by an index; holes are closed only while no walk stands on the node
 * ("pins"). Wide nodes have an index by hash besides.
 */
#include "router/retained.h"

#include "base/check.h"
#include "base/map.h"
#include "base/memory.h"
#include "model/topic.h"

enum { INDEX_FROM = 9 }; /* children; below, a scan is cheaper than a hash table */

struct retained_node {
    struct retained_node *parent;
    struct message *message; /* NULL: none at this topic */
    struct retained_node **children;
    uint32_t used, room; /* of children[], holes included */
    uint32_t live;
    uint32_t pins;  /* walks that stand here */
    uint32_t place; /* in the parent's children[] */
    uint16_t level_len;
    struct map *index; /* NULL while there are few children */
    uint64_t hash;
    uint8_t level[];
};

/* ---- children ----------------------------------------------------------------------------------
 */

static bool level_matches(const void *element, const void *key)
{
    const struct retained_node *node = element;
    const struct bytes *level = key;
    return node->level_len == level->len && memcmp(node->level, level->data, level->len) == 0;
}

static struct retained_node *child_find(struct retained_node *node, struct bytes level)
{
    if (node->index != NULL)
        return map_find(node->index, bytes_hash(level), level_matches, &level);
    for (uint32_t i = 0; i < node->used; i++)
        if (node->children[i] != NULL && level_matches(node->children[i], &level))
            return node->children[i];
    return NULL;
}

static void close_holes(struct retained_node *node)
{
    uint32_t to = 0;
    for (uint32_t i = 0; i < node->used; i++) {
        if (node->children[i] == NULL)
            continue;
        node->children[i]->place = to;
        node->children[to++] = node->children[i];
    }
    node->used = to;
}

static bool child_room(struct retained_node *node)
{
    if (node->used < node->room)
        return true;
    if (node->live < node->used / 2 && node->pins == 0) {
        close_holes(node);
        return true;
    }
    uint32_t room = node->room == 0 ? 2 : node->room * 2;
    struct retained_node **grown = mem_try_resize(node->children, room * sizeof(*grown));
    if (grown == NULL)
        return false;
    node->children = grown;
    node->room = room;
    return true;
}

static void index_children(struct retained_node *node)
{
    node->index = NEW(struct map);
    map_init(node->index);
    for (uint32_t i = 0; i < node->used; i++)
        if (node->children[i] != NULL)
            map_insert(node->index, node->children[i]->hash, node->children[i]);
}

static struct retained_node *child_make(struct retained_node *node, struct bytes level)
{
    struct retained_node *child = mem_try(sizeof(*child) + level.len);
    if (child == NULL || !child_room(node)) {
        mem_free(child);
        return NULL;
    }
    memset(child, 0, sizeof(*child));
    child->parent = node;
    child->hash = bytes_hash(level);
    child->level_len = (uint16_t)level.len;
    if (level.len > 0)
        memcpy(child->level, level.data, level.len);
    child->place = node->used;
    node->children[node->used++] = child;
    node->live++;
    if (node->index != NULL)
        map_insert(node->index, child->hash, child);
    else if (node->live >= INDEX_FROM)
        index_children(node);
    return child;
}

static void node_free(struct retained_node *node)
{
    if (node->index != NULL)
        map_deinit(node->index);
    mem_free(node->index);
    mem_free(node->children);
    mem_free(node);
}

/* Takes out the node, and its ancestors, as far as nothing needs them. */
static void node_prune(struct retained_node *node)
{
    while (node->parent != NULL && node->message == NULL && node->live == 0 && node->pins == 0) {
        struct retained_node *parent = node->parent;
        parent->children[node->place] = NULL;
        parent->live--;
        if (parent->index != NULL)
            map_remove(parent->index, node->hash, node);
        if (parent->pins == 0 && parent->used > 8 && parent->live < parent->used / 4)
            close_holes(parent);
        node_free(node);
        node = parent;
    }
}

static struct retained_node *node_find(struct retained *retained, struct bytes topic)
{
    struct retained_node *node = retained->root;
    struct topic_cursor cursor = topic_cursor_of(topic);
    struct bytes level;
    while (node != NULL && topic_next_level(&cursor, &level))
        node = child_find(node, level);
    return node;
}

static struct retained_node *node_make(struct retained *retained, struct bytes topic)
{
    struct retained_node *node = retained->root;
    struct topic_cursor cursor = topic_cursor_of(topic);
    struct bytes level;
    while (topic_next_level(&cursor, &level)) {
        struct retained_node *child = child_find(node, level);
        if (child == NULL)
            child = child_make(node, level);
        if (child == NULL) {
            node_prune(node);
            return NULL;
        }
        node = child;
    }
    return node;
}

/* ---- set, clear, get ---------------------------------------------------------------------------
 */

/* The broker's own topics are neither counted nor limited. */
static bool is_own(const struct message *message)
{
    return bytes_starts_with(message->publication.topic, bytes_of_str("$SYS/"));
}

static void account(struct retained *retained, struct message *gone, struct message *came)
{
    if (gone != NULL && is_own(gone))
        gone = NULL;
    if (came != NULL && is_own(came))
        came = NULL;
    uint64_t count = atomic_load_explicit(&retained->count, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&retained->bytes, memory_order_relaxed);
    count = count - (gone != NULL) + (came != NULL);
    bytes = bytes - (gone == NULL ? 0 : gone->size) + (came == NULL ? 0 : came->size);
    atomic_store_explicit(&retained->count, count, memory_order_relaxed);
    atomic_store_explicit(&retained->bytes, bytes, memory_order_relaxed);
}

static void message_replace(struct retained *retained, struct retained_node *node,
                            struct message *message)
{
    account(retained, node->message, message);
    message_drop(node->message);
    node->message = message;
}

static bool over_limit(const struct retained *retained, const struct message *old,
                       const struct message *new)
{
    uint64_t bytes = atomic_load_explicit(&retained->bytes, memory_order_relaxed);
    uint64_t count = atomic_load_explicit(&retained->count, memory_order_relaxed);
    if (is_own(new))
        return false;
    if (old == NULL && count >= retained->count_max)
        return true;
    uint64_t after = bytes - (old == NULL ? 0 : old->size) + new->size;
    return after > retained->bytes_max && after > bytes;
}

enum rc retained_set(struct retained *retained, struct message *message)
{
    enum rc rc = RC_OK;
    pthread_mutex_lock(&retained->lock);
    struct retained_node *node = node_make(retained, message->publication.topic);
    if (node == NULL) {
        rc = RC_NO_MEMORY;
    } else if (over_limit(retained, node->message, message)) {
        node_prune(node);
        rc = RC_FULL;
    } else {
        message_replace(retained, node, message_hold(message));
    }
    pthread_mutex_unlock(&retained->lock);
    return rc;
}

void retained_clear(struct retained *retained, struct bytes topic)
{
    pthread_mutex_lock(&retained->lock);
    struct retained_node *node = node_find(retained, topic);
    if (node != NULL && node->message != NULL) {
        message_replace(retained, node, NULL);
        node_prune(node);
    }
    pthread_mutex_unlock(&retained->lock);
}

struct message *retained_get(struct retained *retained, struct bytes topic, uint64_t now_ms)
{
    struct message *message = NULL;
    pthread_mutex_lock(&retained->lock);
    struct retained_node *node = node_find(retained, topic);
    if (node != NULL && node->message != NULL) {
        if (publication_expired(&node->message->publication, now_ms)) {
            message_replace(retained, node, NULL);
            node_prune(node);
        } else {
            message = message_hold(node->message);
        }
    }
    pthread_mutex_unlock(&retained->lock);
    return message;
}

/* ---- walks -------------------------------------------------------------------------------------
 */

/* One node that the walk stands on. levels[] of the walk are the filter's. */
struct walk_place {
    struct retained_node *node; /* pinned */
    uint32_t next_child;
    uint32_t level; /* of the filter: what the children have to match */
};

struct retained_walk {
    struct retained *retained;
    uint32_t level_count;
    uint32_t depth, room; /* places in use, and their room */
    struct walk_place *places;
    struct bytes *levels; /* into filter[] */
    uint8_t filter[];
};

struct retained_walk *retained_walk_new(struct retained *retained, struct bytes filter)
{
    size_t levels = topic_levels(filter);
    struct retained_walk *walk = mem_try(sizeof(*walk) + filter.len);
    if (walk == NULL)
        return NULL;
    *walk = (struct retained_walk){.retained = retained, .level_count = (uint32_t)levels};
    walk->levels = mem_try(levels * sizeof(*walk->levels));
    walk->room = 8;
    walk->places = mem_try(walk->room * sizeof(*walk->places));
    if (walk->levels == NULL || walk->places == NULL) {
        mem_free(walk->levels);
        mem_free(walk->places);
        mem_free(walk);
        return NULL;
    }
    memcpy(walk->filter, filter.data, filter.len);
    struct topic_cursor cursor = topic_cursor_of(bytes_of(walk->filter, filter.len));
    for (uint32_t i = 0; topic_next_level(&cursor, &walk->levels[i]); i++)
        ;
    pthread_mutex_lock(&retained->lock);
    retained->root->pins++;
    pthread_mutex_unlock(&retained->lock);
    walk->places[walk->depth++] = (struct walk_place){.node = retained->root};
    return walk;
}

static bool level_is(const struct retained_walk *walk, uint32_t level, char wildcard)
{
    return level < walk->level_count && walk->levels[level].len == 1 &&
           walk->levels[level].data[0] == (uint8_t)wildcard;
}

/* Whether the topic of a node reached through `level` filter levels matches the whole filter. */
static bool is_match(const struct retained_walk *walk, uint32_t level)
{
    return level == walk->level_count || level_is(walk, level, '#');
}

static void walk_leave(struct retained_walk *walk)
{
    struct retained_node *node = walk->places[--walk->depth].node;
    node->pins--;
    node_prune(node);
}

/* Steps down to a child; false when there is no memory to remember the way (the child is left out).
 */
static bool walk_enter(struct retained_walk *walk, struct retained_node *child, uint32_t level)
{
    if (walk->depth == walk->room) {
        struct walk_place *grown =
            mem_try_resize(walk->places, (size_t)walk->room * 2 * sizeof(*grown));
        if (grown == NULL)
            return false;
        walk->places = grown;
        walk->room *= 2;
    }
    child->pins++;
    walk->places[walk->depth++] = (struct walk_place){.node = child, .level = level};
    return true;
}

/* The next child that the filter lets us into; NULL when there is none left at this place. */
static struct retained_node *next_child(struct retained_walk *walk, struct walk_place *place,
                                        uint32_t *steps)
{
    struct retained_node *node = place->node;
    if (place->level >= walk->level_count)
        return NULL;
    bool any = level_is(walk, place->level, '+') || level_is(walk, place->level, '#');
    if (!any) {
        if (place->next_child++ > 0)
            return NULL;
        return child_find(node, walk->levels[place->level]);
    }
    while (place->next_child < node->used) {
        struct retained_node *child = node->children[place->next_child++];
        ++*steps;
        bool hidden = node->parent == NULL && child != NULL && child->level_len > 0 &&
                      child->level[0] == '$'; /* [MQTT-4.7.2-1] */
        if (child != NULL && !hidden)
            return child;
        if (*steps >= RETAINED_STEPS)
            return NULL;
    }
    return NULL;
}

/* Takes a matching node's message into out[], or drops it when it has expired. */
static uint32_t take_message(struct retained *retained, struct retained_node *node, uint64_t now_ms,
                             struct message **out)
{
    if (node->message == NULL)
        return 0;
    if (publication_expired(&node->message->publication, now_ms)) {
        message_replace(retained, node, NULL);
        return 0;
    }
    *out = message_hold(node->message);
    return 1;
}

uint32_t retained_walk_next(struct retained_walk *walk, uint64_t now_ms,
                            struct message *out[RETAINED_BATCH], bool *done)
{
    uint32_t found = 0, steps = 0;
    pthread_mutex_lock(&walk->retained->lock);
    while (walk->depth > 0 && found < RETAINED_BATCH && steps < RETAINED_STEPS) {
        struct walk_place *place = &walk->places[walk->depth - 1];
        struct retained_node *child = next_child(walk, place, &steps);
        steps++;
        if (child == NULL) {
            bool cut_short = steps >= RETAINED_STEPS && place->level < walk->level_count &&
                             place->next_child < place->node->used;
            if (!cut_short)
                walk_leave(walk);
            continue;
        }
        uint32_t level = level_is(walk, place->level, '#') ? place->level : place->level + 1;
        if (is_match(walk, level))
            found += take_message(walk->retained, child, now_ms, &out[found]);
        bool deeper = child->live > 0 && level < walk->level_count;
        if (!deeper || !walk_enter(walk, child, level))
            node_prune(child); /* it may have lost an expired message */
    }
    *done = walk->depth == 0;
    pthread_mutex_unlock(&walk->retained->lock);
    return found;
}

void retained_walk_free(struct retained_walk *walk)
{
    if (walk == NULL)
        return;
    pthread_mutex_lock(&walk->retained->lock);
    while (walk->depth > 0)
        walk_leave(walk);
    pthread_mutex_unlock(&walk->retained->lock);
    mem_free(walk->levels);
    mem_free(walk->places);
    mem_free(walk);
}

/* ---- life --------------------------------------------------------------------------------------
 */

void retained_init(struct retained *retained, uint64_t count_max, uint64_t bytes_max)
{
    *retained = (struct retained){.count_max = count_max, .bytes_max = bytes_max};
    pthread_mutex_init(&retained->lock, NULL);
    retained->root = NEW(struct retained_node);
}

static void free_all(struct retained_node *node)
{
    for (uint32_t i = 0; i < node->used; i++)
        if (node->children[i] != NULL)
            free_all(node->children[i]);
    message_drop(node->message);
    node_free(node);
}

void retained_deinit(struct retained *retained)
{
    free_all(retained->root);
    pthread_mutex_destroy(&retained->lock);
}
