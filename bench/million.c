/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Very many clients in one process: every connection, session, subscription and timer is the
 * broker's own, on one worker with its loop; only the sockets are pretended (crowd.h). Measures
 * memory a client, a second of keep alives, one message to all, and all of them leaving: by
 * DISCONNECT, by lost connections with wills, and by silence with wills. Checks its own counts and
 * that memory comes back.
 *
 *     skein_million [CLIENTS]         figures as JSON; exit code 1 when a count is wrong
 *
 * Times are CPU time of the worker's thread. A turn is one loop_turn(); `calls` are the system
 * calls on sockets in one turn, which cost nothing here and some microseconds each in a broker.
 */
#include "base/check.h"
#include "base/memory.h"
#include "base/rcu.h"
#include "broker/node.h"
#include "codec/packet.h"
#include "crowd.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    CLIENTS = 1000000,
    PUBLISHER = 0, /* clients behind the many: extras */
    WATCHER,       /* of the wills */
    EXTRAS,
    KEEP_ALIVE_S = 60,
    KEEP_ALIVE_SETTLE_S = 180, /* until timers are spread as the PINGREQs are */
    STEP_MS = 16,
    ACCEPTS_PER_TURN = 256,
    PUBLISHES = 5,
    LOTS = 160, /* in which clients leave between two looks of the main thread */
    PATIENCE_NS = 1000 * 1000 * 1000, /* without any progress */
    PAYLOAD = 64,
    QUEUE_SLACK = 4 * 1024 * 1024, /* pools of the loop and of malloc, grown by the first wave */
};

/* What a phase took. */
struct span {
    uint64_t cpu_ns, longest_ns, turns, longest_calls;
};

struct memory {
    uint64_t used, resident; /* bytes: given out, in RAM */
};

struct million {
    struct broker broker;
    struct config config;
    struct worker *worker;
    uint32_t clients;
    bool wills;        /* the CONNECTs of this wave have one */
    bool first;        /* nothing was printed yet */
    double bytes_each; /* of a client without a will */
    bool will_bytes_known;
    uint64_t longest_shrink_ns;
    int problems;
};

static struct million million;

/* ---- figures -----------------------------------------------------------------------------------
 */

static void print_figure(const char *name, double value)
{
    printf("%s\n \"%s\": %.6g", million.first ? "{" : ",", name, value);
    million.first = false;
}

static void print_count(const char *name, uint64_t value)
{
    printf("%s\n \"%s\": %" PRIu64, million.first ? "{" : ",", name, value);
    million.first = false;
}

static void print_span(const char *name, const struct span *span, double units)
{
    char text[96];
    snprintf(text, sizeof(text), "%s_cpu_us_each", name);
    print_figure(text, (double)span->cpu_ns / 1000 / units);
    snprintf(text, sizeof(text), "%s_cpu_s", name);
    print_figure(text, (double)span->cpu_ns / 1e9);
    snprintf(text, sizeof(text), "%s_longest_turn_ms", name);
    print_figure(text, (double)span->longest_ns / 1e6);
    snprintf(text, sizeof(text), "%s_longest_turn_calls", name);
    print_count(text, span->longest_calls);
}

static void expect(const char *what, uint64_t value, uint64_t wanted)
{
    if (value == wanted)
        return;
    fprintf(stderr, "skein_million: %s: %" PRIu64 " instead of %" PRIu64 "\n", what, value, wanted);
    million.problems++;
}

/* Large tables are not malloc's. */
static uint64_t pages_of(const struct map *map)
{
    uint64_t size = (map->now.capacity + map->old.capacity) * sizeof(struct map_slot);
    return size < MEM_PAGES * sizeof(struct map_slot) ? 0 : size;
}

/* After what was freed during a grace period is gone. */
static struct memory memory_now(void)
{
    rcu_sleep();
    rcu_drain();
    rcu_wake();
    struct mallinfo2 info = mallinfo2();
    uint64_t tables = pages_of(&million.worker->sessions.by_client_id) +
                      pages_of(&million.worker->hub.subscriptions);
    return (struct memory){.used = info.uordblks + info.hblkhd + tables,
                           .resident = resident_bytes()};
}

static double each(uint64_t before, uint64_t after)
{
    return ((double)after - (double)before) / million.clients;
}

/* ---- turns -------------------------------------------------------------------------------------
 */

static uint64_t thread_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static void turn(struct span *span)
{
    uint64_t calls = crowd_heard()->calls;
    uint64_t began_ns = thread_ns();
    loop_turn(&million.worker->loop, LOOP_LOOK);
    uint64_t took_ns = thread_ns() - began_ns;
    calls = crowd_heard()->calls - calls;
    span->cpu_ns += took_ns;
    span->turns++;
    if (took_ns > span->longest_ns)
        span->longest_ns = took_ns;
    if (calls > span->longest_calls)
        span->longest_calls = calls;
}

