/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control links. Each node dials each other one and tells it what its clients want, first all of
 * it, then what changes; the other answers how far it has come. So between two nodes there are two,
 * one for each direction.
 *
 *     BEGIN, ROUTES..., MARK n, then ROUTES..., MARK n   --->
 *                                                        <---   DONE n
 *     HEARTBEAT, REMOVED..., HOMES, GATHERED             --->
 *                                                        <---   HEARTBEAT
 *     ORDER n                                            --->
 *                                                        <---   ORDERED n
 *     GOODBYE                                            --->
 */
#include "cluster/dial.h"
#include "cluster/inside.h"
#include "cluster/news.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/rcu.h"
#include "model/topic.h"

/* ---- telling -----------------------------------------------------------------------------------
 */

struct tell {
    struct link link;
    struct member *member;
    struct list *next; /* in own_routes->all: the next to be told; the list's head: all are */
    bool whole;        /* the whole table has been told */
    uint16_t version;  /* of the protocol */
    uint8_t kind;      /* LINK_ROUTES or LINK_SHARE_ROUTES: what is collected... */
    uint8_t level;     /* ... and its enum interest_level */
    uint64_t homes[CLUSTER_GROUPS]; /* the epochs of the groups that it has been told we lead */
    uint64_t taken[CLUSTER_GROUPS]; /* the same, from when we take them over */
    uint32_t removed;               /* nodes that were removed and have been told */
    uint32_t used;
    uint8_t collected[ROUTES_FRAME + 2 + 2 + UINT16_MAX];
};

static struct tell *tell_of(struct link *link)
{
    return CONTAINER_OF(link, struct tell, link);
}

static void send_collected(struct tell *tell)
{
    if (tell->used > 0)
        link_send(&tell->link, tell->kind, tell->level, bytes_of(tell->collected, tell->used));
    tell->used = 0;
}

/* A share's route without a shard stands for its clean members alone, when those that are durable
 * are told by their shards. */
static enum interest_level level_for(const struct tell *tell, const struct route_key *key,
                                     enum interest_level level)
{
    if (tell->version < LINK_VERSION_SHARDS)
        return level == INTEREST_BOTH ? INTEREST_DURABLE : level;
    if (level == INTEREST_BOTH)
        return INTEREST_CLEAN;
    struct bytes name, inner;
    bool elsewhere = level == INTEREST_DURABLE && key->shard == NO_SHARD &&
                     topic_share_parse(key->filter, &name, &inner) == SHARE_OK;
    return elsewhere ? INTEREST_NONE : level;
}

static void collect(struct tell *tell, const struct route_key *key, enum interest_level level)
{
    uint8_t kind = key->shard == NO_SHARD ? LINK_ROUTES : LINK_SHARE_ROUTES;
    if (kind == LINK_SHARE_ROUTES && tell->version < LINK_VERSION_SHARDS)
        return;
    level = level_for(tell, key, level);
    if (tell->kind != kind || tell->level != level || tell->used >= ROUTES_FRAME)
        send_collected(tell);
    tell->kind = kind;
    tell->level = (uint8_t)level;
    uint8_t *end = tell->collected + tell->used;
    if (kind == LINK_SHARE_ROUTES)
        end = link_write_u16(end, key->shard);
    end = link_write_text(end, key->filter);
    tell->used = (uint32_t)(end - tell->collected);
}

static void mark(struct tell *tell)
{
    uint8_t body[8];
    send_collected(tell);
    link_write_u64(body, tell->member->cluster->interests);
    link_send(&tell->link, LINK_ROUTES_MARK, 0, bytes_of(body, sizeof(body)));
}

/* Goes on with the whole table, as far as there is room. */
static void tell_more(struct tell *tell)
{
    struct own_routes *own = &tell->member->cluster->own_routes;
    while (tell->next != &own->all && !link_is_high(&tell->link)) {
        const struct own_route *route = CONTAINER_OF(tell->next, struct own_route, link);
        struct route_key key = own_route_key(route);
        if (level_for(tell, &key, route->level) != INTEREST_NONE)
            collect(tell, &key, route->level);
        tell->next = tell->next->next;
    }
    if (tell->next == &own->all && !tell->whole) {
        tell->whole = true;
        mark(tell);
        cluster_news_changed(tell->member->cluster); /* it may hear now what we are home of */
    }
}

static void tell_members(struct tell *tell)
{
    struct cluster *cluster = tell->member->cluster;
    uint8_t body[LINK_ADDRESS_MAX + 2];
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *other = CONTAINER_OF(link, struct member, link);
        uint8_t *end = link_write_text(body, bytes_of_str(other->address));
        if (other != tell->member)
            link_send(&tell->link, LINK_MEMBERS, 0, bytes_of(body, (size_t)(end - body)));
    }
}

