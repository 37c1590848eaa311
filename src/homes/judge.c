/* SPDX-License-Identifier: Apache-2.0 */
#include "homes/judge.h"

void judge_watch(struct judge_watch *watch, uint64_t end_ms)
{
    if (end_ms > watch->end_ms + JUDGE_GAP_MS)
        watch->from_ms = end_ms;
    if (end_ms > watch->end_ms)
        watch->end_ms = end_ms;
}

/* An engine that does not answer says nothing of the home: its records would not come either. So
 * only what is seen of a log that is there counts, unless the links say the same. */
static uint64_t silent_ms(const struct judge_vacancy *v)
{
    uint64_t from_ms = v->read_ms;

    if (v->home_lives && v->watch.from_ms > from_ms)
        from_ms = v->watch.from_ms;
    return v->watch.end_ms > from_ms ? v->watch.end_ms - from_ms : 0;
}

bool judge_claims(const struct judge_vacancy *v)
{
    uint64_t lease_ms = v->home_lives ? CHANGELOG_LEASE_MS + JUDGE_LIVES_MS : CHANGELOG_LEASE_MS;
    uint64_t patience_ms = (uint64_t)v->turn * JUDGE_TURN_MS;

    if (v->turn == JUDGE_NEVER || v->behind || v->watch.end_ms < v->read_ms ||
        v->now_ms > v->watch.end_ms + JUDGE_GAP_MS)
        return false; /* there may be more that has not been read */
    if (v->vacant)
        return v->now_ms >= v->read_ms + patience_ms;
    /* When the engine has been silent for longer, all see at once that the home is: in their order.
     */
    return silent_ms(v) >= lease_ms + patience_ms &&
           v->watch.end_ms - v->watch.from_ms >= patience_ms;
}

bool judge_gives_up(const struct judge_stay *s)
{
    return s->preferred_ms != 0 && s->preferred_runs && s->now_ms >= s->serving_ms + s->stay_ms &&
           s->now_ms >= s->preferred_ms + s->stay_ms && s->preferred_s + JUDGE_NEAR >= s->own;
}

bool judge_makes(const struct judge_making *m)
{
    uint64_t patience_ms = m->ran_on ? JUDGE_RAN_ON_MS : 0;
    return m->waited_ms >= patience_ms + (uint64_t)m->before * JUDGE_MAKES_MS;
}

uint64_t judge_trim(uint64_t lowest, uint64_t trimmed, uint64_t keep)
{
    if (lowest < trimmed + keep + (keep < JUDGE_TRIM_MIN ? keep : JUDGE_TRIM_MIN))
        return 0;
    return lowest - keep;
}
