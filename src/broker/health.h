/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What load balancers ask, on ports of their own: /health and /ready over HTTP, and HAProxy's
 * agent-check. A thread of its own, that of an admin server with nothing else to say; it asks
 * nobody, and reads what the main thread notes once a second, so probes cost the workers nothing
 * and are answered while these are busy. Main thread.
 */
#ifndef BROKER_HEALTH_H
#define BROKER_HEALTH_H

#include "broker/condition.h"

#include <stdatomic.h>

struct broker;
struct admin_server;

/* Workers that have not turned for so long are stuck. */
enum { HEALTH_PATIENCE_MS = 5000 };

/* What is noted; written by the main thread, read by the server's. */
struct vitals {
    _Atomic(enum broker_phase) phase;
    _Atomic uint64_t serving_since_ms; /* clock_ms() */
    _Atomic uint64_t turned_ms;        /* when all workers were last seen to turn */
    _Atomic uint32_t busy_percent;     /* CPU time of the workers, of what they could have used */
};

struct health {
    int fd, agent_fd; /* listening, until health_start(); -1: not configured */
    struct admin_server *server;
};

/* Opens the ports of the configuration. Gives BROKER_EXIT_OK, or the exit code after having said
 * what is wrong. */
int health_open(struct health *health, const struct broker *broker);

/* Answers from now on. `broker` is there, its workers need not be. */
void health_start(struct health *health, struct broker *broker);

/* Last, so that what asks hears until the end that the broker is leaving. */
void health_stop(struct health *health);

/* Whether anybody reads the vitals. */
bool health_configured(const struct broker *broker);

#endif
