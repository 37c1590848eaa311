/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who there is, where, and whether it lives. A node is met at an address from the configuration, or
 * one that another node has told, or because it dials us; from then on it is known by its name. It
 * is away when nothing was heard of it for LEASE_MS, and comes back by itself.
 */
#include "cluster/dial.h"
#include "cluster/inside.h"

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/rcu.h"
#include "config/address.h"
#include "metrics/metrics.h"

#include <unistd.h>

/* ---- addresses ---------------------------------------------------------------------------------
 */

struct target *target_new(struct cluster *cluster, const struct cluster_address *address)
{
    LIST_FOR_EACH (link, &cluster->targets) {
        struct target *target = CONTAINER_OF(link, struct target, link);
        if (target->address.port == address->port &&
            strcmp(target->address.host, address->host) == 0)
            return target;
    }
    if (cluster->target_count == TARGETS_MAX) {
        LOG_LIMITED(LOG_WARN, "cluster.too_many_addresses", log_uint("limit", TARGETS_MAX));
        return NULL;
    }
    struct target *target = NEW(struct target);
    target->cluster = cluster;
    target->address = *address;
    target->again_ms = DIAL_AGAIN_MS;
    list_add_last(&cluster->targets, &target->link);
    cluster->target_count++;
    return target;
}

void target_add(struct cluster *cluster, struct bytes address)
{
    char text[LINK_ADDRESS_MAX + 1], host[CONFIG_TEXT_MAX];
    struct cluster_address parsed = {0};
    if (address.len > LINK_ADDRESS_MAX)
        return;
    memcpy(text, address.data, address.len);
    text[address.len] = '\0';
    if (address_split(text, host, &parsed.port) != NULL)
        return;
    memcpy(parsed.host, host, sizeof(host));
    (void)target_new(cluster, &parsed);
}

/* ---- members -----------------------------------------------------------------------------------
 */

struct member *member_find(struct cluster *cluster, const char *node)
{
    LIST_FOR_EACH (link, &cluster->members) {
        struct member *member = CONTAINER_OF(link, struct member, link);
        if (strcmp(member->node, node) == 0)
            return member;
    }
    return NULL;
}

static struct member *member_new(struct cluster *cluster, const struct link_peer *peer)
{
    if (cluster->member_count == REMOTES_MAX) {
        LOG_LIMITED(LOG_ERROR, "cluster.too_many_members", log_uint("limit", REMOTES_MAX));
        return NULL;
    }
    struct member *member =
        mem_new(sizeof(*member) + cluster->worker_count * sizeof(member->roads[0]));
    member->cluster = cluster;
    memcpy(member->node, peer->node, sizeof(member->node));
    member->remote = cluster->member_count++;
    remote_routes_init(&member->routes, cluster->router, member->remote);
    list_add_last(&cluster->members, &member->link);
    return member;
}

struct member *member_of_peer(struct cluster *cluster, const struct link_peer *peer)
{
    struct member *member = member_find(cluster, peer->node);
    if (member != NULL && member->incarnation != peer->incarnation && member->live)
        member_away(member, "it has started anew");
    if (member == NULL)
        member = member_new(cluster, peer);
    if (member == NULL)
        return NULL;
    member->incarnation = peer->incarnation;
    member->workers = peer->workers;
    member->version = peer->version;
    memcpy(member->address, peer->address, sizeof(member->address));
    target_add(cluster, bytes_of_str(peer->address));
    return member;
}

bool member_roads_open(const struct member *member)
{
    for (uint32_t i = 0; i < member->cluster->worker_count; i++)
        if (member->roads[i].state != ROAD_OPEN)
            return false;
    return true;
}

/* Both directions work, and publications get there. */
static void look_whether_live(struct member *member)
{
    if (member->live || member->tell == NULL || member->hear == NULL || !member_roads_open(member))
        return;
    member->live = true;
    metric_inc(member->cluster->metrics, METRIC_CLUSTER_MEMBERS);
    LOG(LOG_INFO, "cluster.member_here", log_text("node", member->node),
        log_text("address", member->address), log_uint("protocol", member->version));
}

