/* SPDX-License-Identifier: Apache-2.0 */
#include "store/walk.h"

#include "base/check.h"
#include "base/memory.h"

#include <string.h>

/* A key as a number: big endian, filled up with zeros. */
enum { NUMBER_BYTES = 64, NUMBER_BITS = NUMBER_BYTES * 8 };

struct number {
    uint8_t bytes[NUMBER_BYTES];
    size_t len; /* of the key that it stands for: more bytes are zero */
};

static struct number number_of(struct bytes key)
{
    struct number number = {.len = key.len < NUMBER_BYTES ? key.len : NUMBER_BYTES};
    if (number.len > 0)
        memcpy(number.bytes, key.data, number.len);
    return number;
}

/* Adds 2^bit. False: no key is as large. */
static bool number_add(struct number *number, uint32_t bit)
{
    size_t at = NUMBER_BYTES - 1 - bit / 8;
    uint32_t carry = 1u << bit % 8;
    for (size_t i = at + 1; i-- > 0 && carry != 0;) {
        carry += number->bytes[i];
        number->bytes[i] = (uint8_t)carry;
        carry >>= 8;
    }
    return carry == 0;
}

/* Where a walk is. */
struct place {
    struct engine *engine;
    struct engine_cursor *cursor;
    enum store_family family;
    struct bytes until;
};

/* Goes to a key with a new cursor: one that has met a bad block may find more of them than there
 * are. */
static enum rc go_to(struct place *place, const struct number *number)
{
    struct bytes key = bytes_of(number->bytes, NUMBER_BYTES);
    engine_cursor_close(place->cursor);
    place->cursor = engine_cursor_open(place->engine, place->family, key, place->until);
    return engine_cursor_state(place->cursor);
}

/*
 * Goes to the first pair behind a bad place, whose beginning is `from`. First the steps double
 * until something can be read, then they halve. RC_NOT_FOUND: the end.
 */
static enum rc find_behind(struct place *place, struct bytes from)
{
    struct number low = number_of(from), high = low;
    uint32_t bit = 0;
    enum rc rc = RC_INVALID;
    for (; bit < NUMBER_BITS && rc == RC_INVALID; bit++) {
        high = low;
        if (!number_add(&high, bit))
            return RC_NOT_FOUND;
        rc = go_to(place, &high);
    }
    if (rc == RC_INVALID)
        return RC_NOT_FOUND;
    /* the last step was 2^(bit - 1): half of it leads to what cannot be read */
    uint32_t step = bit - 1;
    if (step > 0)
        number_add(&low, step - 1);
    for (step = step > 0 ? step - 1 : 0; step-- > 0;) {
        struct number middle = low;
        number_add(&middle, step);
        if (go_to(place, &middle) == RC_INVALID)
            low = middle;
        else
            high = middle;
    }
    return go_to(place, &high);
}

/* A copy of a key that outlives the cursor's next step. */
struct kept {
    uint8_t *data;
    size_t len, room;
};

static void keep(struct kept *kept, struct bytes key, bool and_behind)
{
    size_t need = key.len + 1;
    if (need > kept->room) {
        kept->data = mem_resize(kept->data, need * 2);
        kept->room = need * 2;
    }
    if (key.len > 0)
        memcpy(kept->data, key.data, key.len);
    kept->data[key.len] = 0; /* the first key behind it */
    kept->len = key.len + and_behind;
}

/* The cursor stands before bad bytes; `at` is the first key that has not been read. */
static enum rc step_over(struct place *place, struct walk *walk, struct kept *at)
{
    char error[ENGINE_ERROR_MAX];
    struct bytes key, value, end = place->until;
    engine_cursor_error(place->cursor, error);
    if (walk->gap == NULL)
        return RC_INVALID;
    enum rc found = find_behind(place, bytes_of(at->data, at->len));
    if (found == RC_OK) {
        found = engine_cursor_next(place->cursor, &key, &value);
        end = found == RC_OK ? key : place->until;
    }
    enum rc rc = walk->gap(walk, place->family, bytes_of(at->data, at->len), end, error);
    if (rc != RC_OK || found != RC_OK)
        return rc == RC_OK ? RC_NOT_FOUND : rc;
    keep(at, key, true);
    return walk->record(walk, place->family, key, value);
}

enum rc walk_range(struct engine *engine, struct walk *walk, enum store_family family,
                   struct bytes from, struct bytes until)
{
    struct place place = {engine, engine_cursor_open(engine, family, from, until), family, until};
    struct kept at = {0};
    struct bytes key, value;
    enum rc rc = RC_OK;
    keep(&at, from, false);
    while (rc == RC_OK) {
        rc = engine_cursor_next(place.cursor, &key, &value);
        if (rc == RC_INVALID) {
            rc = step_over(&place, walk, &at);
        } else if (rc == RC_OK) {
            keep(&at, key, true);
            rc = walk->record(walk, family, key, value);
        }
    }
    engine_cursor_close(place.cursor);
    mem_free(at.data);
    return rc == RC_NOT_FOUND ? RC_OK : rc;
}

enum rc walk_kind(struct engine *engine, struct walk *walk, enum store_family family,
                  uint32_t shard, enum record_kind kind)
{
    struct store_key from = record_key(shard, kind), until = record_key_end(&from);
    return walk_range(engine, walk, family, bytes_of(from.head, from.head_len),
                      bytes_of(until.head, until.head_len));
}