static bool told(struct link *link, const struct link_frame *frame)
{
    struct member *member = tell_of(link)->member;
    struct link_reader reader = link_reader_of(frame->body);
    uint64_t number = link_read_u64(&reader);
    member->told_ms = member->cluster->loop.now_ms;
    if (frame->kind == LINK_HEARTBEAT)
        return true;
    if (frame->kind == LINK_ORDERED)
        return order_answered(member, frame);
    if (frame->kind != LINK_ROUTES_DONE || !link_reader_ok(&reader) || number < member->settled ||
        number > member->cluster->interests)
        return false;
    member->settled = number;
    members_settle(member->cluster);
    return true;
}

static void tell_drained(struct link *link)
{
    tell_more(tell_of(link));
}

static void tell_ended(struct link *link)
{
    struct tell *tell = tell_of(link);
    if (tell->member->tell == tell)
        tell->member->tell = NULL;
    tell->member->gone |= tell->member->live && link->finished; /* else we have closed it */
}

static void tell_closed(struct link *link)
{
    mem_free(tell_of(link));
}

static const struct link_ops tell_ops = {
    .frame = told, .drained = tell_drained, .ended = tell_ended, .closed = tell_closed};

static void send_removed(struct tell *tell)
{
    struct homes_known removed;
    uint8_t body[NEWS_REMOVED_BYTES];
    while (homes_removed(tell->member->cluster->homes, tell->removed, &removed)) {
        tell->removed++;
        link_send(&tell->link, LINK_REMOVED, 0, bytes_of(body, news_write_removed(&removed, body)));
    }
}

/* 0: the news do not say that its node is home of the group. */
static uint64_t home_epoch(const struct homes_news *news, uint32_t group)
{
    const struct homes_group_news *of = &news->groups[group];
    return of->part == HOMES_IS_HOME ? of->epoch : 0;
}

void own_news(const struct cluster *cluster, struct homes_news *news)
{
    /* acquire: who tells of a route that has gone with its session sees that it is not served */
    uint32_t serving =
        atomic_load_explicit(&roads_remote(cluster->roads[0])->serving, memory_order_acquire);
    homes_news(cluster->homes, news);
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++)
        if (home_epoch(news, group) != 0 && (serving >> group & 1) == 0)
            news->groups[group].part = HOMES_NO_PART;
}

/* The news, but of groups in which this node is home of another epoch than in `epochs`, or not
 * there, that it has no part in them. */
static void send_news(struct tell *tell, const struct homes_news *news, const uint64_t epochs[])
{
    struct homes_news said = *news;
    uint8_t body[NEWS_BYTES];
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++) {
        uint64_t epoch = home_epoch(news, group);
        tell->homes[group] = epoch == epochs[group] ? epoch : 0;
        tell->taken[group] = news->groups[group].epoch;
        if (epoch != 0 && tell->homes[group] == 0)
            said.groups[group].part = HOMES_NO_PART;
    }
    send_removed(tell);
    send_collected(tell);
    link_send(&tell->link, LINK_HOMES, 0, bytes_of(body, news_write(&said, tell->version, body)));
}

void tell_open(struct member *member, int fd, struct bytes unread)
{
    struct cluster *cluster = member->cluster;
    struct tell *tell = mem_new(sizeof(*tell));
    if (member->tell != NULL)
        link_close(&member->tell->link);
    tell->member = member;
    tell->version = member->version;
    tell->next = cluster->own_routes.all.next;
    if (link_open(&tell->link, &cluster->loop, &tell_ops, fd, unread) != RC_OK) {
        mem_free(tell);
        return;
    }
    member->tell = tell;
    member->gone = false;
    member->told_ms = cluster->loop.now_ms;
    member->settled = 0;
    tell_members(tell);
    if (cluster->homes != NULL) {
        struct homes_news news;
        own_news(cluster, &news);
        send_news(tell, &news, tell->homes); /* none yet: it lacks the routes */
    }
    link_send(&tell->link, LINK_ROUTES_BEGIN, 0, bytes_of(NULL, 0));
    tell_more(tell);
}

void tell_change(struct cluster *cluster, const struct route_key *key, enum interest_level level)
{
    LIST_FOR_EACH (link, &cluster->members) {
        struct tell *tell = CONTAINER_OF(link, struct member, link)->tell;
        if (tell != NULL)
            collect(tell, key, level);
    }
}

void tell_forget(struct cluster *cluster, const struct own_route *route)
{
    LIST_FOR_EACH (link, &cluster->members) {
        struct tell *tell = CONTAINER_OF(link, struct member, link)->tell;
        if (tell != NULL && tell->next == &route->link)
            tell->next = route->link.next;
    }
}

