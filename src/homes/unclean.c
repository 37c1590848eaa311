/* SPDX-License-Identifier: Apache-2.0 */
#include "homes/unclean.h"

#include "homes/remnant.h"

static uint32_t majority(const struct unclean *unclean)
{
    return (unclean->others + 1) / 2 + 1;
}

/* Others that are no voters to count on. */
static uint32_t torn(const struct unclean *unclean)
{
    return unclean->unclean + unclean->kept;
}

static enum unclean_fate because(enum unclean_fate fate, const char **why, const char *reason)
{
    *why = reason;
    return fate;
}

/* Most machines went down, and no engine is known that ran on. */
static enum unclean_fate start_together(const struct unclean *unclean, const char **why)
{
    if (!unclean->all_here || torn(unclean) < unclean->here)
        return because(UNCLEAN_WAITS, why,
                       "the machines of most nodes went down while their engines ran: all nodes "
                       "have to be here before the engines start again. If the disk of one is lost "
                       "for ever: skein cluster recover --without it");
    if (torn(unclean) < unclean->others) /* what was on a disk that is lost may be in the logs */
        return because(UNCLEAN_IS_KEPT, why,
                       "all machines went down, and a node was removed since");
    if (unclean->fresh)
        return because(UNCLEAN_BEGINS, why, "all others begin anew, too");
    return because(UNCLEAN_STARTS_ANEW, why,
                   "all machines went down while theirs ran; what was in the changelogs is in the "
                   "nodes' stores");
}

/* So few servers are left of those that there were that they would never be a quorum again: the
 * disks of the others are lost. Kept, they would go on looking for them. */
static bool few_are_left(const struct unclean *unclean)
{
    return !unclean->emptied && unclean->all_here &&
           unclean->others + 1 - unclean->replaced < majority(unclean);
}

/* Those that ran on, and are no quorum. */
static enum unclean_fate few_ran_on(const struct unclean *unclean, const char **why)
{
    uint32_t run = unclean->up + unclean->joins + unclean->kept - unclean->replaced;

    if (remnant_is_possible(unclean->nodes) && unclean->up + unclean->joins > 0)
        return because(UNCLEAN_WAITS, why,
                       "the machines of most nodes went down while their engines ran: the engines "
                       "that ran on have to be given up first");
    if (remnant_is_possible(unclean->nodes) || run == 0)
        return start_together(unclean, why);
    if (unclean->fresh)
        return because(UNCLEAN_BEGINS, why, "others have decided what becomes of theirs");
    return because(UNCLEAN_IS_KEPT, why,
                   "the machines of most nodes went down; nothing is claimed before all of them "
                   "are back");
}

enum unclean_fate unclean_judge(const struct unclean *unclean, const char **why)
{
    if (unclean->others == 0 || unclean->lone)
        return because(UNCLEAN_IS_KEPT, why, "there are no other nodes");
    if (unclean->fresh && unclean->up + unclean->joins > unclean->others / 2)
        return because(UNCLEAN_BEGINS, why,
                       "most others ran on"); /* it may have been none of them */
    if (unclean->up >= majority(unclean))
        return because(UNCLEAN_JOINS, why,
                       "the machine went down while it ran, and most others ran on");
    if (unclean->up + unclean->joins >= majority(unclean)) /* without it they are none */
        return because(UNCLEAN_IS_KEPT, why,
                       "the machine went down while it ran, and one of the others has not got "
                       "yet what they have");
    if (few_are_left(unclean))
        return because(UNCLEAN_STARTS_ANEW, why,
                       "most nodes have lost what they held, and their engines with it; what was "
                       "in the changelogs is in the stores of the others");
    if (unclean->others < majority(unclean) + torn(unclean))
        return few_ran_on(unclean, why);
    return because(UNCLEAN_WAITS, why,
                   "this machine went down while its engine ran, and most of the others have to "
                   "say whether theirs ran on");
}
