/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that is too long for one loop turn (a walk over many retained messages, a message for many
 * subscribers, a session with many subscriptions that ends) is cut into steps, so that no client
 * waits long behind another's big request. One queue per worker, on its thread; jobs take turns.
 */
#ifndef BASE_JOB_H
#define BASE_JOB_H

#include "base/list.h"

#include <stdint.h>

struct job {
    struct list link;
    /* Does a piece of at most about 100 us. True: finished, and the job's memory may already be
     * gone. */
    bool (*step)(struct job *job);
};

struct job_queue {
    struct list jobs;
};

enum { JOB_BUDGET_NS = 2 * 1000 * 1000 }; /* of one loop turn */

void job_queue_init(struct job_queue *queue);

/* Takes the job until its step() says that it has finished. */
void job_start(struct job_queue *queue, struct job *job, bool (*step)(struct job *job));

/* Takes an unfinished job out of the queue; it is the caller's again. */
void job_cancel(struct job *job);

/* Runs steps, one job after the other, for at most JOB_BUDGET_NS. True: some are left. */
bool job_queue_run(struct job_queue *queue);

#endif
