/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writers' side of the subscription trie: nodes come with their first subscription and go with
 * their last. Every pointer a reader follows is stored with release and what was replaced is freed
 * after a grace period. All functions here run under router->lock unless they say otherwise.
 */
#include "router/trie.h"

#include "base/check.h"
#include "base/memory.h"
#include "model/topic.h"

#define LOAD(pointer) atomic_load_explicit((pointer), memory_order_acquire)
#define STORE(pointer, value) atomic_store_explicit((pointer), (value), memory_order_release)

enum { CHILD_TABLE_MIN = 4 };

static void free_later(struct rcu_entry *entry)
{
    if (entry != NULL)
        rcu_free(entry);
}

/* ---- subscriber lists --------------------------------------------------------------------------
 */

static struct subscriber_list *list_new(uint32_t room)
{
    struct subscriber_list *list =
        mem_try(sizeof(*list) + room * sizeof(_Atomic(struct subscription *)));
    if (list == NULL)
        return NULL;
    atomic_init(&list->used, 0);
    list->room = room;
    list->live = 0;
    return list;
}

static void list_append(struct subscriber_list *list, struct subscription *s)
{
    uint32_t used = atomic_load_explicit(&list->used, memory_order_relaxed);
    CHECK(used < list->room);
    s->place = used;
    atomic_store_explicit(&list->slots[used], s, memory_order_release);
    list->live++;
    atomic_store_explicit(&list->used, used + 1, memory_order_release); /* pairs with readers */
}

/* A copy without the holes. */
static struct subscriber_list *list_copy(struct subscriber_list *old, uint32_t room)
{
    struct subscriber_list *list = list_new(room);
    if (list == NULL)
        return NULL;
    uint32_t used = atomic_load_explicit(&old->used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        struct subscription *s = atomic_load_explicit(&old->slots[i], memory_order_relaxed);
        if (s != NULL)
            list_append(list, s);
    }
    return list;
}

enum rc subscriber_list_add(_Atomic(struct subscriber_list *) *list, struct subscription *s)
{
    struct subscriber_list *old = LOAD(list);
    if (old != NULL && atomic_load_explicit(&old->used, memory_order_relaxed) < old->room) {
        list_append(old, s);
        return RC_OK;
    }
    struct subscriber_list *grown =
        old == NULL ? list_new(1) : list_copy(old, old->live < 2 ? 4 : old->live * 2);
    if (grown == NULL)
        return RC_NO_MEMORY;
    list_append(grown, s);
    STORE(list, grown);
    free_later(old == NULL ? NULL : &old->rcu);
    return RC_OK;
}

bool subscriber_list_remove(_Atomic(struct subscriber_list *) *list, struct subscription *s)
{
    struct subscriber_list *old = LOAD(list);
    CHECK(old != NULL && s->place < old->room);
    CHECK(atomic_load_explicit(&old->slots[s->place], memory_order_relaxed) == s);
    atomic_store_explicit(&old->slots[s->place], NULL, memory_order_release);
    old->live--;
    if (old->live == 0) {
        STORE(list, (struct subscriber_list *)NULL);
        free_later(&old->rcu);
        return true;
    }
    if (old->room > 8 && old->live < old->room / 4) {
        struct subscriber_list *compact = list_copy(old, old->live * 2);
        if (compact != NULL) {
            STORE(list, compact);
            free_later(&old->rcu);
        }
    }
    return false;
}

/* ---- children ----------------------------------------------------------------------------------
 */

