/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node is home of which group, and becoming and ceasing to be it. A thread of its own runs
 * the node's engine, the connection to it, and one changelog for each group.
 *
 *     ALONE --founded by us--> GATHERING -> FOUNDING --+
 *       |                                              v
 *       +--heard of by links, or in the file--> JOINING -> RUNNING -> ENDING -> ENDED
 *                                                  |
 *                                                  +--> LOST     the engine lacks this cluster
 *                                                  +--> REMOVED  by an operator
 *                                                  +--> JOINING  one node gets more: growing.c
 *
 * A group's life on a node, told to its owner by struct homes_ops:
 *
 *     follows: apply()...  -> claims -> opened() -> homes_serving() -> append, committed()...
 *        ^                                 |                              |
 *        +---- lost() <--------------------+------------------------------+
 *        +---- released <- homes_closed() <- close() <--------------------+
 *
 * Limits: HOMES_NODES_MAX nodes; a batch of CHANGELOG_BATCH_MAX bytes on its way in each group.
 */
#ifndef HOMES_HOMES_H
#define HOMES_HOMES_H

#include "changelog/changelog.h"
#include "changelog/jetstream.h"
#include "managed/nats_config.h"
#include "metrics/metrics.h"

enum {
    HOMES_GROUPS = 16,
    HOMES_NODES_MAX = 1024,
    HOMES_NAME_MAX = 64, /* bytes of a name, its NUL included */
    HOMES_ID = 17,       /* of a cluster: 16 digits and NUL */
    HOMES_WHY_MAX = 320,
    HOMES_ADDRESS_MAX = 272,
    HOMES_SERVER_MAX = MANAGED_NAME_MAX + MANAGED_STORE_ID,
    HOMES_REPLICAS = 3,
    HOMES_STOP_MS = 3000, /* to give groups up in order at the end */
    HOMES_ENGINE_STOP_MS = 4000,
    HOMES_BEHIND_MS = 2000,
    HOMES_UNFIT_MS = 60000,
    HOMES_REMOVED_MAX = 256, /* nodes that were removed and are remembered */
    HOMES_REMOVE_MS = 15000,
};

enum homes_phase {
    HOMES_ALONE,     /* the cluster has not been initialised */
    HOMES_GATHERING, /* it is being initialised here: not all nodes have agreed to it yet */
    HOMES_FOUNDING,  /* ... and its streams are made */
    HOMES_JOINING,   /* the engine is not ready yet, or the cluster is founded elsewhere */
    HOMES_RUNNING,
    HOMES_LOST,    /* what the data directory belongs to is not in the engine */
    HOMES_REMOVED, /* the others have been told to forget what is in the data directory */
    HOMES_ENDING,
    HOMES_ENDED,
};

const char *homes_phase_name(enum homes_phase phase);

/* ---- who is home -------------------------------------------------------------------------------
 */

enum home_place { HOME_NOWHERE, HOME_HERE, HOME_AWAY };

struct home {
    enum home_place place;
    uint16_t node;  /* HOME_AWAY: a number for homes_node_name() */
    uint64_t epoch; /* below 2^46 */
};

struct homes;

/* All on the homes thread; none may block for long. */
struct homes_ops {
    /* A batch that another home has appended; borrowed until the call returns. The position goes
     * into the store with it. */
    void (*apply)(void *owner, uint32_t group, struct bytes batch,
                  const struct changelog_position *position);
    /* The log has gone on by what is no batch: claims, releases, empty records. Positions may be
     * left out, later ones count as well. */
    void (*moved)(void *owner, uint32_t group, const struct changelog_position *position);
    /* This node is home and has applied everything before: load the group, then call
     * homes_serving(). */
    void (*opened)(void *owner, uint32_t group, uint64_t epoch);
    /* What homes_append() was given is in the log for ever. */
    void (*committed)(void *owner, uint32_t group, const struct changelog_position *position);
    /* Give the group up, which may still be loading: stop serving it, flush, call homes_closed().
     */
    void (*close)(void *owner, uint32_t group);
    /* It has been lost, in whatever state it was since opened(): what was appended and is not
     * committed never will be, and nothing is borrowed any more. */
    void (*lost)(void *owner, uint32_t group, const char *why);
    /* What would be applied next is not in the log any more, or does not fit what has been applied.
     * Take a copy of that node's (NULL: nobody who is here has one to give), say so with
     * homes_copying(), and at last with homes_position_set(). Called again every HOMES_BEHIND_MS
     * until then, also while one is being taken. */
    void (*behind)(void *owner, uint32_t group, const char *why, const char *node);
    /* No other node of the configuration belongs to a cluster: this one may serve by itself until
     * there is one. Once, unless the node belongs to one. */
    void (*alone)(void *owner);
    /* Whether the store holds nothing yet: only then can a node join a cluster for the first time.
     * One alone of those that begin it may hold something. Any thread. */
    bool (*is_blank)(void *owner);
    /* What the store holds is what the cluster begins with: serve it by yourself no longer, note in
     * it that each group stands at its log's beginning, and say so with homes_position_set(). */
    void (*seed)(void *owner);
    /* homes_of() gives something else for some group. */
    void (*changed)(void *owner);
    /* homes_is_spread() may say yes to more. */
    void (*spread)(void *owner);
    /* homes_drained() gives something else. `anew`: not since before the start. */
    void (*drained)(void *owner, bool drained, bool anew);
    /* While it is drained: whether a group may be given up now. Its clients go with it. */
    bool (*may_hand_over)(void *owner);
};

