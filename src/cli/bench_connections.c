/* SPDX-License-Identifier: Apache-2.0 */
/* The scenarios about connections themselves: storm, conns. */
#include "base/clock.h"
#include "base/memory.h"
#include "cli/bench_report.h"
#include "cli/bench_wire.h"
#include "metrics/histogram.h"

#include <stdio.h>
#include <sysexits.h>

enum {
    FILTER_MAX = 256,
    STEP_NS = 10 * 1000 * 1000,
    PATIENCE_S = 30,
    UNANSWERED_MAX = 200,
};

static const double IDLE_S = 3; /* in which the CPU of idle connections is taken */

/* ---- storm: connect, CONNACK, DISCONNECT ------------------------------------------------------
 */

struct storm {
    struct wire wire;
    struct wire_conn **again; /* those to be opened again after this step */
    uint32_t again_count;
    uint32_t serial; /* connections so far: chooses client id and source address */
    uint64_t done;
    bool measuring;
    struct histogram latency;
};

static void storm_again(struct wire_conn *conn, void *owner)
{
    struct storm *storm = owner;

    storm->again[storm->again_count++] = conn;
}

static void storm_up(struct wire_conn *conn, void *owner)
{
    struct storm *storm = owner;

    if (storm->measuring) {
        storm->done++;
        histogram_record(&storm->latency, storm->wire.now_ns - conn->opened_ns);
    }
    wire_goodbye(&storm->wire, conn);
    storm_again(conn, owner);
}

static void storm_message(struct wire_conn *conn, struct bytes payload, void *owner)
{
    (void)conn;
    (void)payload;
    (void)owner;
}

static const struct wire_ops storm_ops = {
    .up = storm_up, .lost = storm_again, .message = storm_message};

static void storm_run(struct storm *storm, double seconds)
{
    uint64_t end = clock_ns() + (uint64_t)(seconds * 1e9);

    while (clock_ns() < end && !bench_interrupted) {
        uint32_t count = storm->again_count;
        storm->again_count = 0;
        for (uint32_t i = 0; i < count; i++) {
            storm->again[i]->address = storm->serial++;
            wire_open(&storm->wire, storm->again[i], WIRE_SPREAD);
        }
        wire_step(&storm->wire, STEP_NS);
    }
}

static void storm_report(const struct storm *storm, struct report *report, double seconds)
{
    struct histogram_sum sum = {0};

    histogram_collect(&storm->latency, &sum);
    report_set(report, FIGURE_SECONDS, seconds);
    report_set(report, FIGURE_CONNECTIONS, (double)storm->done);
    report_set(report, FIGURE_CONNECTED_PER_S, (double)storm->done / seconds);
    report_set(report, FIGURE_LATENCY_COUNT, (double)sum.count);
    report_set(report, FIGURE_LATENCY_P50, (double)histogram_quantile(&sum, 0.5) / 1e3);
    report_set(report, FIGURE_LATENCY_P99, (double)histogram_quantile(&sum, 0.99) / 1e3);
    report_set(report, FIGURE_LATENCY_P999, (double)histogram_quantile(&sum, 0.999) / 1e3);
    report_set(report, FIGURE_LATENCY_MAX, (double)sum.max / 1e3);
    report_set(report, FIGURE_CONNECT_FAILED, (double)storm->wire.counters.failed);
}

int bench_storm(const struct bench_settings *settings)
{
    struct storm storm = {0};
    struct report report = report_begin(settings);
    struct wire_conn *group = wire_group_new(settings->concurrency, false);

    wire_init(&storm.wire, settings, &storm_ops, &storm);
    storm.again = mem_new(settings->concurrency * sizeof(struct wire_conn *));
    for (uint32_t i = 0; i < settings->concurrency; i++)
        storm_again(&group[i], &storm);
    storm_run(&storm, settings->warmup_s);

    struct process_use from = process_use_of(settings->brokers, settings->broker_count);
    double own_s = process_own_cpu_s();
    uint64_t start = clock_ns();
    storm.measuring = true;
    storm_run(&storm, settings->duration_s);
    double seconds = (double)(clock_ns() - start) / 1e9;
    struct process_use to = process_use_of(settings->brokers, settings->broker_count);

    storm_report(&storm, &report, seconds);
    report_set_broker(&report, from, to, seconds, storm.done);
    report_set(&report, FIGURE_OWN_CORES, (process_own_cpu_s() - own_s) / seconds);
    int exit_code = report_end(&report, storm.wire.counters.failed == 0 && storm.done > 0);
    wire_group_free(&storm.wire, group, settings->concurrency);
    mem_free(storm.again);
    wire_deinit(&storm.wire);
    return exit_code;
}

