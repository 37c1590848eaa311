/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metrics, and reading: shards added up. The writing side is inline in the header. */
#include "metrics/metrics.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define METRIC_INFO(id, kind, unit, name, help) {name, unit, help, METRIC_##kind},
static const struct metric_info metric_infos[METRIC_COUNT] = {METRICS_TABLE(METRIC_INFO)};

#define HISTOGRAM_INFO(id, unit, name, help) {name, unit, help},
static const struct histogram_info histogram_infos[HISTOGRAM_COUNT] = {
    HISTOGRAMS_TABLE(HISTOGRAM_INFO)};

void metrics_init(struct metrics *metrics, uint32_t shard_count)
{
    size_t size = sizeof(struct metrics_shard) * shard_count;

    CHECK(shard_count > 0);
    metrics->shard_count = shard_count;
    metrics->shards = aligned_alloc(_Alignof(struct metrics_shard), size);
    CHECK(metrics->shards != NULL);
    memset(metrics->shards, 0, size);
}

void metrics_deinit(struct metrics *metrics)
{
    free(metrics->shards);
    *metrics = (struct metrics){0};
}

struct metrics_shard *metrics_shard_get(struct metrics *metrics, uint32_t index)
{
    CHECK(index < metrics->shard_count);
    return &metrics->shards[index];
}

uint64_t metrics_read(const struct metrics *metrics, enum metric metric)
{
    uint64_t sum = 0;

    CHECK(metric < METRIC_COUNT);
    for (uint32_t i = 0; i < metrics->shard_count; i++)
        sum += atomic_load_explicit(&metrics->shards[i].values[metric], memory_order_relaxed);
    if (metric_infos[metric].kind == METRIC_GAUGE && (int64_t)sum < 0)
        return 0;
    return sum;
}

void metrics_read_all(const struct metrics *metrics, struct metrics_snapshot *snapshot)
{
    for (uint32_t i = 0; i < METRIC_COUNT; i++)
        snapshot->values[i] = metrics_read(metrics, (enum metric)i);
}

void metrics_read_histogram(const struct metrics *metrics, enum metric_histogram histogram,
                            struct histogram_sum *sum)
{
    CHECK(histogram < HISTOGRAM_COUNT);
    memset(sum, 0, sizeof(*sum));
    for (uint32_t i = 0; i < metrics->shard_count; i++)
        histogram_collect(&metrics->shards[i].histograms[histogram], sum);
}

const struct metric_info *metric_info_get(enum metric metric)
{
    CHECK(metric < METRIC_COUNT);
    return &metric_infos[metric];
}

const struct histogram_info *histogram_info_get(enum metric_histogram histogram)
{
    CHECK(histogram < HISTOGRAM_COUNT);
    return &histogram_infos[histogram];
}
