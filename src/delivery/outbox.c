/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must arrive once: QoS 2 publications of stored sessions, and wills. The message is stored in
 * the publisher's shard, in one batch with what says that it was taken in; when that is safe it is
 * acknowledged and delivered. Each subscriber's shard notes in the batch that queues it that it has
 * come (high_water.c), so that after a crash it goes to those only who have not got it. When all
 * have, it is deleted.
 *
 *      PUBLISH -> {received id, entry} -> PUBREC
 *                         +-> shards: {queued message, high water} -> entry deleted
 *
 * One that did not get to all of them (a node or a disk was away) is tried again, and those of its
 * shard that are younger wait behind it, for the order. Of one topic that is retained those that
 * were on their way already go there once more behind it, or the older value would stay.
 */
#include "delivery/outbox.h"

#include "base/clock.h"
#include "base/memory.h"
#include "session/stored.h"
#include "store/record.h"

/* ---- what has not come to all ------------------------------------------------------------------
 */

/* The entries of one shard. */
struct outbox_line {
    struct list entries;  /* in the order of their numbers */
    uint64_t left_out;    /* the lowest number that waits for the next start; 0: none does */
    struct list waiting;  /* struct line_wait, in the order in which they came */
    uint32_t settling;    /* entries whose new choices are being stored */
    uint32_t none_before; /* hub->remote->told: none has been on its way since before that */
};

/* Somebody waits until everything up to that number has come to all. */
struct line_wait {
    struct list link;
    struct publish_ticket *ticket;
    uint64_t number;
};

static struct outbox_line *line_of(struct delivery_hub *hub, const struct store_shard *store)
{
    uint32_t count = hub->sessions->shard_count;
    if (hub->outbox_lines == NULL) {
        hub->outbox_lines = mem_new(count * sizeof(struct outbox_line));
        for (uint32_t i = 0; i < count; i++) {
            list_init(&hub->outbox_lines[i].entries);
            hub->outbox_lines[i].left_out = 0;
            hub->outbox_lines[i].settling = hub->outbox_lines[i].none_before = 0;
            list_init(&hub->outbox_lines[i].waiting);
        }
    }
    return &hub->outbox_lines[store->shard];
}

/* The lowest number of an entry that has not come to all. */
static uint64_t low_of(struct delivery_hub *hub, const struct store_shard *store)
{
    const struct outbox_line *line = line_of(hub, store);
    const struct outbox_entry *first =
        CONTAINER_OF(line->entries.next, struct outbox_entry, in_line);
    bool left_out = line->left_out != 0 && line->left_out < first->number;
    return left_out ? line->left_out : first->number;
}

static void leave_out(struct outbox_entry *entry)
{
    struct outbox_line *line = line_of(entry->hub, entry->store);
    if (line->left_out == 0 || entry->number < line->left_out)
        line->left_out = entry->number;
}

/* ---- entries -----------------------------------------------------------------------------------
 */

struct store_shard *outbox_for(struct delivery_hub *hub, const struct publication *publication,
                               const struct route_set *set)
{
    const struct session *publisher = session_of_ref(hub->sessions, publication->publisher);
    if (publisher == NULL || !session_stored(publisher))
        return NULL; /* when the broker ends, its client starts anew all the same */
    if (publication->retain)
        return publisher->store; /* it is retained by another shard */
    for (uint32_t i = 0; i < set->count; i++)
        if (set->routes[i].qos > 0 && (set->routes[i].flags & SUBSCRIPTION_DURABLE))
            return publisher->store;
    return set->share_count > 0 ? publisher->store : NULL;
}

/* Those who need not wait any longer; or all, since the line goes on elsewhere, and the connections
 * of those who wait end with it. */
static void answer_waiting(struct outbox_line *line, bool all)
{
    uint64_t low = UINT64_MAX;
    if (!all && !list_empty(&line->entries))
        low = CONTAINER_OF(line->entries.next, struct outbox_entry, in_line)->number;
    LIST_FOR_EACH_SAFE (link, &line->waiting) {
        struct line_wait *wait = CONTAINER_OF(link, struct line_wait, link);
        if (wait->number >= low)
            return;
        struct publish_ticket *ticket = wait->ticket;
        list_remove(link);
        mem_free(wait);
        ticket_answered(ticket, RC_OK);
    }
}

