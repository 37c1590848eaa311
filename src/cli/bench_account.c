/* SPDX-License-Identifier: Apache-2.0 */
/* Flows with holes. */
#include "cli/bench_account.h"

#include "base/memory.h"

#include <stdbool.h>
#include <string.h>

enum { ROOM_MIN = 64 };

void flow_deinit(struct flow *flow)
{
    mem_free(flow->bits);
    *flow = (struct flow){0};
}

static bool has(const struct flow *flow, uint64_t number)
{
    uint64_t bit = number - flow->whole_at_hole;

    return flow->bits != NULL && bit / 8 < flow->room && (flow->bits[bit / 8] >> bit % 8 & 1);
}

static void set(struct flow *flow, uint64_t number)
{
    uint64_t bit = number - flow->whole_at_hole;

    if (bit / 8 >= flow->room) {
        size_t room = flow->room < ROOM_MIN ? ROOM_MIN : flow->room;
        while (bit / 8 >= room)
            room *= 2;
        flow->bits = mem_resize(flow->bits, room);
        memset(flow->bits + flow->room, 0, room - flow->room);
        flow->room = room;
    }
    flow->bits[bit / 8] |= (uint8_t)(1u << bit % 8);
}

enum flow_result flow_add_slow(struct flow *flow, uint64_t number)
{
    bool late = number < flow->next;

    if (number < flow->whole || has(flow, number))
        return FLOW_DUPLICATE;
    if (flow->bits == NULL)
        flow->whole_at_hole = flow->whole;
    set(flow, number);
    if (!late)
        flow->next = number + 1;
    while (has(flow, flow->whole))
        flow->whole++;
    if (flow->whole == flow->next) { /* no hole is left */
        mem_free(flow->bits);
        flow->bits = NULL;
        flow->room = 0;
    }
    return late ? FLOW_LATE : FLOW_NEW;
}
