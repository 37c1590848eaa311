/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/places.h"

#include "base/check.h"
#include "base/clock.h"
#include "cluster/inside.h"

#include <stdio.h>

enum {
    REMOTE_SHIFT = 8,
    WORKERS_SHIFT = 40,
    PASSED_MS = 300, /* one who claims says so itself by then, if it is heard */
};

_Static_assert((int)CLUSTER_HERE == 0, "what nobody has said is here");

static uint64_t packed(struct cluster_home home)
{
    return (uint64_t)home.workers << WORKERS_SHIFT | (uint64_t)home.remote << REMOTE_SHIFT |
           (uint64_t)home.place;
}

void places_init(struct places *places)
{
    pthread_mutex_init(&places->lock, NULL);
}

void places_deinit(struct places *places)
{
    pthread_mutex_destroy(&places->lock);
}

/* release: who finds that none is missing finds the routes of all, too, and knows of the move, and
 * who finds that finds the places, too */
static void set_headless(const struct cluster *cluster, uint32_t headless, bool moved)
{
    for (uint32_t i = 0; i < cluster->worker_count; i++) {
        struct delivery_remote *remote = roads_remote(cluster->roads[i]);
        if (headless > 0 || moved)
            atomic_fetch_add_explicit(&remote->moves, 1, memory_order_release);
        atomic_store_explicit(&remote->headless, headless, memory_order_release);
    }
}

bool places_set(struct cluster *cluster, uint32_t group, const char *node, uint64_t epoch)
{
    struct places *places = &cluster->places;
    CHECK(group < CLUSTER_GROUPS);
    pthread_mutex_lock(&places->lock);
    struct place *place = &places->places[group];
    const char *name = node == NULL ? "" : node;
    bool changed = !places->told || strcmp(place->node, name) != 0 || place->epoch != epoch;
    places->told = true;
    if (changed) {
        snprintf(place->node, sizeof(place->node), "%s", name);
        place->epoch = epoch;
        place->since_ms = clock_ms();
        if (node == NULL) {
            set_headless(cluster, 1, true); /* places_look() counts them */
            places->headless = true;
        }
    }
    pthread_mutex_unlock(&places->lock);
    return changed;
}

uint64_t places_epoch(const struct places *places, uint32_t group)
{
    /* acquire: the place that is read next is of that epoch, or younger */
    return atomic_load_explicit(&places->epochs[group], memory_order_acquire);
}

struct cluster_home places_get(const struct places *places, uint32_t group)
{
    /* Relaxed: whoever hears of a change otherwise (homes_changed()) does so by mail. */
    uint64_t now = atomic_load_explicit(&places->now[group], memory_order_relaxed);
    return (struct cluster_home){.place = (enum cluster_place)(now & 0xff),
                                 .remote = (uint32_t)(now >> REMOTE_SHIFT),
                                 .workers = (uint32_t)(now >> WORKERS_SHIFT)};
}

/* Another one is going to serve it, who has not told all that its sessions want. */
static bool is_taken_over(const struct cluster *cluster, uint32_t group)
{
    uint64_t epoch = cluster->places.places[group].epoch;
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *member = CONTAINER_OF(link, struct member, link);
        if (member->live && epoch != 0 && member->taken_epochs[group] > epoch)
            return true;
    }
    return false;
}

static struct cluster_home find(const struct cluster *cluster, uint32_t group)
{
    const struct place *place = &cluster->places.places[group];
    /* Also when this node is home and has not read yet that it is not: what its sessions want comes
     * from there at once, and would get younger messages before those that are on their way to
     * where they were. */
    if (is_taken_over(cluster, group))
        return (struct cluster_home){.place = CLUSTER_NOWHERE};
    if (strcmp(place->node, cluster->own.node) == 0)
        return (struct cluster_home){.place = CLUSTER_HERE};
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *member = CONTAINER_OF(link, struct member, link);
        /* What it says now counts: homes/ may not have heard yet that it is home no longer. */
        bool says_so = place->epoch == 0 || member->home_epochs[group] == place->epoch;
        if (member->live && says_so && strcmp(member->node, place->node) == 0)
            return (struct cluster_home){
                .place = CLUSTER_AWAY, .remote = member->remote, .workers = member->workers};
    }
    return (struct cluster_home){.place = CLUSTER_NOWHERE};
}

/* Some have read a claim that is younger than the last home known here, and nobody who is heard has
 * made it. */
static bool is_passed_over(const struct cluster *cluster, uint32_t group)
{
    uint64_t made = cluster->places.places[group].last_epoch, read = 0;
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *member = CONTAINER_OF(link, struct member, link);
        if (!member->live)
            continue;
        made = member->taken_epochs[group] > made ? member->taken_epochs[group] : made;
        read = member->read_epochs[group] > read ? member->read_epochs[group] : read;
    }
    return read > made;
}

static bool is_out_of_reach(struct cluster *cluster, uint32_t group)
{
    struct place *place = &cluster->places.places[group];
    if (!is_passed_over(cluster, group)) {
        place->passed_ms = 0;
        return false;
    }
    uint64_t now_ms = clock_ms();
    if (place->passed_ms == 0)
        place->passed_ms = now_ms;
    return now_ms >= place->passed_ms + PASSED_MS;
}

bool places_look(struct cluster *cluster)
{
    struct places *places = &cluster->places;
    bool changed = false;
    uint32_t headless = 0, out_of_reach = 0;
    pthread_mutex_lock(&places->lock);
    for (uint32_t group = 0; places->told && group < CLUSTER_GROUPS; group++) {
        struct cluster_home home = find(cluster, group);
        uint64_t now = packed(home);
        uint64_t epoch = home.place == CLUSTER_NOWHERE ? 0 : places->places[group].epoch;
        headless += home.place == CLUSTER_NOWHERE;
        if (epoch != 0)
            places->places[group].last_epoch = epoch;
        if (is_out_of_reach(cluster, group) && home.place == CLUSTER_NOWHERE)
            out_of_reach |= UINT32_C(1) << group;
        changed |= now != atomic_load_explicit(&places->now[group], memory_order_relaxed) ||
                   epoch != atomic_load_explicit(&places->epochs[group], memory_order_relaxed);
        atomic_store_explicit(&places->now[group], now, memory_order_relaxed);
        atomic_store_explicit(&places->epochs[group], epoch, memory_order_release);
    }
    uint32_t was =
        atomic_exchange_explicit(&places->out_of_reach, out_of_reach, memory_order_relaxed);
    changed |= was != out_of_reach || (places->headless && headless == 0);
    places->headless = headless > 0;
    set_headless(cluster, headless, changed);
    pthread_mutex_unlock(&places->lock);
    return changed;
}
