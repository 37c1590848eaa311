/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A changelog: the replicated log of what the home of a group has done, and with it the question
 * who is home. One struct for each group and node, on one thread, on the caller's clock.
 *
 *     IDLE --follow--> FOLLOWING                       reads and applies what others append
 *     IDLE, FOLLOWING --claim--> CLAIMING              its claim is appended until it is there
 *          -> CATCHING_UP                              reads without a gap up to its claim
 *          -> WAITING                                  until the lease of the home before is over
 *          -> OPENING                                  its first record behind the claim
 *          -> OPEN                                     home
 *     OPEN --release--> RELEASING -> IDLE
 *     OPEN --abandon--> IDLE                           as if it had ended
 *     CLAIMING ... RELEASING --deposed--> IDLE         somebody else has claimed
 *     any --broken--> BROKEN                           the log does not hang together
 *
 * Two things keep two homes apart. The fence: each append names the last record it knows, and the
 * engine refuses it when there is another; so nobody writes to a log that somebody else has
 * claimed. The lease: what a home does without appending it does only while a record of its own has
 * been accepted that was sent less than CHANGELOG_LEASE_MS ago. Who claims waits that long and a
 * margin before it acts, from when it had read the last record of the home before: that was sent
 * earlier, and none after it will be accepted. A follower of a home that has been silent for so
 * long opens at once.
 *
 * An engine may lose what it had accepted. The last records are kept in memory, and appended again
 * by any node that has read them (replay.h); what is lost from there, too, is told (`missing`).
 *
 * One record is in flight at a time. An append whose answer is lost is sent again with the same id
 * until it is known what became of it; nothing later is sent before. Limits: one batch of
 * CHANGELOG_BATCH_MAX bytes waits or is in flight; CHANGELOG_READS records are read ahead.
 */
#ifndef CHANGELOG_CHANGELOG_H
#define CHANGELOG_CHANGELOG_H

#include "base/rc.h"
#include "changelog/chain.h"
#include "changelog/engine.h"
#include "changelog/replay.h"
#include "changelog/tail.h"

#include <stdatomic.h>

enum {
    CHANGELOG_LEASE_MS = 1500,
    CHANGELOG_LEASE_MARGIN_MS = 250, /* for clocks that do not run alike */
    CHANGELOG_REFRESH_MS = 600,      /* an idle home appends an empty record so often */
    CHANGELOG_ANSWER_MS = 500,       /* then it is asked again ... */
    CHANGELOG_ANSWER_MAX_MS = 1000,  /* ... later each time, up to this */
    CHANGELOG_BYTES_PER_MS = 4096,   /* a large record is given so much more time */
    CHANGELOG_READ_MAX_MS = 4000,    /* the longest wait for a record that is read */
    CHANGELOG_RETRY_MS = 200,        /* after an answer that it could not be done now */
    CHANGELOG_COPIES_MS = 500,       /* so long copies are read before the leader is asked again */
    CHANGELOG_POLL_MS = 250,         /* a follower that has read everything looks again */
    CHANGELOG_INFO_MS = 2000,        /* ... and whether what it would read next has been trimmed */
    CHANGELOG_GONE_MS = 1000,        /* ... which the engine has to say twice, so long apart */
    CHANGELOG_READS = 8,
};

enum changelog_state {
    CHANGELOG_IDLE,
    CHANGELOG_FOLLOWING,
    CHANGELOG_CLAIMING,
    CHANGELOG_CATCHING_UP,
    CHANGELOG_WAITING,
    CHANGELOG_OPENING,
    CHANGELOG_OPEN,
    CHANGELOG_RELEASING,
    CHANGELOG_BROKEN,
};

struct changelog;

/* A batch that somebody has appended, or what says who is home. */
struct changelog_entry {
    enum changelog_kind kind;
    struct changelog_position position;  /* behind it; goes into the store with it */
    struct bytes body;                   /* CHANGELOG_BATCH: borrowed until the call returns */
    const struct changelog_claim *claim; /* CHANGELOG_CLAIM: borrowed until the call returns */
};

/* Up to the owner, on its thread. It may call anything here from them but changelog_deinit(). */
struct changelog_ops {
    /* The next entry of the log, read while following or catching up. */
    void (*apply)(struct changelog *log, const struct changelog_entry *entry);
    /* This node is home. */
    void (*opened)(struct changelog *log, uint64_t epoch);
    /* The batch is in the log for ever, at this position. */
    void (*committed)(struct changelog *log, uint64_t cookie,
                      const struct changelog_position *position);
    /* Somebody else is home, and what has not been committed never will be. */
    void (*deposed)(struct changelog *log);
    void (*released)(struct changelog *log);
    /* What would be read next has been trimmed: `first` is the oldest that there is. IDLE now. */
    void (*behind)(struct changelog *log, uint64_t first);
    /* The log must not be used: acknowledged records are missing, or there are two of them. */
    void (*broken)(struct changelog *log, const char *why);
    void (*lease_changed)(struct changelog *log, bool fresh);
};

struct changelog_counts {
    uint64_t appended, resent, refused, read_back, empty, applied, failed, replayed;
};

/* What is being appended. */
struct changelog_flight {
    uint64_t token; /* of all attempts at this record; 0: nothing is in flight */
    bool fenced, reading_back;
    uint8_t head[CHANGELOG_HEADER];
    struct changelog_record record; /* its body is borrowed */
    struct changelog_hash hash;     /* of the chain behind it */
    char id[CHANGELOG_ID_MAX];
    uint64_t first_sent_ms, retry_ms, pause_ms;
};

