/* SPDX-License-Identifier: Apache-2.0 */
/* What other nodes say of themselves, and who should be home of a group among those that are here.
 */
#include "homes/inside.h"

#include "homes/place.h"

#include "base/log.h"
#include "base/memory.h"

#include <stdio.h>

static struct peer *peer_at(const struct homes *homes, uint32_t number)
{
    return atomic_load_explicit(&homes->peers[number], memory_order_relaxed);
}

static uint32_t peer_count(const struct homes *homes)
{
    return atomic_load_explicit(&homes->peer_count, memory_order_relaxed);
}

struct peer *peer_find(struct homes *homes, const char *node)
{
    for (uint32_t i = 0; i < peer_count(homes); i++)
        if (strcmp(peer_at(homes, i)->node, node) == 0)
            return peer_at(homes, i);
    return NULL;
}

struct peer *peer_get(struct homes *homes, const char *node)
{
    struct peer *peer = peer_find(homes, node);
    uint32_t count = peer_count(homes);

    if (peer != NULL)
        return peer;
    if (count == HOMES_NODES_MAX - 1) { /* one is this node */
        LOG_LIMITED(LOG_ERROR, "homes.too_many_nodes", log_uint("limit", HOMES_NODES_MAX));
        return NULL;
    }
    peer = NEW(struct peer);
    peer->number = (uint16_t)count;
    snprintf(peer->node, sizeof(peer->node), "%s", node);
    atomic_store_explicit(&homes->peers[count], peer, memory_order_relaxed);
    /* partner: homes_node_name() */
    atomic_store_explicit(&homes->peer_count, count + 1, memory_order_release);
    return peer;
}

void peer_seen(struct peer *peer, bool here, bool gone, uint64_t now_ms)
{
    if (here && !peer->here)
        peer->here_ms = now_ms;
    if (!here && peer->here) {
        peer->here_ms = 0;
        peer->left_ms = peer->heard ? now_ms : 0;
        peer->heard = false; /* what it says when it is back counts */
    }
    peer->here = here;
    peer->gone = gone;
}

static bool is_there(const struct peer *peer)
{
    return peer->here && !peer->removed;
}

bool peer_takes_part(const struct homes *homes, const struct peer *peer)
{
    return is_there(peer) && peer->heard && peer->news.founded &&
           strcmp(peer->news.id, homes->mark.id) == 0;
}

bool peers_are_all(const struct homes *homes)
{
    return homes->all_here && peers_take_part(homes);
}

bool peers_are_most(const struct homes *homes)
{
    uint32_t here = 1, all = 1;

    for (uint32_t i = 0; i < peer_count(homes); i++) {
        here += is_there(peer_at(homes, i)) && peer_at(homes, i)->heard;
        all += !peer_at(homes, i)->removed;
    }
    return 2 * here > all;
}

/* Nodes that were met before this one was started count, too. */
static void count_nodes(const struct homes *homes, uint32_t *heard, uint32_t *all)
{
    uint32_t others = 0, gone = 0;

    *heard = 1;
    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        others += !peer->removed;
        *heard += is_there(peer) && peer->heard;
        gone += !peer->removed && peer->gone; /* they do nothing any more that would matter */
    }
    *all = 1 + (homes->known.count > others ? homes->known.count : others) - gone;
}

uint32_t peers_nodes(const struct homes *homes)
{
    uint32_t heard, all;

    count_nodes(homes, &heard, &all);
    return all > homes->options.others + 1 ? all : homes->options.others + 1;
}

bool peers_may_go_on(const struct homes *homes)
{
    uint32_t heard, all;

    count_nodes(homes, &heard, &all);
    return homes->options.program == NULL || all > 2;
}

void peers_look_whether_cut_off(struct homes *homes, uint64_t now_ms)
{
    uint32_t heard, all;

    count_nodes(homes, &heard, &all);
    bool stalled = now_ms > homes->looked_ms + HOMES_CUT_OFF_MS; /* nor could it hear anybody */
    homes->looked_ms = now_ms;
    if (!homes->mark.founded || 2 * heard > all || stalled)
        homes->most_ms = now_ms;
    if (heard > 1 || all == 1 || (stalled && homes->other_ms != 0))
        homes->other_ms = all == 1 ? 0 : now_ms;
    bool cut_off = now_ms >= homes->most_ms + HOMES_CUT_OFF_MS;
    if (cut_off != homes_is_cut_off(homes))
        LOG(LOG_WARN, cut_off ? "homes.cut_off" : "homes.not_cut_off", log_uint("heard", heard),
            log_uint("nodes", all));
    atomic_store_explicit(&homes->cut_off, cut_off, memory_order_relaxed);
}

