/* SPDX-License-Identifier: Apache-2.0 */
#include "changelog/replay.h"

#include "base/log.h"
#include "changelog/inside.h"

#include <inttypes.h>
#include <stdio.h>

static void ask(struct changelog *log, uint64_t now_ms)
{
    struct changelog_replay *replay = &log->replay;
    struct bytes whole = tail_at(&log->tail, replay->sequence);

    if (whole.data == NULL || replay->tries == REPLAY_TRIES) {
        replay_drop(log);
        return;
    }
    replay->tries++;
    replay->retry_ms = now_ms + CHANGELOG_ANSWER_MS + whole.len / CHANGELOG_BYTES_PER_MS;
    if (!replay->appending) {
        log->engine->ops->read(log->engine, log->group, replay->token, replay->sequence);
        return;
    }
    struct engine_append append = {
        .token = replay->token,
        .head = bytes_of(whole.data, CHANGELOG_HEADER),
        .body = bytes_of(whole.data + CHANGELOG_HEADER, whole.len - CHANGELOG_HEADER),
        .id = replay->id,
        .fenced = true,
        .expected = replay->sequence - 1,
    };
    log->engine->ops->append(log->engine, log->group, &append);
}

/* Looks at the record, or appends it: with an id of its own, since the engine may know the first
 * one yet, and believe that it has it. */
static void begin(struct changelog *log, uint64_t sequence, bool appending, uint64_t now_ms)
{
    struct changelog_replay *replay = &log->replay;

    replay->token = engine_token(log->engine);
    replay->sequence = sequence;
    replay->appending = appending;
    replay->tries = 0;
    if (appending)
        snprintf(replay->id, sizeof(replay->id), "again/%s/%" PRIx64 "/%" PRIu64, log->self.node,
                 log->self.incarnation, ++replay->attempts);
    ask(log, now_ms);
}

void replay_begin(struct changelog *log, uint64_t last, uint64_t now_ms)
{
    struct changelog_replay *replay = &log->replay;
    bool has_all = log->tail.count > 0 && log->tail.last == log->chain.at.sequence;

    if (replay->token != 0 || !has_all || tail_at(&log->tail, last).data == NULL)
        return;
    replay->records = 0;
    begin(log, last, false, now_ms);
}

void replay_drop(struct changelog *log)
{
    log->replay.token = 0;
}

/* The record at `sequence` is what it was. */
static void go_on(struct changelog *log, uint64_t now_ms)
{
    struct changelog_replay *replay = &log->replay;
    uint64_t last = log->chain.at.sequence;

    if (replay->sequence < last) {
        begin(log, replay->sequence + 1, true, now_ms);
        return;
    }
    log->missing = 0;
    replay_drop(log);
    if (replay->records == 0)
        return; /* it was only late */
    log->counts.replayed += replay->records;
    LOG(LOG_WARN, "changelog.replayed", log_uint("group", log->group),
        log_uint("records", replay->records), log_uint("last", last),
        log_text("meaning", "the engine had lost records that it had accepted; they are in the "
                            "log again"));
}

static void looked(struct changelog *log, const struct engine_answer *answer, uint64_t now_ms)
{
    struct changelog_replay *replay = &log->replay;

    if (answer->outcome == ENGINE_FAILED)
        return; /* asked again later */
    if (answer->outcome == ENGINE_RECORD && answer->sequence == replay->sequence &&
        bytes_equal(answer->record, tail_at(&log->tail, replay->sequence))) {
        go_on(log, now_ms);
        return;
    }
    if (answer->outcome == ENGINE_RECORD)
        LOG_LIMITED(LOG_ERROR, "changelog.not_replayed", log_uint("group", log->group),
                    log_uint("sequence", replay->sequence),
                    log_text("meaning", "another record stands where one was accepted"));
    replay_drop(log);
}

void replay_answered(struct changelog *log, const struct engine_answer *answer, uint64_t now_ms)
{
    struct changelog_replay *replay = &log->replay;

    if (!replay->appending) {
        looked(log, answer, now_ms);
    } else if (answer->outcome == ENGINE_APPENDED && answer->sequence == replay->sequence) {
        replay->records++;
        go_on(log, now_ms);
    } else if (answer->outcome == ENGINE_REFUSED) {
        begin(log, replay->sequence, false, now_ms);
    } else if (answer->outcome != ENGINE_FAILED) {
        replay_drop(log);
    }
}

void replay_turn(struct changelog *log, uint64_t now_ms)
{
    if (log->replay.token != 0 && now_ms >= log->replay.retry_ms)
        ask(log, now_ms);
}

uint64_t replay_deadline_ms(const struct changelog *log)
{
    return log->replay.token != 0 ? log->replay.retry_ms : UINT64_MAX;
}
