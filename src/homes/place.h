/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which node should be home of a group: weighted rendezvous hashing. Every node gets a number from
 * its name and the group, and they rank by it; so a node that leaves moves only the groups that it
 * had, and one that joins takes its share and nothing else moves. All nodes come to the same order
 * from the same members. Pure.
 */
#ifndef HOMES_PLACE_H
#define HOMES_PLACE_H

#include <stdbool.h>
#include <stdint.h>

/* Borrows the name. */
struct place_member {
    const char *node;
    uint32_t weight; /* 1 and more; twice the weight, twice the groups */
    bool standby;    /* comes behind all that are active */
    bool drained;    /* ... and behind all others */
};

/* Indexes of the members into `order`, who should be home first. `count` places in it. */
void place_rank(uint32_t group, const struct place_member *members, uint32_t count,
                uint32_t *order);

#endif
