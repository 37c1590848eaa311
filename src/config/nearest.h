/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean ...?": the known word nearest to a mistyped one. Pure, no allocation. */
#ifndef CONFIG_NEAREST_H
#define CONFIG_NEAREST_H

#include <stdint.h>

enum { NEAREST_WORD_MAX = 64 }; /* longer words get no suggestion */

/* Letters to insert, delete, replace or swap with their neighbour to get from a to b, whatever
 * their case; UINT32_MAX when one of them is longer than NEAREST_WORD_MAX. */
uint32_t edit_distance(const char *a, const char *b);

/* Borrows `word` and the candidates until nearest_get(). */
struct nearest {
    const char *word;
    const char *best;
    uint32_t distance;
};

struct nearest nearest_begin(const char *word);
/* `spelling` is compared, `candidate` is given when it wins; most often they are the same. */
void nearest_offer(struct nearest *nearest, const char *candidate, const char *spelling);
/* Gives the best candidate, or NULL when none is near enough to be what was meant (a third of the
 * word's letters, at least one, differ at most). */
const char *nearest_get(const struct nearest *nearest);

#endif
