/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One group on this node. The changelog keeps two homes apart; here it is decided when to follow,
 * to claim and to give up, and the owner is told.
 */
#include "homes/inside.h"

#include "base/check.h"
#include "base/list.h"
#include "base/log.h"

#include <stdio.h>

enum { COPY_AGAIN_MS = 10000 };

/* In a claim: what was before it is in the stores only. */
#define SEED_NOTE "seed"

static const struct homes_ops *ops_of(const struct group *group)
{
    return group->homes->options.ops;
}

static void *owner_of(const struct group *group)
{
    return group->homes->options.owner;
}

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
           bytes_equal(entry->claim->note, bytes_of_str(SEED_NOTE));
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
        ops_of(group)->apply(owner_of(group), log->group, entry->body, &entry->position);
    else
        ops_of(group)->moved(owner_of(group), log->group, &entry->position);
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
    ops_of(group)->opened(owner_of(group), log->group, epoch);
}

/*
 * An engine may lose what it has accepted, when its servers lose each other: nats-server 2.9 does.
 * So a batch counts as committed when another node has read it, too, if one is here that could: it
 * appends it again then (changelog/replay.h), and nobody claims the log before (is_behind()).
 */
static void look_whether_committed(struct group *group, uint64_t now_ms)
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
    ops_of(group)->committed(owner_of(group), group->log.group, &group->accepted);
}

static void on_committed(struct changelog *log, uint64_t cookie,
                         const struct changelog_position *position)
{
    struct group *group = group_of(log);
    (void)cookie;
    group->awaits_standby = true;
    group->accepted = *position;
    group->accepted_ms = group->homes->now_ms;
    look_whether_committed(group, group->accepted_ms);
    if (group->awaits_standby)
        homes_hurry_here(group->homes);
}

static void tell_lost(struct group *group, const char *why)
{
    bool had = group->state != GROUP_AWAY;

    group->state = GROUP_AWAY;
    group->awaits_standby = false;
    if (!had)
        return;
    LOG(LOG_WARN, "homes.lost", log_uint("group", group->log.group),
        log_uint("epoch", group->epoch), log_text("reason", why));
    homes_publish(group->homes, false); /* before its sessions go */
    ops_of(group)->lost(owner_of(group), group->log.group, why);
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
    group->awaits_standby = false;
    LOG(LOG_INFO, "homes.released", log_uint("group", log->group), log_uint("epoch", group->epoch));
}

