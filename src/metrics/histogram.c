/* SPDX-License-Identifier: Apache-2.0 */
/* The reading side of the histogram; the recording side is inline in the header. */
#include "metrics/histogram.h"

#include "base/check.h"

uint64_t histogram_bucket_top(uint32_t bucket)
{
    CHECK(bucket < HISTOGRAM_BUCKETS);
    if (bucket == HISTOGRAM_BUCKETS - 1)
        return UINT64_MAX;
    if (bucket < 2 * HISTOGRAM_SUB)
        return bucket;
    uint32_t octave = bucket / HISTOGRAM_SUB - 1;
    uint64_t mantissa = bucket - (uint64_t)octave * HISTOGRAM_SUB;
    return ((mantissa + 1) << octave) - 1;
}

void histogram_collect(const struct histogram *h, struct histogram_sum *sum)
{
    /* Relaxed, as the writer: a value recorded meanwhile may be in its bucket and not yet in `sum`.
     */
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        sum->buckets[i] += n;
        sum->count += n;
    }
    sum->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
    if (max > sum->max)
        sum->max = max;
}

uint64_t histogram_quantile(const struct histogram_sum *sum, double quantile)
{
    CHECK(quantile >= 0 && quantile <= 1);
    if (sum->count == 0)
        return 0;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += sum->buckets[i];
        if (seen > 0 && (double)seen >= quantile * (double)sum->count) {
            uint64_t top = histogram_bucket_top(i);
            return top < sum->max ? top : sum->max;
        }
    }
    return sum->max;
}
