/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a changelog: claiming, catching up, being home, giving up. */
#include "changelog/changelog.h"

#include "base/breaks.h"
#include "base/check.h"
#include "base/list.h"
#include "base/log.h"
#include "changelog/inside.h"

#include <stdio.h>

static const char *const state_names[] = {
    [CHANGELOG_IDLE] = "idle",         [CHANGELOG_FOLLOWING] = "following",
    [CHANGELOG_CLAIMING] = "claiming", [CHANGELOG_CATCHING_UP] = "catching_up",
    [CHANGELOG_WAITING] = "waiting",   [CHANGELOG_OPENING] = "opening",
    [CHANGELOG_OPEN] = "open",         [CHANGELOG_RELEASING] = "releasing",
    [CHANGELOG_BROKEN] = "broken",
};

const char *changelog_state_name(enum changelog_state state)
{
    return state_names[state];
}

/* ---- lease -------------------------------------------------------------------------------------
 */

bool changelog_lease_fresh(const struct changelog *log, uint64_t now_ms)
{
    /* relaxed: a bare time; what it permits is not published through it */
    uint64_t until_ms = atomic_load_explicit(&log->lease_until_ms, memory_order_relaxed);
    return now_ms < until_ms || (broken(BREAK_NO_LEASE) && until_ms > 0);
}

static uint64_t lease_until(const struct changelog *log)
{
    return atomic_load_explicit(&log->lease_until_ms, memory_order_relaxed);
}

static void lease_set(struct changelog *log, uint64_t until_ms)
{
    atomic_store_explicit(&log->lease_until_ms, until_ms, memory_order_relaxed);
}

/* Tells the owner when the lease is not any more what it was told last. */
static void lease_tell(struct changelog *log, uint64_t now_ms)
{
    bool fresh = changelog_lease_fresh(log, now_ms);

    if (fresh == log->lease_told)
        return;
    log->lease_told = fresh;
    log->ops->lease_changed(log, fresh);
}

/* A record of ours has been accepted that was sent first at that time: nobody had claimed then. */
static void lease_extend(struct changelog *log, uint64_t sent_ms)
{
    uint64_t until_ms = sent_ms + CHANGELOG_LEASE_MS;

    if (!log->release_wanted && until_ms > lease_until(log))
        lease_set(log, until_ms);
}

static uint64_t refresh_ms(const struct changelog *log)
{
    uint64_t until_ms = lease_until(log);
    return until_ms > 0 ? until_ms - CHANGELOG_LEASE_MS + CHANGELOG_REFRESH_MS : 0;
}

/* ---- being home --------------------------------------------------------------------------------
 */

/* Not home, or not on the way to it, any more. */
static void step_down(struct changelog *log, enum changelog_state state)
{
    log->state = state;
    log->batch = bytes_of(NULL, 0);
    log->release_wanted = false;
    lease_set(log, 0);
    flight_drop(log);
    reader_stop(log);
}

static void send_kind(struct changelog *log, enum changelog_kind kind, uint64_t now_ms)
{
    struct changelog_record record = chain_next(&log->chain, kind, bytes_of(NULL, 0), 1, 1);
    if (kind == CHANGELOG_EMPTY)
        log->counts.empty++;
    flight_send(log, &record, now_ms);
}

static void send_part(struct changelog *log, uint64_t now_ms)
{
    size_t left = log->batch.len - log->batch_sent;
    size_t len = left < log->part_max ? left : log->part_max;
    struct bytes body = bytes_of(log->batch.data + log->batch_sent, len);
    struct changelog_record record =
        chain_next(&log->chain, CHANGELOG_BATCH, body, (uint16_t)(log->part + 1), log->parts);

    flight_send(log, &record, now_ms);
}

/* OPEN, and nothing is in flight. */
static void send_next(struct changelog *log, uint64_t now_ms)
{
    if (log->batch.data != NULL) {
        send_part(log, now_ms);
    } else if (log->release_wanted) {
        log->state = CHANGELOG_RELEASING;
        send_kind(log, CHANGELOG_RELEASE, now_ms);
    } else if (now_ms >= refresh_ms(log)) {
        send_kind(log, CHANGELOG_EMPTY, now_ms);
    }
}

