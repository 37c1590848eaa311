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

#include <errno.h>
#include <unistd.h>

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
    if (loop->more || !list_empty(&loop->dirty) || !list_empty(&loop->resumed) ||
        !list_empty(&loop->closing)) {
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

/* Last in a turn: until here every stream that an event or a list names is still there. */
static void closing_finish(struct loop *loop)
{
    struct list *node;

    while ((node = list_take_first(&loop->closing)) != NULL)
        stream_closed(CONTAINER_OF(node, struct stream, link));
}

/*
 * One look per turn: the kernel puts what it has reported behind what it has not, so when more than
 * LOOP_EVENTS_PER_TURN streams are ready they take turns.
 */
static void on_streams(uv_poll_t *handle, int status, int events)
{
    struct loop *loop = CONTAINER_OF(handle, struct loop, streams);
    int count;

    (void)status;
    (void)events;
    loop_enter(loop);
    count = epoll_wait(loop->streams_fd, loop->events, LOOP_EVENTS_PER_TURN, 0);
    CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++)
        stream_ready(loop->events[i].data.ptr, loop->events[i].events);
}

static void on_check(uv_check_t *handle)
{
    struct loop *loop = CONTAINER_OF(handle, struct loop, check);

    loop_enter(loop);
    resumed_deliver(loop);
    loop->more = loop->ops->turn(loop->owner);
    loop->more |= timers_fire(loop);
    dirty_flush(loop);
    closing_finish(loop);
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
    loop->streams_fd = epoll_create1(EPOLL_CLOEXEC);
    CHECK(loop->streams_fd >= 0);
    CHECK(uv_poll_init(&loop->uv, &loop->streams, loop->streams_fd) == 0);
    CHECK(uv_poll_start(&loop->streams, UV_READABLE, on_streams) == 0);
    CHECK(uv_check_start(&loop->check, on_check) == 0);
    CHECK(uv_prepare_start(&loop->prepare, on_prepare) == 0);
    loop->now_ms = clock_ms();
    timer_wheel_init(&loop->wheel, loop->now_ms);
    list_init(&loop->dirty);
    list_init(&loop->resumed);
    list_init(&loop->closing);
    loop->events = mem_new(LOOP_EVENTS_PER_TURN * sizeof(*loop->events));
    loop->read_buffer = mem_new(LOOP_READ_HEADROOM + LOOP_READ_SIZE);
    loop->pool = out_pool_new();
}

static bool handle_is_own(const struct loop *loop, const uv_handle_t *handle)
{
    return handle == (const uv_handle_t *)&loop->wake ||
           handle == (const uv_handle_t *)&loop->check ||
           handle == (const uv_handle_t *)&loop->prepare ||
           handle == (const uv_handle_t *)&loop->idle ||
           handle == (const uv_handle_t *)&loop->timer ||
           handle == (const uv_handle_t *)&loop->streams;
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
    loop_enter(loop);
    if (loop->ops->stopping != NULL)
        loop->ops->stopping(loop->owner);
    closing_finish(loop);
    CHECK(loop->stream_count == 0);
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
    uv_close((uv_handle_t *)&loop->streams, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop->uv) == 0);
    CHECK(loop->stream_count == 0);
    close(loop->streams_fd);
    mem_free(loop->events);
    mem_free(loop->read_buffer);
    out_pool_free(loop->pool);
}
