/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of a group share: two nodes and one group on an engine that can be cut off, with
 * links that can break; the owner does what it is asked.
 */
#ifndef HOMES_GROUP_FIXTURE_H
#define HOMES_GROUP_FIXTURE_H

#include "changelog/changelog_fixture.h"
#include "homes/inside.h"

#include "base/log.h"

enum { PATIENCE_MS = 60000, STAY_MS = 10000, STORE = 40 };

/* A node with its group; what its owner was told. */
struct member {
    struct node *node; /* its connection to the engine */
    struct homes *homes;
    struct group *group;
    bool answers; /* as owner, to opened() and close() */
    bool holds;   /* no group may go yet */
    uint64_t serve, closes;
    uint32_t opened, lost, closed, behind, committed, applied;
    uint64_t moved;              /* the highest position that was told, but for batches */
    char source[HOMES_NAME_MAX]; /* of a copy, when it was asked for last */
};

struct pair {
    struct world *world;
    struct member members[2];
    struct member *first, *second; /* in order for the group */
    bool linked;
};

/* ---- the owner ---------------------------------------------------------------------------------
 */

static inline void on_apply(void *owner, uint32_t group, struct bytes batch,
                            const struct changelog_position *position)
{
    (void)group;
    (void)batch;
    (void)position;
    ((struct member *)owner)->applied++;
}

static inline void on_moved(void *owner, uint32_t group, const struct changelog_position *position)
{
    struct member *member = owner;
    (void)group;
    if (position->sequence > member->moved)
        member->moved = position->sequence;
}

static inline void on_committed(void *owner, uint32_t group,
                                const struct changelog_position *position)
{
    (void)group;
    (void)position;
    ((struct member *)owner)->committed++;
}

static inline void on_opened(void *owner, uint32_t group, uint64_t epoch)
{
    struct member *member = owner;
    (void)group;
    member->opened++;
    member->serve = epoch;
}

static inline void on_close(void *owner, uint32_t group)
{
    struct member *member = owner;
    (void)group;
    member->closed++;
    member->closes = member->group->epoch;
}

static inline void on_lost(void *owner, uint32_t group, const char *why)
{
    struct member *member = owner;
    (void)group;
    (void)why;
    member->lost++;
    member->serve = member->closes = 0;
}

static inline void on_behind(void *owner, uint32_t group, const char *why, const char *node)
{
    struct member *member = owner;
    (void)group;
    (void)why;
    member->behind++;
    snprintf(member->source, sizeof(member->source), "%s", node == NULL ? "" : node);
}

static inline bool is_blank(void *owner)
{
    (void)owner;
    return true;
}

static inline void on_alone(void *owner)
{
    (void)owner;
}

static inline void on_seed(void *owner)
{
    (void)owner;
}

static inline void on_spread(void *owner)
{
    (void)owner;
}

static inline void on_drained(void *owner, bool drained, bool anew)
{
    (void)owner;
    (void)drained;
    (void)anew;
}

static inline bool may_hand_over(void *owner)
{
    const struct member *member = owner;
    return !member->holds;
}

static inline void on_changed(void *owner)
{
    (void)owner;
}

static struct metrics_shard counts;

static const struct homes_ops ops = {
    .apply = on_apply,
    .moved = on_moved,
    .opened = on_opened,
    .committed = on_committed,
    .close = on_close,
    .lost = on_lost,
    .behind = on_behind,
    .alone = on_alone,
    .is_blank = is_blank,
    .seed = on_seed,
    .changed = on_changed,
    .spread = on_spread,
    .drained = on_drained,
    .may_hand_over = may_hand_over,
};

/* ---- the pair ----------------------------------------------------------------------------------
 */

static inline void member_init(struct pair *pair, uint32_t at, const char *name)
{
    struct member *member = &pair->members[at];
    struct homes_options options = {.metrics = &counts,
                                    .cluster = "c",
                                    .node = name,
                                    .data_dir = "/nonexistent",
                                    .incarnation = 1,
                                    .weight = 100,
                                    .stay_ms = STAY_MS,
                                    .ops = &ops,
                                    .owner = member};

    member->answers = true;
    member->node = node_new(pair->world, at, name);
    member->homes = homes_new(&options);
    member->homes->phase = HOMES_RUNNING;
    member->homes->running_ms = pair->world->now_ms;
    member->homes->mark = (struct mark){.id = "0123456789abcdef", .founded = true};
    member->group = &member->homes->groups[WORLD_GROUP];
    group_open(member->group, &member->node->engine);
}

/* What the links of `to` say of `from`. */
static inline void hear(struct member *to, const struct member *from, bool here, uint64_t now_ms)
{
    struct peer *peer = peer_get(to->homes, from->homes->node);

    peer_seen(peer, here, peer->gone, now_ms);
    peer->heard = to->homes->all_here = here;
    peer->news = (struct homes_news){.founded = true,
                                     .drained = homes_drained(from->homes),
                                     .engine = HOMES_ENGINE_UP,
                                     .weight = 100};
    memcpy(peer->news.id, from->homes->mark.id, sizeof(peer->news.id));
    group_news(from->group, &peer->news.groups[WORLD_GROUP]);
}

static inline void answer(struct member *member, uint64_t now_ms)
{
    uint64_t serve = member->serve, closes = member->closes;

    if (!member->answers)
        return;
    member->serve = member->closes = 0;
    if (serve != 0)
        group_serving(member->group, serve, now_ms);
    if (closes != 0)
        group_closed(member->group, closes, now_ms);
}

static inline bool acts(const struct member *member, uint64_t now_ms)
{
    return changelog_lease_fresh(&member->group->log, now_ms);
}

static inline void step(struct pair *pair)
{
    uint64_t now_ms = pair->world->now_ms;

    world_step(pair->world);
    for (int i = 0; i < 2; i++) {
        struct member *member = &pair->members[i];
        hear(member, &pair->members[1 - i], pair->linked, now_ms);
        member->homes->now_ms = now_ms;
        peers_look_whether_cut_off(member->homes, now_ms);
        answer(member, now_ms);
        group_turn(member->group, now_ms);
        (void)group_publish(member->group);
    }
    assert_false(acts(&pair->members[0], now_ms) && acts(&pair->members[1], now_ms));
    pair->world->now_ms++;
}

static inline void advance(struct pair *pair, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++)
        step(pair);
}

static inline bool is_home(const struct member *member)
{
    return group_home(member->group).place == HOME_HERE;
}

/* Gives how long it took. */
static inline uint64_t until_home(struct pair *pair, const struct member *member)
{
    uint64_t ms = 0;

    for (; !is_home(member); ms++) {
        assert_true(ms < PATIENCE_MS);
        step(pair);
    }
    return ms;
}

static inline struct pair *pair_new(void)
{
    struct pair *pair = NEW(struct pair);

    pair->world = world_new();
    pair->linked = true;
    member_init(pair, 0, "a");
    member_init(pair, 1, "b");
    step(pair);
    bool a_first = strcmp(pair->members[0].group->preferred, "a") == 0;
    pair->first = &pair->members[a_first ? 0 : 1];
    pair->second = &pair->members[a_first ? 1 : 0];
    return pair;
}

/* The first is home, and both have been here for longer than the minimum stay. */
static inline struct pair *pair_settled(void)
{
    struct pair *pair = pair_new();

    until_home(pair, pair->first);
    advance(pair, 2 * STAY_MS);
    return pair;
}

static inline void pair_free(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        groups_close(pair->members[i].homes);
        homes_free(pair->members[i].homes);
    }
    world_free(pair->world);
    mem_free(pair);
}

#endif
