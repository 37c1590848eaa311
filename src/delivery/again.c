/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QoS 1 publications that did not get to the home of some session, since that has moved to another
 * node or is lost. Their publishers are told nothing: it is all one broker to them. When the homes
 * of all sessions are known again they are routed anew, to all that match, in the order in which
 * they came; so who had one already may get it twice. What is published after them waits
 * (conn_hold_publish()), or it would overtake them; and what was on its way already, of the same
 * publisher and topic, is routed anew behind them, or an older value would be the last to come, and
 * be retained. So such a one is not done before those that are older.
 *
 *      forwarded, or stored here  --not home-->  hub->again  -->  routed anew  -->  PUBACK
 *
 * When the publisher's own session goes to another node, it is not routed anew from here: its
 * client has no answer, and sends it again where that is now, perhaps with others behind it.
 *
 * From when sessions move until those that were sent before are answered, nobody knows which of
 * them will come here. So what is published meanwhile waits, too; and so it does while one that has
 * failed to get to one node is not answered by another.
 */
#include "delivery/batch.h"

#include "base/memory.h"
#include "session/stored.h"

static uint64_t size_of(const struct publish_ticket *ticket)
{
    const struct publication *p = &ticket->message->publication;

    return sizeof(*ticket) + p->topic.len + p->properties.len + p->payload.len;
}

static void wait_for_next_try(struct delivery_hub *hub)
{
    hub->route_again_ms = hub->sessions->now_ms + AGAIN_MS;
    hub->sessions->wake_at(hub->sessions->wake_arg, hub->route_again_ms);
}

static void look_for_moves(struct delivery_hub *hub)
{
    if (hub->remote->told == hub->asked_moves)
        return;
    hub->asked_moves = hub->remote->told;
    hub->asked_before += hub->asked;
    hub->asked = 0;
}

bool again_may_be_due(struct delivery_hub *hub)
{
    if (hub->remote != NULL)
        look_for_moves(hub);
    return hub->asked_before > 0;
}

/* ---- those of one publisher and topic ----------------------------------------------------------
 */

void again_init(struct delivery_hub *hub)
{
    list_init(&hub->again);
    for (uint32_t i = 0; i < AGAIN_LINES; i++)
        list_init(&hub->again_lines[i]);
}

static struct list *line_of(const struct publish_ticket *ticket)
{
    return &ticket->hub->again_lines[ticket->alike % AGAIN_LINES];
}

static struct publish_ticket *in_line(struct list *link)
{
    return CONTAINER_OF(link, struct publish_ticket, in_line);
}

static bool are_alike(const struct publish_ticket *a, const struct publish_ticket *b)
{
    const struct publication *one = &a->message->publication, *other = &b->message->publication;

    return a->alike == b->alike && one->publisher_hash == other->publisher_hash &&
           bytes_equal(one->topic, other->topic);
}

/* The oldest that is older; NULL: it is the oldest itself, as nearly always. */
static const struct publish_ticket *elder_of(const struct publish_ticket *ticket)
{
    struct list *line = line_of(ticket);

    for (struct list *link = line->next; link != line && link != &ticket->in_line;
         link = link->next)
        if (are_alike(in_line(link), ticket))
            return in_line(link);
    return NULL;
}

/* An older one is on its way to where sessions have moved away from since, and may come back: what
 * is routed anew now would be there first. */
static bool elder_is_astray(const struct publish_ticket *ticket)
{
    struct list *line = line_of(ticket);

    for (struct list *link = line->next; link != &ticket->in_line; link = link->next) {
        const struct publish_ticket *elder = in_line(link);
        if (are_alike(elder, ticket) && !elder->listed && !elder->waits &&
            elder->sent_after != ticket->hub->asked_moves)
            return true;
    }
    return false;
}

void again_keep(struct delivery_hub *hub, struct publish_ticket *ticket, struct message *message)
{
    look_for_moves(hub);
    ticket->message = message_hold(message);
    ticket->serial = ++hub->again_serial;
    ticket->moves = ticket->sent_after = hub->asked_moves;
    hub->asked++;
    ticket->alike =
        message->publication.publisher_hash ^ (uint32_t)bytes_hash(message->publication.topic);
    list_add_last(line_of(ticket), &ticket->in_line);
}

/* One that may have come into the list does not any more. */
static void count_off(struct publish_ticket *ticket)
{
    struct delivery_hub *hub = ticket->hub;

    if (ticket->moves == hub->asked_moves)
        hub->asked--;
    else
        hub->asked_before--;
}

void again_comes(struct publish_ticket *ticket, enum rc rc)
{
    if (!again_is_due(rc) || ticket->message == NULL || ticket->due)
        return;
    ticket->due = true;
    ticket->hub->again_due++;
}

static void comes_no_more(struct publish_ticket *ticket)
{
    ticket->hub->again_due -= ticket->due;
    ticket->due = false;
}

/* In the order in which they were published. */
static void insert(struct delivery_hub *hub, struct publish_ticket *ticket)
{
    struct list *before = hub->again.prev;
    while (before != &hub->again &&
           CONTAINER_OF(before, struct publish_ticket, link)->serial > ticket->serial)
        before = before->prev;
    list_insert_between(&ticket->link, before, before->next);
    wait_for_next_try(hub);
}

static bool put_into_list(struct publish_ticket *ticket)
{
    struct delivery_hub *hub = ticket->hub;

    if (!ticket->again) {
        if (hub->again_bytes + size_of(ticket) > AGAIN_BYTES_MAX) {
            metric_inc(hub->metrics, METRIC_PUBLISH_AGAIN_LIMIT);
            return false;
        }
        ticket->again = true;
        hub->again_bytes += size_of(ticket);
    }
    insert(hub, ticket);
    comes_no_more(ticket);
    ticket->listed = true;
    hub->again_waiting -= ticket->waits;
    ticket->waits = ticket->anew = false;
    ticket->rc = RC_OK;
    ticket->taken = ticket->refused = false;
    metric_inc(hub->metrics, METRIC_PUBLISH_AGAIN);
    return true;
}