void member_roads_changed(struct member *member)
{
    if (member_roads_open(member))
        hear_roads_open(member);
    look_whether_live(member);
}

static void take_leave(struct member *member, const char *reason, bool left)
{
    struct cluster *cluster = member->cluster;
    if (member->live) {
        metric_dec(cluster->metrics, METRIC_CLUSTER_MEMBERS);
        metric_inc(cluster->metrics, METRIC_CLUSTER_MEMBERS_LOST);
        member->lost++;
        LOG(LOG_WARN, "cluster.member_away", log_text("node", member->node),
            log_text("reason", reason));
    }
    member->live = false;
    member->gone |= left;
    memset(member->home_epochs, 0, sizeof(member->home_epochs));
    memset(member->taken_epochs, 0, sizeof(member->taken_epochs));
    memset(member->read_epochs, 0, sizeof(member->read_epochs));
    memset(member->gathered, 0, sizeof(member->gathered));
    dial_look_at_homes(cluster);
    rcu_synchronize(); /* who looks for routes from now on knows that some are missing */
    talk_abort(member);
    orders_away(member);
    for (uint32_t i = 0; i < cluster->worker_count; i++) {
        member->roads[i].state = ROAD_NONE;
        roads_post_close(cluster->roads[i], member->remote, left);
    }
    dial_close(member);
    remote_routes_clear(&member->routes);
    members_settle(cluster);
}

void member_away(struct member *member, const char *reason)
{
    take_leave(member, reason, false);
}

void member_left(struct member *member)
{
    take_leave(member, "it has left", true);
}

void members_watch(struct cluster *cluster)
{
    uint64_t now_ms = cluster->loop.now_ms;
    LIST_FOR_EACH (link, &cluster->members) {
        struct member *member = CONTAINER_OF(link, struct member, link);
        bool answers = now_ms - member->told_ms < LEASE_MS || !(member->live || member->tell);
        bool speaks = now_ms - member->heard_ms < LEASE_MS || !(member->live || member->hear);
        if (!answers || !speaks)
            member_away(member, answers ? "it was not heard of" : "it does not answer");
    }
}

void members_settle(struct cluster *cluster)
{
    uint64_t settled = cluster->interests;
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *member = CONTAINER_OF(link, struct member, link);
        if ((member->live || member->tell != NULL) && member->settled < settled)
            settled = member->settled;
    }
    for (uint32_t i = 0; i < cluster->worker_count; i++) {
        struct delivery_remote *remote = roads_remote(cluster->roads[i]);
        if (atomic_load_explicit(&remote->settled, memory_order_relaxed) >= settled)
            continue;
        atomic_store_explicit(&remote->settled, settled, memory_order_release);
        loop_wake(cluster->workers[i].loop);
    }
}

void members_tell(struct cluster *cluster)
{
    uint64_t now_ms = cluster->loop.now_ms;
    uint32_t count = 0;
    pthread_mutex_lock(&cluster->told_lock);
    if (cluster->told_count < cluster->member_count)
        cluster->told = mem_resize(cluster->told, cluster->member_count * sizeof(*cluster->told));
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *member = CONTAINER_OF(link, struct member, link);
        struct cluster_member *told = &cluster->told[count++];
        *told = (struct cluster_member){.here = member->live,
                                        .silent_ms = now_ms - member->heard_ms,
                                        .filters = member->routes.by_filter.count,
                                        .protocol = member->version,
                                        .lost = member->lost,
                                        .unsettled = cluster->interests - member->settled};
        for (uint32_t i = 0; i < cluster->worker_count; i++)
            roads_count(cluster->roads[i], member->remote, &told->road);
        memcpy(told->node, member->node, sizeof(told->node));
        memcpy(told->address, member->address, sizeof(told->address));
    }
    cluster->told_count = count;
    pthread_mutex_unlock(&cluster->told_lock);
}