static bool has_more(void)
{
    const struct loop *loop = &million.worker->loop;
    return loop->more || !crowd_is_silent() || !list_empty(&loop->dirty) ||
           !list_empty(&loop->bulk) || !list_empty(&loop->ending) || !list_empty(&loop->resumed) ||
           !list_empty(&loop->closing);
}

/* Turns until nothing is left to do. */
static void settle(struct span *span)
{
    do
        turn(span);
    while (has_more());
}

/* Turns until *count has come to `wanted`, or does not move any more. */
static void turn_until(struct span *span, const uint64_t *count, uint64_t wanted)
{
    uint64_t idle_ns = 0;
    uint64_t seen = *count;
    while (*count < wanted && idle_ns < PATIENCE_NS) {
        uint64_t before_ns = span->cpu_ns;
        turn(span);
        idle_ns = *count == seen ? idle_ns + span->cpu_ns - before_ns : 0;
        seen = *count;
    }
}

/* ---- what clients say --------------------------------------------------------------------------
 */

static size_t name_of(char *out, size_t room, const char *before, uint32_t client,
                      const char *behind)
{
    return (size_t)snprintf(out, room, "%s%08" PRIu32 "%s", before, client, behind);
}

static size_t say_connect(uint32_t client, uint8_t *out)
{
    char id[32];
    char topic[32];
    bool extra = client >= million.clients;
    struct connect connect = {
        .name_known = true,
        .version = MQTT_V311,
        .clean_start = true,
        .keep_alive_s = extra ? 0 : KEEP_ALIVE_S,
        .client_id = bytes_of(id, name_of(id, sizeof(id), "device-", client, "")),
        .has_will = million.wills && !extra,
        .will_topic = bytes_of(topic, name_of(topic, sizeof(topic), "gone/", client, "")),
        .will_payload = bytes_of_str("offline"),
    };
    return connect_encode(&connect, out, CROWD_WORDS_MAX);
}

static size_t subscribe_to(struct bytes filter, uint8_t *out)
{
    struct subscribe_filter wanted = {.filter = filter};
    return subscribe_encode(1, MQTT_V311, NULL, &wanted, 1, out, CROWD_WORDS_MAX);
}

static size_t say_subscribe_own(uint32_t client, uint8_t *out)
{
    char filter[48];
    return subscribe_to(
        bytes_of(filter, name_of(filter, sizeof(filter), "device/", client, "/command")), out);
}

static size_t say_subscribe_common(uint32_t client, uint8_t *out)
{
    (void)client;
    return subscribe_to(bytes_of_str("news"), out);
}

static size_t say_subscribe_wills(uint32_t client, uint8_t *out)
{
    (void)client;
    return subscribe_to(bytes_of_str("gone/+"), out);
}

static size_t say_ping(uint32_t client, uint8_t *out)
{
    (void)client;
    return (size_t)(empty_write(out, PACKET_PINGREQ) - out);
}

static size_t say_disconnect(uint32_t client, uint8_t *out)
{
    (void)client;
    return (size_t)(empty_write(out, PACKET_DISCONNECT) - out);
}

static size_t say_news(uint32_t client, uint8_t *out)
{
    static const uint8_t payload[PAYLOAD];
    struct publication publication = {.topic = bytes_of_str("news"),
                                      .payload = bytes_of(payload, sizeof(payload))};
    struct publish_form form = {.version = MQTT_V311};
    (void)client;
    uint8_t *end = publish_header_encode(out, &publication, &form);
    memcpy(end, payload, sizeof(payload));
    return (size_t)(end - out) + sizeof(payload);
}

/* ---- phases ------------------------------------------------------------------------------------
 */

static void accept_clients(struct span *span, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        conn_accept(&million.worker->conns, crowd_descriptor(first + i),
                    &(struct conn_origin){.transport = TRANSPORT_TCP}, NULL, NULL, 0);
        if (i % ACCEPTS_PER_TURN == ACCEPTS_PER_TURN - 1)
            turn(span);
    }
    settle(span);
}

/* All clients say something that each gets one packet for. */
static void exchange(struct span *span, uint32_t first, uint32_t count, crowd_words *words,
                     const uint64_t *answers, const char *what)
{
    uint64_t before = *answers;
    crowd_say(first, count, words);
    turn_until(span, answers, before + count);
    settle(span);
    expect(what, *answers - before, count);
}

static void bring_extras(void)
{
    struct span span = {0};
    uint32_t publisher = million.clients + PUBLISHER;
    uint32_t watcher = million.clients + WATCHER;
    accept_clients(&span, million.clients, EXTRAS);
    exchange(&span, publisher, EXTRAS, say_connect, &crowd_heard()->connacks, "CONNACKs of extras");
    exchange(&span, watcher, 1, say_subscribe_wills, &crowd_heard()->subacks, "SUBACK of wills");
}

