/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turn of a worker's loop. libuv's loop is embedded: its backend descriptor is in our epoll set
 * and it gets a turn of its own only when that one is ready or libuv has something to do at once (a
 * watcher to register, a handle to close), so a message on a stream does not pass through it. The
 * timer wheel gives the timeout of the wait; keep alives that move on cost no system call.
 */
#include "net/loop.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "net/out_pool.h"
#include "net/stream.h"
#include "net/stream_internal.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    WAIT_MAX_MS = 60 * 1000, /* epoll_wait() does not count suspend: look at the clock at times */
};

/* --- waiting --- */

static bool libuv_is_due(const struct loop *loop)
{
    return uv_loop_alive(&loop->uv) && uv_backend_timeout(&loop->uv) == 0;
}

static int timers_wait_ms(const struct loop *loop)
{
    uint64_t wait_ms = timer_wheel_wait_ms(&loop->wheel, clock_ms());
    return wait_ms < WAIT_MAX_MS ? (int)wait_ms : WAIT_MAX_MS;
}

/* How long nothing is to be done unless something happens. */
static int idle_ms(const struct loop *loop)
{
    /* Pairs with the release in loop_stop(). */
    if (loop->more || !list_empty(&loop->dirty) || !list_empty(&loop->bulk) ||
        !list_empty(&loop->resumed) || !list_empty(&loop->ending) || !list_empty(&loop->closing) ||
        libuv_is_due(loop) || atomic_load_explicit(&loop->stop_asked, memory_order_acquire))
        return 0;
    return timers_wait_ms(loop);
}