/* Any thread. */
struct trie_node *trie_child(struct trie_node *node, struct bytes level)
{
    struct child_table *table = LOAD(&node->children);
    if (table == NULL)
        return NULL;
    uint32_t hash = level_hash(level);
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

static void table_put(struct child_table *table, struct trie_node *child)
{
    uint32_t i = child->hash & table->mask;
    while (atomic_load_explicit(&table->slots[i].node, memory_order_relaxed) != NULL)
        i = (i + 1) & table->mask;
    atomic_store_explicit(&table->slots[i].hash, child->hash, memory_order_relaxed);
    STORE(&table->slots[i].node, child); /* pairs with trie_child() */
    table->filled++;
}

static struct child_table *table_new(uint32_t capacity)
{
    struct child_table *table =
        mem_try(sizeof(*table) + (size_t)capacity * sizeof(struct child_slot));
    if (table == NULL)
        return NULL;
    table->mask = capacity - 1;
    table->filled = 0;
    for (uint32_t i = 0; i < capacity; i++) {
        atomic_init(&table->slots[i].node, NULL);
        atomic_init(&table->slots[i].hash, 0);
    }
    return table;
}

/* Puts a literal child in, into a fresh table without tombs when the old one is 3/4 full. */
static enum rc child_add(struct trie_node *node, struct trie_node *child)
{
    struct child_table *table = LOAD(&node->children);
    if (table == NULL || (table->filled + 1) * 4 > (table->mask + 1) * 3) {
        uint32_t capacity = CHILD_TABLE_MIN;
        while (capacity * 3 < (node->child_count + 2) * 4 * 3 / 2)
            capacity *= 2;
        struct child_table *fresh = table_new(capacity);
        if (fresh == NULL)
            return RC_NO_MEMORY;
        for (uint32_t i = 0; table != NULL && i <= table->mask; i++) {
            struct trie_node *old =
                atomic_load_explicit(&table->slots[i].node, memory_order_relaxed);
            if (old != NULL && old != TRIE_TOMB)
                table_put(fresh, old);
        }
        STORE(&node->children, fresh);
        free_later(table == NULL ? NULL : &table->rcu);
        table = fresh;
    }
    table_put(table, child);
    return RC_OK;
}

static void child_remove(struct trie_node *node, struct trie_node *child)
{
    struct child_table *table = LOAD(&node->children);
    CHECK(table != NULL);
    uint32_t i = child->hash & table->mask;
    while (atomic_load_explicit(&table->slots[i].node, memory_order_relaxed) != child)
        i = (i + 1) & table->mask;
    STORE(&table->slots[i].node, TRIE_TOMB);
}

/* ---- nodes -------------------------------------------------------------------------------------
 */

static struct trie_node *node_new(struct trie_node *parent, struct bytes level)
{
    struct trie_node *node = mem_try(sizeof(*node) + level.len);
    if (node == NULL)
        return NULL;
    memset(node, 0, sizeof(*node));
    node->parent = parent;
    node->hash = level_hash(level);
    node->level_len = (uint16_t)level.len;
    if (level.len > 0)
        memcpy(node->level, level.data, level.len);
    return node;
}

static bool is_wildcard(struct bytes level, char wildcard)
{
    return level.len == 1 && level.data[0] == (uint8_t)wildcard;
}

/* The child for one level of a filter, made when it is not there; NULL when there is no memory. */
static struct trie_node *node_enter(struct router *router, struct trie_node *node,
                                    struct bytes level)
{
    bool plus = is_wildcard(level, '+'), multi = is_wildcard(level, '#');
    struct trie_node *child = plus    ? LOAD(&node->plus)
                              : multi ? LOAD(&node->multi)
                                      : trie_child(node, level);
    if (child != NULL)
        return child;
    child = node_new(node, level);
    if (child == NULL)
        return NULL;
    if (plus) {
        STORE(&node->plus, child);
    } else if (multi) {
        STORE(&node->multi, child);
    } else if (child_add(node, child) != RC_OK) {
        mem_free(child);
        return NULL;
    }
    node->child_count++;
    router->node_count++;
    return child;
}

/* Frees the node when nothing needs it, then its parent, and so on up. */
static void node_release(struct router *router, struct trie_node *node)
{
    while (node->parent != NULL && node->child_count == 0 && LOAD(&node->subscribers) == NULL &&
           LOAD(&node->shares) == NULL) {
        struct trie_node *parent = node->parent;
        if (LOAD(&parent->plus) == node)
            STORE(&parent->plus, (struct trie_node *)NULL);
        else if (LOAD(&parent->multi) == node)
            STORE(&parent->multi, (struct trie_node *)NULL);
        else
            child_remove(parent, node);
        parent->child_count--;
        router->node_count--;
        struct child_table *table = LOAD(&node->children);
        free_later(table == NULL ? NULL : &table->rcu);
        free_later(&node->rcu);
        node = parent;
    }
}

/* ---- the interface -----------------------------------------------------------------------------
 */

void router_init(struct router *router, enum share_choice share_choice)
{
    *router = (struct router){.share_choice = share_choice};
    pthread_mutex_init(&router->lock, NULL);
    router->root = node_new(NULL, bytes_of("", 0));
    CHECK(router->root != NULL);
}

static void changed(struct router *router)
{
    atomic_fetch_add_explicit(&router->generation, 1, memory_order_release); /* pairs: route_find */
}

static void set_options(struct subscription *s, const struct subscription_options *options,
                        uint8_t flags)
{
    if (options->no_local)
        flags |= SUBSCRIPTION_NO_LOCAL;
    if (options->retain_as_published)
        flags |= SUBSCRIPTION_RETAIN_AS_PUBLISHED;
    atomic_store_explicit(&s->identifier, options->identifier, memory_order_relaxed);
    atomic_store_explicit(&s->qos, options->qos, memory_order_relaxed);
    atomic_store_explicit(&s->flags, flags, memory_order_relaxed);
}

/* Memories of routes that have the share end before the grace period starts that frees it. */
static void share_end(struct router *router, struct trie_node *node, struct share *share)
{
    share_unlink(node, share);
    changed(router);
    free_later(&share->rcu);
}

static struct subscription *subscribe_locked(struct router *router, struct subscription *s,
                                             struct bytes filter, struct bytes share)
{
    struct trie_node *node = router->root;
    struct topic_cursor cursor = topic_cursor_of(filter);
    struct bytes level;
    while (topic_next_level(&cursor, &level)) {
        struct trie_node *child = node_enter(router, node, level);
        if (child == NULL)
            goto no_memory;
        node = child;
    }
    s->node = node;
    if (share.len == 0) {
        if (subscriber_list_add(&node->subscribers, s) != RC_OK)
            goto no_memory;
    } else {
        s->share = share_find(node, share, true);
        if (s->share == NULL)
            goto no_memory;
        if (subscriber_list_add(&s->share->members, s) != RC_OK) {
            if (LOAD(&s->share->members) == NULL)
                share_end(router, node, s->share);
            goto no_memory;
        }
    }
    changed(router);
    return s;

no_memory:
    node_release(router, node);
    return NULL;
}

struct subscription *router_subscribe(struct router *router, session_ref session,
                                      struct bytes filter, struct bytes share,
                                      const struct subscription_options *options, uint8_t flags)
{
    struct subscription *s = mem_try(sizeof(*s));
    if (s == NULL)
        return NULL;
    memset(s, 0, sizeof(*s));
    s->session = session;
    atomic_init(&s->member.online, true);
    set_options(s, options, flags);
    pthread_mutex_lock(&router->lock);
    struct subscription *published = subscribe_locked(router, s, filter, share);
    pthread_mutex_unlock(&router->lock);
    if (published == NULL)
        mem_free(s);
    return published;
}

void router_change(struct router *router, struct subscription *subscription,
                   const struct subscription_options *options, uint8_t flags)
{
    pthread_mutex_lock(&router->lock);
    set_options(subscription, options, flags);
    changed(router);
    pthread_mutex_unlock(&router->lock);
}

void router_set_durable(struct router *router, struct subscription *subscription, bool durable)
{
    if (durable)
        atomic_fetch_or_explicit(&subscription->flags, SUBSCRIPTION_DURABLE, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&subscription->flags, (uint8_t)~SUBSCRIPTION_DURABLE,
                                  memory_order_relaxed);
    changed(router);
}

void router_unsubscribe(struct router *router, struct subscription *subscription)
{
    pthread_mutex_lock(&router->lock);
    struct trie_node *node = subscription->node;
    struct share *share = subscription->share;
    if (share == NULL)
        subscriber_list_remove(&node->subscribers, subscription);
    else if (subscriber_list_remove(&share->members, subscription))
        share_end(router, node, share);
    node_release(router, node);
    changed(router);
    free_later(&subscription->rcu);
    pthread_mutex_unlock(&router->lock);
}

/* Compares from the end of the filter up to the root; needs no lock: a subscribed node stays. */
static bool node_is(const struct trie_node *node, struct bytes filter)
{
    size_t end = filter.len;
    for (; node->parent != NULL; node = node->parent) {
        if (node->level_len > end ||
            memcmp(node->level, filter.data + end - node->level_len, node->level_len) != 0)
            return false;
        end -= node->level_len;
        if (node->parent->parent == NULL)
            return end == 0;
        if (end == 0 || filter.data[--end] != '/')
            return false;
    }
    return false;
}

bool subscription_is(const struct subscription *subscription, struct bytes filter,
                     struct bytes share)
{
    const struct share *own = subscription->share;
    struct bytes name = own == NULL ? bytes_of("", 0) : bytes_of(own->name, own->name_len);
    return bytes_equal(name, share) && node_is(subscription->node, filter);
}

size_t subscription_filter(const struct subscription *subscription, char *out, size_t room)
{
    static const char prefix[] = "$share/";
    const struct share *share = subscription->share;
    size_t lead = share == NULL ? 0 : sizeof(prefix) - 1 + share->name_len + 1;
    size_t size = lead;
    for (const struct trie_node *n = subscription->node; n->parent != NULL; n = n->parent)
        size += n->level_len + (n->parent->parent != NULL);
    if (size > room)
        return size;
    char *end = out + size;
    for (const struct trie_node *n = subscription->node; n->parent != NULL; n = n->parent) {
        end -= n->level_len;
        memcpy(end, n->level, n->level_len);
        if (n->parent->parent != NULL)
            *--end = '/';
    }
    if (share != NULL) {
        memcpy(out, prefix, sizeof(prefix) - 1);
        memcpy(out + sizeof(prefix) - 1, share->name, share->name_len);
        out[lead - 1] = '/';
    }
    return size;
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static void list_free_all(struct subscriber_list *list)
{
    for (uint32_t i = 0; list != NULL && i < LOAD(&list->used); i++)
        mem_free(LOAD(&list->slots[i]));
    mem_free(list);
}

static void node_free_all(struct trie_node *node)
{
    if (node == NULL)
        return;
    node_free_all(LOAD(&node->plus));
    node_free_all(LOAD(&node->multi));
    struct child_table *table = LOAD(&node->children);
    for (uint32_t i = 0; table != NULL && i <= table->mask; i++) {
        struct trie_node *child = LOAD(&table->slots[i].node);
        if (child != TRIE_TOMB)
            node_free_all(child);
    }
    mem_free(table);
    list_free_all(LOAD(&node->subscribers));
    for (struct share *share = LOAD(&node->shares), *next; share != NULL; share = next) {
        next = LOAD(&share->next);
        list_free_all(LOAD(&share->members));
        mem_free(share);
    }
    mem_free(node);
}

void router_deinit(struct router *router)
{
    node_free_all(router->root);
    router->root = NULL;
    pthread_mutex_destroy(&router->lock);
}
