/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turn of a worker's loop. libuv waits and calls the streams and listeners; a uv_check_t ends
 * the turn (kept input of resumed streams, mail, timers, flush) and a uv_prepare_t decides whether
 * the next wait may block. The one uv_timer_t stands for the whole timer wheel and is set again
 * only when the wheel needs it earlier, so keep alives that move on cost nothing here.
 */
#include "net/loop.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "net/out_pool.h"
#include "net/stream.h"
#include "net/stream_internal.h"

enum {
    WAIT_MAX_MS = 60 * 1000, /* libuv's timers do not count suspend: look at the clock at times */
};

static void on_wake(uv_async_t *handle)
{
    loop_enter(CONTAINER_OF(handle, struct loop, wake));
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* being active is all it does: the wait does not block */
}

static void on_timer(uv_timer_t *handle)
{
    struct loop *loop = CONTAINER_OF(handle, struct loop, timer);
    loop->timer_due_ms = 0;
    loop->more = true; /* libuv runs timers before the wait, the wheel is looked at behind it */
}

void loop_begin_turn(struct loop *loop)
{
    bool slept = loop->phase == LOOP_SLEEPS;
    loop->phase = LOOP_IN_TURN;
    loop->now_ms = clock_ms();
    if (slept && loop->ops->awake != NULL)
        loop->ops->awake(loop->owner);
}

/* Makes sure that the wait ends when the wheel needs it. */
static void timer_arm(struct loop *loop)
{
    uint64_t wait_ms = timer_wheel_wait_ms(&loop->wheel, loop->now_ms);

    if (wait_ms == UINT64_MAX) {
        if (loop->timer_due_ms != 0)
            uv_timer_stop(&loop->timer);
        loop->timer_due_ms = 0;
        return;
    }
    if (wait_ms == 0) {
        loop->more = true;
        return;
    }
    if (loop->timer_due_ms > loop->now_ms && loop->timer_due_ms <= loop->now_ms + wait_ms)
        return; /* it wakes us early enough */
    if (wait_ms > WAIT_MAX_MS)
        wait_ms = WAIT_MAX_MS;
    loop->timer_due_ms = loop->now_ms + wait_ms;
    CHECK(uv_timer_start(&loop->timer, on_timer, wait_ms, 0) == 0);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct loop *loop = CONTAINER_OF(handle, struct loop, prepare);

    timer_arm(loop);
    if (loop->more || !list_empty(&loop->dirty) || !list_empty(&loop->resumed)) {
        loop->phase = LOOP_LOOKS;
        uv_idle_start(&loop->idle, on_idle);
        return;
    }
    uv_idle_stop(&loop->idle);
    if (loop->ops->sleep != NULL)
        loop->ops->sleep(loop->owner);
    loop->phase = LOOP_SLEEPS;
}

/* True: there may be more that are due. Timers are taken one by one, so that one that fires may
 * stop or move any other. */
static bool timers_fire(struct loop *loop)
{
    for (size_t fired = 0; fired < LOOP_TIMERS_PER_TURN; fired++) {
        struct list due;
        struct timer *timer;
        struct loop_timer *t;

        list_init(&due);
        if (timer_wheel_advance(&loop->wheel, loop->now_ms, 1, &due) == 0)
            return false;
        timer = CONTAINER_OF(list_take_first(&due), struct timer, link);
        t = CONTAINER_OF(timer, struct loop_timer, timer);
        t->fire(t);
    }
    return true;
}

static void resumed_deliver(struct loop *loop)
{
    struct list batch;
    struct list *node;

    list_init(&batch);
    list_move_all(&batch, &loop->resumed);
    while ((node = list_take_first(&batch)) != NULL)
        stream_deliver_kept(CONTAINER_OF(node, struct stream, link));
}

