/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of this node's nats-server, and the credentials that all nodes of a cluster
 * derive from cluster.secret, so that nobody has to hand them round. Pure.
 */
#ifndef MANAGED_NATS_CONFIG_H
#define MANAGED_NATS_CONFIG_H

#include "base/rc.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    MANAGED_NAME_MAX = 64,     /* of a cluster or a node */
    MANAGED_STORE_ID = 17,     /* 16 digits and NUL */
    MANAGED_PASSWORD_MAX = 65, /* 64 digits and NUL */
    MANAGED_ROUTES_MAX = 64,
    MANAGED_HOST_MAX = 256,
    MANAGED_PAYLOAD_MAX = 8 << 20,
    MANAGED_PATH_MAX = 1024,
};

#define MANAGED_USER "skein"         /* of the account that holds the changelogs */
#define MANAGED_SYSTEM_USER "system" /* may remove servers from the cluster */

struct managed_credentials {
    char user[MANAGED_PASSWORD_MAX];   /* password of MANAGED_USER */
    char system[MANAGED_PASSWORD_MAX]; /* of MANAGED_SYSTEM_USER */
    char route[MANAGED_PASSWORD_MAX];  /* between servers */
};

struct managed_route {
    char host[MANAGED_HOST_MAX]; /* without brackets */
    uint16_t port;
};

struct managed_nats {
    char cluster[MANAGED_NAME_MAX], node[MANAGED_NAME_MAX];
    char store_id[MANAGED_STORE_ID];
    char folder[MANAGED_PATH_MAX];                   /* that the server may use */
    uint16_t client_port;                            /* on 127.0.0.1 */
    struct managed_route listen;                     /* for the other servers */
    struct managed_route routes[MANAGED_ROUTES_MAX]; /* none: it is alone */
    uint32_t route_count;
    uint64_t store_bytes_max;
    struct managed_credentials credentials;
};

/* HKDF-SHA256 over the secret, for this cluster alone. */
void managed_derive(const char *secret, const char *cluster, struct managed_credentials *out);

/* "<node>-<store id>": a server that has lost its store is another server. */
void managed_server_name(const struct managed_nats *nats,
                         char out[MANAGED_NAME_MAX + MANAGED_STORE_ID]);

/* RC_INVALID: something in it cannot be written in such a file. */
MUST_USE enum rc managed_write_config(const struct managed_nats *nats, FILE *out);

#endif
