/* SPDX-License-Identifier: Apache-2.0 */
/* What others are told of a group: other threads, other nodes, operators, metrics. */
#include "homes/inside.h"

#include <stdio.h>

/* Who is home, by the links, unless the log knows of a later claim. NULL: nobody. */
static const struct peer *home_away(const struct group *group, uint64_t *epoch)
{
    const struct chain *chain = &group->log.chain;
    const struct peer *home = peers_home(group->homes, group->log.group, epoch);

    bool reads = group->attached && group->log.state != CHANGELOG_IDLE &&
                 group->log.state != CHANGELOG_BROKEN;
    if (!reads || chain->at.epoch < *epoch)
        return home;
    if (chain->at.epoch == *epoch)
        return chain->released ? NULL : home;
    *epoch = chain->at.epoch; /* who has claimed it serves when the links say so */
    return NULL;
}

bool group_is_between(const struct group *group)
{
    uint64_t epoch;

    if (group->state == GROUP_CLOSING || group->state == GROUP_RELEASING)
        return true;
    return group->attached && group->state == GROUP_AWAY && home_away(group, &epoch) == NULL;
}

static uint64_t packed(enum home_place place, uint16_t node, uint64_t epoch)
{
    return (uint64_t)place | (uint64_t)node << 2 | epoch << 18;
}

bool group_publish(struct group *group)
{
    uint64_t epoch = group->epoch, is = packed(HOME_NOWHERE, 0, 0);

    if (group->state == GROUP_SERVING) {
        is = packed(HOME_HERE, 0, epoch);
    } else if (group->state == GROUP_AWAY) {
        const struct peer *home = home_away(group, &epoch);
        if (home != NULL)
            is = packed(HOME_AWAY, home->number, epoch);
    }
    uint64_t was = atomic_load_explicit(&group->home, memory_order_relaxed);
    if (is == was)
        return false;
    atomic_store_explicit(&group->home, is, memory_order_release); /* homes_of() */
    return true;
}

struct home group_home(const struct group *group)
{
    uint64_t is = atomic_load_explicit(&group->home, memory_order_acquire); /* group_publish() */
    return (struct home){.place = (enum home_place)(is & 3),
                         .node = (uint16_t)(is >> 2 & UINT16_MAX),
                         .epoch = is >> 18};
}

static enum homes_part part_of(const struct group *group)
{
    if (group->state != GROUP_AWAY)
        return group->state == GROUP_SERVING ? HOMES_IS_HOME : HOMES_NO_PART;
    if (group->lacks)
        return group->copies ? HOMES_COPIES : HOMES_LACKS;
    bool follows = group->attached && group->log.state == CHANGELOG_FOLLOWING &&
                   group->homes->now_ms >= group->unfit_ms;
    return follows ? HOMES_FOLLOWS : HOMES_NO_PART;
}

void group_news(const struct group *group, struct homes_group_news *out)
{
    uint64_t epoch = group->state == GROUP_AWAY ? changelog_claims(&group->log) : group->epoch;
    *out = (struct homes_group_news){
        .part = (uint8_t)part_of(group), .epoch = epoch, .flushed = group->flushed};
    if (out->part == HOMES_FOLLOWS) /* a home that does not hear the next one hears of it so */
        out->epoch = group->log.chain.at.epoch;
    if (out->part == HOMES_COPIES)
        out->flushed = group->copy;
    if (group->attached)
        out->sequence = group->log.chain.at.sequence;
}

void group_status(const struct group *group, struct homes_group_status *out)
{
    static const char *const states[] = {
        [GROUP_LOADING] = "loading",
        [GROUP_SERVING] = "serving",
        [GROUP_CLOSING] = "closing",
        [GROUP_RELEASING] = "releasing",
    };
    const struct changelog *log = &group->log;
    struct home home = group_home(group);
    const char *name = homes_node_name(group->homes, home.node);

    *out = (struct homes_group_status){.part = part_of(group),
                                       .place = home.place,
                                       .epoch = home.epoch,
                                       .flushed = group->flushed.sequence,
                                       .trimmed = group->trimmed,
                                       .claims = group->claims,
                                       .deposed = group->deposed,
                                       .changes = group->changes};
    const char *who = home.place == HOME_HERE ? group->homes->node : name;
    if (home.place != HOME_NOWHERE && who != NULL)
        snprintf(out->home, sizeof(out->home), "%s", who);
    snprintf(out->preferred, sizeof(out->preferred), "%s", group->preferred);
    snprintf(out->state, sizeof(out->state), "%s",
             group->copies  ? "copying"
             : group->lacks ? "behind"
                            : "off");
    if (!group->attached)
        return;
    if (group->state != GROUP_AWAY)
        snprintf(out->state, sizeof(out->state), "%s", states[group->state]);
    else if (!group->lacks)
        snprintf(out->state, sizeof(out->state), "%s", changelog_state_name(log->state));
    uint64_t until_ms = atomic_load_explicit(&log->lease_until_ms, memory_order_relaxed);
    out->lease_ms = until_ms > 0 ? until_ms - CHANGELOG_LEASE_MS : 0;
    out->read_ms = log->holder_read_ms;
    out->sequence = log->chain.at.sequence;
    out->counts = log->counts;
    if (group->homes->jetstream != NULL)
        out->copies = jetstream_copies(group->homes->jetstream, log->group);
}

/* ---- metrics -----------------------------------------------------------------------------------
 */

static void count(struct metrics_shard *metrics, enum metric metric, uint64_t *counted,
                  uint64_t now)
{
    metric_add(metrics, metric, now - *counted);
    *counted = now;
}

void group_count(struct group *group, struct metrics_shard *metrics)
{
    struct group_counted *counted = &group->counted;
    const struct changelog_counts *counts = &group->log.counts;

    count(metrics, METRIC_HOMES_CURRENT, &counted->home, group->state == GROUP_SERVING);
    count(metrics, METRIC_HOMES_CLAIMS, &counted->claims, group->claims);
    count(metrics, METRIC_HOMES_DEPOSED, &counted->deposed, group->deposed);
    count(metrics, METRIC_HOMES_CHANGES, &counted->changes, group->changes);
    count(metrics, METRIC_CHANGELOG_APPENDED, &counted->appended, counts->appended);
    count(metrics, METRIC_CHANGELOG_EMPTY, &counted->empty, counts->empty);
    count(metrics, METRIC_CHANGELOG_RESENT, &counted->resent, counts->resent);
    count(metrics, METRIC_CHANGELOG_REFUSED, &counted->refused, counts->refused);
    count(metrics, METRIC_CHANGELOG_MENDED, &counted->mended, group->mended);
    count(metrics, METRIC_CHANGELOG_REPLAYED, &counted->replayed, counts->replayed);
    count(metrics, METRIC_CHANGELOG_TAIL, &counted->tail, group->log.tail.bytes);
    count(metrics, METRIC_HOMES_WITHOUT_STANDBY, &counted->alone, group->alone);
}
