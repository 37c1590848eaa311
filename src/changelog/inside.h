/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of a changelog: changelog.c (states), flight.c (appends), reader.c. */
#ifndef CHANGELOG_INSIDE_H
#define CHANGELOG_INSIDE_H

#include "changelog/changelog.h"

/* ---- changelog.c ----------------------------------------------------------------------------- */

/* The log does not hang together; says so and stops. */
void changelog_break(struct changelog *log, const char *why);
/* The record that was in flight is in the log, at `sequence`. */
void changelog_accepted(struct changelog *log, uint64_t sequence, uint64_t now_ms);
/* Somebody else's claim stands where it should be. */
void changelog_lost(struct changelog *log);
/* The reader has reached the claim that it was to read to. */
void changelog_caught_up(struct changelog *log, uint64_t now_ms);

/* ---- flight.c ---------------------------------------------------------------------------------
 */

void flight_send(struct changelog *log, const struct changelog_record *record, uint64_t now_ms);
void flight_send_claim(struct changelog *log, uint64_t now_ms);
void flight_drop(struct changelog *log);
void flight_answered(struct changelog *log, const struct engine_answer *answer, uint64_t now_ms);
void flight_turn(struct changelog *log, uint64_t now_ms);
uint64_t flight_deadline_ms(const struct changelog *log);

/* ---- reader.c ---------------------------------------------------------------------------------
 */

void reader_start(struct changelog *log);
void reader_stop(struct changelog *log);
/* Asks the engine where the log begins and ends, unless it was asked a moment ago. */
void reader_ask_info(struct changelog *log, uint64_t now_ms);
void reader_info_answered(struct changelog *log, const struct engine_answer *answer,
                          uint64_t now_ms);
bool reader_answered(struct changelog *log, const struct engine_answer *answer, uint64_t now_ms);
void reader_turn(struct changelog *log, uint64_t now_ms);
uint64_t reader_deadline_ms(const struct changelog *log);

static inline bool changelog_reads(const struct changelog *log)
{
    return log->state == CHANGELOG_FOLLOWING || log->state == CHANGELOG_CATCHING_UP;
}

#endif