/* Everybody comes, in steps whose memory is looked at in between. */
static void arrive(bool print)
{
    const struct crowd_heard *heard = crowd_heard();
    uint32_t n = million.clients;
    struct span accepts = {0}, connects = {0}, own = {0}, common = {0};
    struct memory before = memory_now();
    accept_clients(&accepts, 0, n);
    struct memory accepted = memory_now();
    exchange(&connects, 0, n, say_connect, &heard->connacks, "CONNACKs");
    struct memory connected = memory_now();
    exchange(&own, 0, n, say_subscribe_own, &heard->subacks, "SUBACKs");
    struct memory subscribed = memory_now();
    exchange(&common, 0, n, say_subscribe_common, &heard->subacks, "SUBACKs of the common topic");
    struct memory all = memory_now();
    double each_bytes = each(before.used, subscribed.used);
    if (!print) {
        if (!million.will_bytes_known)
            print_figure("bytes_will", each_bytes - million.bytes_each);
        million.will_bytes_known = true;
        return;
    }
    million.bytes_each = each_bytes;
    print_span("accept", &accepts, n);
    print_span("connect", &connects, n);
    print_span("subscribe", &own, n);
    print_span("subscribe_common", &common, n);
    print_figure("bytes_connection", each(before.used, accepted.used));
    print_figure("bytes_session", each(accepted.used, connected.used));
    print_figure("bytes_subscription", each(connected.used, subscribed.used));
    print_figure("bytes_each", each_bytes);
    print_figure("bytes_each_resident", each(before.resident, subscribed.resident));
    print_figure("bytes_common_subscription", each(subscribed.used, all.used));
    print_count("bytes_timers", sizeof(struct loop_timer) + sizeof(struct timer));
}

/* One second in which each client that is due sends PINGREQ. */
static void keep_alive_second(struct span *span, uint32_t second)
{
    uint32_t n = million.clients;
    uint64_t pings = crowd_heard()->pingresps;
    uint64_t said = 0;
    uint32_t first = (uint32_t)((uint64_t)n * (second % KEEP_ALIVE_S) / KEEP_ALIVE_S);
    uint32_t last = (uint32_t)((uint64_t)n * (second % KEEP_ALIVE_S + 1) / KEEP_ALIVE_S);
    for (uint32_t at_ms = 0; at_ms < 1000; at_ms += STEP_MS) {
        uint32_t until_ms = at_ms + STEP_MS < 1000 ? at_ms + STEP_MS : 1000;
        uint32_t from = first + (uint32_t)((uint64_t)(last - first) * at_ms / 1000);
        uint32_t to = first + (uint32_t)((uint64_t)(last - first) * until_ms / 1000);
        crowd_clock_advance(until_ms - at_ms);
        crowd_say(from, to - from, say_ping);
        said += to - from;
        settle(span);
    }
    expect("PINGRESPs", crowd_heard()->pingresps - pings, said);
}

static void keep_alives(void)
{
    struct span settling = {0}, span = {0};
    uint64_t closed = crowd_heard()->closed;
    for (uint32_t second = 0; second < KEEP_ALIVE_SETTLE_S; second++)
        keep_alive_second(&settling, second);
    for (uint32_t second = 0; second < KEEP_ALIVE_S; second++)
        keep_alive_second(&span, second);
    expect("clients lost while they said PINGREQ", crowd_heard()->closed - closed, 0);
    print_figure("keep_alive_second_cpu_ms", (double)span.cpu_ns / 1e6 / KEEP_ALIVE_S);
    print_figure(
        "keep_alive_longest_turn_ms",
        (double)(span.longest_ns > settling.longest_ns ? span.longest_ns : settling.longest_ns) /
            1e6);
}

