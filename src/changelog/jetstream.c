/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to JetStream and their answers. A request's reply subject says what was asked, of which
 * group, and its token, so nothing is remembered of it here; one subscription receives them all.
 * Limits: what the groups ask at one time, and the library's own limit of messages that wait.
 */
#include "changelog/jetstream_inside.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    RECONNECT_MS = 100,
    PING_MS = 2000, /* a connection that says nothing for two of these is another one's turn */
    WRITE_MS = 1000,
    REOPEN_MS = 1000,
    CONNECT_MS = 2000,
    COPIES_ASKED_MAX = 2,
    /* Headers, and what stands around a record when it is read back. */
    ENVELOPE = 2048,
};

/* From a thread of the library to the owner's. */
struct answer {
    struct letter letter;
    natsMsg *message; /* NULL: it could not even be asked */
    uint32_t group;   /* of that */
    uint64_t token;
};

void jetstream_stream(const struct jetstream *js, uint32_t group, char out[JETSTREAM_NAME_MAX])
{
    snprintf(out, JETSTREAM_NAME_MAX, "skein_%s_%u", js->cluster, group);
}

void jetstream_subject(const struct jetstream *js, uint32_t group, char out[JETSTREAM_NAME_MAX])
{
    snprintf(out, JETSTREAM_NAME_MAX, "skein.%s.changelog.%u", js->cluster, group);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

/* The answer is that nobody knows; it comes like all others. */
static void fail(struct jetstream *js, uint32_t group, uint64_t token)
{
    struct answer *answer = NEW(struct answer);
    answer->group = group;
    answer->token = token;
    mailbox_post(&js->mailbox, &answer->letter);
}

static void reply_subject(const struct jetstream *js, enum jetstream_question question,
                          uint32_t group, uint64_t token, char out[JETSTREAM_NAME_MAX])
{
    snprintf(out, JETSTREAM_NAME_MAX, "%s.%c.%u.%" PRIu64, js->inbox, question, group, token);
}

static bool connected(const struct jetstream *js)
{
    return js->connection != NULL &&
           natsConnection_Status(js->connection) == NATS_CONN_STATUS_CONNECTED;
}

void jetstream_ask(struct jetstream *js, enum jetstream_question question, const char *call,
                   uint32_t group, uint64_t token, const char *json)
{
    char stream[JETSTREAM_NAME_MAX], reply[JETSTREAM_NAME_MAX];
    char subject[JETSTREAM_NAME_MAX + 64];

    jetstream_stream(js, group, stream);
    reply_subject(js, question, group, token, reply);
    snprintf(subject, sizeof(subject), "$JS.API.%s.%s", call, stream);
    if (!connected(js) ||
        natsConnection_PublishRequestString(js->connection, subject, reply, json) != NATS_OK)
        fail(js, group, token);
}

/* The stream's own number. What is before its first has one that is never reached, so that it is
 * not found, and nothing is appended behind it. */
static uint64_t own_sequence(const struct jetstream *js, uint32_t group, uint64_t sequence)
{
    return sequence >= js->base[group] ? sequence - js->base[group] : INT64_MAX;
}

static void read_by(struct engine *engine, enum jetstream_question question, const char *call,
                    uint32_t group, uint64_t token, uint64_t sequence)
{
    struct jetstream *js = CONTAINER_OF(engine, struct jetstream, engine);
    uint64_t own = own_sequence(js, group, sequence);
    char json[64];

    snprintf(json, sizeof(json), "{\"seq\":%" PRIu64 "}", own > 0 ? own : INT64_MAX);
    jetstream_ask(js, question, call, group, token, json);
}

static void js_read(struct engine *engine, uint32_t group, uint64_t token, uint64_t sequence)
{
    read_by(engine, JETSTREAM_READ, "STREAM.MSG.GET", group, token, sequence);
}

static void js_read_copy(struct engine *engine, uint32_t group, uint64_t token, uint64_t sequence)
{
    read_by(engine, JETSTREAM_COPY, "DIRECT.GET", group, token, sequence);
}

static void js_info(struct engine *engine, uint32_t group, uint64_t token)
{
    struct jetstream *js = CONTAINER_OF(engine, struct jetstream, engine);
    jetstream_ask(js, JETSTREAM_INFO, "STREAM.INFO", group, token, "");
}

static void js_trim(struct engine *engine, uint32_t group, uint64_t sequence)
{
    struct jetstream *js = CONTAINER_OF(engine, struct jetstream, engine);
    char json[64];

    if (sequence <= js->base[group] + 1)
        return; /* nothing of it is there */
    snprintf(json, sizeof(json), "{\"seq\":%" PRIu64 "}", sequence - js->base[group]);
    jetstream_ask(js, JETSTREAM_TRIM, "STREAM.PURGE", group, 0, json);
}

/* ---- appending ---------------------------------------------------------------------------------
 */

static natsStatus set_headers(struct jetstream *js, natsMsg *message, uint32_t group,
                              const struct engine_append *append)
{
    char text[JETSTREAM_NAME_MAX];

    natsStatus status = natsMsgHeader_Set(message, "Nats-Msg-Id", append->id);
    jetstream_stream(js, group, text);
    if (status == NATS_OK)
        status = natsMsgHeader_Set(message, "Nats-Expected-Stream", text);
    /* by hand: the library's own option leaves the header out when it is 0 */
    snprintf(text, sizeof(text), "%" PRIu64, own_sequence(js, group, append->expected));
    if (status == NATS_OK && append->fenced)
        status = natsMsgHeader_Set(message, "Nats-Expected-Last-Sequence", text);
    return status;
}

static natsStatus make_message(struct jetstream *js, uint32_t group,
                               const struct engine_append *append, natsMsg **message)
{
    char subject[JETSTREAM_NAME_MAX], reply[JETSTREAM_NAME_MAX];
    size_t len = append->head.len + append->body.len;
    uint8_t *whole = mem_try(len);

    if (whole == NULL)
        return NATS_NO_MEMORY;
    memcpy(whole, append->head.data, append->head.len);
    if (append->body.len > 0)
        memcpy(whole + append->head.len, append->body.data, append->body.len);
    jetstream_subject(js, group, subject);
    reply_subject(js, JETSTREAM_APPEND, group, append->token, reply);
    natsStatus status = natsMsg_Create(message, subject, reply, (const char *)whole, (int)len);
    mem_free(whole);
    return status;
}

static void js_append(struct engine *engine, uint32_t group, const struct engine_append *append)
{
    struct jetstream *js = CONTAINER_OF(engine, struct jetstream, engine);
    natsMsg *message = NULL;
    natsStatus status = NATS_CONNECTION_DISCONNECTED;

    if (append->head.len + append->body.len > js->record_max && js->record_max > 0)
        LOG_LIMITED(LOG_ERROR, "engine.payload_too_small", log_uint("group", group),
                    log_uint("record", append->head.len + append->body.len),
                    log_uint("record_max", js->record_max));
    else if (connected(js))
        status = make_message(js, group, append, &message);
    if (status == NATS_OK)
        status = set_headers(js, message, group, append);
    if (status == NATS_OK)
        status = natsConnection_PublishMsg(js->connection, message);
    natsMsg_Destroy(message);
    if (status != NATS_OK)
        fail(js, group, append->token);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

/* On a thread of the library. */
static void answer_came(natsConnection *connection, natsSubscription *subscription,
                        natsMsg *message, void *closure)
{
    struct jetstream *js = closure;
    struct answer *answer = NEW(struct answer);
    (void)connection;
    (void)subscription;

    answer->message = message;
    mailbox_post(&js->mailbox, &answer->letter);
}

/* "<inbox>.a.7.123" */
static bool parse_reply(const struct jetstream *js, const char *subject,
                        enum jetstream_question *question, uint32_t *group, uint64_t *token)
{
    size_t len = strlen(js->inbox);
    char *end;

    if (strlen(subject) < len + 4 || subject[len] != '.' || subject[len + 2] != '.')
        return false;
    *question = (enum jetstream_question)subject[len + 1];
    unsigned long number = strtoul(subject + len + 3, &end, 10);
    if (*end != '.' || number >= CHANGELOG_GROUPS_MAX)
        return false;
    *group = (uint32_t)number;
    *token = strtoull(end + 1, &end, 10);
    return *end == '\0';
}

static void tell_why(enum jetstream_question question, uint32_t group,
                     const struct jetstream_answer *read)
{
    char name[2] = {(char)question, '\0'};
    LOG_LIMITED(LOG_WARN, "engine.failed", log_uint("group", group), log_text("question", name),
                log_int("code", read->code), log_text("why", read->why));
}

static void take_copies(struct jetstream *js, uint32_t group, const struct jetstream_answer *read)
{
    js->copies[group] = (struct jetstream_copies){.wanted = read->copies,
                                                  .current = read->copies_current,
                                                  .away = read->copies_away,
                                                  .servers = read->copies_servers};
    js->copies_asked[group] = 0;
}

static void add_base(uint64_t base, struct engine_answer *answer)
{
    if (answer->outcome == ENGINE_INFO)
        answer->first += base;
    if (answer->outcome == ENGINE_INFO || answer->outcome == ENGINE_APPENDED ||
        answer->outcome == ENGINE_RECORD)
        answer->sequence += base;
}

static void take_server(struct jetstream *js, struct bytes json, uint64_t now_ms)
{
    char id[JETSTREAM_SERVER_ID_MAX], own[JETSTREAM_SERVER_ID_MAX] = "";

    if (!connected(js) || !jetstream_answer_server(json, id) ||
        natsConnection_GetConnectedServerId(js->connection, own, sizeof(own)) != NATS_OK)
        return;
    if (strcmp(id, own) != 0)
        js->other_ms = now_ms;
}

/* The record as it is, its number among the headers; or a status. */
static void read_copy(natsMsg *message, struct jetstream_answer *out)
{
    const char *sequence = NULL, *status = NULL;
    char *end;

    if (natsMsgHeader_Get(message, "Status", &status) == NATS_OK) {
        out->answer.outcome = strcmp(status, "404") == 0 ? ENGINE_NOT_FOUND : ENGINE_FAILED;
        snprintf(out->why, sizeof(out->why), "a copy answers %s", status);
    } else if (natsMsgHeader_Get(message, "Nats-Sequence", &sequence) == NATS_OK) {
        out->answer.outcome = ENGINE_RECORD;
        out->answer.sequence = strtoull(sequence, &end, 10);
        out->answer.record =
            bytes_of(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message));
    }
}

static void read_answer(struct jetstream *js, natsMsg *message, uint64_t now_ms)
{
    enum jetstream_question question;
    struct jetstream_answer read = {.answer.outcome = ENGINE_FAILED};
    struct bytes json = bytes_of(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message));
    uint64_t token;
    uint32_t group;

    if (!parse_reply(js, natsMsg_GetSubject(message), &question, &group, &token))
        return;
    if (question == JETSTREAM_SERVERS) {
        take_server(js, json, now_ms);
        return;
    }
    if (!natsMsg_IsNoResponders(message)) { /* that is, the stream has no leader now */
        if (question == JETSTREAM_COPY)
            read_copy(message, &read);
        else
            jetstream_answer_read(question, json, &read);
        if (read.answer.outcome == ENGINE_FAILED)
            tell_why(question, group, &read);
    }
    if (question == JETSTREAM_COPIES) {
        if (read.answer.outcome == ENGINE_INFO)
            take_copies(js, group, &read);
        return;
    }
    read.answer.token = token;
    add_base(js->base[group], &read.answer);
    if (js->sinks[group] != NULL && question != JETSTREAM_TRIM)
        js->sinks[group]->answered(js->sinks[group], &read.answer, now_ms);
    mem_free(read.record);
}

