/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine has lost records at the end of the log that it had accepted. Who has them in its tail
 * appends them again, as they were and where they were, so that the log is for everybody what it
 * had been:
 *
 *     looks whether the last record that the engine has is the one that it was
 *     appends the next one, fenced by that, and so on, one at a time
 *     refused: somebody else is doing the same; looks whether it was the same record
 *
 * Whatever else it finds ends it; what is missing then is told to the owner as before. Several
 * nodes may do so at a time. It says nothing of who is home: what a claim said it says again.
 */
#ifndef CHANGELOG_REPLAY_H
#define CHANGELOG_REPLAY_H

#include "changelog/engine.h"

enum { REPLAY_TRIES = 8 }; /* of one question, before it is left to the next INFO */

struct changelog;

struct changelog_replay {
    uint64_t token;    /* of what is asked; 0: nothing is */
    uint64_t sequence; /* of that record */
    bool appending;    /* it is appended, and not looked at */
    uint32_t tries;
    uint64_t retry_ms, attempts, records;
    char id[CHANGELOG_ID_MAX];
};

/* The engine has said that `last` is the last it has. Begins when that can be mended from here, and
 * it has not begun. */
void replay_begin(struct changelog *log, uint64_t last, uint64_t now_ms);
void replay_drop(struct changelog *log);
/* The answer with its token. */
void replay_answered(struct changelog *log, const struct engine_answer *answer, uint64_t now_ms);
void replay_turn(struct changelog *log, uint64_t now_ms);
uint64_t replay_deadline_ms(const struct changelog *log);

#endif
