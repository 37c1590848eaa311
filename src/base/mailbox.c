/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mailbox.h"

#include <stddef.h>

void mailbox_init(struct mailbox *box, void (*wake)(void *owner), void *owner)
{
    atomic_init(&box->head, NULL);
    box->wake = wake;
    box->owner = owner;
}

void mailbox_post(struct mailbox *box, struct letter *letter)
{
    struct letter *head = atomic_load_explicit(&box->head, memory_order_relaxed);
    do {
        letter->next = head;
    } while (!atomic_compare_exchange_weak_explicit(
        &box->head, &head, letter, memory_order_acq_rel, /* pairs with mailbox_take_all() */
        memory_order_relaxed));
    if (head == NULL)
        box->wake(box->owner);
}

struct letter *mailbox_take_all(struct mailbox *box)
{
    if (atomic_load_explicit(&box->head, memory_order_relaxed) == NULL)
        return NULL;
    struct letter *letter = atomic_exchange_explicit(&box->head, NULL, memory_order_acq_rel);
    struct letter *oldest = NULL;
    while (letter != NULL) { /* newest first: turn it round */
        struct letter *next = letter->next;
        letter->next = oldest;
        oldest = letter;
        letter = next;
    }
    return oldest;
}

bool mailbox_empty(struct mailbox *box)
{
    return atomic_load_explicit(&box->head, memory_order_relaxed) == NULL;
}
