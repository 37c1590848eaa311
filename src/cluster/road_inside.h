/* SPDX-License-Identifier: Apache-2.0 */
/* The files of roads between themselves: road.c makes and ends them, road_out.c sends, road_in.c
 * takes. On the worker's thread. */
#ifndef CLUSTER_ROAD_INSIDE_H
#define CLUSTER_ROAD_INSIDE_H

#include "cluster/road.h"
#include "cluster/road_told.h"

enum { ROADS_IN_MAX = 4095 - REMOTE_FIRST }; /* what a publisher's reference has room for */

#define ROAD_REF_LOW (((session_ref)1 << SESSION_REF_WORKER_SHIFT) - 1)

/* To another node. */
struct road_out {
    struct link link;
    struct roads *roads;
    uint32_t remote, serial;
    uint16_t version;          /* of the protocol */
    uint64_t sent, worked_off; /* bytes */
    bool forgotten;            /* closed by order: nobody is told */
    /* Who waits for publications first_asked to last_asked, in a ring; NULL: is answered. */
    struct publish_ticket **asked;
    uint32_t asked_room; /* power of two, or 0 */
    uint64_t first_asked, last_asked;
    uint32_t waiting; /* of them */
};

/* From a worker of another node. */
struct road_in {
    struct link link;
    struct roads *roads;
    uint32_t remote, from;       /* the node, and which of its workers */
    uint32_t place;              /* in roads->in, and in references */
    uint64_t serial;             /* no other road of this worker has had it */
    uint64_t received, credited; /* bytes */
    uint32_t question;           /* asked of a worker that is behind; 0: none is */
    uint32_t view;               /* groups that the sender believes this node to be home of */
    bool has_view;               /* it has said so; an older version does not */
};

struct roads {
    struct delivery_remote remote; /* first: the hub has this */
    uint32_t worker;
    struct cluster_worker is;
    const struct roads_ops *ops;
    void *owner;
    struct road_out *out[REMOTES_MAX];
    struct road_told told[REMOTES_MAX];
    struct road_in **in; /* holes are NULL */
    uint32_t in_room;
    uint32_t questions; /* so far */
    uint64_t serials;   /* the same */
    bool closed;
};

static inline struct roads *roads_of(const struct delivery_hub *hub)
{
    return CONTAINER_OF(hub->remote, struct roads, remote);
}

/* For struct remote_ops: see delivery/delivery.h. */
bool road_forward(struct delivery_hub *hub, uint32_t remote, const struct forwarding *forwarding);
bool road_is_behind(struct delivery_hub *hub, uint32_t remote);
bool road_ask(struct delivery_hub *hub, uint32_t remote, session_ref publisher, uint32_t question);
void road_answer(struct delivery_hub *hub, session_ref asked_by, uint64_t number, enum rc rc);
void road_slow_down(struct delivery_hub *hub, session_ref publisher);
void road_caught_up(struct delivery_hub *hub, session_ref publisher, uint32_t question);

extern const struct link_ops road_out_ops, road_in_ops;

#endif
