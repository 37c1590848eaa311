/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from a worker of another node, and what that one is told of it. */
#include "cluster/road_inside.h"

#include "base/memory.h"

enum { CREDIT_STEP = 64 * 1024 }; /* bytes worked off between two LINK_CREDIT */

/* Who is told what has become of a publication that did not ask. */
#define ROAD_NOBODY session_ref_of_remote(ROADS_IN_MAX)

static session_ref reference(const struct road_in *road, uint64_t low)
{
    return (session_ref)(REMOTE_FIRST + road->place) << SESSION_REF_WORKER_SHIFT |
           (low & ROAD_REF_LOW);
}

/* Of a publisher on another node, or of a road as such: its low part is
 * 0. NULL: it is gone. */
static struct road_in *road_of(struct delivery_hub *hub, session_ref publisher)
{
    struct roads *roads = roads_of(hub);
    uint32_t place = session_ref_worker(publisher) - REMOTE_FIRST;
    return place < roads->in_room ? roads->in[place] : NULL;
}

static void give_credit(struct road_in *road)
{
    uint8_t body[8];
    if (road->question != 0 || road->received - road->credited < CREDIT_STEP)
        return;
    link_write_u64(body, road->received);
    if (link_send(&road->link, LINK_CREDIT, 0, bytes_of(body, sizeof(body))))
        road->credited = road->received;
}

static void send_answer(struct road_in *road, uint64_t number, enum rc rc)
{
    uint8_t body[8];
    link_write_u64(body, number);
    link_send(&road->link, LINK_ANSWER_PUBLISH, (uint8_t)rc, bytes_of(body, sizeof(body)));
}

/* The road may have ended, and another one have its place. */
void road_answer(struct delivery_hub *hub, session_ref asked_by, uint64_t number, enum rc rc)
{
    struct road_in *road = road_of(hub, asked_by);
    if (road != NULL && road->serial == (asked_by & ROAD_REF_LOW))
        send_answer(road, number, rc);
}

static void tell_lag(struct road_in *road, uint64_t publisher)
{
    uint8_t body[8];
    if (publisher == 0)
        return;
    link_write_u64(body, publisher & ROAD_REF_LOW);
    link_send(&road->link, LINK_LAGGING, 0, bytes_of(body, sizeof(body)));
}

void road_slow_down(struct delivery_hub *hub, session_ref publisher)
{
    struct road_in *road = road_of(hub, publisher);
    if (road != NULL)
        tell_lag(road, publisher & ROAD_REF_LOW);
}

void road_caught_up(struct delivery_hub *hub, session_ref publisher, uint32_t question)
{
    struct road_in *road = road_of(hub, publisher);
    uint8_t body[12];
    if (road == NULL)
        return;
    if ((publisher & ROAD_REF_LOW) != 0) {
        link_write_u32(link_write_u64(body, publisher & ROAD_REF_LOW), question);
        link_send(&road->link, LINK_CAUGHT_UP, 0, bytes_of(body, sizeof(body)));
    } else if (road->question == question) {
        road->question = 0;
        give_credit(road);
    }
}

/* A worker of ours is behind with what came from there. */
static void wait_for(struct road_in *road, uint32_t worker)
{
    struct roads *roads = road->roads;
    if (road->question != 0)
        return;
    if (++roads->questions == 0)
        roads->questions = 1;
    if (delivery_ask(roads->is.hub, worker, reference(road, 0), roads->questions))
        road->question = roads->questions;
}

/* The sender has not heard yet that sessions have left this node. */
static bool view_is_old(const struct road_in *road)
{
    const struct delivery_remote *remote = &road->roads->remote;
    if (!atomic_load_explicit(&remote->shards_have_homes, memory_order_acquire))
        return false;
    return (road->view & ~atomic_load_explicit(&remote->serving, memory_order_acquire)) != 0;
}

