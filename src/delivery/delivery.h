/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message -> many sessions. A publication is routed once, on the publisher's worker.
 * Subscribers on that worker are called directly; those of another worker are put into that
 * worker's batch, which is posted once a loop turn. A message for very many local subscribers takes
 * the same way, addressed to ourselves, so that it is worked off in slices and nothing overtakes
 * it.
 *
 * One hub per worker, on its thread. Limits: BACKLOG_HIGH bytes on the way to one worker, then
 * publishers wait until it has caught up; slices of DELIVERY_SLICE routes.
 */
#ifndef DELIVERY_DELIVERY_H
#define DELIVERY_DELIVERY_H

#include "base/breaks.h"
#include "base/job.h"
#include "delivery/mail.h"
#include "model/message.h"
#include "router/retained.h"
#include "router/router.h"
#include "session/session.h"

enum {
    DELIVERY_INLINE_MAX = 512, /* local routes that are served at once */
    DELIVERY_SLICE = 256,      /* routes between two looks at the clock; of more: bulk */
    RETAIN_WORK = 4,           /* what storing a retained message counts in `work` */
    DELIVERY_WIDE_MAX = 512,   /* of one turn, of bulk: more than is flushed would only pile up */
    DELIVERY_SCRATCH = 16 * 1024,
    DELIVERY_MESSAGE_MIN = 8 * 1024, /* from here on payloads are shared, not copied */
    BACKLOG_HIGH = 1024 * 1024,
};

struct delivery_hub;
struct deliveries; /* a batch for one worker */
struct answers;

/* Somebody waits until a publication is safe everywhere. Freed by the hub after published(). */
enum { AGAIN_LINES = 256 };

struct publish_ticket {
    struct delivery_hub *hub;
    uint32_t remaining;      /* commits not answered yet */
    enum rc rc;              /* the first failure */
    bool taken, refused;     /* by some session */
    bool not_found;          /* a node has nobody who would take it */
    struct outbox_tag clean; /* of another node's entry, for a clean member; number 0: it is not */
    struct outbox_entry *outbox; /* NULL, or who waits instead of the owner */
    struct moved_record *moved;  /* the same */
    struct share_watch *watch;   /* the same */
    session_ref asked_by;        /* the same: another node, by the road that it came on; 0: none */
    uint64_t owner, number;      /* the caller's own; with asked_by the number is the node's */
    /* again.c: */
    struct message *message;      /* to be routed anew when a home is away; NULL: it is not */
    struct publish_ticket *outer; /* who waits instead of the owner: this one is routed anew */
    struct list link;             /* in hub->again */
    struct list in_line;          /* in one of hub->again_lines, by `alike` */
    uint32_t alike;               /* a hash of publisher and topic */
    uint64_t serial;              /* in the order in which they were published */
    bool again;                   /* it has been in that list */
    bool listed;                  /* it is in it */
    bool waits;                   /* it is done; an older one of its topic is not */
    bool left;                    /* its publisher's session has gone to another node */
    bool due;            /* one has failed, so it comes into the list with the last answer */
    bool anew;           /* an older one was put into the list while it was on its way */
    uint32_t moves;      /* hub->remote->told, when it was published */
    uint32_t sent_after; /* the same, when it was sent on its way last */
};

enum delivery_output { OUTPUT_PROMPT, OUTPUT_BULK };

struct hub_ops {
    /* All commits that a ticket waits for have been answered. RC_REFUSED: no session had room;
     * RC_FULL, RC_IO: the store has not kept it. */
    void (*published)(struct delivery_hub *hub, struct publish_ticket *ticket, enum rc rc);
    /* Subscribers of that publisher lag, on another worker: read less from it. */
    void (*slow_down)(struct delivery_hub *hub, session_ref publisher, uint32_t worker);
    /* What is sent from now on goes to many: it may wait for what does not. And the end of that. */
    void (*output_is)(struct delivery_hub *hub, enum delivery_output output);
    /* delivery_routes_again() is false again. */
    void (*all_routed)(struct delivery_hub *hub);
    /* The answer to delivery_ask(). */
    void (*caught_up)(struct delivery_hub *hub, session_ref publisher, uint32_t question);
};

