/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of homes/: homes.c (the thread and what others call), orders.c and
 * removal.c (what an operator asks for), engine.c (the engine's life), founding.c (how a cluster
 * begins, and a node finds it), growing.c (how one of one node gets more), group.c (one group),
 * peers.c (what other nodes say), mark.c (the file `cluster`). All on the homes thread but what
 * says otherwise.
 */
#ifndef HOMES_INSIDE_H
#define HOMES_INSIDE_H

#include "homes/homes.h"
#include "homes/judge.h"
#include "homes/known.h"
#include "homes/mark.h"
#include "homes/place.h"

#include "base/mailbox.h"
#include "managed/process.h"

#include <pthread.h>

enum {
    HOMES_TURN_MS = 100,    /* groups are looked at so often */
    HOMES_SETTLE_MS = 3000, /* for the links to find each other before anything is claimed */
    /* Nodes that follow a group, its home included: all, in clusters up to that size, because what
     * is retained gets into a node's memory by its reading the group's log. */
    HOMES_FOLLOWERS = 7,
    HOMES_TRIM_MS = 5000,
    HOMES_STILL_MS = 2000,  /* a home that acts appends more often, and others read it by then */
    HOMES_VACANT_MS = 1000, /* for so long is said what this thread saw last */
    HOMES_OLD_MS = 10000, /* as long does who asks for retained messages wait for a copy of them */
    /* As long after it fell silent may a node serve: it hears as late as that that it is alone. */
    HOMES_SERVES_MS = 1000,
    HOMES_CUT_OFF_MS = 300, /* so long after they fell silent: a lease and this are the margin */
    HOMES_MEND_MS = 5000,   /* an engine that has lost something says so for so long */
    /* Who has read more of a log than the engine has is given so long to append it again. */
    HOMES_FURTHER_MS = 6000,
    /* What the engine has accepted waits so long for another node to have read it, too. */
    HOMES_STANDBY_MS = 1000,
    HOMES_STANDBYS = 2, /* nodes that say at once what they have read, of those that follow */
    HOMES_END_MS = 300, /* what the engine has said of a log's end is good for so long */
    HOMES_REBALANCE_MS = 30000, /* so long after homes_rebalance() no stay counts */
};

#define HOMES_NOT_BLANK                                                                            \
    "This node holds sessions or retained messages of its own, which the cluster cannot take in: " \
    "initialise it from this node, if it has not been yet and no other node holds any, or start "  \
    "this one with an empty data directory."

/* ---- homes.c: mail ------------------------------------------------------------------------------
 */

struct homes_order;
struct peer;

struct homes_mail {
    struct letter letter;
    void (*open)(struct homes *homes, struct homes_mail *mail, uint64_t now_ms);
    uint32_t group;
    uint64_t epoch;
    struct bytes batch;
    struct changelog_position position;
    struct homes_order *order; /* orders.c */
};

/* Copies it; any thread. */
void homes_post(struct homes *homes, const struct homes_mail *what);

/* Waits a little for something new, under the lock; any thread. */
void homes_wait(struct homes *homes);

/* ---- orders.c ----------------------------------------------------------------------------------
 */

/* On the stack of who asks; written under the lock. */
struct homes_order {
    enum homes_duty duty;
    const char *node;
    enum homes_farewell farewell;
    bool done;
    enum rc rc;
    char *why;
    char server[HOMES_SERVER_MAX]; /* what is to be taken out of the engine; "": nothing */
    char joins[HOMES_SERVER_MAX];  /* and what was to take its place; "": nothing */
};

/* Has it done on the homes thread and waits for orders_answer(); gives its rc. Any thread. */
MUST_USE enum rc orders_ask(struct homes *homes, struct homes_order *order,
                            void (*open)(struct homes *, struct homes_mail *, uint64_t));
void orders_answer(struct homes *homes, struct homes_order *order, enum rc rc, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));
/* Else it has been answered that this node is no working part of a cluster. */
bool orders_runs(struct homes *homes, struct homes_order *order);

/* What was asked for before the start. */
void orders_start(struct homes *homes);
/* News of another node have come: somebody may have asked for something there. */
void orders_heard(struct homes *homes, const struct peer *peer, uint64_t now_ms);

