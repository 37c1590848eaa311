/* SPDX-License-Identifier: Apache-2.0 */
/* How long appends take, one in flight in each group. */
#include "node.h"

#include "base/check.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void start_one(struct node *node, struct member *member)
{
    struct bench *bench = &node->bench;

    if (bench->started == bench->wanted)
        return;
    bench->started++;
    member->sent_ns = clock_ns();
    enum rc rc = changelog_append_fenced(&member->log, bytes_of(bench->batch, bench->size),
                                         member->next_cookie++, clock_ms());
    CHECK(rc == RC_OK);
}

void bench_start(struct node *node, uint32_t groups, uint32_t count, size_t size)
{
    struct bench *bench = &node->bench;

    free(bench->batch);
    free(bench->took_ns);
    *bench = (struct bench){.groups = groups, .wanted = count, .size = size};
    bench->batch = malloc(size);
    bench->took_ns = calloc(count, sizeof(*bench->took_ns));
    CHECK(bench->batch != NULL && bench->took_ns != NULL);
    for (size_t i = 0; i < size; i++)
        bench->batch[i] = (char)(i * 131 + i / 251); /* nothing that compresses well */
    bench->from_ns = clock_ns();
    bench->cpu_ns = clock_process_cpu_ns();
    for (uint32_t i = 0; i < groups; i++)
        start_one(node, &node->members[i]);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(struct bench *bench)
{
    uint64_t took_ns = clock_ns() - bench->from_ns;
    uint64_t cpu_ns = clock_process_cpu_ns() - bench->cpu_ns;

    qsort(bench->took_ns, bench->done, sizeof(*bench->took_ns), compare);
    printf("bench groups=%u bytes=%zu appends=%u p50_us=%" PRIu64 " p99_us=%" PRIu64
           " per_s=%.0f mb_s=%.1f own_cpu_us=%.1f\n",
           bench->groups, bench->size, bench->done, bench->took_ns[bench->done / 2] / 1000,
           bench->took_ns[bench->done / 100 * 99] / 1000, bench->done * 1e9 / (double)took_ns,
           (double)bench->done * (double)bench->size * 1e3 / (double)took_ns,
           (double)cpu_ns / 1e3 / bench->done);
    fflush(stdout);
    bench->wanted = 0;
}

void bench_committed(struct node *node, struct member *member)
{
    struct bench *bench = &node->bench;

    bench->took_ns[bench->done++] = clock_ns() - member->sent_ns;
    if (bench->done == bench->wanted)
        report(bench);
    else
        start_one(node, member);
}