/* A part of a batch is in the log. */
static void part_accepted(struct changelog *log, size_t len)
{
    log->batch_sent += len;
    if (++log->part < log->parts)
        return;
    uint64_t cookie = log->cookie;
    log->batch = bytes_of(NULL, 0);
    log->counts.appended++;
    struct changelog_position position = log->chain.whole;
    log->ops->committed(log, cookie, &position);
}

static void own_accepted(struct changelog *log, uint64_t now_ms)
{
    struct changelog_record record = log->flight.record;
    struct changelog_hash hash = log->flight.hash;

    lease_extend(log, log->flight.first_sent_ms);
    log->missing = 0;
    tail_add(&log->tail, log->chain.at.sequence + 1,
             bytes_of(log->flight.head, sizeof(log->flight.head)), record.body, &hash);
    flight_drop(log);
    chain_advance(&log->chain, &record, &hash);
    if (log->state == CHANGELOG_RELEASING) {
        step_down(log, CHANGELOG_IDLE);
        log->ops->released(log);
    } else if (log->state == CHANGELOG_OPENING) {
        log->state = CHANGELOG_OPEN;
        log->ops->opened(log, log->chain.at.epoch);
    } else if (record.kind == CHANGELOG_BATCH) {
        part_accepted(log, record.body.len);
    }
    lease_tell(log, now_ms);
    if (log->state == CHANGELOG_OPEN && log->flight.token == 0)
        send_next(log, now_ms);
}

static void claim_accepted(struct changelog *log, uint64_t sequence, uint64_t now_ms)
{
    flight_drop(log);
    if (sequence <= log->chain.at.sequence) {
        log->missing = log->chain.at.sequence + 1 - sequence;
        step_down(log, CHANGELOG_IDLE);
        return;
    }
    log->claim_sequence = sequence;
    log->claimed_ms = now_ms;
    log->state = CHANGELOG_CATCHING_UP;
    reader_start(log);
    reader_turn(log, now_ms);
}

void changelog_accepted(struct changelog *log, uint64_t sequence, uint64_t now_ms)
{
    if (log->state == CHANGELOG_CLAIMING)
        claim_accepted(log, sequence, now_ms);
    else
        own_accepted(log, now_ms);
}

/* ---- becoming home -----------------------------------------------------------------------------
 */

static bool same_process(const struct changelog_claim *a, const struct changelog_claim *b)
{
    return a->incarnation == b->incarnation && strcmp(a->node, b->node) == 0;
}

static void open_if_due(struct changelog *log, uint64_t now_ms)
{
    if (now_ms < log->open_at_ms)
        return;
    log->state = CHANGELOG_OPENING;
    send_kind(log, CHANGELOG_EMPTY, now_ms);
}

void changelog_caught_up(struct changelog *log, uint64_t now_ms)
{
    const struct chain *chain = &log->chain;

    if (chain->at.epoch != log->claim_sequence || !same_process(&chain->claimant, &log->self) ||
        chain->claimant.attempt != log->self.attempt) {
        changelog_break(log, "something else stands where the claim was accepted");
        return;
    }
    reader_stop(log);
    log->state = CHANGELOG_WAITING;
    uint64_t from_ms = log->holder_read_ms;
    if (from_ms > log->claimed_ms)
        from_ms = log->claimed_ms; /* nothing of it was accepted behind the claim */
    log->open_at_ms = from_ms + CHANGELOG_LEASE_MS + CHANGELOG_LEASE_MARGIN_MS;
    if (!chain->at.held || same_process(&chain->holder, &log->self) || broken(BREAK_NO_LEASE))
        log->open_at_ms = now_ms; /* nobody has a lease, or this process had, which knows */
    open_if_due(log, now_ms);
}

/* ---- how it ends -------------------------------------------------------------------------------
 */

void changelog_lost(struct changelog *log)
{
    bool told = log->lease_told;

    LOG(LOG_WARN, "changelog.deposed", log_uint("group", log->group),
        log_uint("epoch", log->chain.at.epoch), log_text("state", state_names[log->state]));
    step_down(log, CHANGELOG_IDLE);
    log->lease_told = false;
    if (told)
        log->ops->lease_changed(log, false);
    log->ops->deposed(log);
}