/* ---- removal.c ---------------------------------------------------------------------------------
 */

/* What was noted before the start. */
void removal_start(struct homes *homes);
/* News of another node have come: it is noted, or was removed. */
void removal_heard(struct homes *homes, struct peer *peer, const char *address);
/* The server of its engine is another than was known, and has not been up since. */
bool peer_is_replaced(const struct homes *homes, const struct peer *peer);
/* A server that another node had, as far as this one knows, and has not replaced yet; "": none. */
void removal_left(const struct homes *homes, char server[HOMES_SERVER_MAX]);

/* ---- peers.c -----------------------------------------------------------------------------------
 */

/* Another node, from when it is first heard of on; its number is its place in homes->peers. */
struct peer {
    char node[HOMES_NAME_MAX];
    uint16_t number;
    bool here, heard; /* by the links; its news have come */
    bool gone;        /* its process has ended, as far as is known */
    bool removed;     /* it is one that nobody should hear any more */
    uint64_t here_ms; /* since then */
    uint64_t left_ms; /* when it fell silent, or ended; 0: it has not */
    struct homes_news news;
};

struct peer *peer_find(struct homes *homes, const char *node);
/* Made when it is new; NULL: there are too many. */
struct peer *peer_get(struct homes *homes, const char *node);

/* It is heard of by the links, or not, or has closed them. */
void peer_seen(struct peer *peer, bool here, bool gone, uint64_t now_ms);

/* It is of this cluster, and its part in it can be counted on. */
bool peer_takes_part(const struct homes *homes, const struct peer *peer);

/* A node that takes part in the placement now. */
struct candidate {
    const char *node;
    const struct peer *peer; /* NULL: this node */
};

/* Those who may be home of the group now, this node among them, who should be first. `out` has
 * HOMES_NODES_MAX places. */
uint32_t peers_rank(struct homes *homes, uint32_t group, struct candidate *out);

/* The highest sequence of the group that another node which is here has on disk. */
uint64_t peers_highest(const struct homes *homes, uint32_t group);

/* The same, or has read: then the engine had accepted it. */
uint64_t peers_furthest(const struct homes *homes, uint32_t group);

/* Whether another node follows the group and could read it now, and up to where one of them has. */
bool peers_stand_by(const struct homes *homes, uint32_t group, uint64_t *read);

/* The lowest that all who follow the group have on disk; 0: one of them has not said. */
uint64_t peers_lowest(const struct homes *homes, uint32_t group, const struct candidate *ranked,
                      uint32_t count);

/* Notes how far others have applied the logs; true when that is more than before. */
bool peers_note_spread(struct homes *homes);

/* Another node that is here and holds something of its own; NULL: none. */
const struct peer *peers_holder(const struct homes *homes);
/* It needs a copy of the group. */
bool peer_lacks(const struct peer *peer, uint32_t group);
/* Who may give a copy of the group that stands at that sequence or behind, another one each time:
 * the home first, then, unless it has to be that, who follows. NULL: nobody. */
const struct peer *peers_source(const struct homes *homes, uint32_t group, bool home,
                                uint64_t sequence, uint32_t asked);

/* Who says that it is home of the group, with the highest epoch; NULL: nobody. */
const struct peer *peers_home(const struct homes *homes, uint32_t group, uint64_t *epoch);
/* The last claim to the group that any of them has made, or has read; 0: none. */
uint64_t peers_epoch(const struct homes *homes, uint32_t group);

/* Every node there is, removed ones not counted, is here and takes part. */
bool peers_are_all(const struct homes *homes);

/* More than half of the nodes there are, removed ones not counted, are here, this one among them.
 */
bool peers_are_most(const struct homes *homes);
/* Whether those that are not heard may have a majority in which this node is not needed. */
bool peers_may_go_on(const struct homes *homes);
/* Makes what homes_is_cut_off() gives. */
void peers_look_whether_cut_off(struct homes *homes, uint64_t now_ms);

/* All that are here say that their engine has come back from a machine that went down. */
bool peers_are_cold(const struct homes *homes);