struct publish_ticket *delivery_await_outbox(struct delivery_hub *hub,
                                             const struct session *session)
{
    struct outbox_line *line = session_stored(session) ? line_of(hub, session->store) : NULL;
    if (line == NULL || list_empty(&line->entries))
        return NULL;
    struct line_wait *wait = NEW(struct line_wait);
    wait->number = CONTAINER_OF(line->entries.prev, struct outbox_entry, in_line)->number;
    wait->ticket = NEW(struct publish_ticket);
    *wait->ticket = (struct publish_ticket){.hub = hub, .remaining = 1};
    list_add_last(&line->waiting, &wait->link);
    return wait->ticket;
}

static void answer(struct outbox_entry *entry, enum rc rc)
{
    list_remove(&entry->in_line);
    if (entry->asker != NULL)
        ticket_answered(entry->asker, rc);
    message_drop(entry->message);
    mem_free(entry->choices);
    mem_free(entry);
}

/* ---- retained ones of a topic -------------------------------------------------------------------
 */

static bool replaces(const struct outbox_entry *younger, const struct outbox_entry *older)
{
    const struct publication *one = &younger->message->publication,
                             *other = &older->message->publication;
    return one->retain && other->retain && bytes_equal(one->topic, other->topic);
}

static struct outbox_entry *in_line(struct list *link)
{
    return CONTAINER_OF(link, struct outbox_entry, in_line);
}

/* The oldest that it is to replace; NULL: none is left. */
static const struct outbox_entry *elder_of(const struct outbox_entry *entry)
{
    const struct list *line = &line_of(entry->hub, entry->store)->entries;
    if (!entry->message->publication.retain)
        return NULL;
    for (struct list *link = line->next; link != &entry->in_line && link != line; link = link->next)
        if (replaces(entry, in_line(link)))
            return in_line(link);
    return NULL;
}

/* The next that is to replace it; NULL: none does. */
static struct outbox_entry *heir_of(const struct outbox_entry *entry)
{
    const struct list *line = &line_of(entry->hub, entry->store)->entries;
    if (!entry->message->publication.retain)
        return NULL;
    for (struct list *link = entry->in_line.next; link != line; link = link->next)
        if (replaces(in_line(link), entry))
            return in_line(link);
    return NULL;
}

static void end_one(struct outbox_entry *entry, enum rc rc)
{
    struct store_key key = record_key_of(entry->store->shard, RECORD_OUTBOX, entry->number);
    store_delete(entry->store, STORE_STATE, &key);
    if (entry->count > 0) {
        key = record_key_of(entry->store->shard, RECORD_CHOICES, entry->number);
        store_delete(entry->store, STORE_STATE, &key);
    }
    struct outbox_line *line = line_of(entry->hub, entry->store);
    answer(entry, rc);
    answer_waiting(line, false);
}

static void entry_end(struct outbox_entry *entry, enum rc rc)
{
    struct outbox_entry *heir = heir_of(entry);
    end_one(entry, rc);
    while (heir != NULL && heir->waits) {
        struct outbox_entry *next = heir_of(heir);
        end_one(heir, RC_OK);
        heir = next;
    }
}

/* It stays in the store, for the next start or the next home. */
static void forget(struct outbox_entry *entry)
{
    struct outbox_line *line = line_of(entry->hub, entry->store);
    answer(entry, RC_OK);
    answer_waiting(line, true);
}

/* Were it kept while its shard is read again, both would be delivered, and choose for themselves.
 */
static void leave(struct outbox_entry *entry)
{
    struct delivery_hub *hub = entry->hub;
    bool put_off = list_linked(&entry->link);
    if (put_off || entry->waits) {
        list_remove(&entry->link);
        hub->undelivered_count -= put_off;
        forget(entry);
        return;
    }
    entry->left = true; /* it is on its way, or being stored */
    list_remove(&entry->in_line);
}

