/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists of subscribers at the nodes of the trie and in shares: what writers do with them, under
 * router->lock. A piece that is replaced is freed after a grace period, its readers go on from it.
 */
#include "router/trie.h"

#include "base/check.h"
#include "base/memory.h"

#define LOAD(pointer) atomic_load_explicit((pointer), memory_order_acquire)
#define STORE(pointer, value) atomic_store_explicit((pointer), (value), memory_order_release)

enum { ROOM_BEHIND_FULL = 64 }; /* of a piece before one that is full */

static struct subscriber_list *piece_new(uint32_t room, struct subscriber_list *next)
{
    struct subscriber_list *piece = mem_try(sizeof(*piece) + room * sizeof(struct subscriber));
    if (piece == NULL)
        return NULL;
    atomic_init(&piece->next, next);
    atomic_init(&piece->used, 0);
    piece->room = room;
    piece->live = 0;
    return piece;
}

static void append(struct subscriber_list *piece, struct subscription *s,
                   const struct route *options)
{
    uint32_t used = atomic_load_explicit(&piece->used, memory_order_relaxed);
    CHECK(used < piece->room);
    s->list = piece;
    s->place = used;
    piece->slots[used].session = s->session;
    subscriber_set(&piece->slots[used], options);
    atomic_store_explicit(&piece->slots[used].subscription, s, memory_order_release);
    piece->live++;
    atomic_store_explicit(&piece->used, used + 1, memory_order_release); /* pairs with readers */
}

/* Those that are in `from` are listed in `to` from now on. */
static void append_all(struct subscriber_list *to, struct subscriber_list *from)
{
    uint32_t used = atomic_load_explicit(&from->used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        const struct subscriber *slot = &from->slots[i];
        struct subscription *s = atomic_load_explicit(&slot->subscription, memory_order_relaxed);
        if (s == NULL)
            continue;
        struct route options = subscriber_route(slot);
        append(to, s, &options);
    }
}

/* The first piece has no slot left. */
static enum rc make_room(_Atomic(struct subscriber_list *) *list, uint32_t room_max)
{
    struct subscriber_list *old = LOAD(list);
    if (old != NULL && old->live >= room_max / 2) {
        struct subscriber_list *first = piece_new(ROOM_BEHIND_FULL, old);
        if (first == NULL)
            return RC_NO_MEMORY;
        STORE(list, first);
        return RC_OK;
    }
    uint32_t room = old == NULL ? 1 : old->live < 2 ? 4 : old->live * 2;
    struct subscriber_list *grown = piece_new(room, old == NULL ? NULL : LOAD(&old->next));
    if (grown == NULL)
        return RC_NO_MEMORY;
    if (old != NULL)
        append_all(grown, old);
    STORE(list, grown);
    free_later(old == NULL ? NULL : &old->rcu);
    return RC_OK;
}

enum rc subscriber_list_add(_Atomic(struct subscriber_list *) *list, struct subscription *s,
                            const struct route *options, uint32_t room_max)
{
    struct subscriber_list *first = LOAD(list);
    if (first == NULL || atomic_load_explicit(&first->used, memory_order_relaxed) == first->room) {
        enum rc rc = make_room(list, room_max);
        if (rc != RC_OK)
            return rc;
        first = LOAD(list);
    }
    append(first, s, options);
    return RC_OK;
}

/* The pointer that leads to this piece. */
static _Atomic(struct subscriber_list *) *link_to(_Atomic(struct subscriber_list *) *list,
                                                  const struct subscriber_list *piece)
{
    while (LOAD(list) != piece) {
        CHECK(LOAD(list) != NULL);
        list = &LOAD(list)->next;
    }
    return list;
}

/* Much of the piece is holes: puts a smaller copy in its place, of the next one too when that has
 * little in it. Without memory all stays as it is. */
static void compact(_Atomic(struct subscriber_list *) *list, struct subscriber_list *piece)
{
    struct subscriber_list *next = LOAD(&piece->next);
    bool both = next != NULL && piece->live + next->live <= SUBSCRIBERS_MAX / 2;
    struct subscriber_list *copy =
        piece_new((piece->live + (both ? next->live : 0)) * 2, both ? LOAD(&next->next) : next);
    if (copy == NULL)
        return;
    append_all(copy, piece);
    if (both)
        append_all(copy, next);
    STORE(link_to(list, piece), copy);
    free_later(&piece->rcu);
    free_later(both ? &next->rcu : NULL);
}

bool subscriber_list_remove(_Atomic(struct subscriber_list *) *list, struct subscription *s)
{
    struct subscriber_list *piece = s->list;
    CHECK(s->place < piece->room);
    struct subscriber *slot = subscriber_of(s);
    CHECK(atomic_load_explicit(&slot->subscription, memory_order_relaxed) == s);
    atomic_store_explicit(&slot->subscription, NULL, memory_order_release);
    piece->live--;
    if (piece->live == 0) {
        STORE(link_to(list, piece), LOAD(&piece->next));
        free_later(&piece->rcu);
    } else if (piece->room > 8 && piece->live < piece->room / 4) {
        compact(list, piece);
    }
    return LOAD(list) == NULL;
}
