/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One group on this node. The changelog keeps two homes apart; here the owner is told of what it
 * says, and is heard. When to follow and to claim: group_away.c; when something is committed, and
 * when it is given up: group_home.c; what others are told: group_told.c.
 */
#include "homes/inside.h"

#include "base/check.h"
#include "base/list.h"
#include "base/log.h"

#include <stdio.h>

enum { COPY_AGAIN_MS = 10000 };

static struct group *group_of(struct changelog *log)
{
    return CONTAINER_OF(log, struct group, log);
}

/* ---- what the changelog says -------------------------------------------------------------------
 */

/* The first claim of a cluster that began with what one node held. */
static bool is_seed(const struct changelog_entry *entry)
{
    return entry->kind == CHANGELOG_CLAIM &&
           bytes_equal(entry->claim->note, bytes_of_str(HOMES_SEED_NOTE));
}

static void tell_behind(struct group *group, const char *why, bool home);

static void on_apply(struct changelog *log, const struct changelog_entry *entry)
{
    struct group *group = group_of(log);

    if (!group->based && is_seed(entry)) {
        changelog_stop(log);
        tell_behind(group, "the log began with what one node held, and is not the whole", false);
        return;
    }
    group->based = true;
    group->moved_ms = group->homes->now_ms;
    if (entry->kind == CHANGELOG_BATCH && group->stands_by)
        homes_hurry_here(group->homes); /* its home waits for that */
    if (entry->kind == CHANGELOG_BATCH)
        group_ops(group)->apply(group_owner(group), log->group, entry->body, &entry->position);
    else
        group_ops(group)->moved(group_owner(group), log->group, &entry->position);
    if (entry->kind != CHANGELOG_CLAIM)
        return;
    group->changes++;
    group->claim_read_ms = group->homes->now_ms;
}

static void on_opened(struct changelog *log, uint64_t epoch)
{
    struct group *group = group_of(log);

    group->state = GROUP_LOADING;
    group->epoch = epoch;
    group->warm = true;
    LOG(LOG_INFO, "homes.opened", log_uint("group", log->group), log_uint("epoch", epoch));
    homes_publish(group->homes, false); /* others hear of it before its routes come */
    group_ops(group)->opened(group_owner(group), log->group, epoch);
}
static void on_committed(struct changelog *log, uint64_t cookie,
                         const struct changelog_position *position)
{
    struct group *group = group_of(log);
    (void)cookie;
    group->awaits_standby = true;
    group->accepted = *position;
    group->accepted_ms = group->homes->now_ms;
    group_look_whether_committed(group, group->accepted_ms);
    if (group->awaits_standby)
        homes_hurry_here(group->homes);
}

/* What the engine has accepted and the owner was not told of is in the log, and not in the store:
 * it is read from there, as what others append. */
static void read_again(struct group *group)
{
    if (group->awaits_standby && group->log.state == CHANGELOG_IDLE)
        changelog_start_at(&group->log, &group->before);
    group->awaits_standby = false;
}

static void tell_lost(struct group *group, const char *why)
{
    bool had = group->state != GROUP_AWAY;

    group->state = GROUP_AWAY;
    read_again(group);
    if (!had)
        return;
    LOG(LOG_WARN, "homes.lost", log_uint("group", group->log.group),
        log_uint("epoch", group->epoch), log_text("reason", why));
    homes_publish(group->homes, false); /* before its sessions go */
    group_ops(group)->lost(group_owner(group), group->log.group, why);
}

static void on_deposed(struct changelog *log)
{
    struct group *group = group_of(log);

    group->deposed++;
    group_note_loss(group, HOMES_LOST_DEPOSED);
    tell_lost(group, "another node has claimed it");
}

static void on_released(struct changelog *log)
{
    struct group *group = group_of(log);

    group->state = GROUP_AWAY;
    read_again(group);
    LOG(LOG_INFO, "homes.released", log_uint("group", log->group), log_uint("epoch", group->epoch));
}

/* The home is not heard, and goes on for others: they have read more. */
static bool is_left_behind(struct group *group, uint64_t now_ms)
{
    const struct homes *homes = group->homes;
    uint64_t read;
    bool others_have_more = group->state == GROUP_AWAY && group_home(group).place == HOME_NOWHERE &&
                            peers_stand_by(homes, group->log.group, &read) &&
                            read > group->log.chain.at.sequence;

    if (!others_have_more)
        group->left_ms = 0;
    else if (group->left_ms == 0)
        group->left_ms = now_ms;
    return group->left_ms != 0 && now_ms < group->left_ms + HOMES_OLD_MS;
}