/* Borrows its texts until the start, ops and owner for ever. */
struct homes_options {
    const char *cluster, *node;
    const char *data_dir; /* the file `cluster` and the folder `engine` are in it */
    uint64_t incarnation;
    uint32_t weight, workers;
    bool standby;
    uint32_t stay_ms;                /* who is home of a group stays it so long, unless it ends */
    uint32_t keep;                   /* records of a log that nobody needs; 0: JUDGE_KEEP */
    uint32_t others;                 /* nodes in the configuration beside this one */
    const char *program;             /* "nats-server"; NULL: the engine is external */
    struct managed_nats nats;        /* managed: all but folder and store id */
    struct jetstream_options engine; /* external: URLs and credentials */
    struct metrics_shard *metrics;   /* of the homes thread */
    const struct homes_ops *ops;
    void *owner;
};

struct homes *homes_new(const struct homes_options *options);

/* Before the start: where the store stands; or after behind(): the copy has been made, it stands
 * there. Any thread. */
void homes_position_set(struct homes *homes, uint32_t group,
                        const struct changelog_position *position);

/* Before the start: what the store has of the group is part of a copy. */
void homes_lacks(struct homes *homes, uint32_t group);

/* After behind(): a copy is being taken that will stand there; all nodes keep what is behind that
 * in the log. NULL: it has come to nothing. Any thread. */
void homes_copying(struct homes *homes, uint32_t group, const struct changelog_position *position);

/* Reads the file `cluster` and starts the thread. RC_INVALID, RC_IO: `why` says what is wrong. */
MUST_USE enum rc homes_start(struct homes *homes, char why[HOMES_WHY_MAX]);

/*
 * Initialises the cluster from here, or goes on doing it, and waits until that is done or
 * `timeout_ms` have passed or homes_leave() is called. RC_OK: it is. RC_EXISTS: it was before.
 * RC_AGAIN: not yet, it goes on by itself. RC_REFUSED: another node's store is not blank. `why` has
 * a sentence for all but RC_OK. Any thread; blocks.
 */
MUST_USE enum rc homes_init(struct homes *homes, uint64_t timeout_ms, char why[HOMES_WHY_MAX]);

/*
 * Appends a batch as home in that epoch; any thread, one at a time for each group. RC_OK: borrows
 * it until committed() or lost(), which may have been called already. RC_FULL: larger than
 * CHANGELOG_BATCH_MAX.
 */
MUST_USE enum rc homes_append(struct homes *homes, uint32_t group, uint64_t epoch,
                              struct bytes batch);

/* Answers to opened() and close() of that epoch; any thread. homes_closed() without close(): this
 * node cannot go on with the group; it is released, and not claimed from here for HOMES_UNFIT_MS.
 */
void homes_serving(struct homes *homes, uint32_t group, uint64_t epoch);
void homes_closed(struct homes *homes, uint32_t group, uint64_t epoch);

/* The store has this on disk, and needs nothing of the log before it; any thread. */
void homes_flushed(struct homes *homes, uint32_t group, const struct changelog_position *position);

/* Where the group's home is, as far as this node knows; any thread, no lock. HOME_HERE from
 * homes_serving() on. */
struct home homes_of(const struct homes *homes, uint32_t group);

/* How far the group's log had got when this node, its home, was last told of a batch's commit. */
uint64_t homes_sequence(const struct homes *homes, uint32_t group);
/* Whether all nodes that are here have applied the log up to there. Any thread, no lock. */
bool homes_is_spread(const struct homes *homes, uint32_t group, uint64_t sequence);

/* Somebody waits for others to apply what this node has appended, or for this node to say that it
 * has: they are told at once. Any thread. */
void homes_hurry(struct homes *homes);

/* Borrows; lives as long as homes. NULL: no node has that number. Any thread. */
const char *homes_node_name(const struct homes *homes, uint16_t node);

/* Whether this node is home of the group and may act without appending, now by clock_ms(). Any
 * thread. */
