/* SPDX-License-Identifier: Apache-2.0 */
/* The one struct behind a running node. Inside broker/ only, and for bench/million.c, which turns a
 * worker itself. */
#ifndef BROKER_NODE_H
#define BROKER_NODE_H

#include "broker/broker.h"
#include "broker/control.h"
#include "broker/groups.h"
#include "broker/health.h"
#include "broker/worker.h"
#include "cluster/cluster.h"
#include "config/cluster.h"
#include "homes/homes.h"
#include "metrics/sys.h"
#include "store/durable.h"

struct api_store_ops;

/* join.c: what the configuration says of the cluster. */
struct join {
    struct cluster_options options;
    struct config_secret secret;
    char node[CONFIG_NAME_MAX], address[LINK_ADDRESS_MAX + 1];
    int listening_fd;
};

#define ENGINE_STORE_MAX (16ULL << 30) /* bytes of a managed engine's store */

struct broker {
    const struct config *config;
    const char *data_dir;
    struct conn_shared shared;
    struct metrics metrics; /* one shard a worker, one for the broker itself, worker 0's thread, and
                               one each for the threads of cluster/, homes/ and copies */
    struct router router;
    struct retained retained;
    struct store *store;      /* NULL: the durability of everything is memory */
    pthread_barrier_t loaded; /* workers and the main thread: every worker has loaded its shards */
    _Atomic int load_rc;      /* enum rc: the first failure */
    struct join join;
    struct cluster *cluster;  /* NULL: this node is alone */
    struct homes *homes;      /* NULL when `cluster` is */
    struct groups *groups;    /* the same */
    char copies_id[HOMES_ID]; /* of the cluster; the copies' thread */
    struct worker *workers;
    uint32_t worker_count;
    struct sys_tree *sys;
    struct sys_cluster *sys_cluster;
    struct loop_timer sys_timer; /* on worker 0 */
    bool promises_told;          /* the durability is in $SYS; worker 0 */
    uint64_t started_ms;
    uint16_t ports[CONFIG_LISTENERS_MAX]; /* of the listeners, as the system gave them */
    struct control control;
    struct health health;
    struct vitals vitals;
    const struct api_store_ops *store_ops; /* for the API; NULL: the store is in memory */
};

/* `broker` is zeroed. Borrows config. Everything that workers share. */
void node_init(struct broker *broker, const struct config *config);

/* Initialises and connects the workers; they have no thread and no listener yet. */
void node_make_workers(struct broker *broker);

/* After all workers have been joined. */
void node_deinit(struct broker *broker);

/* sys_topics.c: publishes $SYS from worker 0. After worker_init(). */
void sys_topics_start(struct broker *broker);
void sys_topics_stop(struct broker *broker);

/* sys_cluster.c: those of the cluster, for sys_topics.c. Calls publish() for each topic that has
 * something else to say than the last time; an empty text: the topic has gone. */
struct sys_cluster *sys_cluster_new(void);
void sys_cluster_free(struct sys_cluster *told);
void sys_cluster_update(struct sys_cluster *told, const struct broker *broker, sys_emit *publish,
                        void *arg);

/* bind.c: listener_bind() for what the configuration has under `key`. -1: why has been said. */
int bind_or_say(const char *key, struct listener_address *address, int backlog);

/* join.c: a number from an environment variable that only tests set; 0: it is not set. */
uint32_t asked_by_test(const char *variable);

/* join.c: the cluster, when the configuration names one. Before the workers are made; for each
 * worker; before clients are let in; when they are. Two give an exit code; why has been said. */
int join_open(struct broker *broker);
void join_worker(struct worker *worker);
int join_groups(struct broker *broker);
void join_start(struct broker *broker);

/* homes.c: broker->homes and broker->groups, not started. */
void homes_make(struct broker *broker);

/* tunnels.c: clients whose sessions live on another node. What conn/ asks of a worker's cluster,
 * and the cluster of the worker. */
struct conn_home tunnels_home_of(void *owner, uint32_t hash);
void tunnels_take(void *owner, const struct conn_home *home, int fd,
                  const struct conn_origin *origin, struct stream_filter *filter, uint8_t *unread,
                  size_t unread_len);
struct registration *tunnels_enroll(void *owner, const struct conn_home *home,
                                    struct bytes client_id, struct conn *conn,
                                    enum conn_enrolment kind, struct message *will);
bool tunnels_is_enrolled(void *owner, const struct registration *registration);
void tunnels_withdraw(void *owner, struct registration *registration, enum session_will will);
bool tunnels_vacate(void *owner, struct bytes client_id, struct conn *conn);
void tunnels_forget(void *owner, const struct conn *conn);
extern const struct cluster_clients tunnels_clients;
/* The homes that the environment names, for tests. False: it names none. */
bool tunnels_test_homes(struct broker *broker);

/* load.c: the store, opened and loaded. Gives an exit code; what is wrong has been said. */
int load_open(struct broker *broker, const char *data_dir);
/* On each worker, before it serves. False: not all workers could. */
bool load_worker(struct worker *worker);
/* On the main thread, after the workers were started: waits for them. Gives an exit code. */
int load_finish(struct broker *broker, const char *data_dir);

/* watch.c, on the main thread. Once a second: memory limit, vitals, systemd's watchdog. */
void watch_start(struct broker *broker);
void watch_tick(struct broker *broker);
/* Some times a second: gives memory back when many clients have left. */
void watch_shrink(struct broker *broker);

/* Bytes of memory of this process now. */
uint64_t resident_bytes(void);

#endif