/* What gets dirty meanwhile (drained() may write) waits for the next turn. */
static void dirty_flush(struct loop *loop)
{
    struct list batch;
    struct list *node;

    list_init(&batch);
    list_move_all(&batch, &loop->dirty);
    while ((node = list_take_first(&batch)) != NULL)
        stream_flush(CONTAINER_OF(node, struct stream, link));
}

static void on_check(uv_check_t *handle)
{
    struct loop *loop = CONTAINER_OF(handle, struct loop, check);

    loop_enter(loop);
    resumed_deliver(loop);
    loop->more = loop->ops->turn(loop->owner);
    loop->more |= timers_fire(loop);
    dirty_flush(loop);
    timer_arm(loop);
    loop_count(&loop->counters.turns, 1);
    /* Pairs with the release in loop_stop(). */
    if (atomic_load_explicit(&loop->stop_asked, memory_order_acquire))
        uv_stop(&loop->uv);
}

void loop_init(struct loop *loop, const struct loop_ops *ops, void *owner)
{
    *loop = (struct loop){.ops = ops, .owner = owner, .phase = LOOP_IN_TURN};
    CHECK(ops->turn != NULL);
    CHECK(uv_loop_init(&loop->uv) == 0);
    CHECK(uv_async_init(&loop->uv, &loop->wake, on_wake) == 0);
    CHECK(uv_check_init(&loop->uv, &loop->check) == 0);
    CHECK(uv_prepare_init(&loop->uv, &loop->prepare) == 0);
    CHECK(uv_idle_init(&loop->uv, &loop->idle) == 0);
    CHECK(uv_timer_init(&loop->uv, &loop->timer) == 0);
    CHECK(uv_check_start(&loop->check, on_check) == 0);
    CHECK(uv_prepare_start(&loop->prepare, on_prepare) == 0);
    loop->now_ms = clock_ms();
    timer_wheel_init(&loop->wheel, loop->now_ms);
    list_init(&loop->dirty);
    list_init(&loop->resumed);
    loop->read_buffer = mem_new(LOOP_READ_HEADROOM + LOOP_READ_SIZE);
    loop->pool = out_pool_new();
}

static bool handle_is_own(const struct loop *loop, const uv_handle_t *handle)
{
    return handle == (const uv_handle_t *)&loop->wake ||
           handle == (const uv_handle_t *)&loop->check ||
           handle == (const uv_handle_t *)&loop->prepare ||
           handle == (const uv_handle_t *)&loop->idle ||
           handle == (const uv_handle_t *)&loop->timer;
}

struct leftovers {
    const struct loop *loop;
    size_t count; /* handles that are not the loop's own */
};

static void handle_close_foreign(uv_handle_t *handle, void *arg)
{
    struct leftovers *leftovers = arg;

    if (handle_is_own(leftovers->loop, handle))
        return;
    leftovers->count++;
    if (uv_is_closing(handle))
        return;
    if (handle->type == UV_POLL)
        ((const struct loop_handle_kind *)handle->data)->close((uv_poll_t *)handle);
    else
        uv_close(handle, NULL);
}

void loop_run(struct loop *loop)
{
    struct leftovers leftovers = {.loop = loop};

    uv_run(&loop->uv, UV_RUN_DEFAULT);
    do {
        loop_enter(loop);
        leftovers.count = 0;
        uv_walk(&loop->uv, handle_close_foreign, &leftovers);
        if (leftovers.count > 0)
            uv_run(&loop->uv, UV_RUN_NOWAIT); /* every closed() comes here */
    } while (leftovers.count > 0);
}

void loop_wake(struct loop *loop)
{
    uv_async_send(&loop->wake);
}

void loop_stop(struct loop *loop)
{
    /* Pairs with the acquire in on_check(). */
    atomic_store_explicit(&loop->stop_asked, true, memory_order_release);
    loop_wake(loop);
}

void loop_deinit(struct loop *loop)
{
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop->uv) == 0);
    CHECK(list_empty(&loop->dirty) && list_empty(&loop->resumed));
    mem_free(loop->read_buffer);
    out_pool_free(loop->pool);
}
