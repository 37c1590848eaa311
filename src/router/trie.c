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
    } else if (trie_child_add(node, child) != RC_OK) {
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
            trie_child_remove(parent, node);
        parent->child_count--;
        router->node_count--;
        child_table_free_later(LOAD(&node->children));
        free_later(&node->rcu);
        node = parent;
    }
}

/* ---- interests ---------------------------------------------------------------------------------
 */

static void interests_free(struct interest *interest)
{
    while (interest != NULL) {
        struct interest *next = interest->next;
        mem_free(interest);
        interest = next;
    }
}

static void interest_note(struct router *router, const struct subscription *s, uint16_t shard,
                          enum interest_level level)
{
    char none[1];
    size_t len = subscription_filter(s, none, 0);
    struct interest *interest = mem_new(sizeof(*interest) + len);
    interest->next = NULL;
    interest->level = level;
    interest->shard = shard;
    interest->len = (uint32_t)subscription_filter(s, interest->filter, len);
    if (router->interest_first == NULL)
        router->interest_first = interest;
    else
        router->interest_last->next = interest;
    router->interest_last = interest;
    atomic_fetch_add_explicit(&router->interests, 1, memory_order_relaxed);
}

static enum interest_level level_of(const struct local *local, bool is_share)
{
    if (local->durable == 0)
        return local->all > 0 ? INTEREST_CLEAN : INTEREST_NONE;
    return is_share && local->all > local->durable ? INTEREST_BOTH : INTEREST_DURABLE;
}

/* The slot of that shard, in which one member is counted at least or is about to be. */
static uint32_t slot_of_shard(struct by_shard *by_shard, uint16_t shard)
{
    uint32_t at = by_shard->used;
    for (uint32_t i = 0; i < by_shard->used; i++) {
        if (by_shard->slots[i].durable == 0)
            at = i;
        else if (by_shard->slots[i].shard == shard)
            return i;
    }
    if (at == by_shard->room) {
        by_shard->room = at == 0 ? 1 : 2 * at;
        by_shard->slots = mem_resize(by_shard->slots, by_shard->room * sizeof(by_shard->slots[0]));
    }
    by_shard->used += at == by_shard->used;
    by_shard->slots[at].shard = shard;
    by_shard->slots[at].durable = by_shard->slots[at].online = 0;
    return at;
}

static enum interest_level level_of_slot(const struct by_shard *by_shard, uint32_t at)
{
    return by_shard->slots[at].durable == 0  ? INTEREST_NONE
           : by_shard->slots[at].online == 0 ? INTEREST_OFFLINE
                                             : INTEREST_DURABLE;
}

/* So many members more or less in that one's shard, and of these online. True: other nodes hear
 * another level of it. */
static bool count_in_shard(const struct subscription *s, int durable, int online,
                           enum interest_level *level)
{
    struct by_shard *by_shard = &s->share->local_by_shard;
    uint32_t at = slot_of_shard(by_shard, s->shard);
    enum interest_level before = level_of_slot(by_shard, at);
    by_shard->slots[at].durable += (uint32_t)durable;
    by_shard->slots[at].online += (uint32_t)online;
    *level = level_of_slot(by_shard, at);
    return *level != before;
}

static bool is_online(const struct subscription *s)
{
    return atomic_load_explicit(&s->member.online, memory_order_relaxed);
}

static bool is_told_by_shard(const struct router *router, const struct subscription *s)
{
    return router->watch.wake != NULL && s->share != NULL && s->shard != NO_SHARD &&
           !session_ref_is_remote(s->session);
}

/* So many subscribers more or less, in all and durable ones. True: somebody is to be woken, without
 * the lock. Other nodes hear of the shards and the rest in such an order that a share does not look
 * empty in between. */
static bool interest_count(struct router *router, const struct subscription *s, int all,
                           int durable)
{
    struct local *local = s->share == NULL ? &s->node->local : &s->share->local;
    if (session_ref_is_remote(s->session))
        return false;
    enum interest_level before = level_of(local, s->share != NULL), of_shard;
    local->all += (uint32_t)all;
    local->durable += (uint32_t)durable;
    if (router->watch.wake == NULL)
        return false;
    bool nothing = router->interest_first == NULL;
    enum interest_level now = level_of(local, s->share != NULL);
    bool shard_too = durable != 0 && is_told_by_shard(router, s) &&
                     count_in_shard(s, durable, is_online(s) ? durable : 0, &of_shard);
    if (shard_too && durable > 0)
        interest_note(router, s, s->shard, of_shard);
    if (now != before)
        interest_note(router, s, NO_SHARD, now);
    if (shard_too && durable < 0)
        interest_note(router, s, s->shard, of_shard);
    return nothing && router->interest_first != NULL;
}

static void tell_watcher(const struct router *router, bool news)
{
    if (news)
        router->watch.wake(router->watch.owner);
}

void router_watch(struct router *router, const struct interest_watch *watch)
{
    router->watch = *watch;
}

