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
 * A client whose session lives on another node is served through a tunnel: see tunnel.h.
 *
 * Limits: REMOTES_MAX other members.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "base/mailbox.h"
#include "delivery/delivery.h"
#include "homes/homes.h"
#include "link/handshake.h"
#include "link/tunnel.h"
#include "net/carried.h"

struct cluster;

enum { CLUSTER_ADDRESSES_MAX = 64 };

/* What goes to one node on the roads of all workers. */
struct road_counts {
    uint64_t sent;       /* bytes of publications, since the start */
    uint64_t under_way;  /* of these, those that it has not worked off */
    uint64_t asked;      /* publications that wait for its answer */
    uint64_t unanswered; /* those whose road ended first, since the start: they are sent again */
    uint64_t pauses;     /* times that a publisher here waited for it, since the start */
};

struct cluster_address {
    char host[LINK_ADDRESS_MAX + 1];
    uint16_t port;
};

/* Borrows its texts, and all of it as long as the cluster lives. */
struct cluster_options {
    struct link_identity identity; /* the incarnation is made here */
    struct cluster_address addresses[CLUSTER_ADDRESSES_MAX];
    uint32_t address_count; /* of others; our own among them does no harm */
    uint32_t edge_lease_ms; /* 0: as it should be; a test's */
    bool serves_cut_off;    /* keeps clients while it is cut off (homes_is_cut_off()) */
};

/* Whose connection goes through a tunnel. */
struct cluster_client {
    uint32_t hash;      /* client_id_hash() */
    uint8_t transport;  /* enum transport: of the edge */
    uint8_t listener;   /* of the edge's configuration */
    uint8_t durability; /* enum durability: of that listener */
    uint8_t version;    /* enum mqtt_version; at the edge only */
    struct stream_peer peer;
};

/* What the cluster asks of who serves clients. On the worker's thread. */
struct cluster_clients {
    /* A client has come through a tunnel: stream_open_carried(). False: not now. */
    bool (*accept)(void *owner, struct stream_carrier *carrier,
                   const struct cluster_client *client);
    /* What a client is told by its edge when that ends its connection: fills `out`, at most `room`
     * bytes, and gives how many. `answered`: something of its home's has come before. */
    size_t (*farewell)(void *owner, const struct cluster_client *client, bool answered,
                       uint8_t *out, size_t room);
    /* cluster_home_of() gives something else for some. */
    void (*homes_changed)(void *owner);
    /* cluster_register() was granted, or who stood in the way of cluster_vacate() has gone. */
    void (*go_on)(void *owner, void *holder);
    /* The registration is over: another connection has the client id, or (`reached` false) nobody
     * can know whether one has. cluster_unregister() follows, from here or later. */
    void (*drop)(void *owner, void *holder, bool reached);
    /* A client with that id is let in by another node: the session here ends. */
    void (*evict)(void *owner, struct bytes client_id);
};

