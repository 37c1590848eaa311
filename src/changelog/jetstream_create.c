/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the streams, once in the life of a cluster, looks whether they are there, and gives them
 * more copies when there are more servers. They are asked for all at once: making them one after
 * another takes half a second each. */
#include "changelog/jetstream_inside.h"

#include "base/check.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The engine's error codes that mean something here. */
enum {
    OTHER_CONFIGURATION = 10058,
    NO_PEERS = 10005,
    NOT_READY = 10008,
    NO_RESOURCES = 10023,
    NO_STREAM = 10059,
    NOT_CLUSTERED = 10074,
};

/* Nothing is ever dropped by itself (discard new, no age), nothing in between can be taken out
 * (deny delete). Copies answer reads, too, for when the servers have no leader of their meta data.
 */
static const char stream_form[] =
    "{\"name\":\"%s\",\"description\":\"%s\",\"subjects\":[\"%s\"],\"retention\":\"limits\",\"max_"
    "consumers\":-1,"
    "\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,\"max_msg_size\":-1,\"storage\":\"file\","
    "\"discard\":\"new\",\"num_replicas\":%u,\"duplicate_window\":120000000000,"
    "\"deny_delete\":true,\"allow_direct\":true,\"allow_rollup_hdrs\":false}";

/* What is being made or looked for, and how far it is. */
struct creation {
    struct jetstream *js;
    uint32_t count, replicas; /* replicas 0: only look */
    const uint64_t *bases;    /* NULL: 0 */
    uint32_t found;
    bool is_there[CHANGELOG_GROUPS_MAX];
    char *error;
};

enum { STREAM_JSON = sizeof(stream_form) + 2 * JETSTREAM_NAME_MAX + 64 };

static void describe(const struct jetstream *js, uint32_t group, uint64_t base, uint32_t replicas,
                     char out[STREAM_JSON])
{
    char stream[JETSTREAM_NAME_MAX], subject[JETSTREAM_NAME_MAX], description[64] = "";

    jetstream_stream(js, group, stream);
    jetstream_subject(js, group, subject);
    if (base > 0)
        snprintf(description, sizeof(description), JETSTREAM_BASE "%" PRIu64, base);
    snprintf(out, STREAM_JSON, stream_form, stream, description, subject, replicas);
}

static natsStatus ask_for(struct creation *c, uint32_t group)
{
    char stream[JETSTREAM_NAME_MAX], json[STREAM_JSON] = "";
    char call[JETSTREAM_NAME_MAX + 64], reply[JETSTREAM_NAME_MAX];

    jetstream_stream(c->js, group, stream);
    if (c->replicas > 0)
        describe(c->js, group, c->bases != NULL ? c->bases[group] : 0, c->replicas, json);
    snprintf(call, sizeof(call), "$JS.API.STREAM.%s.%s", c->replicas > 0 ? "CREATE" : "INFO",
             stream);
    snprintf(reply, sizeof(reply), "%s.%" PRIu64 ".%u", c->js->making, c->js->makings, group);
    return natsConnection_PublishRequestString(c->js->connection, call, reply, json);
}

static enum rc rc_of(int code)
{
    switch (code) {
    case NO_STREAM:
        return RC_NOT_FOUND;
    case OTHER_CONFIGURATION:
        return RC_EXISTS;
    case NOT_CLUSTERED:
        return RC_INVALID;
    case NO_PEERS:
    case NOT_READY:
    case NO_RESOURCES:
        return RC_AGAIN; /* not all servers have found each other yet */
    default:
        return RC_REFUSED;
    }
}

enum { ROUND_MS = 2000 };

/* "<making>.3.7" is of group 7, when this is the third time. */
static bool parse_reply(const struct jetstream *js, const char *subject, unsigned long *group)
{
    size_t len = strlen(js->making);
    char *end;

    if (strncmp(subject, js->making, len) != 0 || subject[len] != '.')
        return false;
    if (strtoull(subject + len + 1, &end, 10) != js->makings || *end != '.')
        return false; /* late */
    *group = strtoul(end + 1, &end, 10);
    return *end == '\0';
}

