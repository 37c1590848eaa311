/* SPDX-License-Identifier: Apache-2.0 */
/*
 * $SYS, as tables: topics that are sums of metrics, and load averages. To add a topic under
 * $SYS/broker, add a line to one of them; those under $SYS/skein come from table.h by themselves.
 */
#include "metrics/sys.h"

#include "base/check.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BROKER "$SYS/broker/"
#define OWN "$SYS/skein/"

enum { TERMS_MAX = 12, LOADS_MAX = 9, WINDOWS = 3, QUANTILES = 4, TOPIC_MAX = 96 };

/* A list of metrics that are added up. The id behind the last one has the value METRIC_COUNT. */
struct sum {
    enum metric terms[TERMS_MAX + 1];
};

#define SUM(...)                                                                                   \
    {                                                                                              \
        .terms = { __VA_ARGS__, METRIC_COUNT }                                                     \
    }

#define DROPPED                                                                                    \
    SUM(METRIC_PUBLISH_DROPPED_QUEUE_FULL, METRIC_PUBLISH_DROPPED_QUEUE_BYTES_FULL,                \
        METRIC_PUBLISH_DROPPED_QOS0_NOT_WRITABLE, METRIC_PUBLISH_DROPPED_QOS0_OFFLINE,             \
        METRIC_PUBLISH_DROPPED_EXPIRED, METRIC_PUBLISH_DROPPED_PACKET_TOO_LARGE,                   \
        METRIC_PUBLISH_DROPPED_SESSION_GONE, METRIC_PUBLISH_DROPPED_NO_MEMORY,                     \
        METRIC_PUBLISH_DROPPED_NO_LINK, METRIC_PUBLISH_DROPPED_QUEUES_FULL,                        \
        METRIC_PUBLISH_DROPPED_STORE, METRIC_PUBLISH_DROPPED_DAMAGED)
#define STORED SUM(METRIC_RETAINED_COUNT, METRIC_QUEUED_MESSAGES, METRIC_INFLIGHT_MESSAGES)

static const struct {
    const char *topic, *help;
    struct sum sum;
} sums[] = {
    {"bytes/received", "Bytes of MQTT packets received.", SUM(METRIC_BYTES_RECEIVED)},
    {"bytes/sent", "Bytes of MQTT packets sent.", SUM(METRIC_BYTES_SENT)},
    {"clients/total", "Sessions, connected or not.", SUM(METRIC_SESSIONS_CURRENT)},
    {"clients/connected", "Clients connected now.", SUM(METRIC_CONNECTIONS_CURRENT)},
    {"clients/active", "The same as clients/connected.", SUM(METRIC_CONNECTIONS_CURRENT)},
    {"clients/expired", "Sessions deleted because their time was over.",
     SUM(METRIC_SESSIONS_EXPIRED)},
    {"messages/received", "Packets of all types received.", SUM(METRIC_PACKETS_RECEIVED)},
    {"messages/sent", "Packets of all types sent.", SUM(METRIC_PACKETS_SENT)},
    {"messages/inflight", "QoS 1 and 2 messages sent and not yet acknowledged.",
     SUM(METRIC_INFLIGHT_MESSAGES)},
    {"messages/stored", "The same as store/messages/count.", STORED},
    {"publish/messages/received", "PUBLISH packets received.", SUM(METRIC_PUBLISH_RECEIVED)},
    {"publish/messages/sent", "PUBLISH packets sent.", SUM(METRIC_PUBLISH_SENT)},
    {"publish/messages/dropped", "Messages that a subscriber did not get, for all reasons.",
     DROPPED},
    {"publish/bytes/received", "Payload bytes received.", SUM(METRIC_PUBLISH_RECEIVED_BYTES)},
    {"publish/bytes/sent", "Payload bytes sent.", SUM(METRIC_PUBLISH_SENT_BYTES)},
    {"retained messages/count", "Retained messages.", SUM(METRIC_RETAINED_COUNT)},
    {"store/messages/count", "Messages kept: retained, queued and in flight.", STORED},
    {"store/messages/bytes", "Bytes of the messages retained and queued.",
     SUM(METRIC_RETAINED_BYTES, METRIC_QUEUED_BYTES)},
    {"subscriptions/count", "Subscriptions, shared ones included.",
     SUM(METRIC_SUBSCRIPTIONS_CURRENT, METRIC_SHARED_SUBSCRIPTIONS_CURRENT)},
    {"shared_subscriptions/count", "Memberships in shared subscriptions.",
     SUM(METRIC_SHARED_SUBSCRIPTIONS_CURRENT)},
};