/* False when somebody has woken the loop since it looked for work the last time. */
static bool may_sleep(struct loop *loop)
{
    enum loop_state awake = LOOP_AWAKE;

    return atomic_compare_exchange_strong_explicit(&loop->state, &awake, LOOP_ASLEEP,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* Gives how many of loop->events there are. */
static int events_wait(struct loop *loop, int timeout_ms)
{
    bool sleeps = timeout_ms > 0 && may_sleep(loop);
    int count;

    if (sleeps && loop->ops->sleep != NULL)
        loop->ops->sleep(loop->owner);
    count =
        epoll_wait(loop->events_fd, loop->events, LOOP_EVENTS_PER_TURN, sleeps ? timeout_ms : 0);
    CHECK(count >= 0 || errno == EINTR);
    /* Before mail is looked at; pairs with the exchange in loop_wake(). */
    atomic_exchange_explicit(&loop->state, LOOP_AWAKE, memory_order_acq_rel);
    loop->began_ns = clock_ns();
    loop->now_ms = loop->began_ns / 1000000u;
    if (sleeps && loop->ops->awake != NULL)
        loop->ops->awake(loop->owner);
    return count;
}

/* --- a turn --- */

/*
 * The kernel puts what it has reported behind what it has not, so when more than
 * LOOP_EVENTS_PER_TURN streams are ready they take turns.
 */
static void events_handle(struct loop *loop, int count)
{
    bool libuv_ready = false;

    for (int i = 0; i < count; i++) {
        void *source = loop->events[i].data.ptr;
        if (source == &loop->uv)
            libuv_ready = true;
        else if (source != &loop->wake_fd)
            stream_ready(source, loop->events[i].events);
    }
    if (libuv_ready || libuv_is_due(loop))
        uv_run(&loop->uv, UV_RUN_NOWAIT);
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

/* Calls `step` for the streams of a list, as far as this turn has time for them. */
static void take_share(struct list *streams, void (*step)(struct stream *stream))
{
    enum { LOOK_EVERY = 16 };
    uint64_t end_ns = list_empty(streams) ? 0 : clock_ns() + LOOP_SHARE_NS;
    struct list *node;

    for (uint32_t n = 1; (node = list_take_first(streams)) != NULL; n++) {
        step(CONTAINER_OF(node, struct stream, link));
        if (n % LOOK_EVERY == 0 && clock_ns() >= end_ns)
            return;
    }
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

static void pool_shrink(struct loop *loop)
{
    if (loop->now_ms < loop->shrink_ms)
        return;
    loop->shrink_ms = loop->now_ms + OUT_POOL_IDLE_MS;
    out_pool_shrink(loop->pool);
}

void loop_turn(struct loop *loop, enum loop_wait wait)
{
    int count = events_wait(loop, wait == LOOP_MAY_SLEEP ? idle_ms(loop) : 0);

    loop->ends_left = LOOP_ENDS_AT_ONCE;
    events_handle(loop, count);
    take_share(&loop->ending, stream_end_now);
    resumed_deliver(loop);
    loop->more = loop->ops->turn(loop->owner);
    loop->more |= timers_fire(loop);
    dirty_flush(loop);
    take_share(&loop->bulk, stream_flush_bulk);
    if (loop->carried) {
        loop->carried = false;
        dirty_flush(loop);
    }
    closing_finish(loop);
    pool_shrink(loop);
    loop_count(&loop->counters.turns, 1);
    if (loop->ops->turned != NULL)
        loop->ops->turned(loop->owner, loop->began_ns, clock_ns());
}

/* --- begin and end --- */

static void watch(struct loop *loop, int fd, uint32_t events, void *source)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    CHECK(fd >= 0);
    CHECK(epoll_ctl(loop->events_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

void loop_init(struct loop *loop, const struct loop_ops *ops, void *owner)
{
    *loop = (struct loop){.ops = ops, .owner = owner, .now_ms = clock_ms()};
    CHECK(ops->turn != NULL);
    CHECK(uv_loop_init(&loop->uv) == 0);
    loop->events_fd = epoll_create1(EPOLL_CLOEXEC);
    CHECK(loop->events_fd >= 0);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    watch(loop, loop->wake_fd, EPOLLIN | EPOLLET, &loop->wake_fd);
    watch(loop, uv_backend_fd(&loop->uv), EPOLLIN, &loop->uv);
    timer_wheel_init(&loop->wheel, loop->now_ms);
    list_init(&loop->dirty);
    list_init(&loop->bulk);
    list_init(&loop->ending);
    list_init(&loop->resumed);
    list_init(&loop->closing);
    loop->events = mem_new(LOOP_EVENTS_PER_TURN * sizeof(*loop->events));
    loop->read_buffer = mem_new(LOOP_READ_HEADROOM + LOOP_READ_SIZE);
    loop->pool = out_pool_new();
}

static void handle_close(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (uv_is_closing(handle))
        return;
    if (handle->type == UV_POLL)
        ((const struct loop_handle_kind *)handle->data)->close((uv_poll_t *)handle);
    else
        uv_close(handle, NULL);
}

void loop_run(struct loop *loop)
{
    do
        loop_turn(loop, LOOP_MAY_SLEEP);
    while (!atomic_load_explicit(&loop->stop_asked, memory_order_acquire));
    if (loop->ops->stopping != NULL)
        loop->ops->stopping(loop->owner);
    closing_finish(loop);
    CHECK(loop->stream_count == 0);
    uv_walk(&loop->uv, handle_close, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT); /* until the last closed() has come */
}

void loop_wake(struct loop *loop)
{
    const uint64_t one = 1;

    /* What was posted before is seen by the turn that this exchange, or the one that it finds
     * done, brings about: pairs with those in may_sleep() and events_wait(). */
    if (atomic_exchange_explicit(&loop->state, LOOP_WOKEN, memory_order_acq_rel) != LOOP_ASLEEP)
        return;
    CHECK(write(loop->wake_fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
}

void loop_stop(struct loop *loop)
{
    /* Pairs with the acquires in loop_run() and idle_ms(). */
    atomic_store_explicit(&loop->stop_asked, true, memory_order_release);
    loop_wake(loop);
}

void loop_deinit(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT); /* what is being closed */
    CHECK(uv_loop_close(&loop->uv) == 0);
    CHECK(loop->stream_count == 0);
    close(loop->wake_fd);
    close(loop->events_fd);
    mem_free(loop->events);
    mem_free(loop->read_buffer);
    out_pool_free(loop->pool);
}
