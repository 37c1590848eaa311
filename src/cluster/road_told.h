/* SPDX-License-Identifier: Apache-2.0 */
/* What people are told of the roads to one node: in the metrics of the worker, and for the node by
 * itself. Inside cluster/ only; written on the worker's thread. */
#ifndef CLUSTER_ROAD_TOLD_H
#define CLUSTER_ROAD_TOLD_H

#include "cluster/cluster.h"
#include "metrics/metrics.h"

/* struct road_counts, for other threads: each number by itself. All zero is a beginning. */
struct road_told {
    _Atomic uint64_t sent, under_way, asked, unanswered, pauses;
};

/* So many bytes more; and how many there are that it has not worked off. */
void road_told_sent(struct road_told *told, struct metrics_shard *metrics, uint64_t bytes);
void road_told_window(struct road_told *told, struct metrics_shard *metrics, uint64_t under_way);

/* How many publications wait for an answer; and that so many will never get one. */
void road_told_asked(struct road_told *told, struct metrics_shard *metrics, uint64_t asked);
void road_told_unanswered(struct road_told *told, struct metrics_shard *metrics, uint64_t n);

void road_told_pause(struct road_told *told, struct metrics_shard *metrics);

/* Any thread. */
void road_told_add(const struct road_told *told, struct road_counts *sum);

#endif