static void look_at_limits(struct jetstream *js)
{
    int64_t payload = connected(js) ? natsConnection_GetMaxPayload(js->connection) : 0;

    /* read back, a record comes in base64: four bytes for three */
    if (payload > 2 * ENVELOPE)
        js->record_max = (size_t)(payload - ENVELOPE) / 4 * 3;
}

static void take_answer(struct jetstream *js, struct answer *answer, uint64_t now_ms)
{
    if (answer->message != NULL) {
        read_answer(js, answer->message, now_ms);
    } else if (js->sinks[answer->group] != NULL) {
        struct engine_answer failed = {.outcome = ENGINE_FAILED, .token = answer->token};
        js->sinks[answer->group]->answered(js->sinks[answer->group], &failed, now_ms);
    }
}

static void take_answers(struct jetstream *js)
{
    struct letter *letter = mailbox_take_all(&js->mailbox);
    uint64_t now_ms = clock_ms(); /* not before: a wait may begin with what has just come */

    while (letter != NULL) {
        struct answer *answer = CONTAINER_OF(letter, struct answer, letter);
        letter = letter->next;
        take_answer(js, answer, now_ms);
        natsMsg_Destroy(answer->message);
        mem_free(answer);
    }
}

static void js_attach(struct engine *engine, uint32_t group, struct engine_sink *sink)
{
    struct jetstream *js = CONTAINER_OF(engine, struct jetstream, engine);

    CHECK(group < CHANGELOG_GROUPS_MAX);
    js->sinks[group] = sink;
}

