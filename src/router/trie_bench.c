/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What routing costs with 100,000 filters of four shapes in the trie: a topic that is walked to,
 * one that the memory of hot topics knows, and a subscription that comes and goes. Nanoseconds an
 * operation, median and worst of ten runs. The worst of ten is what stands in for the 99th
 * percentile.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "router/router.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILTERS = 100 * 1000, RUNS = 10, TOPICS = 4096, ROUND = 200 * 1000, CHANGES = 20 * 1000 };

static struct router router;
static struct route_reader reader;
static char topics[TOPICS][64];
static uint64_t routes_found;

/* Exact, '+' in the middle, '+' at the start, '#' at the end. */
static void fill(void)
{
    static const char *const shapes[] = {"site/%d/device/%d/temperature", "site/%d/+/%d/humidity",
                                         "+/%d/device/%d/state", "site/%d/device/%d/#"};
    struct subscription_options options = {.qos = 1};
    char filter[64];
    for (int i = 0; i < FILTERS; i++) {
        snprintf(filter, sizeof(filter), shapes[i % 4], i / 4 % 250, i / 1000);
        CHECK(router_subscribe(&router, &(struct subscriber_is){.session = (session_ref)i + 1},
                               bytes_of_str(filter), bytes_of_str(""), &options) != NULL);
    }
    static const char *const ends[] = {"temperature", "humidity", "state", "other"};
    for (int i = 0; i < TOPICS; i++)
        snprintf(topics[i], sizeof(topics[i]), "site/%d/device/%d/%s", i * 7 % 250, i % 100,
                 ends[i % 4]);
}

static void find(const char *topic)
{
    struct route_set set;
    route_find(&reader, bytes_of_str(topic), ROUTE_AT_ONCE, &set);
    routes_found += set.count;
}

/* Another topic each time, and a generation of its own: nothing is remembered. */
static void run_walk(void)
{
    for (int i = 0; i < ROUND; i++) {
        atomic_fetch_add_explicit(&router.generation, 1, memory_order_relaxed);
        find(topics[i % TOPICS]);
    }
    rcu_quiescent();
}

static void run_hot(void)
{
    for (int i = 0; i < ROUND; i++)
        find(topics[i % 50]);
    rcu_quiescent();
}

static void run_change(void)
{
    struct subscription_options options = {.qos = 1};
    char filter[64];
    for (int i = 0; i < CHANGES; i++) {
        snprintf(filter, sizeof(filter), "site/%d/device/new/%d", i % 250, i);
        router_unsubscribe(&router,
                           router_subscribe(&router, &(struct subscriber_is){.session = 1},
                                            bytes_of_str(filter), bytes_of_str(""), &options));
        rcu_quiescent();
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *what, void (*run)(void), int operations)
{
    double ns[RUNS];
    run(); /* warm */
    routes_found = 0;
    for (int i = 0; i < RUNS; i++) {
        uint64_t start_ns = clock_ns();
        run();
        ns[i] = (double)(clock_ns() - start_ns) / operations;
    }
    qsort(ns, RUNS, sizeof(*ns), by_value);
    printf("%-32s %7.1f ns (median) %7.1f ns (worst of %d), %.2f routes\n", what,
           (ns[RUNS / 2 - 1] + ns[RUNS / 2]) / 2, ns[RUNS - 1], RUNS,
           (double)routes_found / RUNS / operations);
}

int main(void)
{
    rcu_reader_start();
    router_init(&router, CHOOSE_ROUND_ROBIN);
    route_reader_init(&reader, &router, 1);
    fill();
    printf("%d filters, %u nodes\n", FILTERS, router.node_count);
    measure("find by a walk", run_walk, ROUND);
    measure("find a hot topic", run_hot, ROUND);
    measure("subscribe and unsubscribe", run_change, CHANGES);
    rcu_sleep();
    rcu_drain();
    rcu_wake();
    route_reader_deinit(&reader);
    router_deinit(&router);
    rcu_reader_stop();
    return EXIT_SUCCESS;
}
