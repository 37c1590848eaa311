/* SPDX-License-Identifier: Apache-2.0 */
#include "session/inflight.h"

#include "base/check.h"
#include "base/list.h"
#include "base/memory.h"

enum { INFLIGHT_ROOM_FIRST = 8 };

void kept_drop(struct kept *kept)
{
    message_drop(kept->message);
    mem_free(kept->identifiers);
    if (kept->share != NULL)
        atomic_fetch_sub_explicit(&kept->share->load, 1, memory_order_relaxed);
    *kept = (struct kept){0};
}

struct inflight *inflight_new(uint16_t first_id)
{
    struct inflight *inflight = NEW(struct inflight);
    inflight->first_id = first_id;
    return inflight;
}

void inflight_free(struct inflight *inflight)
{
    if (inflight == NULL)
        return;
    for (uint32_t n = 0; n < inflight->straggler_count; n++)
        kept_drop(&inflight->stragglers[n].kept);
    for (uint32_t n = 0; n < inflight->span; n++)
        kept_drop(&inflight->ring[(inflight->first + n) & (inflight->room - 1)]);
    mem_free(inflight->stragglers);
    mem_free(inflight->ring);
    mem_free(inflight);
}

/* Doubles the ring and puts the oldest entry at its start. */
static bool grow(struct inflight *inflight)
{
    uint32_t room = inflight->room == 0 ? INFLIGHT_ROOM_FIRST : inflight->room * 2;
    struct kept *ring = mem_try(room * sizeof(*ring));
    if (ring == NULL)
        return false;
    for (uint32_t n = 0; n < inflight->span; n++)
        ring[n] = inflight->ring[(inflight->first + n) & (inflight->room - 1)];
    mem_free(inflight->ring);
    inflight->ring = ring;
    inflight->room = room;
    inflight->first = 0;
    return true;
}

/* Identifiers run 1..65535 and then from 1 again. */
static uint16_t id_at(const struct inflight *inflight, uint32_t n)
{
    return (uint16_t)((inflight->first_id - 1u + n) % 65535u + 1u);
}

static struct straggler *straggler_find(struct inflight *inflight, uint16_t packet_id)
{
    for (uint32_t n = 0; n < inflight->straggler_count; n++)
        if (inflight->stragglers[n].packet_id == packet_id)
            return &inflight->stragglers[n];
    return NULL;
}

/* Takes finished entries off the front of the ring. */
static void trim(struct inflight *inflight)
{
    while (inflight->span > 0 && inflight->ring[inflight->first].state == INFLIGHT_DONE) {
        inflight->first = (inflight->first + 1) & (inflight->room - 1);
        inflight->first_id = packet_id_next(inflight->first_id);
        inflight->span--;
        inflight->resend -= inflight->resend > inflight->straggler_count;
    }
}

/* Makes the oldest entry of a ring that spans too much a straggler. */
static enum rc leave_behind(struct inflight *inflight)
{
    if (inflight->straggler_count == STRAGGLERS_MAX)
        return RC_AGAIN;
    if (inflight->stragglers == NULL)
        inflight->stragglers = mem_try(STRAGGLERS_MAX * sizeof(*inflight->stragglers));
    if (inflight->stragglers == NULL)
        return RC_NO_MEMORY;
    struct kept *oldest = &inflight->ring[inflight->first];
    inflight->stragglers[inflight->straggler_count] =
        (struct straggler){.kept = *oldest, .packet_id = inflight->first_id};
    *oldest = (struct kept){0};
    bool seen = inflight->resend > inflight->straggler_count;
    inflight->straggler_count++;
    inflight->resend += seen; /* trim() counts the emptied place off again */
    trim(inflight);
    return RC_OK;
}

/* One more place at the end of the ring, empty; NULL: no memory. */
static struct kept *append(struct inflight *inflight)
{
    if (inflight->span == inflight->room && !grow(inflight))
        return NULL;
    bool seen_all = inflight->resend == inflight_size(inflight);
    uint32_t n = inflight->span++;
    inflight->resend += seen_all;
    struct kept *entry = &inflight->ring[(inflight->first + n) & (inflight->room - 1)];
    *entry = (struct kept){0};
    return entry;
}