bool member_is_here(const struct member *member)
{
    uint64_t now_ms = member->cluster->loop.now_ms;
    return member->live && member->tell != NULL && member->hear != NULL &&
           now_ms - member->heard_ms < HOMES_HEARD_MS && now_ms - member->told_ms < HOMES_HEARD_MS;
}

bool member_may_serve(const struct member *member)
{
    uint64_t now_ms = member->cluster->loop.now_ms;
    uint64_t silent_since_ms =
        member->heard_ms < member->told_ms ? member->heard_ms : member->told_ms;
    return member_is_here(member) || (member->live && now_ms < silent_since_ms + MEMBER_SERVES_MS);
}

static bool is_forgotten(const struct target *target)
{
    char address[LINK_ADDRESS_MAX + 1];
    address_format(target->address.host, target->address.port, address, sizeof(address));
    return homes_is_forgotten(target->cluster->homes,
                              target->member == NULL ? NULL : target->member->node, address);
}

/* Each address of the configuration leads to somebody who is here, or to us, or to a node that was
 * removed. */
static bool all_here(const struct cluster *cluster)
{
    LIST_FOR_EACH (link, &cluster->targets) {
        const struct target *target = CONTAINER_OF(link, struct target, link);
        bool here = target->self || (target->member != NULL && member_is_here(target->member));
        if (target->configured && !here && !is_forgotten(target))
            return false;
    }
    return true;
}

void members_tell_homes(struct cluster *cluster)
{
    const char *here[REMOTES_MAX];
    uint32_t count = 0;
    if (cluster->homes == NULL)
        return;
    bool all = all_here(cluster);
    uint64_t hash = all ? 1 : 2;
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *member = CONTAINER_OF(link, struct member, link);
        if (!member_is_here(member))
            continue;
        here[count++] = member->node;
        hash = hash * 1000003 + member->remote + 1;
    }
    uint32_t gone = 0;
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *member = CONTAINER_OF(link, struct member, link);
        if (member_is_here(member) || !member->gone)
            continue;
        here[count + gone++] = member->node;
        hash = hash * 1000003 + member->remote + 1 + REMOTES_MAX;
    }
    if (cluster->homes_told && hash == cluster->homes_here)
        return;
    cluster->homes_told = true;
    cluster->homes_here = hash;
    homes_members(cluster->homes, here, count, gone, all);
}

/* ---- dialling ----------------------------------------------------------------------------------
 */

static void dial_target(struct target *target)
{
    struct greeter_call call = {
        .port = target->address.port, .purpose = LINK_CONTROL, .owner = target};
    memcpy(call.host, target->address.host, sizeof(call.host));
    target->dialling = true;
    greeter_dial(&target->cluster->greeter, &call);
}

static void dial_roads(struct target *target)
{
    struct member *member = target->member;
    struct cluster *cluster = target->cluster;
    for (uint32_t i = 0; i < cluster->worker_count; i++) {
        if (member->roads[i].state != ROAD_NONE)
            continue;
        struct greeter_call call = {.port = target->address.port,
                                    .purpose = LINK_ROAD,
                                    .worker = (uint16_t)i,
                                    .owner = target};
        memcpy(call.host, target->address.host, sizeof(call.host));
        member->roads[i].state = ROAD_DIALLING;
        greeter_dial(&cluster->greeter, &call);
    }
}

void members_dial(struct cluster *cluster)
{
    uint64_t now_ms = cluster->loop.now_ms;
    LIST_FOR_EACH (link, &cluster->targets) {
        struct target *target = CONTAINER_OF(link, struct target, link);
        struct member *member = target->member;
        if (target->self || target->dialling || now_ms < target->next_ms)
            continue;
        if (member == NULL || member->tell == NULL)
            dial_target(target);
        else
            dial_roads(target);
    }
}