bool peers_are_cold(const struct homes *homes)
{
    for (uint32_t i = 0; i < peer_count(homes); i++)
        if (is_there(peer_at(homes, i)) && peer_at(homes, i)->news.engine != HOMES_ENGINE_KEPT)
            return false;
    return true;
}

const struct peer *peers_holder(const struct homes *homes)
{
    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        if (peer->here && peer->heard && peer->news.holds)
            return peer;
    }
    return NULL;
}

bool peer_lacks(const struct peer *peer, uint32_t group)
{
    uint8_t part = peer->news.groups[group].part;
    return part == HOMES_LACKS || part == HOMES_COPIES;
}

uint32_t peers_rank(struct homes *homes, uint32_t group, struct candidate *out)
{
    struct place_member *members = homes->members;
    uint32_t *order = homes->order, count = 0;

    homes->unranked[count] = (struct candidate){homes->node, NULL};
    members[count++] = (struct place_member){.node = homes->node,
                                             .weight = homes->options.weight,
                                             .standby = homes->options.standby,
                                             .drained = homes_drained(homes)};
    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        if (!peer_takes_part(homes, peer))
            continue;
        homes->unranked[count] = (struct candidate){peer->node, peer};
        members[count++] = (struct place_member){.node = peer->node,
                                                 .weight = peer->news.weight,
                                                 .standby = peer->news.standby,
                                                 .drained = peer->news.drained};
    }
    place_rank(group, members, count, order);
    for (uint32_t i = 0; i < count; i++)
        out[i] = homes->unranked[order[i]];
    return count;
}

uint64_t peers_highest(const struct homes *homes, uint32_t group)
{
    uint64_t highest = 0;

    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        if (peer_takes_part(homes, peer) && peer->news.groups[group].part != HOMES_COPIES &&
            peer->news.groups[group].flushed.sequence > highest)
            highest = peer->news.groups[group].flushed.sequence;
    }
    return highest;
}

uint64_t peers_furthest(const struct homes *homes, uint32_t group)
{
    uint64_t furthest = peers_highest(homes, group);

    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        if (peer_takes_part(homes, peer) && !peer_lacks(peer, group) &&
            peer->news.groups[group].sequence > furthest)
            furthest = peer->news.groups[group].sequence;
    }
    return furthest;
}

bool peers_stand_by(const struct homes *homes, uint32_t group, uint64_t *read)
{
    bool any = false;

    *read = 0;
    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        const struct homes_group_news *news = &peer->news.groups[group];
        if (!peer_takes_part(homes, peer) || news->part != HOMES_FOLLOWS ||
            peer->news.engine < HOMES_ENGINE_KEPT)
            continue;
        any = true;
        *read = news->sequence > *read ? news->sequence : *read;
    }
    return any;
}

uint64_t peers_lowest(const struct homes *homes, uint32_t group, const struct candidate *ranked,
                      uint32_t count)
{
    uint64_t lowest = homes->groups[group].flushed.sequence;

    for (uint32_t i = 0; i < count; i++) {
        const struct peer *peer = ranked[i].peer;
        if (peer == NULL)
            continue;
        const struct homes_group_news *news = &peer->news.groups[group];
        bool follows = (i < HOMES_FOLLOWERS && news->part != HOMES_LACKS) ||
                       news->part == HOMES_FOLLOWS || news->part == HOMES_COPIES;
        if (follows && news->flushed.sequence < lowest)
            lowest = news->flushed.sequence;
    }
    return lowest;
}

/* It may not have noticed yet that it hears us no more, and lets clients have what is retained. */
static bool may_serve(const struct homes *homes, const struct peer *peer)
{
    return !peer->here && !peer->gone && !peer->removed && peer->left_ms != 0 &&
           homes->now_ms < peer->left_ms + HOMES_SERVES_MS;
}

bool peers_note_spread(struct homes *homes)
{
    bool more = false;

    for (uint32_t group = 0; group < HOMES_GROUPS; group++) {
        uint64_t lowest = UINT64_MAX;
        for (uint32_t i = 0; i < peer_count(homes); i++) {
            const struct peer *peer = peer_at(homes, i);
            bool counts = peer_takes_part(homes, peer) || may_serve(homes, peer);
            if (counts && !peer_lacks(peer, group) && peer->news.groups[group].sequence < lowest)
                lowest = peer->news.groups[group].sequence;
        }
        _Atomic uint64_t *spread = &homes->groups[group].spread;
        more |= lowest > atomic_load_explicit(spread, memory_order_relaxed);
        /* release: partner of homes_is_spread() */
        atomic_store_explicit(spread, lowest, memory_order_release);
    }
    return more;
}

