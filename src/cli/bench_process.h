/* SPDX-License-Identifier: Apache-2.0 */
/* What processes of this machine have used, from /proc; and pinning ourselves. */
#ifndef CLI_BENCH_PROCESS_H
#define CLI_BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_use {
    double cpu_s;            /* by the process clock, in nanoseconds */
    double user_s, system_s; /* by the scheduler's ticks, coarse */
    uint64_t rss_bytes;
    uint64_t written_bytes; /* that the kernel was to bring to disks, in whole pages */
    bool written_known;     /* the kernel tells only who may know */
};

/* The sum over `count` processes; those that are gone count nothing. */
struct process_use process_use_of(const pid_t *pids, uint32_t count);

/* b - a; rss_bytes is b's. */
struct process_use process_use_between(struct process_use a, struct process_use b);

/* CPU seconds of this process. */
double process_own_cpu_s(void);

/* Bytes of TCP buffers in the kernel, both ends on one machine; 0 when not known. */
uint64_t process_kernel_tcp_bytes(void);

/* Raises the limit of descriptors as far as allowed; pins to `cpu` unless that is -1. Exits when it
 * cannot. */
void process_prepare(int cpu);

#endif
