/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structures of the subscription trie, shared by the files of this folder only: trie.c (nodes,
 * writers), children.c and subscribers.c (what hangs at a node), route.c (readers), share.c
 * (groups). See router.h for the rules of access.
 */
#ifndef ROUTER_TRIE_H
#define ROUTER_TRIE_H

#include "router/router.h"

/* What readers copy of a subscription: in the list itself, so that they need not go anywhere else
 * for each of very many. */
struct subscriber {
    _Atomic(struct subscription *) subscription; /* NULL: a hole */
    session_ref session;
    _Atomic uint32_t identifier;
    _Atomic uint8_t qos, flags; /* enum subscription_flags */
};

/*
 * A piece of the subscribers of one filter, or all of them. Readers walk slots[0..used) of each
 * piece, and pass over holes. New ones go into the first piece, which is replaced by a larger
 * copy until it has SUBSCRIBERS_MAX slots, and then stays behind another one: so no change copies
 * more than that. Members of a share are always one piece.
 */
struct subscriber_list {
    struct rcu_entry rcu;
    _Atomic(struct subscriber_list *) next;
    _Atomic uint32_t used;
    uint32_t room, live;
    struct subscriber slots[];
};

enum { SUBSCRIBERS_MAX = 1024 };

/* Subscribers of this node. */
struct local {
    uint32_t all, durable;
};

/* Durable members of a share by shard, of which there are some hundreds at most; only when somebody
 * is told of them. */
struct by_shard {
    struct {
        uint16_t shard;
        uint32_t durable; /* 0: the slot is free */
        uint32_t online;  /* of these */
    } * slots;
    uint32_t used, room;
};

struct child_table;

struct child_slot {
    union {
        _Atomic(struct trie_node *) node;    /* NULL: never used; TRIE_TOMB: taken out */
        _Atomic(struct child_table *) table; /* of a branch; never NULL */
    };
    _Atomic uint32_t hash; /* a hint, written before node */
};

/*
 * Literal children by hash of their level; open addressing, at most 3/4 full with tombs. Very many
 * are a branch of CHILD_WAYS tables, chosen by some bits of the hash, and so on: no change moves
 * more than CHILD_TABLE_MAX slots.
 */
struct child_table {
    struct rcu_entry rcu;
    uint32_t mask;   /* 0: a branch */
    uint16_t filled; /* with tombs; of a branch: where in the hash its bits are */
    uint16_t live;   /* without */
    struct child_slot slots[];
};

enum {
    CHILD_TABLE_MAX = 4096,
    CHILD_TABLE_FULL = 65536, /* when the bits for branches are used up; more is no memory */
    CHILD_WAY_BITS = 6,
    CHILD_WAYS = 1 << CHILD_WAY_BITS,
};

struct trie_node {
    struct rcu_entry rcu;
    struct trie_node *parent;
    _Atomic(struct child_table *) children;
    _Atomic(struct trie_node *) plus, multi; /* the children '+' and '#' */
    _Atomic(struct subscriber_list *) subscribers;
    _Atomic(struct share *) shares;
    uint32_t child_count; /* of all three kinds; writers */
    struct local local;   /* without members of shares; writers */
    uint32_t hash;
    uint16_t level_len;
    uint8_t level[];
};

struct share {
    struct rcu_entry rcu;
    _Atomic(struct share *) next;
    _Atomic(struct subscriber_list *) members;
    _Atomic uint32_t cursor;        /* round robin */
    struct local local;             /* writers */
    struct by_shard local_by_shard; /* the same */
    uint16_t name_len;
    uint8_t name[];
};

/* Readers and writers. */
static inline struct route subscriber_route(const struct subscriber *subscriber)
{
    return (struct route){
        .session = subscriber->session,
        .identifier = atomic_load_explicit(&subscriber->identifier, memory_order_relaxed),
        .qos = atomic_load_explicit(&subscriber->qos, memory_order_relaxed),
        .flags = atomic_load_explicit(&subscriber->flags, memory_order_relaxed),
    };
}

/* Under the lock. */
static inline void subscriber_set(struct subscriber *subscriber, const struct route *options)
{
    atomic_store_explicit(&subscriber->identifier, options->identifier, memory_order_relaxed);
    atomic_store_explicit(&subscriber->qos, options->qos, memory_order_relaxed);
    atomic_store_explicit(&subscriber->flags, options->flags, memory_order_relaxed);
}

/* Under the lock: where a subscription is listed. */
static inline struct subscriber *subscriber_of(const struct subscription *s)
{
    return &s->list->slots[s->place];
}

#define TRIE_TOMB ((struct trie_node *)1)

static inline void free_later(struct rcu_entry *entry)
{
    if (entry != NULL)
        rcu_free(entry);
}

static inline uint32_t level_hash(struct bytes level)
{
    return (uint32_t)bytes_hash(level);
}

/* The child for a literal level, NULL when there is none. Readers and writers. */
struct trie_node *trie_child(struct trie_node *node, struct bytes level);

/* Under the lock. RC_NO_MEMORY. */
enum rc trie_child_add(struct trie_node *node, struct trie_node *child);
void trie_child_remove(struct trie_node *node, struct trie_node *child);

/* Under the lock: the node has no children any more, readers may still look. NULL is fine. */
void child_table_free_later(struct child_table *table);

static inline uint32_t child_table_slots(const struct child_table *table)
{
    return table->mask == 0 ? CHILD_WAYS : table->mask + 1;
}

/* Under the lock: shares the subscription, with its options, with the list's readers. `room_max`:
 * of one piece. */
enum rc subscriber_list_add(_Atomic(struct subscriber_list *) *list, struct subscription *s,
                            const struct route *options, uint32_t room_max);
/* Under the lock. True when the list has become empty (and *list NULL). */
bool subscriber_list_remove(_Atomic(struct subscriber_list *) *list, struct subscription *s);

/* Under the lock: the node's share of that name; made when `make`, else NULL when there is none. */
struct share *share_find(struct trie_node *node, struct bytes name, bool make);
/* Under the lock: readers may still hold it. The caller gives it to rcu_free() once the generation
 * has changed: a memory of routes made before has it too. */
void share_unlink(struct trie_node *node, struct share *share);

#endif