static void wait_longer(struct target *target)
{
    target->next_ms = target->cluster->loop.now_ms + target->again_ms;
    target->again_ms =
        target->again_ms * 2 < DIAL_AGAIN_MAX_MS ? target->again_ms * 2 : DIAL_AGAIN_MAX_MS;
}

static void reached_control(struct target *target, const struct link_peer *peer, int fd,
                            struct bytes unread)
{
    struct member *member = member_of_peer(target->cluster, peer);
    target->dialling = false;
    target->again_ms = DIAL_AGAIN_MS;
    target->member = member;
    if (member == NULL || member->tell != NULL) { /* two addresses of one node */
        close(fd);
        return;
    }
    tell_open(member, fd, unread);
    look_whether_live(member);
}

static void reached(struct greeter *greeter, const struct greeter_call *call,
                    const struct link_peer *peer, int fd, struct bytes unread)
{
    struct target *target = call->owner;
    struct member *member;
    (void)greeter;
    if (call->purpose == LINK_TUNNEL || call->purpose == LINK_COPY) {
        dial_reached(call, peer, fd, unread);
        return;
    }
    member = target->member;
    if (call->purpose == LINK_CONTROL) {
        reached_control(target, peer, fd, unread);
    } else if (member->incarnation != peer->incarnation || member->tell == NULL ||
               member->roads[call->worker].state != ROAD_DIALLING) {
        close(fd);
        if (member->roads[call->worker].state == ROAD_DIALLING)
            member->roads[call->worker].state = ROAD_NONE;
    } else {
        struct cluster *cluster = target->cluster;
        uint32_t serial = ++cluster->road_serials;
        member->roads[call->worker] = (struct member_road){ROAD_GIVEN, serial};
        roads_post_out(cluster->roads[call->worker], member->remote, serial, peer->version, fd,
                       unread);
    }
}

static void failed(struct greeter *greeter, const struct greeter_call *call,
                   enum handshake_refusal refusal, const char *why)
{
    struct target *target = call->owner;
    (void)greeter;
    if (call->purpose == LINK_TUNNEL || call->purpose == LINK_COPY) {
        dial_failed(call);
        return;
    }
    if (refusal == HANDSHAKE_SELF)
        target->self = true;
    else if (refusal != HANDSHAKE_FINE)
        LOG_LIMITED(LOG_ERROR, "cluster.refused", log_text("host", call->host),
                    log_uint("port", call->port), log_text("reason", why));
    if (call->purpose == LINK_CONTROL)
        target->dialling = false;
    else if (target->member->roads[call->worker].state == ROAD_DIALLING)
        target->member->roads[call->worker].state = ROAD_NONE;
    wait_longer(target);
}

static void met(struct greeter *greeter, const struct link_peer *peer, int fd, struct bytes unread)
{
    struct cluster *cluster = greeter->owner;
    struct member *member = member_of_peer(cluster, peer);
    if (member == NULL) {
        close(fd);
    } else if (peer->purpose == LINK_TUNNEL || peer->purpose == LINK_COPY) {
        dial_met(member, peer, fd, unread);
    } else if (peer->purpose == LINK_ROAD) {
        roads_post_in(cluster->roads[peer->worker % cluster->worker_count], member->remote,
                      peer->worker, fd, unread);
    } else {
        hear_open(member, fd, unread);
        look_whether_live(member);
    }
}

const struct greeter_ops member_greeter_ops = {.reached = reached, .failed = failed, .met = met};

void members_free(struct cluster *cluster)
{
    for (struct list *link; (link = list_take_first(&cluster->targets)) != NULL;)
        mem_free(CONTAINER_OF(link, struct target, link));
    for (struct list *link; (link = list_take_first(&cluster->members)) != NULL;) {
        struct member *member = CONTAINER_OF(link, struct member, link);
        remote_routes_deinit(&member->routes);
        mem_free(member);
    }
}
