/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a subscription is in effect: on its own node at once, on the others when they have said so.
 * Until then its SUBACK waits, so that what is published anywhere after it arrives. Tickets of one
 * worker are answered in their order.
 */
#include "delivery/batch.h"

#include "base/memory.h"

struct settle_wait {
    struct list link; /* in hub->unsettled */
    struct publish_ticket *ticket;
    uint64_t interests; /* so many have to be settled */
};

struct publish_ticket *delivery_await_routes(struct delivery_hub *hub)
{
    if (hub->remote == NULL)
        return NULL;
    uint64_t interests = atomic_load_explicit(&hub->router->interests, memory_order_relaxed);
    if (atomic_load_explicit(&hub->remote->settled, memory_order_acquire) >= interests)
        return NULL;
    struct settle_wait *wait = NEW(struct settle_wait);
    wait->ticket = NEW(struct publish_ticket);
    wait->ticket->hub = hub;
    wait->ticket->remaining = 1;
    wait->interests = interests;
    list_add_last(&hub->unsettled, &wait->link);
    return wait->ticket;
}

void routes_settle(struct delivery_hub *hub)
{
    if (list_empty(&hub->unsettled))
        return;
    uint64_t settled = atomic_load_explicit(&hub->remote->settled, memory_order_acquire);
    LIST_FOR_EACH_SAFE (link, &hub->unsettled) {
        struct settle_wait *wait = CONTAINER_OF(link, struct settle_wait, link);
        if (wait->interests > settled)
            return;
        list_remove(&wait->link);
        ticket_answered(wait->ticket, RC_OK);
        mem_free(wait);
    }
}
