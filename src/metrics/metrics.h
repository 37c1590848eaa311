/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and gauges of the broker. Every worker writes its own shard, without locks or locked
 * instructions; a reader adds the shards up. To add a metric: one entry in table.h.
 *
 *     metric_inc(worker->metrics, METRIC_TAKEOVERS);
 *
 * A gauge may go up in one shard and down in another (a connection that moved): shards wrap, the
 * sum does not. Limits: none that a peer can reach; a counter wraps after 2^64.
 */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include "metrics/histogram.h"
#include "metrics/table.h"

#include <stdatomic.h>
#include <stdint.h>

#define METRIC_ENUM(id, kind, unit, name, help) METRIC_##id,
enum metric { METRICS_TABLE(METRIC_ENUM) METRIC_COUNT };
#undef METRIC_ENUM

#define HISTOGRAM_ENUM(id, unit, name, help) HISTOGRAM_##id,
enum metric_histogram { HISTOGRAMS_TABLE(HISTOGRAM_ENUM) HISTOGRAM_COUNT };
#undef HISTOGRAM_ENUM

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric_info {
    const char *name; /* "publish_received" */
    const char *unit; /* "messages" */
    const char *help; /* one sentence */
    enum metric_kind kind;
};

struct histogram_info {
    const char *name, *unit, *help;
};

/* One worker's numbers. All zero is a fresh shard. Only its owner thread writes. */
struct metrics_shard {
    _Alignas(64) _Atomic uint64_t values[METRIC_COUNT];
    struct histogram histograms[HISTOGRAM_COUNT];
};

/* All shards of a process. Any thread may read. */
struct metrics {
    struct metrics_shard *shards;
    uint32_t shard_count;
};

/* What all shards held at about one moment. */
struct metrics_snapshot {
    uint64_t
        values[METRIC_COUNT]; /* a gauge that sums below 0 while a move is under way reads as 0 */
};

/* Makes `shard_count` zeroed shards: one for every thread that counts. */
void metrics_init(struct metrics *metrics, uint32_t shard_count);
void metrics_deinit(struct metrics *metrics);

/* Borrows: the shard lives as long as `metrics`. CHECKs the index. */
struct metrics_shard *metrics_shard_get(struct metrics *metrics, uint32_t index);

/* Adds to a counter or gauge. Owner's thread only. Relaxed: one writer, and a reader takes each
 * number by itself. */
static inline void metric_add(struct metrics_shard *shard, enum metric metric, uint64_t n)
{
    _Atomic uint64_t *value = &shard->values[metric];
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Takes from a gauge. Owner's thread only. */
static inline void metric_sub(struct metrics_shard *shard, enum metric metric, uint64_t n)
{
    metric_add(shard, metric, 0 - n);
}

static inline void metric_inc(struct metrics_shard *shard, enum metric metric)
{
    metric_add(shard, metric, 1);
}

static inline void metric_dec(struct metrics_shard *shard, enum metric metric)
{
    metric_add(shard, metric, 0 - (uint64_t)1);
}

/* Counts one value of a distribution. Owner's thread only. */
static inline void metric_record(struct metrics_shard *shard, enum metric_histogram histogram,
                                 uint64_t value)
{
    histogram_record(&shard->histograms[histogram], value);
}

/* The sum over all shards. Any thread. */
uint64_t metrics_read(const struct metrics *metrics, enum metric metric);
void metrics_read_all(const struct metrics *metrics, struct metrics_snapshot *snapshot);
void metrics_read_histogram(const struct metrics *metrics, enum metric_histogram histogram,
                            struct histogram_sum *sum);

/* Borrows: static. CHECKs the id. */
const struct metric_info *metric_info_get(enum metric metric);
const struct histogram_info *histogram_info_get(enum metric_histogram histogram);

#endif