void changelog_break(struct changelog *log, const char *why)
{
    bool told = log->lease_told;

    LOG(LOG_ERROR, "changelog.broken", log_uint("group", log->group),
        log_uint("behind", log->chain.at.sequence), log_uint("epoch", log->chain.at.epoch),
        log_text("state", state_names[log->state]), log_text("why", why),
        log_text("meaning", "acknowledged records are missing or there are two logs; nothing of "
                            "this group is served from here"));
    step_down(log, CHANGELOG_BROKEN);
    replay_drop(log);
    log->lease_told = false;
    if (told)
        log->ops->lease_changed(log, false);
    log->ops->broken(log, why);
}

/* ---- the owner's calls -------------------------------------------------------------------------
 */

static void answered(struct engine_sink *sink, const struct engine_answer *answer, uint64_t now_ms)
{
    struct changelog *log = CONTAINER_OF(sink, struct changelog, sink);

    if (log->flight.token != 0 && answer->token == log->flight.token)
        flight_answered(log, answer, now_ms);
    else if (log->info_token != 0 && answer->token == log->info_token)
        reader_info_answered(log, answer, now_ms);
    else if (log->replay.token != 0 && answer->token == log->replay.token)
        replay_answered(log, answer, now_ms);
    else if (changelog_reads(log))
        reader_answered(log, answer, now_ms);
}

void changelog_init(struct changelog *log, uint32_t group, struct engine *engine,
                    const struct changelog_ops *ops, void *owner, const char *node,
                    uint64_t incarnation)
{
    static const struct changelog_position beginning = {0};

    CHECK(group < CHANGELOG_GROUPS_MAX && strlen(node) < CHANGELOG_NODE_MAX && node[0] != '\0');
    memset(log, 0, sizeof(*log));
    log->ops = ops;
    log->owner = owner;
    log->engine = engine;
    log->group = group;
    log->sink.answered = answered;
    chain_init(&log->chain, group, &beginning);
    snprintf(log->self.node, sizeof(log->self.node), "%s", node);
    log->self.incarnation = incarnation;
    engine->ops->attach(engine, group, &log->sink);
}

void changelog_deinit(struct changelog *log)
{
    log->engine->ops->attach(log->engine, log->group, NULL);
    step_down(log, CHANGELOG_IDLE);
    chain_deinit(&log->chain);
    tail_clear(&log->tail);
}

void changelog_start_at(struct changelog *log, const struct changelog_position *position)
{
    CHECK(log->state == CHANGELOG_IDLE || log->state == CHANGELOG_BROKEN);
    chain_deinit(&log->chain);
    chain_init(&log->chain, log->group, position);
    tail_cut(&log->tail, position->sequence, &position->hash);
    replay_drop(log);
    log->missing = 0;
    log->holder_read_ms = 0; /* others have read what is before it, nobody knows when */
    log->state = CHANGELOG_IDLE;
}

void changelog_follow(struct changelog *log, uint64_t now_ms)
{
    CHECK(log->state == CHANGELOG_IDLE);
    log->state = CHANGELOG_FOLLOWING;
    reader_start(log);
    reader_turn(log, now_ms);
}

void changelog_hint(struct changelog *log, uint64_t sequence, uint64_t now_ms)
{
    if (log->state != CHANGELOG_FOLLOWING || sequence <= log->chain.at.sequence)
        return;
    log->poll_ms = 0;
    reader_turn(log, now_ms);
}

void changelog_look_at_end(struct changelog *log, uint64_t now_ms)
{
    if (log->gone_sequence == 0) /* else it was told when to say that again */
        log->info_ms = 0;
    reader_ask_info(log, now_ms);
}

bool changelog_replays(const struct changelog *log)
{
    return log->replay.token != 0;
}

void changelog_stop(struct changelog *log)
{
    if (log->state == CHANGELOG_IDLE || log->state == CHANGELOG_BROKEN)
        return;
    CHECK(log->state < CHANGELOG_OPEN);
    step_down(log, CHANGELOG_IDLE);
}

