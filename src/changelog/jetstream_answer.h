/* SPDX-License-Identifier: Apache-2.0 */
/* What JetStream answers, in JSON, as answers of an engine. Pure. */
#ifndef CHANGELOG_JETSTREAM_ANSWER_H
#define CHANGELOG_JETSTREAM_ANSWER_H

#include "changelog/engine.h"

enum jetstream_question {
    JETSTREAM_APPEND = 'a',
    JETSTREAM_READ = 'r',
    JETSTREAM_COPY = 'd', /* answered with the record itself, and not in JSON */
    JETSTREAM_INFO = 'i',
    JETSTREAM_TRIM = 't',
    JETSTREAM_CREATE = 'c',
    JETSTREAM_COPIES = 'n',
    JETSTREAM_SERVERS = 's',
};

enum { JETSTREAM_WHY_MAX = 128 };

/* The description of a stream that was made again, with where it goes on. */
#define JETSTREAM_BASE "goes on behind "

struct jetstream_answer {
    struct engine_answer answer; /* its token is the caller's to fill in */
    uint8_t *record;             /* the caller's to free */
    uint64_t base;               /* JETSTREAM_CREATE: the stream goes on behind this */
    uint32_t copies;             /* JETSTREAM_COPIES: that there should be */
    uint32_t copies_current;     /* ... and that have all of it */
    uint32_t copies_away;        /* ... and whose servers cannot be reached */
    uint32_t copies_servers;     /* ... and that have a server at all */
    char why[JETSTREAM_WHY_MAX]; /* ENGINE_FAILED: in the engine's words */
    int code;                    /* ENGINE_FAILED, ENGINE_REFUSED: its number for it; 0: none */
};

enum { JETSTREAM_SERVER_ID_MAX = 64 };

/* Who has answered JETSTREAM_SERVERS; false: nobody can tell. */
bool jetstream_answer_server(struct bytes json, char id[JETSTREAM_SERVER_ID_MAX]);

void jetstream_answer_read(enum jetstream_question question, struct bytes json,
                           struct jetstream_answer *out);

#endif