/* All that are here say that they are of our cluster. */
/* All that are here have said something. */
bool peers_have_spoken(const struct homes *homes);
bool peers_agree(const struct homes *homes);
/* All that are here can be home, as far as is known. */
bool peers_take_part(const struct homes *homes);
/* One that is here takes part in our cluster. */
bool peers_any_takes_part(const struct homes *homes);
uint32_t peers_here(const struct homes *homes);
/* Those that are here and whose names come before this node's. */
uint32_t peers_before(const struct homes *homes);
/* It is here, and has said what it has. */
uint32_t peers_heard(const struct homes *homes);
/* Those that wait for the others with another server than they had. */
uint32_t peers_replaced(const struct homes *homes);
/* All that belong to the cluster as far as is known, this one among them. */
uint32_t peers_nodes(const struct homes *homes);
uint32_t peers_with_engine(const struct homes *homes, enum homes_engine engine);
uint32_t peers_connected(const struct homes *homes);
/* One that is here could be home of what this node gives up. */
bool peers_could_take_over(const struct homes *homes);
void peers_free(struct homes *homes);

/* ---- seed.c: the store of one node is what the cluster begins with -----------------------------
 */

/* Now and then: whether this node holds something, as long as it belongs to no cluster. */
void seed_look(struct homes *homes, uint64_t now_ms);
/* Why the cluster cannot be initialised from here; false: it can. Under the lock, or on the homes
 * thread. */
bool seed_refuses(struct homes *homes, char why[HOMES_WHY_MAX]);
/* Before the groups are opened. False: not yet. */
bool seed_turn(struct homes *homes);
/* Behind them: this node is, or has been, home of all. */
bool seed_done(const struct homes *homes);

/* ---- group.c, group_told.c ----------------------------------------------------------------------
 */

enum group_state {
    GROUP_AWAY,    /* this node is not home */
    GROUP_LOADING, /* opened() was called */
    GROUP_SERVING,
    GROUP_CLOSING,   /* close() was called */
    GROUP_RELEASING, /* what the owner has closed is being released in the log */
};

struct group {
    struct homes *homes;
    struct changelog log;
    bool attached;
    bool based; /* the store has what was there before what it will read of the log */
    enum group_state state;
    struct changelog_position start; /* of the store, before the log is opened */
    bool lacks;                      /* behind() was called: waits for a copy */
    bool lacks_home;                 /* only the home's will do */
    uint64_t lacks_until;            /* ... or one that stands there or behind */
    bool copies;                     /* ... which is being taken */
    struct changelog_position copy;  /* and will stand there */
    char lacks_why[128];
    uint64_t short_ms;                /* since when its log has too few copies; 0: it has enough */
    uint64_t lacks_from_ms, lacks_ms; /* since when; when it is called again */
    uint64_t copied_ms;               /* when the last copy had been taken */
    uint32_t asked;                   /* nodes for a copy, since then */
    struct changelog_position flushed;
    struct judge_watch watch;
    uint64_t epoch; /* in which this node was home last */
    uint64_t look_ms, follow_ms, claim_read_ms, serving_ms;
    bool warm;         /* it has had a home since this node runs */
    uint64_t unfit_ms; /* until then it is not claimed from here */
    uint64_t trim_ms, trimmed, told_sequence;
    uint64_t
        further_ms;   /* since when others have read more of it than there is; 0: they have not */
    uint64_t left_ms; /* the same, while its home is not heard; 0: they have not, or it is */
    uint64_t missing_ms; /* since when the log lacks its end, or was mended last; 0: it does not */
    char preferred[HOMES_NAME_MAX];
    uint64_t claims, deposed, changes, mended;
    enum homes_cause cause; /* the last */
    uint64_t causes[HOMES_CAUSES], causes_counted[HOMES_CAUSES];
    uint64_t leases_over, leases_over_counted;
    struct group_counted {
        uint64_t home, claims, deposed, changes, appended, empty, resent, refused, mended;
        uint64_t replayed, tail, alone;
    } counted; /* in the metrics already */
    /* What the engine has accepted last, while it waits for a standby to have read it; and from
     * where on none has, which is then waited for no longer; 0: they have. */
    bool awaits_standby;
    struct changelog_position accepted, before; /* behind it, and before it */
    uint64_t accepted_ms, alone_from;
    uint64_t alone;             /* batches that were committed without one that was here */
    bool stands_by;             /* this node is among those that say at once what they have read */
    _Atomic uint64_t home;      /* packed; partner of every store is homes_of() */
    _Atomic uint64_t committed; /* homes_sequence() */
    uint64_t claimed;           /* the last that others were to hear of before it opens */
    uint64_t moved_ms;          /* the log was seen to grow last, by any node that is heard */
    _Atomic uint64_t vacant_ms; /* until then; partner of every store is homes_is_vacant() */
    _Atomic uint64_t spread;    /* the lowest that another node which is here has applied */
};

