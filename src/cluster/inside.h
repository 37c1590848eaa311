/* SPDX-License-Identifier: Apache-2.0 */
/* The control's own: members, the addresses where they may be, and the two links to each. Inside
 * cluster/ only, on the control's thread. */
#ifndef CLUSTER_INSIDE_H
#define CLUSTER_INSIDE_H

#include "cluster/cluster.h"
#include "cluster/copies_inside.h"
#include "cluster/places.h"
#include "cluster/road.h"
#include "cluster/routes.h"
#include "cluster/tunnel.h"
#include "link/greeter.h"
#include "link/link.h"

#include <pthread.h>

enum {
    TICK_MS = 100,
    HEARTBEAT_MS = 500,
    LEASE_MS = 3000,       /* a member that was not heard of for so long is away */
    HOMES_HEARD_MS = 1500, /* ... and is nobody's home */
    /* ... and has noticed that it is cut off, if so: HOMES_HEARD_MS, HOMES_CUT_OFF_MS, and what
     * timers and scheduling add */
    MEMBER_SERVES_MS = 2500,
    DIAL_AGAIN_MS = 200,
    DIAL_AGAIN_MAX_MS = 1000, /* a network that is whole again is noticed so late */
    TARGETS_MAX = 2048,
    ROUTES_FRAME = 16 * 1024, /* bytes of filters in one frame, about */
};

/* GIVEN: to its worker, which has not said that it has it. */
enum road_state { ROAD_NONE, ROAD_DIALLING, ROAD_GIVEN, ROAD_OPEN };

/* What a worker sends on to a member. */
struct member_road {
    enum road_state state;
    uint32_t serial; /* of the last that was given */
};

struct tell;
struct hear;

/* Another node, from when it is first met on. */
struct member {
    struct list link; /* in cluster->members */
    struct cluster *cluster;
    char node[LINK_NAME_MAX + 1], address[LINK_ADDRESS_MAX + 1];
    uint64_t incarnation;
    uint16_t workers; /* how many it has */
    uint16_t version; /* of the protocol, that both speak */
    uint32_t remote;  /* its number here */
    bool live;
    bool gone;     /* it has closed its links itself, as when its process ends; not fallen silent */
    uint64_t lost; /* times that it was, and was not any more */
    uint64_t told_ms, heard_ms;            /* when anything came last on each of the two below */
    uint64_t settled;                      /* so many of our interests are in effect there */
    uint64_t home_epochs[CLUSTER_GROUPS];  /* of which groups it says it is home; 0: it does not */
    uint64_t taken_epochs[CLUSTER_GROUPS]; /* the same, from when it takes them over */
    uint64_t read_epochs[CLUSTER_GROUPS];  /* the last claims to the others that it has read */
    uint64_t gathered[CLUSTER_GROUPS];     /* what it has said: see gather.c */
    struct tell *tell;                     /* the control link that we dialled, or NULL */
    struct hear *hear;                     /* the one that it dialled, or NULL */
    struct remote_routes routes;
    struct member_road roads[]; /* one a worker */
};

/* What operators have asked of other nodes: order.c. */
struct orders {
    pthread_mutex_t lock; /* of all of it */
    pthread_cond_t answered;
    struct list waiting;
    uint64_t number; /* of the last; begins anywhere, so that no answer is taken for another's */
};

/* An address where a member may be. */
struct target {
    struct list link; /* in cluster->targets */
    struct cluster *cluster;
    struct cluster_address address;
    struct member *member; /* whom it led to; NULL: nobody yet */
    bool self;             /* it leads to us */
    bool configured;
    bool dialling;
    uint64_t next_ms;
    uint32_t again_ms;
};

struct cluster {
    const struct cluster_options *options;
    struct link_identity own;
    struct router *router;
    struct metrics_shard *metrics;
    struct loop loop;
    pthread_t thread;
    struct mailbox mailbox;
    struct greeter greeter;
    int listening_fd;
    struct loop_timer tick;
    uint64_t heartbeat_ms; /* of the last */
    struct homes *homes;   /* NULL: in programs that are no broker */
    uint64_t homes_here;   /* a hash of who was here when that was said last */
    bool homes_told;
    bool was_cut_off;              /* at the last look */
    uint32_t was_leased;           /* the same: groups of this node's whose lease was fresh */
    uint64_t look_ms;              /* when workers look again, although nothing has changed */
    uint64_t pulse_ms, stalled_ms; /* stall.c; the latter 0: it is not */
    struct list members, targets;
    uint32_t member_count, target_count;
    struct own_routes own_routes;
    uint64_t interests; /* so many of the router's are in own_routes */
    uint32_t worker_count, road_serials;
    struct roads **roads;     /* one a worker */
    struct tunnels **tunnels; /* the same */
    struct copies *copies;    /* NULL: nobody takes or gives any */
    struct orders orders;
    struct list dials; /* meetings for tunnels and copies under way */
    struct places places;
    struct cluster_worker *workers;
    bool stopping;
    pthread_mutex_t told_lock;
    struct cluster_member *told; /* under the lock: for cluster_members() */
    uint32_t told_count;
};

