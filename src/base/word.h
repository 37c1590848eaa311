/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight bytes of text at a time, for tests of the form "is there any byte that ...". Pure; nothing
 * is read outside of the text.
 */
#ifndef BASE_WORD_H
#define BASE_WORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORD_OF_BYTES(byte) (0x0101010101010101u * (uint8_t)(byte))
#define WORD_HIGH_BITS WORD_OF_BYTES(0x80)

static inline uint64_t word_at(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

/* A word of the bytes of a text of 1 to 7, some of them more than once, and no others. */
static inline uint64_t word_of_short(const uint8_t *text, size_t len)
{
    uint32_t first = text[0], last = text[len - 1];
    if (len >= 4) {
        memcpy(&first, text, 4);
        memcpy(&last, text + len - 4, 4);
        return (uint64_t)last << 32 | first;
    }
    return WORD_OF_BYTES(first) >> 24 << 24 | last << 16 | (uint32_t)text[len / 2] << 8 | first;
}

/* Not 0 exactly when one of the eight bytes is 0. */
static inline uint64_t word_zeroes(uint64_t word)
{
    return (word - WORD_OF_BYTES(1)) & ~word & WORD_HIGH_BITS;
}

/* Not 0 exactly when one of the eight bytes is not ASCII. */
static inline uint64_t word_not_ascii(uint64_t word)
{
    return word & WORD_HIGH_BITS;
}

#endif
