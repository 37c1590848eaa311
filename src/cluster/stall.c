/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that was stopped, or got no time, for longer than a lease may find that others have
 * taken its groups, and let its clients in elsewhere. It must not answer them before it knows. The
 * control's tick is the pulse that workers feel: when it is late, or says so, they hold what their
 * clients send. Who has been heard of since then has said what has happened meanwhile; when that
 * are most nodes, and the homes of all clients that are connected here have said that they are
 * theirs still, workers go on.
 *
 * Limit: STALL_MAX_MS; an edge has given up by then who is not confirmed (registration.h).
 */
#include "base/clock.h"
#include "base/log.h"
#include "cluster/inside.h"
#include "metrics/metrics.h"

enum {
    STALL_SETTLE_MS = 2 * TICK_MS,
    STALL_MAX_MS = 5000,
    STALL_NEARLY_MS =
        DELIVERY_STALL_MS / 2, /* a worker may have felt it when the control did not */
};

static void tell(struct cluster *cluster, bool stalled, uint64_t pulse_ms)
{
    for (uint32_t i = 0; i < cluster->worker_count; i++) {
        struct delivery_remote *remote = roads_remote(cluster->roads[i]);
        if (stalled)
            atomic_store_explicit(&remote->stalled, true, memory_order_relaxed);
        /* release: who feels the pulse sees that it had stopped */
        atomic_store_explicit(&remote->pulse_ms, pulse_ms, memory_order_release);
        if (!stalled)
            atomic_store_explicit(&remote->stalled, false, memory_order_relaxed);
    }
}

static bool most_have_spoken(const struct cluster *cluster)
{
    uint32_t heard = 1, all = 1;
    LIST_FOR_EACH (link, &cluster->members) {
        const struct member *member = CONTAINER_OF(link, struct member, link);
        if (!member->live && member->gone)
            continue;
        all++;
        heard += member->live && member->heard_ms > cluster->stalled_ms &&
                 member->told_ms > cluster->stalled_ms;
    }
    return 2 * heard > all;
}

static bool all_are_confirmed(const struct cluster *cluster)
{
    for (uint32_t group = 0; group < CLUSTER_GROUPS; group++) {
        struct cluster_home home = places_get(&cluster->places, group);
        if (home.place == CLUSTER_NOWHERE ||
            (home.place == CLUSTER_AWAY &&
             gather_told(cluster, group) < places_epoch(&cluster->places, group)))
            return false;
    }
    return true;
}

static bool is_over(const struct cluster *cluster, uint64_t now_ms)
{
    uint64_t since_ms = now_ms - cluster->stalled_ms;
    if (since_ms >= STALL_MAX_MS || cluster_is_cut_off(cluster))
        return true;
    return since_ms >= STALL_SETTLE_MS && most_have_spoken(cluster) && all_are_confirmed(cluster);
}

void stall_look(struct cluster *cluster)
{
    uint64_t now_ms = clock_ms();
    uint64_t late_ms = cluster->pulse_ms == 0 ? 0 : now_ms - cluster->pulse_ms;
    cluster->pulse_ms = now_ms;
    if (cluster->member_count == 0 || cluster->homes == NULL)
        return; /* nobody could have taken anything */
    if (late_ms > DELIVERY_STALL_MS) {
        LOG(LOG_WARN, "cluster.stalled", log_uint("ms", late_ms),
            log_text("meaning", "this process got no time for longer than a lease; its clients "
                                "wait until other nodes have said what has happened"));
        metric_inc(cluster->metrics, METRIC_CLUSTER_STALLS);
        cluster->stalled_ms = now_ms;
    }
    bool was = cluster->stalled_ms != 0;
    if (was && is_over(cluster, now_ms)) {
        LOG(LOG_INFO, "cluster.goes_on", log_uint("waited_ms", now_ms - cluster->stalled_ms));
        cluster->stalled_ms = 0;
    }
    tell(cluster, cluster->stalled_ms != 0, now_ms);
    bool goes_on = cluster->stalled_ms == 0 && (was || late_ms > STALL_NEARLY_MS);
    for (uint32_t i = 0; goes_on && i < cluster->worker_count; i++) {
        tunnels_post_homes_changed(cluster->tunnels[i]);
        roads_post_go_on(cluster->roads[i]);
    }
}