struct changelog_slot {
    uint64_t sequence, token; /* token 0: free */
    uint64_t asked_ms;
    bool copy;      /* the last time a copy was asked, and not the engine's leader ... */
    bool of_copy;   /* ... or one of the times */
    uint8_t *bytes; /* has come before its turn; NULL: not yet */
    size_t len;
};

struct changelog {
    const struct changelog_ops *ops;
    void *owner;
    struct engine *engine;
    struct engine_sink sink;
    uint32_t group;
    enum changelog_state state;
    struct chain chain;
    struct changelog_claim self;
    uint8_t claim_body[CHANGELOG_CLAIM_MAX];

    /* appending */
    struct changelog_flight flight;
    struct bytes batch; /* borrowed from changelog_append_fenced() on; data NULL: none */
    uint64_t cookie;
    size_t batch_sent; /* of it, in records before the one in flight */
    size_t part_max;   /* bytes of a part of it */
    uint16_t part, parts;
    bool release_wanted;
    uint64_t claim_sequence, claimed_ms, open_at_ms;
    uint64_t holder_read_ms; /* when the last record of a home was read, or later; 0: none yet */

    /* The lease is read by other threads: partner of every store is changelog_lease_fresh(). */
    _Atomic uint64_t lease_until_ms;
    bool lease_told;

    /* reading */
    struct changelog_slot slots[CHANGELOG_READS];
    uint32_t window;
    uint64_t read_wait_ms; /* doubles when one does not come: they may be large */
    uint64_t poll_ms, info_ms, info_token;
    uint64_t copies_until_ms; /* until then copies are read, since the leader did not answer */
    uint64_t end_ms;      /* when the engine last said that nothing is behind what has been read */
    bool end_known;       /* it has said where the log ends since this node follows it */
    uint64_t end_told_ms; /* when it said so last */
    /* Records at the end of what has been read or appended that the engine does not have, as it
     * said last. That may be old; when it stays so the engine has lost what it had accepted. */
    uint64_t missing;
    /* What would be read next, of which the engine has said once that it is gone; 0: it has not.
     * A server that has just started may say so of what it has not found again yet. */
    uint64_t gone_sequence;
    struct tail tail;
    struct changelog_replay replay;
    struct changelog_counts counts;
};

/* Borrows ops and engine. `node` has the characters of a stream's name. IDLE. */
void changelog_init(struct changelog *log, uint32_t group, struct engine *engine,
                    const struct changelog_ops *ops, void *owner, const char *node,
                    uint64_t incarnation);
void changelog_deinit(struct changelog *log);

/* IDLE or BROKEN: goes on behind `position`, which is what the owner's store holds. */
void changelog_start_at(struct changelog *log, const struct changelog_position *position);

/* IDLE: reads and applies what is behind the position. */
void changelog_follow(struct changelog *log, uint64_t now_ms);

/* FOLLOWING: the home says that the log has reached this sequence; it need not wait to look. */
void changelog_hint(struct changelog *log, uint64_t sequence, uint64_t now_ms);

/* FOLLOWING: asks the engine where the log ends, now; sets end_told_ms and missing. */
void changelog_look_at_end(struct changelog *log, uint64_t now_ms);

/* What the engine has lost is being appended again. */
bool changelog_replays(const struct changelog *log);

/* FOLLOWING, or a claim that has not opened: IDLE. A claim may be in the log all the same. */
void changelog_stop(struct changelog *log);

/* OPEN: a later epoch has opened elsewhere, as has been heard, although the log does not say so. */
void changelog_depose(struct changelog *log);

/* IDLE or FOLLOWING: becomes home. The note, of at most CHANGELOG_NOTE_MAX bytes, is copied into
 * the claim. */
void changelog_claim(struct changelog *log, struct bytes note, uint64_t now_ms);

/* The epoch that it is going to open, from when its claim is known to be in the log; else 0. */
uint64_t changelog_claims(const struct changelog *log);

/*
 * OPEN: appends a batch of 1 to CHANGELOG_BATCH_MAX bytes. RC_OK: borrows it until committed() or
 * deposed(). RC_AGAIN: one is on its way. RC_CLOSED: this node is not home. RC_FULL: too large.
 */
MUST_USE enum rc changelog_append_fenced(struct changelog *log, struct bytes batch, uint64_t cookie,
                                         uint64_t now_ms);

/* OPEN: gives the group up, when what is on its way is known. From now on the lease is over.
 * Harmless when this node is not home. */
void changelog_release(struct changelog *log, uint64_t now_ms);

/* OPEN: is not home from now on, without a word to anybody, as a process that has ended; so the
 * next home waits for its lease. What is in flight may be in the log all the same. IDLE behind the
 * last whole batch. */
void changelog_abandon(struct changelog *log);

/* What is before `sequence` is needed by nobody. When the log ends before that it goes on from
 * there. */
void changelog_trim(struct changelog *log, uint64_t sequence);

/* Whether the home may act without appending, now by CLOCK_BOOTTIME. Any thread. */
bool changelog_lease_fresh(const struct changelog *log, uint64_t now_ms);

/* Behind the last whole batch that was applied or committed. Borrows. */
const struct changelog_position *changelog_position(const struct changelog *log);

/* When changelog_turn() has something to do, UINT64_MAX: never by itself. */
uint64_t changelog_deadline_ms(const struct changelog *log);
void changelog_turn(struct changelog *log, uint64_t now_ms);

const char *changelog_state_name(enum changelog_state state);

#endif
