/* SPDX-License-Identifier: Apache-2.0 */
/* The section `cluster` as it is meant: defaults that depend on the machine or on other keys, the
 * file that holds the secret. */
#ifndef CONFIG_CLUSTER_H
#define CONFIG_CLUSTER_H

#include "config/config.h"

enum {
    CLUSTER_PORT = 7883, /* of an address without one */
    CLUSTER_SECRET_MIN = 16,
    CLUSTER_ENGINE_OFFSET = 1000, /* from a node's link port */
    CLUSTER_ROUTE_OFFSET = 2000,
};

static inline bool cluster_configured(const struct config *config)
{
    return config->cluster.name[0] != '\0';
}

/* The name of this node; false when the host's cannot be one, and cluster.node has to be set. */
bool cluster_node(const struct config *config, char out[CONFIG_NAME_MAX]);

/* Where others find this node. Borrows. */
const struct config_address *cluster_advertised(const struct config *config);

/* Of this node's engine, and at which nodes' engines meet: that of the node at `address`. */
uint16_t cluster_engine_port(const struct config *config);
uint16_t cluster_route_port(const struct config *config, const struct config_address *address);

/* Fills out->hidden, from the file when the key names one; "" when there is none. */
bool cluster_secret(const struct config *config, struct config_secret *out,
                    struct config_error *error);

/* Is it the URL of a NATS server? */
bool cluster_url_valid(const char *url);

/* What config_validate() says of the section; true when it does not count. */
bool cluster_validate(const struct config *config, struct config_error *error);

#endif
