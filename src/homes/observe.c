/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a group does, for people: how far its readers are behind, how old its lease is, how long the
 * engine makes it wait, and why it last came to this node or left it. On the homes thread.
 *
 * To add a cause: enum homes_cause, a line here, and a metric.
 */
#include "homes/inside.h"

static const struct {
    const char *text;
    enum metric metric;
} causes[HOMES_CAUSES] = {
    [HOMES_NO_CAUSE] = {"", METRIC_COUNT},
    [HOMES_CLAIMED_VACANT] = {"claimed: it had no home", METRIC_HOMES_CLAIMED_VACANT},
    [HOMES_CLAIMED_SILENT] = {"claimed: its home was silent", METRIC_HOMES_CLAIMED_SILENT},
    [HOMES_GIVEN_UP_DRAINED] = {"given up: this node is drained", METRIC_HOMES_GIVEN_UP_DRAINED},
    [HOMES_GIVEN_UP_PREFERRED] = {"given up: another node should be its home",
                                  METRIC_HOMES_GIVEN_UP_PREFERRED},
    [HOMES_GIVEN_UP_ENDING] = {"given up: this node ends", METRIC_HOMES_GIVEN_UP_ENDING},
    [HOMES_GIVEN_UP_UNFIT] = {"given up: this node cannot go on", METRIC_HOMES_GIVEN_UP_UNFIT},
    [HOMES_LOST_DEPOSED] = {"lost: another node has claimed it", METRIC_HOMES_LOST_DEPOSED},
    [HOMES_LOST_BROKEN] = {"lost: the log does not fit the store", METRIC_HOMES_LOST_BROKEN},
};

const char *homes_cause_text(enum homes_cause cause)
{
    return causes[cause].text;
}

/* ---- one group ---------------------------------------------------------------------------------
 */

/* Records of the log that another node, which is home, has and this one has not read. */
static uint64_t read_lag(const struct group *group)
{
    uint64_t epoch, own = group->log.chain.at.sequence;
    const struct peer *home = peers_home(group->homes, group->log.group, &epoch);
    uint64_t its = home == NULL ? 0 : home->news.groups[group->log.group].sequence;

    return group->state == GROUP_AWAY && its > own ? its - own : 0;
}

/* Records that some other node has not applied; 0 as well when no other follows. */
static uint64_t standby_lag(const struct group *group)
{
    uint64_t own = group->log.chain.at.sequence;
    uint64_t lowest = atomic_load_explicit(&group->spread, memory_order_relaxed);

    return group->state == GROUP_SERVING && lowest < own ? own - lowest : 0;
}

static uint64_t lease_age_ms(const struct group *group, uint64_t now_ms)
{
    uint64_t until_ms =
        atomic_load_explicit(&group->log.lease_until_ms, memory_order_relaxed); /* our own */
    uint64_t from_ms = until_ms > CHANGELOG_LEASE_MS ? until_ms - CHANGELOG_LEASE_MS : now_ms;

    return group->state == GROUP_SERVING && now_ms > from_ms ? now_ms - from_ms : 0;
}

static bool is_in_flight(const struct group *group)
{
    return group->attached && group->log.flight.token != 0;
}

static uint64_t wait_ms(const struct group *group, uint64_t now_ms)
{
    uint64_t from_ms = group->log.flight.first_sent_ms;

    return is_in_flight(group) && from_ms > 0 && now_ms > from_ms ? now_ms - from_ms : 0;
}

void observe_status(const struct group *group, struct homes_group_status *out)
{
    out->cause = group->cause;
    if (!group->attached)
        return;
    out->read_lag = read_lag(group);
    out->standby_lag = standby_lag(group);
    out->wait_ms = wait_ms(group, group->homes->now_ms);
    out->window = group->log.window;
}

/* ---- all of them -------------------------------------------------------------------------------
 */

static void set(struct homes *homes, enum metric metric, uint64_t *was, uint64_t now)
{
    metric_add(homes->options.metrics, metric, now - *was);
    *was = now;
}

static void most(uint64_t *of_all, uint64_t of_one)
{
    if (of_one > *of_all)
        *of_all = of_one;
}

static void count_causes(struct group *group)
{
    for (uint32_t i = HOMES_NO_CAUSE + 1; i < HOMES_CAUSES; i++)
        set(group->homes, causes[i].metric, &group->causes_counted[i], group->causes[i]);
    set(group->homes, METRIC_HOMES_LEASES_OVER, &group->leases_over_counted, group->leases_over);
}

static uint64_t missing_copies(const struct homes *homes, uint32_t group)
{
    if (homes->jetstream == NULL)
        return 0;
    struct jetstream_copies copies = jetstream_copies(homes->jetstream, group);
    return copies.wanted > copies.current ? copies.wanted - copies.current : 0;
}

void observe_count(struct homes *homes)
{
    struct homes_observed now = {0}, *was = &homes->observed;

    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        struct group *group = &homes->groups[i];
        count_causes(group);
        if (!group->attached)
            continue;
        most(&now.read_lag, read_lag(group));
        most(&now.standby_lag, standby_lag(group));
        most(&now.lease_age_ms, lease_age_ms(group, homes->now_ms));
        most(&now.wait_ms, wait_ms(group, homes->now_ms));
        now.in_flight += is_in_flight(group);
        now.missing_copies += missing_copies(homes, i);
    }
    set(homes, METRIC_CHANGELOG_READ_LAG, &was->read_lag, now.read_lag);
    set(homes, METRIC_CHANGELOG_STANDBY_LAG, &was->standby_lag, now.standby_lag);
    set(homes, METRIC_HOMES_LEASE_AGE, &was->lease_age_ms, now.lease_age_ms);
    set(homes, METRIC_CHANGELOG_WAIT, &was->wait_ms, now.wait_ms);
    set(homes, METRIC_CHANGELOG_IN_FLIGHT, &was->in_flight, now.in_flight);
    set(homes, METRIC_ENGINE_COPIES_MISSING, &was->missing_copies, now.missing_copies);
}
