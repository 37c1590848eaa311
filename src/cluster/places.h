/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node is home of which group of shards, for workers that ask at each CONNECT. Somebody says
 * so by name (cluster_set_home()); the control knows which names are here. Inside cluster/ only.
 */
#ifndef CLUSTER_PLACES_H
#define CLUSTER_PLACES_H

#include "cluster/cluster.h"

#include <pthread.h>

struct places {
    _Atomic uint64_t now[CLUSTER_GROUPS]; /* place, remote, workers: see places_get() */
    /* Since when it is there, as homes count: what is read before `now` is not younger. */
    _Atomic uint64_t epochs[CLUSTER_GROUPS];
    _Atomic uint64_t gathered[CLUSTER_GROUPS]; /* of this epoch: see cluster_has_gathered() */
    _Atomic uint32_t out_of_reach; /* a bit for each group: see cluster_is_out_of_reach() */
    pthread_mutex_t lock;
    bool told;     /* under the lock, as what follows */
    bool headless; /* some group had no home when places_look() looked, or has had none since */
    struct place {
        char node[LINK_NAME_MAX + 1]; /* "": none is home */
        uint64_t epoch, since_ms;     /* by clock_ms() */
        uint64_t last_epoch;          /* of the last home that was reached */
        uint64_t passed_ms; /* since when others know of a later one, who is not heard; 0: none */
    } places[CLUSTER_GROUPS];
};

void places_init(struct places *places);
void places_deinit(struct places *places);

/* Any thread; true when that is something else than before. When it is no node, workers find at
 * once that they lack routes. */
bool places_set(struct cluster *cluster, uint32_t group, const char *node, uint64_t epoch);
struct cluster_home places_get(const struct places *places, uint32_t group);
/* Ask before places_get(). 0: there is no home, or none with an epoch. */
uint64_t places_epoch(const struct places *places, uint32_t group);

/* On the control's thread, when members come and go, and when one says of which groups it is home:
 * true when something is another now. */
bool places_look(struct cluster *cluster);

#endif