/* Begins at `start`. */
void group_open(struct group *group, struct engine *engine);
void groups_close(struct homes *homes);
/* Whether the store has been flushed up to where the logs have been read; asks for it when not. */
bool groups_are_flushed(struct homes *homes);
void group_place(struct group *group, const struct changelog_position *position);
void group_lacks(struct group *group);
void group_copying(struct group *group, const struct changelog_position *position);
void group_turn(struct group *group, uint64_t now_ms);
/* Our turn among those who may claim. `home` has fallen silent, or has released the group and may
 * claim it again: "" then. Who lacks a copy does not count for a node that needs none. */
uint16_t group_turn_of(const struct group *group, const struct candidate *ranked, uint32_t count,
                       const char *home);
uint64_t group_deadline_ms(const struct group *group);
void group_append(struct group *group, uint64_t epoch, struct bytes batch, uint64_t now_ms);
void group_serving(struct group *group, uint64_t epoch, uint64_t now_ms);
void group_closed(struct group *group, uint64_t epoch, uint64_t now_ms);
void group_flushed(struct group *group, const struct changelog_position *position);
/* Lets a claim go that has not opened yet. */
void group_unclaim(struct group *group);
/* Is home no longer, without asking the engine. False: not yet. */
bool group_abandon(struct group *group, const char *why);
/* Begins to give it up when this node is home. True: it is, or is becoming it. */
bool group_leave(struct group *group, uint64_t now_ms);
void group_status(const struct group *group, struct homes_group_status *out);
void group_news(const struct group *group, struct homes_group_news *out);
/* It is on its way from one home to the next, as far as is known. */
bool group_is_between(const struct group *group);
/* Makes what homes_of() gives; true when that is something else than before. */
bool group_publish(struct group *group);
struct home group_home(const struct group *group);
void group_count(struct group *group, struct metrics_shard *metrics);

static inline void group_note_cause(struct group *group, enum homes_cause cause)
{
    group->cause = cause;
    group->causes[cause]++;
}

/* The same, unless it was being given up already. */
static inline void group_note_loss(struct group *group, enum homes_cause cause)
{
    if (group->state == GROUP_LOADING || group->state == GROUP_SERVING)
        group_note_cause(group, cause);
}

/* ---- replace.c ---------------------------------------------------------------------------------
 */

/* Whether our server, whose name is known now, is another than there was. */
void replace_look(struct homes *homes);
/* Nobody has heard of the one that there was. */
void replace_forget(struct homes *homes);
/* Others say which one there was. */
void replace_heard(struct homes *homes, const struct peer *peer);
/* Takes the old one out, and notes when ours has got everything. */
void replace_turn(struct homes *homes, uint64_t now_ms);

/* ---- copies.c ----------------------------------------------------------------------------------
 */

/* Asks how many copies of the changelogs there are, and sees to it that there are more when nodes
 * have joined, or when the engine has given one up without another. */
void copies_turn(struct homes *homes, uint64_t now_ms);

/* ---- group_away.c, group_home.c ----------------------------------------------------------------
 */

/* In a claim: what was before it is in the stores only. */
#define HOMES_SEED_NOTE "seed"

/* Every turn of a group that is AWAY, SERVING or RELEASING. */
void group_turn_away(struct group *group, uint64_t now_ms, const struct candidate *ranked,
                     uint32_t count);
void group_turn_serving(struct group *group, uint64_t now_ms, const struct candidate *ranked,
                        uint32_t count);
