/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/road.h"

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/road_inside.h"

#include <unistd.h>

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
    .forward = road_forward,
    .answer = road_answer,
    .is_behind = road_is_behind,
    .ask = road_ask,
    .slow_down = road_slow_down,
    .caught_up = road_caught_up,
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
    /* acquire: partner of set_headless(): what is told is no older */
    roads->remote.told = atomic_load_explicit(&roads->remote.moves, memory_order_acquire);
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
    } else if (link_open(&road->link, roads->is.loop, &road_out_ops, order->fd,
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
    } else if (link_open(&road->link, roads->is.loop, &road_in_ops, order->fd,
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