bool again_take(struct publish_ticket *ticket, enum rc rc)
{
    if (ticket->message == NULL || ticket->left)
        return false;
    if (again_is_due(rc)) {
        if (!put_into_list(ticket))
            return false;
        for (struct list *link = ticket->in_line.next; link != line_of(ticket); link = link->next) {
            struct publish_ticket *younger = in_line(link);
            if (!are_alike(younger, ticket))
                continue;
            younger->anew = !younger->listed && !younger->waits;
            if (younger->waits)
                (void)put_into_list(younger); /* else it stays as it is */
        }
        return true;
    }
    if (ticket->anew && put_into_list(ticket))
        return true;
    const struct publish_ticket *elder = elder_of(ticket);
    if (elder == NULL || (elder->listed && put_into_list(ticket)))
        return elder != NULL;
    ticket->rc = rc;
    ticket->waits = true;
    ticket->hub->again_waiting++;
    return true;
}

/* The next that has waited for it, and is done with that; NULL: there is none. */
static struct publish_ticket *leave_line(struct publish_ticket *ticket)
{
    struct list *line = line_of(ticket), *next = ticket->in_line.next;

    list_remove(&ticket->in_line);
    for (; ticket->hub->again_waiting > 0 && next != line; next = next->next)
        if (are_alike(in_line(next), ticket))
            return in_line(next)->waits ? in_line(next) : NULL;
    return NULL;
}

static void ticket_free(struct publish_ticket *ticket)
{
    struct delivery_hub *hub = ticket->hub;
    bool held_others = hub->again_bytes > 0 || hub->again_due > 0 || hub->asked_before > 0;

    hub->again_waiting -= ticket->waits;
    comes_no_more(ticket);
    if (ticket->message != NULL) {
        if (ticket->again)
            hub->again_bytes -= size_of(ticket);
        count_off(ticket);
        message_drop(ticket->message);
    }
    hub->again_ended |= held_others && !delivery_routes_again(hub);
    mem_free(ticket);
}

void again_free(struct publish_ticket *ticket)
{
    while (ticket != NULL) {
        struct publish_ticket *next = ticket->message == NULL ? NULL : leave_line(ticket);
        ticket_free(ticket);
        if (next != NULL)
            next->hub->ops->published(next->hub, next, next->rc);
        ticket = next;
    }
}

void again_answered(struct publish_ticket *ticket, enum rc rc)
{
    struct delivery_hub *hub = ticket->hub;

    if (again_take(ticket, rc))
        return;
    hub->ops->published(hub, ticket, rc);
    again_free(ticket);
}

static void route_anew(struct publish_ticket *ticket)
{
    struct outbox_tag tag = {.keeps = true};
    struct delivery_hub *hub = ticket->hub;
    enum rc rc;

    if (publication_overdue(&ticket->message->publication, hub->sessions->now_ms)) {
        metric_inc(hub->metrics, METRIC_PUBLISH_DROPPED_EXPIRED); /* [MQTT-3.3.2-5] */
        again_answered(ticket, RC_OK);
        return;
    }
    ticket->sent_after = hub->asked_moves;
    struct publish_ticket *inner =
        delivery_dispatch(hub, ticket->message, tag, NULL, 0, OUTBOX_ALL, &rc);

    if (inner != NULL)
        inner->outer = ticket;
    else
        again_answered(ticket, rc);
}

static void route_all_anew(struct delivery_hub *hub)
{
    struct list now, *link;

    if (list_empty(&hub->again) || hub->sessions->now_ms < hub->route_again_ms)
        return;
    if (delivery_lacks_routes(hub)) {
        wait_for_next_try(hub);
        return;
    }
    look_for_moves(hub);
    list_init(&now);
    list_move_all(&now, &hub->again);
    while ((link = list_take_first(&now)) != NULL) {
        struct publish_ticket *ticket = CONTAINER_OF(link, struct publish_ticket, link);
        if (ticket->left) {
            ticket->listed = false;
            again_answered(ticket, RC_CLOSED);
            continue;
        }
        if (elder_is_astray(ticket)) {
            insert(hub, ticket);
            continue;
        }
        ticket->listed = false;
        route_anew(ticket);
    }
}

void again_turn(struct delivery_hub *hub)
{
    route_all_anew(hub);
    if (!hub->again_ended)
        return;
    hub->again_ended = false;
    hub->ops->all_routed(hub);
}

void again_forget(struct delivery_hub *hub, struct shard_group group)
{
    for (uint32_t i = 0; i < AGAIN_LINES; i++)
        LIST_FOR_EACH (link, &hub->again_lines[i]) {
            struct publish_ticket *ticket = in_line(link);
            const struct session *session =
                session_of_ref(hub->sessions, ticket->message->publication.publisher);
            if (session != NULL && session_stored(session) &&
                session->store->shard % group.of == group.group)
                ticket->left = true;
        }
}

void again_deinit(struct delivery_hub *hub)
{
    for (uint32_t i = 0; i < AGAIN_LINES; i++)
        LIST_FOR_EACH_SAFE (link, &hub->again_lines[i]) {
            struct publish_ticket *ticket = in_line(link);
            list_remove(link);
            if (!ticket->listed && !ticket->waits)
                continue; /* whoever has been asked has it */
            message_drop(ticket->message);
            mem_free(ticket);
        }
}
