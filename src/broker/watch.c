/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the main thread looks at: a few times a second whether many clients have left, whose memory
 * then goes back to the system; once a second the memory limit, whether there is nothing to do,
 * when what a burst has left free goes back, too, and whether every worker still turns and how busy
 * they are, which is what systemd's watchdog and load balancers are told.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/node.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

static struct {
    uint64_t memory_max; /* bytes */
    bool watchdog;
    bool told;       /* health.h or the watchdog wants to know about the workers */
    uint64_t *turns; /* of each worker at the last tick */
    uint64_t workers_cpu_ns, workers_at_ns; /* what all had used, and when that was looked at */
    uint32_t busy_permille;                 /* over the last seconds */
    uint32_t clients;                       /* the most since memory was given back */
    uint64_t cpu_ns;                        /* what the process had used at the last tick */
    uint32_t quiet_ticks; /* since the last busy one; QUIET_TICKS: and has given back */
} watch;                  /* main thread only */

/* malloc keeps what it got until it is told. While it gives back it holds the locks that the
 * workers' allocations need, some milliseconds for as many clients as this. */
enum { SHRINK_STEP = 5000 };

/* Nobody waits for a broker that uses less than 2 % of a core, for so many ticks. */
enum { QUIET_CPU_NS = 20 * 1000 * 1000, QUIET_TICKS = 3 };

uint64_t resident_bytes(void)
{
    char line[128] = ""; /* "size resident shared ...", in pages */
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL)
        return 0;
    const char *second = fgets(line, sizeof(line), statm) == NULL ? NULL : strchr(line, ' ');
    fclose(statm);
    return second == NULL ? 0 : strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void watch_start(struct broker *broker)
{
    uint64_t microseconds = 0;
    watch.watchdog = sd_watchdog_enabled(0, &microseconds) > 0;
    watch.told = watch.watchdog || health_configured(broker);
    atomic_store_explicit(&broker->vitals.turned_ms, clock_ms(), memory_order_relaxed);
    watch.turns = mem_new(broker->worker_count * sizeof(*watch.turns));
    watch.memory_max = broker->config->limits.memory_bytes;
    if (watch.memory_max == 0)
        watch.memory_max =
            (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 10 * 8;
}

static void watch_memory(struct broker *broker)
{
    bool full = resident_bytes() > watch.memory_max;
    if (full) {
        malloc_trim(0); /* what was freed lately goes back before we refuse for another second */
        full = resident_bytes() > watch.memory_max;
    }
    bool was = atomic_exchange_explicit(&broker->shared.memory_full, full, memory_order_relaxed);
    if (full != was)
        LOG(LOG_WARN, full ? "broker.memory_full" : "broker.memory_freed",
            log_uint("limit_bytes", watch.memory_max));
}

static void watch_queues(struct broker *broker)
{
    uint64_t messages_max = broker->config->queue.total_messages_max;
    uint64_t bytes_max = broker->config->queue.total_bytes_max;
    bool full = (messages_max > 0 &&
                 metrics_read(&broker->metrics, METRIC_QUEUED_MESSAGES) >= messages_max) ||
                (bytes_max > 0 && metrics_read(&broker->metrics, METRIC_QUEUED_BYTES) >= bytes_max);
    bool was = atomic_exchange_explicit(&broker->shared.queues_full, full, memory_order_relaxed);
    if (full != was)
        LOG(LOG_WARN, full ? "broker.queues_full" : "broker.queues_have_room",
            log_uint("limit_messages", messages_max), log_uint("limit_bytes", bytes_max));
}

void watch_shrink(struct broker *broker)
{
    struct conn_shared *shared = &broker->shared;
    uint32_t connections = atomic_load_explicit(&shared->connections, memory_order_relaxed);
    uint32_t sessions = atomic_load_explicit(&shared->sessions, memory_order_relaxed);
    uint32_t clients = connections > sessions ? connections : sessions;
    if (clients + SHRINK_STEP <= watch.clients)
        malloc_trim(0);
    else if (clients <= watch.clients)
        return;
    watch.clients = clients;
}

/* A burst leaves free memory in every thread's arena: once it is over, that goes back to the
 * system. */
static void watch_quiet(struct broker *broker)
{
    uint64_t cpu_ns = clock_process_cpu_ns();
    bool busy = cpu_ns - watch.cpu_ns > QUIET_CPU_NS;
    watch.cpu_ns = cpu_ns;
    if (busy)
        watch.quiet_ticks = 0;
    if (busy || watch.quiet_ticks == QUIET_TICKS)
        return;
    if (++watch.quiet_ticks == QUIET_TICKS)
        malloc_trim(0);
    for (uint32_t i = 0; i < broker->worker_count; i++)
        loop_wake(&broker->workers[i].loop); /* to give back what it keeps for output */
}

/* A worker that sleeps is woken; one that has not turned since the last tick hangs. */
static void watch_workers(struct broker *broker)
{
    bool all_turn = true;
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        struct loop *loop = &broker->workers[i].loop;
        uint64_t turns = atomic_load_explicit(&loop->counters.turns, memory_order_relaxed);
        all_turn &= turns != watch.turns[i];
        watch.turns[i] = turns;
        loop_wake(loop);
    }
    if (all_turn)
        atomic_store_explicit(&broker->vitals.turned_ms, clock_ms(), memory_order_relaxed);
    if (all_turn && watch.watchdog)
        sd_notify(0, "WATCHDOG=1");
}

static uint64_t workers_cpu_ns(const struct broker *broker)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        clockid_t clock;
        struct timespec used;
        if (pthread_getcpuclockid(broker->workers[i].thread, &clock) == 0 &&
            clock_gettime(clock, &used) == 0)
            sum += (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
    }
    return sum;
}

/* Smoothed, so that a balancer does not send clients about because of one second. */
static void watch_load(struct broker *broker)
{
    uint64_t now_ns = clock_ns();
    uint64_t cpu_ns = workers_cpu_ns(broker);
    uint64_t could_ns = (now_ns - watch.workers_at_ns) * broker->worker_count;
    uint32_t permille = 0;
    if (watch.workers_at_ns > 0 && could_ns > 0)
        permille = (uint32_t)((cpu_ns - watch.workers_cpu_ns) * 1000 / could_ns);
    watch.busy_permille = (watch.busy_permille * 3 + permille) / 4;
    watch.workers_cpu_ns = cpu_ns;
    watch.workers_at_ns = now_ns;
    atomic_store_explicit(&broker->vitals.busy_percent, watch.busy_permille / 10,
                          memory_order_relaxed);
}

void watch_tick(struct broker *broker)
{
    watch_memory(broker);
    watch_queues(broker);
    watch_quiet(broker);
    if (watch.told) {
        watch_workers(broker);
        watch_load(broker);
    }
}
