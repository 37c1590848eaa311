/* SPDX-License-Identifier: Apache-2.0 */
/* The table of resources, and the handlers that ask no worker for anything but a sign of life. */
#include "broker/api.h"

#include "admin/call.h"
#include "base/clock.h"
#include "base/memory.h"
#include "broker/node.h"
#include "broker/question.h"
#include "config/address.h"
#include "config/nearest.h"
#include "config/version.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READY_WAIT_MS = 5000, DETAIL_ROOM = 512 };

/* ---- health ------------------------------------------------------------------------------------
 */

static void health(struct admin_call *call)
{
    call_answer(call, 200, json_pack("{s:s}", "status", "ok"));
}

static enum question_step sign_of_life(struct question *question, struct worker *worker)
{
    (void)question;
    (void)worker;
    return QUESTION_ANSWERED;
}

static void answer_ready(struct round *round, struct admin_call *call)
{
    if (round->missing == 0)
        call_answer(call, 200, json_pack("{s:s}", "status", "ready"));
    else
        call_problem(call, 503, "%u of %u workers have not answered for %d ms.", round->missing,
                     round->count, READY_WAIT_MS);
}

static void ready(struct admin_call *call)
{
    round_begin(call_context(call), call, sign_of_life, READY_WAIT_MS, answer_ready);
}

static const struct admin_field status_answer[] = {
    {.name = "status", .type = ADMIN_TEXT, .help = "One word that says that all is well."},
    {0},
};

/* ---- broker ------------------------------------------------------------------------------------
 */

static const struct admin_field listener_members[] = {
    {.name = "address", .type = ADMIN_TEXT, .help = "`127.0.0.1:1883` or `[::1]:1883`."},
    {.name = "transport", .type = ADMIN_TEXT, .help = "`tcp` or `ws`."},
    {0},
};

static const struct admin_field broker_answer[] = {
    {.name = "version", .type = ADMIN_TEXT, .help = "Of the program."},
    {.name = "pid", .type = ADMIN_INTEGER, .help = "Of the process."},
    {.name = "uptime_s", .type = ADMIN_INTEGER, .help = "Seconds since the start."},
    {.name = "data_dir", .type = ADMIN_TEXT, .help = "The data directory."},
    {.name = "workers", .type = ADMIN_INTEGER, .help = "Threads that serve clients."},
    {.name = "shards", .type = ADMIN_INTEGER, .help = "Slices of the client ids."},
    {.name = "connections", .type = ADMIN_INTEGER, .help = "Clients connected now."},
    {.name = "sessions", .type = ADMIN_INTEGER, .help = "Sessions, connected or not."},
    {.name = "memory_bytes", .type = ADMIN_INTEGER, .help = "Resident memory of the process."},
    {.name = "heap_used_bytes",
     .type = ADMIN_INTEGER,
     .help = "Memory that something uses now, the store's included; without tables of 4 MiB and "
             "more."},
    {.name = "heap_free_bytes",
     .type = ADMIN_INTEGER,
     .help = "Memory that was used and is kept for what comes; some of it is not resident."},
    {.name = "listeners",
     .type = ADMIN_LIST,
     .help = "Where clients connect.",
     .of = listener_members},
    {0},
};

static json_t *listeners_json(const struct broker *broker)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < broker->config->listener_count; i++) {
        const struct config_listener *listener = &broker->config->listeners[i];
        char address[CONFIG_TEXT_MAX + 8];
        address_format(listener->host, broker->ports[i], address, sizeof(address));
        json_array_append_new(list, json_pack("{s:s, s:s}", "address", address, "transport",
                                              listener->transport == CONFIG_WS ? "ws" : "tcp"));
    }
    return list;
}

