/* SPDX-License-Identifier: Apache-2.0 */
/* A group of which this node is home: when a batch is committed, when the log is trimmed, when the
 * group is given up. */
#include "homes/inside.h"

#include "base/log.h"

#include <stdio.h>

/*
 * An engine may lose what it has accepted, when its servers lose each other: nats-server 2.9 does.
 * So a batch counts as committed when another node has read it, too, if one is here that could: it
 * appends it again then (changelog/replay.h), and nobody claims the log before (is_behind()).
 */
void group_look_whether_committed(struct group *group, uint64_t now_ms)
{
    uint64_t sequence = group->accepted.sequence, read;

    if (!group->awaits_standby)
        return;
    bool any = peers_stand_by(group->homes, group->log.group, &read);
    if (read >= sequence || (group->alone_from != 0 && read >= group->alone_from))
        group->alone_from = 0;
    bool late = any && now_ms >= group->accepted_ms + HOMES_STANDBY_MS;
    if (any && late && read < sequence && group->alone_from == 0) {
        group->alone_from = sequence;
        LOG_LIMITED(LOG_WARN, "homes.no_standby", log_uint("group", group->log.group),
                    log_uint("accepted", sequence), log_uint("read", read));
    }
    if (any && read < sequence && group->alone_from == 0)
        return;
    group->awaits_standby = false;
    group->alone += any && read < sequence;
    /* release: partner of homes_sequence() */
    atomic_store_explicit(&group->committed, sequence, memory_order_release);
    group_ops(group)->committed(group_owner(group), group->log.group, &group->accepted);
}

void group_give_up(struct group *group, const char *reason)
{
    LOG(LOG_INFO, "homes.gives_up", log_uint("group", group->log.group),
        log_uint("epoch", group->epoch), log_text("to", group->preferred),
        log_text("reason", reason));
    group->state = GROUP_CLOSING;
    group_ops(group)->close(group_owner(group), group->log.group);
}

static void trim(struct group *group, uint64_t now_ms, const struct candidate *ranked,
                 uint32_t count)
{
    if (now_ms < group->trim_ms)
        return;
    group->trim_ms = now_ms + HOMES_TRIM_MS;
    uint64_t lowest = peers_lowest(group->homes, group->log.group, ranked, count);
    uint64_t sequence = judge_trim(lowest, group->trimmed, group->homes->options.keep);
    if (sequence == 0)
        return;
    group->trimmed = sequence;
    changelog_trim(&group->log, sequence);
}

/* One group at a time is without a home, so that its next one has it soon. */
static bool may_hand_over(const struct group *group)
{
    const struct homes *homes = group->homes;

    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        if (group_is_between(&homes->groups[i]))
            return false;
    return !homes_drained(homes) || group_ops(group)->may_hand_over(group_owner(group));
}

static void look_whether_to_stay(struct group *group, uint64_t now_ms, const struct peer *preferred)
{
    const struct homes *homes = group->homes;
    uint32_t number = group->log.group;
    bool at_once = homes_drained(homes) || now_ms < homes->rebalance_ms;

    if (preferred == NULL || preferred->news.drained || homes->leave_ms != 0)
        return;
    struct judge_stay stay = {
        .now_ms = now_ms,
        .serving_ms = group->serving_ms,
        .preferred_ms = preferred->here_ms,
        .own = group->log.chain.at.sequence,
        .preferred_s = preferred->news.groups[number].sequence,
        .preferred_runs = preferred->news.groups[number].part == HOMES_FOLLOWS &&
                          preferred->news.engine >= HOMES_ENGINE_KEPT,
        .stay_ms = at_once ? 0 : homes->options.stay_ms,
    };
    if (!judge_gives_up(&stay) || !may_hand_over(group))
        return;
    group_note_cause(group,
                     homes_drained(homes) ? HOMES_GIVEN_UP_DRAINED : HOMES_GIVEN_UP_PREFERRED);
    group_give_up(group, homes_drained(homes) ? "this node is drained"
                                              : "another node should be its home");
}

static void tell_moved(struct group *group)
{
    const struct changelog_position *whole = &group->log.chain.whole;

    if (group->told_sequence == whole->sequence || group->awaits_standby)
        return; /* the store does not have yet what was accepted */
    group->told_sequence = whole->sequence;
    group_ops(group)->moved(group_owner(group), group->log.group, whole);
}

/* Another one has claimed it, by the links. It cannot read so in a log whose end the engine has
 * lost, claim and all: both would wait for the other one, as the home, to mend that. Nor when its
 * engine is cut off from the others', and it hears somebody all the same who has read the claim. */
static bool is_home_of_the_past(const struct group *group)
{
    return group->log.state == CHANGELOG_OPEN &&
           peers_epoch(group->homes, group->log.group) > group->epoch;
}

bool group_has_to_abandon(const struct group *group, uint64_t now_ms)
{
    return (group->state == GROUP_LOADING || group->state == GROUP_SERVING) &&
           group->log.state == CHANGELOG_OPEN && homes_is_cut_off(group->homes) &&
           peers_may_go_on(group->homes) && !changelog_lease_fresh(&group->log, now_ms);
}

void group_turn_serving(struct group *group, uint64_t now_ms, const struct candidate *ranked,
                        uint32_t count)
{
    if (is_home_of_the_past(group)) {
        changelog_depose(&group->log);
        return;
    }
    tell_moved(group);
    trim(group, now_ms, ranked, count);
    group_look_whether_to_mend(group, now_ms);
    if (changelog_lease_fresh(&group->log, now_ms)) /* else nothing is written that says so */
        look_whether_to_stay(group, now_ms, ranked[0].peer);
}

/* The record that says so may have to wait for the engine. */
void group_turn_releasing(struct group *group, uint64_t now_ms)
{
    tell_moved(group);
    group_look_whether_to_mend(group, now_ms);
}
