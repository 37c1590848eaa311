/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker: a thread, its loop, and everything that lives on it. What a turn does, in order, is
 * in worker_turn(). Other threads reach a worker by its mailbox only.
 */
#ifndef BROKER_WORKER_H
#define BROKER_WORKER_H

#include "base/job.h"
#include "base/mailbox.h"
#include "broker/moving.h"
#include "conn/conn.h"
#include "delivery/delivery.h"
#include "net/listener.h"
#include "session/session.h"
#include "store/durable.h"

#include <pthread.h>

struct broker;

struct worker {
    struct broker *broker;
    uint32_t index;
    pthread_t thread;
    struct loop loop;
    struct mailbox mailbox;
    struct job_queue jobs;
    struct session_table sessions;
    struct store_ends ends;          /* of the store */
    struct loop_timer store_timer;   /* the store holds something back */
    struct loop_timer session_timer; /* wakes the loop for the session table's wheel */
    struct delivery_hub hub;
    struct conn_worker conns;
    struct listener listeners[CONFIG_LISTENERS_MAX];
    int listener_fds[CONFIG_LISTENERS_MAX];
    uint32_t listener_count;
    struct loop_timer drain_timer;
    uint64_t cpu_ns, cpu_read_ns; /* what the thread had used when that was last read */
    uint64_t drain_until_ms;      /* 0: not shutting down */
    struct moving moving;
    void (*extra_turn)(struct worker *worker); /* on worker 0: $SYS; NULL elsewhere */
};

/* Prepares everything but the loop's handles, which belong to the thread. */
void worker_init(struct worker *worker, struct broker *broker, uint32_t index);
/* After all workers are initialised: lets it know the others' mailboxes. */
void worker_connect(struct worker *worker, struct worker *all, uint32_t count);

/* Gives false when the system has no thread to give. */
bool worker_start(struct worker *worker);

/* Any thread: the worker tells its clients, closes them and stops. */
void worker_drain(struct worker *worker);

void worker_join(struct worker *worker);

/* After all workers have been joined, on that thread: does what jobs, stores and mail have left to
 * do. True when there is more. */
bool worker_clean_up(struct worker *worker);
bool worker_has_mail(struct worker *worker);

/* After all workers have been cleaned up. */
void worker_deinit(struct worker *worker);

#endif
