/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator asks of a node of a cluster that runs. Each answer comes when that is noted;
 * what follows from it goes on by itself.
 */
#include "broker/api.h"

#include "admin/call.h"
#include "base/memory.h"
#include "broker/node.h"

/* ---- asking, on a thread that may wait ---------------------------------------------------------
 */

struct operation {
    const struct broker *broker;
    enum homes_duty duty;
    struct cluster_duty is; /* what the node is then */
    const char *node;       /* the call's, or this one's */
    enum homes_farewell farewell;
    enum rc rc;
    char why[HOMES_WHY_MAX];
};

static void begin(struct admin_call *call, const struct operation *what, void (*work)(void *own),
                  void (*done)(struct admin_call *call))
{
    const struct broker *broker = api_clustered(call);

    if (broker == NULL)
        return;
    struct operation *operation = NEW(struct operation);
    *operation = *what;
    operation->broker = broker;
    call_set_own(call, operation);
    call_work(call, work, done);
}

static unsigned status_of(enum rc rc)
{
    switch (rc) {
    case RC_REFUSED:
    case RC_FULL:
        return 409;
    case RC_NOT_FOUND:
        return 404;
    case RC_AGAIN:
        return 503;
    default:
        return 500;
    }
}

/* Takes both. */
static void answer(struct admin_call *call, struct operation *operation, json_t *json)
{
    if (operation->rc == RC_OK) {
        call_answer(call, 200, json);
    } else {
        json_decref(json);
        call_problem(call, status_of(operation->rc), "%s", operation->why);
    }
    mem_free(operation);
}

/* ---- drain, undrain ----------------------------------------------------------------------------
 */

const struct admin_field api_duty_parameters[] = {
    {.name = "node",
     .type = ADMIN_TEXT,
     .place = ADMIN_IN_BODY,
     .presence = ADMIN_OPTIONAL,
     .help = "The name of a node of the cluster; by default the one that is asked."},
    {0},
};

const struct admin_field api_duty_answer[] = {
    {.name = "node", .type = ADMIN_TEXT, .help = "The node's name."},
    {.name = "drained", .type = ADMIN_BOOLEAN, .help = "What it is from now on."},
    {.name = "groups", .type = ADMIN_INTEGER, .help = "Groups that it is home of now."},
    {.name = "connections", .type = ADMIN_INTEGER, .help = "Clients that it has now."},
    {0},
};

static void set_own_duty(struct operation *operation)
{
    const struct broker *broker = operation->broker;

    operation->rc = homes_set_duty(broker->homes, operation->duty, operation->why);
    operation->is.drained = homes_drained(broker->homes);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        operation->is.groups += homes_of(broker->homes, i).place == HOME_HERE;
    operation->is.connections =
        atomic_load_explicit(&broker->shared.connections, memory_order_relaxed);
}

static void set_duty(void *own)
{
    struct operation *operation = own;
    const struct broker *broker = operation->broker;

    if (strcmp(operation->node, broker->join.node) == 0) {
        set_own_duty(operation);
        return;
    }
    operation->rc = homes_find(broker->homes, operation->node, operation->why);
    if (operation->rc == RC_OK)
        operation->rc = cluster_set_duty(broker->cluster, operation->node, operation->duty,
                                         &operation->is, operation->why);
}

static void answer_duty(struct admin_call *call)
{
    struct operation *operation = call_own(call);

    answer(call, operation,
           json_pack("{s:s, s:b, s:I, s:I}", "node", operation->node, "drained",
                     (int)operation->is.drained, "groups", (json_int_t)operation->is.groups,
                     "connections", (json_int_t)operation->is.connections));
}

static void ask_duty(struct admin_call *call, enum homes_duty duty)
{
    const struct broker *broker = call_context(call);
    const struct admin_value *node = call_value(call, "node");

    begin(call,
          &(struct operation){.duty = duty, .node = node->given ? node->text : broker->join.node},
          set_duty, answer_duty);
}

void api_drain(struct admin_call *call)
{
    ask_duty(call, HOMES_DRAINED);
}

void api_undrain(struct admin_call *call)
{
    ask_duty(call, HOMES_ON_DUTY);
}

/* ---- rebalance ---------------------------------------------------------------------------------
 */

const struct admin_field api_rebalance_answer[] = {
    {.name = "groups",
     .type = ADMIN_INTEGER,
     .help = "Groups that are not at the node that should be their home."},
    {0},
};

static void rebalance(void *own)
{
    struct operation *operation = own;
    operation->rc = homes_rebalance(operation->broker->homes, operation->why);
}

static void answer_rebalance(struct admin_call *call)
{
    struct operation *operation = call_own(call);
    struct homes_status status;
    uint32_t away = 0;

    homes_status(operation->broker->homes, &status);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        away += strcmp(status.groups[i].home, status.groups[i].preferred) != 0;
    answer(call, operation, json_pack("{s:I}", "groups", (json_int_t)away));
}

void api_rebalance(struct admin_call *call)
{
    begin(call, &(struct operation){0}, rebalance, answer_rebalance);
}

/* ---- remove, recover ---------------------------------------------------------------------------
 */

const struct admin_field api_remove_parameters[] = {
    {.name = "node",
     .type = ADMIN_TEXT,
     .place = ADMIN_IN_BODY,
     .help = "The name of the node that is gone."},
    {0},
};

const struct admin_field api_recover_parameters[] = {
    {.name = "without",
     .type = ADMIN_TEXT,
     .place = ADMIN_IN_BODY,
     .help = "The name of the node whose disk is lost."},
    {0},
};

const struct admin_field api_remove_answer[] = {
    {.name = "removed", .type = ADMIN_TEXT, .help = "The node that is part of it no longer."},
    {0},
};

static void do_remove(void *own)
{
    struct operation *operation = own;
    operation->rc = homes_remove(operation->broker->homes, operation->node, operation->farewell,
                                 operation->why);
}

static void answer_remove(struct admin_call *call)
{
    struct operation *operation = call_own(call);
    answer(call, operation, json_pack("{s:s}", "removed", operation->node));
}

void api_remove(struct admin_call *call)
{
    begin(call, &(struct operation){.node = call_value(call, "node")->text, .farewell = HOMES_GONE},
          do_remove, answer_remove);
}

void api_recover(struct admin_call *call)
{
    begin(
        call,
        &(struct operation){.node = call_value(call, "without")->text, .farewell = HOMES_RECOVERED},
        do_remove, answer_remove);
}
