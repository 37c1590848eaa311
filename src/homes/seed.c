/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster that begins with what one node holds: it initialises the cluster, notes in its store
 * that each group stands at its log's beginning, and claims all of them, with a note that says that
 * the log is not the whole. Only then do the others hear that the cluster is founded; each finds
 * the note as the first record of each log, and takes a copy instead of reading on.
 *
 *     founding -> (streams made) -> seeding -> (store noted) -> (all claimed) -> founded
 */
#include "homes/inside.h"

#include "base/fault.h"
#include "base/log.h"

#include <stdio.h>

enum { LOOK_MS = 500 };

void seed_look(struct homes *homes, uint64_t now_ms)
{
    if (homes->mark.founded || homes->mark.seeding) {
        homes->holds = false;
        return;
    }
    if (now_ms < homes->holds_ms)
        return;
    homes->holds_ms = now_ms + LOOK_MS;
    homes->holds = !homes->options.ops->is_blank(homes->options.owner);
}

bool seed_refuses(struct homes *homes, char why[HOMES_WHY_MAX])
{
    const struct peer *holder = peers_holder(homes);

    if (holder == NULL)
        return false;
    if (homes->options.ops->is_blank(homes->options.owner))
        snprintf(why, HOMES_WHY_MAX,
                 "Node %s holds sessions or retained messages of its own. To keep them, initialise "
                 "the cluster from there; else start that node with an empty data directory.",
                 holder->node);
    else
        snprintf(why, HOMES_WHY_MAX,
                 "Nodes %s and %s both hold sessions or retained messages of their own, and a "
                 "cluster begins with those of one: start all but one with empty data directories.",
                 homes->node, holder->node);
    return true;
}

bool seed_turn(struct homes *homes)
{
    const struct homes_options *options = &homes->options;

    if (!homes->mark.seeding)
        return true;
    if (!homes->seed_asked && options->ops->is_blank(options->owner)) {
        homes_say(homes, "what the cluster was to begin with is not in the data directory: give it "
                         "back its store");
        return false;
    }
    if (!homes->seed_asked) {
        fault_point("homes.seed");
        homes->seed_asked = true;
        for (uint32_t i = 0; i < HOMES_GROUPS; i++)
            homes->groups[i].based = false;
        LOG(LOG_INFO, "homes.seeds", log_text("node", homes->node),
            log_text("meaning", "what this node holds is what the cluster begins with"));
        options->ops->seed(options->owner);
    }
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        if (!homes->groups[i].based)
            return false;
    fault_point("homes.seeded");
    return true;
}

bool seed_done(const struct homes *homes)
{
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        if (homes->groups[i].epoch == 0)
            return false;
    return true;
}