static void tell_broker(struct admin_call *call)
{
    const struct broker *broker = call_context(call);
    uint64_t uptime_s = (clock_ms() - broker->started_ms) / 1000;
    char *data_dir = realpath(broker->data_dir, NULL);
    struct mallinfo2 heap = mallinfo2();

    call_answer(
        call, 200,
        json_pack("{s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "version",
                  SKEIN_VERSION, "pid", (json_int_t)getpid(), "uptime_s", (json_int_t)uptime_s,
                  "data_dir", data_dir == NULL ? broker->data_dir : data_dir, "workers",
                  (json_int_t)broker->worker_count, "shards", (json_int_t)broker->config->shards,
                  "connections",
                  (json_int_t)metrics_read(&broker->metrics, METRIC_CONNECTIONS_CURRENT),
                  "sessions", (json_int_t)metrics_read(&broker->metrics, METRIC_SESSIONS_CURRENT),
                  "memory_bytes", (json_int_t)resident_bytes(), "heap_used_bytes",
                  (json_int_t)heap.uordblks, "heap_free_bytes", (json_int_t)heap.fordblks,
                  "listeners", listeners_json(broker)));
    free(data_dir); /* realpath()'s */
}

/* ---- metrics -----------------------------------------------------------------------------------
 */

static const struct admin_field metrics_parameters[] = {
    {.name = "name",
     .type = ADMIN_TEXT,
     .place = ADMIN_IN_QUERY,
     .presence = ADMIN_OPTIONAL,
     .help = "Only this metric."},
    {0},
};

static const struct admin_field distribution_members[] = {
    {.name = "name", .type = ADMIN_TEXT, .help = "Of the distribution."},
    {.name = "unit", .type = ADMIN_TEXT, .help = "Of its values."},
    {.name = "count", .type = ADMIN_INTEGER, .help = "Values seen since the start."},
    {.name = "p50", .type = ADMIN_INTEGER, .help = "The median."},
    {.name = "p99", .type = ADMIN_INTEGER, .help = "99 % are not above it."},
    {.name = "p999", .type = ADMIN_INTEGER, .help = "99.9 % are not above it."},
    {.name = "max", .type = ADMIN_INTEGER, .help = "The largest."},
    {0},
};

static const struct admin_field metrics_answer[] = {
    {.name = "metrics",
     .type = ADMIN_OBJECT,
     .help = "Name and value of each, summed over all workers. "
             "[The reference](metrics.md) says what they count."},
    {.name = "distributions",
     .type = ADMIN_LIST,
     .presence = ADMIN_OPTIONAL,
     .help = "Of what has a spread. Not told when one metric is asked for.",
     .of = distribution_members},
    {0},
};

static uint64_t metric_now(const struct broker *broker, enum metric metric)
{
    /* The retained store counts for itself, and only now and then for the metrics. */
    if (metric == METRIC_RETAINED_COUNT)
        return atomic_load_explicit(&broker->retained.count, memory_order_relaxed);
    if (metric == METRIC_RETAINED_BYTES)
        return atomic_load_explicit(&broker->retained.bytes, memory_order_relaxed);
    return metrics_read(&broker->metrics, metric);
}

static json_t *distributions_json(const struct broker *broker)
{
    struct histogram_sum *sum = NEW(struct histogram_sum);
    json_t *list = json_array();

    for (uint32_t i = 0; i < HISTOGRAM_COUNT; i++) {
        const struct histogram_info *info = histogram_info_get((enum metric_histogram)i);
        metrics_read_histogram(&broker->metrics, (enum metric_histogram)i, sum);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "name", info->name,
                                        "unit", info->unit, "count", (json_int_t)sum->count, "p50",
                                        (json_int_t)histogram_quantile(sum, 0.5), "p99",
                                        (json_int_t)histogram_quantile(sum, 0.99), "p999",
                                        (json_int_t)histogram_quantile(sum, 0.999), "max",
                                        (json_int_t)sum->max));
    }
    mem_free(sum);
    return list;
}