static size_t js_record_max(struct engine *engine)
{
    struct jetstream *js = CONTAINER_OF(engine, struct jetstream, engine);

    look_at_limits(js);
    return js->record_max;
}

static const struct engine_ops jetstream_ops = {
    .attach = js_attach,
    .append = js_append,
    .read = js_read,
    .read_copy = js_read_copy,
    .info = js_info,
    .trim = js_trim,
    .record_max = js_record_max,
};

/* ---- the connection ----------------------------------------------------------------------------
 */

static void log_connection(natsConnection *connection, const char *event, enum log_level level)
{
    char id[128] = "";
    (void)natsConnection_GetConnectedServerId(connection, id, sizeof(id));
    LOG(level, event, log_text("server", id));
}

static void on_connected(natsConnection *connection, void *closure)
{
    struct jetstream *js = closure;

    log_connection(connection, "engine.connected", LOG_INFO);
    js->mailbox.wake(js->mailbox.owner);
}

static void on_disconnected(natsConnection *connection, void *closure)
{
    struct jetstream *js = closure;

    atomic_fetch_add_explicit(&js->losses, 1, memory_order_relaxed);
    log_connection(connection, "engine.disconnected", LOG_WARN);
}

/* Closed, by us or because it gave up. */
static void on_ended(natsConnection *connection, void *closure)
{
    struct jetstream *js = closure;
    (void)connection;
    js->mailbox.wake(js->mailbox.owner);
    sem_post(&js->ended); /* last: whoever waits for it frees all this */
}

