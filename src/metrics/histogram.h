/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log-linear histogram of 64-bit values: exact up to 32, then 32 buckets for every doubling, so a
 * quantile is at most 1/32 (3.2 %) above the truth. Values from 2^42 (73 minutes of nanoseconds) on
 * count in the last bucket. One thread records, any thread reads. 9.8 KB, no allocation.
 */
#ifndef METRICS_HISTOGRAM_H
#define METRICS_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 5, /* 32 buckets a doubling */
    HISTOGRAM_SUB = 1 << HISTOGRAM_SUB_BITS,
    HISTOGRAM_TOP_BITS = 42,
    HISTOGRAM_BUCKETS = (HISTOGRAM_TOP_BITS - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB,
};

/* All zero is an empty histogram. Written with relaxed loads and stores by its one owner. */
struct histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum, max;
};

/* What was read, added up over shards; plain memory of one thread. All zero is empty. */
struct histogram_sum {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count, sum, max;
};

static inline uint32_t histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_SUB)
        return (uint32_t)value;
    uint32_t octave = 63u - (uint32_t)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    uint32_t bucket = octave * HISTOGRAM_SUB + (uint32_t)(value >> octave);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The largest value that counts in this bucket; UINT64_MAX for the last one. */
uint64_t histogram_bucket_top(uint32_t bucket);

/* Counts one value. Owner's thread only. */
static inline void histogram_record(struct histogram *h, uint64_t value)
{
    /* Relaxed: one writer, and a reader takes each number by itself. */
    _Atomic uint64_t *bucket = &h->buckets[histogram_bucket(value)];
    atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&h->sum, atomic_load_explicit(&h->sum, memory_order_relaxed) + value,
                          memory_order_relaxed);
    if (value > atomic_load_explicit(&h->max, memory_order_relaxed))
        atomic_store_explicit(&h->max, value, memory_order_relaxed);
}

/* Adds what `h` holds now to *sum. Any thread. */
void histogram_collect(const struct histogram *h, struct histogram_sum *sum);

/* The smallest bucket top that at least `quantile` (0..1) of the values do not exceed, never more
 * than the largest value seen; 0 when empty. */
uint64_t histogram_quantile(const struct histogram_sum *sum, double quantile);

#endif
