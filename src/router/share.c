/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared subscriptions: a group at a trie node is a list of members of which each message goes to
 * one (section 4.8.2). Which one is chosen on the publisher's worker, without a lock, from figures
 * that the members' homes keep up to date; a stale figure costs balance, never a message.
 */
#include "router/trie.h"

#include "base/check.h"
#include "base/memory.h"

#define LOAD(pointer) atomic_load_explicit((pointer), memory_order_acquire)

struct share *share_find(struct trie_node *node, struct bytes name, bool make)
{
    for (struct share *share = LOAD(&node->shares); share != NULL; share = LOAD(&share->next))
        if (bytes_equal(bytes_of(share->name, share->name_len), name))
            return share;
    struct share *share = make ? mem_try(sizeof(*share) + name.len) : NULL;
    if (share == NULL)
        return NULL;
    memset(share, 0, sizeof(*share));
    share->name_len = (uint16_t)name.len;
    memcpy(share->name, name.data, name.len);
    atomic_init(&share->next, LOAD(&node->shares));
    atomic_store_explicit(&node->shares, share, memory_order_release); /* pairs with route_find() */
    return share;
}

void share_unlink(struct trie_node *node, struct share *share)
{
    _Atomic(struct share *) *at = &node->shares;
    while (LOAD(at) != share) {
        CHECK(LOAD(at) != NULL);
        at = &LOAD(at)->next;
    }
    atomic_store_explicit(at, LOAD(&share->next), memory_order_release);
}

/* ---- choosing ----------------------------------------------------------------------------------
 */

static uint64_t next_random(void)
{
    static _Thread_local uint64_t state;
    if (state == 0)
        state = (uint64_t)(uintptr_t)&state | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Who may take the message. */
struct takers {
    session_ref not_this;
    bool here_only, online_only, clean_only;
};

/* The member of that slot if it may take the message. */
static struct subscription *taker(struct subscriber *slot, const struct takers *takers)
{
    struct subscription *s = LOAD(&slot->subscription);
    bool may =
        s != NULL && s->session != takers->not_this &&
        !(takers->here_only && session_ref_is_remote(s->session)) &&
        !(takers->clean_only && (subscriber_route(slot).flags & SUBSCRIPTION_DURABLE)) &&
        (!takers->online_only || atomic_load_explicit(&s->member.online, memory_order_relaxed));
    return may ? s : NULL;
}

/* The first member at or behind `start` that may take it, and where it stands. */
static struct subscription *first_from(struct subscriber_list *list, uint32_t used, uint32_t start,
                                       const struct takers *takers, uint32_t *place)
{
    for (uint32_t n = 0; n < used; n++) {
        uint32_t i = start + n;
        if (i >= used)
            i -= used;
        struct subscription *s = taker(&list->slots[i], takers);
        if (s != NULL) {
            *place = i;
            return s;
        }
    }
    return NULL;
}

static struct subscription *least_loaded(struct subscriber_list *list, uint32_t used,
                                         uint32_t start, const struct takers *takers,
                                         uint32_t *place)
{
    struct subscription *best = NULL;
    uint32_t best_load = UINT32_MAX;
    for (uint32_t n = 0; n < used; n++) {
        uint32_t i = (start + n) % used;
        struct subscription *s = taker(&list->slots[i], takers);
        if (s == NULL)
            continue;
        uint32_t load = atomic_load_explicit(&s->member.load, memory_order_relaxed);
        if (best == NULL || load < best_load) {
            best = s;
            best_load = load;
            *place = i;
        }
    }
    return best;
}

bool share_choose(struct share *share, enum share_choice how, enum share_reach reach,
                  uint64_t publisher, struct bytes topic, session_ref not_this,
                  struct subscription **member, struct route *route)
{
    struct subscriber_list *list = LOAD(&share->members);
    uint32_t used = list == NULL ? 0 : LOAD(&list->used);
    if (used == 0)
        return false;
    uint32_t turn = atomic_fetch_add_explicit(&share->cursor, 1, memory_order_relaxed);
    uint64_t start = turn;
    if (how == CHOOSE_RANDOM)
        start = next_random() >> 11;
    else if (how == CHOOSE_STICKY_CLIENT)
        start = publisher * 0x9E3779B97F4A7C15u >> 17;
    else if (how == CHOOSE_STICKY_TOPIC)
        start = bytes_hash(topic) >> 17;

    uint32_t first = (uint32_t)(start % used), place = 0;
    struct subscription *chosen = NULL;
    struct takers takers = {.not_this = not_this, .clean_only = reach == SHARE_CLEAN};
    for (int try = reach == SHARE_NEAR ? 0 : 1; try <= 2 && chosen == NULL; try++) {
        takers.here_only = reach == SHARE_HERE || reach == SHARE_CLEAN || try == 0;
        takers.online_only = try <= 1;
        chosen = how == CHOOSE_LEAST_INFLIGHT ? least_loaded(list, used, first, &takers, &place)
                                              : first_from(list, used, first, &takers, &place);
    }
    if (chosen == NULL)
        return false;
    if (how == CHOOSE_ROUND_ROBIN && place != first) /* or who stands behind a gap gets its turns */
        atomic_fetch_add_explicit(&share->cursor, (place + used - first) % used,
                                  memory_order_relaxed);
    *member = chosen;
    *route = subscriber_route(&list->slots[place]);
    return true;
}

bool share_has_member(struct share *share, session_ref session, uint16_t shard)
{
    struct subscriber_list *list = LOAD(&share->members);
    uint32_t used = list == NULL ? 0 : LOAD(&list->used);
    for (uint32_t i = 0; i < used; i++) {
        const struct subscription *s = LOAD(&list->slots[i].subscription);
        if (s != NULL && s->session == session && s->shard == shard)
            return true;
    }
    return false;
}

bool share_find_member(struct share *share, uint16_t shard, struct subscription **member,
                       struct route *route)
{
    struct subscriber_list *list = LOAD(&share->members);
    uint32_t used = list == NULL ? 0 : LOAD(&list->used);
    bool found = false, online = false;
    for (uint32_t i = 0; i < used && !online; i++) {
        struct subscription *s = LOAD(&list->slots[i].subscription);
        if (s == NULL || s->shard != shard || session_ref_is_remote(s->session))
            continue;
        online = atomic_load_explicit(&s->member.online, memory_order_relaxed);
        if (found && !online)
            continue;
        found = true;
        *member = s;
        *route = subscriber_route(&list->slots[i]);
    }
    return found;
}
