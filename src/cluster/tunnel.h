/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnels of one worker. A client whose session lives on another node keeps its transport here
 * (the edge): its bytes go to a worker of that node (the home) and come back, over a link that this
 * worker has to that worker and that all such clients share. There a stream without a descriptor
 * (net/carried.h) is served as any other.
 *
 *     client == struct edge -- struct tunnel_out ==== struct tunnel_in -- struct home_end -> conn/
 *
 * A link is always read. What one client has under way is at most TUNNEL_WINDOW each way, so one
 * that is slow holds nobody up. A link that is full holds back who sends on it, not who reads.
 *
 * Limits: TUNNELS_MAX clients on one link; limits.connections on both nodes. All on the worker's
 * thread, but for the orders that the control posts.
 */
#ifndef CLUSTER_TUNNEL_H
#define CLUSTER_TUNNEL_H

#include "cluster/cluster.h"
#include "link/tunnel.h"

enum {
    TUNNELS_MAX = 1024 * 1024,
    TUNNEL_LINGER_MS = 2000, /* for a client to close when it has been told all */
    TUNNEL_CUT_AT_ONCE = 256 /* clients whose link has ended that are told so in one turn */
};

struct tunnels;

struct tunnels_ops {
    /* Asks the control for a link: tunnels_post_out() is called with the same numbers. */
    void (*dial)(void *owner, uint32_t worker, uint32_t remote, uint32_t home_worker);
    /* tunnels_told() gives more for some. */
    void (*told)(void *owner);
};

struct tunnels *tunnels_new(uint32_t worker, const struct tunnels_ops *ops, void *owner);
void tunnels_join(struct tunnels *tunnels, const struct cluster_worker *is);

/* A client whose session lives on that worker of another node. Takes the descriptor, the filter and
 * `unread`. */
void tunnels_client(struct tunnels *tunnels, uint32_t remote, uint32_t home_worker, int fd,
                    const struct cluster_client *client, struct stream_filter *filter,
                    uint8_t *unread, size_t unread_len);

/* Sends up to `max` clients away; true when none is left. */
bool tunnels_drain(struct tunnels *tunnels, uint32_t max);

/* Orders, from the control's thread. The first two take their descriptor and copy `unread`; -1: the
 * node could not be reached. */
void tunnels_post_out(struct tunnels *tunnels, uint32_t remote, uint32_t home_worker, int fd,
                      struct bytes unread);
void tunnels_post_in(struct tunnels *tunnels, uint32_t remote, int fd, struct bytes unread);
/* The node is away: no link to it or from it is left. */
void tunnels_post_close(struct tunnels *tunnels, uint32_t remote);
/* cluster_home_of() gives something else. */
void tunnels_post_homes_changed(struct tunnels *tunnels);

/* The youngest epoch of which the group's home has confirmed all clients of this worker. Any
 * thread.
 */
uint64_t tunnels_told(const struct tunnels *tunnels, uint32_t group);

/* On the worker's thread, when it stops. */
void tunnels_close(struct tunnels *tunnels);
void tunnels_free(struct tunnels *tunnels);

#endif
