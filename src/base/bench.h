/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For microbenchmarks: a body is run n times, with n grown until one run takes long enough to be
 * measured; then ten runs, of which the median and the 99th percentile are printed. Time is CPU
 * time of all threads, so other programs on the machine disturb little. Only *_bench.c include
 * this.
 */
#ifndef BASE_BENCH_H
#define BASE_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BENCH_RUNS = 10, BENCH_RUN_NS = 20 * 1000 * 1000 };

/* Does the measured thing n times. */
typedef void bench_body(void *context, size_t n);

/* Makes the compiler believe that the value is used and that all memory may have changed. */
#define BENCH_USE(value) __asm__ volatile("" : : "g"(value) : "memory")

static inline uint64_t bench_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static inline double bench_once(bench_body *body, void *context, size_t n)
{
    uint64_t start_ns = bench_cpu_ns();
    body(context, n);
    return (double)(bench_cpu_ns() - start_ns) / (double)n;
}

static inline int bench_compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Prints "name   12.3 ns/op   p99 13.0". */
static inline void bench(const char *name, bench_body *body, void *context)
{
    double runs[BENCH_RUNS];
    size_t n = 1;
    while (bench_once(body, context, n) * (double)n < BENCH_RUN_NS)
        n *= 2;
    for (int i = 0; i < BENCH_RUNS; i++)
        runs[i] = bench_once(body, context, n);
    qsort(runs, BENCH_RUNS, sizeof(*runs), bench_compare);
    double median = (runs[BENCH_RUNS / 2 - 1] + runs[BENCH_RUNS / 2]) / 2;
    printf("%-48s %9.1f ns/op   p99 %9.1f\n", name, median, runs[BENCH_RUNS - 1]);
    fflush(stdout);
}

#endif
