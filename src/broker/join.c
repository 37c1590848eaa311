/* SPDX-License-Identifier: Apache-2.0 */
/* How a node joins its cluster: what the configuration says, put together with the workers. */
#include "base/check.h"
#include "base/log.h"
#include "broker/node.h"
#include "config/address.h"
#include "config/cluster.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINK_BACKLOG = 256 };

_Static_assert(LINK_ADDRESS_MAX >= CONFIG_TEXT_MAX + 7, "every address of the configuration fits");

static void take_addresses(struct join *join, const struct config *config)
{
    for (uint32_t i = 0;
         i < config->cluster.address_count && join->options.address_count < CLUSTER_ADDRESSES_MAX;
         i++) {
        struct cluster_address *to = &join->options.addresses[join->options.address_count++];
        snprintf(to->host, sizeof(to->host), "%s", config->cluster.addresses[i].host);
        to->port = config->cluster.addresses[i].port;
    }
}

uint32_t asked_by_test(const char *variable)
{
    const char *asked = getenv(variable);
    return asked == NULL ? 0 : (uint32_t)strtoul(asked, NULL, 10);
}

int join_open(struct broker *broker)
{
    const struct config *config = broker->config;
    struct join *join = &broker->join;
    struct config_error error;
    if (!cluster_configured(config))
        return BROKER_EXIT_OK;
    if (!cluster_secret(config, &join->secret, &error)) {
        fprintf(stderr, "skein: %s\n", error.text);
        return BROKER_EXIT_UNAVAILABLE;
    }
    if (!cluster_node(config, join->node)) {
        fprintf(stderr, "skein: cluster.node: the host's name cannot be one; set it\n");
        return BROKER_EXIT_UNAVAILABLE;
    }
    const struct config_address *advertised = cluster_advertised(config);
    address_format(advertised->host, advertised->port, join->address, sizeof(join->address));
    struct listener_address address = {.port = config->cluster.listen.port, .exclusive = true};
    snprintf(address.host, sizeof(address.host), "%s", config->cluster.listen.host);
    join->listening_fd = bind_or_say("cluster.listen", &address, LINK_BACKLOG);
    if (join->listening_fd < 0)
        return BROKER_EXIT_UNAVAILABLE;
    join->options.identity = (struct link_identity){.cluster = config->cluster.name,
                                                    .node = join->node,
                                                    .address = join->address,
                                                    .secret = bytes_of_str(join->secret.hidden)};
    take_addresses(join, config);
    join->options.identity.version_max = (uint16_t)asked_by_test("SKEIN_TEST_LINK_VERSION");
    join->options.serves_cut_off = config->cluster.cut_off == CLUSTER_CUT_OFF_SERVE;
    join->options.edge_lease_ms = asked_by_test("SKEIN_TEST_EDGE_LEASE");
    broker->cluster = cluster_new(&join->options, &broker->router,
                                  metrics_shard_get(&broker->metrics, broker->worker_count + 1),
                                  broker->worker_count);
    if (!tunnels_test_homes(broker) && config_strictest_durability(config) != DURABILITY_MEMORY)
        homes_make(broker);
    return BROKER_EXIT_OK;
}

void join_worker(struct worker *worker)
{
    struct cluster *cluster = worker->broker->cluster;
    if (cluster == NULL)
        return;
    cluster_join_worker(
        cluster, worker->index,
        &(struct cluster_worker){.hub = &worker->hub,
                                 .loop = &worker->loop,
                                 .mailbox = &worker->mailbox,
                                 .clients = &tunnels_clients,
                                 .clients_owner = worker,
                                 .connections = &worker->broker->shared.connections});
}

int join_groups(struct broker *broker)
{
    char why[HOMES_WHY_MAX] = "";
    if (broker->homes == NULL)
        return BROKER_EXIT_OK;
    enum rc rc = groups_begin(broker->groups, broker->homes);
    if (rc != RC_OK)
        snprintf(why, sizeof(why), "the store's record of a changelog's position cannot be read");
    else
        rc = homes_start(broker->homes, why);
    if (rc == RC_OK) {
        groups_start(broker->groups);
        return BROKER_EXIT_OK;
    }
    LOG(LOG_ERROR, "cluster.not_joined", log_text("reason", why));
    fprintf(stderr, "skein: %s\n", why);
    return rc == RC_INVALID ? BROKER_EXIT_DATA : BROKER_EXIT_IO;
}

void join_start(struct broker *broker)
{
    const struct join *join = &broker->join;
    if (broker->cluster == NULL)
        return;
    if (cluster_start(broker->cluster, join->listening_fd) != RC_OK)
        CHECK(!"a thread could not be started");
    LOG(LOG_INFO, "cluster.joining", log_text("cluster", broker->config->cluster.name),
        log_text("node", join->node), log_text("address", join->address),
        log_uint("addresses", join->options.address_count));
}