/* ---- cluster.c ---------------------------------------------------------------------------------
 */

/* What a worker, or whoever stops the cluster, has to say. */
struct control_mail {
    struct letter letter;
    struct cluster *cluster;
    void (*open)(struct control_mail *mail); /* on the control's thread; freed behind it */
    uint32_t worker, remote, serial;         /* of a road */
};

/* Copies the mail. Any thread. */
void control_post(struct cluster *cluster, const struct control_mail *what);

/* ---- member.c ----------------------------------------------------------------------------------
 */

/* The member that the other end is, made when it is new; one that has started anew is told
 * everything again. NULL: there are too many. */
struct member *member_of_peer(struct cluster *cluster, const struct link_peer *peer);

/* NULL: there is none of that name. */
struct member *member_find(struct cluster *cluster, const char *node);

/* What this node's workers publish gets there, all of it. */
bool member_roads_open(const struct member *member);
void member_roads_changed(struct member *member);

/* Its links, roads and routes go; it stays known. */
void member_away(struct member *member, const char *reason);

/* The same of one that has said so. */
void member_left(struct member *member);

/* Adds an address unless it is there already, NULL: there are too many; the second takes
 * "host:port". */
struct target *target_new(struct cluster *cluster, const struct cluster_address *address);
void target_add(struct cluster *cluster, struct bytes address);
/* Once a tick: dials what is due, and roads that are missing. */
void members_dial(struct cluster *cluster);
/* Once a tick: who has been silent for too long is away. */
void members_watch(struct cluster *cluster);
/* Once a tick: what cluster_members() gives. */
void members_tell(struct cluster *cluster);
/* Once a tick: who is here, for homes/. */
void members_tell_homes(struct cluster *cluster);
/* Both ways, and lately: sooner than the routes it hears that somebody is away, and later that
 * somebody is here. */
bool member_is_here(const struct member *member);
/* It is not, and may not have noticed: its clients are served still. */
bool member_may_serve(const struct member *member);
/* Tells the workers how many of our interests are in effect everywhere. */
void members_settle(struct cluster *cluster);
void members_free(struct cluster *cluster);

extern const struct greeter_ops member_greeter_ops;

/* ---- talk.c ------------------------------------------------------------------------------------
 */

/* The two ends of a control link; each takes the descriptor. */
void tell_open(struct member *member, int fd, struct bytes unread);
void hear_open(struct member *member, int fd, struct bytes unread);
void talk_close(struct member *member);
/* What has not arrived there never will. */
void talk_abort(struct member *member);
/* The roads are open: what waited for that is answered. */
void hear_roads_open(struct member *member);

/* To all members: what has changed in own_routes. */
void tell_change(struct cluster *cluster, const struct route_key *key, enum interest_level level);
/* Before a route leaves own_routes. */
void tell_forget(struct cluster *cluster, const struct own_route *route);
/* All that cluster->interests counts has been said. */
void tell_mark(struct cluster *cluster);
void tell_heartbeat(struct cluster *cluster);
/*
 * Of which groups this node is home, and what it is. Who hears that it is home of a group has heard
 * before what the group's sessions want, and who hears that they want nothing any more has heard
 * before that it is not: else what is published meanwhile would get to nobody, and be acknowledged.
 * So news are told of what was so `before` the routes were taken from the router, and still is;
 * and tell_moves() stands between the taking and the telling of routes.
 */
void tell_news(struct cluster *cluster, const struct homes_news *before);
/* homes_news(), but of groups that this node has begun to leave not that it is their home: homes/
 * says that a little later, and their sessions' routes may have gone by then. */
void own_news(const struct cluster *cluster, struct homes_news *news);
void tell_moves(struct cluster *cluster);
void tell_goodbye(struct cluster *cluster);
/* gather_told(). */
void tell_gathered(struct cluster *cluster);
/* LINK_ORDER to a member that understands it; false: there is no link. */
bool tell_order(struct member *member, struct bytes body);
/* LINK_ORDERED to who has asked; nobody waits for it when its link is gone. */
void hear_ordered(struct member *member, uint8_t outcome, struct bytes body);

/* ---- order.c -----------------------------------------------------------------------------------
 */

void orders_init(struct cluster *cluster);
void orders_deinit(struct cluster *cluster);
/* The member asks for something. False: malformed. */
bool order_heard(struct member *member, const struct link_frame *frame);
/* The member has answered. False: malformed. */
bool order_answered(struct member *member, const struct link_frame *frame);
/* It will not answer. */
void orders_away(struct member *member);

/* ---- stall.c -----------------------------------------------------------------------------------
 */

/* Every tick. */
void stall_look(struct cluster *cluster);

/* ---- gather.c ----------------------------------------------------------------------------------
 */

/* The youngest epoch of which the group's home has been told of all clients of this node. */
uint64_t gather_told(const struct cluster *cluster, uint32_t group);
/* The groups that this node is home of: whether all have said so. */
void gather_look(struct cluster *cluster);
void gather_post(struct cluster *cluster);

#endif
