/* SPDX-License-Identifier: Apache-2.0 */
#include "session/inflight.h"

#include "base/check.h"
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
    for (uint32_t n = 0; n < inflight->span; n++)
        kept_drop(&inflight->ring[(inflight->first + n) & (inflight->room - 1)]);
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

enum rc inflight_push(struct inflight *inflight, const struct kept *kept, uint16_t *packet_id)
{
    if (inflight->span >= INFLIGHT_SPAN_MAX)
        return RC_AGAIN;
    if (inflight->span == inflight->room && !grow(inflight))
        return RC_NO_MEMORY;
    uint32_t n = inflight->span++;
    struct kept *entry = &inflight->ring[(inflight->first + n) & (inflight->room - 1)];
    *entry = *kept;
    entry->state = kept->qos == 1 ? INFLIGHT_SENT_QOS1 : INFLIGHT_SENT_QOS2;
    entry->counted = true;
    inflight->unacknowledged++;
    inflight->counted++;
    if (inflight->resend == n)
        inflight->resend = n + 1;
    *packet_id = id_at(inflight, n);
    return RC_OK;
}

struct kept *inflight_find(struct inflight *inflight, uint16_t packet_id, enum inflight_state state)
{
    if (inflight == NULL || packet_id == 0)
        return NULL;
    uint32_t n = (packet_id + 65535u - inflight->first_id) % 65535u;
    if (n >= inflight->span)
        return NULL;
    struct kept *entry = &inflight->ring[(inflight->first + n) & (inflight->room - 1)];
    return entry->state == state ? entry : NULL;
}

void inflight_finish(struct inflight *inflight, struct kept *entry)
{
    CHECK(entry->state != INFLIGHT_DONE && inflight->unacknowledged > 0);
    inflight->unacknowledged--;
    inflight->counted -= entry->counted;
    kept_drop(entry);
    while (inflight->span > 0 && inflight->ring[inflight->first].state == INFLIGHT_DONE) {
        inflight->first = (inflight->first + 1) & (inflight->room - 1);
        inflight->first_id = packet_id_next(inflight->first_id);
        inflight->span--;
        inflight->resend -= inflight->resend > 0;
    }
}

void inflight_rewind(struct inflight *inflight)
{
    inflight->resend = 0;
    inflight->counted = 0;
    for (uint32_t n = 0; n < inflight->span; n++)
        inflight->ring[(inflight->first + n) & (inflight->room - 1)].counted = false;
}

struct kept *inflight_at(struct inflight *inflight, uint32_t n, uint16_t *packet_id)
{
    CHECK(n < inflight->span);
    *packet_id = id_at(inflight, n);
    return &inflight->ring[(inflight->first + n) & (inflight->room - 1)];
}
