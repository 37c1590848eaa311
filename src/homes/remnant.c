/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of an engine when most of its machines went down at once, in clusters that have more
 * servers than a log has copies. What ran on is no quorum, and lacks logs of which it had no copy;
 * what comes back may have lost what it had acknowledged. Put together, they are an engine with two
 * opinions of itself. So those that come back wait, and those that ran on give their engines up:
 * what was in the changelogs is in the nodes' stores, as when all machines went down (engine.c).
 *
 *     RUNNING -> (so many say so for a while) -> (groups given up) -> (all flushed) -> JOINING,
 * unclean
 *
 * With as many copies as servers each that ran on has everything, and is put together with the
 * others.
 */
#include "homes/remnant.h"
#include "homes/inside.h"

#include "base/log.h"

enum { SURE_MS = 3000 };

bool remnant_is_possible(uint32_t nodes)
{
    return nodes > HOMES_REPLICAS;
}

bool remnant_is_one(uint32_t nodes, uint32_t unclean)
{
    return remnant_is_possible(nodes) && nodes - unclean < nodes / 2 + 1;
}

static bool is_one(const struct homes *homes)
{
    return homes->options.program != NULL && !homes->lone && homes->leave_ms == 0 &&
           remnant_is_one(peers_nodes(homes), peers_with_engine(homes, HOMES_ENGINE_UNCLEAN));
}

static void give_up(struct homes *homes, uint64_t now_ms)
{
    LOG(LOG_WARN, "engine.given_up", log_text("server", homes->server),
        log_text("reason", "the machines of most nodes went down, and it is no quorum; what was in "
                           "the changelogs is in the nodes' stores"));
    homes->store = MANAGED_STORE_UNCLEAN;
    homes->fresh = false; /* there is something of it by now */
    engine_let_go(homes, now_ms);
}

void remnant_turn(struct homes *homes, uint64_t now_ms)
{
    bool all_left = true;

    if (!is_one(homes)) {
        homes->remnant_ms = 0;
        return;
    }
    if (homes->remnant_ms == 0)
        homes->remnant_ms = now_ms;
    if (now_ms < homes->remnant_ms + SURE_MS)
        return;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        all_left &= group_abandon(&homes->groups[i], "the engine is given up");
    if (all_left && groups_are_flushed(homes))
        give_up(homes, now_ms);
}
