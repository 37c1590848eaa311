/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker answers over HTTP: the table is in api.c, with those who answer at once; clients
 * and sessions are in api_clients.c. To add a resource: a row in the table and its handler.
 */
#ifndef BROKER_API_H
#define BROKER_API_H

#include "admin/resource.h"
#include "base/rc.h"

/* The context of every handler is the `struct broker`. */
extern const struct resource api_resources[];

/* What a store that keeps something tells and does for the API; NULL in struct broker: the store of
 * this process keeps everything in memory. */
struct api_store_ops {
    const char *kind; /* "rocksdb" */
    /* Calls each() with every number it has. Server's thread; does not block. */
    void (*stats)(void *store, void (*each)(void *arg, const char *name, double value), void *arg);
    /* Makes a consistent copy in the folder `path`, which does not exist, while serving. On a
     * thread where it may block. On failure `detail` gets a sentence. */
    enum rc (*backup)(void *store, const char *path, char *detail, size_t room);
};

/* ---- api_cluster.c ----------------------------------------------------------------------------
 */

extern const struct admin_field api_cluster_answer[], api_shards_answer[], api_init_answer[];
void api_cluster(struct admin_call *call);
void api_shards(struct admin_call *call);
/* NULL: it has been answered that there is no cluster, or none with homes. */
const struct broker *api_clustered(struct admin_call *call);
void api_init(struct admin_call *call);

struct cluster_member;
struct homes;
struct homes_status;

/* What is told of the engine, of another node, and of a group: the parts of the answers. */
json_t *api_engine_json(const struct homes_status *status);
json_t *api_member_json(struct homes *homes, const struct cluster_member *member);
json_t *api_group_json(const struct broker *broker, uint32_t number,
                       const struct homes_status *status, const struct cluster_member *members,
                       uint32_t count);
/* It was removed, and has not come back in whatever way. */
bool api_member_is_gone(struct homes *homes, const struct cluster_member *member);

/* ---- api_operate.c -----------------------------------------------------------------------------
 */

extern const struct admin_field api_duty_parameters[];
extern const struct admin_field api_duty_answer[], api_rebalance_answer[];
void api_drain(struct admin_call *call);
void api_undrain(struct admin_call *call);
void api_rebalance(struct admin_call *call);

extern const struct admin_field api_remove_parameters[], api_recover_parameters[];
extern const struct admin_field api_remove_answer[];
void api_remove(struct admin_call *call);
void api_recover(struct admin_call *call);

/* ---- api_clients.c -----------------------------------------------------------------------------
 */

void api_clients_list(struct admin_call *call);
void api_client_get(struct admin_call *call);
void api_client_disconnect(struct admin_call *call);
void api_session_delete(struct admin_call *call);

#endif
