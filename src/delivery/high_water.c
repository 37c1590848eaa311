/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which entries of an outbox a shard has got: all up to one, and some behind it. The sender says
 * with each entry which is the oldest that has not come to all (`low`), so what is before that need
 * not be remembered singly. Entries may come out of order: one that a node refused, since it was
 * about to lose its sessions, is sent again when a younger one has arrived elsewhere.
 *
 * What sessions that are not stored have got is remembered as well, in memory, for each worker.
 *
 * Limit: HIGH_WATER_MAX numbers for each pair of shards; then the lowest counts as the one up to
 * which everything has come (outbox_marks_limit).
 */
#include "delivery/batch.h"

#include "base/breaks.h"
#include "base/memory.h"
#include "metrics/metrics.h"
#include "store/record.h"

struct high_water {
    uint64_t all;      /* everything up to it has come, or will not come again */
    uint64_t *numbers; /* what has come behind that, in order */
    uint32_t count, room;
    uint32_t shard, source;
};

struct high_water_key {
    uint32_t shard, source;
};

/* For a shard: sessions of this worker that are not stored, and shares of which this worker has
 * chosen one of those, wherever in this node it is. */
#define CLEAN_SHARES (UINT32_MAX - 1)
#define CLEAN UINT32_MAX

static uint32_t hash_of(uint32_t shard, uint32_t source)
{
    return (uint32_t)((((uint64_t)shard << 32 | source) * 0x9E3779B97F4A7C15u) >> 32);
}

static bool matches(const void *element, const void *key)
{
    const struct high_water *mark = element;
    const struct high_water_key *wanted = key;
    return mark->shard == wanted->shard && mark->source == wanted->source;
}

static struct high_water *find(struct delivery_hub *hub, uint32_t shard, uint32_t source)
{
    struct high_water_key key = {shard, source};
    return map_find(&hub->high_water, hash_of(shard, source), matches, &key);
}

static struct high_water *find_or_make(struct delivery_hub *hub, uint32_t shard, uint32_t source)
{
    struct high_water *mark = find(hub, shard, source);
    if (mark == NULL) {
        mark = NEW(struct high_water);
        *mark = (struct high_water){.shard = shard, .source = source};
        map_insert(&hub->high_water, hash_of(shard, source), mark);
    }
    return mark;
}

static void mark_free(struct high_water *mark)
{
    mem_free(mark->numbers);
    mem_free(mark);
}

/* Where the number is, or would be. */
static uint32_t place_of(const struct high_water *mark, uint64_t number)
{
    uint32_t at = mark->count; /* most often it is the youngest */
    while (at > 0 && mark->numbers[at - 1] >= number)
        at--;
    return at;
}

static bool covers(const struct high_water *mark, uint64_t number)
{
    if (mark == NULL)
        return false;
    uint32_t at = place_of(mark, number);
    return number <= mark->all || (at < mark->count && mark->numbers[at] == number);
}

static void forget_up_to(struct high_water *mark, uint64_t number)
{
    uint32_t gone = 0;
    if (number <= mark->all)
        return;
    mark->all = number;
    while (gone < mark->count && mark->numbers[gone] <= number)
        gone++;
    mark->count -= gone;
    if (gone > 0)
        memmove(mark->numbers, mark->numbers + gone, mark->count * sizeof(uint64_t));
}

static void add(struct delivery_hub *hub, struct high_water *mark, uint64_t number)
{
    if (covers(mark, number))
        return;
    if (mark->count == HIGH_WATER_MAX) {
        forget_up_to(mark, mark->numbers[0]);
        metric_inc(hub->metrics, METRIC_OUTBOX_MARKS_LIMIT);
    }
    if (mark->count == mark->room) {
        mark->room = mark->room == 0 ? 8 : 2 * mark->room;
        mark->numbers = mem_resize(mark->numbers, mark->room * sizeof(uint64_t));
    }
    uint32_t at = place_of(mark, number);
    memmove(mark->numbers + at + 1, mark->numbers + at, (mark->count - at) * sizeof(uint64_t));
    mark->numbers[at] = number;
    mark->count++;
}

static struct high_water *note(struct delivery_hub *hub, uint32_t shard, struct outbox_tag tag)
{
    struct high_water *mark = find_or_make(hub, shard, tag.shard);
    if (tag.low > 0)
        forget_up_to(mark, tag.low - 1);
    add(hub, mark, tag.number);
    return mark;
}

bool high_water_covers(struct delivery_hub *hub, const struct store_shard *store,
                       struct outbox_tag tag)
{
    return !broken(BREAK_NO_DEDUPE) && covers(find(hub, store->shard, tag.shard), tag.number);
}

void high_water_set(struct delivery_hub *hub, struct store_shard *store, struct outbox_tag tag)
{
    const struct high_water *mark = note(hub, store->shard, tag);
    struct store_key key = record_key_high_water(store->shard, tag.shard);
    uint8_t *encoded = mem_new((size_t)mark->count * HIGH_WATER_NUMBER_BYTES + 1);
    struct record_value value;
    high_water_record_encode(mark->all, mark->numbers, mark->count, encoded, &value);
    record_put(store, STORE_STATE, &key, &value);
    mem_free(encoded);
}

bool high_water_covers_clean(struct delivery_hub *hub, struct outbox_tag tag)
{
    return !broken(BREAK_NO_DEDUPE) && covers(find(hub, CLEAN, tag.shard), tag.number);
}

void high_water_set_clean(struct delivery_hub *hub, struct outbox_tag tag)
{
    (void)note(hub, CLEAN, tag);
}

bool high_water_chosen(struct delivery_hub *hub, struct outbox_tag tag)
{
    if (broken(BREAK_NO_DEDUPE))
        return false;
    bool before = covers(find(hub, CLEAN_SHARES, tag.shard), tag.number);
    if (!before)
        (void)note(hub, CLEAN_SHARES, tag);
    return before;
}

void high_water_not_chosen(struct delivery_hub *hub, struct outbox_tag tag)
{
    struct high_water *mark = find(hub, CLEAN_SHARES, tag.shard);
    if (mark == NULL || tag.number <= mark->all || !covers(mark, tag.number))
        return;
    uint32_t at = place_of(mark, tag.number);
    mark->count--;
    memmove(mark->numbers + at, mark->numbers + at + 1, (mark->count - at) * sizeof(uint64_t));
}

bool high_water_load(struct delivery_hub *hub, uint32_t shard, uint32_t source, struct bytes value)
{
    struct bytes numbers;
    uint64_t all, number;
    if (!high_water_record_decode(value, &all, &numbers))
        return false;
    struct high_water *mark = find_or_make(hub, shard, source);
    mark->all = all;
    mark->count = 0;
    while (high_water_record_next(&numbers, &number))
        add(hub, mark, number);
    return true;
}

void high_water_forget(struct delivery_hub *hub, struct shard_group group)
{
    struct high_water *mark;
    size_t cursor = 0;
    struct map left;
    map_init(&left);
    while ((mark = map_next(&hub->high_water, &cursor)) != NULL)
        if (mark->shard < CLEAN_SHARES && mark->shard % group.of == group.group)
            mark_free(mark);
        else
            map_insert(&left, hash_of(mark->shard, mark->source), mark);
    map_deinit(&hub->high_water);
    hub->high_water = left;
}

void high_water_deinit(struct delivery_hub *hub)
{
    size_t cursor = 0;
    for (void *mark; (mark = map_next(&hub->high_water, &cursor)) != NULL;)
        mark_free(mark);
    map_deinit(&hub->high_water);
}
