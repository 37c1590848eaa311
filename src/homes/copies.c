/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many copies of the changelogs there are, on as many servers of the engine. The home of a
 * group sees to its own, one group at a time, since what is copied is all that the log has.
 *
 * nats-server 2.9 gives a copy to another server only at the moment when one is taken out, and only
 * if the leader of its meta data has heard by then of one that has room. Otherwise the log wants as
 * many as before and has one less, for ever: it is asked for the number that it has, and then for
 * more. So it is with a copy on a server that can be reached and does not get on: it may not have
 * begun.
 */
#include "homes/inside.h"

#include "base/log.h"

enum {
    COPIES_MS = 2000,
    SHORT_MS = 5000, /* what the engine says may be older than what it has just done */
    LAGS_MS = 60000, /* no copy of a changelog takes so long */
};

/* A server for each node; of an engine that is not ours nobody here knows. */
static uint32_t possible_copies(const struct homes *homes)
{
    uint32_t servers = peers_connected(homes) + 1;

    if (homes->options.program == NULL)
        return 0;
    return servers < HOMES_REPLICAS ? servers : HOMES_REPLICAS;
}

/* Fewer servers than it wants, and none that is about to come; or one that has nothing. */
static bool is_short(struct group *group, struct jetstream_copies copies, uint32_t possible,
                     uint64_t now_ms)
{
    bool whole = copies.current + copies.away >= copies.wanted;
    bool moves = copies.servers > copies.wanted;

    if (copies.servers == 0 || whole || moves || possible < copies.wanted) {
        group->short_ms = 0;
        return false;
    }
    if (group->short_ms == 0)
        group->short_ms = now_ms;
    return now_ms >= group->short_ms + (copies.servers < copies.wanted ? SHORT_MS : LAGS_MS);
}

/* The number to ask for, 0: it may stay as it is. */
static uint32_t other_number(struct homes *homes, uint32_t i, uint32_t possible, uint64_t now_ms)
{
    struct jetstream_copies copies = jetstream_copies(homes->jetstream, i);

    if (homes->groups[i].state != GROUP_SERVING)
        return 0;
    if (copies.wanted > 0 && copies.wanted < possible)
        return possible;
    if (!is_short(&homes->groups[i], copies, possible, now_ms))
        return 0;
    return copies.servers < copies.wanted ? copies.servers : copies.wanted - 1;
}

void copies_turn(struct homes *homes, uint64_t now_ms)
{
    uint32_t possible = possible_copies(homes);
    bool asked = false;

    if (now_ms < homes->copies_ms || !homes->connected)
        return;
    homes->copies_ms = now_ms + COPIES_MS;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        uint32_t number = asked ? 0 : other_number(homes, i, possible, now_ms);
        if (number == 0) {
            jetstream_ask_copies(homes->jetstream, i);
            continue;
        }
        struct jetstream_copies copies = jetstream_copies(homes->jetstream, i);
        LOG(LOG_INFO, "homes.copies_wanted", log_uint("group", i), log_uint("from", copies.wanted),
            log_uint("to", number), log_uint("on_servers", copies.servers));
        homes->groups[i].short_ms = 0;
        jetstream_set_copies(homes->jetstream, i, number);
        asked = true;
    }
}