static void note_behind(struct group *group, uint64_t now_ms)
{
    struct homes *homes = group->homes;
    uint32_t bit = UINT32_C(1) << group->log.group;
    bool behind = (group->lacks && now_ms < group->lacks_from_ms + HOMES_OLD_MS) ||
                  is_left_behind(group, now_ms);
    uint32_t was = homes_behind(homes);
    uint32_t is = behind ? was | bit : was & ~bit;

    if (is == was)
        return;
    atomic_store_explicit(&homes->behind, is, memory_order_relaxed); /* nobody else writes it */
    group_ops(group)->changed(group_owner(group));
}

/* A copy that does not help is not asked for again at once. */
static void tell_behind(struct group *group, const char *why, bool home)
{
    group->lacks = true;
    group->lacks_home = home;
    group->lacks_until = 0;
    group->lacks_ms = group->copied_ms == 0 ? 0 : group->copied_ms + COPY_AGAIN_MS;
    group->lacks_from_ms = group->homes->now_ms;
    group->asked = 0;
    snprintf(group->lacks_why, sizeof(group->lacks_why), "%s", why);
    note_behind(group, group->homes->now_ms);
    LOG(LOG_WARN, "homes.behind", log_uint("group", group->log.group), log_text("reason", why));
}

static void on_behind(struct changelog *log, uint64_t first)
{
    tell_behind(group_of(log), "what would be read next has been trimmed", false);
    group_of(log)->lacks_until = first - 1;
}

/* Either the log or the store is wrong. Who is home has read the log to its end: so its copy, and
 * no other, says that it was the store. */
static void on_broken(struct changelog *log, const char *why)
{
    group_note_loss(group_of(log), HOMES_LOST_BROKEN);
    tell_lost(group_of(log), why);
    tell_behind(group_of(log), why, true);
}

static void on_lease(struct changelog *log, bool fresh)
{
    if (fresh || group_of(log)->state != GROUP_SERVING)
        return;
    group_of(log)->leases_over++;
    LOG_LIMITED(LOG_WARN, "homes.lease_over", log_uint("group", log->group),
                log_uint("epoch", group_of(log)->epoch));
}

static const struct changelog_ops changelog_ops = {
    .apply = on_apply,
    .opened = on_opened,
    .committed = on_committed,
    .deposed = on_deposed,
    .released = on_released,
    .behind = on_behind,
    .broken = on_broken,
    .lease_changed = on_lease,
};

/* ---- opening and closing -----------------------------------------------------------------------
 */

void group_open(struct group *group, struct engine *engine)
{
    const struct homes *homes = group->homes;
    struct changelog_counts counts = group->log.counts; /* it may be opened again */

    changelog_init(&group->log, group->log.group, engine, &changelog_ops, NULL, homes->node,
                   homes->options.incarnation);
    group->log.counts = counts;
    changelog_start_at(&group->log, &group->start);
    group->attached = true;
}

void groups_close(struct homes *homes)
{
    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        struct group *group = &homes->groups[i];
        if (!group->attached)
            continue;
        tell_lost(group, "this node ends");
        changelog_deinit(&group->log);
        group->attached = false;
    }
}

bool group_abandon(struct group *group, const char *why)
{
    group_unclaim(group);
    if (group->state == GROUP_AWAY)
        return true;
    if (group->log.state != CHANGELOG_OPEN)
        return false;
    changelog_abandon(&group->log);
    tell_lost(group, why);
    return true;
}

bool groups_are_flushed(struct homes *homes)
{
    bool all = true;

    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        const struct changelog_position *end = changelog_position(&homes->groups[i].log);
        if (homes->groups[i].flushed.sequence >= end->sequence)
            continue;
        all = false;
        homes->options.ops->moved(homes->options.owner, i, end);
    }
    return all;
}

void group_place(struct group *group, const struct changelog_position *position)
{
    if (!group->attached) {
        group->start = group->flushed = *position;
        group->based = true;
        return;
    }
    if (group->state != GROUP_AWAY || !group->lacks)
        return; /* it has gone on without the copy */
    changelog_start_at(&group->log, position);
    group->lacks = group->copies = false;
    group->based = true;
    group->copied_ms = group->homes->now_ms;
    note_behind(group, group->homes->now_ms);
    LOG(LOG_INFO, "homes.copied", log_uint("group", group->log.group),
        log_uint("sequence", position->sequence));
}

void group_lacks(struct group *group)
{
    tell_behind(group, "a copy of another node's was begun and not ended", false);
}

void group_copying(struct group *group, const struct changelog_position *position)
{
    group->copies = position != NULL && group->lacks;
    if (!group->copies)
        return;
    group->copy = *position;
    group->flushed = (struct changelog_position){0}; /* what was there is being given up */
}

/* ---- time --------------------------------------------------------------------------------------
 */

