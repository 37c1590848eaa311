/* SPDX-License-Identifier: Apache-2.0 */
#include "homes/place.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct ranked {
    double score;
    const struct place_member *member;
    uint32_t index;
};

/* weight / -ln(x) with x evenly spread over (0, 1): the highest is each one's in proportion to the
 * weights, whoever else is there. */
static double score(uint32_t group, const struct place_member *member)
{
    uint64_t hash = XXH3_64bits_withSeed(member->node, strlen(member->node), group);
    double x = ((double)(hash >> 11) + 0.5) / (double)(1ULL << 53);

    return member->weight / -log(x);
}

static int compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->member->drained != y->member->drained)
        return x->member->drained ? 1 : -1;
    if (x->member->standby != y->member->standby)
        return x->member->standby ? 1 : -1;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return strcmp(x->member->node, y->member->node);
}

void place_rank(uint32_t group, const struct place_member *members, uint32_t count, uint32_t *order)
{
    struct ranked *ranked = mem_new((count + 1) * sizeof(*ranked));

    for (uint32_t i = 0; i < count; i++)
        ranked[i] = (struct ranked){score(group, &members[i]), &members[i], i};
    qsort(ranked, count, sizeof(*ranked), compare);
    for (uint32_t i = 0; i < count; i++)
        order[i] = ranked[i].index;
    mem_free(ranked);
}