static enum rc take_answer(struct creation *c, natsMsg *message)
{
    struct jetstream_answer read;
    unsigned long group;

    if (natsMsg_IsNoResponders(message) ||
        !parse_reply(c->js, natsMsg_GetSubject(message), &group) || group >= c->count ||
        c->is_there[group])
        return RC_AGAIN;
    jetstream_answer_read(
        JETSTREAM_CREATE,
        bytes_of(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)), &read);
    if (read.answer.outcome == ENGINE_INFO) {
        c->js->base[group] = read.base;
        c->is_there[group] = true;
        c->found++;
        return RC_OK;
    }
    snprintf(c->error, JETSTREAM_ERROR_MAX, "%s (%d)", read.why, read.code);
    return rc_of(read.code);
}

/* Asks for all that is missing and takes answers until `until_ms`; an engine whose servers have not
 * found each other yet does not answer at all. */
static enum rc one_round(struct creation *c, uint64_t until_ms)
{
    for (uint32_t group = 0; group < c->count; group++)
        if (!c->is_there[group] && ask_for(c, group) != NATS_OK)
            return RC_AGAIN;
    while (c->found < c->count) {
        natsMsg *message = NULL;
        uint64_t now_ms = clock_ms();
        if (now_ms >= until_ms || natsSubscription_NextMsg(&message, c->js->made,
                                                           (int64_t)(until_ms - now_ms)) != NATS_OK)
            return RC_AGAIN;
        enum rc rc = take_answer(c, message);
        natsMsg_Destroy(message);
        if (rc != RC_OK && rc != RC_AGAIN)
            return rc;
    }
    return RC_OK;
}

static enum rc rounds(struct creation *c, uint64_t until_ms)
{
    enum rc rc = RC_AGAIN;

    for (uint64_t now_ms = clock_ms(); rc == RC_AGAIN && now_ms < until_ms; now_ms = clock_ms()) {
        uint64_t round_ms = now_ms + ROUND_MS;
        rc = one_round(c, round_ms < until_ms ? round_ms : until_ms);
        if (rc == RC_AGAIN && clock_ms() < now_ms + ROUND_MS / 10)
            nats_Sleep(ROUND_MS / 10); /* refused at once: not every moment */
    }
    return rc;
}

static enum rc look_or_make(struct creation *c, uint64_t timeout_ms)
{
    CHECK(c->count <= CHANGELOG_GROUPS_MAX);
    snprintf(c->error, JETSTREAM_ERROR_MAX, "the engine does not answer");
    if (c->js->made == NULL)
        return RC_AGAIN;
    c->js->makings++;
    return rounds(c, clock_ms() + timeout_ms);
}

void jetstream_set_copies(struct jetstream *js, uint32_t group, uint32_t copies)
{
    char json[STREAM_JSON];

    describe(js, group, js->base[group], copies, json);
    jetstream_ask(js, JETSTREAM_COPIES, "STREAM.UPDATE", group, 0, json);
}

enum rc jetstream_create(struct jetstream *js, uint32_t count, uint32_t replicas,
                         const uint64_t *bases, uint64_t timeout_ms,
                         char error[JETSTREAM_ERROR_MAX])
{
    struct creation c = {.js = js, .count = count, .replicas = replicas, .bases = bases};

    CHECK(replicas > 0);
    c.error = error;
    return look_or_make(&c, timeout_ms);
}

enum rc jetstream_look(struct jetstream *js, uint32_t count, uint64_t timeout_ms,
                       char error[JETSTREAM_ERROR_MAX])
{
    struct creation c = {.js = js, .count = count};

    c.error = error;
    return look_or_make(&c, timeout_ms);
}
