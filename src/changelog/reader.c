/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the log behind the position, a few records ahead, and hands them on in order. A replica may
 * be behind: "not found" means only that it is asked again, until the claim that has to be reached
 * is. When who leads the log does not answer, as nats-server's while they have no leader of their
 * meta data, any copy is read; it never says where the log ends. Records that have been trimmed are
 * told from those that are not there yet by the engine's oldest, which may be old but never too
 * new.
 */
#include "changelog/inside.h"

#include "base/check.h"
#include "base/memory.h"

static struct changelog_slot *slot_of(struct changelog *log, uint64_t sequence)
{
    return &log->slots[sequence % CHANGELOG_READS];
}

static void slot_free(struct changelog_slot *slot)
{
    mem_free(slot->bytes);
    *slot = (struct changelog_slot){0};
}

void reader_start(struct changelog *log)
{
    reader_stop(log);
    log->window = 1;
    log->read_wait_ms = CHANGELOG_ANSWER_MS;
    log->poll_ms = log->info_ms = log->copies_until_ms = 0;
    log->end_known = false;
    log->gone_sequence = 0;
}

void reader_stop(struct changelog *log)
{
    for (uint32_t i = 0; i < CHANGELOG_READS; i++)
        slot_free(&log->slots[i]);
    log->info_token = 0;
}

static uint64_t next(const struct changelog *log)
{
    return log->chain.at.sequence + 1;
}

/* The last that is asked for now. */
static uint64_t ask_until(const struct changelog *log)
{
    uint64_t until = next(log) + log->window - 1;
    bool bounded = log->state == CHANGELOG_CATCHING_UP && until > log->claim_sequence;
    return bounded ? log->claim_sequence : until;
}

static void ask_for(struct changelog *log, struct changelog_slot *slot, uint64_t now_ms)
{
    bool copy = now_ms < log->copies_until_ms;

    slot->asked_ms = now_ms;
    slot->copy = copy;
    slot->of_copy |= copy;
    (copy ? log->engine->ops->read_copy : log->engine->ops->read)(log->engine, log->group,
                                                                  slot->token, slot->sequence);
}

static void ask(struct changelog *log, uint64_t sequence, uint64_t now_ms)
{
    struct changelog_slot *slot = slot_of(log, sequence);

    slot->sequence = sequence;
    slot->token = engine_token(log->engine);
    slot->of_copy = false;
    ask_for(log, slot, now_ms);
}

/* Whoever was asked has not answered: the others, in turns. */
static void turn(struct changelog *log, bool copy, uint64_t now_ms)
{
    if (copy == (now_ms < log->copies_until_ms)) /* or it has been turned already */
        log->copies_until_ms = copy ? 0 : now_ms + CHANGELOG_COPIES_MS;
}