static int by_size(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void publish_to_all(void)
{
    struct span span = {0};
    uint64_t longest_ns[PUBLISHES], worst_ns = 0;
    uint32_t n = million.clients;
    for (uint32_t i = 1; i <= PUBLISHES; i++) {
        uint64_t before = crowd_heard()->publishes;
        span.longest_ns = 0;
        crowd_say(n + PUBLISHER, 1, say_news);
        turn_until(&span, &crowd_heard()->publishes, before + n);
        settle(&span);
        longest_ns[i - 1] = span.longest_ns;
        worst_ns = span.longest_ns > worst_ns ? span.longest_ns : worst_ns;
        expect("deliveries", crowd_heard()->publishes - before, n);
        uint32_t wrong = 0;
        for (uint32_t client = 0; client < n; client++)
            wrong += crowd_publishes(client) != i;
        expect("clients with a wrong number of messages", wrong, 0);
    }
    qsort(longest_ns, PUBLISHES, sizeof(*longest_ns), by_size);
    span.longest_ns = longest_ns[PUBLISHES / 2];
    print_span("publish", &span, (double)n * PUBLISHES);
    print_figure("publish_first_turn_ms", (double)worst_ns / 1e6);
}

/* Turns until all are gone. Memory is given back now and then, as the main thread does. */
static uint64_t leave_in_lots(struct span *span, uint64_t closed, uint32_t clients)
{
    uint64_t longest_ns = 0;
    for (uint32_t lot = clients / LOTS + 1, left = clients; left > 0;) {
        left = left > lot ? left - lot : 0;
        turn_until(span, &crowd_heard()->closed, closed + clients - left);
        uint64_t began_ns = thread_ns();
        watch_shrink(&million.broker);
        if (thread_ns() - began_ns > longest_ns)
            longest_ns = thread_ns() - began_ns;
    }
    settle(span);
    return longest_ns;
}

enum leaving { BY_DISCONNECT, BY_CLOSE, BY_SILENCE };

static void leave(enum leaving how, const char *name)
{
    const struct crowd_heard *heard = crowd_heard();
    struct span span = {0};
    uint32_t n = million.clients;
    uint64_t closed = heard->closed;
    uint32_t wills = crowd_publishes(n + WATCHER);
    if (how == BY_DISCONNECT)
        crowd_say(0, n, say_disconnect);
    else if (how == BY_CLOSE)
        crowd_leave(0, n);
    else
        crowd_clock_advance(KEEP_ALIVE_S * 1500 + STEP_MS);
    uint64_t longest_shrink_ns = leave_in_lots(&span, closed, n);
    expect("connections closed", heard->closed - closed, n);
    expect("wills", crowd_publishes(n + WATCHER) - wills, million.wills ? n : 0);
    print_span(name, &span, n);
    million.longest_shrink_ns = longest_shrink_ns > million.longest_shrink_ns
                                    ? longest_shrink_ns
                                    : million.longest_shrink_ns;
}

static void check_memory(const char *name, struct memory start, uint64_t allowed)
{
    char text[64];
    struct memory now = memory_now();
    snprintf(text, sizeof(text), "%s_left_bytes_each", name);
    print_figure(text, each(start.used, now.used));
    snprintf(text, sizeof(text), "%s_left_resident_bytes_each", name);
    print_figure(text, each(start.resident, now.resident));
    if (now.used <= start.used + allowed)
        return;
    fprintf(stderr, "skein_million: %s: memory went from %" PRIu64 " to %" PRIu64 " bytes\n", name,
            start.used, now.used);
    million.problems++;
}

static void scenario(void)
{
    /* The table of sessions keeps its slots for the next ones. */
    uint64_t allowed = QUEUE_SLACK + 3 * million.clients * sizeof(struct session_slot);
    bring_extras();
    struct memory start = memory_now();
    arrive(true);
    keep_alives();
    publish_to_all();
    leave(BY_DISCONNECT, "disconnect");
    check_memory("disconnect", start, allowed);
    million.wills = true;
    arrive(false);
    leave(BY_CLOSE, "lost");
    check_memory("lost", start, allowed);
    arrive(false);
    leave(BY_SILENCE, "silent");
    check_memory("silent", start, allowed);
    print_figure("longest_shrink_ms", (double)million.longest_shrink_ns / 1e6);
    crowd_leave(million.clients, EXTRAS);
    struct span span = {0};
    settle(&span);
    expect("sessions left", metrics_read(&million.broker.metrics, METRIC_SESSIONS_CURRENT), 0);
}

/* ---- the broker around it ----------------------------------------------------------------------
 */

/* A thread of its own, so that memory comes from the same kind of arena as in the broker. */
static void *run(void *unused)
{
    rcu_reader_start();
    scenario();
    rcu_reader_stop();
    return unused;
}

int main(int argc, char **argv)
{
    long clients = argc > 1 ? strtol(argv[1], NULL, 10) : CLIENTS;
    if (clients < 1 || clients > 10 * CLIENTS) {
        fprintf(stderr, "usage: skein_million [CLIENTS]\n");
        return 64;
    }
    million.first = true;
    million.clients = (uint32_t)clients;
    crowd_init(million.clients + EXTRAS);
    config_defaults(&million.config);
    million.config.workers = 1;
    million.config.limits.connections = million.config.limits.sessions = million.clients + EXTRAS;
    log_set_level(LOG_ERROR);
    node_init(&million.broker, &million.config);
    node_make_workers(&million.broker);
    million.worker = &million.broker.workers[0];
    print_count("clients", million.clients);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
    pthread_join(thread, NULL);
    node_deinit(&million.broker);
    crowd_deinit();
    printf("\n}\n");
    return million.problems > 0;
}