static void note_behind(struct group *group, uint64_t now_ms)
{
    struct homes *homes = group->homes;
    uint32_t bit = UINT32_C(1) << group->log.group;
    bool behind = group->lacks && now_ms < group->lacks_from_ms + HOMES_OLD_MS;
    uint32_t was = homes_behind(homes);
    uint32_t is = behind ? was | bit : was & ~bit;

    if (is == was)
        return;
    atomic_store_explicit(&homes->behind, is, memory_order_relaxed); /* nobody else writes it */
    ops_of(group)->changed(owner_of(group));
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

/* ---- away --------------------------------------------------------------------------------------
 */

uint16_t group_turn_of(const struct group *group, const struct candidate *ranked, uint32_t count,
                       const char *home)
{
    bool whole = group->based && !group->lacks;
    uint16_t turn = 0;

    for (uint32_t i = 0; i < count && turn < HOMES_FOLLOWERS; i++) {
        const struct peer *peer = ranked[i].peer;
        if (peer == NULL)
            return turn;
        bool lacks = whole && peer_lacks(peer, group->log.group);
        turn += !lacks && strcmp(ranked[i].node, home) != 0;
    }
    return JUDGE_NEVER;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Nobody is home by the log: nobody ever was, the last one has released it, or it was an earlier
 * process of this node. Somebody who has claimed it and has not opened yet counts as home. */
static bool is_vacant(const struct group *group)
{
    const struct chain *chain = &group->log.chain;

    return chain->at.epoch == 0 || chain->released ||
           (chain->claimant.node[0] == '\0' && !chain->at.held) ||
           strcmp(chain->claimant.node, group->homes->node) == 0;
}

/* Of the engine's servers, too: it cannot accept anything here. */
static bool is_in_minority(const struct homes *homes)
{
    return homes_is_cut_off(homes) && homes->options.program != NULL;
}

static bool may_claim(const struct group *group, uint64_t now_ms)
{
    const struct homes *homes = group->homes;
    bool all = homes->mark.seeding || peers_are_all(homes);
    bool settled =
        all || (now_ms >= homes->running_ms + HOMES_SETTLE_MS && (!homes->cold || group->warm));
    bool leaves = homes->leave_ms != 0 || homes->grows || homes_drained(homes);
    return now_ms >= group->unfit_ms && !leaves && settled && !is_in_minority(homes);
}

/* Somebody has on disk what has not been read here, or has read it, and is given time to append it
 * again. */
static bool is_behind(struct group *group, uint64_t now_ms)
{
    const struct homes *homes = group->homes;
    uint64_t read = group->log.chain.at.sequence;

    if (peers_furthest(homes, group->log.group) <= read)
        group->further_ms = 0;
    else if (group->further_ms == 0)
        group->further_ms = now_ms;
    bool waits = group->further_ms != 0 && now_ms < group->further_ms + HOMES_FURTHER_MS;
    return waits || peers_highest(homes, group->log.group) > read;
}

/* The engine may have lost of it meanwhile what was read: what is claimed then is another log. */
static bool end_is_fresh(struct group *group, uint64_t now_ms)
{
    if (now_ms <= group->log.end_told_ms + HOMES_END_MS)
        return true;
    changelog_look_at_end(&group->log, now_ms);
    return false;
}

static bool should_claim(struct group *group, uint64_t now_ms, const struct candidate *ranked,
                         uint32_t count)
{
    struct homes *homes = group->homes;
    const struct changelog *log = &group->log;
    bool vacant = is_vacant(group);
    const char *home = vacant ? "" : log->chain.claimant.node;
    const struct peer *peer = peer_find(homes, home);
    uint64_t epoch;

    if (!log->end_known || log->missing > 0)
        return false;
    judge_watch(&group->watch, log->end_ms);
    group->warm = group->warm || peers_home(homes, log->group, &epoch) != NULL;
    struct judge_vacancy vacancy = {
        .now_ms = now_ms,
        .read_ms =
            later(log->holder_read_ms, later(group->follow_ms, vacant ? 0 : group->claim_read_ms)),
        .watch = group->watch,
        .vacant = vacant,
        .home_lives = peer != NULL && peer->here,
        .behind = is_behind(group, now_ms),
        .turn = may_claim(group, now_ms) ? group_turn_of(group, ranked, count, home) : JUDGE_NEVER,
    };
    return judge_claims(&vacancy) && end_is_fresh(group, now_ms);
}

static void claim(struct group *group, uint64_t now_ms)
{
    const struct chain *chain = &group->log.chain;

    LOG(LOG_INFO, "homes.claims", log_uint("group", group->log.group),
        log_uint("after_epoch", chain->at.epoch), log_text("home_before", chain->claimant.node),
        log_text("reason", is_vacant(group) ? "it has no home" : "its home is silent"));
    group->claims++;
    group_note_cause(group, is_vacant(group) ? HOMES_CLAIMED_VACANT : HOMES_CLAIMED_SILENT);
    bool seeds = group->homes->mark.seeding && chain->at.sequence == 0;
    changelog_claim(&group->log, bytes_of_str(seeds ? SEED_NOTE : ""), now_ms);
}

/*
 * The engine has lost the end of the log: with all its servers at once, of which none had it on its
 * disk, or because it followed one that lagged. What it had is in the stores. Who has most of it,
 * among all nodes there are, lets the log go on behind that; to the others it is a log that has
 * been trimmed. Where the engine was only late nothing happens but that they copy what they could
 * have read.
 */
static void look_whether_to_mend(struct group *group, uint64_t now_ms)
{
    struct homes *homes = group->homes;
    const struct changelog *log = &group->log;
    uint64_t read = log->chain.at.sequence, epoch;

    if (log->missing == 0) {
        group->missing_ms = 0;
        return;
    }
    if (group->missing_ms == 0) {
        group->missing_ms = now_ms;
        LOG(LOG_WARN, "homes.log_short", log_uint("group", log->group), log_uint("read", read),
            log_uint("missing", log->missing));
    }
    if (now_ms < group->missing_ms + HOMES_MEND_MS || changelog_replays(log) ||
        !peers_are_all(homes) || peers_home(homes, log->group, &epoch) != NULL ||
        peers_highest(homes, log->group) > read ||
        group->flushed.sequence < log->chain.whole.sequence)
        return;
    group->missing_ms = now_ms;
    group->mended++;
    LOG(LOG_ERROR, "homes.log_mended", log_uint("group", log->group),
        log_uint("goes_on_behind", read), log_uint("missing", log->missing),
        log_text("meaning", "the engine has lost records that it had accepted; this node's store "
                            "has what was in them"));
    changelog_trim(&group->log, read + 1);
}

static void ask_for_copy(struct group *group, uint64_t now_ms)
{
    const struct peer *source = peers_source(group->homes, group->log.group, group->lacks_home,
                                             group->lacks_until, group->asked);
    uint64_t from_ms = later(group->lacks_from_ms, group->homes->running_ms);

    if (source == NULL && now_ms < from_ms + HOMES_SETTLE_MS)
        return; /* others may be heard of yet */
    group->lacks_ms = now_ms + HOMES_BEHIND_MS;
    group->asked += source != NULL && !group->copies;
    ops_of(group)->behind(owner_of(group), group->log.group, group->lacks_why,
                          source == NULL ? NULL : source->node);
}

static void turn_away(struct group *group, uint64_t now_ms, const struct candidate *ranked,
                      uint32_t count)
{
    struct changelog *log = &group->log;
    bool follows = group_turn_of(group, ranked, count, "") != JUDGE_NEVER;

    if (group->lacks) {
        if (follows && now_ms >= group->lacks_ms)
            ask_for_copy(group, now_ms);
    } else if (log->state == CHANGELOG_IDLE && follows) {
        group->follow_ms = now_ms;
        changelog_follow(log, now_ms);
    } else if (log->state == CHANGELOG_FOLLOWING && !follows) {
        changelog_stop(log);
    } else if (log->state == CHANGELOG_FOLLOWING && should_claim(group, now_ms, ranked, count)) {
        claim(group, now_ms);
    }
    look_whether_to_mend(group, now_ms);
}

/* ---- home --------------------------------------------------------------------------------------
 */

static void give_up(struct group *group, const char *reason)
{
    LOG(LOG_INFO, "homes.gives_up", log_uint("group", group->log.group),
        log_uint("epoch", group->epoch), log_text("to", group->preferred),
        log_text("reason", reason));
    group->state = GROUP_CLOSING;
    ops_of(group)->close(owner_of(group), group->log.group);
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
    return !homes_drained(homes) || ops_of(group)->may_hand_over(owner_of(group));
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
    give_up(group,
            homes_drained(homes) ? "this node is drained" : "another node should be its home");
}

static void tell_moved(struct group *group)
{
    const struct changelog_position *whole = &group->log.chain.whole;

    if (group->told_sequence == whole->sequence)
        return;
    group->told_sequence = whole->sequence;
    ops_of(group)->moved(owner_of(group), group->log.group, whole);
}

/* It cannot read so in a log whose end the engine has lost, claim and all. Both would wait for the
 * other one, as the home, to mend that. */
static bool is_home_of_the_past(const struct group *group)
{
    uint64_t epoch;

    return group->log.state == CHANGELOG_OPEN &&
           peers_home(group->homes, group->log.group, &epoch) != NULL && epoch > group->epoch;
}

/* Most nodes may have another home for it by now, of which this one cannot hear. */
static bool has_to_abandon(const struct group *group, uint64_t now_ms)
{
    return (group->state == GROUP_LOADING || group->state == GROUP_SERVING) &&
           group->log.state == CHANGELOG_OPEN && homes_is_cut_off(group->homes) &&
           peers_may_go_on(group->homes) && !changelog_lease_fresh(&group->log, now_ms);
}

static void turn_serving(struct group *group, uint64_t now_ms, const struct candidate *ranked,
                         uint32_t count)
{
    if (is_home_of_the_past(group)) {
        changelog_depose(&group->log);
        return;
    }
    tell_moved(group);
    trim(group, now_ms, ranked, count);
    look_whether_to_mend(group, now_ms);
    if (changelog_lease_fresh(&group->log, now_ms)) /* else nothing is written that says so */
        look_whether_to_stay(group, now_ms, ranked[0].peer);
}

/* The record that says so may have to wait for the engine. */
static void turn_releasing(struct group *group, uint64_t now_ms)
{
    tell_moved(group);
    look_whether_to_mend(group, now_ms);
}

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
    look_whether_committed(group, now_ms);
    if (has_to_abandon(group, now_ms)) {
        changelog_abandon(&group->log);
        tell_lost(group, "this node hears few others, and its lease is over");
    }
    if (is_in_minority(homes))
        group_unclaim(group); /* or it is accepted when this node is cut off no longer */
    if (now_ms < group->look_ms)
        return;
    group->look_ms = now_ms + HOMES_TURN_MS;
    uint32_t count = peers_rank(homes, group->log.group, homes->ranked);
    snprintf(group->preferred, sizeof(group->preferred), "%s", homes->ranked[0].node);
    group->stands_by = stands_by(homes->ranked, count);
    if (group->state == GROUP_AWAY)
        turn_away(group, now_ms, homes->ranked, count);
    else if (group->state == GROUP_SERVING)
        turn_serving(group, now_ms, homes->ranked, count);
    else if (group->state == GROUP_RELEASING)
        turn_releasing(group, now_ms);
    look_whether_vacant(group, now_ms);
    note_behind(group, now_ms);
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
        give_up(group, "this node ends");
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

/* ---- what is told ------------------------------------------------------------------------------
 */

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
    *out = (struct homes_group_news){.part = (uint8_t)part_of(group),
                                     .epoch = group->state == GROUP_AWAY ? 0 : group->epoch,
                                     .flushed = group->flushed};
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
