/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a run: figures with fixed names, printed as text or as one JSON object on stdout.
 * To add a figure: a line in FIGURES. The names are an interface: scripts read them.
 */
#ifndef CLI_BENCH_REPORT_H
#define CLI_BENCH_REPORT_H

#include "cli/bench.h"
#include "cli/bench_process.h"

enum figure_unit {
    UNIT_COUNT,
    UNIT_BYTES,
    UNIT_PER_SECOND,
    UNIT_SECONDS,
    UNIT_MICROSECONDS,
    UNIT_CORES,
    UNIT_PERCENT,
};

/* id, name in JSON, label in text, unit */
#define FIGURES(X)                                                                                 \
    X(FIGURE_PUBLISHERS, "publishers", "publishers", UNIT_COUNT)                                   \
    X(FIGURE_SUBSCRIBERS, "subscribers", "subscribers", UNIT_COUNT)                                \
    X(FIGURE_WINDOW, "window", "window of each publisher", UNIT_COUNT)                             \
    X(FIGURE_RATE, "rate_per_s", "publish rate asked for", UNIT_PER_SECOND)                        \
    X(FIGURE_COUNT, "count", "count", UNIT_COUNT)                                                  \
    X(FIGURE_SECONDS, "seconds", "measured for", UNIT_SECONDS)                                     \
    X(FIGURE_PUBLISHED_PER_S, "published_per_s", "published", UNIT_PER_SECOND)                     \
    X(FIGURE_DELIVERED_PER_S, "delivered_per_s", "delivered", UNIT_PER_SECOND)                     \
    X(FIGURE_CONNECTED_PER_S, "connected_per_s", "connected", UNIT_PER_SECOND)                     \
    X(FIGURE_LATENCY_COUNT, "latency_count", "latencies taken", UNIT_COUNT)                        \
    X(FIGURE_LATENCY_MEAN, "latency_mean_us", "latency mean", UNIT_MICROSECONDS)                   \
    X(FIGURE_LATENCY_P50, "latency_p50_us", "latency p50", UNIT_MICROSECONDS)                      \
    X(FIGURE_LATENCY_P90, "latency_p90_us", "latency p90", UNIT_MICROSECONDS)                      \
    X(FIGURE_LATENCY_P99, "latency_p99_us", "latency p99", UNIT_MICROSECONDS)                      \
    X(FIGURE_LATENCY_P999, "latency_p999_us", "latency p99.9", UNIT_MICROSECONDS)                  \
    X(FIGURE_LATENCY_MAX, "latency_max_us", "latency max", UNIT_MICROSECONDS)                      \
    X(FIGURE_SETUP_SECONDS, "setup_seconds", "subscribing took", UNIT_SECONDS)                     \
    X(FIGURE_SETUP_PER_S, "setup_per_s", "subscribed", UNIT_PER_SECOND)                            \
    X(FIGURE_SETUP_CPU, "setup_broker_cpu_us", "broker CPU a subscription", UNIT_MICROSECONDS)     \
    X(FIGURE_SETUP_BYTES, "setup_bytes_each", "broker memory a subscription", UNIT_BYTES)          \
    X(FIGURE_STORE_SECONDS, "store_seconds", "storing took", UNIT_SECONDS)                         \
    X(FIGURE_STORE_PER_S, "store_per_s", "stored", UNIT_PER_SECOND)                                \
    X(FIGURE_STORE_CPU, "store_broker_cpu_us", "broker CPU a message stored", UNIT_MICROSECONDS)   \
    X(FIGURE_READ_SECONDS, "read_seconds", "reading took", UNIT_SECONDS)                           \
    X(FIGURE_READ_PER_S, "read_per_s", "read", UNIT_PER_SECOND)                                    \
    X(FIGURE_READ_CPU, "read_broker_cpu_us", "broker CPU a message read", UNIT_MICROSECONDS)       \
    X(FIGURE_STORE_WRITTEN, "store_written_bytes_each", "written a message stored", UNIT_BYTES)    \
    X(FIGURE_READ_WRITTEN, "read_written_bytes_each", "written a message read", UNIT_BYTES)        \
    X(FIGURE_BYTES_EACH, "bytes_each", "broker memory each", UNIT_BYTES)                           \
    X(FIGURE_KERNEL_BYTES_EACH, "kernel_bytes_each", "kernel TCP buffers each", UNIT_BYTES)        \
    X(FIGURE_IDLE_CPU, "idle_broker_cpu_percent", "broker CPU when idle", UNIT_PERCENT)            \
    X(FIGURE_BROKER_CPU_EACH, "broker_cpu_us_each", "broker CPU each", UNIT_MICROSECONDS)          \
    X(FIGURE_BROKER_CPU, "broker_cpu_s", "broker CPU", UNIT_SECONDS)                               \
    X(FIGURE_BROKER_USER, "broker_user_s", "broker CPU, user", UNIT_SECONDS)                       \
    X(FIGURE_BROKER_SYSTEM, "broker_system_s", "broker CPU, kernel", UNIT_SECONDS)                 \
    X(FIGURE_BROKER_CORES, "broker_cores", "broker's cores in use", UNIT_CORES)                    \
    X(FIGURE_BROKER_RSS_BEFORE, "broker_rss_before", "broker memory before", UNIT_BYTES)           \
    X(FIGURE_BROKER_RSS, "broker_rss", "broker memory", UNIT_BYTES)                                \
    X(FIGURE_BROKER_WRITTEN, "broker_written_bytes_each", "written to disk each", UNIT_BYTES)      \
    X(FIGURE_OWN_CORES, "generator_cores", "generator's cores in use", UNIT_CORES)                 \
    X(FIGURE_SENT, "sent", "sent", UNIT_COUNT)                                                     \
    X(FIGURE_EXPECTED, "expected", "expected", UNIT_COUNT)                                         \
    X(FIGURE_RECEIVED, "received", "received", UNIT_COUNT)                                         \
    X(FIGURE_LOST, "lost", "lost", UNIT_COUNT)                                                     \
    X(FIGURE_DUPLICATED, "duplicated", "duplicated", UNIT_COUNT)                                   \
    X(FIGURE_REORDERED, "reordered", "out of order", UNIT_COUNT)                                   \
    X(FIGURE_REDELIVERED, "redelivered", "sent again under QoS 2", UNIT_COUNT)                     \
    X(FIGURE_STRANGE, "strange", "not ours or malformed", UNIT_COUNT)                              \
    X(FIGURE_STALLS, "stalls", "times that nothing moved for 1 s", UNIT_COUNT)                     \
    X(FIGURE_REFUSED, "refused", "publishes refused", UNIT_COUNT)                                  \
    X(FIGURE_NOT_SUBSCRIBED, "not_subscribed", "subscriptions refused", UNIT_COUNT)                \
    X(FIGURE_CONNECTIONS, "connections", "connections", UNIT_COUNT)                                \
    X(FIGURE_CONNECT_FAILED, "connect_failed", "connections failed", UNIT_COUNT)                   \
    X(FIGURE_DISCONNECTED, "disconnected", "connections lost", UNIT_COUNT)                         \
    X(FIGURE_REASON, "first_reason", "first reason code given", UNIT_COUNT)

enum figure {
#define X(id, name, label, unit) id,
    FIGURES(X)
#undef X
        FIGURE_KINDS,
};

struct report {
    const struct bench_settings *settings;
    double value[FIGURE_KINDS];
    bool present[FIGURE_KINDS];
};

struct report report_begin(const struct bench_settings *settings);

/* Counts are exact up to 2^53. */
void report_set(struct report *report, enum figure figure, double value);

/* The broker's use between two moments, over `each` things done; nothing without --pid. */
void report_set_broker(struct report *report, struct process_use before, struct process_use after,
                       double seconds, uint64_t each);

/* Prints it; gives the exit code for `well`. */
int report_end(struct report *report, bool well);

/* The progress line on stderr: text is printed over the last one. Empty text wipes it. */
void report_progress(const struct bench_settings *settings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
