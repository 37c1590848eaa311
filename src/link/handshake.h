/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How two nodes meet: both prove that they know `cluster.secret`, without saying it, and tell who
 * they are. Pure: frames in, bytes out.
 *
 *     dialer                                   listener
 *       HELLO versions, who, why, nonce  --->
 *                                        <---  ANSWER version, who, nonce, proof
 *       PROOF                            --->
 *                                        <---  WELCOME, or at any point REFUSED reason
 *
 * A proof is HMAC-SHA256 with the secret over the role's name and everything that was said before
 * it, so it is good for this meeting only.
 */
#ifndef LINK_HANDSHAKE_H
#define LINK_HANDSHAKE_H

#include "link/frame.h"

enum {
    LINK_VERSION_MIN = 1,
    LINK_VERSION_MAX = 5,
    LINK_VERSION_LOW = 2, /* from then on publications of an outbox say which is the oldest there */
    LINK_VERSION_SHARDS =
        3, /* ... and shares are told, and chosen, by the shards of their members */
    LINK_VERSION_ORDERS = 4, /* ... and a node does what an operator of another one asks of it */
    LINK_VERSION_JOINS =
        5,              /* ... and says of its engine that it joins, and which servers have gone */
    LINK_NAME_MAX = 64, /* bytes of a cluster's or a node's name */
    LINK_ADDRESS_MAX = 264, /* bytes of "host:port" */
    LINK_NONCE = 32,
    LINK_PROOF_SIZE = 32,
};

enum link_purpose {
    LINK_CONTROL = 1,
    LINK_ROAD,   /* publications of one worker */
    LINK_TUNNEL, /* clients whose sessions live on the listener's node */
    LINK_COPY,   /* of a group of shards that the listener's node has */
};

/* Who a node is. Borrows its texts. */
struct link_identity {
    const char *cluster, *node;
    const char *address;  /* where others reach it, "host:port" */
    uint64_t incarnation; /* of this process: random */
    uint16_t workers;     /* how many it has; at least 1 */
    uint16_t version_max; /* 0: LINK_VERSION_MAX; a test's */
    struct bytes secret;
};

/* What one learns of the other end. */
struct link_peer {
    char node[LINK_NAME_MAX + 1];
    char address[LINK_ADDRESS_MAX + 1];
    uint64_t incarnation;
    uint16_t workers; /* of that node */
    uint16_t version; /* what both speak */
    uint16_t worker;  /* LINK_ROAD: of the dialer. LINK_TUNNEL: of the listener */
    uint8_t purpose;  /* enum link_purpose: the dialer's */
};

enum handshake_refusal {
    HANDSHAKE_FINE,
    HANDSHAKE_MALFORMED,
    HANDSHAKE_NO_COMMON_VERSION,
    HANDSHAKE_OTHER_CLUSTER,
    HANDSHAKE_WRONG_SECRET,
    HANDSHAKE_SELF, /* the other end is this process */
};

enum handshake_state {
    HANDSHAKE_EXPECTS_HELLO,
    HANDSHAKE_EXPECTS_ANSWER,
    HANDSHAKE_EXPECTS_PROOF,
    HANDSHAKE_EXPECTS_WELCOME,
    HANDSHAKE_MET,
    HANDSHAKE_FAILED,
};

struct handshake {
    const struct link_identity *own;
    enum handshake_state state;
    enum handshake_refusal refusal;
    bool refused_by_peer; /* else by us */
    struct link_peer peer;
    uint8_t said[2 * LINK_GREETING_MAX]; /* the bodies so far: what proofs are of */
    size_t said_len;
};

/* Room for what one step says. */
struct handshake_output {
    uint8_t data[LINK_HEADER + LINK_GREETING_MAX];
    size_t len;
};

/* Borrows own. The dialer's also writes HELLO. `nonce` comes from the system's random source. */
void handshake_dial(struct handshake *h, const struct link_identity *own, enum link_purpose purpose,
                    uint16_t worker, const uint8_t nonce[LINK_NONCE], struct handshake_output *out);
void handshake_listen(struct handshake *h, const struct link_identity *own);

/* Takes the next frame; what there is to say goes to `out` (also when it fails). `nonce` is used by
 * a listener that answers. */
enum handshake_state handshake_step(struct handshake *h, const struct link_frame *frame,
                                    const uint8_t nonce[LINK_NONCE], struct handshake_output *out);

const char *handshake_refusal_text(enum handshake_refusal refusal);

#endif
