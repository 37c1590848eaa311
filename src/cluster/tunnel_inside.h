/* SPDX-License-Identifier: Apache-2.0 */
/* The two ends of a tunnel and what both share. Inside cluster/ only. */
#ifndef CLUSTER_TUNNEL_INSIDE_H
#define CLUSTER_TUNNEL_INSIDE_H

#include "cluster/tunnel.h"
#include "codec/cut.h"
#include "link/link.h"
#include "net/carried.h"

struct tunnels {
    uint32_t worker;
    struct cluster_worker is;
    const struct tunnels_ops *ops;
    void *owner;
    struct list outs, ins;    /* struct tunnel_out, struct tunnel_in */
    struct list edges;        /* all clients whose transport is here */
    struct list cutting;      /* those whose link has ended, to be told */
    struct loop_timer cutter; /* runs while there are some */
    struct registrations *registrations;
    bool closed;
};

/* What an id on a link stands for. */
struct tunnel_slots {
    void **at; /* NULL: free */
    uint32_t *free;
    uint32_t room, used, free_count; /* `used`: ids that have been given out at some time */
};

/* The next id for `end`; false when there are TUNNELS_MAX. */
bool slots_take(struct tunnel_slots *slots, void *end, uint32_t *id);
/* The id that the other side has chosen; false when it is not free, or too high. */
bool slots_put(struct tunnel_slots *slots, void *end, uint32_t id);
void *slots_get(const struct tunnel_slots *slots, uint32_t id); /* NULL: nothing */
void slots_release(struct tunnel_slots *slots, uint32_t id);
void slots_free(struct tunnel_slots *slots);

/* How far one direction of one connection is, in bytes: what is under way is at most
 * TUNNEL_WINDOW. */
struct tunnel_flow {
    uint64_t sent, worked_off;   /* by us, and there */
    uint64_t received, credited; /* from there, and said so */
};

static inline size_t flow_room(const struct tunnel_flow *flow)
{
    return TUNNEL_WINDOW - (size_t)(flow->sent - flow->worked_off);
}

/* False: it sends more than it may. */
bool flow_take(struct tunnel_flow *flow, size_t len);
/* False: it has worked off what was never sent. */
bool flow_credit(struct tunnel_flow *flow, uint64_t worked_off);
/* Sends CREDIT, when it is worth a frame. */
void flow_give(struct tunnel_flow *flow, struct link *link, uint32_t id);
/* Sends DATA, as much as there is room for; gives how much. `message` as in link_send_parts(). */
size_t flow_send(struct tunnel_flow *flow, struct link *link, uint32_t id, struct bytes bytes,
                 struct message *message);

void tunnel_say_end(struct link *link, uint32_t id, enum tunnel_end why);

/* ---- tunnel_edge.c -----------------------------------------------------------------------------
 */

enum tunnel_out_state { TUNNEL_DIALLING, TUNNEL_OPEN, TUNNEL_LOST };

/* To one worker of another node. */
struct tunnel_out {
    struct list node; /* in tunnels->outs until it is lost */
    struct link link;
    struct tunnels *tunnels;
    uint32_t remote, home_worker;
    enum tunnel_out_state state;
    struct tunnel_slots edges;
    struct list registrations; /* struct registration */
    struct list waiting;       /* edges whose client sends more than the link takes */
};

/* The link that was dialled is there, or -1: not. */
void tunnel_out_reached(struct tunnels *tunnels, uint32_t remote, uint32_t home_worker, int fd,
                        struct bytes unread);
/* The link to that worker, dialled when there is none. */
struct tunnel_out *tunnel_out_get(struct tunnels *tunnels, uint32_t remote, uint32_t home_worker);
/* Its clients are told that they are cut off. */
void tunnel_out_close(struct tunnel_out *out);
void edges_close(struct tunnels *tunnels);
/* The timer of those whose link has ended. */
void edges_cut(struct loop_timer *timer);

/* ---- tunnel_home.c -----------------------------------------------------------------------------
 */

/* From one worker of another node. */
struct tunnel_in {
    struct list node; /* in tunnels->ins until it is lost */
    struct link link;
    struct tunnels *tunnels;
    uint32_t remote;
    struct tunnel_slots ends;
    struct list registered; /* struct registered */
    struct list answers;    /* struct answer: to UNREGISTER */
    struct list waiting;    /* those with more output than the link takes */
};

void tunnel_in_open(struct tunnels *tunnels, uint32_t remote, int fd, struct bytes unread);
void tunnel_in_close(struct tunnel_in *in);

#endif
