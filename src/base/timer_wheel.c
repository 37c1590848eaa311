/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A timer lies in the level at which its deadline's tick first differs from now, in the slot that
 * the deadline's digit of that level names. When the wheel's own digits reach that slot its timers
 * fall to a lower level; at level 0 they are due.
 */
#include "base/timer_wheel.h"

#include "base/check.h"

enum { LEVEL_BITS = 6, SLOT_MASK = WHEEL_SLOTS - 1 };

enum { TIMER_NOT_IN_WHEEL = 0 }; /* as deadline */

/* First tick at which a deadline has certainly passed. */
static uint64_t tick_of(uint64_t deadline_ms)
{
    return (deadline_ms + (1u << TIMER_TICK_SHIFT) - 1) >> TIMER_TICK_SHIFT;
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    wheel->tick = now_ms >> TIMER_TICK_SHIFT;
    wheel->count = 0;
    list_init(&wheel->falling);
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    }
}

/* Puts a timer where its deadline belongs, seen from wheel->tick. */
static void place(struct timer_wheel *wheel, struct timer *timer)
{
    uint64_t tick = tick_of(timer->deadline_ms);
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    uint64_t horizon = (uint64_t)1 << (LEVEL_BITS * WHEEL_LEVELS);
    if (tick - wheel->tick >= horizon)
        tick = wheel->tick + horizon - 1; /* the rim: looked at again when it comes round */
    int level = (63 - __builtin_clzll(tick ^ wheel->tick)) / LEVEL_BITS;
    if (level >= WHEEL_LEVELS)
        level = WHEEL_LEVELS - 1;
    unsigned slot = (unsigned)(tick >> (level * LEVEL_BITS)) & SLOT_MASK;
    list_add_last(&wheel->slots[level][slot], &timer->link);
    wheel->occupied[level] |= (uint64_t)1 << slot;
}

/* Takes a timer out of the wheel, or out of a list of due ones, which has left the count already.
 */
static void unlink_timer(struct timer_wheel *wheel, struct timer *timer)
{
    list_remove(&timer->link);
    if (timer->deadline_ms != TIMER_NOT_IN_WHEEL) {
        CHECK(wheel->count > 0);
        wheel->count--;
        timer->deadline_ms = TIMER_NOT_IN_WHEEL;
    }
}

void timer_start(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms)
{
    unlink_timer(wheel, timer);
    wheel->count++;
    timer->deadline_ms = deadline_ms == TIMER_NOT_IN_WHEEL ? 1 : deadline_ms;
    place(wheel, timer);
}

void timer_stop(struct timer_wheel *wheel, struct timer *timer)
{
    unlink_timer(wheel, timer);
}

/* Ticks until the first slot at or behind the current one of this level that may hold timers. */
static uint64_t ticks_to_occupied(const struct timer_wheel *wheel, int level)
{
    uint64_t occupied = wheel->occupied[level];
    if (occupied == 0)
        return UINT64_MAX;
    unsigned shift = (unsigned)level * LEVEL_BITS;
    unsigned next = ((unsigned)(wheel->tick >> shift) + 1) & SLOT_MASK;
    uint64_t turned = next == 0 ? occupied : occupied >> next | occupied << (WHEEL_SLOTS - next);
    uint64_t slots = (uint64_t)__builtin_ctzll(turned) + 1;
    uint64_t base = wheel->tick >> shift;
    return ((base + slots) << shift) - wheel->tick;
}

static uint64_t ticks_to_next(const struct timer_wheel *wheel)
{
    uint64_t least = UINT64_MAX;
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t ticks = ticks_to_occupied(wheel, level);
        if (ticks < least)
            least = ticks;
    }
    return least;
}

/* What the wheel has just reached is to fall one or more levels. */
static void cascade(struct timer_wheel *wheel)
{
    for (int level = WHEEL_LEVELS - 1; level > 0; level--) {
        uint64_t below = ((uint64_t)1 << (level * LEVEL_BITS)) - 1;
        if ((wheel->tick & below) != 0)
            continue; /* this level's hand has not moved */
        unsigned slot = (unsigned)(wheel->tick >> (level * LEVEL_BITS)) & SLOT_MASK;
        list_move_all(&wheel->falling, &wheel->slots[level][slot]);
        wheel->occupied[level] &= ~((uint64_t)1 << slot);
    }
}

/* True when all have fallen. */
static bool fall(struct timer_wheel *wheel, size_t *falls)
{
    struct list *link;
    for (; *falls < WHEEL_FALLS_MAX; ++*falls) {
        link = list_take_first(&wheel->falling);
        if (link == NULL)
            return true;
        struct timer *timer = CONTAINER_OF(link, struct timer, link);
        if (tick_of(timer->deadline_ms) <= wheel->tick) {
            unsigned now = (unsigned)wheel->tick & SLOT_MASK;
            list_add_last(&wheel->slots[0][now], &timer->link);
            wheel->occupied[0] |= (uint64_t)1 << now;
        } else {
            place(wheel, timer);
        }
    }
    return list_empty(&wheel->falling);
}

/* Takes due timers of the current tick; true when the slot is empty afterwards. */
static bool take_due(struct timer_wheel *wheel, size_t max, struct list *due, size_t *taken)
{
    unsigned slot = (unsigned)wheel->tick & SLOT_MASK;
    struct list *head = &wheel->slots[0][slot];
    while (!list_empty(head)) {
        if (*taken == max)
            return false;
        struct timer *timer = CONTAINER_OF(head->next, struct timer, link);
        unlink_timer(wheel, timer);
        list_add_last(due, &timer->link);
        ++*taken;
    }
    wheel->occupied[0] &= ~((uint64_t)1 << slot);
    return true;
}

size_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms, size_t max, struct list *due)
{
    uint64_t target = now_ms >> TIMER_TICK_SHIFT;
    size_t taken = 0, falls = 0;
    /* What an earlier call left behind. While timers fall none is due, or the caller could have
     * the next lot fall at once. */
    if (!fall(wheel, &falls) || !take_due(wheel, max, due, &taken))
        return taken;
    while (wheel->tick < target) {
        uint64_t step = ticks_to_next(wheel);
        if (step > target - wheel->tick) {
            wheel->tick = target;
            break;
        }
        wheel->tick += step;
        cascade(wheel);
        if (!fall(wheel, &falls) || !take_due(wheel, max, due, &taken))
            return taken;
    }
    return taken;
}

uint64_t timer_wheel_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms)
{
    if (wheel->count == 0)
        return UINT64_MAX;
    if (!list_empty(&wheel->slots[0][wheel->tick & SLOT_MASK]) || !list_empty(&wheel->falling))
        return 0;
    uint64_t ticks = ticks_to_next(wheel);
    if (ticks == UINT64_MAX)
        return UINT64_MAX;
    uint64_t at_ms = (wheel->tick + ticks) << TIMER_TICK_SHIFT;
    return at_ms <= now_ms ? 0 : at_ms - now_ms;
}
