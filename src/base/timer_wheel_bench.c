/* SPDX-License-Identifier: Apache-2.0 */
/* Keep alives of many connections: each packet moves one, each second some are looked at. */
#include "base/bench.h"
#include "base/memory.h"
#include "base/timer_wheel.h"

enum { TIMERS = 100000, KEEP_ALIVE_MS = 90 * 1000 };

struct fixture {
    struct timer_wheel wheel;
    struct timer *timers;
    uint64_t now_ms;
    size_t next;
};

static void move(void *context, size_t n)
{
    struct fixture *f = context;
    for (size_t i = 0; i < n; i++) {
        f->now_ms++;
        timer_start(&f->wheel, &f->timers[f->next], f->now_ms + KEEP_ALIVE_MS);
        f->next = (f->next + 7919) % TIMERS;
    }
}

static void stop_and_start(void *context, size_t n)
{
    struct fixture *f = context;
    for (size_t i = 0; i < n; i++) {
        timer_stop(&f->wheel, &f->timers[f->next]);
        timer_start(&f->wheel, &f->timers[f->next], f->now_ms + KEEP_ALIVE_MS);
        f->next = (f->next + 7919) % TIMERS;
    }
}

/* One timer that falls due and is started again, every cascade on the way included. */
static void expire(void *context, size_t n)
{
    struct fixture *f = context;
    struct list due;
    list_init(&due);
    while (n > 0) {
        f->now_ms += (uint64_t)1 << TIMER_TICK_SHIFT;
        n -= timer_wheel_advance(&f->wheel, f->now_ms, n, &due);
        struct list *link;
        while ((link = list_take_first(&due)) != NULL)
            timer_start(&f->wheel, CONTAINER_OF(link, struct timer, link),
                        f->now_ms + KEEP_ALIVE_MS);
    }
}

static void wait_ms(void *context, size_t n)
{
    struct fixture *f = context;
    for (size_t i = 0; i < n; i++)
        BENCH_USE(timer_wheel_wait_ms(&f->wheel, f->now_ms));
}

int main(void)
{
    struct fixture f = {.timers = mem_new(TIMERS * sizeof(struct timer)), .now_ms = 1000};
    timer_wheel_init(&f.wheel, f.now_ms);
    for (size_t i = 0; i < TIMERS; i++) {
        timer_init(&f.timers[i]);
        timer_start(&f.wheel, &f.timers[i], f.now_ms + i % KEEP_ALIVE_MS);
    }
    bench("timer_wheel: fall due, start again", expire, &f);
    bench("timer_wheel: time of the next one", wait_ms, &f);
    bench("timer_wheel: stop, start", stop_and_start, &f);
    bench("timer_wheel: move one of 100,000", move, &f);
    mem_free(f.timers);
    return 0;
}
