/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This node among others. A thread of its own, the control, knows the members, hears whether they
 * live, and tells them what this node's clients have subscribed to; publications go from worker to
 * worker, on roads. Nothing here is on the way of a publication that stays on its node.
 *
 *     control  ---- dials every member, once for itself and once a worker ---->  its control
 *        |                                                                          |
 *     worker 0..n  <== gets its road, and sends on it ======================>  a worker
 *
 * Limits: REMOTES_MAX other members.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "base/mailbox.h"
#include "delivery/delivery.h"
#include "homes/homes.h"
#include "link/handshake.h"
#include "net/loop.h"

struct cluster;

enum { CLUSTER_ADDRESSES_MAX = 64 };

struct cluster_address {
    char host[LINK_ADDRESS_MAX + 1];
    uint16_t port;
};

/* Borrows its texts, and all of it as long as the cluster lives. */
struct cluster_options {
    struct link_identity identity; /* the incarnation is made here */
    struct cluster_address addresses[CLUSTER_ADDRESSES_MAX];
    uint32_t address_count; /* of others; our own among them does no harm */
};

/* What the control needs of a worker. */
struct cluster_worker {
    struct delivery_hub *hub;
    struct loop *loop;
    struct mailbox *mailbox; /* of struct mail, opened with the hub */
};

/* Watches the router from now on. */
struct cluster *cluster_new(const struct cluster_options *options, struct router *router,
                            struct metrics_shard *metrics, uint32_t worker_count);

/* Before the start. Borrows; from now on the control tells other nodes what homes_news() says, and
 * homes/ what they say and who is here. */
void cluster_set_homes(struct cluster *cluster, struct homes *homes);
/* homes_news() gives something else that others should hear at once. Any thread, until
 * cluster_free(). */
void cluster_news_changed(struct cluster *cluster);

/* The incarnation of this node's process. */
uint64_t cluster_incarnation(const struct cluster *cluster);

/* The hub's `remote` of a worker, before delivery_init(). */
struct delivery_remote *cluster_remote(struct cluster *cluster, uint32_t worker);
void cluster_join_worker(struct cluster *cluster, uint32_t worker, const struct cluster_worker *is);

/* Starts the thread on a listening descriptor, which it takes. RC_IO. */
MUST_USE enum rc cluster_start(struct cluster *cluster, int listening_fd);

/* What the control knew of a member at its last look, some tenths of a second ago. */
struct cluster_member {
    char node[LINK_NAME_MAX + 1], address[LINK_ADDRESS_MAX + 1];
    bool here;
    uint64_t silent_ms; /* since anything came from it */
    uint64_t filters;   /* that its clients have subscribed to */
};

/* Fills `out`, at most `max`; gives how many there are. Any thread; takes a lock for a moment. */
uint32_t cluster_members(struct cluster *cluster, struct cluster_member *out, uint32_t max);

/* On a worker's thread, when it stops: closes its roads. */
void cluster_leave_worker(struct cluster *cluster, uint32_t worker);

/* Ends the thread; the workers' mailboxes must still be there. Nobody has to wait for routes any
 * more. */
void cluster_stop(struct cluster *cluster);

/* After the workers' mail has been opened for the last time. NULL is fine. */
void cluster_free(struct cluster *cluster);

#endif
