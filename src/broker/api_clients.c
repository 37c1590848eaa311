/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients and sessions for the API. Each is looked at and changed by its worker only: handlers ask
 * the worker that is the home of a client id (one question), or walk over the slots of all session
 * tables, a page of PAGE_CLIENTS per question, so a list of a million clients takes little memory
 * and no client waits for it.
 */
#include "admin/call.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "broker/api.h"
#include "broker/node.h"
#include "broker/question.h"

#include <stdlib.h>
#include <time.h>

enum {
    PAGE_CLIENTS = 256,
    STEP_CLIENTS = 32, /* each costs a system call, for the address */
    STEP_SLOTS = 2048,
};

/* ---- one client, copied ------------------------------------------------------------------------
 */

struct client {
    char *id; /* owned, terminated; NULL: no memory */
    bool connected;
    struct conn_facts conn; /* when connected */
    uint32_t expiry_s, subscriptions, worker;
    uint64_t queued, queued_bytes, inflight;
};

static void client_copy(struct client *client, const struct session *session)
{
    struct bytes id = session_client_id(session);
    struct conn *conn = conn_of_session(session);

    *client = (struct client){
        .id = mem_try(id.len + 1),
        .connected = conn != NULL,
        .expiry_s = session->expiry_s,
        .subscriptions = session->subscription_count,
        .worker = session->table->worker,
        .queued = queue_size(session->queue),
        .queued_bytes = queue_bytes(session->queue),
        .inflight = session->inflight == NULL ? 0 : session->inflight->unacknowledged,
    };
    if (client->id != NULL) {
        memcpy(client->id, id.data, id.len);
        client->id[id.len] = '\0';
    }
    if (conn != NULL)
        conn_tell(conn, &client->conn);
}

static const char *version_name(enum mqtt_version version)
{
    return version == MQTT_V5 ? "5.0" : version == MQTT_V31 ? "3.1" : "3.1.1";
}

static void write_time(char *out, size_t room, uint64_t at_ms)
{
    time_t seconds = (time_t)((clock_wall_ms() - (clock_ms() - at_ms)) / 1000);
    struct tm utc;

    gmtime_r(&seconds, &utc);
    strftime(out, room, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* Server's thread. Frees what client_copy() took. */
static json_t *client_json(struct client *client)
{
    json_t *json = json_object();

    json_object_set_new(json, "id", json_string(client->id == NULL ? "?" : client->id));
    json_object_set_new(json, "connected", json_boolean(client->connected));
    if (client->connected) {
        char since[32];
        write_time(since, sizeof(since), client->conn.connected_ms);
        json_t *conn = json_pack(
            "{s:s, s:s, s:s, s:s, s:i}", "connected_since", since, "address", client->conn.address,
            "transport", client->conn.transport == TRANSPORT_WEBSOCKET ? "ws" : "tcp", "version",
            version_name(client->conn.version), "keep_alive_s", client->conn.keep_alive_s);
        json_object_update_new(json, conn);
    }
    json_t *session = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I}", "session_expiry_s", (json_int_t)client->expiry_s,
        "subscriptions", (json_int_t)client->subscriptions, "queued_messages",
        (json_int_t)client->queued, "queued_bytes", (json_int_t)client->queued_bytes,
        "inflight_messages", (json_int_t)client->inflight, "worker", (json_int_t)client->worker);
    json_object_update_new(json, session);
    mem_free(client->id);
    return json;
}

/* ---- a question about one client id ------------------------------------------------------------
 */

struct one {
    struct question question;
    struct admin_call *call;
    struct bytes id; /* the call's */
    bool found, was_connected;
    enum rc rc;
    struct client client;
    struct store_waiter waiter;
};

static struct one *one_of(struct question *question)
{
    return CONTAINER_OF(question, struct one, question);
}

static void ask_home(struct admin_call *call, const struct question_ops *ops)
{
    struct broker *broker = call_context(call);
    struct one *one = NEW(struct one);

    one->call = call;
    one->id = bytes_of_str(call_value(call, "id")->text);
    uint32_t shard = client_id_hash(one->id) % broker->config->shards;
    question_ask(&one->question, call_server(call), &broker->workers[shard % broker->worker_count],
                 ops);
}