void changelog_depose(struct changelog *log)
{
    CHECK(log->state == CHANGELOG_OPEN);
    changelog_lost(log);
}

void changelog_claim(struct changelog *log, struct bytes note, uint64_t now_ms)
{
    CHECK(log->state == CHANGELOG_IDLE || log->state == CHANGELOG_FOLLOWING);
    reader_stop(log);
    if (log->holder_read_ms == 0)
        log->holder_read_ms = now_ms; /* what the store holds was read before */
    log->state = CHANGELOG_CLAIMING;
    log->self.attempt++;
    log->self.note = note;
    flight_send_claim(log, now_ms);
    log->self.note = bytes_of(NULL, 0); /* it has been copied into the record */
}

uint64_t changelog_claims(const struct changelog *log)
{
    bool is_between = log->state > CHANGELOG_CLAIMING && log->state < CHANGELOG_OPEN;
    return is_between ? log->claim_sequence : 0;
}

enum rc changelog_append_fenced(struct changelog *log, struct bytes batch, uint64_t cookie,
                                uint64_t now_ms)
{
    if (log->state != CHANGELOG_OPEN || log->release_wanted)
        return RC_CLOSED;
    if (log->batch.data != NULL)
        return RC_AGAIN;
    CHECK(batch.len > 0);
    size_t record_max = log->engine->ops->record_max(log->engine);
    CHECK(record_max > CHANGELOG_HEADER); /* it has been asked before this was OPEN */
    size_t part_max = record_max - CHANGELOG_HEADER;
    size_t parts = (batch.len + part_max - 1) / part_max;
    if (batch.len > CHANGELOG_BATCH_MAX || parts > UINT16_MAX)
        return RC_FULL;
    log->batch = batch;
    log->cookie = cookie;
    log->batch_sent = 0;
    log->part_max = part_max;
    log->part = 0;
    log->parts = (uint16_t)parts;
    if (log->flight.token == 0)
        send_next(log, now_ms);
    return RC_OK;
}

void changelog_release(struct changelog *log, uint64_t now_ms)
{
    if (log->state != CHANGELOG_OPEN || log->release_wanted)
        return;
    log->release_wanted = true;
    lease_set(log, 0);
    lease_tell(log, now_ms);
    if (log->state == CHANGELOG_OPEN && log->flight.token == 0)
        send_next(log, now_ms);
}

void changelog_abandon(struct changelog *log)
{
    struct changelog_position whole = *changelog_position(log);
    bool told = log->lease_told;

    CHECK(log->state == CHANGELOG_OPEN);
    step_down(log, CHANGELOG_IDLE);
    log->lease_told = false;
    changelog_start_at(log, &whole); /* parts of a batch behind it are read anew */
    if (told)
        log->ops->lease_changed(log, false);
}

void changelog_trim(struct changelog *log, uint64_t sequence)
{
    log->engine->ops->trim(log->engine, log->group, sequence);
}

const struct changelog_position *changelog_position(const struct changelog *log)
{
    return &log->chain.whole;
}

/* ---- time --------------------------------------------------------------------------------------
 */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t changelog_deadline_ms(const struct changelog *log)
{
    uint64_t deadline = earlier(flight_deadline_ms(log), reader_deadline_ms(log));

    deadline = earlier(deadline, replay_deadline_ms(log));
    if (log->state == CHANGELOG_WAITING)
        deadline = earlier(deadline, log->open_at_ms);
    if (log->state == CHANGELOG_OPEN && log->flight.token == 0)
        deadline = earlier(deadline, refresh_ms(log));
    if (log->lease_told && !broken(BREAK_NO_LEASE))
        deadline = earlier(deadline, lease_until(log));
    return deadline;
}

void changelog_turn(struct changelog *log, uint64_t now_ms)
{
    lease_tell(log, now_ms);
    flight_turn(log, now_ms);
    replay_turn(log, now_ms);
    if (changelog_reads(log))
        reader_turn(log, now_ms);
    else if (log->state == CHANGELOG_WAITING)
        open_if_due(log, now_ms);
    else if (log->state == CHANGELOG_OPEN && log->flight.token == 0)
        send_next(log, now_ms);
}