static void on_complete(void *closure)
{
    struct jetstream *js = closure;
    sem_post(&js->ended);
}

#define TRY(status, call)                                                                          \
    do {                                                                                           \
        if ((status) == NATS_OK)                                                                   \
            (status) = (call);                                                                     \
    } while (0)

static natsStatus set_options(struct jetstream *js, natsOptions *o)
{
    natsStatus s = NATS_OK;

    TRY(s, natsOptions_SetServers(o, (const char **)js->urls, (int)js->url_count));
    if (js->user != NULL)
        TRY(s, natsOptions_SetUserInfo(o, js->user, js->password));
    TRY(s, natsOptions_SetName(o, "skein"));
    TRY(s, natsOptions_SetTimeout(o, CONNECT_MS));
    TRY(s, natsOptions_SetMaxReconnect(o, -1));
    TRY(s, natsOptions_SetReconnectWait(o, RECONNECT_MS));
    TRY(s, natsOptions_SetReconnectJitter(o, RECONNECT_MS, RECONNECT_MS));
    TRY(s, natsOptions_SetReconnectBufSize(o, 1)); /* 0 would be its default, which is large */
    TRY(s, natsOptions_SetPingInterval(o, PING_MS));
    TRY(s, natsOptions_SetMaxPingsOut(o, 2));
    TRY(s, natsOptions_SetSendAsap(o, true));
    TRY(s, natsOptions_SetWriteDeadline(o, WRITE_MS));
    TRY(s, natsOptions_SetRetryOnFailedConnect(o, true, on_connected, js));
    TRY(s, natsOptions_SetReconnectedCB(o, on_connected, js));
    TRY(s, natsOptions_SetDisconnectedCB(o, on_disconnected, js));
    TRY(s, natsOptions_SetClosedCB(o, on_ended, js));
    return s;
}

