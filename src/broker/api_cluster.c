/* SPDX-License-Identifier: Apache-2.0 */
/* What the API says of the other nodes and of the groups' homes, and how a cluster is initialised.
 */
#include "broker/api.h"

#include "admin/call.h"
#include "base/clock.h"
#include "base/memory.h"
#include "broker/node.h"
#include "cluster/copies.h"

enum { INIT_WAIT_MS = 60000 };

static const char *const engine_names[] = {[HOMES_ENGINE_OFF] = "off",
                                           [HOMES_ENGINE_UNCLEAN] = "unclean",
                                           [HOMES_ENGINE_KEPT] = "kept",
                                           [HOMES_ENGINE_UP] = "up",
                                           [HOMES_ENGINE_JOINS] = "joins"};

/* ---- the cluster -------------------------------------------------------------------------------
 */

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
    {.name = "protocol", .type = ADMIN_INTEGER, .help = "The version that both nodes speak."},
    {.name = "lost", .type = ADMIN_INTEGER, .help = "Times that it went away."},
    {.name = "unsettled",
     .type = ADMIN_INTEGER,
     .help = "Changes of what clients here want that are not in effect there yet."},
    {.name = "sent_bytes",
     .type = ADMIN_INTEGER,
     .help = "Of publications that were sent on to it, since the start."},
    {.name = "under_way_bytes",
     .type = ADMIN_INTEGER,
     .help = "Of these, those that it has not worked off. Above 1 MiB a worker publishers wait."},
    {.name = "pauses", .type = ADMIN_INTEGER, .help = "Times that a publisher here has waited."},
    {.name = "waiting",
     .type = ADMIN_INTEGER,
     .help = "Publications that wait until it says what has become of them."},
    {.name = "unanswered",
     .type = ADMIN_INTEGER,
     .help = "Those whose link ended before it had said so; they are sent again."},
    {.name = "role",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "`active` or `standby`; missing until it has said so."},
    {.name = "drained",
     .type = ADMIN_BOOLEAN,
     .presence = ADMIN_OPTIONAL,
     .help = "It gives its groups and clients to others, and takes none."},
    {.name = "weight", .type = ADMIN_INTEGER, .presence = ADMIN_OPTIONAL, .help = "Its share."},
    {.name = "workers", .type = ADMIN_INTEGER, .presence = ADMIN_OPTIONAL, .help = "Its threads."},
    {.name = "engine",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "`up`: it has a connection to its engine. `joins`: the same, and the engine has lost "
             "what it had, and not all logs have a copy again. `unclean`: its machine went down "
             "while its engine ran, and it waits to hear what the others' did; `kept`: it runs, "
             "most others' went down too, and not all nodes have been back. `off`: none of these."},
    {.name = "groups",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Groups that it is home of."},
    {0},
};

