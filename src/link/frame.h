/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes say to each other: frames of eight bytes and a body. Numbers are big-endian.
 *
 *     length of the body (4) | kind (1) | flags (1) | 0 (2) | body
 *
 * Pure: no I/O, no memory. Readers check every length; a reader that has failed gives zeroes, so
 * that one look at link_reader_ok() at the end is enough.
 */
#ifndef LINK_FRAME_H
#define LINK_FRAME_H

#include "base/bytes.h"
#include "model/message.h"

enum {
    LINK_HEADER = 8,
    LINK_BODY_MAX = 300 * 1024 * 1024, /* more than the largest MQTT packet */
    LINK_GREETING_MAX = 2048,          /* bytes of a body before both ends know each other */
};

enum link_kind {
    /* handshake.c */
    LINK_HELLO = 1,
    LINK_ANSWER,
    LINK_PROOF,
    LINK_WELCOME,
    LINK_REFUSED,
    /* on the road: publications one way, what is answered the other */
    LINK_PUBLISH = 16,
    LINK_QUESTION,
    LINK_ANSWER_PUBLISH, /* what has become of one that asked */
    LINK_CREDIT,
    LINK_LAGGING,
    LINK_CAUGHT_UP,
    LINK_VIEW,   /* which groups of sessions the sender believes to be there, from now on */
    LINK_RETAIN, /* a publication for the home of its topic, to be retained */
    /* between the worker that has a client's transport and the one that has its session: tunnel.h
     */
    LINK_TUNNEL_OPEN = 24,
    LINK_TUNNEL_DATA,
    LINK_TUNNEL_CREDIT,
    LINK_TUNNEL_END, /* the flags say why */
    LINK_REGISTER,   /* the flags: enum register_kind */
    LINK_REGISTERED,
    LINK_UNREGISTER,
    LINK_DROP,
    /* between the nodes' controls */
    LINK_HEARTBEAT = 32,
    LINK_MEMBERS,
    LINK_ROUTES_BEGIN, /* the whole table follows */
    LINK_ROUTES,       /* filters of the level in the flags */
    LINK_ROUTES_MARK,  /* everything up to this number has been said */
    LINK_ROUTES_DONE,  /* ... and done */
    LINK_GOODBYE,      /* the node ends */
    LINK_HOMES,        /* what a node says of itself, and of which groups it is home */
    LINK_GATHERED,     /* by group: the home of that epoch knows of all of the sender's clients */
    LINK_REMOVED,      /* a node that an operator has removed */
    LINK_SHARE_ROUTES, /* as LINK_ROUTES, each with a shard before it (LINK_VERSION_SHARDS) */
    LINK_ORDER,        /* cluster/order.c (LINK_VERSION_ORDERS) */
    LINK_ORDERED,      /* ... what has become of one; the flags say it */
    LINK_UNREGISTERED = 48, /* as 24 and those behind it */
    /* a copy of a group: copy.h */
    LINK_COPY_ASK = 64,
    LINK_COPY_BEGIN,
    LINK_COPY_CHUNK,
    LINK_COPY_CREDIT,
    LINK_COPY_END,
    LINK_COPY_REFUSED, /* the flags: enum copy_refusal */
};

struct link_frame {
    uint8_t kind; /* enum link_kind, or one that this version does not know */
    uint8_t flags;
    struct bytes body;
};

enum link_parse { LINK_PARSED, LINK_INCOMPLETE, LINK_TOO_LONG };

/* The first frame of `in`, borrowed; *size: its bytes, header included. */
enum link_parse link_frame_parse(struct bytes in, uint32_t body_max, struct link_frame *frame,
                                 size_t *size);

void link_header_write(uint8_t out[LINK_HEADER], enum link_kind kind, uint8_t flags,
                       uint32_t body_len);

/* ---- bodies ------------------------------------------------------------------------------------
 */

struct link_reader {
    const uint8_t *at, *end;
    bool failed;
};

static inline struct link_reader link_reader_of(struct bytes body)
{
    return (struct link_reader){body.data, body.data + body.len, false};
}

/* Everything was there, and nothing is left. */
static inline bool link_reader_ok(const struct link_reader *reader)
{
    return !reader->failed && reader->at == reader->end;
}

uint8_t link_read_u8(struct link_reader *reader);
uint16_t link_read_u16(struct link_reader *reader);
uint32_t link_read_u32(struct link_reader *reader);
uint64_t link_read_u64(struct link_reader *reader);
struct bytes link_read_bytes(struct link_reader *reader, size_t len);
/* With two bytes of length before it. */
struct bytes link_read_text(struct link_reader *reader);

/* Each gives the end of what it has written. */
uint8_t *link_write_u16(uint8_t *out, uint16_t value);
uint8_t *link_write_u32(uint8_t *out, uint32_t value);
uint8_t *link_write_u64(uint8_t *out, uint64_t value);
uint8_t *link_write_bytes(uint8_t *out, struct bytes bytes);
uint8_t *link_write_text(uint8_t *out, struct bytes text); /* at most 65,535 bytes */

/* ---- publications ------------------------------------------------------------------------------
 */

struct link_publish {
    struct publication publication; /* its publisher is the sender's own reference */
    uint64_t share;                 /* a hash of "$share/name/filter"; 0: of no share */
    bool has_shard;        /* of an outbox: for a member of the share whose session is... */
    uint16_t shard;        /* ...in that shard */
    bool to_retain;        /* LINK_RETAIN: not for subscribers */
    bool asks;             /* the sender waits until it is safe; answered by number: */
    uint64_t number;       /* 1 for the first on a road that asks, and so on */
    uint64_t outbox;       /* it is this entry of the outbox of... */
    uint32_t outbox_shard; /* ...this shard, and has to arrive once; outbox 0: it is none */
    uint64_t outbox_low;   /* of those of that shard that have not come to all, the lowest; 0: it is
                              not known to say so (LINK_VERSION_LOW) */
    bool replayed;         /* it may have come before */
};

enum { LINK_PUBLISH_HEAD_MAX = LINK_HEADER + 2 + 4 + 4 + 8 + 1 + 4 + 8 + 8 + 4 + 8 + 8 + 2 };

/* Writes everything but the payload, which follows; gives its size: at most LINK_PUBLISH_HEAD_MAX,
 * the topic and the properties. */
size_t link_publish_write(const struct link_publish *publish, uint64_t now_ms, uint8_t *out);

/* Borrows the frame. False: it is malformed. `received_ms` is set to now_ms. */
bool link_publish_read(const struct link_frame *frame, uint64_t now_ms,
                       struct link_publish *publish);

#endif
