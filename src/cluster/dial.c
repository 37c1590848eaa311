/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/dial.h"

#include "base/check.h"
#include "base/memory.h"

#include <unistd.h>

/* A link that a worker wants, or a copy of a group. */
struct dial {
    struct list node; /* in cluster->dials */
    struct cluster *cluster;
    enum link_purpose purpose; /* LINK_TUNNEL, LINK_COPY */
    uint32_t worker, remote, home_worker;
    uint32_t group;       /* of the copy */
    uint64_t incarnation; /* of the member, when it was dialled */
};

static struct member *member_of(const struct dial *dial)
{
    LIST_FOR_EACH (link, &dial->cluster->members) {
        struct member *member = CONTAINER_OF(link, struct member, link);
        if (member->remote == dial->remote)
            return member;
    }
    return NULL;
}

/* An address that leads to the member. */
static const struct target *target_of(const struct member *member)
{
    LIST_FOR_EACH (link, &member->cluster->targets) {
        const struct target *target = CONTAINER_OF(link, struct target, link);
        if (target->member == member)
            return target;
    }
    return NULL;
}

static void answer(struct dial *dial, int fd, struct bytes unread)
{
    list_remove(&dial->node);
    if (dial->purpose == LINK_COPY)
        copies_post_out(dial->cluster->copies, dial->group, fd, unread);
    else
        tunnels_post_out(dial->cluster->tunnels[dial->worker], dial->remote, dial->home_worker, fd,
                         unread);
    mem_free(dial);
}

/* `member` may be NULL: answered at once. */
static void begin(struct cluster *cluster, const struct member *member, const struct dial *what)
{
    struct dial *dial = NEW(struct dial);
    *dial = *what;
    dial->cluster = cluster;
    list_add_last(&cluster->dials, &dial->node);
    const struct target *target = member == NULL ? NULL : target_of(member);
    if (target == NULL || !member->live || cluster->stopping) {
        answer(dial, -1, bytes_of(NULL, 0));
        return;
    }
    struct greeter_call call = {.port = target->address.port,
                                .purpose = dial->purpose,
                                .worker = (uint16_t)dial->home_worker,
                                .owner = dial};
    memcpy(call.host, target->address.host, sizeof(call.host));
    dial->incarnation = member->incarnation;
    greeter_dial(&cluster->greeter, &call);
}

static void open_dial(struct control_mail *mail)
{
    struct dial dial = {.purpose = LINK_TUNNEL,
                        .cluster = mail->cluster,
                        .worker = mail->worker,
                        .remote = mail->remote,
                        .home_worker = mail->serial};
    begin(mail->cluster, member_of(&dial), &dial);
}

static void open_copy(struct control_mail *mail)
{
    struct dial dial = {.purpose = LINK_COPY, .group = mail->serial};
    struct copies_progress progress;
    const struct member *member = NULL;
    if (copies_progress(mail->cluster->copies, dial.group, &progress))
        member = member_find(mail->cluster, progress.node);
    if (member != NULL)
        dial.remote = member->remote;
    begin(mail->cluster, member, &dial);
}

void dial_copy(void *owner, uint32_t group)
{
    control_post(owner, &(struct control_mail){.open = open_copy, .serial = group});
}

static void dial(void *owner, uint32_t worker, uint32_t remote, uint32_t home_worker)
{
    control_post(owner,
                 &(struct control_mail){
                     .open = open_dial, .worker = worker, .remote = remote, .serial = home_worker});
}

static void told(void *owner)
{
    gather_post(owner);
}

const struct tunnels_ops dial_tunnels_ops = {.dial = dial, .told = told};

void dial_reached(const struct greeter_call *call, const struct link_peer *peer, int fd,
                  struct bytes unread)
{
    struct dial *dial = call->owner;
    const struct member *member = member_of(dial);
    if (!member->live || peer->incarnation != dial->incarnation) {
        close(fd);
        fd = -1;
    }
    answer(dial, fd, unread);
}

void dial_failed(const struct greeter_call *call)
{
    answer(call->owner, -1, bytes_of(NULL, 0));
}

void dial_met(struct member *member, const struct link_peer *peer, int fd, struct bytes unread)
{
    struct cluster *cluster = member->cluster;
    if (peer->purpose == LINK_TUNNEL)
        tunnels_post_in(cluster->tunnels[peer->worker % cluster->worker_count], member->remote, fd,
                        unread);
    else if (cluster->copies != NULL)
        copies_post_in(cluster->copies, fd, unread);
    else
        close(fd);
}

/* A bit for each group whose home this is, and whose lease is fresh. */
static uint32_t leased(const struct cluster *cluster)
{
    uint32_t bits = 0;
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++)
        if (places_get(&cluster->places, group).place == CLUSTER_HERE &&
            cluster_may_act(cluster, group))
            bits |= UINT32_C(1) << group;
    return bits;
}

enum { LOOK_AGAIN_MS = 500 };

/* What waits for a home, or for a lease of ours, looks again whether it has waited for long enough.
 */
static bool is_time_to_look(struct cluster *cluster)
{
    uint64_t now_ms = cluster->loop.now_ms;
    if (now_ms < cluster->look_ms)
        return false;
    cluster->look_ms = now_ms + LOOK_AGAIN_MS;
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++) {
        enum cluster_place place = places_get(&cluster->places, group).place;
        bool leased = cluster->was_leased >> group & 1;
        if (place == CLUSTER_NOWHERE || (place == CLUSTER_HERE && !leased))
            return true;
    }
    return false;
}

void dial_look_at_homes(struct cluster *cluster)
{
    bool changed = places_look(cluster);
    uint32_t was_leased = cluster->was_leased;
    cluster->was_leased = leased(cluster);
    changed |= (cluster->was_leased & ~was_leased) != 0; /* who has waited for it goes on */
    bool cut_off = cluster_is_cut_off(cluster);
    changed |= cut_off != cluster->was_cut_off;
    cluster->was_cut_off = cut_off;
    changed |= is_time_to_look(cluster);
    if (!changed)
        return;
    for (uint32_t i = 0; i < cluster->worker_count; i++)
        tunnels_post_homes_changed(cluster->tunnels[i]);
}

void dial_close(struct member *member)
{
    const struct cluster *cluster = member->cluster;
    for (uint32_t i = 0; i < cluster->worker_count; i++)
        tunnels_post_close(cluster->tunnels[i], member->remote);
}

void dial_free(struct cluster *cluster)
{
    for (struct list *node; (node = list_take_first(&cluster->dials)) != NULL;)
        mem_free(CONTAINER_OF(node, struct dial, node));
}