static const struct {
    const char *topic, *help;
    struct sum sum;
} loads[LOADS_MAX] = {
    {"load/bytes/received", "Bytes received a minute", SUM(METRIC_BYTES_RECEIVED)},
    {"load/bytes/sent", "Bytes sent a minute", SUM(METRIC_BYTES_SENT)},
    {"load/connections", "CONNECT packets a minute",
     SUM(METRIC_CONNECTS_ACCEPTED, METRIC_CONNECTS_REFUSED)},
    {"load/sockets", "Connections opened a minute", SUM(METRIC_CONNECTIONS_OPENED)},
    {"load/messages/received", "Packets of all types received a minute",
     SUM(METRIC_PACKETS_RECEIVED)},
    {"load/messages/sent", "Packets of all types sent a minute", SUM(METRIC_PACKETS_SENT)},
    {"load/publish/received", "PUBLISH packets received a minute", SUM(METRIC_PUBLISH_RECEIVED)},
    {"load/publish/sent", "PUBLISH packets sent a minute", SUM(METRIC_PUBLISH_SENT)},
    {"load/publish/dropped", "Messages dropped a minute", DROPPED},
};

/* An average forgets by this factor in one millisecond: e^(-1/60000) for one minute and so on. */
static const struct {
    const char *name;
    double decay;
} windows[WINDOWS] = {
    {"1min", 0.99998333347222145},
    {"5min", 0.99999666667222222},
    {"15min", 0.99999888888950617},
};

static const struct {
    const char *name;
    double quantile;
} quantiles[QUANTILES] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1.0}};

/* What the rows of the tables do not say: version, uptime, two of clients/, two of heap/. */
enum { OTHERS = 6 };
enum {
    TOPICS = sizeof(sums) / sizeof(sums[0]) + LOADS_MAX * WINDOWS + METRIC_COUNT +
             HISTOGRAM_COUNT * QUANTILES + OTHERS
};

struct sys_tree {
    char last[TOPICS][SYS_TEXT_MAX]; /* "": not yet published */
    double load[LOADS_MAX][WINDOWS];
    uint64_t counted[LOADS_MAX]; /* at the last update */
    uint64_t updated_ms;         /* 0: never */
    uint64_t clients_max;
};

struct sys_tree *sys_tree_new(void)
{
    return NEW(struct sys_tree);
}

void sys_tree_free(struct sys_tree *tree)
{
    mem_free(tree);
}

/* ---- one update -------------------------------------------------------------------------------
 */

struct update {
    struct sys_tree *tree;
    struct metrics_snapshot now;
    uint32_t index; /* of the next topic in tree->last; every update offers all, in one order */
    sys_emit *emit;
    void *arg;
};

/* Emits unless the text is the one of last time. */
static void offer_text(struct update *u, const char *topic, const char *text)
{
    size_t len = strlen(text);

    CHECK(u->index < TOPICS && len < SYS_TEXT_MAX);
    char *last = u->tree->last[u->index++];
    if (strcmp(last, text) == 0)
        return;
    memcpy(last, text, len + 1);
    u->emit(u->arg, topic, text);
}

static void offer_number(struct update *u, const char *topic, uint64_t number)
{
    char text[SYS_TEXT_MAX];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    offer_text(u, topic, text);
}

static uint64_t sum_of(const struct metrics_snapshot *now, const struct sum *sum)
{
    uint64_t total = 0;

    for (const enum metric *term = sum->terms; *term != METRIC_COUNT; term++)
        total += now->values[*term];
    return total;
}

static void offer_facts(struct update *u, const struct sys_facts *facts)
{
    char text[SYS_TEXT_MAX];

    snprintf(text, sizeof(text), "skein version %.32s", facts->version);
    offer_text(u, BROKER "version", text);
    snprintf(text, sizeof(text), "%" PRIu64 " seconds", facts->uptime_s);
    offer_text(u, BROKER "uptime", text);
    offer_number(u, BROKER "heap/current", facts->heap_bytes);
    offer_number(u, BROKER "heap/maximum", facts->heap_bytes_max);
}

