/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of an engine's store whose machine went down while it ran: it may lack what it had
 * acknowledged. The reasons are at the top of engine.c. Pure. */
#ifndef HOMES_UNCLEAN_H
#define HOMES_UNCLEAN_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of it, and of the other nodes that are heard. */
struct unclean {
    uint32_t others; /* that are configured */
    uint32_t nodes;  /* that belong to the cluster as far as is known, this one among them */
    uint32_t here;   /* others that are heard */
    bool all_here;   /* ... which are all that belong to the cluster */
    /* Of these, by what they say of their engines (enum homes_engine). */
    uint32_t up, joins, kept, unclean;
    uint32_t replaced; /* of `kept`: with another server than they had */
    bool lone;         /* it was a server by itself */
    bool fresh;        /* there is nothing in it */
    bool emptied;      /* there was nothing on this node's disk at all */
};

enum unclean_fate {
    UNCLEAN_WAITS,
    UNCLEAN_IS_KEPT,     /* nothing is claimed before all nodes have been back */
    UNCLEAN_BEGINS,      /* the same; there is nothing to keep */
    UNCLEAN_JOINS,       /* it is thrown away; the others have everything */
    UNCLEAN_STARTS_ANEW, /* the same, and as when it is kept */
};

/* `why` is set to a sentence's part for people. */
enum unclean_fate unclean_judge(const struct unclean *unclean, const char **why);

#endif