void group_turn_releasing(struct group *group, uint64_t now_ms);
/* Whether what the engine has accepted last is committed now: then its owner is told. */
void group_look_whether_committed(struct group *group, uint64_t now_ms);
void group_look_whether_to_mend(struct group *group, uint64_t now_ms);
/* Of the engine's servers, too: it cannot accept anything here. */
bool group_is_in_minority(const struct homes *homes);
/* Most nodes may have another home for it by now, of which this one cannot hear. */
bool group_has_to_abandon(const struct group *group, uint64_t now_ms);
void group_give_up(struct group *group, const char *reason);

/* ---- observe.c ---------------------------------------------------------------------------------
 */

/* What the metrics say of all groups: of the first four the most of any. */
struct homes_observed {
    uint64_t read_lag, standby_lag, lease_age_ms, wait_ms;
    uint64_t in_flight, missing_copies;
};

/* Behind group_status(). */
void observe_status(const struct group *group, struct homes_group_status *out);
void observe_count(struct homes *homes);

/* ---- engine.c, founding.c
 * ----------------------------------------------------------------------------------
 */

struct homes {
    struct homes_options options;
    char cluster[HOMES_NAME_MAX], node[HOMES_NAME_MAX], data_dir[MANAGED_PATH_MAX];
    pthread_t thread;
    bool started; /* the thread */
    int wake_fd;
    struct mailbox mailbox;

    _Atomic bool hurry;      /* homes_hurry() */
    _Atomic uint32_t behind; /* homes_behind(); written by the homes thread */
    _Atomic bool drained;    /* written by the homes thread */
    _Atomic bool cut_off;    /* the same */

    /* the homes thread's */
    enum homes_phase phase;
    struct mark mark;
    bool founder;      /* the id is ours, and init goes on here */
    bool holds;        /* the store is not blank, and the node belongs to no cluster */
    bool id_holds;     /* the id is of a node that holds something */
    bool told_alone;   /* ops->alone() has been called */
    bool seed_asked;   /* ops->seed() has been called */
    bool all_here;     /* all nodes that are configured */
    bool marked;       /* the file says what `mark` says */
    bool lone;         /* the engine's store is of a server by itself, and there are others */
    bool grows;        /* ... which are here: the groups are given up */
    bool emptied;      /* there was nothing in the data directory at the start */
    bool fresh;        /* ... and its engine is a new one */
    bool cold;         /* the store was kept though power was lost: groups wait for all nodes */
    uint64_t now_ms;   /* of this turn */
    uint64_t holds_ms; /* when it is looked at again */
    uint64_t most_ms, looked_ms; /* when most nodes were heard last, or the start */
    uint64_t other_ms;           /* when any other was heard last; 0: none was, or there is none */
    uint64_t servers_ms;         /* the engine's servers are asked to speak again then */
    uint64_t remnant_ms;         /* since then our engine is what is left of one; 0: it is not */
    uint64_t makes_ms; /* since then the engine has been asked to make them; 0: it was not */
    uint64_t make_ms;  /* since then changelogs may be made again; 0: the engine has them */
    uint64_t agreed;   /* when what the engine's servers agree on was written last, in its clock */
    uint64_t agreed_look_ms; /* that is looked at again then */
    uint64_t flush_ms;       /* what they agree on is flushed then; 0: it is */
    uint64_t wait_ms; /* until then the engine is not started for want of others that could say
                       * whether theirs run; 0: it is not waited for */
    uint64_t running_ms, leave_ms, try_ms, step_ms, replace_ms, tell_ms, copies_ms;
    uint32_t rebalance;    /* the highest that was heard of */
    uint64_t rebalance_ms; /* until then no stay counts */
    struct managed_process process;
    enum managed_store store;
    bool looked;                     /* managed_look() has filled options.nats */
    char server[HOMES_SERVER_MAX];   /* of ours */
    char replaced[HOMES_SERVER_MAX]; /* one that has to be taken out; "": none */
    bool taken_out;                  /* it has been */
    bool noted;                      /* ours is the one in the file */
    bool replaces;                   /* ours has not got yet what the others have */
    uint64_t whole_ms;               /* since then no stream is seen that lacks a copy; 0: one is */
    struct jetstream *jetstream;
    uint32_t losses; /* of its connections, as seen last */
    bool connected, connected_counted;
    uint32_t starts_counted;
    char why[HOMES_WHY_MAX];
    struct group groups[HOMES_GROUPS];
    struct homes_observed observed; /* in the metrics already */
    /* peers_rank()'s, HOMES_NODES_MAX each */
    struct candidate *ranked, *unranked;
    struct place_member *members;
    uint32_t *order;