static const struct admin_field engine_members[] = {
    {.name = "kind", .type = ADMIN_TEXT, .help = "`managed` or `external`."},
    {.name = "connected", .type = ADMIN_BOOLEAN, .help = "There is a connection to it."},
    {.name = "pid",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Of the nats-server of this node."},
    {.name = "starts",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Times that this broker has started it; 0: it ran already."},
    {.name = "rests",
     .type = ADMIN_BOOLEAN,
     .presence = ADMIN_OPTIONAL,
     .help = "Of the nats-server of this node: it was ended, since neither other nodes nor other "
             "servers are heard, and is started when one is."},
    {.name = "replicas",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Copies that it is to have of each changelog; of the one that has the fewest."},
    {.name = "replicas_current",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Those that can be reached and have all of it; the same."},
    {.name = "wait_ms",
     .type = ADMIN_INTEGER,
     .help = "For how long a record that it was sent has had no answer; of the oldest."},
    {0},
};

const struct admin_field api_cluster_answer[] = {
    {.name = "name", .type = ADMIN_TEXT, .help = "Of the cluster."},
    {.name = "node", .type = ADMIN_TEXT, .help = "This node's name."},
    {.name = "address", .type = ADMIN_TEXT, .help = "Where other nodes reach this one."},
    {.name = "state",
     .type = ADMIN_TEXT,
     .help =
         "`not_initialised`; `gathering` and `founding` while it is being initialised from this "
         "node; `joining`; `running`; `lost`: the engine lacks the cluster that the data "
         "directory belongs to; `removed`: an operator has removed this node; `ending`."},
    {.name = "id",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "Of the cluster, from when it is initialised on."},
    {.name = "waits_for",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "What keeps it from running."},
    {.name = "role", .type = ADMIN_TEXT, .help = "Of this node: `active` or `standby`."},
    {.name = "drained",
     .type = ADMIN_BOOLEAN,
     .help = "This node gives its groups and clients to others, and takes none."},
    {.name = "groups", .type = ADMIN_INTEGER, .help = "Groups that this node is home of."},
    {.name = "connections",
     .type = ADMIN_INTEGER,
     .help = "Clients connected to this node, or to another one and served by this one."},
    {.name = "engine",
     .type = ADMIN_OBJECT,
     .help = "What the nodes agree through.",
     .of = engine_members},
    {.name = "members",
     .type = ADMIN_LIST,
     .help = "The other nodes that this one has met since it started.",
     .of = member_members},
    {0},
};

static uint32_t count_homes(const struct homes_news *news)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        count += news->groups[i].part == HOMES_IS_HOME;
    return count;
}

json_t *api_member_json(struct homes *homes, const struct cluster_member *member)
{
    struct homes_news news;
    const struct road_counts *road = &member->road;
    json_t *json = json_pack(
        "{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "node", member->node,
        "address", member->address, "here", (int)member->here, "silent_ms",
        (json_int_t)member->silent_ms, "filters", (json_int_t)member->filters, "protocol",
        (json_int_t)member->protocol, "lost", (json_int_t)member->lost, "unsettled",
        (json_int_t)member->unsettled, "sent_bytes", (json_int_t)road->sent, "under_way_bytes",
        (json_int_t)road->under_way, "pauses", (json_int_t)road->pauses, "waiting",
        (json_int_t)road->asked, "unanswered", (json_int_t)road->unanswered);

    if (homes == NULL || !homes_news_of(homes, member->node, &news))
        return json;
    json_object_set_new(json, "role", json_string(news.standby ? "standby" : "active"));
    json_object_set_new(json, "drained", json_boolean(news.drained));
    json_object_set_new(json, "weight", json_integer(news.weight));
    json_object_set_new(json, "workers", json_integer(news.workers));
    json_object_set_new(json, "engine", json_string(engine_names[news.engine]));
    json_object_set_new(json, "groups", json_integer(count_homes(&news)));
    return json;
}

bool api_member_is_gone(struct homes *homes, const struct cluster_member *member)
{
    return homes != NULL && !member->here &&
           homes_is_forgotten(homes, member->node, member->address);
}

static json_t *members_json(const struct broker *broker)
{
    struct cluster_member *members = mem_new(REMOTES_MAX * sizeof(*members));
    uint32_t count = cluster_members(broker->cluster, members, REMOTES_MAX);
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++)
        if (!api_member_is_gone(broker->homes, &members[i]))
            json_array_append_new(list, api_member_json(broker->homes, &members[i]));
    mem_free(members);
    return list;
}

static void set_copies(json_t *json, const struct jetstream_copies *copies)
{
    if (copies->wanted == 0)
        return;
    json_object_set_new(json, "replicas", json_integer(copies->wanted));
    json_object_set_new(json, "replicas_current", json_integer(copies->current));
}

/* Of the changelog that has the fewest. */
static struct jetstream_copies fewest_copies(const struct homes_status *status)
{
    struct jetstream_copies fewest = status->groups[0].copies;

    for (uint32_t i = 1; i < HOMES_GROUPS; i++) {
        const struct jetstream_copies *copies = &status->groups[i].copies;
        fewest.wanted = copies->wanted < fewest.wanted ? copies->wanted : fewest.wanted;
        fewest.current = copies->current < fewest.current ? copies->current : fewest.current;
    }
    return fewest;
}

json_t *api_engine_json(const struct homes_status *status)
{
    struct jetstream_copies copies = fewest_copies(status);
    uint64_t wait_ms = 0;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        wait_ms = status->groups[i].wait_ms > wait_ms ? status->groups[i].wait_ms : wait_ms;
    json_t *engine = json_pack("{s:s, s:b, s:I}", "kind", status->managed ? "managed" : "external",
                               "connected", (int)status->connected, "wait_ms", (json_int_t)wait_ms);
    if (status->engine_pid > 0) {
        json_object_set_new(engine, "pid", json_integer(status->engine_pid));
        json_object_set_new(engine, "starts", json_integer(status->engine_starts));
    }
    if (status->managed)
        json_object_set_new(engine, "rests", json_boolean(status->rests));
    set_copies(engine, &copies);
    return engine;
}

/* NULL: it has been answered that there is none. */
static const struct broker *linked(struct admin_call *call)
{
    const struct broker *broker = call_context(call);

    if (broker->cluster == NULL)
        call_problem(call, 404, "This broker is in no cluster: cluster.name is not set.");
    return broker->cluster == NULL ? NULL : broker;
}

const struct broker *api_clustered(struct admin_call *call)
{
    const struct broker *broker = linked(call);

    if (broker == NULL || broker->homes != NULL)
        return broker;
    call_problem(call, 404,
                 "This broker keeps everything in memory, so it only forwards: a cluster that can "
                 "be initialised needs a durability that is not `memory`.");
    return NULL;
}

void api_cluster(struct admin_call *call)
{
    const struct broker *broker = linked(call);
    struct homes_status status = {.phase = HOMES_ALONE};
    struct homes_news news = {0};

    if (broker == NULL)
        return;
    if (broker->homes != NULL) {
        homes_status(broker->homes, &status);
        homes_news(broker->homes, &news);
    }
    json_t *answer = json_pack("{s:s, s:s, s:s, s:s}", "name", broker->config->cluster.name, "node",
                               broker->join.node, "address", broker->join.address, "state",
                               homes_phase_name(status.phase));
    if (status.id[0] != '\0')
        json_object_set_new(answer, "id", json_string(status.id));
    if (status.why[0] != '\0')
        json_object_set_new(answer, "waits_for", json_string(status.why));
    bool standby = broker->config->cluster.role == CLUSTER_STANDBY;
    json_object_set_new(answer, "role", json_string(standby ? "standby" : "active"));
    json_object_set_new(answer, "drained", json_boolean(status.drained));
    json_object_set_new(answer, "groups", json_integer(count_homes(&news)));
    json_object_set_new(
        answer, "connections",
        json_integer(atomic_load_explicit(&broker->shared.connections, memory_order_relaxed)));
    json_object_set_new(answer, "engine", api_engine_json(&status));
    json_object_set_new(answer, "members", members_json(broker));
    call_answer(call, 200, answer);
}

/* ---- the groups --------------------------------------------------------------------------------
 */

static const struct admin_field standby_members[] = {
    {.name = "node", .type = ADMIN_TEXT, .help = "Its name."},
    {.name = "sequence", .type = ADMIN_INTEGER, .help = "Up to where it has read the log."},
    {.name = "flushed", .type = ADMIN_INTEGER, .help = "Up to where it has it on disk."},
    {0},
};

static const struct admin_field group_members[] = {
    {.name = "group",
     .type = ADMIN_INTEGER,
     .help = "Its number. The shards whose number leaves that rest, divided by 16, are in it."},
    {.name = "home",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "The node that leads it, as far as this one knows; missing: none does now."},
    {.name = "preferred",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "The node that should."},
    {.name = "epoch", .type = ADMIN_INTEGER, .help = "Counts the homes; the highest is right."},
    {.name = "state",
     .type = ADMIN_TEXT,
     .help =
         "Of this node in the group: `following`, `claiming`, `catching_up`, `waiting`, "
         "`opening`, `loading`, `serving`, `closing`, `releasing`, `idle`, `behind` (it needs a "
         "copy of another node's), `copying` (it takes one), `broken`, `off`."},
    {.name = "sequence", .type = ADMIN_INTEGER, .help = "Up to where this node has the log."},
    {.name = "flushed", .type = ADMIN_INTEGER, .help = "Up to where it has it on disk."},
    {.name = "lease_age_ms",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "At home: since what its lease rests on was sent. At 1,500 the lease is over."},
    {.name = "silent_ms",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Elsewhere: since the last record of the home was read."},
    {.name = "reason",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "Why it last came to this node or left it, such as `claimed: its home was silent`, "
             "`given up: this node is drained`, `lost: another node has claimed it`."},
    {.name = "read_lag",
     .type = ADMIN_INTEGER,
     .help = "Elsewhere: records that its home has and this node has not read."},
    {.name = "standby_lag",
     .type = ADMIN_INTEGER,
     .help = "At home: records that the slowest other node has not applied."},
    {.name = "window",
     .type = ADMIN_INTEGER,
     .help = "Records of the log that this node asks for at a time."},
    {.name = "wait_ms",
     .type = ADMIN_INTEGER,
     .help = "For how long the record that the engine was sent has had no answer; 0: none is."},
    {.name = "trimmed",
     .type = ADMIN_INTEGER,
     .help = "Up to where this node has had the log trimmed as its home; 0: it has not."},
    {.name = "copy_from",
     .type = ADMIN_TEXT,
     .presence = ADMIN_OPTIONAL,
     .help = "While a copy is taken: the node that gives it."},
    {.name = "copied_records",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Records of it that have come so far."},
    {.name = "copied_bytes",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Their bytes."},
    {.name = "standbys",
     .type = ADMIN_LIST,
     .help = "Other nodes that read the log.",
     .of = standby_members},
    {.name = "replicas",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Copies of its changelog that the engine is to have, each on another server."},
    {.name = "replicas_current",
     .type = ADMIN_INTEGER,
     .presence = ADMIN_OPTIONAL,
     .help = "Those that can be reached and have all of it."},
    {.name = "claims", .type = ADMIN_INTEGER, .help = "Times this node claimed it."},
    {.name = "deposed", .type = ADMIN_INTEGER, .help = "Times that another took it from here."},
    {.name = "changes", .type = ADMIN_INTEGER, .help = "Claims of others that were read."},
    {.name = "appended", .type = ADMIN_INTEGER, .help = "Batches appended."},
    {.name = "resent", .type = ADMIN_INTEGER, .help = "Records sent again, unanswered."},
    {.name = "refused", .type = ADMIN_INTEGER, .help = "Appends that were refused."},
    {0},
};

const struct admin_field api_shards_answer[] = {
    {.name = "groups", .type = ADMIN_LIST, .help = "All of them, by number.", .of = group_members},
    {0},
};

static json_t *standbys_json(struct homes *homes, const struct cluster_member *members,
                             uint32_t count, uint32_t group)
{
    json_t *list = json_array();
    struct homes_news news;

    for (uint32_t i = 0; i < count; i++) {
        if (!members[i].here || !homes_news_of(homes, members[i].node, &news) ||
            news.groups[group].part != HOMES_FOLLOWS)
            continue;
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:I}", "node", members[i].node, "sequence",
                                        (json_int_t)news.groups[group].sequence, "flushed",
                                        (json_int_t)news.groups[group].flushed.sequence));
    }
    return list;
}

static void add_copy(json_t *json, struct cluster *cluster, uint32_t number)
{
    struct copies_progress progress;

    if (!cluster_copy_progress(cluster, number, &progress))
        return;
    json_object_set_new(json, "copy_from", json_string(progress.node));
    json_object_set_new(json, "copied_records", json_integer((json_int_t)progress.records));
    json_object_set_new(json, "copied_bytes", json_integer((json_int_t)progress.bytes));
}

/* What is behind, and why it is where it is. */
static void set_observed(json_t *json, const struct homes_group_status *group)
{
    if (group->cause != HOMES_NO_CAUSE)
        json_object_set_new(json, "reason", json_string(homes_cause_text(group->cause)));
    json_object_set_new(json, "read_lag", json_integer((json_int_t)group->read_lag));
    json_object_set_new(json, "standby_lag", json_integer((json_int_t)group->standby_lag));
    json_object_set_new(json, "window", json_integer(group->window));
    json_object_set_new(json, "wait_ms", json_integer((json_int_t)group->wait_ms));
}

static json_t *group_json(uint32_t number, const struct homes_group_status *group, json_t *standbys)
{
    uint64_t now_ms = clock_ms();
    json_t *json = json_pack("{s:I, s:I, s:s, s:I, s:I, s:I}", "group", (json_int_t)number, "epoch",
                             (json_int_t)group->epoch, "state", group->state, "sequence",
                             (json_int_t)group->sequence, "flushed", (json_int_t)group->flushed,
                             "trimmed", (json_int_t)group->trimmed);

    if (group->home[0] != '\0')
        json_object_set_new(json, "home", json_string(group->home));
    if (group->preferred[0] != '\0')
        json_object_set_new(json, "preferred", json_string(group->preferred));
    if (group->lease_ms > 0)
        json_object_set_new(json, "lease_age_ms",
                            json_integer((json_int_t)(now_ms - group->lease_ms)));
    if (group->part == HOMES_FOLLOWS && group->read_ms > 0)
        json_object_set_new(json, "silent_ms", json_integer((json_int_t)(now_ms - group->read_ms)));
    json_object_set_new(json, "standbys", standbys);
    set_observed(json, group);
    set_copies(json, &group->copies);
    json_object_set_new(json, "claims", json_integer((json_int_t)group->claims));
    json_object_set_new(json, "deposed", json_integer((json_int_t)group->deposed));
    json_object_set_new(json, "changes", json_integer((json_int_t)group->changes));
    json_object_set_new(json, "appended", json_integer((json_int_t)group->counts.appended));
    json_object_set_new(json, "resent", json_integer((json_int_t)group->counts.resent));
    json_object_set_new(json, "refused", json_integer((json_int_t)group->counts.refused));
    return json;
}

json_t *api_group_json(const struct broker *broker, uint32_t number,
                       const struct homes_status *status, const struct cluster_member *members,
                       uint32_t count)
{
    json_t *json = group_json(number, &status->groups[number],
                              standbys_json(broker->homes, members, count, number));
    add_copy(json, broker->cluster, number);
    return json;
}

void api_shards(struct admin_call *call)
{
    const struct broker *broker = api_clustered(call);
    struct homes_status status;

    if (broker == NULL)
        return;
    homes_status(broker->homes, &status);
    struct cluster_member *members = mem_new(REMOTES_MAX * sizeof(*members));
    uint32_t count = cluster_members(broker->cluster, members, REMOTES_MAX);
    json_t *list = json_array();
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        json_array_append_new(list, api_group_json(broker, i, &status, members, count));
    mem_free(members);
    call_answer(call, 200, json_pack("{s:o}", "groups", list));
}

/* ---- init --------------------------------------------------------------------------------------
 */

const struct admin_field api_init_answer[] = {
    {.name = "name", .type = ADMIN_TEXT, .help = "Of the cluster."},
    {.name = "id",
     .type = ADMIN_TEXT,
     .help = "Its id, which each data directory has from now on."},
    {.name = "nodes", .type = ADMIN_INTEGER, .help = "This one and the others that are here."},
    {0},
};

struct init {
    const struct broker *broker;
    enum rc rc;
    char why[HOMES_WHY_MAX];
};

static void do_init(void *own)
{
    struct init *init = own;
    init->rc = homes_init(init->broker->homes, INIT_WAIT_MS, init->why);
}

static uint32_t nodes_here(const struct broker *broker)
{
    struct cluster_member *members = mem_new(REMOTES_MAX * sizeof(*members));
    uint32_t count = cluster_members(broker->cluster, members, REMOTES_MAX), here = 1;

    for (uint32_t i = 0; i < count; i++)
        here += members[i].here;
    mem_free(members);
    return here;
}

static void answer_init(struct admin_call *call)
{
    struct init *init = call_own(call);
    struct homes_status status;

    homes_status(init->broker->homes, &status);
    if (init->rc == RC_OK)
        call_answer(call, 200,
                    json_pack("{s:s, s:s, s:I}", "name", init->broker->config->cluster.name, "id",
                              status.id, "nodes", (json_int_t)nodes_here(init->broker)));
    else
        call_problem(call, init->rc == RC_AGAIN ? 503 : 409, "%s", init->why);
    mem_free(init);
}

void api_init(struct admin_call *call)
{
    const struct broker *broker = api_clustered(call);
    struct init *init;

    if (broker == NULL)
        return;
    init = NEW(struct init);
    init->broker = broker;
    call_set_own(call, init);
    call_work(call, do_init, answer_init);
}
