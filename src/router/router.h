/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topic -> subscribers. One subscription trie for the node: read by all workers without a lock
 * (RCU, base/rcu.h), written under one mutex. A node is one level of a filter; its subscribers
 * stand in a list that readers walk while it grows. Shared subscriptions hang at the same nodes, as
 * groups.
 *
 * Writers: any thread, they lock. Readers: through a struct route_reader, one per worker.
 * Limits: filter depth, subscriptions per client and in all are checked by the caller.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "base/bytes.h"
#include "base/rc.h"
#include "base/rcu.h"
#include "model/subscription.h"

#include <pthread.h>

struct trie_node;
struct subscriber_list;
struct share;

/* How subscribers are named across threads: worker, slot in its session table, generation of the
 * slot. 0 is nobody. Sorting by it groups by worker. */
typedef uint64_t session_ref;

enum { SESSION_REF_WORKER_SHIFT = 52, SESSION_REF_GENERATION_BITS = 20, WORKERS_MAX = 1024 };

static inline uint32_t session_ref_worker(session_ref ref)
{
    return (uint32_t)(ref >> SESSION_REF_WORKER_SHIFT);
}

/* Another node of the cluster stands in the trie as a subscriber whose worker is REMOTE_FIRST and
 * its number, so whoever sorts by worker finds it as one more, behind ours. */
enum { REMOTE_FIRST = WORKERS_MAX, REMOTES_MAX = 1000 };

static inline session_ref session_ref_of_remote(uint32_t remote)
{
    return (session_ref)(REMOTE_FIRST + remote) << SESSION_REF_WORKER_SHIFT | 1;
}

static inline bool session_ref_is_remote(session_ref ref)
{
    return session_ref_worker(ref) >= REMOTE_FIRST;
}

enum subscription_flags {
    SUBSCRIPTION_NO_LOCAL = 1,
    SUBSCRIPTION_RETAIN_AS_PUBLISHED = 2,
    SUBSCRIPTION_DURABLE =
        4, /* its session outlives the connection: acknowledge after the commit */
};

/* One session's interest in one filter. Published to readers; freed after a grace period. */
struct subscription {
    struct rcu_entry rcu;
    session_ref session;
    uint16_t shard; /* as struct subscriber_is says */
    bool durable;   /* the home worker's own: SUBSCRIPTION_DURABLE, as it was set last */
    struct trie_node *node;
    struct share *share;          /* NULL: ordinary */
    struct subscriber_list *list; /* where it is listed with its options; under the lock */
    uint32_t place;               /* in that list; the same */
    uint32_t index_hash;          /* as below */
    struct share_member member;   /* meaningful in a share */
    /* The home worker's own: the session's list and the index. The router does not look. */
    struct subscription *next, *previous;
};

enum share_choice {
    CHOOSE_ROUND_ROBIN,
    CHOOSE_RANDOM,
    CHOOSE_LEAST_INFLIGHT,
    CHOOSE_STICKY_CLIENT,
    CHOOSE_STICKY_TOPIC,
};

/* What this node's subscribers make of a filter to other nodes. */
enum interest_level {
    INTEREST_NONE,
    INTEREST_CLEAN,   /* for sessions that end with their connections */
    INTEREST_DURABLE, /* a session outlives its connection: who publishes waits for its commit */
    INTEREST_OFFLINE, /* of a shard of a share: as DURABLE, and no member is connected */
    INTEREST_BOTH,    /* of a share without a shard: it has members of both kinds */
};

enum { NO_SHARD = UINT16_MAX };

/*
 * A filter that has another level than before. Of a share there is one for each shard, too, that
 * has durable members, so that other nodes can choose a shard: wherever that is at home later, it
 * can tell whether it has got a message.
 */
struct interest {
    struct interest *next;
    enum interest_level level;
    uint16_t shard; /* NO_SHARD: for all of them */
    uint32_t len;
    char filter[]; /* "$share/name/" before it for a share */
};

