/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net_fixture.h"

#include <pthread.h>
#include <time.h>

struct ticker {
    struct loop loop;
    struct loop_timer timer;
    uint64_t period_ms;
    uint64_t awake_ms; /* the loop's time when it awoke last */
    size_t turns, fires, fires_max, sleeps, awakes, turns_with_more;
};

static bool ticker_turn(void *owner)
{
    struct ticker *t = owner;
    t->turns++;
    assert_int_equal(t->sleeps, t->awakes);
    if (t->turns_with_more == 0)
        return false;
    return --t->turns_with_more > 0;
}

static void ticker_sleep(void *owner)
{
    ((struct ticker *)owner)->sleeps++;
}

static void ticker_awake(void *owner)
{
    struct ticker *t = owner;
    t->awakes++;
    t->awake_ms = t->loop.now_ms;
}

static const struct loop_ops ticker_ops = {
    .turn = ticker_turn, .sleep = ticker_sleep, .awake = ticker_awake};

static void on_tick(struct loop_timer *timer)
{
    struct ticker *t = CONTAINER_OF(timer, struct ticker, timer);
    if (++t->fires == t->fires_max)
        loop_stop(&t->loop);
    else
        loop_timer_start(&t->loop, timer, t->loop.now_ms + t->period_ms);
}

static void loop_timer_fires_in_time_and_wakes_the_loop_only_then(void **state)
{
    struct ticker *t = calloc(1, sizeof(*t));
    uint64_t start_ms;

    (void)state;
    assert_non_null(t);
    loop_init(&t->loop, &ticker_ops, t);
    t->period_ms = 50;
    t->fires_max = 4;
    loop_timer_init(&t->timer, on_tick);
    start_ms = clock_ms();
    loop_timer_start(&t->loop, &t->timer, start_ms + 50);
    loop_run(&t->loop);
    assert_int_equal(t->fires, 4);
    assert_true(clock_ms() >= start_ms + 200);
    assert_in_range(t->turns, 4, 24);
    loop_deinit(&t->loop);
    free(t);
}

static void loop_timer_that_moves_on_does_not_wake_the_loop(void **state)
{
    struct ticker *t = calloc(1, sizeof(*t));
    struct loop_timer keep_alive;

    (void)state;
    assert_non_null(t);
    loop_init(&t->loop, &ticker_ops, t);
    loop_timer_init(&keep_alive, on_tick);
    for (uint64_t later_ms = 1000; later_ms < 100000; later_ms += 100)
        loop_timer_start(&t->loop, &keep_alive, t->loop.now_ms + later_ms);
    loop_timer_init(&t->timer, on_tick);
    loop_timer_start(&t->loop, &t->timer, t->loop.now_ms + 200);
    t->fires_max = 1;
    loop_run(&t->loop);
    assert_int_equal(t->fires, 1);
    assert_in_range(t->turns, 1, 6);
    loop_timer_stop(&t->loop, &keep_alive);
    loop_deinit(&t->loop);
    free(t);
}

struct many {
    struct loop_timer timers[3 * LOOP_TIMERS_PER_TURN];
    size_t fires;
};

static struct many *many;

static void on_many(struct loop_timer *timer)
{
    (void)timer;
    many->fires++;
}

static void loop_fires_a_bounded_number_of_timers_a_turn(void **state)
{
    struct ticker *t = calloc(1, sizeof(*t));

    (void)state;
    many = calloc(1, sizeof(*many));
    assert_non_null(t);
    assert_non_null(many);
    loop_init(&t->loop, &ticker_ops, t);
    for (size_t i = 0; i < 3 * LOOP_TIMERS_PER_TURN; i++) {
        loop_timer_init(&many->timers[i], on_many);
        loop_timer_start(&t->loop, &many->timers[i], t->loop.now_ms + 1);
    }
    while (clock_ms() < t->loop.now_ms + 40)
        continue;
    for (size_t turns = 1; turns <= 3; turns++) {
        loop_turn(&t->loop, LOOP_LOOK);
        assert_true(many->fires <= turns * LOOP_TIMERS_PER_TURN);
    }
    while (many->fires < 3 * LOOP_TIMERS_PER_TURN)
        loop_turn(&t->loop, LOOP_MAY_SLEEP); /* must not block: more are due */
    loop_deinit(&t->loop);
    free(many);
    free(t);
}

static struct loop_timer *first_timer, *second_timer;
static struct loop *timers_loop;
static size_t rivals_fired;

static void on_rival(struct loop_timer *timer)
{
    rivals_fired++;
    loop_timer_stop(timers_loop, timer == first_timer ? second_timer : first_timer);
}

