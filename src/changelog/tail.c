/* SPDX-License-Identifier: Apache-2.0 */
#include "changelog/tail.h"

#include "base/memory.h"

static struct tail_record **slot_of(struct tail *tail, uint64_t sequence)
{
    return &tail->records[sequence % TAIL_RECORDS];
}

static void drop(struct tail *tail, uint64_t sequence)
{
    struct tail_record **slot = slot_of(tail, sequence);

    tail->bytes -= (*slot)->len;
    tail->count--;
    mem_free(*slot);
    *slot = NULL;
}

static bool has(const struct tail *tail, uint64_t sequence)
{
    return sequence <= tail->last && tail->last - sequence < tail->count;
}

static void drop_oldest(struct tail *tail)
{
    drop(tail, tail->last - tail->count + 1);
}

void tail_clear(struct tail *tail)
{
    while (tail->count > 0)
        drop_oldest(tail);
}

void tail_add(struct tail *tail, uint64_t sequence, struct bytes head, struct bytes body,
              const struct changelog_hash *behind)
{
    size_t len = head.len + body.len;
    struct tail_record *record =
        len <= TAIL_BYTES ? mem_try(sizeof(struct tail_record) + len) : NULL;

    if (record == NULL || sequence != tail->last + 1)
        tail_clear(tail);
    while (tail->count == TAIL_RECORDS || (tail->count > 0 && tail->bytes + len > TAIL_BYTES))
        drop_oldest(tail);
    tail->last = sequence;
    if (record == NULL)
        return;
    record->behind = *behind;
    record->len = len;
    memcpy(record->bytes, head.data, head.len);
    if (body.len > 0)
        memcpy(record->bytes + head.len, body.data, body.len);
    *slot_of(tail, sequence) = record;
    tail->count++;
    tail->bytes += len;
}

struct bytes tail_at(const struct tail *tail, uint64_t sequence)
{
    if (!has(tail, sequence))
        return bytes_of(NULL, 0);
    const struct tail_record *record = tail->records[sequence % TAIL_RECORDS];
    return bytes_of(record->bytes, record->len);
}

void tail_cut(struct tail *tail, uint64_t sequence, const struct changelog_hash *behind)
{
    if (!has(tail, sequence) ||
        !changelog_hash_equal(&(*slot_of(tail, sequence))->behind, behind)) {
        tail_clear(tail);
        return;
    }
    for (; tail->last > sequence; tail->last--)
        drop(tail, tail->last);
}