void tell_mark(struct cluster *cluster)
{
    LIST_FOR_EACH (link, &cluster->members) {
        struct tell *tell = CONTAINER_OF(link, struct member, link)->tell;
        if (tell != NULL && tell->whole)
            mark(tell);
        else if (tell != NULL)
            tell_more(tell);
    }
}

void tell_heartbeat(struct cluster *cluster)
{
    LIST_FOR_EACH (link, &cluster->members) {
        struct tell *tell = CONTAINER_OF(link, struct member, link)->tell;
        if (tell != NULL)
            link_send(&tell->link, LINK_HEARTBEAT, 0, bytes_of(NULL, 0));
    }
}

void tell_news(struct cluster *cluster, const struct homes_news *before)
{
    uint64_t epochs[CLUSTER_GROUPS];
    struct homes_news now;
    own_news(cluster, &now);
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++)
        epochs[group] = home_epoch(before, group);
    LIST_FOR_EACH (link, &cluster->members) {
        struct tell *tell = CONTAINER_OF(link, struct member, link)->tell;
        if (tell != NULL)
            send_news(tell, &now, tell->whole ? epochs : tell->homes);
    }
}

/* A group is not served here any more, or is going to be: who publishes meanwhile has to wait, or
 * it might overtake what is under way to the home before. */
static bool has_moved_any(const struct tell *tell, const struct homes_news *now)
{
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++)
        if ((tell->homes[group] != 0 && tell->homes[group] != home_epoch(now, group)) ||
            tell->taken[group] < now->groups[group].epoch)
            return true;
    return false;
}

void tell_moves(struct cluster *cluster)
{
    struct homes_news now;
    if (cluster->homes == NULL)
        return;
    own_news(cluster, &now);
    LIST_FOR_EACH (link, &cluster->members) {
        struct tell *tell = CONTAINER_OF(link, struct member, link)->tell;
        if (tell != NULL && has_moved_any(tell, &now))
            send_news(tell, &now, tell->homes);
    }
}

void tell_gathered(struct cluster *cluster)
{
    uint8_t body[CLUSTER_GROUPS * 8];
    uint8_t *at = body;
    if (cluster->homes == NULL)
        return;
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++)
        at = link_write_u64(at, gather_told(cluster, group));
    LIST_FOR_EACH (link, &cluster->members) {
        struct tell *tell = CONTAINER_OF(link, struct member, link)->tell;
        if (tell != NULL)
            link_send(&tell->link, LINK_GATHERED, 0, bytes_of(body, sizeof(body)));
    }
}

bool tell_order(struct member *member, struct bytes body)
{
    return member->tell != NULL && link_send(&member->tell->link, LINK_ORDER, 0, body);
}

void tell_goodbye(struct cluster *cluster)
{
    LIST_FOR_EACH (link, &cluster->members) {
        struct tell *tell = CONTAINER_OF(link, struct member, link)->tell;
        if (tell != NULL)
            link_send(&tell->link, LINK_GOODBYE, 0, bytes_of(NULL, 0));
    }
}

/* ---- hearing -----------------------------------------------------------------------------------
 */

struct hear {
    struct link link;
    struct member *member;
    bool whole;     /* the whole table is being told */
    bool owes_done; /* the roads are not open: answered when they are */
    uint64_t mark;  /* the last */
};

static struct hear *hear_of(struct link *link)
{
    return CONTAINER_OF(link, struct hear, link);
}

static bool hear_filters(struct member *member, const struct link_frame *frame)
{
    struct link_reader reader = link_reader_of(frame->body);
    bool fine = frame->flags <= INTEREST_OFFLINE;
    bool by_shard = frame->kind == LINK_SHARE_ROUTES;
    while (fine && reader.at < reader.end) {
        struct route_key key = {.shard = by_shard ? link_read_u16(&reader) : NO_SHARD};
        key.filter = link_read_text(&reader);
        if (reader.failed)
            return false;
        fine = frame->flags == INTEREST_NONE
                   ? remote_routes_remove(&member->routes, &key)
                   : remote_routes_add(&member->routes, &key, (enum interest_level)frame->flags);
    }
    return fine;
}

/* In effect means that what is published here gets there. */
static bool answer_mark(struct hear *hear)
{
    uint8_t body[8];
    hear->owes_done = false;
    link_write_u64(body, hear->mark);
    return link_send(&hear->link, LINK_ROUTES_DONE, 0, bytes_of(body, sizeof(body)));
}

static bool hear_mark(struct hear *hear, const struct link_frame *frame)
{
    struct link_reader reader = link_reader_of(frame->body);
    hear->mark = link_read_u64(&reader);
    if (!link_reader_ok(&reader))
        return false;
    if (hear->whole)
        remote_routes_end(&hear->member->routes);
    hear->whole = false;
    if (member_roads_open(hear->member))
        return answer_mark(hear);
    hear->owes_done = true;
    return true;
}