/* Who wants to know of interests: told that there are some to take. */
struct interest_watch {
    void (*wake)(void *owner); /* any thread, must not block */
    void *owner;
};

struct router {
    pthread_mutex_t lock;
    struct trie_node *root;
    _Atomic uint64_t generation; /* counts changes; release after each, acquire before memo use */
    enum share_choice share_choice;
    bool share_prefers_local;                        /* set before the first message */
    uint32_t node_count;                             /* under the lock; for tests and metrics */
    struct interest_watch watch;                     /* nobody: interests are not kept */
    struct interest *interest_first, *interest_last; /* under the lock */
    _Atomic uint64_t interests;                      /* so many there have been */
};

void router_init(struct router *router, enum share_choice share_choice);

/* All readers have stopped; frees everything, subscriptions included. */
void router_deinit(struct router *router);

struct subscriber_is {
    session_ref session;
    uint16_t shard; /* where the session's state is; NO_SHARD: another node says that later */
    uint8_t flags;  /* SUBSCRIPTION_DURABLE, or 0 */
    bool offline;   /* its client is not connected */
};

/*
 * Adds an interest that was not there (the caller knows: it keeps each session's subscriptions).
 * `share` is the share name, or empty. The filter is valid and without its "$share" prefix. Gives
 * the subscription, owned by the router until router_unsubscribe(); NULL when there is no memory.
 */
struct subscription *router_subscribe(struct router *router, const struct subscriber_is *who,
                                      struct bytes filter, struct bytes share,
                                      const struct subscription_options *options);

/* Changes options in place; readers see old or new, never neither [MQTT-3.8.4-4]. */
void router_change(struct router *router, struct subscription *subscription,
                   const struct subscription_options *options, uint8_t flags);

/* Sets or clears SUBSCRIPTION_DURABLE. */
void router_set_durable(struct router *router, struct subscription *subscription, bool durable);

/* Says whether its client is connected; matters in a share. */
void router_set_online(struct router *router, struct subscription *subscription, bool online);

/* Takes the subscription; it may be read for a grace period more. */
void router_unsubscribe(struct router *router, struct subscription *subscription);

/* Does this subscription have that filter and share name ("" for none)? Caller's subscription only.
 */
bool subscription_is(const struct subscription *subscription, struct bytes filter,
                     struct bytes share);

/* Writes the filter with its "$share/name/" into `out`; gives its length (written only when <=
 * room). */
size_t subscription_filter(const struct subscription *subscription, char *out, size_t room);

/* Before the first subscription: interests are kept from now on, until they are taken. */
void router_watch(struct router *router, const struct interest_watch *watch);

/* Gives what has come up since the last call, oldest first, for the caller to free; NULL: nothing.
 * *count: how many there have been in all, these included. Any thread. */
struct interest *router_take_interests(struct router *router, uint64_t *count);

/* ---- reading ----------------------------------------------------------------------------------
 */

/* One subscriber found. Copied out of the trie, so it may be kept; the session may be gone by then.
 */
struct route {
    session_ref session;
    uint32_t identifier; /* 0: none */
    uint8_t qos;
    uint8_t flags; /* enum subscription_flags */
};

/*
 * Who gets a topic. `routes` is sorted by session when a session can be in it twice, and by worker
 * when there are several. Borrowed from the reader until its next call; `shares` until the next
 * quiescent state.
 */
struct route_set {
    const struct route *routes;
    uint32_t count;
    uint32_t share_count;
    struct share *const *shares;
    bool too_many; /* only for ROUTE_STEPS: there are routes, and a walk finds them in steps */
};

enum {
    ROUTE_MEMO_SLOTS = 4096,
    ROUTE_MEMO_ROUTES_MAX = 1024, /* more are a wide set: see route_reader_take() */
    ROUTE_WALK_MIN = 32 * 1024,   /* subscribers of one filter that are found in steps */
    ROUTE_WALK_STEP = 4096,       /* routes */
};

