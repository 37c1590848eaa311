/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail between workers: any thread posts, one thread takes. Lock-free: a post is one
 * compare-and-exchange on the head of a stack, taking is one exchange of the whole stack, which is
 * then turned round, so letters of one sender arrive in the order in which they were posted.
 * Whoever finds the box empty wakes the owner, so a busy owner is woken once a turn at most.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>

struct letter {
    struct letter *next;
};

struct mailbox {
    _Atomic(struct letter *) head;
    void (*wake)(void *owner); /* called by the posting thread; must be thread-safe and not block */
    void *owner;
};

void mailbox_init(struct mailbox *box, void (*wake)(void *owner), void *owner);

/* Takes the letter; it is the receiver's from now on. Any thread. */
void mailbox_post(struct mailbox *box, struct letter *letter);

/* Gives all letters, oldest first, linked by `next`; NULL when there are none. Owner's thread. */
struct letter *mailbox_take_all(struct mailbox *box);

/* True when nothing is waiting (a hint for other threads). */
bool mailbox_empty(struct mailbox *box);

#endif