enum { INBOX_MAX = sizeof(((struct jetstream *)NULL)->inbox) };

/* An inbox, and the subject of all that is below it. */
static natsStatus draw_inbox(char out[INBOX_MAX], char below[INBOX_MAX + 2])
{
    natsInbox *inbox = NULL;

    natsStatus status = natsInbox_Create(&inbox);
    if (status == NATS_OK) {
        snprintf(out, INBOX_MAX, "%s", inbox);
        snprintf(below, INBOX_MAX + 2, "%s.>", out);
    }
    natsInbox_Destroy(inbox);
    return status;
}

static natsStatus connect_to(struct jetstream *js)
{
    natsOptions *o = NULL;
    char answers[INBOX_MAX + 2], made[INBOX_MAX + 2];
    natsStatus s = NATS_OK;

    TRY(s, draw_inbox(js->inbox, answers));
    TRY(s, draw_inbox(js->making, made));
    TRY(s, natsOptions_Create(&o));
    TRY(s, set_options(js, o));
    TRY(s, natsConnection_Connect(&js->connection, o));
    if (s == NATS_NOT_YET_CONNECTED)
        s = NATS_OK;
    natsOptions_Destroy(o);
    TRY(s, natsConnection_SubscribeSync(&js->made, js->connection, made));
    TRY(s, natsConnection_Subscribe(&js->answers, js->connection, answers, answer_came, js));
    TRY(s, natsSubscription_SetOnCompleteCB(js->answers, on_complete, js));
    js->completes = s == NATS_OK; /* or it is closed already */
    return s;
}

static char *copy_of(const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    CHECK(copy != NULL || text == NULL);
    return copy;
}

static void copy_options(struct jetstream *js, const struct jetstream_options *options)
{
    CHECK(options->url_count <= JETSTREAM_URLS_MAX);
    CHECK(strlen(options->cluster) < sizeof(js->cluster));
    for (uint32_t i = 0; i < options->url_count; i++)
        js->urls[i] = copy_of(options->urls[i]);
    js->url_count = options->url_count;
    js->user = copy_of(options->user);
    js->password = copy_of(options->password);
    snprintf(js->cluster, sizeof(js->cluster), "%s", options->cluster);
}

struct jetstream *jetstream_open(const struct jetstream_options *options,
                                 char error[JETSTREAM_ERROR_MAX])
{
    struct jetstream *js = NEW(struct jetstream);

    js->engine.ops = &jetstream_ops;
    copy_options(js, options);
    mailbox_init(&js->mailbox, options->wake, options->owner);
    CHECK(sem_init(&js->ended, 0, 0) == 0);
    natsStatus status = connect_to(js);
    if (status == NATS_OK || js->connection != NULL) /* else closed meanwhile: tried again */
        return js;
    snprintf(error, JETSTREAM_ERROR_MAX, "%s", natsStatus_GetText(status));
    jetstream_close(js);
    return NULL;
}