struct delivery_peer {
    struct mailbox *mailbox;
    struct delivery_hub *hub;
    struct deliveries *batch;  /* being filled, NULL: empty */
    struct answers *answers;   /* the same */
    _Atomic uint64_t *backlog; /* bytes posted to it by anybody and not worked off */
    uint64_t sent;             /* bytes put on batches for it in this turn */
};

/*
 * Other nodes, as a hub sees them: what is for node `remote` goes there in the order in which it
 * was given. All on the hub's thread.
 */
struct forwarding {
    const struct publication *publication;
    struct message *message; /* the same, or NULL. Both are borrowed */
    uint64_t share; /* a hash of "$share/name/filter": for one of its members there; 0: for those of
                       no share */
    uint16_t member_shard; /* of an outbox and a share: for a member whose session is in that shard;
                              NO_SHARD: any */
    bool to_retain;        /* for the home of its topic, and nobody else there */
    struct outbox_tag outbox;      /* number 0: of none */
    struct publish_ticket *ticket; /* NULL, or ticket_answered() is called when it is safe there, or
                                      nobody can know */
};

/* Where the home of a shard is. */
enum delivery_place { HOME_IS_HERE, HOME_IS_REMOTE, HOME_IS_UNKNOWN };

struct remote_ops {
    /* Sets `remote` when the home of the shard is another node. */
    enum delivery_place (*home_of)(struct delivery_hub *hub, uint32_t shard, uint32_t *remote);
    /* How far the changelog of the shard's group has got, and whether all other nodes have applied
     * it up to there; else they are asked to. */
    uint64_t (*sequence)(struct delivery_hub *hub, uint32_t shard);
    bool (*is_spread)(struct delivery_hub *hub, uint32_t shard, uint64_t sequence);
    void (*spread)(struct delivery_hub *hub);
    /* Puts the publication on its way; see struct forwarding. False: there is no way to the node,
     * and nothing was sent. */
    bool (*forward)(struct delivery_hub *hub, uint32_t remote, const struct forwarding *forwarding);
    /* What has become of a publication of another node that asked. */
    void (*answer)(struct delivery_hub *hub, session_ref asked_by, uint64_t number, enum rc rc);
    /* More than BACKLOG_HIGH is on its way there: publishers should wait. */
    bool (*is_behind)(struct delivery_hub *hub, uint32_t remote);
    /* delivery_ask() of another node. */
    bool (*ask)(struct delivery_hub *hub, uint32_t remote, session_ref publisher,
                uint32_t question);
    /* News for a publisher on another node: delivery_publish_remote() had its reference. */
    void (*slow_down)(struct delivery_hub *hub, session_ref publisher);
    void (*caught_up)(struct delivery_hub *hub, session_ref publisher, uint32_t question);
};

struct delivery_remote {
    const struct remote_ops *ops;
    _Atomic uint64_t settled;       /* so many of the router's interests are in effect everywhere */
    _Atomic bool shards_have_homes; /* each lives on one node; else each node has all shards */
    _Atomic uint32_t serving;       /* a bit for each group of shards that this node is home of */
    _Atomic uint32_t headless;      /* groups of shards that no node is home of at the moment */
    _Atomic uint32_t moves;         /* so often some group had none, or got another one */
    uint32_t told; /* the worker's own: `moves`, when it told the others whose home it takes them
                      to be; what is sent to them is meant for that */
    _Atomic uint32_t behind;   /* a bit for each group whose retained messages are old here */
    _Atomic uint64_t pulse_ms; /* when this process was last seen to run; 0: it does not matter */
    _Atomic bool stalled;      /* it did not, and has not heard yet what has happened meanwhile */
};

