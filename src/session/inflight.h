/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window of QoS 1/2 messages sent to a client and not acknowledged, in the order of sending.
 * Every message of a session has a sequence number, and its packet identifier follows from that:
 * so an acknowledgement finds its entry in the ring by subtraction, and a broker that comes back
 * after a crash sends each message again under the identifier that it had. The ring spans at most
 * INFLIGHT_SPAN_MAX numbers: when one message stays unacknowledged while so many later ones come,
 * the later ones wait.
 */
#ifndef SESSION_INFLIGHT_H
#define SESSION_INFLIGHT_H

#include "base/rc.h"
#include "model/message.h"
#include "model/subscription.h"
#include "store/store.h"

enum { INFLIGHT_SPAN_MAX = 32768 };

enum inflight_state {
    INFLIGHT_DONE, /* a hole: acknowledged before an older one, or never sent */
    INFLIGHT_SENT_QOS1,
    INFLIGHT_SENT_QOS2,
    INFLIGHT_RELEASED, /* PUBREL sent; the message is gone */
};

/* What a queue or window keeps of one message for one session. */
struct kept {
    struct message *message; /* one reference */
    uint32_t *
        identifiers; /* more than one subscription identifier: count, then them; owned; else NULL */
    struct share_member *share; /* borrowed; NULL: not of a share */
    /* In its session, from 1 on. With QoS 0: of the QoS 1/2 message before which it stands. */
    uint64_t sequence;
    uint64_t shared;      /* number of the stored message that other queues share; 0: none */
    struct store_ref ref; /* its record, while that may still be taken back */
    uint32_t identifier;  /* the only one, 0: none */
    uint8_t qos;
    uint8_t state; /* enum inflight_state */
    bool retain : 1;
    bool counted : 1; /* against this connection's receive maximum */
    bool stored : 1;  /* it has a record */
    bool seen : 1;    /* it may have been sent before this process began: DUP */
};

/* Drops the message and the identifiers; finishes the share's count. */
void kept_drop(struct kept *kept);

struct inflight {
    struct kept *ring;
    uint32_t room;        /* power of two */
    uint32_t first, span; /* place of the oldest, and how many from there on */
    uint32_t unacknowledged;
    uint32_t counted; /* of them, sent on this connection: the used part of the receive maximum */
    uint32_t resend;  /* entries from the oldest that this connection has seen; < span: resending */
    uint64_t first_sequence; /* of the oldest */
};

struct inflight *inflight_new(void);

/* Drops everything. NULL is fine. */
void inflight_free(struct inflight *inflight);

/* Entries, holes included. */
static inline uint32_t inflight_size(const struct inflight *inflight)
{
    return inflight == NULL ? 0 : inflight->span;
}

/* False: a message with that number has to wait for older ones to be acknowledged. True: pushing it
 * will not say RC_AGAIN. */
static inline bool inflight_has_room(const struct inflight *inflight, uint64_t sequence)
{
    return inflight->span == 0 || sequence - inflight->first_sequence < INFLIGHT_SPAN_MAX;
}

/* 1..65535 */
static inline uint16_t packet_id_of(uint64_t sequence)
{
    return (uint16_t)((sequence - 1) % 65535 + 1);
}

/* Takes what is kept on success; its sequence is above all before. RC_AGAIN: too far from the
 * oldest; RC_NO_MEMORY. */
enum rc inflight_push(struct inflight *inflight, const struct kept *kept);

/* The entry with that id in that state, borrowed; NULL when there is none. */
struct kept *inflight_find(struct inflight *inflight, uint16_t packet_id,
                           enum inflight_state state);

/* Ends the exchange of an entry of this window; it is gone afterwards. */
void inflight_finish(struct inflight *inflight, struct kept *entry);

/* A new connection: nothing is counted and everything is to be sent again. */
void inflight_rewind(struct inflight *inflight);

/* The n-th from the oldest; holes included. n < inflight_size(). */
struct kept *inflight_at(struct inflight *inflight, uint32_t n);

#endif
