/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timer_wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TICK_MS = 1 << TIMER_TICK_SHIFT };

static const uint64_t start_ms = 1234567;

struct fixture {
    struct timer_wheel wheel;
    struct list due;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    timer_wheel_init(&f->wheel, start_ms);
    list_init(&f->due);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static size_t advance(struct fixture *f, uint64_t now_ms)
{
    size_t count = timer_wheel_advance(&f->wheel, now_ms, SIZE_MAX, &f->due);
    while (list_take_first(&f->due) != NULL)
        ;
    return count;
}

static void timer_never_fires_early_and_at_most_a_tick_late(void **state)
{
    static const uint64_t delays_ms[] = {
        0,       1,        15,        16,        17,          1000,          1024,
        16384,   65535,    65536,     1000000,   4194304,     100000000,     268435456,
        5000000, 86400000, 604800000, 999999999, 31536000000, 157680000000u,
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(*delays_ms); i++) {
        struct timer timer;
        uint64_t deadline_ms = start_ms + delays_ms[i];
        timer_wheel_init(&f->wheel, start_ms);
        timer_init(&timer);
        timer_start(&f->wheel, &timer, deadline_ms);
        assert_true(timer_running(&timer));
        assert_int_equal(advance(f, deadline_ms - (delays_ms[i] > 0)), 0);
        assert_int_equal(advance(f, deadline_ms + TICK_MS), 1);
        assert_false(timer_running(&timer));
        assert_int_equal(f->wheel.count, 0);
    }
}

static void timer_beyond_the_horizon_fires_when_its_time_comes(void **state)
{
    static const uint64_t horizon_ms = (uint64_t)1 << (36 + TIMER_TICK_SHIFT);
    struct fixture *f = *state;
    struct timer timer;
    timer_init(&timer);
    timer_start(&f->wheel, &timer, start_ms + 3 * horizon_ms);
    assert_int_equal(advance(f, start_ms + horizon_ms), 0);
    assert_int_equal(advance(f, start_ms + 3 * horizon_ms - 1), 0);
    assert_int_equal(advance(f, start_ms + 3 * horizon_ms + TICK_MS), 1);
}

static void timer_with_a_deadline_in_the_past_fires_at_the_next_advance(void **state)
{
    struct fixture *f = *state;
    struct timer timer;
    timer_init(&timer);
    timer_start(&f->wheel, &timer, 0);
    assert_true(timer_running(&timer));
    assert_int_equal(advance(f, start_ms + TICK_MS), 1);
}

static void timer_start_of_a_running_timer_moves_it(void **state)
{
    struct fixture *f = *state;
    struct timer timer;
    timer_init(&timer);
    timer_start(&f->wheel, &timer, start_ms + 1000);
    timer_start(&f->wheel, &timer, start_ms + 5000);
    assert_int_equal(f->wheel.count, 1);
    assert_int_equal(advance(f, start_ms + 4999), 0);
    assert_int_equal(advance(f, start_ms + 5000 + TICK_MS), 1);
}

static void timer_stop_is_harmless_when_it_does_not_run(void **state)
{
    struct fixture *f = *state;
    struct timer timer;
    timer_init(&timer);
    timer_stop(&f->wheel, &timer);
    timer_start(&f->wheel, &timer, start_ms + 100);
    timer_stop(&f->wheel, &timer);
    timer_stop(&f->wheel, &timer);
    assert_int_equal(f->wheel.count, 0);
    assert_int_equal(advance(f, start_ms + 1000), 0);
}

static void timer_that_is_due_may_still_be_stopped_or_started_again(void **state)
{
    struct fixture *f = *state;
    struct timer stopped, again;
    timer_init(&stopped);
    timer_init(&again);
    timer_start(&f->wheel, &stopped, start_ms + 100);
    timer_start(&f->wheel, &again, start_ms + 100);
    assert_int_equal(timer_wheel_advance(&f->wheel, start_ms + 200, 10, &f->due), 2);
    timer_stop(&f->wheel, &stopped);
    timer_start(&f->wheel, &again, start_ms + 500);
    assert_true(list_empty(&f->due));
    assert_int_equal(f->wheel.count, 1);
    assert_int_equal(advance(f, start_ms + 600), 1);
    assert_int_equal(f->wheel.count, 0);
}

static void wheel_advance_stops_at_max_and_goes_on_at_the_next_call(void **state)
{
    struct fixture *f = *state;
    struct timer timers[5];
    for (int i = 0; i < 5; i++) {
        timer_init(&timers[i]);
        timer_start(&f->wheel, &timers[i], start_ms + 100);
    }
    assert_int_equal(timer_wheel_advance(&f->wheel, start_ms + 1000, 2, &f->due), 2);
    assert_int_equal(timer_wheel_wait_ms(&f->wheel, start_ms + 1000), 0);
    assert_int_equal(timer_wheel_advance(&f->wheel, start_ms + 1000, 2, &f->due), 2);
    assert_int_equal(timer_wheel_advance(&f->wheel, start_ms + 1000, 2, &f->due), 1);
    assert_int_equal(timer_wheel_wait_ms(&f->wheel, start_ms + 1000), UINT64_MAX);
}

static void wheel_lets_many_timers_fall_in_several_calls(void **state)
{
    enum { COUNT = 3 * WHEEL_FALLS_MAX };
    struct fixture *f = *state;
    struct timer *timers = calloc(COUNT, sizeof(*timers));
    uint64_t deadline_ms =
        start_ms + 100 * WHEEL_SLOTS * TICK_MS; /* all in one slot, not level 0 */
    int calls = 0;
    size_t fired = 0;
    for (int i = 0; i < COUNT; i++) {
        timer_init(&timers[i]);
        timer_start(&f->wheel, &timers[i], deadline_ms);
    }
    for (; fired < COUNT && calls < 100; calls++) {
        assert_int_equal(timer_wheel_wait_ms(&f->wheel, deadline_ms + TICK_MS), 0);
        fired += timer_wheel_advance(&f->wheel, deadline_ms + TICK_MS, COUNT, &f->due);
    }
    assert_int_equal(fired, COUNT);
    assert_true(calls >= COUNT / WHEEL_FALLS_MAX);
    while (list_take_first(&f->due) != NULL)
        ;
    free(timers);
}

static void wheel_timer_that_falls_may_be_stopped_or_started_again(void **state)
{
    enum { COUNT = WHEEL_FALLS_MAX + 2 };
    struct fixture *f = *state;
    struct timer *timers = calloc(COUNT, sizeof(*timers));
    uint64_t deadline_ms = start_ms + 100 * WHEEL_SLOTS * TICK_MS;
    for (int i = 0; i < COUNT; i++) {
        timer_init(&timers[i]);
        timer_start(&f->wheel, &timers[i], deadline_ms);
    }
    timer_wheel_advance(&f->wheel, deadline_ms + TICK_MS, COUNT, &f->due);
    assert_false(list_empty(&f->wheel.falling));
    for (int i = 0; i < COUNT; i++) {
        if (i % 2 == 0)
            timer_stop(&f->wheel, &timers[i]);
        else
            timer_start(&f->wheel, &timers[i], deadline_ms + 50 * TICK_MS);
    }
    assert_int_equal(f->wheel.count, COUNT / 2);
    size_t fired = 0;
    for (int calls = 0; calls < 10; calls++)
        fired += timer_wheel_advance(&f->wheel, deadline_ms + 60 * TICK_MS, COUNT, &f->due);
    assert_int_equal(fired, COUNT / 2);
    while (list_take_first(&f->due) != NULL)
        ;
    free(timers);
}

static void wheel_wait_of_an_empty_wheel_is_for_ever(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(timer_wheel_wait_ms(&f->wheel, start_ms), UINT64_MAX);
}

/* Following the advised waits, the timer fires on time after a handful of wake-ups. */
static void wheel_wait_is_never_late(void **state)
{
    struct fixture *f = *state;
    struct timer timer;
    uint64_t now_ms = start_ms, deadline_ms = start_ms + 3 * 24 * 3600 * 1000ull + 777;
    int wakes = 0;
    timer_init(&timer);
    timer_start(&f->wheel, &timer, deadline_ms);
    while (advance(f, now_ms) == 0) {
        now_ms += timer_wheel_wait_ms(&f->wheel, now_ms);
        assert_true(++wakes <= WHEEL_LEVELS + 1);
    }
    assert_true(now_ms >= deadline_ms && now_ms < deadline_ms + TICK_MS);
}

/* ---- against a model ---------------------------------------------------------------------------
 */

enum { TIMERS = 300 };

struct model {
    struct timer timer;
    uint64_t deadline_ms; /* 0: stopped */
};

static uint64_t random_delay_ms(unsigned *seed)
{
    uint64_t delay = (uint64_t)rand_r(seed) << 8 ^ (uint64_t)rand_r(seed);
    return delay >> (rand_r(seed) % 34); /* all magnitudes */
}

static void take_due(struct fixture *f, struct model *model, uint64_t now_ms)
{
    uint64_t tick_start_ms = now_ms >> TIMER_TICK_SHIFT << TIMER_TICK_SHIFT;
    struct list *link;
    while (timer_wheel_advance(&f->wheel, now_ms, 7, &f->due) == 7)
        ;
    while ((link = list_take_first(&f->due)) != NULL) {
        struct model *m = CONTAINER_OF(link, struct model, timer.link);
        assert_true(m->deadline_ms != 0 && m->deadline_ms <= now_ms);
        m->deadline_ms = 0;
    }
    for (int i = 0; i < TIMERS; i++)
        if (model[i].deadline_ms != 0)
            assert_true(model[i].deadline_ms > tick_start_ms - TICK_MS);
}

static void wheel_behaves_like_a_sorted_list(void **state)
{
    struct fixture *f = *state;
    static struct model model[TIMERS];
    uint64_t now_ms = start_ms;
    unsigned seed = 99;
    for (int i = 0; i < TIMERS; i++)
        timer_init(&model[i].timer);
    for (int step = 0; step < 100000; step++) {
        struct model *m = &model[rand_r(&seed) % TIMERS];
        switch (rand_r(&seed) % 4) {
        case 0:
        case 1:
            m->deadline_ms = now_ms + random_delay_ms(&seed);
            timer_start(&f->wheel, &m->timer, m->deadline_ms);
            break;
        case 2:
            m->deadline_ms = 0;
            timer_stop(&f->wheel, &m->timer);
            break;
        default:
            now_ms += random_delay_ms(&seed) >> (rand_r(&seed) % 20);
            take_due(f, model, now_ms);
            break;
        }
    }
    size_t running = 0;
    for (int i = 0; i < TIMERS; i++)
        running += model[i].deadline_ms != 0;
    assert_int_equal(f->wheel.count, running);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(timer_never_fires_early_and_at_most_a_tick_late),
        TEST(timer_beyond_the_horizon_fires_when_its_time_comes),
        TEST(timer_with_a_deadline_in_the_past_fires_at_the_next_advance),
        TEST(timer_start_of_a_running_timer_moves_it),
        TEST(timer_stop_is_harmless_when_it_does_not_run),
        TEST(timer_that_is_due_may_still_be_stopped_or_started_again),
        TEST(wheel_advance_stops_at_max_and_goes_on_at_the_next_call),
        TEST(wheel_lets_many_timers_fall_in_several_calls),
        TEST(wheel_timer_that_falls_may_be_stopped_or_started_again),
        TEST(wheel_wait_of_an_empty_wheel_is_for_ever),
        TEST(wheel_wait_is_never_late),
        TEST(wheel_behaves_like_a_sorted_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
