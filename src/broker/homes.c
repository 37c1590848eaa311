/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The groups of which this node is home, and the store behind them. Nothing of MQTT is in the
 * changelogs yet, so all that there is to keep is how far each has been read: the file `positions`
 * in the data directory, written now and then. Without it a node begins where the home of the group
 * is. All on the homes thread but what says otherwise.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { SAVE_MS = 2000 };

static const char line_format[] =
    "%" PRIu64 " %" PRIu64 " %" PRIu64 " %016" PRIx64 "%016" PRIx64 " %d\n";

/* ---- the file ----------------------------------------------------------------------------------
 */

static void write_line(FILE *out, const struct changelog_position *position)
{
    uint64_t hash[2];

    memcpy(hash, position->hash.bytes, sizeof(hash));
    fprintf(out, line_format, position->sequence, position->epoch, position->batch, hash[0],
            hash[1], position->held);
}

static bool read_line(FILE *in, struct changelog_position *position)
{
    uint64_t hash[2];
    int held;

    if (fscanf(in, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %16" SCNx64 "%16" SCNx64 " %d\n",
               &position->sequence, &position->epoch, &position->batch, &hash[0], &hash[1],
               &held) != 6)
        return false;
    memcpy(position->hash.bytes, hash, sizeof(hash));
    position->held = held != 0;
    return true;
}

static void load(struct groups *groups)
{
    struct changelog_position read[HOMES_GROUPS];
    FILE *in = fopen(groups->path, "re");
    uint32_t count = 0;

    if (in == NULL)
        return;
    while (count < HOMES_GROUPS && read_line(in, &read[count]))
        count++;
    fclose(in);
    if (count == HOMES_GROUPS)
        memcpy(groups->at, read, sizeof(read));
}

/* Not flushed: what a loss of power leaves may be old or none, and nothing hangs on it. */
static void save(struct groups *groups)
{
    char part[sizeof(groups->path) + 8];
    FILE *out;

    snprintf(part, sizeof(part), "%s.new", groups->path);
    out = fopen(part, "we");
    if (out == NULL)
        return;
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        write_line(out, &groups->at[i]);
    if (fclose(out) != 0 || rename(part, groups->path) != 0)
        LOG_LIMITED(LOG_WARN, "homes.positions_not_saved", log_text("path", groups->path));
}

/* ---- struct homes_ops --------------------------------------------------------------------------
 */

static void moved(void *owner, uint32_t group, const struct changelog_position *position)
{
    struct broker *broker = owner;
    struct groups *groups = &broker->groups;
    uint64_t now_ms = clock_ms();

    groups->at[group] = *position;
    if (now_ms < groups->save_ms)
        return;
    groups->save_ms = now_ms + SAVE_MS;
    save(groups);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        homes_flushed(broker->homes, i, &groups->at[i]);
}

static void apply(void *owner, uint32_t group, struct bytes batch,
                  const struct changelog_position *position)
{
    (void)batch;
    moved(owner, group, position);
}

static void opened(void *owner, uint32_t group, uint64_t epoch)
{
    struct broker *broker = owner;

    broker->groups.epoch[group] = epoch;
    homes_serving(broker->homes, group, epoch);
}

static void close_group(void *owner, uint32_t group)
{
    struct broker *broker = owner;
    homes_closed(broker->homes, group, broker->groups.epoch[group]);
}

static void lost(void *owner, uint32_t group, const char *why)
{
    (void)owner;
    (void)group;
    (void)why;
}

/* There is nothing to copy: where the home stands is as good. */
static void behind(void *owner, uint32_t group, const char *why)
{
    struct broker *broker = owner;
    struct home home = homes_of(broker->homes, group);
    struct homes_news news;
    const char *node = home.place == HOME_AWAY ? homes_node_name(broker->homes, home.node) : NULL;
    (void)why;

    if (node == NULL || !homes_news_of(broker->homes, node, &news) ||
        news.groups[group].flushed.sequence == 0)
        return;
    broker->groups.at[group] = news.groups[group].flushed;
    homes_position_set(broker->homes, group, &broker->groups.at[group]);
}

static void changed(void *owner)
{
    const struct broker *broker = owner;
    cluster_news_changed(broker->cluster);
}

static const struct homes_ops ops = {
    .apply = apply,
    .moved = moved,
    .opened = opened,
    .committed = moved,
    .close = close_group,
    .lost = lost,
    .behind = behind,
    .changed = changed,
};

/* ---- options -----------------------------------------------------------------------------------
 */

static bool is_self(const struct config *config, const struct config_address *address)
{
    const struct config_address *own = cluster_advertised(config);
    const struct config_address *listen = &config->cluster.listen;

    return (address->port == own->port && strcmp(address->host, own->host) == 0) ||
           (address->port == listen->port && strcmp(address->host, listen->host) == 0);
}

static void take_routes(const struct config *config, struct managed_nats *nats)
{
    snprintf(nats->listen.host, sizeof(nats->listen.host), "%s", config->cluster.listen.host);
    nats->listen.port = cluster_route_port(config, &config->cluster.listen);
    for (uint32_t i = 0; i < config->cluster.address_count; i++) {
        const struct config_address *address = &config->cluster.addresses[i];
        if (is_self(config, address) || nats->route_count == MANAGED_ROUTES_MAX)
            continue;
        struct managed_route *route = &nats->routes[nats->route_count++];
        snprintf(route->host, sizeof(route->host), "%s", address->host);
        route->port = cluster_route_port(config, address);
    }
}

static void take_engine(const struct broker *broker, struct homes_options *options)
{
    const struct config *config = broker->config;
    struct managed_nats *nats = &options->nats;

    snprintf(nats->cluster, sizeof(nats->cluster), "%s", config->cluster.name);
    snprintf(nats->node, sizeof(nats->node), "%s", broker->join.node);
    nats->client_port = cluster_engine_port(config);
    nats->store_bytes_max = ENGINE_STORE_MAX;
    managed_derive(broker->join.secret.hidden, config->cluster.name, &nats->credentials);
    take_routes(config, nats);
    options->others = nats->route_count;
    if (config->cluster.engine == CLUSTER_ENGINE_MANAGED) {
        options->program = "nats-server";
        return;
    }
    options->engine.url_count = config->cluster.engine_url_count;
    for (uint32_t i = 0; i < config->cluster.engine_url_count; i++)
        options->engine.urls[i] = config->cluster.engine_urls[i].hidden;
}

void groups_make(struct broker *broker)
{
    const struct config *config = broker->config;
    struct homes_options *options = NEW(struct homes_options);

    *options = (struct homes_options){
        .cluster = config->cluster.name,
        .node = broker->join.node,
        .data_dir = broker->data_dir,
        .incarnation = cluster_incarnation(broker->cluster),
        .weight = config->cluster.weight,
        .workers = broker->worker_count,
        .standby = config->cluster.role == CLUSTER_STANDBY,
        .metrics = metrics_shard_get(&broker->metrics, broker->worker_count + 2),
        .ops = &ops,
        .owner = broker,
    };
    take_engine(broker, options);
    broker->homes = homes_new(options);
    explicit_bzero(options, sizeof(*options));
    mem_free(options);
    cluster_set_homes(broker->cluster, broker->homes);
    snprintf(broker->groups.path, sizeof(broker->groups.path), "%s/positions", broker->data_dir);
    load(&broker->groups);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        homes_position_set(broker->homes, i, &broker->groups.at[i]);
}