/* A process that has not run for so long does nothing for its clients before it has heard of others
 * what has happened: less than any lease. */
enum { DELIVERY_STALL_MS = 1000 };

/* Now by the loop's clock. */
static inline bool delivery_has_stalled(const struct delivery_remote *remote, uint64_t now_ms)
{
    /* acquire: partner of tell() in cluster/stall.c */
    uint64_t pulse_ms = atomic_load_explicit(&remote->pulse_ms, memory_order_acquire);
    return pulse_ms != 0 && (now_ms > pulse_ms + DELIVERY_STALL_MS ||
                             atomic_load_explicit(&remote->stalled, memory_order_relaxed));
}

struct delivery_hub;

/* Waits until everything that is in the outbox of the session's shard now has come to all, and is
 * retained: so long is a publication that comes again not acknowledged. NULL: there is nothing. The
 * ticket is the caller's as one of delivery_publish(). */
struct publish_ticket *delivery_await_outbox(struct delivery_hub *hub,
                                             const struct session *session);

/* At start-up: the queue of a session that ended, which other members of its shares get. */
struct orphan_queue {
    uint64_t session;
    uint32_t shard;
};

struct delivery_hub {
    struct session_table *sessions;
    struct router *router;
    struct retained *retained;
    struct metrics_shard *metrics;
    struct job_queue *jobs;
    struct route_reader reader;
    uint32_t worker, worker_count;
    uint32_t under_way_max;      /* messages on their way to one worker; 0: only bytes count */
    uint32_t cost_min;           /* what a message counts at least, for that */
    bool lag_news;               /* some answers are news of a lag and should not wait */
    struct delivery_peer *peers; /* one a worker, ourselves included */
    _Atomic uint64_t backlog;    /* of mail to us */
    struct deliveries *inbox_first, *inbox_last; /* batches not worked off, oldest first */
    struct list parked;                          /* retained jobs that wait for their subscriber */
    struct map subscriptions;                    /* of all our sessions, by filter and session */
    struct map high_water;                       /* which entries of outboxes have come */
    struct outbox_line *outbox_lines;            /* of each shard; NULL: none has had an entry */
    struct map testaments;                       /* struct testament, by client id */
    struct list unclaimed;                       /* those of clients that may be gone */
    struct orphan_queue *orphans;                /* between delivery_restore() and _replay() */
    uint32_t orphan_count;
    struct store_waiter *spare_waiter;
    uint8_t *scratch;               /* DELIVERY_SCRATCH bytes for ready-made packets */
    struct delivery_remote *remote; /* NULL: this node is alone */
    struct list unsettled;          /* tickets of subscriptions, oldest first: struct settle_wait */
    struct list unspread;           /* struct commit_waiter: what others have to apply, too */
    struct list undelivered; /* struct outbox_entry: to be sent on their way again, in order */
    uint64_t again_ms;       /* when that is tried; sessions->now_ms */
    uint32_t undelivered_count;
    bool lacked_routes; /* ... because of that */
    bool again_ended;   /* `again` has become empty, and none of it is under way: to be told */
    struct list again;  /* struct publish_ticket: to be routed anew */
    uint64_t again_bytes, again_serial, route_again_ms;
    struct list again_lines[AGAIN_LINES]; /* all that may come into it, in order */
    uint64_t again_waiting;               /* tickets of them that wait for older ones */
    uint64_t again_due; /* ... that come into `again` when the last of whom they went to answers */
    uint32_t asked_moves;         /* as hub->remote->told, when that was looked at last */
    uint64_t asked, asked_before; /* tickets that may come into `again`, of since then and before */
    const struct hub_ops *ops;
    void *owner;
    bool walking;  /* a walk in steps has begun: do not become quiescent (base/rcu.h) */
    uint32_t work; /* deliveries since the caller last set it to 0: for fairness */
};

