/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/road.h"

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/road_told.h"

#include <unistd.h>

enum {
    ROADS_IN_MAX = 4095 - REMOTE_FIRST, /* what a publisher's reference has room for */
    CREDIT_STEP = 64 * 1024,            /* bytes worked off between two LINK_CREDIT */
};

/* Who is told what has become of a publication that did not ask. */
#define ROAD_NOBODY session_ref_of_remote(ROADS_IN_MAX)

#define REF_LOW (((session_ref)1 << SESSION_REF_WORKER_SHIFT) - 1)

/* To another node. */
struct road_out {
    struct link link;
    struct roads *roads;
    uint32_t remote, serial;
    uint16_t version;          /* of the protocol */
    uint64_t sent, worked_off; /* bytes */
    bool forgotten;            /* closed by order: nobody is told */
    /* Who waits for publications first_asked to last_asked, in a ring; NULL: is answered. */
    struct publish_ticket **asked;
    uint32_t asked_room; /* power of two, or 0 */
    uint64_t first_asked, last_asked;
    uint32_t waiting; /* of them */
};

/* From a worker of another node. */
struct road_in {
    struct link link;
    struct roads *roads;
    uint32_t remote, from;       /* the node, and which of its workers */
    uint32_t place;              /* in roads->in, and in references */
    uint64_t serial;             /* no other road of this worker has had it */
    uint64_t received, credited; /* bytes */
    uint32_t question;           /* asked of a worker that is behind; 0: none is */
    uint32_t view;               /* groups that the sender believes this node to be home of */
};

struct roads {
    struct delivery_remote remote; /* first: the hub has this */
    uint32_t worker;
    struct cluster_worker is;
    const struct roads_ops *ops;
    void *owner;
    struct road_out *out[REMOTES_MAX];
    struct road_told told[REMOTES_MAX];
    struct road_in **in; /* holes are NULL */
    uint32_t in_room;
    uint32_t questions; /* so far */
    uint64_t serials;   /* the same */
    bool closed;
};

/* ---- to other nodes ----------------------------------------------------------------------------
 */

static struct roads *roads_of(const struct delivery_hub *hub)
{
    return CONTAINER_OF(hub->remote, struct roads, remote);
}

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

static bool forward(struct delivery_hub *hub, uint32_t remote, const struct forwarding *forwarding)
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
    publish.publication.publisher &= REF_LOW;
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

static bool is_behind(struct delivery_hub *hub, uint32_t remote)
{
    const struct road_out *road = road_to(hub, remote);
    return road != NULL && road->sent - road->worked_off > BACKLOG_HIGH;
}