/* The routes of a wide set, for who needs them longer than the reader does. */
struct route_block {
    _Atomic uint32_t holders;
    uint32_t room;
    struct route routes[];
};

struct route_memo_entry;

struct route_reader {
    struct router *router;
    bool sort_always;          /* several workers */
    bool steps;                /* of this walk: ROUTE_STEPS */
    struct route_block *block; /* what was found; NULL: no room yet */
    uint32_t count;
    struct share **shares;
    uint32_t share_count, share_room;
    uint32_t lists;                    /* non-empty subscriber lists met in this walk */
    struct subscriber_list *long_list; /* NULL, or one of them that was left out so far */
    struct route_memo_entry **memo;
    uint64_t
        *seen; /* hash of the last topic that missed in each slot: memoise at the second miss */
    uint64_t memo_hits, memo_misses;
};

void route_reader_init(struct route_reader *reader, struct router *router, uint32_t workers);
void route_reader_deinit(struct route_reader *reader);

enum route_way {
    ROUTE_AT_ONCE,
    ROUTE_STEPS, /* very many subscribers of one filter are left to a walk */
};

/* One walk, or none when the topic is hot and nothing has changed. The topic is a valid name. */
void route_find(struct route_reader *reader, struct bytes topic, enum route_way way,
                struct route_set *set);

/* The subscribers of one filter, in steps. Whoever holds one that has begun must not become
 * quiescent (base/rcu.h) before its end. */
struct route_walk {
    struct subscriber_list *piece; /* the next; pieces are small */
};

/* True: route_walk_step() is to be called until it says false. False: they are not that many any
 * more, and `set` has them. */
bool route_walk_begin(struct route_reader *reader, struct bytes topic, struct route_walk *walk,
                      struct route_set *set);

/* The next ROUTE_WALK_STEP at most, without shares; false when there are none left. */
bool route_walk_step(struct route_reader *reader, struct route_walk *walk, struct route_set *set);

/* Gives the routes that the reader found last, at least one, without a copy. They stay where the
 * set says. */
struct route_block *route_reader_take(struct route_reader *reader);

/* Any thread. NULL is fine. */
struct route_block *route_block_hold(struct route_block *block);
void route_block_drop(struct route_block *block);

enum share_reach {
    SHARE_ANYWHERE, /* another node's members count as one, those of each shard apart */
    SHARE_HERE,     /* members of this node only */
    SHARE_CLEAN,    /* ... whose sessions end with their connections */
    SHARE_NEAR,     /* those when one of them is online, else as SHARE_ANYWHERE */
};

static inline enum share_reach share_reach_of(const struct router *router)
{
    return router->share_prefers_local ? SHARE_NEAR : SHARE_ANYWHERE;
}

/*
 * Chooses one member: an online one if there is one, by the router's strategy; `not_this` is left
 * out (0: nobody). False when there is none. *member is borrowed until the next quiescent state.
 */
bool share_choose(struct share *share, enum share_choice how, enum share_reach reach,
                  uint64_t publisher, struct bytes topic, session_ref not_this,
                  struct subscription **member, struct route *route);

/* A member of this node whose session is of that shard, an online one if there is one; false: there
 * is none. */
bool share_find_member(struct share *share, uint16_t shard, struct subscription **member,
                       struct route *route);

/* Whether that session, or other node, has a member of that shard in it. */
bool share_has_member(struct share *share, session_ref session, uint16_t shard);

/* A member's share, to hand a message on to another member; NULL when it is in none. */
static inline struct share *subscription_share(const struct subscription *subscription)
{
    return subscription->share;
}

static inline struct subscription *subscription_of_member(struct share_member *member)
{
    return (struct subscription *)((char *)member - offsetof(struct subscription, member));
}

#endif
