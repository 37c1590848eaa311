/* SPDX-License-Identifier: Apache-2.0 */
#include "client/window.h"

#include "base/check.h"
#include "base/memory.h"

#include <string.h>

void window_init(struct window *window, uint16_t size)
{
    CHECK(size > 0);
    *window = (struct window){.slots = mem_new(size), .size = size};
}

void window_deinit(struct window *window)
{
    mem_free(window->slots);
    *window = (struct window){0};
}

void window_clear(struct window *window)
{
    memset(window->slots, WINDOW_FREE, window->size);
    window->oldest = window->span = window->pending = 0;
}

/* The slot `n` behind the oldest. */
static uint16_t slot_at(const struct window *window, uint16_t n)
{
    return (uint16_t)(((uint32_t)window->oldest + n) % window->size);
}

uint16_t window_take(struct window *window, uint8_t qos)
{
    CHECK(qos == 1 || qos == 2);
    if (window->span == window->size)
        return 0;
    uint16_t slot = slot_at(window, window->span);
    window->slots[slot] = qos == 1 ? WINDOW_SENT_QOS_1 : WINDOW_SENT_QOS_2;
    window->span++;
    window->pending++;
    return (uint16_t)(slot + 1);
}

void window_finish(struct window *window, uint16_t id)
{
    CHECK(window_state(window, id) != WINDOW_FREE);
    window->slots[id - 1] = WINDOW_FREE;
    window->pending--;
    while (window->span > 0 && window->slots[window->oldest] == WINDOW_FREE) {
        window->oldest = slot_at(window, 1);
        window->span--;
    }
}

uint16_t window_next(const struct window *window, uint16_t *at)
{
    while (*at < window->span) {
        uint16_t slot = slot_at(window, (*at)++);
        if (window->slots[slot] != WINDOW_FREE)
            return (uint16_t)(slot + 1);
    }
    return 0;
}
