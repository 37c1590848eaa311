/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration says of homes: which engine, and where the others' are. */
#include "base/memory.h"
#include "broker/copies.h"
#include "broker/node.h"

#include <stdio.h>

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

void homes_make(struct broker *broker)
{
    const struct config *config = broker->config;
    struct homes_options *options = NEW(struct homes_options);
    broker->groups = groups_new(broker);

    *options = (struct homes_options){
        .cluster = config->cluster.name,
        .node = broker->join.node,
        .data_dir = broker->data_dir,
        .incarnation = cluster_incarnation(broker->cluster),
        .weight = config->cluster.weight,
        .workers = broker->worker_count,
        .keep = asked_by_test("SKEIN_TEST_LOG_KEEP"),
        .stay_ms = config->cluster.home_stay_ms,
        .standby = config->cluster.role == CLUSTER_STANDBY,
        .metrics = metrics_shard_get(&broker->metrics, broker->worker_count + 2),
        .ops = &groups_homes_ops,
        .owner = broker->groups,
    };
    take_engine(broker, options);
    broker->homes = homes_new(options);
    explicit_bzero(options, sizeof(*options));
    mem_free(options);
    cluster_set_homes(broker->cluster, broker->homes);
    cluster_set_copies(broker->cluster, &broker_copies_ops, broker);
}
