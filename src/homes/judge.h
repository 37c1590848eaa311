/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a node should claim a group, and when it should give one up. Pure. Nothing here has to be
 * right for two homes to be kept apart, the changelog sees to that; it has to be right for a group
 * to have a home soon, and to keep it.
 */
#ifndef HOMES_JUDGE_H
#define HOMES_JUDGE_H

#include "changelog/changelog.h"

enum {
    JUDGE_GAP_MS = 1000,     /* the engine has said nothing for longer: watching begins anew */
    JUDGE_LIVES_MS = 500,    /* a home that is heard has so much longer than its lease to append */
    JUDGE_TURN_MS = 1000,    /* the second in order waits so much longer than the first */
    JUDGE_NEAR = 256,        /* records that a node may lack that is to become home */
    JUDGE_KEEP = 4096,       /* records that are kept although nobody needs them */
    JUDGE_TRIM_MIN = 256,    /* records that are worth a request */
    JUDGE_RAN_ON_MS = 10000, /* an engine that has not started anew has so long to answer */
    JUDGE_MAKES_MS = 20000,  /* who is next makes changelogs so much later */
    JUDGE_NEVER = UINT16_MAX /* a turn that does not come */
};

/* What is seen of a log from outside. */
struct judge_watch {
    uint64_t end_ms;  /* the engine last said that there is nothing more */
    uint64_t from_ms; /* it has said so again and again since then */
};

/* `end_ms` is when it did last. */
void judge_watch(struct judge_watch *watch, uint64_t end_ms);

struct judge_vacancy {
    uint64_t now_ms;
    uint64_t read_ms; /* the last record was read then, or reading began */
    struct judge_watch watch;
    bool vacant; /* there has been no home yet, the last one has released the group, or it was an
                    earlier process of this node */
    bool home_lives; /* by the links */
    bool behind;     /* somebody who lives has more of the log than has been read here */
    uint16_t turn;   /* of this node among those who may claim; the silent home is none of them */
};

bool judge_claims(const struct judge_vacancy *vacancy);

struct judge_stay {
    uint64_t now_ms;
    uint64_t serving_ms;       /* since when this node is home */
    uint64_t preferred_ms;     /* since when the node that should be has been here; 0: it is not */
    uint64_t own, preferred_s; /* sequences that both have */
    bool preferred_runs;       /* it is ready to claim */
    uint64_t stay_ms;          /* both have to be where they are for so long */
};

bool judge_gives_up(const struct judge_stay *stay);

/* Changelogs that the engine has lost, with the engines of all nodes back. */
struct judge_making {
    uint64_t waited_ms; /* since this node has missed them */
    uint32_t before;    /* nodes whose turn is earlier */
    bool ran_on;        /* some engine has not started anew: it may only not have answered yet */
};

/* Whether this node makes them again. One node alone does, and the next long after that:
 * nats-server 2.9 mixes up a stream that is made by several at once. */
bool judge_makes(const struct judge_making *making);

/* Up to which sequence the log may be trimmed, when everybody who needs it has `lowest` on disk, it
 * was trimmed to `trimmed` before, and `keep` records stay all the same; 0: it is not worth it. */
uint64_t judge_trim(uint64_t lowest, uint64_t trimmed, uint64_t keep);

#endif
