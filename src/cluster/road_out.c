/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to another node, who waits for its answers, and how far that node is. */
#include "cluster/road_inside.h"

#include "base/check.h"
#include "base/memory.h"

static struct road_out *road_to(const struct delivery_hub *hub, uint32_t remote)
{
    CHECK(remote < REMOTES_MAX);
    return roads_of(hub)->out[remote];
}

static struct road_told *told_of(const struct road_out *road)
{
    return &road->roads->told[road->remote];
}

static struct metrics_shard *metrics_of(const struct road_out *road)
{
    return road->roads->is.hub->metrics;
}

static void tell_window(const struct road_out *road)
{
    road_told_window(told_of(road), metrics_of(road), road->sent - road->worked_off);
}

static void ask_for(struct road_out *road, struct publish_ticket *ticket)
{
    uint64_t waiting = road->last_asked + 1 - road->first_asked;
    if (waiting == road->asked_room) {
        uint32_t room = road->asked_room == 0 ? 64 : road->asked_room * 2;
        struct publish_ticket **asked = mem_new(room * sizeof(struct publish_ticket *));
        for (uint64_t n = road->first_asked; n <= road->last_asked; n++)
            asked[n & (room - 1)] = road->asked[n & (road->asked_room - 1)];
        mem_free(road->asked);
        road->asked = asked;
        road->asked_room = room;
    }
    road->asked[++road->last_asked & (road->asked_room - 1)] = ticket;
    road->waiting++;
    road_told_asked(told_of(road), metrics_of(road), road->waiting);
}

/* False: nobody has asked that. */
static bool answered(struct road_out *road, uint64_t number, enum rc rc)
{
    if (number < road->first_asked || number > road->last_asked)
        return false;
    struct publish_ticket **ticket = &road->asked[number & (road->asked_room - 1)];
    if (*ticket == NULL)
        return false;
    struct publish_ticket *taken = *ticket;
    *ticket = NULL;
    road->waiting--;
    road_told_asked(told_of(road), metrics_of(road), road->waiting);
    while (road->first_asked <= road->last_asked &&
           road->asked[road->first_asked & (road->asked_room - 1)] == NULL)
        road->first_asked++;
    ticket_answered(taken, rc);
    return true;
}

/* The road has ended: nobody can know what has become of them. */
static void answer_all(struct road_out *road)
{
    road_told_unanswered(told_of(road), metrics_of(road), road->waiting);
    while (road->first_asked <= road->last_asked)
        answered(road, road->first_asked, RC_CLOSED);
    mem_free(road->asked);
    road->asked = NULL;
}

bool road_forward(struct delivery_hub *hub, uint32_t remote, const struct forwarding *forwarding)
{
    struct road_out *road = road_to(hub, remote);
    const struct publication *p = forwarding->publication;
    if (road == NULL)
        return false;
    struct link_publish publish = {
        .publication = *p,
        .share = forwarding->share,
        .has_shard = road->version >= LINK_VERSION_SHARDS && forwarding->share != 0 &&
                     forwarding->outbox.number != 0 && forwarding->member_shard != NO_SHARD,
        .shard = forwarding->member_shard,
        .to_retain = forwarding->to_retain,
        .outbox = forwarding->outbox.number,
        .outbox_shard = forwarding->outbox.shard,
        .outbox_low = road->version >= LINK_VERSION_LOW ? forwarding->outbox.low : 0,
        .replayed = forwarding->outbox.replayed,
        .asks = forwarding->ticket != NULL,
        .number = road->last_asked + 1};
    publish.publication.publisher &= ROAD_REF_LOW;
    if (!link_publish(&road->link, &publish, forwarding->message))
        return false;
    if (publish.asks)
        ask_for(road, forwarding->ticket);
    size_t size = LINK_PUBLISH_HEAD_MAX + p->topic.len + p->properties.len + p->payload.len;
    road->sent += size;
    road_told_sent(told_of(road), metrics_of(road), size);
    tell_window(road);
    return true;
}

bool road_is_behind(struct delivery_hub *hub, uint32_t remote)
{
    const struct road_out *road = road_to(hub, remote);
    return road != NULL && road->sent - road->worked_off > BACKLOG_HIGH;
}

bool road_ask(struct delivery_hub *hub, uint32_t remote, session_ref publisher, uint32_t question)
{
    struct road_out *road = road_to(hub, remote);
    uint8_t body[12];
    link_write_u32(link_write_u64(body, publisher & ROAD_REF_LOW), question);
    if (road == NULL)
        return false;
    road_told_pause(told_of(road), metrics_of(road));
    return link_send(&road->link, LINK_QUESTION, 0, bytes_of(body, sizeof(body)));
}

static struct road_out *road_out_of(struct link *link)
{
    return CONTAINER_OF(link, struct road_out, link);
}

/* RC_AGAIN: the node is up, and home of some session no more. What is not known here is a failure
 * all the same. */
static enum rc rc_of(uint8_t said)
{
    if (said == RC_CLOSED)
        return RC_AGAIN;
    bool known = said == RC_OK || said == RC_REFUSED || said == RC_FULL || said == RC_NOT_FOUND;
    return known ? (enum rc)said : RC_IO;
}

/* What the other node answers. */
static bool out_frame(struct link *link, const struct link_frame *frame)
{
    struct road_out *road = road_out_of(link);
    struct delivery_hub *hub = road->roads->is.hub;
    struct link_reader reader = link_reader_of(frame->body);
    uint64_t number = link_read_u64(&reader);
    session_ref publisher =
        (session_ref)road->roads->worker << SESSION_REF_WORKER_SHIFT | (number & ROAD_REF_LOW);
    uint32_t question = frame->kind == LINK_CAUGHT_UP ? link_read_u32(&reader) : 0;
    if (!link_reader_ok(&reader))
        return false;
    switch (frame->kind) {
    case LINK_ANSWER_PUBLISH:
        return answered(road, number, rc_of(frame->flags));
    case LINK_CREDIT:
        if (number < road->worked_off || number > road->sent)
            return false;
        road->worked_off = number;
        tell_window(road);
        return true;
    case LINK_LAGGING:
        hub->ops->slow_down(hub, publisher, REMOTE_FIRST + road->remote);
        return true;
    case LINK_CAUGHT_UP:
        hub->ops->caught_up(hub, publisher, question);
        return true;
    default:
        return false;
    }
}

static void out_ended(struct link *link)
{
    struct road_out *road = road_out_of(link);
    struct roads *roads = road->roads;
    if (roads->out[road->remote] == road)
        roads->out[road->remote] = NULL;
    answer_all(road);
    road->worked_off = road->sent;
    tell_window(road);
    if (!road->forgotten && !roads->closed)
        roads->ops->lost(roads->owner, roads->worker, road->remote, road->serial);
}

static void out_closed(struct link *link)
{
    mem_free(road_out_of(link));
}

const struct link_ops road_out_ops = {.frame = out_frame, .ended = out_ended, .closed = out_closed};