static void refuse_metric(struct admin_call *call, const char *name)
{
    struct nearest nearest = nearest_begin(name);

    for (uint32_t i = 0; i < METRIC_COUNT; i++) {
        const char *known = metric_info_get((enum metric)i)->name;
        nearest_offer(&nearest, known, known);
    }
    const char *best = nearest_get(&nearest);
    if (best == NULL)
        call_problem(call, 404, "There is no metric '%.64s'.", name);
    else
        call_problem(call, 404, "There is no metric '%.64s'; did you mean %s?", name, best);
}

static void tell_metrics(struct admin_call *call)
{
    const struct broker *broker = call_context(call);
    const struct admin_value *name = call_value(call, "name");
    json_t *metrics = json_object();

    for (uint32_t i = 0; i < METRIC_COUNT; i++) {
        const struct metric_info *info = metric_info_get((enum metric)i);
        if (!name->given || strcmp(name->text, info->name) == 0)
            json_object_set_new(metrics, info->name,
                                json_integer((json_int_t)metric_now(broker, (enum metric)i)));
    }
    if (json_object_size(metrics) == 0) {
        json_decref(metrics);
        refuse_metric(call, name->text);
        return;
    }
    json_t *answer = json_pack("{s:o}", "metrics", metrics);
    if (!name->given)
        json_object_set_new(answer, "distributions", distributions_json(broker));
    call_answer(call, 200, answer);
}

/* ---- store -------------------------------------------------------------------------------------
 */

static const struct admin_field store_answer[] = {
    {.name = "kind",
     .type = ADMIN_TEXT,
     .help = "`memory`: nothing outlives the process. Otherwise the engine that keeps it."},
    {.name = "numbers", .type = ADMIN_OBJECT, .help = "What the store counts of itself."},
    {0},
};

static void add_number(void *arg, const char *name, double value)
{
    json_object_set_new(arg, name, json_real(value));
}

static void tell_store(struct admin_call *call)
{
    const struct broker *broker = call_context(call);
    const struct api_store_ops *ops = broker->store_ops;
    json_t *numbers = json_object();

    if (ops != NULL)
        ops->stats(broker->store, add_number, numbers);
    call_answer(
        call, 200,
        json_pack("{s:s, s:o}", "kind", ops == NULL ? "memory" : ops->kind, "numbers", numbers));
}

static const struct admin_field backup_parameters[] = {
    {.name = "path",
     .type = ADMIN_FILE,
     .place = ADMIN_IN_BODY,
     .help = "The folder to make; it must not exist, and its parent must."},
    {0},
};

static const struct admin_field backup_answer[] = {
    {.name = "path", .type = ADMIN_TEXT, .help = "The folder with the copy."},
    {.name = "milliseconds", .type = ADMIN_INTEGER, .help = "How long it took."},
    {0},
};

struct backup {
    struct broker *broker;
    const char *path; /* the call's */
    uint64_t began_ms;
    enum rc rc;
    char detail[DETAIL_ROOM];
};

static void make_backup(void *own)
{
    struct backup *backup = own;
    const struct broker *broker = backup->broker;

    backup->rc = broker->store_ops->backup(broker->store, backup->path, backup->detail,
                                           sizeof(backup->detail));
}

static void answer_backup(struct admin_call *call)
{
    struct backup *backup = call_own(call);

    if (backup->rc == RC_OK)
        call_answer(call, 200,
                    json_pack("{s:s, s:I}", "path", backup->path, "milliseconds",
                              (json_int_t)(clock_ms() - backup->began_ms)));
    else
        call_problem(call, backup->rc == RC_EXISTS ? 409 : 500, "%s", backup->detail);
    mem_free(backup);
}

static void start_backup(struct admin_call *call)
{
    struct broker *broker = call_context(call);
    struct backup *backup;

    if (broker->store_ops == NULL) {
        call_problem(call, 409,
                     "This broker keeps everything in memory: there is no store to copy.");
        return;
    }
    backup = NEW(struct backup);
    backup->broker = broker;
    backup->path = call_value(call, "path")->text;
    backup->began_ms = clock_ms();
    call_set_own(call, backup);
    call_work(call, make_backup, answer_backup);
}

