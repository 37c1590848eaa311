/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window of QoS 1/2 messages sent to a client and not acknowledged, in the order of sending.
 * Packet identifiers are given in sequence, so an acknowledgement finds its entry in the ring by
 * subtraction. The ring spans at most INFLIGHT_SPAN_MAX identifiers; an entry that stays
 * unacknowledged while so many later ones were sent becomes a straggler: it is looked up in a list,
 * and its identifier is passed over when the numbers come round again. Entries are counted from the
 * oldest: stragglers, then the ring.
 */
#ifndef SESSION_INFLIGHT_H
#define SESSION_INFLIGHT_H

#include "base/rc.h"
#include "model/message.h"
#include "model/subscription.h"

enum { INFLIGHT_SPAN_MAX = 32768, STRAGGLERS_MAX = 1024 };

enum inflight_state {
    INFLIGHT_DONE, /* a hole: acknowledged before an older one */
    INFLIGHT_SENT_QOS1,
    INFLIGHT_SENT_QOS2,
    INFLIGHT_RELEASED, /* PUBREL sent; the message is gone */
};

/* What a queue or window keeps of one message for one session. */
struct kept {
    struct message *message; /* one reference */
    uint32_t *
        identifiers; /* more than one subscription identifier: count, then them; owned; else NULL */
    uint32_t identifier; /* the only one, 0: none */
    uint8_t qos;
    uint8_t state; /* enum inflight_state */
    bool retain;
    bool counted;               /* against this connection's receive maximum */
    struct share_member *share; /* borrowed; NULL: not of a share */
};

/* Drops the message and the identifiers; finishes the share's count. */
void kept_drop(struct kept *kept);

struct straggler {
    struct kept kept;
    uint16_t packet_id;
};

struct inflight {
    struct straggler *stragglers; /* oldest first; NULL: none */
    uint32_t straggler_count;
    struct kept *ring;
    uint32_t room;        /* power of two */
    uint32_t first, span; /* place of the oldest, and how many from there on */
    uint32_t unacknowledged;
    uint32_t counted; /* of them, sent on this connection: the used part of the receive maximum */
    uint32_t resend;  /* entries from the oldest that this connection has seen; < size: resending */
    uint16_t first_id; /* packet id of the oldest */
};

struct inflight *inflight_new(uint16_t first_id);

/* Drops everything. NULL is fine. */
void inflight_free(struct inflight *inflight);

/* Entries, holes included. */
static inline uint32_t inflight_size(const struct inflight *inflight)
{
    return inflight == NULL ? 0 : inflight->straggler_count + inflight->span;
}

/* False: so many old messages are unacknowledged that new ones have to wait for them. True: the
 * next push will not say RC_AGAIN. */
static inline bool inflight_has_room(const struct inflight *inflight)
{
    /* A push may pass over the identifier of each straggler, and leave one behind for each. */
    return inflight->straggler_count < STRAGGLERS_MAX / 2 ||
           inflight->span < INFLIGHT_SPAN_MAX - STRAGGLERS_MAX;
}

/* Takes what is kept on success and gives its packet id. RC_AGAIN: no more can be in flight;
 * RC_NO_MEMORY. */
enum rc inflight_push(struct inflight *inflight, const struct kept *kept, uint16_t *packet_id);

/* The entry with that id in that state, borrowed; NULL when there is none. */
struct kept *inflight_find(struct inflight *inflight, uint16_t packet_id,
                           enum inflight_state state);

/* Ends the exchange of an entry of this window; it is gone afterwards. */
void inflight_finish(struct inflight *inflight, struct kept *entry);

/* A new connection: nothing is counted and everything is to be sent again. */
void inflight_rewind(struct inflight *inflight);

/* The n-th from the oldest and its id; holes included. n < inflight_size(). */
struct kept *inflight_at(struct inflight *inflight, uint32_t n, uint16_t *packet_id);

/* Packet id after `id`: 1..65535. */
static inline uint16_t packet_id_next(uint16_t id)
{
    return id == 65535 ? 1 : (uint16_t)(id + 1);
}

#endif
