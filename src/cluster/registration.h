/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client id, one connection, also for clients whose session ends with it and so lives where
 * they are connected. The home of the client id knows which node has it: its registration. Whoever
 * comes next under that name, here or anywhere, waits until the one before has gone.
 *
 *     edge: struct registration   ASKED --REGISTERED--> HELD --DROP, connection over--> gone
 *     home: struct registered     HELD by a link --somebody waits: DROP--> LEAVING --UNREGISTER-->
 * gone
 *                                   '--link lost--> held for REGISTERED_LEASE_MS by nobody --'
 *
 * When a link is lost the edge registers again, with that home or the next one, and gives its
 * clients up when it could not within REGISTRATION_LEASE_MS; the home that has lost it waits
 * longer. Inside cluster/ only, on the worker's thread.
 *
 * Limits: one registration for each connection; who waits at home is a connection, too.
 */
#ifndef CLUSTER_REGISTRATION_H
#define CLUSTER_REGISTRATION_H

#include "cluster/tunnel_inside.h"

enum {
    REGISTRATION_LEASE_MS = 4000, /* without a link to a home */
    /* The edge has noticed that later by LEASE_MS and a heartbeat at most, and is done by then. */
    REGISTERED_LEASE_MS = 8000,
    REGISTRATION_TICK_MS = 200,
};

struct registrations;

struct registrations *registrations_new(struct tunnels *tunnels);
/* Stops the timer. */
void registrations_close(struct registrations *registrations);
void registrations_free(struct registrations *registrations);

/* ---- the edge ----------------------------------------------------------------------------------
 */

struct registration *registration_new(struct tunnels *tunnels, uint32_t remote,
                                      uint32_t home_worker, struct bytes client_id, void *holder,
                                      enum register_kind kind);
void registration_end(struct registration *registration);

/* False: the frame makes no sense. */
bool registration_edge_frame(struct tunnel_out *out, const struct link_frame *frame);
void registrations_out_open(struct tunnel_out *out);
void registrations_out_lost(struct tunnel_out *out);
/* Registers with the homes that there are now. */
void registrations_homes_changed(struct registrations *registrations);

/* ---- the home ----------------------------------------------------------------------------------
 */

bool registrations_vacate(struct registrations *registrations, struct bytes client_id,
                          void *holder);
void registrations_forget(struct registrations *registrations, const void *holder);
bool registration_home_frame(struct tunnel_in *in, const struct link_frame *frame);
void registrations_in_lost(struct tunnel_in *in);

/* ---- between the two files ---------------------------------------------------------------------
 */

struct registrations {
    struct tunnels *tunnels;
    /* the edge */
    struct map by_number; /* struct registration */
    struct list unlinked; /* those that no link holds */
    struct list here;     /* those whose home is this node now */
    uint64_t numbers;     /* given out so far */
    /* the home */
    struct map by_client; /* struct registered */
    struct list orphans;  /* those whose link is lost, the oldest first */
    struct list claims;   /* struct claim: all who wait */
    struct loop_timer tick;
};

/* Makes the tick run. */
void registrations_watch(struct registrations *registrations);
/* Once a tick. True: something is left to look at. */
bool registrations_look_at_unlinked(struct registrations *registrations);
bool registrations_look_at_orphans(struct registrations *registrations);

#endif
