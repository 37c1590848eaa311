/* SPDX-License-Identifier: Apache-2.0 */
/* Optimal string alignment distance over three rows, so short words cost nothing. */
#include "config/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static uint32_t min3(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t least = a < b ? a : b;
    return least < c ? least : c;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

uint32_t edit_distance(const char *a, const char *b)
{
    uint32_t rows[3][NEAREST_WORD_MAX + 1];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > NEAREST_WORD_MAX || b_len > NEAREST_WORD_MAX)
        return UINT32_MAX;
    for (uint32_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (uint32_t i = 1; i <= a_len; i++) {
        uint32_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (uint32_t j = 1; j <= b_len; j++) {
            bool same = same_letter(a[i - 1], b[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + !same);
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
                same_letter(a[i - 2], b[j - 1]) && above2[j - 2] + 1 < row[j])
                row[j] = above2[j - 2] + 1;
        }
    }
    return rows[a_len % 3][b_len];
}

struct nearest nearest_begin(const char *word)
{
    return (struct nearest){.word = word, .best = NULL, .distance = UINT32_MAX};
}

void nearest_offer(struct nearest *nearest, const char *candidate, const char *spelling)
{
    uint32_t distance = edit_distance(nearest->word, spelling);

    if (distance < nearest->distance) {
        nearest->distance = distance;
        nearest->best = candidate;
    }
}

const char *nearest_get(const struct nearest *nearest)
{
    size_t tolerated = strlen(nearest->word) / 3;

    if (nearest->best == NULL || nearest->distance > (tolerated > 1 ? tolerated : 1))
        return NULL;
    return nearest->best;
}
