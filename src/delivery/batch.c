/* SPDX-License-Identifier: Apache-2.0 */
/* Batches between workers: filled during a turn, posted at its end, worked off in slices. */
#include "delivery/batch.h"

#include "base/check.h"
#include "base/memory.h"

static size_t item_size(uint32_t count)
{
    size_t size = sizeof(struct delivery_item) + count * sizeof(struct route);
    return (size + 15) & ~(size_t)15;
}

/* Opened on the receiver's thread: behind what is already in the inbox. */
static void open_deliveries(struct mail *mail, void *receiver)
{
    struct delivery_hub *hub = receiver;
    struct deliveries *batch = CONTAINER_OF(mail, struct deliveries, mail);
    batch->next = NULL;
    if (hub->inbox_last == NULL)
        hub->inbox_first = batch;
    else
        hub->inbox_last->next = batch;
    hub->inbox_last = batch;
}

static struct deliveries *batch_new(size_t room)
{
    struct deliveries *batch = mem_try(sizeof(*batch) + room);
    if (batch == NULL)
        return NULL;
    *batch = (struct deliveries){.mail.open = open_deliveries, .room = room};
    return batch;
}

static void post(struct delivery_peer *peer)
{
    struct deliveries *batch = peer->batch;
    peer->batch = NULL;
    atomic_fetch_add_explicit(peer->backlog, batch->bytes, memory_order_relaxed);
    if (peer->mailbox == NULL) /* ourselves: no mailbox is needed */
        open_deliveries(&batch->mail, peer->hub);
    else
        mailbox_post(peer->mailbox, &batch->mail.letter);
}

/* The batch for a worker with room for an item of that size. */
static struct deliveries *batch_with_room(struct delivery_peer *peer, size_t size)
{
    if (peer->batch != NULL && peer->batch->room - peer->batch->used < size)
        post(peer);
    if (peer->batch == NULL)
        peer->batch = batch_new(size > BATCH_ROOM ? size : BATCH_ROOM);
    return peer->batch;
}

bool deliveries_add(struct delivery_hub *hub, uint32_t worker, struct message *message,
                    struct publish_ticket *ticket, const struct route *routes, uint32_t count,
                    struct subscription *member)
{
    size_t size = item_size(count);
    struct deliveries *batch = batch_with_room(&hub->peers[worker], size);
    if (batch == NULL) {
        if (ticket != NULL)
            ticket_answered(ticket, RC_NO_MEMORY);
        return false;
    }
    struct delivery_item *item = (struct delivery_item *)(batch->data + batch->used);
    *item = (struct delivery_item){
        .message = message_hold(message),
        .ticket = ticket,
        .member = member,
        .share = member == NULL ? NULL : subscription_share(member),
        .from = hub->worker,
        .count = count,
        .source = {.hub = hub->peers[worker].hub,
                   .answering = true,
                   .asked = ticket,
                   .asked_worker = hub->worker},
    };
    memcpy(item->routes, routes, count * sizeof(*routes));
    batch->used += size;
    batch->bytes += size + message->size;
    return true;
}

bool deliveries_post_all(struct delivery_hub *hub)
{
    for (uint32_t i = 0; i < hub->worker_count; i++) {
        struct delivery_peer *peer = &hub->peers[i];
        if (peer->batch != NULL)
            post(peer);
        if (peer->answers != NULL) {
            struct answers *answers = peer->answers;
            peer->answers = NULL;
            mailbox_post(peer->mailbox, &answers->mail.letter);
        }
    }
    return hub->inbox_first != NULL;
}

void deliveries_item_done(struct delivery_hub *hub, struct deliveries *batch,
                          struct delivery_item *item)
{
    if (item->ticket != NULL)
        commit_answer_close(hub, item);
    message_drop(item->message);
    batch->at += item_size(item->count);
}

void deliveries_done(struct delivery_hub *hub, struct deliveries *batch)
{
    atomic_fetch_sub_explicit(&hub->backlog, batch->bytes, memory_order_relaxed);
    mem_free(batch);
}

void deliveries_free(struct deliveries *batch)
{
    if (batch == NULL)
        return;
    for (struct delivery_item *item; (item = deliveries_item(batch)) != NULL;) {
        message_drop(item->message);
        batch->at += item_size(item->count);
    }
    mem_free(batch);
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void open_answers(struct mail *mail, void *receiver)
{
    struct delivery_hub *hub = receiver;
    struct answers *answers = CONTAINER_OF(mail, struct answers, mail);
    for (uint32_t i = 0; i < answers->count; i++) {
        if (answers->list[i].ticket != NULL)
            ticket_answered(answers->list[i].ticket, answers->list[i].rc);
        else
            hub->ops->slow_down(hub, answers->list[i].publisher);
    }
    mem_free(answers);
}

void answers_add(struct delivery_hub *hub, uint32_t worker, struct publish_ticket *ticket,
                 session_ref publisher, enum rc rc)
{
    struct delivery_peer *peer = &hub->peers[worker];
    if (worker == hub->worker) {
        if (ticket != NULL)
            ticket_answered(ticket, rc);
        else
            hub->ops->slow_down(hub, publisher);
        return;
    }
    if (peer->answers == NULL) {
        peer->answers = NEW(struct answers);
        peer->answers->mail.open = open_answers;
    }
    struct answers *answers = peer->answers;
    uint32_t i = answers->count++;
    answers->list[i].ticket = ticket;
    answers->list[i].publisher = publisher;
    answers->list[i].rc = rc;
    if (answers->count == ANSWERS_MAX) {
        peer->answers = NULL;
        mailbox_post(peer->mailbox, &answers->mail.letter);
    }
}

void deliveries_report_lag(struct delivery_hub *hub, const struct delivery_item *item)
{
    session_ref publisher = item->message->publication.publisher;
    if (publisher != 0)
        answers_add(hub, item->from, NULL, publisher, RC_OK);
}
