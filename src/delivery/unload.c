/* SPDX-License-Identifier: Apache-2.0 */
/* Shards go to another node: their sessions, with subscriptions and queues, leave memory, and
 * nothing of it is told to anybody. */
#include "delivery/batch.h"
#include "delivery/testament.h"

#include "base/memory.h"
#include "session/stored.h"

enum { UNLOAD_SLOTS = 1024, UNLOAD_SESSIONS = 64 }; /* in one step */

struct unload_job {
    struct job job;
    struct delivery_hub *hub;
    struct shard_group group;
    uint32_t slot;
    void (*done)(void *arg);
    void *arg;
};

static bool is_of_group(void *arg, uint32_t shard)
{
    const struct shard_group *group = arg;
    return shard % group->of == group->group;
}

static bool unload_step(struct job *base)
{
    struct unload_job *job = CONTAINER_OF(base, struct unload_job, job);
    struct session_table *table = job->hub->sessions;
    uint32_t dropped = 0;
    if (job->slot == 0) /* whose sessions are still known */
        again_forget(job->hub, job->group);
    for (uint32_t n = 0; n < UNLOAD_SLOTS && dropped < UNLOAD_SESSIONS; n++) {
        if (job->slot >= table->slot_count)
            break;
        struct session *session = table->slots[job->slot++].session;
        if (session == NULL || !session_durable(session) ||
            !is_of_group(&job->group, session->store->shard))
            continue;
        session_drop(session);
        dropped++;
    }
    if (job->slot < table->slot_count)
        return false;
    session_drop_shared(table, is_of_group, &job->group);
    high_water_forget(job->hub, job->group);
    outbox_forget(job->hub, job->group);
    testaments_forget(job->hub, job->group);
    job->done(job->arg);
    mem_free(job);
    return true;
}

void delivery_unload(struct delivery_hub *hub, struct shard_group group, void (*done)(void *arg),
                     void *arg)
{
    struct unload_job *job = NEW(struct unload_job);
    *job = (struct unload_job){.hub = hub, .group = group, .done = done, .arg = arg};
    list_init(&job->job.link);
    job_start(hub->jobs, &job->job, unload_step);
}
