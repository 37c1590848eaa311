/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a changelog asks of the engine that keeps it: streams of records numbered from 1, one for
 * each group, and an append that is refused when the last record is not the one expected. Nothing
 * here blocks: every question has a token, and its answer comes to the group's sink later, on the
 * thread of the owner, or never. The group has its own timers. Implementations: jetstream.c, and
 * the fake of the tests.
 */
#ifndef CHANGELOG_ENGINE_H
#define CHANGELOG_ENGINE_H

#include "base/bytes.h"

enum { CHANGELOG_GROUPS_MAX = 256, CHANGELOG_ID_MAX = 160 };

enum engine_outcome {
    ENGINE_APPENDED,  /* sequence: where it is, also when it had been there before */
    ENGINE_REFUSED,   /* the last record is not the one expected */
    ENGINE_RECORD,    /* what stands at `sequence` */
    ENGINE_NOT_FOUND, /* nothing there: not yet, not any more, or not on who was asked */
    ENGINE_INFO,      /* first and last; may be old */
    ENGINE_FAILED,    /* nobody knows: an append may have happened */
};

struct engine_answer {
    enum engine_outcome outcome;
    uint64_t token;
    uint64_t sequence;
    uint64_t first;      /* ENGINE_INFO: the oldest that is kept; `sequence` is the last */
    struct bytes record; /* borrowed until the call returns */
};

struct engine_append {
    uint64_t token;
    struct bytes head, body; /* one record; copied before the call returns */
    const char *id;          /* the same one again is answered with where the first is */
    bool fenced;             /* refuse it unless the last record is `expected` */
    uint64_t expected;
};

/* Where a group's answers go. `now_ms` has been read after the answer had come, however long the
 * thread was held up: who waits from an answer on must not begin before it. */
struct engine_sink {
    void (*answered)(struct engine_sink *sink, const struct engine_answer *answer, uint64_t now_ms);
};

struct engine;

/* All on the owner's thread. */
struct engine_ops {
    /* Shares the sink until it is detached, with NULL; no answer comes after that. */
    void (*attach)(struct engine *engine, uint32_t group, struct engine_sink *sink);
    void (*append)(struct engine *engine, uint32_t group, const struct engine_append *append);
    void (*read)(struct engine *engine, uint32_t group, uint64_t token, uint64_t sequence);
    /* The same of any copy of the log, for when who leads it does not answer. A copy may be behind:
     * what it does not have may be there all the same. */
    void (*read_copy)(struct engine *engine, uint32_t group, uint64_t token, uint64_t sequence);
    void (*info)(struct engine *engine, uint32_t group, uint64_t token);
    /* Forgets what is before `sequence`, which is the next one when there is less; no answer: it is
     * asked for again later anyway. */
    void (*trim)(struct engine *engine, uint32_t group, uint64_t sequence);
    /* Bytes of the largest record that can be appended and read back, head included; 0: not known
     * yet. May shrink when the engine is another one. */
    size_t (*record_max)(struct engine *engine);
};

struct engine {
    const struct engine_ops *ops;
    uint64_t tokens; /* the last that was given out; one that is late never fits another question */
};

static inline uint64_t engine_token(struct engine *engine)
{
    return ++engine->tokens;
}

#endif
