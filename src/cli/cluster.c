/* SPDX-License-Identifier: Apache-2.0 */
/* `skein cluster`: the command line of what concerns all nodes of a cluster. */
#include "cli/cluster.h"

#include "cli/commands.h"

#include <string.h>

static int cmd_cluster(int argc, char **argv);

enum { OPT_LISTEN = OPTION_LONG, OPT_BY_CLIENT_ID, OPT_JSON, OPT_WITHOUT };

static const struct option cluster_options[] = {
    {.id = 'c',
     .name = "config",
     .argument = "FILE",
     .flags = OPTION_REPEATABLE | OPTION_FILE,
     .help =
         "haproxy: the configuration of a node, by default " DEFAULT_CONFIG_FILE ". Given once, "
         "the other nodes are taken to be configured alike; given for every node, nothing is "
         "assumed."},
    {.id = 'd',
     .name = "data-dir",
     .argument = "DIR",
     .flags = OPTION_FILE,
     .help =
         "The data directory of a node that runs; by default " DEFAULT_DATA_DIR ". haproxy: ask "
         "that node who the others are; by default they are those of cluster.addresses."},
    {.id = OPT_JSON,
     .name = "json",
     .help = "All but haproxy: print the answer as JSON, for scripts."},
    {.id = OPT_WITHOUT,
     .name = "without",
     .argument = "NODE",
     .help = "recover: the name of the node whose disk is lost."},
    {.id = OPT_LISTEN,
     .name = "listen",
     .argument = "ADDRESS",
     .help = "haproxy: where clients reach HAProxy, by default 127.0.0.1:1883."},
    {.id = OPT_BY_CLIENT_ID,
     .name = "by-client-id",
     .help = "haproxy: choose the node by the client id, so that a client comes back to the one it "
             "had. For MQTT 3.1.1 and 5.0; HAProxy refuses others then."},
    {0},
};

static const struct operand cluster_operands[] = {
    {"ACTION", "What to do; see above.",
     "init status members shards drain undrain rebalance remove recover haproxy"},
    {"NODE",
     "drain, undrain: the name of a node of the cluster, by default the one that is asked. remove: "
     "the name of the node that is gone.",
     NULL},
    {0},
};

static const struct exit_code cluster_exit_codes[] = {
    {EX_OK, "It was done."},
    {EX_USAGE, "The command line is wrong."},
    {EX_NOINPUT, "The node that was asked is in no cluster, or knows no node of that name."},
    {EX_UNAVAILABLE, "No broker runs on the data directory. init: it is not done yet, and goes on "
                     "by itself. drain, "
                     "undrain: the other node cannot be reached, or has not answered."},
    {EX_SOFTWARE, "It was refused; the message says why."},
    {EX_NOPERM, "The data directory is not yours to open."},
    {EX_CONFIG, "A configuration is wrong, or lacks what a balancer needs; the message says what."},
    {0},
};

static const struct example cluster_examples[] = {
    {"skein cluster init", "Once, on one node, when all nodes run."},
    {"skein cluster shards", "Which node is home of what."},
    {"skein cluster drain", "This node's groups and clients go to others, before it is stopped."},
    {"skein cluster drain n3", "Those of n3, asked from any other node."},
    {"skein cluster remove n3", "n3 will not come back."},
    {"skein cluster haproxy -d /var/lib/skein --listen 192.0.2.10:1883",
     "A balancer for the nodes that the one here knows."},
    {"skein cluster haproxy -c n1.yaml -c n2.yaml -c n3.yaml --by-client-id",
     "The same from the configurations of three nodes; each client comes back to its node."},
    {0},
};

const struct command command_cluster = {
    .name = "cluster",
    .summary = "what concerns all nodes of a cluster",
    .synopsis = "ACTION [OPTIONS]",
    .description =
        "init makes a cluster of nodes that know each other: it waits until all that are in "
        "cluster.addresses are here, starts their engines, makes the changelogs, and gives each "
        "data directory the cluster's id. It is done once, on one node.\n\n"
        "status shows a node and its engine, members the other nodes, shards the groups of shards: "
        "the home of each, its epoch, and how far this node and the standbys are.\n\n"
        "drain takes a node out of service, the one that is asked or, from there, another one by "
        "its name: it says so to load balancers at once, "
        "and after cluster.drain_delay its groups and clients go to other nodes, at "
        "cluster.drain_rate. It stays so, also when it is restarted, until undrain; status on "
        "it, or drain again from anywhere, "
        "shows how many groups and connections are left. rebalance brings groups to the nodes that "
        "should be their homes now, and not after ten seconds.\n\n"
        "remove makes all nodes forget one that is gone for good; it has to be stopped before. "
        "recover "
        "does so after all machines have lost power at once, when the others wait for a node whose "
        "disk is lost: what it alone held is lost with it.\n\n"
        "haproxy prints a complete haproxy.cfg for HAProxy 2.6 and later in front of all nodes. "
        "Clients' addresses are passed on (a listener with proxy_protocol: required), /ready says "
        "who takes clients (health.listen), and the agent how many (health.agent_listen, unless "
        "--by-client-id).",
    .options = cluster_options,
    .operands = cluster_operands,
    .exit_codes = cluster_exit_codes,
    .examples = cluster_examples,
    .run = cmd_cluster,
};

struct action {
    const char *name;
    int (*run)(const struct cluster_args *args);
    bool takes_node; /* as a word */
};

static const struct action actions[] = {
    {"init", cluster_ask_init, false},        {"status", cluster_show_status, false},
    {"members", cluster_show_members, false}, {"shards", cluster_show_shards, false},
    {"drain", cluster_drain, true},           {"undrain", cluster_undrain, true},
    {"rebalance", cluster_rebalance, false},  {"remove", cluster_remove, true},
    {"recover", cluster_recover, false},      {"haproxy", cluster_haproxy, false},
};

enum { ACTION_COUNT = sizeof(actions) / sizeof(*actions) };

static const struct action *find_action(struct options *o)
{
    for (int i = 0; i < ACTION_COUNT; i++)
        if (strcmp(actions[i].name, o->value) == 0)
            return &actions[i];
    options_fail(o, "there is no action '%s'; there are: %s", o->value,
                 cluster_operands[0].choices);
    return NULL;
}

static void take_file(struct options *o, struct cluster_args *args)
{
    if (args->file_count < CLUSTER_FILES_MAX)
        args->files[args->file_count++] = o->value;
    else
        options_fail(o, "there are more than %d configurations", CLUSTER_FILES_MAX);
}

static int cmd_cluster(int argc, char **argv)
{
    struct options o = options_begin(&command_cluster, argc, argv);
    const struct action *action = NULL;
    struct cluster_args args = {0};

    while (options_next(&o)) {
        if (o.id == 'c')
            take_file(&o, &args);
        else if (o.id == 'd')
            args.data_dir = o.value;
        else if (o.id == OPT_LISTEN)
            args.listen = o.value;
        else if (o.id == OPT_JSON)
            args.json = true;
        else if (o.id == OPT_BY_CLIENT_ID)
            args.by_client_id = true;
        else if (o.id == OPT_WITHOUT)
            args.node = o.value;
        else if (action == NULL)
            action = find_action(&o);
        else if (action->takes_node && args.node == NULL)
            args.node = o.value;
        else
            options_fail(&o, "%s: unexpected word '%s'", action->name, o.value);
    }
    if (action == NULL)
        options_fail(&o, "an action is missing: %s", cluster_operands[0].choices);
    return o.ended || action == NULL ? o.exit_code : action->run(&args);
}