static void offer_clients(struct update *u)
{
    uint64_t connected = u->now.values[METRIC_CONNECTIONS_CURRENT];
    uint64_t total = u->now.values[METRIC_SESSIONS_CURRENT];

    if (connected > u->tree->clients_max)
        u->tree->clients_max = connected;
    offer_number(u, BROKER "clients/maximum", u->tree->clients_max);
    offer_number(u, BROKER "clients/disconnected", total > connected ? total - connected : 0);
}

static void offer_sums(struct update *u)
{
    char topic[TOPIC_MAX];

    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        snprintf(topic, sizeof(topic), BROKER "%s", sums[i].topic);
        offer_number(u, topic, sum_of(&u->now, &sums[i].sum));
    }
}

/* base^exponent by squaring: an update may come after any time. */
static double power(double base, uint64_t exponent)
{
    double result = 1;

    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1)
            result *= base;
        base *= base;
    }
    return result;
}

static void offer_loads(struct update *u, uint64_t now_ms)
{
    struct sys_tree *tree = u->tree;
    uint64_t passed_ms = tree->updated_ms == 0 ? 0 : now_ms - tree->updated_ms;
    char topic[TOPIC_MAX], text[SYS_TEXT_MAX];

    for (uint32_t i = 0; i < LOADS_MAX; i++) {
        uint64_t counted = sum_of(&u->now, &loads[i].sum);
        double rate = 0;
        if (passed_ms > 0)
            rate = (double)(counted - tree->counted[i]) * 60000 / (double)passed_ms;
        tree->counted[i] = counted;
        for (uint32_t w = 0; w < WINDOWS; w++) {
            double *load = &tree->load[i][w];
            *load = rate + power(windows[w].decay, passed_ms) * (*load - rate);
            snprintf(topic, sizeof(topic), BROKER "%s/%s", loads[i].topic, windows[w].name);
            snprintf(text, sizeof(text), "%.2f", *load);
            offer_text(u, topic, text);
        }
    }
    tree->updated_ms = now_ms;
}

static void offer_own(struct update *u, const struct metrics *metrics)
{
    char topic[TOPIC_MAX];
    struct histogram_sum sum;

    for (uint32_t i = 0; i < METRIC_COUNT; i++) {
        snprintf(topic, sizeof(topic), OWN "%s", metric_info_get((enum metric)i)->name);
        offer_number(u, topic, u->now.values[i]);
    }
    for (uint32_t i = 0; i < HISTOGRAM_COUNT; i++) {
        metrics_read_histogram(metrics, (enum metric_histogram)i, &sum);
        for (uint32_t q = 0; q < QUANTILES; q++) {
            snprintf(topic, sizeof(topic), OWN "%s/%s",
                     histogram_info_get((enum metric_histogram)i)->name, quantiles[q].name);
            offer_number(u, topic, histogram_quantile(&sum, quantiles[q].quantile));
        }
    }
}

void sys_tree_update(struct sys_tree *tree, const struct metrics *metrics,
                     const struct sys_facts *facts, uint64_t now_ms, sys_emit *emit, void *arg)
{
    struct update u = {.tree = tree, .emit = emit, .arg = arg};

    metrics_read_all(metrics, &u.now);
    offer_facts(&u, facts);
    offer_clients(&u);
    offer_sums(&u);
    offer_loads(&u, now_ms);
    offer_own(&u, metrics);
    CHECK(u.index == TOPICS);
}

/* ---- the reference ----------------------------------------------------------------------------
 */

void sys_topics_each(void (*row)(void *arg, const char *topic, const char *help), void *arg)
{
    char topic[TOPIC_MAX], help[160];

    row(arg, BROKER "version", "`skein version` and the number.");
    row(arg, BROKER "uptime", "Seconds since the start, as `123 seconds`.");
    row(arg, BROKER "heap/current", "Resident memory of the process in bytes.");
    row(arg, BROKER "heap/maximum", "The most that it was.");
    row(arg, BROKER "clients/maximum", "The most clients connected at once.");
    row(arg, BROKER "clients/disconnected", "Sessions that wait for their client.");
    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        snprintf(topic, sizeof(topic), BROKER "%s", sums[i].topic);
        row(arg, topic, sums[i].help);
    }
    for (uint32_t i = 0; i < LOADS_MAX; i++) {
        snprintf(topic, sizeof(topic), BROKER "%s/+", loads[i].topic);
        snprintf(help, sizeof(help), "%s, averaged over `1min`, `5min` and `15min`.",
                 loads[i].help);
        row(arg, topic, help);
    }
}
