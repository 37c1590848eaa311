/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/condition.h"

#include <stdio.h>

enum { WEIGHT_STEP = 5 };

const char *condition_failure(const struct condition *condition)
{
    return condition->phase == BROKER_SERVING && condition->stuck ? "worker_stuck" : NULL;
}

/* Something that passes by itself. */
static const char *fullness(const struct condition *condition)
{
    if (condition->memory_full)
        return "memory_full";
    if (condition->cut_off)
        return "cut_off";
    if (condition->waits)
        return "waits_for_nodes";
    return condition->connections >= condition->connections_max ? "connections_full" : NULL;
}

const char *condition_obstacle(const struct condition *condition)
{
    if (condition->phase == BROKER_LOADING)
        return "loading";
    if (condition->phase == BROKER_LEAVING)
        return "draining";
    if (condition->removed)
        return "removed";
    if (condition->drained)
        return "drained";
    const char *failure = condition_failure(condition);
    return failure != NULL ? failure : fullness(condition);
}

uint32_t condition_weight_percent(const struct condition *condition)
{
    uint64_t max = condition->connections_max;
    uint64_t full = max == 0 ? 100 : condition->connections * (uint64_t)100 / max;
    uint64_t load = full > condition->busy_percent ? full : condition->busy_percent;
    uint64_t left = load >= 100 ? 0 : 100 - load;
    /* Steps, because each change makes a balancer that hashes send some clients elsewhere. */
    uint64_t weight = (left + WEIGHT_STEP / 2) / WEIGHT_STEP * WEIGHT_STEP;

    return weight < WEIGHT_STEP ? WEIGHT_STEP : (uint32_t)weight;
}

void condition_agent_line(const struct condition *condition, char *out, size_t room)
{
    const char *failure = condition_failure(condition);
    const char *news = condition->serving_ms < CONDITION_NEW_MS ? "ready " : "";

    if (condition->phase == BROKER_LOADING)
        snprintf(out, room, "stopped #loading\n");
    else if (condition->phase == BROKER_LEAVING || condition->drained || condition->removed)
        snprintf(out, room, "drain\n");
    else if (failure != NULL)
        snprintf(out, room, "stopped #%s\n", failure);
    else if (fullness(condition) != NULL)
        snprintf(out, room, "%sup 0%%\n", news); /* as drain, but it ends with the next weight */
    else
        snprintf(out, room, "%sup %u%%\n", news, condition_weight_percent(condition));
}