static void wait_for_end(struct jetstream *js)
{
    while (sem_wait(&js->ended) != 0)
        CHECK(errno == EINTR);
}

/* Waits until the library's threads are done with us. */
static void disconnect(struct jetstream *js)
{
    if (js->connection != NULL)
        natsConnection_Close(js->connection);
    if (js->completes)
        wait_for_end(js);
    if (js->connection != NULL)
        wait_for_end(js);
    natsSubscription_Destroy(js->answers);
    natsSubscription_Destroy(js->made);
    natsConnection_Destroy(js->connection);
    js->answers = js->made = NULL;
    js->connection = NULL;
    js->completes = false;
}

/* The library gives up when it is refused twice. What refused us may be set right. */
static void reopen_if_closed(struct jetstream *js, uint64_t now_ms)
{
    const char *why = NULL;

    if (js->connection != NULL && !natsConnection_IsClosed(js->connection))
        return;
    if (now_ms < js->reopen_ms)
        return;
    js->reopen_ms = now_ms + REOPEN_MS;
    if (js->connection != NULL)
        natsConnection_GetLastError(js->connection, &why);
    LOG(LOG_ERROR, "engine.closed", log_text("why", why != NULL && why[0] != '\0' ? why : "-"));
    disconnect(js);
    (void)connect_to(js); /* what of it is there is taken away the next time */
}

void jetstream_turn(struct jetstream *js)
{
    take_answers(js);
    reopen_if_closed(js, clock_ms());
    look_at_limits(js);
}

void jetstream_close(struct jetstream *js)
{
    if (js == NULL)
        return;
    disconnect(js);
    memset(js->sinks, 0, sizeof(js->sinks));
    take_answers(js); /* frees what has come meanwhile */
    sem_destroy(&js->ended);
    for (uint32_t i = 0; i < js->url_count; i++)
        free(js->urls[i]);
    free(js->user);
    if (js->password != NULL)
        explicit_bzero(js->password, strlen(js->password));
    free(js->password);
    mem_free(js);
}

struct engine *jetstream_engine(struct jetstream *js)
{
    return &js->engine;
}

void jetstream_ask_copies(struct jetstream *js, uint32_t group)
{
    CHECK(group < CHANGELOG_GROUPS_MAX);
    if (js->copies_asked[group] == COPIES_ASKED_MAX)
        js->copies[group].current = 0; /* nobody answers for the stream */
    else
        js->copies_asked[group]++;
    jetstream_ask(js, JETSTREAM_COPIES, "STREAM.INFO", group, 0, "");
}

struct jetstream_copies jetstream_copies(const struct jetstream *js, uint32_t group)
{
    CHECK(group < CHANGELOG_GROUPS_MAX);
    return js->copies[group];
}

/* A service that each server has for each account, and answers by itself. */
void jetstream_ask_servers(struct jetstream *js)
{
    char reply[JETSTREAM_NAME_MAX];

    reply_subject(js, JETSTREAM_SERVERS, 0, 0, reply);
    if (connected(js))
        (void)natsConnection_PublishRequestString(js->connection, "$SYS.REQ.ACCOUNT.PING.STATZ",
                                                  reply, "{\"include_unused\":true}");
}

uint64_t jetstream_other_ms(const struct jetstream *js)
{
    return js->other_ms;
}

bool jetstream_is_connected(const struct jetstream *js)
{
    return connected(js);
}

uint32_t jetstream_losses(const struct jetstream *js)
{
    return atomic_load_explicit(&js->losses, memory_order_relaxed);
}