/* ---- conns: many connections that do nothing --------------------------------------------------
 */

static const struct wire_ops conns_ops = {.message = storm_message};

/* Gives the seconds it took; connections that fail are counted. */
static double conns_connect(struct wire *wire, struct wire_conn *group)
{
    const struct bench_settings *settings = wire->settings;
    struct wire_counters *counters = &wire->counters;
    uint64_t start = clock_ns(), last = start, seen = 0, shown = start;
    uint32_t opened = 0;

    while (counters->up + counters->failed < settings->count && !bench_interrupted) {
        uint64_t ended = counters->up + counters->failed;
        while (opened < settings->count && opened - ended < settings->concurrency)
            wire_open(wire, &group[opened++], WIRE_SPREAD);
        wire_step(wire, STEP_NS);
        uint64_t now = clock_ns();
        if (ended != seen) {
            seen = ended;
            last = now;
        }
        if ((double)(now - last) / 1e9 > PATIENCE_S)
            bench_fail(EX_UNAVAILABLE, "connecting stalled at %llu of %u", (unsigned long long)seen,
                       settings->count);
        if (now - shown > 500000000) {
            shown = now;
            report_progress(settings, "conns: %llu of %u", (unsigned long long)seen,
                            settings->count);
        }
    }
    return (double)(clock_ns() - start) / 1e9;
}

static void conns_subscribe(struct wire *wire, struct wire_conn *group)
{
    const struct bench_settings *settings = wire->settings;
    char filter[FILTER_MAX];
    uint64_t asked = 0, start = clock_ns();

    for (uint32_t i = 0; i < settings->count && !bench_interrupted; i++) {
        if (group[i].state != WIRE_UP)
            continue;
        snprintf(filter, sizeof(filter), "%s/device/%u/command", settings->prefix, i);
        wire_subscribe(wire, &group[i], 1, filter);
        asked++;
        bool last = i == settings->count - 1;
        while (asked - wire->counters.subscribed - wire->counters.not_subscribed >
                   (last ? 0 : UNANSWERED_MAX) &&
               wire->counters.lost == 0 && !bench_interrupted) {
            wire_step(wire, STEP_NS);
            if ((double)(clock_ns() - start) / 1e9 > PATIENCE_S)
                bench_fail(EX_UNAVAILABLE, "subscribing stalled at %llu of %u",
                           (unsigned long long)wire->counters.subscribed, settings->count);
        }
    }
}

int bench_conns(const struct bench_settings *settings)
{
    struct wire wire;
    struct report report = report_begin(settings);
    struct wire_conn *group = wire_group_new(settings->count, false);
    uint64_t kernel_before = process_kernel_tcp_bytes();
    struct process_use before = process_use_of(settings->brokers, settings->broker_count);

    wire_init(&wire, settings, &conns_ops, NULL);
    double seconds = conns_connect(&wire, group);
    if (settings->subscribe)
        conns_subscribe(&wire, group);
    wire_run_for(&wire, settings->hold_s);
    struct process_use after = process_use_of(settings->brokers, settings->broker_count);
    uint64_t kernel_after = process_kernel_tcp_bytes();
    wire_run_for(&wire, IDLE_S);
    struct process_use later = process_use_of(settings->brokers, settings->broker_count);

    const struct wire_counters *counters = &wire.counters;
    double up = counters->up > 0 ? (double)counters->up : 1;
    report_set(&report, FIGURE_COUNT, settings->count);
    report_set(&report, FIGURE_CONNECTIONS, (double)counters->up);
    report_set(&report, FIGURE_CONNECT_FAILED, (double)counters->failed);
    report_set(&report, FIGURE_DISCONNECTED, (double)counters->lost);
    report_set(&report, FIGURE_NOT_SUBSCRIBED, (double)counters->not_subscribed);
    report_set(&report, FIGURE_SECONDS, seconds);
    report_set(&report, FIGURE_CONNECTED_PER_S, (double)counters->up / seconds);
    report_set(&report, FIGURE_KERNEL_BYTES_EACH,
               ((double)kernel_after - (double)kernel_before) / up);
    if (settings->broker_count > 0) {
        report_set(&report, FIGURE_BYTES_EACH,
                   ((double)after.rss_bytes - (double)before.rss_bytes) / up);
        report_set(&report, FIGURE_IDLE_CPU, (later.cpu_s - after.cpu_s) / IDLE_S * 100);
    }
    report_set_broker(&report, before, after, seconds, counters->up);
    bool well =
        counters->up == settings->count && counters->lost == 0 && counters->not_subscribed == 0;
    int exit_code = report_end(&report, well);
    wire_group_free(&wire, group, settings->count);
    wire_deinit(&wire);
    return exit_code;
}
