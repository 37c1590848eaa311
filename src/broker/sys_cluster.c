/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The $SYS topics of the cluster: the engine, each link and each group, as the API tells of them.
 * On worker 0.
 *
 * Limit: SYS_LINKS_MAX links.
 */
#include "base/memory.h"
#include "broker/api.h"
#include "broker/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOPIC_MAX = sizeof(SYS_CLUSTER "/groups/") + LINK_NAME_MAX + 16 };

struct sys_cluster {
    char *engine, *links[SYS_LINKS_MAX], *groups[HOMES_GROUPS]; /* said last; NULL: nothing */
    sys_emit *publish;
    void *arg;
};

struct sys_cluster *sys_cluster_new(void)
{
    return NEW(struct sys_cluster);
}

void sys_cluster_free(struct sys_cluster *told)
{
    free(told->engine);
    for (uint32_t i = 0; i < SYS_LINKS_MAX; i++)
        free(told->links[i]);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        free(told->groups[i]);
    mem_free(told);
}

/* Takes the text, or NULL: the topic has nothing to say any more. */
static void say_text(struct sys_cluster *told, char **last, const char *topic, char *text)
{
    bool same = (text == NULL) == (*last == NULL) && (text == NULL || strcmp(text, *last) == 0);

    free(*last);
    *last = text;
    if (!same)
        told->publish(told->arg, topic, text == NULL ? "" : text);
}

/* Takes the JSON. */
static void say(struct sys_cluster *told, char **last, const char *topic, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    say_text(told, last, topic, text);
}

static void say_links(struct sys_cluster *told, const struct broker *broker,
                      const struct cluster_member *members, uint32_t count)
{
    char topic[TOPIC_MAX];

    for (uint32_t i = 0; i < count && i < SYS_LINKS_MAX; i++) {
        snprintf(topic, sizeof(topic), SYS_CLUSTER "/links/%s", members[i].node);
        if (api_member_is_gone(broker->homes, &members[i]))
            say_text(told, &told->links[i], topic, NULL);
        else
            say(told, &told->links[i], topic, api_member_json(broker->homes, &members[i]));
    }
}

static void say_groups(struct sys_cluster *told, const struct broker *broker,
                       const struct homes_status *status, const struct cluster_member *members,
                       uint32_t count)
{
    char topic[TOPIC_MAX];

    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        snprintf(topic, sizeof(topic), SYS_CLUSTER "/groups/%u", i);
        say(told, &told->groups[i], topic, api_group_json(broker, i, status, members, count));
    }
}

void sys_cluster_update(struct sys_cluster *told, const struct broker *broker, sys_emit *publish,
                        void *arg)
{
    struct cluster_member *members = mem_new(REMOTES_MAX * sizeof(*members));
    uint32_t count = cluster_members(broker->cluster, members, REMOTES_MAX);
    struct homes_status status;

    told->publish = publish;
    told->arg = arg;
    say_links(told, broker, members, count);
    if (broker->homes != NULL) {
        homes_status(broker->homes, &status);
        say(told, &told->engine, SYS_CLUSTER "/engine", api_engine_json(&status));
        if (status.phase >= HOMES_RUNNING)
            say_groups(told, broker, &status, members, count);
    }
    mem_free(members);
}
