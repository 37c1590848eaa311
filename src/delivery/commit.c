/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for which commits. A ticket counts what the publisher's worker has to hear before the
 * acknowledgement; an answer counts, on another worker, the commits of one item. While a
 * publication is still being routed both hold one count of their own, so that none can fall to zero
 * too early.
 */
#include "delivery/batch.h"

#include "base/check.h"
#include "base/memory.h"

/* One shard's commit that somebody waits for. */
struct commit_waiter {
    struct store_waiter waiter;
    struct publish_ticket *ticket; /* either */
    struct commit_answer *answer;  /* or */
    struct store_shard *spread; /* other nodes have to apply what was recorded there, too; NULL */
    uint64_t sequence;          /* ... up to this, once it is committed; 0: it is not */
};

void commit_source_init(struct commit_source *source, struct delivery_hub *hub, uint8_t durability)
{
    *source = (struct commit_source){.hub = hub, .durability = durability};
}

/* ---- tickets: the publisher's worker -----------------------------------------------------------
 */

void ticket_answered(struct publish_ticket *ticket, enum rc rc)
{
    CHECK(ticket->remaining > 0);
    if (rc == RC_OK)
        ticket->taken = true;
    else if (rc == RC_REFUSED)
        ticket->refused = true;
    else if (ticket->rc == RC_OK)
        ticket->rc = rc;
    ticket->not_found |= rc == RC_NOT_FOUND;
    if (--ticket->remaining > 0) {
        if (ticket->outbox != NULL)
            outbox_fails(ticket->outbox, rc);
        else
            again_comes(ticket, rc);
        return;
    }
    if (ticket->not_found && ticket->clean.number != 0)
        high_water_not_chosen(ticket->hub, ticket->clean);
    if (ticket->rc == RC_OK && ticket->refused && !ticket->taken)
        ticket->rc = RC_REFUSED;
    if (again_take(ticket, ticket->rc))
        return;
    if (ticket->outer != NULL)
        again_answered(ticket->outer, ticket->rc);
    else if (ticket->outbox != NULL)
        outbox_delivered(ticket->outbox, ticket->rc, ticket->not_found);
    else if (ticket->moved != NULL)
        moved_delivered(ticket->moved, ticket->rc);
    else if (ticket->watch != NULL)
        share_watch_answered(ticket->watch, ticket->rc);
    else if (ticket->asked_by != 0)
        ticket->hub->remote->ops->answer(ticket->hub, ticket->asked_by, ticket->number, ticket->rc);
    else
        ticket->hub->ops->published(ticket->hub, ticket, ticket->rc);
    again_free(ticket);
}

static struct publish_ticket *source_ticket(struct commit_source *source)
{
    if (source->ticket == NULL) {
        source->ticket = NEW(struct publish_ticket);
        source->ticket->hub = source->hub;
        source->ticket->remaining = 1; /* the routing itself, until commit_source_close() */
    }
    return source->ticket;
}

struct publish_ticket *commit_source_ticket(struct commit_source *source)
{
    struct publish_ticket *ticket = source_ticket(source);
    ticket->remaining++;
    return ticket;
}

void commit_source_keep(struct commit_source *source, struct message *message)
{
    if (source->ticket != NULL || again_is_due(source->rc))
        again_keep(source->hub, source_ticket(source), message);
}

struct publish_ticket *commit_source_close(struct commit_source *source, enum rc *rc)
{
    struct publish_ticket *ticket = source->ticket;
    source->ticket = NULL;
    *rc = commit_source_rc(source);
    if (ticket == NULL)
        return NULL;
    ticket->taken |= source->taken;
    ticket->refused |= source->refused;
    if (ticket->rc == RC_OK)
        ticket->rc = source->rc;
    if (--ticket->remaining > 0) {
        again_comes(ticket, ticket->rc);
        return ticket;
    }
    *rc = ticket->rc != RC_OK ? ticket->rc : ticket->refused && !ticket->taken ? RC_REFUSED : RC_OK;
    if (again_take(ticket, *rc)) {
        *rc = RC_OK;
        return ticket;
    }
    again_free(ticket); /* all was answered already */
    return NULL;
}

/* ---- answers: the receiving worker -------------------------------------------------------------
 */

static void answer_fall(struct commit_answer *answer, enum rc rc)
{
    if (rc != RC_OK && answer->rc == RC_OK)
        answer->rc = rc;
    if (--answer->remaining > 0)
        return;
    answers_add(answer->hub, answer->asked_worker, answer->asked, 0, answer->rc);
    mem_free(answer);
}