void outbox_forget(struct delivery_hub *hub, struct shard_group group)
{
    for (uint32_t i = group.group; hub->outbox_lines != NULL && i < hub->sessions->shard_count;
         i += group.of) {
        struct outbox_line *line = &hub->outbox_lines[i];
        line->left_out = 0; /* they are read again where it is home next */
        LIST_FOR_EACH_SAFE (link, &line->entries)
            leave(in_line(link));
        answer_waiting(line, true);
    }
}

static bool is_before(const struct outbox_entry *a, const struct outbox_entry *b)
{
    uint32_t shard = a->store->shard, other = b->store->shard;
    return shard < other || (shard == other && a->number < b->number);
}

static void wait_for_next_try(struct delivery_hub *hub)
{
    hub->again_ms = hub->sessions->now_ms + OUTBOX_AGAIN_MS;
    hub->sessions->wake_at(hub->sessions->wake_arg, hub->again_ms);
}

static void put_off_one(struct outbox_entry *entry)
{
    struct delivery_hub *hub = entry->hub;
    struct list *before = hub->undelivered.prev;
    entry->sent = entry->waits = entry->anew = entry->fails = false;
    entry->replayed = true;
    if (hub->undelivered_count == OUTBOX_UNDELIVERED_MAX) {
        metric_inc(hub->metrics, METRIC_OUTBOX_PUT_OFF_LIMIT);
        leave_out(entry);
        forget(entry);
        return;
    }
    while (before != &hub->undelivered &&
           is_before(entry, CONTAINER_OF(before, struct outbox_entry, link)))
        before = before->prev;
    list_insert_between(&entry->link, before, before->next);
    hub->undelivered_count++;
    metric_inc(hub->metrics, METRIC_OUTBOX_PUT_OFF);
    wait_for_next_try(hub);
}

static void put_off(struct outbox_entry *entry)
{
    struct outbox_entry *heir = heir_of(entry);
    put_off_one(entry);
    while (heir != NULL) {
        struct outbox_entry *next = heir_of(heir);
        heir->anew = heir->sent && !heir->waits;
        if (heir->waits)
            put_off_one(heir);
        heir = next;
    }
}

static uint32_t moves(const struct delivery_hub *hub)
{
    return hub->remote == NULL ? 0 : hub->remote->told;
}

/* It may be on its way to where sessions have moved away from since. The walk is for as long as
 * there are such entries. */
static bool older_is_astray(const struct outbox_entry *entry)
{
    struct outbox_line *line = line_of(entry->hub, entry->store);
    uint32_t now = moves(entry->hub);
    bool is_older = true, any = false, older = false;
    if (line->none_before == now)
        return false;
    for (struct list *link = line->entries.next; link != &line->entries; link = link->next) {
        const struct outbox_entry *other = in_line(link);
        bool astray = other->sent && !other->waits && (other->fails || other->sent_after != now);
        is_older = is_older && other != entry;
        any |= astray;
        older |= astray && is_older;
    }
    if (!any)
        line->none_before = now;
    return older;
}

/* An older one of its shard has not come everywhere. While one is on its way the next may follow
 * it, but not when sessions have moved since: it might overtake the first. */
static bool has_to_wait(const struct outbox_entry *entry)
{
    if (older_is_astray(entry) || line_of(entry->hub, entry->store)->settling > 0)
        return true;
    LIST_FOR_EACH (link, &entry->hub->undelivered) {
        if (CONTAINER_OF(link, struct outbox_entry, link)->store == entry->store)
            return true;
    }
    return false;
}

void outbox_fails(struct outbox_entry *entry, enum rc rc)
{
    if (rc == RC_OK || rc == RC_REFUSED || entry->fails)
        return;
    entry->fails = true;
    line_of(entry->hub, entry->store)->none_before = moves(entry->hub) - 1;
}

void outbox_delivered(struct outbox_entry *entry, enum rc rc, bool not_found)
{
    if (entry->left) {
        answer(entry, rc);
        return;
    }
    entry->not_found = not_found;
    bool is_done = (rc == RC_OK || rc == RC_REFUSED) && !entry->anew;
    if (!is_done)
        put_off(entry);
    else if (elder_of(entry) != NULL)
        entry->waits = true; /* and stays in the store: both may have to be sent by the next home */
    else
        entry_end(entry, rc);
}