void hear_roads_open(struct member *member)
{
    if (member->hear != NULL && member->hear->owes_done)
        answer_mark(member->hear);
}

void hear_ordered(struct member *member, uint8_t outcome, struct bytes body)
{
    if (member->hear != NULL)
        link_send(&member->hear->link, LINK_ORDERED, outcome, body);
}

static bool hear_member(struct member *member, const struct link_frame *frame)
{
    struct link_reader reader = link_reader_of(frame->body);
    struct bytes address = link_read_text(&reader);
    if (!link_reader_ok(&reader))
        return false;
    target_add(member->cluster, address);
    return true;
}

static bool hear_news(struct member *member, const struct link_frame *frame)
{
    struct cluster *cluster = member->cluster;
    struct homes_news news;
    if (!news_read(frame->body, member->version, &news))
        return false;
    if (cluster->homes == NULL)
        return true;
    bool moved = false;
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++) {
        uint64_t epoch = home_epoch(&news, group), last = news.groups[group].epoch;
        bool follows = news.groups[group].part == HOMES_FOLLOWS;
        uint64_t taken = follows ? 0 : last;
        moved |= member->home_epochs[group] != 0 && member->home_epochs[group] != epoch;
        moved |= taken > member->taken_epochs[group];
        member->home_epochs[group] = epoch;
        member->taken_epochs[group] = taken;
        member->read_epochs[group] = follows ? last : 0;
    }
    dial_look_at_homes(cluster);
    if (moved)
        rcu_synchronize(); /* as in member_away() */
    homes_heard(cluster->homes, member->node, member->address, &news);
    return true;
}

static bool hear_removed(struct member *member, const struct link_frame *frame)
{
    struct homes_known removed;
    if (!news_read_removed(frame->body, &removed))
        return false;
    if (member->cluster->homes != NULL)
        homes_heard_removed(member->cluster->homes, &removed);
    return true;
}

static bool hear_gathered(struct member *member, const struct link_frame *frame)
{
    struct link_reader reader = link_reader_of(frame->body);
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++)
        member->gathered[group] = link_read_u64(&reader);
    gather_look(member->cluster);
    return link_reader_ok(&reader);
}

static bool heard(struct link *link, const struct link_frame *frame)
{
    struct hear *hear = hear_of(link);
    hear->member->heard_ms = hear->member->cluster->loop.now_ms;
    switch (frame->kind) {
    case LINK_HEARTBEAT:
        return link_send(link, LINK_HEARTBEAT, 0, frame->body);
    case LINK_MEMBERS:
        return hear_member(hear->member, frame);
    case LINK_ROUTES_BEGIN:
        hear->whole = true;
        remote_routes_begin(&hear->member->routes);
        return true;
    case LINK_ROUTES:
    case LINK_SHARE_ROUTES:
        return hear_filters(hear->member, frame);
    case LINK_ROUTES_MARK:
        return hear_mark(hear, frame);
    case LINK_HOMES:
        return hear_news(hear->member, frame);
    case LINK_GATHERED:
        return hear_gathered(hear->member, frame);
    case LINK_REMOVED:
        return hear_removed(hear->member, frame);
    case LINK_ORDER:
        return order_heard(hear->member, frame);
    case LINK_GOODBYE:
        member_left(hear->member);
        return true;
    default:
        return false;
    }
}

static void hear_ended(struct link *link)
{
    struct hear *hear = hear_of(link);
    if (hear->member->hear == hear)
        hear->member->hear = NULL;
    hear->member->gone |= hear->member->live && link->finished;
}

static void hear_closed(struct link *link)
{
    mem_free(hear_of(link));
}

static const struct link_ops hear_ops = {
    .frame = heard, .ended = hear_ended, .closed = hear_closed};

void hear_open(struct member *member, int fd, struct bytes unread)
{
    struct hear *hear = NEW(struct hear);
    if (member->hear != NULL)
        link_close(&member->hear->link);
    hear->member = member;
    if (link_open(&hear->link, &member->cluster->loop, &hear_ops, fd, unread) != RC_OK) {
        mem_free(hear);
        return;
    }
    member->hear = hear;
    member->gone = false;
    member->heard_ms = member->cluster->loop.now_ms;
}

void talk_close(struct member *member)
{
    if (member->tell != NULL)
        link_close(&member->tell->link);
    if (member->hear != NULL)
        link_close(&member->hear->link);
}

void talk_abort(struct member *member)
{
    if (member->tell != NULL)
        link_abort(&member->tell->link);
    if (member->hear != NULL)
        link_abort(&member->hear->link);
}
