/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before a new home of a group decides its first CONNECT it has to know which client ids are
 * connected elsewhere. Each node registers its clients there (registration_edge.c), and says when
 * that home has confirmed all of them: GATHERED, the home's epoch. Who does not say so in time has
 * given its clients up by then. On the control's thread, but for gather_post().
 */
#include "base/clock.h"
#include "cluster/inside.h"
#include "cluster/registration.h"

uint64_t gather_told(const struct cluster *cluster, uint32_t group)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < cluster->worker_count; i++) {
        uint64_t told = tunnels_told(cluster->tunnels[i], group);
        if (told < least)
            least = told;
    }
    return least;
}

static bool all_have_told(const struct cluster *cluster, uint32_t group, uint64_t epoch)
{
    if (gather_told(cluster, group) < epoch)
        return false;
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *member = CONTAINER_OF(link, struct member, link);
        if (member_may_serve(member) && member->gathered[group] < epoch)
            return false;
    }
    return true;
}

static bool look(struct cluster *cluster, uint32_t group)
{
    struct places *places = &cluster->places;
    uint64_t epoch = places_epoch(places, group);
    if (places_get(places, group).place != CLUSTER_HERE || epoch == 0 ||
        atomic_load_explicit(&places->gathered[group], memory_order_relaxed) == epoch)
        return false;
    pthread_mutex_lock(&places->lock);
    uint64_t since_ms = places->places[group].since_ms;
    pthread_mutex_unlock(&places->lock);
    if (!all_have_told(cluster, group, epoch) &&
        clock_ms() - since_ms < registered_lease_ms(cluster))
        return false;
    /* release: who sees it sees what has been registered */
    atomic_store_explicit(&places->gathered[group], epoch, memory_order_release);
    return true;
}

void gather_look(struct cluster *cluster)
{
    bool changed = false;
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++)
        changed |= look(cluster, group);
    for (uint32_t i = 0; changed && i < cluster->worker_count; i++)
        tunnels_post_homes_changed(cluster->tunnels[i]);
}

static void open_gathered(struct control_mail *mail)
{
    tell_gathered(mail->cluster);
    gather_look(mail->cluster);
}

void gather_post(struct cluster *cluster)
{
    control_post(cluster, &(struct control_mail){.open = open_gathered});
}