static void refuse_missing(struct one *one, const char *what)
{
    call_problem(one->call, 404, what, (const char *)one->id.data);
    mem_free(one);
}

/* ---- get */

static enum question_step get_step(struct question *question, struct worker *worker)
{
    struct one *one = one_of(question);
    const struct session *session = session_find(&worker->sessions, one->id);

    one->found = session != NULL;
    if (one->found)
        client_copy(&one->client, session);
    return QUESTION_ANSWERED;
}

static void get_answered(struct question *question)
{
    struct one *one = one_of(question);

    if (!one->found) {
        refuse_missing(one, "There is no session of client '%.200s'.");
        return;
    }
    call_answer(one->call, 200, client_json(&one->client));
    mem_free(one);
}

void api_client_get(struct admin_call *call)
{
    static const struct question_ops ops = {.step = get_step, .answered = get_answered};
    ask_home(call, &ops);
}

/* ---- disconnect */

/* Gives whether there was a connection. The session may be gone afterwards. */
static bool disconnect(struct worker *worker, struct bytes id)
{
    const struct session *session = session_find(&worker->sessions, id);
    struct conn *conn = session == NULL ? NULL : conn_of_session(session);

    if (conn != NULL)
        conn_close(conn, MQTT_ADMINISTRATIVE_ACTION);
    return conn != NULL;
}

static enum question_step disconnect_step(struct question *question, struct worker *worker)
{
    struct one *one = one_of(question);

    one->found = disconnect(worker, one->id);
    return QUESTION_ANSWERED;
}

static void disconnect_answered(struct question *question)
{
    struct one *one = one_of(question);

    if (!one->found) {
        refuse_missing(one, "Client '%.200s' is not connected.");
        return;
    }
    call_answer(one->call, 200, json_pack("{s:s}", "id", (const char *)one->id.data));
    mem_free(one);
}

void api_client_disconnect(struct admin_call *call)
{
    static const struct question_ops ops = {.step = disconnect_step,
                                            .answered = disconnect_answered};
    ask_home(call, &ops);
}

/* ---- delete a session */

static void delete_is_kept(struct store_waiter *waiter, enum rc rc)
{
    struct one *one = CONTAINER_OF(waiter, struct one, waiter);

    one->rc = rc;
    question_answer(&one->question);
}

static enum question_step delete_step(struct question *question, struct worker *worker)
{
    struct one *one = one_of(question);
    struct session_table *table = &worker->sessions;

    one->found = session_find(table, one->id) != NULL;
    if (!one->found)
        return QUESTION_ANSWERED;
    one->was_connected = disconnect(worker, one->id);
    struct session *session = session_find(table, one->id);
    if (session == NULL)
        return QUESTION_ANSWERED; /* it was to end with its connection: nothing of it is stored */
    session_end(session);
    one->waiter.done = delete_is_kept;
    one->rc =
        store_wait(&table->stores[client_id_hash(one->id) % table->shard_count], &one->waiter);
    return one->rc == RC_AGAIN ? QUESTION_LATER : QUESTION_ANSWERED;
}

static void delete_answered(struct question *question)
{
    struct one *one = one_of(question);

    if (!one->found) {
        refuse_missing(one, "There is no session of client '%.200s'.");
        return;
    }
    if (one->rc == RC_OK)
        call_answer(one->call, 200,
                    json_pack("{s:s, s:b}", "id", (const char *)one->id.data, "was_connected",
                              one->was_connected));
    else
        call_problem(one->call, 503, "The session is gone, but the store could not keep that: %s.",
                     rc_name(one->rc));
    mem_free(one);
}

void api_session_delete(struct admin_call *call)
{
    static const struct question_ops ops = {.step = delete_step, .answered = delete_answered};
    ask_home(call, &ops);
}

/* ---- the list ----------------------------------------------------------------------------------
 */