static struct commit_answer *source_answer(struct commit_source *source)
{
    if (source->answer == NULL) {
        source->answer = NEW(struct commit_answer);
        *source->answer = (struct commit_answer){
            .hub = source->hub,
            .asked = source->asked,
            .asked_worker = source->asked_worker,
            .remaining = 1, /* the item itself, until commit_answer_close() */
        };
    }
    return source->answer;
}

void commit_source_answer(struct commit_source *source)
{
    enum rc rc = commit_source_rc(source);
    if (source->answer == NULL)
        answers_add(source->hub, source->asked_worker, source->asked, 0, rc);
    else
        answer_fall(source->answer, rc);
}

/* ---- waiters -----------------------------------------------------------------------------------
 */

static void tell(struct commit_waiter *commit, enum rc rc)
{
    struct publish_ticket *ticket = commit->ticket;
    struct commit_answer *answer = commit->answer;
    mem_free(commit);
    if (ticket != NULL)
        ticket_answered(ticket, rc);
    else
        answer_fall(answer, rc);
}

static struct delivery_hub *hub_of(const struct commit_waiter *commit)
{
    return commit->ticket != NULL ? commit->ticket->hub : commit->answer->hub;
}

static void committed(struct store_waiter *waiter, enum rc rc)
{
    struct commit_waiter *commit = CONTAINER_OF(waiter, struct commit_waiter, waiter);
    if (rc != RC_OK || commit->spread == NULL) {
        tell(commit, rc);
        return;
    }
    struct delivery_hub *hub = hub_of(commit);
    commit->sequence = hub->remote->ops->sequence(hub, commit->spread->shard);
    list_add_last(&hub->unspread, &commit->waiter.link);
    hub->remote->ops->spread(hub);
}

void commits_spread(struct delivery_hub *hub)
{
    LIST_FOR_EACH_SAFE (link, &hub->unspread) {
        struct store_waiter *waiter = CONTAINER_OF(link, struct store_waiter, link);
        struct commit_waiter *commit = CONTAINER_OF(waiter, struct commit_waiter, waiter);
        if (!hub->remote->ops->is_spread(hub, commit->spread->shard, commit->sequence))
            continue;
        list_remove(link);
        tell(commit, RC_OK);
    }
}

static struct store_waiter *commit_waiter_new(void);
static void commit_waiter_expect(struct store_waiter *waiter, struct commit_source *source);

void commit_source_await_spread(struct commit_source *source, struct store_shard *store)
{
    struct store_waiter *waiter = commit_waiter_new();
    struct commit_waiter *commit = CONTAINER_OF(waiter, struct commit_waiter, waiter);
    waiter->written_is_enough = source->durability == DURABILITY_INTERVAL;
    commit->spread = delivery_has_homes(source->hub) ? store : NULL;
    enum rc rc = store_wait(store, waiter);
    if (rc == RC_AGAIN) {
        commit_waiter_expect(waiter, source);
    } else {
        mem_free(commit);
        if (rc != RC_OK && source->rc == RC_OK)
            source->rc = rc;
    }
}

static struct store_waiter *commit_waiter_new(void)
{
    struct commit_waiter *commit = NEW(struct commit_waiter);
    commit->waiter.done = committed;
    return &commit->waiter;
}

/* The shard said RC_AGAIN: the source waits for this waiter. */
static void commit_waiter_expect(struct store_waiter *waiter, struct commit_source *source)
{
    struct commit_waiter *commit = CONTAINER_OF(waiter, struct commit_waiter, waiter);
    if (source->answering) {
        commit->answer = source_answer(source);
        commit->answer->remaining++;
    } else {
        commit->ticket = commit_source_ticket(source);
    }
}

void commit_source_await(struct commit_source *source, struct store_shard *store,
                         struct store_ref record)
{
    struct delivery_hub *hub = source->hub;
    if (hub->spare_waiter == NULL)
        hub->spare_waiter = commit_waiter_new();
    hub->spare_waiter->written_is_enough = source->durability == DURABILITY_INTERVAL;
    enum rc rc = record.batch != 0 ? store_wait_for(store, record, hub->spare_waiter)
                                   : store_wait(store, hub->spare_waiter);
    if (rc == RC_AGAIN) {
        commit_waiter_expect(hub->spare_waiter, source);
        hub->spare_waiter = NULL;
    } else if (rc != RC_OK && source->rc == RC_OK) {
        source->rc = rc;
    }
}