/* What the cluster needs of a worker. */
struct cluster_worker {
    struct delivery_hub *hub;
    struct loop *loop;
    struct mailbox *mailbox; /* of struct mail, opened with the hub */
    const struct cluster_clients *clients;
    void *clients_owner;
    _Atomic uint32_t *connections; /* open transports of this node */
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

/* ---- homes of sessions -------------------------------------------------------------------------
 */

/* Shards that are led together: shard % CLUSTER_GROUPS. */
enum { CLUSTER_GROUPS = SHARD_GROUPS };

enum cluster_place {
    CLUSTER_HERE,
    CLUSTER_AWAY,
    CLUSTER_NOWHERE, /* no node that is here leads them at the moment */
};

struct cluster_home {
    enum cluster_place place;
    uint32_t remote, workers; /* CLUSTER_AWAY: the node, and how many workers it has */
};

/* Where sessions of that shard live; everything is here until cluster_set_home() was called. Any
 * thread, without a lock. */
struct cluster_home cluster_home_of(const struct cluster *cluster, uint32_t shard);

/* See homes_is_cut_off(). When that changes clients->homes_changed() is called. */
bool cluster_is_cut_off(const struct cluster *cluster);
/* Others know of a home of the shard's group that this node does not hear: that one cannot be told
 * who is connected here, and lets others in under their client ids. The same. */
bool cluster_is_out_of_reach(const struct cluster *cluster, uint32_t shard);

/* Whether this node, the home of the shard, may act without asking anybody, at this moment. Any
 * thread. */
bool cluster_may_act(const struct cluster *cluster, uint32_t shard);

/* See homes_sequence() and homes_is_spread(); of the shard's group. */
uint64_t cluster_sequence(const struct cluster *cluster, uint32_t shard);
bool cluster_is_spread(const struct cluster *cluster, uint32_t shard, uint64_t sequence);
/* See homes_hurry(). */
void cluster_hurry(struct cluster *cluster);

/* For which groups retained messages are old here: a bit each. When it is none, who waits for that
 * goes on. Any thread. */
void cluster_set_behind(struct cluster *cluster, uint32_t groups);

/* On the worker's thread, when cluster_home_of() gives something else: other nodes are told what
 * they are believed to be home of. */
void cluster_tell_view(struct cluster *cluster, uint32_t worker);

/* That node is home of the group from now on, as soon as it is here; NULL: none is. Each time that
 * the group moves it has a higher epoch; 0: it does not. Any thread. */
void cluster_set_home(struct cluster *cluster, uint32_t group, const char *node, uint64_t epoch);

/* Whether this node, home of that shard, knows of all clients that are connected to other nodes and
 * have their client id in it, and so can decide a CONNECT: clients->homes_changed() says when. */
bool cluster_has_gathered(const struct cluster *cluster, uint32_t worker, uint32_t shard);

/* On the worker's thread: see tunnels_client(), tunnels_drain(). `home` is CLUSTER_AWAY. */
void cluster_tunnel(struct cluster *cluster, uint32_t worker, const struct cluster_home *home,
                    int fd, const struct cluster_client *client, struct stream_filter *filter,
                    uint8_t *unread, size_t unread_len);

/*
 * One client id, one connection: see registration.h. All on the worker's thread; `holder` is what
 * the calls of struct cluster_clients get, and may not be NULL.
 */
struct registration;

enum cluster_will { CLUSTER_WILL_VOID, CLUSTER_WILL_DUE };

/* Asks the home, which is not CLUSTER_NOWHERE, for a client whose session ends with its connection;
 * or tells it of one that has been connected all the time, and then go_on() does not come. The home
 * keeps its will (NULL: none, or nobody has to), which it shares. */
struct registration *cluster_register(struct cluster *cluster, uint32_t worker,
                                      const struct cluster_home *home, struct bytes client_id,
                                      void *holder, enum register_kind kind, struct message *will);
/* It was granted, and its will is safe. */
bool cluster_is_registered(const struct registration *registration);
/* Takes the registration: the connection is over. What becomes of the will that it was given. */
void cluster_unregister(struct registration *registration, enum cluster_will will);

/* At home: true when no other node has that client id. Else go_on() is called when it has gone,
 * unless cluster_forget() is before. */
bool cluster_vacate(struct cluster *cluster, uint32_t worker, struct bytes client_id, void *holder);
void cluster_forget(struct cluster *cluster, uint32_t worker, const void *holder);

bool cluster_drain_worker(struct cluster *cluster, uint32_t worker, uint32_t max);

/* Starts the thread on a listening descriptor, which it takes. RC_IO. */
MUST_USE enum rc cluster_start(struct cluster *cluster, int listening_fd);

/* What the control knew of a member at its last look, some tenths of a second ago. */
struct cluster_member {
    char node[LINK_NAME_MAX + 1], address[LINK_ADDRESS_MAX + 1];
    bool here;
    uint64_t silent_ms; /* since anything came from it */
    uint64_t filters;   /* that its clients have subscribed to */
    uint16_t protocol;  /* the version that both speak */
    uint64_t lost;      /* times that it went away */
    uint64_t unsettled; /* changes of our clients' interests that are not in effect there */
    struct road_counts road;
};

/* Fills `out`, at most `max`; gives how many there are. Any thread; takes a lock for a moment. */
uint32_t cluster_members(struct cluster *cluster, struct cluster_member *out, uint32_t max);

/* What another node is after an order. */
struct cluster_duty {
    bool drained;
    uint32_t groups, connections; /* that it has now */
};

enum { CLUSTER_ORDER_MS = 5000 };

/*
 * homes_set_duty() on another node. RC_AGAIN: it cannot be reached, or has not answered in
 * CLUSTER_ORDER_MS. RC_REFUSED: by that node, or it is too old to understand. RC_IO: it cannot
 * write it down. `why` has a sentence for all but RC_OK. Any thread but the cluster's and the
 * homes'; blocks.
 */
MUST_USE enum rc cluster_set_duty(struct cluster *cluster, const char *node, enum homes_duty duty,
                                  struct cluster_duty *is, char why[HOMES_WHY_MAX]);

/* On a worker's thread, when it stops: closes its roads. */
void cluster_leave_worker(struct cluster *cluster, uint32_t worker);

/* Ends the thread; the workers' mailboxes must still be there. Nobody has to wait for routes any
 * more. */
void cluster_stop(struct cluster *cluster);

/* After the workers' mail has been opened for the last time. NULL is fine. */
void cluster_free(struct cluster *cluster);

#endif