bool homes_lease_fresh(const struct homes *homes, uint32_t group, uint64_t now_ms);

/* A bit for each group whose records are being copied from another node, since it cannot be read
 * on: what is retained in it is old here. Not for longer than HOMES_OLD_MS. Any thread, no lock. */
uint32_t homes_behind(const struct homes *homes);

/* No node is home of the group and acts, as far as most nodes can tell: this one hears most of
 * them, and the log has not moved for a while, here or there. Any thread, no lock. */
bool homes_is_vacant(const struct homes *homes, uint32_t group, uint64_t now_ms);

/* This node belongs to a cluster and hears half of its nodes or fewer, itself counted and those not
 * that have closed their links: the others may do whatever they like without it. Any thread, no
 * lock. */
bool homes_is_cut_off(const struct homes *homes);

/* ---- what nodes tell each other ----------------------------------------------------------------
 */

/* LACKS: it needs a copy. COPIES: it takes one. */
enum homes_part { HOMES_NO_PART, HOMES_FOLLOWS, HOMES_IS_HOME, HOMES_LACKS, HOMES_COPIES };

struct homes_group_news {
    uint8_t part;      /* enum homes_part */
    uint64_t epoch;    /* HOMES_IS_HOME: of that; HOMES_FOLLOWS: of the last claim that it has read;
                        * HOMES_NO_PART: which it is going to be home of, or 0 */
    uint64_t sequence; /* what has been read of the log */
    struct changelog_position flushed; /* COPIES: where the copy will stand */
};

/* KEPT: it runs, and its machine went down with most others': not all nodes have been back since.
 */
enum homes_engine {
    HOMES_ENGINE_OFF,
    HOMES_ENGINE_UNCLEAN,
    HOMES_ENGINE_KEPT,
    HOMES_ENGINE_UP,
    HOMES_ENGINE_JOINS, /* it runs, and has not got yet what the others have */
    HOMES_ENGINES,
};

/* What a node says of itself. */
struct homes_news {
    char id[HOMES_ID]; /* of the cluster; "": none yet */
    bool founded;      /* its streams are there, and others can take part */
    bool holds;        /* sessions or retained messages of its own; it belongs to no cluster yet */
    bool standby;
    bool drained;
    uint8_t engine; /* enum homes_engine; UNCLEAN: waits to learn whether the others' ran on */
    uint16_t weight, workers;
    uint64_t instance;             /* of its data directory */
    char server[HOMES_SERVER_MAX]; /* of its engine; "": none of ours */
    char left[HOMES_SERVER_MAX]; /* one that another node had, and has one in its place; "": none */
    uint32_t rebalance; /* goes up with each homes_rebalance(); the highest is everybody's */
    struct homes_group_news groups[HOMES_GROUPS];
};

/* Our own, for the others; any thread, takes a lock for a moment. */
void homes_news(struct homes *homes, struct homes_news *news);

/* Another node's, which others reach at that address; any thread. */
void homes_heard(struct homes *homes, const char *node, const char *address,
                 const struct homes_news *news);

/* Which other nodes are heard of now, and whether all that are configured are among them; behind
 * these `gone` that have closed their links, and not just fallen silent. Borrows. Any thread. */
void homes_members(struct homes *homes, const char *const *nodes, uint32_t count, uint32_t gone,
                   bool all_here);

/* What is noted of another node, also while it is away. */
struct homes_known {
    char node[HOMES_NAME_MAX];
    char address[HOMES_ADDRESS_MAX]; /* of its links; "": not known, or another node has it now */
    char server[HOMES_SERVER_MAX];
    uint64_t instance;
};

/* The nodes that were removed, for the others, one by one from 0; false: there are no more. They
 * keep their places. Any thread. */
bool homes_removed(struct homes *homes, uint32_t at, struct homes_known *removed);
/* Another node has said this. Any thread. */
void homes_heard_removed(struct homes *homes, const struct homes_known *removed);
/* Whether nobody has to be there: whom that address led to was removed. `node` is NULL when that is
 * not known. Any thread. */
bool homes_is_forgotten(struct homes *homes, const char *node, const char *address);

/* ---- what people are told ----------------------------------------------------------------------
 */

/* Why a group came to this node, or left it. */
enum homes_cause {
    HOMES_NO_CAUSE, /* neither has happened */
    HOMES_CLAIMED_VACANT,
    HOMES_CLAIMED_SILENT,
    HOMES_GIVEN_UP_DRAINED,
    HOMES_GIVEN_UP_PREFERRED,
    HOMES_GIVEN_UP_ENDING,
    HOMES_GIVEN_UP_UNFIT,
    HOMES_LOST_DEPOSED,
    HOMES_LOST_BROKEN,
    HOMES_CAUSES
};

