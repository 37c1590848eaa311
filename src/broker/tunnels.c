/* SPDX-License-Identifier: Apache-2.0 */
/* What conn/ and cluster/ want of each other: clients whose sessions live on another node. On the
 * worker's thread. */
#include "base/check.h"
#include "base/log.h"
#include "broker/node.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- conn/ asks cluster/ -----------------------------------------------------------------------
 */

struct conn_home tunnels_home_of(void *owner, uint32_t hash)
{
    const struct worker *worker = owner;
    const struct broker *broker = worker->broker;
    if (broker->cluster == NULL)
        return (struct conn_home){.place = CONN_HERE};
    uint32_t shard = hash % broker->config->shards;
    struct cluster_home home = cluster_home_of(broker->cluster, shard);
    if (home.place == CLUSTER_HERE && broker->groups != NULL &&
        (!groups_serve(broker->groups, shard) ||
         !cluster_has_gathered(broker->cluster, worker->index, shard) ||
         !cluster_may_act(broker->cluster, shard)))
        home.place = CLUSTER_NOWHERE; /* it is being loaded, or has just left, or has to be told */
    if (home.place == CLUSTER_NOWHERE &&
        (cluster_is_cut_off(broker->cluster) || cluster_is_out_of_reach(broker->cluster, shard)))
        return (struct conn_home){.place = CONN_CUT_OFF};
    static const enum conn_place places[] = {
        [CLUSTER_HERE] = CONN_HERE, [CLUSTER_AWAY] = CONN_AWAY, [CLUSTER_NOWHERE] = CONN_NOWHERE};
    return (struct conn_home){
        .place = places[home.place], .node = home.remote, .workers = home.workers};
}

void tunnels_take(void *owner, const struct conn_home *home, int fd,
                  const struct conn_origin *origin, struct stream_filter *filter, uint8_t *unread,
                  size_t unread_len)
{
    struct worker *worker = owner;
    struct cluster_home to = {
        .place = CLUSTER_AWAY, .remote = home->node, .workers = home->workers};
    struct cluster_client client = {.hash = origin->hash,
                                    .transport = (uint8_t)origin->transport,
                                    .listener = (uint8_t)origin->listener,
                                    .durability = origin->durability,
                                    .version = origin->version,
                                    .peer = origin->peer};
    cluster_tunnel(worker->broker->cluster, worker->index, &to, fd, &client, filter, unread,
                   unread_len);
}

struct registration *tunnels_enroll(void *owner, const struct conn_home *home,
                                    struct bytes client_id, struct conn *conn,
                                    enum conn_enrolment kind, struct message *will)
{
    const struct worker *worker = owner;
    struct cluster_home at = {.place = home->place == CONN_HERE ? CLUSTER_HERE : CLUSTER_AWAY,
                              .remote = home->node,
                              .workers = home->workers};
    return cluster_register(worker->broker->cluster, worker->index, &at, client_id, conn,
                            kind == CONN_ASKS ? REGISTER_NEW : REGISTER_AGAIN, will);
}

bool tunnels_is_enrolled(void *owner, const struct registration *registration)
{
    (void)owner;
    return cluster_is_registered(registration);
}

void tunnels_withdraw(void *owner, struct registration *registration, enum session_will will)
{
    (void)owner;
    cluster_unregister(registration,
                       will == SESSION_WILL_KEEP ? CLUSTER_WILL_DUE : CLUSTER_WILL_VOID);
}

bool tunnels_vacate(void *owner, struct bytes client_id, struct conn *conn)
{
    const struct worker *worker = owner;
    struct cluster *cluster = worker->broker->cluster;
    return cluster == NULL || cluster_vacate(cluster, worker->index, client_id, conn);
}

void tunnels_forget(void *owner, const struct conn *conn)
{
    const struct worker *worker = owner;
    cluster_forget(worker->broker->cluster, worker->index, conn);
}

/* ---- cluster/ asks conn/ -----------------------------------------------------------------------
 */

static bool accept_tunnelled(void *owner, struct stream_carrier *carrier,
                             const struct cluster_client *client)
{
    struct worker *worker = owner;
    struct conn_origin origin = {.transport = (enum transport)client->transport,
                                 .listener = client->listener,
                                 .durability = client->durability,
                                 .hash = client->hash,
                                 .peer = client->peer};
    if (client->durability > DURABILITY_MEMORY)
        return false;
    return conn_accept_tunnelled(&worker->conns, carrier, &origin);
}

static size_t farewell(void *owner, const struct cluster_client *client, bool answered,
                       uint8_t *out, size_t room)
{
    const struct worker *worker = owner;
    return conn_farewell(&worker->conns, (enum mqtt_version)client->version, answered, out, room);
}

static void homes_changed(void *owner)
{
    struct worker *worker = owner;
    cluster_tell_view(worker->broker->cluster, worker->index); /* before publishers go on */
    conn_worker_homes_changed(&worker->conns);
}

static void go_on(void *owner, void *holder)
{
    (void)owner;
    conn_go_on(holder);
}

static void drop(void *owner, void *holder, bool reached)
{
    (void)owner;
    conn_drop(holder, reached);
}

static void evict(void *owner, struct bytes client_id)
{
    struct worker *worker = owner;
    conn_worker_evict(&worker->conns, client_id);
}

const struct cluster_clients tunnels_clients = {.accept = accept_tunnelled,
                                                .farewell = farewell,
                                                .homes_changed = homes_changed,
                                                .go_on = go_on,
                                                .drop = drop,
                                                .evict = evict};

/* ---- for tests ---------------------------------------------------------------------------------
 */

bool tunnels_test_homes(struct broker *broker)
{
    /* "a:0-7,b:8-15": nodes and the groups that they are home of, for ever */
    const char *at = getenv("SKEIN_TEST_HOMES");
    char node[LINK_NAME_MAX + 1];
    char *rest;
    if (at == NULL)
        return false;
    while (*at != '\0') {
        size_t len = strcspn(at, ":");
        snprintf(node, sizeof(node), "%.*s", (int)len, at);
        CHECK(at[len] == ':');
        unsigned long first = strtoul(at + len + 1, &rest, 10);
        CHECK(*rest == '-');
        unsigned long last = strtoul(rest + 1, &rest, 10);
        for (unsigned long group = first; group <= last && group < CLUSTER_GROUPS; group++)
            cluster_set_home(broker->cluster, (uint32_t)group, node, 0);
        at = rest + (*rest == ',');
    }
    return true;
}
