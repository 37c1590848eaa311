/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record on its way into the log. It is sent again, with the same id, until it is known what
 * became of it:
 *
 *     accepted           it is there
 *     refused            somebody appended before: read back what stands in its place.
 *                        The record itself: its answer had been lost. A claim: deposed.
 *                        Anything else: there are two logs.
 *     no answer          sent again, a little later each time
 *
 * A claim is not fenced: wherever it lands, it counts from there.
 */
#include "changelog/inside.h"

#include "base/breaks.h"
#include "base/check.h"

#include <inttypes.h>
#include <stdio.h>

static uint64_t expected(const struct changelog *log)
{
    return log->chain.at.sequence;
}

static void send_now(struct changelog *log, uint64_t now_ms)
{
    struct changelog_flight *f = &log->flight;
    struct engine_append append = {
        .token = f->token,
        .head = bytes_of(f->head, sizeof(f->head)),
        .body = f->record.body,
        .id = f->id,
        .fenced = f->fenced,
        .expected = f->fenced ? expected(log) : 0,
    };

    f->reading_back = false;
    f->retry_ms = now_ms + f->pause_ms + f->record.body.len / CHANGELOG_BYTES_PER_MS;
    f->pause_ms *= 2;
    if (f->pause_ms > CHANGELOG_ANSWER_MAX_MS)
        f->pause_ms = CHANGELOG_ANSWER_MAX_MS;
    log->engine->ops->append(log->engine, log->group, &append);
}

static void begin(struct changelog *log, const struct changelog_record *record, uint64_t now_ms)
{
    struct changelog_flight *f = &log->flight;

    CHECK(f->token == 0);
    f->token = engine_token(log->engine);
    f->record = *record;
    f->first_sent_ms = now_ms;
    f->pause_ms = CHANGELOG_ANSWER_MS;
    changelog_record_head(record, f->head);
    send_now(log, now_ms);
}

void flight_send(struct changelog *log, const struct changelog_record *record, uint64_t now_ms)
{
    struct changelog_flight *f = &log->flight;

    f->fenced = !broken(BREAK_NO_FENCING);
    snprintf(f->id, sizeof(f->id), "%" PRIu64 "/%" PRIu64 "/%u", record->epoch, record->batch,
             record->part);
    begin(log, record, now_ms);
    f->hash =
        changelog_hash_next(&record->before, bytes_of(f->head, sizeof(f->head)), record->body);
}

void flight_send_claim(struct changelog *log, uint64_t now_ms)
{
    struct changelog_flight *f = &log->flight;
    struct changelog_record record = {
        .format = CHANGELOG_FORMAT,
        .kind = CHANGELOG_CLAIM,
        .part = 1,
        .parts = 1,
        .group = log->group,
        .body = bytes_of(log->claim_body, changelog_claim_encode(&log->self, log->claim_body)),
    };

    f->fenced = false;
    snprintf(f->id, sizeof(f->id), "claim/%s/%" PRIx64 "/%" PRIu64, log->self.node,
             log->self.incarnation, log->self.attempt);
    begin(log, &record, now_ms);
}

void flight_drop(struct changelog *log)
{
    log->flight.token = 0;
    log->flight.record.body = bytes_of(NULL, 0);
}

static void read_back(struct changelog *log, uint64_t now_ms)
{
    struct changelog_flight *f = &log->flight;

    f->reading_back = true;
    f->retry_ms = now_ms + CHANGELOG_ANSWER_MS + f->record.body.len / CHANGELOG_BYTES_PER_MS;
    log->counts.read_back++;
    log->engine->ops->read(log->engine, log->group, f->token, expected(log) + 1);
}

/* What stands where the record should be. */
static void read_back_answered(struct changelog *log, struct bytes whole, uint64_t now_ms)
{
    struct changelog_record found;

    if (!changelog_record_decode(whole, &found) || found.group != log->group) {
        changelog_break(log, "what stands in the place of a record is none");
        return;
    }
    if (found.kind == CHANGELOG_CLAIM) {
        changelog_lost(log);
        return;
    }
    struct changelog_hash hash = changelog_hash_next(
        &log->chain.at.hash, bytes_of(whole.data, CHANGELOG_HEADER), found.body);
    if (changelog_hash_equal(&hash, &log->flight.hash))
        changelog_accepted(log, expected(log) + 1, now_ms);
    else
        changelog_break(log, "somebody who has not claimed it writes to the log");
}

/* Not at once, which spares an engine in trouble. */
static void try_later(struct changelog *log, uint64_t now_ms)
{
    struct changelog_flight *f = &log->flight;

    log->counts.failed++;
    if (f->retry_ms > now_ms + CHANGELOG_RETRY_MS)
        f->retry_ms = now_ms + CHANGELOG_RETRY_MS;
}

void flight_answered(struct changelog *log, const struct engine_answer *answer, uint64_t now_ms)
{
    struct changelog_flight *f = &log->flight;

    switch (answer->outcome) {
    case ENGINE_APPENDED:
        if (f->fenced && answer->sequence != expected(log) + 1)
            changelog_break(log, "a record was accepted where another one stands");
        else
            changelog_accepted(log, answer->sequence, now_ms);
        break;
    case ENGINE_REFUSED:
        log->counts.refused++;
        if (f->fenced && !f->reading_back)
            read_back(log, now_ms);
        break;
    case ENGINE_RECORD:
        if (f->fenced && answer->sequence == expected(log) + 1)
            read_back_answered(log, answer->record, now_ms);
        break;
    case ENGINE_NOT_FOUND:
        if (f->reading_back)
            reader_ask_info(log, now_ms); /* refused, and nothing stands there */
        try_later(log, now_ms);
        break;
    case ENGINE_FAILED:
        try_later(log, now_ms);
        break;
    case ENGINE_INFO:
        break;
    }
}

void flight_turn(struct changelog *log, uint64_t now_ms)
{
    struct changelog_flight *f = &log->flight;

    if (f->token == 0 || now_ms < f->retry_ms)
        return;
    log->counts.resent++;
    send_now(log, now_ms);
    if (log->state >= CHANGELOG_OPEN && !changelog_lease_fresh(log, now_ms))
        reader_ask_info(log, now_ms); /* it may have lost what this would stand behind */
}

uint64_t flight_deadline_ms(const struct changelog *log)
{
    return log->flight.token != 0 ? log->flight.retry_ms : UINT64_MAX;
}
