/* SPDX-License-Identifier: Apache-2.0 */
/* Between jetstream.c and jetstream_create.c. */
#ifndef CHANGELOG_JETSTREAM_INSIDE_H
#define CHANGELOG_JETSTREAM_INSIDE_H

#include "changelog/jetstream.h"
#include "changelog/jetstream_answer.h"

#include "base/mailbox.h"

#include <nats/nats.h>
#include <semaphore.h>

enum { JETSTREAM_NAME_MAX = 160, JETSTREAM_CLUSTER_MAX = 96 };

struct jetstream {
    struct engine engine;
    char *urls[JETSTREAM_URLS_MAX]; /* copies of the options */
    uint32_t url_count;
    char *user, *password; /* NULL: in the URLs */
    natsConnection *connection;
    natsSubscription *answers;
    bool completes; /* the library will say when it is done with them */
    char cluster[JETSTREAM_CLUSTER_MAX];
    char inbox[64], making[64];
    /* What is answered when streams are made or looked for. It lives as long as the connection: in
     * libnats 3.4 one that is destroyed while a message for it comes in is written to behind its
     * end. */
    natsSubscription *made;
    uint64_t makings; /* times it was asked for; what is late is of an earlier one */
    struct mailbox mailbox;
    struct engine_sink *sinks[CHANGELOG_GROUPS_MAX]; /* by group; NULL: nobody asks */
    size_t record_max;                               /* as last seen */
    uint64_t base[CHANGELOG_GROUPS_MAX]; /* sequences of the stream count from behind this */
    struct jetstream_copies copies[CHANGELOG_GROUPS_MAX];
    uint8_t copies_asked[CHANGELOG_GROUPS_MAX]; /* times, since they were told last */
    uint64_t other_ms;                          /* when another server was heard last */
    uint64_t reopen_ms;                         /* not before, after the library has given up */
    _Atomic uint32_t losses;                    /* of connections */
    sem_t ended;                                /* the library is done with us: two of them */
};

void jetstream_stream(const struct jetstream *js, uint32_t group, char out[JETSTREAM_NAME_MAX]);
/* `call` is a part of the API: "STREAM.INFO". */
void jetstream_ask(struct jetstream *js, enum jetstream_question question, const char *call,
                   uint32_t group, uint64_t token, const char *json);
void jetstream_subject(const struct jetstream *js, uint32_t group, char out[JETSTREAM_NAME_MAX]);

#endif