/* `hub` is zeroed but for what the caller sets: sessions, router, retained, metrics, jobs, worker,
 * worker_count, under_way_max, peers, ops, owner. */
void delivery_init(struct delivery_hub *hub);
void delivery_deinit(struct delivery_hub *hub);

struct ready_made {
    struct bytes packet;
    bool v5; /* else 3.x */
};

struct publish_outcome {
    bool matched; /* there was a subscriber */
    bool slow;    /* a subscriber lags: read less from this publisher */
    bool backlog; /* another worker is behind: read nothing from this publisher until it has... */
    uint32_t behind; /* ...caught up: which one */
    /* NULL: nothing to wait for, `rc` says what became of it (see published()). Else published()
     * will be called; set owner and number now. */
    struct publish_ticket *ticket;
    enum rc rc;
};

/*
 * Routes and delivers. `message` may be NULL: it is made from the view when somebody has to keep
 * it. Borrows both. `ready_made`: the publication as a complete QoS 0 packet without RETAIN, just
 * as it can be sent on to receivers of that version, or NULL.
 */
struct publish_outcome delivery_publish(struct delivery_hub *hub,
                                        const struct publication *publication,
                                        struct message *message,
                                        const struct ready_made *ready_made);

/*
 * A publication that came from another node: for this node's subscribers only; of a share when
 * `share` is not 0, see struct forwarding for that and the shard. RC_CLOSED: that is not here;
 * RC_NOT_FOUND: the share has no member here. publication->publisher is a reference that is remote
 * by session_ref_is_remote(), or 0. An entry of an outbox comes with its tag, and is not delivered
 * again to shards that have it. `elsewhere`: see struct delivery; stored sessions of those groups
 * do not get it, and if one of them would have, it comes to RC_CLOSED. A ticket is the caller's to
 * set asked_by and number of.
 */
struct publish_outcome delivery_publish_remote(struct delivery_hub *hub,
                                               const struct publication *publication,
                                               uint64_t share, uint16_t member_shard,
                                               struct outbox_tag outbox, uint32_t elsewhere);

/* One that came from another node because this one is home of its topic: makes it, or what clears
 * it, the retained one. RC_CLOSED: it is not home. Tickets as above. */
struct publish_outcome delivery_retain_remote(struct delivery_hub *hub,
                                              const struct publication *publication);

/* One of what the ticket waits for is answered. The hub's thread. */
void ticket_answered(struct publish_ticket *ticket, enum rc rc);

/* Somebody's subscriptions may not be known here at the moment, since no node is home of some
 * sessions, or other nodes have not been told where they are now: what has to reach them must wait.
 */
static inline bool delivery_lacks_routes(const struct delivery_hub *hub)
{
    const struct delivery_remote *remote = hub->remote;
    /* acquire: who finds all there finds their routes, too, and knows of the move */
    return remote != NULL &&
           (atomic_load_explicit(&remote->headless, memory_order_acquire) > 0 ||
            atomic_load_explicit(&remote->moves, memory_order_relaxed) != remote->told) &&
           !broken(BREAK_NO_LEASE);
}

/* Some retained messages are not known here at the moment, and others not as they are. */
static inline bool delivery_lacks_retained(const struct delivery_hub *hub)
{
    return hub->remote != NULL &&
           atomic_load_explicit(&hub->remote->behind, memory_order_relaxed) != 0;
}

/* Of those that were published before sessions moved last some are not answered. */
bool again_may_be_due(struct delivery_hub *hub);

/* Whether what is published now must wait, or it might overtake older publications: some have to be
 * routed anew, or may have to, since sessions have moved and it is not known where they came. */
static inline bool delivery_routes_again(struct delivery_hub *hub)
{
    return hub->again_bytes > 0 || hub->again_due > 0 || again_may_be_due(hub);
}