/* ---- clients -----------------------------------------------------------------------------------
 */

static const struct admin_field list_parameters[] = {
    {.name = "limit",
     .type = ADMIN_INTEGER,
     .place = ADMIN_IN_QUERY,
     .presence = ADMIN_OPTIONAL,
     .min = 1,
     .max = 100 * 1000 * 1000,
     .standard = 100,
     .help = "How many at most. The answer comes in pieces, so it may be as long as you like."},
    {.name = "after",
     .type = ADMIN_TEXT,
     .place = ADMIN_IN_QUERY,
     .presence = ADMIN_OPTIONAL,
     .help = "Where to go on: `next` of the answer before."},
    {0},
};

static const struct admin_field id_parameters[] = {
    {.name = "id",
     .type = ADMIN_TEXT,
     .place = ADMIN_IN_PATH,
     .help = "The client identifier, percent-encoded (`/` is `%2F`)."},
    {0},
};

static const struct admin_field client_answer[] = {
    {.name = "id", .type = ADMIN_TEXT, .help = "The client identifier."},
    {.name = "connected", .type = ADMIN_BOOLEAN, .help = "Whether it is connected now."},
    {.name = "connected_since",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "UTC, as RFC 3339 writes it."},
    {.name = "address",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "Address and port of the client."},
    {.name = "transport", .type = ADMIN_TEXT, .presence = ADMIN_OPTIONAL, .help = "`tcp` or `ws`."},
    {.name = "version",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "Of MQTT: `3.1`, `3.1.1` or `5.0`."},
    {.name = "keep_alive_s",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Keep alive in seconds; 0: none."},
    {.name = "session_expiry_s",
     .type = ADMIN_INTEGER,
     .help = "How long the session stays after a disconnect; 4294967295: for ever."},
    {.name = "subscriptions", .type = ADMIN_INTEGER, .help = "How many it has."},
    {.name = "queued_messages", .type = ADMIN_INTEGER, .help = "Messages that wait for it."},
    {.name = "queued_bytes", .type = ADMIN_INTEGER, .help = "Their bytes."},
    {.name = "inflight_messages",
     .type = ADMIN_INTEGER,
     .help = "Sent to it and not acknowledged."},
    {.name = "worker", .type = ADMIN_INTEGER, .help = "The thread that serves it."},
    {0},
};

static const struct admin_field list_answer[] = {
    {.name = "clients",
     .type = ADMIN_LIST,
     .help = "In no order that means anything, but the same in each page.",
     .of = client_answer},
    {.name = "next",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "For `after`; missing at the end."},
    {0},
};

static const struct admin_field disconnect_answer[] = {
    {.name = "id", .type = ADMIN_TEXT, .help = "Who was disconnected."},
    {0},
};

static const struct admin_field delete_answer[] = {
    {.name = "id", .type = ADMIN_TEXT, .help = "Whose session was deleted."},
    {.name = "was_connected", .type = ADMIN_BOOLEAN, .help = "Whether it had to be disconnected."},
    {0},
};

/* ---- the table ---------------------------------------------------------------------------------
 */

static void tell_openapi(struct admin_call *call)
{
    call_answer(call, 200, admin_openapi(call_table(call), SKEIN_VERSION));
}

const struct resource api_resources[] = {
    {.method = HTTP_GET,
     .path = "/v1/health",
     .name = "get_health",
     .command = "health",
     .summary = "Whether the process is there and answers",
     .answer = status_answer,
     .handle = health},
    {.method = HTTP_GET,
     .path = "/v1/ready",
     .name = "get_ready",
     .command = "ready",
     .summary = "Whether the broker serves clients",
     .description = "Every worker has to answer within five seconds.",
     .answer = status_answer,
     .errors = "503 A worker does not answer.",
     .handle = ready},
    {.method = HTTP_GET,
     .path = "/v1/broker",
     .name = "get_broker",
     .command = "broker",
     .summary = "What is running: version, uptime, listeners, sizes",
     .answer = broker_answer,
     .handle = tell_broker},
    {.method = HTTP_GET,
     .path = "/v1/metrics",
     .name = "get_metrics",
     .command = "metrics",
     .summary = "All metrics, or one",
     .parameters = metrics_parameters,
     .answer = metrics_answer,
     .errors = "404 There is no such metric.",
     .handle = tell_metrics},
    {.method = HTTP_GET,
     .path = "/v1/cluster",
     .name = "get_cluster",
     .command = "cluster",
     .summary = "This node's cluster, and the other nodes in it",
     .answer = api_cluster_answer,
     .errors = "404 The broker is in no cluster.",
     .handle = api_cluster},
    {.method = HTTP_GET,
     .path = "/v1/cluster/shards",
     .name = "get_cluster_shards",
     .command = "cluster-shards",
     .summary = "The groups of shards, and which node is home of each",
     .answer = api_shards_answer,
     .errors = "404 The broker is in no cluster.",
     .handle = api_shards},
    {.method = HTTP_POST,
     .path = "/v1/cluster/init",
     .name = "init_cluster",
     .command = "cluster-init",
     .summary = "Initialise the cluster, once in its life",
     .description =
         "All nodes of `cluster.addresses` have to be here. The engines are started, the "
         "changelogs "
         "made, and every data directory gets the cluster's id. The answer comes when that is "
         "done, or after a minute; then it goes on by itself.",
     .answer = api_init_answer,
     .errors = "404 The broker is in no cluster.\n409 It has been done.\n503 Not done yet; "
               "the detail says what is waited for.",
     .handle = api_init},
    {.method = HTTP_POST,
     .path = "/v1/cluster/drain",
     .name = "drain_node",
     .command = "cluster-drain",
     .summary = "Take a node out of service",
     .description =
         "It says at once that it takes no clients (`/ready`, HAProxy's agent), and after "
         "`cluster.drain_delay` gives its groups of shards to other nodes, one after the other, "
         "and sends its clients to others, at `cluster.drain_rate`. It goes on reading "
         "changelogs. That stays so, also when the broker is restarted, until `undrain`. Asked "
         "again, it says how many "
         "groups and clients are left.",
     .parameters = api_duty_parameters,
     .answer = api_duty_answer,
     .errors = "404 The broker is in no cluster, or knows no such node.\n409 The cluster does not "
               "run, no other node could lead what this one does, or the node is too old to be "
               "asked by another one.\n503 The node cannot be reached, or has not answered.",
     .handle = api_drain},
    {.method = HTTP_POST,
     .path = "/v1/cluster/undrain",
     .name = "undrain_node",
     .command = "cluster-undrain",
     .summary = "Bring a drained node back into service",
     .description = "It takes clients and its share of the groups again.",
     .parameters = api_duty_parameters,
     .answer = api_duty_answer,
     .errors = "404 The broker is in no cluster, or knows no such node.\n409 The node is too old "
               "to be asked by another one.\n503 The node cannot be reached, or has not answered.",
     .handle = api_undrain},
    {.method = HTTP_POST,
     .path = "/v1/cluster/rebalance",
     .name = "rebalance_cluster",
     .command = "cluster-rebalance",
     .summary = "Bring all groups to the nodes that should be their homes",
     .description =
         "They go there by themselves, but only when both nodes have been where they are for ten "
         "seconds. This makes them go now, on all nodes, one at a time on each.",
     .answer = api_rebalance_answer,
     .errors = "404 The broker is in no cluster.\n409 The cluster does not run.",
     .handle = api_rebalance},
    {.method = HTTP_POST,
     .path = "/v1/cluster/remove",
     .name = "remove_node",
     .command = "cluster-remove",
     .summary = "Forget a node that is gone for good",
     .description =
         "On all nodes. Its engine's place becomes free, and changelogs have their copies on the "
         "nodes that remain. What is in its data directory is never part of the cluster again; a "
         "node of its name with an empty data directory joins as a new one.",
     .parameters = api_remove_parameters,
     .answer = api_remove_answer,
     .errors = "404 The broker is in no cluster, or knows no such node.\n409 That node is here, or "
               "the cluster does not run.\n503 The brokers have forgotten it, its engine is not "
               "taken out yet; ask again.",
     .handle = api_remove},
    {.method = HTTP_POST,
     .path = "/v1/cluster/recover",
     .name = "recover_cluster",
     .command = "cluster-recover",
     .summary = "Go on without a node whose disk was lost when all lost power",
     .description =
         "When most machines went down at once, nothing is led by anybody before all nodes are "
         "back, since each may hold what the others lack. This says that one never will be: it is "
         "removed, and what it alone held is lost.",
     .parameters = api_recover_parameters,
     .answer = api_remove_answer,
     .errors = "404 The broker is in no cluster, or knows no such node.\n409 That node is here, or "
               "nothing waits for it.\n503 The brokers have forgotten it, its engine is not taken "
               "out yet; ask again.",
     .handle = api_recover},
    {.method = HTTP_GET,
     .path = "/v1/clients",
     .name = "list_clients",
     .command = "clients",
     .summary = "The clients that are connected",
     .description =
         "A client that stays connected while you turn the pages is in one of them, once.",
     .parameters = list_parameters,
     .answer = list_answer,
     .errors = "400 `after` is not what an answer said.",
     .handle = api_clients_list},
    {.method = HTTP_GET,
     .path = "/v1/clients/{id}",
     .name = "get_client",
     .command = "client",
     .summary = "One client, or the session that waits for it",
     .parameters = id_parameters,
     .answer = client_answer,
     .errors = "404 There is no session of that client.",
     .handle = api_client_get},
    {.method = HTTP_DELETE,
     .path = "/v1/clients/{id}",
     .name = "disconnect_client",
     .command = "disconnect",
     .summary = "Disconnect a client",
     .description =
         "MQTT 5.0 clients get DISCONNECT 0x98, administrative action. The will is published "
         "as the client asked for; the session stays as long as it would otherwise. The client may "
         "connect again.",
     .parameters = id_parameters,
     .answer = disconnect_answer,
     .errors = "404 That client is not connected.",
     .handle = api_client_disconnect},
    {.method = HTTP_DELETE,
     .path = "/v1/sessions/{id}",
     .name = "delete_session",
     .command = "delete-session",
     .summary = "Delete a session",
     .description =
         "A client that is connected is disconnected first. What waits for it is dropped. The "
         "answer comes when the store has kept the change.",
     .parameters = id_parameters,
     .answer = delete_answer,
     .errors = "404 There is no session of that client.\n503 The store could not keep the change.",
     .handle = api_session_delete},
    {.method = HTTP_GET,
     .path = "/v1/store",
     .name = "get_store",
     .command = "store",
     .summary = "What the store is and how it does",
     .answer = store_answer,
     .handle = tell_store},
    {.method = HTTP_POST,
     .path = "/v1/store/backup",
     .name = "backup_store",
     .command = "backup",
     .summary = "Copy the store while it serves",
     .description = "The answer comes when the copy is complete.",
     .parameters = backup_parameters,
     .answer = backup_answer,
     .errors =
         "409 There is nothing to copy, or the folder exists.\n500 The copy could not be made.",
     .handle = start_backup},
    {.method = HTTP_GET,
     .path = "/v1/openapi.json",
     .name = "get_openapi",
     .summary = "This API as an OpenAPI 3.1 document",
     .handle = tell_openapi},
    {0},
};
