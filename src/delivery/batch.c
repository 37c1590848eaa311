/* SPDX-License-Identifier: Apache-2.0 */
/* Batches between workers: filled during a turn, posted at its end, worked off in slices. */
#include "delivery/batch.h"

#include "base/check.h"
#include "base/memory.h"

/* ---- answers -----------------------------------------------------------------------------------
 */

static void post_answers(struct delivery_peer *peer)
{
    struct answers *answers = peer->answers;
    peer->answers = NULL;
    mailbox_post(peer->mailbox, &answers->mail.letter);
}

static void answer_give(struct delivery_hub *hub, uint32_t from, const struct answer *answer)
{
    switch (answer->kind) {
    case ANSWER_COMMITTED:
        ticket_answered(answer->ticket, answer->rc);
        break;
    case ANSWER_LAGGING:
        if (session_ref_is_remote(answer->publisher))
            hub->remote->ops->slow_down(hub, answer->publisher);
        else
            hub->ops->slow_down(hub, answer->publisher, from);
        break;
    case ANSWER_CAUGHT_UP:
        if (session_ref_is_remote(answer->publisher))
            hub->remote->ops->caught_up(hub, answer->publisher, answer->question);
        else
            hub->ops->caught_up(hub, answer->publisher, answer->question);
        break;
    }
}

static void open_answers(struct mail *mail, void *receiver)
{
    struct answers *answers = CONTAINER_OF(mail, struct answers, mail);
    for (uint32_t i = 0; i < answers->count; i++)
        answer_give(receiver, answers->from, &answers->list[i]);
    mem_free(answers);
}

static void answers_put(struct delivery_hub *hub, uint32_t worker, struct answer answer)
{
    struct delivery_peer *peer = &hub->peers[worker];
    if (worker == hub->worker) {
        answer_give(hub, worker, &answer);
        return;
    }
    if (peer->answers == NULL) {
        peer->answers = NEW(struct answers);
        peer->answers->mail.open = open_answers;
        peer->answers->from = hub->worker;
    }
    peer->answers->list[peer->answers->count++] = answer;
    if (peer->answers->count == ANSWERS_MAX)
        post_answers(peer);
}

void answers_add(struct delivery_hub *hub, uint32_t worker, struct publish_ticket *ticket,
                 session_ref publisher, enum rc rc)
{
    answers_put(hub, worker,
                ticket != NULL
                    ? (struct answer){.kind = ANSWER_COMMITTED, .ticket = ticket, .rc = rc}
                    : (struct answer){.kind = ANSWER_LAGGING, .publisher = publisher});
}

/* ---- batches -----------------------------------------------------------------------------------
 */

