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

struct inflight *inflight_new(void)
{
    return NEW(struct inflight);
}

static struct kept *at(struct inflight *inflight, uint32_t n)
{
    return &inflight->ring[(inflight->first + n) & (inflight->room - 1)];
}

void inflight_free(struct inflight *inflight)
{
    if (inflight == NULL)
        return;
    for (uint32_t n = 0; n < inflight->span; n++)
        kept_drop(at(inflight, n));
    mem_free(inflight->ring);
    mem_free(inflight);
}

/* Makes room for `need` entries, with the oldest at the start of the ring. */
static bool grow(struct inflight *inflight, uint32_t need)
{
    uint32_t room = inflight->room == 0 ? INFLIGHT_ROOM_FIRST : inflight->room;
    while (room < need)
        room *= 2;
    if (room == inflight->room)
        return true;
    struct kept *ring = mem_try(room * sizeof(*ring));
    if (ring == NULL)
        return false;
    for (uint32_t n = 0; n < inflight->span; n++)
        ring[n] = *at(inflight, n);
    mem_free(inflight->ring);
    inflight->ring = ring;
    inflight->room = room;
    inflight->first = 0;
    return true;
}

/* Takes finished entries off the front of the ring. */
static void trim(struct inflight *inflight)
{
    while (inflight->span > 0 && inflight->ring[inflight->first].state == INFLIGHT_DONE) {
        inflight->first = (inflight->first + 1) & (inflight->room - 1);
        inflight->first_sequence++;
        inflight->span--;
        inflight->resend -= inflight->resend > 0;
    }
}

enum rc inflight_push(struct inflight *inflight, const struct kept *kept)
{
    if (inflight->span == 0)
        inflight->first_sequence = kept->sequence;
    uint64_t n = kept->sequence - inflight->first_sequence;
    CHECK(kept->sequence > 0 && n >= inflight->span);
    if (n >= INFLIGHT_SPAN_MAX)
        return RC_AGAIN;
    if (!grow(inflight, (uint32_t)n + 1))
        return RC_NO_MEMORY;
    bool seen_all = inflight->resend == inflight->span;
    while (inflight->span < n)
        *at(inflight, inflight->span++) = (struct kept){0}; /* numbers that are not sent */
    struct kept *entry = at(inflight, inflight->span++);
    if (seen_all)
        inflight->resend = inflight->span;
    *entry = *kept;
    if (entry->state != INFLIGHT_RELEASED)
        entry->state = kept->qos == 1 ? INFLIGHT_SENT_QOS1 : INFLIGHT_SENT_QOS2;
    entry->counted = true;
    inflight->unacknowledged++;
    inflight->counted++;
    return RC_OK;
}

struct kept *inflight_find(struct inflight *inflight, uint16_t packet_id, enum inflight_state state)
{
    if (inflight == NULL || packet_id == 0 || inflight->span == 0)
        return NULL;
    uint32_t n = (packet_id + 65535u - packet_id_of(inflight->first_sequence)) % 65535u;
    if (n >= inflight->span)
        return NULL;
    struct kept *entry = at(inflight, n);
    return entry->state == state ? entry : NULL;
}

void inflight_finish(struct inflight *inflight, struct kept *entry)
{
    CHECK(entry->state != INFLIGHT_DONE && inflight->unacknowledged > 0);
    inflight->unacknowledged--;
    inflight->counted -= entry->counted;
    kept_drop(entry);
    trim(inflight);
}

void inflight_rewind(struct inflight *inflight)
{
    inflight->resend = 0;
    inflight->counted = 0;
    for (uint32_t n = 0; n < inflight->span; n++)
        at(inflight, n)->counted = false;
}

struct kept *inflight_at(struct inflight *inflight, uint32_t n)
{
    CHECK(n < inflight->span);
    return at(inflight, n);
}
