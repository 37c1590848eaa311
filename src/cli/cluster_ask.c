/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `skein cluster` asks of the broker that runs on a data directory, over its control socket.
 * `skein ctl --json` has all that there is to know.
 */
#include "cli/cluster.h"

#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/ctl_print.h"

#include <stdio.h>
#include <string.h>

enum { STANDBYS_TEXT = 4096 };

/* ---- for people --------------------------------------------------------------------------------
 */

/* "n1 1204, n2 1204" in the place of a list. */
static void write_standbys(json_t *group)
{
    char text[STANDBYS_TEXT] = "";
    size_t used = 0, i;
    json_t *standby;

    json_array_foreach(json_object_get(group, "standbys"), i, standby)
    {
        int len = snprintf(text + used, sizeof(text) - used, "%s%s %lld", i == 0 ? "" : ", ",
                           json_string_value(json_object_get(standby, "node")),
                           (long long)json_integer_value(json_object_get(standby, "sequence")));
        if (len < 0 || (size_t)len >= sizeof(text) - used)
            break;
        used += (size_t)len;
    }
    json_object_set_new(group, "standbys", used == 0 ? json_null() : json_string(text));
}

/* "copying: 1204 records, 88123 bytes from n1" in the place of the state. */
static void write_copy(json_t *group)
{
    char text[STANDBYS_TEXT];
    const json_t *from = json_object_get(group, "copy_from");

    if (from == NULL)
        return;
    snprintf(text, sizeof(text), "copying: %lld records, %lld bytes from %s",
             (long long)json_integer_value(json_object_get(group, "copied_records")),
             (long long)json_integer_value(json_object_get(group, "copied_bytes")),
             json_string_value(from));
    json_object_set_new(group, "state", json_string(text));
}

/* What --json has and a table no room for; the last is NULL. */
static void leave_out(json_t *row, const char *const names[])
{
    for (size_t i = 0; names[i] != NULL; i++)
        json_object_del(row, names[i]);
}

static void shorten_groups(json_t *answer)
{
    static const char *const left_out[] = {"claims",       "deposed", "changes",   "appended",
                                           "resent",       "refused", "copy_from", "copied_records",
                                           "copied_bytes", "trimmed", "reason",    "read_lag",
                                           "standby_lag",  "window",  "wait_ms",   NULL};
    json_t *group;
    size_t i;

    json_array_foreach(json_object_get(answer, "groups"), i, group)
    {
        write_copy(group);
        leave_out(group, left_out);
        write_standbys(group);
    }
}

static void shorten_members(json_t *members)
{
    static const char *const left_out[] = {"protocol", "lost",    "unsettled",  "sent_bytes",
                                           "pauses",   "waiting", "unanswered", "under_way_bytes",
                                           NULL};
    json_t *member;
    size_t i;

    json_array_foreach(members, i, member)
    {
        leave_out(member, left_out);
    }
}

/* ---- actions -----------------------------------------------------------------------------------
 */

static void print_status(json_t *answer)
{
    json_object_del(answer, "members");
    ctl_print(answer, stdout);
}

static void print_members(json_t *answer)
{
    json_t *members = json_pack("{s:O}", "members", json_object_get(answer, "members"));
    shorten_members(json_object_get(members, "members"));
    ctl_print(members, stdout);
    json_decref(members);
}

static void print_shards(json_t *answer)
{
    shorten_groups(answer);
    ctl_print(answer, stdout);
}

static void print_whole(json_t *answer)
{
    ctl_print(answer, stdout);
}

/* Takes the body; NULL: none. */
static int ask_with(const struct cluster_args *args, enum http_method method, const char *target,
                    json_t *body, void (*print)(json_t *answer))
{
    const char *data_dir = args->data_dir != NULL ? args->data_dir : DEFAULT_DATA_DIR;
    struct control_answer answer;
    int result = control_ask("cluster", data_dir, method, target, body, &answer);

    if (result == EX_OK && args->json) {
        json_dumpf(answer.json, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (result == EX_OK) {
        print(answer.json);
    }
    control_answer_free(&answer);
    json_decref(body);
    return result;
}

static int ask(const struct cluster_args *args, enum http_method method, const char *target,
               void (*print)(json_t *answer))
{
    return ask_with(args, method, target, NULL, print);
}

int cluster_ask_init(const struct cluster_args *args)
{
    return ask(args, HTTP_POST, "/v1/cluster/init", print_whole);
}

/* NULL: the node that is asked itself. */
static json_t *node_body(const char *node)
{
    return node == NULL ? NULL : json_pack("{s:s}", "node", node);
}

int cluster_drain(const struct cluster_args *args)
{
    return ask_with(args, HTTP_POST, "/v1/cluster/drain", node_body(args->node), print_whole);
}

int cluster_undrain(const struct cluster_args *args)
{
    return ask_with(args, HTTP_POST, "/v1/cluster/undrain", node_body(args->node), print_whole);
}

int cluster_rebalance(const struct cluster_args *args)
{
    return ask(args, HTTP_POST, "/v1/cluster/rebalance", print_whole);
}

int cluster_show_status(const struct cluster_args *args)
{
    return ask(args, HTTP_GET, "/v1/cluster", print_status);
}

int cluster_show_members(const struct cluster_args *args)
{
    return ask(args, HTTP_GET, "/v1/cluster", print_members);
}

int cluster_show_shards(const struct cluster_args *args)
{
    return ask(args, HTTP_GET, "/v1/cluster/shards", print_shards);
}

static int ask_about(const struct cluster_args *args, const char *target, const char *parameter,
                     const char *usage)
{
    if (args->node != NULL)
        return ask_with(args, HTTP_POST, target, json_pack("{s:s}", parameter, args->node),
                        print_whole);
    fprintf(stderr, "skein cluster: the node is missing: skein cluster %s\n", usage);
    return EX_USAGE;
}

int cluster_remove(const struct cluster_args *args)
{
    return ask_about(args, "/v1/cluster/remove", "node", "remove NODE");
}

int cluster_recover(const struct cluster_args *args)
{
    return ask_about(args, "/v1/cluster/recover", "without", "recover --without NODE");
}
