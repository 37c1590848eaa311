/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/road_told.h"

static uint64_t now_of(const _Atomic uint64_t *told)
{
    return atomic_load_explicit(told, memory_order_relaxed);
}

static void count(_Atomic uint64_t *told, struct metrics_shard *metrics, enum metric metric,
                  uint64_t n)
{
    metric_add(metrics, metric, n);
    atomic_store_explicit(told, now_of(told) + n, memory_order_relaxed);
}

static void gauge(_Atomic uint64_t *told, struct metrics_shard *metrics, enum metric metric,
                  uint64_t now)
{
    count(told, metrics, metric, now - now_of(told));
}

void road_told_sent(struct road_told *told, struct metrics_shard *metrics, uint64_t bytes)
{
    count(&told->sent, metrics, METRIC_ROAD_BYTES_SENT, bytes);
}

void road_told_window(struct road_told *told, struct metrics_shard *metrics, uint64_t under_way)
{
    gauge(&told->under_way, metrics, METRIC_ROAD_UNDER_WAY, under_way);
}

void road_told_asked(struct road_told *told, struct metrics_shard *metrics, uint64_t asked)
{
    gauge(&told->asked, metrics, METRIC_ROAD_ASKED, asked);
}

void road_told_unanswered(struct road_told *told, struct metrics_shard *metrics, uint64_t n)
{
    count(&told->unanswered, metrics, METRIC_ROAD_UNANSWERED, n);
}

void road_told_pause(struct road_told *told, struct metrics_shard *metrics)
{
    count(&told->pauses, metrics, METRIC_ROAD_PAUSES, 1);
}

void road_told_add(const struct road_told *told, struct road_counts *sum)
{
    sum->sent += now_of(&told->sent);
    sum->under_way += now_of(&told->under_way);
    sum->asked += now_of(&told->asked);
    sum->unanswered += now_of(&told->unanswered);
    sum->pauses += now_of(&told->pauses);
}
