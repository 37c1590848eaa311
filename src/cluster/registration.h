/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client id, one connection, also for clients whose session ends with it and so lives where
 * they are connected. The home of the client id knows which node has it: its registration. Whoever
 * comes next under that name, here or anywhere, waits until the one before has gone. The home keeps
 * the client's will, too (delivery/testament.h).
 *
 *     edge: struct registration
 *         ASKS --REGISTERED--> HELD --DROP, connection over--> gone; with a will:
 *                                             '--> VOID or DUE --UNREGISTERED--> gone
 *     home: struct registered
 *         HELD by a link --somebody waits: DROP--> LEAVING --UNREGISTER--> gone
 *           '--link lost--> held for registered_lease_ms() by nobody: its will is due
 *
 * When a link is lost the edge registers again, with that home or the next one, and gives its
 * clients up when it could not within registration_lease_ms(), not counting the time in which there
 * was no home (homes_is_vacant()); the home that has lost it waits longer. An edge that is cut off
 * (cluster_is_cut_off()) gives them up at once, or serves them all the same if that is configured.
 * A new home is told of all registrations, and decides nothing before: see gather.c. Inside
 * cluster/ only, on the worker's thread.
 *
 * Limits: one registration for each connection, and for each that is over and whose will the home
 * has not confirmed; who waits at home is a connection, too.
 */
#ifndef CLUSTER_REGISTRATION_H
#define CLUSTER_REGISTRATION_H

#include "cluster/tunnel_inside.h"

enum {
    REGISTRATION_LEASE_MS = 4000,
    REGISTRATION_TICK_MS = 200,
};

struct cluster;
struct registrations;

/* How long an edge keeps a client without a link to its home: REGISTRATION_LEASE_MS, or what a test
 * asks for. The same on all nodes. */
uint32_t registration_lease_ms(const struct cluster *cluster);
/* ... and how long the home waits for it. The edge has noticed that the link is lost later by
 * LEASE_MS and a heartbeat at most, and is done by then. */
uint32_t registered_lease_ms(const struct cluster *cluster);

struct registrations *registrations_new(struct tunnels *tunnels);
/* Stops the timer. */
void registrations_close(struct registrations *registrations);
void registrations_free(struct registrations *registrations);

/* ---- the edge ----------------------------------------------------------------------------------
 */

/* See cluster_register(). */
struct registration *registration_new(struct tunnels *tunnels, const struct cluster_home *home,
                                      struct bytes client_id, void *holder, enum register_kind kind,
                                      struct message *will);
bool registration_is_held(const struct registration *registration);
void registration_end(struct registration *registration, enum cluster_will will);

/* False: the frame makes no sense. */
bool registration_edge_frame(struct tunnel_out *out, const struct link_frame *frame);
void registrations_out_open(struct tunnel_out *out);
void registrations_out_lost(struct tunnel_out *out);
/* Registers with the homes that there are now. */
void registrations_homes_changed(struct registrations *registrations);
/* ... and that were all. */
void registrations_all_said(struct registrations *registrations);
/* See tunnels_told(). */
uint64_t registrations_told(const struct registrations *registrations, uint32_t group);

/* ---- the home ----------------------------------------------------------------------------------
 */

/* What is registered of groups that this node is home of no longer goes: all of it is told anew
 * when it should be home again. */
void registrations_forget_unserved(struct registrations *registrations);

bool registrations_vacate(struct registrations *registrations, struct bytes client_id,
                          void *holder);
void registrations_forget(struct registrations *registrations, const void *holder);
bool registration_home_frame(struct tunnel_in *in, const struct link_frame *frame);
void registrations_in_lost(struct tunnel_in *in);
/* Those who ask while the home has not gathered have their turn when it has. */
void registrations_admit_held(struct registrations *registrations);

/* ---- between the two files ---------------------------------------------------------------------
 */

/* What the edge knows of one group's home. */
struct registration_group {
    uint64_t epoch; /* of the home that has been asked for all; 0: they are being asked */
    uint64_t next_epoch;
    uint32_t unknown; /* registrations that it has to hear of and has not confirmed */
    _Atomic uint64_t told;
};

struct registrations {
    struct tunnels *tunnels;
    /* the edge */
    struct map by_number; /* struct registration */
    struct list unlinked; /* those that no link holds */
    struct list here;     /* those whose home is this node now */
    uint64_t numbers;     /* the last given out; they begin anywhere */
    struct registration_group groups[CLUSTER_GROUPS];
    /* the home */
    struct map by_client; /* struct registered */
    struct list orphans;  /* those whose link is lost, the oldest first */
    struct list claims;   /* struct claim: all who wait */
    struct list held;     /* struct claim: those of them that wait until all is gathered */
    struct loop_timer tick;
};

/* Whether this node is home of that shard, and what is recorded of it may come to be stored. */
bool registrations_serve(const struct registrations *registrations, uint32_t shard);
/* Forgets what waits for the store, and those that are over. */
void registrations_close_edge(struct registrations *registrations);

/* Makes the tick run. */
void registrations_watch(struct registrations *registrations);
/* Once a tick. True: something is left to look at. */
bool registrations_look_at_unlinked(struct registrations *registrations);
bool registrations_look_at_orphans(struct registrations *registrations);

#endif
