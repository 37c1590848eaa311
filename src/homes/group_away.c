/* SPDX-License-Identifier: Apache-2.0 */
/* A group of which this node is not home: when it follows, asks for a copy, mends the log, claims.
 */
#include "homes/inside.h"

#include "base/log.h"

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

bool group_is_in_minority(const struct homes *homes)
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
    return now_ms >= group->unfit_ms && !leaves && settled && !group_is_in_minority(homes);
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
    changelog_claim(&group->log, bytes_of_str(seeds ? HOMES_SEED_NOTE : ""), now_ms);
}

/*
 * The engine has lost the end of the log: with all its servers at once, of which none had it on its
 * disk, or because it followed one that lagged. What it had is in the stores. Who has most of it,
 * among all nodes there are, lets the log go on behind that; to the others it is a log that has
 * been trimmed. Where the engine was only late nothing happens but that they copy what they could
 * have read.
 */
void group_look_whether_to_mend(struct group *group, uint64_t now_ms)
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
    group_ops(group)->behind(group_owner(group), group->log.group, group->lacks_why,
                             source == NULL ? NULL : source->node);
}

void group_turn_away(struct group *group, uint64_t now_ms, const struct candidate *ranked,
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
    group_look_whether_to_mend(group, now_ms);
}