static void ask_ahead(struct changelog *log, uint64_t now_ms)
{
    if (now_ms < log->poll_ms)
        return;
    uint64_t until = ask_until(log);
    for (uint64_t sequence = next(log); sequence <= until; sequence++)
        if (slot_of(log, sequence)->token == 0)
            ask(log, sequence, now_ms);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

/* Hands on what stands next. False: no more of it. */
static bool take(struct changelog *log, struct bytes whole, uint64_t now_ms)
{
    struct changelog_record record;
    struct changelog_claim claim;
    struct bytes body;
    bool complete;

    const char *why = chain_add(&log->chain, whole, &record, &complete, &body);
    if (why != NULL) {
        changelog_break(log, why);
        return false;
    }
    tail_add(&log->tail, log->chain.at.sequence, whole, bytes_of(NULL, 0), &log->chain.at.hash);
    log->missing = 0;
    if (record.kind != CHANGELOG_CLAIM)
        log->holder_read_ms = now_ms;
    if (complete) {
        struct changelog_entry entry = {
            .kind = record.kind, .position = log->chain.whole, .body = body};
        if (record.kind == CHANGELOG_CLAIM) {
            CHECK(changelog_claim_decode(record.body, &claim));
            entry.claim = &claim;
        }
        log->counts.applied++;
        log->ops->apply(log, &entry);
    }
    if (log->state == CHANGELOG_CATCHING_UP && log->chain.at.sequence == log->claim_sequence)
        changelog_caught_up(log, now_ms);
    return changelog_reads(log);
}

/* The first of what has come, and what came before its turn. */
static void take_all(struct changelog *log, struct bytes whole, uint64_t now_ms)
{
    slot_free(slot_of(log, next(log)));
    bool more = take(log, whole, now_ms);
    while (more) {
        struct changelog_slot *slot = slot_of(log, next(log));
        struct bytes early = bytes_of(slot->bytes, slot->len);
        if (early.data == NULL)
            break;
        uint8_t *bytes = slot->bytes; /* kept from whoever stops the reading meanwhile */
        slot->bytes = NULL;
        slot_free(slot);
        more = take(log, early, now_ms);
        mem_free(bytes);
    }
}

static void record_came(struct changelog *log, struct changelog_slot *slot,
                        const struct engine_answer *answer, uint64_t now_ms)
{
    if (answer->sequence != slot->sequence) {
        changelog_break(log, "another record was read than the one asked for");
        return;
    }
    log->window = log->window * 2 < CHANGELOG_READS ? log->window * 2 : CHANGELOG_READS;
    if (slot->of_copy)
        log->read_wait_ms = CHANGELOG_ANSWER_MS; /* it was not the record that took long */
    if (slot->sequence == next(log)) {
        take_all(log, answer->record, now_ms);
    } else {
        slot->bytes = mem_try(answer->record.len);
        if (slot->bytes == NULL) {
            slot_free(slot); /* asked for again when it is next */
            return;
        }
        memcpy(slot->bytes, answer->record.data, answer->record.len);
        slot->len = answer->record.len;
    }
}

static void not_found(struct changelog *log, uint64_t sequence, bool of_copy, uint64_t now_ms)
{
    log->window = 1;
    if (sequence != next(log))
        return;
    if (of_copy)
        log->read_wait_ms = CHANGELOG_ANSWER_MS; /* or it took long to see that who leads is back */
    else
        log->end_ms = now_ms;
    log->poll_ms = now_ms + CHANGELOG_POLL_MS;
    reader_ask_info(log, now_ms);
}

void reader_ask_info(struct changelog *log, uint64_t now_ms)
{
    if (now_ms < log->info_ms)
        return;
    log->info_ms = now_ms + CHANGELOG_INFO_MS;
    log->info_token = engine_token(log->engine);
    log->engine->ops->info(log->engine, log->group, log->info_token);
}

void reader_info_answered(struct changelog *log, const struct engine_answer *answer,
                          uint64_t now_ms)
{
    uint64_t read = log->chain.at.sequence;

    log->info_token = 0;
    if (answer->outcome != ENGINE_INFO)
        return;
    log->end_known = true;
    log->end_told_ms = now_ms;
    log->missing = answer->sequence < read ? read - answer->sequence : 0;
    if (log->missing > 0)
        replay_begin(log, answer->sequence, now_ms);
    if (!changelog_reads(log))
        return;
    if (answer->first <= next(log)) {
        log->gone_sequence = 0;
        return;
    }
    if (log->gone_sequence != next(log)) {
        log->gone_sequence = next(log);
        log->info_ms = now_ms + CHANGELOG_GONE_MS; /* it has to say it once more */
        return;
    }
    reader_stop(log);
    log->state = CHANGELOG_IDLE;
    log->ops->behind(log, answer->first);
}

static void read_failed(struct changelog *log, bool copy, uint64_t now_ms)
{
    log->poll_ms = now_ms + CHANGELOG_POLL_MS;
    turn(log, copy, now_ms);
}

bool reader_answered(struct changelog *log, const struct engine_answer *answer, uint64_t now_ms)
{
    for (uint32_t i = 0; i < CHANGELOG_READS; i++) {
        struct changelog_slot *slot = &log->slots[i];
        if (slot->token != answer->token || slot->bytes != NULL || slot->token == 0)
            continue;
        uint64_t sequence = slot->sequence;
        bool copy = slot->copy, of_copy = slot->of_copy;
        if (answer->outcome == ENGINE_RECORD)
            record_came(log, slot, answer, now_ms);
        else
            slot_free(slot);
        if (answer->outcome == ENGINE_NOT_FOUND)
            not_found(log, sequence, of_copy, now_ms);
        else if (answer->outcome == ENGINE_FAILED)
            read_failed(log, copy, now_ms);
        if (changelog_reads(log))
            ask_ahead(log, now_ms);
        return true;
    }
    return false;
}

/* ---- time --------------------------------------------------------------------------------------
 */

/* Those that have not come in time are asked for again, with the same token: if the first answer
 * was only slow, it counts. */
static void ask_again(struct changelog *log, uint64_t now_ms)
{
    bool late = false;

    for (uint32_t i = 0; i < CHANGELOG_READS; i++) {
        struct changelog_slot *slot = &log->slots[i];
        if (slot->token == 0 || slot->bytes != NULL || now_ms < slot->asked_ms + log->read_wait_ms)
            continue;
        turn(log, slot->copy, now_ms);
        late = true;
        ask_for(log, slot, now_ms);
    }
    if (!late)
        return;
    log->window = 1;
    log->read_wait_ms *= 2;
    if (log->read_wait_ms > CHANGELOG_READ_MAX_MS)
        log->read_wait_ms = CHANGELOG_READ_MAX_MS;
}

void reader_turn(struct changelog *log, uint64_t now_ms)
{
    ask_again(log, now_ms);
    ask_ahead(log, now_ms);
}

uint64_t reader_deadline_ms(const struct changelog *log)
{
    uint64_t deadline = UINT64_MAX;

    if (!changelog_reads(log))
        return deadline;
    const struct changelog_slot *first = &log->slots[next(log) % CHANGELOG_READS];
    if (first->token == 0)
        return log->poll_ms;
    for (uint32_t i = 0; i < CHANGELOG_READS; i++) {
        const struct changelog_slot *slot = &log->slots[i];
        if (slot->token != 0 && slot->bytes == NULL &&
            slot->asked_ms + log->read_wait_ms < deadline)
            deadline = slot->asked_ms + log->read_wait_ms;
    }
    return deadline;
}
