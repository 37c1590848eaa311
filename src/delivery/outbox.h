/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the outbox: its entries, and what its files have of each other. */
#ifndef DELIVERY_OUTBOX_H
#define DELIVERY_OUTBOX_H

#include "delivery/batch.h"

struct outbox_entry {
    struct store_waiter waiter;
    struct list link; /* in hub->undelivered */
    struct list in_line;
    struct delivery_hub *hub;
    struct store_shard *store;
    struct message *message;
    uint64_t number; /* its own; those behind are its shares' */
    uint32_t count;
    uint32_t sent_after; /* hub->remote->told, when it was sent on its way last */
    bool restored;       /* read from the store, and not sent on its way since */
    bool replayed;       /* it may have been on its way before */
    bool settles;        /* new choices are being stored */
    bool not_found;      /* a node that was chosen had nobody, the last time */
    bool sent;           /* on its way, and not put off */
    bool waits;          /* retained, and all have it; an older one of its topic is not done */
    bool anew;           /* ... was put off while this one was on its way */
    bool chosen;         /* its choices are known */
    bool left;           /* its shard has gone to another node, or is read again by this one */
    bool fails;          /* ... to one node; another has not answered yet: it will be put off */
    enum outbox_whom whom;
    enum outbox_promise promise;
    struct publish_ticket *asker; /* waits until all have it; NULL: nobody does */
    struct outbox_choice *choices;
};

/* ---- outbox.c ----------------------------------------------------------------------------------
 */

/* In its line, and not on its way; with room for so many choices. Shares message. */
struct outbox_entry *outbox_entry_new(struct delivery_hub *hub, struct store_shard *store,
                                      struct message *message, uint64_t number, uint32_t shares);
/* It is stored: on its way, or put off when it has to wait. */
void outbox_set_out(struct outbox_entry *entry);

/* ---- outbox_choice.c: who is chosen for a share ------------------------------------------------
 */

void outbox_choose(struct outbox_entry *entry, const struct route_set *set);
void outbox_add_choice(struct outbox_entry *entry, struct share *share, struct subscription *member,
                       const struct route *route);
/* Replaces members of no shard that have gone. True: some were, and the choices are to be stored.
 */
bool outbox_choose_anew(struct outbox_entry *entry);
void outbox_put_choices(const struct outbox_entry *entry);

#endif
