/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hierarchical timing wheel: keep alives, session expiry, will delays. Starting, moving and
 * stopping a timer is O(1) and allocates nothing. One wheel per worker, on its thread only.
 * Resolution is 2^TIMER_TICK_SHIFT ms; a timer never fires early and at most one tick late of the
 * wheel_advance() that covers it. Deadlines past the horizon (about 5 years) wait at the rim and
 * are looked at again.
 */
#ifndef BASE_TIMER_WHEEL_H
#define BASE_TIMER_WHEEL_H

#include "base/list.h"

#include <stdint.h>

enum {
    TIMER_TICK_SHIFT = 4, /* 16 ms */
    WHEEL_LEVELS = 6,
    WHEEL_SLOTS = 64, /* per level; level n has slots of 64^n ticks */
    WHEEL_FALLS_MAX = 4096,
};

struct timer {
    struct list link;     /* self-linked while stopped */
    uint64_t deadline_ms; /* on the caller's clock; 0 while it is not in a wheel */
};

struct timer_wheel {
    uint64_t tick; /* all timers up to this tick have fired */
    uint64_t count;
    uint64_t occupied[WHEEL_LEVELS]; /* bit n: slot n may hold timers */
    struct list falling;             /* to a lower level; empty before the next tick begins */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

static inline void timer_init(struct timer *timer)
{
    list_init(&timer->link);
    timer->deadline_ms = 0;
}

static inline bool timer_running(const struct timer *timer)
{
    return list_linked(&timer->link);
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* Starts the timer, or moves it when it runs. A deadline in the past fires at the next advance. */
void timer_start(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms);

/* Harmless when the timer does not run. */
void timer_stop(struct timer_wheel *wheel, struct timer *timer);

/*
 * Moves up to `max` timers that are due at `now_ms` to the end of `due` (take each with
 * list_take_first). One that waits there may still be stopped or started again, which takes it out.
 * Returns how many; `max` means: call again, there may be more. At most WHEEL_FALLS_MAX timers fall
 * to a lower level in one call; when more have to, they hold the wheel up and timer_wheel_wait_ms()
 * says 0.
 */
size_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms, size_t max,
                           struct list *due);

/* Milliseconds from now_ms until the next timer may be due: 0 for now, UINT64_MAX when the wheel is
 * empty; may be early (a cascade), never late. */
uint64_t timer_wheel_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms);

#endif