/* The groups that are at home elsewhere for all that the sender knows. Their sessions get the
 * message from there, or it is told that it failed. Had they it from here, too, it would come
 * twice, or before older ones that are still to be routed anew. */
static uint32_t elsewhere(const struct road_in *road)
{
    const struct delivery_remote *remote = &road->roads->remote;
    bool known =
        road->has_view && atomic_load_explicit(&remote->shards_have_homes, memory_order_acquire);
    return known ? ~road->view : 0;
}

static bool take_view(struct road_in *road, const struct link_frame *frame)
{
    struct link_reader reader = link_reader_of(frame->body);
    road->view = link_read_u32(&reader);
    road->has_view = true;
    return link_reader_ok(&reader);
}

static bool take_publish(struct road_in *road, const struct link_frame *frame)
{
    struct delivery_hub *hub = road->roads->is.hub;
    struct link_publish publish;
    if (!link_publish_read(frame, hub->sessions->now_ms, &publish))
        return false;
    struct publication *p = &publish.publication;
    uint64_t publisher = p->publisher & ROAD_REF_LOW;
    road->received += LINK_PUBLISH_HEAD_MAX + p->topic.len + p->properties.len + p->payload.len;
    p->publisher = publisher == 0 ? 0 : reference(road, publisher);
    if (publish.asks && view_is_old(road)) {
        send_answer(road, publish.number, RC_CLOSED);
        return true;
    }
    struct outbox_tag outbox = {.number = publish.outbox,
                                .low = publish.outbox_low,
                                .shard = publish.outbox_shard,
                                .replayed = publish.outbox != 0}; /* whatever the sender knows */
    uint16_t shard = publish.has_shard ? publish.shard : NO_SHARD;
    struct publish_outcome outcome =
        publish.to_retain
            ? delivery_retain_remote(hub, p)
            : delivery_publish_remote(hub, p, publish.share, shard, outbox, elsewhere(road));
    if (outcome.slow)
        tell_lag(road, publisher);
    if (outcome.ticket != NULL) {
        outcome.ticket->asked_by = publish.asks ? reference(road, road->serial) : ROAD_NOBODY;
        outcome.ticket->number = publish.number;
    } else if (publish.asks) {
        send_answer(road, publish.number, outcome.rc);
    }
    if (outcome.backlog)
        wait_for(road, outcome.behind);
    return true;
}

static struct road_in *road_in_of(struct link *link)
{
    return CONTAINER_OF(link, struct road_in, link);
}

static bool in_frame(struct link *link, const struct link_frame *frame)
{
    struct road_in *road = road_in_of(link);
    struct delivery_hub *hub = road->roads->is.hub;
    if (frame->kind == LINK_VIEW)
        return take_view(road, frame);
    if (frame->kind == LINK_PUBLISH || frame->kind == LINK_RETAIN)
        return take_publish(road, frame);
    struct link_reader reader = link_reader_of(frame->body);
    uint64_t publisher = link_read_u64(&reader);
    uint32_t question = link_read_u32(&reader);
    if (frame->kind != LINK_QUESTION || !link_reader_ok(&reader) || publisher == 0)
        return false;
    delivery_ask(hub, hub->worker, reference(road, publisher), question);
    return true;
}

/* What has come while this process was stopped may be for clients that are connected elsewhere
 * by now. */
static bool in_ready(struct link *link)
{
    const struct roads *roads = road_in_of(link)->roads;
    return !delivery_has_stalled(&roads->remote, roads->is.loop->now_ms);
}

static void in_received(struct link *link)
{
    give_credit(road_in_of(link));
}

static void in_ended(struct link *link)
{
    struct road_in *road = road_in_of(link);
    road->roads->in[road->place] = NULL;
}

static void in_closed(struct link *link)
{
    mem_free(road_in_of(link));
}

const struct link_ops road_in_ops = {.ready = in_ready,
                                     .frame = in_frame,
                                     .received = in_received,
                                     .ended = in_ended,
                                     .closed = in_closed};