/* A walk over the session tables: where it stands, and the page that is being filled. */
struct walk {
    struct question question;
    struct admin_call *call;
    struct broker *broker;
    uint64_t left; /* clients that may still be told */
    uint32_t worker, slot;
    bool told_some;
    uint32_t count;
    struct client page[PAGE_CLIENTS];
};

static enum question_step page_step(struct question *question, struct worker *worker)
{
    struct walk *walk = CONTAINER_OF(question, struct walk, question);
    const struct session_table *table = &worker->sessions;
    uint32_t slots = STEP_SLOTS;
    uint32_t clients = STEP_CLIENTS;
    uint32_t max = walk->left < PAGE_CLIENTS ? (uint32_t)walk->left : PAGE_CLIENTS;

    for (; walk->slot < table->slot_count && walk->count < max; walk->slot++) {
        const struct session *session = table->slots[walk->slot].session;
        if (slots-- == 0 || clients == 0)
            return QUESTION_MORE;
        if (session == NULL || session->sink == NULL)
            continue;
        client_copy(&walk->page[walk->count++], session);
        clients--;
    }
    if (walk->slot >= table->slot_count) {
        walk->worker++;
        walk->slot = 0;
    }
    return QUESTION_ANSWERED;
}

/* False: nobody takes it. */
static bool tell_page(struct walk *walk)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < walk->count; i++)
        json_array_append_new(list, client_json(&walk->page[i]));
    char *text = json_dumps(list, JSON_COMPACT); /* "[...]", of which the inside is wanted */
    json_decref(list);
    CHECK(text != NULL);
    bool taken = true;
    if (walk->count > 0 && walk->told_some)
        taken = call_piece(walk->call, bytes_of_str(","));
    taken = taken && call_piece(walk->call, bytes_of(text + 1, strlen(text) - 2));
    walk->told_some |= walk->count > 0;
    walk->left -= walk->count;
    walk->count = 0;
    free(text); /* jansson's */
    return taken;
}

static void walk_end(struct walk *walk)
{
    struct admin_call *call = walk->call;
    char tail[64] = "]}\n";

    if (walk->worker < walk->broker->worker_count)
        snprintf(tail, sizeof(tail), "],\"next\":\"%u.%u\"}\n", walk->worker, walk->slot);
    call_piece(call, bytes_of_str(tail));
    mem_free(walk);
    call_end(call);
}

static void page_answered(struct question *question)
{
    struct walk *walk = CONTAINER_OF(question, struct walk, question);

    if (tell_page(walk))
        call_again(walk->call);
    else
        walk_end(walk);
}

static void walk_next(struct admin_call *call)
{
    static const struct question_ops ops = {.step = page_step, .answered = page_answered};
    struct walk *walk = call_own(call);
    struct broker *broker = walk->broker;

    if (walk->left == 0 || walk->worker >= broker->worker_count)
        walk_end(walk);
    else
        question_ask(&walk->question, call_server(call), &broker->workers[walk->worker], &ops);
}

/* Takes a number off the front of *text, which an `end` follows. */
static bool take_number(const char **text, char end, uint32_t *out)
{
    size_t len = strspn(*text, "0123456789");

    if (len == 0 || len > 9 || (*text)[len] != end)
        return false;
    *out = (uint32_t)strtoul(*text, NULL, 10);
    *text += len + 1;
    return true;
}

/* "worker.slot" */
static bool parse_after(const char *text, uint32_t *worker, uint32_t *slot)
{
    return take_number(&text, '.', worker) && take_number(&text, '\0', slot);
}

void api_clients_list(struct admin_call *call)
{
    const struct admin_value *after = call_value(call, "after");
    struct broker *broker = call_context(call);
    uint32_t worker = 0;
    uint32_t slot = 0;

    if (after->given && !parse_after(after->text, &worker, &slot)) {
        call_problem(call, 400, "after has to be what `next` of an answer said.");
        return;
    }
    struct walk *walk = NEW(struct walk);
    walk->call = call;
    walk->broker = broker;
    walk->left = call_value(call, "limit")->number;
    walk->worker = worker;
    walk->slot = slot;
    call_set_own(call, walk);
    call_stream(call, walk_next);
    call_piece(call, bytes_of_str("{\"clients\":["));
}