/* The cluster has been initialised: each shard lives on one node. */
static inline bool delivery_has_homes(const struct delivery_hub *hub)
{
    return hub->remote != NULL &&
           atomic_load_explicit(&hub->remote->shards_have_homes, memory_order_acquire);
}

/* A ticket that is answered when every subscription of this node so far is in effect on all nodes;
 * NULL: they are. */
struct publish_ticket *delivery_await_routes(struct delivery_hub *hub);

/*
 * Asks a worker to call caught_up() on this one when it has worked off everything that was sent to
 * it before, and news of lags have gone out. `question` is not 0. False: no memory to ask.
 */
bool delivery_ask(struct delivery_hub *hub, uint32_t worker, session_ref publisher,
                  uint32_t question);

/* Once a loop turn: works off the inbox and parked jobs, posts batches. True: more to do at once.
 */
bool delivery_turn(struct delivery_hub *hub);

/* Before the thread may become quiescent for good: brings a walk that has begun to its end. */
void delivery_finish_walk(struct delivery_hub *hub);

/* ---- subscribe.c -------------------------------------------------------------------------------
 */

enum subscribe_result { SUBSCRIBED_NEW, SUBSCRIBED_AGAIN, SUBSCRIBE_NO_MEMORY };

/* Adds or replaces the session's subscription to a valid filter; `share` may be empty. */
enum subscribe_result delivery_subscribe(struct delivery_hub *hub, struct session *session,
                                         struct bytes filter, struct bytes share,
                                         const struct subscription_options *options);

/* Whether the session has a subscription to that filter. */
bool delivery_has_subscription(struct delivery_hub *hub, struct session *session,
                               struct bytes filter, struct bytes share);

/* False: there was no such subscription. */
bool delivery_unsubscribe(struct delivery_hub *hub, struct session *session, struct bytes filter,
                          struct bytes share);

/* Sends the retained messages that match, now and in the turns to come, at the subscriber's pace.
 */
void delivery_send_retained(struct delivery_hub *hub, struct session *session, struct bytes filter,
                            const struct subscription_options *options);

/* Makes the message its topic's retained one, or clears it when the payload is empty; where another
 * node is home of the topic that one does it, when it gets the publication. Shares message. RC_FULL
 * at a limit, RC_NO_MEMORY; both are counted. delivery_publish() of it follows and sees that it is
 * stored. */
enum rc delivery_retain(struct delivery_hub *hub, struct message *message);

/* Tells the router of a change of the session: durable or not, connected or not. */
void delivery_session_changed(struct delivery_hub *hub, struct session *session);

/* ---- restore.c ---------------------------------------------------------------------------------
 */

struct restored {
    uint64_t sessions, subscriptions, messages, retained;
    uint64_t damaged; /* records that could not be read; they stay where they are */
};

/* Shards that come and go together: those with shard % of == group. */
struct shard_group {
    uint32_t group, of;
};

/* Retained messages are in the memory of every node, sessions in that of one. */
enum restore_what { RESTORE_ALL, RESTORE_SESSIONS, RESTORE_RETAINED };

/* Loads what the store has of this worker's shards of the group, before clients of theirs are
 * served. RC_INVALID: the store is damaged; RC_NO_MEMORY. */
enum rc delivery_restore(struct delivery_hub *hub, struct engine *engine, struct shard_group group,
                         enum restore_what what, struct restored *counts);

/* After all workers have restored it, and before another group is: sends on its way what outboxes
 * hold. */
enum rc delivery_replay(struct delivery_hub *hub, struct engine *engine, struct shard_group group);

/* The opposite of delivery_restore(), for a group whose store takes no records any more: what is
 * stored stays. In steps, as a job; `done` is called from the last one. No client of these shards
 * is connected. */
void delivery_unload(struct delivery_hub *hub, struct shard_group group, void (*done)(void *arg),
                     void *arg);

/* session_ops of every session table; table->owner is the hub. */
extern const struct session_ops delivery_session_ops;

#endif