static size_t item_size(uint32_t routes, size_t bytes)
{
    size_t size = sizeof(struct delivery_item) + routes * sizeof(struct route) + bytes;
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

static bool is_inside(struct bytes part, struct bytes whole)
{
    return part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static struct bytes moved(struct bytes part, struct bytes from, const uint8_t *to)
{
    return part.len == 0 ? bytes_of(to, 0) : bytes_of(to + (part.data - from.data), part.len);
}

/* A ready-made packet whose parts the publication is made of: one copy brings everything. */
static bool is_one_piece(const struct publication *p, const struct ready_made *packet)
{
    return packet != NULL && is_inside(p->topic, packet->packet) &&
           is_inside(p->properties, packet->packet) && is_inside(p->payload, packet->packet);
}

static size_t inline_bytes(const struct publication *p, const struct ready_made *packet)
{
    return is_one_piece(p, packet) ? packet->packet.len
                                   : p->topic.len + p->properties.len + p->payload.len;
}

static struct bytes copy(uint8_t **to, struct bytes from)
{
    uint8_t *start = *to;
    if (from.len > 0)
        memcpy(start, from.data, from.len);
    *to = start + from.len;
    return bytes_of(start, from.len);
}

static void copy_inline(struct delivery_item *item, const struct publication *p,
                        const struct ready_made *packet)
{
    uint8_t *to = (uint8_t *)&item->copied[item->block == NULL ? item->count : 0];
    item->publication = *p;
    if (is_one_piece(p, packet)) {
        item->packet = copy(&to, packet->packet);
        item->packet_v5 = packet->v5;
        item->publication.topic = moved(p->topic, packet->packet, item->packet.data);
        item->publication.properties = moved(p->properties, packet->packet, item->packet.data);
        item->publication.payload = moved(p->payload, packet->packet, item->packet.data);
    } else {
        item->publication.topic = copy(&to, p->topic);
        item->publication.properties = copy(&to, p->properties);
        item->publication.payload = copy(&to, p->payload);
    }
}

bool deliveries_add(struct delivery_hub *hub, uint32_t worker, struct delivery *delivery,
                    const struct ready_made *packet, struct asker asker,
                    const struct addressees *to)
{
    size_t bytes = inline_bytes(delivery->publication, packet);
    struct message *message = NULL;
    if (delivery->message != NULL || bytes > ITEM_INLINE_MAX) {
        message = delivery_message(delivery);
        bytes = 0;
    }
    size_t size = item_size(to->block == NULL ? to->count : 0, bytes);
    struct deliveries *batch = NULL;
    if (message != NULL || bytes > 0)
        batch = batch_with_room(&hub->peers[worker], size);
    if (batch == NULL) {
        if (asker.ticket != NULL)
            answers_add(hub, asker.worker, asker.ticket, 0, RC_NO_MEMORY);
        mem_free(to->walk);
        return false;
    }
    struct delivery_item *item = (struct delivery_item *)(batch->data + batch->used);
    *item = (struct delivery_item){
        .message = message == NULL ? NULL : message_hold(message),
        .size = (uint32_t)size,
        .ticket = asker.ticket,
        .member = to->member,
        .share = to->share,
        .member_shard = to->member_shard,
        .from = asker.worker,
        .outbox = delivery->outbox,
        .elsewhere = delivery->elsewhere,
        .count = to->count,
        .routes = to->block == NULL ? item->copied : to->routes,
        .block = route_block_hold(to->block),
        .walk = to->walk,
        .source = {.hub = hub->peers[worker].hub,
                   .answering = true,
                   .asked = asker.ticket,
                   .asked_worker = asker.worker,
                   .durability = delivery->publication->durability},
    };
    if (to->block == NULL && to->count > 0)
        memcpy(item->copied, to->routes, to->count * sizeof(*to->routes));
    if (message == NULL)
        copy_inline(item, delivery->publication, packet);
    else
        item->publication = message->publication;
    batch->used += size;
    uint64_t cost = size + (message == NULL ? 0 : message->size) +
                    (to->block == NULL ? 0 : to->count * sizeof(*to->routes));
    if (cost < hub->cost_min)
        cost = hub->cost_min;
    batch->bytes += cost;
    hub->peers[worker].sent += cost;
    return true;
}

bool deliveries_are_behind(const struct delivery_peer *peer)
{
    uint64_t collected = peer->batch == NULL ? 0 : peer->batch->bytes;
    return peer->sent > BACKLOG_HIGH ||
           atomic_load_explicit(peer->backlog, memory_order_relaxed) + collected > BACKLOG_HIGH;
}

bool delivery_ask(struct delivery_hub *hub, uint32_t worker, session_ref publisher,
                  uint32_t question)
{
    size_t size = item_size(0, 0);
    if (worker >= REMOTE_FIRST)
        return hub->remote->ops->ask(hub, worker - REMOTE_FIRST, publisher, question);
    struct deliveries *batch = batch_with_room(&hub->peers[worker], size);
    if (batch == NULL)
        return false;
    struct delivery_item *item = (struct delivery_item *)(batch->data + batch->used);
    *item = (struct delivery_item){.size = (uint32_t)size,
                                   .from = hub->worker,
                                   .question = question,
                                   .publication = {.publisher = publisher}};
    batch->used += size;
    batch->bytes += size;
    return true;
}

bool deliveries_post_all(struct delivery_hub *hub)
{
    for (uint32_t i = 0; i < hub->worker_count; i++) {
        struct delivery_peer *peer = &hub->peers[i];
        if (peer->batch != NULL)
            post(peer);
        if (peer->answers != NULL)
            post_answers(peer);
        peer->sent = 0;
    }
    return hub->inbox_first != NULL;
}

/* A walk that is done may have left another worker behind: the publisher waits for that, too. */
static bool question_passed_on(struct delivery_hub *hub, const struct delivery_item *item)
{
    if (item->from != hub->worker)
        return false;
    for (uint32_t i = 0; i < hub->worker_count; i++)
        if (i != hub->worker && deliveries_are_behind(&hub->peers[i]))
            return delivery_ask(hub, i, item->publication.publisher, item->question);
    return false;
}

void deliveries_item_done(struct delivery_hub *hub, struct deliveries *batch,
                          struct delivery_item *item)
{
    mem_free(item->copies);
    if (item->ticket != NULL)
        commit_source_answer(&item->source);
    if (item->question != 0 && !question_passed_on(hub, item))
        answers_put(hub, item->from,
                    (struct answer){.kind = ANSWER_CAUGHT_UP,
                                    .publisher = item->publication.publisher,
                                    .question = item->question});
    message_drop(item->message);
    route_block_drop(item->block);
    mem_free(item->walk);
    batch->at += item->size;
}

void deliveries_done(struct delivery_hub *hub, struct deliveries *batch)
{
    atomic_fetch_sub_explicit(&hub->backlog, batch->bytes, memory_order_relaxed);
    mem_free(batch);
    for (uint32_t i = 0; hub->lag_news && i < hub->worker_count; i++)
        if (hub->peers[i].answers != NULL)
            post_answers(&hub->peers[i]); /* rather than after the batches that follow */
    hub->lag_news = false;
}

void deliveries_free(struct deliveries *batch)
{
    if (batch == NULL)
        return;
    for (struct delivery_item *item; (item = deliveries_item(batch)) != NULL;) {
        message_drop(item->message);
        mem_free(item->copies);
        route_block_drop(item->block);
        mem_free(item->walk);
        batch->at += item->size;
    }
    mem_free(batch);
}

void deliveries_report_lag(struct delivery_hub *hub, const struct delivery_item *item)
{
    session_ref publisher = item->publication.publisher;
    if (publisher == 0)
        return;
    hub->lag_news = true;
    answers_add(hub, item->from, NULL, publisher, RC_OK);
}