static bool ask(struct delivery_hub *hub, uint32_t remote, session_ref publisher, uint32_t question)
{
    struct road_out *road = road_to(hub, remote);
    uint8_t body[12];
    link_write_u32(link_write_u64(body, publisher & REF_LOW), question);
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
        (session_ref)road->roads->worker << SESSION_REF_WORKER_SHIFT | (number & REF_LOW);
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

static const struct link_ops out_ops = {
    .frame = out_frame, .ended = out_ended, .closed = out_closed};

/* ---- from other nodes --------------------------------------------------------------------------
 */

static session_ref reference(const struct road_in *road, uint64_t low)
{
    return (session_ref)(REMOTE_FIRST + road->place) << SESSION_REF_WORKER_SHIFT | (low & REF_LOW);
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
static void answer(struct delivery_hub *hub, session_ref asked_by, uint64_t number, enum rc rc)
{
    struct road_in *road = road_of(hub, asked_by);
    if (road != NULL && road->serial == (asked_by & REF_LOW))
        send_answer(road, number, rc);
}

static void tell_lag(struct road_in *road, uint64_t publisher)
{
    uint8_t body[8];
    if (publisher == 0)
        return;
    link_write_u64(body, publisher & REF_LOW);
    link_send(&road->link, LINK_LAGGING, 0, bytes_of(body, sizeof(body)));
}

static void slow_down(struct delivery_hub *hub, session_ref publisher)
{
    struct road_in *road = road_of(hub, publisher);
    if (road != NULL)
        tell_lag(road, publisher & REF_LOW);
}

static void caught_up(struct delivery_hub *hub, session_ref publisher, uint32_t question)
{
    struct road_in *road = road_of(hub, publisher);
    uint8_t body[12];
    if (road == NULL)
        return;
    if ((publisher & REF_LOW) != 0) {
        link_write_u32(link_write_u64(body, publisher & REF_LOW), question);
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

static bool take_view(struct road_in *road, const struct link_frame *frame)
{
    struct link_reader reader = link_reader_of(frame->body);
    road->view = link_read_u32(&reader);
    return link_reader_ok(&reader);
}

static bool take_publish(struct road_in *road, const struct link_frame *frame)
{
    struct delivery_hub *hub = road->roads->is.hub;
    struct link_publish publish;
    if (!link_publish_read(frame, hub->sessions->now_ms, &publish))
        return false;
    struct publication *p = &publish.publication;
    uint64_t publisher = p->publisher & REF_LOW;
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
        publish.to_retain ? delivery_retain_remote(hub, p)
                          : delivery_publish_remote(hub, p, publish.share, shard, outbox);
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

static const struct link_ops in_ops = {.ready = in_ready,
                                       .frame = in_frame,
                                       .received = in_received,
                                       .ended = in_ended,
                                       .closed = in_closed};

static enum delivery_place home_of(struct delivery_hub *hub, uint32_t shard, uint32_t *remote)
{
    if (!atomic_load_explicit(&hub->remote->shards_have_homes, memory_order_acquire))
        return HOME_IS_HERE;
    struct cluster_home home = cluster_home_of(roads_of(hub)->owner, shard);
    *remote = home.remote;
    return home.place == CLUSTER_HERE   ? HOME_IS_HERE
           : home.place == CLUSTER_AWAY ? HOME_IS_REMOTE
                                        : HOME_IS_UNKNOWN;
}

static uint64_t sequence(struct delivery_hub *hub, uint32_t shard)
{
    return cluster_sequence(roads_of(hub)->owner, shard);
}

static bool is_spread(struct delivery_hub *hub, uint32_t shard, uint64_t sequence)
{
    return cluster_is_spread(roads_of(hub)->owner, shard, sequence);
}

static void spread(struct delivery_hub *hub)
{
    cluster_hurry(roads_of(hub)->owner);
}

static const struct remote_ops remote_ops = {
    .sequence = sequence,
    .is_spread = is_spread,
    .spread = spread,
    .home_of = home_of,
    .forward = forward,
    .answer = answer,
    .is_behind = is_behind,
    .ask = ask,
    .slow_down = slow_down,
    .caught_up = caught_up,
};

/* ---- orders ------------------------------------------------------------------------------------
 */

struct road_order {
    struct mail mail;
    struct roads *roads;
    uint32_t remote, serial;
    uint32_t from; /* a worker of that node */
    uint16_t version;
    bool left; /* the node has said so: what it sent last is read */
    int fd;
    size_t unread_len;
    uint8_t unread[];
};

static void post(struct roads *roads, const struct road_order *what, struct bytes unread)
{
    struct road_order *order = mem_new(sizeof(*order) + unread.len);
    *order = *what;
    order->roads = roads;
    order->unread_len = unread.len;
    if (unread.len > 0)
        memcpy(order->unread, unread.data, unread.len);
    mailbox_post(roads->is.mailbox, &order->mail.letter);
}

static void close_out(struct roads *roads, uint32_t remote)
{
    struct road_out *road = roads->out[remote];
    if (road == NULL)
        return;
    road->forgotten = true;
    link_abort(&road->link);
}

/* Whoever sent on them counts it as lost, and sends it again. */
static void close_in(struct roads *roads, uint32_t remote, uint32_t from, bool all)
{
    for (uint32_t i = 0; i < roads->in_room; i++)
        if (roads->in[i] != NULL && roads->in[i]->remote == remote &&
            (all || roads->in[i]->from == from))
            link_abort(&roads->in[i]->link);
}

static void tell_view(struct road_out *road)
{
    struct cluster *cluster = road->roads->owner;
    uint32_t view = 0;
    uint8_t body[4];
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++) {
        struct cluster_home home = cluster_home_of(cluster, group);
        if (home.place == CLUSTER_AWAY && home.remote == road->remote)
            view |= 1u << group;
    }
    link_write_u32(body, view);
    link_send(&road->link, LINK_VIEW, 0, bytes_of(body, sizeof(body)));
}

void roads_tell_view(struct roads *roads)
{
    for (uint32_t i = 0; i < REMOTES_MAX; i++)
        if (roads->out[i] != NULL)
            tell_view(roads->out[i]);
}

static void open_out_order(struct mail *mail, void *receiver)
{
    struct road_order *order = CONTAINER_OF(mail, struct road_order, mail);
    struct roads *roads = order->roads;
    (void)receiver;
    close_out(roads, order->remote);
    struct road_out *road = NEW(struct road_out);
    *road = (struct road_out){.roads = roads,
                              .remote = order->remote,
                              .serial = order->serial,
                              .version = order->version,
                              .first_asked = 1};
    if (roads->closed) {
        close(order->fd);
        mem_free(road);
    } else if (link_open(&road->link, roads->is.loop, &out_ops, order->fd,
                         bytes_of(order->unread, order->unread_len)) != RC_OK) {
        mem_free(road);
        roads->ops->lost(roads->owner, roads->worker, order->remote, order->serial);
    } else {
        roads->out[order->remote] = road;
        tell_view(road);
        roads->ops->opened(roads->owner, roads->worker, order->remote, order->serial);
    }
    mem_free(order);
}

/* The first hole, made if need be; false when all places are taken. */
static bool place_for(struct roads *roads, uint32_t *place)
{
    for (*place = 0; *place < roads->in_room; (*place)++)
        if (roads->in[*place] == NULL)
            return true;
    uint32_t room = roads->in_room == 0 ? 16 : roads->in_room * 2;
    if (room > ROADS_IN_MAX)
        return false;
    roads->in = mem_resize(roads->in, room * sizeof(*roads->in));
    memset(roads->in + roads->in_room, 0, (room - roads->in_room) * sizeof(*roads->in));
    roads->in_room = room;
    return true;
}

static void open_in_order(struct mail *mail, void *receiver)
{
    struct road_order *order = CONTAINER_OF(mail, struct road_order, mail);
    struct roads *roads = order->roads;
    struct road_in *road = NEW(struct road_in);
    (void)receiver;
    close_in(roads, order->remote, order->from, false);
    road->roads = roads;
    road->remote = order->remote;
    road->from = order->from;
    road->serial = ++roads->serials;
    if (roads->closed || !place_for(roads, &road->place)) {
        close(order->fd);
        mem_free(road);
    } else if (link_open(&road->link, roads->is.loop, &in_ops, order->fd,
                         bytes_of(order->unread, order->unread_len)) != RC_OK) {
        mem_free(road);
    } else {
        roads->in[road->place] = road;
    }
    mem_free(order);
}

static void open_go_on_order(struct mail *mail, void *receiver)
{
    struct road_order *order = CONTAINER_OF(mail, struct road_order, mail);
    struct roads *roads = order->roads;
    (void)receiver;
    for (uint32_t i = 0; i < roads->in_room; i++)
        if (roads->in[i] != NULL)
            link_resume(&roads->in[i]->link);
    mem_free(order);
}

static void open_close_order(struct mail *mail, void *receiver)
{
    struct road_order *order = CONTAINER_OF(mail, struct road_order, mail);
    (void)receiver;
    close_out(order->roads, order->remote);
    if (!order->left)
        close_in(order->roads, order->remote, 0, true);
    mem_free(order);
}

void roads_post_out(struct roads *roads, uint32_t remote, uint32_t serial, uint16_t version, int fd,
                    struct bytes unread)
{
    post(roads,
         &(struct road_order){.mail.open = open_out_order,
                              .remote = remote,
                              .serial = serial,
                              .version = version,
                              .fd = fd},
         unread);
}

void roads_post_in(struct roads *roads, uint32_t remote, uint32_t from, int fd, struct bytes unread)
{
    post(roads,
         &(struct road_order){.mail.open = open_in_order, .remote = remote, .from = from, .fd = fd},
         unread);
}

void roads_post_close(struct roads *roads, uint32_t remote, bool left)
{
    post(roads,
         &(struct road_order){
             .mail.open = open_close_order, .remote = remote, .left = left, .fd = -1},
         bytes_of(NULL, 0));
}

void roads_post_go_on(struct roads *roads)
{
    post(roads, &(struct road_order){.mail.open = open_go_on_order, .fd = -1}, bytes_of(NULL, 0));
}

/* ---- make and unmake ---------------------------------------------------------------------------
 */

struct roads *roads_new(uint32_t worker, const struct roads_ops *ops, void *owner)
{
    struct roads *roads = NEW(struct roads);
    roads->remote.ops = &remote_ops;
    roads->worker = worker;
    roads->ops = ops;
    roads->owner = owner;
    return roads;
}

void roads_join(struct roads *roads, const struct cluster_worker *is)
{
    roads->is = *is;
}

void roads_count(const struct roads *roads, uint32_t remote, struct road_counts *sum)
{
    road_told_add(&roads->told[remote], sum);
}

struct delivery_remote *roads_remote(struct roads *roads)
{
    return &roads->remote;
}

void roads_close(struct roads *roads)
{
    roads->closed = true;
    for (uint32_t i = 0; i < REMOTES_MAX; i++)
        if (roads->out[i] != NULL)
            link_close(&roads->out[i]->link);
    for (uint32_t i = 0; i < roads->in_room; i++)
        if (roads->in[i] != NULL)
            link_close(&roads->in[i]->link);
}

void roads_free(struct roads *roads)
{
    if (roads == NULL)
        return;
    mem_free(roads->in);
    mem_free(roads);
}
