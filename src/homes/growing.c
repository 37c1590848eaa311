/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster of one node that gets more. Its engine is a server by itself, of which nats-server
 * makes none of a cluster's; but what is in the changelogs is in the node's store. So the engine
 * stays by itself, and serves, until all nodes of the configuration are here. Then the groups are
 * given up, the store is flushed up to the ends of their logs, it is noted that the engine's store
 * is not needed any more, and the engine starts anew as one of several. The streams are made again
 * behind what the store has: the other nodes find logs that lack their beginning, and take copies.
 * They do not hear before that the cluster is founded.
 *
 *     RUNNING -> (all are here) -> (groups released) -> (all flushed) -> noted: growing
 *         -> JOINING -> (engine starts anew) -> (streams made) -> noted: founded -> RUNNING
 */
#include "homes/inside.h"

#include "base/fault.h"
#include "base/log.h"

bool growing_is_one(const struct homes *homes)
{
    bool managed = homes->options.program != NULL;
    bool alone = managed && (!homes->looked || homes->options.nats.route_count == 0);
    return alone || homes->mark.growing;
}

/* While it grows nothing is claimed: what is torn, or of a cluster when there are no others any
 * more, is given up without a thought. */
bool growing_discards(const struct homes *homes)
{
    bool begun = homes->mark.seeding || (homes->mark.founded && !homes->mark.growing);
    bool other = homes->store == MANAGED_STORE_UNCLEAN ||
                 (homes->options.others == 0 && homes->store != MANAGED_STORE_NEW &&
                  !managed_was_alone(homes->options.nats.folder));
    return (homes->lone && !begun) || (homes->mark.growing && other);
}

bool growing_can_go_on(struct homes *homes)
{
    bool alone = homes->options.others == 0; /* it was to grow, and is not to any more */

    return homes->all_here && (alone || peers_here(homes) > 0) && peers_agree(homes) &&
           !peers_any_takes_part(homes) && peers_connected(homes) >= peers_here(homes);
}

static void say_what_is_missing(struct homes *homes)
{
    uint32_t here = peers_here(homes);

    if (!homes->all_here)
        homes_say(homes,
                  "this is a cluster of one node, and grows when all of cluster.addresses are "
                  "here; %u others are",
                  here);
    else if (!peers_agree(homes) || peers_any_takes_part(homes))
        homes_say(homes, "this is a cluster of one node, and grows when the others join it: they "
                         "need empty data directories, and belong to no cluster");
    else
        homes_say(homes, "this is a cluster of one node, and grows when all engines run");
}

static bool all_serve(const struct homes *homes)
{
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        if (homes->groups[i].state != GROUP_SERVING)
            return false;
    return true;
}

/* Behind which nobody has written. */
static bool all_released(const struct homes *homes)
{
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        if (!homes->groups[i].log.chain.released)
            return false;
    return true;
}

/* From here on the store is all there is. */
static void begin(struct homes *homes, uint64_t now_ms)
{
    struct mark mark = homes->mark;

    mark.growing = true;
    if (mark_write(homes->data_dir, &mark) != RC_OK) {
        homes_say(homes, "%.200s/" MARK_FILE " cannot be written", homes->data_dir);
        return;
    }
    homes->mark = mark;
    homes->grows = false;
    LOG(LOG_INFO, "homes.engine_anew", log_text("id", mark.id),
        log_uint("nodes", peers_here(homes) + 1));
    fault_point("homes.grow");
    engine_let_go(homes, now_ms);
}

void growing_turn(struct homes *homes, uint64_t now_ms)
{
    uint32_t left = 0;

    if (!homes->lone || !homes->mark.founded || homes->leave_ms != 0)
        return;
    bool can = growing_can_go_on(homes);
    if (!can)
        say_what_is_missing(homes);
    if (!can || (!homes->grows && !all_serve(homes))) {
        homes->grows = false;
        return;
    }
    if (!homes->grows)
        LOG(LOG_INFO, "homes.grows", log_text("id", homes->mark.id),
            log_uint("nodes", peers_here(homes) + 1),
            log_text("meaning", "its groups are given up, until the engines of all are one"));
    homes->grows = true;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        left += group_leave(&homes->groups[i], now_ms);
    if (left == 0 && all_released(homes) && groups_are_flushed(homes))
        begin(homes, now_ms);
}

bool growing_end(struct homes *homes)
{
    struct mark mark = homes->mark;

    if (!mark.growing)
        return true;
    fault_point("homes.grown");
    mark.growing = false;
    if (mark_write(homes->data_dir, &mark) != RC_OK) {
        homes_say(homes, "%.200s/" MARK_FILE " cannot be written", homes->data_dir);
        return false;
    }
    homes->mark = mark;
    LOG(LOG_INFO, "homes.grown", log_text("id", mark.id));
    return true;
}
