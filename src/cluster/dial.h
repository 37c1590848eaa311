/* SPDX-License-Identifier: Apache-2.0 */
/* The control's part of tunnels and copies: it dials their links for the workers and the copies'
 * thread. Inside cluster/ only. */
#ifndef CLUSTER_DIAL_H
#define CLUSTER_DIAL_H

#include "cluster/inside.h"

/* From a worker: meets that worker of the node, and tunnels_post_out() follows. */
extern const struct tunnels_ops dial_tunnels_ops;

/* From the copies' thread: meets the node that gives the group, and copies_post_out() follows. */
void dial_copy(void *owner, uint32_t group);

/* What the greeter says of such a meeting, and of one that another node asked for. They take the
 * descriptor. */
void dial_reached(const struct greeter_call *call, const struct link_peer *peer, int fd,
                  struct bytes unread);
void dial_failed(const struct greeter_call *call);
void dial_met(struct member *member, const struct link_peer *peer, int fd, struct bytes unread);

/* Once a tick: tells the workers when homes have changed. */
void dial_look_at_homes(struct cluster *cluster);
/* The member is away: no tunnel from it or to it is left. */
void dial_close(struct member *member);
/* At the end: meetings that never came to a result. */
void dial_free(struct cluster *cluster);

#endif
