/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/position.h"

#include <string.h>

static uint8_t *put(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        *to++ = (uint8_t)(value >> (8 * i));
    return to;
}

static uint64_t get(const uint8_t *from)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | from[i];
    return value;
}

enum { POSITION_BYTES = 3 * 8 + sizeof(struct changelog_hash) + 1 };

void position_encode(const struct changelog_position *position, struct store_position *out)
{
    uint8_t *to = put(put(put(out->bytes, position->sequence), position->epoch), position->batch);
    memcpy(to, position->hash.bytes, sizeof(position->hash.bytes));
    to[sizeof(position->hash.bytes)] = position->held;
    out->len = POSITION_BYTES;
}

bool position_decode(const struct store_position *position, struct changelog_position *out)
{
    const uint8_t *from = position->bytes;
    *out = (struct changelog_position){0};
    if (position->len == 0)
        return true;
    if (position->len != POSITION_BYTES)
        return false;
    out->sequence = get(from);
    out->epoch = get(from + 8);
    out->batch = get(from + 16);
    memcpy(out->hash.bytes, from + 24, sizeof(out->hash.bytes));
    out->held = from[24 + sizeof(out->hash.bytes)] != 0;
    return true;
}