static bool stands_at(const struct homes_group_news *news, uint64_t sequence)
{
    return news->sequence >= sequence || news->flushed.sequence >= sequence;
}

const struct peer *peers_source(const struct homes *homes, uint32_t group, bool home,
                                uint64_t sequence, uint32_t asked)
{
    const struct peer *sources[HOMES_FOLLOWERS + 1];
    uint32_t count = 0;

    for (int part = HOMES_IS_HOME; part >= (home ? HOMES_IS_HOME : HOMES_FOLLOWS); part--)
        for (uint32_t i = 0; i < peer_count(homes) && count <= HOMES_FOLLOWERS; i++) {
            const struct peer *peer = peer_at(homes, i);
            if (peer_takes_part(homes, peer) && peer->news.groups[group].part == part &&
                stands_at(&peer->news.groups[group], sequence))
                sources[count++] = peer;
        }
    return count == 0 ? NULL : sources[asked % count];
}

const struct peer *peers_home(const struct homes *homes, uint32_t group, uint64_t *epoch)
{
    const struct peer *home = NULL;

    *epoch = 0;
    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        const struct homes_group_news *news = &peer->news.groups[group];
        if (!peer_takes_part(homes, peer) || news->part != HOMES_IS_HOME || news->epoch < *epoch)
            continue;
        home = peer;
        *epoch = news->epoch;
    }
    return home;
}

uint64_t peers_epoch(const struct homes *homes, uint32_t group)
{
    uint64_t epoch = 0;

    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        if (peer_takes_part(homes, peer) && peer->news.groups[group].epoch > epoch)
            epoch = peer->news.groups[group].epoch;
    }
    return epoch;
}

bool peers_have_spoken(const struct homes *homes)
{
    for (uint32_t i = 0; i < peer_count(homes); i++)
        if (is_there(peer_at(homes, i)) && !peer_at(homes, i)->heard)
            return false;
    return true;
}

bool peers_agree(const struct homes *homes)
{
    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        if (is_there(peer) && (!peer->heard || strcmp(peer->news.id, homes->mark.id) != 0))
            return false;
    }
    return true;
}

bool peers_take_part(const struct homes *homes)
{
    for (uint32_t i = 0; i < peer_count(homes); i++)
        if (is_there(peer_at(homes, i)) && !peer_takes_part(homes, peer_at(homes, i)))
            return false;
    return true;
}

bool peers_any_takes_part(const struct homes *homes)
{
    for (uint32_t i = 0; i < peer_count(homes); i++)
        if (peer_takes_part(homes, peer_at(homes, i)))
            return true;
    return false;
}

uint32_t peers_here(const struct homes *homes)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < peer_count(homes); i++)
        count += is_there(peer_at(homes, i));
    return count;
}

uint32_t peers_before(const struct homes *homes)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < peer_count(homes); i++)
        count += is_there(peer_at(homes, i)) && strcmp(peer_at(homes, i)->node, homes->node) < 0;
    return count;
}

uint32_t peers_heard(const struct homes *homes)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < peer_count(homes); i++)
        count += is_there(peer_at(homes, i)) && peer_at(homes, i)->heard;
    return count;
}

uint32_t peers_replaced(const struct homes *homes)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        count += is_there(peer) && peer->heard && peer->news.engine == HOMES_ENGINE_KEPT &&
                 peer_is_replaced(homes, peer);
    }
    return count;
}

uint32_t peers_with_engine(const struct homes *homes, enum homes_engine engine)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        count += is_there(peer) && peer->heard && peer->news.engine == engine;
    }
    return count;
}

uint32_t peers_connected(const struct homes *homes)
{
    return peers_with_engine(homes, HOMES_ENGINE_UP) + peers_with_engine(homes, HOMES_ENGINE_KEPT) +
           peers_with_engine(homes, HOMES_ENGINE_JOINS);
}

bool peers_could_take_over(const struct homes *homes)
{
    for (uint32_t i = 0; i < peer_count(homes); i++) {
        const struct peer *peer = peer_at(homes, i);
        if (peer_takes_part(homes, peer) && !peer->news.drained &&
            peer->news.engine >= HOMES_ENGINE_KEPT)
            return true;
    }
    return false;
}

void peers_free(struct homes *homes)
{
    for (uint32_t i = 0; i < peer_count(homes); i++)
        mem_free(peer_at(homes, i));
}
