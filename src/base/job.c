/* SPDX-License-Identifier: Apache-2.0 */
#include "base/job.h"

#include "base/clock.h"

void job_queue_init(struct job_queue *queue)
{
    list_init(&queue->jobs);
}

void job_start(struct job_queue *queue, struct job *job, bool (*step)(struct job *job))
{
    job->step = step;
    list_add_last(&queue->jobs, &job->link);
}

void job_cancel(struct job *job)
{
    list_remove(&job->link);
}

bool job_queue_run(struct job_queue *queue)
{
    if (list_empty(&queue->jobs))
        return false;
    uint64_t end_ns = clock_ns() + JOB_BUDGET_NS;
    do {
        struct job *job = CONTAINER_OF(queue->jobs.next, struct job, link);
        list_remove(&job->link);
        if (!job->step(job)) /* finished jobs are gone: not to be touched */
            list_add_last(&queue->jobs, &job->link);
    } while (!list_empty(&queue->jobs) && clock_ns() < end_ns);
    return !list_empty(&queue->jobs);
}