/* "claimed: its home was silent"; "": HOMES_NO_CAUSE. */
const char *homes_cause_text(enum homes_cause cause);

struct homes_group_status {
    enum homes_part part;
    enum home_place place;
    char home[HOMES_NAME_MAX]; /* ""; of whom the log or the links say that it is */
    uint64_t epoch, sequence, flushed;
    uint64_t trimmed;  /* up to where this node, its home, has had the log trimmed */
    uint64_t lease_ms; /* this node's: when what keeps its lease was sent; 0: it has none */
    uint64_t read_ms;  /* when the last record of a home was read; 0: none yet */
    char state[16];    /* of the changelog, or what the owner does */
    char preferred[HOMES_NAME_MAX];
    struct changelog_counts counts;
    uint64_t claims, deposed, changes;
    enum homes_cause cause; /* the last */
    uint64_t read_lag;      /* records that its home has and this node has not read */
    uint64_t standby_lag;   /* at home: records that the slowest other node has not applied */
    uint64_t wait_ms;       /* since the record that the engine has not answered was sent first */
    uint32_t window;        /* records that are asked for at a time */
    struct jetstream_copies copies; /* of its changelog */
};

struct homes_status {
    enum homes_phase phase;
    char id[HOMES_ID];
    char why[HOMES_WHY_MAX]; /* what is waited for, or wrong; "": nothing */
    bool founded;            /* its streams are there */
    bool drained;
    bool managed, connected;
    bool rests;     /* the engine was ended, since nobody else is heard */
    int engine_pid; /* 0: none of ours runs */
    uint32_t engine_starts;
    struct homes_group_status groups[HOMES_GROUPS];
};

/* Any thread; takes a lock for a moment. */
void homes_status(struct homes *homes, struct homes_status *status);

/* What the node of that name has said last. False: nothing yet. Any thread. */
bool homes_news_of(struct homes *homes, const char *node, struct homes_news *news);

/* ---- what an operator asks for -----------------------------------------------------------------
 */

enum homes_duty { HOMES_ON_DUTY, HOMES_DRAINED };

/*
 * A node that is drained gives its groups up, one after the other and each to a node that is ready
 * for it, and claims none; also after a restart, until it is on duty again. RC_OK: it is so from
 * now on, or was. RC_REFUSED: `why` says why. RC_IO: it cannot be written down. RC_AGAIN: this node
 * ends. Any thread; blocks for a moment.
 */
MUST_USE enum rc homes_set_duty(struct homes *homes, enum homes_duty duty, char why[HOMES_WHY_MAX]);

/* The same without waiting: answered() is called once, on the homes thread, if that still runs. */
struct homes_asked {
    void (*answered)(const struct homes_asked *asked, enum rc rc, const char *why);
    void *owner;
    uint64_t number; /* the owner's */
    uint32_t from;   /* the same */
};
void homes_ask_duty(struct homes *homes, enum homes_duty duty, const struct homes_asked *asked);

/* Any thread, no lock. */
bool homes_drained(const struct homes *homes);

/* On all nodes groups go now to the nodes that should be their homes, which else they do only when
 * both nodes have been where they are for `stay_ms`. As above. */
MUST_USE enum rc homes_rebalance(struct homes *homes, char why[HOMES_WHY_MAX]);

/* GONE: it is gone for good. RECOVERED: the others wait for it after a loss of power, and are to go
 * on without. */
enum homes_farewell { HOMES_GONE, HOMES_RECOVERED };

/*
 * All nodes forget that one, and its engine's place becomes free. What is in its data directory is
 * never part of the cluster again; a new one under its name is. RC_NOT_FOUND: no such node is
 * known. RC_AGAIN: it is forgotten, but its engine is not, ask again. Else as above; blocks for
 * HOMES_REMOVE_MS at most.
 */
MUST_USE enum rc homes_remove(struct homes *homes, const char *node, enum homes_farewell farewell,
                              char why[HOMES_WHY_MAX]);

/* Whether another node of that name is part of the cluster, here or not. RC_NOT_FOUND: `why` says
 * which are. RC_REFUSED: this node is none itself. Any thread. */
MUST_USE enum rc homes_find(struct homes *homes, const char *node, char why[HOMES_WHY_MAX]);

/* Whether this node was removed; any thread, no lock. */
bool homes_is_removed(const struct homes *homes);

/* ---- the end -----------------------------------------------------------------------------------
 */

/* It has been told to end; any thread. */
bool homes_ends(struct homes *homes);

/* Gives all groups up in order, in HOMES_STOP_MS; does not wait. Any thread. */
void homes_leave(struct homes *homes);

/* Waits until they are given up, ends the engine in order and the thread. */
void homes_stop(struct homes *homes);

/* After the stop. NULL is fine. */
void homes_free(struct homes *homes);

#endif
