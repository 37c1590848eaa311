/* SPDX-License-Identifier: Apache-2.0 */
/* What the API says of the other nodes. */
#include "broker/api.h"

#include "admin/call.h"
#include "base/memory.h"
#include "broker/node.h"

static const struct admin_field member_members[] = {
    {.name = "node", .type = ADMIN_TEXT, .help = "Its name."},
    {.name = "address", .type = ADMIN_TEXT, .help = "Where other nodes reach it."},
    {.name = "here",
     .type = ADMIN_BOOLEAN,
     .help = "It is heard of, and publications get there. SUBACK waits for it."},
    {.name = "silent_ms", .type = ADMIN_INTEGER, .help = "Since something came from it."},
    {.name = "filters",
     .type = ADMIN_INTEGER,
     .help = "Filters that its clients have subscribed to, each once."},
    {0},
};

const struct admin_field api_cluster_answer[] = {
    {.name = "name", .type = ADMIN_TEXT, .help = "Of the cluster."},
    {.name = "node", .type = ADMIN_TEXT, .help = "This node's name."},
    {.name = "address", .type = ADMIN_TEXT, .help = "Where other nodes reach this one."},
    {.name = "members",
     .type = ADMIN_LIST,
     .help = "The other nodes that this one has met since it started.",
     .of = member_members},
    {0},
};

static json_t *member_json(const struct cluster_member *member)
{
    return json_pack("{s:s, s:s, s:b, s:I, s:I}", "node", member->node, "address", member->address,
                     "here", (int)member->here, "silent_ms", (json_int_t)member->silent_ms,
                     "filters", (json_int_t)member->filters);
}

void api_cluster(struct admin_call *call)
{
    const struct broker *broker = call_context(call);
    if (broker->cluster == NULL) {
        call_problem(call, 404, "This broker is in no cluster: cluster.name is not set.");
        return;
    }
    struct cluster_member *members = mem_new(REMOTES_MAX * sizeof(*members));
    uint32_t count = cluster_members(broker->cluster, members, REMOTES_MAX);
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, member_json(&members[i]));
    mem_free(members);
    call_answer(call, 200,
                json_pack("{s:s, s:s, s:s, s:o}", "name", broker->config->cluster.name, "node",
                          broker->join.node, "address", broker->join.address, "members", list));
}