struct interest *router_take_interests(struct router *router, uint64_t *count)
{
    pthread_mutex_lock(&router->lock);
    struct interest *first = router->interest_first;
    router->interest_first = router->interest_last = NULL;
    *count = atomic_load_explicit(&router->interests, memory_order_relaxed);
    pthread_mutex_unlock(&router->lock);
    return first;
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

static struct route as_route(const struct subscription_options *options, uint8_t flags)
{
    if (options->no_local)
        flags |= SUBSCRIPTION_NO_LOCAL;
    if (options->retain_as_published)
        flags |= SUBSCRIPTION_RETAIN_AS_PUBLISHED;
    return (struct route){.identifier = options->identifier, .qos = options->qos, .flags = flags};
}

/* Memories of routes that have the share end before the grace period starts that frees it. */
static void share_end(struct router *router, struct trie_node *node, struct share *share)
{
    share_unlink(node, share);
    changed(router);
    mem_free(share->local_by_shard.slots);
    free_later(&share->rcu);
}

static struct subscription *subscribe_locked(struct router *router, struct subscription *s,
                                             struct bytes filter, struct bytes share,
                                             const struct route *options)
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
        if (subscriber_list_add(&node->subscribers, s, options, SUBSCRIBERS_MAX) != RC_OK)
            goto no_memory;
    } else {
        s->share = share_find(node, share, true);
        if (s->share == NULL)
            goto no_memory;
        if (subscriber_list_add(&s->share->members, s, options, UINT32_MAX) != RC_OK) {
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

struct subscription *router_subscribe(struct router *router, const struct subscriber_is *who,
                                      struct bytes filter, struct bytes share,
                                      const struct subscription_options *options)
{
    struct subscription *s = mem_try(sizeof(*s));
    if (s == NULL)
        return NULL;
    memset(s, 0, sizeof(*s));
    s->session = who->session;
    s->shard = who->shard;
    atomic_init(&s->member.online, !who->offline);
    s->durable = who->flags & SUBSCRIPTION_DURABLE;
    struct route listed = as_route(options, who->flags);
    pthread_mutex_lock(&router->lock);
    struct subscription *published = subscribe_locked(router, s, filter, share, &listed);
    bool news = published != NULL && interest_count(router, s, 1, s->durable);
    pthread_mutex_unlock(&router->lock);
    tell_watcher(router, news);
    if (published == NULL)
        mem_free(s);
    return published;
}

void router_change(struct router *router, struct subscription *subscription,
                   const struct subscription_options *options, uint8_t flags)
{
    struct route listed = as_route(options, flags);
    bool durable = flags & SUBSCRIPTION_DURABLE;
    pthread_mutex_lock(&router->lock);
    bool news = interest_count(router, subscription, 0, durable - subscription->durable);
    subscription->durable = durable;
    subscriber_set(subscriber_of(subscription), &listed);
    changed(router);
    pthread_mutex_unlock(&router->lock);
    tell_watcher(router, news);
}

void router_set_durable(struct router *router, struct subscription *subscription, bool durable)
{
    pthread_mutex_lock(&router->lock);
    bool news = interest_count(router, subscription, 0, durable - subscription->durable);
    subscription->durable = durable;
    struct subscriber *listed = subscriber_of(subscription);
    struct route options = subscriber_route(listed);
    if (durable)
        options.flags |= SUBSCRIPTION_DURABLE;
    else
        options.flags &= (uint8_t)~SUBSCRIPTION_DURABLE;
    subscriber_set(listed, &options);
    changed(router);
    pthread_mutex_unlock(&router->lock);
    tell_watcher(router, news);
}

void router_set_online(struct router *router, struct subscription *subscription, bool online)
{
    enum interest_level level;
    if (atomic_exchange_explicit(&subscription->member.online, online, memory_order_relaxed) ==
            online ||
        !subscription->durable || !is_told_by_shard(router, subscription))
        return;
    pthread_mutex_lock(&router->lock);
    bool news = count_in_shard(subscription, 0, online ? 1 : -1, &level);
    if (news) {
        bool nothing = router->interest_first == NULL;
        interest_note(router, subscription, subscription->shard, level);
        news = nothing;
    }
    pthread_mutex_unlock(&router->lock);
    tell_watcher(router, news);
}

void router_unsubscribe(struct router *router, struct subscription *subscription)
{
    pthread_mutex_lock(&router->lock);
    struct trie_node *node = subscription->node;
    struct share *share = subscription->share;
    bool news = interest_count(router, subscription, -1, -(int)subscription->durable);
    if (share == NULL)
        subscriber_list_remove(&node->subscribers, subscription);
    else if (subscriber_list_remove(&share->members, subscription))
        share_end(router, node, share);
    node_release(router, node);
    changed(router);
    free_later(&subscription->rcu);
    pthread_mutex_unlock(&router->lock);
    tell_watcher(router, news);
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
    while (list != NULL) {
        struct subscriber_list *next = LOAD(&list->next);
        for (uint32_t i = 0; i < LOAD(&list->used); i++)
            mem_free(LOAD(&list->slots[i].subscription));
        mem_free(list);
        list = next;
    }
}

static void node_free_all(struct trie_node *node);

static void children_free_all(struct child_table *table)
{
    for (uint32_t i = 0; table != NULL && i < child_table_slots(table); i++) {
        if (table->mask == 0)
            children_free_all(LOAD(&table->slots[i].table));
        else if (LOAD(&table->slots[i].node) != TRIE_TOMB)
            node_free_all(LOAD(&table->slots[i].node));
    }
    mem_free(table);
}

static void node_free_all(struct trie_node *node)
{
    if (node == NULL)
        return;
    node_free_all(LOAD(&node->plus));
    node_free_all(LOAD(&node->multi));
    children_free_all(LOAD(&node->children));
    list_free_all(LOAD(&node->subscribers));
    for (struct share *share = LOAD(&node->shares), *next; share != NULL; share = next) {
        next = LOAD(&share->next);
        list_free_all(LOAD(&share->members));
        mem_free(share->local_by_shard.slots);
        mem_free(share);
    }
    mem_free(node);
}

void router_deinit(struct router *router)
{
    node_free_all(router->root);
    interests_free(router->interest_first);
    router->root = NULL;
    pthread_mutex_destroy(&router->lock);
}
