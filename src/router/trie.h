/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structures of the subscription trie, shared by the files of this folder only: trie.c (nodes
 * and lists, writers), route.c (readers), share.c (groups). See router.h for the rules of access.
 */
#ifndef ROUTER_TRIE_H
#define ROUTER_TRIE_H

#include "router/router.h"

/* Subscribers of one filter. Readers walk slots[0..used); a NULL slot is a hole. */
struct subscriber_list {
    struct rcu_entry rcu;
    _Atomic uint32_t used;
    uint32_t room, live;
    _Atomic(struct subscription *) slots[];
};

struct child_slot {
    _Atomic(struct trie_node *) node; /* NULL: never used; TRIE_TOMB: taken out */
    _Atomic uint32_t hash;            /* a hint, written before node */
};

/* Literal children by hash of their level; open addressing, at most 3/4 full with tombs. */
struct child_table {
    struct rcu_entry rcu;
    uint32_t mask;
    uint32_t filled; /* with tombs */
    struct child_slot slots[];
};

struct trie_node {
    struct rcu_entry rcu;
    struct trie_node *parent;
    _Atomic(struct child_table *) children;
    _Atomic(struct trie_node *) plus, multi; /* the children '+' and '#' */
    _Atomic(struct subscriber_list *) subscribers;
    _Atomic(struct share *) shares;
    uint32_t child_count; /* of all three kinds; writers */
    uint32_t hash;
    uint16_t level_len;
    uint8_t level[];
};

struct share {
    struct rcu_entry rcu;
    _Atomic(struct share *) next;
    _Atomic(struct subscriber_list *) members;
    _Atomic uint32_t cursor; /* round robin */
    uint16_t name_len;
    uint8_t name[];
};

#define TRIE_TOMB ((struct trie_node *)1)

static inline uint32_t level_hash(struct bytes level)
{
    return (uint32_t)bytes_hash(level);
}

/* The child for a literal level, NULL when there is none. Readers and writers. */
struct trie_node *trie_child(struct trie_node *node, struct bytes level);

/* Under the lock: shares the subscription with the list's readers, which replaces *list when it is
 * full. */
enum rc subscriber_list_add(_Atomic(struct subscriber_list *) *list, struct subscription *s);
/* Under the lock. True when the list has become empty (and *list NULL). */
bool subscriber_list_remove(_Atomic(struct subscriber_list *) *list, struct subscription *s);

/* Under the lock: the node's share of that name; made when `make`, else NULL when there is none. */
struct share *share_find(struct trie_node *node, struct bytes name, bool make);
/* Under the lock: readers may still hold it. The caller gives it to rcu_free() once the generation
 * has changed: a memory of routes made before has it too. */
void share_unlink(struct trie_node *node, struct share *share);

#endif
