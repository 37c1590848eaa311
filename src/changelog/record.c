/* SPDX-License-Identifier: Apache-2.0 */
/* Records of a changelog: header, claims, the hash chain. */
#include "changelog/record.h"

#include "base/check.h"

#include <xxhash.h>

static void put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t take(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

void changelog_record_head(const struct changelog_record *record, uint8_t out[CHANGELOG_HEADER])
{
    memset(out, 0, CHANGELOG_HEADER);
    out[0] = record->format;
    out[1] = (uint8_t)record->kind;
    put(out + 2, record->part, 2);
    put(out + 4, record->parts, 2);
    put(out + 8, record->group, 4);
    put(out + 16, record->epoch, 8);
    put(out + 24, record->batch, 8);
    memcpy(out + 32, record->before.bytes, sizeof(record->before.bytes));
}

/* A claim has no place in an epoch, everything else has; only batches come in parts or empty ones
 * without a body. */
static bool consistent(const struct changelog_record *r)
{
    static const struct changelog_hash none = {{0}};
    struct changelog_claim claim;

    if (r->part == 0 || r->part > r->parts || (r->kind != CHANGELOG_BATCH && r->parts != 1))
        return false;
    if (r->kind == CHANGELOG_CLAIM)
        return r->epoch == 0 && r->batch == 0 && changelog_hash_equal(&r->before, &none) &&
               changelog_claim_decode(r->body, &claim);
    if (r->epoch == 0 || r->batch == 0)
        return false;
    return r->kind == CHANGELOG_BATCH ? r->body.len > 0 : r->body.len == 0;
}

bool changelog_record_decode(struct bytes whole, struct changelog_record *record)
{
    const uint8_t *at = whole.data;

    if (whole.len < CHANGELOG_HEADER || at[0] == 0 || at[0] > CHANGELOG_FORMAT)
        return false;
    if (at[1] < CHANGELOG_BATCH || at[1] > CHANGELOG_RELEASE)
        return false;
    if (take(at + 6, 2) != 0 || take(at + 12, 4) != 0)
        return false;
    *record = (struct changelog_record){
        .format = at[0],
        .kind = (enum changelog_kind)at[1],
        .part = (uint16_t)take(at + 2, 2),
        .parts = (uint16_t)take(at + 4, 2),
        .group = (uint32_t)take(at + 8, 4),
        .epoch = take(at + 16, 8),
        .batch = take(at + 24, 8),
        .body = bytes_of(at + CHANGELOG_HEADER, whole.len - CHANGELOG_HEADER),
    };
    memcpy(record->before.bytes, at + 32, sizeof(record->before.bytes));
    return consistent(record);
}

/* incarnation 8, attempt 8, length of the name 1, name, note */
size_t changelog_claim_encode(const struct changelog_claim *claim, uint8_t out[CHANGELOG_CLAIM_MAX])
{
    size_t len = strlen(claim->node);

    CHECK(len > 0 && len < CHANGELOG_NODE_MAX && claim->note.len <= CHANGELOG_NOTE_MAX);
    put(out, claim->incarnation, 8);
    put(out + 8, claim->attempt, 8);
    out[16] = (uint8_t)len;
    memcpy(out + 17, claim->node, len);
    if (claim->note.len > 0)
        memcpy(out + 17 + len, claim->note.data, claim->note.len);
    return 17 + len + claim->note.len;
}

bool changelog_claim_decode(struct bytes body, struct changelog_claim *claim)
{
    if (body.len < 17)
        return false;
    size_t len = body.data[16];
    if (len == 0 || len >= CHANGELOG_NODE_MAX || body.len - 17 < len ||
        body.len - 17 - len > CHANGELOG_NOTE_MAX || memchr(body.data + 17, 0, len) != NULL)
        return false;
    memset(claim->node, 0, sizeof(claim->node));
    memcpy(claim->node, body.data + 17, len);
    claim->incarnation = take(body.data, 8);
    claim->attempt = take(body.data + 8, 8);
    claim->note = bytes_of(body.data + 17 + len, body.len - 17 - len);
    return true;
}

static void put_hash(uint8_t out[16], const void *data, size_t len)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
    memcpy(out, canonical.digest, sizeof(canonical.digest));
}

struct changelog_hash changelog_hash_next(const struct changelog_hash *before, struct bytes head,
                                          struct bytes body)
{
    uint8_t whole[16 + CHANGELOG_HEADER + 16];
    struct changelog_hash hash;

    CHECK(head.len == CHANGELOG_HEADER);
    memcpy(whole, before->bytes, 16);
    memcpy(whole + 16, head.data, CHANGELOG_HEADER);
    put_hash(whole + 16 + CHANGELOG_HEADER, body.data, body.len);
    put_hash(hash.bytes, whole, sizeof(whole));
    return hash;
}