    /* Appended to by the homes thread; others read what a number in homes_of() leads to. */
    _Atomic(struct peer *) peers[HOMES_NODES_MAX];
    _Atomic uint32_t peer_count;

    /* Written by the homes thread, under the lock; others read it under the lock. */
    struct known_list known, removed;
    _Atomic bool out; /* this node was removed */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t told_more;
    struct homes_status status;
    struct homes_news news;
    bool leaving;
    uint32_t refusals; /* of init that went on already */
    char refusal[HOMES_WHY_MAX];
};

/* It has begun without the ends of its logs, and may not have read them yet. */
bool engine_is_behind(const struct homes *homes, uint64_t now_ms);
/* The machine went down while it ran, and what becomes of its store is not settled. */
bool engine_is_unclean(const struct homes *homes);
/* Sees to it that it runs and that there is a connection. True: there is. */
bool engine_turn(struct homes *homes, uint64_t now_ms);
uint64_t engine_deadline_ms(const struct homes *homes);
/* The id is another one now. */
void engine_disconnect(struct homes *homes);
/* What there is of its store. */
void engine_look(struct homes *homes);
/* The groups are closed and it ends: it is started, and the logs are followed, again from what the
 * store has. */
void engine_let_go(struct homes *homes, uint64_t now_ms);
/* Notes that all nodes are back after a loss of power, when they are and all groups have homes. */
void engine_warm(struct homes *homes);
/* Ends it in order. */
void engine_stop(struct homes *homes);
/* What is waited for, or wrong; said in the log when it is new. */
void homes_say(struct homes *homes, const char *format, ...) __attribute__((format(printf, 2, 3)));
void homes_enter(struct homes *homes, enum homes_phase phase);
/* What other threads see of homes is what is so now. `hurry`: the others are told in any case. */
void homes_publish(struct homes *homes, bool hurry);
static inline const struct homes_ops *group_ops(const struct group *group)
{
    return group->homes->options.ops;
}

static inline void *group_owner(const struct group *group)
{
    return group->homes->options.owner;
}

/* On the homes thread: at the end of this turn all is published, and told to others. */
static inline void homes_hurry_here(struct homes *homes)
{
    atomic_store_explicit(&homes->hurry, true, memory_order_relaxed);
}

/* ---- growing.c ---------------------------------------------------------------------------------
 */

/* This node's engine is a server by itself, or the streams for more are not there yet: no others
 * can take part. */
bool growing_is_one(const struct homes *homes);
/* What the engine of a cluster of one has is not needed, or never was. */
bool growing_discards(const struct homes *homes);
/* When the cluster runs. */
void growing_turn(struct homes *homes, uint64_t now_ms);
/* Whether the streams for more nodes can be made. */
bool growing_can_go_on(struct homes *homes);
/* They have been. False: that cannot be written down. */
bool growing_end(struct homes *homes);

/* What the file says. RC_INVALID, RC_IO: `why` says what is wrong. */
MUST_USE enum rc founding_start(struct homes *homes, char why[HOMES_WHY_MAX]);
/* Towards RUNNING, one step; when it is time or something has come. */
void founding_turn(struct homes *homes, uint64_t now_ms);
/* init was asked for. */
void founding_begin(struct homes *homes);
/* News of another node have come: it may know the cluster's id. */
void founding_heard(struct homes *homes, const struct peer *peer);

/* ---- remnant.c ---------------------------------------------------------------------------------
 */

/* When the cluster runs: gives the engine up when it is what is left of one. */
void remnant_turn(struct homes *homes, uint64_t now_ms);

#endif