enum rc inflight_push(struct inflight *inflight, const struct kept *kept, uint16_t *packet_id)
{
    struct kept *entry;
    for (;;) { /* more than once only to pass over identifiers of stragglers */
        enum rc rc = inflight->span >= INFLIGHT_SPAN_MAX ? leave_behind(inflight) : RC_OK;
        if (rc != RC_OK)
            return rc;
        entry = append(inflight);
        if (entry == NULL)
            return RC_NO_MEMORY;
        *packet_id = id_at(inflight, inflight->span - 1);
        if (inflight->straggler_count == 0 || straggler_find(inflight, *packet_id) == NULL)
            break;
        trim(inflight); /* a place passed over does not stay at the front */
    }
    *entry = *kept;
    entry->state = kept->qos == 1 ? INFLIGHT_SENT_QOS1 : INFLIGHT_SENT_QOS2;
    entry->counted = true;
    inflight->unacknowledged++;
    inflight->counted++;
    return RC_OK;
}

struct kept *inflight_find(struct inflight *inflight, uint16_t packet_id, enum inflight_state state)
{
    if (inflight == NULL || packet_id == 0)
        return NULL;
    struct straggler *straggler =
        inflight->straggler_count > 0 ? straggler_find(inflight, packet_id) : NULL;
    if (straggler != NULL)
        return straggler->kept.state == state ? &straggler->kept : NULL;
    uint32_t n = (packet_id + 65535u - inflight->first_id) % 65535u;
    if (n >= inflight->span)
        return NULL;
    struct kept *entry = &inflight->ring[(inflight->first + n) & (inflight->room - 1)];
    return entry->state == state ? entry : NULL;
}

static bool is_straggler(const struct inflight *inflight, const struct kept *entry)
{
    return inflight->straggler_count > 0 && entry >= &inflight->stragglers[0].kept &&
           entry <= &inflight->stragglers[inflight->straggler_count - 1].kept;
}

static void straggler_remove(struct inflight *inflight, struct kept *entry)
{
    uint32_t n = (uint32_t)(CONTAINER_OF(entry, struct straggler, kept) - inflight->stragglers);
    inflight->straggler_count--;
    memmove(&inflight->stragglers[n], &inflight->stragglers[n + 1],
            (inflight->straggler_count - n) * sizeof(*inflight->stragglers));
    inflight->resend -= inflight->resend > n;
    if (inflight->straggler_count == 0) {
        mem_free(inflight->stragglers);
        inflight->stragglers = NULL;
    }
}

void inflight_finish(struct inflight *inflight, struct kept *entry)
{
    CHECK(entry->state != INFLIGHT_DONE && inflight->unacknowledged > 0);
    inflight->unacknowledged--;
    inflight->counted -= entry->counted;
    kept_drop(entry);
    if (is_straggler(inflight, entry))
        straggler_remove(inflight, entry);
    else
        trim(inflight);
}

void inflight_rewind(struct inflight *inflight)
{
    inflight->resend = 0;
    inflight->counted = 0;
    for (uint32_t n = 0; n < inflight->straggler_count; n++)
        inflight->stragglers[n].kept.counted = false;
    for (uint32_t n = 0; n < inflight->span; n++)
        inflight->ring[(inflight->first + n) & (inflight->room - 1)].counted = false;
}

struct kept *inflight_at(struct inflight *inflight, uint32_t n, uint16_t *packet_id)
{
    CHECK(n < inflight_size(inflight));
    if (n < inflight->straggler_count) {
        *packet_id = inflight->stragglers[n].packet_id;
        return &inflight->stragglers[n].kept;
    }
    n -= inflight->straggler_count;
    *packet_id = id_at(inflight, n);
    return &inflight->ring[(inflight->first + n) & (inflight->room - 1)];
}