static void committed(struct store_waiter *waiter, enum rc rc);

/* A member of no shard that has gone is replaced, and the choice stored before anybody gets it: or
 * the next time another one would be chosen, and both have it. False: committed() goes on. */
static bool settle_choices(struct outbox_entry *entry)
{
    if (entry->count == 0 || !outbox_choose_anew(entry))
        return true;
    outbox_put_choices(entry);
    entry->settles = true;
    line_of(entry->hub, entry->store)->settling++;
    enum rc rc = store_wait(entry->store, &entry->waiter);
    if (rc != RC_AGAIN)
        committed(&entry->waiter, rc);
    return false;
}

static void dispatch(struct outbox_entry *entry)
{
    enum rc rc;
    if (entry->replayed && !settle_choices(entry))
        return;
    struct outbox_tag tag = {.number = entry->number,
                             .low = low_of(entry->hub, entry->store),
                             .shard = entry->store->shard,
                             .replayed = entry->replayed,
                             .restored = entry->restored,
                             .keeps = entry->restored || entry->asker != NULL ||
                                      entry->promise == OUTBOX_PROMISED};
    entry->restored = false;
    entry->sent = true;
    entry->sent_after = moves(entry->hub);
    struct publish_ticket *ticket =
        delivery_dispatch(entry->hub, entry->message, tag, entry->chosen ? entry->choices : NULL,
                          entry->count, entry->whom, &rc);
    if (ticket == NULL) {
        outbox_delivered(entry, rc, rc == RC_NOT_FOUND);
        return;
    }
    ticket->outbox = entry;
    outbox_fails(entry, ticket->rc);
}

/* [MQTT-3.3.2-5] */
static void expire(struct outbox_entry *entry)
{
    metric_inc(entry->hub->metrics, METRIC_PUBLISH_DROPPED_EXPIRED);
    entry_end(entry, RC_OK);
}

void outbox_try_again(struct delivery_hub *hub)
{
    struct list now, *link;
    if (list_empty(&hub->undelivered))
        return;
    bool lacks_routes = delivery_lacks_routes(hub);
    bool at_once = hub->lacked_routes && !lacks_routes; /* publishers go on now, too */
    if (!at_once && hub->sessions->now_ms < hub->again_ms)
        return;
    hub->lacked_routes = lacks_routes;
    if (lacks_routes) {
        wait_for_next_try(hub);
        return;
    }
    list_init(&now);
    list_move_all(&now, &hub->undelivered);
    hub->undelivered_count = 0;
    while ((link = list_take_first(&now)) != NULL) {
        struct outbox_entry *entry = CONTAINER_OF(link, struct outbox_entry, link);
        if (store_trouble(entry->store) == RC_CLOSED)
            forget(entry); /* another node is home of its shard */
        else if (has_to_wait(entry))
            put_off(entry);
        else if (publication_overdue(&entry->message->publication, hub->sessions->now_ms))
            expire(entry);
        else
            dispatch(entry);
    }
}

static void forget_untold(struct outbox_entry *entry)
{
    if (entry->asker != NULL && --entry->asker->remaining == 0)
        again_free(entry->asker); /* nobody is there to be told */
    entry->asker = NULL;
    forget(entry);
}

void outbox_deinit(struct delivery_hub *hub)
{
    struct list *link;
    while ((link = list_take_first(&hub->undelivered)) != NULL)
        forget_untold(CONTAINER_OF(link, struct outbox_entry, link));
    for (uint32_t i = 0; hub->outbox_lines != NULL && i < hub->sessions->shard_count; i++) {
        LIST_FOR_EACH_SAFE (node, &hub->outbox_lines[i].entries)
            if (in_line(node)->waits)
                forget_untold(in_line(node));
        LIST_FOR_EACH_SAFE (node, &hub->outbox_lines[i].waiting) {
            struct line_wait *wait = CONTAINER_OF(node, struct line_wait, link);
            list_remove(node);
            mem_free(wait->ticket); /* nobody is there to be told */
            mem_free(wait);
        }
    }
    mem_free(hub->outbox_lines);
}