static void loop_timer_may_stop_another_that_is_due_as_well(void **state)
{
    struct ticker *t = calloc(1, sizeof(*t));
    struct loop_timer timers[2];

    (void)state;
    assert_non_null(t);
    loop_init(&t->loop, &ticker_ops, t);
    timers_loop = &t->loop;
    first_timer = &timers[0];
    second_timer = &timers[1];
    rivals_fired = 0;
    for (int i = 0; i < 2; i++) {
        loop_timer_init(&timers[i], on_rival);
        loop_timer_start(&t->loop, &timers[i], t->loop.now_ms + 1);
    }
    while (rivals_fired == 0)
        loop_turn(&t->loop, LOOP_MAY_SLEEP);
    loop_turn(&t->loop, LOOP_LOOK);
    assert_int_equal(rivals_fired, 1);
    assert_int_equal(t->loop.wheel.count, 0);
    loop_deinit(&t->loop);
    free(t);
}

static void loop_does_not_sleep_while_turn_says_that_there_is_more(void **state)
{
    struct ticker *t = calloc(1, sizeof(*t));

    (void)state;
    assert_non_null(t);
    loop_init(&t->loop, &ticker_ops, t);
    t->turns_with_more = 100;
    loop_wake(&t->loop);
    for (int i = 0; i < 100; i++)
        loop_turn(&t->loop, LOOP_MAY_SLEEP);
    assert_int_equal(t->turns, 100);
    assert_int_equal(t->sleeps, 0);
    loop_deinit(&t->loop);
    free(t);
}

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void loop_without_work_sleeps_until_it_is_woken_from_another_thread(void **state)
{
    struct ticker *t = calloc(1, sizeof(*t));
    struct timespec pause = {.tv_nsec = 1000 * 1000};
    uint64_t turns;
    pthread_t thread;

    (void)state;
    assert_non_null(t);
    loop_init(&t->loop, &ticker_ops, t);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, &t->loop), 0);
    for (uint64_t want = 1; want <= 20; want++) {
        turns = atomic_load(&t->loop.counters.turns);
        loop_wake(&t->loop);
        while (atomic_load(&t->loop.counters.turns) == turns)
            nanosleep(&pause, NULL);
    }
    loop_stop(&t->loop);
    pthread_join(thread, NULL);
    assert_in_range(t->turns, 20, 22);
    loop_deinit(&t->loop);
    free(t);
}

static void loop_stop_flushes_then_closes_the_streams_that_are_left(void **state)
{
    struct fixture *f = fixture_new(TRANSPORT_TCP);
    uint8_t got[5];

    (void)state;
    assert_int_equal(stream_write(&f->stream, bytes_of("hello", 5)), RC_OK);
    loop_stop(&f->loop);
    loop_run(&f->loop);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->closed, 1);
    assert_int_equal(recv(f->peer, got, sizeof(got), 0), 5);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(recv(f->peer, got, sizeof(got), 0), 0);
    fixture_free(f);
}

static void loop_now_is_the_same_from_awake_to_the_end_of_a_turn(void **state)
{
    struct ticker *t = calloc(1, sizeof(*t));
    uint64_t before_ms;

    (void)state;
    assert_non_null(t);
    loop_init(&t->loop, &ticker_ops, t);
    loop_turn(&t->loop, LOOP_LOOK);
    before_ms = t->loop.now_ms;
    while (clock_ms() < before_ms + 5)
        continue;
    assert_int_equal(t->loop.now_ms, before_ms);
    loop_timer_init(&t->timer, on_tick);
    while (t->sleeps == 0) { /* a busy machine may be later than the timer */
        loop_timer_start(&t->loop, &t->timer, clock_ms() + 20);
        loop_turn(&t->loop, LOOP_MAY_SLEEP);
    }
    assert_true(t->loop.now_ms >= before_ms + 5);
    assert_int_equal(t->awake_ms, t->loop.now_ms);
    loop_deinit(&t->loop);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop_timer_fires_in_time_and_wakes_the_loop_only_then),
        cmocka_unit_test(loop_timer_that_moves_on_does_not_wake_the_loop),
        cmocka_unit_test(loop_fires_a_bounded_number_of_timers_a_turn),
        cmocka_unit_test(loop_timer_may_stop_another_that_is_due_as_well),
        cmocka_unit_test(loop_does_not_sleep_while_turn_says_that_there_is_more),
        cmocka_unit_test(loop_without_work_sleeps_until_it_is_woken_from_another_thread),
        cmocka_unit_test(loop_stop_flushes_then_closes_the_streams_that_are_left),
        cmocka_unit_test(loop_now_is_the_same_from_awake_to_the_end_of_a_turn),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