static void look_whether_vacant(struct group *group, uint64_t now_ms)
{
    bool vacant = group_home(group).place == HOME_NOWHERE &&
                  now_ms >= group->moved_ms + HOMES_STILL_MS && peers_are_most(group->homes);

    atomic_store_explicit(&group->vacant_ms, vacant ? now_ms + HOMES_VACANT_MS : 0,
                          memory_order_release);
}

/* The home is one of the first, most often. */
static bool stands_by(const struct candidate *ranked, uint32_t count)
{
    for (uint32_t i = 0; i < count && i <= HOMES_STANDBYS; i++)
        if (ranked[i].peer == NULL)
            return true;
    return false;
}

void group_turn(struct group *group, uint64_t now_ms)
{
    struct homes *homes = group->homes;

    if (!group->attached)
        return;
    changelog_turn(&group->log, now_ms);
    group_look_whether_committed(group, now_ms);
    if (group_has_to_abandon(group, now_ms)) {
        changelog_abandon(&group->log);
        tell_lost(group, "this node hears few others, and its lease is over");
    }
    if (changelog_claims(&group->log) > group->claimed) {
        group->claimed = changelog_claims(&group->log);
        homes_hurry_here(homes); /* others may read of it before it opens */
    }
    if (group_is_in_minority(homes))
        group_unclaim(group); /* or it is accepted when this node is cut off no longer */
    note_behind(group, now_ms);
    if (now_ms < group->look_ms)
        return;
    group->look_ms = now_ms + HOMES_TURN_MS;
    uint32_t count = peers_rank(homes, group->log.group, homes->ranked);
    snprintf(group->preferred, sizeof(group->preferred), "%s", homes->ranked[0].node);
    group->stands_by = stands_by(homes->ranked, count);
    if (group->state == GROUP_AWAY)
        group_turn_away(group, now_ms, homes->ranked, count);
    else if (group->state == GROUP_SERVING)
        group_turn_serving(group, now_ms, homes->ranked, count);
    else if (group->state == GROUP_RELEASING)
        group_turn_releasing(group, now_ms);
    look_whether_vacant(group, now_ms);
}

void group_unclaim(struct group *group)
{
    if (group->attached && group->state == GROUP_AWAY && group->log.state > CHANGELOG_FOLLOWING)
        changelog_stop(&group->log); /* BROKEN stays */
}

bool group_leave(struct group *group, uint64_t now_ms)
{
    (void)now_ms;
    if (!group->attached)
        return false;
    if (group->state == GROUP_LOADING || group->state == GROUP_SERVING) {
        group_note_cause(group, HOMES_GIVEN_UP_ENDING);
        group_give_up(group, "this node ends");
    } else {
        group_unclaim(group);
    }
    return group->state != GROUP_AWAY;
}
/* ---- what others ask for -----------------------------------------------------------------------
 */

void group_append(struct group *group, uint64_t epoch, struct bytes batch, uint64_t now_ms)
{
    if (group->state == GROUP_AWAY || group->epoch != epoch)
        return; /* lost() has been called: it may be gone already */
    group->before = *changelog_position(&group->log);
    enum rc rc = changelog_append_fenced(&group->log, batch, epoch, now_ms);
    CHECK(rc == RC_OK); /* one at a time, and not behind homes_closed() */
}

void group_serving(struct group *group, uint64_t epoch, uint64_t now_ms)
{
    if (group->state != GROUP_LOADING || group->epoch != epoch)
        return;
    group->state = GROUP_SERVING;
    group->serving_ms = now_ms;
}

void group_closed(struct group *group, uint64_t epoch, uint64_t now_ms)
{
    if (group->state == GROUP_AWAY || group->state == GROUP_RELEASING || group->epoch != epoch)
        return;
    if (group->state != GROUP_CLOSING) {
        LOG(LOG_WARN, "homes.gives_up", log_uint("group", group->log.group),
            log_uint("epoch", epoch), log_text("reason", "this node cannot go on"));
        group->unfit_ms = now_ms + HOMES_UNFIT_MS;
        group_note_cause(group, HOMES_GIVEN_UP_UNFIT);
    }
    group->state = GROUP_RELEASING;
    changelog_release(&group->log, now_ms);
}

void group_flushed(struct group *group, const struct changelog_position *position)
{
    if (position->sequence > group->flushed.sequence)
        group->flushed = *position;
}

uint64_t group_deadline_ms(const struct group *group)
{
    uint64_t deadline_ms = group->attached ? changelog_deadline_ms(&group->log) : UINT64_MAX;
    if (group->awaits_standby && group->accepted_ms + HOMES_STANDBY_MS < deadline_ms)
        deadline_ms = group->accepted_ms + HOMES_STANDBY_MS;
    return deadline_ms < group->look_ms ? deadline_ms : group->look_ms;
}