void outbox_set_out(struct outbox_entry *entry)
{
    bool lacks_routes = delivery_lacks_routes(entry->hub);
    if (!lacks_routes && !has_to_wait(entry)) {
        dispatch(entry);
        return;
    }
    entry->hub->lacked_routes |= lacks_routes;
    put_off(entry);
}

static void committed(struct store_waiter *waiter, enum rc rc)
{
    struct outbox_entry *entry = CONTAINER_OF(waiter, struct outbox_entry, waiter);
    bool settles = entry->settles;
    entry->settles = false;
    line_of(entry->hub, entry->store)->settling -= settles;
    if (entry->left) {
        answer(entry, rc);
    } else if (rc == RC_OK) {
        outbox_set_out(entry);
    } else if (rc == RC_CLOSED) { /* the next start finds it in the store, or does not */
        struct outbox_line *line = line_of(entry->hub, entry->store);
        answer(entry, RC_CLOSED);
        answer_waiting(line, true);
    } else if (settles) {
        put_off(entry);
    } else if (entry->promise == OUTBOX_PROMISED) {
        store_wait_until_it_works(entry->store, &entry->waiter);
    } else {
        entry_end(entry, rc); /* its publisher is told that it was not kept */
    }
}

struct outbox_entry *outbox_entry_new(struct delivery_hub *hub, struct store_shard *store,
                                      struct message *message, uint64_t number, uint32_t shares)
{
    struct outbox_entry *entry = NEW(struct outbox_entry);
    *entry = (struct outbox_entry){
        .waiter = {.done = committed,
                   .written_is_enough = message->publication.durability == DURABILITY_INTERVAL},
        .hub = hub,
        .store = store,
        .message = message_hold(message),
        .number = number,
        .chosen = true,
        .choices = mem_new(shares * sizeof(entry->choices[0]) + 1),
    };
    list_init(&entry->waiter.link);
    list_init(&entry->link);
    struct list *line = &line_of(hub, store)->entries, *before = line->prev;
    while (before != line && CONTAINER_OF(before, struct outbox_entry, in_line)->number > number)
        before = before->prev;
    list_insert_between(&entry->in_line, before, before->next);
    return entry;
}

static void entry_put(const struct outbox_entry *entry)
{
    struct store_key key = record_key_of(entry->store->shard, RECORD_OUTBOX, entry->number);
    struct record_clock clock = {entry->hub->sessions->now_ms, clock_wall_ms()};
    struct record_value value;
    message_record_encode(&entry->message->publication, &clock, &value);
    record_put(entry->store, STORE_STATE, &key, &value);
    if (entry->count > 0)
        outbox_put_choices(entry);
}

static void store_entry(struct outbox_entry *entry)
{
    entry_put(entry);
    enum rc rc = store_wait(entry->store, &entry->waiter);
    if (rc != RC_AGAIN)
        committed(&entry->waiter, rc);
}

void outbox_hand_over(struct delivery_hub *hub, struct store_shard *store, struct message *message,
                      struct share *share, struct subscription *member, const struct route *route)
{
    uint64_t number = store_numbers(store, 2);
    struct outbox_entry *entry = outbox_entry_new(hub, store, message, number, 1);
    entry->whom = OUTBOX_SHARES;
    entry->promise = OUTBOX_PROMISED;
    outbox_add_choice(entry, share, member, route);
    store_entry(entry);
}

void outbox_add(struct delivery_hub *hub, struct store_shard *store, struct message *message,
                enum outbox_promise promise, struct publish_ticket *asker)
{
    struct route_set set;
    route_find(&hub->reader, message->publication.topic, ROUTE_AT_ONCE, &set);
    uint64_t number = store_numbers(store, 1 + set.share_count);
    struct outbox_entry *entry = outbox_entry_new(hub, store, message, number, set.share_count);
    entry->promise = promise;
    entry->asker = asker;
    outbox_choose(entry, &set);
    store_entry(entry);
}
