/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at every record of a store that nobody writes to: whether it can be read, and whether what
 * it belongs to is there. One shard after the other, in memory for the sessions of one. Any thread.
 */
#ifndef STORE_AUDIT_H
#define STORE_AUDIT_H

#include "store/engine.h"
#include "store/record.h"

enum audit_kind {
    AUDIT_SESSIONS,
    AUDIT_SUBSCRIPTIONS,
    AUDIT_RECEIVED,
    AUDIT_WILLS,
    AUDIT_TESTAMENTS,
    AUDIT_OUTBOX,
    AUDIT_CHOICES,
    AUDIT_HIGH_WATER,
    AUDIT_QUEUED,
    AUDIT_SHARED,
    AUDIT_RETAINED,
    AUDIT_KINDS,
};

/* "sessions", "queued messages", .... */
extern const char *const audit_kind_names[AUDIT_KINDS];

struct audit_count {
    uint64_t records, bytes;
};

enum { AUDIT_TOPIC_MAX = 128 };

struct audit_session {
    uint64_t number;
    uint32_t shard;
    uint64_t queued, queued_bytes; /* what its messages count for */
    uint64_t lost;                 /* entries whose message is missing */
    uint64_t holes;                /* numbers that are missing between two entries */
    uint64_t last_sequence;
    uint64_t unreadable; /* other records of it that are damaged */
    bool known;          /* false: others name it, its own record is missing */
    bool connected;
    bool in_gap;                 /* some of its queue may be missing */
    char topic[AUDIT_TOPIC_MAX]; /* of its first message, while its own record is missing */
    struct bytes client_id;
};

/* Keys from <= key < until cannot be read. Owned by who keeps it. */
struct audit_gap {
    struct audit_gap *next;
    bool filled;    /* something in it was found elsewhere */
    bool suspected; /* nothing in it is known to be damaged */
    enum store_family family;
    struct bytes from, until;
    char *error;
};

struct audit_gap *audit_gap_new(enum store_family family, struct bytes from, struct bytes until,
                                const char *error);
void audit_gaps_free(struct audit_gap *gaps);

struct audit {
    /* What is wrong, as a line without an end. */
    void (*problem)(struct audit *audit, const char *line);
    /* Each session at the end of its shard; NULL: not asked for. */
    void (*session)(struct audit *audit, const struct audit_session *session);
    /* A record that serves nothing: unreadable, or of nobody. NULL: only looked at. */
    enum rc (*useless)(struct audit *audit, enum store_family family, struct bytes key);
    bool say_holes;               /* something was lost: numbers missing in a queue are told */
    const struct audit_gap *gaps; /* that are known, to be named by session; may be NULL */

    struct meta_record meta; /* result */
    bool has_meta;
    uint32_t shards; /* that were looked at */
    struct audit_count counts[AUDIT_KINDS];
    uint64_t problems;
};

/* Whether the value is one that the key may have. */
bool audit_record_good(enum store_family family, const struct record_key *key, struct bytes value);

/* Reads the record of the store's format. RC_OK, RC_NOT_FOUND, RC_INVALID. */
enum rc audit_meta(struct engine *engine, struct meta_record *out);

/* RC_OK also when there are problems. RC_REFUSED: a newer format. */
enum rc audit_run(struct engine *engine, struct audit *audit);

#endif
