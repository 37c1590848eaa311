/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a tunnel: the bytes of many clients' connections between the worker that has their
 * transports (the edge) and the one that has their sessions (the home). Pure, as frame.h.
 *
 *     edge                                       home
 *       OPEN id, who                       --->       a connection begins
 *       DATA id, bytes                     <-->       at most TUNNEL_WINDOW of them not credited
 *       CREDIT id, bytes worked off so far <-->
 *       END id, why                        <-->       each side says it once, and nothing after it
 *
 * The edge chooses the id; it is free again when both have said END.
 *
 * A client whose session ends with its connection stays on its edge, and is registered with the
 * home of its client id, so that there is one connection of that name, and its will outlives the
 * edge. The number is drawn by the edge, and no other connection of that name has it.
 *
 *     edge                                       home
 *       REGISTER number, client id, will   --->       whoever has that client id goes first
 *                                          <---       REGISTERED number, client id
 *                                          <---       DROP number, client id: another one comes
 *       UNREGISTER number, client id       --->       the connection is over; what becomes of a
 * will
 *                                          <---       UNREGISTERED number, client id: that is safe
 */
#ifndef LINK_TUNNEL_H
#define LINK_TUNNEL_H

#include "link/frame.h"

enum {
    TUNNEL_WINDOW = 256 * 1024, /* bytes of one connection, each way, that are not worked off */
    TUNNEL_PIECE = 64 * 1024,   /* in one frame */
    TUNNEL_CREDIT_STEP = 64 * 1024,
    TUNNEL_ADDRESS = 16,
    TUNNEL_OPEN_SIZE = 4 + 4 + 3 + 1 + TUNNEL_ADDRESS + 2,
    TUNNEL_CREDIT_SIZE = 4 + 8,
    TUNNEL_ID_SIZE = 4,
};

/* Why a side says END; in the frame's flags. */
enum tunnel_end {
    TUNNEL_END_CLOSED,   /* the transport was closed: by the client, or at home at once */
    TUNNEL_END_FINISHED, /* the home has said all: the client is told when it has got that */
    TUNNEL_END_ERROR,    /* the transport broke, or no memory */
    TUNNEL_END_DRAINED,  /* the edge stops */
    TUNNEL_ENDS,
};

/* Who the client is. */
struct tunnel_open {
    uint32_t id;
    uint32_t hash;      /* of its client id */
    uint8_t transport;  /* enum transport */
    uint8_t durability; /* enum durability: of its listener */
    uint8_t listener;   /* of the edge's configuration */
    uint8_t family;     /* AF_INET, AF_INET6, another, or 0: its address is not known */
    uint8_t address[TUNNEL_ADDRESS];
    uint16_t port;
};

/* In the flags of REGISTER. */
enum register_kind {
    REGISTER_NEW,
    REGISTER_AGAIN,           /* it is connected all the time, and was registered before */
    REGISTER_AGAIN_WITH_WILL, /* ... with a will, which is kept for it */
    REGISTER_KINDS,
};

/* In the flags of UNREGISTER. */
enum unregister_kind {
    UNREGISTER_ONLY,      /* it had no will, or has another home */
    UNREGISTER_WILL_VOID, /* these two are answered */
    UNREGISTER_WILL_DUE,
    UNREGISTER_KINDS,
};

enum { REGISTRATION_MAX = 8 + 2 + UINT16_MAX };

/* The body of these frames; gives its size. Behind it stands, in REGISTER_NEW, the will as it is
 * stored, or nothing. */
size_t registration_write(uint64_t number, struct bytes client_id, uint8_t out[REGISTRATION_MAX]);

/* Borrowed. */
struct registration_frame {
    uint64_t number;
    struct bytes client_id; /* not empty */
    struct bytes will;      /* or empty */
};

bool registration_read(struct bytes body, struct registration_frame *out);

void tunnel_open_write(const struct tunnel_open *open, uint8_t out[TUNNEL_OPEN_SIZE]);
/* False: it is malformed. */
bool tunnel_open_read(struct bytes body, struct tunnel_open *open);

void tunnel_credit_write(uint32_t id, uint64_t worked_off, uint8_t out[TUNNEL_CREDIT_SIZE]);
bool tunnel_credit_read(struct bytes body, uint32_t *id, uint64_t *worked_off);

/* The bytes of DATA are borrowed; there is at least one, and at most TUNNEL_PIECE. */
bool tunnel_data_read(struct bytes body, uint32_t *id, struct bytes *data);
bool tunnel_end_read(const struct link_frame *frame, uint32_t *id, enum tunnel_end *why);

#endif
