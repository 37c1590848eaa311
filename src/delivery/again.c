/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QoS 1 publications that did not get to the home of some session, since that has moved to another
 * node or is lost. Their publishers are told nothing: it is all one broker to them. When the homes
 * of all sessions are known again they are routed anew, to all that match, in the order in which
 * they came; so who had one already may get it twice. What is published after them waits
 * (conn_hold_publish()), or it would overtake them.
 *
 *      forwarded, or stored here  --not home-->  hub->again  -->  routed anew  -->  PUBACK
 *
 * From when sessions move until those that were sent before are answered, nobody knows which of
 * them will come here. So what is published meanwhile waits, too.
 */
#include "delivery/batch.h"

#include "base/memory.h"

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
    /* relaxed: who finds no group headless (delivery_lacks_routes()) knows of the move before */
    uint32_t moves = atomic_load_explicit(&hub->remote->moves, memory_order_relaxed);

    if (moves == hub->asked_moves)
        return;
    hub->asked_moves = moves;
    hub->asked_before += hub->asked;
    hub->asked = 0;
}

bool again_may_be_due(struct delivery_hub *hub)
{
    if (hub->remote != NULL)
        look_for_moves(hub);
    return hub->asked_before > 0;
}

void again_keep(struct delivery_hub *hub, struct publish_ticket *ticket, struct message *message)
{
    look_for_moves(hub);
    ticket->message = message_hold(message);
    ticket->serial = ++hub->again_serial;
    ticket->moves = hub->asked_moves;
    hub->asked++;
}

/* One that may have come into the list does not any more. */
static void count_off(struct publish_ticket *ticket)
{
    struct delivery_hub *hub = ticket->hub;

    if (ticket->moves == hub->asked_moves) {
        hub->asked--;
        return;
    }
    hub->asked_before--;
    hub->again_ended |= hub->asked_before == 0 && hub->again_bytes == 0;
}

bool again_take(struct publish_ticket *ticket)
{
    struct delivery_hub *hub = ticket->hub;

    if (ticket->message == NULL)
        return false;
    if (!ticket->again) {
        if (hub->again_bytes + size_of(ticket) > AGAIN_BYTES_MAX) {
            metric_inc(hub->metrics, METRIC_PUBLISH_AGAIN_LIMIT);
            return false;
        }
        ticket->again = true;
        hub->again_bytes += size_of(ticket);
    }
    struct list *before = hub->again.prev;
    while (before != &hub->again &&
           CONTAINER_OF(before, struct publish_ticket, link)->serial > ticket->serial)
        before = before->prev;
    list_insert_between(&ticket->link, before, before->next);
    ticket->rc = RC_OK;
    ticket->taken = ticket->refused = false;
    metric_inc(hub->metrics, METRIC_PUBLISH_AGAIN);
    wait_for_next_try(hub);
    return true;
}

void again_free(struct publish_ticket *ticket)
{
    if (ticket->again)
        ticket->hub->again_bytes -= size_of(ticket);
    if (ticket->message != NULL) {
        count_off(ticket);
        message_drop(ticket->message);
    }
    mem_free(ticket);
}

void again_answered(struct publish_ticket *ticket, enum rc rc)
{
    struct delivery_hub *hub = ticket->hub;

    if (again_is_due(rc) && again_take(ticket))
        return;
    hub->ops->published(hub, ticket, rc);
    again_free(ticket);
    hub->again_ended |= hub->again_bytes == 0 && !again_may_be_due(hub);
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
    list_init(&now);
    list_move_all(&now, &hub->again);
    while ((link = list_take_first(&now)) != NULL)
        route_anew(CONTAINER_OF(link, struct publish_ticket, link));
}

void again_turn(struct delivery_hub *hub)
{
    route_all_anew(hub);
    if (!hub->again_ended)
        return;
    hub->again_ended = false;
    hub->ops->all_routed(hub);
}

void again_deinit(struct delivery_hub *hub)
{
    struct list *link;

    while ((link = list_take_first(&hub->again)) != NULL)
        again_free(CONTAINER_OF(link, struct publish_ticket, link));
}
